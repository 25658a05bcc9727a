"""The same elements in another shape: rows under another type, which is a view and no node."""

from __future__ import annotations

import math

from lazynet.ops.axes import sizes_of
from lazynet.ops.told import told
from lazynet.record import ShapeError
from lazynet.tensor import Sequence, Tensor


def retyped(x, row):
    """The same rows under another type: a view, no node."""
    if isinstance(x, Sequence):
        return Sequence(x.graph, x.id, row, x.length, x.step)
    return Tensor(x.graph, x.id, row)


@told
def reshape(x, *shape):
    """The same elements in another shape; for a Sequence the shape of each row. A view, no node.

    Shapes: any -> as many elements in the shape given, one size of which may be -1; n rows -> n
    rows.

    >>> ln.reshape(ln.tensor([1.0, 2.0, 3.0, 4.0]), 2, -1).tolist()
    [[1.0, 2.0], [3.0, 4.0]]

    Args:
        shape: sizes, one of which may be -1: what is left for it.

    Raises:
        ShapeError: if the number of elements differs.
    """
    shape = sizes_of(shape)
    row = x.type.views.get(("reshape", shape))
    return retyped(x, reshaped(x.type, shape) if row is None else row)


def reshaped(row, shape: tuple[int, ...]):
    """A row type in another shape, which it keeps for the next time."""
    given, known = shape, math.prod(s for s in shape if s != -1)
    if shape.count(-1) == 1 and known:
        shape = tuple(row.size // known if s == -1 else s for s in shape)
    if math.prod(shape) != row.size or any(s < 0 for s in shape):
        raise ShapeError(f"reshape: rows of {row.shape} have {row.size} elements, not {shape}")
    made = row.views["reshape", given] = row.view(shape)
    return made


for _class in (Tensor, Sequence):
    _class.reshape = _class.view = reshape
