"""Products. One kernel serves them all: items that share a factor become one product of all rows.

Vectors are rows of one-row matrices, so that `linear`, its two derivatives and the weight gradient
are the same op with other transposes.
"""

from __future__ import annotations

import math
from dataclasses import replace

from lazynet.batching import layout as words
from lazynet.leaf import STATICS
from lazynet.op import Op, Sample, row_type
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.reshape import reshape, retyped
from lazynet.ops.told import told
from lazynet.ops.ways import note_layer, with_leaves
from lazynet.parameter import Parameter
from lazynet.program import Ref, Step, call, elementwise, lowered, operand_refs, output_refs
from lazynet.quick import Short, node, record_layer
from lazynet.record import DtypeError, ShapeError, as_value, record
from lazynet.tensor import Sequence, Tensor


def check_dtypes(name: str, *rows) -> None:
    """Raise unless the rows of a product are all of one float dtype."""
    dtypes = [row.dtype for row in rows]
    if len(set(dtypes)) > 1 or not rows[0].is_float:
        raise DtypeError(
            f"{name}: operands must be of one float dtype, not {' and '.join(dtypes)}; "
            "convert with .astype"
        )


def product(a: Ref, b: Ref, c: Ref, m: int, n: int, k: int, ta: int, tb: int, dtype: str) -> Step:
    """The step C = op(A) op(B). What varies from item to item is wanted evenly spaced."""
    views = (
        a.space != words.STATIC,
        bool(ta) and b.space != words.STATIC,
        not ta,
    )
    return call("matmul", (a, b), c, (m, n, k, ta, tb), dtype, views)


# -- matmul ----------------------------------------------------------------------------------------


def _sizes(a, b, ta: int, tb: int) -> tuple[int, int, int, int]:
    m, k = a.shape[::-1] if ta else a.shape
    inner, n = b.shape[::-1] if tb else b.shape
    return m, n, k, inner


def _matmul_shape(a, b, ta, tb):
    check_dtypes("matmul", a, b)
    m, n, k, inner = _sizes(a, b, ta, tb)
    if k != inner:
        raise ShapeError(f"matmul: {a.shape} and {b.shape} do not match: {k} against {inner}")
    return (row_type(a.dtype, (m, n)),)


def _matmul_lower(signature):
    ta, tb = (value for _, value in signature.attributes)
    a, b = operand_refs(signature)
    rows = signature.types
    m, n, k, _ = _sizes(*rows, ta, tb)
    step = product(a, b, output_refs(signature)[0], m, n, k, ta, tb, rows[0].dtype)
    return lowered(signature, [step])


def _product(a, b, ta: int = 0, tb: int = 0):
    return record(MATMUL, (a, b), (("ta", ta), ("tb", tb)))


def product_formula(product):
    """The formula of `product(a, b, ta, tb)`: C = A B, where A or B may be given transposed."""

    def vjp(g, c, a, b, ta, tb):
        if ta:
            return product(b, g, 0, 1), product(a, g)
        if tb:
            return product(g, b), product(g, a, 1, 0)
        return product(g, b, 0, 1), product(a, g, 1, 0)

    return vjp


MATMUL = Op(
    "matmul", "C = A B", _matmul_shape, _matmul_lower, product_formula(_product),
    samples=(
        Sample(((3, 4), (4, 2)), (("ta", 0), ("tb", 0))),
        Sample(((4, 3), (4, 2)), (("ta", 1), ("tb", 0))),
        Sample(((3, 4), (2, 4)), (("ta", 0), ("tb", 1))),
    ),
)  # fmt: skip


def matmul(a, b):
    """`products.matmul` of matrices and vectors; one of kinds that were met before, at once."""
    x, parameter, side = (a, b, _AFTER) if b.__class__ is Parameter else (b, a, _BEFORE)
    # With several devices the long way looks where the parameter is.
    if parameter.__class__ is Parameter and len(STATICS.devices) == 1:
        way = parameter.graph.known.get(side, _NOTHING).get(x.type)
        made = None if way is None else node.record(way[0], x)
        if made is not None:
            return made if made.type is way[1] else retyped(made, way[1])
    return _matmul(a, b)


