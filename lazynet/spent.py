"""What is let go of after a backward: rows behind a loss that is kept, links that lead nowhere."""

from __future__ import annotations

import collections
import sys
import threading
import weakref
from typing import Any

import numpy as np

from lazynet.batching.marks import mark_unspent
from lazynet.graph import Graph
from lazynet.reading import MOVING
from lazynet.tensor import Sequence, Value, rows_of


class _Spent(threading.local):
    """Graphs that backward has gone through in this thread, with the values it began at."""

    def __init__(self):
        self.graphs: collections.deque[Any] = collections.deque(maxlen=8)


_spent = _Spent()


def note_spent(graph: Graph, value: Value) -> None:
    """Note that backward has gone through a graph, beginning at a value."""
    _spent.graphs.append((weakref.ref(graph), weakref.ref(value)))


def shrink_spent() -> None:
    """Of graphs that only the value still holds on which backward was called, keep that value.

    So a list of losses, one for each step, keeps numbers and not the memory of every step.
    """
    graphs = _spent.graphs
    for _ in range(len(graphs)):
        graph_reference, value_reference = graphs.popleft()
        graph, value = graph_reference(), value_reference()
        if graph is None or value is None:
            continue
        # One reference is the value's, one is ours, one is the argument of getrefcount.
        if value.graph is graph and not graph.retained and sys.getrefcount(graph) == 3:
            if value.type.offset == 0 and value.type.stride == value.type.width:
                with MOVING:
                    graph.shrink(rows_of(value), value.type.width)
                    value.id = 0
                    if isinstance(value, Sequence):
                        value.step = 1
        elif value.graph is graph:
            graphs.append((graph_reference, value_reference))


def release_links(graph: Graph) -> None:
    """Let go of older graphs that no later backward can reach from this one.

    Without this, a loop that carries a detached state from step to step would keep every step.
    """
    if graph.links and not graph.open:
        used = np.zeros(graph.values, np.uint8)
        for run in graph.runs:
            columns, signatures = run.plan.columns, run.plan.signatures
            mark_unspent(
                run.tape, columns, signatures, graph.head, graph.needs, graph.consumed, used
            )
        graph.links.keep(used)
