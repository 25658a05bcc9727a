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

from lazynet.kernels import python
from lazynet.kernels.jit import MAKING, inline, spliced
from lazynet.kernels.memory import load, store
from lazynet.kernels.python import (
    as_integer,
    built_in,
    dictionary_item,
    drop,
    forget_error,
    list_item,
    list_size,
    new_integer,
    new_list,
    references,
    set_list_item,
    take,
    tuple_item,
    tuple_size,
    type_of,
)
from lazynet.objects import (
    DEVICE,
    FLOAT,
    GRAPH,
    HOUSE,
    ID,
    INDEX,
    INT,
    KNOWN,
    LEAF_DEVICE,
    LENGTH,
    LIST,
    NUMBER,
    OFFSETS,
    OWN,
    PARAMETER,
    SEQUENCE,
    SHAPE,
    STEP,
    TENSOR,
    TYPE,
    begin_entry,
    common_length,
    graph_of,
    is_constant,
    is_value,
    new_entry,
    new_handle,
    new_handles,
    note_row,
    nothing,
    recorded_here,
    row_in,
    row_of_number,
)
from lazynet.recording import after_first_forward


@inline
def _put(me, values, count, graph, signature, length, noted):
    """Record a row-wise node over so many values; `length` is a Python int, 0 for one row.

    `noted`: whether the graph is to know later if a single row was dropped.
    """
    _, vid, _ = begin_entry(me, values, count, graph, signature, length, 0)
    if vid == 0:
        return vid
    if noted and length == 0:
        note_row(graph, vid)
    return new_handles(me, graph, vid, signature, length)


@inline
def _is_number(x, me):
    return type_of(x) == tuple_item(me, FLOAT) or type_of(x) == tuple_item(me, INT)


@inline
def _with_number(me, x, number, first, graph, signature):
    """Record a row-wise node over a value and the row (a Python int) of a number.

    `first` is 1 where the number is the first operand, else 0.
    """
    rows = type_of(x) == tuple_item(me, SEQUENCE)
    length = load(x + LENGTH) if rows else np.int64(0)
    index = as_integer(load(signature + INDEX))
    entry, vid = new_entry(graph, 6 if rows else 3, as_integer(length) if rows else 1)
    if vid == 0:
        return vid
    row, at = row_in(x, graph, me), as_integer(number)
    if rows:
        entry[0], entry[1] = -index - 1, as_integer(length)
        entry[2 + 2 * first], entry[3 + 2 * first] = row, as_integer(load(x + STEP))
        entry[4 - 2 * first], entry[5 - 2 * first] = at, 0
    else:
        entry[0], entry[1 + first], entry[2 - first] = index, row, at
        note_row(graph, vid)
    return new_handles(me, graph, vid, signature, length)


def record_values(me, arguments, count):
    """A row-wise op of Tensors, Sequences and a number: `known[type of x][type of y]...`.

    A number is known as its class. It is one of two operands, and must stand in the graph already.
    """
    first = np.int64(count == 2 and _is_number(load(arguments), me))
    last = np.int64(count == 2 and _is_number(load(arguments + 8 * count - 8), me))
    values, many = arguments + 8 * first, count - first - last
    known = tuple_item(me, OWN)
    if first == 1:
        known = dictionary_item(known, type_of(load(arguments)))
    for k in range(many):
        x = load(values + 8 * k)
        if known == 0 or not is_value(x, me):
            return nothing(me)
        known = dictionary_item(known, load(x + TYPE))
    if last == 1 and known != 0:
        known = dictionary_item(known, type_of(load(arguments + 8)))
    graph = graph_of(me, values, many) if known != 0 else known
    if graph == 0 or is_constant(values, many, graph):
        return nothing(me)
    for k in range(many):
        if row_in(load(values + 8 * k), graph, me) == -1:
            return nothing(me)
    if many < count:
        x = load(values)
        row = row_of_number(graph, x, load(arguments + 8 * last), me)
        return _with_number(me, x, row, first, graph, known) if row != 0 else nothing(me)
    length = common_length(arguments, count, me)
    return nothing(me) if length == -1 else _put(me, arguments, count, graph, known, length, True)


