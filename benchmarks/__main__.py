"""`python -m benchmarks`: races against policy none, peers and the bound, and the micro figures."""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

from benchmarks import micro, race, report
from benchmarks.race import Contender
from benchmarks.workloads import Spec

RACES = ("tagger", "tree", "language", "parser")
SIZES = ((64, 64), (128, 256))
_TOLERANCE = 1e-3


def contenders(workload: str) -> list[Contender]:
    """Who races in a workload; lazynet as users get it goes first."""
    train, peers = "benchmarks.workloads:train", "benchmarks.peers"
    if workload == "parser":
        parse = "benchmarks.workloads:parse"
        return [
            Contender("lazynet, ln.map", parse),
            Contender("lazynet, one at a time", parse, {"together": False}),
            Contender("lazynet, ln.map, policy none", parse, {"policy": "none"}),
        ]
    found = [
        Contender("lazynet", train),
        Contender("lazynet, policy none", train, {"policy": "none"}),
    ]
    if workload == "tree":
        found[0].name = "lazynet, op by op"
        found.insert(1, Contender("lazynet, nn.TreeLSTMCell", train, {"built_in_cell": True}))
    if importlib.util.find_spec("torch") is not None:
        found.append(Contender("PyTorch, one at a time", f"{peers}:one_at_a_time"))
        by_hand = "by_level" if workload == "tree" else "packed"
        found.append(Contender(f"PyTorch, {by_hand.replace('_', ' ')}", f"{peers}:{by_hand}"))
    found.append(Contender("bound: matrix products", "benchmarks.bound:run"))
    return found


def _disagreement(found: list[Contender]) -> float:
    """The largest relative difference between the losses of contenders that train."""
    losses = [c.losses for c in found if not c.factory.endswith("bound:run")]
    pairs = [(a, b) for other in losses[1:] for a, b in zip(losses[0], other, strict=True)]
    return max((abs(a - b) / max(abs(a), 1e-9) for a, b in pairs), default=0.0)


def _race(spec: Spec, rounds: int, steps: int) -> dict[str, Any]:
    found = contenders(spec.workload)
    race.run(spec, found, rounds, steps)
    told = report.race(spec, found)
    print(f"\n{told['race']} on {told['data']}, {told['steps']} steps each")
    for c in told["contenders"]:
        print(f"  {c['name']:<32} {c['milliseconds']:>10.2f} ms {c['examples_per_second']:>9.0f}/s"
              f" {c['first_against_it']:>8.2f}x", flush=True)  # fmt: skip
    difference = told["disagreement"] = _disagreement(found)
    if not difference <= _TOLERANCE or math.isnan(difference):
        print(f"  LOSSES DISAGREE by {difference:.1e}: these do not compute the same thing")
    return told


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    names = (*RACES, "micro")
    parser.add_argument("names", nargs="*", metavar="|".join(names), help="by default all")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="steps of a round")
    parser.add_argument(
        "--quick", action="store_true", help="toy sizes, to see that all of it runs"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args(argv)
    if unknown := set(args.names) - set(names):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = args.names or names
    sizes, scale, limit = (((8, 8),), 0.002, 32) if args.quick else (SIZES, 1.0, 1500)
    batch, rounds, steps = (8, 1, 1) if args.quick else (args.batch, args.rounds, args.steps)

    told: dict[str, Any] = {"machine": report.machine(), "races": [], "micro": []}
    for name in (n for n in RACES if n in chosen):
        for dim, hidden in sizes:
            spec = Spec(name, dim, hidden, batch, limit)
            told["races"].append(_race(spec, rounds, steps))
            report.write(told, args.out)  # what there is so far
    for name, figures in micro.FIGURES.items() if "micro" in chosen else ():
        print(f"\n{name}")
        for what, value, unit in figures(scale):
            told["micro"].append((what, value, unit))
            print(f"  {what:<60} {value:>10.3g} {unit}", flush=True)
        report.write(told, args.out)
    print(f"\nwritten to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
