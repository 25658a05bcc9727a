"""Reading: copies of rows that have been computed, by their addresses."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any

import numpy as np

from lazynet.device import CPU, Device
from lazynet.leaf import Leaf
from lazynet.op import RowType

# Held while rows of a value move (`spent.py`), and by whoever reads: perhaps another thread.
MOVING = threading.RLock()
if hasattr(os, "register_at_fork"):  # a child is forked while nobody moves rows
    os.register_at_fork(
        before=MOVING.acquire, after_in_parent=MOVING.release, after_in_child=MOVING.release
    )
_SCALARS: dict[str, Any] = {
    "float32": ctypes.c_float,
    "float64": ctypes.c_double,
    "int64": ctypes.c_int64,
    "bool": ctypes.c_bool,
}


def read_number(graph, number: int, row: RowType) -> Any:
    """The only element of a row of a graph, as a Python number."""
    if graph.device is not CPU:
        return read_row(graph, number, row).item()
    return _SCALARS[row.dtype].from_address(int(graph.place[number]) + row.offset).value


def read_row(source, number: int, row: RowType) -> np.ndarray:
    """A copy of one row of a leaf or graph."""
    if isinstance(source, Leaf):
        address = source.address + row.stride * number
    else:
        address = int(source.place[number])
    if source.device is not CPU:
        content = source.device.read(address + row.offset, row.width)
        return np.ndarray(row.shape, row.dtype, content)
    # A program that looks at values comes here once for each look; this is the quick way.
    content = bytearray(ctypes.string_at(address + row.offset, row.width))
    return np.ndarray(row.shape, row.dtype, content)


def read_rows(source, first: int, step: int, count: int, row: RowType) -> np.ndarray:
    """Copies of rows of a leaf or graph, evenly spaced, as one array."""
    if isinstance(source, Leaf):
        base = source.address + row.stride * np.arange(
            first, first + step * count + (step == 0), step or 1
        )
        addresses = base[:count] if step else np.full(count, source.address + row.stride * first)
    else:
        addresses = source.place[first + step * np.arange(count)]
    return gather_bytes(addresses + row.offset, row, source.device)


def gather_bytes(addresses: np.ndarray, row: RowType, device: Device) -> np.ndarray:
    """Copies of the rows at these addresses of a device."""
    out = np.empty((len(addresses), *row.shape), row.dtype)
    device.gather(out, addresses, row.width)
    return out
