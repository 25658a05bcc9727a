"""The workloads: real data, and models written for one example, a room each.

A room has `read(limit)`, which gives its `Corpus`, and `MODELS`: ways to write the model, by name,
each called with the corpus and the `Spec`. All of them draw the same initial values, and `loss`
gives the sum of an example's losses.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import lazynet as ln
from benchmarks.workloads.base import Corpus as Corpus
from benchmarks.workloads.base import Spec as Spec
from lazynet import optim
from lazynet.race import Steps

NAMES = (
    "tagger", "characters", "tree", "child_sum", "seq2seq", "parser", "parsing", "language",
    "lattice",
)  # fmt: skip
_ROOMS = {"parsing": "parser"}


def room(workload: str) -> Any:
    """The module of a workload."""
    return importlib.import_module(f"benchmarks.workloads.{_ROOMS.get(workload, workload)}")


@cache
def corpus(workload: str, limit: int) -> Corpus:
    """The corpus of a workload, made of the first `limit` examples."""
    return room(workload).read(limit)


def model(spec: Spec, way: str = "") -> Any:
    """A lazynet model of a workload, with initial values that depend on the seed alone.

    Args:
        way: which of the room's `MODELS`, by default the first.
    """
    models = room(spec.workload).MODELS
    ln.manual_seed(spec.seed)
    return models[way or next(iter(models))](corpus(spec.workload, spec.limit), spec)


def batch_loss(learner: Any, batch: list[Any]) -> Any:
    """What a training step minimises: the sum of the losses for each example."""
    return ln.sum([learner.loss(example) for example in batch]) / len(batch)


def train(spec: Spec, policy: str = "auto", way: str = "", device: str = "cpu") -> Steps:
    """Training steps: build, forward, backward, Adam."""
    from benchmarks.phases import phases

    ln.set_batching(policy)
    learner = model(spec, way).to(device)
    batches = corpus(spec.workload, spec.limit).batches(spec.batch)
    optimizer = optim.Adam(learner.parameters())

    def run(batch: list[Any]) -> float:
        loss = batch_loss(learner, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    steps = Steps(batches, run)
    steps.about = lambda numbers: phases(run, [steps.batch(number) for number in numbers])
    return steps
