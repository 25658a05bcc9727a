"""The short way of recording, compiled: what `record.py` does at length, for kinds that it has met.

Recording is most of a small training step, and most of recording is finding out what one was given.
The functions here look that up in what Python has noted down (`known`: dictionaries in each other,
row type by row type, with the signature at the end), put the entry on the tape and make the handle.
For anything else they give None, and the long way is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.graph import Graph, at_first_forward
from lazynet.kernels import python
from lazynet.kernels.jit import MAKING, inline
from lazynet.kernels.memory import load, store
from lazynet.kernels.python import (
    as_integer,
    built_in,
    dictionary_item,
    drop,
    extended,
    forget_error,
    list_item,
    list_size,
    new_integer,
    new_list,
    new_object,
    new_tuple,
    set_list_item,
    set_tuple_item,
    slot_offset,
    take,
    this_thread,
    tuple_item,
    tuple_size,
    type_of,
)
from lazynet.op import RowType, Signature
from lazynet.parameter import Leaf
from lazynet.tensor import Parameter, Sequence, Tensor

_GRAPH, _ID, _TYPE = (slot_offset(Tensor, name) for name in ("graph", "id", "type"))
_LENGTH, _STEP = (slot_offset(Sequence, name) for name in ("length", "step"))
_THREAD, _VALUES, _TAPE, _NUMBERS, _LINKED = (
    slot_offset(Graph, name) for name in ("thread", "values", "tape", "numbers", "linked")
)
_INDEX, _OUTPUTS = (slot_offset(Signature, name) for name in ("index", "outputs"))
_DTYPE = slot_offset(RowType, "dtype")
_KNOWN = slot_offset(Leaf, "known")
_OFFSETS = [_GRAPH, _ID, _TYPE, _LENGTH, _STEP, _THREAD, _VALUES, _TAPE, _NUMBERS, _LINKED, _INDEX,
            _OUTPUTS, _DTYPE, _KNOWN]  # fmt: skip

# What every function gets: these, and then its own.
_HOUSE = (None, Tensor, Sequence, Parameter, float, int, list, Graph, Leaf)
(
    _NOTHING, _TENSOR, _SEQUENCE, _PARAMETER, _FLOAT, _INT, _LIST, _GRAPH_CLASS, _LEAF, _OWN,
) = range(10)  # fmt: skip


# -- what is asked of operands ---------------------------------------------------------------------


@inline
def _nothing(me):
    """None, a reference of its own."""
    take(tuple_item(me, _NOTHING))
    return tuple_item(me, _NOTHING)


@inline
def _recorded_here(graph, me):
    """Whether something is a graph that this thread records into."""
    if type_of(graph) != tuple_item(me, _GRAPH_CLASS):
        return False
    return as_integer(load(graph + _THREAD)) == this_thread()


@inline
def _graph_of(me, values, count):
    """The graph that the first value which is no leaf is recorded into; 0 for another's."""
    for k in range(count):
        graph = load(load(values + 8 * k) + _GRAPH)
        if type_of(graph) != tuple_item(me, _LEAF):
            return graph if _recorded_here(graph, me) else np.int64(0)
    return np.int64(0)


@inline
def _is_value(x, me):
    return type_of(x) == tuple_item(me, _TENSOR) or type_of(x) == tuple_item(me, _SEQUENCE)


@inline
def _row(x, graph, me):
    """The number (a Python int) of a value's first row in a graph; 0 if it has none there."""
    home = load(x + _GRAPH)
    if home == graph:
        return load(x + _ID)
    leaf = type_of(home) == tuple_item(me, _LEAF) and type_of(x) == tuple_item(me, _TENSOR)
    if leaf and as_integer(load(x + _ID)) == 0:
        return dictionary_item(load(graph + _LINKED), home)
    return np.int64(0)


@inline
def _number(graph, x, number):
    """The row (a Python int) that holds a Python float, of the dtype of `x`; 0 for a new one."""
    rows = dictionary_item(load(graph + _NUMBERS), load(load(x + _TYPE) + _DTYPE))
    return dictionary_item(rows, number) if rows != 0 else np.int64(0)


@inline
def _common_length(values, count, me):
    """The length (a Python int) of the Sequences among values; 0 without, -1 where they differ."""
    length = np.int64(0)
    for k in range(count):
        x = load(values + 8 * k)
        if type_of(x) == tuple_item(me, _SEQUENCE):
            if length != 0 and as_integer(load(x + _LENGTH)) != as_integer(length):
                return np.int64(-1)
            length = load(x + _LENGTH)
    return length


# -- what is recorded ------------------------------------------------------------------------------


