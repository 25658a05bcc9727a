"""Finds the loops of scans among the calls of a plan that a GPU can do in one launch each.

Whether that is faster than a launch for each call nobody has measured: it saves launches, and gives
up cuBLAS's products. So it is done only where LAZYNET_PERSISTENT_SCANS is 1.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from lazynet.batching.emit import CALL_LENGTH, LOOP_BEGINS, LOOP_CALL
from lazynet.kernels.cuda_scan import ON_CHIP
from lazynet.kernels.generate import Elementwise
from lazynet.kernels.jit import made_from
from lazynet.kernels.products import TA, TB, B, K, N

WANTED = os.environ.get("LAZYNET_PERSISTENT_SCANS", "") == "1"


class Loop(NamedTuple):
    """The calls of one scan's loop, as one launch."""

    stop: int  # the word after its last call
    cases: tuple[Any, ...]  # the kernels of its calls, which are numbered by them
    dtype: str
    rows: int  # sequences
    kept: tuple[int, int, int, int]  # weights on the chip: address, n, k, whether by columns


def find(calls: np.ndarray, moved: np.ndarray) -> dict[int, Loop]:
    """The loops by their first words; numbers their kernels in `moved`, a copy of the calls."""
    found, at = {}, 0
    while at < len(calls):
        places, stop = [at], at + int(calls[at + 1] & CALL_LENGTH)
        if calls[at + 1] & LOOP_BEGINS:
            while stop < len(calls) and calls[stop + 1] & (LOOP_CALL | LOOP_BEGINS) == LOOP_CALL:
                places.append(stop)
                stop += int(calls[stop + 1] & CALL_LENGTH)
            sources = [made_from(int(calls[place])) for place in places]
            loop = _loop(calls, places, sources, stop)
            if loop is not None:
                found[at] = loop
                moved[places] = [loop.cases.index(source) for source in sources]
        at = stop
    return found


def _loop(calls: np.ndarray, places: list[int], sources: list[Any], stop: int) -> Loop | None:
    """The loop of these calls; None where one of its kernels has to be launched by itself."""
    dtypes = {s.dtype if isinstance(s, Elementwise) else s[1] for s in sources}
    dtype = dtypes.pop()
    if len(places) == 1 or dtypes or not dtype.startswith("float"):
        return None
    kept = (0, 0, 0, 0)
    for place, source in zip(places, sources, strict=True):
        if isinstance(source, Elementwise):
            continue
        record = calls[place + 2 : place + 2 + B + 3].tolist()
        if source[0] != "matmul" or record[TA]:
            return None
        n, k, (base, stride, vector) = record[N], record[K], record[B:]
        small = n * k * np.dtype(dtype).itemsize <= ON_CHIP
        if not kept[0] and small and not stride and not vector:
            kept = base, n, k, record[TB]
    rows = max(int(calls[place + 2]) for place in places)
    return Loop(stop, tuple(dict.fromkeys(sources)), dtype, rows, kept)
