"""Cells over lists: what is done to every item of a list is recorded once, whatever its length.

A list of n Tensors, or of tuples of Tensors, is to a cell as n rows are to an op over segments. Its
function runs on n symbols, as for any kind of call, and everything that it records is a value of
the whole call or of one item. Where the same op is recorded for the same value of two items, that
is one op with a row an item: the two results are two rows of it. Rows come together again where
all of them, in their order, are listed, added up (one after the other, too), or gone over by
another op over segments. A function that does anything else (gives an item, multiplies two) has no
such program, and is traced for each length on its own. What is left does not name the length: two
lengths that give the same program are one signature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lazynet.calls import flatten
from lazynet.inside import FunctionGraph
from lazynet.op import RowType, Signature
from lazynet.ops.elementwise import ADD
from lazynet.ops.identity import CLONE
from lazynet.ops.rows import GATHER
from lazynet.ops.segments import ROW_SUM
from lazynet.program import Ref, literal_ref
from lazynet.record import record
from lazynet.recording import recording_gradients
from lazynet.tensor import Sequence, Tensor

WHOLE = -1  # in the place of an item's number: a value of the whole call


class ItemsDiffer(BaseException):
    """What is recorded for one item is no row of something recorded for all.

    No `Exception`, because it passes through the function being traced, which may catch those.
    """


@dataclass(frozen=True)
class Sum:
    """The rows of a value added up from the first on, as far as an item, perhaps to a start."""

    rows: int
    row: RowType
    start: int | None
    start_row: RowType | None
    cut: bool


@dataclass(frozen=True)
class Listed:
    """A call with a list in it, its values numbered in their order."""

    length: int
    items: tuple[tuple[int, ...], ...]  # for each value of an item, its numbers in all items
    singles: tuple[int, ...]  # the other values
    paths: tuple[tuple[Any, ...], ...]  # where in the arguments the lists are

    def changed(self, arguments: Any, change: Callable[[list[Any]], Any]) -> Any:
        """The arguments with the lists in them changed."""

        def walk(x: Any, path: tuple[Any, ...]) -> Any:
            if path in self.paths:
                return change(x)
            if x.__class__ in (tuple, list):
                return x.__class__(walk(part, (*path, k)) for k, part in enumerate(x))
            if x.__class__ is dict:
                return {name: walk(part, (*path, name)) for name, part in x.items()}
            return x

        return walk(arguments, ())

    def in_order(self, values: list[Any]) -> tuple[list[list[Any]], list[Any]]:
        """The values of items, one list for each of an item's, and the other values."""
        own = [[values[k] for k in numbers] for numbers in self.items]
        return own, [values[k] for k in self.singles]


def listed(arguments: tuple[Any, ...], values: list[Any]) -> list[Listed]:
    """The lists in a call whose items are all alike, as ways to see the call.

    Lists of one length are seen together first (`zip` goes over them), and then each alone.
    """
    if any(x.__class__ is Sequence for x in values):
        return []
    found: list[Any] = []
    _find(arguments, (), 0, found)
    ways = [[one] for one in found]
    if len(found) > 1 and len({len(x) for _, _, x in found}) == 1:
        ways.insert(0, found)
    return [_seen(way, len(values)) for way in ways]


def _seen(lists: list[Any], count: int) -> Listed:
    """A call with `count` values as one over these lists, each with its path and first value."""
    items = []
    for _, first, x in lists:
        width = len(_values_in(x[0]))
        stop = first + width * len(x)
        items += [tuple(range(first + k, stop, width)) for k in range(width)]
    own = {k for numbers in items for k in numbers}
    singles = tuple(k for k in range(count) if k not in own)
    return Listed(len(lists[0][2]), tuple(items), singles, tuple(path for path, _, _ in lists))


def _values_in(x: Any) -> list[Any]:
    """The values in an argument."""
    values: list[Any] = []
    flatten(x, [], values)
    return values


def _find(x: Any, path: tuple[Any, ...], at: int, found: list[Any]) -> int:
    """Look for lists in an argument whose values are numbered from `at` on; the next number."""
    if x.__class__ not in (tuple, list, dict):
        return at + len(_values_in(x))
    if x.__class__ is list and x and _values_in(x[0]):
        keys: list[list[Any]] = [[] for _ in x]
        for item, key in zip(x, keys, strict=True):
            flatten(item, key, [])
        if all(key == keys[0] for key in keys):
            found.append((path, at, x))
            return at + len(_values_in(x))
    parts = x.items() if x.__class__ is dict else enumerate(x)
    for name, part in parts:
        at = _find(part, (*path, name), at, found)
    return at


