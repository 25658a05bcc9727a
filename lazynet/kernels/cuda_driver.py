"""What a CUDA device does for us: memory, copies, launches, products; in hardware or simulated.

The simulated device (`cuda_simulator.py`) takes the place of hardware where numba simulates CUDA
(`NUMBA_ENABLE_CUDASIM=1`).
"""

import ctypes
import functools
import importlib.util
import threading

import numpy as np
from numba.core import config

BLOCK = 128  # threads of a block
MOST_BLOCKS = 4096  # threads beyond these go round again
SIMULATED = 2  # simulated devices


class CudaMissing(RuntimeError):
    """What is missing for CUDA, in one sentence."""


def simulated() -> bool:
    """Whether numba simulates CUDA in this process."""
    return bool(config.ENABLE_CUDASIM)


# From a checkout: the package of this name on PyPI is another project's.
_BROUGHT = "pip install '.[cuda]' in a checkout brings it"


@functools.cache
def missing() -> str:
    """A sentence that says what is missing for CUDA; empty where nothing is."""
    if importlib.util.find_spec("numba_cuda") is None:
        return f"the package numba-cuda is not installed; {_BROUGHT}"
    if simulated():
        return ""
    if importlib.util.find_spec("cupy") is None:
        return f"the package CuPy is not installed; {_BROUGHT}"
    from numba import cuda

    try:
        found = len(cuda.gpus)
    except Exception as error:
        return f"there is no working CUDA driver ({cause(error)})"
    return "" if found else "the CUDA driver finds no GPU"


def cause(error: Exception) -> str:
    """What an error says, in a line, up to the end of its first sentence."""
    said = " ".join(str(error).split())
    return said.partition(". ")[0].strip(" .:") or type(error).__name__


def count() -> int:
    """How many devices there are."""
    if missing():
        return 0
    if simulated():
        return SIMULATED
    from numba import cuda

    return len(cuda.gpus)


@functools.cache
def driver(index: int):
    """The device with that number."""
    if missing():
        raise CudaMissing(missing())
    if index >= count():
        there = ", ".join(f"cuda:{k}" for k in range(count()))
        raise CudaMissing(f"there is no such device; there is {there}")
    if not simulated():
        return Hardware(index)
    from lazynet.kernels.cuda_simulator import Simulator

    return Simulator()


