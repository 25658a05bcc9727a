"""The shared kernels, on the CPU. Each is written once and lifted to a dtype by its namespace.

Attributes follow the number of items in the call record, operands follow the attributes. The first
attribute of every kernel here is `accumulate`: add to the output instead of storing into it.
Shapes: a row is seen as (outer, axis, inner) where one axis is worked on.
"""

import functools
import types as python_types

import numpy as np

from lazynet.kernels import blas, memory
from lazynet.kernels.jit import inline, kernel_address
from lazynet.kernels.memory import address, load
from lazynet.kernels.scalars import WORDS

# Replaced per dtype by `_lift`; named here so that the kernels below read as ordinary code.
row = row_index = payload_words = gemm = gemm_function = stackable = None
exp = log = constant = itemsize = maximum = least = None


def matmul(call, context):
    """C (+)= op(A) op(B) for each item; attributes: accumulate, m, n, k, ta, tb.

    Items that share B are one product of their stacked rows; items that accumulate into one C from
    transposed A are one product over their stacked rows (a weight gradient). Bound: BLAS.
    """
    items = load(call)
    accumulate, m, n, k = load(call + 8), load(call + 16), load(call + 24), load(call + 32)
    ta, tb = load(call + 40), load(call + 48)
    a, b, c = call + 56, call + 80, call + 104
    function, fortran = gemm_function(context), load(context + 16)
    one, beta = constant(1), constant(1) if accumulate else constant(0)
    lda, ldb, ldc = (m if ta else k), (k if tb else n), n
    stack_a, stride_a = stackable(a, (m * k) * itemsize, k if ta else m)
    stack_b, stride_b = stackable(b, (k * n) * itemsize, n if tb else k)
    stack_c, stride_c = stackable(c, (m * n) * itemsize, m)
    start = 0
    while start < items:
        shared_b, shared_c = address(b, start), address(c, start)
        stop = start + 1
        if not ta and stack_a and stack_c:
            while stop < items and address(b, stop) == shared_b:
                stop += 1
        elif ta and not tb and accumulate and stack_a and stack_b:
            while stop < items and address(c, stop) == shared_c:
                stop += 1
        count = stop - start
        if count == 1:
            gemm(
                function,
                fortran,
                ta,
                tb,
                m,
                n,
                k,
                one,
                address(a, start),
                lda,
                shared_b,
                ldb,
                beta,
                shared_c,
                ldc,
            )
        elif not ta:
            gemm(
                function,
                fortran,
                0,
                tb,
                m * count,
                n,
                k,
                one,
                address(a, start),
                stride_a if m == 1 else lda,
                shared_b,
                ldb,
                beta,
                shared_c,
                stride_c if m == 1 else ldc,
            )
        else:
            gemm(
                function,
                fortran,
                1,
                0,
                m,
                n,
                k * count,
                one,
                address(a, start),
                stride_a if k == 1 else lda,
                shared_b,
                stride_b if k == 1 else ldb,
                beta,
                shared_c,
                ldc,
            )
        start = stop


def sum_axis(call, context):
    """y[o, i] (+)= sum over a of x[o, a, i]; attributes: accumulate, outer, axis, inner."""
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
                total = constant(0)
                for j in range(axis):
                    total += x[o * axis + j]
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


def max_axis(call, context):
    """y[o, i] = max over a of x[o, a, i], NaN if one is; accumulate, outer, axis, inner."""
    items = load(call)
    outer, axis, inner = load(call + 16), load(call + 24), load(call + 32)
    for r in range(items):
        x = row(address(call + 40, r), outer * axis * inner)
        y = row(address(call + 64, r), outer * inner)
        for o in range(outer):
            for j in range(inner):
                best = x[o * axis * inner + j]
                for k in range(1, axis):
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
        for o in range(outer):
            for j in range(inner):
                first = o * axis * inner + j
                top = x[first]
                for k in range(1, axis):
                    top = maximum(x[first + k * inner], top)
                total = constant(0)
                for k in range(axis):
                    total += exp(x[first + k * inner] - top)
                shift = top + log(total)
                for k in range(axis):
                    y[first + k * inner] = x[first + k * inner] - shift


def softmax_axis(call, context):
    """y = exp(x) / (sum over the axis of exp(x)), shifted by the maximum; as `max_axis`."""
    items = load(call)
    outer, axis, inner = load(call + 16), load(call + 24), load(call + 32)
    for r in range(items):
        x = row(address(call + 40, r), outer * axis * inner)
        y = row(address(call + 64, r), outer * axis * inner)
        for o in range(outer):
            for j in range(inner):
                first = o * axis * inner + j
                top = x[first]
                for k in range(1, axis):
                    top = maximum(x[first + k * inner], top)
                total = constant(0)
                for k in range(axis):
                    y[first + k * inner] = exp(x[first + k * inner] - top)
                    total += y[first + k * inner]
                for k in range(axis):
                    y[first + k * inner] /= total


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


def segment_sum(call, context):
    """y[s] (+)= sum of the rows x of segment s; items are segments; attributes: accumulate, width.

    Operands: segment offsets, x, y. A segment without rows gives 0.
    """
    segments, accumulate, width = load(call), load(call + 8), load(call + 16)
    offsets = row_index(load(call + 24), segments + 1)
    for s in range(segments):
        y = row(address(call + 72, s), width)
        if not accumulate:
            for j in range(width):
                y[j] = constant(0)
        for r in range(offsets[s], offsets[s + 1]):
            x = row(address(call + 48, r), width)
            for j in range(width):
                y[j] += x[j]


