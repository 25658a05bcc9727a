"""Softmax and its logarithm, along an axis of each row or along the rows of a Sequence."""

from __future__ import annotations

from lazynet.op import Op
from lazynet.ops.axes import axis_of
from lazynet.ops.reduce import ROW_REDUCTIONS, SUM, along_axis, expanded, named_axis
from lazynet.ops.told import told
from lazynet.quick import Short, record_values
from lazynet.record import as_value, record, with_leaves
from lazynet.tensor import Sequence, Tensor

LOG_SOFTMAX = along_axis(
    "log_softmax", "y = x - log(sum exp(x))", "log_softmax_axis",
    lambda g, y, x, axis: (
        g - y.exp() * expanded(record(SUM, (g,), (("axis", axis),)), x, axis),
    ),
    keeps=True,
)  # fmt: skip
SOFTMAX = along_axis(
    "softmax", "y = exp(x) / sum exp(x)", "softmax_axis",
    lambda g, y, x, axis: (
        y * (g - expanded(record(SUM, (g * y,), (("axis", axis),)), x, axis)),
    ),
    keeps=True,
)  # fmt: skip


def _over_last(op: Op):
    """Functions that record an op along the last axis in the short way, and along any other."""
    known: dict = {}
    short = Short(record_values, known)

    def shortly(x):
        made = short.record(x)
        return with_leaves(short, x) if made is None else made

    def at_length(x, axis: int):
        name = op.name
        x = as_value(x, name)
        own = axis_of(x, axis, name)
        if own is None:
            return ROW_REDUCTIONS[name](x)
        attributes = (("axis", own),)
        if axis == -1:
            known[x.type] = op.signature((x.type,), attributes)
        return record(op, (x,), attributes)

    at_length.__name__ = f"_{op.name}"
    return shortly, told(at_length)


_shortly, _at_length = _over_last(LOG_SOFTMAX)


def log_softmax(x, axis: int = -1, *, dim: int | None = None):
    """y = x - log(sum exp(x)) along an axis; axis 0 of a Sequence is its rows.

    The axis may be given as `dim`. Shapes: any -> the same; n rows -> n rows.

    >>> [round(v, 4) for v in ln.log_softmax(ln.tensor([0.0, 0.0])).tolist()]
    [-0.6931, -0.6931]

    Raises:
        ShapeError: if there is no such axis. TypeError: if rows are no floats.
    """
    if dim is not None:
        axis = named_axis("log_softmax", None if axis == -1 else axis, dim)
    made = _shortly(x) if axis.__class__ is int and axis == -1 else None
    return _at_length(x, axis) if made is None else made


_softly, _softly_at_length = _over_last(SOFTMAX)


def softmax(x, axis: int = -1, *, dim: int | None = None):
    """y = exp(x) / sum exp(x) along an axis; axis 0 of a Sequence is its rows.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.softmax(ln.tensor([0.0, 0.0])).tolist()
    [0.5, 0.5]

    Raises:
        ShapeError: if there is no such axis. TypeError: if rows are no floats.
    """
    if dim is not None:
        axis = named_axis("softmax", None if axis == -1 else axis, dim)
    made = _softly(x) if axis.__class__ is int and axis == -1 else None
    return _softly_at_length(x, axis) if made is None else made


for _class in (Tensor, Sequence):
    _class.softmax, _class.log_softmax = softmax, log_softmax
