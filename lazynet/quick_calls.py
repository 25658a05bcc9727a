"""The short way of calling a cell: what a call is, what it records, whether the cell still holds.

A kind of call is a tuple (number of arguments, parts, signature, result, paths of lists). A part is
a tuple (path, how, what): what lies there must be a Tensor or a Sequence of a row type, one object,
equal to a number or a string, or a list whose length is one of a set. Lists come first among the
parts. A path begins with the number of an argument; a tuple or list on the way is
`step_into(kind, size, index)`.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np

from lazynet.kernels.jit import inline, spliced
from lazynet.kernels.memory import load, store
from lazynet.kernels.python import (
    CODE,
    DEFAULTS,
    KEYWORD_DEFAULTS,
    as_double,
    as_integer,
    call_with,
    compiled,
    contents,
    dictionary_item,
    dictionary_next,
    dictionary_size,
    drop,
    equal,
    forget_error,
    list_from,
    list_item,
    list_size,
    new_integer,
    new_list,
    referent,
    run,
    set_has,
    set_list_item,
    take,
    tuple_item,
    tuple_size,
    type_of,
    weak_reference,
)
from lazynet.objects import (
    FLOAT,
    LIST,
    NOTHING,
    OUTPUTS,
    OWN,
    SEQUENCE,
    TENSOR,
    TUPLE,
    TYPE,
    nothing,
)
from lazynet.quick import FROZEN, Short, record_signature
from lazynet.quick_segments import SIZES, record_items

TENSOR_OF, SAME, EQUAL, LIST_OF, ROWS_OF = range(5)  # how a part of a call is what its kind says
_ARITY, _PARTS, _SIGNATURE, _RESULT, _PATHS = range(5)  # of a kind of call
_PATH, _HOW, _WHAT = range(3)  # of a part
(  # of what is watched
    _CHANGES, _COUNTED, _COUNTERS, _CODED, _NAMED, _CELLS, _CLASSES, _LOOKS, _OTHERS,
) = range(9)  # fmt: skip
_ROOM, _WEAK, _TRUE, _HOLDS, _RECORD_SIGNATURE, _RECORD_ITEMS = range(6)  # of what is its own

_EQ = 2  # Py_EQ
MOST_PARTS = 200
_IN_LIST = 1 << 20  # added to a step into a list
# The signature of a call, paths in its lists, the lists and the values: what `record_items` takes.
# Nothing that runs Python stands between filling it and reading it.
_room = np.zeros(2 + MOST_PARTS, np.int64)


def step_into(kind: type, size: int, index: int) -> int:
    """A step of a path: to an item of a tuple or a list of so many."""
    return SIZES * size + index + (_IN_LIST if kind is list else 0)


@inline
def _at(path, given, me):
    """What lies at a path in the arguments of a call; 0 where there is none."""
    x = load(given + 8 * as_integer(tuple_item(path, 0)))
    for k in range(1, tuple_size(path)):
        step = as_integer(tuple_item(path, k))
        if step >= _IN_LIST:
            step -= _IN_LIST
            if type_of(x) != tuple_item(me, LIST) or list_size(x) != step // SIZES:
                return np.int64(0)
            x = list_item(x, step % SIZES)
        else:
            if type_of(x) != tuple_item(me, TUPLE) or tuple_size(x) != step // SIZES:
                return np.int64(0)
            x = tuple_item(x, step % SIZES)
    return x


@inline
def _is_equal(x, what, me):
    """Whether two objects are numbers or strings of one class and equal; 0.0 is not -0.0."""
    if type_of(x) != type_of(what):
        return False
    if type_of(x) == tuple_item(me, FLOAT):
        a, b = as_double(x), as_double(what)
        return a == b and math.copysign(1.0, a) == math.copysign(1.0, b)
    return equal(x, what, _EQ) == 1


@inline
def _is_of(x, lengths, me):
    """Whether something is a list of one of these lengths."""
    if type_of(x) != tuple_item(me, LIST):
        return False
    length = new_integer(list_size(x))
    found = length != 0 and set_has(lengths, length) == 1
    drop(length)
    return found


@inline
def _matched(kind, given, count, me):
    """How many lists and values a call has, which go to the room; -1 if it is of another kind."""
    if as_integer(tuple_item(kind, _ARITY)) != count:
        return np.int64(-1)
    parts, found = tuple_item(kind, _PARTS), np.int64(0)
    room = as_integer(tuple_item(tuple_item(me, OWN), _ROOM)) + 16
    for k in range(tuple_size(parts)):
        part = tuple_item(parts, k)
        x, what = _at(tuple_item(part, _PATH), given, me), tuple_item(part, _WHAT)
        if x == 0:
            return np.int64(-1)
        how = as_integer(tuple_item(part, _HOW))
        if how == TENSOR_OF:
            good = type_of(x) == tuple_item(me, TENSOR) and load(x + TYPE) == what
        elif how == ROWS_OF:
            good = type_of(x) == tuple_item(me, SEQUENCE) and load(x + TYPE) == what
        elif how == SAME:
            good = x == what
        elif how == EQUAL:
            good = _is_equal(x, what, me)
        else:
            good = _is_of(x, what, me)
        if not good:
            return np.int64(-1)
        if how in (TENSOR_OF, ROWS_OF, LIST_OF):
            store(room + 8 * found, x)
            found += 1
    return found


@inline
def _is_marked(x, marked, me):
    """Whether a mark (see `snapshot.mark`) stands for an object."""
    if type_of(marked) != tuple_item(tuple_item(me, OWN), _WEAK):
        return x == marked
    found = weak_reference(x, 0)
    if found == 0:
        forget_error()
        return False
    drop(found)
    return found == marked


@inline
def _holds_these(values, marks, room, me):
    """Whether a list or a dict holds what it held."""
    if type_of(values) == tuple_item(me, LIST):
        if list_size(values) != tuple_size(marks):
            return False
        for k in range(tuple_size(marks)):
            if not _is_marked(list_item(values, k), tuple_item(marks, k), me):
                return False
        return True
    if 2 * dictionary_size(values) != tuple_size(marks):
        return False
    store(room, 0)
    k = 0
    while dictionary_next(values, room, room + 8, room + 16) != 0:
        if not _is_marked(load(room + 8), tuple_item(marks, k), me):
            return False
        if not _is_marked(load(room + 16), tuple_item(marks, k + 1), me):
            return False
        k += 2
    return True


@inline
def _is_there(found, wanted, me):
    """Whether an object is the one that was found before; None stands for nothing."""
    return (tuple_item(me, NOTHING) if found == 0 else found) == wanted


@inline
def _has_code(known, me):
    """Whether a function still has the code and the defaults that it had."""
    function = referent(tuple_item(known, 0))
    if function == tuple_item(me, NOTHING) or load(function + CODE) != tuple_item(known, 1):
        return False
    return _is_there(load(function + DEFAULTS), tuple_item(known, 2), me) and _is_there(
        load(function + KEYWORD_DEFAULTS), tuple_item(known, 3), me
    )


@spliced
def _holds(watched, me):
    """Whether what a cell watches is as it was (see `Guard`)."""
    if tuple_size(watched) == 0 or tuple_size(tuple_item(watched, _OTHERS)) != 0:
        return False
    now, counted = list_item(tuple_item(watched, _CHANGES), 0), tuple_item(watched, _COUNTED)
    still = as_integer(now) == as_integer(list_item(counted, 0))
    counters = tuple_item(watched, _COUNTERS)
    for k in range(0 if still else tuple_size(counters)):
        one = tuple_item(counters, k)
        if as_integer(list_item(tuple_item(one, 0), 0)) != as_integer(tuple_item(one, 1)):
            return False
    functions = tuple_item(watched, _CODED)
    for k in range(tuple_size(functions)):
        if not _has_code(tuple_item(functions, k), me):
            return False
    named, cells = tuple_item(watched, _NAMED), tuple_item(watched, _CELLS)
    for k in range(tuple_size(named)):
        one = tuple_item(named, k)
        found = dictionary_item(tuple_item(one, 0), tuple_item(one, 1))
        if not _is_there(found, tuple_item(one, 2), me):
            return False
    for k in range(tuple_size(cells)):
        one = tuple_item(cells, k)
        found = contents(tuple_item(one, 0))
        if found != 0:
            drop(found)  # it stays in the variable
        if not _is_there(found, tuple_item(one, 1), me):
            return False
    classes = tuple_item(watched, _CLASSES)
    for k in range(tuple_size(classes)):
        one = tuple_item(classes, k)
        if type_of(tuple_item(one, 0)) != tuple_item(one, 1):
            return False
    looks, room = tuple_item(watched, _LOOKS), as_integer(tuple_item(tuple_item(me, OWN), _ROOM))
    for k in range(tuple_size(looks)):
        one = tuple_item(looks, k)
        if not _holds_these(tuple_item(one, 0), tuple_item(one, 1), room, me):
            return False
    if not still:
        take(now)
        set_list_item(counted, 0, now)
    return True


def see_whether_it_holds(me, arguments, count):
    """True if what is watched (see `Guard.watched`) is as it was, else None."""
    if not _holds(load(arguments), me):
        return nothing(me)
    true = tuple_item(tuple_item(me, OWN), _TRUE)
    take(true)
    return true


@inline
def _result(made, result, signature):
    """What a function gives that was traced: its result is built of a list of handles."""
    if tuple_size(load(signature + OUTPUTS)) == 1:
        handles = new_list(1)
        if handles == 0:
            drop(made)
            return handles
        set_list_item(handles, 0, made)
    else:
        handles = list_from(made)
        drop(made)
        if handles == 0:
            return handles
    built = call_with(result, handles)
    drop(handles)
    return built


def record_call(me, arguments, count):
    """A call of a cell, if what it watches is as it was and the call is of a known kind.

    Its arguments are what is watched (see `Guard.watched`; None for nothing), a tuple of kinds, and
    the arguments of the call.
    """
    kinds = load(arguments + 8)
    if load(arguments) != tuple_item(me, NOTHING):
        holds = run(as_integer(tuple_item(tuple_item(me, OWN), _HOLDS)), me, arguments, 1)
        if holds == tuple_item(me, NOTHING):
            return holds
        drop(holds)
    for k in range(tuple_size(kinds)):
        kind = tuple_item(kinds, k)
        found = _matched(kind, arguments + 16, count - 2, me)
        if found > 0:
            own = tuple_item(me, OWN)
            room = as_integer(tuple_item(own, _ROOM))
            signature, paths = tuple_item(kind, _SIGNATURE), tuple_item(kind, _PATHS)
            store(room, signature)
            store(room + 8, paths)
            if tuple_size(paths) != 0:
                made = run(as_integer(tuple_item(own, _RECORD_ITEMS)), me, room, 2 + found)
            else:
                store(room + 8, signature)
                short = as_integer(tuple_item(own, _RECORD_SIGNATURE))
                made = run(short, me, room + 8, 1 + found)
            if made == 0 or made != tuple_item(me, NOTHING):
                result = tuple_item(kind, _RESULT)
                if made == 0 or result == tuple_item(me, NOTHING):
                    return made
                return _result(made, result, signature)
            drop(made)
    return nothing(me)


def _own() -> tuple[Any, ...]:
    inner = (see_whether_it_holds, record_signature, record_items)
    return *_own_to_look, *[compiled(function, FROZEN) for function in inner]


_own_to_look = _room.ctypes.data, weakref.ref, True
holds = Short(see_whether_it_holds, _own_to_look)
calls = Short(record_call, _own)
