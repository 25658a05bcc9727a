"""Tracing: a function of lazy values becomes a Program.

The function is run once on symbolic handles that record into a graph of its own; what it recorded
is lowered, op by op, into steps. `backward_program` does that with an op's derivative formula.
Inside a formula for an op over segments, a Tensor stands for a row a segment and a Sequence for the
rows of the segment.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lazynet import passes
from lazynet.batching import layout as words
from lazynet.graph import Graph
from lazynet.op import RowType, Signature
from lazynet.parameter import Parameter
from lazynet.program import Program, Ref, Region, Step, elementwise, literal_ref, ref_of
from lazynet.recording import recording_into
from lazynet.tensor import Sequence, Tensor

# The length of every symbolic Sequence; ids of its rows are never looked at one by one. Ids are
# 32-bit words, so that a program may have half a million such values.
ROWS_OF_A_SEGMENT = 1 << 12


class HookInside(TypeError):
    """A module with hooks is called in a function that is being traced."""

    def __init__(self, name: str):
        super().__init__(
            f"{name} has hooks, which are called for every example and not for a trace: it cannot "
            "be part of a scan's step while it has them"
        )


class TraceGraph(Graph):
    """A graph that only remembers what was recorded into it."""

    __slots__ = ("cut", "nodes", "ragged", "symbols")

    def __init__(self):
        super().__init__(None)
        self.thread = 0  # everything is recorded the long way, through `append`
        self.symbols: dict[int, Ref] = {}  # id -> where that value comes from
        self.nodes: list[tuple[Signature, int, list[int]]] = []
        self.cut: set[int] = set()  # nodes through which no gradient goes
        self.ragged: set[int] = set()  # values of a cell over a list that have a row an item

    def symbol(self, row: RowType, ref: Ref, ragged: bool = False):
        """A handle of type `row` that stands for `ref`."""
        vid = self.values
        self.values += ROWS_OF_A_SEGMENT if ragged else 1
        # A symbol is the stored row: the handle's type says what part of it is meant.
        self.symbols[vid] = replace(ref, offset=ref.offset - row.offset)
        if ragged:
            return Sequence(self, vid, row, ROWS_OF_A_SEGMENT)
        return Tensor(self, vid, row)

    def literal(self, value, dtype: str) -> int:
        vid = self.values
        self.values += 1
        self.symbols[vid] = literal_ref(value, dtype)
        return vid

    def link(self, source, first, step, count, row) -> tuple[int, int]:
        raise TypeError("a traced function may use only its arguments, parameters and numbers")

    def append(self, signature, entry, rows) -> int:
        vid = self.values
        self.values += rows
        self.nodes.append((signature, vid, np.frombuffer(entry, np.int32).tolist()))
        return vid

    def forward(self) -> None:
        raise TypeError("a traced function cannot look at values")


def backward_program(signature: Signature) -> Program | None:
    """The program that takes gradients of a node's outputs to its operands and parameters."""
    op = signature.op
    if op.backward is not None:
        return op.backward(signature)
    if op.vjp is None:
        return None
    assert signature.forward is not None
    graph = TraceGraph()
    with recording_into(graph):
        operands = _operand_symbols(graph, signature)
        ragged = op.kind == words.SEGMENT and op.per_item
        y = graph.symbol(signature.type, ref_of(signature.type, words.FORWARD_REGION, 0), ragged)
        g = graph.symbol(signature.type, ref_of(signature.type, words.D_FORWARD, 0), ragged)
        extra = {"payload": (0,) * op.payload} if op.payload else {}
        cotangents = op.vjp(g, y, *operands, **dict(signature.attributes), **extra)
    lowering = Lowering(graph, segments=op.kind == words.SEGMENT)
    for (static, k, row), cotangent in zip(signature.places(), cotangents, strict=True):
        if cotangent is not None and row.is_float:
            target = ref_of(row, words.D_STATIC if static else words.D_ARGUMENT, k)
            lowering.accumulate(cotangent, target, spread=not static)
    program = lowering.program()
    program.strides = signature.forward.strides
    program.forward = signature.forward
    return passes.optimize_backward(program)


