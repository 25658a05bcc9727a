"""Elements of each row in another order or place: one op, with a table of where each comes from.

What numpy does to an array of numbers is what the functions of `shape.py` and `index.py` do to the
table of `TAKE`; its derivative is `PUT`, with the same table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.op import Op, RowType, Sample, row_type
from lazynet.ops.reduce import axis_of
from lazynet.parameter import STATICS, Leaf
from lazynet.program import Ref, call, lowered, operand_refs, output_refs
from lazynet.record import ShapeError, record


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


def numbers_key(index: Any) -> tuple:
    """An index array as part of a key."""
    array = np.asarray(index)
    return array.shape, array.dtype.str, array.tobytes()


def row_axis(x, dim: int, name: str) -> int:
    found = axis_of(x, dim, name)
    if found is None:
        raise ShapeError(f"{name}: axis 0 of a Sequence is its rows; give an axis of the rows")
    return found
