"""Scans: a pure step function over the rows of a Sequence, as one node.

The step is traced into a program (`traced.py`). What does not depend on the state is hoisted
and runs for all rows at once; the rest runs time step by time step over all sequences of a batch,
longest first, so that finished ones drop out. Its derivative is the reverse of the traced ops, each
by its own formula.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable
from typing import Any

from lazynet import passes, shortcut
from lazynet.anew import kept_of
from lazynet.batching import layout as words
from lazynet.cell import Cell, check_function, without_cell
from lazynet.graph import words_of
from lazynet.op import RowType, Signature
from lazynet.ops.views import as_stored
from lazynet.program import Program, Ref, ref_of
from lazynet.purity import Guard, Kept, weakly
from lazynet.quick_calls import calls
from lazynet.record import ShapeError, enter, graph_of
from lazynet.states import States
from lazynet.tensor import Sequence, Tensor, Value
from lazynet.traced import Traced

# By the object that a step belongs to, then by its function.
_known = Kept()
# What is known of steps that are functions or objects, by number: what a short look finds.
_met: dict[int, weakref.ref[_States]] = {}


def scan(step: Callable, states: tuple[Tensor, ...], x: Sequence) -> tuple[Sequence, ...]:
    """Run `states = step(x[t], states)` over the rows of x; one node, whatever the length.

    >>> def step(x, states):
    ...     return (states[0] * 0.5 + x,)
    >>> x = ln.sequence([[1.0], [1.0], [1.0]])
    >>> ln.scan(step, (ln.zeros(1),), x)[0].tolist()
    [[1.0], [1.5], [1.75]]

    Args:
        step: a pure function of a Tensor and a tuple of Tensors, giving a tuple of Tensors of the
            same shapes. It may use parameters. It is traced once for each signature; one that is
            defined anew in every call is known again if it closes over the same things.
        states: the initial states.
        x: n rows.

    Returns:
        for each state, a Sequence of n rows: row t is the state after step t.

    Raises:
        ShapeError: if the step changes the shape of a state.
        TypeError: if the step looks at a value or uses one that is no argument or parameter.
        ImpureFunction: if it changes what it reads, or does not do the same when called twice.
    """
    met = _met.get(id(step))
    known = None if met is None else met()
    if known is not None and known.called is type(step).__call__:
        made = calls.record(known.guard and known.guard.watched, known.now.kinds, x, states)
        if made is not None:
            return made
    return _scan(step, states, x)


def _scan(step: Callable, states: tuple[Tensor, ...], x: Sequence) -> tuple[Sequence, ...]:
    """`scan`, where there is no shorter way."""
    if not isinstance(x, Sequence) or not isinstance(states, (tuple, list)) or not callable(step):
        raise TypeError(
            "scan: expected a step, a tuple of states and a Sequence, in this order, not "
            f"{', '.join(type(given).__name__ for given in (step, states, x))}"
        )
    if not all([isinstance(s, Value) for s in states]):
        raise TypeError(f"scan: states are Tensors, not {type(states[0]).__name__}")
    # A state is a row stored by itself: the next one is.
    states = tuple([s if s.type is s.type.stored else as_stored(s) for s in states])
    traced = _states_of(step).find(step, (x.type, *[s.type for s in states]))
    return _recorded(traced.signature(), states, x)


def _recorded(signature: Signature, states: tuple[Tensor, ...], x: Sequence) -> tuple[Any, ...]:
    graph, length = graph_of((x, *states)), x.length
    entry = [-signature.index - 1, length]
    entry += (x.id, x.step) if x.graph is graph else enter(graph, x)
    for s in states:
        entry += (s.id if s.graph is graph else enter(graph, s)[0], 0)
    vid = graph.append(signature, words_of(*entry), length * len(states))
    return tuple([
        Sequence(graph, vid + k * length, row, length) for k, row in enumerate(signature.outputs)
    ])  # fmt: skip


class Step:
    """A step function with its weights, neither of which change: what layers give to `scan`."""

    def __init__(self, function: Callable, weights: Any):
        self.function, self.weights = function, weights
        self.states = _States()

    def __call__(self, x: Any, state: Any) -> Any:
        return self.function(x, state, self.weights)

    def __reduce__(self):
        return Step, (self.function, self.weights)


class _States(States):
    """What a step was traced to, by the state behind it and the types of its arguments."""

    called: Any = None  # what is called when one calls the step, when it was met last

    def find(self, step: Callable, rows: tuple[RowType, ...]) -> Scan:
        """The step traced for a row and states of these types."""
        before = self.state()
        found = self.now.traces.get(rows)
        if found is None:
            found = Scan(step, rows)
            if self.guard is not None:
                self.check(found.name, before, found, Scan(step, rows))
            self.now.add(rows, found)
            row, *states = rows
            form = shortcut.Rows(row), tuple(states)
            self.now.record_shortly(form, found.signature().index, len(states), tuple)
        return found


def _states_of(step: Callable) -> _States:
    """What is known of a step; that of a method is kept with its object."""
    if isinstance(step, Step):
        return _meet(step, step.states)
    passing = isinstance(step, types.MethodType)  # Python makes one wherever it is named
    given, step = step, without_cell(step)
    if isinstance(step, Cell):
        function, owner = step.plain()
    elif isinstance(step, types.MethodType):
        function, owner = step.__func__, step.__self__
    elif isinstance(step, types.FunctionType):
        function, owner = step, None
    else:
        function, owner = type(step).__call__, step
    check_function("scan", function, step)
    first, known = kept_of(function, owner, _known)
    passing, function = passing or function is not first, first
    key = function, getattr(step, "recompute", False)
    found = known.get(key)
    if found is None:
        guard = Guard(function, None if owner is None else weakly(owner))
        found = known[key] = _States(guard=guard)
    return found if passing else _meet(given, found)


def _meet(step: Callable, states: _States) -> _States:
    """Note what is known of something that stays what it is as long as it lives."""
    if id(step) not in _met:
        weakref.finalize(step, _met.pop, id(step), None).atexit = False
    _met[id(step)], states.called = weakref.ref(states), type(step).__call__
    return states


class Scan(Traced):
    """A traced step: its programs, and the op under which its nodes batch."""

    kind = words.SCAN
    scan = True
    may_draw = False

    def __init__(self, step: Callable, rows: tuple[RowType, ...]):
        name = getattr(getattr(step, "function", step), "__qualname__", type(step).__name__)
        row, *states = rows
        arguments = [(row, ref_of(row, words.ARGUMENT, 0))]
        arguments += [(s, Ref(words.STATE, k, s.dtype, s.size)) for k, s in enumerate(states)]

        def function(x, *before):
            after = _called(step, name, x, before)
            after = tuple(after) if isinstance(after, (tuple, list)) else (after,)
            _check_states(name, states, after)
            return after

        self.states = states
        self.recompute = getattr(step, "recompute", False)
        super().__init__(name, arguments, function)

    def _arranged(self, program: Program) -> Program:
        program.states = len(self.states)
        return passes.hoist(program)


def _called(step: Callable, name: str, x: Any, states: tuple[Any, ...]) -> Any:
    """The states after a step; what goes wrong in it carries a note that tells how it is called."""
    try:
        return step(x, states)
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        error.add_note(
            f"in the step of ln.scan, which is called as {name}(x, states), with a row and a tuple "
            f"of {len(states)} Tensors"
        )
        raise


def _check_states(name: str, states, after) -> None:
    if len(after) != len(states):
        raise ShapeError(f"scan: {name} takes {len(states)} states and gives {len(after)}")
    for k, (s, a) in enumerate(zip(states, after, strict=True)):
        if not isinstance(a, Tensor) or a.type.shape != s.shape or a.type.dtype != s.dtype:
            given = a.type.stored if isinstance(a, Tensor) else type(a).__name__
            raise ShapeError(f"scan: {name} makes state {k} of {s.stored} into {given}")
