"""Scaling: time and memory for each node of graphs from a thousand to ten million nodes.

Each size runs in a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterator

import numpy as np

import lazynet as ln
from lazynet import race

Row = tuple[str, float, str]
SIZES = [10**n for n in range(3, 8)]
_LENGTH = 100  # nodes of a chain
PHASES = ("decode", "schedule", "lay out", "forward", "backward")


def figures(scale: float) -> Iterator[Row]:
    """For each size: time a node of recording and every phase, memory a node at the peak."""
    context = multiprocessing.get_context("spawn")
    for nodes in (size for size in SIZES if size <= max(10**4, SIZES[-1] * scale)):
        with context.Pool(1) as pool:
            found = pool.apply(measure, (nodes,))
        for what, value in found.items():
            yield (
                f"{what}, {nodes} nodes",
                value,
                "bytes a node" if what == "memory" else "ns a node",
            )


def measure(nodes: int) -> dict[str, float]:
    """Nanoseconds a node by phase, and bytes a node; medians for small graphs."""
    step(10 * _LENGTH)  # compiles
    before = race.settled()
    taken = [step(nodes) for _ in range(max(1, min(7, 10**6 // nodes)))]
    found = {name: 1e9 * statistics.median(t[name] for t in taken) / nodes for name in taken[0]}
    return {**found, "memory": max(0.0, race.memory("VmHWM") - before) * 2**20 / nodes}


def step(nodes: int) -> dict[str, float]:
    """Seconds by phase: chains side by side of three kinds of ops, forward and backward."""
    x = ln.tensor(np.full(4, 0.5, np.float32), requires_grad=True)
    grow = (ln.tanh, ln.sigmoid, lambda h: h + x)
    with ln.profile() as p:
        start = time.perf_counter()
        ends = []
        for chain in range(nodes // _LENGTH):
            h = x
            for k in range(chain, chain + _LENGTH):
                h = grow[k % 3](h)
            ends.append(h)
        recorded = time.perf_counter() - start
        ln.sum(ln.sum(ends)).backward()
    assert np.isfinite(x.grad.numpy()).all()
    return {"record": recorded, **{phase: p.seconds[phase] for phase in PHASES}}
