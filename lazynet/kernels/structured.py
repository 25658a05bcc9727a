"""Kernels along the rows of each example where one row follows from the one before."""

import numpy as np

from lazynet.kernels.memory import OPERAND, address, load
from lazynet.kernels.words import constant, exp, log, maximum, row, row_index


def log_scan(call, context):
    """y_t[j] = x_t[j] + log sum_i exp(y_{t-1}[i] + w[i, j]), y_0 = x_0 + a; accumulate, width.

    Operands: offsets of the rows, x, w, a, y.
    """
    nodes, width = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    top = np.full(width, constant(0))
    for s in range(nodes):
        if offsets[s] == offsets[s + 1]:
            continue
        w = row(address(first + 2 * OPERAND, s), width * width)
        a = row(address(first + 3 * OPERAND, s), width)
        before = row(address(first + 4 * OPERAND, offsets[s]), width)
        x = row(address(first + OPERAND, offsets[s]), width)
        for j in range(width):
            before[j] = x[j] + a[j]
        for t in range(offsets[s] + 1, offsets[s + 1]):
            x = row(address(first + OPERAND, t), width)
            y = row(address(first + 4 * OPERAND, t), width)
            for j in range(width):
                top[j] = constant(-np.inf)
                y[j] = constant(0)
            for i in range(width):
                for j in range(width):
                    top[j] = maximum(before[i] + w[i * width + j], top[j])
            for j in range(width):
                if top[j] == -np.inf:
                    top[j] = constant(0)  # no way leads here: the logarithm of 0 comes out
            for i in range(width):
                for j in range(width):
                    y[j] += exp(before[i] + w[i * width + j] - top[j])
            for j in range(width):
                y[j] = x[j] + top[j] + log(y[j])
            before = y


def log_scan_backward(call, context):
    """Adds the gradients of x, w and a, given that of y; attributes as `log_scan`.

    With p_t[i, j] = exp(y_{t-1}[i] + w[i, j] + x_t[j] - y_t[j]), the share of i in j, backwards
    b_t[i] = dy_t[i] + sum_j p_{t+1}[i, j] b_{t+1}[j]; dx_t += b_t, dw[i, j] += p_t[i, j] b_t[j].
    Operands: offsets of the rows, x, w, y, dy, and the gradients of x, w and a.
    """
    nodes, width = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    slope, earlier = np.full(width, constant(0)), np.full(width, constant(0))
    for s in range(nodes):
        w = row(address(first + 2 * OPERAND, s), width * width)
        dw = row(address(first + 6 * OPERAND, s), width * width)
        for j in range(width):
            slope[j] = constant(0)
        for t in range(offsets[s + 1] - 1, offsets[s] - 1, -1):
            x, y = (
                row(address(first + OPERAND, t), width),
                row(address(first + 3 * OPERAND, t), width),
            )
            dy = row(address(first + 4 * OPERAND, t), width)
            dx = row(address(first + 5 * OPERAND, t), width)
            for j in range(width):
                slope[j] += dy[j]
                dx[j] += slope[j]
            if t == offsets[s]:
                da = row(address(first + 7 * OPERAND, s), width)
                for j in range(width):
                    da[j] += slope[j]
                continue
            before = row(address(first + 3 * OPERAND, t - 1), width)
            for i in range(width):
                earlier[i] = constant(0)
                for j in range(width):
                    if y[j] != -np.inf:
                        share = exp(before[i] + w[i * width + j] + x[j] - y[j]) * slope[j]
                        dw[i * width + j] += share
                        earlier[i] += share
            for j in range(width):
                slope[j] = earlier[j]


def linear_scan(call, context):
    """y_t[j] = x_t[j] + sum_i y_{t-1}[i] w_t[i, j], y_0 = x_0; attributes: accumulate, width.

    The matrices begin with that of the second row. Operands: offsets of rows, of matrices, x, w, y.
    """
    nodes, width = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    matrices = row_index(load(first + OPERAND), nodes + 1)
    for s in range(nodes):
        for t in range(offsets[s], offsets[s + 1]):
            x = row(address(first + 2 * OPERAND, t), width)
            y = row(address(first + 4 * OPERAND, t), width)
            for j in range(width):
                y[j] = x[j]
            if t == offsets[s]:
                continue
            w = row(address(first + 3 * OPERAND, matrices[s] + t - offsets[s] - 1), width * width)
            before = row(address(first + 4 * OPERAND, t - 1), width)
            for i in range(width):
                for j in range(width):
                    y[j] += before[i] * w[i * width + j]


