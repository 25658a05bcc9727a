"""Kernels that have the pairs of queries and keys as rows: what attention is made of, in parts.

The pair of query i and key j of an example is row i m + j of n m rows of (heads,). These serve what
`attention` does not do in one: weights as values, masks, derivatives of derivatives.
"""

import numpy as np

from lazynet.kernels.memory import OPERAND, address, load, row_float64
from lazynet.kernels.noise import drop_limit, kept_scale, row_key, squares32
from lazynet.kernels.words import constant, exp, maximum, payload_words, row, row_index


def pair_scores(call, context):
    """p_ij (+)= q_i . k_j, head by head; attributes: accumulate, heads, width.

    Operands: offsets of queries, keys and pairs, q, k, p.
    """
    nodes, accumulate, heads, width = load(call), load(call + 8), load(call + 16), load(call + 24)
    first = call + 32
    left, right = row_index(load(first), nodes + 1), row_index(load(first + OPERAND), nodes + 1)
    pairs = row_index(load(first + 2 * OPERAND), nodes + 1)
    for s in range(nodes):
        m = right[s + 1] - right[s]
        for i in range(left[s + 1] - left[s]):
            q = row(address(first + 3 * OPERAND, left[s] + i), heads * width)
            for j in range(m):
                k = row(address(first + 4 * OPERAND, right[s] + j), heads * width)
                p = row(address(first + 5 * OPERAND, pairs[s] + i * m + j), heads)
                for h in range(heads):
                    total = constant(0)
                    for a in range(h * width, (h + 1) * width):
                        total += q[a] * k[a]
                    p[h] = p[h] + total if accumulate else total


def pair_sum(call, context):
    """y_i (+)= sum_j p_ij v_j, head by head; attributes: accumulate, heads, width.

    Operands: offsets of queries, keys and pairs, p, v, y.
    """
    nodes, accumulate, heads, width = load(call), load(call + 8), load(call + 16), load(call + 24)
    first = call + 32
    left, right = row_index(load(first), nodes + 1), row_index(load(first + OPERAND), nodes + 1)
    pairs = row_index(load(first + 2 * OPERAND), nodes + 1)
    for s in range(nodes):
        m = right[s + 1] - right[s]
        for i in range(left[s + 1] - left[s]):
            y = row(address(first + 5 * OPERAND, left[s] + i), heads * width)
            if not accumulate:
                for a in range(heads * width):
                    y[a] = constant(0)
            for j in range(m):
                p = row(address(first + 3 * OPERAND, pairs[s] + i * m + j), heads)
                v = row(address(first + 4 * OPERAND, right[s] + j), heads * width)
                for h in range(heads):
                    for a in range(h * width, (h + 1) * width):
                        y[a] += p[h] * v[a]


def pair_sum_back(call, context):
    """y_j (+)= sum_i p_ij x_i, head by head; attributes and operands as `pair_sum`."""
    nodes, accumulate, heads, width = load(call), load(call + 8), load(call + 16), load(call + 24)
    first = call + 32
    left, right = row_index(load(first), nodes + 1), row_index(load(first + OPERAND), nodes + 1)
    pairs = row_index(load(first + 2 * OPERAND), nodes + 1)
    for s in range(nodes):
        m = right[s + 1] - right[s]
        for j in range(m):
            y = row(address(first + 5 * OPERAND, right[s] + j), heads * width)
            if not accumulate:
                for a in range(heads * width):
                    y[a] = constant(0)
            for i in range(left[s + 1] - left[s]):
                p = row(address(first + 3 * OPERAND, pairs[s] + i * m + j), heads)
                x = row(address(first + 4 * OPERAND, left[s] + i), heads * width)
                for h in range(heads):
                    for a in range(h * width, (h + 1) * width):
                        y[a] += p[h] * x[a]


