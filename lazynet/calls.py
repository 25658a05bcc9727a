"""What a cell is called with and what it gives: values, nested in tuples, lists and dicts."""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet import shortcut
from lazynet.nested import mapped
from lazynet.parameter import Parameter
from lazynet.snapshot import PLAIN, is_library, own_bases
from lazynet.tensor import Sequence, Tensor, Value


def is_rows(x: Any) -> bool:
    return x.__class__ is Sequence


def is_input(x: Any) -> bool:
    return isinstance(x, Value) and x.__class__ is not Parameter


def flatten(x: Any, key: list[Any], values: list[Any]) -> None:
    """Add a value to the inputs, and what it is to the key."""
    kind = x.__class__
    if kind is Tensor:
        key.append(x.type)
        values.append(x)
    elif kind is tuple or kind is list:
        key.append((kind, len(x)))
        for y in x:
            if y.__class__ is Tensor:
                key.append(y.type)
                values.append(y)
            else:
                flatten(y, key, values)
    elif kind is Parameter:
        key.append((Parameter, x.number))
    elif kind is Sequence:
        key.append((Sequence, x.type))
        values.append(x)
    elif kind is dict:
        key.append((dict, tuple(x)))
        for y in x.values():
            flatten(y, key, values)
    elif isinstance(x, tuple) and hasattr(x, "_fields"):
        key.append((kind, len(x)))
        for y in x:
            flatten(y, key, values)
    else:
        key.append(constant(x))


def classes_in(key: Any) -> set[type]:
    """The classes of what a call was given, and those that it was given, by its key."""
    found: set[type] = set()
    for part in key:
        if isinstance(part, type):
            found.add(part)
        elif isinstance(part, tuple):
            found |= classes_in(part)
    return {kind for kind in found if own_bases(kind)}


class NoConstant:
    """Stands in a key for an argument that may change unseen; no two are alike."""

    def __init__(self, kind: type):
        self.kind = kind


def constant(x: Any) -> Any:
    """What tells a Python value that is no Tensor from others, which are other kinds of calls."""
    kind = x.__class__
    if isinstance(x, (float, complex, np.inexact)) and (not x or x != x):
        return kind, repr(x)  # 0.0 is not -0.0; NaN is not itself
    if kind is slice:
        return slice, constant(x.start), constant(x.stop), constant(x.step)
    if isinstance(x, frozenset):
        parts = tuple(map(constant, x))
        return next((part for part in parts if part.__class__ is NoConstant), (kind, parts))
    if getattr(getattr(kind, "__dataclass_params__", None), "frozen", False):
        parts = tuple(constant(getattr(x, part.name)) for part in dataclasses.fields(x))
        return next((part for part in parts if part.__class__ is NoConstant), (kind, parts))
    fixed = isinstance(x, (*PLAIN, enum.Enum, types.EllipsisType, np.ufunc, type))
    if not fixed and isinstance(x, (types.FunctionType, types.BuiltinFunctionType)):
        fixed = is_library(x)
    return (kind, x) if fixed and not hasattr(x, "__wrapped__") else NoConstant(kind)


def structured(results: Any, found: list[Any], name: str = "") -> Callable[[list[Any]], Any]:
    """How to build the results anew from a list of the values in them, which goes to `found`.

    Raises:
        TypeError: if they hold objects of other kinds; `name` is the function that gives them.
    """
    if isinstance(results, Value):
        found.append(results)
        return shortcut.first
    if isinstance(results, tuple) and all(isinstance(y, Value) for y in results):
        found.extend(results)
        return tuple if type(results) is tuple else lambda made: type(results)(*made)

    def note(x):
        if isinstance(x, Value):
            found.append(x)
            return _Place(len(found) - 1)
        if not isinstance(x, np.ndarray) and constant(x).__class__ is NoConstant:
            raise TypeError(
                f"{name}: gives a {type(x).__name__}; what is traced gives Tensors, numbers, "
                "strings and arrays, in tuples, lists and dicts"
            )
        return x

    def built(made: list[Any], x: Any) -> Any:
        if isinstance(x, _Place):
            return made[x.number]
        return x.copy() if isinstance(x, np.ndarray) else x

    form = mapped(results, note)
    return lambda made: mapped(form, functools.partial(built, made))


class _Place:
    """Stands for one value of a result."""

    def __init__(self, number: int):
        self.number = number
