"""Errors of a module's call under its name, about the argument that it could not take.

Arguments are looked at only after something failed, so calls that are right pay nothing for it.
"""

from __future__ import annotations

import inspect
import struct
from typing import Any

from lazynet.nested import leaves_of
from lazynet.ops import told
from lazynet.record import DtypeError, ShapeError
from lazynet.tensor import Value
from lazynet.unknown import unknown_setting

RAISED = (
    TypeError, ValueError, IndexError, KeyError, AttributeError, OverflowError, ZeroDivisionError,
    struct.error, ShapeError, DtypeError,
)  # fmt: skip


def explained(module: Any, error: Exception, args: tuple, kwargs: dict[str, Any]) -> Exception:
    """The error to raise instead; the same where users' code is what failed.

    Args:
        module: says in `_takes()` what rows the arguments of its `forward` must have.
    """
    home, function = _forward(module)
    if not home.startswith("lazynet.nn.") or not module._tells or type(error) not in RAISED:
        return error
    if not _is_ours(error):
        return error
    try:
        signature = inspect.signature(function)
        given = signature.bind(module, *args, **kwargs).arguments
    except TypeError:  # too many arguments, or too few: Python tells it
        return unknown_setting(type(module).__name__, function, kwargs) or error
    name = type(module).__name__
    if str(error).startswith(f"{name}: "):
        return error
    for label, expected in module._takes().items():
        value = given.get(label, signature.parameters[label].default)
        if value is not None or signature.parameters[label].default is not None:
            problem = _first_wrong(module, name, label, value, expected)
            if problem is not None:
                return problem
    if told.stated_here(error):
        return told.under(name, error, (args, kwargs))
    taken = type(getattr(error, "obj", None))  # what was taken for a Tensor; cells see copies
    for label, value in given.items():
        if isinstance(value, (list, tuple)) and type(value) is taken:
            return TypeError(
                f"{name}: expected a Tensor or Sequence for {label}, not {told.told_of(value)}; "
                f"call it for each example: [module(x) for x in {label}]"
            )
    listed = ", ".join(f"{k} = {told.told_of(v)}" for k, v in given.items() if k != "self")
    problem = ShapeError(f"{name}: these do not go together: {listed}")
    problem.__cause__ = error
    return problem


def _forward(module: Any) -> tuple[str, Any]:
    """Where the class that defines `forward` is at home, and the function itself."""
    for kind in type(module).__mro__:
        if "forward" in vars(kind):
            found = vars(kind)["forward"]
            return kind.__module__, inspect.unwrap(found)
    return "", None


def _is_ours(error: Exception) -> bool:
    """Whether all that ran between the module's call and the error is lazynet's or numpy's."""
    frame = error.__traceback__
    while frame is not None:
        home = frame.tb_frame.f_globals.get("__name__", "").partition(".")[0]
        if home not in ("lazynet", "numpy"):
            return False
        frame = frame.tb_next
    return True


def _first_wrong(
    module: Any, name: str, label: str, value: Any, expected: tuple
) -> Exception | None:
    """What is wrong with an argument, or with the first part of it that is."""
    parts = leaves_of(value) if isinstance(value, (tuple, list)) and value else [value]
    if all(isinstance(part, Value) for part in parts):
        found = (_wrong(module, name, label, part, expected) for part in parts)
        return next(filter(None, found), None)
    return _wrong(module, name, label, value, expected)


def _wrong(module: Any, name: str, label: str, value: Any, expected: tuple) -> Exception | None:
    """What is wrong with an argument of which rows of this shape are expected; `...` is any."""
    if type(value).__module__.startswith("lazynet.nn."):
        return None  # keys and values of earlier rows
    if not isinstance(value, Value):
        advice = ""
        if isinstance(value, (list, tuple)) or hasattr(value, "__array__"):
            advice = f"; ln.tensor({label}) makes a Tensor of numbers, ln.sequence({label}) rows"
        return TypeError(
            f"{name}: expected a Tensor or Sequence for {label}, not {told.told_of(value)}{advice}"
        )
    shape = value.type.shape
    sizes = tuple(size for size in expected if size is not ...)
    apart = {  # by where the axes of any size are: whether the others differ
        "before": shape[len(shape) - len(sizes) :] != sizes or len(shape) < len(sizes),
        "behind": shape[: len(sizes)] != sizes,
        "": shape != sizes,
    }
    place = "" if ... not in expected else "before" if expected[0] is ... else "behind"
    if apart[place]:
        shown = "(" + ", ".join("..." if size is ... else str(size) for size in expected)
        shown += ",)" if len(expected) == 1 else ")"
        return ShapeError(f"{name}: {label} has rows of {shape}; expected rows of {shown}")
    own = next((p.type.dtype for p in module.parameters()), None)
    if own is not None and value.type.dtype != own:
        return DtypeError(
            f"{name}: {label} holds {value.type.dtype}, the weights {own}; convert with "
            f".astype({own!r})"
        )
    return None
