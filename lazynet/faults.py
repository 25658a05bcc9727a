"""Faults that `ln.debug()` looks for in results and gradients, and the line of the first one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.debugging import looking_for_infinities
from lazynet.executor import Run
from lazynet.tape import Node, listed_operands, operands_of, read_tape


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
        given = _faults(_operands(graph, node))
        if _is_fault(made, given):
            more = f"; an operand is {given[0]} already" if given else ""
            told = _told(graph, node)
            return f"{node.signature.op.name}: {made[0]} in the result of {told}{more}"
    return None


def first_fault_back(graph: Any, nodes: Iterable[Node], gradient: Callable) -> str | None:
    """A sentence about a node whose backward made a NaN of gradients, if one of these did.

    Args:
        nodes: those of one batch, which backward has just gone through.
        gradient: gives the gradient of a value, or None where it has none.
    """
    for node in nodes:
        made = _faults(map(gradient, _operands(graph, node)))
        if not made:
            continue
        given = _faults(map(gradient, node.outputs(graph)))
        if _is_fault(made, given):
            more = f"; that of its result is {given[0]} already" if given else ""
            name, told = node.signature.op.name, _told(graph, node)
            return f"backward of {name}: {made[0]} in the gradient of an operand of {told}{more}"
    return None


def _is_fault(made: list[str], given: list[str]) -> bool:
    """Whether one is told of what was made of what."""
    return made[0] == "NaN" or (looking_for_infinities.get() and not given)


def _operands(graph: Any, node: Node) -> list[Any]:
    """The values that a node reads."""
    if node.listed:
        return [x for own in listed_operands(graph, node) for rows in own for x in rows]
    operands = operands_of(graph, node)
    return [x for run in operands for x in (run if isinstance(run, list) else [run])]


def _told(graph: Any, node: Node) -> str:
    where = (graph.sites or {}).get(node.first, "an unknown line")
    return f"{node.signature!r}, recorded at {where}"


def _faults(values: Any) -> list[str]:
    """Which of NaN, inf and -inf stand in these values (None for none), in that order."""
    arrays = [x.numpy() for x in values if x is not None and x.type.is_float]
    return [
        name
        for name, holds in (("NaN", np.isnan), ("inf", np.isposinf), ("-inf", np.isneginf))
        if any(holds(a).any() for a in arrays)
    ]
