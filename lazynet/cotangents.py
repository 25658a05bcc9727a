"""Cotangents as values: put together from those of rows, parts and slices, and taken apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.derive import whole_cotangent
from lazynet.device import beside_operands
from lazynet.op import RowType
from lazynet.ops.fill import zeros
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.reshape import reshape, retyped
from lazynet.ops.rows import cat, sequence
from lazynet.ops.trees import joined_rows
from lazynet.ops.views import part
from lazynet.tensor import Sequence, Tensor, Value, number_of_row


@beside_operands
def zero_rows(y: Value) -> Value:
    """Zeros of the shape of a value."""
    length = y.length if isinstance(y, Sequence) else None
    return zeros(*y.type.shape, dtype=y.type.dtype, length=length)


def fitted(g: Value, x: Value) -> Value:
    """A cotangent with as many rows as what it belongs to."""
    if isinstance(x, Sequence) and isinstance(g, Tensor):
        return Sequence(g.graph, g.id, g.type, x.length, 0)
    return g


def assembled(y: Value, pieces: list[tuple[Value, Value]]) -> Any:
    """The cotangent of a node's output from those of rows, slices and views of it.

    Args:
        pieces: (rows of y, or parts of them; their cotangent).
    """
    rows = y.length if isinstance(y, Sequence) else 1
    whole: list[tuple[RowType, Any]] = []
    by_row: dict[int, list[tuple[RowType, Any]]] = {}
    for x, g in pieces:
        at = x.id - y.id
        step = x.step if isinstance(x, Sequence) else 0
        if isinstance(g, Tensor):
            by_row.setdefault(at, []).append((x.type, g))
        elif step == 0:
            by_row.setdefault(at, []).append((x.type, sum_of(g, 0)))
        elif g.length == rows and (step, at) in ((1, 0), (-1, rows - 1)):
            whole.append((x.type, g[::step]))
        else:
            for j in range(g.length):
                by_row.setdefault(at + step * j, []).append((x.type, g[j]))
    total: Any = whole_cotangent(y.type, whole) if whole else None
    if by_row:
        single = {at: whole_cotangent(y.type, parts) for at, parts in by_row.items()}
        if isinstance(y, Tensor):
            return single[0]
        zero = zeros(*y.type.shape, dtype=y.type.dtype)
        scattered = sequence([single.get(at, zero) for at in range(rows)])
        total = scattered if total is None else total + scattered
    return total


def part_of(g: Any, y: Value, x: Value) -> Any:
    """Of the cotangent of a node's output, what belongs to some rows, or parts, of it."""
    at = x.id - y.id
    if isinstance(y, Sequence) and isinstance(x, Tensor):
        g = g[at]
    elif isinstance(y, Sequence):
        g = Sequence(g.graph, number_of_row(g, at), g.type, x.length, g.step * x.step)
    if x.type is y.type:
        return g
    first = (x.type.offset - y.type.offset) // np.dtype(x.type.dtype).itemsize
    return retyped(g, g.type.view(x.type.shape, first))


def of_part(g: Any, x: Any, offsets: Any) -> Any:
    """The cotangent of what an alias is a part of: zeros around it."""
    item = np.dtype(x.type.dtype).itemsize

    def placed(g, offset: int):
        first = (offset - x.type.offset) // item
        flat = reshape(g, (g.type.size,))
        pieces = [flat]
        if first:
            pieces.insert(0, zeros(first, dtype=x.type.dtype))
        if first + g.type.size < x.type.size:
            pieces.append(zeros(x.type.size - first - g.type.size, dtype=x.type.dtype))
        joined = cat(pieces) if len(pieces) > 1 else flat
        return reshape(joined, x.type.shape)

    if isinstance(g, Tensor) or len(set(np.asarray(offsets).tolist())) == 1:
        return placed(g, int(offsets[0]))
    return sequence([placed(g[j], int(offsets[j])) for j in range(g.length)])


def of_leaf(x: Value, pieces: list[tuple[Value, Value]]) -> Any:
    """The cotangent of a leaf, or of rows of it, from those of all its uses."""
    full = x.graph.type
    parts: list[tuple[RowType, Any]] = []
    for use, g in pieces:
        row = use.type
        if isinstance(g, Sequence) and (isinstance(use, Tensor) or use.step == 0):
            g = sum_of(g, 0)
        if isinstance(g, Tensor):
            # Row `id` of a leaf lies that many of its own widths into the leaf.
            parts.append((_inside(full, row, row.shape, use.id), g))
        elif abs(use.step) == 1 and row.width == row.stride:
            first = min(use.id, use.id + use.step * (use.length - 1))
            shape = (use.length, *row.shape)
            parts.append((_inside(full, row, shape, first), joined_rows(g[:: use.step])))
        else:
            parts += [
                (_inside(full, row, row.shape, use.id + use.step * j), g[j])
                for j in range(g.length)
            ]
    whole = whole_cotangent(full, parts)
    if isinstance(x, Tensor):
        return whole if x.type is full else part(whole, x.type.shape, _first(x.type, x.id))
    size = x.type.stride // np.dtype(x.type.dtype).itemsize
    repeated = Sequence(whole.graph, whole.id, whole.type, x.length, 0)
    firsts = _first(x.type, x.id) + size * x.step * np.arange(x.length)
    return part(repeated, x.type.shape, firsts)


def _first(row: RowType, at: int) -> int:
    """The first element of row `at` of a leaf."""
    return (at * row.stride + row.offset) // np.dtype(row.dtype).itemsize


def _inside(full: RowType, row: RowType, shape: tuple[int, ...], at: int) -> RowType:
    """The type of rows of a leaf, from row `at` on, as a part of the leaf."""
    return full.view(shape, _first(row, at))
