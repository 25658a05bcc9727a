"""Memory of a GPU: the pool of its buffers, what small arrays share, arrays that lie there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lazynet.arena import ALIGNMENT, Pool

if TYPE_CHECKING:
    from lazynet.cuda import CudaDevice

# Small leaves share blocks of this size, and what is new in a block goes up in one copy.
INPUT_BLOCK = 1 << 20


class DeviceBuffer:
    """Bytes at a fixed, aligned address of a device."""

    __slots__ = ("_owner", "address", "driver", "size")

    def __init__(self, device_driver: Any, size: int):
        self.driver, self.size = device_driver, size
        self._owner, self.address = device_driver.allocate(size)

    def clear(self, size: int) -> None:
        """Set the first `size` bytes to 0."""
        if size:
            self.driver.clear(self.address, size)


class DevicePool(Pool):
    """Free buffers of a device. Full memory is tried again without them.

    The pool holds all its buffers: one that only garbage held would be finalized with it, and so
    freed on the device, before the garbage's own finalizer gives it back.
    """

    def __init__(self, name: str, device_driver: Any):
        super().__init__()
        self._name, self._driver = name, device_driver
        self._made: set[DeviceBuffer] = set()

    def make(self, size: int) -> DeviceBuffer:
        try:
            made = DeviceBuffer(self._driver, size)
        except MemoryError:
            self.release()
            made = self._last_try(size)
        self._made.add(made)
        return made

    def _last_try(self, size: int) -> DeviceBuffer:
        try:
            return DeviceBuffer(self._driver, size)
        except MemoryError:
            held = sum(buffer.size for buffer in self._made)
            free, whole = self._driver.memory()
            raise MemoryError(
                f"{self._name!r} has no room for {size / 2**20:.1f} MiB more: lazynet holds "
                f"{held / 2**20:.1f} MiB there, and {free / 2**20:.1f} of {whole / 2**20:.1f} MiB "
                "are free"
            ) from None

    def _instead(self, size: int) -> None:
        """Nothing: free buffers are let go of where memory is full."""

    def release(self) -> None:
        with self._lock:
            for free in self._free.values():
                self._made.difference_update(free)
            self._free.clear()


class Lent:
    """A buffer that goes back to its pool when nobody holds it any more."""

    __slots__ = ("_pool", "buffer")

    def __init__(self, pool: Pool, size: int):
        self._pool, self.buffer = pool, pool.take(size)

    @property
    def address(self) -> int:
        return self.buffer.address

    def __del__(self):
        if hasattr(self, "buffer"):
            self._pool.give(self.buffer)


class Inputs(Lent):
    """A block of small arrays: filled on the host, sent when something is going to run."""

    __slots__ = ("host", "sent", "used")

    def __init__(self, pool: Pool):
        super().__init__(pool, INPUT_BLOCK)
        self.host = np.empty(INPUT_BLOCK, np.uint8)
        self.used = self.sent = 0

    def put(self, array: np.ndarray) -> int:
        """The address of a copy, or 0 where there is no room."""
        start, size = self.used, array.nbytes
        if start + size > INPUT_BLOCK:
            return 0
        self.host[start : start + size] = np.frombuffer(array.tobytes(), np.uint8)
        self.used = start + (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        return self.address + start

    def send(self) -> None:
        """Copy to the device what is new."""
        if self.sent < self.used:
            new = self.host[self.sent : self.used]
            self.buffer.driver.upload(self.address + self.sent, new)
            self.sent = self.used


class DeviceArray:
    """An array in a device's memory: what leaves, gradients and optimizers hold there.

    `numpy()` copies it back, `copy_from` changes it. `ctypes.data` is its address, as for numpy's.
    """

    __slots__ = ("_memory", "address", "device", "dtype", "shape")

    def __init__(self, device: CudaDevice, memory: Any, address: int, dtype: Any, shape: Any):
        self.device, self._memory, self.address = device, memory, address
        self.dtype, self.shape = np.dtype(dtype), tuple(shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def ctypes(self) -> _Address:
        return _Address(self.address)

    def numpy(self) -> np.ndarray:
        """A copy on the host."""
        return np.ndarray(self.shape, self.dtype, self.device.read(self.address, self.nbytes))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __deepcopy__(self, memo: Any) -> DeviceArray:
        return self.device.own(self.numpy())

    def __reduce__(self) -> Any:
        return np.array, (self.numpy(),)  # what is saved has no device

    def tobytes(self) -> bytes:
        return self.numpy().tobytes()

    def copy(self) -> np.ndarray:
        return self.numpy()

    def reshape(self, *shape: int) -> DeviceArray:
        """The same memory under another shape."""
        shaped = (
            np.empty(0, np.uint8) if not self.size else np.broadcast_to(np.uint8(0), self.shape)
        )
        return DeviceArray(
            self.device, self._memory, self.address, self.dtype, shaped.reshape(*shape).shape
        )

    def fill(self, value: float) -> None:
        """Set every element."""
        if not value and self.nbytes:
            self.device.send_inputs()
            self.device.driver.clear(self.address, self.nbytes)
        else:
            self.copy_from(np.full(self.shape, value, self.dtype))

    def copy_from(self, values: Any) -> None:
        """Set the elements."""
        array = np.ascontiguousarray(np.broadcast_to(np.asarray(values, self.dtype), self.shape))
        if array.nbytes:
            self.device.send_inputs()
            self.device.driver.upload(self.address, array)

    def __setitem__(self, index: Any, values: Any) -> None:
        if index is not Ellipsis and index != slice(None):
            raise TypeError(
                f"an array on {self.device.name!r} is changed as a whole: `data[...] = values`"
            )
        self.copy_from(values)


class _Address:
    """What `ctypes` is of an array on a device."""

    __slots__ = ("data",)

    def __init__(self, data: int):
        self.data = data
