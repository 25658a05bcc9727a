"""Values joined along an axis and taken apart; the rows of all examples as one Sequence."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from lazynet.ops.axes import axis_of
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import STACKED
from lazynet.ops.rows import cat as cat_rows
from lazynet.ops.take import rearranged, row_axis
from lazynet.ops.told import told
from lazynet.ops.views import joined_before
from lazynet.record import ShapeError, as_value
from lazynet.tensor import Sequence, Tensor


@told
def cat(values, axis: int = -1):
    """Rows joined along an axis, the last one by default; see `ops/rows.py` for axis 0.

    Shapes: the axis gets the sum of the sizes; n rows -> n rows. Along axis 0, Sequences of n and m
    rows -> n + m rows.

    >>> ln.cat([ln.zeros(2, 3), ln.ones(1, 3)], 0).shape
    (3, 3)

    Raises:
        ShapeError: if the other axes differ, or there is nothing to join.
    """
    values = list(values)
    if axis == -1 and (joined := joined_before(values)) is not None:
        return joined
    ragged = next((v for v in values if v.__class__ is Sequence), None)
    if ragged is not None and axis in (0, -len(ragged.shape)):
        if any(v.__class__ is not Sequence for v in values):
            raise ShapeError(
                "cat: along axis 0, the rows, Sequences can be joined to Sequences only; "
                "ln.sequence([x]) makes one of a Tensor"
            )
        return cat_rows(values, 0)
    if not values or axis == -1:
        return cat_rows(values, axis)
    values = [as_value(v, "cat") for v in values]
    at = row_axis(values[0] if ragged is None else ragged, axis, "cat")
    shapes = [v.type.shape for v in values]
    if at == len(shapes[0]) - 1:
        return cat_rows(values, -1)
    others = [(*s[:at], *s[at + 1 :]) for s in shapes]
    if len(set(others)) > 1:
        raise ShapeError(
            f"cat: rows of {' and '.join(map(str, shapes))} differ in other axes than {axis}"
        )
    joined = cat_rows([reshape(v, (v.type.size,)) for v in values], -1)
    sizes = np.cumsum([0, *(math.prod(s) for s in shapes)])

    def laid(numbers):
        parts = [numbers[a:b].reshape(s) for a, b, s in zip(sizes, sizes[1:], shapes, strict=False)]
        return np.concatenate(parts, at)

    if at == 0:
        return reshape(joined, (sum(s[0] for s in shapes), *others[0]))
    return rearranged(joined, ("cat", at, tuple(shapes)), laid)


STACKED.append(cat)


class Packed(NamedTuple):
    """What `pack` gives: the rows of all examples, and how many are whose."""

    rows: Any
    lengths: list[int]


@told
def pack(values) -> Packed:
    """The rows of several Sequences, one after the other, and their numbers.

    Shapes: Sequences of n, m, ... rows -> n + m + ... rows.

    Nothing has to be packed to run together. It is for what treats rows of all examples alike, as
    statistics over a minibatch do; `unpack` goes back.

    >>> rows, lengths = ln.pack([ln.sequence([1.0, 2.0]), ln.sequence([3.0])])
    >>> rows.tolist(), lengths
    ([1.0, 2.0, 3.0], [2, 1])

    Raises:
        ShapeError: if there are no Sequences, or their rows differ in shape.
    """
    values = list(values)
    if not values or not all(isinstance(x, Sequence) for x in values):
        raise ShapeError("pack: expected one or more Sequences")
    return Packed(cat(values, 0), [len(x) for x in values])


@told
def unpack(rows, lengths) -> list:
    """The Sequences that were packed: parts of `rows` of these lengths; views.

    Shapes: n + m + ... rows -> Sequences of n, m, ... rows.

    >>> [part.tolist() for part in ln.unpack(ln.sequence([1.0, 2.0, 3.0]), [2, 1])]
    [[1.0, 2.0], [3.0]]

    Raises:
        ShapeError: if there are not as many rows, or a length is negative.
    """
    ends = list(itertools.accumulate(lengths))
    if any(length < 0 for length in lengths):
        raise ShapeError(f"unpack: lengths must not be negative, got {list(lengths)}")
    if not isinstance(rows, Sequence) or (ends[-1] if ends else 0) != len(rows):
        raise ShapeError(f"unpack: lengths of {ends[-1] if ends else 0} rows for {rows.shape}")
    return [rows[end - length : end] for end, length in zip(ends, lengths, strict=True)]


@told
def unbind(x, dim: int = 0):
    """The parts of a value along an axis, as a list.

    Shapes: an axis of k gives k parts without it.

    >>> [float(v) for v in ln.unbind(ln.tensor([1.0, 2.0]))]
    [1.0, 2.0]

    Raises:
        ShapeError: if there is no such axis.
    """
    x = as_value(x, "unbind")
    at = axis_of(x, dim, "unbind")
    if at is None:
        return list(x)
    if at == 0 and x.__class__ is Tensor:
        return [x[k] for k in range(x.type.shape[0])]
    return [
        rearranged(x, ("unbind", at, k), lambda index, k=k: index.take(k, at))
        for k in range(x.type.shape[at])
    ]


for _class in (Tensor, Sequence):
    _class.unbind = unbind
