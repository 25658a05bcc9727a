"""Blocks: parameters that lie one after the other in memory, as do their gradients.

Products of one value with several weights are one product if the weights lie so (`merging.py`). Who
first needs that moves them there. Nothing may know the old place then: no array that a user
was given, no link of a living graph, no plan of another thread.
"""

from __future__ import annotations

import weakref
from _thread import get_ident
from itertools import pairwise
from typing import Any

import numpy as np

from lazynet.device import Device
from lazynet.leaf import GOING, READERS, STATICS, Leaf


def join(numbers: tuple[int, ...]) -> bool:
    """Let parameters lie one after the other in this order; whether they do, now or before."""
    leaves = [STATICS.leaf(number) for number in numbers]
    blocks = {id(leaf.block) for leaf in leaves if leaf is not None}
    first = leaves[0]
    if first is None or None in leaves or len(blocks) > 1:
        return False
    if first.block is not None:
        return first.block.in_a_row(leaves)
    alike = {(leaf.type.dtype, leaf.type.shape[1:], leaf.device) for leaf in leaves if leaf}
    if len(alike) > 1 or not all(leaf is not None and _may_move(leaf) for leaf in leaves):
        return False
    Block(leaves)  # type: ignore[arg-type]
    return True


def _may_move(leaf: Leaf) -> bool:
    """Whether a leaf may change its place now.

    Not if a graph has rows there, if another thread has a graph, which may be running, or in a hook
    of a backward, which goes on with the addresses that it has.
    """
    if GOING.back or leaf.hooks or STATICS.is_constant(leaf) or leaf.known_outside():
        return False
    me = get_ident()
    return not any(g.owner != me or g.links.lead_to(leaf) for g in list(READERS.values()))


class Block:
    """Memory of several parameters; they hold it, and it knows them only as long as they live."""

    __slots__ = ("_parts", "array", "device", "gradient")

    def __init__(self, leaves: list[Leaf]):
        self.device = leaves[0].device
        self.gradient: Any = None
        self._parts: list[tuple[weakref.ref[Leaf], int, int]] = []
        start = 0
        for leaf in leaves:
            stop = start + leaf.type.shape[0]
            self._parts.append((weakref.ref(leaf), start, stop))
            start = stop
        self._take(self.device, [np.asarray(leaf.array) for leaf in leaves])

    def in_a_row(self, leaves: list[Leaf]) -> bool:
        """Whether these parts follow each other in this order."""
        places = [self._place(leaf) for leaf in leaves]
        return all(a[1] == b[0] for a, b in pairwise(places))

    def move(self, device: Device) -> None:
        """Keep all parts on another device from here on."""
        whole = np.asarray(self.array)
        self._take(device, [whole[start:stop] for _, start, stop in self._parts])

    def wanted(self) -> bool:
        """Whether the gradient of any part is wanted."""
        return any(leaf.requires_grad for leaf, _, _ in self._living())

    def gradient_of(self, leaf: Leaf) -> Any:
        """Where the gradient of a part lies; it holds anything."""
        if self.gradient is None:
            self.gradient = self.device.zeros_like(self.array)
        return self.device.part(self.gradient, *self._place(leaf))

    def _place(self, leaf: Leaf) -> tuple[int, int]:
        return next((start, stop) for part, start, stop in self._living() if part is leaf)

    def _living(self) -> list[tuple[Leaf, int, int]]:
        parts = ((reference(), start, stop) for reference, start, stop in self._parts)
        return [(leaf, start, stop) for leaf, start, stop in parts if leaf is not None]

    def _take(self, device: Device, rows: list[np.ndarray]) -> None:
        """Lay the parts' rows, and the gradients that there are, into memory of a device."""
        self.array, self.device, self.gradient = device.own(np.concatenate(rows)), device, None
        for leaf, start, stop in self._living():
            leaf.block = self  # no sooner, as Ctrl-C or a lack of memory may end what is above
            leaf.settle(device, device.part(self.array, start, stop))
