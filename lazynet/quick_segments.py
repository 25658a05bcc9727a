"""The short ways of nodes over segments: rows of a Sequence, lists, and cells over lists."""

from __future__ import annotations

import numpy as np

from lazynet.kernels.jit import inline
from lazynet.kernels.memory import load, row_int32, store
from lazynet.kernels.python import (
    as_integer,
    dictionary_item,
    drop,
    list_item,
    list_size,
    new_integer,
    new_tuple,
    set_tuple_item,
    take,
    tuple_item,
    tuple_size,
    type_of,
)
from lazynet.objects import (
    GRAPH,
    ID,
    INDEX,
    LEAF,
    LENGTH,
    LIST,
    OPERANDS,
    OUTPUTS,
    OWN,
    SEQUENCE,
    STEP,
    TENSOR,
    TUPLE,
    TYPE,
    new_entry,
    new_handle,
    new_handles,
    nothing,
    recorded_here,
    row_in,
)
from lazynet.quick import Short, index_in

OF_X, OF_STATES = 1, 2  # added to a word of a structure's entries: first row of x, of the states
SIZES = 256  # tuples on a path are smaller


@inline
def _begin_listed(graph, signature, items, rows):
    """Begin an entry over a list of so many rows, in one segment; their numbers go from word 4."""
    entry, vid = new_entry(graph, 5 + items, rows)
    if vid != 0:
        entry[0], entry[1] = -as_integer(load(signature + INDEX)) - 1, items
        entry[2], entry[3], entry[4 + items] = 1, 1, items
    return entry, vid


@inline
def _sequence(me, graph, vid, signature, items):
    """The Sequence of a node's so many rows; takes `vid` over."""
    length = new_integer(items)
    made = new_handles(me, graph, vid, signature, length)
    drop(length)
    return made


def record_one_segment(me, arguments, count):
    """A node of a signature over all rows of a Sequence, which gives one row."""
    signature, x = load(arguments), load(arguments + 8)
    graph = load(x + GRAPH)
    if type_of(x) != tuple_item(me, SEQUENCE) or not recorded_here(graph, me):
        return nothing(me)
    entry, vid = new_entry(graph, 6, 1)
    if vid == 0:
        return vid
    entry[0], entry[1] = -as_integer(load(signature + INDEX)) - 1, as_integer(load(x + LENGTH))
    entry[2], entry[3] = 1, 0
    entry[4], entry[5] = as_integer(load(x + ID)), as_integer(load(x + STEP))
    return new_handles(me, graph, vid, signature, np.int64(0))


def record_list(me, arguments, count):
    """A node of a signature over a list of Tensors of a type, all in one segment.

    Its arguments are the signature, the type, the list, and None if it gives one row, not a
    Sequence with a row for each.
    """
    signature, row, values = load(arguments), load(arguments + 8), load(arguments + 16)
    items, graph, one = list_size(values), np.int64(0), count == 4
    for k in range(items):
        x = list_item(values, k)
        if type_of(x) != tuple_item(me, TENSOR) or load(x + TYPE) != row:
            return nothing(me)
        if k == 0:
            graph = load(x + GRAPH)
        if load(x + GRAPH) != graph:
            return nothing(me)
    if graph == 0 or not recorded_here(graph, me):
        return nothing(me)
    entry, vid = _begin_listed(graph, signature, items, 1 if one else items)
    if vid == 0:
        return vid
    for k in range(items):
        entry[4 + k] = as_integer(load(list_item(values, k) + ID))
    if one:
        return new_handles(me, graph, vid, signature, np.int64(0))
    return _sequence(me, graph, vid, signature, items)


@inline
def _part(values, path, j, me):
    """What lies at a path in item `j` of a list of nested tuples; 0 where there is none.

    A path is a tuple of `SIZES * size + index`, one for each tuple on the way.
    """
    x = list_item(values, j)
    for k in range(tuple_size(path)):
        step = as_integer(tuple_item(path, k))
        if type_of(x) != tuple_item(me, TUPLE) or tuple_size(x) != step // SIZES:
            return np.int64(0)
        x = tuple_item(x, step % SIZES)
    return x


@inline
def _graph_with(x, row, graph, me):
    """The graph of a Tensor of a type and of what came before; -1 where it is none, or another's.

    0 as long as all are leaves.
    """
    if type_of(x) != tuple_item(me, TENSOR) or load(x + TYPE) != row:
        return np.int64(-1)
    home = load(x + GRAPH)
    if home == graph or type_of(home) == tuple_item(me, LEAF):
        return graph
    return home if graph == 0 and recorded_here(home, me) else np.int64(-1)


