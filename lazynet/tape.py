"""Reads a graph's tape back: the nodes it recorded, as Python objects, for those who walk them.

Forward and backward never do this; derivatives that are values (`autodiff.py`) do. What is pending
is read as it stands, and nothing runs.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.graph import Graph
from lazynet.leaf import STATICS, Leaf
from lazynet.op import TABLE, Signature
from lazynet.tensor import Sequence, Tensor, Value
from lazynet.trace import TraceGraph


class Node:
    """A node of a tape, read back."""

    __slots__ = (
        "arguments", "first", "items", "link", "listed", "needs", "payload", "ragged", "rows",
        "signature",
    )  # fmt: skip

    def __init__(self, signature, first, items, rows, ragged, arguments, payload):
        self.signature: Signature = signature
        self.first, self.items, self.rows, self.ragged = first, items, rows, ragged
        self.arguments: list[Any] = arguments
        self.payload: Any = payload
        self.link: Any = None
        self.listed = signature.op.kind == words.SEGMENT and isinstance(arguments[0], list)
        self.needs = False  # whether a leaf that wants a gradient lies behind it

    def outputs(self, graph: Graph) -> list[Value]:
        """The handles of the outputs."""
        if not self.ragged:
            return [Tensor(graph, self.first + k, t) for k, t in enumerate(self.signature.outputs)]
        return [
            Sequence(graph, self.first + k * self.rows, t, self.rows)
            for k, t in enumerate(self.signature.outputs)
        ]

    @property
    def every_row(self) -> int:
        """The rows of all outputs together."""
        return self.rows * max(1, len(self.signature.outputs))

    def leaves(self) -> list[Any]:
        """The parameters and constants that it reads."""
        return [STATICS.leaf(number) for _, number, _ in self.signature.statics]

    def sources(self) -> Iterator[int]:
        """Rows of the graph that it reads: all of a listed node, else one for each run of rows."""
        if self.items == 0 or self.signature.op.kind == words.LINK:
            return
        if self.listed:
            yield from self.arguments[0]
            yield from self.arguments[2]
            return
        for argument in self.arguments:
            for first, _, count in argument if isinstance(argument, list) else [argument]:
                if count:
                    yield first


class Nodes:
    """The nodes of a graph, read back from the tapes of its runs and from what is pending."""

    def __init__(self):
        self.nodes: list[Node] = []
        self._starts: list[int] = []
        self._runs = 0
        # Of the tape that was read last: its first row, the next row, and the words read.
        self._base = self.next = self._words = 0
        self._links: dict[int, tuple[Any, int, int]] = {}
        self._links_seen = 0

    def find(self, row: int) -> Node | None:
        """The node that made a row, as far as it was read."""
        node = self.nodes[bisect.bisect_right(self._starts, row) - 1] if self.nodes else None
        if node is None or not 0 <= row - node.first < node.every_row:
            return None
        return node

    def read(self, graph: Graph) -> None:
        """Read what has been recorded since."""
        for run in graph.runs[self._runs :]:
            self._take(graph, run.base, run.tape)
        self._runs = len(graph.runs)
        if graph.tape:
            self._take(graph, graph.done, graph.tape)

    def _take(self, graph: Graph, base: int, tape: Any) -> None:
        """Read the words of a tape that were not read while they were pending."""
        if base != self._base or self.next == base:
            self._base, self.next, self._words = base, base, 0
        if tape is graph.tape:
            tail = bytes(memoryview(tape)[4 * self._words :])
            rest = np.frombuffer(tail, np.int32)
        else:
            rest = tape[self._words :]
        if not len(rest):
            return
        self._words += len(rest)
        self._enter_links(graph)
        for node in read_tape(rest.tolist(), self.next):
            self.next = node.first + node.every_row
            if node.signature.op.kind == words.LINK:
                node.link = self._links.get(node.first)
            if node.rows:
                self.nodes.append(node)
                self._starts.append(node.first)
                node.needs = self._needs(graph, node)

    def _enter_links(self, graph: Graph) -> None:
        found = graph.links.since(self._links_seen)
        self._links_seen += len(found)
        self._links.update(found)

    def _needs(self, graph: Graph, node: Node) -> bool:
        """Whether a node needs gradients: as `batching/decode.py` says, for what is pending."""
        signature, first = node.signature, node.first
        if signature.op.kind == words.LINK:
            return bool(graph.needs[first])
        if first < graph.done:
            return graph.needs_gradient(first)
        numbers = TABLE.numbers[signature.index]
        if signature.op.kind != words.ALIAS:
            if not graph.records_gradients(first) or numbers[words.BACKWARD] == words.NO_DERIVATIVE:
                return False
            if numbers[words.NEEDS]:
                return True
        return any(
            graph.needs_gradient(row) if row < graph.done else self._needed(row)
            for row in node.sources()
        )

    def _needed(self, row: int) -> bool:
        node = self.find(row)
        return node is not None and node.needs


def node_of(graph: Graph, row: int) -> Node | None:
    """The node that made a row; None if nothing is known of it: no gradient leads there.

    A graph's nodes are read once, and added to as it grows.
    """
    nodes = graph.memo.get("nodes")
    if nodes is None or row >= nodes.next:
        nodes = graph.memo.pop("nodes", None) or Nodes()  # where Ctrl-C ends this, all is read anew
        nodes.read(graph)
        graph.memo["nodes"] = nodes
    return nodes.find(row)


def is_fixed(x: Value) -> bool:
    """Whether no leaf that wants a gradient lies behind a value.

    False where that is not known: of symbols, and of what was recorded under `no_grad`.
    """
    if isinstance(x.graph, (Leaf, TraceGraph)):
        return isinstance(x.graph, Leaf) and not x.graph.requires_grad
    node = node_of(x.graph, x.id)
    return (
        node is not None
        and not node.needs
        and (node.link is not None or x.graph.records_gradients(node.first))
    )


def read_tape(tape: list[int], base: int) -> Iterator[Node]:
    """The nodes of a tape, in the words of `batching/layout.py`."""
    return (node for node, _, _ in read_entries(tape, base))


def read_entries(tape: list[int], base: int) -> Iterator[tuple[Node, int, int]]:
    """The nodes of a tape, each with its first word and the next one's."""
    p, vid = 0, base
    while p < len(tape):
        code = tape[p]
        signature = TABLE.signatures[code if code >= 0 else -code - 1]
        op, arity = signature.op, len(signature.operands)
        if code >= 0:
            ids = [(i, 0, 1) for i in tape[p + 1 : p + 1 + arity]]
            end = p + 1 + arity + op.payload
            payload = tape[p + 1 + arity : end]
            yield Node(signature, vid, 1, 1, False, ids, payload), p, end
            p, vid = end, vid + len(signature.outputs)
            continue
        n = tape[p + 1]
        if op.kind == words.LINK:
            yield Node(signature, vid, n, n, True, [], None), p, p + 2
            p, vid = p + 2, vid + n
            continue
        if op.kind == words.SEGMENT:
            k, listed = tape[p + 2], tape[p + 3]
            if listed:
                stop = p + 4 + n * (arity - op.singles)
                end = stop + k * (1 + op.singles)
                ids = [tape[p + 4 : stop], tape[stop : stop + k], tape[stop + k : end]]
            else:
                ids = [(tape[p + 4], tape[p + 5], n)]
                end = p + 6
            rows = n if op.per_item else k
            yield Node(signature, vid, n, rows, op.per_item or k != 1, ids, None), p, end
            p, vid = end, vid + rows * len(signature.outputs)
            continue
        if op.kind == words.RUNS:
            runs, q = [], p + 2
            for _ in range(arity):
                stop = q + 1 + 3 * tape[q]
                runs.append([tuple(tape[k : k + 3]) for k in range(q + 1, stop, 3)])
                q = stop
            end = q + op.payload
            yield Node(signature, vid, n, n, True, runs, tape[q:end]), p, end
            p, vid = end, vid + n
            continue
        pairs = tape[p + 2 : p + 2 + 2 * arity]
        end = p + 2 + 2 * arity + n * op.payload
        ids = [(pairs[2 * a], pairs[2 * a + 1], n) for a in range(arity)]
        payload = np.array(tape[p + 2 + 2 * arity : end], np.int32)
        yield Node(signature, vid, n, n, True, ids, payload), p, end
        p, vid = end, vid + n * len(signature.outputs)


