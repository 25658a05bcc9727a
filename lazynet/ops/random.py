"""Randomness from a counter: what a node draws depends on its stream and counter, on nothing else.

A random node takes its key from the current stream when it is recorded. So values do not depend on
policy, device or interleaving; `ln.map` gives each example a stream of its own.
"""

from __future__ import annotations

import contextvars
import itertools

import numpy as np

from lazynet.batching import layout as words
from lazynet.op import Op, Sample, row_type
from lazynet.program import Ref, call, lowered, output_refs
from lazynet.record import as_value, record
from lazynet.tensor import FLOATS, Sequence


class Stream:
    """A numbered stream of keys; `fork` makes independent ones."""

    __slots__ = ("_counter", "_forks", "number")

    def __init__(self, number: int):
        self.number = number & 0xFFFFFFFF
        self._counter = itertools.count()
        self._forks = itertools.count(1)

    def keys(self, count: int) -> np.ndarray:
        """`count` new keys, as (stream, counter) pairs of 32-bit words."""
        pairs = np.empty((count, 2), np.uint32)
        pairs[:, 0] = self.number
        pairs[:, 1] = [next(self._counter) & 0xFFFFFFFF for _ in range(count)]
        return pairs.view(np.int32)

    def fork(self) -> Stream:
        """A stream of its own, determined by this one and by how often it was forked."""
        return Stream(_mix(self.number, next(self._forks)))


def _mix(a: int, b: int) -> int:
    z = (a * 0x9E3779B1 + b * 0x85EBCA77 + 0xC2B2AE3D) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) & 0xFFFFFFFF


current_stream: contextvars.ContextVar[Stream] = contextvars.ContextVar("stream")
_shared = [Stream(_mix(0, 0))]


def stream() -> Stream:
    """The stream that random nodes draw their keys from."""
    return current_stream.get(_shared[0])


def manual_seed(seed: int) -> None:
    """Start the random stream, and `numpy_generator`, anew from `seed`."""
    _shared[0] = Stream(_mix(int(seed), 0))
    _generator[0] = np.random.default_rng(int(seed))
    if current_stream.get(None) is not None:
        current_stream.set(_shared[0])


_generator = [np.random.default_rng(0)]


def numpy_generator() -> np.random.Generator:
    """The generator of initial values."""
    return _generator[0]


def _uniform_lower(signature):
    y = output_refs(signature)[0]
    payload = Ref(words.WORDS, 0, "int64", 1)
    return lowered(signature, [call("uniform", (payload,), y, (y.size,), y.dtype)])


UNIFORM = Op(
    "uniform", "y ~ U[0, 1)", lambda shape, dtype: (row_type(dtype, shape),), _uniform_lower, None,
    payload=2, samples=(Sample((), (("shape", (5,)), ("dtype", "float32")), payload=(1, 2)),),
)  # fmt: skip


def rand(*shape: int, length: int | None = None, dtype: str = "float32"):
    """Uniform numbers in [0, 1): a Tensor of this shape, or a Sequence of `length` such rows."""
    attributes = (("shape", tuple(shape)), ("dtype", dtype))
    keys = stream().keys(1 if length is None else length).reshape(-1)
    return record(UNIFORM, (), attributes, payload=keys, length=length)


def dropout(x, p: float = 0.5, training: bool = True):
    """Each element is 0 with probability p, else x / (1 - p); the identity outside training."""
    x = as_value(x, "dropout")
    if not 0.0 <= p < 1.0:
        raise ValueError(f"dropout: the probability must be in [0, 1), not {p}")
    if not training or p == 0.0:
        return x
    if x.type.dtype not in FLOATS:
        raise TypeError(f"dropout: expected float rows, not {x.type.dtype}")
    length = x.length if isinstance(x, Sequence) else None
    drawn = rand(*x.type.shape, length=length, dtype=x.type.dtype)
    kept = (drawn >= p).astype(x.type.dtype)
    return x * (kept * (1.0 / (1.0 - p)))
