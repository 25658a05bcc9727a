"""Errors under the name that was called, about the argument that was wrong.

Functions are made of others, and what one of these refuses was asked for by the one that the user
called. Arguments are looked at only after something failed, so calls that are right pay nothing for
it; what each parameter takes is read off its annotation, and what has none takes values.
"""

from __future__ import annotations

import dis
import functools
import inspect
import re
import struct
from typing import Any

import numpy as np

from lazynet.nested import leaves_of
from lazynet.record import Literal, ShapeError
from lazynet.tensor import Value
from lazynet.unknown import unknown_setting

# What Python and numpy raise where an argument is not what a function was written for.
_RAISED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, struct.error)
_NAMED = re.compile(r"[\w.<>]+: ")
_RAISE = dis.opmap["RAISE_VARARGS"]
_KINDS = {
    "int": ((int, np.integer), "an integer"),
    "float": ((int, float, np.number), "a number"),
    "bool": ((bool, np.bool_, int), "True or False"),
    "str": (str, "a name in quotes"),
    "Sequence": (Value, "a Sequence"),
}
_VALUES = (Value, Literal, np.ndarray, np.generic, int, float, list, tuple, range)


def told(function):
    """Let the errors of a function tell its own name, and the argument that it could not take.

    A function `_f` is what the function `f` does when it cannot take its short way. An `axis` may
    be given as `dim` as well, which is PyTorch's name for it.
    """
    along = "axis" in inspect.signature(function).parameters

    @functools.wraps(function)
    def called(*args, **kwargs):
        if along and "dim" in kwargs and "axis" not in kwargs:
            kwargs["axis"] = kwargs.pop("dim")
        try:
            return function(*args, **kwargs)
        except _RAISED as error:
            problem = _explained(function, error, args, kwargs)
            if problem is error:
                raise
        raise problem

    return called


def under(name: str, error: Exception, given: tuple = ()) -> Exception:
    """An error of what `name` is made of, under that name; what was given is told in a word."""
    message = str(error)
    for value in leaves_of(given):
        if isinstance(value, (Value, np.ndarray)) and "\n" in repr(value):
            message = message.replace(repr(value), told_of(value))
    line = message.partition(": ")[2] if _NAMED.match(message) else message
    error.args = (f"{name}: {line.partition(chr(10))[0]}",)
    return error


def stated_here(error: Exception) -> bool:
    """Whether an error was raised by a statement in this package, so that its sentence is ours."""
    home, stated = _origin(error)
    return stated and home == "lazynet"


def _origin(error: Exception) -> tuple[str, bool]:
    """The package in whose code an error arose, and whether it was raised by a statement there."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    assert last is not None, "an error that was caught has been raised"
    frame = last.tb_frame
    home = frame.f_globals.get("__name__", "").partition(".")[0]
    return home, frame.f_code.co_code[last.tb_lasti] == _RAISE


def _explained(function, error: Exception, args: tuple, kwargs: dict) -> Exception:
    """The error to raise instead: the same where it is one of users' code, in a value asked for."""
    name = function.__name__.removeprefix("_")
    home, stated = _origin(error)
    if home not in ("lazynet", "numpy"):
        return error
    try:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
    except TypeError:  # too many arguments, or too few: Python tells it
        return unknown_setting(name, function, kwargs) or error
    parameters = inspect.signature(function).parameters
    stated = stated and home == "lazynet"
    for label, value in given.items():
        wrong = _wrong(parameters[label], value, stated)
        if wrong is not None:
            return TypeError(f"{name}: expected {wrong} for {label}, not {told_of(value)}")
    if stated:
        return under(name, error, (args, kwargs))
    kind = TypeError if isinstance(error, (TypeError, AttributeError)) else ShapeError
    listed = ", ".join(f"{label} = {told_of(value)}" for label, value in given.items())
    problem = kind(f"{name}: these do not go together: {listed}")
    problem.__cause__ = error
    return problem


def _wrong(parameter: inspect.Parameter, value: Any, stated: bool) -> str | None:
    """What was expected where a value is not of the kind that the parameter is annotated with.

    Without annotation it is a value, unless what raised the error had more to say (`stated`).
    """
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return None
    if value is parameter.default:
        return None
    annotated = parameter.annotation
    if annotated is parameter.empty or "Any" in annotated:
        return None if stated or isinstance(value, _VALUES) else "a Tensor or Sequence"
    names = [part.strip() for part in annotated.split("|")]
    if (value is None and "None" in names) or not set(names) & set(_KINDS):
        return None
    if any(name in _KINDS and isinstance(value, _KINDS[name][0]) for name in names):
        return None
    if isinstance(value, tuple) and any(name.startswith("tuple") for name in names):
        return None
    return " or ".join(_KINDS[name][1] for name in names if name in _KINDS)


def told_of(value: Any) -> str:
    """A value as an error shows it: in a word or two."""
    if isinstance(value, (Value, np.ndarray)):
        return f"a {type(value).__name__} of {tuple(value.shape)}"
    if isinstance(value, (str, int, float, type(None))):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return kind_of(value)


def kind_of(value: Any) -> str:
    """The kind of a value, in a word; of an array of another library, with whose it is."""
    package = type(value).__module__.partition(".")[0]
    other = hasattr(value, "__array__") and package not in ("lazynet", "numpy")
    return f"a {package}.{type(value).__name__}" if other else f"a {type(value).__name__}"