@inline
def _entry(graph, words, rows):
    """Room for an entry on the tape, and the number of its first row, counted as the caller's.

    The number is 0 when memory is short.
    """
    vid = load(graph + _VALUES)
    following = new_integer(as_integer(vid) + rows)
    entry = extended(load(graph + _TAPE), words)
    if following == 0 or entry.size == 0:
        return entry, np.int64(0)
    store(graph + _VALUES, following)
    return entry, vid


@inline
def _handle(me, graph, vid, row, length):
    """A new Sequence, or where `length` is 0 a Tensor; takes `vid` over. 0 when memory is short."""
    made = new_object(tuple_item(me, _TENSOR if length == 0 else _SEQUENCE), 0)
    if made == 0:
        drop(vid)
        return made
    take(graph)
    take(row)
    store(made + _GRAPH, graph)
    store(made + _ID, vid)
    store(made + _TYPE, row)
    if length != 0:
        take(length)
        store(made + _LENGTH, length)
        store(made + _STEP, new_integer(1))
    return made


@inline
def _handles(me, graph, vid, signature, length):
    """The handles of a node's outputs: one, or a tuple of them; takes `vid` over."""
    rows = load(signature + _OUTPUTS)
    count = tuple_size(rows)
    if count == 1:
        return _handle(me, graph, vid, tuple_item(rows, 0), length)
    made = new_tuple(count)
    first, each = as_integer(vid), as_integer(length) if length != 0 else np.int64(1)
    for k in range(count):
        one = _handle(me, graph, new_integer(first + k * each), tuple_item(rows, k), length)
        if made == 0 or one == 0:
            return np.int64(0)
        set_tuple_item(made, k, one)
    drop(vid)
    return made


@inline
def _head(me, values, count, graph, signature, length, more):
    """Begin an entry: signature, length, operands; gives it, the first row, and the words used.

    `more` words are left room for.
    """
    index = as_integer(load(signature + _INDEX))
    outputs = tuple_size(load(signature + _OUTPUTS))
    if length == 0:
        entry, vid = _entry(graph, 1 + count + more, outputs)
        if vid != 0:
            entry[0] = index
            for k in range(count):
                entry[1 + k] = as_integer(_row(load(values + 8 * k), graph, me))
        return entry, vid, 1 + count
    rows = as_integer(length)
    entry, vid = _entry(graph, 2 + 2 * count + more, rows * outputs)
    if vid != 0:
        entry[0], entry[1] = -index - 1, rows
        for k in range(count):
            x = load(values + 8 * k)
            entry[2 + 2 * k] = as_integer(_row(x, graph, me))
            steps = type_of(x) == tuple_item(me, _SEQUENCE)
            entry[3 + 2 * k] = as_integer(load(x + _STEP)) if steps else 0
    return entry, vid, 2 + 2 * count


@inline
def _put(me, values, count, graph, signature, length):
    """Record a row-wise node over so many values; `length` is a Python int, 0 for one row."""
    _, vid, _ = _head(me, values, count, graph, signature, length, 0)
    return _handles(me, graph, vid, signature, length) if vid != 0 else vid


@inline
def _with_number(me, x, number, graph, signature):
    """Record a row-wise node over a value and the row (a Python int) of a number."""
    rows = type_of(x) == tuple_item(me, _SEQUENCE)
    length = load(x + _LENGTH) if rows else np.int64(0)
    index = as_integer(load(signature + _INDEX))
    entry, vid = _entry(graph, 6 if rows else 3, as_integer(length) if rows else 1)
    if vid == 0:
        return vid
    row, at = as_integer(_row(x, graph, me)), as_integer(number)
    if rows:
        entry[0], entry[1], entry[2] = -index - 1, as_integer(length), row
        entry[3], entry[4], entry[5] = as_integer(load(x + _STEP)), at, 0
    else:
        entry[0], entry[1], entry[2] = index, row, at
    return _handles(me, graph, vid, signature, length)


def record_values(me, arguments, count):
    """A row-wise op of Tensors, Sequences and numbers: `known[type of x][type of y]...`.

    A number is known as `float`; it must stand in the graph already, and come second.
    """
    number = type_of(load(arguments + 8 * count - 8)) == tuple_item(me, _FLOAT) and count == 2
    values = count - 1 if number else count
    known = tuple_item(me, _OWN)
    for k in range(values):
        x = load(arguments + 8 * k)
        if not _is_value(x, me):
            return _nothing(me)
        known = dictionary_item(known, load(x + _TYPE))
        if known == 0:
            return _nothing(me)
    graph = _graph_of(me, arguments, values)
    if graph == 0:
        return _nothing(me)
    for k in range(values):
        if _row(load(arguments + 8 * k), graph, me) == 0:
            return _nothing(me)
    if number:
        x, y = load(arguments), load(arguments + 8)
        known = dictionary_item(known, type_of(y))
        row = _number(graph, x, y)
        if known == 0 or row == 0:
            return _nothing(me)
        return _with_number(me, x, row, graph, known)
    length = _common_length(arguments, count, me)
    return _nothing(me) if length == -1 else _put(me, arguments, count, graph, known, length)


