"""State of Python's as something that can be compared: what it was, against what it is now."""

from __future__ import annotations

import array
import collections
import collections.abc
import contextvars
import enum
import functools
import itertools
import sys
import types
import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from lazynet.tensor import Value

MOST_WATCHED = 10_000  # objects behind one function
LIBRARIES = {"lazynet", "numpy", "math", "operator", "functools", "itertools", "typing"}
_OF_LIBRARIES = {*LIBRARIES, "builtins"}  # classes that have no state of a user's
PLAIN = (int, float, complex, bool, str, bytes, type(None), np.generic, np.dtype, range)


def mark(value: Any) -> Any:
    """What stands for one object and no other: the one weak reference to it, or itself."""
    try:
        return weakref.ref(value)
    except TypeError:
        return value


class Same:
    """Stands for one object and no other, also when it is gone and another has its address."""

    __slots__ = ("_held",)

    def __init__(self, value: Any):
        self._held = mark(value)

    def __eq__(self, other: Any) -> bool:
        return other.__class__ is Same and self._held is other._held

    def __hash__(self) -> int:
        return id(self._held)


# Counts assignments to attributes of modules: while it stands still, so do they.
CHANGES = [0]
_counters: dict[int, list[int]] = {}  # of modules that are watched, by id: the same of each


def note_change(module: Any) -> None:
    """An attribute of a module is assigned, or deleted."""
    CHANGES[0] += 1
    counter = _counters.get(id(module))
    if counter is not None:
        counter[0] += 1


def _counter_of(module: Any) -> list[int]:
    number = id(module)
    if number not in _counters:
        weakref.finalize(module, _counters.pop, number, None).atexit = False
    return _counters.setdefault(number, [0])


