"""Kinds of calls of a cell, as the short way of recording them takes them.

Recording is most of a small training step, and most of recording is finding out what one was given.
What makes up a kind of call is written down here once, for compiled code (`quick_calls.py`) to test
and to record; anything else goes the long way (`cell.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lazynet.op import TABLE, RowType
from lazynet.quick_calls import EQUAL, LIST_OF, MOST_PARTS, ROWS_OF, SAME, TENSOR_OF, step_into
from lazynet.quick_segments import SIZES

Part = tuple[tuple[int, ...], int, Any]
_MOST_KINDS = 16  # of calls of one function: they are tried in turn


@dataclass(frozen=True)
class AnyLength:
    """In a form: a list whose items have one form, of any length that is known to be of the kind.

    `lengths` grows as lengths become known.
    """

    item: Any
    lengths: set[int]


@dataclass(frozen=True)
class Rows:
    """In a form: a Sequence of rows of a type."""

    type: RowType


def first(made: list[Any]) -> Any:
    """The result of a function that gives one value."""
    return made[0]


def noted(
    kinds: tuple[Any, ...], form: tuple[Any, ...], index: int, outputs: int, result: Callable
) -> tuple[Any, ...]:
    """These kinds of calls and one more, if there are not too many, and if it is one.

    Args:
        form: the arguments with a row type in the place of every Tensor, and `Rows` in that of a
            Sequence. What lists of any length hold comes first among the operands.
        index: number of the signature.
        outputs: how many values it gives.
        result: makes what the function gives of a list of handles.
    """
    made = _kind(form, index, outputs, result) if len(kinds) < _MOST_KINDS else None
    return kinds if made is None else (*kinds, made)


def _kind(form: tuple[Any, ...], index: int, outputs: int, result: Callable) -> Any:
    """A kind of call, and what it records; None for what is left to the long way."""
    parts: list[Part] = []
    if len(form) >= SIZES or not all(
        _add(part, (number,), parts) for number, part in enumerate(form)
    ):
        return None
    parts.sort(key=lambda part: part[1] != LIST_OF)  # the others stay in their order
    paths = tuple(_paths(what.item) for _, how, what in parts if how == LIST_OF)
    if paths and any(how == ROWS_OF for _, how, _ in parts):
        return None
    if None in paths or len(parts) > MOST_PARTS or not any(how in _GIVEN for _, how, _ in parts):
        return None
    parts = [(at, how, what.lengths if how == LIST_OF else what) for at, how, what in parts]
    plain = result is first or (result is tuple and outputs > 1)  # as handles are made
    signature = TABLE.signatures[index]
    return len(form), tuple(parts), signature, None if plain else result, paths


_GIVEN = (TENSOR_OF, ROWS_OF, LIST_OF)  # parts that are recorded


def _add(form: Any, path: tuple[int, ...], parts: list[Part]) -> bool:
    """Add the parts of a form that lies at a path; False for forms that are left alone."""
    if isinstance(form, RowType):
        parts.append((path, TENSOR_OF, form))
    elif form.__class__ is Rows:
        parts.append((path, ROWS_OF, form.type))
    elif form.__class__ is AnyLength:
        parts.append((path, LIST_OF, form))
    elif form is None or form.__class__ is bool or (form.__class__ is tuple and not form):
        parts.append((path, SAME, form))
    elif form.__class__ in (int, float, str):
        parts.append((path, EQUAL, form))
    elif form.__class__ is list and not form:
        parts.append((path, EQUAL, []))
    elif form.__class__ in (tuple, list) and len(form) < SIZES:
        steps = [(*path, step_into(form.__class__, len(form), k)) for k in range(len(form))]
        return all(_add(part, step, parts) for part, step in zip(form, steps, strict=True))
    else:
        return False
    return True


def _paths(form: Any) -> tuple[tuple[int, ...], ...] | None:
    """Where in nested tuples of this form its values lie, as `record_items` takes it; None else."""
    parts: list[Part] = []
    if not _add(form, (), parts) or any(how != TENSOR_OF for _, how, _ in parts):
        return None
    return tuple(path for path, _, _ in parts)