def record_items(me, arguments, count):
    """A node of a signature over lists of one length, and values beside them.

    Its arguments are the signature, for each list a tuple of the paths in its items (see `_part`),
    the lists and the values.
    """
    signature, paths = load(arguments), load(arguments + 8)
    lists, singles = tuple_size(paths), count - 2 - tuple_size(paths)
    rows, graph, columns = load(signature + OPERANDS), np.int64(0), 0
    given, beside = arguments + 16, arguments + 16 + 8 * tuple_size(paths)
    items = list_size(load(given)) if type_of(load(given)) == tuple_item(me, LIST) else np.int64(0)
    for k in range(lists):
        values, own = load(given + 8 * k), tuple_item(paths, k)
        if type_of(values) != tuple_item(me, LIST) or list_size(values) != items:
            return nothing(me)
        for c in range(tuple_size(own)):
            for j in range(items):
                x = _part(values, tuple_item(own, c), j, me)
                if x != 0:
                    graph = _graph_with(x, tuple_item(rows, columns), graph, me)
                if x == 0 or graph == -1:
                    return nothing(me)
            columns += 1
    for k in range(singles):
        graph = _graph_with(load(beside + 8 * k), tuple_item(rows, columns + k), graph, me)
        if graph == -1:
            return nothing(me)
    if graph == 0 or items == 0 or columns + singles != tuple_size(rows):
        return nothing(me)
    for k in range(lists):
        values, own = load(given + 8 * k), tuple_item(paths, k)
        for c in range(tuple_size(own)):
            for j in range(items):
                if row_in(_part(values, tuple_item(own, c), j, me), graph, me) == -1:
                    return nothing(me)
    for k in range(singles):
        if row_in(load(beside + 8 * k), graph, me) == -1:
            return nothing(me)
    outputs = tuple_size(load(signature + OUTPUTS))
    entry, vid = new_entry(graph, 5 + items * columns + singles, outputs)
    if vid == 0:
        return vid
    entry[0], entry[1] = -as_integer(load(signature + INDEX)) - 1, items
    entry[2], entry[3], at = 1, 1, 4
    for k in range(lists):
        values, own = load(given + 8 * k), tuple_item(paths, k)
        for c in range(tuple_size(own)):
            for j in range(items):
                entry[at] = row_in(_part(values, tuple_item(own, c), j, me), graph, me)
                at += 1
    entry[at] = items
    for k in range(singles):
        entry[at + 1 + k] = row_in(load(beside + 8 * k), graph, me)
    return new_handles(me, graph, vid, signature, np.int64(0))


def record_chosen(me, arguments, count):
    """Rows of a Sequence by a list of their numbers; a view where they are evenly spaced.

    `known[type of x]` is the signature.
    """
    x, numbers = load(arguments), load(arguments + 8)
    if type_of(x) != tuple_item(me, SEQUENCE) or type_of(numbers) != tuple_item(me, LIST):
        return nothing(me)
    items, limit = list_size(numbers), as_integer(load(x + LENGTH))
    even, first, step, last = True, np.int64(0), np.int64(1), np.int64(0)
    for k in range(items):
        number = index_in(numbers, k, limit, me)
        if number < 0:
            return nothing(me)
        if k == 0:
            first = number
        elif k == 1:
            step = number - first
        else:
            even = even and number - last == step
        last = number
    graph, own = load(x + GRAPH), as_integer(load(x + STEP))
    if even and items > 0:
        length = new_integer(items)
        vid = load(x + ID)  # the very same int where it is the same row, as in `number_of_row`
        if own * first == 0:
            take(vid)
        else:
            vid = new_integer(as_integer(vid) + own * first)
        made = new_handle(me, graph, vid, load(x + TYPE), length)
        drop(length)
        if made != 0:
            drop(load(made + STEP))
            store(made + STEP, new_integer(own * step))
        return made
    signature = dictionary_item(tuple_item(me, OWN), load(x + TYPE))
    if items == 0 or signature == 0 or not recorded_here(graph, me):
        return nothing(me)
    entry, vid = _begin_listed(graph, signature, items, items)
    if vid == 0:
        return vid
    for k in range(items):
        entry[4 + k] = as_integer(load(x + ID)) + own * index_in(numbers, k, limit, me)
    return _sequence(me, graph, vid, signature, items)


def record_nodes(me, arguments, count):
    """Nodes of a structure (see `fold.py`), all at once.

    Its arguments are a Sequence, a tuple and the types of the outputs. The tuple has the addresses
    of the words of all entries, of what is added to each (see `OF_X`), how many words there are,
    how many nodes, and how many rows they and the nodes that list them have.
    """
    x, plan, rows = load(arguments), load(arguments + 8), load(arguments + 16)
    graph = load(x + GRAPH)
    if not recorded_here(graph, me):
        return nothing(me)
    many, nodes = as_integer(tuple_item(plan, 2)), as_integer(tuple_item(plan, 3))
    words = row_int32(as_integer(tuple_item(plan, 0)), many)
    adds = row_int32(as_integer(tuple_item(plan, 1)), many)
    entry, vid = new_entry(graph, many, as_integer(tuple_item(plan, 4)))
    if vid == 0:
        return vid
    base, first = as_integer(vid), as_integer(load(x + ID))
    drop(vid)
    for k in range(many):
        entry[k] = words[k] + (first if adds[k] == OF_X else base if adds[k] == OF_STATES else 0)
    take(graph)  # as in `new_handle`
    length, outputs = new_integer(nodes), tuple_size(rows)
    made = new_tuple(outputs)
    for k in range(outputs):
        own = new_integer(base + (outputs + k) * nodes)
        one = new_handle(me, graph, own, tuple_item(rows, k), length)
        if made == 0 or one == 0:
            return np.int64(0)
        set_tuple_item(made, k, one)
    drop(length)
    drop(graph)
    return made


one_segment = Short(record_one_segment, None)
of_list = Short(record_list, None)
nodes = Short(record_nodes, None)