def linear_scan_backward(call, context):
    """Adds the gradients of x and w; attributes as `linear_scan`.

    Backwards b_t = dy_t + w_{t+1} b_{t+1}; dx_t += b_t, dw_t[i, j] += y_{t-1}[i] b_t[j].
    Operands: offsets of the rows, of the matrices, w, y, dy, and the gradients of x and w.
    """
    nodes, width = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    matrices = row_index(load(first + OPERAND), nodes + 1)
    slope, earlier = np.full(width, constant(0)), np.full(width, constant(0))
    for s in range(nodes):
        for j in range(width):
            slope[j] = constant(0)
        for t in range(offsets[s + 1] - 1, offsets[s] - 1, -1):
            dy = row(address(first + 4 * OPERAND, t), width)
            dx = row(address(first + 5 * OPERAND, t), width)
            for j in range(width):
                slope[j] += dy[j]
                dx[j] += slope[j]
            if t == offsets[s]:
                continue
            m = matrices[s] + t - offsets[s] - 1
            w = row(address(first + 2 * OPERAND, m), width * width)
            dw = row(address(first + 6 * OPERAND, m), width * width)
            before = row(address(first + 3 * OPERAND, t - 1), width)
            for i in range(width):
                earlier[i] = constant(0)
                for j in range(width):
                    dw[i * width + j] += before[i] * slope[j]
                    earlier[i] += w[i * width + j] * slope[j]
            for j in range(width):
                slope[j] = earlier[j]


def join_rows(call, context):
    """y[s] = the rows x of example s, end to end; attributes: accumulate, width of a row.

    Operands: offsets of the rows, x, y.
    """
    nodes, width = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    for s in range(nodes):
        count = offsets[s + 1] - offsets[s]
        y = row(address(first + 2 * OPERAND, s), count * width)
        for r in range(count):
            x = row(address(first + OPERAND, offsets[s] + r), width)
            for j in range(width):
                y[r * width + j] = x[j]


def spread_rows(call, context):
    """x_r += its part of y[s]: what `join_rows` joined; operands: offsets of the rows, y, x."""
    nodes, width = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    for s in range(nodes):
        count = offsets[s + 1] - offsets[s]
        y = row(address(first + OPERAND, s), count * width)
        for r in range(count):
            x = row(address(first + 2 * OPERAND, offsets[s] + r), width)
            for j in range(width):
                x[j] += y[r * width + j]


def viterbi(call, context):
    """The best path: argmax of sum_t x_t[y_t] + sum_t w[y_{t-1}, y_t] + a[y_0] + b[y_{n-1}].

    Attributes: accumulate, width. Operands: offsets of the rows, x, w, a, b, y. Of equally good
    predecessors the first is taken.
    """
    nodes, width = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    longest = np.int64(0)
    for s in range(nodes):
        longest = max(longest, offsets[s + 1] - offsets[s])
    best, before = np.full(width, constant(0)), np.full(width, constant(0))
    back = np.zeros((longest, width), np.int64)
    for s in range(nodes):
        if offsets[s] == offsets[s + 1]:
            continue
        w = row(address(first + 2 * OPERAND, s), width * width)
        a, b = (
            row(address(first + 3 * OPERAND, s), width),
            row(address(first + 4 * OPERAND, s), width),
        )
        for t in range(offsets[s], offsets[s + 1]):
            x = row(address(first + OPERAND, t), width)
            for j in range(width):
                before[j] = best[j]
            for j in range(width):
                best[j] = a[j]
                if t > offsets[s]:
                    best[j] = before[0] + w[j]
                    back[t - offsets[s], j] = 0
                    for i in range(1, width):
                        if before[i] + w[i * width + j] > best[j]:
                            best[j] = before[i] + w[i * width + j]
                            back[t - offsets[s], j] = i
            for j in range(width):
                best[j] += x[j]
        at = 0
        for j in range(1, width):
            if best[j] + b[j] > best[at] + b[at]:
                at = j
        for t in range(offsets[s + 1] - 1, offsets[s] - 1, -1):
            row_index(address(first + 5 * OPERAND, t), 1)[0] = at
            at = back[t - offsets[s], at]
