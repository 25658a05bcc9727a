"""Which lines of a program record what: the second table of `ln.profile(lines=True)`."""

from __future__ import annotations

import linecache
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lazynet.batching.decode import FIRST, ITEM_COUNT, SIGNATURE, U_SIGNATURE
from lazynet.executor import Run

_LONGEST_CODE = 48


@dataclass
class Line:
    """What a line recorded: of each signature, by its number, how many rows."""

    nodes: int = 0
    rows: dict[int, int] = field(default_factory=dict)


class Lines:
    """The lines that recorded what ran, by file and number."""

    def __init__(self) -> None:
        self._found: dict[str, Line] = {}

    def add(self, sites: dict[int, str], run: Run) -> None:
        """Count the nodes of a forward at the lines that `sites` gives, by rows.

        A line is noted for the first of the nodes that it records in one piece.
        """
        noted = np.fromiter(sites, np.int64, len(sites))
        which = np.searchsorted(noted, run.plan.columns[:, FIRST], side="right") - 1
        names = list(sites.values())
        lines = {name: k for k, name in enumerate(dict.fromkeys(names))}
        line = np.array([lines[name] for name in names], np.int64)[which]
        kinds = len(run.plan.used)
        each = line * kinds + run.plan.columns[:, SIGNATURE]
        nodes = np.bincount(each, minlength=len(lines) * kinds).reshape(-1, kinds)
        rows = np.bincount(each, run.plan.columns[:, ITEM_COUNT], len(lines) * kinds)
        rows = rows.reshape(-1, kinds).astype(np.int64)
        numbers = run.plan.used[:, U_SIGNATURE].tolist()
        for name, k in lines.items():
            found = self._found.setdefault(name, Line())
            found.nodes += int(nodes[k].sum())
            for kind in np.flatnonzero(nodes[k]).tolist():
                number = numbers[kind]
                found.rows[number] = found.rows.get(number, 0) + int(rows[k, kind])

    def summary(self, signatures: dict[int, Any]) -> list[dict[str, Any]]:
        """The lines, those that take longest first; a signature's time is shared by its rows."""
        told: list[dict[str, Any]] = []
        for name, line in self._found.items():
            file, _, number = name.rpartition(":")
            taken = {"forward": 0.0, "backward": 0.0}
            for kind, rows in line.rows.items():
                entry = signatures[kind]
                share = rows / entry.items if entry.items else 0.0
                taken["forward"] += share * entry.forward
                taken["backward"] += share * entry.backward
            code = linecache.getline(file, int(number)).strip()
            told.append({"file": file, "line": int(number), "code": code, "nodes": line.nodes,
                         "rows": sum(line.rows.values()), **taken})  # fmt: skip
        told.sort(key=lambda e: (-e["forward"] - e["backward"], -e["nodes"], e["file"], e["line"]))
        return told


def timed(entries: list[dict[str, Any]]) -> list[str]:
    """The columns of times that a table has: none where no kernel was timed."""
    known = any(e["forward"] or e["backward"] for e in entries)
    return ["forward ms", "backward ms"] if known else []


def milliseconds(entry: dict[str, Any], columns: list[str]) -> list[str]:
    """What stands in these columns."""
    return [f"{1e3 * entry[column.partition(' ')[0]]:.2f}" for column in columns]


def table(lines: list[dict[str, Any]]) -> list[list[str]]:
    """The rows of a table of lines, with a head."""
    times = timed(lines)
    rows = [["line", *times, "nodes", "rows", "code"]]
    for e in lines:
        taken = milliseconds(e, times)
        code = e["code"]
        if len(code) > _LONGEST_CODE:
            code = code[: _LONGEST_CODE - 3] + "..."
        where = f"{os.path.basename(e['file'])}:{e['line']}"
        rows.append([where, *taken, str(e["nodes"]), str(e["rows"]), code])
    return rows
