"""Products beyond `matmul`: with batch axes, by Einstein's notation, bilinear."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lazynet.op import Op, Sample, row_type
from lazynet.ops import linear as plain
from lazynet.ops.axes import broadcast_shapes
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.reshape import reshape
from lazynet.ops.shape import broadcast_to, permute
from lazynet.ops.take import rearranged
from lazynet.ops.told import told
from lazynet.program import lowered, operand_refs, output_refs
from lazynet.record import ShapeError, as_value, record
from lazynet.tensor import Sequence, Tensor

# -- matrix products with a batch axis -------------------------------------------------------------


def _batched_shape(a, b, ta, tb):
    plain.check_dtypes("bmm", a, b)
    m, k = a.shape[1:][::-1] if ta else a.shape[1:]
    inner, n = b.shape[1:][::-1] if tb else b.shape[1:]
    if k != inner or a.shape[0] != b.shape[0]:
        raise ShapeError(f"bmm: {a.shape} and {b.shape} do not match")
    return (row_type(a.dtype, (a.shape[0], m, n)),)


def _batched_lower(signature):
    (_, ta), (_, tb) = signature.attributes
    a, b = operand_refs(signature)
    y = output_refs(signature)[0]
    count, m, n = signature.type.shape
    item = np.dtype(y.dtype).itemsize
    k = a.size // (count * m) if count * m else 0

    def matrix(ref, number, size):
        return replace(ref, size=size, offset=ref.offset + number * size * item)

    steps = [
        plain.product(
            matrix(a, i, m * k), matrix(b, i, k * n), matrix(y, i, m * n), m, n, k, ta, tb, y.dtype
        )
        for i in range(count)
    ]
    return lowered(signature, steps)


def _batched(a, b, ta: int = 0, tb: int = 0):
    return record(BMM, (a, b), (("ta", ta), ("tb", tb)))


BMM = Op(
    "bmm", "C[i] = A[i] B[i]", _batched_shape, _batched_lower,
    plain.product_formula(_batched),
    samples=(
        Sample(((2, 3, 4), (2, 4, 2)), (("ta", 0), ("tb", 0))),
        Sample(((2, 4, 3), (2, 4, 2)), (("ta", 1), ("tb", 0))),
        Sample(((2, 3, 4), (2, 2, 4)), (("ta", 0), ("tb", 1))),
    ),
)  # fmt: skip


@told
def bmm(a, b):
    """C[i] = A[i] B[i] of the matrices in each row: (b, m, k) (b, k, n) -> (b, m, n).

    Shapes: n rows -> n rows.

    >>> ln.bmm(ln.ones(2, 3, 4), ln.ones(2, 4, 5)).shape
    (2, 3, 5)

    Raises:
        ShapeError: if the sizes do not match. DtypeError: unless both have one float dtype.
    """
    a, b = as_value(a, "bmm"), as_value(b, "bmm")
    if len(a.type.shape) != 3 or len(b.type.shape) != 3:
        raise ShapeError(f"bmm: expected rows of 3 axes, not {a.type.shape} and {b.type.shape}")
    return _batched(a, b)


def matmul(a, b):
    """The matrix product of each row, as numpy.matmul: axes before the last two are batch axes.

    Shapes: (m, k) (k, n) -> (m, n); (k,) (k, n) -> (n,); (m, k) (k,) -> (m,); (k,) (k,) -> ();
    (..., m, k) (..., k, n) -> (..., m, n), the axes in front broadcast. A Sequence stands for its
    rows one by one; two ragged axes (`q @ k.T`) are not a value. A Sequence of n numbers on the
    left adds up n rows, each times its number, as in attention: (n,) (n, k) -> (k,).

    >>> ln.matmul(ln.ones(5, 1, 2, 3), ln.ones(4, 3, 2)).shape
    (5, 4, 2, 2)
    >>> (ln.sequence([0.5, 0.25]) @ ln.sequence([[2.0, 4.0], [4.0, 8.0]])).tolist()
    [2.0, 4.0]

    Raises:
        ShapeError: if the inner sizes differ. DtypeError: if the dtypes differ.
    """
    a, b = as_value(a, "matmul"), as_value(b, "matmul")
    if len(a.type.shape) <= 2 and len(b.type.shape) <= 2:
        return plain.matmul(a, b)  # which has a short way
    plain.check_dtypes("matmul", a.type, b.type)
    if not a.type.shape or not b.type.shape:
        raise ShapeError("matmul: expected vectors or matrices, not scalars")
    left = a if len(a.type.shape) > 1 else reshape(a, (1, a.type.size))
    right = b if len(b.type.shape) > 1 else reshape(b, (b.type.size, 1))
    try:
        batch = broadcast_shapes(left.type.shape[:-2], right.type.shape[:-2])
    except ValueError:
        raise ShapeError(f"matmul: {a.type.shape} and {b.type.shape} do not match") from None
    count, (m, k), (inner, n) = math.prod(batch), left.type.shape[-2:], right.type.shape[-2:]
    if k != inner:
        raise ShapeError(f"matmul: {a.type.shape} and {b.type.shape} do not match")
    left = reshape(broadcast_to(left, (*batch, m, k)), (count, m, k))
    right = reshape(broadcast_to(right, (*batch, k, n)), (count, k, n))
    rows = (m,) if len(a.type.shape) > 1 else ()
    columns = (n,) if len(b.type.shape) > 1 else ()
    return reshape(_batched(left, right), (*batch, *rows, *columns))


# -- Einstein's notation ---------------------------------------------------------------------------


@told
def einsum(equation: str, *operands):
    """Sums of products by index letters, as numpy.einsum, for the axes of each row.

    Shapes: as the letters say; n rows -> n rows.

    Operands are joined from left to right, each join one product of matrices with a batch axis. A
    letter twice in one operand takes its diagonal; without `->`, the letters that appear once are
    kept in alphabetical order.

    >>> ln.einsum("ij,jk->ik", ln.ones(2, 3), ln.ones(3, 4)).shape
    (2, 4)

    Raises:
        ValueError: if the equation does not fit the operands.
    """
    values = [as_value(x, "einsum") for x in operands]
    inputs, _, result = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if "->" not in equation:
        letters = "".join(terms)
        result = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    _check_equation(equation, terms, result, values)
    term, value = _single(terms[0], values[0])
    for position in range(1, len(terms)):
        other_term, other = _single(terms[position], values[position])
        later = set("".join(terms[position + 1 :])) | set(result)
        term, value = _join(term, value, other_term, other, later)
    for letter in term:
        if letter not in result:
            value = sum_of(value, _axis_number(value, term.index(letter)))
            term = term.replace(letter, "")
    return _permuted(value, [term.index(c) for c in result])


def _check_equation(equation, terms, result, values) -> None:
    if len(terms) != len(values):
        raise ValueError(f"einsum: {equation!r} names {len(terms)} operands; got {len(values)}")
    sizes: dict[str, int] = {}
    for term, value in zip(terms, values, strict=True):
        if not all(c.isalpha() for c in term) or len(term) != len(value.type.shape):
            raise ValueError(
                f"einsum: {term!r} does not name the axes of rows of {value.type.shape}"
            )
        for letter, size in zip(term, value.type.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ValueError(f"einsum: {letter!r} has sizes {sizes[letter]} and {size}")
    if len(set(result)) != len(result) or not set(result) <= set(sizes):
        raise ValueError(f"einsum: the result {result!r} repeats a letter or names a new one")


def _axis_number(value, axis: int) -> int:
    """An axis of the rows as users count them."""
    return axis + isinstance(value, Sequence)


def _permuted(value, order):
    ragged = isinstance(value, Sequence)
    return (
        permute(value, *([0] if ragged else []), *(a + ragged for a in order)) if order else value
    )


def _single(term: str, value):
    """An operand without repeated letters: their diagonals taken."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            key = ("diagonal of", first, second)
            value = rearranged(
                value, key, lambda index, a=first, b=second: np.diagonal(index, 0, a, b)
            )
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + letter
    return term, value


