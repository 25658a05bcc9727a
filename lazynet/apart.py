"""What fails in a forward is set apart, with all that depends on it; the rest is computed.

Only users' own code fails while a plan runs (`function.py`), and it fails for a whole batch. So the
tape is run once more, in pieces, with each such node alone. A node that fails again, or reads what
has failed, becomes a link to nothing, and its rows raise the same error whenever they are wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.tape import Node, read_entries


def set_apart(graph: Any, compute: Callable[..., None]) -> None:
    """Compute what can be computed of what is pending, after an error.

    What ends this in the middle leaves the rest pending.

    Args:
        compute: computes what is on the tape of a graph, if told so, up to some row.
    """
    tape, values = np.frombuffer(bytes(graph.tape), np.int32), graph.values
    entries = list(read_entries(tape.tolist(), graph.done))
    if not any(node.signature.op.host for node, _, _ in entries):
        return  # it was no user's code: nothing is known to be at fault
    graph.tape.clear()
    rest = 0  # the first word that is not on the tape again
    try:
        for node, start, end in entries:
            alone = node.signature.op.host
            if alone:
                compute(graph, node.first)
            error = _behind(graph, node)
            if error is None:
                graph.tape += tape[start:end].tobytes()
                rest = end
                if alone:
                    error = _failed(graph, node, compute)
            if error is not None:
                graph.link_nothing(node.first, node.every_row, error)
                rest = end
        compute(graph, values)
    except BaseException:
        graph.tape += tape[rest:].tobytes()
        raise


def _failed(graph: Any, node: Node, compute: Callable[..., None]) -> Exception | None:
    """The error that a node ends in when it runs alone; its entry is gone then."""
    try:
        compute(graph, node.first + node.every_row)
    except Exception as error:
        graph.tape.clear()
        return error
    return None


def _behind(graph: Any, node: Node) -> Exception | None:
    """The error of what a node reads, if any of it has failed."""
    if node.signature.op.kind == words.LINK:
        return None
    found = (graph.failures.get(row) for row in node.sources())
    return next((error for error in found if error is not None), None)
