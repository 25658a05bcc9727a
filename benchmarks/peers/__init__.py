"""Peers: the same models in PyTorch, one example at a time and batched by hand.

Weights start from the lazynet model's, minibatches come in the same order, Adam has the same
options: the losses of the first steps agree, and the race checks that they do. A room has `Twin`,
called with the corpus' sizes, `dim` and `hidden`; `one` gives the sum of an example's losses,
`together` that of a minibatch.
"""

from __future__ import annotations

import importlib

from benchmarks import workloads
from benchmarks.workloads import Spec
from lazynet import peers
from lazynet.race import Steps


def one_at_a_time(spec: Spec) -> Steps:
    """Every example by itself, in one graph and one backward."""
    return _train(spec, together=False)


def by_hand(spec: Spec, device: str = "cpu") -> Steps:
    """All examples of a minibatch together."""
    return _train(spec, together=True, device=device)


def _train(spec: Spec, together: bool, device: str = "cpu") -> Steps:
    corpus = workloads.corpus(spec.workload, spec.limit)
    room = importlib.import_module(f"benchmarks.peers.{spec.workload}")
    twin = room.Twin(**corpus.sizes, dim=spec.dim, hidden=spec.hidden)
    state = workloads.model(spec).state_dict()
    return peers.train(twin, state, corpus.batches(spec.batch), together, device)