class Snapshot:
    """Turns state into something that can be compared, and notes how to see soon if it changed.

    Args:
        owner: the object behind it, which nothing that is noted may keep alive.
        followed: functions of which somebody else watches what they close over.
    """

    def __init__(self, owner: Any = None, followed: Container[Any] = ()):
        self.opaque = False  # whether something was met of which only the identity is known
        self.built_in: list[Any] = []  # functions that were met
        # Users' classes that were met, of which code may name members; functions that nobody
        # follows, and modules.
        self.kinds: set[type] = set()
        self.functions: list[types.FunctionType] = []
        self.modules: list[types.ModuleType] = []
        self.counters: list[tuple[list[int], int]] = []  # of modules, and their counts
        self.cells: list[tuple[types.CellType, Any]] = []  # variables of functions, what they hold
        self.classes: list[tuple[Any, type]] = []  # objects, and of which class they are
        self.looks: list[tuple[Any, tuple[Any, ...]]] = []  # lists and dicts, marks of what's there
        self.others: list[tuple[Callable, Any, Any]] = []  # (look, of what, what it gave)
        self.leads_back = False  # whether what is looked at may hold the owner
        self._owner, self._followed = owner, followed
        self._seen: dict[int, int] = {}

    def holds_anything(self) -> bool:
        """Whether what was noted holds objects that may lead back to the owner."""
        return any((self.cells, self.classes, self.looks, self.others))

    def of_named(self, value: Any) -> Any:
        """Of what a name stands for: what code names of a class is watched by itself."""
        return Same(value) if isinstance(value, type) else self.of(value)

    def of(self, value: Any) -> Any:
        if isinstance(value, PLAIN) and not hasattr(value, "__dict__"):
            # What is false is told by its looks: 0.0 is not -0.0. NaN is not equal to itself.
            return value.__class__, value if value == value and value else repr(value)
        if isinstance(value, enum.Enum):
            self._note(type(value))
            return Same(value)
        if isinstance(value, Value):
            return Same(value.graph), value.id, value.type
        if isinstance(value, (tuple, frozenset)):
            return value.__class__, tuple(map(self.of, value)), self._beside(value)
        if isinstance(value, _FUNCTIONS) or hasattr(value, "__wrapped__"):
            return self._of_function(value)
        if isinstance(value, type):
            self.opaque |= value.__module__.split(".")[0] not in _OF_LIBRARIES
            self._note(value)
            return Same(value)
        if id(value) in self._seen:
            self.leads_back |= value is self._owner
            return self._seen[id(value)]
        self._seen[id(value)] = len(self._seen)
        if len(self._seen) > MOST_WATCHED:
            raise TypeError(
                f"a traced function depends on a {type(value).__name__} and thousands of other "
                "objects, too many to watch for changes; give it what it needs as an argument"
            )
        if isinstance(value, _CONTAINERS):
            look = bytes if isinstance(value, (bytearray, array.array)) else _things
            return value.__class__, self._inside(value, value, look), self._beside(value)
        if isinstance(value, (dict, types.MappingProxyType)):
            found = self._inside(value, _pairs(value), _pairs_in)
            return tuple(zip(found[::2], found[1::2], strict=True)), self._beside(value)
        if isinstance(value, np.ndarray):
            things = value.ravel().tolist() if value.dtype.hasobject else ()
            inside = tuple(map(self.of, things))
            return self._look(value, _numbers), inside, self._beside(value)
        if isinstance(value, weakref.ref):
            return Same(value), self._of_referent(value())
        if isinstance(value, contextvars.ContextVar):
            self._look(value, _set_now)
            return Same(value), self.of(value.get(None))
        return self._of_object(value)

    def _note(self, kind: type) -> None:
        if not is_library(kind) and kind.__module__ not in sys.stdlib_module_names:
            self.kinds.add(kind)

    def _look(self, value: Any, look: Callable) -> Any:
        """Note how to look at something; what it looks like."""
        found = look(value)
        self.others.append((look, value, found))
        return found

    def _inside(self, value: Any, things: Iterable[Any], look: Callable) -> tuple[Any, ...]:
        """The state of things in a container, and a note of how to look at it."""
        things = list(things)
        if value.__class__ in (list, dict):
            self.looks.append((value, tuple(map(mark, things))))
        else:
            self._look(value, look)
        return tuple(map(self.of, things))

    def _of_function(self, value: Any) -> Any:
        """Of what is called: which it is, what it is bound to, and the attributes it has."""
        if isinstance(value, types.FunctionType):
            own = vars(value)
            closure = self._of_closure(value)
            if own.keys() <= {"__wrapped__"}:
                return Same(value), (), closure
            return Same(value), self._inside(own, _pairs(own), _pairs_in), closure
        if isinstance(value, types.MethodType):
            return self.of(value.__func__), self.of(value.__self__)
        if isinstance(value, types.BuiltinFunctionType):
            self.built_in.append(value)
            if isinstance(value.__self__, types.ModuleType | None | type):
                return Same(value)
            self.opaque = True
            return value.__name__, self.of(value.__self__)
        if _is_ours(type(value)):  # a cell
            function, owner = value.plain()
            return self.of(function) if owner is None else (self.of(function), self.of(owner))
        self.opaque |= not isinstance(value, _DESCRIPTORS)  # it may remember results
        if isinstance(value, functools.partial):
            return Same(value), self.of((value.func, value.args, value.keywords))
        return Same(value)

    def _of_referent(self, value: Any) -> Any:
        """Of what is held weakly, which nothing that is noted may keep alive."""
        self.leads_back |= id(value) not in self._seen
        return self.of(value)

    def _of_closure(self, function: types.FunctionType) -> Any:
        """Of what a user's function that was met closes over, and of its defaults."""
        if is_library(function) or function in self._followed or id(function) in self._seen:
            return None
        self._seen[id(function)] = len(self._seen)
        self.functions.append(function)
        own = function.__closure__ or ()
        self.cells += [(cell, contents(cell)) for cell in own]
        defaults = function.__defaults__, tuple((function.__kwdefaults__ or {}).items())
        return tuple(self.of(contents(cell)) for cell in own), self.of(defaults)

    def _of_object(self, value: Any) -> Any:
        members = getattr(value, "_members", None)
        if members is not None:  # a Module counts its changes
            self._note(type(value))
            counter = _counter_of(value)
            self.counters.append((counter, counter[0]))
            own = _is_ours(type(value))
            items = [(k, v) for k, v in members() if not (own and _private(k, v))]
            return Same(value), Same(type(value)), getattr(value, "training", None), tuple(
                (name, self.of(member)) for name, member in (*items, *_slots(value))
            )  # fmt: skip
        if isinstance(value, types.ModuleType):
            if not is_library(value):
                self.modules.append(value)
            return Same(value)
        number = repr(value) if isinstance(value, PLAIN) else None
        beside = self._beside(value)
        self.opaque |= beside is None
        return Same(value), number, beside

    def _beside(self, value: Any) -> Any:
        """The class, attributes and slots of what may be a container, too; None without."""
        self._note(type(value))
        attributes, slots = getattr(value, "__dict__", None), list(_slots(value))
        if attributes is None and not slots:
            return None
        if value is self._owner:
            self._look(weakref.ref(value), _class_of)
        else:
            self.classes.append((value, type(value)))
        if slots:
            self._look(value, _in_slots)
        attributes = {} if attributes is None else attributes
        found = self._inside(attributes, _pairs(attributes), _pairs_in)
        kept = tuple((name, self.of(member)) for name, member in slots)
        return Same(type(value)), found, kept


