"""Kernels along the rows of each example where one row follows from the one before.

On CUDA a block of threads goes through an example; they share the elements of a row. What an
example needs besides its rows is room of its own, which the planner gives.
"""

import numpy as np

from lazynet.kernels.memory import OPERAND, address, load
from lazynet.kernels.words import (
    constant,
    exp,
    itemsize,
    lanes,
    log,
    maximum,
    own_row,
    row,
    row_index,
    together,
)


def log_scan(call, context):
    """y_t[j] = x_t[j] + log sum_i exp(y_{t-1}[i] + w[i, j]), y_0 = x_0 + a; accumulate, width.

    Operands: offsets of the rows, x, w, a, room for a row, y.
    """
    nodes, width = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    for s in range(nodes):
        if offsets[s] == offsets[s + 1]:
            continue
        w = row(address(first + 2 * OPERAND, s), width * width)
        a = row(address(first + 3 * OPERAND, s), width)
        top = own_row(address(first + 4 * OPERAND, s), width)
        before = row(address(first + 5 * OPERAND, offsets[s]), width)
        x = row(address(first + OPERAND, offsets[s]), width)
        for j in lanes(width):
            before[j] = x[j] + a[j]
        for t in range(offsets[s] + 1, offsets[s + 1]):
            together()
            x = row(address(first + OPERAND, t), width)
            y = own_row(address(first + 5 * OPERAND, t), width)
            for j in lanes(width):
                top[j] = constant(-np.inf)
                y[j] = constant(0)
            for i in range(width):
                for j in lanes(width):
                    top[j] = maximum(before[i] + w[i * width + j], top[j])
            for j in lanes(width):
                if top[j] == -np.inf:
                    top[j] = constant(0)  # no way leads here: the logarithm of 0 comes out
            for i in range(width):
                for j in lanes(width):
                    y[j] += exp(before[i] + w[i * width + j] - top[j])
            for j in lanes(width):
                y[j] = x[j] + top[j] + log(y[j])
            before = y


def log_scan_backward(call, context):
    """Adds the gradients of x, w and a, given that of y; attributes as `log_scan`.

    With p_t[i, j] = exp(y_{t-1}[i] + w[i, j] + x_t[j] - y_t[j]), the share of i in j, backwards
    b_t[i] = dy_t[i] + sum_j p_{t+1}[i, j] b_{t+1}[j]; dx_t += b_t, dw[i, j] += p_t[i, j] b_t[j].
    Operands: offsets of the rows, x, w, y, dy, room for two rows, and the gradients of x, w and a.
    """
    nodes, width = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    for s in range(nodes):
        w = row(address(first + 2 * OPERAND, s), width * width)
        slope = own_row(address(first + 5 * OPERAND, s), width)
        earlier = own_row(address(first + 5 * OPERAND, s) + width * itemsize, width)
        dw = row(address(first + 7 * OPERAND, s), width * width)
        for j in lanes(width):
            slope[j] = constant(0)
        for t in range(offsets[s + 1] - 1, offsets[s] - 1, -1):
            x, y = (
                row(address(first + OPERAND, t), width),
                row(address(first + 3 * OPERAND, t), width),
            )
            dy = row(address(first + 4 * OPERAND, t), width)
            dx = row(address(first + 6 * OPERAND, t), width)
            for j in lanes(width):
                slope[j] += dy[j]
                dx[j] += slope[j]
            if t == offsets[s]:
                da = row(address(first + 8 * OPERAND, s), width)
                for j in lanes(width):
                    da[j] += slope[j]
                continue
            together()
            before = row(address(first + 3 * OPERAND, t - 1), width)
            for i in lanes(width):
                earlier[i] = constant(0)
                for j in range(width):
                    if y[j] != -np.inf:
                        share = exp(before[i] + w[i * width + j] + x[j] - y[j]) * slope[j]
                        dw[i * width + j] += share
                        earlier[i] += share
            together()
            for j in lanes(width):
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
            y = own_row(address(first + 4 * OPERAND, t), width)
            for j in lanes(width):
                y[j] = x[j]
            if t == offsets[s]:
                continue
            together()
            w = row(address(first + 3 * OPERAND, matrices[s] + t - offsets[s] - 1), width * width)
            before = row(address(first + 4 * OPERAND, t - 1), width)
            for i in range(width):
                for j in lanes(width):
                    y[j] += before[i] * w[i * width + j]


