"""Graphs: the tape of pending nodes, the rows that were computed, and how long they live.

A graph is a tape of integers. Handles (`tensor.py`) own it; the thread that records holds it
weakly, so that a loop that drops its values drops its graph. Recording moves on to a new graph
after a backward, and after a forward that leaves a large one; an older value that is used again
enters the new graph as a link.
"""

from __future__ import annotations

import bisect
import itertools
import struct
from _thread import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np

from lazynet.arena import POOL, Arena
from lazynet.batching import layout as words
from lazynet.debugging import call_site, notes_lines
from lazynet.device import CPU, Device, default_device, product_precision
from lazynet.leaf import READERS, Leaf
from lazynet.links import Links
from lazynet.op import Op, RowType, Signature
from lazynet.plans import FIRST_ROW
from lazynet.recording import (
    begin,
    go_on,
    here,
    leave,
    recorded_last,
    recording_gradients,
)

if TYPE_CHECKING:
    from lazynet.executor import Run

RUNNING: list[Any] = []  # what computes what is pending: `running.py` enters itself
_numbers = itertools.count()
_ROOM = FIRST_ROW + 256  # rows that there is room for at first
BYTES_OF_A_ROW = 14  # in place, head, needs and consumed
MOST_LINKED = 1024  # rows of a leaf, for each use of it, that is linked as a whole
NOWHERE = -1  # the address of rows that were not computed, as nobody can ask for them
_PACKERS = [struct.Struct(f"{count}i").pack for count in range(256)]


