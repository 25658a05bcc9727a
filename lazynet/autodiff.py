"""Derivatives as values: gradients that are lazy themselves, and can be differentiated again.

`backward` runs compiled derivative programs and keeps numbers. Here the same formulas are recorded
node by node, on the handles of the forward, so that the result is an ordinary lazy graph: it
batches with everything else, and its own derivatives follow.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.derive import whole_cotangent
from lazynet.device import on_device
from lazynet.graph import Graph
from lazynet.op import RowType
from lazynet.ops.reduce import reshape, retyped
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.rows import GATHER, cat, sequence
from lazynet.ops.views import zeros
from lazynet.parameter import Leaf
from lazynet.scan import Scan
from lazynet.tape import Node, graph_nodes, operands_of
from lazynet.tensor import Sequence, Tensor, Value, tensor
from lazynet.traced import Traced


def gradients(y: Value, inputs, seed: Any = None) -> list[Tensor | None]:
    """The gradients of y with respect to each input, as lazy values.

    Args:
        y: a scalar, or any value together with a `seed` of its shape.
        inputs: leaves or values that y was computed from.
        seed: the cotangent of y: an array or a value.

    Returns:
        for each input a value of its shape, or None where y does not depend on it.

    Raises:
        ValueError: if y is no scalar and there is no seed.
    """
    if seed is None and (isinstance(y, Sequence) or y.type.size != 1):
        raise ValueError(f"gradients: only a scalar needs no seed; this has shape {y.shape}")  # type: ignore[attr-defined]
    with on_device(y.graph.device):
        if seed is None:
            seed = tensor(np.ones(y.type.shape, y.type.dtype))
        elif not isinstance(seed, Value):
            array = np.asarray(seed, y.type.dtype)
            seed = sequence(tensor(array)) if isinstance(y, Sequence) else tensor(array)
        walk = _Walk(inputs)
        walk.add(y, seed)
        walk.run()
        return [walk.gradient_of(x) for x in inputs]


def grad(function: Callable, argnum: int = 0) -> Callable:
    """The function that gives the gradient of `function` with respect to one argument.

    The result is lazy: `grad(grad(f))` works, and gradients of many examples batch.
    """

    def gradient(*arguments):
        return value_and_grad(function, argnum)(*arguments)[1]

    return gradient


def value_and_grad(function: Callable, argnum: int = 0) -> Callable:
    """The function that gives both `function`'s value and its gradient for one argument."""

    def both(*arguments):
        chosen = _differentiable(arguments[argnum])
        arguments = (*arguments[:argnum], chosen, *arguments[argnum + 1 :])
        value = function(*arguments)
        (found,) = gradients(value, [chosen])
        if found is None:
            found = tensor(np.zeros(chosen.shape, chosen.dtype), device=chosen.graph.device)
        return value, found

    return both


def check_grads(function: Callable, arguments, order: int = 2, tolerance: float = 1e-6) -> None:
    """Compare reverse-mode derivatives with central differences in float64.

    The derivative of `function` along a random direction is compared for every argument at once;
    for `order` 2 the same is done to its gradient.

    Args:
        function: of float64 tensors, giving a Tensor or Sequence.
        arguments: arrays.
        order: 1 or 2.
        tolerance: relative to the size of the derivative, or absolute below 1.

    Raises:
        AssertionError: with both numbers, where they differ.
    """
    generator = np.random.default_rng(0)
    arrays = [np.asarray(a, np.float64) for a in arguments]
    weights: dict[tuple[int, ...], np.ndarray] = {}

    def scalar(*values):
        y = function(*values)
        shape = tuple(y.shape)
        if shape not in weights:
            weights[shape] = generator.standard_normal(shape)
        w = weights[shape]
        seed = sequence(tensor(w)) if isinstance(y, Sequence) else tensor(w)
        return sum_of(y * seed)

    directions = [generator.standard_normal(a.shape) for a in arrays]
    _check_order(scalar, arrays, directions, order, tolerance)