def record_layer(me, arguments, count):
    """A row-wise op of a value and parameters, noted down with the first parameter.

    `known[op][type of x][number of the last parameter]`.
    """
    x = load(arguments)
    if not is_value(x, me):
        return nothing(me)
    for k in range(1, count):
        if type_of(load(arguments + 8 * k)) != tuple_item(me, PARAMETER):
            return nothing(me)
    graph = graph_of(me, arguments, 1)
    if graph == 0 or row_in(x, graph, me) == -1 or is_constant(arguments, 1, graph):
        return nothing(me)
    first, last = load(load(arguments + 8) + GRAPH), load(load(arguments + 8 * count - 8) + GRAPH)
    if load(first + LEAF_DEVICE) != load(graph + DEVICE):
        return nothing(me)
    last = load(last + NUMBER)
    known = dictionary_item(load(first + KNOWN), tuple_item(me, OWN))
    if known != 0:
        known = dictionary_item(known, load(x + TYPE))
    if known != 0:
        known = dictionary_item(known, last)
    if known == 0:
        return nothing(me)
    length = common_length(arguments, 1, me)
    return _put(me, arguments, 1, graph, known, length, False)


def record_signature(me, arguments, count):
    """A row-wise node of a signature, over values of the types that are its operands."""
    signature, values = load(arguments), arguments + 8
    for k in range(count - 1):
        if not is_value(load(values + 8 * k), me):
            return nothing(me)
    graph = graph_of(me, values, count - 1)
    if graph == 0 or is_constant(values, count - 1, graph):
        return nothing(me)
    for k in range(count - 1):
        if row_in(load(values + 8 * k), graph, me) == -1:
            return nothing(me)
    length = common_length(values, count - 1, me)
    if length == -1:
        return nothing(me)
    return _put(me, values, count - 1, graph, signature, length, True)


@inline
def index_in(numbers, k, limit, me):
    """A number, or one of a list; -1 for what is none below the limit."""
    number = list_item(numbers, k) if type_of(numbers) == tuple_item(me, LIST) else numbers
    if type_of(number) != tuple_item(me, INT):
        return np.int64(-1)
    found = as_integer(number)
    if found < 0:
        forget_error()  # of an int of more than 64 bits
    return found if found < limit else np.int64(-1)


@spliced
def _with_numbers(me, values, operands, graph, signature, numbers, limit, scale, first):
    """Record a row-wise node whose rows carry `first + scale * number`, if all are in range."""
    many = type_of(numbers) == tuple_item(me, LIST)
    items = list_size(numbers) if many else np.int64(1)
    for k in range(items):
        if index_in(numbers, k, limit, me) < 0:
            return nothing(me)
    own = new_integer(items) if many else np.int64(0)
    entry, vid, used = begin_entry(me, values, operands, graph, signature, own, items)
    if vid == 0:
        return vid
    for k in range(items):
        entry[used + k] = first + scale * index_in(numbers, k, limit, me)
    made = new_handles(me, graph, vid, signature, own)
    if many:
        drop(own)
    return made


def record_numbered(me, arguments, count):
    """A row-wise node whose rows carry a number each: `first + scale * number`.

    Its arguments are the signature, a value (or a graph, where nothing but the number is an
    operand), a number or a list of numbers, and a limit below which they must be, scale and first.
    """
    signature, x, numbers = load(arguments), load(arguments + 8), load(arguments + 16)
    limit, scale = as_integer(load(arguments + 24)), as_integer(load(arguments + 32))
    first, operands = as_integer(load(arguments + 40)), np.int64(is_value(x, me))
    graph = graph_of(me, arguments + 8, 1) if operands == 1 else x
    many, rows = type_of(numbers) == tuple_item(me, LIST), type_of(x) == tuple_item(me, SEQUENCE)
    items = list_size(numbers) if many else np.int64(1)
    if operands == 1 and (many != rows or (rows and as_integer(load(x + LENGTH)) != items)):
        return nothing(me)
    if graph == 0 or not recorded_here(graph, me):
        return nothing(me)
    if operands == 1 and row_in(x, graph, me) == -1:
        return nothing(me)
    return _with_numbers(
        me, arguments + 8, operands, graph, signature, numbers, limit, scale, first
    )


def record_looked_up(me, arguments, count):
    """Rows of a parameter by a number, or a list of numbers, in the graph recorded into last.

    `known[op]` of the parameter is the signature.
    """
    table, numbers = load(arguments), load(arguments + 8)
    if type_of(table) != tuple_item(me, PARAMETER):
        return nothing(me)
    leaf, graph = load(table + GRAPH), graph_of(me, arguments, 0)
    signature = dictionary_item(load(leaf + KNOWN), tuple_item(me, OWN))
    if signature == 0 or graph == 0 or load(leaf + LEAF_DEVICE) != load(graph + DEVICE):
        return nothing(me)
    limit = as_integer(tuple_item(load(load(table + TYPE) + SHAPE), 0))
    return _with_numbers(me, arguments, 0, graph, signature, numbers, limit, 1, 0)


