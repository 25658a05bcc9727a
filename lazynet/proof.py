"""Proves that a function which is traced is pure: Python's profiling hook tells what it calls.

A `Watcher` looks at every call that the user's code makes, before it happens, and at the code
itself: what cannot be shown to depend on the arguments and on watched state (`purity.py`) alone,
and to leave everything else as it was, is refused.
"""

from __future__ import annotations

import copy
import dis
import gc
import itertools
import signal
import sys
import sysconfig
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.nested import mapped
from lazynet.parameter import Parameter
from lazynet.purity import Guard
from lazynet.tensor import Value

_WRITES = {
    "STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL", "STORE_SUBSCR", "DELETE_SUBSCR",
    "STORE_SLICE", "IMPORT_NAME", "IMPORT_STAR", "GET_AWAITABLE", "SETUP_ANNOTATIONS",
    "LOAD_BUILD_CLASS",
    "PUSH_EXC_INFO",  # try and with: what is refused, or fails in a trace alone, would be caught
    "BUILD_SET", "SET_ADD", "SET_UPDATE",  # in a trace, one Tensor given twice is two
}  # fmt: skip
# Names of attributes that lead to what is not watched, or ask which of two Tensors one is.
_HIDDEN = {"attrgetter", "methodcaller", "is_", "is_not", "format", "format_map", "mro"}
_SHOWN = {"__call__", "__class__", "__getitem__", "__len__", "__name__"}
_BUILTINS = {
    abs, all, any, callable, chr, divmod, isinstance, issubclass, iter, len, max, min, next, ord,
    pow, round, sorted, sum,
}  # fmt: skip
_TYPES = {
    bool, bytes, dict, enumerate, filter, float, frozenset, int, list, map, object, property, range,
    reversed, slice, str, super, tuple, type, zip,
}  # fmt: skip
_PURE_C = {"math", "_operator", "_functools"}
_MODULES = {"lazynet", "math", "operator", "functools"}
_READING = {"copy", "count", "get", "index", "items", "keys", "values"}  # of lists and dicts
_CONTAINERS = (list, tuple, dict, set, frozenset, str, bytes, int, float, range, slice)
# What users' code may call of ours: ops, modules and cells, and what a Tensor is like.
_OPS = ("lazynet.ops.", "lazynet.nn.functional")
_OF_TENSORS = {"shape", "ndim", "size", "dtype", "__len__", "__iter__"}
_OF_MODULES = {
    "__call__", "__get__", "__getattr__", "__getitem__", "__iter__", "__len__", "counted",
    "forward", "items", "keys", "values",
}  # fmt: skip
# Of numpy: functions of numbers, which nothing else tells about, and numbers.
_OF_NUMPY = {"sqrt", "exp", "log", "square", "tanh", "cos", "sin", "pi", "e", "inf", "float32",
             "float64", "int64"}  # fmt: skip
_TRUSTED = {"lazynet", "numpy", "numba", "llvmlite"}
_STANDARD = sysconfig.get_paths()["stdlib"]
COUNTING: set[types.CodeType] = set()  # our own code that counts calls of modules


class Unproven(BaseException):
    """A `forward` cannot be shown to be pure. No `except Exception` of users' code catches it."""


class Watcher:
    """Looks at what a function does while it is traced, and refuses what may not be pure."""

    def __init__(self, guard: Guard):
        self._guard = guard
        self._read = {id(values): values for values, _ in guard.looks}  # lists and dicts
        self._checked: set[types.CodeType] = set()
        self.refused = ""

    def watched(self, plain: Callable) -> Callable:
        """The function, with an eye on what it calls, what it does to lists and what it gives."""

        def run(*arguments: Any, **named: Any) -> Any:
            before = _identities((arguments, named))
            read = [(values, copy.copy(values)) for values in self._read.values()]
            if sys.getprofile() is not None:
                self._refuse("another profiler is running")
            collecting = gc.isenabled()
            gc.disable()  # what dies is not ours to look at
            sys.setprofile(self._event)
            try:
                made = plain(*arguments, **named)
            finally:
                sys.setprofile(None)
                if collecting:
                    gc.enable()
                if not all([_put_back(*pair) for pair in read]):
                    self.refused = self.refused or "it changes what it reads"
            if _identities((arguments, named)) != before:
                self._refuse("it changes a list that it is given")
            if not _plain_result(made):
                self._refuse("it gives something else than Tensors")
            if _parts(made) & (_parts((arguments, tuple(named.values()))) | self._read.keys()):
                self._refuse("it gives what it is given, or reads")
            return made

        self._run = run.__code__
        return run

    def _refuse(self, reason: str, frame: types.FrameType | None = None) -> None:
        if not self._comes_from_outside(frame):
            self.refused = self.refused or reason
            raise Unproven(reason)

    def _comes_from_outside(self, frame: types.FrameType | None) -> bool:
        """Whether a frame belongs to a finalizer or a signal handler, which is no call of ours."""
        handlers = map(signal.getsignal, signal.valid_signals())
        codes = {getattr(handler, "__code__", None) for handler in handlers} - {None}
        while frame is not None and frame.f_code is not self._run:
            if frame.f_code.co_name == "__del__" or frame.f_code in codes:
                return True
            frame = frame.f_back
        return False

    def _event(self, frame: types.FrameType, event: str, called: Any) -> None:
        if event == "call":
            self._call(frame)
        elif event == "c_call" and not _ours_runs(frame) and not self._may_call_c(called):
            self._refuse(f"it calls {called.__qualname__}", frame)

    def _may_call_c(self, called: Any) -> bool:
        """Whether a C function changes nothing but what the function itself made."""
        own = id(getattr(called, "__self__", None)) not in self._read
        return _pure_builtin(called) and (own or called.__name__ in _READING)

    def _call(self, frame: types.FrameType) -> None:
        code = frame.f_code
        if _ours_runs(frame.f_back):
            if _is_trusted(frame):
                return
        elif _package(frame) == "lazynet":
            if not _may_call(frame.f_globals["__name__"], code.co_name):
                self._refuse(f"it calls {code.co_qualname}", frame)
            return
        if code not in self._checked:
            self._check(code, frame)
            self._checked.add(code)

    def _check(self, code: types.CodeType, frame: types.FrameType) -> None:
        """What users' code itself may do: no writing, and nothing that the guard has not seen."""
        if code not in self._guard.codes:
            self._refuse(f"it calls {code.co_qualname}, whose state is not watched", frame)
            return
        before = None
        for instruction in dis.get_instructions(code):
            name, what = instruction.opname, instruction.argval
            if before is not None and _loaded(before, frame) is np and what not in _OF_NUMPY:
                self._refuse(f"{code.co_qualname} names numpy.{what}")
            outside = name == "STORE_DEREF" and what in code.co_freevars
            # Which of two Tensors one is differs in a trace, but what is compared to None may be.
            same = name == "IS_OP" and (
                before is None or not before.opname.startswith("LOAD_CONST")
            )
            if name in _WRITES or outside or same:
                self._refuse(f"{code.co_qualname} has {name}")
            if name in ("LOAD_GLOBAL", "LOAD_NAME") and what not in frame.f_globals:
                self._check_named(frame.f_builtins.get(what))
            before = instruction
        hidden = [name for name in code.co_names if name in _HIDDEN or _is_hidden(name)]
        if hidden:
            self._refuse(f"{code.co_qualname} names {hidden[0]}")
        for value in (*self._guard.libraries, *self._guard.built_in):
            if value is not np:  # of which the code itself tells what it takes
                self._check_named(value)

    def _check_named(self, value: Any) -> None:
        if not _harmless(value):
            self._refuse(f"it names {getattr(value, '__name__', value)}")


