"""`backward(create_graph=True)`: gradients recorded on the graph, which `.grad` then gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.autodiff import behind, gradients
from lazynet.backward import NO_GRADIENT, RECORDED
from lazynet.careful import Held
from lazynet.graph import Graph
from lazynet.leaf import Leaf
from lazynet.stops import Retained
from lazynet.tape import Node, node_of
from lazynet.tensor import Tensor, Value, tensor


def record_backward(value: Value, gradient: Any) -> None:
    """Add lazy gradients of `value` to `.grad` of every leaf behind it, and compute them."""
    leaves, graphs = _leaves_behind(value)
    if not leaves:
        raise RuntimeError(NO_GRADIENT)
    handles: list[Any] = [Tensor(leaf, 0, leaf.type) for leaf in leaves]
    kept = [
        (graph, Retained(row, type_, length))
        for graph in graphs
        for (row, type_), length in graph.retained.items()
    ]
    handles += [one.value(graph) for graph, one in kept]
    found = gradients(value, handles, gradient)
    totals = [
        (leaf, _total(leaf, g)) for leaf, g in zip(leaves, found, strict=False) if g is not None
    ]
    numbers = [total.numpy() for _, total in totals]
    with Held():
        for (leaf, total), array in zip(totals, numbers, strict=True):
            leaf.want_gradient()[...] = array
            leaf.recorded = total
        for (graph, one), g in zip(kept, found[len(leaves) :], strict=True):
            if g is not None:
                before = graph.gradients.get(one.key)
                graph.gradients[one.key] = g if before is None else g + before


def _total(leaf: Leaf, gradient: Any) -> Any:
    """A lazy gradient, and what the leaf has of it already."""
    before = leaf.recorded
    if before is None and leaf.gradient is not None:
        before = tensor(np.asarray(leaf.gradient), device=leaf.device)
    return gradient if before is None else before + gradient


def _leaves_behind(value: Value) -> tuple[list[Leaf], list[Graph]]:
    """The leaves behind a value that want gradients, and the graphs that lead there."""
    leaves: dict[int, Leaf] = {}
    graphs: dict[int, Graph] = {}
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[Any, int]] = [(value.graph, value.id)]
    while waiting:
        source, row = waiting.pop()
        if isinstance(source, Leaf):
            if source.requires_grad:
                leaves[id(source)] = source
            continue
        node: Node | None = node_of(source, row)
        if node is None or not node.needs or (id(source), node.first) in seen:
            continue
        seen.add((id(source), node.first))
        graphs[id(source)] = source
        waiting += behind(source, node)
    return list(leaves.values()), list(graphs.values())


RECORDED.append(record_backward)
