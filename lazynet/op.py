"""What an op is: its record, its registry, and the signatures under which its nodes batch.

An op is defined in one block, with `Op(...)` or one of the helpers in `ops/`. Everything else
(recording, shape checks, batching, derivatives, tests, documentation) is derived from that record.

A signature is what must agree for two nodes to run as one batch: op, attributes, operand types,
and the identity of parameters. Signatures are interned, compared in full, and looked up with one
dictionary hit, which also gives the output types.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.kernels.jit import MAKING
from lazynet.program import POOL, Program


class RowType:
    """What one row is: a dtype and a shape, and where in its stored row it begins.

    Interned: equal types are one object. `offset` (bytes) is not 0 for a feature view, such as one
    of the parts that `chunk` gives: a view is a type, not a node.
    """

    __slots__ = ("_stored", "dtype", "offset", "shape", "size", "stride", "views", "width")

    dtype: str
    shape: tuple[int, ...]
    offset: int

    def __init__(self, dtype: str, shape: tuple[int, ...], offset: int, stride: int):
        self.dtype, self.shape, self.offset = dtype, shape, offset
        self.size = int(np.prod(shape, dtype=np.int64))
        self.width = self.size * np.dtype(dtype).itemsize
        self.stride = stride or self.width
        self.views: dict[Any, Any] = {}
        self._stored: RowType | None = None

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    def __call__(self, *given):
        raise TypeError("type: no method here; x.astype(dtype) changes the dtype, x.dtype tells it")

    def __reduce__(self):
        return row_type, (self.dtype, self.shape, self.offset, self.stride)

    def view(self, shape: tuple[int, ...], first: int = 0) -> RowType:
        """The type of `shape` that begins `first` elements into this one."""
        offset = self.offset + first * np.dtype(self.dtype).itemsize
        return row_type(self.dtype, shape, offset, self.stride)

    @property
    def stored(self) -> RowType:
        """The same row, stored by itself."""
        if self._stored is None:
            self._stored = row_type(self.dtype, self.shape)
        return self._stored

    @property
    def is_float(self) -> bool:
        return self.dtype in ("float32", "float64")


@functools.cache
def row_type(dtype: str, shape: tuple[int, ...] = (), offset: int = 0, stride: int = 0) -> RowType:
    """The one RowType of these; `stride` (bytes) is the stored row's width, by default its own."""
    if stride and stride == math.prod(shape) * np.dtype(dtype).itemsize:
        stride = 0
    return _interned(dtype, shape, offset, stride)


DTYPES = ("float32", "float64", "int64", "bool")
DTYPE_NAMES = {np.dtype(name): name for name in DTYPES}  # `dtype.name` is put together anew


@functools.cache
def _interned(dtype: str, shape: tuple[int, ...], offset: int, stride: int) -> RowType:
    if dtype not in DTYPES:
        raise TypeError(f"dtype: there is no {dtype!r}; elements are {', '.join(DTYPES)}")
    if any(not isinstance(size, (int, np.integer)) for size in shape):
        raise TypeError(f"shape: sizes must be integers, not {shape}")
    if any(size < 0 for size in shape):
        raise ValueError(f"shape: sizes must not be negative, not {shape}")
    return RowType(dtype, tuple(map(int, shape)), offset, stride)  # True is no size to keep


@dataclass(frozen=True)
class Sample:
    """Operands on which an op is checked: row shapes, and what must hold for their values.

    Args:
        payload: the words that each row carries.
        dtypes: of the operands; float by default.
        parameters: positions of operands that must be Parameters.
    """

    operands: tuple[tuple[int, ...], ...]
    attributes: tuple = ()
    low: float = -2.0
    high: float = 2.0
    payload: tuple[int, ...] = ()
    dtypes: tuple[str, ...] = ()
    parameters: tuple[int, ...] = ()


@dataclass(eq=False)
class Op:
    """One operation. See `ops/elementwise.py` for how a block reads.

    Args:
        name: what errors, profiles and documentation call it.
        formula: the op in one line, as documentation shows it.
        kind: how its nodes hold rows: ROWS, SEGMENT, RUNS, SCAN, ALIAS or LINK
            (`batching/layout.py`).
        shape: `shape(*operand_types, **attributes)` gives the output types or raises ShapeError.
        lower: `lower(signature)` gives the op as a Program of kernels.
        vjp: `vjp(g, y, *operands, **attributes)` gives a cotangent (or None) for each operand as
            a formula in lazy ops; None where the op has no derivative.
        payload: 32-bit words that each row (RUNS: each node) carries besides its operands.
        per_item: for SEGMENT ops, whether they give a row an item instead of a row a segment.
        singles: for SEGMENT ops, how many of their last operands have a row a segment.
        samples: what the tests run it on.
        backward: `backward(signature)` gives the program of its derivative, where that is derived
            in another way, or (for ops over runs) written by hand, instead of traced from `vjp`.
        listed: whether the registry lists it; users' own functions are not.
        host: whether its kernels are Python functions.
        looks_up: whether it reads of its parameter just the row that its payload names.
    """

    name: str
    formula: str
    shape: Callable[..., tuple[RowType, ...]]
    lower: Callable[[Signature], Program] | None = None
    vjp: Callable[..., tuple] | None = None
    kind: int = words.ROWS
    payload: int = 0
    per_item: bool = False
    singles: int = 0
    samples: tuple[Sample, ...] = ()
    backward: Callable[[Signature], Program] | None = None
    listed: bool = True
    host: bool = False
    looks_up: bool = False
    signatures: dict = field(default_factory=dict, repr=False)

    def __post_init__(self):
        if self.listed and self.name:
            REGISTRY[self.name] = self

    def signature(self, types: tuple, attributes: tuple = ()) -> Signature:
        """The signature for operands of these types; the leaf of a parameter stands for it."""
        home, named = self.signatures, types
        for operand in types:
            if operand.__class__ is not RowType:
                home = operand.signatures  # dies with the parameter, and holds none
                named = tuple(o if o.__class__ is RowType else o.number for o in types)
                break
        key = (self, named, attributes)
        found = home.get(key)
        return self._enter(home, key, types, attributes) if found is None else found

    def _enter(self, home: dict, key: tuple, types: tuple, attributes: tuple) -> Signature:
        with MAKING:
            found = home.get(key)
            if found is None:
                found = home[key] = Signature(self, types, attributes)
                for operand in types:
                    if operand.__class__ is not RowType:
                        operand.signatures[key] = found  # each tells it when it is frozen or thawed
            return found


