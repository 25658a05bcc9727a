"""Sizes and axes, as users give them."""

from __future__ import annotations

import functools
import operator

import numpy as np

from lazynet.record import ShapeError
from lazynet.tensor import Sequence

# The shape to which shapes broadcast; numpy takes longer for it than recording a node does.
broadcast_shapes = functools.lru_cache(maxsize=4096)(np.broadcast_shapes)


def sizes_of(shape: tuple) -> tuple[int, ...]:
    """Integers that were given one by one, or in one tuple or list, as Python's own.

    Raises:
        TypeError: if they are no integers.
    """
    if len(shape) == 1:
        (given,) = shape
        if given.__class__ is tuple or (given.__class__ is not int and np.iterable(given)):
            shape = tuple(given)
    try:
        return tuple(map(operator.index, shape))
    except TypeError:
        raise TypeError(f"shape: sizes must be integers, not {shape}") from None


def axis_of(x, axis: int | None, name: str) -> int | None:
    """A user's axis as an axis of the rows; None for the ragged axis of a Sequence."""
    ragged = isinstance(x, Sequence)
    ndim = len(x.type.shape) + ragged
    if isinstance(axis, np.integer):
        axis = int(axis)
    if not isinstance(axis, int) or isinstance(axis, bool) or not -ndim <= axis < ndim:
        batch = "; examples have no batch axis" if axis == ndim > 0 else ""
        raise ShapeError(f"{name}: no axis {axis} in a value of shape {x.shape}{batch}")
    axis = axis % ndim
    if ragged:
        return None if axis == 0 else axis - 1
    return axis


def axes_of(x, axis, name: str) -> list:
    """The axes to reduce, the last first, so that those that remain keep their numbers.

    They are counted from 0; None stands for everything, where there are none.
    """
    if not isinstance(axis, (tuple, list)):
        if axis is not None:
            axis_of(x, axis, name)
        return [axis]
    for one in axis:
        axis_of(x, one, name)
    found = sorted({one % len(x.shape) for one in axis}, reverse=True)
    if len(found) < len(axis):
        raise ShapeError(f"{name}: an axis appears twice in {tuple(axis)}")
    return found or [None]