# How a parameter knows the products in which it comes after a value, and before it.
_AFTER, _BEFORE = object(), object()
_NOTHING: dict = {}


def _note_product(a, b, signature, row) -> None:
    """Let the short way know a product of a value and a parameter that is a matrix."""
    if len(signature.statics) != 1:
        return
    if b.__class__ is Parameter:
        b.graph.known.setdefault(_AFTER, {})[a.type] = signature, row
    else:
        a.graph.known.setdefault(_BEFORE, {})[b.type] = signature, row


@told
def _matmul(a, b):
    """The matrix product of each row: C = A B; vectors are rows on the left, columns on the right.

    Shapes: (m, k) (k, n) -> (m, n); (k,) (k, n) -> (n,); (m, k) (k,) -> (m,); (k,) (k,) -> ().
    A Sequence stands for its rows one by one; two ragged axes (`q @ k.T`) are not a value. With a
    Sequence of numbers on the left, the rows on the right are added up, each times its number.

    Raises:
        ShapeError: if the inner sizes differ. DtypeError: if the dtypes differ.
    """
    a, b = as_value(a, "matmul"), as_value(b, "matmul")
    if isinstance(a, Sequence) and isinstance(b, Sequence) and not a.type.shape:
        return _weighted(a, b)
    for x in (a, b):
        if len(x.type.shape) not in (1, 2):
            raise ShapeError(
                f"matmul: expected vectors or matrices, not rows of {x.type.shape}"
                + (
                    "; scores of all queries against all keys have two ragged axes and are not a "
                    "value: use attention over Sequences"
                    if isinstance(x, Sequence)
                    else ""
                )
            )
    rows, columns = len(a.type.shape) == 2, len(b.type.shape) == 2
    if rows and not columns:
        if a.type.shape[1] != b.type.shape[0]:
            raise ShapeError(f"matmul: {a.type.shape} and {b.type.shape} do not match")
        left, right, shape = reshape(b, (1, b.type.size)), a, (a.type.shape[0],)
    else:
        left = a if rows else reshape(a, (1, a.type.size))
        right = b if columns else reshape(b, (b.type.size, 1))
        shape = (a.type.shape[:1] if rows else ()) + (b.type.shape[1:] if columns else ())
    turned = int(rows and not columns)
    c = reshape(_product(left, right, 0, turned), shape)
    types = tuple(x.graph if x.__class__ is Parameter else x.type for x in (left, right))
    _note_product(a, b, MATMUL.signature(types, (("ta", 0), ("tb", turned))), c.type)
    return c


def _weighted(weights, rows):
    """The sum of rows, each times its weight: (n,) (n, k) -> (k,)."""
    check_dtypes("matmul", weights.type, rows.type)
    if len(rows.type.shape) > 1 or weights.length != rows.length:
        raise ShapeError(f"matmul: {weights.shape} and {rows.shape} do not match")
    return sum_of(weights * rows, 0)


# -- linear ----------------------------------------------------------------------------------------


def _linear_shape(x, weight, bias=None):
    check_dtypes("linear", x, weight, *([bias] if bias else []))
    if len(weight.shape) != 2 or not x.shape or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear: input row {x.shape} does not match weight {weight.shape}; expected rows of "
            f"({weight.shape[-1] if weight.shape else '?'},)"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"linear: bias {bias.shape} does not match weight {weight.shape}")
    return (row_type(x.dtype, (*x.shape[:-1], weight.shape[0])),)


