"""What training steps of lazynet consist of: phases, batches, and how operands reach kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import lazynet as ln
from lazynet import running
from lazynet.batching import layout
from lazynet.batching.layout import B_ARGUMENTS, B_ITEMS, B_ROWS_READ, B_SEGMENTS, B_SIGNATURE
from lazynet.executor import Run
from lazynet.graph import Graph

_VECTOR = 2  # column of a described argument: where its addresses stand, 0 if rows are a view


def phases(run: Callable[[Any], Any], batches: list[Any]) -> dict[str, Any]:
    """Means of steps on these minibatches: seconds by phase, batches and bound, rows, bytes."""
    for batch in batches:
        run(batch)  # nothing is compiled, and all memory is there, when it counts
    with ln.profile():  # nor is what the profiler itself compiles
        run(batches[0])
    with ln.profile() as p:
        for batch in batches:
            run(batch)
    with operands() as read:  # by themselves: looking at every batch takes its time
        for batch in batches:
            run(batch)
    counts = {
        "nodes": p.nodes,
        "batches": p.batches,
        "lower_bound": p.lower_bound,
        "kernel_calls": p.kernel_calls + p.backward_kernel_calls,
        "bytes_gathered": p.bytes_gathered,
        "rows_viewed": read["viewed"],
        "rows_addressed": read["addressed"],
    }
    count = len(batches)
    return {
        "seconds": {phase: seconds / count for phase, seconds in p.seconds.items()},
        **{name: number / count for name, number in counts.items()},
    }


@contextmanager
def operands() -> Iterator[dict[str, int]]:
    """Counts rows that forward kernels read, evenly spaced ("viewed") or by their addresses."""
    read = {"viewed": 0, "addressed": 0}

    def observe(graph: Graph, run: Run) -> None:
        for batch in run.laid.batches:
            of = run.plan.signatures[batch[B_SIGNATURE]]
            first, count = batch[B_ARGUMENTS], of[layout.ARGUMENTS]
            runs = of[layout.KIND] == layout.RUNS  # of which each argument has its own number
            each = batch[B_ROWS_READ] / max(1, count) if runs else batch[B_ITEMS]
            rows = np.full(count, each)
            rows[count - of[layout.SINGLES] :] = batch[B_SEGMENTS]
            vectors = run.laid.arguments[first : first + count, _VECTOR] != 0
            read["addressed"] += round(rows[vectors].sum())
            read["viewed"] += round(rows[~vectors].sum())

    running.observers.append(observe)
    try:
        yield read
    finally:
        running.observers.remove(observe)
