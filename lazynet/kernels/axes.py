"""Kernels along one axis of each row, which is seen as (outer, axis, inner)."""

from lazynet.kernels.memory import address, load
from lazynet.kernels.words import constant, difference, exp, least, log, maximum, row, row_index


def sum_axis(call, context):
    """y[o, i] (+)= sum over a of x[o, a, i]; attributes: accumulate, outer, axis, inner.

    Of a long axis sums of 4096 are added up, so that what is small is not lost in a large total.
    """
    items, accumulate = load(call), load(call + 8)
    outer, axis, inner = load(call + 16), load(call + 24), load(call + 32)
    for r in range(items):
        x = row(address(call + 40, r), outer * axis * inner)
        y = row(address(call + 64, r), outer * inner)
        if not accumulate:
            for j in range(outer * inner):
                y[j] = constant(0)
        for o in range(outer):
            if inner == 1:
                for first in range(0, axis, 4096):
                    values = x[o * axis + first : o * axis + min(first + 4096, axis)]
                    total = constant(0)
                    for j in range(values.size):
                        total += values[j]
                    y[o] += total
            else:
                for k in range(axis):
                    for j in range(inner):
                        y[o * inner + j] += x[(o * axis + k) * inner + j]


def repeat_axis(call, context):
    """y[o, a, i] (+)= x[o, i]; attributes: accumulate, outer, axis, inner."""
    items, accumulate = load(call), load(call + 8)
    outer, axis, inner = load(call + 16), load(call + 24), load(call + 32)
    for r in range(items):
        x = row(address(call + 40, r), outer * inner)
        y = row(address(call + 64, r), outer * axis * inner)
        for o in range(outer):
            for k in range(axis):
                for j in range(inner):
                    if accumulate:
                        y[(o * axis + k) * inner + j] += x[o * inner + j]
                    else:
                        y[(o * axis + k) * inner + j] = x[o * inner + j]


def cumsum_axis(call, context):
    """y[o, a, i] = sum over b <= a of x[o, b, i]; attributes: accumulate, outer, axis, inner, back.

    From the other end, over b >= a, where it goes back.
    """
    items = load(call)
    outer, axis, inner, back = load(call + 16), load(call + 24), load(call + 32), load(call + 40)
    for r in range(items):
        x = row(address(call + 48, r), outer * axis * inner)
        y = row(address(call + 72, r), outer * axis * inner)
        for o in range(outer):
            for k in range(axis):
                at = (o * axis + (axis - 1 - k if back else k)) * inner
                before = at + inner if back else at - inner
                for j in range(inner):
                    y[at + j] = x[at + j] + y[before + j] if k > 0 else x[at + j]


def max_axis(call, context):
    """y[o, i] = max over a of x[o, a, i], NaN if one is; accumulate, outer, axis, inner.

    Of nothing it is the least value there is.
    """
    items = load(call)
    outer, axis, inner = load(call + 16), load(call + 24), load(call + 32)
    for r in range(items):
        x = row(address(call + 40, r), outer * axis * inner)
        y = row(address(call + 64, r), outer * inner)
        for o in range(outer):
            for j in range(inner):
                best = constant(least)
                for k in range(axis):
                    best = maximum(x[(o * axis + k) * inner + j], best)
                y[o * inner + j] = best


def argmax_axis(call, context):
    """y[o, i] = the first a with the largest x[o, a, i]; attributes as `max_axis`."""
    items = load(call)
    outer, axis, inner = load(call + 16), load(call + 24), load(call + 32)
    for r in range(items):
        x = row(address(call + 40, r), outer * axis * inner)
        y = row_index(address(call + 64, r), outer * inner)
        for o in range(outer):
            for j in range(inner):
                best = 0
                top = x[o * axis * inner + j]
                for k in range(1, axis):
                    value = x[(o * axis + k) * inner + j]
                    if value > top or (value != value and top == top):
                        best, top = k, value
                y[o * inner + j] = best


def log_softmax_axis(call, context):
    """y = x - log(sum over the axis of exp(x)), shifted by the maximum; as `max_axis`."""
    items = load(call)
    outer, axis, inner = load(call + 16), load(call + 24), load(call + 32)
    for r in range(items):
        x = row(address(call + 40, r), outer * axis * inner)
        y = row(address(call + 64, r), outer * axis * inner)
        if inner == 1:  # elements side by side, many at a time
            for o in range(outer):
                first, top = o * axis, x[o * axis]
                for k in range(1, axis):  # NaN, which is no maximum here, comes into the total
                    if x[first + k] > top:
                        top = x[first + k]
                total = constant(0)
                for k in range(axis):
                    total += exp(x[first + k] - top)
                rest = log(total)
                for k in range(axis):
                    y[first + k] = difference(difference(x[first + k], top), rest)
        else:
            for o in range(outer):
                for j in range(inner):
                    first = o * axis * inner + j
                    top = x[first]
                    for k in range(1, axis):
                        if x[first + k * inner] > top:
                            top = x[first + k * inner]
                    total = constant(0)
                    for k in range(axis):
                        total += exp(x[first + k * inner] - top)
                    rest = log(total)
                    for k in range(axis):
                        y[first + k * inner] = difference(
                            difference(x[first + k * inner], top), rest
                        )


