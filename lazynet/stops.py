"""What backward stops for between two batches: hooks, gradients to keep, and looks for a NaN.

The gradient of a row is whole once backward has gone through every batch that used it, which are
those after the batch that made it. So it stops there before it goes through that one.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lazynet.batching.decode import FIRST
from lazynet.batching.layout import B_FIRST_NODE
from lazynet.debugging import debugging
from lazynet.device import Device
from lazynet.executor import Run
from lazynet.faults import first_fault_back
from lazynet.graph import Graph
from lazynet.leaf import Leaf, leaf_of
from lazynet.modes import no_grad
from lazynet.op import RowType
from lazynet.reading import gather_bytes
from lazynet.tape import Node, read_tape
from lazynet.tensor import Sequence, Tensor, Value, rows_of, tensor


class Gradients:
    """Where the gradients of values lie while backward runs.

    Args:
        chunks: (start, stop, distance) of memory, sorted: what lies there has its gradient at that
            distance.
        device: where all of it is.
    """

    def __init__(self, chunks: np.ndarray, device: Device):
        self.chunks, self._device = chunks, device
        self._starts = chunks[:, 0].tolist()

    def addresses(self, value: Value) -> list[int]:
        """The addresses of the gradients of a value's rows; 0 where there is none."""
        found, place = [], value.graph.place
        for row in rows_of(value):
            address = int(place[row])
            k = bisect_right(self._starts, address) - 1
            if k < 0 or address >= self.chunks[k, 1]:
                found.append(0)
            else:
                found.append(address + int(self.chunks[k, 2]) + value.type.offset)
        return found

    def read(self, value: Value) -> Any:
        """A copy of the gradient of a value; None where it has none."""
        if isinstance(value.graph, Leaf):
            return value.grad
        addresses = self.addresses(value)
        if not addresses or not all(addresses):
            return None
        rows = gather_bytes(np.array(addresses), value.type, self._device)
        if isinstance(value, Tensor):
            return tensor(rows[0], device=self._device)
        return Sequence(leaf_of(rows, device=self._device), 0, value.type.stored, len(rows))

    def write(self, value: Value, gradient: Value) -> None:
        """Let a value have this gradient."""
        addresses = self.addresses(value)
        rows = gradient.numpy().reshape(len(addresses), -1)
        for address, row in zip(addresses, rows, strict=True):
            self._device.write(address, row)

    def add(self, value: Value, numbers: np.ndarray) -> None:
        """Add to the gradient of a value."""
        addresses = self.addresses(value)
        for address, row in zip(addresses, numbers.reshape(len(addresses), -1), strict=True):
            self._device.add(address, row)


class Retained(NamedTuple):
    """A value whose gradient `retain_grad` asked for."""

    row: int
    type: RowType
    length: int | None  # None for a Tensor

    @property
    def key(self) -> tuple[int, RowType]:
        """What the graph knows its gradient by."""
        return self.row, self.type

    def value(self, graph: Graph) -> Value:
        """A handle of it; not kept, because it would keep the graph."""
        if self.length is None:
            return Tensor(graph, self.row, self.type)
        return Sequence(graph, self.row, self.type, self.length)

    def act(self, graph: Graph, gradients: Gradients) -> None:
        """Copy the gradient out."""
        rows = gradients.read(self.value(graph)).numpy()
        before = graph.gradients.get(self.key)
        graph.gradients[self.key] = rows if before is None else before + rows


@dataclass
class Called:
    """A hook that is called."""

    hook: Any
    wanted: np.ndarray  # whether backward visits a node, by its first row

    def act(self, graph: Graph, gradients: Gradients) -> None:
        """Let the hook see the gradients of its values, and put there what it gives."""
        values = self.hook.values(graph)
        given = [
            gradients.read(value) if self.wanted[graph.head[value.id]] else None for value in values
        ]
        with no_grad():
            for value, old, new in zip(values, given, self.hook.apply(given), strict=True):
                if new is not old:
                    gradients.write(value, new)


@dataclass
class Look:
    """A batch that `ln.debug()` looks at when backward has gone through it."""

    nodes: list[Node]

    def act(self, graph: Graph, gradients: Gradients) -> None:
        """Raise if the backward of one of the nodes made a NaN."""
        if found := first_fault_back(graph, self.nodes, gradients.read):
            raise FloatingPointError(found)


def stops_of(
    graph: Graph, run: Run, batches: np.ndarray, wanted: np.ndarray
) -> dict[int, list[Any]]:
    """What is to be done in the backward of a forward, by the batch before which it stops for that.

    Args:
        batches: those that backward goes through.
        wanted: whether it visits a node, by the node's first row.
    """
    found = _looks(run, batches) if debugging.get() else {}
    if graph.hooks or graph.retained:
        _add_hooks(found, graph, run, wanted)
    return found


def _looks(run: Run, batches: np.ndarray) -> dict[int, list[Any]]:
    """A look at each of these batches: before the one that was run before it."""
    firsts, begins = run.plan.columns[:, FIRST], run.laid.batches[:, B_FIRST_NODE]
    ends = np.append(begins[1:], len(run.plan.order))
    nodes = {node.first: node for node in read_tape(run.tape.tolist(), run.base)}
    return {
        batch - 1: [Look([nodes[firsts[k]] for k in run.plan.order[begins[batch] : ends[batch]]])]
        for batch in np.unique(batches).tolist()
    }


def _add_hooks(stops: dict[int, list[Any]], graph: Graph, run: Run, wanted: np.ndarray) -> None:
    """Add hooks, each before the batch that made its values, and gradients to keep.

    A hook of several values waits for the last batch that made one of them, which is the first that
    backward comes to. Gradients are kept as the hooks leave them.
    """
    position = np.empty_like(run.plan.order)
    position[run.plan.order] = np.arange(len(run.plan.order), dtype=run.plan.order.dtype)
    begins, firsts = run.laid.batches[:, B_FIRST_NODE], run.plan.columns[:, FIRST]

    def batch_of(row: int) -> int:
        """The batch that made a row; -1 if it is of another forward, or nothing leads there."""
        head = graph.head[row]
        node = int(np.searchsorted(firsts, head))
        here = node < len(firsts) and firsts[node] == head
        if not (here and wanted[head] and graph.needs[head]):
            return -1
        return int(np.searchsorted(begins, position[node], side="right")) - 1

    waiting: list[tuple[list[int], Any]] = [
        (hook.rows, Called(hook, wanted))
        for hook in dict.fromkeys(hook for hooks in graph.hooks.values() for hook in hooks)
    ]
    for (row, type_), length in graph.retained.items():
        waiting.append(([row], Retained(row, type_, length)))
    for rows, stop in waiting:
        batch = max(map(batch_of, rows))
        if batch >= 0:
            stops.setdefault(batch, []).append(stop)
