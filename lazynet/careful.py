"""Backward with users' code in it: hooks of gradients, and what is undone when such code fails."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lazynet.batching.decode import FIRST
from lazynet.batching.layout import B_FIRST_NODE
from lazynet.executor import Run
from lazynet.graph import Graph
from lazynet.modes import no_grad
from lazynet.op import TABLE, RowType
from lazynet.parameter import Leaf
from lazynet.tensor import Sequence, Tensor, Value, tensor


class Kept(NamedTuple):
    """A value whose gradient `retain_grad` asked for."""

    row: int
    type: RowType
    length: int | None  # None for a Tensor

    def value(self, graph: Graph) -> Value:
        """A handle of it; not kept, because it would keep the graph."""
        if self.length is None:
            return Tensor(graph, self.row, self.type)
        return Sequence(graph, self.row, self.type, self.length)


def stops_of(graph: Graph, run: Run) -> dict[int, list[Any]]:
    """The hooks and kept gradients of a forward, by the batch before which backward stops for them.

    A hook of several values waits for the last batch that made one of them, which is the first that
    backward comes to. Gradients are kept as the hooks leave them.
    """
    position = np.empty_like(run.order)
    position[run.order] = np.arange(len(run.order), dtype=run.order.dtype)
    begins, firsts = run.laid.batches[:, B_FIRST_NODE], run.columns[FIRST]

    def batch_of(row: int) -> int:
        """The batch that made a row; -1 if it is of another forward, or nothing leads there."""
        head = graph.head[row]
        node = int(np.searchsorted(firsts, head))
        here = node < len(firsts) and firsts[node] == head
        if not (here and graph.wanted[head] and graph.needs[head]):
            return -1
        return int(np.searchsorted(begins, position[node], side="right")) - 1

    waiting: list[tuple[list[int], Any]] = [
        (hook.rows, hook)
        for hook in dict.fromkeys(hook for hooks in graph.hooks.values() for hook in hooks)
    ]
    for (row, type_), length in graph.retained.items():
        waiting.append(([row], Kept(row, type_, length)))
    found: dict[int, list[Any]] = {}
    for rows, stop in waiting:
        batch = max(map(batch_of, rows))
        if batch >= 0:
            found.setdefault(batch, []).append(stop)
    return found


def _in_python(graph: Graph) -> bool:
    """Whether kernels of a graph are functions in Python."""
    used = (index for run in graph.runs for index in run.used[:, 0].tolist())
    return any(TABLE.signatures[index].op.host for index in used)


def hooked(leaf: Leaf, gradient: Any) -> np.ndarray:
    """What the hooks of a leaf make of its gradient."""
    g = tensor(np.asarray(gradient), device=leaf.device)
    with no_grad():
        for hook in list(leaf.hooks):
            g = hook(g)
    return g.numpy()


class Careful:
    """While backward runs: keep the gradients of hooked leaves apart, and undo all if it fails.

    Copies of gradients are made only where there is code of users that can fail.
    """

    def __init__(self, leaves: list[Leaf], graphs: list[Graph]):
        self._leaves = list({id(leaf): leaf for leaf in leaves}.values())
        self._hooked = [leaf for leaf in self._leaves if leaf.hooks]
        self._before: list[tuple[Leaf, Any, Any, Any]] | None = None
        self._graphs = graphs

    def __enter__(self) -> Careful:
        if not (self._hooked or any(graph.hooks or _in_python(graph) for graph in self._graphs)):
            return self
        self._graphs[0].close()  # what hooks record goes to another graph
        self._before = []
        for leaf in self._leaves:
            old = leaf.gradient
            copied = None if old is None else np.array(np.asarray(old))
            self._before.append((leaf, old, copied, leaf.recorded))
        for leaf in self._hooked:
            leaf.gradient = None
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._before is None:
            return
        if error is None:
            try:
                self._add_hooked()
                return
            except BaseException:
                self._undo()
                raise
        self._undo()

    def _add_hooked(self) -> None:
        assert self._before is not None
        changed = {id(leaf): hooked(leaf, leaf.gradient) for leaf in self._hooked
                   if leaf.gradient is not None}  # fmt: skip
        for leaf, old, _, _ in self._before:
            if id(leaf) in changed:
                new = changed[id(leaf)]
                leaf.gradient[...] = new if old is None else np.asarray(old) + new
            elif leaf.gradient is None:
                leaf.gradient = old

    def _undo(self) -> None:
        assert self._before is not None
        for leaf, old, copied, recorded in self._before:
            if old is not None:
                old[...] = copied
            leaf.gradient, leaf.recorded = old, recorded
