"""What Python state a function depends on, and whether it has changed.

A traced function (`cell.py`) is good only as long as what it read from Python is what it was: the
variables it closes over, the globals it names, the attributes of the object it is a method of. A
`Guard` collects these by looking at the code, remembers them, and says whether they still hold.
"""

from __future__ import annotations

import enum
import types
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lazynet.tensor import Value

# Counts assignments to attributes of modules: while it stands still, so do they.
CHANGES = [0]
MOST_WATCHED = 10_000  # objects behind one function

_PLAIN = (int, float, complex, bool, str, bytes, type(None), np.generic, np.dtype, range)
_LIBRARIES = {"lazynet", "numpy", "math", "operator", "functools", "itertools", "typing"}
_OF_LIBRARIES = {*_LIBRARIES, "builtins"}  # classes that have no state of a user's


class ImpureFunction(TypeError):
    """A function that was to be traced and is no pure function of its arguments."""

    def __init__(self, name: str):
        super().__init__(
            f"{name}: it is traced once and must be a pure function of its arguments; this one "
            "changes what it reads, or did something else the second time it was called"
        )


class Guard:
    """The state behind a function, or behind a method of `owner`."""

    def __init__(self, function: types.FunctionType, owner: Any = None):
        self._owner = owner
        self._cells: list[types.CellType] = []
        self._named: list[tuple[Mapping[str, Any], str]] = []  # globals, and members of classes
        self._constants: list[Any] = []  # defaults of arguments
        self.codes: set[types.CodeType] = set()  # whose state is watched
        self.libraries: list[Any] = []  # modules, classes and functions that it names, unwatched
        self._function = function
        self._looked: set[tuple[int, str]] = set()  # names that are watched, and where
        if owner is not None or not _is_library(function):
            seen: set[int] = set()
            self._collect(function, seen)
            if owner is not None:
                self._collect_classes(owner(), seen)
        self._watch()

    def _collect(self, function: types.FunctionType, seen: set[int]) -> None:
        if id(function) in seen:
            return
        seen.add(id(function))
        own = () if _is_library(function) else function.__closure__ or ()
        self._cells += own
        self._constants += [function.__defaults__, function.__kwdefaults__]
        names = _names(function.__code__, self.codes)
        for name in sorted(names & function.__globals__.keys()):
            self._add_global(function.__globals__, name, names, seen)
        for cell in own:
            self._follow(_contents(cell), names, seen)

    def _collect_classes(self, owner: Any, seen: set[int]) -> None:
        """What the code names of its object's class, and of the classes of modules below that."""
        modules: Any = getattr(owner, "submodules", tuple)()
        orders = {_own_bases(type(x)) for x in (owner, *modules)}
        known: set[str] = set()
        names = {"forward"}
        while known != names:  # following a function adds the names that it uses
            for order in orders:
                self._add_members(order, names - known, seen)
            known = names
            names = names | self._names_in_code()

    def _add_members(self, order: tuple[type, ...], names: set[str], seen: set[int]) -> None:
        """What of these names is found in a class, whose bases may come to hide each other's."""
        for name in sorted(names):
            if any(name in vars(kind) for kind in order):
                for kind in order:
                    self._add_member(kind, name, seen)

    def _add_member(self, kind: type, name: str, seen: set[int]) -> None:
        value = vars(kind).get(name)
        if getattr(value, "__wrapped__", value) is not self._function:
            self._add_watched(kind, name)
        value = getattr(value, "__wrapped__", value)  # a class method, a static one
        value = getattr(value, "fget", value)
        self._follow(value, self._names_in_code(), seen)

    def _names_in_code(self) -> set[str]:
        """All names in the code that was collected."""
        return set().union(*(code.co_names for code in self.codes))

    def _add_watched(self, home: Any, name: str) -> None:
        """Watch a name in a class or in a function's globals."""
        if (id(home), name) not in self._looked:
            self._looked.add((id(home), name))
            self._named.append((vars(home) if isinstance(home, type) else home, name))

    def _add_global(
        self, namespace: Mapping[str, Any], name: str, names: set[str], seen: set[int]
    ) -> None:
        value = namespace[name]
        if _is_library(value):
            self.libraries.append(value)
        else:
            self._add_watched(namespace, name)
            self._follow(value, names, seen)

    def _follow(self, value: Any, names: set[str], seen: set[int]) -> None:
        """Go on through functions that the function may call, and what it names of modules."""
        value = getattr(value, "__wrapped__", value)
        if isinstance(value, types.MethodType):
            value = getattr(value.__func__, "__wrapped__", value.__func__)
        if isinstance(value, types.FunctionType) and not _is_library(value):
            self._collect(value, seen)
        elif isinstance(value, types.ModuleType) and not _is_library(value):
            for name in sorted(names & vars(value).keys()):
                if (id(vars(value)), name) not in self._looked:
                    self._add_global(vars(value), name, names, seen)
        elif isinstance(value, type):
            self.libraries.append(value)
            new = {name for name in names if (id(value), name) not in self._looked}
            self._add_members(_own_bases(value), new, seen)

    def _watched(self) -> list[Any]:
        found = [_contents(cell) for cell in self._cells]
        found += [namespace.get(name) for namespace, name in self._named]
        return found

    def _watch(self) -> None:
        self._values = self._watched()
        self.changes = CHANGES[0]
        watcher = _Snapshot()
        self.state = (
            tuple(map(watcher.of_named, self._values)), watcher.of(tuple(self._constants)),
            watcher.of(self._owner_now()),
        )  # fmt: skip
        self._mutable = watcher.mutable
        self.unsure = watcher.mutable or watcher.opaque
        self.built_in = watcher.built_in
        # Nothing to look at but the attributes of modules, which count their changes.
        self.steady = not (self._mutable or self._cells or self._named)

    def _owner_now(self) -> Any:
        return None if self._owner is None else self._owner()

    def holds(self) -> bool:
        """Whether all is as it was; if not, `state` is what it is now."""
        if self.changes == CHANGES[0] and not self._mutable and self._unchanged():
            return True
        before = self.state
        self._watch()
        return self.state == before

    def _unchanged(self) -> bool:
        at = 0
        for cell in self._cells:
            if _contents(cell) is not self._values[at]:
                return False
            at += 1
        for namespace, name in self._named:
            if namespace.get(name) is not self._values[at]:
                return False
            at += 1
        return True