class ListGraph(FunctionGraph):
    """Remembers what was recorded for a list of some length, without naming the length.

    Handles have ids as in any graph; the trace numbers values in the order in which they are first
    made, and what is recorded twice is one value.
    """

    __slots__ = ("_begun", "_known", "_made", "_places", "adding", "length")

    def __init__(self, name: str, may_draw: bool, length: int, adding: bool):
        super().__init__(name, may_draw)
        self.length = length
        self.adding = adding  # of one item: whether adding it to something adds up all items
        self._made = 0
        self._places: dict[int, tuple[Any, int]] = {}  # handle -> value or Sum, item (or WHOLE)
        self._begun: dict[int, Sum] = {}  # values whose first row may begin a sum of rows
        self._known: dict[Any, int] = {}  # what was recorded -> value

    def _new(self, count: int = 1) -> int:
        value = self._made
        self._made += count
        return value

    def _handle(self, value: int, item: int) -> int:
        vid = self.values
        self.values += 1
        self._places[vid] = value, item
        return vid

    def symbol(self, row: RowType, ref: Ref, ragged: bool = False):
        value = self._new()
        self.symbols[value] = replace(ref, offset=ref.offset - row.offset)
        return Tensor(self, self._handle(value, WHOLE), row)

    def items(self, row: RowType, ref: Ref) -> list[Tensor]:
        """A symbol for one value of each item."""
        value = self._new()
        self.symbols[value] = replace(ref, offset=ref.offset - row.offset)
        self.ragged.add(value)
        return [Tensor(self, self._handle(value, j), row) for j in range(self.length)]

    def literal(self, value: Any, dtype: str) -> int:
        ref = literal_ref(value, dtype)
        key = dtype, repr(ref.literal)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._new()
            self.symbols[known] = ref
        return self._handle(known, WHOLE)

    def _enter(self, vid: int, ref: Ref) -> None:
        known = self._known.get(ref)
        if known is None:
            known = self._known[ref] = self._new()
            self.symbols[known] = ref
        self._places[vid] = known, WHOLE

    def counted(self, x: Any) -> bool:
        """Whether rows are one for each item, in their order: their number is the list's length."""
        if x.__class__ is Sequence:
            x = [x[j] for j in range(x.length)]
        places = [self._places[row.id] for row in x if row.__class__ is Tensor]
        whole = len(places) == len(x) and places == [(places[0][0], j) for j in range(self.length)]
        return whole and x[0].type.is_float

    def pure(self) -> set[int]:
        return {self._places[vid][0] for vid in self.constants if vid in self._places}

    def output(self, y: Any) -> Tensor:
        value, item = self._places[y.id]
        if item != WHOLE or y.__class__ is Sequence:
            raise ItemsDiffer
        return Tensor(self, value, y.type)

    def _note(self, signature: Signature, vid: int, entry: list[int]) -> None:
        stop, count = 1 + len(signature.operands), len(signature.outputs)
        places = [self._places[i] for i in entry[1:stop]]
        items = {item for _, item in places} - {WHOLE}
        if len(items) > 1:
            self._places[vid] = self._added(signature, places)
            return
        if any(isinstance(value, Sum) for value, _ in places) or (items and count > 1):
            raise ItemsDiffer
        value = self._row_wise(signature, places, entry[stop:])
        item = items.pop() if items else WHOLE
        for k in range(count):
            self._places[vid + k] = value + k, item
        begun = self._begun.get(value)
        if begun is not None and self.adding:
            self._places[vid] = self._total(begun), WHOLE

    def _row_wise(self, signature: Signature, places: list[Any], payload: list[int]) -> int:
        """A row-wise op on values of these places: for each item, if some are of items."""
        ragged, cut = any(item != WHOLE for _, item in places), not recording_gradients.get()
        sources = [(value, int(item != WHOLE)) for value, item in places]
        key = signature, tuple(sources), tuple(payload), cut
        value = self._known.get(key)
        if value is None:
            value = self._known[key] = self._new(len(signature.outputs))
            code = [signature.index, *(source for source, _ in sources), *payload]
            if ragged:
                code = [-signature.index - 1, 0, *sum(sources, ()), *payload]
            self._add(signature, value, code, ragged, cut)
            if signature.op is ADD and len({item for _, item in places}) == 2:
                own = next(k for k, (_, item) in enumerate(places) if item != WHOLE)
                row, other = signature.operands[own], signature.operands[1 - own]
                if row.shape == signature.outputs[0].shape:
                    found = Sum(places[own][0], row, places[1 - own][0], other, cut)
                    self._begun[value] = found
        return value

    def _added(self, signature: Signature, places: list[Any]) -> tuple[Any, int]:
        """Rows of two items, one after the other, where they are added up."""
        pairs = sorted(zip(places, signature.operands, strict=True), key=lambda pair: pair[0][1])
        if signature.op is not ADD or len(pairs) != 2:
            raise ItemsDiffer
        ((before, i), earlier), ((value, j), row) = pairs
        cut, total = not recording_gradients.get(), before
        if before == value and i == 0 and earlier is row:
            total = Sum(value, row, None, None, cut)
        elif i == 0:
            total = self._begun.get(before)
        same = isinstance(total, Sum) and (total.rows, total.row, total.cut) == (value, row, cut)
        if not same or j != i + 1 or earlier.shape != row.shape or i == WHOLE:
            raise ItemsDiffer
        if j + 1 < self.length:
            return total, j
        return self._total(total), WHOLE

    def _total(self, total: Sum) -> int:
        """The value of a sum of all rows."""
        rows = ROW_SUM.signature((total.row,))
        value = self._over_rows(rows, total.rows, total.cut)
        if total.start is None:
            return value
        added = ADD.signature((total.start_row, rows.outputs[0]))
        return self._row_wise(added, [(total.start, WHOLE), (value, WHOLE)], [])

    def _over_rows(self, signature: Signature, source: int, cut: bool) -> int:
        """An op over the rows of all items."""
        key = signature, source, cut
        made = self._known.get(key)
        if made is None:
            made = self._known[key] = self._new()
            code = [-signature.index - 1, 0, 1, 0, source, 1]
            self._add(signature, made, code, signature.op.per_item, cut)
        return made

    def _add(self, signature: Signature, value: int, code: list[int], ragged: bool, cut: bool):
        self.nodes.append((signature, value, code))
        if ragged:
            self.ragged.add(value)
        if cut:
            self.cut.add(value)

    def _each_row(self, signature: Signature, vid: int, entry: list[int]) -> None:
        if len(signature.outputs) > 1:
            raise ItemsDiffer
        super()._each_row(signature, vid, entry)

    def _along_rows(self, signature: Signature, vid: int, entry: list[int]) -> None:
        op = signature.op
        count, segments, in_list = entry[1:4]
        ids = entry[4 : 4 + count] if in_list else [entry[4] + entry[5] * j for j in range(count)]
        places = [self._places[i] for i in ids]
        if all(item == WHOLE for _, item in places):
            super()._along_rows(signature, vid, entry)
            return
        if op is GATHER:
            for j, i in enumerate(ids):
                self._name(vid + j, Tensor(self, i, signature.operands[0]))
            return
        own = [place for place in places if place[1] != WHOLE]
        value = own[0][0]
        alike = own == [(value, j) for j in range(self.length)]
        if segments != 1 or not alike or isinstance(value, Sum):
            raise ItemsDiffer
        cut = not recording_gradients.get()
        made = self._over_rows(signature, value, cut)
        if len(places) > len(own):
            made = self._with_others(signature, made, [p for p in places if p[1] == WHOLE])
        for j in range(count if op.per_item else 1):
            self._places[vid + j] = made, j if op.per_item else WHOLE

    def _with_others(self, signature: Signature, made: int, others: list[Any]) -> int:
        """A sum over the rows of all items, and rows of the whole call besides."""
        if signature.op is not ROW_SUM:
            raise ItemsDiffer
        row, total = signature.operands[0], signature.outputs[0]
        for place in others:
            added = ADD.signature((row, total))
            made = self._row_wise(added, [place, (made, WHOLE)], [])
        return made

    def _name(self, vid: int, x: Tensor) -> None:
        whole = x if x.type.offset == 0 else record(CLONE, (x,))
        self._places[vid] = self._places[whole.id]
