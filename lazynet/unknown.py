"""Errors for names, settings and uses that there are not; they tell what to write instead.

What is known of PyTorch and DyNet stands in `elsewhere.py`.
"""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from lazynet.elsewhere import OF_SEQUENCES, OF_VALUES, TORCH_SETTINGS

# What gives one value here and several in PyTorch.
_UNPACKED = (
    "rnn(x) gives its rows alone, rnn(x, return_state=True) the state, too; ln.max(x, dim) values "
    "alone, ln.argmax(x, dim) their places"
)
SIZE_CALLED = (
    "size: a number here, of all elements, and no method; x.shape is the shape, x.shape[dim] a size"
)
_UNPACK, _IMPORTED = dis.opmap["UNPACK_SEQUENCE"], dis.opmap["IMPORT_FROM"]


def _asked_by() -> tuple[int, int]:
    """The instruction in which a user's code asks a value for what refuses it, and its argument."""
    try:
        frame = sys._getframe(3)
    except ValueError:  # nobody asks: the first call of a greenlet
        return -1, 0
    step, code = frame.f_lasti, frame.f_code.co_code
    return (code[step], code[step + 1]) if step >= 0 else (-1, 0)


def refuse_unpacking(value: Any, rows: int) -> None:
    """Raise where the caller's caller unpacks a value into more or fewer names than its rows.

    Python would do so as well, and cannot tell why there are no two values.
    """
    instruction, names = _asked_by()
    if instruction == _UNPACK and names != rows:
        kind = type(value).__name__
        raise ValueError(
            f"unpack: a {kind} of {tuple(value.shape)} is not {names} values; {_UNPACKED}"
        )


if sys.version_info < (3, 12):  # where finding a method has an instruction of its own
    _METHOD, _MARK = dis.opmap["LOAD_METHOD"], 0
else:
    _METHOD, _MARK = dis.opmap["LOAD_ATTR"], 1


def refuse_calling(told: str) -> None:
    """Raise where the caller's caller is about to call the property that it asks for.

    Python would do so as well, and cannot tell that it is a number here.
    """
    instruction, argument = _asked_by()
    if instruction == _METHOD and argument & _MARK == _MARK:
        raise TypeError(told)


def instead_of(setting: str) -> str:
    """What an error about an argument adds, where it is known what to write instead."""
    return f"; here: {TORCH_SETTINGS[setting]}" if setting in TORCH_SETTINGS else ""


def unknown_setting(name: str, function: Any, given: Iterable[str]) -> TypeError | None:
    """The error for an argument of PyTorch that a function does not take, if there is one."""
    suspected = [setting for setting in given if setting in TORCH_SETTINGS]
    if not suspected:
        return None
    taken = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return None
    for setting in suspected:
        if setting not in taken:
            return TypeError(f"{name} takes no argument {setting!r}{instead_of(setting)}")
    return None


class TellsSettings:
    """What tells of an argument of PyTorch that it cannot be made with."""

    if not TYPE_CHECKING:  # a type checker would take any arguments for those of `__init__`

        def __new__(cls, *args, **kwargs):
            wrong = unknown_setting(cls.__name__, cls.__init__, kwargs) if kwargs else None
            if wrong is not None:
                raise wrong
            return super().__new__(cls)


def tells(module: str, table: dict[str, str]) -> Callable[[str], NoReturn]:
    """The `__getattr__` of a module, which tells what to write instead of a name there is not."""

    def __getattr__(name: str) -> NoReturn:
        raise missing(sys.modules[module], f"module {module!r}", name, table)

    return __getattr__


def missing(owner: Any, kind: str, name: str, table: dict[str, str]) -> Exception:
    """The error for an attribute that there is not; it tells what to write, where that is known."""
    text = f"{kind} has no attribute {name!r}"
    of_values = table in (OF_VALUES, OF_SEQUENCES)
    if instead := table.get(name) or (of_values and table.get(name.removesuffix("_"))):
        text += f"; here: {instead}"
        if _asked_by()[0] == _IMPORTED:  # which does not show what an AttributeError says
            return ImportError(text)
    elif of_values and name.endswith("_"):
        text += _of_changes(type(owner), name[:-1])
    return AttributeError(text, name=name, obj=owner)


def _of_changes(kind: type, name: str) -> str:
    """What is written instead of changing a value in place."""
    if hasattr(kind, "copy_"):
        return "; here: p.copy_(values), or p.data[...] = values"
    if hasattr(kind, name):
        return f"; values never change, x = x.{name}(...) names a new one"
    return ""
