"""Kernels over the pairs of queries and keys of each example of a batch.

Queries, keys and values are rows of (heads, width); the pair of query i and key j is row i m + j of
n m rows of (heads,). Operands of an example whose rows are evenly spaced are matrices as they lie;
others are copied into one, example by example.
"""

import numpy as np

from lazynet.kernels.jit import inline
from lazynet.kernels.memory import OPERAND, address, load, row_float64
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


@inline
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


@inline
def longest_run(offsets, nodes):
    """The most rows that an example has."""
    most = np.int64(0)
    for s in range(nodes):
        most = max(most, offsets[s + 1] - offsets[s])
    return most


@inline
def most_pairs(left, right, nodes):
    """The most pairs that an example has."""
    most = np.int64(0)
    for s in range(nodes):
        most = max(most, (left[s + 1] - left[s]) * (right[s + 1] - right[s]))
    return most


def attention(call, context):
    """y_i = sum_j p_ij v_j with p_i = softmax_j(scale q_i . k_j) over j <= i + reach, head by head.

    Attributes: accumulate, heads, widths of keys and of values, bits of the scale. Operands:
    offsets of queries and of keys, reach of each example, q, k, v, y. Bound: BLAS.
    """
    nodes, heads, d, e = load(call), load(call + 16), load(call + 24), load(call + 32)
    scale = constant(row_float64(call + 40, 1)[0])
    first = call + 48
    left, right = row_index(load(first), nodes + 1), row_index(load(first + OPERAND), nodes + 1)
    reach = payload_words(load(first + 2 * OPERAND), nodes)
    pairs = np.full(most_pairs(left, right, nodes), constant(0))
    queries = np.full(longest_run(left, nodes) * heads * d, constant(0))
    keys = np.full(longest_run(right, nodes) * heads * d, constant(0))
    values = np.full(longest_run(right, nodes) * heads * e, constant(0))
    q, k, v, y = (
        first + OPERAND * 3,
        first + OPERAND * 4,
        first + OPERAND * 5,
        first + OPERAND * 6,
    )
    for s in range(nodes):
        n, m = left[s + 1] - left[s], right[s + 1] - right[s]
        if n == 0:
            continue
        at_q, ld_q = address(q, left[s]), even_stride(q, left[s], n, heads * d * itemsize)
        if ld_q == 0:
            for i in range(n):
                queries[i * heads * d : (i + 1) * heads * d] = row(
                    address(q, left[s] + i), heads * d
                )
            at_q, ld_q = queries.ctypes.data, heads * d * itemsize
        at_k, ld_k = np.int64(0), heads * d * itemsize
        at_v, ld_v = np.int64(0), heads * e * itemsize
        if m > 0:
            at_k, ld_k = address(k, right[s]), even_stride(k, right[s], m, heads * d * itemsize)
            at_v, ld_v = address(v, right[s]), even_stride(v, right[s], m, heads * e * itemsize)
        if ld_k == 0:
            for j in range(m):
                keys[j * heads * d : (j + 1) * heads * d] = row(address(k, right[s] + j), heads * d)
            at_k, ld_k = keys.ctypes.data, heads * d * itemsize
        if ld_v == 0:
            for j in range(m):
                values[j * heads * e : (j + 1) * heads * e] = row(
                    address(v, right[s] + j), heads * e
                )
            at_v, ld_v = values.ctypes.data, heads * e * itemsize
        at_y = address(y, left[s])  # results lie end to end
        for h in range(heads):
            shift_d, shift_e = h * d * itemsize, h * e * itemsize
            scores = pairs.ctypes.data
            product(
                context, 0, 0, 1, n, m, d, at_q + shift_d, ld_q // itemsize, at_k + shift_d,
                ld_k // itemsize, scores, m,
            )  # fmt: skip
            for i in range(n):
                p = pairs[i * m : (i + 1) * m]
                seen = min(m, i + reach[s] + 1)
                top = constant(-np.inf)
                for j in range(seen):
                    p[j] *= scale
                    top = maximum(p[j], top)
                total = constant(0)
                for j in range(seen):
                    p[j] = exp(p[j] - top)
                    total += p[j]
                for j in range(seen):
                    p[j] /= total
                for j in range(seen, m):
                    p[j] = constant(0)
            product(
                context, 0, 0, 0, n, e, m, scores, m, at_v + shift_e, ld_v // itemsize,
                at_y + shift_e, heads * e,
            )  # fmt: skip


