"""The device "cuda": memory of a GPU, and the loop that launches the calls of a plan there.

Plans are made on the CPU, in host memory, with absolute addresses. Rows lie on the device; lists of
addresses, segment offsets and payloads lie in the host's memory, where the planner reads them. To
run, these and the calls are sent to the device in one copy, and in the copy of the calls every
host address of them is replaced by where it went.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from typing import Any

import numpy as np

from lazynet import loops
from lazynet.arena import ALIGNMENT, Pool
from lazynet.batching.emit import CALL_LENGTH, OWNER_AT
from lazynet.device import Device, DeviceError, precision_of_products
from lazynet.kernels import cuda_scan
from lazynet.kernels.cuda import Call, Kernels, NoCudaKernel
from lazynet.kernels.cuda_driver import CudaMissing, driver
from lazynet.kernels.cuda_updates import Rules

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


class _Lent:
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


class _Inputs(_Lent):
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


class Resident:
    """What a forward sent to the device, which its backward refers to."""

    __slots__ = ("_memory", "spans")

    def __init__(self, memory: _Lent, spans: list[tuple[int, int, int]]):
        self._memory = memory
        self.spans = spans  # (start, stop, distance to the device) of what was sent


class CudaDevice(Device):
    """A GPU, by number."""

    def __init__(self, index: int):
        self.driver = driver(index)
        self.name = f"cuda:{index}"
        self.pool = DevicePool(self.name, self.driver)
        self.updates = Rules(self)
        self._kernels = Kernels(self.driver, self.pool)
        self._inputs: _Inputs | None = None
        self._lock = threading.RLock()

    # -- memory ------------------------------------------------------------------------------------

    def own(self, array: np.ndarray) -> DeviceArray:
        array = np.asarray(array)
        if array.nbytes <= INPUT_BLOCK // 8:
            with self._lock:
                address = self._inputs.put(array) if self._inputs else 0
                if not address:
                    self.send_inputs()
                    self._inputs = _Inputs(self.pool)
                    address = self._inputs.put(array)
                return DeviceArray(self, self._inputs, address, array.dtype, array.shape)
        memory = _Lent(self.pool, array.nbytes)
        self.driver.upload(memory.address, np.ascontiguousarray(array))
        return DeviceArray(self, memory, memory.address, array.dtype, array.shape)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Zeros of a shape and dtype."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        memory = _Lent(self.pool, size)
        memory.buffer.clear(size)
        return DeviceArray(self, memory, memory.address, dtype, shape)

    def zeros_like(self, array: Any) -> DeviceArray:
        return self.zeros(array.shape, array.dtype)

    def part(self, array: DeviceArray, start: int, stop: int) -> DeviceArray:
        width = array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
        shape = (stop - start, *array.shape[1:])
        return DeviceArray(self, array._memory, array.address + start * width, array.dtype, shape)

    @property
    def counts(self) -> dict[str, int]:
        return self.driver.counts.all()

    def computes(self, precision: str) -> bool:
        return self.driver.computes(precision)

    def wait(self) -> None:
        self.send_inputs()
        self.driver.wait()

    def send_inputs(self) -> None:
        """Let small leaves that were made since reach the device."""
        if self._inputs is not None:
            with self._lock:
                self._inputs.send()

    def read(self, address: int, size: int) -> bytearray:
        content = bytearray(size)
        if size:
            self.send_inputs()
            self.driver.download((_address_of(content), address, size))
        return content

    def add(self, address: int, values: np.ndarray) -> None:
        if not values.size:
            return
        self.send_inputs()
        record = 8 * 8  # bytes: items, width, and where the values and the row lie
        memory = _Lent(self.pool, record + values.nbytes)
        words = [1, values.size, memory.address + record, 0, 0, address, 0, 0]
        sent = np.empty(record + values.nbytes, np.uint8)
        sent[:record] = np.array(words, np.int64).view(np.uint8)
        sent[record:] = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
        self.driver.upload(memory.address, sent)
        self._kernels.add(values.dtype.name, values.size, memory.address)

    def write(self, address: int, values: np.ndarray) -> None:
        self.send_inputs()
        self.driver.upload(address, np.ascontiguousarray(values))

    def copy(self, target: int, source: int, size: int) -> None:
        self.send_inputs()
        self.driver.copy(target, source, size)

    def gather(self, out: np.ndarray, addresses: np.ndarray, width: int) -> None:
        if not width or not len(addresses):
            return
        self.send_inputs()
        edges = np.flatnonzero(np.diff(addresses) != width) + 1
        starts = [0, *edges.tolist()]
        ends, target = [*starts[1:], len(addresses)], out.ctypes.data
        self.driver.download(
            *((target + first * width, int(addresses[first]), (stop - first) * width)
              for first, stop in zip(starts, ends, strict=True))
        )  # fmt: skip

    # -- running -----------------------------------------------------------------------------------

    def run(
        self, calls: np.ndarray, *sent: np.ndarray, spent: np.ndarray,
        resident: Resident | None = None,
    ) -> Resident:  # fmt: skip
        """Run the calls of a plan.

        Args:
            calls: the records, with the host's addresses of what is in `sent`.
            sent: arrays that the records point into.
            spent: where the nanoseconds by local signature are added, after waiting for all of
                them; empty if nobody wants to know.
            resident: what was sent before, that they may point into as well.

        Returns:
            what is on the device now, for a backward that refers to it.
        """
        self.send_inputs()
        arrays = [a for a in sent if a.nbytes]
        places = np.cumsum([0, calls.nbytes, *[(a.nbytes + 7) // 8 * 8 for a in arrays]]).tolist()
        memory = _Lent(self.pool, max(places[-1], 1))
        spans = [
            (a.ctypes.data, a.ctypes.data + a.nbytes, memory.address + place - a.ctypes.data)
            for a, place in zip(arrays, places[1:], strict=False)
        ]
        moved = calls.copy()
        for start, stop, distance in [*spans, *(resident.spans if resident else ())]:
            moved[(calls >= start) & (calls < stop)] += distance
        found = loops.find(calls, moved) if loops.WANTED and not precision_of_products() else {}
        packed = np.empty(places[-1], np.uint8)
        for array, place in zip([moved, *arrays], places, strict=False):
            packed[place : place + array.nbytes] = array.view(np.uint8).reshape(-1)
        if packed.nbytes:
            self.driver.upload(memory.address, packed)
        points: list[Any] | None = [(0, self.driver.event())] if len(spent) else None
        try:
            self._launch(calls, moved, memory.address, found, points)
        except NoCudaKernel as error:
            raise DeviceError(str(error)) from None
        if points is not None:
            for (_, before), (owner, after) in itertools.pairwise(points):
                spent[owner] += round(1e9 * self.driver.seconds(before, after))
        return Resident(memory, spans)

    def _launch(
        self, calls: np.ndarray, moved: np.ndarray, start: int, found: dict[int, loops.Loop],
        points: list[Any] | None,
    ) -> None:  # fmt: skip
        """Launch the kernels; `points` gets the owner of each, and a point in the stream after."""
        words, host, products = moved.tolist(), calls.ctypes.data, precision_of_products()
        at = 0
        while at < len(words):
            owner = words[at + 1] >> OWNER_AT
            if at in found:
                stop = found[at].stop
                whole = start + 8 * at, start + 8 * stop
                cuda_scan.launch(self._kernels, found[at], *whole, CALL_LENGTH)
                at = stop
            else:
                length = words[at + 1] & CALL_LENGTH
                record = 8 * (at + 2)
                call = Call(host + record, words[at + 2 : at + length], start + record, products)
                self._kernels.run(words[at], call)
                at += length
            if points is not None:
                points.append((owner, self.driver.event()))


def _address_of(content: bytearray) -> int:
    return np.frombuffer(content, np.uint8).ctypes.data


def open_device(index: int) -> CudaDevice:
    """The GPU with that number.

    Raises:
        DeviceError: saying what is missing.
    """
    try:
        return CudaDevice(index)
    except CudaMissing as error:
        raise DeviceError(f"device 'cuda:{index}': {error}") from None


def is_available() -> bool:
    """Whether there is a GPU, and all that it takes to use it; `lazynet info` tells what is not.

    >>> device = "cuda" if ln.cuda.is_available() else "cpu"
    """
    return device_count() > 0


def device_count() -> int:
    """How many GPUs there are to use: `cuda:0`, `cuda:1`, ..."""
    from lazynet.kernels.cuda_driver import count, missing

    return 0 if missing() else count()


def describe() -> str:
    """What there is of CUDA, in words."""
    with contextlib.suppress(CudaMissing):
        return driver(0).description
    from lazynet.kernels.cuda_driver import missing

    return f"not available: {missing()}"