class Counts:
    """What a device was asked to do since the process began."""

    __slots__ = ("downloads", "launches", "uploads")

    def __init__(self):
        self.launches = self.uploads = self.downloads = 0

    def all(self) -> dict[str, int]:
        """The numbers by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class Staging:
    """Which part of page-locked memory the next bytes to be sent go through.

    The memory is two halves, filled in turn. A half is filled again when the copies that were
    queued from it are done: `mark()` notes in the queue that they end here, `wait(mark)` waits.
    """

    def __init__(self, size: int, mark, wait):
        self._half, self._mark, self._wait = size // 2, mark, wait
        self._at = self._used = 0  # bytes so far, and halves begun
        self._marks = [None, None]

    def part(self, wanted: int) -> tuple[int, int]:
        """(offset, size) of room for the first of `wanted` bytes; all copies before are queued."""
        if self._at == self._used * self._half:  # the first part of a half
            if self._used:
                self._marks[(self._used - 1) % 2] = self._mark()
            if self._marks[self._used % 2] is not None:
                self._wait(self._marks[self._used % 2])
            self._used += 1
        size = min(wanted, self._used * self._half - self._at)
        start, self._at = self._at % (2 * self._half), self._at + size
        return start, size


STAGED = 1 << 25  # bytes of page-locked memory
# Products in less than float32: cuBLAS's number for it, and the compute capability that has it.
PRECISIONS = {"float16": (74, (7, 0)), "bfloat16": (75, (8, 0))}


class Hardware:
    """A GPU: memory and BLAS by CuPy, kernels by numba, all in the order of one stream.

    Nothing here waits for the device but `download`, whose bytes the host is about to read. CuPy
    gives products, and memory that it takes back, to the stream that is current in the thread; so
    ours is made current, and a user's own work with CuPy is not mixed with it.
    """

    def __init__(self, index: int):
        import cupy
        from numba import cuda
        from numba.cuda.core import config as cuda_config

        # Small grids are what small batches make; numba would warn of each.
        cuda_config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        self._cupy = cupy
        self._runtime = cupy.cuda.runtime
        try:
            self._cublas = cupy.cuda.cublas
        except ImportError as error:
            raise CudaMissing(f"CuPy does not find cuBLAS ({cause(error)}); {_BROUGHT}") from None
        self._device = cupy.cuda.Device(index)
        self._lock = threading.Lock()
        self.index = index
        self.counts = Counts()
        properties = cupy.cuda.runtime.getDeviceProperties(index)
        self.description = properties["name"].decode()
        self._capability = (properties["major"], properties["minor"])
        with self._device:
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._staged = cupy.cuda.alloc_pinned_memory(STAGED)
            self._cublas.getVersion(self._device.cublas_handle)  # takes memory: now there is some
        with cuda.gpus[index]:
            self._launched_in = cuda.external_stream(self._stream.ptr)
        self._staging = Staging(STAGED, self._stream.record, lambda event: event.synchronize())

    def computes(self, precision: str) -> bool:
        """Whether there are products in that precision."""
        return self._capability >= PRECISIONS[precision][1]

    def memory(self) -> tuple[int, int]:
        """(free, all) bytes."""
        with self._device:
            return self._runtime.memGetInfo()

    def allocate(self, size: int):
        """(what owns them, address) of `size` bytes, with any content."""
        cupy = self._cupy
        with self._device, self._stream:
            try:
                memory = cupy.cuda.alloc(size)
            except cupy.cuda.memory.OutOfMemoryError:
                cupy.get_default_memory_pool().free_all_blocks()
                try:
                    memory = cupy.cuda.alloc(size)
                except cupy.cuda.memory.OutOfMemoryError as error:
                    raise MemoryError(str(error)) from None
        return memory, memory.ptr

    def upload(self, address: int, source: np.ndarray) -> None:
        """Copy an array to the device; the array may change as soon as this returns."""
        self.counts.uploads += 1
        start, stop = source.ctypes.data, source.ctypes.data + source.nbytes
        with self._device, self._lock:
            while start < stop:
                offset, size = self._staging.part(stop - start)
                staged = self._staged.ptr + offset
                ctypes.memmove(staged, start, size)
                self._runtime.memcpyAsync(address, staged, size, 1, self._stream.ptr)
                start, address = start + size, address + size

    def download(self, *parts: tuple[int, int, int]) -> None:
        """Copy bytes to the host: (host address, address, size) of each part."""
        self.counts.downloads += 1
        with self._device:
            for target, address, size in parts:
                self._runtime.memcpyAsync(target, address, size, 2, self._stream.ptr)
            self._stream.synchronize()

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes within the device."""
        with self._device:
            self._runtime.memcpyAsync(target, source, size, 3, self._stream.ptr)

    def clear(self, address: int, size: int) -> None:
        """Set bytes to 0."""
        with self._device:
            self._runtime.memsetAsync(address, 0, size, self._stream.ptr)

    def wait(self) -> None:
        """Return when all that was asked for is done."""
        self._stream.synchronize()

    def event(self):
        """A point in the stream, for `seconds`."""
        with self._device:
            event = self._cupy.cuda.Event()
            event.record(self._stream)
            return event

    def seconds(self, start, stop) -> float:
        """The time between two events; waits for the second."""
        stop.synchronize()
        return self._cupy.cuda.get_elapsed_time(start, stop) / 1e3

    def compile(self, function):
        """The kernel that `function` is."""
        from numba import cuda

        return cuda.jit(function)

    def launch(self, kernel, work: int, *arguments) -> None:
        """Run a kernel on as many threads as there is work, up to a limit."""
        self.launch_blocks(kernel, (work + BLOCK - 1) // BLOCK, *arguments)

    def launch_blocks(self, kernel, blocks: int, *arguments, on_chip: int = 0) -> None:
        """Run a kernel on blocks of threads, up to a limit, with so many bytes on the chip each."""
        from numba import cuda

        self.counts.launches += 1
        with cuda.gpus[self.index]:
            kernel[min(blocks, MOST_BLOCKS), BLOCK, self._launched_in, on_chip](*arguments)

    def gemm(
        self, dtype, ta, tb, m, n, k, a, lda, b, ldb, accumulate, c, ldc, batch=None, precision=""
    ) -> None:
        """C (+)= op(A) op(B) of row-major matrices; `batch` is (count, strides of A, B, C).

        With a `precision`, factors of float32 are rounded to it, and sums stay float32.
        """
        self.counts.launches += 1
        cublas = self._cublas
        numbers = np.array([1, accumulate], dtype)
        one, beta = numbers.ctypes.data, numbers.ctypes.data + numbers.itemsize
        # cuBLAS thinks in columns: what it computes is the transposed product.
        sizes = (int(tb), int(ta), n, m, k, one)
        items, step_a, step_b, step_c = batch or (1, 0, 0, 0)
        lda, ldb, ldc = max(lda, 1), max(ldb, 1), max(ldc, 1)  # also where there is nothing
        with self._device, self._stream:
            handle = self._device.cublas_handle
            if precision and dtype == "float32":
                compute = PRECISIONS[precision][0]
                cublas.gemmStridedBatchedEx(
                    handle, *sizes, b, _FLOAT32, ldb, step_b, a, _FLOAT32, lda, step_a, beta, c,
                    _FLOAT32, ldc, step_c, items, compute, _DEFAULT_ALGORITHM,
                )  # fmt: skip
                return
            letter = "s" if dtype == "float32" else "d"
            if batch is None:
                routine = getattr(cublas, f"{letter}gemm")
                routine(handle, *sizes, b, ldb, a, lda, beta, c, ldc)
                return
            routine = getattr(cublas, f"{letter}gemmStridedBatched")
            routine(
                handle, *sizes, b, ldb, step_b, a, lda, step_a, beta, c, ldc, step_c, items
            )  # fmt: skip


_FLOAT32, _DEFAULT_ALGORITHM = 0, -1  # cuBLAS's numbers
