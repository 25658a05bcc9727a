"""Lays out a schedule: an address for every row, and the stream of kernel calls that computes it.

Outputs of one signature lie together, batch after batch. Within a batch of row-wise nodes the rows
take over the order in which an operand already lies, so that it is a view; a scan's rows are
time-major. `measure.py` tells how much memory that takes, `lay_out` fills it in.
"""

from typing import NamedTuple

import numpy as np

from lazynet.batching.arrange import (
    Work,
    collect_rows,
    collect_runs,
    collect_singles,
    describe_rows,
    describe_states,
    fill_payload,
    fill_segments,
    place_rows,
    place_segments,
    scan_order,
    take_order,
)
from lazynet.batching.decode import ITEM_COUNT, ROWS_READ, SEGMENT_COUNT
from lazynet.batching.emit import (
    ALIVE_AT,
    BASES,
    FORWARD_DOMAINS,
    FORWARD_REGIONS,
    FORWARD_WIDTHS,
    ITEM_ROWS,
    OFFSETS_AT,
    OVER_RUNS,
    PAYLOAD_AT,
    REGIONS,
    SEGMENT_OF_AT,
    SEGMENT_ROWS,
    SEQUENCES,
    SKIPPED,
    SPAN,
    STRIDES,
    TIMES,
    TRASH,
    VECTORS,
    emit_program,
    room_for_operands,
    slot,
)
from lazynet.batching.layout import (
    ARGUMENTS,
    B_ALIVE,
    B_ARGUMENTS,
    B_FIRST_ITEM,
    B_FIRST_NODE,
    B_FIRST_SEGMENT,
    B_ITEMS,
    B_LAST_NODE,
    B_OFFSETS,
    B_PAYLOAD,
    B_ROWS_READ,
    B_SEGMENT_OF,
    B_SEGMENTS,
    B_SIGNATURE,
    B_TIMES,
    FORWARD,
    KIND,
    OUTPUTS,
    PAYLOAD,
    PER_ITEM,
    PROGRAM_HEADER,
    REGION_WORDS,
    ROWS,
    RUNS,
    SCAN,
    SCRATCH,
    SEGMENT,
    SEGMENTS,
    SINGLES,
)
from lazynet.batching.measure import aligned
from lazynet.batching.single import lay_out_row, row_wise
from lazynet.kernels.jit import inline, jit


class Laid(NamedTuple):
    """What the layout writes, and the backward plan reads."""

    batches: np.ndarray
    arguments: np.ndarray  # (base, stride, vector), one for each argument of each batch
    integers: np.ndarray  # offsets, alive counts, segment numbers
    payload: np.ndarray
    regions: np.ndarray  # first row of each region of each local signature
    first: np.ndarray  # for each local signature, its first region in `regions`
    widths: np.ndarray  # the width of each region
    reverse_regions: np.ndarray  # likewise for the regions of backward programs


@jit
def enter_batch(frame, program, programs, bases, planned, scratch):
    """Point the frame's regions at the rows of one batch; the forward program is this one."""
    items, segments = planned[B_ITEMS], planned[B_SEGMENTS]
    frame[ITEM_ROWS], frame[SEGMENT_ROWS], frame[SKIPPED] = items, segments, 0
    for v in range(programs[program]):
        region = program + PROGRAM_HEADER + REGION_WORDS * v
        width, per_segment = programs[region], programs[region + 1] == SEGMENTS
        if programs[region + 2] == SCRATCH:
            first = scratch
            scratch += aligned(width * (segments if per_segment else items))
        else:
            before = planned[B_FIRST_SEGMENT] if per_segment else planned[B_FIRST_ITEM]
            first = bases[v] + width * before
        frame[slot(frame, REGIONS, v)] = frame[slot(frame, FORWARD_REGIONS, v)] = first
        frame[slot(frame, FORWARD_WIDTHS, v)] = width
        frame[slot(frame, FORWARD_DOMAINS, v)] = programs[region + 1]


@inline
def enter_argument(frame, k, argument):
    """Tell the frame where the rows of an argument lie."""
    frame[slot(frame, BASES, k)] = argument[0]
    frame[slot(frame, STRIDES, k)] = argument[1]
    frame[slot(frame, VECTORS, k)] = argument[2]


