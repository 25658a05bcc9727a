"""Functions that are made anew where they are used, as a step written inside of a `forward` is.

Python makes another function object of it in each call. Two of them are one function if they have
the same code and close over the same things; what is known of the first (its traces) serves all
that come after it. It is kept with a module or a parameter that they close over, so that it goes
when that goes.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections import OrderedDict
from typing import Any

from lazynet.debugging import PerformanceHint, warn
from lazynet.purity import Kept
from lazynet.snapshot import PLAIN, Same, contents, is_library
from lazynet.tensor import Value

_MOST = 64  # functions that are kept in one place
# Of those that close over nothing which could keep them.
_elsewhere: OrderedDict[Any, Made] = OrderedDict()
_warned: set[types.CodeType] = set()


class Made:
    """A function, and what is kept of all that are the same."""

    __slots__ = ("again", "function", "kept")

    def __init__(self, function: types.FunctionType):
        self.function = function
        self.kept: dict[Any, Any] = {}
        self.again = False  # whether it came again


class Home(OrderedDict[Any, Made]):
    """The functions that close over a module. Copies and files of the module begin with none."""

    def __reduce__(self) -> Any:
        return Home, ()


def made_of(function: types.FunctionType) -> Made | None:
    """What is kept of a function and of all that are the same; None for one that is made once."""
    if (function.__closure__ is None and "<" not in function.__qualname__) or vars(function):
        return None
    things: list[Any] = []
    key = _key(function, things, ())
    if any([isinstance(x, Value) and not x.is_leaf for x in things]):
        return Made(function)  # cannot be traced, and shall not hold the graph
    home = _home(things)
    made = home.get(key)
    if made is not None and (made.function is function or _key(made.function, [], ()) == key):
        made.again = True
        with contextlib.suppress(KeyError):  # another thread let it go
            home.move_to_end(key)
        return made
    made = home[key] = Made(function)
    if len(home) > _MOST:
        before, first = home.popitem(last=False)
        if not first.again and before[0] == key[0] and key[0] not in _warned:
            _warn(function, before, key)
    return made


def kept_of(
    function: types.FunctionType, owner: Any, room: Kept
) -> tuple[types.FunctionType, dict[Any, Any]]:
    """A function, or a method of `owner`, as it was first met, and what `room` keeps of it."""
    made = made_of(function) if owner is None else None
    if made is None:
        return function, room.of(function if owner is None else owner)
    return made.function, made.kept.setdefault(room, {})


def made_of_method(function: types.FunctionType, owner: Any) -> Made | None:
    """The same of a method of a module."""
    if not hasattr(type(owner), "made_anew"):
        return None
    return owner.made_anew.setdefault((function,), Made(function))


def close_over_the_same(one: types.FunctionType, other: types.FunctionType) -> bool:
    """Whether two functions of the same code hold the very same objects, now."""
    pairs = zip(one.__closure__ or (), other.__closure__ or (), strict=True)
    return all([contents(a) is contents(b) for a, b in pairs])


def _home(things: list[Any]) -> OrderedDict[Any, Made]:
    """Where functions that close over these are kept."""
    for thing in things:
        place = thing.graph if isinstance(thing, Value) else thing
        if hasattr(type(place), "made_anew"):
            return place.made_anew
    return _elsewhere


def _key(function: types.FunctionType, things: list[Any], path: tuple[Any, ...]) -> Any:
    """Equal for functions that are the same; `things` gets what they close over."""
    if function in path:
        return path.index(function)
    inside = (*path, function)
    part = functools.partial(_part, things=things, path=inside)
    return (
        function.__code__, id(function.__globals__), part(function.__defaults__ or ()),
        tuple((name, part(x)) for name, x in (function.__kwdefaults__ or {}).items()),
        *(part(contents(cell)) for cell in function.__closure__ or ()),
    )  # fmt: skip


def _part(x: Any, things: list[Any], path: tuple[Any, ...]) -> Any:
    """What stands for one thing that a function closes over."""
    part = functools.partial(_part, things=things, path=path)
    if isinstance(x, PLAIN) and not hasattr(x, "__dict__"):
        return x.__class__, x if x == x and x else repr(x)  # 0.0 is not -0.0
    if isinstance(x, tuple) and not hasattr(x, "__dict__"):
        return x.__class__, tuple(map(part, x))
    if isinstance(x, types.FunctionType) and not is_library(x) and not vars(x):
        return _key(x, things, path)
    if isinstance(x, types.MethodType):
        return x.__func__, part(x.__self__)
    if isinstance(x, functools.partial):
        return part(x.func), part(x.args), part(tuple(x.keywords.items()))
    plain = getattr(type(x), "plain", None)
    if plain is not None and is_library(type(x)):  # a cell
        return x.__class__, *map(part, plain(x))
    things.append(x)
    if isinstance(x, Value):
        return Same(x.graph), x.id, x.type
    return Same(x)


def _warn(function: types.FunctionType, before: Any, key: Any) -> None:
    code = function.__code__
    _warned.add(code)
    pairs = zip(code.co_freevars, before[4:], key[4:], strict=True)
    names = [repr(name) for name, old, new in pairs if old != new]
    differs = " and ".join(names) if names else "a default"
    warn(
        f"{function.__qualname__} ({code.co_filename}:{code.co_firstlineno}) is made anew and "
        f"traced anew again and again, which is slow: {differs}, which it closes over, is another "
        "one each time. Give it as an argument (a state, or rows of x)",
        PerformanceHint,
    )