class _Same:
    """Stands for one object and no other, also when it is gone and another has its address."""

    __slots__ = ("_held",)

    def __init__(self, value: Any):
        try:
            self._held = weakref.ref(value)  # one for each object
        except TypeError:
            self._held = value

    def __eq__(self, other: Any) -> bool:
        return other.__class__ is _Same and self._held is other._held

    def __hash__(self) -> int:
        return id(self._held)


class _Snapshot:
    """Turns state into something that can be compared, and notes whether it can change in place."""

    def __init__(self):
        self.mutable = False
        self.opaque = False  # whether something was met of which only the identity is known
        self.built_in: list[Any] = []  # functions that were met
        self._seen: dict[int, int] = {}

    def of_named(self, value: Any) -> Any:
        """Of what a name stands for: what code names of a class is watched by itself."""
        return _Same(value) if isinstance(value, type) else self.of(value)

    def of(self, value: Any) -> Any:
        if isinstance(value, _PLAIN) and not hasattr(value, "__dict__"):
            # What is false is told by its looks: 0.0 is not -0.0. NaN is not equal to itself.
            return value.__class__, value if value == value and value else repr(value)
        if isinstance(value, enum.Enum):
            return _Same(value)
        if isinstance(value, Value):
            return _Same(value.graph), value.id, value.type
        if isinstance(value, (tuple, frozenset)):
            return value.__class__, tuple(map(self.of, value))
        if isinstance(value, _FUNCTIONS) or hasattr(value, "__wrapped__"):
            return self._of_function(value)
        if isinstance(value, type):
            self.mutable |= value.__module__.split(".")[0] not in _OF_LIBRARIES
            return _Same(value)
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
        if isinstance(value, dict):
            self.mutable = True
            return tuple((self.of(k), self.of(v)) for k, v in value.items())
        if isinstance(value, np.ndarray):
            self.mutable = True
            return value.dtype.str, value.shape, value.tobytes()
        return self._of_object(value)

    def _of_function(self, value: Any) -> Any:
        """Of what is called: which it is, what it is bound to, and the attributes it has."""
        if isinstance(value, types.FunctionType):
            attributes = [(k, self.of(v)) for k, v in vars(value).items() if k != "__wrapped__"]
            self.mutable |= bool(attributes)
            return _Same(value), tuple(attributes)
        if isinstance(value, types.MethodType):
            return self.of(value.__func__), self.of(value.__self__)
        if isinstance(value, types.BuiltinFunctionType):
            self.built_in.append(value)
            self.opaque |= not isinstance(value.__self__, types.ModuleType | None)
            return _Same(value)
        if _is_ours(type(value)):  # a cell
            function, owner = value.plain()
            return self.of(function) if owner is None else (self.of(function), self.of(owner))
        self.opaque |= not isinstance(value, _DESCRIPTORS)  # it may remember results
        return _Same(value)

    def _of_object(self, value: Any) -> Any:
        members = getattr(value, "_members", None)
        if members is not None:  # a Module counts its changes
            own = type(value).__module__.split(".")[0] == "lazynet"
            items = [(k, v) for k, v in members() if not (own and _private(k, v))]
            return _Same(value), getattr(value, "training", None), tuple(
                (name, self.of(member)) for name, member in (*items, *_slots(value))
            )  # fmt: skip
        attributes = getattr(value, "__dict__", None)
        if isinstance(value, types.ModuleType):
            return _Same(value)
        if attributes is None:
            self.opaque = True
            return _Same(value)
        self.mutable = True
        items = [*attributes.items(), *_slots(value)]
        number = repr(value) if isinstance(value, _PLAIN) else None
        return _Same(value), number, tuple((name, self.of(member)) for name, member in items)


