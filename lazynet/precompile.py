"""Compiles what takes longest; `kernels/ahead.py` runs this in a process of its own.

First what plans a forward, runs it and plans a backward, for the types that `executor.py` and
`backward.py` give them; then the short ways of recording, which the program wants when its first
forward has run.
"""

import contextlib
import os
from collections.abc import Iterator

import numba
import numpy as np

from lazynet import quick
from lazynet.batching.arrange import Nodes, Work
from lazynet.batching.decode import new_columns
from lazynet.batching.marks import mark, split
from lazynet.batching.measure import measure
from lazynet.batching.plan import Laid, lay_out
from lazynet.batching.reverse import lay_out_reverse, measure_reverse
from lazynet.interpreter import run_calls
from lazynet.kernels import ahead
from lazynet.kernels.jit import cache_directory
from lazynet.packs import choose

try:
    import fcntl
except ImportError:  # Windows: programs that start at once compile the same
    fcntl = None  # type: ignore[assignment]


def compile_ahead() -> None:
    """Compile all of it, except what the cache has."""
    with _alone():
        for function, arguments in planners():
            if ahead.claim(function.__name__):
                function.compile(tuple(map(numba.typeof, arguments)))
        quick.compile_from_the_end()


def planners() -> list[tuple]:
    """The functions that are compiled, with arguments of the types that they get."""
    return [
        (lay_out, _forward()),
        (measure, _measured()),
        (choose, (_words(), 0, _table(), _words())),
        (run_calls, (_words(), 0, 0, 0, _words(), _words())),
        (mark, _marked()),
        (split, _parts()),
        (measure_reverse, (_table(), _laid().batches, _table(), _table(), _words(), _words())),
        (lay_out_reverse, _backward()),
    ]


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One process compiles; others that were started beside it wait, and find all of it there."""
    if fcntl is None:
        yield
        return
    with open(os.path.join(cache_directory(), "compiling.lock"), "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forward() -> tuple:
    """Arguments of the types that `lay_out` gets."""
    tape = np.frombuffer(b"", np.int32)
    nodes = Nodes(tape, new_columns(0), _shorts(), _words(), _words())
    work = Work(_table(), _shorts(), _shorts(), _shorts(), _table())
    used, simple = np.empty((0, 0), np.int32), np.empty(0, np.uint8)
    return (
        nodes, _shorts(), _table(), used, simple, 0, 0, _laid(), _words(), _words(), _table(),
        _words(), work,
    )  # fmt: skip


def _measured() -> tuple:
    """Arguments of the types that `measure` gets."""
    used, batches = np.empty((0, 0), np.int32), np.empty((0, 0), np.int32)
    columns, schedule = new_columns(0), np.empty((0, 0), np.int32)
    return (
        columns, _shorts(), schedule, _table(), used, _words(), batches, _table(), _words()
    )  # fmt: skip


def _marked() -> tuple:
    """Arguments of the types that `mark` gets."""
    flags = np.empty(0, np.uint8)
    tape = np.frombuffer(b"", np.int32)
    return tape, new_columns(0), _table(), _shorts(), flags, flags, flags


def _parts() -> tuple:
    """Arguments of the types that `split` gets."""
    flags = np.empty(0, np.uint8)
    return new_columns(0), _shorts(), _table(), _laid(), _words(), flags, flags


def _backward() -> tuple:
    """Arguments of the types that `lay_out_reverse` gets."""
    return _table(), _laid(), _table(), _words(), 0, _words(), _words(), _table(), _words()


def _laid() -> Laid:
    batches = np.empty((0, 0), np.int32)
    places = [_words() for _ in range(4)]
    return Laid(batches, _table(), _words(), _shorts(), *places)


def _words() -> np.ndarray:
    return np.empty(0, np.int64)


def _shorts() -> np.ndarray:
    return np.empty(0, np.int32)


def _table() -> np.ndarray:
    return np.empty((0, 0), np.int64)
