"""Leaves: values that own their storage outside any graph, and the table of static operands.

A leaf is what `ln.tensor` makes and what a parameter holds. A parameter is also a *static*: part of
the signatures that use it, found by number in `STATICS`, so that one batch never mixes weights.
"""

from __future__ import annotations

import itertools
import math
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.device import CPU, Device, default_device, mixed
from lazynet.kernels.jit import MAKING
from lazynet.kernels.python import data_of
from lazynet.op import DTYPE_NAMES, TABLE, RowType, row_type
from lazynet.touched import Touched, table_of_rows


class Leaf:
    """Storage of a value: an array of its own, and a gradient if it wants one."""

    __slots__ = (
        "__weakref__",
        "_located",
        "_location",
        "_made_anew",
        "_spare",
        "array",
        "block",
        "copies",
        "device",
        "gradient",
        "hooks",
        "known",
        "number",
        "recorded",
        "requires_grad",
        "signatures",
        "touched",
        "type",
        "version",
    )

    thread = 0  # a leaf is no graph that could be recorded into
    failures: dict[int, Exception] = {}  # and is never computed
    shortened = False

    def __init__(self, array: Any, row: RowType, requires_grad: bool = False, device: Device = CPU):
        self.array = array  # in the device's memory
        self.device = device
        self.type = row
        self.requires_grad = requires_grad
        self.gradient: Any = None
        self.recorded: Any = None  # the gradient as a lazy value, where it was recorded
        self.hooks: list[Any] = []  # of the gradient
        self._spare: Any = None  # the gradient's storage between two uses
        self.touched: Touched | None = None  # rows of the gradient that backward added to, if noted
        self._located: Any = None  # a gradient whose address was asked for, and that address
        self._location = 0
        self._made_anew: OrderedDict[Any, Any] | None = None
        self.block: Any = None  # what it lies in with other parameters, see `blocks.py`
        self.number = -1
        self.signatures: dict[Any, Any] = {}
        self.known: dict[Any, Any] = {}  # what `quick.py` looks up
        self.version = 0
        # Of an array that is an operand, which lies where the others do: the leaf on each device.
        self.copies: dict[Device, Leaf] | None = None

    @property
    def graph(self) -> Leaf:
        """A leaf stands for the parameter that holds it."""
        return self

    @property
    def made_anew(self) -> OrderedDict[Any, Any]:
        """What is kept of functions that close over it (see `anew.py`)."""
        if self._made_anew is None:
            self._made_anew = OrderedDict()
        return self._made_anew

    @property
    def address(self) -> int:
        return data_of(self.array)

    def on(self, device: Device) -> Leaf:
        """Of an array that is an operand: the leaf on a device."""
        assert self.copies is not None
        found = self if device is self.device else self.copies.get(device)
        if found is None:
            found = self.copies[device] = leaf_of(np.asarray(self.array), device=device)
        return found

    def holds(self, addresses: np.ndarray) -> np.ndarray:
        """Which of the addresses lie in the array."""
        return (addresses >= self.address) & (addresses < self.address + self.array.nbytes)

    def clear_gradient(self) -> None:
        """Forget the gradient; the next backward starts at 0, in the same storage."""
        self.recorded = None
        if self.gradient is not None:
            self._spare, self.gradient = self.gradient, None

    def want_gradient(self) -> Any:
        """The gradient's storage, zeros if there is none yet; what is written there is numbers."""
        if self.touched is not None:
            self._begin_gradient()
            self.touched.everything()
        return self._begin_gradient()

    def _begin_gradient(self) -> Any:
        self.recorded = None
        if self.gradient is None:
            if self._spare is None and self.block is None:
                self._spare = self.device.zeros_like(self.array)
            elif self._spare is None:
                self._spare = self.block.gradient_of(self)
                self._spare.fill(0)
            else:
                self._erase()
            if self.touched is not None:
                self.touched.clear()
            self.gradient, self._spare = self._spare, None
        return self.gradient

    def _erase(self) -> None:
        """Set the gradient's storage to 0, where it is anything else."""
        rows = None if self.touched is None else self.touched.rows()
        if rows is None:
            self._spare.fill(0)
        else:
            count, *shape = self.type.shape
            table = table_of_rows([self._spare], math.prod(shape), rows, count)
            self.device.updates.each("erase", self.type.dtype, table, ())

    def note_touched(self) -> None:
        """From here on, note which rows of the gradient backward adds to."""
        if self.touched is None:
            self.touched = Touched()
            self.touched.everything()  # as far as anyone knows

    def gradient_address(self) -> int:
        """Where the gradient lies, zeros if there is none yet; who adds to it notes the rows."""
        found = self._begin_gradient()
        if self._located is not found:
            self._located, self._location = found, data_of(found)
        return self._location

    def gradient_target(self) -> int:
        """Where backward adds the gradient: an address, 0 if nobody wants it.

        Products that are merged reach all parts of a block by the address of the first.
        """
        if self.requires_grad:
            return self.gradient_address()
        if self.block is not None and self.block.wanted():
            return self.block.gradient_of(self).ctypes.data
        return 0

    def known_outside(self) -> bool:
        """Whether anything but the leaf knows where its value or its gradient lies."""
        self._located = None
        for name in ("array", "gradient", "_spare"):
            if getattr(self, name) is not None and sys.getrefcount(getattr(self, name)) > 2:
                return True  # one reference is ours, one is the argument of getrefcount
        return False

    def settle(self, device: Device, array: Any) -> None:
        """Lie in `array`, a part of the block, from here on; it holds the value already."""
        self.array = array
        if device is not self.device:
            self.device = device
            self.version += 1
        self.settle_gradient()
        STATICS.moved(self)

    def settle_gradient(self) -> None:
        """In a block, keep the gradient there if it is wanted; else apart: products add to it.

        What is merged adds to the whole block, whichever of its parts are frozen.
        """
        if self.block is None:
            return
        self._spare, self._located = None, None
        if self.gradient is None:
            return
        kept = np.asarray(self.gradient)
        if self.requires_grad:
            self.gradient = self.block.gradient_of(self)
            self.gradient[...] = kept
        else:
            self.gradient = self.device.own(kept)

    def move(self, device: Device) -> None:
        """Keep value and gradient on another device from here on; plans find the new address."""
        if device is self.device:
            return
        if self.block is not None:
            self.block.move(device)  # with what it lies beside
            return
        self.array = device.own(np.asarray(self.array))
        if self.gradient is not None:
            self.gradient = device.own(np.asarray(self.gradient))
        self.device, self._spare, self._located = device, None, None
        self.version += 1
        STATICS.moved(self)


