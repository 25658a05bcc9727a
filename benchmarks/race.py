"""Races: contenders in processes of their own take the same steps in turn.

Threads of one BLAS that wait for work slow another one down in the same process, so each contender
has a process, which sleeps while the others run. Rounds are interleaved: what disturbs the machine
disturbs all of them.
"""

from __future__ import annotations

import importlib
import multiprocessing
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.workloads import Spec

WARMUP = 3  # rounds
_START = 600.0  # seconds that a contender may take to compile its kernels


@dataclass
class Contender:
    """A step function of one module, and what it measured."""

    name: str
    factory: str  # "module:function", called with the Spec and the options
    options: dict[str, Any] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def _work(factory: str, spec: Spec, options: dict[str, Any], pipe: Any) -> None:
    """The life of a contender's process: get ready, then take the steps it is told."""
    module, _, function = factory.partition(":")
    try:
        step = getattr(importlib.import_module(module), function)(spec, **options)
        pipe.send(None)
        while (numbers := pipe.recv()) is not None:
            found = []
            for number in numbers:
                start = time.perf_counter()
                loss = step(number)
                found.append((time.perf_counter() - start, loss))
            pipe.send(found)
    except Exception as error:
        pipe.send(error)


def run(spec: Spec, contenders: list[Contender], rounds: int, steps: int) -> None:
    """Let the contenders take `rounds` rounds of `steps` steps in turn; fills in what they took.

    The first rounds go first twice without counting, for kernels to be compiled and memory to be
    there: a program's first steps are slower in every contender.
    """
    context = multiprocessing.get_context("spawn")
    runners = []
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
                pipe.send(list(range(first, first + steps)))
                found = _answer(contender, process, pipe)
                if number == -WARMUP:
                    contender.losses = [loss for _, loss in found]
                elif number >= 0:
                    contender.seconds += [seconds for seconds, _ in found]
    finally:
        for _, process, pipe in runners:
            if process.is_alive():
                pipe.send(None)
                process.join(5)
            if process.is_alive():
                process.terminate()


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
