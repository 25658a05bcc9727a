"""`python -m benchmarks.cuda`: training steps on a GPU, beside PyTorch and the products alone.

Steps end with the loss on the host, so each is timed after the device has done it. PyTorch runs
its packed `nn.LSTM` (cuDNN), the trees level by level and the parser in step, from the same weights
on the same minibatches. With `--scans`, lazynet runs a second time, with one launch for each scan.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import lazynet as ln
from benchmarks import bound, workloads
from benchmarks.workloads import Spec, corpus
from lazynet import loops
from lazynet.device import device_of
from lazynet.profile import aligned

Step = Callable[[int], float]
TOLERANCE = 1e-3
WORKLOADS = ["tagger", "characters", "tree", "parsing"]
BOUND = "products alone"


@dataclass
class Contender:
    """A step function and what it measured."""

    name: str
    step: Step
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    launches: int | None = None  # in one step, where that is known

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def products(spec: Spec, name: str) -> Step:
    """The matrix products of a step, back to back on the device; gives the number of operations."""
    device: Any = device_of(name)
    batches = corpus(spec.workload, spec.limit).batches(spec.batch)
    shapes = bound.products(spec, batches)
    sizes = [[p.m * p.k, p.k * p.n, p.m * p.n] for found in shapes for p in found]
    a, b, out = (device.own(np.ones(max(part), np.float32)) for part in zip(*sizes, strict=True))

    def step(number: int) -> float:
        found = shapes[number % len(shapes)]
        for m, n, k, ta, tb in found:
            lda, ldb = m if ta else k, k if tb else n
            device.driver.gemm(
                "float32", ta, tb, m, n, k, a.address, lda, b.address, ldb, 0, out.address, n
            )
        device.wait()
        return bound.flops(found)

    return step


def with_scans_in_one_launch(step: Step) -> Step:
    """A step whose scans are one launch each."""

    def run(number: int) -> float:
        before, loops.WANTED = loops.WANTED, True
        try:
            return step(number)
        finally:
            loops.WANTED = before

    return run


def contenders(spec: Spec, device: str, scans: bool = False) -> list[Contender]:
    """lazynet, PyTorch where it sees the device, and the products alone."""
    found = [Contender("lazynet", workloads.train(spec, device=device))]
    if scans:
        step = with_scans_in_one_launch(workloads.train(spec, device=device))
        found.append(Contender("lazynet, a launch for each scan", step))
    if torch_sees(device):
        from benchmarks import peers

        found.append(Contender("PyTorch, batched by hand", peers.by_hand(spec, device)))
    found.append(Contender(BOUND, products(spec, device)))
    return found


def torch_sees(device: str) -> bool:
    """Whether PyTorch is there and finds the device."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return device.startswith("cuda") and torch.cuda.is_available()


def race(spec: Spec, device: str, rounds: int, steps: int, scans: bool = False) -> list[Contender]:
    """Let the contenders take steps in turn, after a first one that compiles what they need."""
    found = contenders(spec, device, scans)
    for c in found:
        with ln.profile() as counted:
            c.losses.append(c.step(0))
        c.launches = None if c.name.startswith("PyTorch") else counted.launches
    for number in range(rounds):
        for c in found:
            for k in range(steps):
                start = time.perf_counter()
                loss = c.step(1 + number * steps + k)
                c.seconds.append(time.perf_counter() - start)
                c.losses.append(loss)
    return found


def disagreement(found: list[Contender]) -> float:
    """The largest relative difference between the losses of those who train."""
    training = [c.losses for c in found if c.name != BOUND]
    pairs = [(a, b) for other in training[1:] for a, b in zip(training[0], other, strict=True)]
    return max((abs(a - b) / max(abs(a), 1e-9) for a, b in pairs), default=0.0)


def table(spec: Spec, found: list[Contender]) -> list[str]:
    """What was measured, as lines of text."""
    products_alone = found[-1].median
    rows = [["", "ms a step", "examples/s", "launches a step", "share of the bound"]]
    for c in found:
        rows.append([
            c.name, f"{1e3 * c.median:.2f}", f"{spec.batch / c.median:.0f}",
            "" if c.launches is None else str(c.launches), f"{products_alone / c.median:.0%}",
        ])  # fmt: skip
    return aligned(rows)


def options(arguments: Iterable[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="benchmarks.cuda", description=__doc__)
    parser.add_argument("--workloads", nargs="+", default=WORKLOADS)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--limit", type=int, default=4096, help="examples of a corpus")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="steps of a round")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--scans", action="store_true", help="also with one launch for each scan")
    return parser.parse_args(None if arguments is None else list(arguments))


def main(arguments: Iterable[str] | None = None) -> int:
    args = options(arguments)
    failed = 0
    for name in args.workloads:
        for hidden in args.hidden:
            for batch in args.batch:
                spec = Spec(name, hidden, hidden, batch, args.limit)
                found = race(spec, args.device, args.rounds, args.steps, args.scans)
                print(f"\n{spec} on {args.device}, {args.rounds * args.steps} steps each")
                print("\n".join(table(spec, found)), flush=True)
                difference = disagreement(found)
                if not difference <= TOLERANCE:
                    failed = 1
                    print(f"LOSSES DISAGREE by {difference:.1e}: these are not the same steps")
    return failed


if __name__ == "__main__":
    sys.exit(main())
