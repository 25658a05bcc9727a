"""Values of one number everywhere."""

from __future__ import annotations

from lazynet.device import beside_operands
from lazynet.op import Op, Sample, row_type
from lazynet.ops.axes import sizes_of
from lazynet.ops.elementwise import cast
from lazynet.ops.told import told
from lazynet.program import elementwise, lowered, output_refs
from lazynet.record import as_value, record
from lazynet.tensor import Sequence


def _zeros_lower(signature):
    return lowered(signature, [elementwise("c(0)", [], output_refs(signature)[0])])


ZEROS = Op(
    "zeros", "y = 0", lambda shape, dtype: (row_type(dtype, shape),), _zeros_lower, None,
    samples=(Sample((), (("shape", (5,)), ("dtype", "float64"))),),
)  # fmt: skip


@told
def zeros(*shape, dtype: str = "float32", length: int | None = None):
    """Zeros: a Tensor of this shape, or a Sequence of `length` such rows.

    Shapes: (*shape,), or `length` rows of it.

    >>> ln.zeros(2).tolist(), ln.zeros(2, length=3).shape
    ([0.0, 0.0], (3, 2))
    """
    return record(ZEROS, (), (("shape", sizes_of(shape)), ("dtype", dtype)), length=length)


@told
def full(shape, value, dtype: str = "float32", length: int | None = None):
    """One number everywhere: a Tensor of this shape, or a Sequence of `length` such rows.

    Shapes: (*shape,), or `length` rows of it.

    >>> ln.full((2,), 7.0).numpy().tolist()
    [7.0, 7.0]
    """
    return _filled(zeros(*sizes_of((shape,)), dtype=dtype, length=length), value)


def _filled(made, value):
    """Zeros with a number added to each, in the dtype that they have."""
    filled = made + value
    return filled if filled.type.dtype == made.type.dtype else cast(filled, made.type.dtype)


@told
def ones(*shape, dtype: str = "float32", length: int | None = None):
    """Ones: a Tensor of this shape, or a Sequence of `length` such rows.

    Shapes: (*shape,), or `length` rows of it.

    >>> ln.ones(2, 3).shape
    (2, 3)
    """
    return full(sizes_of(shape), 1, dtype, length)


@told
@beside_operands
def full_like(x, value, dtype: str | None = None):
    """One number everywhere, in the shape of x and, by default, in its dtype.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.full_like(ln.tensor([1.0, 2.0]), 7.0).tolist()
    [7.0, 7.0]
    """
    x = as_value(x, "full_like")
    length = x.length if isinstance(x, Sequence) else None
    made = zeros(x.type.shape, dtype=dtype or x.type.dtype, length=length)
    return made if value.__class__ in (int, float) and value == 0 else _filled(made, value)


@told
def zeros_like(x, dtype: str | None = None):
    """Zeros in the shape of x and, by default, in its dtype.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.zeros_like(ln.tensor([1.0, 2.0])).tolist()
    [0.0, 0.0]
    """
    return full_like(x, 0, dtype)


@told
def ones_like(x, dtype: str | None = None):
    """Ones in the shape of x and, by default, in its dtype.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.ones_like(ln.sequence([1.0, 2.0])).tolist()
    [1.0, 1.0]
    """
    return full_like(x, 1, dtype)