class Graph:
    """One tape, its rows and their memory."""

    __slots__ = (
        "__weakref__",
        "arena",
        "constants",
        "consumed",
        "device",
        "done",
        "elsewhere",
        "failures",
        "gradients",
        "head",
        "hooks",
        "linked",
        "links",
        "literals",
        "marks",
        "memo",
        "needs",
        "noted",
        "number",
        "numbers",
        "open",
        "owner",
        "place",
        "precision",
        "retained",
        "running",
        "runs",
        "shortened",
        "sites",
        "tape",
        "thread",
        "values",
        "versions",
    )

    def __init__(self, device: Device | None = CPU):
        self.number = next(_numbers)
        self.device: Any = device  # where its rows lie; None for a trace, which has none
        self.precision = product_precision.get()  # of its products, if less than their dtype's
        self.tape = bytearray()
        self.values = FIRST_ROW if device else 0  # the next row to be recorded
        self.done = self.values  # the next row to be computed
        self.owner = get_ident()
        self.open = True
        self.running = False
        self.thread = self.owner  # what fast recording compares; 0 sends it the long way
        self.arena = Arena(device.pool if device else POOL)
        self.runs: list[Run] = []
        self.literals: dict[Any, tuple[int, Any]] = {}
        self.numbers: dict[str, dict[float, int]] = {}  # the same, for quick look-up: by dtype
        # Leaves that are linked as a whole, for quick look-up: their first row, by type of handle.
        self.linked: dict[Leaf, dict[RowType, int]] = {}
        self.memo: dict[Any, Any] = {}  # pure expressions of parameters -> row
        self.retained: dict[Any, Any] = {}  # handles of such values
        self.constants: set[int] = set()  # the rows of such expressions
        self.gradients: dict[Any, Any] = {}  # of values whose gradient is retained
        self.hooks: dict[int, list[Any]] = {}  # of gradients, by the first row of a node
        # The lines that recorded nodes, by their first rows; None where nobody wants to know.
        self.sites: dict[int, str] | None = {} if notes_lines() else None
        self.failures: dict[int, Exception] = {}  # of rows that could not be computed
        self.shortened = False  # whether rows may be nowhere, as nobody held them
        self.noted: list[int] = []  # pending rows that may have been dropped, see expressions.py
        self.versions: dict[int, int] = {}
        self.links = Links()
        self.marks = [(self.values, int(recording_gradients.get()))]
        self.place = np.empty(
            _ROOM, np.int64
        )  # the address of every row, as far as rows were computed
        # First row and addresses of rows that lie elsewhere, until the next forward places them.
        self.elsewhere: list[tuple[int, np.ndarray]] = []
        self.head = np.empty(_ROOM, np.int32)
        self.needs = np.zeros(_ROOM, np.uint8)
        self.consumed = np.zeros(_ROOM, np.uint8)
        if self.sites is not None:
            self.thread = 0
        if device is not None:
            READERS[self.number] = self

    def __reduce__(self):
        raise TypeError(
            "a value that was computed belongs to its graph and cannot be pickled; pickle its "
            "numbers, x.numpy()"
        )

    # -- rows ------------------------------------------------------------------------------------

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""
        if rows <= len(self.place):
            return
        size = max(rows, 2 * len(self.place))
        grown = []
        for old in (self.place, self.head, self.needs, self.consumed):
            new = np.zeros(size, old.dtype)
            new[: len(old)] = old
            grown.append(new)
        self.place, self.head, self.needs, self.consumed = grown  # or none of them

    def addresses(self, first: int, step: int, count: int) -> np.ndarray:
        """The addresses of rows, computing them if they are pending."""
        if first >= self.done or first + step * (count - 1) >= self.done:
            self.forward()
        self.raise_failure(first)
        return self.place[first + step * np.arange(count)]

    def raise_failure(self, row: int) -> None:
        """Raise the error, if there was one, that kept a row from being computed."""
        if row in self.failures:
            raise self.failures[row].with_traceback(None)
        if self.shortened and self.place[row] == NOWHERE:
            raise RuntimeError("a value was dropped, and is asked for")

    def needs_gradient(self, row: int) -> bool:
        """Whether a leaf that wants a gradient lies behind a computed row."""
        return bool(self.needs[self.head[row]])

    def memory(self, addresses: np.ndarray) -> list[Any]:
        """The arenas and leaves in which computed rows lie."""
        if self.arena.holds(addresses).all():
            return [self.arena]
        own = [self.arena] if self.arena.holds(addresses).any() else []
        return own + self.links.memory(addresses)

    def keep(self, leaf: Leaf) -> bool:
        """Hold a parameter that dies, if a pending node may use it; signatures do not hold it."""
        needed = self.pending or bool(self.tape)
        if needed:
            self.links.hold(leaf)
        return needed

    # -- recording -------------------------------------------------------------------------------

    def link(self, source: Any, first: int, step: int, count: int, row: RowType) -> tuple[int, int]:
        """Let rows of a leaf or of an older graph be rows of this one; the first's id, the step.

        A leaf of not too many rows, for each that was used, is linked as a whole: others will
        follow.
        """
        width = row.stride
        if source.__class__ is Leaf and width:
            every = source.array.nbytes // width
            if every <= MOST_LINKED * self.links.uses(source):
                base = self.links.row(self, source, 0, 1, every, width)
                self.linked.setdefault(source, {})[row] = base
                return base + first, step
        return self.links.row(self, source, first, step, count, width), int(count > 1)

    def enter(self, addresses: np.ndarray, needs: bool) -> int:
        """Put rows on the tape that lie elsewhere; the first's id."""
        count = len(addresses)
        # The number comes from the tape: finalizers may have recorded while we looked.
        vid = self.append(LINK, words_of(-LINK.index - 1, count), count)
        self.elsewhere.append((vid, addresses))
        self.grow(vid + count)
        if needs:  # they are 0 until then
            self.needs[vid : vid + count] = 1
        return vid

    def link_nothing(self, first: int, count: int, error: Exception) -> None:
        """Put rows on the tape that could not be computed."""
        self.grow(first + count)
        self.needs[first : first + count] = 0
        self.elsewhere.append((first, np.zeros(count, np.int64)))
        self.tape += words_of(-LINK.index - 1, count)
        self.failures.update(dict.fromkeys(range(first, first + count), error))

    def literal(self, value: Any, dtype: str) -> int:
        """The id of a row that holds a Python number."""
        key = (dtype, value if value == value else "nan", str(value)[0] == "-")
        found = self.literals.get(key)
        if found is None:
            own = self.device.own(np.array(value, dtype))
            leaf = Leaf(own, None, False, self.device)  # type: ignore[arg-type]
            found = self.literals[key] = (self.links.row(self, leaf, 0, 0, 1, 0), leaf)
            if value.__class__ in (float, int) and str(value) != "-0.0":  # which is equal to 0.0
                self.numbers.setdefault(dtype, {})[value] = found[0]
        return found[0]

    def append(self, signature: Signature, entry: bytes, rows: int) -> int:
        """Put one node on the tape; the id of its first row."""
        vid = self.values
        self.values = vid + rows
        self.tape += entry
        if signature is not LINK:
            self.note_line(vid)
        return vid

    def note_line(self, vid: int) -> None:
        """Note the line that records the node of a row, if somebody wants to know."""
        if self.sites is not None:
            self.sites[vid] = call_site()

    def mark_mode(self) -> None:
        """Note on the tape whether gradients are recorded from here on."""
        flag = int(recording_gradients.get())
        if self.marks[-1][1] != flag:
            self.marks.append((self.values, flag))

    def records_gradients(self, row: int) -> bool:
        """Whether gradients were being recorded when a pending row was."""
        if len(self.marks) == 1:
            return bool(self.marks[0][1])
        return bool(self.marks[bisect.bisect_right(self.marks, row, key=lambda m: m[0]) - 1][1])

    # -- running ---------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        return self.done < self.values

    def ask(self, what: str) -> None:
        """Refuse what a function that is being traced cannot be told; see `inside.py`."""

    def forward(self) -> None:
        """Compute everything that is pending on this graph.

        What finalizers and signal handlers record in the meantime stays pending.
        """
        RUNNING[0](self)

    def recorded(self) -> tuple[bytes, int]:
        """A copy of the tape, and how many rows there are of just what is on it.

        Where anything is called, finalizers and signal handlers may record.
        """
        while True:
            values, tape = self.values, bytes(self.tape)
            if self.values == values and len(self.tape) == len(tape):
                return tape, values

    def note_version(self, leaf: Leaf) -> None:
        """Note the version of a parameter that is used here, unless it was used before."""
        if leaf.number >= 0:
            self.versions.setdefault(leaf.number, leaf.version)

    def close(self) -> None:
        """End recording here: later nodes go to a new graph, which links to this one."""
        if self.pending:
            self.forward()
        self.end()
        self.links.keep(self.needs)

    def shrink(self, rows: list[int], width: int) -> None:
        """Keep nothing but these rows, as rows 0, 1, ... of a graph that has been gone through."""
        arena = Arena(self.device.pool)
        addresses = [arena.allocate(width) for _ in rows]
        for address, row in zip(addresses, rows, strict=True):
            self.device.copy(address, int(self.place[row]), width)
        count = len(rows)
        self.arena, self.place = arena, np.array(addresses, np.int64)
        self.values = self.done = count
        self.head = np.zeros(count, np.int32)
        self.needs, self.consumed = np.ones(count, np.uint8), np.ones(count, np.uint8)
        self.runs, self.links = [], Links()
        self.literals, self.numbers, self.linked = {}, {}, {}
        self.memo, self.constants, self.failures = {}, set(), {}
        if self.sites:
            self.sites = {}

    def end(self) -> None:
        """Record into this graph no longer."""
        self.open = False
        self.thread = 0
        leave(self)


def words_of(*integers: int) -> bytes:
    """A tape entry of these words."""
    count = len(integers)
    if count < len(_PACKERS):
        return _PACKERS[count](*integers)
    return np.array(integers, np.int32).tobytes()


def current_graph(device: Device | None = None) -> Graph:
    """The graph that this thread records into, for a device (by default the default one).

    A graph has one device, and one precision of products. Recording for another ends it: what is
    pending there runs.
    """
    held = getattr(here, "graph", None)
    graph = held() if held is not None else None
    if graph is not None and graph.open:
        if graph.device is None:
            return graph  # a trace
        device = device or default_device()
        if graph.device is device and graph.precision == product_precision.get():
            recorded_last[0] = None if graph.precision else held
            return graph
        graph.close()
    go_on()
    graph = Graph(device or default_device())
    begin(graph)
    return graph


LINK = Op("link", "rows of another graph", lambda: (), kind=words.LINK, listed=False).signature(())
