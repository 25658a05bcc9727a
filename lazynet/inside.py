"""What is recorded inside a traced function: a graph that remembers it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.leaf import STATICS, Leaf
from lazynet.op import Signature
from lazynet.ops import reduce
from lazynet.ops.identity import CLONE
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import GATHER
from lazynet.ops.segments import ROW_MAX, ROW_SOFTMAX, ROW_SUM
from lazynet.ops.softmax import softmax
from lazynet.ops.views import cat_features, part
from lazynet.program import Ref, ref_of
from lazynet.record import record
from lazynet.recording import recording_gradients
from lazynet.tensor import Tensor
from lazynet.trace import TraceGraph

# What an op along the rows of a Sequence is along the first axis of those rows stacked.
_STACKED = {ROW_MAX: reduce.max, ROW_SOFTMAX: softmax}


class FunctionGraph(TraceGraph):
    """Remembers what a traced function recorded, row by row.

    A Sequence inside it has a fixed number of rows, so an op over it is as many nodes.
    """

    __slots__ = ("draws", "held", "may_draw", "name", "names")

    def __init__(self, name: str, may_draw: bool):
        super().__init__()
        self.name, self.may_draw = name, may_draw
        self.draws: list[Signature] = []  # random values, drawn anew for each call
        self.held: list[Leaf] = []  # constants, for whoever keeps the trace to hold
        self.names: dict[int, int] = {}  # rows of a Sequence -> the values that they are

    def link(self, source, first, step, count, row) -> tuple[int, int]:
        """A leaf that the function uses without being given it is a constant of the function."""
        if not isinstance(source, Leaf):
            raise TypeError(
                f"{self.name}: a traced function may use only its arguments, parameters and "
                "constants; this one uses a value that was computed outside: make it an argument"
            )
        if source.number < 0:
            STATICS.add(source, constant=True)
        self.held.append(source)
        vid = self.values
        self.values += count
        size, width = row.stride // source.array.itemsize, row.stride
        for k in range(count):
            ref = Ref(words.STATIC, source.number, source.type.dtype, size)
            self._enter(vid + k, replace(ref, offset=width * (first + step * k)))
        self.constants.update(range(vid, self.values))
        return vid, int(count > 1)

    def _enter(self, vid: int, ref: Ref) -> None:
        """Note where a value comes from that was not recorded here."""
        self.symbols[vid] = ref

    def draw(self, signature: Signature) -> Tensor:
        """A random value: an argument that whoever calls the function draws.

        Raises:
            TypeError: in a scan, whose steps would all be given the same.
        """
        if not self.may_draw:
            raise TypeError(
                f"{self.name}: random draws cannot be part of a scan, where every step would see "
                "the same; draw outside, and give the step rows of noise"
            )
        places = sum(ref.space == words.ARGUMENT for ref in self.symbols.values())
        self.draws.append(signature)
        (row,) = signature.outputs
        return self.symbol(row, ref_of(row, words.ARGUMENT, places))

    def addresses(self, first, step, count):
        del first, step, count
        self.forward()

    def forward(self) -> None:
        raise TypeError(
            f"{self.name}: a traced function cannot look at values, which would be those of one "
            "example only; ln.where chooses without looking"
        )

    def ask(self, what: str) -> None:
        raise TypeError(
            f"{self.name}: {what} cannot be asked for in a traced function: it may be another for "
            "another call; ask outside, and give the function the answer"
        )

    def append(self, signature, entry, rows) -> int:
        op, code = signature.op, np.frombuffer(entry, np.int32).tolist()
        if op.payload and op.kind != words.ALIAS:
            raise TypeError(
                f"{self.name}: {op.name} cannot be part of a traced function: what it takes from "
                "Python would be the same for every example; give the function its result"
            )
        if op.host:
            raise TypeError(
                f"{self.name}: {op.name} is written in numpy and cannot be part of a traced "
                "function; call it outside, and give the function its result"
            )
        if op.kind in (words.SCAN, words.RUNS):
            name = "a scan" if op.kind == words.SCAN else op.name
            raise TypeError(f"{self.name}: {name} cannot be part of a traced function")
        vid = self.values
        self.values += rows
        if code[0] >= 0:
            self._note(signature, vid, code)
        elif op.kind == words.SEGMENT:
            self._along_rows(signature, vid, code)
        else:
            self._each_row(signature, vid, code)
        return vid

    def _note(self, signature: Signature, vid: int, entry: list[int]) -> None:
        stop = 1 + len(signature.operands)
        sources = [self.names.get(i, i) for i in entry[1:stop]]
        self.nodes.append((signature, vid, [entry[0], *sources, *entry[stop:]]))
        if not recording_gradients.get():
            self.cut.add(vid)

    def _each_row(self, signature: Signature, vid: int, entry: list[int]) -> None:
        count, arity, payload = entry[1], len(signature.operands), signature.op.payload
        pairs, carried = entry[2 : 2 + 2 * arity], entry[2 + 2 * arity :]
        for j in range(count):
            sources = [
                first + step * j for first, step in zip(pairs[::2], pairs[1::2], strict=True)
            ]
            own = carried[j * payload : (j + 1) * payload]
            self._note(signature, vid + j, [signature.index, *sources, *own])

    def _along_rows(self, signature: Signature, vid: int, entry: list[int]) -> None:
        op, row = signature.op, signature.operands[0]
        count, segments, listed = entry[1:4]
        ids = entry[4 : 4 + count] if listed else [entry[4] + entry[5] * j for j in range(count)]
        rows = [Tensor(self, self.names.get(i, i), row) for i in ids]
        if segments > 1 or not rows:
            raise TypeError(f"{self.name}: {op.name} over segments cannot be traced")
        if op is GATHER:
            made = rows
        elif op is ROW_SUM:
            total = rows[0]
            for x in rows[1:]:
                total = total + x
            made = [total]
        elif op in _STACKED:
            stacked = reshape(
                cat_features([reshape(x, (row.size,)) for x in rows]), (count, *row.shape)
            )
            y = _STACKED[op](stacked, 0)
            made = [part(y, row.shape, j * row.size) for j in range(count)] if op.per_item else [y]
        else:
            raise TypeError(
                f"{self.name}: {op.name} over a list cannot be traced; "
                "stack the features (ln.cat and reshape) and work along an axis"
            )
        for j, x in enumerate(made):
            self._name(vid + j, x)

    def _name(self, vid: int, x: Tensor) -> None:
        """Let a row be what a value is."""
        whole = x if x.type.offset == 0 else record(CLONE, (x,))
        self.names[vid] = self.names.get(whole.id, whole.id)

    def output(self, y: Any) -> Tensor:
        """A result of the function, by its number in the trace."""
        return Tensor(self, self.names.get(y.id, y.id), y.type)

    def pure(self) -> set[int]:
        """The values that depend on parameters and constants alone."""
        return self.constants