def record_layer(me, arguments, count):
    """A row-wise op of a value and parameters, noted down with the first parameter.

    `known[op][type of x][last parameter]`, where parameters stand for themselves by leaf.
    """
    x = load(arguments)
    if not _is_value(x, me):
        return _nothing(me)
    for k in range(1, count):
        if type_of(load(arguments + 8 * k)) != tuple_item(me, _PARAMETER):
            return _nothing(me)
    graph = _graph_of(me, arguments, 1)
    if graph == 0:
        return _nothing(me)
    first, last = load(load(arguments + 8) + _GRAPH), load(load(arguments + 8 * count - 8) + _GRAPH)
    known = dictionary_item(load(first + _KNOWN), tuple_item(me, _OWN))
    if known != 0:
        known = dictionary_item(known, load(x + _TYPE))
    if known != 0:
        known = dictionary_item(known, last)
    if known == 0:
        return _nothing(me)
    return _put(me, arguments, 1, graph, known, _common_length(arguments, 1, me))


def record_signature(me, arguments, count):
    """A row-wise node of a signature, over values of the types that are its operands."""
    signature, values = load(arguments), arguments + 8
    for k in range(count - 1):
        if not _is_value(load(values + 8 * k), me):
            return _nothing(me)
    graph = _graph_of(me, values, count - 1)
    if graph == 0:
        return _nothing(me)
    for k in range(count - 1):
        if _row(load(values + 8 * k), graph, me) == 0:
            return _nothing(me)
    length = _common_length(values, count - 1, me)
    return _nothing(me) if length == -1 else _put(me, values, count - 1, graph, signature, length)


@inline
def _index(numbers, k, limit, me):
    """A number, or one of a list; -1 for what is none below the limit."""
    number = list_item(numbers, k) if type_of(numbers) == tuple_item(me, _LIST) else numbers
    if type_of(number) != tuple_item(me, _INT):
        return np.int64(-1)
    found = as_integer(number)
    if found < 0:
        forget_error()  # of an int of more than 64 bits
    return found if found < limit else np.int64(-1)


def record_numbered(me, arguments, count):
    """A row-wise node whose rows carry a number each: `first + scale * number`.

    Its arguments are the signature, a value (or a graph, where nothing but the number is an
    operand), a number or a list of numbers, and a limit below which they must be, scale and first.
    """
    signature, x, numbers = load(arguments), load(arguments + 8), load(arguments + 16)
    limit, scale = as_integer(load(arguments + 24)), as_integer(load(arguments + 32))
    first, operands = as_integer(load(arguments + 40)), np.int64(_is_value(x, me))
    graph = _graph_of(me, arguments + 8, 1) if operands == 1 else x
    many, rows = type_of(numbers) == tuple_item(me, _LIST), type_of(x) == tuple_item(me, _SEQUENCE)
    items = list_size(numbers) if many else np.int64(1)
    if operands == 1 and (many != rows or (rows and as_integer(load(x + _LENGTH)) != items)):
        return _nothing(me)
    if graph == 0 or not _recorded_here(graph, me):
        return _nothing(me)
    for k in range(items):
        if _index(numbers, k, limit, me) < 0:
            return _nothing(me)
    own = new_integer(items) if many else np.int64(0)
    entry, vid, used = _head(me, arguments + 8, operands, graph, signature, own, items)
    if vid == 0:
        return vid
    for k in range(items):
        entry[used + k] = first + scale * _index(numbers, k, limit, me)
    made = _handles(me, graph, vid, signature, own)
    if many:
        drop(own)
    return made


def record_one_segment(me, arguments, count):
    """A node of a signature over all rows of a Sequence, which gives one row."""
    signature, x = load(arguments), load(arguments + 8)
    graph = load(x + _GRAPH)
    if type_of(x) != tuple_item(me, _SEQUENCE) or not _recorded_here(graph, me):
        return _nothing(me)
    entry, vid = _entry(graph, 6, 1)
    if vid == 0:
        return vid
    entry[0], entry[1] = -as_integer(load(signature + _INDEX)) - 1, as_integer(load(x + _LENGTH))
    entry[2], entry[3] = 1, 0
    entry[4], entry[5] = as_integer(load(x + _ID)), as_integer(load(x + _STEP))
    return _handles(me, graph, vid, signature, np.int64(0))


