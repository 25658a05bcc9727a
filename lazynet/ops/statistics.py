"""Reductions composed of others: least elements, means, spreads, norms.

`axis` counts as everywhere: axis 0 of a Sequence is its rows, None is everything. PyTorch's `dim`
and several axes in a tuple are understood as well.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lazynet.device import beside_operands
from lazynet.ops import reduce
from lazynet.ops.axes import axes_of, axis_of
from lazynet.ops.elementwise import absolute, sqrt, where
from lazynet.ops.reduce import over
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import sequence
from lazynet.ops.segments import ROW_MAX, ROW_SUM, over_segments
from lazynet.ops.shape import unsqueeze
from lazynet.ops.told import told
from lazynet.record import as_value
from lazynet.tensor import Sequence, Tensor


def _count(x, axis: Any) -> int:
    if axis in (None, (), []):
        return math.prod(x.shape)
    return math.prod(x.shape[a] for a in axes_of(x, axis, "reduction"))


def spread_back(y, x, axis: Any):
    """A reduced value as it broadcasts against what it was reduced from."""
    if axis in (None, (), []):
        return y
    for a in reversed(axes_of(x, axis, "reduction")):
        if axis_of(x, a, "reduction") is not None:
            y = unsqueeze(y, a - isinstance(x, Sequence) * (y.__class__ is Tensor))
    return y


def _kept(y, x, axis: Any):
    """A reduced value with an axis of size 1 for each that is gone, but for rows."""
    if axis in (None, (), []):
        return reshape(y, (1,) * len(x.type.shape))
    return spread_back(y, x, axis)


@told
def amax(x, axis: Any = None, keepdim: bool = False):
    """The largest element along axes; ties share the gradient, as torch.amax.

    Shapes: as `sum`; axes may be several.

    >>> float(ln.amax(ln.tensor([1.0, 3.0])))
    3.0

    Raises:
        ShapeError: if there is no such axis.
    """
    return over(reduce.max, as_value(x, "amax"), axis, keepdim)


@told
def amin(x, axis: Any = None, keepdim: bool = False):
    """The smallest element along axes; ties share the gradient, as torch.amin.

    Shapes: as `sum`; axes may be several.

    >>> float(ln.amin(ln.tensor([1.0, 3.0])))
    1.0

    Raises:
        ShapeError: if there is no such axis.
    """
    return _turned(amax(_turned(as_value(x, "amin")), axis, keepdim))


def _turned(x):
    """What is large where x is small; each value has one, the least integer too."""
    if x.type.is_float:
        return -x
    return ~x if x.type.dtype == "bool" else -1 - x


@told
def min(x, axis: int | None = None, keepdim: bool = False):
    """The smallest element along an axis, or of all; ties share the gradient.

    Shapes: as `sum`.

    >>> float(ln.min(ln.tensor([1.0, 3.0])))
    1.0

    Raises:
        ShapeError: if there is no such axis.
    """
    return amin(x, axis, keepdim)


@told
def argmin(x, axis: int | None = -1, keepdim: bool = False):
    """The first index of the smallest element along an axis of each row.

    Shapes: as `argmax`.

    >>> int(ln.argmin(ln.tensor([2.0, 1.0])))
    1

    Raises:
        ShapeError: if there is no such axis.
    """
    x = as_value(x, "argmin")
    if axis is not None:
        axis_of(x, axis, "argmin")
    return reduce.argmax(_turned(x), axis, keepdim)


def reduce_sum(x, axis: Any = None, keepdim: bool = False):
    """The sum along axes, several of them at once."""
    return over(reduce.sum, x, axis, keepdim)


@told
def var(
    x, axis: Any = None, correction: float = 1, keepdim: bool = False, *,
    unbiased: bool | None = None,
):  # fmt: skip
    """The mean squared distance from the mean, with n - correction in the denominator.

    NaN where that is not positive, as in torch.var; `unbiased=False` is another name of
    `correction=0`.

    Shapes: as `sum`; axes may be several.

    >>> float(ln.var(ln.tensor([1.0, 3.0])))
    2.0

    Raises:
        ShapeError: if there is no such axis.
    """
    x = as_value(x, "var")
    correction = correction if unbiased is None else int(unbiased)
    count = _count(x, axis)
    mean = reduce_sum(x, axis) / float(count or math.nan)
    away = x - spread_back(mean, x, axis)
    free = count - correction
    y = reduce_sum(away * away, axis) / float(free if free > 0 else math.nan)
    return _kept(y, x, axis) if keepdim else y


@told
def std(
    x, axis: Any = None, correction: float = 1, keepdim: bool = False, *,
    unbiased: bool | None = None,
):  # fmt: skip
    """The square root of `var`. Where all elements are the same, its gradient is 0.

    Shapes: as `var`.

    >>> round(float(ln.std(ln.tensor([1.0, 3.0]))), 4)
    1.4142

    Raises:
        ShapeError: if there is no such axis.
    """
    return _root(var(x, axis, correction, keepdim, unbiased=unbiased), 2)


def _root(total, p: float):
    """total^(1/p), with the gradient 0 at 0."""
    zero = total == 0.0
    some = where(zero, 1.0, total)
    return where(zero, 0.0, sqrt(some) if p == 2 else some ** (1.0 / p))


@told
def norm(x, p: float = 2, axis: Any = None, keepdim: bool = False):
    """(sum of |x|^p)^(1/p); p may be infinite. The gradient at 0 is 0.

    Shapes: as `sum`; axes may be several.

    >>> float(ln.norm(ln.tensor([3.0, 4.0])))
    5.0

    Raises:
        ValueError: unless p > 0. ShapeError: if there is no such axis.
    """
    x = as_value(x, "norm")
    if not p > 0:
        raise ValueError(f"norm: expected p > 0, not {p}")
    if p == math.inf:
        return amax(absolute(x), axis, keepdim)
    if p == 1:
        return reduce_sum(absolute(x), axis, keepdim)
    powers = x * x if p == 2 else where(x == 0.0, 0.0, where(x == 0.0, 1.0, absolute(x)) ** p)
    return _root(reduce_sum(powers, axis, keepdim), p)


@told
def any(x, axis: Any = None, keepdim: bool = False):
    """Whether some element along axes is not 0.

    Shapes: as `sum`; bool.

    >>> bool(ln.any(ln.tensor([0.0, 2.0])))
    True

    Raises:
        ShapeError: if there is no such axis.
    """
    return over(reduce.max, _truth(x, "any"), axis, keepdim) > 0


@told
def all(x, axis: Any = None, keepdim: bool = False):
    """Whether no element along axes is 0.

    Shapes: as `sum`; bool.

    >>> bool(ln.all(ln.tensor([0.0, 2.0])))
    False

    Raises:
        ShapeError: if there is no such axis.
    """
    return over(reduce.max, 1 - _truth(x, "all"), axis, keepdim) <= 0


def _truth(x, name: str):
    return (as_value(x, name) != 0).astype("int64")


# -- rows by index ---------------------------------------------------------------------------------


@told
@beside_operands
def segment_mean(x, index, count: int):
    """The mean of the rows j of x with index[j] = s, for s < count; 0 where there are none.

    Shapes: as `segment_sum`.

    >>> ln.segment_mean(ln.sequence([[1.0], [3.0]]), [0, 0], 2).numpy().tolist()
    [[2.0], [0.0]]

    Raises:
        IndexError: on this line, if an index is not below `count`.
    """
    totals = over_segments(ROW_SUM, x, index, count, "segment_mean")
    sizes = np.maximum(np.bincount(np.asarray(index, np.int64), minlength=count), 1)
    weights = (1.0 / sizes).astype(totals.type.dtype if totals.type.is_float else "float32")
    shape = (count, *(1 for _ in totals.type.shape))
    return totals * sequence(weights.reshape(shape))


@told
def segment_max(x, index, count: int):
    """The largest elements of the rows j of x with index[j] = s, for s < count; -inf for none.

    Ties share the gradient.

    Shapes: as `segment_sum`.

    >>> ln.segment_max(ln.sequence([[1.0], [3.0]]), [0, 0], 2).numpy().tolist()
    [[3.0], [-inf]]

    Raises:
        IndexError: on this line, if an index is not below `count`.
    """
    return over_segments(ROW_MAX, x, index, count, "segment_max")


_METHODS = {
    "amax": amax, "amin": amin, "min": min, "argmin": argmin, "var": var,
    "std": std, "norm": norm, "any": any, "all": all,
}  # fmt: skip
for _class in (Tensor, Sequence):
    for _name, _method in _METHODS.items():
        setattr(_class, _name, _method)
