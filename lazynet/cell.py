"""Scans: a pure step function over the rows of a Sequence, as one node.

The step is traced once into a program (`trace.py`). What does not depend on the state is hoisted
and runs for all rows at once; the rest runs time step by time step over all sequences of a batch,
longest first, so that finished ones drop out. Its derivative is the reverse of the traced ops, each
by its own formula.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lazynet import passes
from lazynet.batching import layout as words
from lazynet.derive import reverse
from lazynet.graph import recording_into, words_of
from lazynet.op import Op, RowType, Signature
from lazynet.ops.reduce import retyped
from lazynet.ops.views import as_stored
from lazynet.parameter import STATICS
from lazynet.program import Program, Ref, Region, elementwise
from lazynet.record import Literal, ShapeError, enter, graph_of, handles, record
from lazynet.tensor import Sequence, Tensor
from lazynet.trace import Lowering, TraceGraph, argument_ids, ref_of

_known: weakref.WeakKeyDictionary[Any, dict[Any, Scan]] = weakref.WeakKeyDictionary()


def scan(step: Callable, states: tuple[Tensor, ...], x: Sequence) -> tuple[Sequence, ...]:
    """Run `states = step(x[t], states)` over the rows of x; one node, whatever the length.

    Args:
        step: a pure function of a Tensor and a tuple of Tensors, giving a tuple of Tensors of the
            same shapes. It may use parameters. It is traced once for each signature, so define it
            once (a function or a method), not anew in every call.
        states: the initial states.
        x: n rows.

    Returns:
        for each state, a Sequence of n rows: row t is the state after step t.

    Raises:
        ShapeError: if the step changes the shape of a state.
        TypeError: if the step looks at a value or uses one that is no argument or parameter.
    """
    # A state is a row stored by itself: the next one is.
    states = tuple(s if s.type is s.type.stored else as_stored(s) for s in states)
    traced = _traced(step, x.type, tuple(s.type for s in states))
    signature = traced.signature()
    graph = graph_of((x, *states))
    first, stride = enter(graph, x)
    initial = [enter(graph, s)[0] for s in states]
    pairs = [first, stride, *(w for vid in initial for w in (vid, 0))]
    entry = words_of(-signature.index - 1, x.length, *pairs)
    vid = graph.append(signature, entry, x.length * len(states))
    outputs = handles(graph, signature, vid, x.length)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _traced(step: Callable, row: RowType, states: tuple[RowType, ...]) -> Scan:
    owner = getattr(step, "__self__", step)
    key = (getattr(step, "__func__", None), row, states)
    known = _known.setdefault(owner, {})
    found = known.get(key)
    if found is None:
        found = known[key] = Scan(step, row, states)
    return found


class Scan:
    """A traced step: its programs, and the op under which its nodes batch."""

    def __init__(self, step: Callable, row: RowType, states: tuple[RowType, ...]):
        self.graph = TraceGraph()
        with recording_into(self.graph):
            x = self.graph.symbol(row, ref_of(row, words.ARGUMENT, 0))
            before = tuple(
                self.graph.symbol(s.stored, Ref(words.STATE, k, s.dtype, s.size))
                for k, s in enumerate(states)
            )
            after = step(x, before)
        self.after = tuple(after) if isinstance(after, (tuple, list)) else (after,)
        _check_states(step, states, self.after)
        self.row, self.states = row, states
        self.parameters = _parameters(self.graph)  # by number: whoever owns them owns us
        self._signature: Signature | None = None
        self.op = Op(
            "", "scan", lambda *_: tuple(s.stored for s in states), self._forward,
            vjp=_no_formula, kind=words.SCAN, backward=self._backward,
        )  # fmt: skip

    def signature(self) -> Signature:
        """The signature of this scan's nodes."""
        if self._signature is not None:
            return self._signature
        leaves = [STATICS.leaf(number) for number in self.parameters]
        self._signature = self.op.signature((self.row, *self.states, *leaves))
        return self._signature

    def _forward(self, signature: Signature) -> Program:
        lowering = Lowering(self.graph, segments=False)
        program, self.placed = _outputs_first(lowering, self.after)
        program.strides = tuple(row.stride for row in signature.operands)
        program.states = len(self.states)
        program = passes.hoist(program)
        backward = self._reversed(lowering, program)
        program = passes.save_for(program, backward)
        program = passes.optimize_forward(program)
        self.backward = backward
        return program

    def _backward(self, signature: Signature) -> Program:
        program = replace(self.backward, strides=signature.forward.strides)
        program.states, program.forward = len(self.states), signature.forward
        return passes.optimize_backward(program, scan=True)

    def _reversed(self, lowering: Lowering, forward: Program) -> Program:
        """The program of the derivatives, reading forward values where the forward leaves them."""
        moved = {old: new for new, old in enumerate(self.placed)}

        def forward_ref(ref: Ref) -> Ref:
            if ref.space == words.REGION:
                index = moved.get(ref.index, ref.index)
                return replace(ref, space=words.FORWARD_REGION, index=index)
            return ref

        targets = {0: Ref(words.D_ARGUMENT, 0, self.row.dtype, self.row.size, self.row.offset)}
        for k, s in enumerate(self.states):
            targets[1 + k] = Ref(words.D_STATE, k, s.dtype, s.size)
        seeds = [
            (handle, Ref(words.D_FORWARD, k, handle.type.dtype, handle.type.size))
            for k, handle in enumerate(self.after)
        ]
        return reverse(self.graph, lowering, forward_ref, seeds, targets)


