"""Reports: what was measured, on what, as JSON and as tables in Markdown."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.contenders import BOUND, trained
from benchmarks.workloads import Spec, corpus
from lazynet import cli
from lazynet.race import Contender, disagreement


def machine() -> dict[str, str]:
    """What the figures depend on."""
    told = dict(line.split(maxsplit=1) for line in cli.info().splitlines() if line[0].islower())
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        pass
    return {
        "processor": model,
        "CPUs": str(cli.processors()),
        "BLAS": cli.blas_in_use(),
        **{name: told[name] for name in ("python", "numpy", "numba")},
    }


def race(spec: Spec, contenders: list[Contender]) -> dict[str, Any]:
    """The medians of one race; ratios are of the first contender against each."""
    first = contenders[0]
    bound = next((c.median for c in contenders if c.factory == BOUND), None)
    found = corpus(spec.workload, spec.limit)
    return {
        "race": str(spec),
        "data": found.source,
        "steps": len(first.seconds),
        "disagreement": disagreement(trained(contenders)),
        "contenders": [
            {
                "name": c.name,
                "milliseconds": 1e3 * c.median,
                "examples_per_second": len(found.batches(spec.batch)[0]) / c.median,
                "first_against_it": c.median / first.median,
                "share_of_bound": bound / c.median if bound else None,
                "first_losses": c.losses[:3],
                **c.told,
            }
            for c in contenders
        ],
    }


# -- tables ----------------------------------------------------------------------------------------


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _table(head: list[str], rows: list[list[object]]) -> list[str]:
    return [_line(head), "|---" + "|---:" * (len(head) - 1) + "|", *map(_line, rows)]


def speeds(told: dict[str, Any]) -> list[str]:
    """The table of a race: who is how fast, how near to the bound, with how much memory."""
    first = told["contenders"][0]["name"]
    rows: list[list[object]] = []
    for c in told["contenders"]:
        share, memory = c["share_of_bound"], c.get("memory")
        rows.append([
            c["name"],
            f"{c['milliseconds']:.2f}",
            f"{c['examples_per_second']:.0f}",
            f"{c['first_against_it']:.2f}x",
            "" if share is None else f"{share:.0%}",
            "" if memory is None else f"{memory:.1f}",
        ])  # fmt: skip
    head = ["", "ms a step", "examples/s", f"{first} is faster by", "share of the bound"]
    return _table([*head, "peak memory, MiB"], rows)


def phases(told: dict[str, Any]) -> list[str]:
    """The table of what the steps of lazynet consist of; nothing if none were profiled."""
    profiled = [c for c in told["contenders"] if "seconds" in c]
    if not profiled:
        return []
    names = list(profiled[0]["seconds"])
    rows: list[list[object]] = []
    for c in profiled:
        read = c["rows_viewed"] + c["rows_addressed"]
        rows.append([
            c["name"],
            *(f"{1e3 * c['seconds'][name]:.2f}" for name in names),
            f"{c['batches']:.0f} of {c['lower_bound']:.0f}",
            f"{c['nodes']:.0f}",
            f"{c['bytes_gathered'] / 2**20:.2f}",
            f"{c['rows_viewed'] / max(1, read):.0%}",
        ])  # fmt: skip
    head = ["ms of a step", *names, "batches, bound", "nodes", "MiB gathered", "rows viewed"]
    return _table(head, rows)


def markdown(told: dict[str, Any]) -> str:
    """All of it as Markdown."""
    lines = ["# Benchmarks", ""]
    lines += [f"- {name}: {value}" for name, value in told["machine"].items()]
    for found in told["races"]:
        lines += ["", f"## {found['race']} ({found['data']})", "", *speeds(found)]
        if more := phases(found):
            lines += ["", *more]
    for title, figures in told["figures"].items():
        lines += ["", f"## {title}", "", "| | |", "|---|---:|"]
        lines += [_line([what, f"{value:.3g} {unit}"]) for what, value, unit in figures]
    return "\n".join(lines) + "\n"


def kept(folder: Path) -> dict[str, Any]:
    """What was measured before on this very machine, to be replaced by what is measured anew."""
    now = machine()
    if (folder / "results.json").exists():
        before: dict[str, Any] = json.loads((folder / "results.json").read_text())
        if before["machine"] == now:
            return before
    return {"machine": now, "races": [], "figures": {}}


def enter(told: dict[str, Any], found: dict[str, Any]) -> None:
    """Put a race among the others, in the place of the same race on the same data."""
    for k, other in enumerate(told["races"]):
        if (other["race"], other["data"]) == (found["race"], found["data"]):
            told["races"][k] = found
            return
    told["races"].append(found)


def write(told: dict[str, Any], folder: Path) -> None:
    """`results.json` and `results.md` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(told, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(told))
