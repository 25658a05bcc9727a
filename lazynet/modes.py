"""Modes: what a stretch of code runs under, as context managers, decorators or for good.

Each mode lives in a context variable, so that threads and coroutines of `ln.map` keep their own.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from _thread import get_ident
from typing import Any

from lazynet.batching.policies import NAMES
from lazynet.debugging import debugging, looking_for_infinities
from lazynet.device import DeviceError, device_of, product_precision
from lazynet.kernels import blas
from lazynet.kernels.threads import MOST_WORKERS, POOL
from lazynet.recording import (
    current_policy,
    default_policy,
    end_recording,
    pending_graph,
    recording_gradients,
)


def _sync() -> None:
    graph = pending_graph()
    if graph is not None:
        graph.mark_mode()


class _Gradients(contextlib.ContextDecorator):
    """Switches the recording of gradients, as a context manager or decorator."""

    def __init__(self, enabled: bool):
        self._enabled = enabled
        self._tokens: list[Any] = []

    def _recreate_cm(self):
        return type(self)(self._enabled)  # a decorated function may run in several threads

    def __call__(self, function):
        if not inspect.isgeneratorfunction(function):
            return super().__call__(function)

        @functools.wraps(function)
        def generator(*arguments, **named):
            """The generator, with the mode set whenever it goes on and reset when it gives."""
            inner = function(*arguments, **named)
            go_on, given = inner.send, (None,)
            while True:
                try:
                    with self._recreate_cm():
                        value = go_on(*given)
                except StopIteration as stop:
                    return stop.value
                try:
                    go_on, given = inner.send, ((yield value),)
                except GeneratorExit:
                    with self._recreate_cm():
                        inner.close()
                    raise
                except BaseException as error:
                    go_on, given = inner.throw, (error,)

        return generator

    def __enter__(self):
        self._tokens.append(recording_gradients.set(self._enabled))
        try:
            _sync()
        except BaseException:  # Ctrl-C: Python leaves no block that was not entered
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        recording_gradients.reset(self._tokens.pop())
        _sync()


def no_grad() -> _Gradients:
    """Nodes recorded inside get no gradients, and hold nothing for backward.

    It holds for the thread, until it ends: a task of asyncio that awaits inside of it takes the
    gradients of what other tasks record meanwhile as well.

    >>> x = ln.Parameter([1.0])
    >>> with ln.no_grad():
    ...     y = x * 2.0
    >>> y.requires_grad
    False
    """
    return _Gradients(False)


def enable_grad() -> _Gradients:
    """Nodes recorded inside get gradients, also inside `no_grad`.

    >>> x = ln.Parameter([1.0])
    >>> with ln.no_grad(), ln.enable_grad():
    ...     (x * 2.0).sum().backward()
    >>> x.grad.tolist()
    [2.0]
    """
    return _Gradients(True)


def is_grad_enabled() -> bool:
    """Whether nodes recorded now get gradients.

    >>> with ln.no_grad():
    ...     ln.is_grad_enabled()
    False
    """
    graph = pending_graph()
    if graph is not None:
        graph.ask("ln.is_grad_enabled()")
    return recording_gradients.get()


class autocast(contextlib.ContextDecorator):
    """Products recorded inside are computed in half precision, as `torch.autocast` has it.

    Factors are rounded to `dtype`, sums are float32, and so are values, parameters and gradients:
    only the products of matrices get faster. Backward computes in the precision of its forward. In
    float16 small gradients vanish; `ln.GradScaler` keeps them. Entering and leaving run what is
    pending.

    Args:
        device_type: "cuda", or "cuda:1"; the CPU has no such products.
        dtype: "float16" or "bfloat16".
        enabled: False to change nothing.

    Raises:
        DeviceError: for a device that does not have it. ValueError: for another dtype.
    """

    def __init__(self, device_type: str = "cuda", dtype: Any = "float16", enabled: bool = True):
        name = str(dtype).rpartition(".")[2]
        if name not in ("float16", "bfloat16"):
            raise ValueError(f"autocast: dtype is 'float16' or 'bfloat16', not {dtype!r}")
        if enabled and not device_of(device_type).computes(name):
            raise DeviceError(f"autocast: {device_type!r} does not compute products in {name}")
        self._precision = name if enabled else ""
        self._tokens: list[Any] = []

    def _recreate_cm(self):
        again = copy.copy(self)  # a decorated function may run in several threads
        again._tokens = []
        return again

    def __enter__(self):
        end_recording()
        self._tokens.append(product_precision.set(self._precision))
        return self

    def __exit__(self, *error):
        token = self._tokens.pop()
        try:
            if error[0] is None:
                end_recording()
        finally:
            product_precision.reset(token)


class UnknownPolicy(ValueError):
    """A batching policy that does not exist."""


class batching(contextlib.ContextDecorator):
    """Run forwards under one batching policy, as a context manager, a decorator or for good.

    >>> with ln.batching("depth"):
    ...     (ln.ones(2) + 1.0).tolist()
    [2.0, 2.0]

    Args:
        policy: "none" (one node at a time), "depth", "agenda", "frontier" or "auto".

    Raises:
        UnknownPolicy: for any other name.
    """

    def __init__(self, policy: str):
        if not isinstance(policy, str) or policy not in NAMES:
            raise UnknownPolicy(
                f"unknown batching policy {policy!r}; choose one of {', '.join(map(repr, NAMES))}"
            )
        self._policy = policy
        self._tokens: list[Any] = []

    def _recreate_cm(self):
        return type(self)(self._policy)  # a decorated function may run in several threads

    def __enter__(self):
        self._tokens.append(current_policy.set(self._policy))
        return self

    def __exit__(self, *error):
        token, graph = self._tokens.pop(), pending_graph()
        try:
            if graph is not None and graph.open and graph.owner == get_ident() and error[0] is None:
                graph.forward()
        finally:
            current_policy.reset(token)


def set_batching(policy: str) -> None:
    """Make `policy` the one that is used outside any `with ln.batching(...)`.

    >>> ln.set_batching("auto")  # which is the policy from the start

    Raises:
        UnknownPolicy: if there is none of that name.
    """
    batching(policy)
    default_policy[0] = policy


def set_num_threads(threads: int) -> None:
    """Run plans on this many threads from now on; 1 leaves everything to the calling thread.

    By default there is one for each core, or as many as LAZYNET_NUM_THREADS, OPENBLAS_NUM_THREADS
    or OMP_NUM_THREADS says. numpy's BLAS is held at one thread, because products are split here.

    Raises:
        ValueError: unless it is from 1 to 64.
    """
    if not isinstance(threads, int) or not 1 <= threads <= MOST_WORKERS + 1:
        raise ValueError(f"threads: expected 1 to {MOST_WORKERS + 1}, not {threads!r}")
    blas.use_threads(1)
    POOL.resize(threads)


def get_num_threads() -> int:
    """How many threads run a plan.

    >>> ln.get_num_threads() >= 1
    True
    """
    return POOL.threads


class debug(contextlib.ContextDecorator):
    """Remember the line that recorded each node, and check every result and gradient for NaN.

    Values are otherwise those of numpy: log(-1) is NaN, 1 / 0 and exp(1000) are infinite, and
    nothing is raised. Inside this, the first NaN raises FloatingPointError with the op and the line
    that recorded it, in `backward` also that of a gradient. Slower; for finding mistakes.

        >>> with ln.debug(inf=True):
        ...     ln.log(ln.tensor([0.0])).numpy()
        Traceback (most recent call last):
        FloatingPointError: log: -inf in the result of log(float32[1]), recorded at ...

    Args:
        inf: also raise where an infinity is made of operands that have none.
    """

    def __init__(self, inf: bool = False):
        self._inf = inf
        self._tokens: list[Any] = []

    def _recreate_cm(self):
        return type(self)(self._inf)  # a decorated function may run in several threads

    def _restart(self) -> None:
        graph = pending_graph()
        if graph is not None:
            graph.close()

    def __enter__(self):
        self._restart()
        self._tokens.append((debugging.set(True), looking_for_infinities.set(self._inf)))
        return self

    def __exit__(self, *error):
        tokens = self._tokens.pop()
        try:
            if error[0] is None:
                self._restart()
        finally:
            debugging.reset(tokens[0])
            looking_for_infinities.reset(tokens[1])
