"""Lookup: rows of a parameter by number, and rows put back by number."""

from __future__ import annotations

import math

import numpy as np

from lazynet.batching import layout as words
from lazynet.device import beside_operands
from lazynet.graph import current_graph
from lazynet.op import Op, Sample, row_type
from lazynet.ops.elementwise import where
from lazynet.ops.rows import sequence
from lazynet.ops.told import told
from lazynet.ops.views import indices, part, plainly
from lazynet.parameter import Parameter
from lazynet.program import Ref, call, lowered, operand_refs, output_refs
from lazynet.quick import Short, numbered, record_looked_up
from lazynet.record import ShapeError, as_value, record
from lazynet.tensor import Sequence, Tensor, Value

# -- lookup ----------------------------------------------------------------------------------------


def _lookup_shape(table):
    return (row_type(table.dtype, table.shape[1:]),)


def _lookup_lower(signature):
    number, row = signature.statics[0][1:]
    y = output_refs(signature)[0]
    payload = Ref(words.WORDS, 0, "int64", 1)
    table = Ref(words.STATIC, number, row.dtype, row.size)
    return lowered(signature, [call("take_rows", (payload, table), y, (y.size,), row.dtype)])


LOOKUP = Op(
    "lookup", "y = table[index]", _lookup_shape, _lookup_lower,
    lambda g, y, table, payload: (
        record(SCATTER_ROW, (g,), (("rows", table.type.shape[0]),), payload=payload),
    ),
    payload=1, looks_up=True, samples=(Sample(((4, 3),), payload=(2,), parameters=(0,)),),
)  # fmt: skip


def _scatter_row_lower(signature):
    row = signature.operands[0]
    ((_, rows),) = signature.attributes
    payload = Ref(words.WORDS, 0, "int64", 1)
    inputs = (payload, *operand_refs(signature))
    step = call("add_rows", inputs, output_refs(signature)[0], (row.size, rows), row.dtype)
    return lowered(signature, [step])


SCATTER_ROW = Op(
    "scatter_row", "y = zeros; y[index] = x",
    lambda row, rows: (row_type(row.dtype, (rows, *row.shape)),), _scatter_row_lower,
    lambda g, y, x, rows, payload: (record(TAKE_ROW, (g,), payload=payload),), payload=1,
    samples=(Sample(((3,),), (("rows", 4),), payload=(2,)),),
)  # fmt: skip


def _take_row_lower(signature):
    row = signature.operands[0]
    payload = Ref(words.WORDS, 0, "int64", 1)
    y = output_refs(signature)[0]
    step = call("take_own_row", (payload, *operand_refs(signature)), y, (y.size,), row.dtype)
    return lowered(signature, [step])


TAKE_ROW = Op(
    "take_row", "y = x[index]", lambda row: (row_type(row.dtype, row.shape[1:]),), _take_row_lower,
    lambda g, y, x, payload: (
        record(SCATTER_ROW, (g,), (("rows", x.type.shape[0]),), payload=payload),
    ),
    payload=1, samples=(Sample(((4, 3),), payload=(2,)),),
)  # fmt: skip


_short = Short(record_looked_up, LOOKUP)


def lookup(table, index):
    """Rows of a table: y = table[index].

    Shapes: a table (count, ...) and an integer -> (...), n integers -> n rows of (...).

    >>> table = ln.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> ln.lookup(table, 1).tolist(), ln.lookup(table, [1, 0, 1]).shape
    ([3.0, 4.0], (3, 2))

    Args:
        table: a Parameter, or a Tensor, of (count, ...).
        index: an integer, giving a Tensor, or a list of integers, giving a Sequence.

    Raises:
        IndexError: on this line, if an index is out of range.
    """
    made = _short.record(table, index)
    if made is not None:
        return made
    if table.__class__ is Parameter and table.type.shape:
        leaf = table.graph
        signature = leaf.known.get(LOOKUP)
        if signature is None:
            signature = leaf.known[LOOKUP] = LOOKUP.signature((leaf,))
        graph, count = current_graph(leaf.device), table.type.shape[0]
        handle = numbered.record(signature, graph, index, count, 1, 0)
        if handle is not None:
            return handle
        plain = plainly(index)
        if plain is not index:
            return lookup(table, plain)
    return _lookup(table, index)


@told
def _lookup(table, index):
    """`lookup`, where there is no shorter way."""
    table = as_value(table, "lookup")
    if not isinstance(table, (Tensor, Parameter)) or not table.type.shape:
        raise ShapeError("lookup: expected a table, a Parameter or Tensor of (count, ...)")
    count = table.type.shape[0]
    if isinstance(index, (int, np.integer)):
        if not 0 <= index < count:
            raise IndexError(f"lookup: index {index} is out of range; the table has {count} rows")
        if table.__class__ is Tensor:
            return table[int(index)]
        return record(LOOKUP, (table,), payload=(int(index),))
    if isinstance(index, Tensor) and not index.type.shape:
        return lookup(table, int(index))
    numbers = indices(index, count, "lookup")
    if table.__class__ is Tensor:
        repeated = Sequence(table.graph, table.id, table.type, len(numbers), 0)
        shape = table.type.shape[1:]
        return part(repeated, shape, numbers * math.prod(shape))
    return record(LOOKUP, (table,), payload=numbers, length=len(numbers))


def padding_row(name: str, index: int | None, count: int) -> int | None:
    """The number of the row that pads, counted from the first."""
    if index is None:
        return None
    if not -count <= index < count:
        raise ValueError(f"{name}: no row {index} of {count} to pad with")
    return index % count


@beside_operands
def without_padding(rows, index, padding: int | None):
    """Rows that were looked up, without a gradient for those of number `padding`."""
    if padding is None:
        return rows
    numbers = np.asarray(index.numpy() if isinstance(index, Value) else index)
    if not (numbers == padding).any():
        return rows
    if isinstance(rows, Tensor):
        return rows.detach()
    return where(sequence(numbers == padding), rows.detach(), rows)
