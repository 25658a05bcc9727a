"""Ops along an axis of each row: sums and maxima, and repeating, by which rows broadcast.

An axis splits a row into (outer, axis, inner); the kernels of `kernels/axes.py` see rows that way.
For a Sequence, axis 0 is the ragged one (`ops/segments.py`), axes of the rows are counted from -1
down or from 1 up.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from lazynet.op import Op, RowType, Sample, row_type
from lazynet.ops.axes import axes_of, axis_of
from lazynet.ops.reshape import reshape, reshaped, retyped
from lazynet.ops.told import told
from lazynet.program import call, lowered, operand_refs, output_refs
from lazynet.quick import node
from lazynet.quick_segments import of_list, one_segment
from lazynet.record import ShapeError, as_value, record
from lazynet.tensor import Sequence, Tensor

_PLAIN_AXES = (type(None), int)
AXES = (Sample(((5,),), (("axis", 0),)), Sample(((3, 4),), (("axis", 0),)),
        Sample(((3, 4, 2),), (("axis", 1),)))  # fmt: skip


def split(row, axis: int) -> tuple[int, int, int]:
    """(outer, axis, inner): how many elements are before an axis, along it, and behind it."""
    shape = row.shape
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def along_axis(name, formula, kernel, vjp, keeps=False, dtype=None, samples=AXES) -> Op:
    """An op that works along one axis of each row, and removes it unless it `keeps` it."""

    def shape(row, axis):
        kept = row.shape if keeps else row.shape[:axis] + row.shape[axis + 1 :]
        if not row.is_float and name != "argmax" and kernel not in ("sum_axis", "max_axis"):
            raise TypeError(f"{name}: expected float rows, not {row.dtype}")
        return (row_type(dtype or row.dtype, kept),)

    def lower(signature):
        axis = dict(signature.attributes)["axis"]
        row = signature.types[0]
        step = call(
            kernel, operand_refs(signature), output_refs(signature)[0], split(row, axis), row.dtype
        )
        return lowered(signature, [step])

    return Op(name, formula, shape, lower, vjp, samples=samples)


def expanded(g, x, axis: int):
    """`g`, which lost an axis, as wide as `x` again."""
    return record(REPEAT, (g,), (("axis", axis), ("times", x.type.shape[axis])))


SUM = along_axis(
    "sum", "y = sum over the axis of x", "sum_axis", lambda g, y, x, axis: (expanded(g, x, axis),)
)
MAX = along_axis(
    "max", "y = max over the axis of x; ties share the gradient", "max_axis",
    lambda g, y, x, axis: (_max_cotangent(g, y, x, axis),),
)  # fmt: skip
ARGMAX = along_axis(
    "argmax", "y = the first index of the largest x along the axis", "argmax_axis", None,
    dtype="int64",
)  # fmt: skip


def _max_cotangent(g, y, x, axis):
    chosen = (x == expanded(y, x, axis)).astype(x.type.dtype)
    count = record(SUM, (chosen,), (("axis", axis),))
    return chosen * expanded(g / count, x, axis)


def _repeat_shape(row, axis, times):
    return (row_type(row.dtype, (*row.shape[:axis], times, *row.shape[axis:])),)


def _repeat_lower(signature):
    (_, axis), (_, times) = signature.attributes
    row = signature.types[0]
    outer, inner = math.prod(row.shape[:axis]), math.prod(row.shape[axis:])
    step = call(
        "repeat_axis", operand_refs(signature), output_refs(signature)[0], (outer, times, inner),
        row.dtype,
    )  # fmt: skip
    return lowered(signature, [step])


REPEAT = Op(
    "repeat", "y = x, repeated along a new axis", _repeat_shape, _repeat_lower,
    lambda g, y, x, axis, times: (record(SUM, (g,), (("axis", axis),)),),
    samples=(
        Sample(((4,),), (("axis", 0), ("times", 3))),
        Sample(((4,),), (("axis", 1), ("times", 2))),
    ),
)  # fmt: skip


def expand(x, shape: tuple[int, ...]):
    """Rows broadcast to `shape`, as numpy broadcasts."""
    for axis in range(len(shape) - len(x.type.shape)):
        x = record(REPEAT, (x,), (("axis", axis), ("times", shape[axis])))
    for axis, (have, want) in enumerate(zip(x.type.shape, shape, strict=True)):
        if have != want:
            squeezed = reshape(x, x.type.shape[:axis] + x.type.shape[axis + 1 :])
            x = record(REPEAT, (squeezed,), (("axis", axis), ("times", want)))
    return x


def unbroadcast(g, row):
    """`g` summed over the axes along which `row` was broadcast."""
    while len(g.type.shape) > len(row.shape):
        g = record(SUM, (g,), (("axis", 0),))
    for axis, (have, want) in enumerate(zip(g.type.shape, row.shape, strict=True)):
        if have != want:
            total = record(SUM, (g,), (("axis", axis),))
            g = reshape(total, (*g.type.shape[:axis], 1, *g.type.shape[axis + 1 :]))
    return g


def over(function, x, axis, keepdim: bool = False, name: str = "reduction"):
    """A reduction over an axis, or over several one after the other."""
    for one in axes_of(x, axis, name):
        x = function(x, one, keepdim)
    return x


# -- functions -------------------------------------------------------------------------------------


def _whole(name: str, axis, keepdim: bool) -> None:
    """Refuse an axis of a list, whose items are added up as a whole."""
    if axis not in (None, 0) or keepdim:
        given = "keepdim" if keepdim else f"axis {axis}"
        raise TypeError(
            f"{name}: {given} of a list, whose items are added up element by element; for an axis "
            "of theirs give one value: ln.sequence(list) or ln.stack(list) makes one"
        )


# What each reduction does along the ragged axis, and the op of those that are one node there;
# `segments.py` and `sorting.py` enter themselves here.
ROW_REDUCTIONS: dict = {}
ROW_OPS: dict[str, Op] = {}


class _Way(NamedTuple):
    """How a reduction of a kind of value was recorded: what the short way does again."""

    of_rows: Any  # the signature of its node over rows, or None
    along: Any  # and of its node along an axis, or None
    row: RowType  # of the result


def reduced(name: str, op: Op, x, axis, keepdim: bool = False):
    """A reduction by an op, over an axis or over everything, and over rows as it is told there."""
    x = given = as_value(x, name)
    own = 0 if axis is None else axis_of(x, axis, name)
    if own is None:
        return ROW_REDUCTIONS[name](x)
    if axis is None:
        if isinstance(x, Sequence):
            x = ROW_REDUCTIONS[name](x)
        kept = (1,) * len(x.type.shape) if keepdim else ()
        flat = reshaped(x.type, (x.type.size,))
    else:
        kept = (*x.type.shape[:own], *([1] * bool(keepdim)), *x.type.shape[own + 1 :])
        flat = x.type
    along = None
    if axis is not None or flat.size != 1:
        along = op.signature((flat,), (("axis", own),))
        x = record(op, (retyped(x, flat),), (("axis", own),))
    y = x if x.type.shape == kept else reshape(x, kept)
    rows = axis is None and given.__class__ is Sequence
    if rows and name not in ROW_OPS:
        return y
    if given.__class__ in (Tensor, Sequence) and keepdim.__class__ is bool:
        of_rows = ROW_OPS[name].signature((given.type,)) if rows else None
        given.type.views[name, given.__class__, axis, keepdim] = _Way(of_rows, along, y.type)
    return y


def again(name: str, x, axis, keepdim: bool):
    """A reduction of a kind that was met before, in the short way; else None."""
    kind = x.__class__
    if (kind is not Tensor and kind is not Sequence) or keepdim.__class__ is not bool:
        return None
    if axis.__class__ not in _PLAIN_AXES:
        return None
    way = x.type.views.get((name, kind, axis, keepdim))
    if way is None:
        return None
    if way.of_rows is not None:
        x = one_segment.record(way.of_rows, x)
    if way.along is not None and x is not None:
        x = node.record(way.along, x)  # where not even that is, the rows are added up once more
    return x if x is None or x.type is way.row else retyped(x, way.row)


def _sum_again(values: list):
    """The sum of a list of Tensors of one type, in the short way; else None."""
    first = values[0]
    if first.__class__ is not Tensor or first.type.dtype == "bool":
        return None
    return of_list.record(ROW_OPS["sum"].signature((first.type,)), first.type, values, None)


def named_axis(name: str, axis, dim):
    """The axis, which may be given as `dim`."""
    if dim is None:
        return axis
    if axis is None:
        return dim
    raise TypeError(f"{name}: axis and dim are two names of one argument; give one of them")


def sum(x, axis: Any = None, keepdim: bool = False, *, dim: Any = None):
    """The sum over an axis, or over everything; axis 0 of a Sequence is its rows.

    A list of Tensors is summed element by element. Shapes: without an axis any -> (); else the axis
    (or several in a tuple) is left out, or of size 1 with `keepdim`; over other axes than the rows,
    n rows -> n rows. The rows are left out with `keepdim`, too: without them the sum is what goes
    together with each of them, as in `x - ln.mean(x, 0, keepdim=True)`.

    >>> x = ln.sequence([[1.0, 2.0], [3.0, 4.0]])
    >>> ln.sum(x).item(), ln.sum(x, 0).tolist(), ln.sum(x, 1).tolist()
    (10.0, [4.0, 6.0], [3.0, 7.0])

    Raises:
        ShapeError: if there is no such axis. TypeError: for an axis of a list.
    """
    axis = named_axis("sum", axis, dim)
    if x.__class__ is list and x and axis is None and not keepdim:
        made = _sum_again(x)
    else:
        made = again("sum", x, axis, keepdim)
    return _sum(x, axis, keepdim) if made is None else made


@told
def _sum(x, axis: Any, keepdim: bool):
    """`sum`, the long way."""
    if isinstance(x, (list, tuple)):
        _whole("sum", axis, keepdim)
        return ROW_REDUCTIONS["sum"](x)
    if isinstance(axis, (tuple, list)):
        return over(sum, as_value(x, "sum"), axis, keepdim, "sum")
    x = as_value(x, "sum")
    if x.type.dtype == "bool":
        x = x.astype("int64")  # a count
    return reduced("sum", SUM, x, axis, keepdim)


def mean(x, axis: Any = None, keepdim: bool = False, *, dim: Any = None):
    """The mean over an axis, or over everything; of nothing it is NaN, as in numpy.

    A list of Tensors is averaged element by element. Shapes: as `sum`.

    >>> ln.mean(ln.sequence([[1.0, 2.0], [3.0, 6.0]]), 0).tolist()
    [2.0, 4.0]

    Raises:
        ShapeError: if there is no such axis. TypeError: for an axis of a list.
    """
    axis = named_axis("mean", axis, dim)
    total = again("sum", x, axis, keepdim)
    if total is None:
        return _mean(x, axis, keepdim)
    if axis is None and x.__class__ is Sequence:
        return _over_rows(total, x, x.type.size)
    return total / float((x.type.size if axis is None else x.shape[axis]) or math.nan)


@told
def _mean(x, axis: Any, keepdim: bool):
    """`mean`, the long way."""
    if isinstance(x, (list, tuple)):
        if not x:
            raise ShapeError("mean: an empty list has no shape")
        _whole("mean", axis, keepdim)
        return _over_rows(ROW_REDUCTIONS["sum"](x), x, 1)
    if isinstance(axis, (tuple, list)):
        return over(mean, as_value(x, "mean"), axis, keepdim, "mean")
    total = sum(x, axis, keepdim)
    if isinstance(x, Sequence) and (axis is None or axis_of(x, axis, "mean") is None):
        return _over_rows(total, x, x.type.size if axis is None else 1)
    return total / float((x.type.size if axis is None else x.shape[axis]) or math.nan)


def _over_rows(total, x, size: int):
    """A sum over rows divided by their number, of which each counts `size` times."""
    share = ROW_REDUCTIONS["share"](x)
    if share is None:
        return total / float(len(x) * size or math.nan)
    return total * share / float(size or math.nan)


def max(x, axis: int | None = None, keepdim: bool = False, *, dim: int | None = None):
    """The largest element along an axis, or of all; ties share the gradient (as torch.amax).

    Shapes: as `sum`. The largest of nothing is -inf.

    >>> x = ln.tensor([[1.0, 4.0], [3.0, 2.0]])
    >>> ln.max(x).item(), ln.max(x, 1).tolist()
    (4.0, [4.0, 3.0])

    Raises:
        ShapeError: if there is no such axis.
    """
    axis = named_axis("max", axis, dim)
    made = again("max", x, axis, keepdim)
    return _max(x, axis, keepdim) if made is None else made


@told
def _max(x, axis: int | None, keepdim: bool):
    """`max`, the long way."""
    return reduced("max", MAX, x, axis, keepdim)


@told
def argmax(x, axis: int | None = -1, keepdim: bool = False):
    """The first index of the largest element along an axis of each row, or along the rows.

    Shapes: (..., k) -> (...), int64, with `keepdim` (..., 1); n rows -> n rows, or with axis 0 one
    row. With the axis None, of a Tensor, it is the number of the element among all: any -> ().

    >>> ln.argmax(ln.tensor([1.0, 3.0, 2.0])).item()
    1

    Raises:
        ShapeError: if there is no such axis. IndexError: of no elements.
    """
    x = as_value(x, "argmax")
    if axis is None and not isinstance(x, Sequence):
        y = argmax(reshape(x, (x.type.size,)), 0)
        return reshape(y, (1,) * len(x.type.shape)) if keepdim else y
    own = axis_of(x, axis, "argmax")
    if own is None:
        if not x.length:
            raise IndexError("argmax: no row of a Sequence of 0 rows is the largest")
        return ROW_REDUCTIONS["argmax"](x)
    shape = x.type.shape
    if not shape[own]:
        raise IndexError(f"argmax: no element along axis {axis} of {x.shape} is the largest")
    y = record(ARGMAX, (x,), (("axis", own),))
    return reshape(y, (*shape[:own], 1, *shape[own + 1 :])) if keepdim else y


for _class in (Tensor, Sequence):
    _class.sum, _class.mean, _class.max, _class.argmax = sum, mean, max, argmax
