"""What a CUDA device does for us: memory, copies, launches, products; in hardware or simulated.

The simulator is numba's (`NUMBA_ENABLE_CUDASIM=1`): kernels run as Python. Its memory is host
memory under addresses that no host pointer has, so that code which takes a device's address for a
host's fails there as it would in hardware.
"""

import bisect
import ctypes
import functools
import importlib.util
import threading

import numpy as np
from numba.core import config

BLOCK = 128  # threads of a block
MOST_BLOCKS = 4096  # threads beyond these go round again
SIMULATED = 2  # simulated devices
BIAS = 1 << 60  # what simulated addresses are above those of the host memory behind them


class CudaMissing(RuntimeError):
    """What is missing for CUDA, in one sentence."""


def simulated() -> bool:
    """Whether numba simulates CUDA in this process."""
    return bool(config.ENABLE_CUDASIM)


@functools.cache
def missing() -> str:
    """A sentence that says what is missing for CUDA; empty where nothing is."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "the package numba-cuda is not installed; pip install 'lazynet[cuda]' brings it"
    if simulated():
        return ""
    if importlib.util.find_spec("cupy") is None:
        return "the package CuPy is not installed; pip install 'lazynet[cuda]' brings it"
    from numba import cuda

    try:
        found = len(cuda.gpus)
    except Exception as error:
        return f"there is no working CUDA driver ({str(error).strip().splitlines()[0]})"
    return "" if found else "the CUDA driver finds no GPU"


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
    return Simulator() if simulated() else Hardware(index)


class Hardware:
    """A GPU: memory and BLAS by CuPy, kernels by numba, all in the order of one stream."""

    def __init__(self, index: int):
        import cupy
        from numba.cuda.core import config as cuda_config

        # Small grids are what small batches make; numba would warn of each.
        cuda_config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        self._cupy = cupy
        self._runtime = cupy.cuda.runtime
        self._device = cupy.cuda.Device(index)
        self.index = index
        self.description = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()

    def allocate(self, size: int):
        """(what owns them, address) of `size` bytes, with any content."""
        cupy = self._cupy
        with self._device:
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
        """Copy an array to the device."""
        with self._device:
            self._runtime.memcpy(address, source.ctypes.data, source.nbytes, 1)

    def download(self, target: int, address: int, size: int) -> None:
        """Copy bytes from the device to the host address `target`."""
        with self._device:
            self._runtime.memcpy(target, address, size, 2)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes within the device."""
        with self._device:
            self._runtime.memcpyAsync(target, source, size, 3, 0)

    def clear(self, address: int, size: int) -> None:
        """Set bytes to 0."""
        with self._device:
            self._runtime.memsetAsync(address, 0, size, 0)

    def compile(self, function):
        """The kernel that `function` is."""
        from numba import cuda

        return cuda.jit(function)

    def launch(self, kernel, work: int, *arguments) -> None:
        """Run a kernel on as many threads as there is work, up to a limit."""
        self.launch_blocks(kernel, (work + BLOCK - 1) // BLOCK, *arguments)

    def launch_blocks(self, kernel, blocks: int, *arguments) -> None:
        """Run a kernel on that many blocks of threads, up to a limit."""
        from numba import cuda

        with cuda.gpus[self.index]:
            kernel[min(blocks, MOST_BLOCKS), BLOCK](*arguments)

    def gemm(self, dtype, ta, tb, m, n, k, a, lda, b, ldb, accumulate, c, ldc, batch=None) -> None:
        """C (+)= op(A) op(B) of row-major matrices; `batch` is (count, strides of A, B, C)."""
        cublas = self._cupy.cuda.cublas
        kind = np.float32 if dtype == "float32" else np.float64
        numbers = np.array([1, accumulate], kind)
        one, beta = numbers.ctypes.data, numbers.ctypes.data + numbers.itemsize
        # cuBLAS thinks in columns: what it computes is the transposed product.
        sizes = (int(tb), int(ta), n, m, k, one)
        letter = "s" if dtype == "float32" else "d"
        with self._device:
            handle = self._device.cublas_handle
            if batch is None:
                routine = getattr(cublas, f"{letter}gemm")
                routine(handle, *sizes, b, ldb, a, lda, beta, c, ldc)
                return
            items, step_a, step_b, step_c = batch
            routine = getattr(cublas, f"{letter}gemmStridedBatched")
            routine(
                handle, *sizes, b, ldb, step_b, a, lda, step_a, beta, c, ldc, step_c, items
            )  # fmt: skip


class Simulator:
    """A device of host memory, whose kernels numba runs as Python.

    The simulated devices share one space of addresses, as those of CUDA do.
    """

    description = "numba's simulator"
    threads = 2  # enough to see whether threads share their work
    _sizes: dict[int, int] = {}
    _starts: list[int] = [0]  # replaced, never changed: a collector may free at any time
    _views: dict[tuple[int, type], np.ndarray] = {}  # of allocations, by address and dtype
    _lock = threading.RLock()

    def allocate(self, size: int):
        """(what owns them, address) of `size` bytes, with any content."""
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
        ctypes.memmove(self.host(address, source.nbytes), source.ctypes.data, source.nbytes)

    def download(self, target: int, address: int, size: int) -> None:
        """Copy bytes from the device to the host address `target`."""
        ctypes.memmove(target, self.host(address, size), size)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes within the device."""
        ctypes.memmove(self.host(target, size), self.host(source, size), size)

    def clear(self, address: int, size: int) -> None:
        """Set bytes to 0."""
        ctypes.memset(self.host(address, size), 0, size)

    def compile(self, function):
        """The kernel that `function` is."""
        from numba import cuda

        # Whatever a kernel divides by, hardware says nothing; numpy's mode is that of a thread.
        namespace = function.__globals__
        namespace.update(lifted_kernel=function, errstate=np.errstate)
        source = "def quiet(*arguments):\n    with errstate(all='ignore'):\n"
        exec(source + "        lifted_kernel(*arguments)\n", namespace)
        return cuda.jit(namespace["quiet"])

    def launch(self, kernel, work: int, *arguments) -> None:
        """Run a kernel on a thread or two."""
        kernel[1, min(work, self.threads)](*arguments)

    def launch_blocks(self, kernel, blocks: int, *arguments) -> None:
        """Run a kernel on up to two blocks of as many threads."""
        kernel[min(blocks, 2), self.threads](*arguments)

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

    def gemm(self, dtype, ta, tb, m, n, k, a, lda, b, ldb, accumulate, c, ldc, batch=None) -> None:
        """C (+)= op(A) op(B) of row-major matrices; `batch` is (count, strides of A, B, C)."""
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


class _Owned:
    """An allocation of the simulator; ends with its owner."""

    def __init__(self, address: int):
        self._address = address

    def __del__(self):
        Simulator.free(self._address)
