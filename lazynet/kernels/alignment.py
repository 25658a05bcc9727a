"""Kernels over the alignments of the rows of each example with a shorter list of labels.

Sums of logarithms grow with the number of rows, so they are kept in float64 whatever the dtype.
"""

import numpy as np

from lazynet.kernels.jit import word
from lazynet.kernels.memory import OPERAND, address, load
from lazynet.kernels.words import row, row_index


@word
def log_sum(a, b, c):
    """log(exp a + exp b + exp c) of numbers that may be -inf, b and c also to say that none is."""
    top = max(max(a, b), c)
    if top == -np.inf:
        return top
    total = np.exp(a - top)
    if b != -np.inf:
        total += np.exp(b - top)
    if c != -np.inf:
        total += np.exp(c - top)
    return top + np.log(total)


@word
def may_skip(label, j):
    """Whether an alignment may go from state j - 2 to j: from a label to a different one."""
    return j % 2 == 1 and j > 2 and label[j // 2] != label[j // 2 - 1]


@word
def begin(now, states, label, blank, x):
    """The states in a first row x: the blank and, if there is one, the first label."""
    for j in range(states):
        now[j] = -np.inf
    now[0] = x[blank]
    if states > 1:
        now[1] = x[label[0]]


@word
def advance(before, now, states, label, blank, x):
    """The states in a row x from those in the row before, which may be kept in the same place."""
    for j in range(states - 1, -1, -1):  # a state follows from those up to it
        one = before[j - 1] if j > 0 else -np.inf
        two = before[j - 2] if may_skip(label, j) else -np.inf
        now[j] = log_sum(before[j], one, two)
        if now[j] != -np.inf:
            now[j] += x[label[j // 2] if j % 2 == 1 else blank]


@word
def retreat(after, states, label):
    """What may follow each state in its row, from what may follow it in the next one."""
    for j in range(states):  # what follows a state are those from it on
        one = after[j + 1] if j + 1 < states else -np.inf
        two = after[j + 2] if j + 2 < states and may_skip(label, j + 2) else -np.inf
        after[j] = log_sum(after[j], one, two)


@word
def over_ends(now, states):
    """The logarithm of the sum over the states in which an alignment may end."""
    return log_sum(now[states - 1], now[states - 2] if states > 1 else -np.inf, -np.inf)


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
        y = row(address(first + 4 * OPERAND, s), 1)
        if rows[s] == rows[s + 1]:
            y[0] = 0.0 if count == 0 else np.inf
            continue
        for k in range(count):
            label[k] = row_index(address(first + 3 * OPERAND, places[s] + k), 1)[0]
        begin(now, states, label, blank, row(address(first + 2 * OPERAND, rows[s]), classes))
        for t in range(rows[s] + 1, rows[s + 1]):
            x = row(address(first + 2 * OPERAND, t), classes)
            advance(now, now, states, label, blank, x)
        y[0] = -over_ends(now, states)


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
    kept = np.full(room, 0.0)  # for each row and state, over all beginnings
    after = np.full(2 * most + 1, 0.0)  # for each state, over all ends from the next row on
    for s in range(nodes):
        count, length = places[s + 1] - places[s], rows[s + 1] - rows[s]
        if length == 0:
            continue
        states = 2 * count + 1
        before = kept[: length * states].reshape(length, states)
        for k in range(count):
            label[k] = row_index(address(first + 3 * OPERAND, places[s] + k), 1)[0]
        begin(before[0], states, label, blank, row(address(first + 2 * OPERAND, rows[s]), classes))
        for t in range(1, length):
            x = row(address(first + 2 * OPERAND, rows[s] + t), classes)
            advance(before[t - 1], before[t], states, label, blank, x)
        whole = over_ends(before[length - 1], states)
        if whole == -np.inf:
            continue
        dy = row(address(first + 4 * OPERAND, s), 1)[0]
        for j in range(states):
            after[j] = 0.0 if j >= states - 2 else -np.inf
        for t in range(length - 1, -1, -1):
            dx = row(address(first + 5 * OPERAND, rows[s] + t), classes)
            x = row(address(first + 2 * OPERAND, rows[s] + t), classes)
            for j in range(states):
                own = label[j // 2] if j % 2 == 1 else blank
                if after[j] != -np.inf:
                    if before[t, j] != -np.inf:
                        dx[own] -= dy * np.exp(before[t, j] + after[j] - whole)
                    after[j] += x[own]
            retreat(after, states, label)
