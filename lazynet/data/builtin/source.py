"""The modules of the standard library, and how a corpus is drawn from them."""

from __future__ import annotations

import ast
import sysconfig
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

Candidate = TypeVar("Candidate")
Example = TypeVar("Example")

# Tests repeat themselves, the others are not part of the library proper or hold tables only.
_SKIPPED = {
    "__pycache__", "config", "dist-packages", "encodings", "ensurepip", "idlelib", "lib2to3",
    "pydoc_data", "site-packages", "test", "tests", "turtledemo",
}  # fmt: skip
_LARGEST = 200_000  # bytes of a file


@dataclass(slots=True)
class Module:
    """One source file: its text, its lines and its syntax tree."""

    source: str
    lines: list[str]
    tree: ast.Module

    def statements(self) -> Iterator[ast.stmt]:
        """All statements, in the order of the source (`ast.walk` would visit expressions too)."""
        waiting: list[ast.AST] = [self.tree]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.stmt):
                yield node
            for block in ("finalbody", "orelse", "handlers", "cases", "body"):
                waiting.extend(reversed(getattr(node, block, ())))

    def functions(self) -> list[ast.FunctionDef]:
        return [node for node in self.statements() if isinstance(node, ast.FunctionDef)]

    def segment(self, node: ast.stmt) -> str:
        """The source of a statement; its first line starts where the statement does."""
        assert node.end_lineno is not None
        lines = self.lines[node.lineno - 1 : node.end_lineno]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return "\n".join(lines)


def packages() -> list[list[Path]]:
    """The source files of every top-level module or package, in an order that mixes subjects.

    The order goes by a checksum of the name, so it is the same everywhere.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for entry in root.iterdir():
        if entry.name in _SKIPPED or entry.name.startswith(("_sysconfigdata", "config-")):
            continue
        files = [entry] if entry.suffix == ".py" else sorted(entry.rglob("*.py"))
        files = [f for f in files if not _SKIPPED.intersection(f.relative_to(root).parts)]
        if files:
            found.append((zlib.crc32(entry.stem.encode()), entry.stem, files))
    return [files for _, _, files in sorted(found)]


def read_module(path: Path) -> Module | None:
    """The module of a file; None if it is too large or does not parse.

    Text beyond ASCII is left out too: columns count bytes in syntax trees, characters in tokens.
    """
    try:
        raw = path.read_bytes()
        if len(raw) > _LARGEST or not raw.isascii():
            return None
        source = raw.decode("ascii").replace("\r\n", "\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as invalid escapes in the strings of a module
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    return Module(source, source.split("\n"), tree)


def draw(
    limit: int,
    find: Callable[[Module], Iterable[Candidate]],
    make: Callable[[Module, Candidate], Example | None],
) -> tuple[list[Example], list[Example]]:
    """(train, dev) with at most `limit` and `limit // 8` examples, from different packages.

    `find` lists what could become an example, cheaply; `make` makes the few that are drawn, None
    where one does not serve. No package gives more than a sixteenth of either part, so that both
    cover many subjects.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    waiting = iter(packages())
    dev = _fill(waiting, max(1, limit // 8), find, make)
    return _fill(waiting, limit, find, make), dev


def _fill(
    waiting: Iterator[list[Path]],
    limit: int,
    find: Callable[[Module], Iterable[Candidate]],
    make: Callable[[Module, Candidate], Example | None],
) -> list[Example]:
    share = max(8, limit // 16)
    taken: list[Example] = []
    while len(taken) < limit and (files := next(waiting, None)) is not None:
        found: list[tuple[Module, Candidate]] = []
        for module in filter(None, map(read_module, files)):
            found += [(module, candidate) for candidate in find(module)]
            if len(found) >= 4 * share:
                break
        made = (make(*found[i]) for i in _spread(len(found)))
        room = min(share, limit - len(taken))
        taken += islice((example for example in made if example is not None), room)
    return taken


def _spread(count: int) -> list[int]:
    """0 .. count - 1 in an order of which every beginning covers the whole range evenly.

    The beginnings of files are imports and constants; multiples of the golden ratio, modulo one,
    are the sequence that avoids any such bias.
    """
    return sorted(range(count), key=lambda i: i * 0.6180339887498949 % 1.0)
