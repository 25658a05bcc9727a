"""Makes cells of `forward` methods that are proven to be pure.

A class whose `forward` was called often enough gets an `AutomaticCell` in its place. Its traces are
proven by `proof.py`; when one is refused, the class has its own `forward` back, for good.
"""

from __future__ import annotations

import functools
import threading
import types
from collections.abc import Callable
from typing import Any

from lazynet.cell import Cell
from lazynet.debugging import debugging
from lazynet.device import OPENED
from lazynet.proof import COUNTING, Unproven, Watcher
from lazynet.record import graph_of
from lazynet.tensor import Tensor
from lazynet.trace import HookInside, TraceGraph
from lazynet.traces import Trace

CALLS = 2000  # of a class's `forward`, before it is looked at: compiling must be worth it
MOST_KINDS = 8  # of arguments: each is traced and compiled
MOST_TRACES = 256  # of the objects of a class: those made anew for each step are not worth it
FEWEST_NODES, MOST_NODES = 3, 200  # of a trace: little is gained, or too much is compiled


class AutomaticCell(Cell):
    """The `forward` of a class, whose calls are recorded as one node while nothing speaks against.

    What it is of an object is a method like any other: it holds the object, and can be pickled.
    """

    def __init__(self, function: Callable, home: _Home):
        super().__init__(function)
        self._home = home

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def _of(self, instance: Any) -> Cell:
        return _OfModule(self._function, self._home, instance)

    def __call__(self, owner: Any = None, /, *arguments: Any, **named: Any) -> Any:
        bound = self._bound.get(id(owner))
        if bound is None:
            if not getattr(owner, "automatic_cell", False):
                given = () if owner is None else (owner,)
                return self._function(*given, *arguments, **named)
            bound = self._bind(owner)
        return bound(*arguments, **named)


class _OfModule(Cell):
    """The cell of one object, recorded while its class's `forward` is not refused."""

    def __init__(self, function: Callable, home: _Home, owner: Any):
        super().__init__(function, owner)
        self._home = home

    def _record(self, key: Any, values: list[Any], arguments: Any, named: Any) -> Any:
        home = self._home
        if home.refused is None and (named or not values or not _eligible(arguments)):
            home.refuse("its arguments are not Tensors, alone or in tuples and lists")
        if home.refused or debugging.get() or isinstance(graph_of(values), TraceGraph):
            return self._plain(*arguments, **named)
        try:
            return super()._record(key, values, arguments, named)
        except Unproven as reason:
            home.refuse(str(reason))
        except Exception as error:
            made = self._plain(*arguments, **named)  # a mistake of the user's shows here
            home.refuse(f"{type(error).__name__}: {error}")
            return made
        return self._plain(*arguments, **named)

    def _traced(
        self, values: list[Any], arguments: Any, named: Any, plain: Callable | None = None
    ) -> tuple[Trace, Trace]:
        guard = self.states.guard
        assert guard is not None
        if not (guard.sure and guard.quick):
            raise Unproven("it reads what may change unseen, or takes long to look at")
        if len({trace.index for trace in self.states.traces()}) >= MOST_KINDS:
            raise Unproven(f"it is called with more than {MOST_KINDS} kinds of arguments")
        self._home.traces += 1
        if self._home.traces > MOST_TRACES:
            raise Unproven(f"its class has more than {MOST_TRACES} kinds of calls")
        watcher = Watcher(guard)
        try:
            found, again = super()._traced(values, arguments, named, watcher.watched(self._plain))
        except HookInside:
            raise Unproven("a hook of a module in it may do anything") from None
        if watcher.refused:
            raise Unproven(watcher.refused)
        if not FEWEST_NODES <= len(found.recorded) <= MOST_NODES:
            raise Unproven(f"it records {len(found.recorded)} nodes")
        if found.lifted or found.graph.draws:
            raise Unproven("its calls would be recorded the long way")
        return found, again


class _Home:
    """The class that an automatic cell is the `forward` of, until it is refused."""

    def __init__(self, kind: Any, forward: Callable):
        self.refused: str | None = None  # why it is no cell any more
        self.traces = 0
        self._kind, self._forward = kind, forward
        self._cell = AutomaticCell(forward, self)
        type.__setattr__(kind, "forward", self._cell)

    def refuse(self, reason: str) -> None:
        self.refused = reason
        if vars(self._kind).get("forward") is self._cell:
            type.__setattr__(self._kind, "forward", self._forward)


def watch(kind: Any, call: Callable) -> None:
    """Make the `forward` that a class defines a cell once it was called often.

    Until then calls of its objects are counted; `call` is how objects of its base are called. It is
    not called but done here where that comes to `forward`: recursion goes as deep as without us.
    """
    forward = vars(kind)["forward"]
    calls = 0

    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= CALLS and self.automatic_cell:
            _settle(kind, forward, counted)
        following = _following(type(self), kind, counted)
        if following is call and not OPENED and not self._hooks:
            return self.forward(*arguments, **named)
        return (following or call)(self, *arguments, **named)

    COUNTING.add(counted.__code__)
    functools.update_wrapper(counted, call)
    type.__setattr__(kind, "__call__", counted)


_SETTLING = threading.Lock()


def _settle(kind: Any, forward: Callable, counted: Callable) -> None:
    """End the counting for a class, and make its `forward` a cell if it is still the same."""
    with _SETTLING:
        if vars(kind).get("__call__") is not counted:
            return  # a thread was here before, or somebody has put another in its place
        type.__delattr__(kind, "__call__")
        if vars(kind).get("forward") is forward:
            _Home(kind, forward)


def _following(own: type, kind: type, counted: Callable) -> Any:
    """What `__call__` of a class's objects would be, from `counted` on, if nothing was counted.

    Other bases may have one of their own. `counted` was made for `kind`, but the class may be a
    copy of that (a dataclass with slots), or have something in its place that calls it.
    """
    mro = own.__mro__
    for last in (base for base in mro if vars(base).get("__call__") is counted or base is kind):
        for base in mro[mro.index(last) + 1 :]:
            found = vars(base).get("__call__")
            if found is not None and getattr(found, "__code__", None) not in COUNTING:
                return found
    return None


def _eligible(x: Any) -> bool:
    """Tensors, alone or in tuples and lists: no numbers, of which each would be a trace."""
    if isinstance(x, (tuple, list)):
        return all(map(_eligible, x))
    return x.__class__ is Tensor or x is None or isinstance(x, bool)
