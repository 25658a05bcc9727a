"""What `ln.debug()` adds: the line that recorded each node. Results are looked at in `faults.py`.

The lines alone are noted for `ln.profile(lines=True)` as well. Warnings stand at such a line, too,
as does the hint for programs that ask for values one by one.
"""

from __future__ import annotations

import contextvars
import itertools
import sys
import warnings
from types import FrameType

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
