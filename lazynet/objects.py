"""Graphs and handles as compiled code sees them: where they keep what, new entries, new handles.

Every function that `quick.py` compiles gets a tuple `me` of the classes it must know, and then of
what is its own. Objects are addresses; a number of a row is a Python int, unless it is said else.
"""

from __future__ import annotations

import math

import numpy as np

from lazynet.graph import Graph
from lazynet.kernels.jit import inline
from lazynet.kernels.memory import load, store
from lazynet.kernels.python import (
    append_item,
    as_double,
    as_integer,
    dictionary_item,
    drop,
    extended,
    forget_error,
    list_item,
    new_integer,
    new_object,
    new_tuple,
    referent,
    set_has,
    set_size,
    set_tuple_item,
    slot_offset,
    take,
    this_thread,
    tuple_item,
    tuple_size,
    type_of,
)
from lazynet.leaf import Leaf
from lazynet.op import RowType, Signature
from lazynet.parameter import Parameter
from lazynet.recording import recorded_last
from lazynet.tensor import Sequence, Tensor

GRAPH, ID, TYPE = (slot_offset(Tensor, name) for name in ("graph", "id", "type"))
LENGTH, STEP = (slot_offset(Sequence, name) for name in ("length", "step"))
THREAD, VALUES, TAPE, NOTED, NUMBERS, LINKED, CONSTANTS, DEVICE = (
    slot_offset(Graph, name)
    for name in ("thread", "values", "tape", "noted", "numbers", "linked", "constants", "device")
)
INDEX, OUTPUTS, OPERANDS = (
    slot_offset(Signature, name) for name in ("index", "outputs", "operands")
)
DTYPE, SHAPE = (slot_offset(RowType, name) for name in ("dtype", "shape"))
KNOWN, NUMBER, LEAF_DEVICE = (slot_offset(Leaf, name) for name in ("known", "number", "device"))
OFFSETS = [GRAPH, ID, TYPE, LENGTH, STEP, THREAD, VALUES, TAPE, NOTED, NUMBERS, LINKED, CONSTANTS,
            DEVICE, INDEX, OUTPUTS, OPERANDS, DTYPE, SHAPE, KNOWN, NUMBER, LEAF_DEVICE]  # fmt: skip

# What every function gets: these, and then its own.
HOUSE = (None, Tensor, Sequence, Parameter, float, int, list, tuple, Graph, Leaf, recorded_last)
(
    NOTHING, TENSOR, SEQUENCE, PARAMETER, FLOAT, INT, LIST, TUPLE, GRAPH_CLASS, LEAF, RECORDED_LAST,
    OWN,
) = range(12)  # fmt: skip


# -- what is asked of operands ---------------------------------------------------------------------


@inline
def nothing(me):
    """None, a reference of its own."""
    take(tuple_item(me, NOTHING))
    return tuple_item(me, NOTHING)


@inline
def recorded_here(graph, me):
    """Whether something is a graph that this thread records into."""
    if type_of(graph) != tuple_item(me, GRAPH_CLASS):
        return False
    return as_integer(load(graph + THREAD)) == this_thread()


@inline
def graph_of(me, values, count):
    """The graph that the first value which is no leaf is recorded into; 0 for another's.

    Of leaves alone, it is the one that was recorded into last; they may have no rows there.
    """
    for k in range(count):
        graph = load(load(values + 8 * k) + GRAPH)
        if type_of(graph) != tuple_item(me, LEAF):
            return graph if recorded_here(graph, me) else np.int64(0)
    last = list_item(tuple_item(me, RECORDED_LAST), 0)
    if last == tuple_item(me, NOTHING):
        return np.int64(0)
    return referent(last) if recorded_here(referent(last), me) else np.int64(0)


@inline
def is_value(x, me):
    return type_of(x) == tuple_item(me, TENSOR) or type_of(x) == tuple_item(me, SEQUENCE)


@inline
def row_in(x, graph, me):
    """The number of a value's first row in a graph; -1 if it has none there."""
    home, row = load(x + GRAPH), as_integer(load(x + ID))
    if home == graph:
        return row
    first = np.int64(0)
    if type_of(home) == tuple_item(me, LEAF):
        first = dictionary_item(load(graph + LINKED), home)
        if first != 0:
            first = dictionary_item(first, load(x + TYPE))
    return as_integer(first) + row if first != 0 else np.int64(-1)