def record_pieces(me, arguments, count):
    """A node over runs of one piece each, with as many output rows as its first run has.

    Its arguments are the signature, the type of the handle, a tuple of the payload's words, and a
    Tensor or a Sequence for each run; a Tensor first gives a Tensor.
    """
    signature, row, payload = load(arguments), load(arguments + 8), load(arguments + 16)
    values, runs, words = arguments + 24, count - 3, tuple_size(load(arguments + 16))
    for k in range(runs):
        if not is_value(load(values + 8 * k), me):
            return nothing(me)
    graph = graph_of(me, values, runs)
    if graph == 0:
        return nothing(me)
    for k in range(runs):
        if row_in(load(values + 8 * k), graph, me) == -1:
            return nothing(me)
    length = common_length(values, 1, me)
    items = as_integer(length) if length != 0 else np.int64(1)
    entry, vid = new_entry(graph, 2 + 4 * runs + words, items)
    if vid == 0:
        return vid
    entry[0], entry[1] = -as_integer(load(signature + INDEX)) - 1, items
    for k in range(runs):
        x, at = load(values + 8 * k), 2 + 4 * k
        entry[at], entry[at + 1], entry[at + 2], entry[at + 3] = (
            1,
            row_in(x, graph, me),
            0,
            1,
        )
        if type_of(x) == tuple_item(me, SEQUENCE):
            entry[at + 2] = as_integer(load(x + STEP))
            entry[at + 3] = as_integer(load(x + LENGTH))
    for w in range(words):
        entry[2 + 4 * runs + w] = as_integer(tuple_item(payload, w))
    return new_handle(me, graph, vid, row, length)


def seen_as(me, arguments, count):
    """A list of views of a Tensor, one for each of the row types in a tuple; records nothing."""
    x, rows = load(arguments), load(arguments + 8)
    if type_of(x) != tuple_item(me, TENSOR):
        return nothing(me)
    views = tuple_size(rows)
    made = new_list(views)
    for k in range(views):
        take(load(x + ID))
        one = new_handle(me, load(x + GRAPH), load(x + ID), tuple_item(rows, k), np.int64(0))
        if made == 0 or one == 0:
            return np.int64(0)
        set_list_item(made, k, one)
    return made


# -- what nobody holds -----------------------------------------------------------------------------


def unheld_rows(me, arguments, count):
    """Of a list of numbers of rows, those that nothing else holds; how many these are.

    They go where the second argument says.
    """
    noted, at = load(arguments), as_integer(load(arguments + 8))
    found = np.int64(0)
    for k in range(list_size(noted)):
        number = list_item(noted, k)
        if references(number) == 1:
            store(at + 8 * found, as_integer(number))
            found += 1
    return new_integer(found)


# -- until they are compiled -----------------------------------------------------------------------


def _not_yet(*arguments: Any) -> None:
    """What stands for a short way until then: the long way is taken."""


FROZEN = f"{OFFSETS}"


class Short:
    """A short way of one op: `record(*operands)` gives a handle, or None for the long way.

    `own` is what its function works with, or a function that gives it when it is compiled.
    """

    __slots__ = ("_function", "_own", "record")

    def __init__(self, function: Callable, own: Any):
        self._function, self._own = function, own
        self.record: Callable = _not_yet
        if after_first_forward:
            _waiting.append(self)
        elif python.available():
            self.compile()

    def compile(self) -> None:
        """Take the compiled function; from the cache if it is there."""
        own = self._own() if callable(self._own) else self._own
        self.record = built_in(self._function, (*HOUSE, own), FROZEN)


_waiting: list[Short] = []


def _compile_waiting() -> None:
    with MAKING:
        while _waiting:
            short = _waiting[0]
            short.compile()
            _waiting.remove(short)
        after_first_forward.remove(_compile_waiting)  # at the end: what is interrupted begins again


def compile_from_the_end() -> None:
    """Compile all, in a process beside the one that wants them: the two meet in the middle."""
    for short in reversed(_waiting):
        short.compile()


if python.available():
    after_first_forward.append(_compile_waiting)

node = Short(record_signature, None)
numbered = Short(record_numbered, None)
pieces = Short(record_pieces, None)
views = Short(seen_as, None)
unheld = Short(unheld_rows, None)
