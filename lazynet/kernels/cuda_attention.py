"""Attention on CUDA: a block of threads for each example and head, which keeps its weights.

The CPU's kernels (`attention.py`) are products of an example's matrices; here an element of a
result is a thread's, and rows may lie anywhere. How much room the weights take only the record
tells, so the host reads it, and makes a launch for as many examples as have room at a time.
"""

import ctypes

import numpy as np

from lazynet.kernels.memory import OPERAND, address, load, row_float64
from lazynet.kernels.noise import drop_limit, kept_scale, row_key, squares32
from lazynet.kernels.words import (
    constant,
    exp,
    itemsize,
    lanes,
    maximum,
    own_row,
    payload_words,
    row,
    row_index,
    together,
)

ROOM = 1 << 28  # bytes of weights at a time, unless one example needs more
_FIRST = 7  # the word of a record at which its operands begin


def attention_rows(call, items, example, room, most):
    """`attention` for the heads of the examples from `example` on; `room` has `most` pairs each."""
    nodes, heads, d, e = load(call), load(call + 16), load(call + 24), load(call + 32)
    scale, p_drop = constant(row_float64(call + 40, 1)[0]), row_float64(call + 48, 1)[0]
    first = call + 56
    left, right = row_index(load(first), nodes + 1), row_index(load(first + OPERAND), nodes + 1)
    payload = payload_words(load(first + 2 * OPERAND), 3 * nodes)
    kept, limit = constant(kept_scale(p_drop)), drop_limit(p_drop)
    for item in range(items):
        s, h = example + item // heads, item % heads
        start, other = left[s], right[s]
        n, m = left[s + 1] - start, right[s + 1] - other
        by_d, by_e = h * d * itemsize, h * e * itemsize
        weights = own_row(room + item * most * itemsize, n * m)
        for at in lanes(n * m):
            q = row(address(first + 3 * OPERAND, start + at // m) + by_d, d)
            k = row(address(first + 4 * OPERAND, other + at % m) + by_d, d)
            total = constant(0)
            for a in range(d):
                total += q[a] * k[a]
            weights[at] = total * scale
        together()
        key, counter = row_key(payload[3 * s + 1], payload[3 * s + 2])
        for i in lanes(n):
            seen = min(m, i + payload[3 * s] + 1)
            top, total = constant(-np.inf), constant(0)
            for at in range(i * m, i * m + seen):
                top = maximum(weights[at], top)
            for at in range(i * m, i * m + seen):
                weights[at] = exp(weights[at] - top)
                total += weights[at]
            for at in range(i * m, i * m + m):
                weights[at] = weights[at] / total if at < i * m + seen else constant(0)
                if limit:
                    number = counter + np.uint64(at * heads + h)
                    weights[at] *= kept if squares32(number, key) >= limit else constant(0)
        together()
        for at in lanes(n * e):
            i, c = at // e, at % e
            total = constant(0)
            for j in range(m):
                total += (
                    weights[i * m + j] * row(address(first + 5 * OPERAND, other + j) + by_e, e)[c]
                )
            row(address(first + 6 * OPERAND, start + i) + by_e, e)[c] = total


def attention_rows_backward(call, items, example, room, most):
    """`attention_backward`, likewise; `room` has twice `most` pairs each."""
    nodes, heads, d, e = load(call), load(call + 16), load(call + 24), load(call + 32)
    scale, p_drop = constant(row_float64(call + 40, 1)[0]), row_float64(call + 48, 1)[0]
    first = call + 56
    left, right = row_index(load(first), nodes + 1), row_index(load(first + OPERAND), nodes + 1)
    payload = payload_words(load(first + 2 * OPERAND), 3 * nodes)
    kept, limit = constant(kept_scale(p_drop)), drop_limit(p_drop)
    for item in range(items):
        s, h = example + item // heads, item % heads
        start, other = left[s], right[s]
        n, m = left[s + 1] - start, right[s + 1] - other
        by_d, by_e = h * d * itemsize, h * e * itemsize
        weights = own_row(room + 2 * item * most * itemsize, n * m)
        slope = own_row(room + (2 * item + 1) * most * itemsize, n * m)
        for at in lanes(n * m):
            i, j = start + at // m, other + at % m
            q = row(address(first + 3 * OPERAND, i) + by_d, d)
            k = row(address(first + 4 * OPERAND, j) + by_d, d)
            v = row(address(first + 5 * OPERAND, j) + by_e, e)
            g = row(address(first + 6 * OPERAND, i) + by_e, e)
            total, gain = constant(0), constant(0)
            for a in range(d):
                total += q[a] * k[a]
            for c in range(e):
                gain += g[c] * v[c]
            weights[at], slope[at] = total * scale, gain
        together()
        key, counter = row_key(payload[3 * s + 1], payload[3 * s + 2])
        for i in lanes(n):
            seen = min(m, i + payload[3 * s] + 1)
            top, total, mean = constant(-np.inf), constant(0), constant(0)
            for at in range(i * m, i * m + seen):
                top = maximum(weights[at], top)
            for at in range(i * m, i * m + seen):
                weights[at] = exp(weights[at] - top)
                total += weights[at]
            for at in range(i * m, i * m + m):
                weights[at] = weights[at] / total if at < i * m + seen else constant(0)
                number = counter + np.uint64(at * heads + h)
                share = kept
                if limit and squares32(number, key) < limit:
                    share = constant(0)
                mean += weights[at] * share * slope[at]
            for at in range(i * m, i * m + m):
                number = counter + np.uint64(at * heads + h)
                share = kept
                if limit and squares32(number, key) < limit:
                    share = constant(0)
                slope[at] = scale * weights[at] * (share * slope[at] - mean)
                weights[at] *= share
        together()
        for at in lanes(n * d):
            i, a = at // d, at % d
            total = constant(0)
            for j in range(m):
                k = row(address(first + 4 * OPERAND, other + j) + by_d, d)
                total += slope[i * m + j] * k[a]
            dq = row(address(first + 7 * OPERAND, start + i) + by_d, d)
            dq[a] += total
        for at in lanes(m * d):
            j, a = at // d, at % d
            total = constant(0)
            for i in range(n):
                q = row(address(first + 3 * OPERAND, start + i) + by_d, d)
                total += slope[i * m + j] * q[a]
            dk = row(address(first + 8 * OPERAND, other + j) + by_d, d)
            dk[a] += total
        for at in lanes(m * e):
            j, c = at // e, at % e
            total = constant(0)
            for i in range(n):
                g = row(address(first + 6 * OPERAND, start + i) + by_e, e)
                total += weights[i * m + j] * g[c]
            dv = row(address(first + 9 * OPERAND, other + j) + by_e, e)
            dv[c] += total


def attention(kernels, dtype, call) -> None:
    """y_i = sum_j p_ij v_j, with the record of the CPU's `attention`."""
    _launch(kernels, dtype, call, attention_rows, 1)


def attention_backward(kernels, dtype, call) -> None:
    """The gradients of q, k and v, with the record of the CPU's `attention_backward`."""
    _launch(kernels, dtype, call, attention_rows_backward, 2)


def _launch(kernels, dtype, call, kernel, numbers: int) -> None:
    """Launch a kernel for all examples of a record, with `numbers` for each pair of an example."""
    host, words, record, _ = call
    nodes, heads = words[0], words[2]
    most = int((_lengths(host, 0, nodes) * _lengths(host, 1, nodes)).max(initial=0))
    if not most:
        return
    each = numbers * heads * most * np.dtype(dtype).itemsize
    count = max(1, min(nodes, ROOM // each))
    room = kernels.pool.take(count * each)
    try:
        for example in range(0, nodes, count):
            items = heads * min(count, nodes - example)
            compiled = kernels.compiled(kernel, dtype)
            kernels.driver.launch_blocks(
                compiled, items, record, items, example, room.address, most
            )
    finally:
        kernels.pool.give(room)  # what comes to lie there is written later in the same stream


def _lengths(host: int, operand: int, nodes: int) -> np.ndarray:
    """How many rows each example has, by the offsets that an operand of the record is."""
    at = ctypes.c_int64.from_address(host + 8 * (_FIRST + 3 * operand)).value
    return np.diff(np.frombuffer((ctypes.c_int64 * (nodes + 1)).from_address(at), np.int64))
