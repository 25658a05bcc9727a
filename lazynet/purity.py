"""What Python state a function depends on, and whether it has changed.

A traced function (`cell.py`) is good only as long as what it read from Python is what it was: the
variables it closes over, the globals it names, the attributes of the object it is a method of. A
`Guard` collects these by looking at the code, remembers them, and says whether they still hold.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from lazynet.tensor import Value

# Counts assignments to attributes of modules: while it stands still, so do they.
CHANGES = [0]
MOST_WATCHED = 10_000  # objects behind one function

_PLAIN = (int, float, complex, bool, str, bytes, type(None), np.generic, np.dtype, type, range)
_LIBRARIES = {"lazynet", "numpy", "math", "operator", "functools", "itertools", "typing"}


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
        self._globals: list[tuple[Mapping[str, Any], str]] = []
        self._constants: list[Any] = []  # defaults of arguments
        self.codes: set[types.CodeType] = set()  # whose state is watched
        self.libraries: list[Any] = []  # modules, classes and functions that it names, unwatched
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
        self._cells += function.__closure__ or ()
        self._constants += [function.__defaults__, function.__kwdefaults__]
        names = _names(function.__code__, self.codes)
        for name in sorted(names & function.__globals__.keys()):
            self._add_global(function.__globals__, name, names, seen)
        for cell in function.__closure__ or ():
            self._follow(_contents(cell), names, seen)

    def _collect_classes(self, owner: Any, seen: set[int]) -> None:
        """What the code names of its object's class, and of the classes of modules below that."""
        modules: Any = getattr(owner, "submodules", tuple)()
        kinds = {base for x in (owner, *modules) for base in type(x).__mro__}
        kinds = {kind for kind in kinds if kind is not object and not _is_ours(kind)}
        known: set[str] = set()
        names = {"forward"}
        while known != names:  # following a function adds the names that it uses
            for kind in kinds:
                for name in sorted((names - known) & vars(kind).keys()):
                    self._add_member(vars(kind), name, seen)
            known = names
            names = names.union(*(code.co_names for code in self.codes))

    def _add_member(self, namespace: Mapping[str, Any], name: str, seen: set[int]) -> None:
        value = namespace[name]
        value = getattr(value, "__wrapped__", value)  # a class method, a static one
        value = getattr(value, "fget", value)
        if isinstance(value, types.FunctionType):
            self._collect(value, seen)
        elif not hasattr(value, "__get__"):
            self._globals.append((namespace, name))
            self._follow(value, set(), seen)

    def _add_global(
        self, namespace: Mapping[str, Any], name: str, names: set[str], seen: set[int]
    ) -> None:
        value = namespace[name]
        if _is_library(value):
            self.libraries.append(value)
            return
        self._globals.append((namespace, name))
        self._follow(value, names, seen)

    def _follow(self, value: Any, names: set[str], seen: set[int]) -> None:
        """Go on through functions that the function may call, and modules that it names."""
        value = getattr(value, "__wrapped__", value)
        if isinstance(value, types.MethodType):
            value = value.__func__
        if isinstance(value, types.FunctionType) and not _is_library(value):
            self._collect(value, seen)
        elif isinstance(value, types.ModuleType) and id(value) not in seen:
            seen.add(id(value))
            for name in sorted(names & vars(value).keys()):
                self._add_global(vars(value), name, names, seen)

    def _watched(self) -> list[Any]:
        found = [_contents(cell) for cell in self._cells]
        found += [namespace.get(name) for namespace, name in self._globals]
        return found

    def _watch(self) -> None:
        self._values = self._watched()
        self.changes = CHANGES[0]
        watcher = _Snapshot()
        self.state = (
            watcher.of(tuple(self._values)), watcher.of(tuple(self._constants)),
            watcher.of(self._owner_now()),
        )  # fmt: skip
        self._mutable = watcher.mutable
        self.unsure = watcher.mutable or watcher.opaque
        # Nothing to look at but the attributes of modules, which count their changes.
        self.steady = not (self._mutable or self._cells or self._globals)

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
        for namespace, name in self._globals:
            if namespace.get(name) is not self._values[at]:
                return False
            at += 1
        return True


class _Snapshot:
    """Turns state into something that can be compared, and notes whether it can change in place."""

    def __init__(self):
        self.mutable = False
        self.opaque = False  # whether something was met of which only the identity is known
        self._seen: set[int] = set()

    def of(self, value: Any) -> Any:
        if isinstance(value, _PLAIN):
            return value.__class__, value if value == value else "nan"
        if isinstance(value, Value):
            return id(value.graph), value.id
        if isinstance(value, (tuple, frozenset)):
            return tuple(map(self.of, value))
        if isinstance(value, types.FunctionType | types.BuiltinFunctionType):
            return id(value)
        if id(value) in self._seen or hasattr(value, "__wrapped__"):
            return id(value)
        self._seen.add(id(value))
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

    def _of_object(self, value: Any) -> Any:
        members = getattr(value, "_members", None)
        if members is not None:  # a Module counts its changes
            own = type(value).__module__.split(".")[0] == "lazynet"
            items = [(k, v) for k, v in members() if not (own and _private(k, v))]
            return id(value), getattr(value, "training", None), tuple(
                (name, self.of(member)) for name, member in items
            )  # fmt: skip
        attributes = getattr(value, "__dict__", None)
        if attributes is None or isinstance(value, (types.ModuleType, types.MethodType)):
            self.opaque |= attributes is None
            return id(value)
        self.mutable = True
        return id(value), tuple((name, self.of(member)) for name, member in attributes.items())


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
    if isinstance(value, (type, types.BuiltinFunctionType)):
        return True
    home = getattr(value, "__module__", None)
    return isinstance(value, types.FunctionType) and str(home).split(".")[0] == "lazynet"