def logsumexp_axis(call, context):
    """y[o, i] = log(sum over a of exp(x[o, a, i])), shifted by the maximum; as `max_axis`.

    -inf of nothing, or of -inf alone; infinite if one is.
    """
    items = load(call)
    outer, axis, inner = load(call + 16), load(call + 24), load(call + 32)
    for r in range(items):
        x = row(address(call + 40, r), outer * axis * inner)
        y = row(address(call + 64, r), outer * inner)
        for o in range(outer):
            for j in range(inner):
                first, top = o * axis * inner + j, constant(least)
                for k in range(axis):  # as in `log_softmax_axis`
                    if x[first + k * inner] > top:
                        top = x[first + k * inner]
                if difference(top, top) != 0:  # there is nothing to shift by an infinity
                    top = constant(0)
                total = constant(0)
                for k in range(axis):
                    total += exp(difference(x[first + k * inner], top))
                y[o * inner + j] = log(total) + top


def nll(call, context):
    """y = log(sum of exp(x)) - chosen, shifted by the maximum; attributes: accumulate, width of x.

    Nothing as wide as x is written.
    """
    items, width = load(call), load(call + 16)
    for r in range(items):
        x = row(address(call + 24, r), width)
        chosen, y = row(address(call + 48, r), 1), row(address(call + 72, r), 1)
        top = x[0]
        for k in range(1, width):  # as in `log_softmax_axis`
            if x[k] > top:
                top = x[k]
        total = constant(0)
        for k in range(width):
            total += exp(x[k] - top)
        y[0] = difference(log(total), difference(chosen[0], top))


def softmax_axis(call, context):
    """y = exp(x) / (sum over the axis of exp(x)), shifted by the maximum; as `max_axis`."""
    items = load(call)
    outer, axis, inner = load(call + 16), load(call + 24), load(call + 32)
    for r in range(items):
        x = row(address(call + 40, r), outer * axis * inner)
        y = row(address(call + 64, r), outer * axis * inner)
        if inner == 1:  # as in `log_softmax_axis`
            for o in range(outer):
                first, top = o * axis, x[o * axis]
                for k in range(1, axis):
                    if x[first + k] > top:
                        top = x[first + k]
                total = constant(0)
                for k in range(axis):
                    value = exp(x[first + k] - top)
                    y[first + k] = value
                    total += value
                for k in range(axis):
                    y[first + k] /= total
        else:
            for o in range(outer):
                for j in range(inner):
                    first = o * axis * inner + j
                    top = x[first]
                    for k in range(1, axis):
                        if x[first + k * inner] > top:
                            top = x[first + k * inner]
                    total = constant(0)
                    for k in range(axis):
                        value = exp(x[first + k * inner] - top)
                        y[first + k * inner] = value
                        total += value
                    for k in range(axis):
                        y[first + k * inner] /= total


def scaled_softmax(call, context):
    """y (+)= scale exp(x) / (sum of exp(x)), as `nll`; operands: x, scale, y."""
    items, accumulate, width = load(call), load(call + 8), load(call + 16)
    for r in range(items):
        x, scale = row(address(call + 24, r), width), row(address(call + 48, r), 1)
        y = row(address(call + 72, r), width)
        top = x[0]
        for k in range(1, width):
            if x[k] > top:
                top = x[k]
        total = constant(0)
        if accumulate:
            for k in range(width):
                total += exp(x[k] - top)
            part = scale[0] / total
            for k in range(width):
                y[k] += part * exp(x[k] - top)
        else:
            for k in range(width):
                value = exp(x[k] - top)
                y[k] = value
                total += value
            part = scale[0] / total
            for k in range(width):
                y[k] *= part


def transpose(call, context):
    """y[j, i] (+)= x[i, j]; attributes: accumulate, rows, columns of x."""
    items, accumulate = load(call), load(call + 8)
    rows, columns = load(call + 16), load(call + 24)
    for r in range(items):
        x = row(address(call + 32, r), rows * columns)
        y = row(address(call + 56, r), rows * columns)
        for i in range(rows):
            for j in range(columns):
                if accumulate:
                    y[j * rows + i] += x[i * columns + j]
                else:
                    y[j * rows + i] = x[i * columns + j]
