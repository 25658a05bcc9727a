"""Softmax and its logarithm, along an axis of each row or along the rows of a Sequence."""

from __future__ import annotations

from typing import Any

from lazynet.op import Op, Sample, row_type
from lazynet.ops.axes import axis_of
from lazynet.ops.elementwise import as_floats, exp, log, where
from lazynet.ops.functions import isfinite
from lazynet.ops.reduce import (
    ROW_REDUCTIONS,
    SUM,
    again,
    along_axis,
    expanded,
    named_axis,
    over,
    reduced,
)
from lazynet.ops.reduce import max as largest
from lazynet.ops.reduce import sum as total
from lazynet.ops.told import told
from lazynet.ops.views import pick
from lazynet.ops.ways import with_leaves
from lazynet.program import call, lowered, operand_refs, output_refs
from lazynet.quick import Short, record_values
from lazynet.record import ShapeError, as_value, record
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


LOGSUMEXP = along_axis(
    "logsumexp", "y = log(sum exp(x))", "logsumexp_axis",
    lambda g, y, x, axis: (expanded(g, x, axis) * exp(x - expanded(y, x, axis)),),
)  # fmt: skip


def _with_number(name: str, formula: str, kernel: str, wide: bool, vjp) -> Op:
    """An op of a vector row and a number that gives a row as wide as that, or a number."""

    def shape(row, number):
        if number.shape or len(row.shape) != 1:
            raise ShapeError(f"{name}: expected rows of (classes,) and (), not {row} and {number}")
        return (row_type(row.dtype, row.shape if wide else ()),)

    def lower(signature):
        row = signature.types[0]
        to = output_refs(signature)[0]
        return lowered(
            signature, [call(kernel, operand_refs(signature), to, (row.size,), row.dtype)]
        )

    return Op(name, formula, shape, lower, vjp, samples=(Sample(((4,), ())), Sample(((1,), ()))))


def _scaled_cotangents(g, y, x, scale):
    likely = softmax(x)
    slope = record(SUM, (g * likely,), (("axis", 0),))
    return expanded(scale, x, 0) * likely * (g - expanded(slope, x, 0)), slope


# Softmax, its logarithm, the choice of one element and the sign as one: of the many classes of a
# row only the gradient is written, and nothing is kept.
NLL = _with_number(
    "nll", "y = log(sum exp(x)) - c, where c is one of x", "nll", False,
    lambda g, y, x, c: (record(SCALED_SOFTMAX, (x, g)), -g),
)  # fmt: skip
SCALED_SOFTMAX = _with_number(
    "scaled_softmax", "y = s exp(x) / sum exp(x)", "scaled_softmax", True, _scaled_cotangents
)
_chosen: dict = {}
_short_nll = Short(record_values, _chosen)


def nll(x, index, name: str):
    """-log_softmax(x)[index] of vector rows: an index for a Tensor, or one for each row."""
    chosen = pick(x, index, name)
    made = _short_nll.record(x, chosen)
    if made is None:
        made = record(NLL, (x, chosen))
        _chosen.setdefault(x.type, {})[chosen.type] = NLL.signature((x.type, chosen.type))
    return made


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


def logsumexp(x, axis: Any = -1, keepdim: bool = False, *, dim: Any = None):
    """y = log(sum exp(x)) along an axis, without overflow; -inf for nothing.

    Shapes: as `sum`; axes may be several.

    >>> round(float(ln.logsumexp(ln.tensor([0.0, 0.0]))), 4)
    0.6931

    Raises:
        ShapeError: if there is no such axis.
    """
    if dim is not None:
        axis = named_axis("logsumexp", None if axis == -1 else axis, dim)
    made = again("logsumexp", x, axis, keepdim)
    return _logsumexp(x, axis, keepdim) if made is None else made


@told
def _logsumexp(x, axis: Any, keepdim: bool):
    """`logsumexp`, the long way."""
    x = as_floats(as_value(x, "logsumexp"))
    if isinstance(axis, (tuple, list)):
        return over(logsumexp, x, axis, keepdim, "logsumexp")
    return reduced("logsumexp", LOGSUMEXP, x, axis, keepdim)


def _logsumexp_of_rows(x):
    """Of each column, over the rows of a Sequence."""
    top = largest(x, 0, keepdim=True).detach()
    top = where(isfinite(top), top, 0.0)
    return log(total(exp(x - top), 0)) + top


ROW_REDUCTIONS["logsumexp"] = _logsumexp_of_rows
for _class in (Tensor, Sequence):
    _class.softmax, _class.log_softmax, _class.logsumexp = softmax, log_softmax, logsumexp
