"""Elements of each row in another order or place: one op, with a table of where each comes from.

What numpy does to an array of numbers is what the functions of `shape.py` and `index.py` do to the
table of `TAKE`; its derivative is `PUT`, with the same table. A table is for what a shape
determines. Places that a program is given are an operand, of `TAKE_AXIS` and `PUT_AXIS`, so that
examples with different ones batch and nothing is kept of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.leaf import STATICS, Leaf
from lazynet.op import Op, RowType, Sample, row_type
from lazynet.ops.axes import axis_of
from lazynet.ops.reduce import split
from lazynet.ops.reshape import reshape
from lazynet.program import Ref, call, lowered, operand_refs, output_refs
from lazynet.record import ShapeError, as_value, record


class Table:
    """Indices into the elements of a row, -1 for none; kept where kernels find them."""

    def __init__(self, index: np.ndarray):
        self.index = np.ascontiguousarray(index, np.int64).reshape(-1)
        self.leaf = Leaf(self.index, row_type("int64", self.index.shape))
        STATICS.add(self.leaf, constant=True)

    def __repr__(self) -> str:
        return f"<table of {self.index.size}>"


def _moved(kernel: str):
    def lower(signature):
        table = dict(signature.attributes)["table"]
        x, y = operand_refs(signature)[0], output_refs(signature)[0]
        place = Ref(words.STATIC, table.leaf.number, "int64", table.index.size)
        sizes = (y.size, x.size) if kernel == "take_elements" else (x.size, y.size)
        return lowered(signature, [call(kernel, (place, x), y, sizes, y.dtype)])

    return lower


def _given_shape(row: RowType, table: Table, shape: tuple[int, ...]):
    return (row_type(row.dtype, shape),)


_REVERSED, _SHIFTED = Table(np.arange(6)[::-1]), Table(np.array([3, -1, 0, 3]))
TAKE = Op(
    "take", "y[j] = x[table[j]], 0 where table[j] < 0", _given_shape, _moved("take_elements"),
    lambda g, y, x, table, shape: (
        record(PUT, (g,), (("table", table), ("shape", x.type.shape))),
    ),
    samples=(Sample(((2, 3),), (("table", _REVERSED), ("shape", (6,)))),
             Sample(((5,),), (("table", _SHIFTED), ("shape", (2, 2))))),
)  # fmt: skip
PUT = Op(
    "put", "y[table[j]] += x[j], from zeros", _given_shape, _moved("add_elements"),
    lambda g, y, x, table, shape: (
        record(TAKE, (g,), (("table", table), ("shape", x.type.shape))),
    ),
    samples=(Sample(((2, 3),), (("table", _REVERSED), ("shape", (6,)))),
             Sample(((2, 2),), (("table", _SHIFTED), ("shape", (5,))))),
)  # fmt: skip

# -- places that are an operand --------------------------------------------------------------------


def check_places(name: str, n) -> None:
    if n.dtype != "int64":
        raise TypeError(f"{name}: places are int64, not {n.dtype}")


def _take_shape(x, n, axis):
    check_places("take_axis", n)
    return (row_type(x.dtype, n.shape),)


def _put_shape(x, n, axis, size):
    check_places("put_axis", n)
    return (row_type(x.dtype, (*x.shape[:axis], size, *x.shape[axis + 1 :])),)


def _moved_along(kernel: str):
    """A program of a kernel with the numbers of places along an axis."""

    def lower(signature):
        axis = dict(signature.attributes)["axis"]
        refs, y = operand_refs(signature), signature.outputs[0]
        outer, count, inner = split(y, axis)
        if kernel == "take_axis":
            attributes = (outer, refs[0].size // (outer * inner or 1), inner, count)
        else:
            attributes = (outer, count, inner, refs[0].size // (outer * inner or 1))
        return lowered(
            signature, [call(kernel, refs, output_refs(signature)[0], attributes, y.dtype)]
        )

    return lower


TAKE_AXIS = Op(
    "take_axis", "y[k] = x[n[k]] along the axis", _take_shape, _moved_along("take_axis"),
    lambda g, y, x, n, axis: (
        record(PUT_AXIS, (g, n), (("axis", axis), ("size", x.type.shape[axis]))), None,
    ),
    samples=(Sample(((3,), (3,)), (("axis", 0),), 0.0, 2.9, dtypes=("", "int64")),
             Sample(((2, 3, 2), (2, 4, 2)), (("axis", 1),), 0.0, 2.9, dtypes=("", "int64"))),
)  # fmt: skip
PUT_AXIS = Op(
    "put_axis", "y[n[k]] += x[k] along the axis, from zeros", _put_shape, _moved_along("put_axis"),
    lambda g, y, x, n, axis, size: (record(TAKE_AXIS, (g, n), (("axis", axis),)), None),
    samples=(Sample(((3,), (3,)), (("axis", 0), ("size", 4)), 0.0, 2.9, dtypes=("", "int64")),
             Sample(((2, 3, 2), (2, 3, 2)), (("axis", 1), ("size", 3)), 0.0, 2.9,
                    dtypes=("", "int64"))),
)  # fmt: skip

# -- functions -------------------------------------------------------------------------------------

_tables: dict[Any, Table] = {}


def table_of(key: Any, index: Callable[[], np.ndarray]) -> tuple[Table, tuple[int, ...]]:
    found = _tables.get(key)
    if found is None:
        made = np.asarray(index())
        found = _tables[key] = (Table(made), made.shape)  # type: ignore[assignment]
    return found  # type: ignore[return-value]


def rearranged(x, key: tuple, change: Callable[[np.ndarray], np.ndarray]):
    """Each row with its elements where `change` moves the numbers of their places.

    Args:
        key: what, with the shape of a row, determines the change.
    """
    shape = x.type.shape
    table, result = table_of((key, shape), lambda: change(np.arange(x.type.size).reshape(shape)))
    return record(TAKE, (x,), (("table", table), ("shape", result)))


@functools.lru_cache(maxsize=64)
def places_of(shape: tuple[int, ...]) -> np.ndarray:
    """The numbers of the elements of a row, which stand where the elements do."""
    numbers = np.arange(math.prod(shape)).reshape(shape)
    numbers.flags.writeable = False
    return numbers


def taken(x, places: np.ndarray):
    """The elements of each row with these numbers, in the shape in which the numbers are given."""
    flat = x if len(x.type.shape) == 1 else reshape(x, (x.type.size,))
    y = record(TAKE_AXIS, (flat, _listed(places)), (("axis", 0),))
    return y if len(places.shape) == 1 else reshape(y, places.shape)


def put_in(x, places: np.ndarray, shape: tuple[int, ...]):
    """Rows of this shape with the elements of x added up in these places, 0 elsewhere."""
    flat = reshape(x, (x.type.size,))
    attributes = (("axis", 0), ("size", math.prod(shape)))
    return reshape(record(PUT_AXIS, (flat, _listed(places)), attributes), shape)


def _listed(places: np.ndarray):
    return as_value(np.ascontiguousarray(places, np.int64).reshape(-1), "take_axis")


def row_axis(x, dim: int, name: str) -> int:
    found = axis_of(x, dim, name)
    if found is None:
        raise ShapeError(f"{name}: axis 0 of a Sequence is its rows; give an axis of the rows")
    return found
