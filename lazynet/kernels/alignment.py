"""Kernels over the alignments of the rows of each example with a shorter list of labels.

Sums of logarithms grow with the number of rows, so they are kept in float64 whatever the dtype.
"""

import numpy as np

from lazynet.kernels.memory import OPERAND, address, load
from lazynet.kernels.words import row, row_index


def ctc(call, context):
    """y = -log of the sum over all alignments of the product of their probabilities.

    Attributes: accumulate, classes, the blank. Operands: offsets of the rows x and of the labels,
    x (log-probabilities), labels, y. An alignment has a state for each row: the states of n labels
    are blank, label, blank, label, ..., blank; it begins in one of the first two and ends in one of
    the last two. It stays, goes on by one or, between two different labels, leaves the blank out.
    """
    nodes, classes, blank = load(call), load(call + 16), load(call + 24)
    first = call + 32
    rows = row_index(load(first), nodes + 1)
    places = row_index(load(first + OPERAND), nodes + 1)
    most = 1
    for s in range(nodes):
        most = max(most, places[s + 1] - places[s])
    label = np.empty(most, np.int64)
    now = np.full(2 * most + 1, 0.0)
    for s in range(nodes):
        count = places[s + 1] - places[s]
        states = 2 * count + 1
        for k in range(count):
            label[k] = row_index(address(first + 3 * OPERAND, places[s] + k), 1)[0]
        for j in range(states):
            now[j] = -np.inf
        for t in range(rows[s], rows[s + 1]):
            x = row(address(first + 2 * OPERAND, t), classes)
            if t == rows[s]:
                now[0] = x[blank]
                if count > 0:
                    now[1] = x[label[0]]
                continue
            for j in range(states - 1, -1, -1):  # a state follows from those up to it
                own = label[j // 2] if j % 2 == 1 else blank
                skips = j % 2 == 1 and j > 2 and label[j // 2] != label[j // 2 - 1]
                top = now[j]
                if j > 0:
                    top = max(top, now[j - 1])
                if skips:
                    top = max(top, now[j - 2])
                if top == -np.inf:
                    continue
                total = np.exp(now[j] - top)
                if j > 0:
                    total += np.exp(now[j - 1] - top)
                if skips:
                    total += np.exp(now[j - 2] - top)
                now[j] = top + np.log(total) + x[own]
        y = row(address(first + 4 * OPERAND, s), 1)
        if rows[s] == rows[s + 1]:
            y[0] = 0.0 if count == 0 else np.inf
            continue
        last, other = now[states - 1], -np.inf
        if count > 0:
            other = now[states - 2]
        top = max(last, other)
        if top == -np.inf:
            y[0] = np.inf
        else:
            y[0] = -(top + np.log(np.exp(last - top) + np.exp(other - top)))


def ctc_backward(call, context):
    """Adds the gradient of x, given that of y: -dy times the share of alignments in each class.

    Attributes as `ctc`. Operands: offsets of the rows and of the labels, x, labels, dy, and the
    gradient of x. Where no alignment is possible, nothing is added.
    """
    nodes, classes, blank = load(call), load(call + 16), load(call + 24)
    first = call + 32
    rows = row_index(load(first), nodes + 1)
    places = row_index(load(first + OPERAND), nodes + 1)
    most, room = 1, 1
    for s in range(nodes):
        count = places[s + 1] - places[s]
        most = max(most, count)
        room = max(room, (rows[s + 1] - rows[s]) * (2 * count + 1))
    label = np.empty(most, np.int64)
    before = np.full(room, 0.0)  # for each row and state, over all beginnings
    after = np.full(2 * most + 1, 0.0)  # for each state, over all ends from the next row on
    for s in range(nodes):
        count, length = places[s + 1] - places[s], rows[s + 1] - rows[s]
        states = 2 * count + 1
        if length == 0:
            continue
        for k in range(count):
            label[k] = row_index(address(first + 3 * OPERAND, places[s] + k), 1)[0]
        for t in range(length):
            x = row(address(first + 2 * OPERAND, rows[s] + t), classes)
            at = t * states
            for j in range(states):
                before[at + j] = -np.inf
                if t == 0:
                    if j < 2:
                        before[j] = x[label[0]] if j == 1 else x[blank]
                    continue
                own = label[j // 2] if j % 2 == 1 else blank
                skips = j % 2 == 1 and j > 2 and label[j // 2] != label[j // 2 - 1]
                earlier = at - states + j
                top = before[earlier]
                if j > 0:
                    top = max(top, before[earlier - 1])
                if skips:
                    top = max(top, before[earlier - 2])
                if top == -np.inf:
                    continue
                total = np.exp(before[earlier] - top)
                if j > 0:
                    total += np.exp(before[earlier - 1] - top)
                if skips:
                    total += np.exp(before[earlier - 2] - top)
                before[at + j] = top + np.log(total) + x[own]
        end = length * states - 1
        top, other = before[end], -np.inf
        if count > 0:
            other = before[end - 1]
        top = max(top, other)
        if top == -np.inf:
            continue
        whole = top + np.log(np.exp(before[end] - top) + np.exp(other - top))
        dy = row(address(first + 4 * OPERAND, s), 1)[0]
        for j in range(states):
            after[j] = 0.0 if j >= states - 2 else -np.inf
        for t in range(length - 1, -1, -1):
            dx = row(address(first + 5 * OPERAND, rows[s] + t), classes)
            x = row(address(first + 2 * OPERAND, rows[s] + t), classes)
            for j in range(states):
                own = label[j // 2] if j % 2 == 1 else blank
                if after[j] != -np.inf:
                    if before[t * states + j] != -np.inf:
                        dx[own] -= dy * np.exp(before[t * states + j] + after[j] - whole)
                    after[j] += x[own]
            for j in range(states):  # what follows a state are those from it on
                skips = j % 2 == 1 and j + 2 < states and label[j // 2] != label[j // 2 + 1]
                top = after[j]
                if j + 1 < states:
                    top = max(top, after[j + 1])
                if skips:
                    top = max(top, after[j + 2])
                if top == -np.inf:
                    continue
                total = np.exp(after[j] - top)
                if j + 1 < states:
                    total += np.exp(after[j + 1] - top)
                if skips:
                    total += np.exp(after[j + 2] - top)
                after[j] = top + np.log(total)
