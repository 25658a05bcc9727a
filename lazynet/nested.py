"""Nested structures: tuples, lists and dicts of values, and what is done to each value in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def leaves_of(structure: Any) -> list[Any]:
    """What a structure holds, in order; None holds nothing."""
    if structure is None:
        return []
    if isinstance(structure, (tuple, list)):
        return [leaf for part in structure for leaf in leaves_of(part)]
    if isinstance(structure, dict):
        return [leaf for part in structure.values() for leaf in leaves_of(part)]
    return [structure]


def mapped(structure: Any, change: Callable[[Any], Any]) -> Any:
    """The same structure with everything that it holds changed."""
    if structure is None:
        return None
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(mapped(part, change) for part in structure))
    if isinstance(structure, (tuple, list)):
        return type(structure)(mapped(part, change) for part in structure)
    if isinstance(structure, dict):
        return {name: mapped(part, change) for name, part in structure.items()}
    return change(structure)


def filled(structure: Any, values: Iterable[Any]) -> Any:
    """The same structure with other values in it, in the order of `leaves_of`."""
    rest = iter(values)
    return mapped(structure, lambda _: next(rest))


def alike(name: str, structure: Any, other: Any) -> tuple[list[Any], list[Any]]:
    """What two structures hold.

    Raises:
        ValueError: if they are not nested in one way; `name` says whose they are.
    """
    if _form(structure) != _form(other):
        raise ValueError(
            f"{name}: expected values nested as {_form(structure)}, not as {_form(other)}"
        )
    return leaves_of(structure), leaves_of(other)


def _form(structure: Any) -> Any:
    return mapped(_plain(structure), lambda _: "x")


def _plain(structure: Any) -> Any:
    """Tuples and lists count as the same."""
    if isinstance(structure, (tuple, list)):
        return [_plain(part) for part in structure]
    if isinstance(structure, dict):
        return {name: _plain(part) for name, part in structure.items()}
    return structure
