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

from lazynet.graph import words_of
from lazynet.op import RowType
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

    `form` is the arguments with a row type in the place of every Tensor. The ids of what a list of
    any length holds come first in the entry.
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
        self.ids: list[str] = []  # lists of the ids of what such a list holds
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
        if form.__class__ is AnyLength:
            lengths = self.name(form.lengths, "lengths")
            self.test(f"{name}.__class__ is list and len({name}) in {lengths}")
            self.lists.append((name, form))
            return True
        return False

    def match_items(self, name: str, form: Any) -> bool:
        """Test that every item of a list has this form, and collect the ids of its values."""
        before, self.values = self.values, []
        item, head = f"{name}_item", len(self.lines)
        self.line(f"for {item} in {name}:")
        depth, self.depth = self.depth, self.depth + 1
        matched = self.match(form, item)
        own, self.values = self.values, before
        self.test(" and ".join(f"{v}.graph is graph" for v in own) or "True")
        for v in own:
            self.line(f"{v}_ids.append({v}.id)")
        self.line("continue")
        self.depth = depth + 1
        self.line("break")
        made = "    " * depth + "".join(f"{v}_ids = []; " for v in own).rstrip("; ")
        self.lines.insert(head, made)
        self.ids += [f"{v}_ids" for v in own]
        self.depth = depth
        self.line("else:")
        self.depth = depth + 1
        return matched

    def match_lists(self) -> bool:
        """Test all lists of any length, when the rest has been tested; `graph` is the values'."""
        (first_list, form), *others = self.lists
        if not self.values:  # the first item tells the graph
            self.line(f"{first_list}_first = {first_list}[0]")
            if not self.match(form.item, f"{first_list}_first"):
                return False
            self.line(f"graph = {self.values[0]}.graph")
            self.values = []
        else:
            self.line(f"graph = {self.values[0]}.graph")
        for name, _ in others:
            self.test(f"len({name}) == len({first_list})")
        return all(self.match_items(name, form.item) for name, form in self.lists)

    def entry(self, kind: Kind) -> str:
        """The expression for the entry on the tape."""
        ids = "".join(f", {v}.id" for v in self.values)
        if not self.lists:
            pack = self.name(struct.Struct(f"{1 + len(self.values)}i").pack, "pack")
            return f"{pack}({kind.index}{ids})"
        count = f"len({self.lists[0][0]})"
        items = ", ".join(f"*{column}" for column in self.ids)
        return f"words_of({-kind.index - 1}, {count}, 1, 1, {items}, {count}{ids})"

    def record(self, kind: Kind) -> None:
        """Put the entry on the tape, and give the handles."""
        if not self.lists:
            self.line(f"graph = {self.values[0]}.graph")
        same = "".join(f" and {v}.graph is graph" for v in self.values[1:])
        self.test(f"graph.thread == get_ident(){same}")
        self.line("vid = graph.values")
        self.line(f"graph.values = vid + {len(kind.rows)}")
        self.line("tape = graph.tape")
        self.line(f"tape += {self.entry(kind)}")
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
        "words_of": words_of,
    }  # fmt: skip
    names = [f"a{k}" for k in range(longest)]
    lines = [f"def record({''.join(f'{name}=MISSING, ' for name in names)}*others):"]
    lines.append("    if others: return None")  # more arguments than any kind has
    for number, kind in enumerate(kinds):
        writer = _Writer(number, namespace)
        form = kind.form + (_MISSING,) * (longest - len(kind.form))
        matched = [writer.match(*pair) for pair in zip(form, names, strict=True)]
        if all(matched) and writer.lists:
            matched.append(writer.match_lists())
        if all(matched) and (writer.values or writer.lists) and writer.depth < _DEEPEST:
            writer.record(kind)
            lines += writer.lines
    lines.append("    return None")
    source = "\n".join(lines) + "\n"
    filename = f"<lazynet record {abs(hash(source)):x}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    exec(compile(source, filename, "exec"), namespace)
    return namespace["record"]
