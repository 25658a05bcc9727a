"""Links: rows of leaves and of older graphs that one graph uses as rows of its own.

A link has a source, which says where its rows lie, whether they want gradients, and what memory
holds them. That memory stays for as long as the graph, also when the link itself is let go of.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from lazynet.device import mixed
from lazynet.leaf import Leaf

if TYPE_CHECKING:
    from lazynet.graph import Graph


class Links:
    """The links of a graph. Each call is given the graph: nothing but handles may own it."""

    __slots__ = ("_entered", "_forgotten", "_held", "_used", "parameters")

    def __init__(self):
        # By source, first row, step, count and width: the first row here, the source, its row.
        self._entered: dict[Any, tuple[int, Any, int]] = {}
        self._forgotten = False  # whether some of them are gone
        # Arenas and leaves in which linked rows lie, and parameters that died while nodes that
        # use them were pending.
        self._held: list[Any] = []
        self.parameters: set[int] = set()  # the numbers of those of which rows were linked
        self._used: dict[int, int] = {}  # by leaf, how often rows were asked for

    def uses(self, leaf: Leaf) -> int:
        """How often rows of a leaf were asked for, now included."""
        count = self._used[id(leaf)] = self._used.get(id(leaf), 0) + 1
        return count

    def row(self, graph: Graph, source: Any, first: int, step: int, count: int, width: int) -> int:
        """The first row in `graph` of rows of a source, linked now unless they are already."""
        key = (id(source), first, step, count, width)
        found = self._entered.get(key)
        if found is not None:
            return found[0]
        if source.device is None:  # of a trace, which tells that this value is from outside it
            source.link(graph, first, step, count, None)
        if source.device is not graph.device:
            if not isinstance(source, Leaf) or source.copies is None:
                raise mixed("a value", graph.device, source.device)
            source = source.on(graph.device)
        if not count:
            return 0  # nothing is read there, and a link would take the number of the next row
        if isinstance(source, Leaf):
            start, stride = source.address + width * first, width * step
            if stride:
                addresses = np.arange(start, start + stride * count, stride)
            else:
                addresses = np.full(count, start)
            needs = source.requires_grad
            self._held.append(source)
            graph.note_version(source)
            self.parameters.add(source.number)
        else:
            addresses = source.addresses(first, step, count)
            needs = source.needs_gradient(first)
            self._held += source.memory(addresses)
        vid = graph.enter(addresses, needs)
        self._entered[key] = (vid, source, first)
        return vid

    def keep(self, used: np.ndarray) -> None:
        """Forget links to rows that are not `used`: older graphs may die."""
        self._entered = {key: link for key, link in self._entered.items() if used[link[0]]}
        self._forgotten = True

    def __len__(self) -> int:
        return len(self._entered)

    def __iter__(self) -> Iterator[tuple[int, Any, int]]:
        """(id, source, its row) of every link."""
        return iter(list(self._entered.values()))

    def since(self, number: int) -> dict[int, tuple[Any, int, int]]:
        """(source, its row, step) of the links from the given number on, by id; maybe of more."""
        rest = itertools.islice(self._entered.items(), 0 if self._forgotten else number, None)
        return {vid: (source, row, key[2]) for key, (vid, source, row) in rest}

    def hold(self, leaf: Leaf) -> None:
        """Let a leaf live as long as the graph."""
        self._held.append(leaf)

    def lead_to(self, leaf: Leaf) -> bool:
        """Whether rows of the graph may lie in a leaf."""
        return any(held is leaf for held in self._held)

    def memory(self, addresses: np.ndarray) -> list[Any]:
        """The arenas and leaves, of those that are held, in which rows lie."""
        return [held for held in self._held if held.holds(addresses).any()]
