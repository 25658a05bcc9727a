"""Makes cells of `forward` methods that are proven to be pure.

A class whose `forward` was called often enough gets an `AutomaticCell` in its place. While such a
cell is traced, a `Watcher` looks at every call that the user's code makes, before it happens, and
at the code itself: what cannot be shown to depend on the arguments and on watched state alone, and
to leave everything else as it was, is refused. Then the class has its own `forward` back, for good.
"""

from __future__ import annotations

import dis
import functools
import sys
import sysconfig
import types
from collections.abc import Callable
from typing import Any

from lazynet.calls import mapped
from lazynet.cell import Cell
from lazynet.purity import Guard
from lazynet.tensor import Parameter, Tensor, Value
from lazynet.traces import Trace

CALLS = 2000  # of a class's `forward`, before it is looked at: compiling must be worth it
MOST_KINDS = 8  # of arguments: each is traced and compiled
FEWEST_NODES, MOST_NODES = 3, 200  # of a trace: little is gained, or too much is compiled

_WRITES = {
    "STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL", "STORE_SUBSCR", "DELETE_SUBSCR",
    "STORE_SLICE", "IMPORT_NAME", "IMPORT_STAR", "GET_AWAITABLE", "SETUP_ANNOTATIONS",
    "LOAD_BUILD_CLASS",
}  # fmt: skip
_BUILTINS = {
    abs, all, any, callable, chr, divmod, isinstance, issubclass, iter, len, max, min, next, ord,
    pow, round, sorted, sum,
}  # fmt: skip
_TYPES = {
    bool, bytes, dict, enumerate, filter, float, frozenset, int, list, map, object, property, range,
    reversed, set, slice, str, super, tuple, type, zip,
}  # fmt: skip
_PURE_C = {"math", "_operator", "_functools"}
_MODULES = {"lazynet", "math", "operator", "functools"}
_CONTAINERS = (list, tuple, dict, set, frozenset, str, bytes, int, float, range, slice)
# What users' code may call of ours: ops, modules and cells, and what a Tensor is like.
_OPS = ("lazynet.ops.", "lazynet.record", "lazynet.nn.functional")
_OF_TENSORS = {"shape", "ndim", "size", "dtype", "__len__", "__iter__"}
_OF_MODULES = {
    "__call__", "__getattr__", "__getitem__", "__iter__", "__len__", "forward", "items", "keys",
    "values",
}  # fmt: skip
_TRUSTED = {"lazynet", "numpy", "numba", "llvmlite"}
_STANDARD = sysconfig.get_paths()["stdlib"]


class Unproven(BaseException):
    """A `forward` cannot be shown to be pure. No `except Exception` of users' code catches it."""


class AutomaticCell(Cell):
    """The `forward` of a class, recorded as one node while nothing speaks against it."""

    def __init__(self, function: Callable, home: _Home, owner: Any = None):
        super().__init__(function, owner)
        self._home = home

    def _bind(self, instance: Any) -> Any:
        if not instance.automatic_cell:
            return types.MethodType(self._function, instance)
        return super()._bind(instance)

    def _of(self, instance: Any) -> AutomaticCell:
        return AutomaticCell(self._function, self._home, instance)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self._owner is None:  # Class.forward(module, x)
            return self.__get__(arguments[0])(*arguments[1:], **named)
        return super().__call__(*arguments, **named)

    def _record(self, key: Any, values: list[Any], arguments: Any, named: Any) -> Any:
        home = self._home
        if home.refused is None and (named or not values or not _eligible(arguments)):
            home.refuse("its arguments are not Tensors, alone or in tuples and lists")
        if home.refused is None:
            try:
                return super()._record(key, values, arguments, named)
            except Unproven as reason:
                home.refuse(str(reason))
            except Exception as error:
                made = self._plain(*arguments, **named)  # a mistake of the user's shows here
                home.refuse(f"{type(error).__name__}: {error}")
                return made
        return self._plain(*arguments, **named)

    def _traced(
        self, values: list[Any], arguments: Any, named: Any, plain: Callable | None = None
    ) -> tuple[Trace, Trace]:
        assert self._guard is not None
        if self._guard.unsure:
            raise Unproven("it reads what can change in place")
        known = (trace for traces in self._states.values() for trace in traces.known.values())
        if len({trace.index for trace in known}) >= MOST_KINDS:
            raise Unproven(f"it is called with more than {MOST_KINDS} kinds of arguments")
        watcher = Watcher(self._guard)
        found, again = super()._traced(values, arguments, named, watcher.watched(self._plain))
        if watcher.refused:
            raise Unproven(watcher.refused)
        if not FEWEST_NODES <= len(found.recorded) <= MOST_NODES:
            raise Unproven(f"it records {len(found.recorded)} nodes")
        if found.lifted or found.graph.draws:
            raise Unproven("its calls would be recorded the long way")
        return found, again


class _Home:
    """The class that an automatic cell is the `forward` of, until it is refused."""

    def __init__(self, kind: Any, forward: Callable):
        self.refused: str | None = None  # why it is no cell any more
        self._kind, self._forward = kind, forward
        self._cell = kind.forward = AutomaticCell(forward, self)

    def refuse(self, reason: str) -> None:
        self.refused = reason
        if vars(self._kind).get("forward") is self._cell:
            self._kind.forward = self._forward


