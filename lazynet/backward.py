"""Backward: from a value to the gradients of the leaves behind it.

First every node that leads to the value is marked, back through older graphs along links; nothing
has changed if that finds a node that was consumed before. Then memory for gradients mirrors the
memory of the visited rows, and each forward is run in reverse, latest first.
"""

from __future__ import annotations

import heapq
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazynet import executor
from lazynet.batching import layout as words
from lazynet.batching.decode import U_NEEDS, U_SIGNATURE
from lazynet.batching.marks import P_BATCH, mark, spend, split
from lazynet.batching.measure import M_WIDEST
from lazynet.careful import Careful, hooked
from lazynet.device import running_in
from lazynet.graph import Graph
from lazynet.kernels.jit import clock, interruptible
from lazynet.leaf import GOING, STATICS, Leaf
from lazynet.op import TABLE
from lazynet.spent import note_spent, release_links, shrink_spent
from lazynet.stops import Gradients, stops_of
from lazynet.tensor import Sequence, Tensor, Value, rows_of
from lazynet.touched import rows_looked_up
from lazynet.trace import backward_program


@dataclass(frozen=True)
class Pass:
    """One backward, as the profiler reads it.

    What it had to run forward first is not in it; what its hooks ran is.
    """

    seconds: float
    batches: int
    calls: int
    spent: dict[int, int]  # nanoseconds by signature, where a profile watches


# What backward does with `create_graph`; `recorded.py` enters itself.
RECORDED: list[Any] = []
# Called with the Pass of every backward that ended well, in the thread that asked for it.
observers: list[Any] = []

BACKWARD_TWICE = (
    "Trying to backward through the graph a second time: its saved values were freed by the first "
    "backward. Specify retain_graph=True for the first one if you need to go through it again."
)
NO_GRADIENT = (
    "backward: no leaf behind this value requires a gradient (it was computed under no_grad, from "
    "detached values, or from inputs only)"
)