def _linear_lower(signature):
    x, weight, *bias = operand_refs(signature)
    rows = signature.types
    y = output_refs(signature)[0]
    out, k = rows[1].shape
    m = math.prod(rows[0].shape[:-1])
    step = product(x, weight, y, m, out, k, 0, 1, rows[0].dtype)
    if not bias:
        return lowered(signature, [step])
    first = (
        elementwise("x0", bias, y)
        if m == 1
        else call("repeat_axis", bias, y, (1, m, out), rows[0].dtype)
    )
    return lowered(signature, [first, replace(step, accumulate=(True,))])


def _as_matrix(x):
    *rows, width = x.type.shape
    return x if len(rows) == 1 else reshape(x, (math.prod(rows), width))


def _linear_vjp(g, y, x, weight, *bias):
    gm, xm = _as_matrix(g), _as_matrix(x)
    dx = reshape(_product(gm, weight), x.type.shape)
    dw = _product(gm, xm, 1, 0)
    if not bias:
        return dx, dw
    return dx, dw, reshape(gm, bias[0].type.shape) if gm.type.shape[0] == 1 else sum_of(gm, 0)


LINEAR = Op(
    "linear", "y = W x + b", _linear_shape, _linear_lower, _linear_vjp,
    samples=(Sample(((4,), (3, 4), (3,))), Sample(((4,), (3, 4))), Sample(((2, 4), (3, 4), (3,)))),
)  # fmt: skip
_short = Short(record_layer, LINEAR)


def linear(x, weight, bias=None):
    """y = W x + b for each row.

    Shapes: (in,), weight (out, in), bias (out,) -> (out,); n rows -> n rows.

    >>> weight = ln.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> ln.linear(ln.tensor([2.0, 3.0]), weight).tolist()
    [2.0, 3.0, 5.0]

    Args:
        x: rows of (..., in).
        weight: (out, in), a Parameter or a Tensor.
        bias: (out,), or None.

    Returns:
        rows of (..., out).

    Raises:
        ShapeError: if a row does not match the weight. DtypeError: if the dtypes differ.
    """
    made = _short.record(x, weight) if bias is None else _short.record(x, weight, bias)
    if made is None:
        made = with_leaves(_short, *((x, weight) if bias is None else (x, weight, bias)))
    return _linear(x, weight, bias) if made is None else made


@told
def _linear(x, weight, bias=None):
    """`linear`, of operands of other types than before."""
    operands = (x, weight) if bias is None else (x, weight, bias)
    operands = tuple(as_value(v, "linear") for v in operands)
    made = record(LINEAR, operands)
    note_layer(LINEAR, operands)
    return made


def vectors_of(name: str, x, y, axis: int = -1):
    """Two values with vectors of one size along an axis, which is counted from the last one."""
    x, y = as_value(x, name), as_value(y, name)
    shapes = x.shape, y.shape
    if not x.type.shape or not y.type.shape:
        raise ShapeError(f"{name}: expected vectors, not rows of {x.type.shape} and {y.type.shape}")
    if len({shape[axis] if len(shape) >= -axis else None for shape in shapes}) > 1:
        raise ShapeError(
            f"{name}: expected as many elements along axis {axis} of both, not values of "
            f"{shapes[0]} and {shapes[1]}"
        )
    return x, y


def dot(x, y):
    """The inner product of two vectors: sum of x_i y_i; row by row for Sequences.

    Shapes: (..., k) (..., k) -> (...); n rows -> n rows.

    >>> ln.dot(ln.tensor([1.0, 2.0]), ln.tensor([3.0, 4.0])).item()
    11.0

    Raises:
        ShapeError: if the sizes differ.
    """
    kind = x.__class__
    # Equal types have as many elements along every axis.
    alike = kind is y.__class__ and (kind is Tensor or (kind is Sequence and len(x) == len(y)))
    if alike and x.type is y.type and x.type.shape:
        return sum_of(x * y, -1)
    return _dot(x, y)


@told
def _dot(x, y):
    """`dot`, the long way."""
    x, y = vectors_of("dot", x, y)
    return sum_of(x * y, -1)


for _class in (Tensor, Sequence):
    _class.dot = dot
