"""Faults that `ln.debug()` looks for in every result, and the line that made the first of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.debugging import looking_for_infinities
from lazynet.executor import Run
from lazynet.tape import listed_operands, operands_of, read_tape


def first_fault(graph: Any, run: Run) -> str | None:
    """A sentence about the first node (as recorded) that made a NaN, if there is one.

    Where infinities are looked for, too: about the first node that made a NaN or an infinity. What
    an operand brings along was not made: masks of -inf are no fault.
    """
    for node in read_tape(run.tape.tolist(), run.base):
        if node.signature.op.kind in (words.LINK, words.ALIAS):
            continue
        made = _faults(node.outputs(graph))
        if not made:
            continue
        if node.listed:
            operands = [x for own in listed_operands(graph, node) for rows in own for x in rows]
        else:
            operands = operands_of(graph, node)
        given = _faults(x for run in operands for x in (run if isinstance(run, list) else [run]))
        if made[0] == "NaN" or (looking_for_infinities.get() and not given):
            where = (graph.sites or {}).get(node.first, "an unknown line")
            more = f"; an operand is {given[0]} already" if given else ""
            name = node.signature.op.name
            return (
                f"{name}: {made[0]} in the result of {node.signature!r}, recorded at {where}{more}"
            )
    return None


def _faults(values: Any) -> list[str]:
    """Which of NaN, inf and -inf stand in these values, in that order."""
    arrays = [x.numpy() for x in values if x.type.is_float]
    return [
        name
        for name, holds in (("NaN", np.isnan), ("inf", np.isposinf), ("-inf", np.isneginf))
        if any(holds(a).any() for a in arrays)
    ]
