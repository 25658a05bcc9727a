"""Cells over lists: what is done to every item of a list is recorded once, whatever its length.

A list of n Tensors, or of tuples of Tensors, is to a cell as n rows are to an op over segments. Its
function runs on n symbols, as for any kind of call, and everything that it records is a value of
the whole call or of one item. Where the same op is recorded for the same value of two items, that
is one op with a row an item: the two results are two rows of it. Rows come together again where
all of them, in their order, are listed, added up, or gone over by another op over segments. A
function that does anything else (gives an item, combines two items) has no such program, and
is traced for each length on its own. What is left does not name the length: two lengths that
give the same program are one signature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lazynet.batching import layout as words
from lazynet.calls import flatten
from lazynet.graph import recording_gradients
from lazynet.inside import FunctionGraph
from lazynet.op import RowType, Signature
from lazynet.ops.rows import GATHER
from lazynet.program import Ref
from lazynet.tensor import Sequence, Tensor

WHOLE = -1  # in the place of an item's number: a value of the whole call


class ItemsDiffer(BaseException):
    """What is recorded for one item is no row of something recorded for all.

    No `Exception`, because it passes through the function being traced, which may catch those.
    """


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
        width = len(leaves(x[0]))
        stop = first + width * len(x)
        items += [tuple(range(first + k, stop, width)) for k in range(width)]
    own = {k for numbers in items for k in numbers}
    singles = tuple(k for k in range(count) if k not in own)
    return Listed(len(lists[0][2]), tuple(items), singles, tuple(path for path, _, _ in lists))


def leaves(x: Any) -> list[Any]:
    """The values in an argument."""
    values: list[Any] = []
    flatten(x, [], values)
    return values


def _find(x: Any, path: tuple[Any, ...], at: int, found: list[Any]) -> int:
    """Look for lists in an argument whose values are numbered from `at` on; the next number."""
    if x.__class__ not in (tuple, list, dict):
        return at + len(leaves(x))
    if x.__class__ is list and x and leaves(x[0]):
        keys: list[list[Any]] = [[] for _ in x]
        for item, key in zip(x, keys, strict=True):
            flatten(item, key, [])
        if all(key == keys[0] for key in keys):
            found.append((path, at, x))
            return at + len(leaves(x))
    parts = x.items() if x.__class__ is dict else enumerate(x)
    for name, part in parts:
        at = _find(part, (*path, name), at, found)
    return at


class ListGraph(FunctionGraph):
    """Remembers what was recorded for a list of some length, without naming the length.

    Handles have ids as in any graph; the trace numbers values in the order in which they are first
    made, and what is recorded twice is one value.
    """

    __slots__ = ("_known", "_made", "_places", "length")

    def __init__(self, name: str, may_draw: bool, length: int):
        super().__init__(name, may_draw)
        self.length = length
        self._made = 0
        self._places: dict[int, tuple[int, int]] = {}  # handle -> value, item (or WHOLE)
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
        key = dtype, repr(float(value))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._new()
            self.symbols[known] = Ref(words.LITERAL, 0, dtype, 1, literal=float(value))
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
        if len(items) > 1 or (items and count > 1):
            raise ItemsDiffer
        payload, cut = entry[stop:], not recording_gradients.get()
        sources = [(value, int(item != WHOLE)) for value, item in places]
        key = signature, tuple(sources), tuple(payload), cut
        value = self._known.get(key)
        if value is None:
            value = self._known[key] = self._new(count)
            code = [entry[0], *(source for source, _ in sources), *payload]
            if items:
                code = [-signature.index - 1, 0, *sum(sources, ()), *payload]
            self._add(signature, value, code, bool(items), cut)
        item = items.pop() if items else WHOLE
        for k in range(count):
            self._places[vid + k] = value + k, item

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
        value = places[0][0]
        if segments != 1 or places != [(value, j) for j in range(self.length)]:
            raise ItemsDiffer
        if op is GATHER:
            for j, i in enumerate(ids):
                self._name(vid + j, Tensor(self, i, signature.operands[0]))
            return
        cut = not recording_gradients.get()
        key = signature, value, cut
        made = self._known.get(key)
        if made is None:
            made = self._known[key] = self._new()
            self._add(signature, made, [-signature.index - 1, 0, 1, 0, value, 1], op.per_item, cut)
        for j in range(count if op.per_item else 1):
            self._places[vid + j] = made, j if op.per_item else WHOLE

    def _name(self, vid: int, x: Tensor) -> None:
        whole = x if x.type.offset == 0 else x + 0.0
        self._places[vid] = self._places[whole.id]