def _join(a_term, a, b_term, b, later):
    """The product of two operands, summed over what nobody else needs."""
    for letter in set(a_term) - set(b_term) - later:
        a = sum_of(a, _axis_number(a, a_term.index(letter)))
        a_term = a_term.replace(letter, "")
    for letter in set(b_term) - set(a_term) - later:
        b = sum_of(b, _axis_number(b, b_term.index(letter)))
        b_term = b_term.replace(letter, "")
    both = [c for c in a_term if c in b_term]
    batch, summed = [c for c in both if c in later], [c for c in both if c not in later]
    left, right = [c for c in a_term if c not in both], [c for c in b_term if c not in both]
    sizes = dict(zip(a_term, a.type.shape, strict=True)) | dict(
        zip(b_term, b.type.shape, strict=True)
    )

    def size(letters):
        return math.prod(sizes[c] for c in letters)

    a = _permuted(a, [a_term.index(c) for c in (*batch, *left, *summed)])
    b = _permuted(b, [b_term.index(c) for c in (*batch, *summed, *right)])
    a = reshape(a, (size(batch), size(left), size(summed)))
    b = reshape(b, (size(batch), size(summed), size(right)))
    if not batch:
        made = plain.matmul(reshape(a, a.type.shape[1:]), reshape(b, b.type.shape[1:]))
    else:
        made = _batched(a, b)
    term = "".join((*batch, *left, *right))
    return term, reshape(made, tuple(sizes[c] for c in term))


@told
def bilinear(x, y, weight, bias=None):
    """z_o = x W_o y + b_o for vectors x (in1,) and y (in2,), weight (out, in1, in2).

    Shapes: x (in1,) and y (in2,) -> (out,), bias (out,); n rows -> n rows.

    >>> ln.bilinear(ln.ones(2), ln.ones(3), ln.ones(4, 2, 3)).shape
    (4,)

    Raises:
        ShapeError: if a row does not match the weight.
    """
    x, y = as_value(x, "bilinear"), as_value(y, "bilinear")
    out, first, second = weight.type.shape
    if x.type.shape != (first,) or y.type.shape != (second,):
        raise ShapeError(
            f"bilinear: rows of {x.type.shape} and {y.type.shape} for a weight of {weight.shape}"
        )
    flat = reshape(permute(weight, 0, 2, 1), (out * second, first))
    rows = reshape(plain.linear(x, flat), (out, second))
    z = plain.matmul(rows, y)
    return z if bias is None else z + bias


for _class in (Tensor, Sequence):
    _class.matmul = _class.__matmul__ = matmul
    _class.__rmatmul__ = lambda b, a: matmul(a, b)
    _class.bmm = bmm
