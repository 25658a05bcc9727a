"""The device "cuda": a GPU, and the loop that launches the calls of a plan there.

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
from lazynet.batching.emit import CALL_LENGTH, OWNER_AT
from lazynet.cuda_memory import INPUT_BLOCK, DeviceArray, DevicePool, Inputs, Lent
from lazynet.device import Device, DeviceError, precision_of_products
from lazynet.kernels import cuda_scan
from lazynet.kernels.cuda import Call, Kernels, NoCudaKernel
from lazynet.kernels.cuda_driver import CudaMissing, driver
from lazynet.kernels.cuda_updates import Rules


class Resident:
    """What a forward sent to the device, which its backward refers to."""

    __slots__ = ("_memory", "spans")

    def __init__(self, memory: Lent, spans: list[tuple[int, int, int]]):
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
        self._inputs: Inputs | None = None
        self._lock = threading.RLock()

    # -- memory ------------------------------------------------------------------------------------

    def own(self, array: np.ndarray) -> DeviceArray:
        array = np.asarray(array)
        if array.nbytes <= INPUT_BLOCK // 8:
            with self._lock:
                address = self._inputs.put(array) if self._inputs else 0
                if not address:
                    self.send_inputs()
                    self._inputs = Inputs(self.pool)
                    address = self._inputs.put(array)
                return DeviceArray(self, self._inputs, address, array.dtype, array.shape)
        memory = Lent(self.pool, array.nbytes)
        self.driver.upload(memory.address, np.ascontiguousarray(array))
        return DeviceArray(self, memory, memory.address, array.dtype, array.shape)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Zeros of a shape and dtype."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        memory = Lent(self.pool, size)
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
        memory = Lent(self.pool, record + values.nbytes)
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
        memory = Lent(self.pool, max(places[-1], 1))
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
