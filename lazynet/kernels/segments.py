"""Kernels along the rows of each segment of a batch."""

import numpy as np

from lazynet.kernels.jit import word
from lazynet.kernels.memory import address, load
from lazynet.kernels.words import (
    constant,
    difference,
    exp,
    itemsize,
    lanes,
    least,
    log,
    maximum,
    row,
    row_index,
)


def segment_sum(call, context):
    """y[s] (+)= sum of the rows x of segment s; items are segments; attributes: accumulate, width.

    Operands: segment offsets, x, y. A segment without rows gives 0. Of many numbers sums of 256
    are added up, as by `sum_axis`.
    """
    segments, accumulate, width = load(call), load(call + 8), load(call + 16)
    offsets = row_index(load(call + 24), segments + 1)
    for s in range(segments):
        y = row(address(call + 72, s), width)
        if not accumulate:
            for j in lanes(width):
                y[j] = constant(0)
        if width == 1:
            for j in lanes(1):
                for first in range(offsets[s], offsets[s + 1], 256):
                    part = constant(0)
                    for r in range(first, min(first + 256, offsets[s + 1])):
                        part += row(address(call + 48, r), 1)[0]
                    y[j] += part
            continue
        for r in range(offsets[s], offsets[s + 1]):
            x = row(address(call + 48, r), width)
            for j in lanes(width):
                y[j] += x[j]


def segment_cumsum(call, context):
    """y = sum of the rows of its segment up to its own, or from it on where it goes back.

    Attributes: accumulate, width, back. Operands as `segment_sum`, but that y has the rows of x.
    """
    segments, width, back = load(call), load(call + 16), load(call + 24)
    offsets = row_index(load(call + 32), segments + 1)
    for s in range(segments):
        count = offsets[s + 1] - offsets[s]
        for k in range(count):
            r = offsets[s + 1] - 1 - k if back else offsets[s] + k
            x, y = row(address(call + 56, r), width), row(address(call + 80, r), width)
            before = row(address(call + 80, (r + 1 if back else r - 1) if k > 0 else r), width)
            for j in lanes(width):
                y[j] = x[j] + before[j] if k > 0 else x[j]


def segment_max(call, context):
    """y[s] = elementwise maximum of the rows x of segment s; attributes, operands as `segment_sum`.

    A segment without rows gives the least value there is: -inf for floats.
    """
    segments, width = load(call), load(call + 16)
    offsets = row_index(load(call + 24), segments + 1)
    for s in range(segments):
        y = row(address(call + 72, s), width)
        for j in lanes(width):
            y[j] = constant(least)
        for r in range(offsets[s], offsets[s + 1]):
            x = row(address(call + 48, r), width)
            for j in lanes(width):
                y[j] = maximum(x[j], y[j])


def segment_share(call, context):
    """y[s] = 1 / the number of rows of segment s, 0 for none; operands as `segment_sum`."""
    segments = load(call)
    offsets = row_index(load(call + 24), segments + 1)
    for s in range(segments):
        y = row(address(call + 72, s), 1)
        count = offsets[s + 1] - offsets[s]
        for j in lanes(1):
            y[j] = constant(1) / constant(count) if count > 0 else constant(0)


@word
def adjacent(operand, width):
    """Whether all rows of an operand, of so many bytes, lie one after the other."""
    return load(operand + 16) == 0 and load(operand + 8) == width


def segment_softmax(call, context):
    """y = exp(x) / (sum of exp(x) over the rows of its segment), for each element of the row.

    Attributes and operands as `segment_sum`, but that y has the rows that x has. Of rows of one
    number, which are brought together in y, many are gone through at a time.
    """
    segments, width = load(call), load(call + 16)
    offsets = row_index(load(call + 24), segments + 1)
    if width == 1 and adjacent(call + 72, itemsize):
        for s in range(segments):
            first, count = offsets[s], offsets[s + 1] - offsets[s]
            for _ in lanes(min(count, 1)):
                top, total = constant(-np.inf), constant(0)
                y = row(address(call + 72, first), count)
                for k in range(count):  # NaN, which is no maximum here, comes into the total
                    y[k] = row(address(call + 48, first + k), 1)[0]
                    top = y[k] if y[k] > top else top
                for k in range(count):
                    value = exp(y[k] - top)
                    y[k] = value
                    total += value
                for k in range(count):
                    y[k] /= total
        return
    for s in range(segments):
        for j in lanes(width):
            top = constant(-np.inf)
            for r in range(offsets[s], offsets[s + 1]):
                top = maximum(row(address(call + 48, r), width)[j], top)
            total = constant(0)
            for r in range(offsets[s], offsets[s + 1]):
                value = exp(row(address(call + 48, r), width)[j] - top)
                row(address(call + 72, r), width)[j] = value
                total += value
            for r in range(offsets[s], offsets[s + 1]):
                row(address(call + 72, r), width)[j] /= total


def segment_log_softmax(call, context):
    """y = x - log(sum of exp(x) over the rows of its segment), for each element of the row.

    Attributes and operands as `segment_softmax`.
    """
    segments, width = load(call), load(call + 16)
    offsets = row_index(load(call + 24), segments + 1)
    if width == 1 and adjacent(call + 72, itemsize):
        for s in range(segments):
            first, count = offsets[s], offsets[s + 1] - offsets[s]
            for _ in lanes(min(count, 1)):
                top, total = constant(-np.inf), constant(0)
                y = row(address(call + 72, first), count)
                for k in range(count):
                    y[k] = row(address(call + 48, first + k), 1)[0]
                    top = y[k] if y[k] > top else top
                for k in range(count):
                    total += exp(y[k] - top)
                rest = log(total)
                for k in range(count):
                    y[k] = difference(difference(y[k], top), rest)
        return
    for s in range(segments):
        for j in lanes(width):
            top = constant(-np.inf)
            for r in range(offsets[s], offsets[s + 1]):
                top = maximum(row(address(call + 48, r), width)[j], top)
            total = constant(0)
            for r in range(offsets[s], offsets[s + 1]):
                total += exp(row(address(call + 48, r), width)[j] - top)
            rest = log(total)
            for r in range(offsets[s], offsets[s + 1]):
                x = row(address(call + 48, r), width)
                row(address(call + 72, r), width)[j] = difference(difference(x[j], top), rest)
