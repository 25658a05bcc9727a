"""Kernels in Python: functions over numpy arrays of rows, called by address like compiled ones.

A plan runs without Python's lock; the callback takes it for as long as it needs it. An exception
cannot pass through compiled code: it is kept, the rest of the plan runs on whatever is in memory,
and whoever ran the plan raises it.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)
_numbers = itertools.count()
_kernels: dict[str, Any] = {}  # callbacks by name: plans may call them as long as we live
ATTRIBUTES = 1  # of every step with such a kernel: whether it accumulates, which it does not


class _State(threading.local):
    inside = False
    error: BaseException | None = None


_state = _State()


@dataclass(frozen=True)
class Rows:
    """What the rows of an operand are."""

    shape: tuple[int, ...]
    dtype: str


def register(name: str, inputs: list[Rows], outputs: list[Rows], function: Callable) -> str:
    """Make a kernel of `function(*arrays) -> list of arrays (None: zeros)`; the kernel's name.

    The arrays have a row for each item of the batch; those of the inputs cannot be written to.
    """

    def kernel(record: int, context: int) -> None:
        del context
        if _state.error is not None:
            return
        _state.inside = True
        try:
            items, *operands = _words(record, len(inputs) + len(outputs))
            arrays = [_array(items, o, rows) for o, rows in zip(operands, inputs, strict=False)]
            for array in arrays:
                array.flags.writeable = False
            targets = [
                _array(items, o, rows)
                for o, rows in zip(operands[len(inputs) :], outputs, strict=True)
            ]
            for target, made in zip(targets, function(*arrays), strict=True):
                target[...] = 0 if made is None else made
        except BaseException as error:
            error.add_note(f"in {name}, a Function in numpy")
            _state.error = error
        finally:
            _state.inside = False

    callback = _CALLBACK(kernel)
    own = f"{name} #{next(_numbers)}"
    _kernels[own] = callback
    return own


def address(name: str) -> int | None:
    """The address of such a kernel; None for a name that is none of them."""
    callback = _kernels.get(name)
    return None if callback is None else ctypes.cast(callback, ctypes.c_void_p).value


def raise_error() -> None:
    """Raise what a kernel raised in the plan that this thread has run."""
    error, _state.error = _state.error, None
    if error is not None:
        raise error


def forget() -> None:
    """Forget what a kernel raised, in a plan that ends in another error."""
    _state.error = None


def refuse_inside() -> None:
    """Raise if this thread is inside such a kernel: no plan runs inside another."""
    if _state.inside:
        raise RuntimeError(
            "a Function in numpy cannot ask for lazy values: it is given arrays, and must compute "
            "with them alone"
        )


def _words(record: int, operands: int) -> list[Any]:
    """The items of a call record, then (base, stride, vector) of each operand."""
    first = 1 + ATTRIBUTES
    words = (ctypes.c_int64 * (first + 3 * operands)).from_address(record)
    found = words[:]
    return [found[0], *(found[first + 3 * k : first + 3 * k + 3] for k in range(operands))]


def _array(items: int, operand: list[int], rows: Rows) -> np.ndarray:
    """The rows of an operand as one array: a view where they are evenly spaced."""
    base, stride, vector = operand
    dtype = np.dtype(rows.dtype)
    width = int(np.prod(rows.shape, dtype=np.int64)) * dtype.itemsize
    if vector:
        addresses = (ctypes.c_int64 * items).from_address(vector)
        out = np.empty((items, *rows.shape), dtype)
        for k in range(items):
            ctypes.memmove(out.ctypes.data + k * width, base + addresses[k], width)
        return out
    size = (items - 1) * stride + width
    memory = (ctypes.c_char * size).from_address(base)
    inner = np.empty(rows.shape, dtype).strides
    return np.ndarray((items, *rows.shape), dtype, memory, strides=(stride, *inner))
