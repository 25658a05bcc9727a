"""What Python state a function depends on, and whether it has changed.

A traced function (`cell.py`) is good only as long as what it read from Python is what it was: the
variables it closes over, the globals it names, the attributes of the object it is a method of. A
`Guard` collects these by looking at the code, remembers them, and says whether they still hold.
"""

from __future__ import annotations

import contextlib
import dis
import gc
import importlib.util
import itertools
import sys
import types
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from lazynet.quick_calls import holds
from lazynet.snapshot import CHANGES, Snapshot, contents, is_library, is_ours, mark, own_bases

FEW_MARKS = 200  # things in lists and dicts that are looked at in a microsecond


class ImpureFunction(TypeError):
    """A function that was to be traced and is no pure function of its arguments."""

    def __init__(self, name: str):
        super().__init__(
            f"{name}: it is traced once and must be a pure function of its arguments; this one "
            "changes what it reads, or did something else the second time it was called"
        )


def weakly(owner: Any) -> weakref.ref[Any]:
    """An object whose methods are traced, held weakly."""
    try:
        return weakref.ref(owner)
    except TypeError:
        raise TypeError(
            f"{type(owner).__name__} has __slots__ without '__weakref__'; add it (a dataclass: "
            "weakref_slot=True), so that what is traced of its methods ends with the object"
        ) from None


class Kept:
    """What is kept for each object, or function, as long as it lives, whatever it is equal to."""

    def __init__(self):
        self._found: dict[int, dict[Any, Any]] = {}

    def of(self, owner: Any) -> dict[Any, Any]:
        number = id(owner)
        found = self._found.get(number)
        if found is None:
            weakly(owner)
            weakref.finalize(owner, self._found.pop, number, None).atexit = False
            found = self._found.setdefault(number, {})
        return found


