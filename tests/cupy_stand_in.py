"""Stands in for CuPy, so that what a GPU is asked to do by it can be looked at without one.

Memory is the simulator's. Work is done at once, and each piece of it is noted with the stream that
it went to: as in CuPy, a product goes to the stream that is current in the thread, whatever was set
before. Products are those of cuBLAS: of matrices by columns, with its conditions on their strides.
"""

import ctypes
import types

import numpy as np

from lazynet.kernels.cuda_simulator import Simulator


class Stream:
    """A stream by number; 0 is the one that is current where none was made so."""

    def __init__(self, cupy, number):
        self._cupy, self.ptr = cupy, number

    def __enter__(self):
        self._cupy.current.append(self.ptr)

    def __exit__(self, *_):
        self._cupy.current.pop()

    def record(self, event=None):
        return types.SimpleNamespace(synchronize=lambda: None)

    def synchronize(self):
        pass


class Device:
    """A device by number; its handle of cuBLAS is its number."""

    def __init__(self, cupy, index):
        self._cupy, self._index = cupy, index

    @property
    def cublas_handle(self):
        self._cupy.handles.add(self._index)
        return self._index

    def __enter__(self):
        self._cupy.devices.append(self._index)

    def __exit__(self, *_):
        self._cupy.devices.pop()


class StandIn:
    """What `import cupy` gives; `streams` are those that work went to."""

    def __init__(self, room=1 << 40):
        self.current, self.devices, self.streams, self.handles = [0], [], set(), set()
        self._memory, self._room, self._given = Simulator(), room, 0
        out_of_memory = type("OutOfMemoryError", (Exception,), {})
        runtime = types.SimpleNamespace(
            getDeviceProperties=lambda index: {"name": b"stand-in", "major": 9, "minor": 0},
            memGetInfo=lambda: (self._room - self._given, self._room),
            memcpyAsync=self._copy, memsetAsync=self._set,
        )  # fmt: skip
        cublas = types.SimpleNamespace(
            getVersion=lambda handle: 120900,
            sgemm=self._product(np.float32), dgemm=self._product(np.float64),
            sgemmStridedBatched=self._products(np.float32),
            dgemmStridedBatched=self._products(np.float64), gemmStridedBatchedEx=self._mixed,
        )  # fmt: skip
        self.cuda = types.SimpleNamespace(
            Device=lambda index: Device(self, index),
            Stream=lambda non_blocking: Stream(self, 7),
            memory=types.SimpleNamespace(OutOfMemoryError=out_of_memory),
            alloc=self._alloc, alloc_pinned_memory=self._pinned, runtime=runtime, cublas=cublas,
        )  # fmt: skip
        self._full = out_of_memory

    def get_default_memory_pool(self):
        return types.SimpleNamespace(free_all_blocks=lambda: None)

    # -- memory ------------------------------------------------------------------------------------

    def _alloc(self, size):
        assert self.devices, "no device is current"
        self.streams.add(self.current[-1])
        if self._given + size > self._room:
            raise self._full("out of memory")
        self._given += size
        owner, address = self._memory.allocate(size)
        return types.SimpleNamespace(ptr=address, owner=owner)

    def _pinned(self, size):
        array = np.empty(size, np.uint8)
        return types.SimpleNamespace(ptr=array.ctypes.data, array=array)

    def _copy(self, target, source, size, kind, stream):
        self.streams.add(stream)
        from_device, to_device = kind in (2, 3), kind in (1, 3)
        source = self._memory.host(source, size) if from_device else source
        target = self._memory.host(target, size) if to_device else target
        ctypes.memmove(target, source, size)

    def _set(self, address, value, size, stream):
        self.streams.add(stream)
        ctypes.memset(self._memory.host(address, size), value, size)

    # -- cuBLAS ------------------------------------------------------------------------------------

    def _matrix(self, dtype, address, rows, columns, stride):
        """A matrix by columns; a column has `stride` elements, more than it has rows perhaps."""
        assert stride >= max(rows, 1), "CUBLAS_STATUS_INVALID_VALUE"
        if not rows * columns:
            return np.empty((rows, columns), dtype)
        item = np.dtype(dtype).itemsize
        size = ((columns - 1) * stride + rows) * item
        buffer = (ctypes.c_uint8 * size).from_address(self._memory.host(address, size))
        return np.ndarray((rows, columns), dtype, buffer, 0, (item, stride * item))

    def _product(self, dtype):
        def gemm(handle, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
            assert self.devices[-1] == handle
            self.streams.add(self.current[-1])
            assert {ta, tb} <= {0, 1}
            kind = np.ctypeslib.as_ctypes_type(dtype)
            alpha, beta = (kind.from_address(at).value for at in (alpha, beta))
            x = self._matrix(dtype, a, *((k, m) if ta else (m, k)), lda)
            y = self._matrix(dtype, b, *((n, k) if tb else (k, n)), ldb)
            z = self._matrix(dtype, c, m, n, ldc)
            before = beta * z if beta else 0  # what is there may be NaN
            z[...] = alpha * ((x.T if ta else x) @ (y.T if tb else y)) + before

        return gemm

    def _products(self, dtype):
        one, item = self._product(dtype), np.dtype(dtype).itemsize

        def gemm(handle, ta, tb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc, count):
            for i in range(count):
                at = [p + i * step * item for p, step in ((a, sa), (b, sb), (c, sc))]
                one(handle, ta, tb, m, n, k, alpha, at[0], lda, at[1], ldb, beta, at[2], ldc)

        return gemm

    def _mixed(
        self, handle, ta, tb, m, n, k, alpha, a, type_a, lda, sa, b, type_b, ldb, sb, beta, c,
        type_c, ldc, sc, count, compute, algorithm,
    ):  # fmt: skip
        assert (type_a, type_b, type_c, algorithm) == (0, 0, 0, -1) and compute in (74, 75)
        self._products(np.float32)(
            handle, ta, tb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc, count
        )
