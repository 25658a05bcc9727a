"""Kernels that tell in which order elements are, and take them from where an index tells.

NaN counts as the greatest of numbers; of equal elements the earlier comes first.
"""

from lazynet.kernels.jit import word
from lazynet.kernels.memory import OPERAND, address, load
from lazynet.kernels.words import constant, lanes, own_row, row, row_index, together


@word
def _is_after(x, first, stride, i, j, descending):
    """Whether element i of a column comes after element j."""
    a, b = x[first + i * stride], x[first + j * stride]
    if a == b or (a != a and b != b):
        return i > j
    return (a > b or a != a) != descending


@word
def _sink(x, order, first, begin, stride, start, count, descending):
    """Let what stands at `start` of a heap go down to where what is below it comes before it."""
    at = start
    own = order[begin + at * stride]
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        found = order[begin + below * stride]
        if below + 1 < count:
            other = order[begin + (below + 1) * stride]
            if _is_after(x, first, stride, other, found, descending):
                below, found = below + 1, other
        if not _is_after(x, first, stride, found, own, descending):
            break
        order[begin + at * stride] = found
        at = below
    order[begin + at * stride] = own


@word
def _sort(x, order, first, begin, stride, count, kept, descending):
    """order[begin + k stride] is which of x[first + j stride] is the k-th, j < count, k < kept.

    A heap of those that come first, the last of them on top, which later ones may replace; then
    heapsort.
    """
    for k in range(kept):
        order[begin + k * stride] = k
    for start in range(kept // 2 - 1, -1, -1):
        _sink(x, order, first, begin, stride, start, kept, descending)
    for j in range(kept, count if kept > 0 else 0):
        if _is_after(x, first, stride, order[begin], j, descending):
            order[begin] = j
            _sink(x, order, first, begin, stride, 0, kept, descending)
    for end in range(kept - 1, 0, -1):
        top = order[begin]
        order[begin] = order[begin + end * stride]
        order[begin + end * stride] = top
        _sink(x, order, first, begin, stride, 0, end, descending)


def argsort_axis(call, context):
    """Where the first `count` along an axis are; accumulate, outer, axis, inner, descending, count.

    They stand in their order.
    """
    items = load(call)
    outer, axis, inner = load(call + 16), load(call + 24), load(call + 32)
    descending, count = load(call + 40) != 0, load(call + 48)
    for r in range(items):
        x = row(address(call + 56, r), outer * axis * inner)
        y = row_index(address(call + 80, r), outer * count * inner)
        for o in range(outer):
            for j in range(inner):
                first, begin = o * axis * inner + j, o * count * inner + j
                _sort(x, y, first, begin, inner, axis, count, descending)


def take_axis(call, context):
    """y[o, k, i] = x[o, n[o, k, i], i]; attributes: accumulate, outer, axis, inner, count."""
    items, accumulate = load(call), load(call + 8)
    outer, axis, inner, count = load(call + 16), load(call + 24), load(call + 32), load(call + 40)
    for r in range(items):
        x = row(address(call + 48, r), outer * axis * inner)
        n = row_index(address(call + 72, r), outer * count * inner)
        y = row(address(call + 96, r), outer * count * inner)
        for o in range(outer):
            for k in range(count):
                for j in range(inner):
                    place = (o * count + k) * inner + j
                    value = x[(o * axis + n[place]) * inner + j]
                    y[place] = y[place] + value if accumulate else value


def put_axis(call, context):
    """y[o, n[o, k, i], i] += x[o, k, i], from 0 unless it accumulates; as `take_axis`."""
    items, accumulate = load(call), load(call + 8)
    outer, axis, inner, count = load(call + 16), load(call + 24), load(call + 32), load(call + 40)
    for r in range(items):
        x = row(address(call + 48, r), outer * count * inner)
        n = row_index(address(call + 72, r), outer * count * inner)
        y = row(address(call + 96, r), outer * axis * inner)
        if not accumulate:
            for j in range(outer * axis * inner):
                y[j] = constant(0)
        for o in range(outer):
            for k in range(count):
                for j in range(inner):
                    place = (o * count + k) * inner + j
                    y[(o * axis + n[place]) * inner + j] += x[place]


def argsort_rows(call, context):
    """The order of the rows of each example, for each feature; accumulate, width, descending.

    Operands: offsets of the rows, x, room for the rows end to end, y, whose rows lie end to end.
    """
    nodes, width, descending = load(call), load(call + 16), load(call + 24) != 0
    first = call + 32
    offsets = row_index(load(first), nodes + 1)
    for s in range(nodes):
        count = offsets[s + 1] - offsets[s]
        values = own_row(address(first + 2 * OPERAND, offsets[s]), count * width)
        order = row_index(address(first + 3 * OPERAND, offsets[s]), count * width)
        for t in range(count):
            x = row(address(first + OPERAND, offsets[s] + t), width)
            for j in lanes(width):
                values[t * width + j] = x[j]
        together()
        for j in lanes(width):
            _sort(values, order, j, j, width, count, count, descending)


def take_each(call, context):
    """y_k[j] = x_n[j] with n = n_k[j], a row of the example; attributes: accumulate, width.

    Operands: offsets of the rows of y (and n), of x; x, n, y.
    """
    nodes, width = load(call), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    rows = row_index(load(first + OPERAND), nodes + 1)
    for s in range(nodes):
        for k in range(offsets[s], offsets[s + 1]):
            n = row_index(address(first + 3 * OPERAND, k), width)
            y = row(address(first + 4 * OPERAND, k), width)
            for j in lanes(width):
                y[j] = row(address(first + 2 * OPERAND, rows[s] + n[j]), width)[j]


def put_each(call, context):
    """y_n[j] += x_k[j] with n = n_k[j], from 0 unless it accumulates; attributes as `take_each`.

    Operands: offsets of the rows of x (and n), of y; x, n, y.
    """
    nodes, accumulate, width = load(call), load(call + 8), load(call + 16)
    first = call + 24
    offsets = row_index(load(first), nodes + 1)
    rows = row_index(load(first + OPERAND), nodes + 1)
    for s in range(nodes):
        if not accumulate:
            for t in range(rows[s], rows[s + 1]):
                y = row(address(first + 4 * OPERAND, t), width)
                for j in lanes(width):
                    y[j] = constant(0)
            together()
        for k in range(offsets[s], offsets[s + 1]):
            x = row(address(first + 2 * OPERAND, k), width)
            n = row_index(address(first + 3 * OPERAND, k), width)
            for j in lanes(width):
                y = row(address(first + 4 * OPERAND, rows[s] + n[j]), width)
                y[j] += x[j]