class Guard:
    """The state behind a function, or behind a method of `owner`."""

    def __init__(self, function: types.FunctionType, owner: Any = None):
        self._owner = owner
        self._cells: list[types.CellType] = []
        self._named: list[tuple[dict[str, Any], str]] = []  # globals, and members of classes
        self._functions: dict[int, weakref.ref[types.FunctionType]] = {}  # whose code is watched
        self.codes: set[types.CodeType] = set()  # whose state is watched
        self.libraries: list[Any] = []  # modules, classes and functions that it names, unwatched
        self._function = function
        self._looked: set[tuple[int, str]] = set()  # names that are watched, and where
        self._followed: weakref.WeakSet[types.FunctionType] = weakref.WeakSet()
        self._modules: set[int] = set()  # that were met in the state
        self._kinds: set[type] = set()  # classes whose members are watched where code names them
        self._any = owner is not None or not is_library(function)
        if self._any:
            self._collect(function)
            if owner is not None:
                self._add_kinds({type(x) for x in (owner(), *_submodules(owner()))})
        self._watch()

    def _collect(self, function: types.FunctionType) -> None:
        if function in self._followed:
            return
        self._followed.add(function)
        own = () if is_library(function) else function.__closure__ or ()
        self._cells += own
        names = self._read(function)
        for cell in own:
            self._follow(contents(cell), names)

    def _read(self, function: types.FunctionType) -> set[str]:
        """Watch a function and the globals that it names; gives all names in its code."""
        self._functions[id(function)] = weakref.ref(function)
        names = _names(function.__code__, self.codes)
        for name in sorted(names & function.__globals__.keys()):
            self._add_global(function.__globals__, name, names)
        for code in _codes(function.__code__):
            for module in _imported(code, function.__globals__):
                self._follow(module, names)
        return names

    def include(self, kinds: set[type]) -> None:
        """Watch what the code names of these classes as well."""
        if self._any and not kinds <= self._kinds:
            self._add_kinds(kinds)
            self._watch()

    def _add_kinds(self, kinds: set[type]) -> None:
        """What the code names of classes, and what operators call of them, is part of it."""
        self._kinds |= kinds
        orders = {own_bases(kind) for kind in self._kinds}
        called = {own_bases(kind) for kind in self._kinds - {type(self._owner_now())}}
        operators = {name for order in called for kind in order for name in _operators(kind)}
        known: set[str] = set()
        names = {"forward", *operators}
        while known != names:  # following a function adds the names that it uses
            for order in sorted(orders, key=repr):
                self._add_members(order, names - known)
            known = names
            names = names | self._names_in_code()
            if (names - known) & {"super", *(kind.__name__ for order in orders for kind in order)}:
                known = set()  # bases behind a definition have to be looked at after all

    def _add_members(self, order: tuple[type, ...], names: set[str]) -> None:
        """What of these names is found in a class, whose bases may come to hide each other's.

        A base that comes after it and has no such name now is looked at only by code that names
        bases.
        """
        code = self._names_in_code()
        for name in sorted(names):
            found = False
            for kind in order if any(name in vars(kind) for kind in order) else ():
                own = name in vars(kind)
                if own or not found or "super" in code or kind.__name__ in code:
                    self._add_member(kind, name)
                found = found or own

    def _add_member(self, kind: type, name: str) -> None:
        value = vars(kind).get(name)
        if getattr(value, "__wrapped__", value) is not self._function:
            self._add_watched(kind, name)
        value = getattr(value, "__wrapped__", value)  # a class method, a static one
        value = getattr(value, "fget", value)
        self._follow(value, self._names_in_code())

    def _names_in_code(self) -> set[str]:
        """All names in the code that was collected."""
        return set().union(*map(_named, self.codes))

    def _add_watched(self, home: Any, name: str) -> None:
        """Watch a name in a class or in a function's globals."""
        if (id(home), name) not in self._looked:
            self._looked.add((id(home), name))
            self._named.append((members_of(home) if isinstance(home, type) else home, name))

    def _add_global(self, namespace: dict[str, Any], name: str, names: set[str]) -> None:
        value = namespace[name]
        library = is_library(value)
        if not library or not (isinstance(value, types.ModuleType) or is_ours(namespace)):
            self._add_watched(namespace, name)
        if library:
            self.libraries.append(value)
        else:
            self._follow(value, names)

    def _follow(self, value: Any, names: set[str]) -> None:
        """Go on through functions that the function may call, and what it names of modules."""
        value = getattr(value, "__wrapped__", value)
        if isinstance(value, types.MethodType):
            value = getattr(value.__func__, "__wrapped__", value.__func__)
        if isinstance(value, types.FunctionType) and not is_library(value):
            self._collect(value)
        elif isinstance(value, types.ModuleType) and not is_library(value):
            for name in sorted(names & vars(value).keys()):
                if (id(vars(value)), name) not in self._looked:
                    self._add_global(vars(value), name, names)
        elif isinstance(value, type):
            self.libraries.append(value)
            made = set() if hasattr(value, "forward") else _MAKING  # no module is made in a cell
            new = {name for name in names | made if (id(value), name) not in self._looked}
            self._add_members(own_bases(value), new)

    def _watch(self) -> None:
        # Functions that only these held are gone from here on.
        self.watched: tuple[Any, ...] = ()
        self.looks: Any = ()
        counted = [CHANGES[0]]
        functions = self._functions_now()
        cells = tuple((cell, contents(cell)) for cell in self._cells)
        named = tuple((home, name, home.get(name)) for home, name in self._named)
        owner = self._owner_now()
        watcher = Snapshot(owner, self._followed)
        self.state = (
            watcher.of(owner), tuple(watcher.of_named(found) for *_, found in (*cells, *named)),
            tuple((code, watcher.of((one, more))) for _, code, one, more in functions),
        )  # fmt: skip
        if self._any and self._follow_state(watcher):
            self._watch()
            return
        # For a quick look (`quick_calls.py`): while no module has changed their count stands still,
        # or at least those of the modules behind the function; functions have their code, names and
        # variables stand for the same objects; objects are of their classes; lists and dicts hold
        # the same; arrays and others look the same. It is empty, and a whole new state is taken,
        # where it would keep the owner alive.
        defaults = any(one or more for *_, one, more in functions)
        held = watcher.leads_back and (defaults or watcher.holds_anything())
        self.watched = () if held else (
            CHANGES, counted, tuple(watcher.counters), functions, named, (*cells, *watcher.cells),
            tuple(watcher.classes), tuple(watcher.looks), tuple(watcher.others),
        )  # fmt: skip
        self.looks = () if held else watcher.looks
        marks = sum(len(marks) for _, marks in self.looks)
        self.quick = not (held or watcher.others) and marks <= FEW_MARKS
        self.sure = not watcher.opaque
        self.built_in = watcher.built_in

    def _functions_now(self) -> tuple[tuple[Any, ...], ...]:
        """The functions that are there, weakly, each with its code and defaults, now read all."""
        living = [(ref, f) for ref in [*self._functions.values()] if (f := ref()) is not None]
        for _, function in living:
            if function.__code__ not in self.codes:  # it was given another one
                self._read(function)
        return tuple((ref, f.__code__, f.__defaults__, f.__kwdefaults__) for ref, f in living)

    def _follow_state(self, watcher: Snapshot) -> bool:
        """Go on through what was met in the state for the first time, if anything was."""
        functions = [f for f in watcher.functions if f.__code__ not in self.codes]
        modules = [m for m in watcher.modules if id(m) not in self._modules]
        if not functions and not modules and watcher.kinds <= self._kinds:
            return False
        for function in functions:
            self._read(function)
        for module in modules:
            self._modules.add(id(module))
            self._follow(module, self._names_in_code())
        self._add_kinds(watcher.kinds)
        return True

    def _owner_now(self) -> Any:
        return None if self._owner is None else self._owner()

    def holds(self) -> bool:
        """Whether all is as it was; if not, `state` is what it is now."""
        if holds.record(self.watched) or _is_as_it_was(self.watched):
            return True
        before = self.state
        self._watch()
        return self.state == before


