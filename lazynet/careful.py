"""Backward with users' code in it: hooks of gradients, and what is undone when such code fails."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` without enums, its slow part
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.debugging import debugging
from lazynet.graph import Graph
from lazynet.leaf import Leaf
from lazynet.modes import no_grad
from lazynet.tensor import tensor

_SIGINT = int(signal.SIGINT)


def _in_python(graph: Graph) -> bool:
    """Whether kernels of a graph are functions in Python."""
    return any(kind.op.host for run in graph.runs for kind in run.plan.kinds)


def hooked(leaf: Leaf, gradient: Any) -> np.ndarray:
    """What the hooks of a leaf make of its gradient."""
    g = tensor(np.asarray(gradient), device=leaf.device)
    with no_grad():
        for hook in list(leaf.hooks):
            g = hook(g)
    return g.numpy()


class Held:
    """Ctrl-C held back, from here to `release`, or inside a `with`; then it does what it would."""

    def __init__(self) -> None:
        self._handler: Any = None
        self._pressed = False
        if threading.current_thread() is threading.main_thread():
            self._handler = _signal.getsignal(_SIGINT)
            if self._handler is not None:  # else Python could not put it back
                _signal.signal(_SIGINT, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self._pressed = True

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *error: Any) -> None:
        self.release()

    def release(self) -> None:
        """Let it through from here on, and now what came in between."""
        if self._handler is not None:
            _signal.signal(_SIGINT, self._handler)
            if self._pressed:
                signal.raise_signal(signal.SIGINT)


class _Innermost(threading.local):
    """The careful backward that a thread is in; a hook of it may begin another."""

    backward: Careful | None = None


_innermost = _Innermost()


class Careful:
    """While backward runs: keep the gradients of hooked leaves apart, and undo all if it fails.

    Copies of gradients are made only where there is code of users that can fail. Where there is
    none, backward is one step for Ctrl-C, which waits for its end. What hooks see of a leaf is of
    one backward: what others, begun by hooks, give the leaf is added when that one has ended.

    Args:
        finish: what is done at the end if nothing failed.
    """

    def __init__(self, leaves: list[Leaf], graphs: list[Graph], finish: Callable[[], None]):
        self._leaves = list({id(leaf): leaf for leaf in leaves}.values())
        self._hooked = [leaf for leaf in self._leaves if leaf.hooks]
        self._fresh = [leaf for leaf in self._leaves if leaf.gradient is None]
        self._before: list[tuple[Leaf, Any, Any]] | None = None
        self._outer: Careful | None = None  # the one whose hook began this one
        self._given: dict[int, np.ndarray] = {}  # by leaf, what backwards of hooks gave
        self._held: Held | None = None
        self._graphs, self._finish = graphs, finish

    def __enter__(self) -> Careful:
        asked = any(graph.hooks or _in_python(graph) for graph in self._graphs)
        if not (self._hooked or asked or debugging.get()):
            self._held = Held()
            return self
        self._graphs[0].close()  # what hooks record goes to another graph
        self._before = []
        for leaf in self._leaves:
            old = leaf.gradient
            copied = None if old is None else np.array(np.asarray(old))
            self._before.append((leaf, copied, leaf.recorded))
        try:
            for leaf in self._hooked:
                leaf.clear_gradient()
        except BaseException:  # Ctrl-C, before there is anything to leave
            self._undo()
            raise
        self._outer, _innermost.backward = _innermost.backward, self
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if error is None:
                changed = self._called()
                self._held = self._held or Held()
                self._add(changed)
                self._finish()
            else:
                self._undo()
        except BaseException:
            self._undo()
            raise
        finally:
            if self._before is not None:
                _innermost.backward = self._outer
            if self._held is not None:
                self._held.release()

    def _called(self) -> dict[int, np.ndarray]:
        """What the hooks of leaves make of their gradients."""
        return {
            id(leaf): hooked(leaf, leaf.gradient)
            for leaf in self._hooked
            if leaf.gradient is not None
        }

    def _add(self, changed: dict[int, np.ndarray]) -> None:
        """Add what hooks gave to the gradients that were there before."""
        for leaf, before, recorded in self._before or ():
            if id(leaf) in changed:
                leaf.want_gradient()  # of which a hook may have changed any row
                new = changed[id(leaf)] + self._given.get(id(leaf), 0)
                if outer := self._keeping_apart(leaf):
                    outer._given[id(leaf)] = outer._given.get(id(leaf), 0) + new
                    new = 0
                leaf.gradient[...] = new if before is None else before + new
            elif leaf.gradient is None:
                _put_back(leaf, before, recorded)

    def _keeping_apart(self, leaf: Leaf) -> Careful | None:
        """The backward around this one that keeps the gradient of a leaf for its hooks."""
        outer = self._outer
        while outer is not None and not any(kept is leaf for kept in outer._hooked):
            outer = outer._outer
        return outer

    def _undo(self) -> None:
        """Give leaves back the gradients that they had."""
        for leaf in self._fresh:
            leaf.clear_gradient()
        for leaf, before, recorded in self._before or ():
            _put_back(leaf, before, recorded)


def _put_back(leaf: Leaf, gradient: Any, recorded: Any) -> None:
    """Give a leaf the gradient that it had."""
    if gradient is not None:
        leaf.want_gradient()[...] = gradient
    leaf.recorded = recorded
