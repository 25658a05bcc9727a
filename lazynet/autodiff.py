"""Derivatives as values: gradients that are lazy themselves, and can be differentiated again.

`backward` runs compiled derivative programs and keeps numbers. Here the same formulas are recorded
node by node, on the handles of the forward, so that the result is an ordinary lazy graph: it
batches with everything else, and its own derivatives follow. Nothing runs: what is pending is read
from the tape as it stands.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from lazynet.backward import BACKWARD_TWICE, check_versions
from lazynet.batching import layout as words
from lazynet.cotangents import assembled, fitted, of_leaf, of_part, part_of, zero_rows
from lazynet.device import on_device
from lazynet.graph import Graph
from lazynet.leaf import Leaf
from lazynet.ops.fill import zeros
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.rows import GATHER, sequence
from lazynet.ops.runs import rows_in
from lazynet.scan import Scan
from lazynet.tape import Node, listed_operands, node_of, operands_of
from lazynet.tensor import Sequence, Tensor, Value, tensor
from lazynet.trace import TraceGraph
from lazynet.traced import Traced


def gradients(y: Any, inputs, seed: Any = None) -> list[Any]:
    """The gradients of y with respect to each input, as lazy values: seed^T dy/dx.

        >>> x = ln.tensor([1.0, 2.0], requires_grad=True)
        >>> (slope,) = ln.gradients(x.square().sum(), [x])
        >>> (bend,) = ln.gradients(slope.sum(), [x])
        >>> slope.tolist(), bend.tolist()
        ([2.0, 4.0], [2.0, 2.0])

    Args:
        y: a scalar, any value together with a `seed` of its shape, or a list of such values.
        inputs: leaves or values that y was computed from and that require a gradient; one alone
            need not be in a list.
        seed: the cotangent of y, an array or a value; of a list, a list of these.

    Returns:
        for each input a value of its shape, or None where y does not depend on it.

    Raises:
        TypeError: inside a function that is being traced.
        ValueError: if y is no scalar and there is no seed, or the seed has another shape.
        RuntimeError: if backward has been here before, or a parameter has changed since.
    """
    inputs = [inputs] if isinstance(inputs, Value) else list(inputs)
    many = isinstance(y, (list, tuple))
    values = list(y) if many else [y]
    seeds = list(seed) if many and seed is not None else [seed] * len(values)
    walk = _Walk(inputs)
    for value, given in zip(values, seeds, strict=True):
        with on_device(value.graph.device):
            walk.add(value, _seed(value, given))
    walk.run()
    return [walk.gradient_of(x) for x in inputs]


def _seed(y: Value, seed: Any) -> Value:
    if seed is None:
        if isinstance(y, Sequence) or y.type.size != 1:
            raise ValueError(f"gradients: only a scalar needs no seed; this has shape {y.shape}")
        return tensor(np.ones(y.type.shape, y.type.dtype))
    if not isinstance(seed, Value):
        array = np.asarray(seed, y.type.dtype)
        seed = sequence(tensor(array)) if isinstance(y, Sequence) else tensor(array)
    if tuple(seed.shape) != tuple(y.shape):
        raise ValueError(f"gradients: the seed has shape {seed.shape}, the value {y.shape}")
    return seed


class _Walk:
    """Goes back over the nodes behind a value, recording each one's formula.

    A cotangent is kept with the handle of the rows it belongs to, under the node that made them,
    until that node is reached. Only nodes that depend on an input are visited.
    """

    def __init__(self, inputs):
        self.pieces: dict[tuple[int, int], list[tuple[Value, Value]]] = {}
        self.found: dict[tuple[int, int], list[Any]] = {}
        self.waiting: list[tuple[int, int, Graph]] = []
        self.called: set[int] = set()  # hooks
        self.known: set[int] = set()  # numbers of the graphs that were looked at
        self.inputs: set[tuple[int, int]] = set()
        self.leads: dict[tuple[int, int], bool] = {}  # whether a node depends on an input
        places = []
        for x in inputs:
            if isinstance(x.graph, Leaf):
                self.inputs.add((id(x.graph), 0))
                places.append((-1, 0))
            elif rows_in(x):
                node = self._node(x.graph, x.id)
                if node is not None:
                    self.inputs.add((id(x.graph), node.first))
                    places.append((x.graph.number, node.first))
        self.earliest = min(places, default=(-1, 0))

    def _node(self, graph: Graph, row: int) -> Any:
        """The node that made a row; None where no gradient leads."""
        if graph.number not in self.known:
            if isinstance(graph, TraceGraph):
                raise TypeError(
                    "gradients: inside a traced function there are none to take; take those of the "
                    "function, from outside"
                )
            self.known.add(graph.number)
            check_versions(graph, graph.links.parameters)
        node = node_of(graph, row)
        if node is not None:
            check_versions(graph, [number for _, number, _ in node.signature.statics])
        wanted = row < graph.done and graph.needs_gradient(row)
        if wanted and (node is None or graph.consumed[graph.head[row]]):
            raise RuntimeError(BACKWARD_TWICE)
        return node

    # -- what leads to the inputs ------------------------------------------------------------------

    def _leads(self, source: Any, row: int) -> bool:
        """Whether a row of a graph, or of a leaf, depends on an input."""
        if isinstance(source, Leaf):
            return (id(source), 0) in self.inputs
        start = (source, self._node(source, row))
        if start[1] is None:
            return False
        known = self.leads.get((id(source), start[1].first))
        if known is not None:
            return known
        stack: list[Any] = [(start, behind(*start))]
        while stack:
            (graph, node), rest = stack[-1]
            key = (id(graph), node.first)
            if key not in self.leads:
                self.leads[key] = key in self.inputs
                if (graph.number, node.first) < self.earliest or not node.needs:
                    rest = iter(())
                    stack[-1] = ((graph, node), rest)
            if self.leads[key]:
                stack.pop()
                self._note(stack)
                continue
            for other, row in rest:
                if isinstance(other, Leaf):
                    if (id(other), 0) in self.inputs:
                        self.leads[key] = True
                        break
                    continue
                found = self._node(other, row)
                if found is None:
                    continue
                known = self.leads.get((id(other), found.first))
                if known:
                    self.leads[key] = True
                    break
                if known is None:
                    stack.append(((other, found), behind(other, found)))
                    break
            else:
                stack.pop()
        return self.leads[id(source), start[1].first]

    def _note(self, stack) -> None:
        """What is waiting for an answer has one: it leads to an input, too."""
        if stack:
            (graph, node), _ = stack[-1]
            self.leads[id(graph), node.first] = True

    # -- going back --------------------------------------------------------------------------------

    def add(self, x: Value, g: Value) -> None:
        """Note that `g` is (a part of) the cotangent of x."""
        if not rows_in(x) or not x.type.is_float or not self._leads(x.graph, x.id):
            return
        first = 0 if isinstance(x.graph, Leaf) else self._node(x.graph, x.id).first
        key = (id(x.graph), first)
        if key not in self.pieces and not isinstance(x.graph, Leaf):
            heapq.heappush(self.waiting, (-x.graph.number, -first, x.graph))
        self.pieces.setdefault(key, []).append((x, g))

    def run(self) -> None:
        """Visit the nodes that cotangents wait for, latest first."""
        while self.waiting:
            _, first, graph = heapq.heappop(self.waiting)
            node = self._node(graph, -first)
            with on_device(graph.device):
                self._visit(graph, node)

    def _cotangents(self, graph: Graph, node: Node) -> list[Any]:
        """The cotangent of each output of a node; None of one that led nowhere."""
        key = (id(graph), node.first)
        if key in self.found:
            return self.found[key]
        pieces = self.pieces.pop(key, [])
        found = []
        for y in node.outputs(graph):
            own = [(x, g) for x, g in pieces if 0 <= x.id - y.id < node.rows]
            found.append(assembled(y, own) if own else None)
        self.found[key] = found
        return found

    def _visit(self, graph: Graph, node: Node) -> None:
        if node.signature.op.kind == words.LINK:
            self._follow_link(node, self.pieces.pop((id(graph), node.first)))
            return
        cotangents = self._cotangents(graph, node)
        if graph.hooks:
            self._call_hooks(graph, node)
        if not any(self._leads(*source) for source in behind(graph, node)):
            return
        if node.listed and _traced(node) is not None:
            self._visit_list_cell(graph, node, cotangents)
            return
        if node.listed:
            self._visit_listed(graph, node, cotangents[0], node.outputs(graph)[0])
            return
        operands = operands_of(graph, node)
        for x, g in zip(operands, _formula(graph, node, operands, cotangents), strict=True):
            at = 0
            for piece in x if isinstance(x, list) else [x]:  # a run may come in pieces
                if g is not None:
                    own = g[at : at + rows_in(piece)] if isinstance(x, list) else g
                    self.add(piece, fitted(own, piece))
                at += rows_in(piece) if isinstance(x, list) else 0

    def _call_hooks(self, graph: Graph, node: Node) -> None:
        hooks = [h for y in node.outputs(graph) for h in graph.hooks.get(y.id, ())]
        for hook in hooks:
            if id(hook) in self.called:
                continue
            self.called.add(id(hook))
            places = []
            for row in hook.rows:
                made_by = self._node(graph, row)
                part = self._cotangents(graph, made_by)
                places.append((part, (row - made_by.first) // made_by.rows))
            changed = hook.apply([part[k] for part, k in places])
            for (part, k), new in zip(places, changed, strict=True):
                part[k] = new

    def _follow_link(self, node: Node, pieces) -> None:
        """A link's cotangents are those of the rows it names."""
        source, row, step = node.link
        for x, g in pieces:
            at = row + (x.id - node.first) * step
            if isinstance(x, Sequence):
                self.add(Sequence(source, at, x.type, x.length, x.step * step), g)
            else:
                self.add(Tensor(source, at, x.type), g)

    def _visit_listed(self, graph: Graph, node: Node, g, y) -> None:
        """A node over listed rows: its formula for each segment, its cotangents row by row."""
        ((rows,), _), counts = listed_operands(graph, node), node.arguments[1]
        if node.signature.op is GATHER:
            for j, x in enumerate(rows):
                self.add(x, g[j])
            return
        if isinstance(g, Sequence) and not isinstance(y, Sequence):
            g = g[0]  # of one segment, recorded as a Sequence of one row
        start = 0
        for k, count in enumerate(counts):
            if not count:
                continue
            x = sequence(rows[start : start + count])
            segment = slice(start, start + count) if node.signature.op.per_item else k
            ragged = isinstance(g, Sequence)
            (given,) = node.signature.op.vjp(
                g[segment] if ragged else g, y[segment] if ragged else y, x
            )
            given = fitted(given, x)
            for j in range(count):
                self.add(rows[start + j], given[j])
            start += count

    def _visit_list_cell(self, graph: Graph, node: Node, cotangents) -> None:
        """A call of a cell over a list: its cotangents item by item."""
        items, singles = listed_operands(graph, node)
        whole = [*map(sequence, items), *(x for (x,) in singles)]
        traced, leaves = _traced(node), [Tensor(leaf, 0, leaf.type) for leaf in node.leaves()]
        given = traced.pullback(whole, _filled(cotangents, node.outputs(graph)))
        for x, g in zip([*whole, *leaves], given, strict=True):
            if g is not None and x.__class__ is Tensor:
                self.add(x, g)
        for rows, g in zip(items, given, strict=False):
            if g is not None:
                for j, x in enumerate(rows):
                    self.add(x, g[j])

    def gradient_of(self, x: Value) -> Any:
        """The whole cotangent of an input."""
        if isinstance(x.graph, Leaf):
            pieces = self.pieces.get((id(x.graph), 0))
            if not pieces:
                return None
            with on_device(x.graph.device):
                g = of_leaf(x, pieces)
                if x.type is x.graph.type:
                    for hook in list(x.graph.hooks):
                        g = hook(g)
                return g
        if not rows_in(x):
            return None
        node = self._node(x.graph, x.id)
        if node is None:
            return None
        found = self.found.get((id(x.graph), node.first))
        k = (x.id - node.first) // node.rows
        if found is None or found[k] is None:
            return None
        return part_of(found[k], node.outputs(x.graph)[k], x)


