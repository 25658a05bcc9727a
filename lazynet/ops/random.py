"""Randomness from a counter: what a node draws depends on its stream and counter, on nothing else.

A random node takes its key from the current stream when it is recorded. So values do not depend on
policy, device or interleaving; `ln.map` gives each example a stream of its own.
"""

from __future__ import annotations

import contextvars
import itertools
import os
import struct
import threading

import numpy as np

from lazynet.batching import layout as words
from lazynet.device import beside_operands
from lazynet.op import Op, Sample, row_type
from lazynet.ops.axes import broadcast_shapes, sizes_of
from lazynet.ops.elementwise import floats_of
from lazynet.ops.reduce import argmax
from lazynet.ops.softmax import softmax
from lazynet.ops.told import told
from lazynet.program import Ref, call, lowered, output_refs
from lazynet.record import as_value, record
from lazynet.recording import pending_graph
from lazynet.tensor import FLOATS, Sequence, tensor


class Stream:
    """A numbered stream of keys; `fork` makes independent ones."""

    __slots__ = ("_forks", "_lock", "_used", "number")

    def __init__(self, number: int):
        self.number = number & 0xFFFFFFFF
        self._used, self._lock = 0, threading.Lock()
        self._forks = itertools.count(1)

    def keys(self, count: int) -> np.ndarray:
        """`count` new keys, as (stream, counter) pairs of 32-bit words."""
        with self._lock:
            first = self._used
            self._used = first + count
        pairs = np.empty((count, 2), np.uint32)
        pairs[:, 0] = self.number
        pairs[:, 1] = np.arange(first, first + count)  # modulo 2^32
        return pairs.view(np.int32)

    def unlock(self) -> None:
        """In a forked child: nobody is taking keys."""
        self._lock = threading.Lock()

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
if hasattr(os, "register_at_fork"):  # a child shall not wait for a thread that it does not have
    os.register_at_fork(after_in_child=lambda: _shared[0].unlock())


def stream() -> Stream:
    """The stream that random nodes draw their keys from."""
    return current_stream.get(_shared[0])


def manual_seed(seed: int) -> None:
    """Start the random stream, and `numpy_generator`, anew from `seed`.

    Raises:
        ValueError: for what is no integer from 0 up.
    """
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"manual_seed: expected an integer from 0 up, not {seed!r}")
    _shared[0] = Stream(_mix(int(seed), 0))
    _generator[0] = np.random.default_rng(int(seed))
    if current_stream.get(None) is not None:
        current_stream.set(_shared[0])


_generator = [np.random.default_rng(0)]


def numpy_generator() -> np.random.Generator:
    """The generator of initial values."""
    return _generator[0]


def _drawn(name: str, formula: str) -> Op:
    """An op that fills rows from the counter in its payload."""

    def lower(signature):
        y = output_refs(signature)[0]
        payload = Ref(words.WORDS, 0, "int64", 1)
        return lowered(signature, [call(name, (payload,), y, (y.size,), y.dtype)])

    return Op(
        name, formula, lambda shape, dtype: (row_type(dtype, shape),), lower, None, payload=2,
        samples=(Sample((), (("shape", (5,)), ("dtype", "float32")), payload=(1, 2)),),
    )  # fmt: skip


def bits_of(x: float) -> int:
    """A float as an attribute of a kernel: its 64 bits as an integer."""
    return struct.unpack("q", struct.pack("d", x))[0]


UNIFORM = _drawn("uniform", "y ~ U[0, 1)")
NORMAL = _drawn("normal", "y ~ N(0, 1)")


def _draw(op: Op, shape, length, dtype: str):
    """A Tensor of this shape, or a Sequence of `length` such rows, each with a key of its own."""
    if dtype not in FLOATS:
        raise TypeError(f"{op.name}: expected float32 or float64, not {dtype}")
    attributes = (("shape", shape), ("dtype", dtype))
    if in_function():
        if length is not None:
            raise TypeError(
                f"{op.name}: rows (length={length}) cannot be drawn inside a cell; draw them "
                "outside and give them to it, or draw a Tensor of more numbers"
            )
        return pending_graph().draw(op.signature((), attributes))
    return draw(op.signature((), attributes), length)


def draw(signature, length: int | None):
    """A value drawn by this signature, or `length` of them, each row with a key of its own."""
    keys = stream().keys(1 if length is None else length).reshape(-1)
    return record(signature.op, (), signature.attributes, payload=keys, length=length)


def in_function() -> bool:
    """Whether what is recorded is the inside of a traced function, which is called with draws."""
    graph = pending_graph()
    return graph is not None and hasattr(graph, "draws")


@beside_operands
def like(op: Op, x):
    """Draws of the shape and dtype of x."""
    return _draw(op, x.type.shape, x.length if isinstance(x, Sequence) else None, x.type.dtype)


@beside_operands
def _for_each(op: Op, x, y):
    """A draw for each element of what x and y broadcast to, in the dtype of x."""
    if isinstance(y, (int, float)):
        return like(op, x)
    y = as_value(y, op.name)
    lengths = [v.length for v in (x, y) if isinstance(v, Sequence)]
    shape = broadcast_shapes(x.type.shape, y.type.shape)
    return _draw(op, shape, lengths[0] if lengths else None, x.type.dtype)


