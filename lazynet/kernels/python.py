"""The door to CPython: compiled functions that Python calls as it calls its own built-in ones.

Such a function gets the addresses of Python objects. Where an object keeps a slot is found by
trying; everything else goes through CPython's own C functions, by name. Whoever writes one holds
three rules: a reference that is stored is counted (`take`); nothing is half done when memory runs
out; what it does not know it leaves to Python, by giving None.
"""

import ctypes
import itertools
import sys
import weakref

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from lazynet.kernels.jit import callback_address, inline
from lazynet.kernels.memory import load, row_int32

_WORD, _NAME = types.int64, types.ExternalFunction
_WORDS = ir.IntType(64)

# Of keys that can be hashed and compared: unlike `PyDict_GetItem`, it does not look for errors.
dictionary_item = _NAME("PyDict_GetItemWithError", _WORD(_WORD, _WORD))
dictionary_size = _NAME("PyDict_Size", _WORD(_WORD))
# The next item, from a position on; where to put position, key and value are addresses.
dictionary_next = _NAME("PyDict_Next", types.int32(_WORD, _WORD, _WORD, _WORD))
weak_reference = _NAME("PyWeakref_NewRef", _WORD(_WORD, _WORD))  # the one that has no callback
set_size = _NAME("PySet_Size", _WORD(_WORD))
set_has = _NAME("PySet_Contains", types.int32(_WORD, _WORD))
as_integer = _NAME("PyLong_AsLongLong", _WORD(_WORD))
new_integer = _NAME("PyLong_FromLongLong", _WORD(_WORD))
new_object = _NAME("PyType_GenericAlloc", _WORD(_WORD, _WORD))
take = _NAME("Py_IncRef", types.void(_WORD))
new_tuple = _NAME("PyTuple_New", _WORD(_WORD))
set_tuple_item = _NAME("PyTuple_SetItem", types.int32(_WORD, _WORD, _WORD))  # takes a reference
tuple_size = _NAME("PyTuple_Size", _WORD(_WORD))
append_item = _NAME("PyList_Append", types.int32(_WORD, _WORD))  # takes a reference of its own
new_list = _NAME("PyList_New", _WORD(_WORD))
set_list_item = _NAME("PyList_SetItem", types.int32(_WORD, _WORD, _WORD))  # takes a reference
list_item = _NAME("PyList_GetItem", _WORD(_WORD, _WORD))
list_size = _NAME("PyList_Size", _WORD(_WORD))
forget_error = _NAME("PyErr_Clear", types.void())
drop = _NAME("Py_DecRef", types.void(_WORD))
list_from = _NAME("PySequence_List", _WORD(_WORD))  # a new one of what a tuple holds
call_with = _NAME("PyObject_CallOneArg", _WORD(_WORD, _WORD))
equal = _NAME("PyObject_RichCompareBool", types.int32(_WORD, _WORD, types.int32))
as_double = _NAME("PyFloat_AsDouble", types.float64(_WORD))
contents = _NAME("PyCell_Get", _WORD(_WORD))  # of a variable; a reference of its own, 0 without
this_thread = _NAME("PyThread_get_thread_ident", types.ulong())
_bytes_resize = _NAME("PyByteArray_Resize", types.int32(_WORD, _WORD))
_bytes_size = _NAME("PyByteArray_Size", _WORD(_WORD))
_bytes_at = _NAME("PyByteArray_AsString", _WORD(_WORD))

# What `PyCFunction` calls with (itself, the address of its arguments, their number).
_METHOD_TYPE = _WORD(_WORD, _WORD, _WORD)
_FASTCALL = 0x0080  # METH_FASTCALL


