"""Backward: from a value to the gradients of the leaves behind it.

First every node that leads to the value is marked, back through older graphs along links; nothing
has changed if that finds a node that was consumed before. Then memory for gradients mirrors the
memory of the visited rows, and each forward is run in reverse, latest first.
"""

from __future__ import annotations

import collections
import heapq
import sys
import threading
import time
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazynet import executor
from lazynet.batching import layout as words
from lazynet.batching.reverse import mark, mark_unspent, spend, split
from lazynet.device import running_in
from lazynet.graph import Graph
from lazynet.op import TABLE
from lazynet.parameter import STATICS, Leaf
from lazynet.tensor import Sequence, Tensor, Value, gather_bytes
from lazynet.trace import backward_program


@dataclass(frozen=True)
class Pass:
    """One backward, as the profiler reads it; what it had to run forward first is not in it."""

    seconds: float
    batches: int
    calls: int


# Called with the Pass of every backward that ended well, in the thread that asked for it.
observers: list[Any] = []

BACKWARD_TWICE = (
    "Trying to backward through the graph a second time: its saved values were freed by the first "
    "backward. Specify retain_graph=True for the first one if you need to go through it again."
)


def backward(value: Value, gradient: Any = None, retain_graph: bool = False) -> None:
    """Add the gradient of `value` to `.grad` of every leaf behind it that requires one.

    Runs what is pending first. Recording then moves on to a new graph.

    Args:
        gradient: the cotangent of `value`, of its shape; may be left out for a scalar.
        retain_graph: keep what is needed to go through the same nodes again.

    Raises:
        ValueError: for a value that is no scalar, without `gradient`.
        RuntimeError: if no leaf behind it requires a gradient, if its graph was consumed before,
            or if a parameter it was computed with has been changed since.
    """
    seed = _seed(value, gradient)
    if isinstance(value.graph, Leaf):
        if not value.graph.requires_grad:
            raise RuntimeError(_NO_GRADIENT)
        _add_to_leaf(value, seed)
        return
    graph = value.graph
    graph.forward()
    if isinstance(value, Sequence) and not value.length:
        return
    if not graph.needs_gradient(value.id):
        raise RuntimeError(_NO_GRADIENT)
    start = time.perf_counter()
    plan = _Plan(graph, _rows(value))
    try:
        plan.mark()
        plan.check()
        plan.run(value, seed)
        if not retain_graph:
            plan.spend()
    finally:
        plan.unmark()
    graph.close()
    if not retain_graph:
        for visited in plan.graphs:
            release_links(visited)
        _shrink_spent()
        _spent.graphs.append((weakref.ref(graph), weakref.ref(value)))
    for observer in observers:
        observer(Pass(time.perf_counter() - start, plan.batches, plan.calls))


_NO_GRADIENT = (
    "backward: no leaf behind this value requires a gradient (it was computed under no_grad, from "
    "detached values, or from inputs only)"
)


def _seed(value: Value, gradient: Any) -> np.ndarray:
    if gradient is None:
        if value.shape not in ((), (1,)) or isinstance(value, Sequence):
            raise ValueError(
                f"backward: only a scalar needs no gradient; this has shape {value.shape}. "
                "Sum or average it first, or give backward a gradient of that shape"
            )
        return np.ones(value.type.shape, value.type.dtype)
    seed = np.asarray(gradient, value.type.dtype)
    if seed.shape != tuple(value.shape):
        raise ValueError(f"backward: the gradient has shape {seed.shape}, the value {value.shape}")
    return seed


def _rows(value: Value) -> list[int]:
    if isinstance(value, Sequence):
        return [value.id + value.step * k for k in range(value.length)]
    return [value.id]


def _add_to_leaf(value: Value, seed: np.ndarray) -> None:
    """Add the seed where these rows lie in their leaf's gradient."""
    leaf, row = value.graph, value.type
    start = leaf.want_gradient().ctypes.data
    for k, part in zip(_rows(value), seed.reshape(-1, row.size), strict=True):
        leaf.device.add(start + k * row.stride + row.offset, part)