def _check_order(scalar, arrays, directions, order: int, tolerance: float, name="first") -> None:
    def slope(*values):
        found = gradients(scalar(*values), values)
        parts = [
            sum_of(g * tensor(d)) for g, d in zip(found, directions, strict=True) if g is not None
        ]
        return sum_of(parts) if parts else tensor(np.zeros(()))

    def at(function, step: float) -> float:
        moved = [tensor(a + step * d, requires_grad=True)
                 for a, d in zip(arrays, directions, strict=True)]  # fmt: skip
        return float(function(*moved).numpy())

    epsilon = 1e-5 if order == 1 or name == "first" else 1e-4
    numeric = (at(scalar, epsilon) - at(scalar, -epsilon)) / (2 * epsilon)
    exact = at(slope, 0.0)
    if abs(numeric - exact) > tolerance * max(1.0, abs(numeric), abs(exact)):
        raise AssertionError(
            f"{name} derivative along a random direction: {exact} by formula, {numeric} by "
            "central differences"
        )
    if order > 1:
        _check_order(slope, arrays, directions, order - 1, 10 * tolerance, "second")


def _differentiable(x: Any) -> Tensor:
    if not isinstance(x, Value):
        return tensor(x, requires_grad=True)
    if isinstance(x.graph, Leaf) and not x.graph.requires_grad:
        return tensor(x.numpy(), requires_grad=True, device=x.graph.device)  # type: ignore[attr-defined]
    return x  # type: ignore[return-value]


def _compute(x: Value) -> None:
    """Run what x waits for; what was recorded after it may go on waiting, and batch."""
    if x.pending:
        x.graph.forward()