class _Going(threading.local):
    back = 0  # backwards that are running in this thread: hooks may run others


GOING = _Going()

# Who may read parameters that nothing else holds any more: the graphs that live, by number.
READERS: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


class Static(Leaf):
    """A leaf with a number, by which alone signatures know it; graphs that need it keep it."""

    __slots__ = ()

    table: StaticTable

    def __del__(self, readers: Any = READERS.valuerefs) -> None:
        graphs = [held() for held in readers()]
        if any([graph is not None and graph.keep(self) for graph in graphs]):
            self.table.enter(self)  # the collector has cleared what referred to it weakly


class Constant(Static):
    """A constant of a traced function, which all devices share."""

    __slots__ = ()


class StaticTable:
    """Parameters by number, held weakly, with the addresses that plans read."""

    def __init__(self):
        self.addresses = np.zeros(64, np.int64)
        self.version = 0  # counts changes of any parameter
        self.devices: set[Device] = {CPU}  # that parameters have been on
        self._leaves: dict[int, weakref.ref[Leaf]] = {}
        # Of constants: the array on each device.
        self._copies: dict[int, dict[Device, Any]] = {}
        self._numbers = itertools.count()
        self._outgrown: list[np.ndarray] = []

    def add(self, leaf: Leaf, constant: bool = False) -> None:
        """Give `leaf` a number, for good: numbers are not used twice.

        A `constant` is found on every device; a parameter is where it was moved to.
        """
        with MAKING:  # which a finalizer may hold already, and no forked child waits for
            leaf.number = next(self._numbers)
            leaf.__class__ = Constant if constant else Static
            if leaf.number >= len(self.addresses):
                self._outgrown.append(self.addresses)  # plans that are being laid out read it
                self.addresses = np.concatenate([self.addresses, np.zeros_like(self.addresses)])
            self.enter(leaf)

    def enter(self, leaf: Leaf) -> None:
        """Let a leaf be found by its number as long as it lives."""
        self._leaves[leaf.number] = weakref.ref(leaf, self._forget(leaf.number))
        self.addresses[leaf.number] = leaf.address
        self.devices.add(leaf.device)
        if self.is_constant(leaf):
            self._copies[leaf.number] = {leaf.device: leaf.array}

    def moved(self, leaf: Leaf) -> None:
        """Note the new address of a leaf."""
        with MAKING:
            self.version += 1
            self.devices.add(leaf.device)
            if leaf.number >= 0:
                self.addresses[leaf.number] = leaf.address

    def check(self, name: str, numbers: Iterable[int], device: Device) -> None:
        """Make sure that the parameters and constants that an op reads are on `device`.

        Raises:
            DeviceError: if a parameter is elsewhere.
        """
        for number in numbers:
            leaf, copies = self.leaf(number), self._copies.get(number)
            if copies is not None:
                if device not in copies:
                    copies[device] = device.own(np.asarray(next(iter(copies.values()))))
                    self.devices.add(device)
                self.addresses[number] = copies[device].ctypes.data
            elif leaf is not None and leaf.device is not device:
                what = f"{name}: a parameter of shape {leaf.type.shape}"
                raise mixed(what, device, leaf.device)

    def is_constant(self, leaf: Leaf) -> bool:
        """Whether a leaf is a constant of a traced function."""
        return isinstance(leaf, Constant)

    def _forget(self, number: int):
        leaves, copies = self._leaves, self._copies

        def forget(_):
            leaves.pop(number, None)
            copies.pop(number, None)

        return forget

    def leaf(self, number: int) -> Leaf | None:
        """The leaf with that number, if it still lives."""
        found = self._leaves.get(number)
        return found() if found is not None else None

    def gradients(self, numbers) -> np.ndarray:
        """Addresses of the gradients of these parameters, 0 for all that want none."""
        addresses = np.zeros(len(self.addresses), np.int64)
        for number in numbers:
            leaf = self.leaf(number)
            if leaf is not None:
                addresses[number] = leaf.gradient_target()
        return addresses


STATICS = Static.table = StaticTable()


def update_needs(leaf: Leaf) -> None:
    """Tell the signatures that use a parameter whether gradients are wanted behind it."""
    with MAKING:
        for signature in leaf.signatures.values():
            statics = (STATICS.leaf(number) for _, number, _ in signature.statics)
            wanted = any(s is not None and s.requires_grad for s in statics)
            TABLE.numbers[signature.index, words.NEEDS] = wanted


def leaf_of(array: np.ndarray, requires_grad: bool = False, device: Device | None = None) -> Leaf:
    """A leaf whose one row is `array`, copied to a device, by default the default one."""
    device = device or default_device()
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    own = device.own(array)
    return Leaf(own, row_type(_name_of(own.dtype), own.shape), requires_grad, device)


def _name_of(dtype: np.dtype) -> str:
    return DTYPE_NAMES.get(dtype) or dtype.name