def _no_formula(*_):
    raise NotImplementedError("a scan is differentiated by its own program")


def replay(traced: Scan, x: Tensor, states) -> list[Tensor]:
    """Record the ops of a traced step again, op by op, on these values."""
    known: dict[int, Tensor] = {}
    for vid, ref in traced.graph.symbols.items():
        if ref.space == words.ARGUMENT:
            known[vid] = x
        elif ref.space == words.STATE:
            known[vid] = states[ref.index]
    numbers = {vid: ref for vid, ref in traced.graph.symbols.items() if ref.space == words.LITERAL}

    def value(vid: int, row: RowType):
        if vid in numbers:
            return Literal(numbers[vid].literal, numbers[vid].dtype)
        base = known[vid]
        if row is base.type or (row.offset == 0 and row.shape == base.type.shape):
            return base
        item = np.dtype(row.dtype).itemsize
        return retyped(base, base.type.view(row.shape, row.offset // item))

    for signature, vid, entry in traced.graph.nodes:
        sources, _ = argument_ids(signature, entry)
        statics = {p: Tensor(STATICS.leaf(n), 0, row) for p, n, row in signature.statics}
        dynamic = iter(zip(sources, signature.operands, strict=True))
        operands = [
            statics[p] if p in statics else value(*next(dynamic))
            for p in range(len(statics) + len(signature.operands))
        ]
        payload = entry[-signature.op.payload :] if signature.op.payload else None
        known[vid] = record(signature.op, operands, signature.attributes, payload=payload)
    return [retyped(value(h.id, h.type), h.type.stored) if h.type.offset == 0
            else value(h.id, h.type) for h in traced.after]  # fmt: skip


def _check_states(step, states, after) -> None:
    name = getattr(step, "__qualname__", "step")
    if len(after) != len(states):
        raise ShapeError(f"scan: {name} takes {len(states)} states and gives {len(after)}")
    for k, (s, a) in enumerate(zip(states, after, strict=True)):
        if not isinstance(a, Tensor) or a.type.shape != s.shape or a.type.dtype != s.dtype:
            raise ShapeError(f"scan: {name} makes state {k} of {s.stored} into {a!r}")


def _parameters(graph: TraceGraph) -> tuple[int, ...]:
    numbers = [number for s, _, _ in graph.nodes for _, number, _ in s.statics]
    return tuple(dict.fromkeys(numbers))


def _outputs_first(lowering: Lowering, after) -> tuple[Program, list[int]]:
    """The lowered program with its outputs' regions in front; a copy where one is no region."""
    placed: list[int] = []
    for handle in after:
        ref = lowering.value(handle)
        whole = ref.space == words.REGION and ref.offset == 0
        if whole and lowering.regions[ref.index].width == ref.width and ref.index not in placed:
            placed.append(ref.index)
            continue
        index = lowering.region(ref.width, words.ITEMS)
        target = Ref(words.REGION, index, ref.dtype, ref.size)
        lowering.steps.append(elementwise("x0", [ref], target))
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