class _Plan:
    """One backward: the graphs it visits, what it visits in them, and their gradients."""

    def __init__(self, graph: Graph, rows: list[int]):
        self.first = graph
        self.rows = rows
        self.again = False  # whether a marked node was gone through before
        self.graphs: list[Graph] = []  # latest first
        self.leaves: dict[int, tuple[Leaf, int]] = {}
        self.device = graph.device
        self.mirrors: list[tuple[int, int, Any]] = []
        self.batches = self.calls = 0

    def mark(self) -> None:
        """Mark every node that leads to the value, graph by graph, latest first."""
        graph = self.first
        graph.wanted[graph.head[self.rows]] = 1
        waiting = [(-graph.number, graph)]
        known = {graph.number}
        while waiting:
            graph = heapq.heappop(waiting)[1]
            self.graphs.append(graph)
            for run in reversed(graph.runs):
                self.again |= mark(
                    run.tape, run.columns, run.signatures, graph.head, graph.needs, graph.consumed,
                    graph.wanted,
                )  # fmt: skip
            for vid, source, row in graph.links():
                if not (graph.wanted[vid] and graph.needs[vid]):
                    continue
                if isinstance(source, Leaf):
                    self.leaves[id(source)] = (source, row)
                    continue
                source.wanted[source.head[row]] = 1
                if source.number not in known:
                    known.add(source.number)
                    heapq.heappush(waiting, (-source.number, source))

    def unmark(self) -> None:
        """Leave no trace of the marks."""
        for graph in self.graphs:
            graph.wanted[:] = 0
        for _, _, buffer in self.mirrors:
            self.device.pool.give(buffer)
        self.mirrors = []

    def check(self) -> None:
        """Raise if a node was gone through before, or a parameter has changed since."""
        if self.again or self.first.consumed[self.first.head[self.rows]].any():
            raise RuntimeError(BACKWARD_TWICE)
        for graph in self.graphs:
            for number, version in graph.versions.items():
                leaf = STATICS.leaf(number)
                if leaf is not None and leaf.version != version:
                    raise RuntimeError(
                        "backward: a parameter of shape "
                        f"{leaf.array.shape} that this value was computed with has been modified "
                        f"since (version {version}, now {leaf.version}); run backward before "
                        "the update, or compute the value again"
                    )

    def run(self, value: Value, seed: np.ndarray) -> None:
        """Give every graph its gradients' memory, put the seed there, and go through the runs."""
        self._parts = {}
        for graph in self.graphs:
            for run in graph.runs:
                parts = split(
                    run.columns, run.order, run.signatures, run.laid, graph.place, graph.needs,
                    graph.wanted,
                )  # fmt: skip
                self._parts[id(run)] = parts
                _prepare(run, parts)
        chunks = self._allocate()
        trash = self.device.pool.take(self._widest())
        self.mirrors.append((0, 0, trash))
        self._put(chunks, value, seed)
        for graph in self.graphs:
            for run in reversed(graph.runs):
                parts = self._parts[id(run)]
                if len(parts):
                    gradients = STATICS.gradients(_statics(run))
                    self.batches += len(parts)
                    with running_in(graph.precision):
                        self.calls += executor.backward(
                            run, parts, chunks, trash.address, gradients, self.device
                        )
        self._retain(chunks)

    def _widest(self) -> int:
        runs = [run for graph in self.graphs for run in graph.runs]
        widest = max([64, *(int(run.laid.widths.max(initial=0)) for run in runs)])
        # Kernels over runs write the gradients of all their operands, wanted or not.
        for run in runs:
            for index in run.used[run.signatures[:, words.KIND] == words.RUNS, 0].tolist():
                widest = max(widest, *(row.width for row in TABLE.signatures[index].operands))
        return widest

    def _allocate(self) -> np.ndarray:
        """Zeroed gradients for all rows of the visited graphs and leaves; the table of chunks."""
        table = []
        for graph in self.graphs:
            for run in graph.runs:
                start, size = run.outputs
                if not len(self._parts[id(run)]) or not size:
                    continue
                mirror = self.device.pool.take(size)
                mirror.clear(size)
                self.mirrors.append((start, size, mirror))
                table.append((start, start + size, mirror.address - start))
        for leaf, _ in self.leaves.values():
            gradient = leaf.want_gradient()
            start = leaf.address
            table.append((start, start + leaf.array.nbytes, gradient.ctypes.data - start))
        return np.array(sorted(table), np.int64).reshape(-1, 3)

    def _put(self, chunks: np.ndarray, value: Value, seed: np.ndarray) -> None:
        rows = seed.reshape(len(self.rows), value.type.size)
        for row, address in zip(rows, self._gradient_addresses(chunks, value), strict=True):
            self.device.add(address, row)

    def _gradient_addresses(self, chunks: np.ndarray, value: Value) -> list[int]:
        found = []
        for row in _rows(value):
            address = int(value.graph.place[row])
            k = int(np.searchsorted(chunks[:, 0], address, side="right")) - 1
            if k < 0 or address >= chunks[k, 1]:
                found.append(0)
            else:
                found.append(address + int(chunks[k, 2]) + value.type.offset)
        return found

    def _retain(self, chunks: np.ndarray) -> None:
        """Copy out the gradients that `retain_grad` asked for."""
        for graph in self.graphs:
            for key, handle in list(graph.retained.items()):
                if not graph.wanted[graph.head[handle.id]]:
                    continue
                addresses = np.array(self._gradient_addresses(chunks, handle))
                if (addresses == 0).any():
                    continue
                rows = gather_bytes(addresses, handle.type, self.device)
                rows = rows[0] if isinstance(handle, Tensor) else rows
                before = graph.gradients.get(key)
                graph.gradients[key] = rows if before is None else before + rows

    def spend(self) -> None:
        """Note that the marked nodes have been gone through."""
        for graph in self.graphs:
            for run in graph.runs:
                spend(run.columns, run.signatures, graph.needs, graph.wanted, graph.consumed)
            # Users did not ask for expressions of parameters to be shared: others may need them.
            graph.consumed[list(graph.constants)] = 0
        self.first.consumed[self.first.head[self.rows]] = 1


