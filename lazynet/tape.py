"""Reads a graph's tape back: the nodes it recorded, as Python objects, for those who walk them.

Forward and backward never do this; derivatives that are values (`autodiff.py`) do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.graph import Graph
from lazynet.op import TABLE, Signature
from lazynet.parameter import STATICS
from lazynet.tensor import Sequence, Tensor, Value


class Node:
    """A node of a tape, read back."""

    __slots__ = (
        "arguments", "first", "items", "link", "listed", "payload", "ragged", "rows", "signature",
    )  # fmt: skip

    def __init__(self, signature, first, items, rows, ragged, arguments, payload):
        self.signature: Signature = signature
        self.first, self.items, self.rows, self.ragged = first, items, rows, ragged
        self.arguments: list[Any] = arguments
        self.payload: Any = payload
        self.link: Any = None
        self.listed = signature.op.kind == words.SEGMENT and isinstance(arguments[0], list)

    def outputs(self, graph: Graph) -> list[Value]:
        """The handles of the outputs."""
        if not self.ragged:
            return [Tensor(graph, self.first + k, t) for k, t in enumerate(self.signature.outputs)]
        return [
            Sequence(graph, self.first + k * self.rows, t, self.rows)
            for k, t in enumerate(self.signature.outputs)
        ]


class Nodes:
    """The nodes of a graph, read back from the tapes of its runs."""

    def __init__(self):
        self.nodes: list[Node] = []
        self.runs = 0
        self._starts: list[int] = []

    def node_of(self, row: int) -> int:
        """The first row of the node that made a row."""
        k = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._starts[k]

    def read(self, graph: Graph) -> None:
        """Read the runs that have come since."""
        links = {vid: (vid, source, row, step) for vid, source, row, step in graph.link_records()}
        for run in graph.runs[self.runs :]:
            for node in read_tape(run.tape.tolist(), run.base):
                if node.signature.op.kind == words.LINK:
                    node.link = links.get(node.first)
                if node.rows or node.signature.op.kind == words.LINK:
                    self.nodes.append(node)
                    self._starts.append(node.first)
        self.runs = len(graph.runs)


def graph_nodes(graph: Graph) -> Nodes:
    """The nodes of a graph; read once, and added to as the graph grows."""
    found = graph.memo.get("nodes")
    if found is None:
        found = graph.memo["nodes"] = Nodes()
    found.read(graph)
    return found


def read_tape(tape: list[int], base: int):
    """The nodes of a tape, in the words of `batching/layout.py`."""
    p, vid = 0, base
    while p < len(tape):
        code = tape[p]
        signature = TABLE.signatures[code if code >= 0 else -code - 1]
        op, arity = signature.op, len(signature.operands)
        if code >= 0:
            ids = [(i, 0, 1) for i in tape[p + 1 : p + 1 + arity]]
            end = p + 1 + arity + op.payload
            payload = tape[p + 1 + arity : end]
            yield Node(signature, vid, 1, 1, False, ids, payload)
            p, vid = end, vid + len(signature.outputs)
            continue
        n = tape[p + 1]
        if op.kind == words.LINK:
            yield Node(signature, vid, n, n, True, [], None)
            p, vid = p + 2, vid + n
            continue
        if op.kind == words.SEGMENT:
            k, listed = tape[p + 2], tape[p + 3]
            if listed:
                ids = [tape[p + 4 : p + 4 + n], tape[p + 4 + n : p + 4 + n + k]]
                end = p + 4 + n + k
            else:
                ids = [(tape[p + 4], tape[p + 5], n)]
                end = p + 6
            rows = n if op.per_item else k
            yield Node(signature, vid, n, rows, op.per_item or k != 1, ids, None)
            p, vid = end, vid + rows
            continue
        if op.kind == words.RUNS:
            runs, q = [], p + 2
            for _ in range(arity):
                stop = q + 1 + 3 * tape[q]
                runs.append([tuple(tape[k : k + 3]) for k in range(q + 1, stop, 3)])
                q = stop
            end = q + op.payload
            yield Node(signature, vid, n, n, True, runs, tape[q:end])
            p, vid = end, vid + n
            continue
        pairs = tape[p + 2 : p + 2 + 2 * arity]
        end = p + 2 + 2 * arity + n * op.payload
        ids = [(pairs[2 * a], pairs[2 * a + 1], n) for a in range(arity)]
        payload = np.array(tape[p + 2 + 2 * arity : end], np.int32)
        yield Node(signature, vid, n, n, True, ids, payload)
        p, vid = end, vid + n * len(signature.outputs)


def operands_of(graph: Graph, node: Node):
    """The handles of a node's operands in their order; parameters stand for themselves."""
    signature = node.signature
    statics = {position: (number, row) for position, number, row in signature.statics}
    handles: list[Any] = []
    argument = 0
    for position in range(len(statics) + len(signature.operands)):
        if position in statics:
            number, row = statics[position]
            handles.append(Tensor(STATICS.leaf(number), 0, row))
            continue
        row = signature.operands[argument]
        if signature.op.kind == words.RUNS:
            pieces = [Sequence(graph, i, row, n, step) for i, step, n in node.arguments[argument]]
            handles.append(pieces[0] if len(pieces) == 1 else pieces)
            argument += 1
            continue
        first, step, count = node.arguments[argument]
        state = signature.op.kind == words.SCAN and argument > 0
        if (node.ragged or signature.op.kind == words.SEGMENT) and not state:
            handles.append(Sequence(graph, first, row, count, step))
        else:
            handles.append(Tensor(graph, first, row))
        argument += 1
    return handles
