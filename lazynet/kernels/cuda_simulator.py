"""A CUDA device of host memory, whose kernels numba's simulator runs as Python.

Its memory has addresses that no host pointer has, so that code which takes a device's address for a
host's fails there as it would in hardware.
"""

import bisect
import ctypes
import threading
import time

import numpy as np

from lazynet.kernels.cuda_driver import PRECISIONS, Counts
from lazynet.kernels.source import function_of

BIAS = 1 << 60  # what simulated addresses are above those of the host memory behind them


class Simulator:
    """A device of host memory, whose kernels numba runs as Python.

    The simulated devices share one space of addresses, as those of CUDA do.
    """

    description = "numba's simulator"
    threads = 2  # enough to see whether threads share their work
    limit = 1 << 40  # bytes of memory
    _sizes: dict[int, int] = {}
    _starts: list[int] = [0]  # replaced, never changed: a collector may free at any time
    _views: dict[tuple[int, type], np.ndarray] = {}  # of allocations, by address and dtype
    _lock = threading.RLock()

    def __init__(self):
        self.counts = Counts()

    def computes(self, precision: str) -> bool:
        """Whether there are products in that precision."""
        return precision in PRECISIONS

    def memory(self) -> tuple[int, int]:
        """(free, all) bytes."""
        return self.limit - sum(self._sizes.values()), self.limit

    def allocate(self, size: int):
        """(what owns them, address) of `size` bytes, with any content."""
        if size > self.memory()[0]:
            raise MemoryError("out of simulated memory")
        with self._lock:
            array = np.empty(size + 64, np.uint8)
            address = (array.ctypes.data + 63) // 64 * 64 + BIAS
            self._sizes[address] = size
            first = address - BIAS - array.ctypes.data
            for kind, item in _KINDS.items():
                whole = array[first : first + size // item * item]
                self._views[address, kind] = whole.view(kind)
            Simulator._starts = sorted([*self._starts, address])
        return _Owned(address), address

    @classmethod
    def free(cls, address: int) -> None:
        """Forget an allocation."""
        with cls._lock:
            del cls._sizes[address]
            for kind in _KINDS:
                del cls._views[address, kind]
            cls._starts = [start for start in cls._starts if start != address]

    def host(self, address: int, size: int) -> int:
        """The host address behind one of the device, if `size` bytes there are allocated."""
        starts, address = self._starts, int(address)
        start = starts[bisect.bisect_right(starts, address) - 1]
        if not start <= address <= address + size <= start + self._sizes.get(start, 0):
            raise IndexError(f"{size} bytes at {address:#x} are no memory of the simulated device")
        return address - BIAS

    def upload(self, address: int, source: np.ndarray) -> None:
        """Copy an array to the device."""
        self.counts.uploads += 1
        ctypes.memmove(self.host(address, source.nbytes), source.ctypes.data, source.nbytes)

    def download(self, *parts: tuple[int, int, int]) -> None:
        """Copy bytes to the host: (host address, address, size) of each part."""
        self.counts.downloads += 1
        for target, address, size in parts:
            ctypes.memmove(target, self.host(address, size), size)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes within the device."""
        ctypes.memmove(self.host(target, size), self.host(source, size), size)

    def clear(self, address: int, size: int) -> None:
        """Set bytes to 0."""
        ctypes.memset(self.host(address, size), 0, size)

    def wait(self) -> None:
        """Return when all that was asked for is done: it is."""

    def event(self) -> float:
        """A point in time, for `seconds`."""
        return time.perf_counter()

    def seconds(self, start: float, stop: float) -> float:
        """The time between two events."""
        return stop - start

    def compile(self, function):
        """The kernel that `function` is."""
        from numba import cuda

        # Whatever a kernel divides by, hardware says nothing; numpy's mode is that of a thread.
        namespace = function.__globals__
        namespace.update(lifted_kernel=function, errstate=np.errstate)
        source = "def quiet(*arguments):\n    with errstate(all='ignore'):\n"
        source += "        lifted_kernel(*arguments)\n"
        return cuda.jit(function_of(source, "quiet", namespace))

    def launch(self, kernel, work: int, *arguments) -> None:
        """Run a kernel on a thread or two."""
        self.counts.launches += 1
        kernel[1, min(work, self.threads)](*arguments)

    def launch_blocks(self, kernel, blocks: int, *arguments, on_chip: int = 0) -> None:
        """Run a kernel on up to two blocks of as many threads."""
        self.counts.launches += 1
        kernel[min(blocks, 2), self.threads, 0, on_chip](*arguments)

    def rows(self, dtype, address: int, count: int) -> np.ndarray:
        """The elements at an address."""
        if not count:
            return np.empty(0, dtype)
        starts = self._starts
        start = starts[bisect.bisect_right(starts, address) - 1]
        size = _KINDS[dtype]
        first, stop = (address - start) // size, (address - start) // size + count
        if start + first * size != address or stop * size > self._sizes.get(start, 0):
            raise IndexError(f"{count} elements at {address:#x} are no memory of the device")
        return self._views[start, dtype][first:stop]

    def gemm(
        self, dtype, ta, tb, m, n, k, a, lda, b, ldb, accumulate, c, ldc, batch=None, precision=""
    ) -> None:
        """C (+)= op(A) op(B) of row-major matrices; `batch` is (count, strides of A, B, C)."""
        self.counts.launches += 1
        items, *steps = batch or (1, 0, 0, 0)
        for item in range(items):
            x, y, z = (
                self._matrix(dtype, start + item * step * np.dtype(dtype).itemsize, *shape)
                for start, step, shape in zip(
                    (a, b, c),
                    steps,
                    ((k, m, lda) if ta else (m, k, lda), (n, k, ldb) if tb else (k, n, ldb),
                     (m, n, ldc)),
                )
            )  # fmt: skip
            if precision and dtype == "float32":
                x, y = rounded(x, precision), rounded(y, precision)
            product = (x.T if ta else x) @ (y.T if tb else y)
            z[...] = z + product if accumulate else product

    def _matrix(self, dtype, address: int, rows: int, columns: int, stride: int) -> np.ndarray:
        if not rows * columns:
            return np.empty((rows, columns), dtype)
        item = np.dtype(dtype).itemsize
        self.host(address + (rows - 1) * stride * item, columns * item)  # the last row is there
        kind = np.ctypeslib.as_ctypes_type(dtype)
        start = (kind * columns).from_address(self.host(address, columns * item))
        first = np.frombuffer(start, dtype)
        return np.lib.stride_tricks.as_strided(first, (rows, columns), (stride * item, item))


# The dtypes of rows, and the bytes of an element.
_KINDS = {kind: np.dtype(kind).itemsize for kind in
          (np.float32, np.float64, np.int64, np.int32, np.uint8)}  # fmt: skip


def rounded(x: np.ndarray, precision: str) -> np.ndarray:
    """Numbers of float32 as they are in a narrower type, to the nearest even."""
    with np.errstate(over="ignore"):
        if precision == "float16":
            return x.astype(np.float16).astype(np.float32)
    bits = x.astype(np.float32).view(np.uint32)
    even = (bits >> 16) & 1
    kept = ((bits + 0x7FFF + even) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(x), kept, x)


class _Owned:
    """An allocation of the simulator; ends with its owner."""

    def __init__(self, address: int):
        self._address = address

    def __del__(self):
        Simulator.free(self._address)