@interruptible
def backward(
    value: Value,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradient of `value` to `.grad` of every leaf behind it that requires one.

    Runs what is pending first. Recording then moves on to a new graph.

    Args:
        gradient: the cotangent of `value`, of its shape; may be left out for a scalar.
        retain_graph: keep what is needed to go through the same nodes again; by default where
            `create_graph` is true.
        create_graph: record the gradients, so that `.grad` is a lazy value that can be
            differentiated. It holds the graph until `zero_grad`.

    Raises:
        ValueError: for a value that is no scalar, without `gradient`.
        RuntimeError: if no leaf behind it requires a gradient, if its graph was consumed before,
            or if a parameter it was computed with has been changed since.
    """
    if create_graph:
        RECORDED[0](value, gradient)
        if retain_graph in (None, True):
            return
        raise ValueError("backward: create_graph keeps the graph; retain_graph=False cannot be")
    seed = _seed(value, gradient)
    if isinstance(value.graph, Leaf):
        if not value.graph.requires_grad:
            raise RuntimeError(NO_GRADIENT)
        _add_to_leaf(value, seed)
        return
    graph = value.graph
    graph.forward()
    if isinstance(value, Sequence) and not value.length:
        return
    graph.raise_failure(value.id)
    if not graph.needs_gradient(value.id):
        raise RuntimeError(NO_GRADIENT)
    start = clock()
    plan = _Plan(graph, rows_of(value))
    GOING.back += 1
    try:
        plan.mark()
        plan.check()
        plan.run(value, seed, retain_graph)
    finally:
        GOING.back -= 1
        plan.give_back()
    graph.close()
    if not retain_graph:
        for visited in plan.graphs:
            release_links(visited)
        shrink_spent()
        note_spent(graph, value)
    done = Pass(clock() - start, plan.batches, plan.calls, plan.spent)
    for observer in observers:
        observer(done)


def _seed(value: Value, gradient: Any) -> np.ndarray:
    if gradient is None:
        if value.shape not in ((), (1,)) or isinstance(value, Sequence):
            raise ValueError(
                f"backward: only a scalar needs no gradient; this has shape {value.shape}. "
                "Sum or average it first, or give backward a gradient of that shape"
            )
        return np.ones(value.type.shape, value.type.dtype)
    try:
        seed = np.asarray(gradient, value.type.dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"backward: gradient must be numbers of shape {tuple(value.shape)}, not "
            f"{reprlib.repr(gradient)}"
        ) from error
    if seed.shape != tuple(value.shape):
        raise ValueError(f"backward: the gradient has shape {seed.shape}, the value {value.shape}")
    return seed


def _add_to_leaf(value: Value, seed: np.ndarray) -> None:
    """Add the seed where these rows lie in their leaf's gradient."""
    leaf, row = value.graph, value.type
    if leaf.hooks and row is leaf.type:
        seed = hooked(leaf, seed)
    start = leaf.want_gradient().ctypes.data
    rows = seed.reshape(len(rows_of(value)), row.size)
    for k, part in zip(rows_of(value), rows, strict=True):
        leaf.device.add(start + k * row.stride + row.offset, part)


def check_versions(graph: Graph, numbers: Iterable[int]) -> None:
    """Raise if one of these parameters has changed since it was used in a graph."""
    for number in numbers:
        leaf, version = STATICS.leaf(number), graph.versions.get(number)
        if leaf is not None and version is not None and leaf.version != version:
            raise RuntimeError(
                f"backward: a parameter of shape {leaf.array.shape} that this value was computed "
                f"with has been modified since (version {version}, now {leaf.version}); run "
                "backward before the update, or compute the value again"
            )


class _Plan:
    """One backward: the graphs it visits, what it visits in them, and their gradients."""

    def __init__(self, graph: Graph, rows: list[int]):
        self.first = graph
        self.rows = rows
        # The first rows of their nodes: one number for one row, which indexes ten times as fast.
        self._heads = graph.head[rows[0] if len(rows) == 1 else rows]
        self.again = False  # whether a marked node was gone through before
        self.graphs: list[Graph] = []  # latest first
        # Of each graph, by number: the nodes that lead to the value, as a byte by their first rows.
        self._wanted: dict[int, np.ndarray] = {}
        self.leaves: dict[int, Leaf] = {}
        self.device = graph.device
        self._parts: dict[int, np.ndarray] = {}  # of each run, what is visited
        self._statics: dict[int, set[int]] = {}  # and the parameters that get gradients there
        self.mirrors: list[tuple[int, int, Any]] = []
        self.batches = self.calls = 0
        self.spent: dict[int, int] = {}  # nanoseconds by signature, where a profile watches

    def mark(self) -> None:
        """Mark every node that leads to the value, graph by graph, latest first."""
        graph = self.first
        self._begin(graph)[self._heads] = 1
        waiting = [(-graph.number, graph)]
        while waiting:
            graph = heapq.heappop(waiting)[1]
            self.graphs.append(graph)
            wanted = self._wanted[graph.number]
            for run in reversed(graph.runs):
                self.again |= mark(
                    run.tape, run.plan.columns, run.plan.signatures, graph.head, graph.needs,
                    graph.consumed, wanted,
                )  # fmt: skip
            for vid, source, row in graph.links:
                if not (vid < len(wanted) and wanted[vid] and graph.needs[vid]):
                    continue
                if isinstance(source, Leaf):
                    self.leaves[id(source)] = source
                    continue
                if source.number not in self._wanted:
                    heapq.heappush(waiting, (-source.number, source))
                    self._begin(source)
                self._wanted[source.number][source.head[row]] = 1

    def _begin(self, graph: Graph) -> np.ndarray:
        """Nothing of a graph is wanted so far. Finalizers may record more rows, which never are."""
        wanted = self._wanted[graph.number] = np.zeros(graph.values, np.uint8)
        return wanted

    def give_back(self) -> None:
        """Return the memory of the gradients."""
        for _, _, buffer in self.mirrors:
            self.device.pool.give(buffer)
        self.mirrors = []

    def check(self) -> None:
        """Raise if a node was gone through before."""
        if self.again or self.first.consumed[self._heads].any():
            raise RuntimeError(BACKWARD_TWICE)

    def run(self, value: Value, seed: np.ndarray, retain_graph: bool | None) -> None:
        """Give every graph its gradients' memory, put the seed there, and go through the runs."""
        leaves = list(self.leaves.values())
        for graph in self.graphs:
            check_versions(graph, graph.links.parameters)
            for run in graph.runs:
                parts = split(
                    run.plan.columns, run.plan.order, run.plan.signatures, run.laid, graph.place,
                    graph.needs, self._wanted[graph.number],
                )  # fmt: skip
                self._parts[id(run)] = parts
                _prepare(run, parts)
                if len(parts):
                    statics, read = run.plan.statics(run.laid.batches, parts[:, P_BATCH])
                    check_versions(graph, read)
                    self._statics[id(run)] = statics
                    leaves += filter(None, map(STATICS.leaf, statics))
        with Careful(leaves, self.graphs, _nothing if retain_graph else self.spend):
            gradients = Gradients(self._allocate(), self.device)
            plans = [run.plan for graph in self.graphs for run in graph.runs]
            widest = max((plan.sizes[M_WIDEST] for plan in plans), default=0)
            trash = self.device.pool.take(widest)
            self.mirrors.append((0, 0, trash))
            gradients.add(value, seed)
            for graph in self.graphs:
                for run in reversed(graph.runs):
                    self._go_through(graph, run, gradients, trash.address)

    def _go_through(
        self, graph: Graph, run: executor.Run, gradients: Gradients, trash: int
    ) -> None:
        """Run backward through one forward; it stops where somebody wants to see gradients."""
        parts = self._parts[id(run)]
        if not len(parts):
            return
        of_parameters = STATICS.gradients(self._statics[id(run)])
        _note_rows(run, parts, self._statics[id(run)])
        stops = stops_of(graph, run, parts[:, P_BATCH], self._wanted[graph.number])
        end = len(parts)
        for batch in sorted({*stops, -1}, reverse=True):
            start = int(np.searchsorted(parts[:, P_BATCH], batch, side="right"))
            if start < end:
                self.batches += end - start
                with running_in(graph.precision):
                    calls, spent = executor.backward(
                        run, parts[start:end], gradients.chunks, trash, of_parameters, self.device
                    )
                self.calls += calls
                if len(spent):
                    self._note_time(run, spent)
            end = start
            for stop in stops.get(batch, ()):
                stop.act(graph, gradients)

    def _note_time(self, run: executor.Run, spent: np.ndarray) -> None:
        """Add what the kernels of each signature took."""
        kinds = run.plan.used[:, U_SIGNATURE].tolist()
        for kind, nanoseconds in zip(kinds, spent.tolist(), strict=False):
            self.spent[kind] = self.spent.get(kind, 0) + nanoseconds

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
        for leaf in self.leaves.values():
            leaf.want_gradient()
            start, gradient = leaf.address, leaf.gradient_address()
            table.append((start, start + leaf.array.nbytes, gradient - start))
        return np.array(sorted(table), np.int64).reshape(-1, 3)

    def spend(self) -> None:
        """Note that the marked nodes have been gone through."""
        for graph in self.graphs:
            wanted = self._wanted[graph.number]
            for run in graph.runs:
                plan = run.plan
                spend(plan.columns, plan.signatures, graph.needs, wanted, graph.consumed)
            # Users did not ask for expressions of parameters to be shared: others may need them.
            graph.consumed[list(graph.constants)] = 0
        self.first.consumed[self._heads] = 1


def _nothing() -> None:
    """What is left to do where the graph is kept."""


def _note_rows(run: executor.Run, parts: np.ndarray, statics: set[int]) -> None:
    """Note which rows of tables get gradients, where somebody wants to know."""
    for number in statics:
        leaf = STATICS.leaf(number)
        if leaf is not None and leaf.touched is not None:
            leaf.touched.note(rows_looked_up(run, parts, number))


def _prepare(run: executor.Run, parts: np.ndarray) -> None:
    """Trace the backward programs that these parts need, unless that was done before."""
    if not len(parts):
        return
    for kind, needs in zip(run.plan.kinds, run.plan.used[:, U_NEEDS].tolist(), strict=True):
        if needs and TABLE.numbers[kind.index, words.BACKWARD] == words.UNPREPARED:
            kind.prepare_backward(backward_program)


Tensor.backward = Sequence.backward = backward  # type: ignore[assignment,method-assign]
