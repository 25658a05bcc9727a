"""Writes the short way of recording a cell: one Python function for the kinds of calls it has seen.

Recording is most of a small training step, and most of recording is finding out what one was given.
For every kind of call the written function tests just that, and lets the compiled ways of recording
(`quick.py`) do the rest; for anything else it gives None, and the long way (`cell.py`) is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lazynet.kernels.source import function_of
from lazynet.op import TABLE, RowType
from lazynet.quick import node
from lazynet.quick_segments import SIZES, of_items
from lazynet.tensor import Tensor

_MISSING = object()
_DEEPEST = 90  # tests inside each other; Python compiles no more than a hundred


@dataclass(frozen=True)
class AnyLength:
    """In a form: a list whose items have one form, of any length that is known to be of the kind.

    `lengths` grows as lengths become known.
    """

    item: Any
    lengths: set[int]


@dataclass(frozen=True)
class Kind:
    """One kind of call: how its arguments are nested, and what it records.

    `form` is the arguments with a row type in the place of every Tensor. What lists of any length
    hold comes first among the operands.
    """

    form: tuple[Any, ...]
    index: int  # of the signature
    rows: tuple[Any, ...]  # types of the outputs
    result: Callable  # from a list of handles


def first(made: list[Any]) -> Any:
    """The result of a function that gives one value."""
    return made[0]


class _Writer:
    """Collects the lines of one kind of call, and the names that they use."""

    def __init__(self, number: int, namespace: dict[str, Any]):
        self.number, self.namespace = number, namespace
        self.lines: list[str] = []
        self.values: list[str] = []
        self.lists: list[tuple[str, AnyLength]] = []
        self.depth = 1

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def test(self, condition: str) -> None:
        """What follows is for the case that the condition holds."""
        self.line(f"if {condition}:")
        self.depth += 1

    def name(self, value: Any, prefix: str) -> str:
        """A name for a constant."""
        name = f"{prefix}{self.number}_{len(self.namespace)}"
        self.namespace[name] = value
        return name

    def match(self, form: Any, name: str) -> bool:
        """Test that the argument `name` has this form; False for forms that are left alone."""
        if isinstance(form, RowType):
            row = self.name(form, "row")
            self.test(f"{name}.__class__ is Tensor and {name}.type is {row}")
            self.values.append(name)
            return True
        if form is None or form is _MISSING or isinstance(form, bool):
            self.test(f"{name} is {form if form is not _MISSING else 'MISSING'}")
            return True
        if form.__class__ in (int, float, str):
            # 0.0 == -0.0, and an infinity has no literal
            by_name = form.__class__ is float and (not form or math.isinf(form))
            same = f"repr({name}) == {repr(form)!r}" if by_name else f"{name} == {form!r}"
            self.test(f"{name}.__class__ is {form.__class__.__name__} and {same}")
            return form == form
        if form.__class__ in (tuple, list):
            kind = form.__class__.__name__
            self.test(f"{name}.__class__ is {kind} and len({name}) == {len(form)}")
            parts = [f"{name}_{k}" for k in range(len(form))]
            if parts:
                self.line(f"{', '.join(parts)}, = {name}")
            return all(self.match(*pair) for pair in zip(form, parts, strict=True))
        if form.__class__ is AnyLength:
            lengths = self.name(form.lengths, "lengths")
            self.test(f"{name}.__class__ is list and len({name}) in {lengths}")
            self.lists.append((name, form))
            return True
        return False

    def record(self, kind: Kind) -> bool:
        """Record the node, and give its handles; False for forms that are left alone."""
        signature = self.name(TABLE.signatures[kind.index], "signature")
        if self.lists:
            names, forms = zip(*self.lists, strict=True)
            paths = tuple(_paths(form.item) for form in forms)
            if None in paths:
                return False
            given = ", ".join((self.name(paths, "paths"), *names, *self.values))
            self.line(f"made = of_items.record({signature}, {given})")
        else:
            self.line(f"made = node.record({signature}, {', '.join(self.values)})")
        self.test("made is not None")
        single = len(kind.rows) == 1
        if kind.result is first or (kind.result is tuple and not single):
            self.line("return made")
        elif kind.result is tuple:
            self.line("return (made,)")
        else:
            every = "[made]" if single else "list(made)"
            self.line(f"return {self.name(kind.result, 'result')}({every})")
        return True


def _paths(form: Any, before: tuple[int, ...] = ()) -> tuple[tuple[int, ...], ...] | None:
    """Where in nested tuples of this form its values lie, as `of_items` takes it; None without."""
    if isinstance(form, RowType):
        return (before,)
    if type(form) is not tuple or not 0 < len(form) < SIZES:
        return None
    found = [_paths(part, (*before, SIZES * len(form) + k)) for k, part in enumerate(form)]
    if any(part is None for part in found):
        return None
    return tuple(path for part in found if part for path in part)


def write(kinds: list[Kind]) -> Callable:
    """The function that records calls of these kinds, and gives None for all others."""
    longest = max((len(kind.form) for kind in kinds), default=0)
    namespace: dict[str, Any] = {
        "__name__": __name__,
        "Tensor": Tensor,
        "MISSING": _MISSING,
        "node": node,
        "of_items": of_items,
    }
    names = [f"a{k}" for k in range(longest)]
    lines = [f"def record({''.join(f'{name}=MISSING, ' for name in names)}*others):"]
    lines.append("    if others: return None")  # more arguments than any kind has
    for number, kind in enumerate(kinds):
        writer = _Writer(number, namespace)
        form = kind.form + (_MISSING,) * (longest - len(kind.form))
        matched = [writer.match(*pair) for pair in zip(form, names, strict=True)]
        some = writer.values or writer.lists
        if all(matched) and some and writer.depth < _DEEPEST and writer.record(kind):
            lines += writer.lines
    lines.append("    return None")
    return function_of("\n".join(lines) + "\n", "record", namespace)