# -- samples ---------------------------------------------------------------------------------------


@told
def rand(*shape: int, length: int | None = None, dtype: str = "float32"):
    """Uniform numbers in [0, 1): a Tensor of this shape, or a Sequence of `length` such rows.

    Shapes: (*shape,), or `length` rows of it.

    >>> ln.rand(2, length=3).shape
    (3, 2)
    """
    return _draw(UNIFORM, sizes_of(shape), length, dtype)


@told
def randn(*shape: int, length: int | None = None, dtype: str = "float32"):
    """Normal numbers of mean 0 and deviation 1: a Tensor, or a Sequence of `length` such rows.

    Shapes: (*shape,), or `length` rows of it.

    >>> ln.randn(2, length=3).shape
    (3, 2)
    """
    return _draw(NORMAL, sizes_of(shape), length, dtype)


@told
def randint(low: int, high: int, *shape: int, length: int | None = None):
    """Integers from low to high - 1: a Tensor of this shape, or a Sequence of such rows.

    Shapes: (*shape,), or `length` rows of it.

    >>> 0 <= ln.randint(0, 6).item() < 6
    True

    Raises:
        ValueError: if there is no integer between them, or more than 2^24.
    """
    if not 0 < high - low <= 1 << 24:
        raise ValueError(f"randint: expected 1 to 2^24 integers from low on, not {low} to {high}")
    return (rand(*shape, length=length, dtype="float64") * float(high - low)).astype("int64") + low


@told
def normal(mean, std=1.0):
    """mean + std * e with e ~ N(0, 1): the gradient reaches both (Kingma and Welling, 2014).

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.normal(ln.zeros(3), 0.1).shape
    (3,)

    Args:
        mean: a value.
        std: a number, or a value; the two broadcast, and each element is a draw of its own.
    """
    mean = floats_of(mean, "normal")
    return mean + _for_each(NORMAL, mean, std) * std


@told
def uniform(low, high):
    """low + (high - low) u with u ~ U[0, 1): the gradient reaches both.

    Shapes: what low and high broadcast to; n rows -> n rows.

    >>> ln.uniform(ln.zeros(3), 2.0).shape
    (3,)
    """
    low = floats_of(low, "uniform")
    width = high - low
    return low + width * _for_each(UNIFORM, low, width)


@told
def exponential(rate):
    """-log(u) / rate with u ~ U(0, 1): the gradient reaches the rate.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.exponential(ln.tensor([1.0, 10.0])).shape
    (2,)
    """
    rate = floats_of(rate, "exponential")
    return -_inside_unit(rate).log() / rate


@told
def bernoulli(p):
    """True with probability p, a value for each element. No gradient reaches p.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.bernoulli(ln.tensor([0.0, 1.0])).tolist()
    [False, True]
    """
    p = floats_of(p, "bernoulli")
    return like(UNIFORM, p) < p


@told
def gumbel(x):
    """Draws -log(-log(u)), u ~ U(0, 1), of the shape of x (Gumbel, 1935).

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.gumbel(ln.zeros(3)).shape
    (3,)
    """
    return -(-_inside_unit(floats_of(x, "gumbel")).log()).log()


@told
def categorical(logits):
    """The index i with probability softmax(logits)[i], of each row (the trick of Gumbel, 1954).

    Shapes: (..., classes) -> (...), int64; n rows -> n rows.

    >>> ln.categorical(ln.tensor([-1e9, 0.0])).item()
    1
    """
    logits = floats_of(logits, "categorical")
    return argmax(logits + gumbel(logits))


@told
@beside_operands
def gumbel_softmax(logits, tau: float = 1.0, hard: bool = False):
    """softmax((x + g) / tau) with g of `gumbel`: nearly one-hot draws that have a gradient.

    Jang, Gu and Poole (2017), Maddison, Mnih and Teh (2017). With `hard`, the value is one-hot and
    the gradient is that of the soft draw (straight through).

    Shapes: any -> the same; n rows -> n rows.

        >>> ln.gumbel_softmax(ln.tensor([0.0, 1.0, 2.0]), hard=True).sum().item()
        1.0

    Args:
        logits: rows of (classes,).
        tau: the temperature, above 0.

    Raises:
        ValueError: unless tau > 0.
    """
    logits = floats_of(logits, "gumbel_softmax")
    if tau <= 0:
        raise ValueError(f"gumbel_softmax: the temperature must be above 0, not {tau}")
    soft = softmax((logits + gumbel(logits)) * (1.0 / tau), -1)
    if not hard:
        return soft
    numbers = tensor(np.arange(logits.type.shape[-1]))
    chosen = (argmax(soft, -1, keepdim=True) == numbers).astype(logits.type.dtype)
    return chosen + (soft - soft.detach())


def _inside_unit(x):
    """Uniform numbers of the shape of x, neither 0 nor 1: multiples of 2^-24 and a bit."""
    return like(UNIFORM, x) + 2.0**-26
