"""What a cell is called with and what it gives: values, nested in tuples, lists and dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazynet import shortcut
from lazynet.nested import mapped
from lazynet.parameter import Leaf
from lazynet.tensor import Parameter, Sequence, Tensor, Value


def is_rows(x: Any) -> bool:
    return x.__class__ is Sequence


def is_leaf(x: Any) -> bool:
    return x.__class__ is Tensor and x.graph.__class__ is Leaf


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
    else:
        key.append((kind, repr(x)) if kind is float and not x else (kind, x))  # 0.0 is not -0.0


def structured(results: Any, found: list[Any]) -> Callable[[list[Any]], Any]:
    """How to build the results anew from a list of the values in them, which goes to `found`."""
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
        return x

    form = mapped(results, note)
    return lambda made: mapped(form, lambda x: made[x.number] if isinstance(x, _Place) else x)


class _Place:
    """Stands for one value of a result."""

    def __init__(self, number: int):
        self.number = number