REGISTRY: dict[str, Op] = {}


class Signature:
    """An interned record of all that two nodes of one batch have in common."""

    __slots__ = (
        "attributes",
        "backward",
        "forward",
        "index",
        "op",
        "operands",
        "outputs",
        "statics",
        "type",
    )

    def __init__(self, op: Op, operands: tuple, attributes: tuple):
        self.op, self.attributes = op, attributes
        types = tuple(o if isinstance(o, RowType) else o.type for o in operands)
        self.outputs = op.shape(*types, **dict(attributes))
        self.operands = tuple(o for o in operands if isinstance(o, RowType))
        # Statics are kept by number and type, never by reference: the parameter owns us.
        self.statics = tuple(
            (position, o.number, o.type)
            for position, o in enumerate(operands)
            if not isinstance(o, RowType)
        )
        self.type = self.outputs[0] if self.outputs else None
        self.forward: Program | None = None
        self.backward: Program | None = None
        self.index = TABLE.add(
            self, any(o.requires_grad for o in operands if not isinstance(o, RowType))
        )

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.operands))
        extra = "".join(f", {name}={value}" for name, value in self.attributes)
        return f"{self.op.name}({inner}{extra})"

    @property
    def led(self) -> list[int]:
        """The numbers of the parameters to which its backward program leads."""
        reached = None if self.backward is None else self.backward.led
        return [number for _, number, _ in self.statics if reached is None or number in reached]

    @property
    def types(self) -> list[RowType]:
        """The types of all operands in order, parameters among them."""
        return [row for _, _, row in self.places()]

    def places(self) -> list[tuple[bool, int, RowType]]:
        """For each operand in order whether it is a parameter, which one it is, and its type.

        Parameters go by their number in `STATICS`, the others are counted.
        """
        found = [(False, k, row) for k, row in enumerate(self.operands)]
        for position, number, row in self.statics:
            found.insert(position, (True, number, row))
        return found

    def prepare_forward(self) -> None:
        """Lower, compile and encode the forward program, unless that was done before."""
        assert self.op.lower is not None, f"{self.op.name} computes nothing"
        with MAKING:
            if TABLE.numbers[self.index, words.FORWARD] == words.UNPREPARED:
                self.forward = self.op.lower(self)
                TABLE.numbers[self.index, words.FORWARD] = POOL.add(self.forward)

    def prepare_backward(self, make: Callable[[Signature], Program | None]) -> None:
        """Make and encode the backward program, unless that was done before.

        Args:
            make: gives the program, or None for an op without derivative.
        """
        with MAKING:
            if TABLE.numbers[self.index, words.BACKWARD] == words.UNPREPARED:
                program = self.backward = make(self)
                offset = words.NO_DERIVATIVE if program is None else POOL.add(program)
                TABLE.numbers[self.index, words.BACKWARD] = offset


class SignatureTable:
    """All signatures by number, and the columns of integers that the batching stages read."""

    def __init__(self):
        self.signatures: list[Signature] = []
        self.numbers = np.zeros((64, words.COLUMNS), np.int64)

    def add(self, signature: Signature, needs: bool) -> int:
        """Enter a signature; `needs` says whether a parameter of it wants a gradient."""
        index = len(self.signatures)
        if index == len(self.numbers):
            self.numbers = np.concatenate([self.numbers, np.zeros_like(self.numbers)])
        op, row = signature.op, self.numbers[index]
        row[words.KIND] = op.kind
        row[words.ARGUMENTS] = len(signature.operands)
        row[words.SINGLES] = op.singles
        row[words.PAYLOAD] = op.payload
        row[words.OUTPUTS] = len(signature.outputs)
        row[words.PER_ITEM] = op.per_item
        row[words.FORWARD] = words.UNPREPARED
        row[words.BACKWARD] = words.UNPREPARED if op.vjp else words.NO_DERIVATIVE
        row[words.NEEDS] = needs
        self.signatures.append(signature)
        return index


TABLE = SignatureTable()