class _Definition(ctypes.Structure):
    """A PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("documentation", ctypes.c_char_p),
    )


_kept: list[object] = []  # CPython keeps the address of a definition, not the definition


def available() -> bool:
    """Whether objects lie in memory as this file takes for granted: CPython with its lock."""
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    return sys.implementation.name == "cpython" and locked and ctypes.sizeof(ctypes.c_void_p) == 8


def _word_that_is(thing: object, sought: object) -> int:
    """How many bytes into an object the address of another lies; 0 where nobody may look."""
    if not available():
        return 0
    for at in range(0, thing.__sizeof__(), 8):
        if ctypes.c_int64.from_address(id(thing) + at).value == id(sought):
            return at
    raise RuntimeError(f"{type(thing).__name__} keeps its slots where they cannot be found")


def _word_of(thing: object, word: int) -> int:
    """How many bytes into an object a number lies; 0 where nobody may look."""
    if not available():
        return 0
    for at in range(0, type(thing).__basicsize__, 8):
        if ctypes.c_int64.from_address(id(thing) + at).value == word:
            return at
    raise RuntimeError(f"{type(thing).__name__} keeps {word} where it cannot be found")


def slot_offset(owner: type, name: str) -> int:
    """How many bytes into an instance of a class with `__slots__` one of them lies."""
    thing, marker = object.__new__(owner), object()
    getattr(owner, name).__set__(thing, marker)
    return _word_that_is(thing, marker)


_marker = object()
_TYPE = _word_that_is(_marker, object)
_TUPLE_ITEMS = _word_that_is((_marker,), _marker)
_named = type("_Named", (), {})
_REFERENT = _word_that_is(weakref.ref(_named), _named)


def _some_function(): ...


_some_function.__defaults__, _some_function.__kwdefaults__ = (_marker,), {"": _marker}
CODE, DEFAULTS, KEYWORD_DEFAULTS = (
    _word_that_is(_some_function, part)
    for part in (
        _some_function.__code__, _some_function.__defaults__, _some_function.__kwdefaults__,
    )
)  # fmt: skip


def _references_of() -> int:
    """How many bytes into an object the number of references to it lies; 0 as above."""
    if not available():
        return 0
    thing = object()
    held = [thing] * 1000
    for at in range(0, object.__basicsize__, 8):
        if ctypes.c_uint32.from_address(id(thing) + at).value == len(held) + 1:
            return at
    raise RuntimeError("objects keep the number of their references where it cannot be found")


_REFERENCES = _references_of()
# What compiled code takes for granted.
LAYOUT = (
    f"{sys.hexversion:x} {_TYPE} {_TUPLE_ITEMS} {_REFERENT} {_REFERENCES} "
    f"{CODE} {DEFAULTS} {KEYWORD_DEFAULTS}"
)


# Smaller ints are kept by Python for good, one object for all who have such a number.
FIRST_OWN_INTEGER = next(n for n in itertools.count() if int(str(n)) is not int(str(n)))

_numbers = np.zeros(1)
_DATA = _word_of(_numbers, _numbers.ctypes.data)
_integer_at = ctypes.c_int64.from_address


def data_of(array) -> int:
    """Where the elements of an array lie; of numpy's own, sooner told than by `ctypes.data`."""
    if _DATA and array.__class__ is np.ndarray:
        return _integer_at(id(array) + _DATA).value
    return array.ctypes.data


@inline
def type_of(thing):
    """The class of an object."""
    return load(thing + _TYPE)


@inline
def tuple_item(values, k):
    """An item of a tuple; the reference is the tuple's."""
    return load(values + _TUPLE_ITEMS + 8 * k)


@inline
def references(thing):
    """How many references there are to an object."""
    return load(thing + _REFERENCES) & 0xFFFFFFFF


@inline
def referent(reference):
    """What a weak reference stands for, as long as that lives; None from then on."""
    return load(reference + _REFERENT)


@intrinsic
def run(typing_context, address, own, arguments, count):
    """Call the function at an address that `compiled` gave."""

    def generate(context, builder, signature, values):
        kind = ir.FunctionType(_WORDS, [_WORDS] * 3)
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])

    return _WORD(_WORD, _WORD, _WORD, _WORD), generate


@inline
def extended(tape, words):
    """The last 32-bit `words` of a bytearray that grew by so many; empty where it could not."""
    size = _bytes_size(tape)
    if _bytes_resize(tape, size + 4 * words) < 0:
        return row_int32(tape, 0)
    return row_int32(_bytes_at(tape) + size, words)


def compiled(function, frozen: str) -> int:
    """The address of `function(own, arguments, count)`, compiled.

    `frozen` are the constants that it was compiled with; other ones are compiled anew.
    """
    function.frozen = f"{LAYOUT} {frozen}"
    return callback_address(function, _METHOD_TYPE)


def built_in(function, own: tuple, frozen: str):
    """A built-in function that runs `function(own, arguments, count)`, compiled.

    `own` is what it works with, handed to it as the address of this tuple.
    """
    address = compiled(function, frozen)
    definition = _Definition(function.__name__.encode(), address, _FASTCALL, None)
    _kept.append(definition)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = (
        ctypes.py_object,
        (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p),
    )
    return make(ctypes.addressof(definition), own, None)
