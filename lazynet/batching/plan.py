"""Lays out a schedule: an address for every row, and the stream of kernel calls that computes it.

Outputs of one signature lie together, batch after batch. Within a batch of row-wise nodes the rows
take over the order in which an operand already lies, so that it is a view; a scan's rows are
time-major. `measure.py` tells how much memory that takes, `lay_out` fills it in.
"""

from typing import NamedTuple

import numpy as np

from lazynet.batching.arrange import (
    collect_ones,
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
from lazynet.batching.beside import put_beside
from lazynet.batching.decode import U_ONES
from lazynet.batching.emit import emit_program, own_calls
from lazynet.batching.frame import (
    AFTER_AT,
    ALIVE_AT,
    BASES,
    CALL_WORDS,
    FORWARD_DOMAINS,
    FORWARD_REGIONS,
    FORWARD_WIDTHS,
    ITEM_ROWS,
    LOOP_AT,
    OFFSETS_AT,
    OVER_RUNS,
    PAYLOAD_AT,
    REGIONS,
    SEGMENT_OF_AT,
    SEGMENT_ROWS,
    SEQUENCES,
    SKIPPED,
    STRIDES,
    TIMES,
    TRASH,
    VECTORS,
    slot,
)
from lazynet.batching.layout import (
    ARGUMENTS,
    B_ARGUMENTS,
    B_BESIDE,
    B_FIRST_ITEM,
    B_FIRST_NODE,
    B_FIRST_SEGMENT,
    B_INTEGERS,
    B_ITEMS,
    B_LAST_NODE,
    B_PAYLOAD,
    B_SEGMENTS,
    B_SIGNATURE,
    B_TIMES,
    FORWARD,
    H_REGIONS,
    H_STATES,
    KIND,
    OUTPUTS,
    PAYLOAD,
    PER_ITEM,
    PROGRAM_HEADER,
    REGION_WORDS,
    ROWS,
    RUNS,
    SCAN,
    SEGMENT,
    SEGMENTS,
    SINGLES,
    V_DOMAIN,
    V_WIDTH,
)
from lazynet.batching.measure import aligned
from lazynet.batching.single import lay_out_row
from lazynet.kernels.jit import awaited, entered, inline, spliced


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


@spliced
def enter_batch(frame, program, programs, bases, planned, scratch):
    """Point the frame's regions at the rows of one batch; the forward program is this one.

    Returns where the scratch of the batch ends.
    """
    items, segments = np.int64(planned[B_ITEMS]), np.int64(planned[B_SEGMENTS])
    frame[ITEM_ROWS], frame[SEGMENT_ROWS], frame[SKIPPED] = items, segments, 0
    at = scratch
    for v in range(programs[program + H_REGIONS]):
        region = program + PROGRAM_HEADER + REGION_WORDS * v
        width, per_segment = programs[region + V_WIDTH], programs[region + V_DOMAIN] == SEGMENTS
        if bases[v] == 0:
            first = at
            at += aligned(width * (segments if per_segment else items))
        else:
            before = planned[B_FIRST_SEGMENT] if per_segment else planned[B_FIRST_ITEM]
            first = bases[v] + width * before
        frame[slot(frame, REGIONS, v)] = frame[slot(frame, FORWARD_REGIONS, v)] = first
        frame[slot(frame, FORWARD_WIDTHS, v)] = width
        frame[slot(frame, FORWARD_DOMAINS, v)] = programs[region + V_DOMAIN]
    return at


@inline
def enter_argument(frame, k, argument):
    """Tell the frame where the rows of an argument lie."""
    frame[slot(frame, BASES, k)] = argument[0]
    frame[slot(frame, STRIDES, k)] = argument[1]
    frame[slot(frame, VECTORS, k)] = argument[2]


@spliced
def lay_out_scan(nodes, order, planned, arguments, states, base, laid, frame, work):
    """Arrange a batch of scans: time-major rows, initial states by length."""
    start, stop, times = planned[B_FIRST_NODE], planned[B_LAST_NODE], planned[B_TIMES]
    alive = laid.integers[planned[B_INTEGERS] : planned[B_INTEGERS] + times]
    scan_order(nodes, order, start, stop, alive, work)
    sequences = arguments - states
    frame[ALIVE_AT] = np.int64(laid.integers.ctypes.data) + 8 * np.int64(planned[B_INTEGERS])
    frame[TIMES], frame[SEQUENCES] = times, sequences
    described = laid.arguments[planned[B_ARGUMENTS] : planned[B_ARGUMENTS] + arguments]
    collect_rows(nodes, order, start, stop, sequences, base, work.rows)
    for k in range(sequences):
        describe_rows(work.rows[k], planned[B_ITEMS], False, work, described[k], frame)
    if planned[B_ITEMS] > 0:
        count = planned[B_SEGMENTS]
        describe_states(nodes, order, described, sequences, states, count, base, work, frame)


@spliced
def lay_out_rows(nodes, order, planned, arguments, ordered, one, strides, base, laid, work, frame):
    """Arrange any other batch; gives whether its rows keep their natural order.

    `one`: whether each of its nodes has one row.
    """
    start, stop, items = planned[B_FIRST_NODE], planned[B_LAST_NODE], planned[B_ITEMS]
    if one:
        collect_ones(nodes, order, start, stop, arguments, base, work.rows)
    else:
        collect_rows(nodes, order, start, stop, arguments, base, work.rows)
    natural_order = True
    if ordered and items > 1:
        natural_order = take_order(strides, arguments, items, work)
    first = planned[B_ARGUMENTS]
    for k in range(arguments):
        describe_rows(work.rows[k], items, natural_order, work, laid.arguments[first + k], frame)
    return natural_order


@spliced
def lay_out_singles(nodes, order, planned, along, singles, base, laid, work, frame):
    """Arrange the arguments that have a row a segment, which come after the first `along`."""
    start, stop, segments = planned[B_FIRST_NODE], planned[B_LAST_NODE], planned[B_SEGMENTS]
    collect_singles(nodes, order, start, stop, along, singles, base, work.rows)
    first = planned[B_ARGUMENTS]
    for k in range(along, along + singles):
        describe_rows(work.rows[k], segments, True, work, laid.arguments[first + k], frame)


@spliced
def lay_out_segments(nodes, order, planned, arguments, laid, frame):
    """Put down where a batch's segments begin and which each item belongs to."""
    first = np.int64(planned[B_INTEGERS])
    behind = first + planned[B_SEGMENTS] + 1
    offsets = laid.integers[first:behind]
    numbers = laid.integers[behind : behind + planned[B_ITEMS]]
    start, stop = planned[B_FIRST_NODE], planned[B_LAST_NODE]
    fill_segments(nodes, order, start, stop, arguments, offsets, numbers)
    integers = np.int64(laid.integers.ctypes.data)
    frame[OFFSETS_AT], frame[SEGMENT_OF_AT] = integers + 8 * first, integers + 8 * behind


@spliced
def lay_out_runs(nodes, order, planned, arguments, words, payload, base, laid, work, frame):
    """Put down the runs of a batch, each argument's on its own."""
    start, stop, segments = planned[B_FIRST_NODE], planned[B_LAST_NODE], planned[B_SEGMENTS]
    at = np.int64(planned[B_INTEGERS])
    offsets = laid.integers[at : at + (arguments + 1) * (segments + 1)]
    collect_runs(nodes, order, start, stop, arguments, words, base, work.rows, offsets, payload)
    first = planned[B_ARGUMENTS]
    for k in range(arguments):
        count = offsets[(k + 1) * (segments + 1) + segments]
        describe_rows(work.rows[k], count, True, work, laid.arguments[first + k], frame)
    frame[OFFSETS_AT] = np.int64(laid.integers.ctypes.data) + 8 * at


@spliced
def arrange_batch(
    nodes, order, planned, signatures, one, base, laid, programs, frame, work
):  # fmt: skip
    """Put down the rows, integers and payload of a batch, and where its outputs lie."""
    s, start, stop = planned[B_SIGNATURE], planned[B_FIRST_NODE], planned[B_LAST_NODE]
    kind, arguments, program = signatures[s, KIND], signatures[s, ARGUMENTS], signatures[s, FORWARD]
    words, outputs = signatures[s, PAYLOAD], signatures[s, OUTPUTS]
    along = arguments - signatures[s, SINGLES]
    payload = laid.payload[planned[B_PAYLOAD] :]
    frame[PAYLOAD_AT] = np.int64(laid.payload.ctypes.data) + 4 * np.int64(planned[B_PAYLOAD])
    frame[OVER_RUNS] = kind == RUNS
    natural_order = kind != SCAN
    if kind == SCAN:
        states = programs[program + H_STATES]
        lay_out_scan(nodes, order, planned, arguments, states, base, laid, frame, work)
    elif kind == RUNS:
        lay_out_runs(nodes, order, planned, arguments, words, payload, base, laid, work, frame)
    else:
        regions = programs[program + H_REGIONS]
        strides = programs[program + PROGRAM_HEADER + REGION_WORDS * regions :]
        natural_order = lay_out_rows(
            nodes, order, planned, along, kind == ROWS, one, strides, base, laid, work, frame
        )
        if along < arguments:
            lay_out_singles(
                nodes, order, planned, along, arguments - along, base, laid, work, frame
            )
    for k in range(arguments):
        enter_argument(frame, k, laid.arguments[planned[B_ARGUMENTS] + k])
    if kind == SEGMENT:
        lay_out_segments(nodes, order, planned, along, laid, frame)
    if kind == SEGMENT and signatures[s, PER_ITEM] == 0:
        place_segments(nodes, order, start, stop, outputs, frame)
    else:
        items = planned[B_ITEMS]
        place_rows(nodes, order, start, stop, outputs, items, natural_order, frame, work)
    if words > 0 and kind != RUNS:
        fill_payload(nodes, order, start, stop, arguments, words, natural_order, work, payload)


@awaited
@entered
def lay_out(
    nodes, order, signatures, used, simple, base, scratch, laid, programs, frame, operands,
    regions, work,
):  # fmt: skip
    """Fill addresses, arguments and calls for every batch. See the module's first lines.

    Batches of one row, if nothing is special about them (`simple`), go the short way.

    Args:
        operands, regions: room for those of one step, and of one program.
        work: room for what is worked out for one batch.
    """
    frame[TRASH] = -1
    group, free = -1, scratch  # the last batch of scans, and where the scratch of its group ends
    for b in range(laid.batches.shape[0]):
        s, start = laid.batches[b, B_SIGNATURE], laid.batches[b, B_FIRST_NODE]
        items, alone = laid.batches[b, B_ITEMS], laid.batches[b, B_LAST_NODE] - start == 1
        own_calls(frame, s)
        if simple[s] and alone and items == 1:
            lay_out_row(nodes, order[start], b, signatures, programs, base, scratch, laid, frame)
            continue
        kind, program = signatures[s, KIND], signatures[s, FORWARD]
        if items == 0 and kind != SEGMENT:
            continue
        planned = laid.batches[b]
        bases = laid.regions[laid.first[s] :]
        beside = planned[B_BESIDE] and group == b - 1
        free = enter_batch(frame, program, programs, bases, planned, free if beside else scratch)
        arrange_batch(
            nodes, order, planned, signatures, used[s, U_ONES], base, laid, programs, frame, work
        )
        begin, loop, after = frame[CALL_WORDS], frame[LOOP_AT], frame[AFTER_AT]
        emit_program(program, frame, programs, operands, regions, kind == SCAN, False)
        if beside:
            put_beside(frame, begin, loop, after)
        if kind == SCAN:
            group = b
    finish_aliases(nodes, base)


@spliced
def finish_aliases(nodes, base):
    """Give every alias its address, now that all roots have theirs."""
    for at in range(nodes.root.size):
        if nodes.root[at] != base + at:
            nodes.place[base + at] = nodes.place[nodes.root[at]] + nodes.shift[at]
