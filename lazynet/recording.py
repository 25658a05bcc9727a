"""Recording: which graph each thread records into, and under which modes.

A thread holds its graph weakly, and moves on to a new one (`graph.current_graph`) when that is
closed. What changes parameters or modes first asks here for what is pending to run.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazynet.graph import Graph

recording_gradients: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "gradients", default=True
)
current_policy: contextvars.ContextVar[str] = contextvars.ContextVar("policy", default="")
default_policy = ["auto"]
here = threading.local()  # its `graph`: a weak reference to the one this thread records into
# The graph that was recorded into last, by a weak reference, for compiled code to find; None where
# another one may have to take its place.
recorded_last: list[Any] = [None]
# What is compiled or loaded when recording goes on after the first forward: neither an import nor
# the first results wait for it. Each takes itself off the list when it is done.
after_first_forward: list[Any] = []
_forwards = [0]  # that have run, while the list holds anything
_going_on = threading.Lock()


# -- the thread's graph ----------------------------------------------------------------------------


def pending_graph() -> Graph | None:
    """The graph that this thread records into, if there is one."""
    held = getattr(here, "graph", None)
    return held() if held is not None else None


class _Ending:
    """Ends what a thread records when the thread does: another may get its identifier."""

    __slots__ = ("graph",)

    def __init__(self, held: weakref.ref[Graph]):
        self.graph = held

    def __del__(self) -> None:
        graph = self.graph()
        if graph is not None:
            graph.open, graph.thread, graph.owner = False, 0, 0


def begin(graph: Graph) -> None:
    """Record into a graph from here on."""
    here.graph = held = weakref.ref(graph)
    ending = getattr(here, "ending", None)
    if ending is None:
        here.ending = _Ending(held)
    else:
        ending.graph = held
    recorded_last[0] = None if graph.precision else held


def leave(graph: Graph) -> None:
    """Record into a graph no longer, if this thread does."""
    if getattr(here, "graph", None) is not None and here.graph() is graph:
        here.graph = None


@contextlib.contextmanager
def recording_into(graph: Graph):
    """Record into `graph` for a while: how formulas and cells are traced."""
    before = getattr(here, "graph", None)
    here.graph, recorded_last[0] = weakref.ref(graph), None
    try:
        yield graph
    finally:
        here.graph = before


def settle() -> None:
    """Run what is pending in this thread: parameters are about to change."""
    graph = pending_graph()
    if graph is not None and graph.pending:
        graph.forward()


def end_recording() -> None:
    """Run what is pending, and record what comes into a new graph: a parameter is about to change.

    So one graph never holds values of a parameter before and after a change.
    """
    graph = pending_graph()
    if graph is not None and graph.open:
        graph.close()


def forward(values=None) -> None:
    """Run everything that is pending (all of it, whatever `values` names)."""
    settle()


# -- modes -----------------------------------------------------------------------------------------


def policy() -> str:
    """The name of the policy in force."""
    return current_policy.get() or default_policy[0]


# -- after the first forward -----------------------------------------------------------------------


def note_forward() -> None:
    """Note that a forward has run."""
    if after_first_forward:
        _forwards[0] += 1


def go_on() -> None:
    """Get ready for more, if a forward has run."""
    if after_first_forward and _forwards[0] and _going_on.acquire(blocking=False):
        try:  # another thread, or a finalizer, does not wait for it
            for ready in tuple(after_first_forward):
                ready()
        finally:
            _going_on.release()