def record_list(me, arguments, count):
    """A node of a signature over a list of Tensors of a type, all in one segment.

    Its arguments are the signature, the type, the list, and None if it gives one row, not a
    Sequence with a row for each.
    """
    signature, row, values = load(arguments), load(arguments + 8), load(arguments + 16)
    items, graph, one = list_size(values), np.int64(0), count == 4
    for k in range(items):
        x = list_item(values, k)
        if type_of(x) != tuple_item(me, _TENSOR) or load(x + _TYPE) != row:
            return _nothing(me)
        if k == 0:
            graph = load(x + _GRAPH)
        if load(x + _GRAPH) != graph:
            return _nothing(me)
    if graph == 0 or not _recorded_here(graph, me):
        return _nothing(me)
    entry, vid = _entry(graph, 5 + items, 1 if one else items)
    if vid == 0:
        return vid
    entry[0], entry[1] = -as_integer(load(signature + _INDEX)) - 1, items
    entry[2], entry[3] = 1, 1
    for k in range(items):
        entry[4 + k] = as_integer(load(list_item(values, k) + _ID))
    entry[4 + items] = items
    if one:
        return _handles(me, graph, vid, signature, np.int64(0))
    length = new_integer(items)
    made = _handles(me, graph, vid, signature, length)
    drop(length)
    return made


def record_pieces(me, arguments, count):
    """A node over runs of one piece each, with as many output rows as its first run has.

    Its arguments are the signature, the type of the handle, a tuple of the payload's words, and a
    Tensor or a Sequence for each run; a Tensor first gives a Tensor.
    """
    signature, row, payload = load(arguments), load(arguments + 8), load(arguments + 16)
    values, runs, words = arguments + 24, count - 3, tuple_size(load(arguments + 16))
    for k in range(runs):
        if not _is_value(load(values + 8 * k), me):
            return _nothing(me)
    graph = _graph_of(me, values, runs)
    if graph == 0:
        return _nothing(me)
    for k in range(runs):
        if _row(load(values + 8 * k), graph, me) == 0:
            return _nothing(me)
    length = _common_length(values, 1, me)
    items = as_integer(length) if length != 0 else np.int64(1)
    entry, vid = _entry(graph, 2 + 4 * runs + words, items)
    if vid == 0:
        return vid
    entry[0], entry[1] = -as_integer(load(signature + _INDEX)) - 1, items
    for k in range(runs):
        x, at = load(values + 8 * k), 2 + 4 * k
        entry[at], entry[at + 1], entry[at + 2], entry[at + 3] = (
            1,
            as_integer(_row(x, graph, me)),
            0,
            1,
        )
        if type_of(x) == tuple_item(me, _SEQUENCE):
            entry[at + 2] = as_integer(load(x + _STEP))
            entry[at + 3] = as_integer(load(x + _LENGTH))
    for w in range(words):
        entry[2 + 4 * runs + w] = as_integer(tuple_item(payload, w))
    return _handle(me, graph, vid, row, length)


def seen_as(me, arguments, count):
    """A list of views of a Tensor, one for each of the row types in a tuple; records nothing."""
    x, rows = load(arguments), load(arguments + 8)
    if type_of(x) != tuple_item(me, _TENSOR):
        return _nothing(me)
    views = tuple_size(rows)
    made = new_list(views)
    for k in range(views):
        take(load(x + _ID))
        one = _handle(me, load(x + _GRAPH), load(x + _ID), tuple_item(rows, k), np.int64(0))
        if made == 0 or one == 0:
            return np.int64(0)
        set_list_item(made, k, one)
    return made


# -- until they are compiled -----------------------------------------------------------------------


def _not_yet(*arguments: Any) -> None:
    """What stands for a short way until then: the long way is taken."""


class Short:
    """A short way of one op: `record(*operands)` gives a handle, or None for the long way."""

    __slots__ = ("_function", "_own", "record")

    def __init__(self, function: Callable, own: Any):
        self._function, self._own = function, own
        self.record: Callable = _not_yet
        if at_first_forward:
            _waiting.append(self)
        elif python.available():
            self.compile()

    def compile(self) -> None:
        """Take the compiled function; from the cache if it is there."""
        self.record = built_in(self._function, (*_HOUSE, self._own), f"{_OFFSETS}")


_waiting: list[Short] = []


def _compile_waiting() -> None:
    with MAKING:
        while _waiting:
            _waiting.pop().compile()


if python.available():
    at_first_forward.append(_compile_waiting)

node = Short(record_signature, None)
numbered = Short(record_numbered, None)
one_segment = Short(record_one_segment, None)
of_list = Short(record_list, None)
pieces = Short(record_pieces, None)
views = Short(seen_as, None)
