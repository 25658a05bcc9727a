"""Plan in, arrays out: runs the stages over a tape and the resulting calls.

`forward` decodes, schedules, lays out and runs what is pending on a tape, `backward` lays out and
runs the way back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lazynet.arena import Arena
from lazynet.batching import layout as words
from lazynet.batching.arrange import Nodes, Work
from lazynet.batching.beside import mark_beside
from lazynet.batching.decode import TOO_MANY, U_SIGNATURE, count, decode, new_columns
from lazynet.batching.frame import (
    BYTES_GATHERED,
    CALL_WORDS,
    CALLS,
    SPAN,
    VECTOR_WORDS,
    new_frame,
)
from lazynet.batching.layout import BATCH_COLUMNS
from lazynet.batching.measure import (
    M_ARGUMENTS,
    M_ARITY,
    M_CALLS,
    M_HIGHEST,
    M_INTEGERS,
    M_LONGEST,
    M_OPERANDS,
    M_OUTPUT,
    M_PAYLOAD,
    M_REGIONS,
    M_SAVED,
    M_SCRATCH,
    M_VECTORS,
    MEASURES,
    T_ITEMS,
    TOTALS,
    measure,
    place_regions,
)
from lazynet.batching.plan import Laid, lay_out
from lazynet.batching.policies import schedule
from lazynet.batching.reverse import (
    R_CALLS,
    R_MEASURES,
    R_OPERANDS,
    R_REGIONS,
    R_SAVED,
    R_SCRATCH,
    R_VECTORS,
    begin_reverse,
    lay_out_reverse,
    measure_reverse,
)
from lazynet.batching.single import row_wise
from lazynet.device import CPU, Device
from lazynet.interpreter import NO_WATCH, W_SPENT, execute, new_watch
from lazynet.kernels import host
from lazynet.kernels.jit import clock, interruptible
from lazynet.leaf import STATICS
from lazynet.op import TABLE
from lazynet.plans import Placed, Plan, find, keep
from lazynet.program import POOL as PROGRAMS

# Rows and integers of a plan are numbered in 32 bits, as rows of a graph are.
MOST_ROWS = TOO_MANY - 1
_NO_ADDRESSES = np.zeros(0, np.int64)
# How many profiles want to know what the calls of each signature take.
watching = [0]


@dataclass
class Run:
    """One forward, as backward and the profiler read it."""

    base: int
    tape: np.ndarray
    plan: Plan
    found: bool  # whether the plan was there, made for an earlier tape of the same shape
    laid: Laid
    outputs: tuple[int, int]  # address and size of the block of output rows
    vectors: np.ndarray  # what arguments point into
    calls: int
    bytes_gathered: int
    seconds: dict[str, float]
    spent: np.ndarray  # nanoseconds by local signature; empty where nobody watched
    resident: Any = None  # what is on the device that ran it; None on the CPU
    leaves: list[Any] = field(default_factory=list)  # the parameters that it read

    @property
    def batches(self) -> int:
        """In how many batches its nodes ran."""
        return len(self.plan.batches)


def _rooms(frame: np.ndarray, operands: int) -> tuple[np.ndarray, np.ndarray]:
    """Room for the operands of one step, and the regions of one program, while they are emitted."""
    return np.empty((max(operands, 1), 4), np.int64), np.empty(frame[SPAN], np.int64)


def _prepared(used: np.ndarray, device: Device) -> np.ndarray:
    """The columns of signatures whose nodes are going to run on a device."""
    columns = TABLE.numbers.take(used, 0)
    indices, mixed = used.tolist(), STATICS.devices != {device}
    unprepared = words.UNPREPARED in columns[:, words.FORWARD].tolist()
    if not (unprepared or mixed):
        return columns
    for signature in map(TABLE.signatures.__getitem__, indices):
        signature.prepare_forward()
        if mixed:
            program = signature.forward
            assert program is not None
            STATICS.check(signature.op.name, program.statics, device)
    return TABLE.numbers.take(used, 0)


@interruptible
def forward(
    tape, base, place, head, needs, marks, links, arena: Arena, policy: int, device: Device = CPU
) -> Run:
    """Compute every pending node of a tape; fills `place`, `head` and `needs` for its rows.

    Args:
        tape: the entries of the pending nodes.
        base: the first pending row; `place`, `head` and `needs` cover all rows of the graph.
        marks: (row, flag) pairs that say from where on gradients are recorded.
        links: (first row, addresses) of pending rows that lie elsewhere.
        policy: a number of `batching/policies.py`.
        device: where the rows lie, and where to run.
    """
    host.refuse_inside()
    times = [clock()]
    key, plan = find(tape, base, tuple(marks), needs, links, policy, device)
    found = plan is not None
    if plan is not None:
        head[:], needs[:] = plan.rows
        times += [clock()] * 2
    else:
        read = _read(tape, base, len(place) - base, marks, head, needs, device)
        times.append(clock())
        plan = _schedule(read, policy)
        if key is not None:
            keep(key, plan, head, needs)
        times.append(clock())
    placed, output, scratch = _lay_out(plan, tape, base, place, links, arena, device)
    times.append(clock())
    watch = new_watch(len(plan.used)) if watching[0] else NO_WATCH
    try:
        resident = _run(device, placed.frame, placed.calls, placed.vectors, placed.laid, watch)
    finally:
        if scratch:
            device.pool.give(scratch)
    times.append(clock())
    spans = zip(("decode", "schedule", "lay out", "forward"), times, times[1:], strict=False)
    return Run(
        base, tape, plan, found, placed.laid, (output, plan.sizes[M_OUTPUT]), placed.vectors,
        int(placed.frame[CALLS]), int(placed.frame[BYTES_GATHERED]),
        {phase: end - start for phase, start, end in spans}, watch[W_SPENT:], resident,
    )  # fmt: skip


class _Read(NamedTuple):
    """What is pending on a tape, as `decode` found it."""

    columns: np.ndarray
    root: np.ndarray
    shift: np.ndarray
    signature: np.ndarray  # of each node, by local number
    dependencies: tuple[np.ndarray, np.ndarray]
    used: np.ndarray
    signatures: np.ndarray


def _read(tape, base, pending, marks, head, needs, device: Device) -> _Read:
    """Read a tape, and see to it that its signatures can run on the device."""
    nodes, ids, aliases = count(tape, TABLE.numbers)
    apart = pending if aliases else 0  # rows that may lie in others
    root, shift = np.empty(apart, np.int32), np.empty(apart, np.int64)
    columns, marks = new_columns(nodes), np.array(marks, np.int64)
    signature, starts, dependencies, used = decode(
        tape, TABLE.numbers, base, columns, ids, marks, head, needs, root, shift
    )
    signatures = _prepared(used[:, U_SIGNATURE], device)
    return _Read(columns, root, shift, signature, (starts, dependencies), used, signatures)


def _schedule(read: _Read, policy: int) -> Plan:
    """Put what is pending into batches, and say how much memory these take."""
    columns, root, shift, signature, dependencies, used, signatures = read
    order, cuts = schedule(signature, *dependencies, len(used), policy)
    batches = np.empty((len(cuts), BATCH_COLUMNS), np.int32)
    mark_beside(order, cuts, signatures, *dependencies, batches)
    totals, sizes = np.zeros((len(used), TOTALS), np.int64), np.zeros(MEASURES, np.int64)
    measure(columns, order, cuts, signatures, used, PROGRAMS.words, batches, totals, sizes)
    return Plan(
        columns, root, shift, dependencies, used, signatures, order, batches, totals,
        sizes.tolist(),
    )  # fmt: skip


def _lay_out(plan: Plan, tape, base, place, links, arena: Arena, device: Device) -> tuple:
    """Take memory for the rows of a schedule, and find or write the calls that compute them.

    Returns:
        these; the address of the block of output rows; and a buffer, for as long as they run.
    """
    sizes, scratch = plan.sizes, None
    try:
        if sizes[M_HIGHEST] > MOST_ROWS:
            raise MemoryError
        output = arena.allocate(sizes[M_OUTPUT])
        saved = arena.allocate(sizes[M_SAVED]) if sizes[M_SAVED] else 0
        scratch = device.pool.take(sizes[M_SCRATCH]) if sizes[M_SCRATCH] else None
        memory = output, saved, scratch.address if scratch else 0
        return _placed(plan, tape, base, place, links, memory), output, scratch
    except BaseException as error:
        if scratch:
            device.pool.give(scratch)
        if isinstance(error, MemoryError):
            raise MemoryError(_largest(plan.used, plan.totals, sizes)) from None
        raise


def _placed(plan: Plan, tape, base, place, links, memory: tuple[int, int, int]) -> Placed:
    """The calls of a plan in the memory at these addresses; those that were kept, if there are."""
    key = plan.address_key(links, memory) if plan.shape is not None else None
    placed = plan.places.find(key) if key else None
    if placed is None:
        if not key or not plan.places.came_before(key):
            return _emit(plan, tape, base, place, *memory)
        placed = plan.keep(key, _emit(plan, plan.shape, base, place, *memory), place)
    place[:] = placed.place
    tape.take(placed.payload, out=placed.laid.payload, mode="clip")
    return placed


def _emit(plan: Plan, tape, base, place, output, saved, scratch) -> Placed:
    """Lay a schedule out in the memory at these addresses."""
    signatures, used, sizes, programs = plan.signatures, plan.used, plan.sizes, PROGRAMS.words
    laid = Laid(
        plan.batches,
        np.zeros((sizes[M_ARGUMENTS], 3), np.int64),
        np.empty(sizes[M_INTEGERS], np.int64),
        np.empty(sizes[M_PAYLOAD], np.int32),
        np.empty(sizes[M_REGIONS], np.int64),
        np.empty(len(used), np.int64),
        np.empty(sizes[M_REGIONS], np.int64),
        _NO_ADDRESSES,
    )
    place_regions(
        signatures, used, words.FORWARD, plan.totals, programs, output, saved, laid.regions,
        laid.first, laid.widths,
    )  # fmt: skip
    calls, vectors = np.empty(sizes[M_CALLS], np.int64), np.empty(sizes[M_VECTORS], np.int64)
    frame = new_frame(signatures, programs, STATICS.addresses, calls, vectors)
    longest = sizes[M_LONGEST]
    work = Work(
        np.empty((max(sizes[M_ARITY], 1), longest), np.int64),
        np.empty(longest, np.int32),
        np.empty(longest, np.int32),
        np.empty(len(plan.order), np.int32),
        np.empty((3, longest + 2), np.int64),
    )
    nodes = Nodes(tape, plan.columns, plan.root, plan.shift, place)
    simple = np.empty(len(used), np.uint8)
    row_wise(signatures, programs, simple)
    lay_out(
        nodes, plan.order, signatures, used, simple, base, scratch, laid, programs, frame,
        *_rooms(frame, sizes[M_OPERANDS]), work,
    )  # fmt: skip
    return Placed(laid, frame, calls, vectors)


def _run(device: Any, frame, calls, vectors, laid: Laid, watch, before: Run | None = None):
    """Run calls where their rows lie, by a stopwatch; gives what then is on the device."""
    stop = int(frame[CALL_WORDS])
    if device is CPU:
        try:
            execute(calls, stop, watch)
        except BaseException:  # Ctrl-C: what a kernel raised before is no other plan's error
            host.forget()
            raise
        host.raise_error()
        return None
    used, spent = vectors[: int(frame[VECTOR_WORDS])], watch[W_SPENT:]
    if before is not None:
        return device.run(calls[:stop], used, spent=spent, resident=before.resident)
    return device.run(calls[:stop], used, laid.integers, laid.payload, spent=spent)


def _largest(used, totals, sizes) -> str:
    """A sentence about what would have taken the most memory."""
    found = zip(used[:, U_SIGNATURE].tolist(), totals[:, T_ITEMS].tolist(), strict=True)
    needed = [
        (sum(row.width for row in TABLE.signatures[index].outputs) * items, items, index)
        for index, items in found
    ]
    top = ", ".join(
        f"{TABLE.signatures[index]!r} x {items} ({size / 2**20:.1f} MiB)"
        for size, items, index in sorted(needed, reverse=True)[:3]
    )
    integers = sizes[M_INTEGERS] + sizes[M_VECTORS] + sizes[M_CALLS] + 3 * sizes[M_ARGUMENTS]
    own = 8 * integers + 4 * sizes[M_PAYLOAD]  # what the plan itself takes
    total = (sizes[M_OUTPUT] + sizes[M_SAVED] + sizes[M_SCRATCH] + own) / 2**20
    return f"this forward needs {total:.1f} MiB, more than there is; the largest parts are {top}"


def backward(
    run: Run, parts: np.ndarray, chunks: np.ndarray, trash: int, gradients: np.ndarray,
    device: Device = CPU,
) -> tuple[int, np.ndarray]:  # fmt: skip
    """Run backward through the parts of one forward, adding to the gradients behind `chunks`.

    Args:
        parts: (batch, start, stop) rows, from `batching.marks.split`.
        chunks: (start, stop, distance to its gradients) of all memory that has gradients, sorted.
        trash: address of rows that nobody reads.
        gradients: addresses of the parameters' gradients, by static number.
        device: where the rows lie.

    Returns:
        the number of kernel calls, and the nanoseconds by local signature that they took; empty
        where nobody watched.
    """
    host.refuse_inside()
    plan = run.plan
    signatures = TABLE.numbers.take(plan.used[:, U_SIGNATURE], 0)
    programs = PROGRAMS.words
    if STATICS.devices != {device}:
        for signature in plan.kinds:
            if signature.backward is not None:
                STATICS.check(signature.op.name, signature.backward.statics, device)
    measured = np.zeros(R_MEASURES, np.int64)
    measure_reverse(parts, run.laid.batches, signatures, plan.totals, programs, measured)
    sizes = measured.tolist()
    buffers: list[Any] = []
    try:
        for size in (sizes[R_SAVED], sizes[R_SCRATCH]):
            buffers.append(device.pool.take(size) if size else None)
        saved, scratch = (buffer.address if buffer else 0 for buffer in buffers)
        regions = np.zeros(sizes[R_REGIONS], np.int64)
        bases, widths = np.zeros(len(signatures), np.int64), np.empty_like(regions)
        place_regions(
            signatures, plan.used, words.BACKWARD, plan.totals, programs, 0, saved, regions, bases,
            widths,
        )  # fmt: skip
        laid = run.laid._replace(reverse_regions=regions)
        calls, vectors = np.empty(sizes[R_CALLS], np.int64), np.empty(sizes[R_VECTORS], np.int64)
        frame = new_frame(signatures, programs, STATICS.addresses, calls, vectors)
        begin_reverse(frame, run.outputs[0], gradients, chunks, trash)
        rooms = _rooms(frame, sizes[R_OPERANDS])
        lay_out_reverse(parts, laid, signatures, bases, scratch, programs, frame, *rooms)
        watch = new_watch(len(signatures)) if watching[0] else NO_WATCH
        _run(device, frame, calls, vectors, laid, watch, run)
    finally:
        for buffer in filter(None, buffers):
            device.pool.give(buffer)
    return int(frame[CALLS]), watch[W_SPENT:]