_DESCRIPTORS = (
    property, staticmethod, classmethod, types.MemberDescriptorType, types.GetSetDescriptorType,
)  # fmt: skip
_FUNCTIONS = (
    types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial,
    *_DESCRIPTORS,
)  # fmt: skip
_CONTAINERS: Any = (
    list, set, bytearray, array.array, collections.deque, collections.abc.MappingView,
)  # fmt: skip


def _pairs(values: Any) -> Iterator[Any]:
    """The keys and the values of a dictionary, in turn."""
    return itertools.chain.from_iterable(values.items())


# What things of other kinds look like.


def _things(values: Iterable[Any]) -> list[Same]:
    return list(map(Same, values))


def _pairs_in(values: Any) -> list[Same]:
    return _things(_pairs(values))


def _in_slots(value: Any) -> list[Same]:
    return [Same(member) for _, member in _slots(value)]


def _class_of(reference: weakref.ref[Any]) -> Same:
    return Same(type(reference()))


def _numbers(values: np.ndarray) -> Any:
    return values.dtype.str, values.shape, values.tobytes()


def _set_now(variable: contextvars.ContextVar) -> Same:
    return Same(variable.get(None))


def _slots(value: Any) -> Iterator[tuple[str, Any]]:
    """What an object keeps outside of its dictionary, in slots of users' classes."""
    for kind in own_bases(type(value)):
        for name, member in vars(kind).items():
            if isinstance(member, types.MemberDescriptorType) and hasattr(value, name):
                yield name, member.__get__(value)


def contents(cell: types.CellType) -> Any:
    """What a variable of a closure holds; None before it is assigned."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def own_bases(kind: type) -> tuple[type, ...]:
    """A class and its bases, as far as they are users'."""
    return tuple(base for base in kind.__mro__ if not is_library(base))


def _private(name: Any, value: Any) -> bool:
    """What our own modules keep for themselves, and nothing that they compute depends on."""
    return isinstance(name, str) and name.startswith("_") and isinstance(value, (dict, list))


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "lazynet"


def is_ours(namespace: Mapping[str, Any]) -> bool:
    """Whether globals are those of a module of lazynet."""
    return str(namespace.get("__name__")).split(".")[0] == "lazynet"


def is_library(value: Any) -> bool:
    """Whether something belongs to a library whose state does not change."""
    if _is_ours(type(value)):  # a cell
        value = getattr(value, "__wrapped__", value)
    if isinstance(value, types.FunctionType):  # where its code is, whatever it wraps
        return is_ours(value.__globals__)
    if isinstance(value, types.ModuleType):
        return value.__name__.split(".")[0] in LIBRARIES
    if isinstance(value, types.BuiltinFunctionType):
        return isinstance(value.__self__, types.ModuleType | None)
    if isinstance(value, type):
        return value.__module__.split(".")[0] in _OF_LIBRARIES
    return False