def listed_operands(graph: Graph, node: Node) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """The rows of a node that lists them: of each operand the items', and the segments'."""
    items, counts, singles = node.arguments
    rows = node.signature.operands
    along = len(rows) - node.signature.op.singles

    def taken(ids, types, count):
        return [
            [Tensor(graph, i, row) for i in ids[k * count : (k + 1) * count]]
            for k, row in enumerate(types)
        ]

    return taken(items, rows[:along], node.items), taken(singles, rows[along:], len(counts))


def operands_of(graph: Graph, node: Node):
    """The handles of a node's operands in their order; parameters stand for themselves."""
    signature = node.signature
    handles: list[Any] = []
    for static, k, row in signature.places():
        if static:
            handles.append(Tensor(STATICS.leaf(k), 0, row))
            continue
        if signature.op.kind == words.RUNS:
            pieces = [Sequence(graph, i, row, n, step) for i, step, n in node.arguments[k]]
            handles.append(pieces[0] if len(pieces) == 1 else pieces)
            continue
        first, step, count = node.arguments[k]
        state = signature.op.kind == words.SCAN and k > 0
        if (node.ragged or signature.op.kind == words.SEGMENT) and not state:
            handles.append(Sequence(graph, first, row, count, step))
        else:
            handles.append(Tensor(graph, first, row))
    return handles
