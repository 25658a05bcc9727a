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
    new_integer,
    new_object,
    slot_offset,
    take,
    this_thread,
    tuple_item,
    type_of,
)
from lazynet.op import RowType, Signature
from lazynet.parameter import Leaf
from lazynet.tensor import Parameter, Sequence, Tensor

_GRAPH, _ID, _TYPE = (slot_offset(Tensor, name) for name in ("graph", "id", "type"))
_LENGTH, _STEP = (slot_offset(Sequence, name) for name in ("length", "step"))
_THREAD, _VALUES, _TAPE, _NUMBERS = (
    slot_offset(Graph, name) for name in ("thread", "values", "tape", "numbers")
)
_INDEX, _OUTPUT = (slot_offset(Signature, name) for name in ("index", "type"))
_DTYPE = slot_offset(RowType, "dtype")
_KNOWN = slot_offset(Leaf, "known")
_OFFSETS = [_GRAPH, _ID, _TYPE, _LENGTH, _STEP, _THREAD, _VALUES, _TAPE, _NUMBERS, _INDEX, _OUTPUT,
            _DTYPE, _KNOWN]  # fmt: skip

# What every function gets: these, and then its own.
_HOUSE = (None, Tensor, Sequence, Parameter, float, Graph)
_NOTHING, _TENSOR, _SEQUENCE, _PARAMETER, _FLOAT, _GRAPH_CLASS, _OWN = range(7)


@inline
def _nothing(me):
    """None, a reference of its own."""
    take(tuple_item(me, _NOTHING))
    return tuple_item(me, _NOTHING)


@inline
def _recorded_here(graph, me):
    """Whether a graph is one that this thread records into."""
    if type_of(graph) != tuple_item(me, _GRAPH_CLASS):
        return False
    return as_integer(load(graph + _THREAD)) == this_thread()


@inline
def _number(graph, x, number):
    """The row (a Python int) that holds a Python float, of the dtype of `x`; 0 for a new one."""
    rows = dictionary_item(load(graph + _NUMBERS), load(load(x + _TYPE) + _DTYPE))
    return dictionary_item(rows, number) if rows != 0 else np.int64(0)


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
def _tensor(kind, graph, vid, row):
    """A new Tensor, or what a Sequence shares with it; takes `vid` over. 0 when memory is short."""
    made = new_object(kind, 0)
    if made == 0:
        drop(vid)
        return made
    take(graph)
    take(row)
    store(made + _GRAPH, graph)
    store(made + _ID, vid)
    store(made + _TYPE, row)
    return made


@inline
def _sequence(kind, graph, vid, row, length):
    """A new Sequence of `length` (a Python int) rows."""
    made = _tensor(kind, graph, vid, row)
    if made != 0:
        take(length)
        store(made + _LENGTH, length)
        store(made + _STEP, new_integer(1))
    return made


@inline
def _put(me, arguments, values, number, graph, signature, length):
    """Record a node over the first so many arguments, of which the last may be a number's row.

    `number` and `length` are Python ints: 0 where there is no number, and for one row.
    """
    row, index = load(signature + _OUTPUT), as_integer(load(signature + _INDEX))
    if length == 0:
        entry, vid = _entry(graph, 1 + values, 1)
        if vid == 0:
            return vid
        entry[0] = index
        for k in range(values):
            last = k > 0 and number != 0
            entry[1 + k] = as_integer(number if last else load(load(arguments + 8 * k) + _ID))
        return _tensor(tuple_item(me, _TENSOR), graph, vid, row)
    rows = as_integer(length)
    entry, vid = _entry(graph, 2 + 2 * values, rows)
    if vid == 0:
        return vid
    entry[0], entry[1] = -index - 1, rows
    for k in range(values):
        x = load(arguments + 8 * k)
        last = k > 0 and number != 0
        entry[2 + 2 * k] = as_integer(number if last else load(x + _ID))
        steps = type_of(x) == tuple_item(me, _SEQUENCE)
        entry[3 + 2 * k] = as_integer(load(x + _STEP)) if steps else 0
    return _sequence(tuple_item(me, _SEQUENCE), graph, vid, row, length)


def record_values(me, arguments, count):
    """A row-wise op of Tensors, Sequences and numbers: `known[type of x][type of y]...`.

    A number is known as `float`; it must stand in the graph already, and not come first.
    """
    known = tuple_item(me, _OWN)
    graph = length = number = np.int64(0)
    for k in range(count):
        x = load(arguments + 8 * k)
        kind = type_of(x)
        rows = kind == tuple_item(me, _SEQUENCE)
        if rows or kind == tuple_item(me, _TENSOR):
            if k == 0:
                graph = load(x + _GRAPH)
                if not _recorded_here(graph, me):
                    return _nothing(me)
            elif load(x + _GRAPH) != graph:
                return _nothing(me)
            if rows and length != 0 and as_integer(load(x + _LENGTH)) != as_integer(length):
                return _nothing(me)
            if rows:
                length = load(x + _LENGTH)
            known = dictionary_item(known, load(x + _TYPE))
        elif k == 1 and kind == tuple_item(me, _FLOAT):
            number = _number(graph, load(arguments), x)
            known = dictionary_item(known, kind) if number != 0 else number
        else:
            return _nothing(me)
        if known == 0:
            return _nothing(me)
    return _put(me, arguments, count, number, graph, known, length)


def record_layer(me, arguments, count):
    """A row-wise op of a value and parameters, noted down with the first parameter.

    `known[op][type of x][last parameter]`, where parameters stand for themselves by leaf.
    """
    x = load(arguments)
    kind = type_of(x)
    rows = kind == tuple_item(me, _SEQUENCE)
    if not rows and kind != tuple_item(me, _TENSOR):
        return _nothing(me)
    graph = load(x + _GRAPH)
    for k in range(1, count):
        if type_of(load(arguments + 8 * k)) != tuple_item(me, _PARAMETER):
            return _nothing(me)
    if not _recorded_here(graph, me):
        return _nothing(me)
    first, last = load(load(arguments + 8) + _GRAPH), load(load(arguments + 8 * count - 8) + _GRAPH)
    known = dictionary_item(load(first + _KNOWN), tuple_item(me, _OWN))
    if known != 0:
        known = dictionary_item(known, load(x + _TYPE))
    if known != 0:
        known = dictionary_item(known, last)
    if known == 0:
        return _nothing(me)
    none = np.int64(0)
    return _put(me, arguments, 1, none, graph, known, load(x + _LENGTH) if rows else none)


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