def pair_softmax(call, context):
    """y_ij = exp(x_ij) / sum_j exp(x_ij) over j <= i + reach, 0 beyond; accumulate, heads.

    Operands: offsets of the pairs, payload (keys, reach) of each example, x, y.
    """
    nodes, heads = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    payload = payload_words(load(first + OPERAND), 2 * nodes)
    for s in range(nodes):
        m, reach = np.int64(payload[2 * s]), np.int64(payload[2 * s + 1])
        for at in range(offsets[s], offsets[s + 1], max(m, 1)):
            seen = min(m, (at - offsets[s]) // m + reach + 1)
            for h in range(heads):
                top = constant(-np.inf)
                for j in range(at, at + seen):
                    top = maximum(row(address(first + 2 * OPERAND, j), heads)[h], top)
                total = constant(0)
                for j in range(at, at + m):
                    y = row(address(first + 3 * OPERAND, j), heads)
                    if j < at + seen:
                        y[h] = exp(row(address(first + 2 * OPERAND, j), heads)[h] - top)
                        total += y[h]
                    else:
                        y[h] = constant(0)
                for j in range(at, at + seen):
                    row(address(first + 3 * OPERAND, j), heads)[h] /= total


def pair_softmax_backward(call, context):
    """dx_ij += y_ij (dy_ij - sum_j y_ij dy_ij); operands: offsets, payload, y, dy, dx."""
    nodes, heads = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    payload = payload_words(load(first + OPERAND), 2 * nodes)
    for s in range(nodes):
        m = np.int64(payload[2 * s])
        for at in range(offsets[s], offsets[s + 1], max(m, 1)):
            for h in range(heads):
                mean = constant(0)
                for j in range(at, at + m):
                    y = row(address(first + 2 * OPERAND, j), heads)
                    mean += y[h] * row(address(first + 3 * OPERAND, j), heads)[h]
                for j in range(at, at + m):
                    y = row(address(first + 2 * OPERAND, j), heads)
                    g = row(address(first + 3 * OPERAND, j), heads)
                    row(address(first + 4 * OPERAND, j), heads)[h] += y[h] * (g[h] - mean)


def pair_drop(call, context):
    """y (+)= x / (1 - p), or 0 with probability p; attributes: accumulate, heads, bits of p.

    Elements are counted over all pairs of an example. Operands: offsets of the pairs, payload
    (stream, counter) of each example, x, y.
    """
    nodes, accumulate, heads = load(call), load(call + 8), load(call + 16)
    p, first = row_float64(call + 24, 1)[0], call + 32
    offsets = row_index(load(first), nodes + 1)
    payload = payload_words(load(first + OPERAND), 2 * nodes)
    scale, limit = constant(kept_scale(p)), drop_limit(p)
    for s in range(nodes):
        key, counter = row_key(payload[2 * s], payload[2 * s + 1])
        for at in range(offsets[s], offsets[s + 1]):
            x = row(address(first + 2 * OPERAND, at), heads)
            y = row(address(first + 3 * OPERAND, at), heads)
            for h in range(heads):
                number = counter + np.uint64((at - offsets[s]) * heads + h)
                kept = scale if squares32(number, key) >= limit else constant(0)
                y[h] = y[h] + x[h] * kept if accumulate else x[h] * kept


def pair_total(call, context):
    """y_ij (+)= sum over the keys j of x_ij; attributes: accumulate, heads; as `pair_softmax`."""
    nodes, accumulate, heads = load(call), load(call + 8), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    payload = payload_words(load(first + OPERAND), nodes)
    for s in range(nodes):
        m = np.int64(payload[s])
        for at in range(offsets[s], offsets[s + 1], max(m, 1)):
            for h in range(heads):
                total = constant(0)
                for j in range(at, at + m):
                    total += row(address(first + 2 * OPERAND, j), heads)[h]
                for j in range(at, at + m):
                    y = row(address(first + 3 * OPERAND, j), heads)
                    y[h] = y[h] + total if accumulate else total
