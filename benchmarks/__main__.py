"""`python -m benchmarks`: races against policy none, peers and the bound, and other figures."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import cells, micro, orders, report, scaling
from benchmarks.contenders import contenders
from benchmarks.workloads import NAMES, Spec
from lazynet import race

# Tables of (what, value, unit), each a function of the scale.
FIGURES: dict[str, dict[str, Callable[[float], Iterator[micro.Row] | list[micro.Row]]]] = {
    "micro": micro.FIGURES,
    "scaling": {"Scaling": scaling.figures},
    "cells": {"Cells": cells.figures},
    "orders": {"Orders": orders.figures},
}
SIZES = ("64/64", "128/256")
_TOLERANCE = 1e-3


def _size(text: str) -> tuple[int, int]:
    dim, _, hidden = text.partition("/")
    return int(dim), int(hidden)


def _race(spec: Spec, rounds: int, steps: int) -> dict[str, Any]:
    found = contenders(spec.workload)
    race.run(spec, found, rounds, steps)
    told = report.race(spec, found)
    print(f"\n{told['race']} on {told['data']}, {told['steps']} steps each")
    print("\n".join([*report.speeds(told), *report.phases(told)]), flush=True)
    difference = told["disagreement"]
    if not difference <= _TOLERANCE or math.isnan(difference):
        print(f"LOSSES DISAGREE by {difference:.1e}: these do not compute the same thing")
    return told


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    names = (*NAMES, *FIGURES)
    parser.add_argument("names", nargs="*", metavar="|".join(names), help="by default all")
    parser.add_argument("--batch", type=int, nargs="+", default=[64], help="sizes of minibatches")
    parser.add_argument("--sizes", type=_size, nargs="+", default=list(map(_size, SIZES)),
                        metavar="DIM/HIDDEN", help=f"by default {' '.join(SIZES)}")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="steps of a round")
    parser.add_argument("--limit", type=int, default=1500, help="examples of a corpus")
    parser.add_argument(
        "--quick", action="store_true", help="toy sizes, to see that all of it runs"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args(argv)
    if unknown := set(args.names) - set(names):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen, scale = args.names or names, 1.0
    if args.quick:
        args.sizes, args.batch, args.limit, scale = [(8, 8)], [8], 32, 0.002
        args.rounds = args.steps = 1

    told = report.kept(args.out)
    for name in (n for n in NAMES if n in chosen):
        for dim, hidden in args.sizes:
            for batch in args.batch:
                spec = Spec(name, dim, hidden, batch, args.limit)
                report.enter(told, _race(spec, args.rounds, args.steps))
                report.write(told, args.out)  # what there is so far
    for name, figures in ((n, f) for c in chosen for n, f in FIGURES.get(c, {}).items()):
        print(f"\n{name}")
        told["figures"][name] = []
        for what, value, unit in figures(scale):
            told["figures"][name].append((what, value, unit))
            print(f"  {what:<60} {value:>10.3g} {unit}", flush=True)
            report.write(told, args.out)
    print(f"\nwritten to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