@inline
def is_constant(values, count, graph):
    """Whether values are all made of parameters alone: what is made of them is recorded once."""
    constants = load(graph + CONSTANTS)
    if set_size(constants) == 0:
        return False
    for k in range(count):
        x = load(values + 8 * k)
        if load(x + GRAPH) != graph or set_has(constants, load(x + ID)) != 1:
            return False
    return True


@inline
def row_of_number(graph, x, number, me):
    """The row (a Python int) that holds a Python number, of the dtype of `x`; 0 for a new one.

    -0.0 is always new: it would be taken for 0.0.
    """
    if type_of(number) == tuple_item(me, FLOAT):
        value = as_double(number)
        if value == 0.0 and math.copysign(1.0, value) < 0.0:
            return np.int64(0)
    rows = dictionary_item(load(graph + NUMBERS), load(load(x + TYPE) + DTYPE))
    return dictionary_item(rows, number) if rows != 0 else np.int64(0)


@inline
def common_length(values, count, me):
    """The length (a Python int) of the Sequences among values; 0 without, -1 where they differ."""
    length = np.int64(0)
    for k in range(count):
        x = load(values + 8 * k)
        if type_of(x) == tuple_item(me, SEQUENCE):
            if length != 0 and as_integer(load(x + LENGTH)) != as_integer(length):
                return np.int64(-1)
            length = load(x + LENGTH)
    return length


# -- what is recorded ------------------------------------------------------------------------------


@inline
def new_entry(graph, words, rows):
    """Room for an entry on the tape, and the number of its first row, counted as the caller's.

    The number is 0 when memory is short.
    """
    vid = load(graph + VALUES)
    following = new_integer(as_integer(vid) + rows)
    entry = extended(load(graph + TAPE), words)
    if following == 0 or entry.size == 0:
        return entry, np.int64(0)
    store(graph + VALUES, following)
    return entry, vid


@inline
def note_row(graph, vid):
    """Note the row of a node that has one, so that it can be told later whether it was dropped."""
    if append_item(load(graph + NOTED), vid) < 0:
        forget_error()  # memory is short: it will be taken for one that is held


@inline
def new_handle(me, graph, vid, row, length):
    """A new Sequence, or where `length` is 0 a Tensor; takes `vid` over. 0 when memory is short.

    A new object may set the collector to work, and nothing but that object may hold the graph.
    """
    take(graph)
    made = new_object(tuple_item(me, TENSOR if length == 0 else SEQUENCE), 0)
    if made == 0:
        drop(graph)
        drop(vid)
        return made
    take(row)
    store(made + GRAPH, graph)
    store(made + ID, vid)
    store(made + TYPE, row)
    if length != 0:
        take(length)
        store(made + LENGTH, length)
        store(made + STEP, new_integer(1))
    return made


@inline
def new_handles(me, graph, vid, signature, length):
    """The handles of a node's outputs: one, or a tuple of them; takes `vid` over."""
    rows = load(signature + OUTPUTS)
    count = tuple_size(rows)
    if count == 1:
        return new_handle(me, graph, vid, tuple_item(rows, 0), length)
    take(graph)  # as in `new_handle`
    made = new_tuple(count)
    first, each = as_integer(vid), as_integer(length) if length != 0 else np.int64(1)
    for k in range(count):
        one = new_handle(me, graph, new_integer(first + k * each), tuple_item(rows, k), length)
        if made == 0 or one == 0:
            return np.int64(0)
        set_tuple_item(made, k, one)
    drop(vid)
    drop(graph)
    return made


@inline
def begin_entry(me, values, count, graph, signature, length, more):
    """Begin an entry: signature, length, operands; gives it, the first row, and the words used.

    `more` words are left room for.
    """
    index = as_integer(load(signature + INDEX))
    outputs = tuple_size(load(signature + OUTPUTS))
    if length == 0:
        entry, vid = new_entry(graph, 1 + count + more, outputs)
        if vid != 0:
            entry[0] = index
            for k in range(count):
                entry[1 + k] = row_in(load(values + 8 * k), graph, me)
        return entry, vid, 1 + count
    rows = as_integer(length)
    entry, vid = new_entry(graph, 2 + 2 * count + more, rows * outputs)
    if vid != 0:
        entry[0], entry[1] = -index - 1, rows
        for k in range(count):
            x = load(values + 8 * k)
            entry[2 + 2 * k] = row_in(x, graph, me)
            steps = type_of(x) == tuple_item(me, SEQUENCE)
            entry[3 + 2 * k] = as_integer(load(x + STEP)) if steps else 0
    return entry, vid, 2 + 2 * count
