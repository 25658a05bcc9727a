"""Compiles the functions that take longest; `kernels/ahead.py` runs this in a process of its own.

They are compiled for types, those of what `executor.forward` and `executor.backward` give them.
"""

import contextlib
import os
from collections.abc import Iterator

import numba
import numpy as np

from lazynet.batching.arrange import Nodes, Work
from lazynet.batching.decode import new_columns
from lazynet.batching.plan import Laid, lay_out
from lazynet.batching.reverse import lay_out_reverse
from lazynet.kernels.jit import cache_directory

try:
    import fcntl
except ImportError:  # Windows: programs that start at once compile the same
    fcntl = None  # type: ignore[assignment]


def compile_plans() -> None:
    """Compile what plans a forward, then what plans a backward, unless the cache has them."""
    with _alone():
        for function, arguments in (lay_out, _forward()), (lay_out_reverse, _backward()):
            function.compile(tuple(map(numba.typeof, arguments)))


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