def linear_scan_backward(call, context):
    """Adds the gradients of x and w; attributes as `linear_scan`.

    Backwards b_t = dy_t + w_{t+1} b_{t+1}; dx_t += b_t, dw_t[i, j] += y_{t-1}[i] b_t[j]. Operands:
    offsets of the rows, of the matrices, w, y, dy, room for two rows, the gradients of x and w.
    """
    nodes, width = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    matrices = row_index(load(first + OPERAND), nodes + 1)
    for s in range(nodes):
        slope = own_row(address(first + 5 * OPERAND, s), width)
        earlier = own_row(address(first + 5 * OPERAND, s) + width * itemsize, width)
        for j in lanes(width):
            slope[j] = constant(0)
        for t in range(offsets[s + 1] - 1, offsets[s] - 1, -1):
            dy = row(address(first + 4 * OPERAND, t), width)
            dx = row(address(first + 6 * OPERAND, t), width)
            for j in lanes(width):
                slope[j] += dy[j]
                dx[j] += slope[j]
            if t == offsets[s]:
                continue
            together()
            m = matrices[s] + t - offsets[s] - 1
            w = row(address(first + 2 * OPERAND, m), width * width)
            dw = row(address(first + 7 * OPERAND, m), width * width)
            before = row(address(first + 3 * OPERAND, t - 1), width)
            for i in lanes(width):
                earlier[i] = constant(0)
                for j in range(width):
                    dw[i * width + j] += before[i] * slope[j]
                    earlier[i] += w[i * width + j] * slope[j]
            together()
            for j in lanes(width):
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
            for j in lanes(width):
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
            for j in lanes(width):
                x[j] += y[r * width + j]


def viterbi(call, context):
    """The best path: argmax of sum_t x_t[y_t] + sum_t w[y_{t-1}, y_t] + a[y_0] + b[y_{n-1}].

    Attributes: accumulate, width. Operands: offsets of the rows, x, w, a, b, room for two rows of
    numbers and, for each row, one of indices, y. Of equally good predecessors the first is taken.
    """
    nodes, width = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    for s in range(nodes):
        if offsets[s] == offsets[s + 1]:
            continue
        w = row(address(first + 2 * OPERAND, s), width * width)
        a, b = (
            row(address(first + 3 * OPERAND, s), width),
            row(address(first + 4 * OPERAND, s), width),
        )
        best = own_row(address(first + 5 * OPERAND, s), width)
        before = own_row(address(first + 5 * OPERAND, s) + width * itemsize, width)
        for t in range(offsets[s], offsets[s + 1]):
            x = row(address(first + OPERAND, t), width)
            back = row_index(address(first + 6 * OPERAND, t), width)
            for j in lanes(width):
                before[j] = best[j]
            together()
            for j in lanes(width):
                best[j] = a[j]
                if t > offsets[s]:
                    best[j] = before[0] + w[j]
                    back[j] = 0
                    for i in range(1, width):
                        if before[i] + w[i * width + j] > best[j]:
                            best[j] = before[i] + w[i * width + j]
                            back[j] = i
                best[j] += x[j]
            together()
        for _ in lanes(1):
            at = 0
            for j in range(1, width):
                if best[j] + b[j] > best[at] + b[at]:
                    at = j
            for t in range(offsets[s + 1] - 1, offsets[s] - 1, -1):
                row_index(address(first + 7 * OPERAND, t), 1)[0] = at
                at = row_index(address(first + 6 * OPERAND, t), width)[at]
