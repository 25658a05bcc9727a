"""Kernels over the pairs of queries and keys of each example of a batch.

Queries, keys and values are rows of (heads, width). Rows of an example that are evenly spaced are a
matrix as they lie; others are copied into one, example by example. What is kept of the weights is
one example's, for one head and as many queries as have `PAIRS_AT_ONCE` weights: memory grows with
the rows and not with their pairs.
"""

import numpy as np

from lazynet.kernels.jit import word
from lazynet.kernels.memory import OPERAND, address, load, row_float64, row_int32
from lazynet.kernels.noise import drop_limit, kept_scale, row_key, squares32
from lazynet.kernels.words import (
    constant,
    exp,
    itemsize,
    maximum,
    payload_words,
    product,
    row,
    row_index,
)

PAIRS_AT_ONCE = 1 << 20


@word
def even_stride(operand, first, count, width):
    """The bytes between `count` rows from row `first` on; 0 where they are no matrix."""
    if count <= 1:
        return width
    stride = address(operand, first + 1) - address(operand, first)
    if stride < width:
        return np.int64(0)
    for j in range(first + 2, first + count):
        if address(operand, j) - address(operand, j - 1) != stride:
            return np.int64(0)
    return stride


@word
def matrix_of(operand, first, count, width, room):
    """Rows of `width` bytes as a matrix, copied to the address `room` if need be.

    Gives its address and the bytes between its rows.
    """
    stride = even_stride(operand, first, count, width)
    if stride != 0:
        return address(operand, first), stride
    for i in range(count):
        source = row_int32(address(operand, first + i), width // 4)
        target = row_int32(room + i * width, width // 4)
        for j in range(width // 4):
            target[j] = source[j]
    return np.int64(room), np.int64(width)


@word
def sums_into(operand, first, count, width, room):
    """Where a product may add to rows: the rows as a matrix, or zeros that are added later."""
    stride = even_stride(operand, first, count, width)
    if stride != 0:
        return address(operand, first), stride
    zeros = row_int32(room, count * width // 4)
    for j in range(count * width // 4):
        zeros[j] = 0
    return np.int64(room), np.int64(width)


@word
def longest_run(offsets, nodes):
    """The most rows that an example has."""
    most = np.int64(0)
    for s in range(nodes):
        most = max(most, offsets[s + 1] - offsets[s])
    return most


@word
def most_pairs(left, right, nodes):
    """The most pairs that an example has."""
    most = np.int64(0)
    for s in range(nodes):
        most = max(most, (left[s + 1] - left[s]) * (right[s + 1] - right[s]))
    return most


def attention(call, context):
    """y_i = sum_j p_ij v_j with p_i = softmax_j(scale q_i . k_j) over j <= i + reach, head by head.

    Weights are dropped as `pair_drop` drops them. Attributes: accumulate, heads, widths of keys and
    of values, bits of the scale and of p. Operands: offsets of queries and of keys, payload (reach,
    stream, counter) of each example, q, k, v, y. Bound: BLAS.
    """
    nodes, heads, d, e = load(call), load(call + 16), load(call + 24), load(call + 32)
    scale, p_drop = constant(row_float64(call + 40, 1)[0]), row_float64(call + 48, 1)[0]
    first = call + 56
    left, right = row_index(load(first), nodes + 1), row_index(load(first + OPERAND), nodes + 1)
    payload = payload_words(load(first + 2 * OPERAND), 3 * nodes)
    kept, limit = constant(kept_scale(p_drop)), drop_limit(p_drop)
    most = max(longest_run(left, nodes), longest_run(right, nodes))
    pairs = np.full(max(min(most_pairs(left, right, nodes), PAIRS_AT_ONCE), most), constant(0))
    room = np.full((3, most * heads * max(d, e)), constant(0))
    wide, size = heads * d * itemsize, heads * e * itemsize
    for s in range(nodes):
        start, other = left[s], right[s]
        n, m = left[s + 1] - start, right[s + 1] - other
        if n == 0 or m == 0:
            continue  # no rows, or, which recording refuses, nothing to sum
        q, ld_q = matrix_of(first + 3 * OPERAND, start, n, wide, room[0].ctypes.data)
        k, ld_k = matrix_of(first + 4 * OPERAND, other, m, wide, room[1].ctypes.data)
        v, ld_v = matrix_of(first + 5 * OPERAND, other, m, size, room[2].ctypes.data)
        y, p = address(first + 6 * OPERAND, start), np.int64(pairs.ctypes.data)
        key, counter = row_key(payload[3 * s + 1], payload[3 * s + 2])
        each = max(min(n, PAIRS_AT_ONCE // m), 1)
        for turn in range(heads * ((n + each - 1) // each)):
            h, begin = turn % heads, turn // heads * each
            some, by_d, by_e = min(each, n - begin), h * d * itemsize, h * e * itemsize
            ld, at = ld_q // itemsize, q + begin * ld_q + by_d
            product(context, 0, 0, 1, some, m, d, at, ld, k + by_d, ld_k // itemsize, p, m)
            for i in range(begin, begin + some):
                weights = pairs[(i - begin) * m : (i - begin + 1) * m]
                seen = min(m, i + payload[3 * s] + 1)
                top, total = constant(-np.inf), constant(0)
                for j in range(seen):
                    weights[j] *= scale
                    top = maximum(weights[j], top)
                for j in range(seen):
                    weights[j] = exp(weights[j] - top)
                    total += weights[j]
                for j in range(seen):
                    weights[j] /= total
                for j in range(seen if limit else 0):
                    number = counter + np.uint64((i * m + j) * heads + h)
                    weights[j] *= kept if squares32(number, key) >= limit else constant(0)
                weights[seen:] = 0
            ld, at = ld_v // itemsize, y + begin * size + by_e
            product(context, 0, 0, 0, some, e, m, p, m, v + by_e, ld, at, heads * e)


def attention_backward(call, context):
    """Adds the gradients of q, k and v, given that of y; the weights are worked out again.

    Attributes as `attention`; operands: offsets of queries and of keys, payload, q, k, v, dy, and
    the gradients of q, k and v. With p the weights, dv += p' dy, dp = dy v',
    ds = scale p (dp - sum_j p dp), dq += ds k, dk += ds' q.
    """
    nodes, heads, d, e = load(call), load(call + 16), load(call + 24), load(call + 32)
    scale, p_drop = constant(row_float64(call + 40, 1)[0]), row_float64(call + 48, 1)[0]
    first = call + 56
    left, right = row_index(load(first), nodes + 1), row_index(load(first + OPERAND), nodes + 1)
    payload = payload_words(load(first + 2 * OPERAND), 3 * nodes)
    kept, limit = constant(kept_scale(p_drop)), drop_limit(p_drop)
    most = max(longest_run(left, nodes), longest_run(right, nodes))
    pairs = np.full((2, max(min(most_pairs(left, right, nodes), PAIRS_AT_ONCE), most)), constant(0))
    room = np.full((7, most * heads * max(d, e)), constant(0))
    share = np.full(most, constant(0))
    # Of q, k, v, dy and the three gradients: widths in bytes, whether they go by queries; for each
    # example where they lie and the elements between rows.
    widths, by_query = np.empty(7, np.int64), np.array([1, 0, 0, 1, 1, 0, 0])
    widths[:] = heads * d * itemsize
    widths[2] = widths[3] = widths[6] = heads * e * itemsize
    at, ld = np.empty(7, np.int64), np.empty(7, np.int64)
    for s in range(nodes):
        n, m = left[s + 1] - left[s], right[s + 1] - right[s]
        if n == 0 or m == 0:
            continue
        for z in range(7):
            operand, space = first + (3 + z) * OPERAND, np.int64(room[z].ctypes.data)
            start, count = (left[s], n) if by_query[z] else (right[s], m)
            if z < 4:
                at[z], stride = matrix_of(operand, start, count, widths[z], space)
            else:
                at[z], stride = sums_into(operand, start, count, widths[z], space)
            ld[z] = stride // itemsize
        p, ds = np.int64(pairs[0].ctypes.data), np.int64(pairs[1].ctypes.data)
        key, counter = row_key(payload[3 * s + 1], payload[3 * s + 2])
        each = max(min(n, PAIRS_AT_ONCE // m), 1)
        for turn in range(heads * ((n + each - 1) // each)):
            h, begin = turn % heads, turn // heads * each
            some, by_d, by_e = min(each, n - begin), h * d * itemsize, h * e * itemsize
            q, g = at[0] + begin * ld[0] * itemsize + by_d, at[3] + begin * ld[3] * itemsize + by_e
            k, v, dq = at[1] + by_d, at[2] + by_e, at[4] + begin * ld[4] * itemsize + by_d
            product(context, 0, 0, 1, some, m, d, q, ld[0], k, ld[1], p, m)
            product(context, 0, 0, 1, some, m, e, g, ld[3], v, ld[2], ds, m)
            for i in range(begin, begin + some):
                here, end = (i - begin) * m, (i - begin + 1) * m
                weights, slope = pairs[0, here:end], pairs[1, here:end]
                seen = min(m, i + payload[3 * s] + 1)
                top, total, mean = constant(-np.inf), constant(0), constant(0)
                for j in range(seen):
                    weights[j] *= scale
                    top = maximum(weights[j], top)
                for j in range(seen):
                    weights[j] = exp(weights[j] - top)
                    total += weights[j]
                for j in range(seen):
                    weights[j] /= total
                for j in range(seen):
                    number = counter + np.uint64((i * m + j) * heads + h)
                    share[j] = kept
                    if limit and squares32(number, key) < limit:
                        share[j] = constant(0)
                    slope[j] *= share[j]
                    mean += weights[j] * slope[j]
                for j in range(seen):
                    slope[j] = scale * weights[j] * (slope[j] - mean)
                    weights[j] *= share[j]
                weights[seen:] = 0
                slope[seen:] = 0
            product(context, 1, 1, 0, m, e, some, p, m, g, ld[3], at[6] + by_e, ld[6])
            product(context, 1, 0, 0, some, d, m, ds, m, k, ld[1], dq, ld[4])
            product(context, 1, 1, 0, m, d, some, ds, m, q, ld[0], at[5] + by_d, ld[5])
        for z in range(4, 7):
            if at[z] != room[z].ctypes.data:
                continue
            start, count = (left[s], n) if by_query[z] else (right[s], m)
            width = widths[z] // itemsize
            for i in range(count):
                target = row(address(first + (3 + z) * OPERAND, start + i), width)
                for j in range(width):
                    target[j] += room[z, i * width + j]