def _loaded(instruction: dis.Instruction, frame: types.FrameType) -> Any:
    """What an instruction takes of the names of a function, or of those around it."""
    if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
        return frame.f_globals.get(instruction.argval)
    return frame.f_locals.get(instruction.argval) if instruction.opname == "LOAD_DEREF" else None


def _is_hidden(name: str) -> bool:
    """Whether a name with two underscores leads to what is not watched."""
    return name.startswith("__") and name.endswith("__") and name not in _SHOWN


def _ours_runs(frame: types.FrameType | None) -> bool:
    """Whether a frame is ours, or the standard library's at work for us."""
    while frame is not None and _is_trusted(frame):
        if _package(frame) == "lazynet":
            return True
        frame = frame.f_back
    return False


def _package(frame: types.FrameType) -> str:
    """The package whose code a frame runs."""
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
    """Whether users' code may call this function of ours."""
    if module == "lazynet.tensor":
        return name in _OF_TENSORS
    if module.startswith(_OPS):
        return "seed" not in name
    ours = ("lazynet.nn.", "lazynet.cell", "lazynet.automatic")
    return module.startswith(ours) and name in _OF_MODULES


def _harmless(value: Any) -> bool:
    """Whether something may be named: not all that is called is seen by a profiler."""
    if isinstance(value, types.BuiltinFunctionType):
        return value in _BUILTINS or value.__module__ in _PURE_C
    if isinstance(value, types.ModuleType):
        return value.__name__.split(".")[0] in _MODULES
    if isinstance(value, type):
        module = callable(getattr(value, "forward", None))
        return value in _TYPES or module or issubclass(value, BaseException)
    return True


def _pure_builtin(called: Any) -> bool:
    """Whether a call of a C function changes nothing: of a builtin, or a method of a container.

    What it may change of containers are its own: those that it is given or reads are watched.
    """
    if called in _BUILTINS or getattr(called, "__module__", None) in _PURE_C:
        return True
    return type(getattr(called, "__self__", None)) in _CONTAINERS


def _identities(x: Any) -> Any:
    """Which objects lie where in nested lists."""
    if isinstance(x, (tuple, list)):
        return tuple(map(_identities, x))
    if isinstance(x, dict):
        return tuple((name, _identities(y)) for name, y in x.items())
    return id(x)


def _parts(x: Any) -> set[int]:
    """Which Tensors, lists and dicts something consists of."""
    inside = x.values() if isinstance(x, dict) else x if isinstance(x, (tuple, list)) else ()
    found = set().union(*map(_parts, inside))
    return found | {id(x)} if isinstance(x, (list, dict, Value)) else found


def _put_back(values: Any, before: Any) -> bool:
    """Whether a list or a dict holds what it held; if not, it does now."""
    if _things_in(values) == _things_in(before):
        return True
    values.clear()
    (values.update if isinstance(values, dict) else values.extend)(before)
    return False


def _things_in(values: Any) -> list[int]:
    things = itertools.chain.from_iterable(values.items()) if isinstance(values, dict) else values
    return list(map(id, things))


def _plain_result(made: Any) -> bool:
    """Whether a result can be made again: Tensors and constants in plain nested structures."""
    if isinstance(made, (tuple, list, dict)) and type(made) not in (tuple, list, dict):
        return hasattr(made, "_fields") and all(map(_plain_result, made))
    leaves: list[Any] = []
    mapped(made, leaves.append)
    return all(
        x.__class__ is not Parameter
        and (isinstance(x, Value) or x is None or isinstance(x, (bool, int, float, str)))
        for x in leaves
    )
