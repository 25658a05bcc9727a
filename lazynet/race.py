"""Races: contenders take turns on the same minibatches, each in a process of its own.

Threads of one BLAS that wait for work slow another one down in the same process, so each contender
has a process, which sleeps while the others run. Such threads go on waiting for some 0.1 s after
their turn, on a core that the next contender needs: before each turn there is a pause, and a step
that does not count brings back what lay in the caches. Rounds are interleaved: what disturbs the
machine disturbs all of them.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

WARMUP = 3  # rounds
_PAUSE = 0.3  # seconds between two turns
_WARM, _COUNT, _TELL = range(3)  # what a contender is asked for
_START = 600.0  # seconds that a contender may take to compile its kernels


class Steps:
    """What a contender does: called with the number of a minibatch, it takes a step on it.

    Args:
        batches: the minibatches; after the last comes the first again.
        run: takes one step on a minibatch and gives its loss.
        about: what the steps of these numbers were like, as plain numbers by name.
    """

    def __init__(
        self,
        batches: list[Any],
        run: Callable[[Any], float],
        about: Callable[[list[int]], dict[str, Any]] | None = None,
    ) -> None:
        self.batches, self.run, self.about = batches, run, about

    def batch(self, number: int) -> Any:
        return self.batches[number % len(self.batches)]

    def __call__(self, number: int) -> float:
        return self.run(self.batch(number))

    def one(self) -> None:
        """A step on one example: kernels and libraries are loaded from here on."""
        self.run(self.batches[0][:1])

    def tell(self, numbers: list[int]) -> dict[str, Any]:
        return self.about(numbers) if self.about else {}


@dataclass
class Contender:
    """Steps that a function of some module makes, and what was measured of them."""

    name: str
    factory: str  # "module:function", called with what the race is about and the options
    options: dict[str, Any] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def run(spec: Any, contenders: list[Contender], rounds: int, steps: int) -> None:
    """Let the contenders take `rounds` rounds of `steps` steps in turn; fills in what they took.

    The first rounds go first without counting, for kernels to be compiled and memory to be there: a
    program's first steps are slower in every contender. What is told at the end has "memory", the
    MiB by which the process grew at its peak after a step on a single example.
    """
    context = multiprocessing.get_context("spawn")
    runners: list[tuple[Contender, Any, Any]] = []
    try:
        for contender in contenders:
            ours, theirs = context.Pipe()
            arguments = (contender.factory, spec, contender.options, theirs)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            runners.append((contender, process, ours))
            _answer(contender, process, ours)
        for number in range(-WARMUP, rounds):
            first = number % WARMUP * steps if number < 0 else number * steps
            for contender, process, pipe in runners:
                pipe.send((_WARM if number < 0 else _COUNT, list(range(first, first + steps))))
                found = _answer(contender, process, pipe)
                if number == -WARMUP:
                    contender.losses = [loss for _, loss in found]
                elif number >= 0:
                    contender.seconds += [seconds for seconds, _ in found]
        for contender, process, pipe in runners:
            pipe.send((_TELL, list(range(steps))))
            contender.told = _answer(contender, process, pipe)
    finally:
        for _, process, pipe in runners:
            if process.is_alive():
                pipe.send(None)
                process.join(5)
            if process.is_alive():
                process.terminate()


def disagreement(contenders: list[Contender]) -> float:
    """The largest relative difference between the losses of the first contender and of others."""
    first, *others = (c.losses for c in contenders)
    pairs = [(a, b) for other in others for a, b in zip(first, other, strict=True)]
    return max((abs(a - b) / max(abs(a), 1e-9) for a, b in pairs), default=0.0)


def _work(factory: str, spec: Any, options: dict[str, Any], pipe: Any) -> None:
    """The life of a contender's process: get ready, then take the steps it is told."""
    module, _, function = factory.partition(":")
    try:
        steps: Steps = getattr(importlib.import_module(module), function)(spec, **options)
        steps.one()
        before = settled()
        pipe.send(None)
        while (asked := pipe.recv()) is not None:
            what, numbers = asked
            if what == _TELL:
                grown = max(0.0, memory("VmHWM") - before)
                pipe.send({"memory": grown, **steps.tell(numbers)})
                continue
            found = []
            if what == _COUNT:
                time.sleep(_PAUSE)
                steps(numbers[0])
            for number in numbers:
                start = time.perf_counter()
                loss = steps(number)
                found.append((time.perf_counter() - start, loss))
            pipe.send(found)
    except Exception as error:
        pipe.send(error)


def _answer(contender: Contender, process: Any, pipe: Any) -> Any:
    waited = 0.0
    while not pipe.poll(0.5):
        waited += 0.5
        if not process.is_alive() or waited > _START:
            raise RuntimeError(f"{contender.name}: ended, or took longer than {_START:.0f} s")
    try:
        found = pipe.recv()
    except EOFError:
        raise RuntimeError(f"{contender.name}: its process ended") from None
    if isinstance(found, Exception):
        raise RuntimeError(f"{contender.name} failed") from found
    return found


def memory(name: str) -> float:
    """MiB of memory that this process has ("VmRSS"), or had at its peak ("VmHWM")."""
    try:
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith(name))
        return int(line.split()[1]) / 2**10
    except (OSError, StopIteration):  # no Linux: the peak is all that is told
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def settled() -> float:
    """MiB of memory after giving back what is free, as far as the system lets one; peaks anew."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak is what there is now
    except (OSError, AttributeError, TypeError):
        pass  # no Linux with glibc: the peak so far is what growth is counted from
    return memory("VmRSS")