class _Walk:
    """Goes back over the nodes behind a value, recording each one's formula.

    Cotangents are kept with the rows they belong to: (first row, step, count, type, cotangent) for
    each graph and leaf, until the node that made the rows is reached.

    Args:
        inputs: the values whose cotangents are wanted.
        ends: whether to stay on this side of the inputs.
    """

    def __init__(self, inputs, ends: bool = False):
        self.ends = ends
        self.kept = {(id(x.graph), self._head(x)) for x in inputs}
        for x in inputs:
            if not isinstance(x.graph, Leaf) and x.graph.needs_gradient(x.id):
                self.kept.add((id(x.graph), self._own_head(x.graph, x.id)))  # it may be an alias
        self.found: dict[tuple[int, int], Any] = {}
        self.pieces: dict[tuple[int, int], list[tuple[int, int, int, RowType, Value]]] = {}
        self.graphs: list[tuple[int, Graph]] = []
        self.known: set[int] = set()
        self.sources: dict[int, Any] = {}

    @staticmethod
    def _head(x: Value) -> int:
        if isinstance(x.graph, Leaf):
            return 0
        _compute(x)
        return int(x.graph.head[x.id])

    def add(self, x: Value, g: Value) -> None:
        """Note that `g` is (a part of) the cotangent of x."""
        source = x.graph
        count, step = (x.length, x.step) if isinstance(x, Sequence) else (1, 0)
        if count == 0:
            return
        self.sources[id(source)] = source
        if isinstance(source, Leaf):
            self.pieces.setdefault((id(source), 0), []).append((x.id, step, count, x.type, g))
            return
        _compute(x)
        if not source.needs_gradient(x.id) and (id(source), self._head(x)) not in self.kept:
            return
        if source.number not in self.known:
            self.known.add(source.number)
            heapq.heappush(self.graphs, (-source.number, source))
        # An alias has the head of its source, but a cotangent of its own.
        key = (id(source), self._own_head(source, x.id))
        self.pieces.setdefault(key, []).append((x.id, step, count, x.type, g))

    @staticmethod
    def _own_head(graph: Graph, row: int) -> int:
        return graph_nodes(graph).node_of(row)

    def run(self) -> None:
        """Visit the graphs, latest first, and in each the nodes, latest first."""
        while self.graphs:
            graph = heapq.heappop(self.graphs)[1]
            for node in reversed(graph_nodes(graph).nodes):
                pieces = self.pieces.pop((id(graph), node.first), None)
                if pieces:
                    self._visit(graph, node, pieces)

    def _visit(self, graph: Graph, node: Node, pieces) -> None:
        op = node.signature.op
        if op.kind == words.LINK:
            if (id(graph), node.first) in self.kept:
                row_type = next(type_ for *_, type_, _ in pieces)
                own = [(at - node.first, *rest) for at, *rest in pieces]
                rows = _assembled(own, row_type, node.rows, True)
                self.found[id(graph), node.first] = (node, [rows])
            vid, source, row, step = node.link
            for first, own_step, count, type_, g in pieces:
                at = row + (first - vid) * (step or 0)
                moved = own_step * (step or 0)
                handle = (
                    Sequence(source, at, type_, count, moved)
                    if isinstance(g, Sequence)
                    else Tensor(source, at, type_)
                )
                self.add(handle, g)
            return
        outputs = _split_outputs(graph, node, pieces)
        if (id(graph), node.first) in self.kept:
            self.found[id(graph), node.first] = (node, outputs)
            if self.ends:
                return
        if op.vjp is None and op.kind != words.ALIAS:
            return
        ys = node.outputs(graph)
        if node.listed:
            self._visit_listed(graph, node, outputs[0], ys[0])
            return
        operands = operands_of(graph, node)
        if op.kind == words.ALIAS:
            given: Any = (_unalias(outputs[0], ys[0], operands[0], node),)
        elif op.kind == words.SCAN:
            given = _scan_cotangents(op.backward.__self__, operands, outputs)  # type: ignore[union-attr]
        elif op.backward is not None and op.kind != words.RUNS:
            given = _cell_cotangents(op.backward.__self__, operands, outputs)
        else:
            extra = {"payload": node.payload} if op.payload else {}
            given = op.vjp(outputs[0], ys[0], *operands, **dict(node.signature.attributes), **extra)  # type: ignore[misc]
        for x, g in zip(operands, given, strict=True):
            at = 0
            for piece in x if isinstance(x, list) else [x]:  # a run may come in pieces
                if g is not None and piece.type.is_float:
                    own = g[at : at + piece.length] if isinstance(x, list) else g
                    self.add(piece, _fitted(own, piece))
                at += piece.length if isinstance(x, list) else 0

    def _visit_listed(self, graph: Graph, node: Node, g, y) -> None:
        """A node over listed rows: its formula for each segment, its cotangents row by row."""
        row = node.signature.operands[0]
        ids, counts = node.arguments
        rows = [Tensor(graph, i, row) for i in ids]
        if node.signature.op is GATHER:
            for j, x in enumerate(rows):
                self.add(x, g[j])
            return
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
            given = _fitted(given, x)
            for j in range(count):
                self.add(rows[start + j], given[j])
            start += count

    def gradient_of(self, x: Value) -> Tensor | None:
        """The whole cotangent of an input."""
        if isinstance(x.graph, Leaf):
            pieces = self.pieces.get((id(x.graph), 0))
            if not pieces:
                return None
            return _leaf_cotangent(x, pieces)
        head = self._own_head(x.graph, x.id)
        found = self.found.get((id(x.graph), head))
        if found is None:
            return None
        node, outputs = found
        number, at = divmod(x.id - node.first, max(node.rows, 1))
        rows = outputs[number]
        if isinstance(x, Sequence):
            rows = rows[slice(None)] if rows.length == x.length else rows
        elif not isinstance(rows, Tensor):
            rows = rows[at]
        if x.type.offset == 0 and x.type.shape == rows.type.shape:
            return rows
        return retyped(rows, rows.type.view(x.type.shape, x.type.offset // _item(x.type)))


def _split_outputs(graph: Graph, node: Node, pieces) -> list[Value | None]:
    """The cotangent of each output of a node, put together from its pieces."""
    outputs: list[Value | None] = []
    for k, row in enumerate(node.signature.outputs):
        first = node.first + k * node.rows
        own = [
            (at - first, step, count, type_, g)
            for at, step, count, type_, g in pieces
            if first <= at < first + max(node.rows, 1)
        ]
        outputs.append(_assembled(own, row, node.rows, node.ragged) if own else None)
    if any(g is None for g in outputs):
        whole = [
            g if g is not None else _zero_rows(row, node.rows, node.ragged)
            for g, row in zip(outputs, node.signature.outputs, strict=True)
        ]
        outputs = list(whole)
    del graph
    return outputs


def _zero_rows(row: RowType, rows: int, ragged: bool):
    return zeros(*row.shape, dtype=row.dtype, length=rows if ragged else None)


def _assembled(pieces, row: RowType, rows: int, ragged: bool):
    """One cotangent for `rows` rows of type `row` from cotangents of some rows and views."""
    whole = [
        g[::step] if step == -1 else g
        for at, step, count, type_, g in pieces
        if isinstance(g, Sequence) and type_ is row and count == rows
        and (step == 1 or (step == -1 and at == rows - 1))
    ]  # fmt: skip
    total: Any = None
    for g in whole:
        total = g if total is None else total + g
    rest = [
        piece for piece in pieces
        if not (isinstance(piece[4], Sequence) and piece[3] is row and piece[2] == rows
                and (piece[1] == 1 or (piece[1] == -1 and piece[0] == rows - 1)))
    ]  # fmt: skip
    if not rest:
        return total
    by_row: dict[int, list[tuple[RowType, Tensor]]] = {}
    for at, step, count, type_, g in rest:
        if isinstance(g, Sequence) and step == 0:
            by_row.setdefault(at, []).append((type_, sum_of(g, 0)))
        elif isinstance(g, Sequence):
            for j in range(count):
                by_row.setdefault(at + step * j, []).append((type_, g[j]))
        else:
            by_row.setdefault(at, []).append((type_, g))
    single = {at: whole_cotangent(row, parts) for at, parts in by_row.items()}
    if not ragged:
        return single[0]
    zero = zeros(*row.shape, dtype=row.dtype)
    scattered = sequence([single.get(at, zero) for at in range(rows)])
    return scattered if total is None else total + scattered


def _fitted(g: Value, x: Value) -> Value:
    """A cotangent with as many rows as what it belongs to."""
    if isinstance(x, Sequence) and isinstance(g, Tensor):
        return Sequence(g.graph, g.id, g.type, x.length, 0)
    return g


def _unalias(g, y, x, node: Node):
    """The cotangent of what an alias is a part of: zeros around it."""
    item = np.dtype(x.type.dtype).itemsize

    def placed(part, offset: int):
        first = (offset - x.type.offset) // item
        flat = reshape(part, (part.type.size,))
        pieces = [flat]
        if first:
            pieces.insert(0, zeros(first, dtype=x.type.dtype))
        if first + part.type.size < x.type.size:
            pieces.append(zeros(x.type.size - first - part.type.size, dtype=x.type.dtype))
        joined = cat(pieces) if len(pieces) > 1 else flat
        return reshape(joined, x.type.shape)

    if isinstance(g, Tensor):
        return placed(g, int(node.payload[0]))
    del y
    return sequence([placed(g[j], int(node.payload[j])) for j in range(g.length)])


def _cell_cotangents(cell: Traced, operands, cotangents):
    """Derivatives through a cell: its ops are recorded again, and gone through."""
    count = len(cell.arguments)
    return _through(cell.replay, operands[:count], operands[count:], cotangents)


def _scan_cotangents(scan: Scan, operands, cotangents):
    """Derivatives through a scan: its step is recorded again, row by row, and gone through."""
    count = 1 + len(scan.states)

    def steps(given):
        x, *current = given
        rows = []
        for t in range(x.length):
            current = scan.replay([x[t], *current])
            rows.append(current)
        return [states[k] for k in range(count - 1) for states in rows]

    each = [g[t] for g in cotangents for t in range(operands[0].length)]
    return _through(steps, operands[:count], operands[count:], each)


def _through(function, arguments, parameters, cotangents):
    """The cotangents of arguments and parameters of what `function` records from its arguments.

    It is given copies, at which going back ends: what lies behind the arguments is not met, and
    cotangents, which may depend on them, are taken as they are.
    """
    copies = [x * 1.0 if x.type.is_float else x for x in arguments]
    walk = _Walk([*copies, *parameters], ends=True)
    for y, g in zip(function(copies), cotangents, strict=True):
        if y.type.is_float:
            walk.add(y, g)
    walk.run()
    found, met = [], set()
    for x, given in zip((*copies, *parameters), (*arguments, *parameters), strict=True):
        place = (id(x.graph), x.id)  # one copy may stand for two arguments of one value
        g = None if place in met else walk.gradient_of(x)
        met.add(place)
        found.append(shaped_like(g, given))
    return found


def shaped_like(g, x):
    """A cotangent in the shape of what it belongs to; it may be a view, and stays one."""
    return None if g is None else reshape(g, x.type.shape)


def _leaf_cotangent(x: Value, pieces) -> Any:
    """The cotangent of a leaf from pieces of its rows."""
    full = x.type.stored
    total = None
    for at, step, count, type_, g in pieces:
        if isinstance(g, Sequence) and step == 0:
            g = sum_of(g, 0)
        # Row `at` of a leaf lies that many of its own widths into the leaf.
        views = (
            [(at + step * j, g[j]) for j in range(count)] if isinstance(g, Sequence) else [(at, g)]
        )
        for row, part in views:
            view = full.view(type_.shape, row * type_.size + type_.offset // _item(type_))
            whole = whole_cotangent(full, [(view, part)])
            total = whole if total is None else total + whole
    return total


def _item(row: RowType) -> int:
    return np.dtype(row.dtype).itemsize
