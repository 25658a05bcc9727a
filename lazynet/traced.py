"""A pure function of Tensors, traced: one node to the rest of the system.

The function runs once on symbols. What it recorded is lowered into a forward program; the reverse
of what it recorded, each op by its own formula, is the backward program. A cell (`cell.py`) is such
a node over rows, a scan (`scan.py`) one whose rows follow each other.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import operator
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from lazynet import passes
from lazynet.batching import layout as words
from lazynet.blocks import join
from lazynet.derive import go_back, reverse, summed, whole_cotangent
from lazynet.describe import describe
from lazynet.inside import FunctionGraph
from lazynet.leaf import STATICS, Leaf
from lazynet.merging import relocated
from lazynet.modes import no_grad
from lazynet.op import Op, RowType, Signature
from lazynet.ops.identity import CLONE
from lazynet.ops.reshape import retyped
from lazynet.program import Program, Ref, Region, elementwise
from lazynet.recompute import recomputing
from lazynet.record import Literal, enter, graph_of, record, record_segments
from lazynet.recording import recording_gradients, recording_into
from lazynet.tensor import Sequence, Tensor
from lazynet.trace import Lowering, argument_ids


class Traced:
    """What a function recorded, and the programs made of it.

    Args:
        name: what errors and profiles call it.
        arguments: the type of each argument, and where the program finds it.
        function: gives Tensors when called with the arguments.
    """

    kind = words.ROWS
    segments = False  # whether some values have a row an item and some a row a segment
    scan = False
    may_draw = True  # whether the function may draw random values
    recompute = False  # whether backward computes the inside again

    def __init__(self, name: str, arguments: list[tuple[RowType, Ref]], function: Callable):
        self.name = name
        self.graph = self._inside()
        self.arguments = [row for row, _ in arguments]
        token = recording_gradients.set(True)
        try:
            with _nothing_collected(), recording_into(self.graph):
                self.outputs = [self._output(y) for y in function(*self._symbols(arguments))]
        finally:
            recording_gradients.reset(token)
        self.recorded = self.graph.nodes  # all that the function recorded
        self.arguments += [signature.outputs[0] for signature in self.graph.draws]
        self.op = Op(
            name, name, lambda *_: tuple(y.type.stored for y in self.outputs), self._forward,
            vjp=_no_formula, kind=self.kind, backward=self._backward, listed=False,
        )  # fmt: skip
        self._signature: Signature | None = None

    def _inside(self) -> FunctionGraph:
        return FunctionGraph(self.name, self.may_draw)

    def _symbols(self, arguments: list[tuple[RowType, Ref]]) -> list[Tensor]:
        """What the function is called with."""
        return [self.graph.symbol(row, ref) for row, ref in arguments]

    def _output(self, y: Any) -> Tensor:
        """An output as a value of the trace: constants and arguments may be outputs, too."""
        if y.graph is not self.graph:
            if not isinstance(y.graph, Leaf):
                enter(self.graph, y)  # raises: it was computed outside
            y = record(CLONE, (y,))
        return self.graph.output(y)

    def signature(self) -> Signature:
        """The signature of this function's nodes."""
        if self._signature is None:
            leaves = [STATICS.leaf(number) for number in self.parameters()]
            self._signature = self.op.signature((*self.arguments, *leaves))
        return self._signature

    def parameters(self) -> tuple[int, ...]:
        """The numbers of the parameters and constants that it uses; whoever owns them owns us."""
        numbers = [number for s, _, _ in self.graph.nodes for _, number, _ in s.statics]
        symbols = self.graph.symbols.values()
        numbers += [ref.index for ref in symbols if ref.space == words.STATIC]
        return tuple(dict.fromkeys(numbers))

    def give_constants(self) -> list[Leaf]:
        """Its constants, which nothing else may hold: from here on whoever is given them does.

        A signature is kept for good and its trace with it; a function and what it made are not.
        """
        self.signature()  # takes their numbers
        given, self.graph.held = self.graph.held, []
        return given

    def same_as(self, other: Traced) -> bool:
        """Whether two traces recorded the same."""
        ours, theirs = self.graph, other.graph
        return (
            self.recorded == other.recorded
            and ours.cut == theirs.cut
            and [(y.id, y.type) for y in self.outputs] == [(y.id, y.type) for y in other.outputs]
            and _constants(ours) == _constants(theirs)
        )

    # -- programs ----------------------------------------------------------------------------------

    def _forward(self, signature: Signature) -> Program:
        lowering = Lowering(self.graph, segments=self.segments)
        program, self.placed = _outputs_first(lowering, self.outputs)
        program.strides = tuple(row.stride for row in signature.operands)
        program.singles = self.op.singles
        program = self._arranged(program)
        self.reversed = self._reverse(lowering)
        if self.recompute:
            self._again = program
            return passes.optimize_forward(replace(program, transient=True)).program
        program = passes.save_for(program, self.reversed)
        merged = passes.optimize_forward(program, join)
        self.reversed = relocated(self.reversed, merged.moved, words.FORWARD_REGION)
        self._merged = merged.weights
        return merged.program

    def _arranged(self, program: Program) -> Program:
        return program

    def _backward(self, signature: Signature) -> Program:
        if self.recompute:
            return recomputing(self._again, self.reversed, signature.forward, self.scan)
        program = replace(self.reversed, strides=signature.forward.strides)
        program.states, program.singles = signature.forward.states, signature.forward.singles
        program.forward = signature.forward
        return passes.optimize_backward(program, self.scan, self._merged)

    def _reverse(self, lowering: Lowering) -> Program:
        """The program of the derivatives, reading forward values where the forward leaves them."""
        moved = {old: new for new, old in enumerate(self.placed)}

        def forward_ref(ref: Ref) -> Ref:
            if ref.space == words.REGION:
                index = moved.get(ref.index, ref.index)
                return replace(ref, space=words.FORWARD_REGION, index=index)
            return ref

        gradients = {words.ARGUMENT: words.D_ARGUMENT, words.STATE: words.D_STATE,
                     words.STATIC: words.D_STATIC}  # fmt: skip
        targets = {
            vid: replace(ref, space=gradients[ref.space])
            for vid, ref in self.graph.symbols.items()
            if ref.space in gradients
        }
        seeds = [
            (handle, Ref(words.D_FORWARD, k, handle.type.dtype, handle.type.size))
            for k, handle in enumerate(self.outputs)
            if handle.type.is_float
        ]
        return reverse(self.graph, lowering, forward_ref, seeds, targets)

    def explain(self) -> str:
        """The programs as text."""
        signature = self.signature()
        if signature.forward is None:
            signature.prepare_forward()
        forward = describe(signature.forward)
        backward = describe(self._backward(signature))
        return f"{signature!r}\n\nforward\n{forward}\n\nbackward\n{backward}"

    def pullback(self, operands, cotangents) -> list[Any]:
        """The cotangents of arguments and parameters, recorded op by op; None for those without.

        Args:
            operands: of the node; all Sequences where it has n rows.
            cotangents: one for each output.
        """
        known = self._replayed(operands)
        graph = graph_of([*operands, *cotangents])

        def forward_value(vid: int, row: RowType) -> Any:
            x, start = known[vid]
            if x.__class__ is Literal:  # formulas compute with it as with any value
                return Tensor(graph, enter(graph, x)[0], row)
            return seen_as(x, start, row)

        parts: dict[int, list[tuple[RowType, Any]]] = {}
        for y, g in zip(self.outputs, cotangents, strict=True):
            if y.type.is_float:
                parts.setdefault(y.id, []).append((y.type, g))
        own = go_back(
            self.graph, parts, forward_value,
            lambda number, row: Tensor(STATICS.leaf(number), 0, row),
        )  # fmt: skip
        given, leaves = [], {number: list(gs) for number, (_, gs) in own.items()}
        if self.segments:
            leaves = {number: list(map(summed, gs)) for number, gs in leaves.items()}
        rows = iter(self.arguments)
        for vid, ref in self.graph.symbols.items():
            if ref.space in (words.ARGUMENT, words.STATE):
                row = next(rows)
                given.append(whole_cotangent(row, parts[vid]) if vid in parts else None)
            elif ref.space == words.STATIC and vid in parts:
                first = ref.offset // np.dtype(ref.dtype).itemsize
                full = STATICS.leaf(ref.index).type
                inside = [
                    (full.view(row.shape, first + row.offset // np.dtype(row.dtype).itemsize), g)
                    for row, g in parts[vid]
                ]
                leaves.setdefault(ref.index, []).append(whole_cotangent(full, inside))
        for number in self.parameters():
            own_uses = leaves.get(number)
            given.append(functools.reduce(operator.add, own_uses) if own_uses else None)
        return given

    def _replayed(self, operands) -> dict[int, tuple[Any, int]]:
        """The ops of the traced function recorded again, op by op, on these values."""
        given = iter(zip(operands, self.arguments, strict=False))
        known = self.constant_symbols()
        for vid, ref in self.graph.symbols.items():
            if ref.space in (words.ARGUMENT, words.STATE):
                x, row = next(given)
                known[vid] = x, row.offset
        self.replay(self.graph.nodes, known)
        return known

    def replay(self, nodes: list[Any], known: dict[int, tuple[Any, int]]) -> None:
        """Record nodes of the trace again, on the values known by their ids."""
        for signature, vid, entry in nodes:
            with no_grad() if vid in self.graph.cut else contextlib.nullcontext():
                known[vid] = replayed(signature, entry, known), 0

    def constant_symbols(self) -> dict[int, tuple[Any, int]]:
        """The constants of the trace: each with where in its stored row it begins."""
        known: dict[int, tuple[Any, int]] = {}
        for vid, ref in self.graph.symbols.items():
            if ref.space == words.STATIC:
                leaf = STATICS.leaf(ref.index)
                first = ref.offset // np.dtype(ref.dtype).itemsize
                known[vid] = Tensor(leaf, 0, leaf.type.view((ref.size,), first)), 0
            elif ref.space == words.LITERAL:
                known[vid] = Literal(ref.literal, ref.dtype), 0
        return known


def replayed(signature: Signature, entry: list[int], known):
    """Record one node of a trace again, on the values known by its ids."""
    sources, _ = argument_ids(signature, entry)
    operands = [
        Tensor(STATICS.leaf(k), 0, row) if static else seen_as(*known[sources[k]], row)
        for static, k, row in signature.places()
    ]
    if signature.op.kind == words.SEGMENT:
        return record_segments(signature.op, *operands, signature.attributes)
    payload = entry[-signature.op.payload :] if signature.op.payload else None
    lengths = [x.length for x in operands if x.__class__ is Sequence]
    if payload and lengths:
        payload = payload * lengths[0]  # every row carries its own
    return record(signature.op, operands, signature.attributes, payload=payload)


def seen_as(x, start: int, row: RowType):
    """A value under a type of its trace; `start` is where it begins in its stored row."""
    if x.__class__ is Literal or row is x.type:
        return x
    first = (row.offset - start) // np.dtype(row.dtype).itemsize
    if first == 0 and row.shape == x.type.shape:
        return x
    return retyped(x, x.type.view(row.shape, first))


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Let no finalizer that the collector calls record into a trace."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _constants(graph: FunctionGraph):
    """What a trace took from Python: numbers and leaves, leaves by their content."""
    found = []
    for vid, ref in graph.symbols.items():
        leaf = STATICS.leaf(ref.index) if ref.space == words.STATIC else None
        found.append((vid, replace(ref, index=0), None if leaf is None else leaf.array.tobytes()))
    return found


def _no_formula(*_):
    raise NotImplementedError("a traced function is differentiated by its own program")


def _outputs_first(lowering: Lowering, outputs) -> tuple[Program, list[int]]:
    """The lowered program with its outputs' regions in front; a copy where one is no region."""
    placed: list[int] = []
    domain = words.SEGMENTS if lowering.segments else words.ITEMS
    for handle in outputs:
        ref = lowering.value(handle)
        whole = ref.space == words.REGION and ref.offset == 0
        if whole and lowering.regions[ref.index].width == ref.width and ref.index not in placed:
            placed.append(ref.index)
            continue
        index = lowering.region(ref.width, domain)
        target = Ref(words.REGION, index, ref.dtype, ref.size)
        lowering.steps.append(elementwise("x0", [ref], target, domain=domain))
        placed.append(index)
    rest = [k for k in range(len(lowering.regions)) if k not in placed]
    order = placed + rest
    number = {old: new for new, old in enumerate(order)}
    regions = [lowering.regions[k] for k in order]
    regions = [
        Region(r.width, r.domain, words.OUTPUT) if k < len(placed) else r
        for k, r in enumerate(regions)
    ]

    def renumbered(ref: Ref) -> Ref:
        return replace(ref, index=number[ref.index]) if ref.space == words.REGION else ref

    steps = [
        replace(
            step,
            inputs=tuple(map(renumbered, step.inputs)),
            outputs=tuple(map(renumbered, step.outputs)),
        )
        for step in lowering.steps
    ]
    return Program(regions, steps), order
