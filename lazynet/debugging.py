"""What `ln.debug()` adds: the line that recorded each node, and a look at every result.

The lines alone are noted for `ln.profile(lines=True)` as well. Warnings stand at such a line, too,
as does the hint for programs that ask for values one by one.
"""

from __future__ import annotations

import contextvars
import itertools
import sys
import warnings
from types import FrameType
from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.executor import Run

debugging: contextvars.ContextVar[bool] = contextvars.ContextVar("debugging", default=False)
noting_lines: contextvars.ContextVar[bool] = contextvars.ContextVar("noting_lines", default=False)
looking_for_infinities: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "looking_for_infinities", default=False
)


def notes_lines() -> bool:
    """Whether the line that records a node is to be noted."""
    return debugging.get() or noting_lines.get()


def call_site() -> str:
    """The file and line outside lazynet from which the current call comes."""
    return _told(_caller())


def _caller() -> FrameType:
    """The innermost frame outside lazynet."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("lazynet."):
        frame = frame.f_back
    return frame


def _told(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside lazynet from which the current call comes, once for each line."""
    caller = _caller()
    shown = caller.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        message, category, caller.f_code.co_filename, caller.f_lineno, registry=shown
    )


class PerformanceHint(UserWarning):
    """Something runs correctly but does not batch."""


LOOKS_BEFORE_HINT = 500
LOOKS_AT_ONCE = 7  # finding who asks takes as long as the smallest forward: so few are asked who
_alone = itertools.count(1)  # forwards in which nothing batched
_looks: dict[tuple[int, int], int] = {}  # about how many of them, by the place that asked


def note_look(run: Run) -> None:
    """Count forwards in which nothing batched, by who asked; say so once."""
    nodes = run.plan.columns.shape[0]
    if nodes == 0 or run.batches < nodes or next(_alone) % LOOKS_AT_ONCE:
        return
    caller = _caller()
    place = id(caller.f_code), caller.f_lasti
    before = _looks.get(place, 0)
    _looks[place] = looks = before + LOOKS_AT_ONCE
    if before < LOOKS_BEFORE_HINT <= looks:
        warn(
            f"{_told(caller)} asked for a value about {LOOKS_BEFORE_HINT} times, one example each, "
            "so that nothing could batch: collect the losses of a minibatch before asking, or use "
            "ln.map",
            PerformanceHint,
        )


def first_fault(graph: Any, run: Run) -> str | None:
    """A sentence about the first node (as recorded) that made a NaN, if there is one.

    Where infinities are looked for, too: about the first node that made a NaN or an infinity. What
    an operand brings along was not made: masks of -inf are no fault.
    """
    from lazynet.tape import listed_operands, operands_of, read_tape  # which stand on graphs

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
