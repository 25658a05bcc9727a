"""Reports: what was measured, on what, as JSON and as a table in Markdown."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from benchmarks.race import Contender
from benchmarks.workloads import Spec, corpus
from lazynet import cli


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
    return {
        "race": str(spec),
        "data": corpus(spec.workload, spec.limit).source,
        "steps": len(first.seconds),
        "contenders": [
            {
                "name": c.name,
                "milliseconds": 1e3 * c.median,
                "examples_per_second": spec.batch / c.median,
                "first_against_it": c.median / first.median,
                "first_losses": c.losses[:3],
            }
            for c in contenders
        ],
    }


def markdown(told: dict[str, Any]) -> str:
    """All of it as Markdown."""
    lines = ["# Benchmarks", ""]
    lines += [f"- {name}: {value}" for name, value in told["machine"].items()]
    for found in told["races"]:
        first = found["contenders"][0]["name"]
        lines += ["", f"## {found['race']} ({found['data']})", ""]
        lines += [f"| | ms a step | examples/s | {first} is faster by |", "|---|---:|---:|---:|"]
        for c in found["contenders"]:
            lines.append(
                f"| {c['name']} | {c['milliseconds']:.2f} | {c['examples_per_second']:.0f} "
                f"| {c['first_against_it']:.2f}x |"
            )
    if told["micro"]:
        lines += ["", "## What the engine costs", "", "| | |", "|---|---:|"]
        lines += [f"| {what} | {value:.3g} {unit} |" for what, value, unit in told["micro"]]
    return "\n".join(lines) + "\n"


def write(told: dict[str, Any], folder: Path) -> None:
    """`results.json` and `results.md` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(told, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(told))