def _have_code(functions: tuple[tuple[Any, ...], ...]) -> bool:
    """Whether functions still have the code and the defaults that they had."""
    return all([
        (f := ref()) is not None and f.__code__ is code
        and f.__defaults__ is defaults and f.__kwdefaults__ is more
        for ref, code, defaults, more in functions
    ])  # fmt: skip


def _is_as_it_was(watched: tuple[Any, ...]) -> bool:
    """What `quick_calls.py` sees, and whether other things than lists and dicts look the same."""
    if not watched:
        return False
    changes, counted, counters, functions, named, cells, classes, looks, others = watched
    now = changes[0]
    same = (
        (counted[0] == now or all([counter[0] == count for counter, count in counters]))
        and _have_code(functions)
        and all([home.get(name) is value for home, name, value in named])
        and all([contents(cell) is value for cell, value in cells])
        and all([type(value) is kind for value, kind in classes])
        and all([_holds_these(values, marks) for values, marks in looks])
        and all([look(value) == found for look, value, found in others])
    )
    if same:
        counted[0] = now
    return same


def _holds_these(values: list[Any] | dict[Any, Any], marks: tuple[Any, ...]) -> bool:
    things = list(
        itertools.chain.from_iterable(values.items()) if values.__class__ is dict else values
    )
    return len(things) == len(marks) and all(
        [mark(x) is m for x, m in zip(things, marks, strict=True)]
    )


def members_of(kind: type) -> dict[str, Any]:
    """What a class has: the dictionary behind `vars`, which compiled code can look into."""
    (members,) = gc.get_referents(vars(kind))
    return members


def _submodules(owner: Any) -> Any:
    return () if isinstance(owner, type) else getattr(owner, "submodules", tuple)()


def _operators(kind: type) -> set[str]:
    """What Python calls of a class without naming it, but for what makes and shows its objects."""
    return {
        name
        for name, member in vars(kind).items()
        if isinstance(member, types.FunctionType) and not is_library(member)
        and name[:2] == name[-2:] == "__" and name not in _NO_OPERATORS
    }  # fmt: skip


_NO_OPERATORS = {
    "__init__", "__new__", "__post_init__", "__repr__", "__str__", "__del__", "__reduce__",
    "__reduce_ex__", "__getstate__", "__setstate__", "__copy__", "__deepcopy__", "__setattr__",
    "__init_subclass__",
}  # fmt: skip


_MAKING = {"__init__", "__new__", "__post_init__"}  # what code calls that names a class


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A piece of code, and those inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _names(code: types.CodeType, codes: set[types.CodeType]) -> set[str]:
    """The names that a piece of code, or one inside it, reads; each piece is added to `codes`."""
    every = set(_codes(code))
    codes |= every
    return set().union(*map(_named, every))


def _named(code: types.CodeType) -> set[str]:
    """The names in a piece of code; where it asks by name, any string in it may be one."""
    found = set(code.co_names)
    if not _BY_NAME.isdisjoint(found):
        found.update(name for name in code.co_consts if isinstance(name, str))
    return found


_BY_NAME = {"getattr", "hasattr", "attrgetter", "methodcaller"}


def _imported(code: types.CodeType, namespace: Mapping[str, Any]) -> Iterator[types.ModuleType]:
    """The modules that a piece of code imports itself, as far as they are there already."""
    if dis.opmap["IMPORT_NAME"] not in code.co_code[::2]:
        return
    before: list[Any] = []  # the level of a relative import is the last but one
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            name = "." * before[-2] + instruction.argval
            with contextlib.suppress(ImportError):
                name = importlib.util.resolve_name(name, namespace.get("__package__"))
            if name in sys.modules:
                yield sys.modules[name]
        if instruction.opname != "EXTENDED_ARG":
            before.append(instruction.argval)
