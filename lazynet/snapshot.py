"""State of Python's as something that can be compared: what it was, against what it is now."""

from __future__ import annotations

import array
import collections
import collections.abc
import contextvars
import enum
import functools
import sys
import types
import weakref
from collections.abc import Container, Iterator
from typing import Any

import numpy as np

from lazynet.tensor import Value

MOST_WATCHED = 10_000  # objects behind one function
LIBRARIES = {"lazynet", "numpy", "math", "operator", "functools", "itertools", "typing"}
_OF_LIBRARIES = {*LIBRARIES, "builtins"}  # classes that have no state of a user's
PLAIN = (int, float, complex, bool, str, bytes, type(None), np.generic, np.dtype, range)


class Same:
    """Stands for one object and no other, also when it is gone and another has its address."""

    __slots__ = ("_held",)

    def __init__(self, value: Any):
        try:
            self._held = weakref.ref(value)  # one for each object
        except TypeError:
            self._held = value

    def __eq__(self, other: Any) -> bool:
        return other.__class__ is Same and self._held is other._held

    def __hash__(self) -> int:
        return id(self._held)


class Snapshot:
    """Turns state into something that can be compared, and notes whether it can change in place."""

    def __init__(self, followed: Container[Any] = ()):
        """`followed`: functions of which somebody else watches what they close over."""
        self.mutable = False
        self.opaque = False  # whether something was met of which only the identity is known
        self.built_in: list[Any] = []  # functions that were met
        self.kinds: set[type] = (
            set()
        )  # users' classes that were met, of which code may name members
        self.functions: list[types.FunctionType] = []  # users' that were met, not followed
        self.modules: list[types.ModuleType] = []  # users' that were met
        self._followed = followed
        self._seen: dict[int, int] = {}

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
            self._note(type(value))
            return value.__class__, tuple(map(self.of, value))
        if isinstance(value, _FUNCTIONS) or hasattr(value, "__wrapped__"):
            return self._of_function(value)
        if isinstance(value, type):
            self.mutable |= value.__module__.split(".")[0] not in _OF_LIBRARIES
            self._note(value)
            return Same(value)
        if id(value) in self._seen:
            return self._seen[id(value)]
        self._seen[id(value)] = len(self._seen)
        if len(self._seen) > MOST_WATCHED:
            raise TypeError(
                f"a traced function depends on a {type(value).__name__} and thousands of other "
                "objects, too many to watch for changes; give it what it needs as an argument"
            )
        if isinstance(value, (list, set)):
            self.mutable = True
            return value.__class__, tuple(map(self.of, value))
        if isinstance(value, (dict, types.MappingProxyType)):
            self.mutable = True
            return tuple((self.of(k), self.of(v)) for k, v in value.items())
        if isinstance(value, np.ndarray):
            self.mutable = True
            return value.dtype.str, value.shape, value.tobytes()
        if isinstance(value, _CONTAINERS):
            self.mutable = True
            return value.__class__, tuple(map(self.of, list(value)))
        if isinstance(value, contextvars.ContextVar):
            self.mutable = True
            return Same(value), self.of(value.get(None))
        return self._of_object(value)

    def _note(self, kind: type) -> None:
        if not is_library(kind) and kind.__module__ not in sys.stdlib_module_names:
            self.kinds.add(kind)

    def _of_function(self, value: Any) -> Any:
        """Of what is called: which it is, what it is bound to, and the attributes it has."""
        if isinstance(value, types.FunctionType):
            attributes = [(k, self.of(v)) for k, v in vars(value).items() if k != "__wrapped__"]
            self.mutable |= bool(attributes)
            return Same(value), tuple(attributes), self._of_closure(value)
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

    def _of_closure(self, function: types.FunctionType) -> Any:
        """Of what a user's function that was met closes over, and of its defaults."""
        if is_library(function) or function in self._followed or id(function) in self._seen:
            return None
        self._seen[id(function)] = len(self._seen)
        self.functions.append(function)
        own = function.__closure__ or ()
        self.mutable |= bool(own)
        defaults = function.__defaults__, tuple((function.__kwdefaults__ or {}).items())
        return tuple(self.of(contents(cell)) for cell in own), self.of(defaults)

    def _of_object(self, value: Any) -> Any:
        self._note(type(value))
        members = getattr(value, "_members", None)
        if members is not None:  # a Module counts its changes
            own = type(value).__module__.split(".")[0] == "lazynet"
            items = [(k, v) for k, v in members() if not (own and _private(k, v))]
            return Same(value), getattr(value, "training", None), tuple(
                (name, self.of(member)) for name, member in (*items, *_slots(value))
            )  # fmt: skip
        attributes = getattr(value, "__dict__", None)
        if isinstance(value, types.ModuleType):
            if not is_library(value):
                self.modules.append(value)
            return Same(value)
        slots = list(_slots(value))
        if attributes is None and not slots:
            self.opaque = True
            return Same(value)
        self.mutable = True
        items = [*(attributes or {}).items(), *slots]
        number = repr(value) if isinstance(value, PLAIN) else None
        return (
            Same(value),
            Same(type(value)),
            number,
            tuple((name, self.of(member)) for name, member in items),
        )


_DESCRIPTORS = (
    property, staticmethod, classmethod, types.MemberDescriptorType, types.GetSetDescriptorType,
)  # fmt: skip
_FUNCTIONS = (
    types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial,
    *_DESCRIPTORS,
)  # fmt: skip
_CONTAINERS: Any = (bytearray, array.array, collections.deque, collections.abc.MappingView)


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


def is_library(value: Any) -> bool:
    """Whether something belongs to a library whose state does not change."""
    value = getattr(value, "__wrapped__", value)
    if isinstance(value, types.ModuleType):
        return value.__name__.split(".")[0] in LIBRARIES
    if isinstance(value, types.BuiltinFunctionType):
        return isinstance(value.__self__, types.ModuleType | None)
    home = str(getattr(value, "__module__", None)).split(".")[0]
    if isinstance(value, type):
        return home in _OF_LIBRARIES
    return isinstance(value, types.FunctionType) and home == "lazynet"