def segment_max(call, context):
    """y[s] = elementwise maximum of the rows x of segment s.

    A segment without rows gives the least value there is: -inf for floats.
    """
    segments, width = load(call), load(call + 16)
    offsets = row_index(load(call + 24), segments + 1)
    for s in range(segments):
        y = row(address(call + 72, s), width)
        for j in range(width):
            y[j] = constant(least)
        for r in range(offsets[s], offsets[s + 1]):
            x = row(address(call + 48, r), width)
            for j in range(width):
                y[j] = maximum(x[j], y[j])


def segment_softmax(call, context):
    """y = exp(x) / (sum of exp(x) over the rows of its segment), for each element of the row."""
    segments, width = load(call), load(call + 16)
    offsets = row_index(load(call + 24), segments + 1)
    for s in range(segments):
        for j in range(width):
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


def take_rows(call, context):
    """y = table[index]; operands: payload (one index an item), table, y; attributes: width."""
    items, width = load(call), load(call + 16)
    index = payload_words(load(call + 24), items)
    for r in range(items):
        x = row(load(call + 48) + np.int64(index[r]) * width * itemsize, width)
        y = row(address(call + 72, r), width)
        for j in range(width):
            y[j] = x[j]


def take_own_row(call, context):
    """y = x[index] of each item's own x; operands: payload, x, y; attributes: accumulate, width."""
    items, width = load(call), load(call + 16)
    index = payload_words(load(call + 24), items)
    for r in range(items):
        x = row(address(call + 48, r) + np.int64(index[r]) * width * itemsize, width)
        y = row(address(call + 72, r), width)
        for j in range(width):
            y[j] = x[j]


def add_rows(call, context):
    """table[index] += x, into zeros unless it accumulates; attributes: width, rows of the table."""
    items, accumulate, width, rows = load(call), load(call + 8), load(call + 16), load(call + 24)
    index = payload_words(load(call + 32), items)
    for r in range(items):
        table = address(call + 80, r)
        if not accumulate:
            y = row(table, rows * width)
            for j in range(rows * width):
                y[j] = constant(0)
        x = row(address(call + 56, r), width)
        y = row(table + np.int64(index[r]) * width * itemsize, width)
        for j in range(width):
            y[j] += x[j]


def uniform(call, context):
    """y ~ U[0, 1) from a counter; attributes: accumulate, width, words of payload an item.

    Element j of an item with payload (stream, counter) is squares32 of Widynski ("Squares: a fast
    counter-based RNG", 2020) under a key mixed from the stream: it depends on nothing else.
    """
    items, width = load(call), load(call + 16)
    payload = payload_words(load(call + 24), 2 * items)
    for r in range(items):
        y = row(address(call + 48, r), width)
        key = stream_key(payload[2 * r])
        counter = np.uint64(np.uint32(payload[2 * r + 1])) << np.uint64(32)
        for j in range(width):
            y[j] = constant(squares32(counter + np.uint64(j), key)) * constant(2.0**-24)


@inline
def stream_key(stream):
    """A 64-bit key with well-mixed bits from a 32-bit stream number (splitmix64's finalizer)."""
    z = np.uint64(np.uint32(stream)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) | np.uint64(1)


@inline
def squares32(counter, key):
    """The upper 24 of the 32 random bits that four squaring rounds give for `counter`."""
    half = np.uint64(32)
    x = counter * key
    y = x
    z = y + key
    x = x * x + y
    x = (x >> half) | (x << half)
    x = x * x + z
    x = (x >> half) | (x << half)
    x = x * x + y
    x = (x >> half) | (x << half)
    return np.int64((x * x + z) >> np.uint64(40))


def _words(dtype: str) -> dict:
    size = np.dtype(dtype).itemsize
    words = WORDS[dtype]

    @inline
    def stackable(operand, matrix, rows):
        """Whether an operand's items form one tall matrix, and its row stride in elements.

        `matrix` is an item's size in bytes and `rows` its rows as stored; items of one row need
        only be evenly spaced.
        """
        if load(operand + 16) != 0:
            return False, 0
        stride = load(operand + 8)
        if rows == 1:
            return stride >= matrix, stride // size
        return stride == matrix, 0

    routine = 0 if dtype == "float32" else 8

    @inline
    def gemm_function(context):
        return load(context + routine)

    return {
        "row": memory.ROW[dtype],
        "row_index": memory.row_int64,
        "payload_words": memory.row_int32,
        "gemm": blas.GEMM.get(dtype),
        "gemm_function": gemm_function,
        "stackable": stackable,
        "exp": words.get("exp"),
        "log": words.get("log"),
        "constant": words["c"],
        "maximum": words["maximum"],
        "least": -np.inf if dtype.startswith("float") else 0 if dtype == "bool" else -(2**63),
        "itemsize": size,
    }


@functools.cache
def lift(kernel, dtype: str):
    """`kernel` for rows of `dtype`: the same code in that dtype's namespace."""
    namespace = {**kernel.__globals__, **_words(dtype)}
    function = python_types.FunctionType(kernel.__code__, namespace, kernel.__name__)
    function.generated_source = f"{dtype} {kernel.__name__}"
    return function


def kernel(name: str, dtype: str) -> int:
    """The address of the shared kernel `name` for `dtype`, compiled now unless it already is."""
    return kernel_address(lift(globals()[name], dtype))