def watch(kind: Any, call: Callable) -> None:
    """Make the `forward` that a class defines a cell once it was called often.

    Until then calls of its objects are counted; `call` is how objects of its base are called.
    """
    forward = vars(kind)["forward"]
    calls = 0

    @functools.wraps(call)
    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= CALLS and self.automatic_cell and vars(kind).get("__call__") is counted:
            del kind.__call__
            if vars(kind).get("forward") is forward:
                _Home(kind, forward)
        return call(self, *arguments, **named)

    kind.__call__ = counted


def _eligible(x: Any) -> bool:
    """Tensors, alone or in tuples and lists: no numbers, of which each would be a trace."""
    if isinstance(x, (tuple, list)):
        return all(map(_eligible, x))
    return x.__class__ is Tensor or x is None or isinstance(x, bool)


class Watcher:
    """Looks at what a function does while it is traced, and refuses what may not be pure."""

    def __init__(self, guard: Guard):
        self._guard = guard
        self._checked: set[types.CodeType] = set()
        self.refused = ""

    def watched(self, plain: Callable) -> Callable:
        """The function, with an eye on what it calls, what it does to lists and what it gives."""

        def run(*arguments: Any, **named: Any) -> Any:
            before = _identities((arguments, named))
            if sys.getprofile() is not None:
                self._refuse("another profiler is running")
            sys.setprofile(self._event)
            try:
                made = plain(*arguments, **named)
            finally:
                sys.setprofile(None)
            if _identities((arguments, named)) != before:
                self._refuse("it changes a list that it is given")
            if not _plain_result(made):
                self._refuse("it gives something else than Tensors")
            return made

        return run

    def _refuse(self, reason: str) -> None:
        self.refused = self.refused or reason
        raise Unproven(reason)

    def _event(self, frame: types.FrameType, event: str, called: Any) -> None:
        if event == "call":
            self._call(frame)
        elif event == "c_call" and not _ours_runs(frame) and not _pure_builtin(called):
            self._refuse(f"it calls {called.__qualname__}")

    def _call(self, frame: types.FrameType) -> None:
        code = frame.f_code
        if _ours_runs(frame.f_back):
            if _is_trusted(frame):
                return
        elif _package(frame) == "lazynet":
            if not _may_call(frame.f_globals["__name__"], code.co_name):
                self._refuse(f"it calls {code.co_qualname}")
            return
        if code not in self._checked:
            self._check(code)
            self._checked.add(code)

    def _check(self, code: types.CodeType) -> None:
        """What users' code itself may do: no writing, and nothing that the guard has not seen."""
        if code not in self._guard.codes:
            self._refuse(f"it calls {code.co_qualname}, whose state is not watched")
        for instruction in dis.get_instructions(code):
            outside = instruction.opname == "STORE_DEREF" and instruction.argval in code.co_freevars
            if instruction.opname in _WRITES or outside:
                self._refuse(f"{code.co_qualname} writes: {instruction.opname}")
        for value in self._guard.libraries:
            if not _harmless(value):
                self._refuse(f"it names {value.__name__}")


def _ours_runs(frame: types.FrameType | None) -> bool:
    """Whether a frame is ours, or the standard library's at work for us."""
    while frame is not None and _is_trusted(frame):
        if _package(frame) == "lazynet":
            return True
        frame = frame.f_back
    return False


def _package(frame: types.FrameType) -> str:
    return str(frame.f_globals.get("__name__")).split(".")[0]


def _is_trusted(frame: types.FrameType) -> bool:
    """Whether a frame runs code of ours, of the standard library, or of what we are built on."""
    package, file = _package(frame), frame.f_code.co_filename
    if package in _TRUSTED:
        return True
    if file.startswith("<"):  # written by a decorator: dataclass, namedtuple
        return package in sys.stdlib_module_names or package.startswith("namedtuple_")
    return file.startswith(_STANDARD) and "site-packages" not in file


def _may_call(module: str, name: str) -> bool:
    if module == "lazynet.tensor":
        return name in _OF_TENSORS
    if module.startswith(_OPS):
        return "seed" not in name
    return module.startswith(("lazynet.nn.", "lazynet.cell")) and name in _OF_MODULES


def _harmless(value: Any) -> bool:
    """Whether a class or a module may be named: not all that they call is seen by a profiler."""
    if isinstance(value, types.ModuleType):
        return value.__name__.split(".")[0] in _MODULES
    if isinstance(value, type):
        module = callable(getattr(value, "forward", None))
        return value in _TYPES or module or issubclass(value, BaseException)
    return True


def _pure_builtin(called: Any) -> bool:
    if called in _BUILTINS or getattr(called, "__module__", None) in _PURE_C:
        return True
    return type(getattr(called, "__self__", None)) in _CONTAINERS


def _identities(x: Any) -> Any:
    if isinstance(x, (tuple, list)):
        return tuple(map(_identities, x))
    if isinstance(x, dict):
        return tuple((name, _identities(y)) for name, y in x.items())
    return id(x)


def _plain_result(made: Any) -> bool:
    leaves: list[Any] = []
    mapped(made, leaves.append)
    return all(
        x.__class__ is not Parameter
        and (isinstance(x, Value) or x is None or isinstance(x, (bool, int, float, str)))
        for x in leaves
    )