_DESCRIPTORS = (
    property, staticmethod, classmethod, types.MemberDescriptorType, types.GetSetDescriptorType,
)  # fmt: skip
_FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, *_DESCRIPTORS)


def _slots(value: Any) -> Iterator[tuple[str, Any]]:
    """What an object keeps outside of its dictionary, in slots of users' classes."""
    for kind in _own_bases(type(value)):
        for name, member in vars(kind).items():
            if isinstance(member, types.MemberDescriptorType) and hasattr(value, name):
                yield name, member.__get__(value)


def _own_bases(kind: type) -> tuple[type, ...]:
    """A class and its bases, as far as they are users'."""
    return tuple(base for base in kind.__mro__ if not _is_library(base))


def _private(name: Any, value: Any) -> bool:
    """What our own modules keep for themselves, and nothing that they compute depends on."""
    return isinstance(name, str) and name.startswith("_") and isinstance(value, (dict, list))


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _names(code: types.CodeType, codes: set[types.CodeType]) -> set[str]:
    """The names that a piece of code, or one inside it, reads; each piece is added to `codes`."""
    codes.add(code)
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant, codes)
    return found


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "lazynet"


def _is_library(value: Any) -> bool:
    """Whether something belongs to a library whose state does not change."""
    value = getattr(value, "__wrapped__", value)
    if isinstance(value, types.ModuleType):
        return value.__name__.split(".")[0] in _LIBRARIES
    if isinstance(value, types.BuiltinFunctionType):
        return isinstance(value.__self__, types.ModuleType | None)
    home = str(getattr(value, "__module__", None)).split(".")[0]
    if isinstance(value, type):
        return home in _OF_LIBRARIES
    return isinstance(value, types.FunctionType) and home == "lazynet"
