"""The derivative of a traced function: its ops in reverse, each by its formula, as a program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lazynet.batching import layout as words
from lazynet.op import RowType, Signature, row_type
from lazynet.ops.fill import zeros
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import GATHER
from lazynet.ops.segments import ROW_SUM
from lazynet.ops.views import cat_features as cat
from lazynet.program import Program, ref_of
from lazynet.record import record_segments
from lazynet.recording import recording_into
from lazynet.tensor import Sequence, Tensor
from lazynet.trace import Lowering, TraceGraph, argument_ids


def reverse(graph: TraceGraph, lowering: Lowering, forward_ref, seeds, targets) -> Program:
    """The derivative of what a trace recorded: every node by its own formula, last node first.

    Args:
        lowering: how the forward was lowered, which says where its values lie.
        forward_ref: tells where the backward program finds a forward value.
        seeds: (handle, where its gradient lies) of each output.
        targets: for the ids of symbols, where their gradients are added.
    """
    tape = TraceGraph()
    cotangents: dict[int, list[tuple[RowType, Tensor]]] = {}
    known: dict[tuple[int, RowType], Tensor] = {}

    def forward_value(vid: int, row: RowType):
        if (vid, row) not in known:
            ref = forward_ref(lowering.at(vid, row))
            known[vid, row] = tape.symbol(row.stored, ref, vid in graph.ragged)
        return known[vid, row]

    def parameter(number: int, row: RowType):
        return tape.symbol(row, ref_of(row, words.STATIC, number))

    with recording_into(tape):
        for handle, ref in seeds:
            g = tape.symbol(handle.type.stored, ref)
            cotangents.setdefault(handle.id, []).append((handle.type, g))
        static = go_back(graph, cotangents, forward_value, parameter)
    lower = Lowering(tape, segments=lowering.segments)
    for vid, target in targets.items():
        for row, g in cotangents.get(vid, []):
            at = replace(target, size=row.size, offset=target.offset + row.offset)
            lower.accumulate(g, at)
    for number, (row, gs) in static.items():
        for g in gs:
            lower.accumulate(g, ref_of(row, words.D_STATIC, number))
    return lower.program()


def go_back(graph: TraceGraph, cotangents, value_of, parameter_of) -> dict[int, tuple]:
    """Record the formula of every node of a trace, last node first.

    Args:
        cotangents: for the ids of values, (type, cotangent) of each use; those of what the trace
            was given are left in it.
        value_of: tells the forward value of an id, seen under a type.
        parameter_of: tells the handle of the parameter of a number, and of its type.

    Returns:
        for the number of each parameter, its type and its cotangents.
    """
    parameters: dict[int, tuple] = {}
    for signature, vid, entry in reversed(graph.nodes):
        if vid not in cotangents or vid in graph.cut:
            continue
        if signature.op.kind == words.ALIAS:
            parts = [(_inside(row, entry[-1]), g) for row, g in cotangents.pop(vid)]
            (source,), _ = argument_ids(signature, entry)
            cotangents.setdefault(source, []).extend(parts)
            continue
        if signature.op.vjp is None:
            continue
        full = signature.type
        g = whole_cotangent(full, cotangents.pop(vid))
        sources, _ = argument_ids(signature, entry)
        operands = [
            parameter_of(k, row) if static else value_of(sources[k], row)
            for static, k, row in signature.places()
        ]
        y = value_of(vid, full)
        given = signature.op.vjp(g, y, *operands, **dict(signature.attributes))
        if graph.ragged:
            given = [
                _fitted(g, x, static)
                for g, x, (static, _, _) in zip(given, operands, signature.places(), strict=True)
            ]
        _collect(signature, sources, given, cotangents, parameters)
    return parameters


def _fitted(g, x, parameter: bool):
    """The cotangent of an operand of a cell over a list, with as many rows as the operand has.

    That of a parameter is added up row by row.
    """
    if g.__class__ is Tensor and x.__class__ is Sequence:
        return record_segments(GATHER, Sequence(g.graph, g.id, g.type, x.length, 0))
    return g if parameter or x.__class__ is Sequence else summed(g)


def summed(g):
    """A cotangent with a row an item as the one row that it is to what all items share."""
    return record_segments(ROW_SUM, g) if g.__class__ is Sequence else g


def _collect(signature: Signature, sources, given, cotangents, parameters) -> None:
    """Keep the cotangents of a node's operands with what they belong to."""
    for (static, k, row), g in zip(signature.places(), given, strict=True):
        if g is not None and static:
            parameters.setdefault(k, (row, []))[1].append(g)
        elif g is not None and row.is_float:
            cotangents.setdefault(sources[k], []).append((row, g))


def whole_cotangent(full: RowType, parts: list[tuple[RowType, Tensor]]) -> Tensor:
    """The cotangent of a value from the cotangents of the views that were read of it."""
    by_place: dict[tuple[int, int], Tensor] = {}
    for row, g in parts:
        flat = reshape(g, (g.type.size,)) if g.type.shape else g
        key = (row.offset - full.offset, row.size)
        by_place[key] = by_place[key] + flat if key in by_place else flat
    whole = by_place.pop((0, full.size), None)
    while by_place:
        joined = cat(_side_by_side(full, by_place))
        whole = joined if whole is None else whole + joined
    return reshape(whole, full.shape)


def _side_by_side(full: RowType, by_place: dict[tuple[int, int], Tensor]) -> list[Tensor]:
    """Pieces that do not overlap, taken out of `by_place`, with zeros between them."""
    item = np.dtype(full.dtype).itemsize
    pieces, at = [], 0
    for offset, size in sorted(by_place):
        if offset // item < at:
            continue  # overlaps: the next round takes it
        if offset // item > at:
            pieces.append(zeros(offset // item - at, dtype=full.dtype))
        g = by_place.pop((offset, size))
        pieces.append(g if g.type.shape else reshape(g, (1,)))
        at = offset // item + size
    if at < full.size:
        pieces.append(zeros(full.size - at, dtype=full.dtype))
    return pieces


def _inside(row: RowType, offset: int) -> RowType:
    """The type of a part of a value, for which `offset` is where the value lies in its row."""
    return row_type(row.dtype, row.shape, offset + row.offset, row.stride)
