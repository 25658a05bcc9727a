"""What batching saves: training steps under each policy, and against PyTorch, interleaved."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from lazynet import backward as backwards
from lazynet import modes, race, running
from lazynet.batching.policies import NAMES
from lazynet.demo import WORKLOADS, Workload
from lazynet.executor import Run
from lazynet.graph import Graph
from lazynet.ops.reduce import mean
from lazynet.ops.reduce import sum as total
from lazynet.optim import Adam, Optimizer
from lazynet.profile import aligned, profile
from lazynet.race import Steps

POLICIES = tuple(NAMES)
PHASES = ("build", "plan", "forward", "backward", "update")
_TOLERANCE = 1e-3  # relative difference of losses, after a few steps in float32


@dataclass
class Result:
    """One policy on one workload: what it did in one step, and the medians of its times."""

    policy: str
    nodes: int
    batches: int
    lower_bound: int
    launches: int  # of kernels on GPUs
    bytes_a_node: float  # of what it is written down in
    bytes_a_row: float  # of values, and of what is kept for their gradients
    seconds: dict[str, float]  # by phase, and "step" for all of it
    examples_per_second: float
    speedup: float = 1.0  # against the first policy


class Stopwatch:
    """Times the phases of training steps, from what the engine tells while it runs them."""

    def __init__(self) -> None:
        self._plan = self._backward = 0.0

    def __enter__(self) -> Stopwatch:
        running.observers.append(self._ran)
        backwards.observers.append(self._went_back)
        return self

    def __exit__(self, *error: object) -> None:
        running.observers.remove(self._ran)
        backwards.observers.remove(self._went_back)

    def _ran(self, graph: Graph, run: Run) -> None:
        self._plan += sum(run.seconds[phase] for phase in ("decode", "schedule", "lay out"))

    def _went_back(self, done: backwards.Pass) -> None:
        self._backward += done.seconds

    def step(self, record: Callable[[], Any], optimizer: Optimizer) -> dict[str, float]:
        """Seconds by phase of one training step on the loss that `record` builds."""
        self._plan = self._backward = 0.0
        start = time.perf_counter()
        loss = record()
        built = time.perf_counter()
        optimizer.zero_grad()
        loss.backward()
        ran = time.perf_counter()
        optimizer.step()
        end = time.perf_counter()
        return {
            "build": built - start,
            "plan": self._plan,
            "forward": ran - built - self._plan - self._backward,
            "backward": self._backward,
            "update": end - ran,
            "step": end - start,
        }


def compare(
    workload: Workload,
    batch: int,
    steps: int,
    policies: Iterable[str] = POLICIES,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[Result]:
    """Train under each policy in turn, round after round on the same minibatches.

    Args:
        batch: examples of a minibatch.
        steps: rounds to take the median of; one more goes first, for kernels to be compiled.
        progress: what to draw the rounds through, such as a progress bar.
    """
    policies = tuple(policies)
    if batch < 1 or steps < 1:
        raise ValueError(f"compare: batch and steps must be at least 1, not {batch} and {steps}")
    batches = _minibatches(workload.train, batch, steps + 1)
    optimizer = Adam(workload.model.parameters())
    counts = {policy: _count(workload, batches[0], policy) for policy in policies}
    times: dict[str, list[dict[str, float]]] = {policy: [] for policy in policies}
    with Stopwatch() as watch:
        for k in progress(range(steps + 1)):
            for policy in policies:
                with modes.batching(policy):
                    seconds = watch.step(partial(_loss, workload, batches[k]), optimizer)
                if k:
                    times[policy].append(seconds)
    found: list[Result] = []
    for policy in policies:
        medians = {
            phase: statistics.median(taken[phase] for taken in times[policy])
            for phase in (*PHASES, "step")
        }
        p = counts[policy]
        rate = len(batches[0]) / medians["step"]
        speedup = rate / found[0].examples_per_second if found else 1.0
        found.append(
            Result(
                policy, p.nodes, p.batches, p.lower_bound, p.launches, p.bytes_recorded / p.nodes,
                p.bytes_computed / p.rows, medians, rate, speedup,
            )
        )  # fmt: skip
    return found


def _minibatches(examples: list[Any], batch: int, count: int) -> list[list[Any]]:
    """Minibatches of one size, from the beginning again where the examples end."""
    batch = min(batch, len(examples))
    places = [k * batch % (len(examples) - batch + 1) for k in range(count)]
    return [examples[place : place + batch] for place in places]


def _loss(workload: Workload, examples: list[Any]) -> Any:
    return mean([workload.loss(example) for example in examples])


def _count(workload: Workload, examples: list[Any], policy: str) -> profile:
    with profile(examples=len(examples)) as counted, modes.batching(policy):
        loss = _loss(workload, examples)
        loss.backward()
    workload.model.zero_grad()
    return counted


def table(results: list[Result]) -> str:
    """The results as lines of text; times are milliseconds a step."""
    head = [
        "policy",
        "batches",
        "bound",
        *(["launches"] if any(r.launches for r in results) else []),
        *PHASES,
        "step",
        "examples/s",
        f"against {results[0].policy}",
    ]
    rows = [head]
    for r in results:
        milliseconds = [f"{1e3 * r.seconds[phase]:.2f}" for phase in (*PHASES, "step")]
        rate, speedup = f"{r.examples_per_second:.0f}", f"{r.speedup:.2f}x"
        counts = [str(r.batches), str(r.lower_bound)]
        counts += [str(r.launches)] if "launches" in head else []
        rows.append([r.policy, *counts, *milliseconds, rate, speedup])
    return "\n".join(aligned(rows))


# -- against PyTorch -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """What all contenders of a race against PyTorch have in common."""

    workload: str  # of demo.WORKLOADS
    hidden: int
    batch: int
    steps: int

    def workload_and_batches(self) -> tuple[Workload, list[list[Any]]]:
        workload = WORKLOADS[self.workload](max(self.batch, 512), self.hidden)
        return workload, _minibatches(workload.train, self.batch, self.steps)


def ours(size: Size) -> Steps:
    """Training steps of lazynet on the sums of the losses of examples."""
    workload, batches = size.workload_and_batches()
    model: Any = workload.model
    optimizer = Adam(model.parameters())

    def run(batch: list[Any]) -> float:
        losses = [model.loss(example, reduction="sum") for example in batch]
        loss = total(losses) / len(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return Steps(batches, run)


def peers_missing() -> str:
    """What has to be installed for a race against PyTorch; empty if nothing."""
    if importlib.util.find_spec("torch") is not None:
        return ""
    return "PyTorch is not installed; pip install '.[bench]' in a checkout brings it"


def against_peers(size: Size) -> list[race.Contender]:
    """Race lazynet against the same model in PyTorch, by turns, each in a process of its own.

    Raises:
        ImportError: if PyTorch is not installed.
        RuntimeError: if the losses of contenders differ: they would not compute the same thing.
    """
    if missing := peers_missing():
        raise ImportError(missing)
    found = [
        race.Contender("lazynet", "lazynet.bench:ours"),
        race.Contender("PyTorch, one at a time", "lazynet.peers:theirs"),
        race.Contender("PyTorch, batched by hand", "lazynet.peers:theirs", {"together": True}),
    ]
    race.run(size, found, size.steps, 1)
    if not (difference := race.disagreement(found)) <= _TOLERANCE:
        raise RuntimeError(f"the losses of {size.workload} disagree by {difference:.1e}")
    return found


def peers_table(found: list[race.Contender], batch: int) -> str:
    """The medians of a race as lines of text."""
    rows = [["", "ms a step", "examples/s", "lazynet is faster by", "peak memory, MiB"]]
    for c in found:
        ratio, peak = c.median / found[0].median, c.told["memory"]
        speed = f"{1e3 * c.median:.2f}", f"{batch / c.median:.0f}"
        rows.append([c.name, *speed, f"{ratio:.2f}x", f"{peak:.1f}"])
    return "\n".join(aligned(rows))
