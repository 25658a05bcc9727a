"""Square matrices: systems of equations, inverses, determinants, Cholesky's factor.

Axes in front of the last two are batch axes. What has no answer gives infinities or NaN, as
execution comes later than recording; `ln.debug()` turns NaN into an error that names the line.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lazynet.batching import layout as words
from lazynet.device import beside_operands
from lazynet.op import Op, Sample, row_type
from lazynet.ops.elementwise import exp, where
from lazynet.ops.fill import zeros
from lazynet.ops.index import tril, triu
from lazynet.ops.products import matmul
from lazynet.ops.reshape import reshape
from lazynet.ops.shape import transpose as swapped
from lazynet.ops.told import told
from lazynet.program import Ref, Region, call, lowered, operand_refs, output_refs
from lazynet.record import ShapeError, as_value, record
from lazynet.tensor import Sequence, Tensor


def _square(name: str, row) -> int:
    if len(row.shape) < 2 or row.shape[-1] != row.shape[-2]:
        raise ShapeError(f"{name}: expected square matrices, not rows of {row.shape}")
    if not row.is_float:
        raise TypeError(f"{name}: expected float rows, not {row.dtype}")
    return row.shape[-1]


def _lower(kernel: str, attributes, room: bool):
    """One step for each matrix of a row, with room for a copy of it."""

    def lower(signature):
        inputs, y = operand_refs(signature), output_refs(signature)[0]
        row = signature.types[0]
        n, item = row.shape[-1], np.dtype(row.dtype).itemsize
        count = math.prod(row.shape[:-2])
        regions = [Region(n * n * item)] if room else []
        copy = [Ref(words.REGION, 1, row.dtype, n * n)] if room else []

        def matrix(ref, number):
            size = ref.size // count
            return replace(ref, size=size, offset=ref.offset + number * size * item)

        steps = [
            call(kernel, (*(matrix(x, k) for x in inputs), *copy), matrix(y, k),
                 attributes(signature, n), y.dtype)
            for k in range(count)
        ]  # fmt: skip
        return lowered(signature, steps, regions=regions)

    return lower


def _solve_shape(a, b):
    n = _square("solve", a)
    if b.shape[:-1] != (*a.shape[:-2], n) or a.dtype != b.dtype:
        raise ShapeError(f"solve: {a!r} and {b!r} do not match")
    return (row_type(b.dtype, b.shape),)


def _solve(a, b):
    return record(SOLVE, (a, b))


def _solve_vjp(g, y, a, b):
    towards = _solve(swapped(a), g)
    return -matmul(towards, swapped(y)), towards


# Matrices far from singular: products of signs of drawn numbers would not be.
SOLVE = Op(
    "solve", "Y = A^-1 B", _solve_shape,
    _lower("solve", lambda signature, n: (n, signature.type.shape[-1]), True), _solve_vjp,
    samples=(Sample(((1, 1), (1, 2)), low=0.5, high=2.0),),
)  # fmt: skip
LOG_ABS_DET = Op(
    "log_abs_det", "y = log |det A|",
    lambda a: (row_type(a.dtype, a.shape[:-2]),) if _square("logdet", a) else (),
    _lower("log_abs_det", lambda signature, n: (n, 0), True),
    lambda g, y, a: (reshape(g, (*g.type.shape, 1, 1)) * swapped(inverse(a)),),
    samples=(Sample(((1, 1),), low=0.5, high=2.0),),
)  # fmt: skip
DET_SIGN = Op(
    "det_sign", "y = sign(det A)",
    lambda a: (row_type(a.dtype, a.shape[:-2]),) if _square("det", a) else (),
    _lower("log_abs_det", lambda signature, n: (n, 1), True), lambda g, y, a: (None,),
    samples=(Sample(((2, 2),)),),
)  # fmt: skip


def _cholesky_vjp(g, y, a):
    inner = matmul(swapped(y), g)
    half = tril(inner) - triu(tril(inner)) * 0.5
    s = _solve(swapped(y), swapped(_solve(swapped(y), swapped(half))))
    return ((s + swapped(s)) * 0.5,)


CHOLESKY = Op(
    "cholesky", "the lower triangle L with L L^T = A",
    lambda a: (row_type(a.dtype, a.shape),) if _square("cholesky", a) else (),
    _lower("cholesky", lambda signature, n: (n,), False), _cholesky_vjp,
    samples=(Sample(((1, 1),), low=0.5, high=2.0),),
)  # fmt: skip


@told
def solve(a, b):
    """Y with A Y = B, for matrices B (..., n, m) or a vector B (n,); A is (..., n, n).

    Shapes: Y as B; n rows -> n rows.

    >>> ln.solve(ln.tensor([[2.0, 0.0], [0.0, 4.0]]), ln.tensor([2.0, 2.0])).numpy().tolist()
    [1.0, 0.5]

    Raises:
        ShapeError: if the shapes do not match. A singular A gives infinities or NaN.
    """
    a, b = as_value(a, "solve"), as_value(b, "solve")
    if len(b.type.shape) == 1:
        return reshape(_solve(a, reshape(b, (b.type.size, 1))), b.type.shape)
    return _solve(a, b)


@told
@beside_operands
def inverse(a):
    """A^-1 of the square matrices in each row.

    Shapes: (..., n, n) -> (..., n, n); n rows -> n rows. A singular A gives infinities or NaN.

    >>> ln.inverse(ln.tensor([[2.0]])).numpy().tolist()
    [[0.5]]

    Raises:
        ShapeError: if matrices are not square.
    """
    a = as_value(a, "inverse")
    n = _square("inverse", a.type)
    ones = zeros(*a.type.shape, dtype=a.type.dtype, length=getattr(a, "length", None)) + 1.0
    return _solve(a, triu(tril(ones)) if n > 1 else ones)


@told
def logdet(a):
    """log det A, NaN where the determinant is negative.

    Shapes: (..., n, n) -> (...); n rows -> n rows.

    >>> round(float(ln.logdet(ln.tensor([[2.0, 0.0], [0.0, 1.0]]))), 4)
    0.6931

    Raises:
        ShapeError: if matrices are not square.
    """
    a = as_value(a, "logdet")
    value = record(LOG_ABS_DET, (a,))
    return where(record(DET_SIGN, (a,)) < 0.0, math.nan, value)


@told
def slogdet(a):
    """The sign and the logarithm of the absolute value of det A, as numpy.linalg.slogdet.

    Shapes: (..., n, n) -> (...) and (...); n rows -> n rows.

    >>> float(ln.slogdet(ln.tensor([[-2.0]]))[0])
    -1.0

    Raises:
        ShapeError: if matrices are not square.
    """
    a = as_value(a, "slogdet")
    return record(DET_SIGN, (a,)), record(LOG_ABS_DET, (a,))


@told
def det(a):
    """The determinant of the square matrices in each row.

    Shapes: (..., n, n) -> (...); n rows -> n rows.

    >>> round(float(ln.det(ln.tensor([[3.0, 1.0], [1.0, 1.0]]))), 4)
    2.0

    Raises:
        ShapeError: if matrices are not square.
    """
    sign, value = slogdet(a)
    return sign * exp(value)


@told
def cholesky(a):
    """The lower triangle L with L L^T = A, of symmetric positive definite matrices; else NaN.

    Shapes: (..., n, n) -> (..., n, n); n rows -> n rows.

    >>> ln.cholesky(ln.tensor([[4.0]])).numpy().tolist()
    [[2.0]]

    Raises:
        ShapeError: if matrices are not square.
    """
    return record(CHOLESKY, (as_value(a, "cholesky"),))


for _class in (Tensor, Sequence):
    for _method in (inverse, logdet, slogdet, det, cholesky):
        setattr(_class, _method.__name__, _method)