class _Spent(threading.local):
    """Graphs that backward has gone through in this thread, with the values it began at."""

    def __init__(self):
        self.graphs: collections.deque[Any] = collections.deque(maxlen=8)


_spent = _Spent()


def _shrink_spent() -> None:
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
                graph.shrink(_rows(value), value.type.width)
                value.id = 0
                if isinstance(value, Sequence):
                    value.step = 1
        elif value.graph is graph:
            graphs.append((graph_reference, value_reference))


def release_links(graph: Graph) -> None:
    """Let go of older graphs that no later backward can reach from this one.

    Without this, a loop that carries a detached state from step to step would keep every step.
    """
    if graph.links() and not graph.open:
        used = np.zeros(len(graph.wanted), np.uint8)
        for run in graph.runs:
            mark_unspent(
                run.tape, run.columns, run.signatures, graph.head, graph.needs, graph.consumed, used
            )
        graph.keep_links(used)


def _statics(run: executor.Run) -> set[int]:
    return {
        number
        for index, needs in run.used.tolist()
        if needs
        for _, number, _ in TABLE.signatures[index].statics
    }


def _prepare(run: executor.Run, parts: np.ndarray) -> None:
    """Trace the backward programs that these parts need, unless that was done before."""
    if not len(parts):
        return
    for index, needs in run.used.tolist():
        if needs and TABLE.numbers[index, words.BACKWARD] == words.UNPREPARED:
            signature = TABLE.signatures[index]
            signature.set_backward(backward_program(signature))


def retain_grad(value: Value) -> None:
    """Keep the gradient of this value in `.grad` when backward comes through it."""
    if not isinstance(value.graph, Leaf):
        value.graph.retained[value.id, value.type] = value


Tensor.backward = Sequence.backward = backward  # type: ignore[assignment,method-assign]
Tensor.retain_grad = Sequence.retain_grad = retain_grad  # type: ignore[assignment,method-assign]