def _operand_symbols(graph: TraceGraph, signature: Signature):
    """Handles for the operands in their order: symbols for arguments, symbols for parameters."""
    ragged = signature.op.kind == words.SEGMENT
    return [
        graph.symbol(row, ref_of(row, words.STATIC, k))
        if static
        else graph.symbol(row, ref_of(row, words.ARGUMENT, k), ragged)
        for static, k, row in signature.places()
    ]


def argument_ids(signature: Signature, entry: list[int]) -> tuple[list[int], bool]:
    """The argument ids of a tape entry, and whether its outputs have a row an item."""
    arity = len(signature.operands)
    if entry[0] >= 0:
        return entry[1 : 1 + arity], False
    if signature.op.kind == words.SEGMENT:
        return entry[4 : 4 + 2 * arity : 2], signature.op.per_item
    return entry[2 : 2 + 2 * arity : 2], True


class Lowering:
    """Collects the steps of what a trace recorded."""

    def __init__(self, graph: TraceGraph, segments: bool):
        self.graph = graph
        self.segments = segments
        self.regions: list[Region] = []
        self.steps: list[Step] = []
        self.values = dict(graph.symbols)
        for signature, vid, entry in graph.nodes:
            self._lower(signature, vid, entry)

    def region(self, row_width: int, domain: int) -> int:
        """A new value of the program."""
        self.regions.append(Region(row_width, domain))
        return len(self.regions) - 1

    def value(self, handle) -> Ref:
        """Where the value behind a handle lies."""
        if isinstance(handle, Parameter):
            return ref_of(handle.type, words.STATIC, handle.number)
        return self.at(handle.id, handle.type)

    def at(self, vid: int, row: RowType) -> Ref:
        ref = self.values[vid]
        return replace(ref, dtype=row.dtype, size=row.size, offset=ref.offset + row.offset)

    def _lower(self, signature: Signature, vid: int, entry: list[int]) -> None:
        sources, ragged = argument_ids(signature, entry)
        if signature.op.kind == words.ALIAS:
            base = self.values[sources[0]]
            self.values[vid] = replace(base, offset=base.offset + entry[-1])
            return
        inner = signature.op.lower(signature)
        one = signature.op.kind == words.ROWS and self.segments  # all of it has one domain
        domain = words.ITEMS if ragged else words.SEGMENTS
        own = {
            k: self.region(region.width, domain if one else region.domain)
            for k, region in enumerate(inner.regions)
        }
        for k in range(len(signature.outputs)):
            row = signature.outputs[k]
            span = ROWS_OF_A_SEGMENT if ragged else 1
            self.values[vid + k * span] = Ref(words.REGION, own[k], row.dtype, row.size)

        def resolve(ref: Ref) -> Ref:
            if ref.space == words.REGION:
                return replace(ref, index=own[ref.index])
            if ref.space == words.ARGUMENT:
                base = self.values[sources[ref.index]]
                return replace(
                    base, dtype=ref.dtype, size=ref.size, offset=base.offset + ref.offset
                )
            return ref

        for step in inner.steps:
            self.steps.append(
                replace(
                    step,
                    inputs=tuple(map(resolve, step.inputs)),
                    outputs=tuple(map(resolve, step.outputs)),
                    domain=domain if one else step.domain,
                )
            )

    def accumulate(self, handle, target: Ref, spread: bool = False) -> None:
        """Add a value to `target`; with `spread`, one of a segment to each of its items."""
        source = self.value(handle)
        one = self.segments and isinstance(handle, Tensor) and not spread
        domain = words.SEGMENTS if one else words.ITEMS
        step = elementwise("x0", [source], target, accumulate=True, domain=domain)
        self.steps.append(step)

    def program(self) -> Program:
        return Program(self.regions, self.steps)
