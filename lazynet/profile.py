"""`ln.profile()`: what ran, in which batches, how long it took, and how few batches it could be.

No schedule has fewer batches than the bound: for each signature the longest chain of its nodes,
since nodes of a chain wait for each other. A signature with many more batches than its bound is
what to look at: something keeps its nodes from running together.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import get_ident
from typing import Any

import numpy as np

from lazynet import backward as backwards
from lazynet import optim, running
from lazynet.batching import layout as words
from lazynet.batching.decode import ITEM_COUNT, SIGNATURE, U_SIGNATURE
from lazynet.batching.layout import B_ITEMS, B_SEGMENTS, B_SIGNATURE, B_TIMES
from lazynet.batching.policies import longest_chains
from lazynet.debugging import noting_lines
from lazynet.device import OPENED
from lazynet.executor import Run, watching
from lazynet.graph import BYTES_OF_A_ROW, Graph
from lazynet.kernels.jit import clock, compiling
from lazynet.leaf import GOING
from lazynet.lines import Lines, milliseconds, table, timed
from lazynet.op import TABLE, RowType, Signature
from lazynet.recording import end_recording, pending_graph

# "compile" is for what runs for the first time: it is compiled, or read from disk. The others are
# in the order in which they happen; "build" is the program itself, and any other Python.
PHASES = ("compile", "build", "decode", "schedule", "lay out", "forward", "backward", "update")
_LONGEST_NAME = 60


@dataclass
class Batches:
    """What ran under one signature."""

    name: str
    nodes: int = 0
    rows: int = 0
    batches: int = 0
    bound: int = 0
    kernel_calls: int = 0
    items: int = 0  # rows that its nodes go over, among which its time is shared out
    forward: float = 0.0
    backward: float = 0.0

    @property
    def seconds(self) -> float:
        return self.forward + self.backward


class profile:
    """Records every forward, backward and optimizer step of this thread while it is entered.

    What is pending at the end runs, so that it counts. Shown, it is a table; or take `summary()`.
    In the name of a signature `[2]+1 in [4]` is a part of rows of 4 elements, from element 1 on.
    What runs for the first time is compiled first, or read from disk, a phase of its own.

    Args:
        examples: the number of examples that the program inside works on; tells the nodes recorded
            for one.
        lines: also tell which lines of the program recorded what. Recording takes longer then: no
            node goes the short way.

    Attributes:
        signatures: the `Batches` of each signature, by its number, with the seconds that its
            kernels took; on a GPU from one to the next in its stream; 0 on Windows.
        plans_found: forwards that took the plan of an earlier one of the same shape.
        bytes_recorded: of what nodes are written down in: tape, columns of the plan, addresses.
        bytes_computed: of the rows that they have, and of what is kept for their gradients.
        seconds: the time spent in each of `PHASES`; a GPU may be at work for longer.
        launches, uploads, downloads: what GPUs were asked to do.

    Raises:
        ValueError: for a number of examples below 1.
    """

    def __init__(self, examples: int | None = None, *, lines: bool = False) -> None:
        if examples is not None and (not isinstance(examples, int) or examples < 1):
            raise ValueError(f"profile: examples must be at least 1, not {examples!r}")
        self.examples = examples
        self._lines = Lines() if lines else None
        self._noting: Any = None
        self.signatures: dict[int, Batches] = {}
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.forwards = self.backwards = self.updates = 0
        self.plans_found = 0
        self.backward_batches = 0
        self.kernel_calls = self.backward_kernel_calls = 0
        self.bytes_gathered = self.bytes_recorded = self.bytes_computed = 0
        self._arenas: dict[int, int] = {}  # bytes of each graph's so far
        self.launches = self.uploads = self.downloads = 0  # of devices besides the CPU
        self._within = 0.0  # seconds that hooks took in backwards which have not ended
        self._thread = 0  # that entered; 0 outside
        self._elapsed = 0.0  # seconds inside, without those that recording took

    def __enter__(self) -> profile:
        if self._thread:
            raise RuntimeError("profile: this one is entered already; use another ln.profile()")
        self._thread = get_ident()
        if self._lines is not None:
            end_recording()  # what comes now has its lines noted
            self._noting = noting_lines.set(True)
        for observers, observer in self._hooks():
            observers.append(observer)
        watching[0] += 1
        self._count_devices(-1)
        self._elapsed -= clock()
        self.seconds["compile"] -= compiling.seconds
        return self

    def __exit__(self, *error: object) -> None:
        try:
            graph = pending_graph()
            if error[0] is None and graph is not None and graph.pending:
                graph.forward()
            if error[0] is None and self._noting is not None:
                end_recording()
        finally:
            if self._noting is not None:
                noting_lines.reset(self._noting)
                self._noting = None
            self._elapsed += clock()
            self.seconds["compile"] += compiling.seconds
            self._count_devices(1)
            engine = sum(self.seconds[phase] for phase in PHASES[2:])
            self.seconds["build"] = max(0.0, self._elapsed - engine)
            for observers, observer in self._hooks():
                observers.remove(observer)
            watching[0] -= 1
            self._thread = 0

    def _count_devices(self, sign: int) -> None:
        """Add or take away what devices were asked to do so far."""
        for device in OPENED:
            for name, number in device.counts.items():
                setattr(self, name, getattr(self, name) + sign * number)

    def _hooks(self) -> list[tuple[list[Any], Any]]:
        return [
            (running.observers, self._forward),
            (backwards.observers, self._backward),
            (optim.observers, self._update),
        ]

    # -- what happens inside -----------------------------------------------------------------------

    def _forward(self, graph: Graph, run: Run) -> None:
        if get_ident() != self._thread:
            return
        start = clock()
        self.forwards += 1
        self.plans_found += run.found
        self.kernel_calls += run.calls
        self.bytes_gathered += run.bytes_gathered
        self.bytes_recorded += run.tape.nbytes + run.plan.columns.nbytes + run.plan.order.nbytes
        self.bytes_recorded += (graph.done - run.base) * BYTES_OF_A_ROW
        self.bytes_computed += graph.arena.size() - self._arenas.get(graph.number, 0)
        self._arenas[graph.number] = graph.arena.size()
        for phase, seconds in run.seconds.items():
            self.seconds[phase] += seconds
        self._within = self._within + sum(run.seconds.values()) if GOING.back else 0.0
        signature = np.ascontiguousarray(run.plan.columns[:, SIGNATURE])
        bounds = longest_chains(signature, *run.plan.dependencies, len(run.plan.used)).tolist()
        local = []
        spent = run.spent.tolist() + [0] * (len(bounds) - len(run.spent))
        used = run.plan.used[:, U_SIGNATURE].tolist()
        for number, bound, nanoseconds in zip(used, bounds, spent, strict=True):
            entry = self._of(number)
            entry.bound += bound
            entry.forward += 1e-9 * nanoseconds
            local.append((entry, *_calls(TABLE.signatures[number])))
        nodes = np.bincount(signature, minlength=len(local)).tolist()
        items = np.bincount(signature, run.plan.columns[:, ITEM_COUNT], len(local)).tolist()
        for (entry, _, _), count, own in zip(local, nodes, items, strict=True):
            entry.nodes += count
            entry.items += int(own)
        if self._lines is not None and graph.sites:
            self._lines.add(graph.sites, run)
        for batch in run.laid.batches.tolist():
            entry, calls, loop = local[batch[B_SIGNATURE]]
            entry.batches += 1
            per_segment = run.plan.signatures[batch[B_SIGNATURE], words.KIND] == words.SEGMENT
            per_item = run.plan.signatures[batch[B_SIGNATURE], words.PER_ITEM]
            entry.rows += batch[B_SEGMENTS if per_segment and not per_item else B_ITEMS]
            entry.kernel_calls += calls + loop * batch[B_TIMES]
        self._elapsed -= clock() - start

    def _of(self, number: int) -> Batches:
        """What is told of a signature."""
        if number not in self.signatures:
            self.signatures[number] = Batches(name_of(TABLE.signatures[number]))
        return self.signatures[number]

    def _backward(self, done: backwards.Pass) -> None:
        if get_ident() != self._thread:
            return
        self.backwards += 1
        self.backward_batches += done.batches
        self.backward_kernel_calls += done.calls
        for number, nanoseconds in done.spent.items():
            self._of(number).backward += 1e-9 * nanoseconds
        self.seconds["backward"] += done.seconds - self._within
        self._within = done.seconds if GOING.back else 0.0

    def _update(self, seconds: float) -> None:
        if get_ident() != self._thread:
            return
        self.updates += 1
        self.seconds["update"] += seconds

    # -- what it tells -----------------------------------------------------------------------------

    @property
    def nodes(self) -> int:
        """Nodes that ran forward."""
        return sum(entry.nodes for entry in self.signatures.values())

    @property
    def rows(self) -> int:
        """Rows that they have."""
        return sum(entry.rows for entry in self.signatures.values())

    @property
    def batches(self) -> int:
        """Batches that they ran in."""
        return sum(entry.batches for entry in self.signatures.values())

    @property
    def lower_bound(self) -> int:
        """The number of batches that no schedule of the same forwards goes below."""
        return sum(entry.bound for entry in self.signatures.values())

    def summary(self) -> dict[str, Any]:
        """All of it as plain numbers, strings, lists and dicts."""
        entries = sorted(
            self.signatures.values(), key=lambda e: (-e.seconds, -e.batches, -e.nodes, e.name)
        )
        per_example = self.nodes / self.examples if self.examples else None
        return {
            "forwards": self.forwards,
            "plans_found": self.plans_found,
            "backwards": self.backwards,
            "updates": self.updates,
            "nodes": self.nodes,
            "examples": self.examples,
            "nodes_per_example": per_example,
            "batches": self.batches,
            "lower_bound": self.lower_bound,
            "kernel_calls": self.kernel_calls,
            "backward_batches": self.backward_batches,
            "backward_kernel_calls": self.backward_kernel_calls,
            "bytes_gathered": self.bytes_gathered,
            "bytes_recorded": self.bytes_recorded,
            "bytes_computed": self.bytes_computed,
            "launches": self.launches,
            "uploads": self.uploads,
            "downloads": self.downloads,
            "seconds": {**self.seconds, "total": sum(self.seconds.values())},
            "signatures": [
                {
                    "name": e.name,
                    "nodes": e.nodes,
                    "rows": e.rows,
                    "batches": e.batches,
                    "lower_bound": e.bound,
                    "kernel_calls": e.kernel_calls,
                    "forward": e.forward,
                    "backward": e.backward,
                }
                for e in entries
            ],
            "lines": self._lines.summary(self.signatures) if self._lines is not None else [],
        }

    def __repr__(self) -> str:
        told = self.summary()
        nodes = f"{told['nodes']} nodes"
        if self.examples:
            nodes += f" ({told['nodes_per_example']:.1f} an example)"
        found = f", {told['plans_found']} by a plan found again" if told["plans_found"] else ""
        lines = [
            f"{_count(told['forwards'], 'forward')}{found}: {nodes} in {told['batches']} batches "
            f"(lower bound {told['lower_bound']}), {told['kernel_calls']} kernel calls, "
            f"{in_units(told['bytes_gathered'])} gathered",
            f"memory: {in_units(told['bytes_computed'])} for rows, "
            f"{in_units(told['bytes_recorded'])} for nodes",
            f"{_count(told['backwards'], 'backward')}: {told['backward_batches']} batches, "
            f"{told['backward_kernel_calls']} kernel calls",
            *self._devices(told),
            "",
            *self._table(told),
            "",
            *([*aligned(table(told["lines"]), last=True), ""] if told["lines"] else []),
            *self._times(told["seconds"]),
            *(["(recording took longer, as lines were noted)"] if told["lines"] else []),
        ]
        return "\n".join(lines)

    def _devices(self, told: dict[str, Any]) -> list[str]:
        if not told["launches"]:
            return []
        counts = [_count(told[f"{noun}s"], noun) for noun in ("upload", "download")]
        return [f"devices: {told['launches']} launches, {', '.join(counts)}"]

    def _table(self, told: dict[str, Any]) -> list[str]:
        times = timed(told["signatures"])
        rows = [["signature", *times, "nodes", "batches", "bound", "rows", "rows/batch", "calls"]]
        for e in told["signatures"]:
            name = e["name"]
            if len(name) > _LONGEST_NAME:
                name = name[: _LONGEST_NAME - 3] + "..."
            numbers = (e["nodes"], e["batches"], e["lower_bound"], e["rows"])
            mean = e["rows"] / max(1, e["batches"])
            taken = milliseconds(e, times)
            rows.append([name, *taken, *map(str, numbers), f"{mean:.1f}", str(e["kernel_calls"])])
        return aligned(rows)

    def _times(self, seconds: dict[str, float]) -> list[str]:
        total = seconds["total"] or 1.0
        rows = [["phase", "ms", "share"]]
        for phase, value in seconds.items():
            if phase == "compile" and not value:
                continue  # everything was there
            rows.append([phase, f"{1e3 * value:.2f}", f"{value / total:.0%}"])
        return aligned(rows)


def name_of(signature: Signature) -> str:
    """An op with the rows it takes, its parameters and its attributes: `linear [128] W[5, 128]`."""
    rows = [("W" if static else "") + _shape(row) for static, _, row in signature.places()]
    parts = [signature.op.name, *rows]
    parts += [f"{name}={value}" for name, value in signature.attributes]
    return " ".join(parts)


def _shape(row: RowType) -> str:
    """`[2]`, or `[2]+1 in [4]` for a part, from element 1 on, of rows of 4 elements."""
    short = "" if row.dtype == "float32" else row.dtype
    told = short + str(list(row.shape))
    if row is row.stored:
        return told
    size = np.dtype(row.dtype).itemsize
    first = f"+{row.offset // size}" if row.offset else ""
    return f"{told}{first} in [{row.stride // size}]"


def _calls(signature: Signature) -> tuple[int, int]:
    """Kernel calls of a batch, without gathers: once, and for each time step of a scan."""
    if signature.forward is None:
        return 0, 0
    looped = sum(step.phase == words.LOOP for step in signature.forward.steps)
    return len(signature.forward.steps) - looped, looped


def aligned(rows: list[list[str]], last: bool = False) -> list[str]:
    """The rows of a table as lines: the first column to the left, the others to the right.

    `last` tells whether the last column stands to the left as well.
    """
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    left = {0, len(widths) - 1} if last else {0}
    return [
        "  ".join(
            cell.ljust(width) if k in left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def in_units(number: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.4g} {unit}"
        number /= 1024
    return f"{number:.4g} GiB"
