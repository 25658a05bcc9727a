"""`ln.map`: programs that look at values, run over many examples in step, so that they batch too.

Every example runs as a light coroutine (greenlet). When one asks for a value it is suspended and
the next one runs; when all are waiting, one forward serves them all, and they go on. A map inside a
map suspends to the outer one. What follows the program (`no_grad`, policy, random stream) lives in
context variables, of which each coroutine has its own copy.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import greenlet

from lazynet import tensor as tensors
from lazynet.ops.random import current_stream, stream
from lazynet.recording import pending_graph, settle

Example = TypeVar("Example")
Result = TypeVar("Result")
_thread = threading.local()


class _Hub:
    """One call of `map`: who waits, and where to go when everybody does."""

    def __init__(self, outer: _Hub | None):
        self.home = greenlet.getcurrent()
        self.outer = outer
        self.waiting: list[greenlet.greenlet] = []

    def suspend(self) -> None:
        """Called in a coroutine: let the others run until what is pending has been computed."""
        self.waiting.append(greenlet.getcurrent())
        self.home.switch()

    def resume(self, coroutine: greenlet.greenlet) -> None:
        """Run a coroutine until it waits or ends."""
        _thread.hub = self
        try:
            coroutine.switch()
        finally:
            _thread.hub = self.outer
            _mark_mode()


def _mark_mode() -> None:
    graph = pending_graph()
    if graph is not None and graph.open:
        graph.mark_mode()


def map(program: Callable[[Example], Result], examples: Iterable[Example]) -> list[Result]:
    """`[program(example) for example in examples]`, in step: their looks at values batch.

    The program is plain Python and may ask for values (`.item()`, `if x > 0`, `.numpy()`) at any
    point. Each example has a random stream of its own, so that results do not depend on how the
    examples interleave.

    >>> def halvings(x):
    ...     steps, x = 0, ln.tensor(x)
    ...     while x.item() > 1.0:  # the looks of all examples batch
    ...         steps, x = steps + 1, x * 0.5
    ...     return steps
    >>> ln.map(halvings, [1.0, 5.0, 32.0])
    [0, 3, 5]

    Args:
        program: a function of one example.
        examples: any iterable.

    Returns:
        the results, in the order of the examples.

    Raises:
        TypeError: for what is no function, or nothing to iterate over.
        Exception: the first of a program, with a note that tells the example; all other programs
            are ended (they see `GreenletExit`).
    """
    if not callable(program):
        raise TypeError(f"map: expected a function of one example, not {type(program).__name__}")
    if not isinstance(examples, Iterable):
        raise TypeError(f"map: expected a list of examples, not {type(examples).__name__}")
    hub = _Hub(getattr(_thread, "hub", None))
    results: list[Any] = []
    coroutines: list[greenlet.greenlet] = []

    def run(number: int, example: Example) -> None:
        _mark_mode()
        try:
            results[number] = program(example)
        except Exception as error:
            error.add_note(f"in example {number} of ln.map")
            raise

    try:
        for number, example in enumerate(examples):
            results.append(None)
            coroutine = greenlet.greenlet(run)
            context = contextvars.copy_context()
            context.run(current_stream.set, stream().fork())
            coroutine.gr_context = context
            coroutines.append(coroutine)
            _thread.hub = hub
            try:
                coroutine.switch(number, example)
            finally:
                _thread.hub = hub.outer
                _mark_mode()
        while hub.waiting:
            _compute(hub)
            waiting, hub.waiting = hub.waiting, []
            for coroutine in waiting:
                hub.resume(coroutine)
    except BaseException:
        _end(coroutines)
        raise
    return results


def _compute(hub: _Hub) -> None:
    """Have everything pending computed: by the outer map, so that its others join, or here."""
    if hub.outer is None:
        settle()
    elif (graph := pending_graph()) is not None and graph.pending:
        hub.outer.suspend()
        _thread.hub = hub.outer


def _end(coroutines: list[greenlet.greenlet]) -> None:
    for coroutine in coroutines:
        if coroutine and not coroutine.dead:
            coroutine.throw(greenlet.GreenletExit)


def _wait(value: tensors.Value) -> None:
    """How a pending value is waited for: in a map, until all others wait too."""
    hub = getattr(_thread, "hub", None)
    if hub is None:
        value.graph.forward()
        return
    hub.suspend()
    _mark_mode()
    if value.pending:
        value.graph.forward()  # of another thread, or failed before: says so


tensors.waiter = _wait
