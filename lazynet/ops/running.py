"""Products along an axis, and running sums and products; axis 0 of a Sequence is its rows."""

from __future__ import annotations

from lazynet.op import Op, Sample
from lazynet.ops import reduce
from lazynet.ops.axes import axis_of
from lazynet.ops.elementwise import number_of
from lazynet.ops.joining import cat as joined
from lazynet.ops.reduce import SUM, split
from lazynet.ops.reshape import reshape
from lazynet.ops.segments import ROW_CUMSUM
from lazynet.ops.shape import unsqueeze
from lazynet.ops.told import told
from lazynet.program import call, lowered, operand_refs, output_refs
from lazynet.record import as_value, record, record_segments
from lazynet.tensor import Sequence, Tensor


@told
def prod(x, axis: int | None = None, keepdim: bool = False):
    """The product along an axis, or of everything; of nothing it is 1.

    Halves are multiplied with each other, so gradients are right where elements are 0.

    Shapes: as `sum`; bools are counted as integers.

    >>> float(ln.prod(ln.tensor([2.0, 3.0, 4.0])))
    24.0

    Raises:
        ShapeError: if there is no such axis.
    """
    x = number_of(as_value(x, "prod"))
    if axis is None:
        if isinstance(x, Sequence):
            x = prod(x, 0)
        return prod(reshape(x, (x.type.size,)), 0)
    at = axis_of(x, axis, "prod")
    if at is None:
        if not len(x):
            return reduce.sum(x, 0) + 1
        while len(x) > 1:
            half, odd = len(x) // 2, x[len(x) - len(x) % 2 :]
            x = x[:half] * x[half : 2 * half]
            x = joined([x, odd], 0) if len(odd) else x
        return x[0]
    x = _front(x, at)
    while x.type.shape[0] > 1:
        size = x.type.shape[0]
        half, odd = size // 2, _cut(x, size - size % 2, size)
        x = _cut(x, 0, half) * _cut(x, half, 2 * half)
        x = _join(x, odd) if size % 2 else x
    if not x.type.shape[0]:
        y = record(SUM, (x,), (("axis", 0),)) + 1
    else:
        y = reshape(x, x.type.shape[1:])
    return unsqueeze(y, axis) if keepdim else y


def _cumsum_lower(signature):
    (_, axis), (_, back) = signature.attributes
    row, y = signature.types[0], output_refs(signature)[0]
    step = call(
        "cumsum_axis", operand_refs(signature), y, (*split(row, axis), int(back)), row.dtype
    )  # fmt: skip
    return lowered(signature, [step])


CUMSUM = Op(
    "cumsum", "y = sum along the axis up to its own place, or from it on",
    lambda row, axis, back: (row.stored,), _cumsum_lower,
    lambda g, y, x, axis, back: (record(CUMSUM, (g,), (("axis", axis), ("back", not back))),),
    samples=(Sample(((5,),), (("axis", 0), ("back", False))),
             Sample(((2, 3, 2),), (("axis", 1), ("back", True)))),
)  # fmt: skip


@told
def cumsum(x, axis: int = -1):
    """y[k] = sum of x[0..k] along an axis; axis 0 of a Sequence is its rows.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.cumsum(ln.tensor([1.0, 2.0, 3.0])).numpy().tolist()
    [1.0, 3.0, 6.0]

    Raises:
        ShapeError: if there is no such axis.
    """
    x = number_of(as_value(x, "cumsum"))
    at = axis_of(x, axis, "cumsum")
    if at is None:
        return record_segments(ROW_CUMSUM, x, (("back", False),))
    return record(CUMSUM, (x,), (("axis", at), ("back", False)))


@told
def cumprod(x, axis: int = -1):
    """y[k] = product of x[0..k] along an axis; axis 0 of a Sequence is its rows.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.cumprod(ln.tensor([1.0, 2.0, 3.0])).numpy().tolist()
    [1.0, 2.0, 6.0]

    Raises:
        ShapeError: if there is no such axis.
    """
    # Prefixes by doubling (Hillis and Steele, 1986): a logarithmic number of nodes.
    x = number_of(as_value(x, "cumprod"))
    at, step = axis_of(x, axis, "cumprod"), 1
    if at is None:
        while step < len(x):
            x = joined([x[:step], x[step:] * x[:-step]], 0)
            step *= 2
        return x
    x = _front(x, at)
    size = x.type.shape[0]
    while step < size:
        x = _join(_cut(x, 0, step), _cut(x, step, size) * _cut(x, 0, size - step))
        step *= 2
    return _back(x, at)


def _front(x, at: int):
    """The axis `at` of the rows moved to the front."""
    return x if at == 0 else _moved(x, at, 0)


def _back(x, at: int):
    return x if at == 0 else _moved(x, 0, at)


def _moved(x, source: int, target: int):
    order = [a for a in range(len(x.type.shape)) if a != source]
    order.insert(target, source)
    ragged = isinstance(x, Sequence)
    return x.permute(*([0] if ragged else []), *(a + ragged for a in order))


def _cut(x, start: int, stop: int):
    return x[:, start:stop] if isinstance(x, Sequence) else x[start:stop]


def _join(a, b):
    return joined([a, b], 1 if isinstance(a, Sequence) else 0)


for _class in (Tensor, Sequence):
    _class.prod, _class.cumsum, _class.cumprod = prod, cumsum, cumprod
