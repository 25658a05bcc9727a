"""What functions were traced to, by the state behind them and by kinds of calls.

A function may read what can change: attributes, globals, what it closes over. Its traces are those
of one state; when that has changed others take their place, and come back when it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lazynet import shortcut
from lazynet.purity import Guard, ImpureFunction
from lazynet.traced import Traced


class Known:
    """What a function was traced to while the state behind it was the same."""

    def __init__(self) -> None:
        self.traces: dict[Any, Any] = {}  # by kind of call
        self.kinds: tuple[Any, ...] = ()  # of calls that are recorded the short way
        self._constants: list[Any] = []  # of the traces

    def add(self, key: Any, traced: Traced) -> None:
        """Note what calls of a kind were traced to; its constants live as long as this."""
        self.traces[key] = traced
        self._constants += traced.give_constants()

    def record_shortly(self, form: Any, index: int, outputs: int, result: Any) -> None:
        """Record calls of this form the short way from here on (see `shortcut.noted`)."""
        self.kinds = shortcut.noted(self.kinds, form, index, outputs, result)


class States:
    """What a function was traced to: `now` in the state as it is.

    Args:
        kind: of what is known in a state.
        guard: watches the state; without one, until there is, it does not change.
    """

    def __init__(self, kind: type[Known] = Known, guard: Guard | None = None):
        self.guard: Guard | None = None
        self.now: Any = kind()
        self._kind = kind
        self._by_state: dict[Any, Any] = {}
        if guard is not None:
            self.watch(guard)

    def watch(self, guard: Guard) -> None:
        """Take what is known for that of the state as it is now, and watch it from here on."""
        self.guard = guard
        self._by_state[guard.state] = self.now

    def include(self, kinds: set[type]) -> None:
        """Watch members of classes as well; what is known holds with them as they are."""
        assert self.guard is not None
        self.guard.include(kinds)
        self.now = self._by_state.setdefault(self.guard.state, self.now)

    def hold(self) -> bool:
        """Whether the state is as it was; if not, `now` is what is known for what it is now."""
        guard = self.guard
        if guard is None or guard.holds():
            return True
        found = self._by_state.get(guard.state)
        self.now = found or self._by_state.setdefault(guard.state, self._kind())
        return False

    def state(self) -> Any:
        """A key for the state as it is now; None where nothing is watched."""
        self.hold()
        return None if self.guard is None else self.guard.state

    def check(self, name: str, before: Any, found: Traced, again: Traced) -> None:
        """Raise unless tracing twice changed nothing of the state, and gave the same."""
        if self.state() != before or not found.same_as(again):
            raise ImpureFunction(name)
        again.give_constants()

    def traces(self) -> Iterator[Any]:
        """All traces, of all states."""
        for known in self._by_state.values():
            yield from known.traces.values()