def behind(graph: Graph, node: Node):
    """(graph or leaf, row) of what a node was computed from."""
    if node.link is not None:
        return iter([node.link[:2]])
    found: list[Any] = [(graph, row) for row in node.sources()]
    return iter(found + [(leaf, 0) for leaf in node.leaves()])


def _filled(cotangents, ys) -> list[Any]:
    """The cotangents of a node's outputs, with zeros for those that led nowhere."""
    return [g if g is not None else zero_rows(y) for g, y in zip(cotangents, ys, strict=True)]


def _traced(node: Node) -> Any:
    """The function that a node calls, if it is one that was traced."""
    traced = getattr(node.signature.op.backward, "__self__", None)
    return traced if isinstance(traced, Traced) else None


def _formula(graph: Graph, node: Node, operands, cotangents):
    """The cotangents of a node's operands."""
    op, ys = node.signature.op, node.outputs(graph)
    whole = _filled(cotangents, ys)
    if op.kind == words.ALIAS:
        return (of_part(whole[0], operands[0], node.payload),)
    traced = _traced(node)
    if isinstance(traced, Scan):
        return _back_through_time(traced, operands, whole, ys)
    if traced is not None:
        return traced.pullback(operands, whole)
    extra = {"payload": node.payload} if op.payload else {}
    return op.vjp(whole[0], ys[0], *operands, **dict(node.signature.attributes), **extra)


def _back_through_time(scan: Scan, operands, cotangents, ys):
    """Derivatives through a scan: its step's formulas, last row first."""
    count = len(scan.states)
    x, states = operands[0], operands[1 : 1 + count]
    carried: list[Any] = [None] * count
    rows, leaves = [], []
    for t in reversed(range(x.length)):
        before = [y[t - 1] for y in ys] if t else states
        now = [g[t] if c is None else g[t] + c for g, c in zip(cotangents, carried, strict=True)]
        dx, *rest = scan.pullback([x[t], *before], now)
        carried, own = rest[:count], rest[count:]
        rows.append(zeros(*x.type.shape, dtype=x.type.dtype) if dx is None else dx)
        leaves.append(own)
    totals = [sum_of(list(gs)) if gs[0] is not None else None for gs in zip(*leaves, strict=True)]
    return [sequence(rows[::-1]), *carried, *totals]
