"""What `ln.debug()` adds: the line that recorded each node, and a look for NaN in every result."""

from __future__ import annotations

import contextvars
import sys
import warnings

import numpy as np

from lazynet.batching import layout as words
from lazynet.batching.decode import FIRST, ITEM_COUNT, SEGMENT_COUNT, SIGNATURE
from lazynet.device import Device
from lazynet.executor import Run
from lazynet.op import TABLE

debugging: contextvars.ContextVar[bool] = contextvars.ContextVar("debugging", default=False)


def call_site() -> str:
    """The file and line outside lazynet from which the current call comes."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("lazynet."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


class PerformanceHint(UserWarning):
    """Something runs correctly but does not batch."""


LOOKS_BEFORE_HINT = 500
_looks: dict[str, int] = {}


def note_look(run: Run) -> None:
    """Count forwards in which nothing batched, by the line that asked; say so once a line."""
    nodes = run.columns.shape[1]
    if nodes == 0 or run.batches < nodes:
        return
    site = call_site()
    _looks[site] = looks = _looks.get(site, 0) + 1
    if looks == LOOKS_BEFORE_HINT:
        warnings.warn(
            f"{site} asked for a value {looks} times, one example each, so that nothing could "
            "batch: collect the losses of a minibatch before asking, or use ln.map",
            PerformanceHint,
            stacklevel=2,
        )


def first_nan(run: Run, place: np.ndarray, sites: dict[int, str], device: Device) -> str | None:
    """A sentence about the first node (as recorded) with a NaN in an output, if there is one.

    Args:
        place: the addresses of the graph's rows.
        sites: the line that recorded each node, by its first row.
        device: where the rows lie.
    """
    firsts = run.columns[FIRST]
    for i in np.argsort(firsts, kind="stable").tolist():
        signature = TABLE.signatures[run.used[run.columns[SIGNATURE, i], 0]]
        per_segment = signature.op.kind == words.SEGMENT and not signature.op.per_item
        count = int(run.columns[SEGMENT_COUNT if per_segment else ITEM_COUNT, i])
        for k, row in enumerate(signature.outputs):
            if not row.is_float:
                continue
            first = int(firsts[i]) + k * count
            for j in range(first, first + count):
                values = np.frombuffer(device.read(int(place[j]), row.width), row.dtype)
                if np.isnan(values).any():
                    where = sites.get(int(firsts[i]), "an unknown line")
                    name = signature.op.name
                    return f"{name}: NaN in the result of {signature!r}, recorded at {where}"
    return None
