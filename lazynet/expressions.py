"""Expressions: ops of code that is written op by op, run as one where nobody can tell.

Recording gives a node for each op, because every value may be asked for. One whose handle is gone
cannot be: where one elementwise op alone reads it, both may run as one. `batching/expressions.py`
finds such ops on the tape of a forward. Here those that came together often become a traced
function, as a cell is: one signature, one loop forward and one backward.

A graph knows which values were dropped by the numbers of their rows. These are Python ints, each
handle of a row has the very same one, and of rows that the short way of an op records the graph
keeps it (`Graph.noted`): a noted one that nobody else holds belongs to no handle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.batching.expressions import (
    ARITY,
    INNER,
    MOST_ARGUMENTS,
    OPS,
    OUTER,
    SEEN,
    SIGNATURE,
    STANDING,
    WHERE,
    no_patterns,
    shorten,
)
from lazynet.graph import LINK
from lazynet.kernels.jit import MAKING
from lazynet.op import TABLE, RowType, Signature, row_type
from lazynet.program import ref_of
from lazynet.quick import unheld
from lazynet.traced import Traced, replayed

OFTEN = 4000  # nodes of a pattern, before it is compiled
MOST = 64  # expressions that are compiled

Call = tuple[Signature, list[int]]  # an op in an expression, and the numbers of what it reads


class Expressions:
    """The patterns that were met in this process, and what was made of those that came often."""

    def __init__(self) -> None:
        self.patterns = no_patterns()
        self.single = np.zeros(0, np.int32)  # for each signature, its pattern by itself
        self.made: dict[str, Traced] = {}  # expressions, by what they do

    def _patterns_of_signatures(self) -> np.ndarray:
        """The pattern of each signature by itself, as `shorten` is told."""
        if len(self.single) < len(TABLE.signatures):
            fresh = TABLE.signatures[len(self.single) :]
            found = [self._enter(signature) if _fits(signature) else 0 for signature in fresh]
            self.single = np.concatenate([self.single, np.array(found, np.int32)])
        return self.single

    def _enter(self, signature: Signature) -> int:
        """Enter the pattern of a signature by itself."""
        number = int(self.patterns.count[0])
        if number == len(self.patterns.table):
            return 0
        row = self.patterns.table[number]
        row[OUTER], row[SIGNATURE] = signature.index, -1
        row[ARITY], row[OPS] = len(signature.operands), 1
        self.patterns.count[0] = number + 1
        return number

    def _compile_often_met(self) -> None:
        """Give a signature to each pattern that came often."""
        table = self.patterns.table
        for number in np.flatnonzero(table[: self.patterns.count[0], SEEN] >= OFTEN).tolist():
            table[number, SEEN] = 0
            self._make_expression(number)

    def _make_expression(self, number: int) -> None:
        """Give a signature to a pattern, unless there are too many expressions."""
        ops, row = self.ops(number), self.patterns.table[number]
        key = str([(signature.index, sources) for signature, sources in ops])
        if key not in self.made and len(self.made) < MOST:
            self.made[key] = expression(ops, int(row[ARITY]))
        if key in self.made:
            row[SIGNATURE] = self.made[key].signature().index

    def dropped(self, noted: list[int]) -> np.ndarray | None:
        """The rows, of those that a graph has noted, whose number nobody else holds.

        Nothing that is recorded from here on can use them.
        """
        found = np.empty(len(noted), np.int64)
        count = unheld.record(noted, found.ctypes.data)
        return found[:count] if count else None

    def shorter(self, tape: np.ndarray, base: int, stop: int, dropped: np.ndarray) -> np.ndarray:
        """The tape of these rows with what runs as one in place of its ops."""
        with MAKING:  # threads share what they have met
            single = self._patterns_of_signatures()
            found = shorten(
                tape, TABLE.numbers, base, stop - base, dropped, single, self.patterns,
                -LINK.index - 1,
            )  # fmt: skip
            self._compile_often_met()
            if self.patterns.count[0] == len(self.patterns.table):  # what comes often comes again
                self.patterns, self.single = no_patterns(), np.zeros(0, np.int32)
        if len(found) == 0:
            return tape
        found.flags.writeable = False  # as that of a tape: what is compiled is compiled for both
        return found

    def ops(self, number: int) -> list[Call]:
        """The ops of a pattern in order: arguments are numbered first, then what the ops give."""
        row = self.patterns.table[number].tolist()
        if row[OPS] == 1:
            return [(TABLE.signatures[row[OUTER]], list(range(row[ARITY])))]
        inner, outer = self.ops(row[INNER]), self.ops(row[OUTER])
        inside = int(self.patterns.table[row[INNER], ARITY])
        around = int(self.patterns.table[row[OUTER], ARITY])
        last = row[ARITY] + len(inner) - 1  # what the inner one gives

        def of_inner(k: int) -> int:
            return row[STANDING] >> 4 * k & 15 if k < inside else row[ARITY] + k - inside

        def of_outer(k: int) -> int:
            if k >= around:
                return last + 1 + k - around
            if k == row[WHERE]:
                return last
            moved = row[ARITY] < around and k == around - 1  # the inner one brings no argument
            return row[WHERE] if moved else k

        return [
            *((signature, list(map(of_inner, sources))) for signature, sources in inner),
            *((signature, list(map(of_outer, sources))) for signature, sources in outer),
        ]


def _fits(signature: Signature) -> bool:
    """Whether an op can be part of an expression: one loop over the elements of its operands.

    An expression wants gradients as soon as one of its arguments does: there is no op among its ops
    that has no derivative, as `detach` has none.
    """
    op = signature.op
    simple = op.listed and op.kind == words.ROWS and op.vjp is not None and op.backward is None
    if not simple or op.lower is None or op.payload or op.host or signature.statics:
        return False
    if len(signature.outputs) != 1 or not 0 < len(signature.operands) <= MOST_ARGUMENTS:
        return False
    steps = op.lower(signature).steps
    return len(steps) == 1 and steps[0].elementwise


def expression(ops: list[Call], arity: int) -> Traced:
    """Ops that read each other's values as one function of `arity` arguments, traced."""
    read: list[list[RowType]] = [[] for _ in range(arity)]
    for signature, sources in ops:
        for source, row in zip(sources, signature.operands, strict=True):
            if source < arity and row not in read[source]:
                read[source].append(row)
    rows = [_row_of(types) for types in read]

    def function(*symbols: Any) -> list[Any]:
        known = {k: (x, row.offset) for k, (x, row) in enumerate(zip(symbols, rows, strict=True))}
        for signature, sources in ops:
            known[len(known)] = replayed(signature, [signature.index, *sources], known), 0
        return [known[len(known) - 1][0]]

    places = [(row, ref_of(row, words.ARGUMENT, k)) for k, row in enumerate(rows)]
    name = f"fused({', '.join(signature.op.name for signature, _ in ops)})"
    return Traced(name, places, function)


def _row_of(types: list[RowType]) -> RowType:
    """The type of an argument that is read under these: the whole row, where there are several."""
    if len(types) == 1:
        return types[0]
    row = types[0]
    return row_type(row.dtype, (row.stride // np.dtype(row.dtype).itemsize,))


EXPRESSIONS = Expressions()