def attention_backward(call, context):
    """Adds the gradients of q, k and v, given that of y; the weights are worked out again.

    Attributes as `attention`; operands: offsets of queries and of keys, reach, q, k, v, dy, and the
    gradients of q, k and v. With p the weights and s the scores,
    dv += p' dy, dp = dy v', ds = scale p (dp - sum_j p dp), dq += ds k, dk += ds' q.
    """
    nodes, heads, d, e = load(call), load(call + 16), load(call + 24), load(call + 32)
    scale = constant(row_float64(call + 40, 1)[0])
    first = call + 48
    left, right = row_index(load(first), nodes + 1), row_index(load(first + OPERAND), nodes + 1)
    reach = payload_words(load(first + 2 * OPERAND), nodes)
    pairs = np.full(most_pairs(left, right, nodes), constant(0))
    slopes = np.full(most_pairs(left, right, nodes), constant(0))
    n_most, m_most = longest_run(left, nodes), longest_run(right, nodes)
    # Queries, keys, values and the gradient of the output; then the three gradients.
    inputs, widths = np.empty(7, np.int64), np.empty(7, np.int64)
    widths[0] = widths[1] = widths[4] = widths[5] = heads * d
    widths[2] = widths[3] = widths[6] = heads * e
    room = max(n_most, m_most) * heads * max(d, e)
    copies = np.full(7 * room, constant(0))
    at, ld = np.empty(7, np.int64), np.empty(7, np.int64)
    for s in range(nodes):
        n, m = left[s + 1] - left[s], right[s + 1] - right[s]
        if n == 0 or m == 0:
            continue
        for z in range(7):
            operand, width = first + OPERAND * (3 + z), widths[z]
            by_query = z == 0 or z == 3 or z == 4
            start, count = (left[s], n) if by_query else (right[s], m)
            stride = even_stride(operand, start, count, width * itemsize)
            inputs[z] = stride
            at[z], ld[z] = address(operand, start), stride // itemsize
            if stride == 0:
                copy = copies[z * room : z * room + count * width]
                at[z], ld[z] = copy.ctypes.data, width
                for i in range(count):
                    if z < 4:
                        copy[i * width : (i + 1) * width] = row(address(operand, start + i), width)
                    else:
                        copy[i * width : (i + 1) * width] = constant(0)
        p, ds = pairs.ctypes.data, slopes.ctypes.data
        for h in range(heads):
            by_d, by_e = h * d * itemsize, h * e * itemsize
            q, k, v, g = at[0] + by_d, at[1] + by_d, at[2] + by_e, at[3] + by_e
            product(context, 0, 0, 1, n, m, d, q, ld[0], k, ld[1], p, m)
            product(context, 0, 0, 1, n, m, e, g, ld[3], v, ld[2], ds, m)
            for i in range(n):
                weights, slope = pairs[i * m : (i + 1) * m], slopes[i * m : (i + 1) * m]
                seen = min(m, i + reach[s] + 1)
                top = constant(-np.inf)
                for j in range(seen):
                    weights[j] *= scale
                    top = maximum(weights[j], top)
                total = constant(0)
                for j in range(seen):
                    weights[j] = exp(weights[j] - top)
                    total += weights[j]
                mean = constant(0)
                for j in range(seen):
                    weights[j] /= total
                    mean += weights[j] * slope[j]
                for j in range(seen):
                    slope[j] = scale * weights[j] * (slope[j] - mean)
                for j in range(seen, m):
                    weights[j] = slope[j] = constant(0)
            product(context, 1, 1, 0, m, e, n, p, m, g, ld[3], at[6] + by_e, ld[6])
            product(context, 1, 0, 0, n, d, m, ds, m, k, ld[1], at[4] + by_d, ld[4])
            product(context, 1, 1, 0, m, d, n, ds, m, q, ld[0], at[5] + by_d, ld[5])
        for z in range(4, 7):
            if inputs[z] != 0:
                continue
            operand, width = first + OPERAND * (3 + z), widths[z]
            start, count = (left[s], n) if z == 4 else (right[s], m)
            for i in range(count):
                target = row(address(operand, start + i), width)
                for j in range(width):
                    target[j] += copies[z * room + i * width + j]
