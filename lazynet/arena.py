"""Memory: buffers that are pooled across steps, and the arena of one graph.

An arena grows by buffers and never moves one, so that the address of a row is good for as long as
its graph lives. When the graph dies its buffers return to the pool.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from lazynet.batching.measure import ALIGNMENT

SMALLEST = 1 << 12  # bytes of a buffer
LARGER = 4  # how many times as large a free buffer may be that serves


class Buffer:
    """Bytes at a fixed, aligned address."""

    __slots__ = ("_array", "_first", "address", "size")

    def __init__(self, size: int):
        self._array = np.empty(size + ALIGNMENT, np.uint8)
        start = self._array.ctypes.data
        self.address = (start + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        self._first = self.address - start
        self.size = size

    def clear(self, size: int) -> None:
        """Set the first `size` bytes to 0."""
        self._array[self._first : self._first + size] = 0


class Pool:
    """Free buffers by size class (powers of two); safe to use from several threads.

    Steps differ in what they need. So a free buffer of up to `LARGER` times the size serves as
    well, and a new buffer takes the place of smaller free ones: what is held is near what was in
    use at one time, not the sum over all sizes that ever were.
    """

    def __init__(self):
        self._free: dict[int, list[Any]] = {}
        self._lock = threading.RLock()  # a collector may give back in the midst of a take

    def take(self, size: int) -> Any:
        """A buffer of at least `size` bytes, with any content."""
        rounded = 1 << max(size - 1, SMALLEST - 1).bit_length()
        with self._lock:
            free = self._free.get(rounded)
            found = free.pop() if free else self._instead(rounded)
        return self.make(rounded) if found is None else found

    def _instead(self, size: int) -> Any:
        """A larger free buffer; without one, smaller ones of `size` bytes at most are let go of."""
        for larger in sorted(s for s in self._free if size < s <= LARGER * size):
            if self._free[larger]:
                return self._free[larger].pop()
        for smaller in sorted((s for s in self._free if s < size), reverse=True):
            free = self._free[smaller]
            while free and smaller <= size:
                free.pop()
                size -= smaller
        return None

    def make(self, size: int) -> Any:
        """A new buffer."""
        return Buffer(size)

    def give(self, buffer: Any) -> None:
        """Take a buffer back."""
        with self._lock:
            self._free.setdefault(buffer.size, []).append(buffer)

    def held(self) -> int:
        """Bytes of free buffers."""
        with self._lock:
            return sum(size * len(free) for size, free in self._free.items())

    def release(self) -> None:
        """Give all free buffers back to the system."""
        with self._lock:
            self._free.clear()

    def after_fork(self) -> None:
        """A forked child starts with a lock of its own."""
        self._lock = threading.RLock()  # a collector may give back in the midst of a take


POOL = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.after_fork)


class Arena:
    """The rows of one graph: buffers that grow geometrically, filled from the front."""

    buffers: list[Any] = []  # for `__del__`, where Ctrl-C comes before `__init__` has run

    def __init__(self, pool: Pool = POOL):
        self.pool = pool
        self.buffers = []
        self._used: list[int] = []

    def allocate(self, size: int) -> int:
        """The address of `size` new bytes."""
        size = (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        if not self.buffers or self._used[-1] + size > self.buffers[-1].size:
            last = self.buffers[-1].size if self.buffers else 0
            buffer = self.pool.take(max(size, 2 * last if size < last else size))
            self.buffers += [buffer]  # with no call in between, where Ctrl-C would be noticed
            self._used += [0]
        address = self.buffers[-1].address + self._used[-1]
        self._used[-1] += size
        return address

    def holds(self, addresses: np.ndarray) -> np.ndarray:
        """Which of the addresses lie in one of the buffers."""
        found = np.zeros(len(addresses), bool)
        for b in self.buffers:
            found |= (addresses >= b.address) & (addresses < b.address + b.size)
        return found

    def size(self) -> int:
        """Bytes in use."""
        return sum(self._used)

    def free(self) -> None:
        """Return all buffers to the pool; every address in them ends here."""
        for buffer in self.buffers:
            self.pool.give(buffer)
        self.buffers, self._used = [], []

    def __del__(self):
        self.free()