@jit
def count_batch(nodes, order, start, stop, scan, planned):
    """Enter how many items, segments and time steps a batch has."""
    items = segments = longest = read = np.int64(0)
    for x in range(start, stop):
        items += nodes.columns[ITEM_COUNT, order[x]]
        segments += nodes.columns[SEGMENT_COUNT, order[x]]
        longest = max(longest, np.int64(nodes.columns[ITEM_COUNT, order[x]]))
        read += nodes.columns[ROWS_READ, order[x]]
    planned[B_ITEMS], planned[B_ROWS_READ] = items, read
    planned[B_SEGMENTS] = np.int64(stop - start) if scan else segments
    planned[B_TIMES] = longest
    planned[B_FIRST_NODE], planned[B_LAST_NODE] = start, stop


@jit
def lay_out_scan(nodes, order, planned, arguments, states, base, laid, frame, work):
    """Arrange a batch of scans: time-major rows, initial states by length. Gives words used."""
    start, stop, times = planned[B_FIRST_NODE], planned[B_LAST_NODE], planned[B_TIMES]
    alive = laid.integers[planned[B_ALIVE] : planned[B_ALIVE] + times]
    scan_order(nodes, order, start, stop, alive, work)
    sequences = arguments - states
    frame[ALIVE_AT] = np.int64(laid.integers.ctypes.data) + 8 * planned[B_ALIVE]
    frame[TIMES], frame[SEQUENCES] = times, sequences
    described = laid.arguments[planned[B_ARGUMENTS] : planned[B_ARGUMENTS] + arguments]
    collect_rows(nodes, order, start, stop, sequences, base, work.rows)
    for k in range(sequences):
        describe_rows(work.rows[k], planned[B_ITEMS], False, work, described[k], frame)
    if planned[B_ITEMS] > 0:
        count = planned[B_SEGMENTS]
        describe_states(nodes, order, described, sequences, states, count, base, work, frame)
    return times


@jit
def lay_out_rows(nodes, order, planned, arguments, ordered, strides, base, laid, work, frame):
    """Arrange any other batch; gives whether its rows keep their natural order."""
    start, stop, items = planned[B_FIRST_NODE], planned[B_LAST_NODE], planned[B_ITEMS]
    collect_rows(nodes, order, start, stop, arguments, base, work.rows)
    natural_order = True
    if ordered and items > 1:
        natural_order = take_order(strides, arguments, items, work)
    first = planned[B_ARGUMENTS]
    for k in range(arguments):
        describe_rows(work.rows[k], items, natural_order, work, laid.arguments[first + k], frame)
    return natural_order


@jit
def lay_out_singles(nodes, order, planned, along, singles, base, laid, work, frame):
    """Arrange the arguments that have a row a segment, which come after the first `along`."""
    start, stop, segments = planned[B_FIRST_NODE], planned[B_LAST_NODE], planned[B_SEGMENTS]
    collect_singles(nodes, order, start, stop, along, singles, base, work.rows)
    first = planned[B_ARGUMENTS]
    for k in range(along, along + singles):
        describe_rows(work.rows[k], segments, True, work, laid.arguments[first + k], frame)


@jit
def lay_out_segments(nodes, order, planned, arguments, laid, frame):
    """Put down where a batch's segments begin and which each item belongs to. Gives words used."""
    items, segments = planned[B_ITEMS], planned[B_SEGMENTS]
    planned[B_SEGMENT_OF] = planned[B_OFFSETS] + segments + 1
    offsets = laid.integers[planned[B_OFFSETS] : planned[B_SEGMENT_OF]]
    numbers = laid.integers[planned[B_SEGMENT_OF] : planned[B_SEGMENT_OF] + items]
    start, stop = planned[B_FIRST_NODE], planned[B_LAST_NODE]
    fill_segments(nodes, order, start, stop, arguments, offsets, numbers)
    integers = np.int64(laid.integers.ctypes.data)
    frame[OFFSETS_AT] = integers + 8 * planned[B_OFFSETS]
    frame[SEGMENT_OF_AT] = integers + 8 * planned[B_SEGMENT_OF]
    return segments + 1 + items


@jit
def lay_out_runs(nodes, order, planned, arguments, words, payload, base, laid, work, frame):
    """Put down the runs of a batch, each argument's on its own. Gives words used."""
    start, stop, segments = planned[B_FIRST_NODE], planned[B_LAST_NODE], planned[B_SEGMENTS]
    used = (arguments + 1) * (segments + 1)
    offsets = laid.integers[planned[B_OFFSETS] : planned[B_OFFSETS] + used]
    collect_runs(nodes, order, start, stop, arguments, words, base, work.rows, offsets, payload)
    first = planned[B_ARGUMENTS]
    for k in range(arguments):
        count = offsets[(k + 1) * (segments + 1) + segments]
        describe_rows(work.rows[k], count, True, work, laid.arguments[first + k], frame)
    frame[OFFSETS_AT] = np.int64(laid.integers.ctypes.data) + 8 * planned[B_OFFSETS]
    return used


