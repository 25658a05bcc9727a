"""Devices: where rows lie, how they are read and written there, and which one is used by default.

A device owns memory at absolute addresses and runs the calls of a plan. Host code reads and writes
rows through it alone: an address says nothing about whose it is. "cpu" is this process's memory;
"cuda:0", "cuda:1", ... are in `cuda.py`.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
from typing import Any

import numpy as np

from lazynet.arena import POOL, Pool
from lazynet.kernels import access, updates


class DeviceError(RuntimeError):
    """A device that is not there, or operands on different devices."""


class Device:
    """The CPU. Other devices have the same methods."""

    name = "cpu"
    pool: Pool = POOL
    updates: Any = updates  # what changes parameters there

    def __repr__(self) -> str:
        return f"Device({self.name!r})"

    def __reduce__(self):
        return device_of, (self.name,)  # there is one of each name

    def own(self, array: np.ndarray) -> Any:
        """A copy of an array in memory of the device: what a leaf holds."""
        return np.array(array, order="C", copy=True)

    def zeros_like(self, array: Any) -> Any:
        """Zeros of an array's shape and dtype, in memory of the device."""
        return np.zeros_like(array)

    def part(self, array: Any, start: int, stop: int) -> Any:
        """The rows of an array from one to another, in its memory."""
        return array[start:stop]

    def read(self, address: int, size: int) -> bytearray:
        """A copy of the bytes at an address."""
        return bytearray(ctypes.string_at(address, size))

    def add(self, address: int, values: np.ndarray) -> None:
        """Add values to the row at an address."""
        add = access.add32 if values.dtype == np.float32 else access.add64
        add(address, np.ascontiguousarray(values).reshape(-1))

    def write(self, address: int, values: np.ndarray) -> None:
        """Put values into the row at an address."""
        row = np.ascontiguousarray(values)
        ctypes.memmove(address, row.ctypes.data, row.nbytes)

    @property
    def counts(self) -> dict[str, int]:
        """What the device was asked to do so far: launches, uploads, downloads."""
        return {}

    def computes(self, precision: str) -> bool:
        """Whether products can be computed in that precision, which is below their dtype's."""
        return False

    def wait(self) -> None:
        """Return when all that was asked for is done."""

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes within the device."""
        ctypes.memmove(target, source, size)

    def gather(self, out: np.ndarray, addresses: np.ndarray, width: int) -> None:
        """Copy the rows of `width` bytes at these addresses, one after the other, to `out`."""
        if width:
            access.gather(out.reshape(-1).view(np.uint8).reshape(-1, width), addresses)


CPU = Device()
OPENED: list[Device] = []  # the devices besides the CPU that this process has used
# In which precision products are computed, where that is less than their dtype's: of what is
# recorded now, and of what runs now.
product_precision: contextvars.ContextVar[str] = contextvars.ContextVar("precision", default="")
_running: contextvars.ContextVar[str] = contextvars.ContextVar("running precision", default="")
_default: contextvars.ContextVar[Device | None] = contextvars.ContextVar("device", default=None)
_for_all = [CPU]


def default_device() -> Device:
    """Where new tensors live."""
    return _default.get() or _for_all[0]


@contextlib.contextmanager
def on_device(device: Device | None):
    """Let new tensors live on `device` for a while; None leaves it as it is."""
    token = _default.set(device or _default.get())
    try:
        yield
    finally:
        _default.reset(token)


class running_in:
    """Let plans that run meanwhile compute products in a precision."""

    __slots__ = ("_precision", "_token")

    def __init__(self, precision: str):
        self._precision = precision

    def __enter__(self) -> None:
        self._token = _running.set(self._precision)

    def __exit__(self, *error: object) -> None:
        _running.reset(self._token)


def precision_of_products() -> str:
    """The precision in which plans compute products now; "" is that of their dtype."""
    return _running.get()


def device_among(values) -> Device | None:
    """The device of the first value among these, or among the parts of lists; None without one."""
    for x in values:
        if x.__class__ in (list, tuple):
            found = device_among(x)
        else:
            found = getattr(getattr(x, "graph", None), "device", None)
        if found is not None:
            return found
    return None


def beside_operands(function):
    """Let what a function makes besides its operands (zeros, masks, weights) live where they do.

    For functions that make values. Where no device but the CPU is in use this costs nothing.
    """

    @functools.wraps(function)
    def beside(*args, **kwargs):
        if not OPENED:
            return function(*args, **kwargs)
        with on_device(device_among((*args, *kwargs.values()))):
            return function(*args, **kwargs)

    return beside


@functools.cache
def _named(name: str) -> Device:
    if name == "cpu":
        return CPU
    kind, _, number = str(name).partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        known = "'cpu', 'cuda' and 'cuda:1', ..."
        raise DeviceError(f"unknown device {name!r}; there are {known}{_about_dtypes(name)}")
    from lazynet.cuda import open_device

    OPENED.append(open_device(int(number or 0)))
    return OPENED[-1]


def _about_dtypes(name: Any) -> str:
    """What to say to who wants another dtype."""
    try:
        np.dtype(str(name).rpartition(".")[2] if not isinstance(name, type) else name)
    except TypeError:
        return ""
    return "; x.astype(dtype), and .float() and .double() also of modules, change the dtype"


def device_of(name: str | Device | None) -> Device:
    """The device of that name; None is the default one.

    Raises:
        DeviceError: for a name that names no device, or one that is not there, saying why.
    """
    if name is None:
        return default_device()
    if isinstance(name, Device):
        return name
    if name == "cuda":
        name = "cuda:0"
    return _named(name)


device = device_of  # under PyTorch's name


def set_default_device(name: str) -> None:
    """Choose where new tensors and parameters live: "cpu", "cuda", "cuda:1", ...

    Raises:
        DeviceError: if there is no such device, saying what is missing.
    """
    _for_all[0] = device_of(name)


def mixed(what: str, here: Device, there: Device) -> DeviceError:
    """The error for two devices in one expression."""
    return DeviceError(
        f"{what} is on {there.name!r}, the other operands are on {here.name!r}; "
        "move one of them with .to(device)"
    )
