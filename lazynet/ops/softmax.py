"""Softmax and its logarithm, along an axis of each row or along the rows of a Sequence."""

from __future__ import annotations

from lazynet.op import Op
from lazynet.ops.axes import axis_of
from lazynet.ops.reduce import ROW_REDUCTIONS, SUM, along_axis, expanded, named_axis
from lazynet.ops.told import told
from lazynet.ops.ways import with_leaves
from lazynet.quick import Short, record_values
from lazynet.record import as_value, record
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
    """A function that records an op along an axis, the last one in the short way."""
    known: dict = {}
    short, name = Short(record_values, known), op.name

    def at_length(x, axis: int):
        x = as_value(x, name)
        own = axis_of(x, axis, name)
        if own is None:
            return ROW_REDUCTIONS[name](x)
        attributes = (("axis", own),)
        if axis == -1:
            known[x.type] = op.signature((x.type,), attributes)
        return record(op, (x,), attributes)

    at_length.__name__ = f"_{name}"
    at_length = told(at_length)

    def along(x, axis: int, dim: int | None):
        if dim is not None:
            axis = named_axis(name, None if axis == -1 else axis, dim)
        made = None
        if axis.__class__ is int and axis == -1:
            made = short.record(x)
            made = with_leaves(short, x) if made is None else made
        return at_length(x, axis) if made is None else made

    return along


_log_softmax, _softmax = _over_last(LOG_SOFTMAX), _over_last(SOFTMAX)


def log_softmax(x, axis: int = -1, *, dim: int | None = None):
    """y = x - log(sum exp(x)) along an axis; axis 0 of a Sequence is its rows.

    The axis may be given as `dim`. Shapes: any -> the same; n rows -> n rows.

    >>> [round(v, 4) for v in ln.log_softmax(ln.tensor([0.0, 0.0])).tolist()]
    [-0.6931, -0.6931]

    Raises:
        ShapeError: if there is no such axis. TypeError: if rows are no floats.
    """
    return _log_softmax(x, axis, dim)


def softmax(x, axis: int = -1, *, dim: int | None = None):
    """y = exp(x) / sum exp(x) along an axis; axis 0 of a Sequence is its rows.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.softmax(ln.tensor([0.0, 0.0])).tolist()
    [0.5, 0.5]

    Raises:
        ShapeError: if there is no such axis. TypeError: if rows are no floats.
    """
    return _softmax(x, axis, dim)


for _class in (Tensor, Sequence):
    _class.softmax, _class.log_softmax = softmax, log_softmax
