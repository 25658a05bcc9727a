"""Scans: a pure step function over the rows of a Sequence, as one node.

The step is traced once into a program (`trace.py`). What does not depend on the state is hoisted
and runs for all rows at once; the rest runs time step by time step over all sequences of a batch,
longest first, so that finished ones drop out. Its derivative is the reverse of the traced ops, each
by its own formula.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from lazynet import passes
from lazynet.batching import layout as words
from lazynet.graph import words_of
from lazynet.op import RowType
from lazynet.ops.views import as_stored
from lazynet.program import Program, Ref
from lazynet.record import ShapeError, enter, graph_of, handles
from lazynet.tensor import Sequence, Tensor
from lazynet.trace import ref_of
from lazynet.traced import Traced

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


class Scan(Traced):
    """A traced step: its programs, and the op under which its nodes batch."""

    kind = words.SCAN
    scan = True

    def __init__(self, step: Callable, row: RowType, states: tuple[RowType, ...]):
        name = getattr(step, "__qualname__", type(step).__name__)
        stored = [s.stored for s in states]
        arguments = [(row, ref_of(row, words.ARGUMENT, 0))]
        arguments += [(s, Ref(words.STATE, k, s.dtype, s.size)) for k, s in enumerate(stored)]

        def function(x, *before):
            after = step(x, before)
            after = tuple(after) if isinstance(after, (tuple, list)) else (after,)
            _check_states(name, states, after)
            return after

        self.states = states
        super().__init__(name, arguments, function)

    def _arranged(self, program: Program) -> Program:
        program.states = len(self.states)
        return passes.hoist(program)


def _check_states(name: str, states, after) -> None:
    if len(after) != len(states):
        raise ShapeError(f"scan: {name} takes {len(states)} states and gives {len(after)}")
    for k, (s, a) in enumerate(zip(states, after, strict=True)):
        if not isinstance(a, Tensor) or a.type.shape != s.shape or a.type.dtype != s.dtype:
            raise ShapeError(f"scan: {name} makes state {k} of {s.stored} into {a!r}")