@jit
def lay_out(nodes, order, batches, signatures, base, scratch, laid, programs, frame, longest):
    """Fill addresses, arguments and calls for every batch. See the module's first lines."""
    frame[TRASH] = -1
    operands = room_for_operands(signatures, FORWARD, programs)
    regions = np.empty(frame[SPAN], np.int64)
    most = np.int64(1)
    for s in range(signatures.shape[0]):
        most = max(most, signatures[s, ARGUMENTS])
    work = Work(
        np.empty((most, longest), np.int64),
        np.empty(longest, np.int32),
        np.empty(longest, np.int32),
        np.empty(nodes.columns.shape[1], np.int32),
    )
    done = np.zeros((signatures.shape[0], 2), np.int64)
    simple = row_wise(signatures, programs)
    arguments_used = integers_used = payload_used = np.int64(0)
    for b in range(batches.shape[0]):
        s, start, stop = batches[b, 0], batches[b, 1], batches[b, 2]
        kind, arguments = signatures[s, KIND], signatures[s, ARGUMENTS]
        program, outputs = signatures[s, FORWARD], signatures[s, OUTPUTS]
        if simple[s] and stop - start == 1 and nodes.columns[ITEM_COUNT, order[start]] == 1:
            payload_used += lay_out_row(
                nodes, order[start], s, start, signatures, programs, base, scratch, laid, frame,
                b, done[s, 0], arguments_used, integers_used, payload_used,
            )  # fmt: skip
            done[s, 0] += 1
            done[s, 1] += 1
            arguments_used += arguments
            continue
        planned = laid.batches[b]
        count_batch(nodes, order, start, stop, kind == SCAN, planned)
        items, segments = planned[B_ITEMS], planned[B_SEGMENTS]
        planned[B_SIGNATURE], planned[B_ARGUMENTS] = s, arguments_used
        planned[B_FIRST_ITEM], planned[B_FIRST_SEGMENT] = done[s, 0], done[s, 1]
        planned[B_ALIVE] = planned[B_OFFSETS] = planned[B_SEGMENT_OF] = integers_used
        planned[B_PAYLOAD] = payload_used
        arguments_used += arguments
        if items == 0 and kind != SEGMENT:
            continue
        bases = laid.regions[laid.first[s] :]
        enter_batch(frame, program, programs, bases, planned, scratch)
        natural_order = kind != SCAN
        frame[OVER_RUNS] = kind == RUNS
        words, payload = signatures[s, PAYLOAD], laid.payload[payload_used:]
        if kind == SCAN:
            states = programs[program + 5]
            integers_used += lay_out_scan(
                nodes, order, planned, arguments, states, base, laid, frame, work
            )
        elif kind == RUNS:
            integers_used += lay_out_runs(
                nodes, order, planned, arguments, words, payload, base, laid, work, frame
            )
        else:
            strides = programs[program + PROGRAM_HEADER + REGION_WORDS * programs[program] :]
            singles = signatures[s, SINGLES]
            along = arguments - singles
            natural_order = lay_out_rows(
                nodes, order, planned, along, kind == ROWS, strides, base, laid, work, frame
            )
            if singles > 0:
                lay_out_singles(nodes, order, planned, along, singles, base, laid, work, frame)
        for k in range(arguments):
            enter_argument(frame, k, laid.arguments[planned[B_ARGUMENTS] + k])
        if kind == SEGMENT:
            along = arguments - signatures[s, SINGLES]
            integers_used += lay_out_segments(nodes, order, planned, along, laid, frame)
        if kind == SEGMENT and signatures[s, PER_ITEM] == 0:
            place_segments(nodes, order, start, stop, outputs, frame)
        else:
            place_rows(nodes, order, start, stop, outputs, items, natural_order, frame, work)
        if words > 0:
            if kind != RUNS:
                fill_payload(
                    nodes, order, start, stop, arguments, words, natural_order, work, payload
                )
            frame[PAYLOAD_AT] = np.int64(laid.payload.ctypes.data) + 4 * payload_used
            payload_used += (segments if kind == RUNS else items) * words
        done[s, 0] += items
        done[s, 1] += segments
        emit_program(program, frame, programs, operands, regions, kind == SCAN, False)
    finish_aliases(nodes, base)


@jit
def finish_aliases(nodes, base):
    """Give every alias its address, now that all roots have theirs."""
    for at in range(nodes.root.size):
        if nodes.root[at] != base + at:
            nodes.place[base + at] = nodes.place[nodes.root[at]] + nodes.shift[at]
