"""Writes the short way of recording a cell: one Python function for the kinds of calls it has seen.

Recording is most of a small training step, and most of recording is finding out what one was given.
For every kind of call the written function tests just that, puts the entry on the tape and fills in
the handles; for anything else it gives None, and the long way (`cell.py`) is taken.
"""

from __future__ import annotations

import linecache
import struct
from _thread import get_ident
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lazynet.op import RowType
from lazynet.tensor import Tensor

_MISSING = object()
_DEEPEST = 90  # tests inside each other; Python compiles no more than a hundred


@dataclass(frozen=True)
class Kind:
    """One kind of call: how its arguments are nested, and what it records.

    `form` is the arguments with a row type in the place of every Tensor.
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
            zero = form.__class__ is float and not form  # 0.0 == -0.0
            same = f"repr({name}) == {repr(form)!r}" if zero else f"{name} == {form!r}"
            self.test(f"{name}.__class__ is {form.__class__.__name__} and {same}")
            return form == form
        if form.__class__ in (tuple, list):
            kind = form.__class__.__name__
            self.test(f"{name}.__class__ is {kind} and len({name}) == {len(form)}")
            parts = [f"{name}_{k}" for k in range(len(form))]
            if parts:
                self.line(f"{', '.join(parts)}, = {name}")
            return all(self.match(*pair) for pair in zip(form, parts, strict=True))
        return False

    def record(self, kind: Kind) -> None:
        """Put the entry on the tape, and give the handles."""
        leading, *others = self.values
        self.line(f"graph = {leading}.graph")
        same = "".join(f" and {v}.graph is graph" for v in others)
        self.test(f"graph.thread == get_ident(){same}")
        pack = self.name(struct.Struct(f"{1 + len(self.values)}i").pack, "pack")
        ids = ", ".join(f"{v}.id" for v in self.values)
        self.line("vid = graph.values")
        self.line(f"graph.values = vid + {len(kind.rows)}")
        self.line("tape = graph.tape")
        self.line(f"tape += {pack}({kind.index}, {ids})")
        made = [f"y{k}" for k in range(len(kind.rows))]
        for k, (y, row) in enumerate(zip(made, kind.rows, strict=True)):
            self.line(f"{y} = new(Tensor)")
            self.line(f"{y}.graph = graph; {y}.id = vid + {k}; {y}.type = {self.name(row, 'row')}")
        if kind.result is tuple:
            self.line(f"return ({', '.join(made)},)")
        elif kind.result is first:
            self.line(f"return {made[0]}")
        else:
            self.line(f"return {self.name(kind.result, 'result')}([{', '.join(made)}])")


def write(kinds: list[Kind]) -> Callable:
    """The function that records calls of these kinds, and gives None for all others."""
    longest = max((len(kind.form) for kind in kinds), default=0)
    namespace: dict[str, Any] = {
        "Tensor": Tensor, "get_ident": get_ident, "new": object.__new__, "MISSING": _MISSING,
    }  # fmt: skip
    names = [f"a{k}" for k in range(longest)]
    lines = [f"def record({''.join(f'{name}=MISSING, ' for name in names)}*others):"]
    lines.append("    if others: return None")  # more arguments than any kind has
    for number, kind in enumerate(kinds):
        writer = _Writer(number, namespace)
        form = kind.form + (_MISSING,) * (longest - len(kind.form))
        matched = [writer.match(*pair) for pair in zip(form, names, strict=True)]
        if all(matched) and writer.values and writer.depth < _DEEPEST:
            writer.record(kind)
            lines += writer.lines
    lines.append("    return None")
    source = "\n".join(lines) + "\n"
    filename = f"<lazynet record {abs(hash(source)):x}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    exec(compile(source, filename, "exec"), namespace)
    return namespace["record"]
