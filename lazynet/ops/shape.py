"""Shapes: axes permuted, put in and left out, rows repeated, padded, flipped, joined.

Views (`reshape`, `unsqueeze`, ...) are types and cost nothing. Matrices are transposed by a kernel
for that; the rest is `TAKE` of `take.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lazynet.device import beside_operands
from lazynet.op import Op, Sample, row_type
from lazynet.ops import reduce
from lazynet.ops.axes import axis_of, sizes_of
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import cat as cat_rows
from lazynet.ops.take import places_of, rearranged, row_axis, taken
from lazynet.ops.told import told
from lazynet.program import call, lowered, operand_refs, output_refs
from lazynet.record import ShapeError, as_value, record
from lazynet.tensor import Sequence, Tensor, tensor

# -- axes ------------------------------------------------------------------------------------------


def _transpose_lower(signature):
    row = signature.types[0]
    step = call(
        "transpose", operand_refs(signature), output_refs(signature)[0], row.shape, row.dtype
    )
    return lowered(signature, [step])


def _transpose_shape(row):
    if len(row.shape) != 2:
        raise ShapeError(f"transpose: expected a matrix, not rows of {row.shape}")
    return (row_type(row.dtype, row.shape[::-1]),)


TRANSPOSE = Op(
    "transpose", "y[j, i] = x[i, j]", _transpose_shape, _transpose_lower,
    lambda g, y, x: (transposed(g),), samples=(Sample(((3, 4),)),),
)  # fmt: skip


def transposed(x):
    """The transposed matrix of each row: y[j, i] = x[i, j]."""
    return record(TRANSPOSE, (as_value(x, "transpose"),))


@told
def permute(x, *dims: Any):
    """The axes of each row in another order, as torch.permute; for a Sequence, 0 comes first.

    Shapes: the sizes in the order of the axes; n rows -> n rows.

    >>> ln.permute(ln.zeros(2, 3, 4), 2, 0, 1).shape
    (4, 2, 3)

    Raises:
        ShapeError: if the axes are not each named once.
    """
    x = as_value(x, "permute")
    order = sizes_of(dims)
    if isinstance(x, Sequence):
        if not order or order[0] != 0:
            raise ShapeError("permute: axis 0 of a Sequence, its rows, stays first")
        axes = tuple(row_axis(x, d, "permute") for d in order[1:])
    else:
        axes = tuple(row_axis(x, d, "permute") for d in order)
    if sorted(axes) != list(range(len(x.type.shape))):
        raise ShapeError(f"permute: {order} does not name every axis of {x.shape} once")
    if axes == tuple(range(len(axes))):
        return x
    return rearranged(x, ("permute", axes), lambda index: index.transpose(axes))


@told
def transpose(x, dim0: int | None = None, dim1: int | None = None):
    """Two axes of each row exchanged; without axes, the last two.

    Shapes: (n, m) -> (m, n); n rows -> n rows.

    >>> ln.transpose(ln.zeros(2, 3), 0, 1).shape
    (3, 2)

    Raises:
        ShapeError: if there is no such axis, or rows are no matrices.
    """
    x = as_value(x, "transpose")
    if dim0 is None or dim1 is None:
        if len(x.type.shape) < 2:
            raise ShapeError(f"transpose: expected a matrix, not rows of {x.type.shape}")
        if len(x.type.shape) == 2:
            return transposed(x)
        dim0, dim1 = -1, -2
    a, b = row_axis(x, dim0, "transpose"), row_axis(x, dim1, "transpose")
    if {a, b} == {0, 1} and len(x.type.shape) == 2:
        return transposed(x)
    return rearranged(x, ("transpose", a, b), lambda index: index.swapaxes(a, b))


@told
def unsqueeze(x, dim: int = -1):
    """An axis of size 1 put in; a view.

    Shapes: (2, 3) -> (2, 1, 3) for dim 1; n rows -> n rows.

    >>> ln.unsqueeze(ln.zeros(2, 3), 1).shape
    (2, 1, 3)

    Raises:
        ShapeError: if there is no such place.
    """
    x = as_value(x, "unsqueeze")
    ragged = isinstance(x, Sequence)
    ndim = len(x.type.shape) + ragged + 1
    if not -ndim <= dim < ndim or (ragged and dim % ndim == 0):
        raise ShapeError(f"unsqueeze: no place {dim} for an axis in a value of shape {x.shape}")
    at = dim % ndim - ragged
    return reshape(x, (*x.type.shape[:at], 1, *x.type.shape[at:]))


@told
def squeeze(x, dim: int | None = None):
    """Axes of size 1 left out: one, or all; a view.

    Shapes: (1, 3, 1) -> (3,); an axis of another size stays.

    >>> ln.squeeze(ln.zeros(1, 3, 1)).shape
    (3,)
    """
    x = as_value(x, "squeeze")
    shape = x.type.shape
    if dim is None:
        return reshape(x, tuple(s for s in shape if s != 1))
    at = row_axis(x, dim, "squeeze")
    return reshape(x, (*shape[:at], *shape[at + 1 :])) if shape[at] == 1 else x


@told
def flatten(x, start_dim: int = 0, end_dim: int = -1):
    """Axes of each row joined into one; a view. `start_dim` and `end_dim` count axes of a row.

    Shapes: (2, 3, 4) -> (24,) by default; n rows -> n rows.

    >>> ln.flatten(ln.zeros(2, 3, 4), 1).shape
    (2, 12)

    Raises:
        ShapeError: if there are no such axes.
    """
    x = as_value(x, "flatten")
    shape = x.type.shape
    if not shape:
        return reshape(x, (1,))
    first, last = start_dim % len(shape), end_dim % len(shape)
    if first > last or not all(-len(shape) <= d < len(shape) for d in (start_dim, end_dim)):
        raise ShapeError(f"flatten: no axes from {start_dim} to {end_dim} in rows of {shape}")
    joined = math.prod(shape[first : last + 1])
    return reshape(x, (*shape[:first], joined, *shape[last + 1 :]))


@told
def broadcast_to(x, *shape: Any):
    """Each row repeated to a shape, as numpy broadcasts; a size of -1 stays, as in torch's expand.

    Shapes: any -> the shape; n rows -> n rows.

    >>> ln.broadcast_to(ln.zeros(3), 2, 3).shape
    (2, 3)

    Raises:
        ShapeError: if it does not broadcast to that shape.
    """
    x = as_value(x, "broadcast_to")
    wanted = sizes_of(shape)
    own = x.type.shape
    new = len(wanted) - len(own)
    ends = [(have, want) for have, want in zip(own, wanted[max(new, 0) :], strict=False)]
    made = (*wanted[: max(new, 0)], *(have if want == -1 else want for have, want in ends))
    if (
        new < 0
        or any(size < 0 for size in made)
        or any(have != 1 and want not in (have, -1) for have, want in ends)
    ):
        raise ShapeError(f"broadcast_to: rows of {own} do not broadcast to {wanted}")
    return reduce.expand(x, made)


# -- order and number ------------------------------------------------------------------------------


@told
def flip(x, *dims: Any):
    """Elements in reverse order along some axes; for a Sequence, axis 0 reverses the rows.

    Shapes: any -> the same.

    >>> ln.flip(ln.tensor([1.0, 2.0]), 0).numpy().tolist()
    [2.0, 1.0]

    Raises:
        ShapeError: if there is no such axis.
    """
    x = as_value(x, "flip")
    axes = []
    for d in sizes_of(dims) or range(len(x.shape)):
        at = axis_of(x, d, "flip")
        if at is None:
            x = x[::-1]
        else:
            axes.append(at)
    if not axes:
        return x
    return rearranged(x, ("flip", *axes), lambda index: np.flip(index, axes))


@told
def roll(x, shifts: int, dim: int = -1):
    """Elements moved along an axis, those that fall off put in at the other end.

    Shapes: any -> the same.

    >>> ln.roll(ln.tensor([1.0, 2.0, 3.0]), 1).numpy().tolist()
    [3.0, 1.0, 2.0]

    Raises:
        ShapeError: if there is no such axis.
    """
    x = as_value(x, "roll")
    at = axis_of(x, dim, "roll")
    if at is None:
        k = shifts % len(x) if len(x) else 0
        return cat_rows([x[-k:], x[:-k]], 0) if k else x
    return rearranged(x, ("roll", shifts, at), lambda index: np.roll(index, shifts, at))


@told
def tile(x, *repeats: Any):
    """Each row laid out several times along its axes, as numpy.tile.

    Shapes: each axis becomes as often as large; n rows -> n rows.

    >>> ln.tile(ln.tensor([1.0, 2.0]), 2).numpy().tolist()
    [1.0, 2.0, 1.0, 2.0]
    """
    x = as_value(x, "tile")
    repeats = sizes_of(repeats)
    return rearranged(x, ("tile", *repeats), lambda index: np.tile(index, repeats))


@told
def repeat_interleave(x, repeats, dim: int = -1):
    """Elements repeated along an axis; rows of a Sequence with `dim=0`, each so often as told.

    Shapes: an axis of n elements -> as many as the repeats add up to.

    Args:
        repeats: a number, or one for each element of the axis.

    >>> ln.repeat_interleave(ln.tensor([1.0, 2.0]), 2).numpy().tolist()
    [1.0, 1.0, 2.0, 2.0]

    Raises:
        ShapeError: if there is no such axis, or not a number for each element.
    """
    x = as_value(x, "repeat_interleave")
    at = axis_of(x, dim, "repeat_interleave")
    count = len(x) if at is None else x.type.shape[at]
    if np.ndim(repeats) and len(repeats) != count:
        raise ShapeError(f"repeat_interleave: {len(repeats)} numbers for an axis of {count}")
    if at is None:
        return x[np.repeat(np.arange(count), repeats)]
    if np.ndim(repeats):
        return taken(x, np.repeat(places_of(x.type.shape), repeats, at))
    key = ("repeat_interleave", int(repeats), at)
    return rearranged(x, key, lambda index: np.repeat(index, repeats, at))


@told
@beside_operands
def pad(x, pad, mode: str = "constant", value: float = 0.0):
    """Each row made larger, as torch.nn.functional.pad: (before, after) of the last axis first.

    Shapes: an axis of n elements -> before + n + after; n rows -> n rows.

    Args:
        pad: numbers of elements, two for each axis, of the last axis first.
        mode: "constant", "reflect", "replicate" or "circular".

    >>> ln.pad(ln.tensor([1.0, 2.0]), (1, 2), value=9.0).numpy().tolist()
    [9.0, 1.0, 2.0, 9.0, 9.0]

    Raises:
        ValueError: for another mode. ShapeError: for more axes than a row has.
    """
    x = as_value(x, "pad")
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if mode not in modes:
        raise ValueError(f"pad: mode must be one of {', '.join(modes)}, not {mode!r}")
    shape, widths = x.type.shape, tuple(int(w) for w in pad)
    if len(widths) % 2 or len(widths) > 2 * len(shape):
        raise ShapeError(f"pad: {len(widths)} widths for rows of {shape}; give two for an axis")
    pairs = [(0, 0)] * len(shape)
    for k in range(len(widths) // 2):
        pairs[len(shape) - 1 - k] = widths[2 * k : 2 * k + 2]
    if any(min(pair) < 0 for pair in pairs):
        raise ShapeError(f"pad: widths must not be negative, got {widths}")
    extra = {"constant_values": -1} if mode == "constant" else {}

    def padded(index):
        return np.pad(index, pairs, modes[mode], **extra)

    y = rearranged(x, ("pad", tuple(pairs), mode), padded)
    if mode != "constant" or value == 0.0:
        return y
    outside = padded(np.zeros(shape, np.int64)) < 0
    return y + tensor(np.where(outside, value, 0).astype(x.type.dtype))


@told
def outer(x, y):
    """z[i, j] = x[i] y[j] of the vectors in each row.

    Shapes: (n,) (m,) -> (n, m); n rows -> n rows.

    >>> ln.outer(ln.tensor([1.0, 2.0]), ln.tensor([3.0])).numpy().tolist()
    [[3.0], [6.0]]

    Raises:
        ShapeError: if rows are no vectors.
    """
    x, y = as_value(x, "outer"), as_value(y, "outer")
    if len(x.type.shape) != 1 or len(y.type.shape) != 1:
        raise ShapeError(f"outer: expected vectors, not rows of {x.type.shape} and {y.type.shape}")
    return reshape(x, (x.type.size, 1)) * reshape(y, (1, y.type.size))


_METHODS = (permute, transpose, unsqueeze, squeeze, flatten, broadcast_to, flip, roll, tile,
            repeat_interleave, outer)  # fmt: skip
for _class in (Tensor, Sequence):
    for _method in _METHODS:
        setattr(_class, _method.__name__, _method)
    _class.mT = property(transpose)
    _class.expand = broadcast_to
Tensor.T = property(transposed)
