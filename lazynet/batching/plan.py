"""Lays out a schedule: an address for every row, and the stream of kernel calls that computes it.

Outputs of one signature lie together, batch after batch. Within a batch of row-wise nodes the rows
take over the order in which an operand already lies, so that it is a view; a scan's rows are
time-major. `measure` tells how much memory that takes, `lay_out` fills it in.
"""

from typing import NamedTuple

import numpy as np

from lazynet.batching.decode import (
    FIRST,
    FORM,
    ITEM_COUNT,
    LISTED,
    POSITION,
    SEGMENT_COUNT,
    SIGNATURE,
    SINGLE,
    source_row,
)
from lazynet.batching.emit import (
    DELTA,
    FRAME_WORDS,
    ITEM_ROWS,
    MAX_OPERANDS,
    OFFSETS_AT,
    PAYLOAD_AT,
    SEGMENT_ROWS,
    SEQUENCES,
    SKIPPED,
    TIMES,
    TRASH,
    Frame,
    emit_program,
    new_vector,
    vector_address,
)
from lazynet.batching.layout import (
    ARGUMENTS,
    FORWARD,
    KIND,
    OUTPUT,
    OUTPUTS,
    PAYLOAD,
    PER_ITEM,
    PROGRAM_HEADER,
    REGION_WORDS,
    ROWS,
    SCAN,
    SCRATCH,
    SEGMENT,
    SEGMENTS,
)
from lazynet.kernels.jit import inline, jit

ALIGNMENT = 64
# Columns of a planned batch: its signature (local), where its items, segments, argument rows, time
# steps, offsets and payload begin, and how many it has of each.
(
    B_SIGNATURE,
    B_ITEMS,
    B_SEGMENTS,
    B_FIRST_ITEM,
    B_FIRST_SEGMENT,
    B_ARGUMENTS,
    B_TIMES,
    B_ALIVE,
    B_OFFSETS,
    B_SEGMENT_OF,
    B_PAYLOAD,
    B_FIRST_NODE,
    B_LAST_NODE,
    BATCH_COLUMNS,
) = range(14)
# What `measure` returns.
(
    M_OUTPUT,
    M_SAVED,
    M_SCRATCH,
    M_CALLS,
    M_VECTORS,
    M_ARGUMENTS,
    M_INTEGERS,
    M_PAYLOAD,
    M_LONGEST,
    M_REGIONS,
    MEASURES,
) = range(11)


class Nodes(NamedTuple):
    """The pending nodes and the graph's rows, as the layout reads and fills them."""

    tape: np.ndarray
    columns: np.ndarray
    root: np.ndarray
    shift: np.ndarray
    place: np.ndarray  # the address of every row of the graph


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


@inline
def aligned(size):
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


@jit
def region_sizes(program, programs, items, segments, lifetime):
    """Bytes that the regions of one lifetime take for so many items and segments."""
    total = np.int64(0)
    for v in range(programs[program]):
        region = program + PROGRAM_HEADER + REGION_WORDS * v
        if programs[region + 2] == lifetime:
            rows = segments if programs[region + 1] == SEGMENTS else items
            total += aligned(programs[region] * rows)
    return total


@jit
def measure(columns, order, batches, signatures, programs):
    """The memory that a schedule takes, in the words named above.

    `signatures` are the rows of the signature table of the local signatures.
    """
    sizes = np.zeros(MEASURES, np.int64)
    totals = np.zeros((signatures.shape[0], 2), np.int64)
    for b in range(batches.shape[0]):
        s = batches[b, 0]
        program = signatures[s, FORWARD]
        items = segments = longest = np.int64(0)
        for x in range(batches[b, 1], batches[b, 2]):
            i = order[x]
            items += columns[ITEM_COUNT, i]
            segments += columns[SEGMENT_COUNT, i]
            longest = max(longest, np.int64(columns[ITEM_COUNT, i]))
        nodes = batches[b, 2] - batches[b, 1]
        if signatures[s, KIND] == SCAN:
            segments = np.int64(nodes)
        totals[s, 0] += items
        totals[s, 1] += segments
        times = longest if signatures[s, KIND] == SCAN else np.int64(1)
        sizes[M_SCRATCH] = max(
            sizes[M_SCRATCH], region_sizes(program, programs, items, segments, SCRATCH)
        )
        sizes[M_CALLS] += (programs[program + 2] + 16) * max(times, 1)
        sizes[M_VECTORS] += items * (signatures[s, ARGUMENTS] + programs[program + 3])
        sizes[M_ARGUMENTS] += signatures[s, ARGUMENTS]
        sizes[M_INTEGERS] += segments + 1 + items + times + 1
        sizes[M_PAYLOAD] += items * signatures[s, PAYLOAD]
        sizes[M_LONGEST] = max(sizes[M_LONGEST], items)
    for s in range(signatures.shape[0]):
        program = signatures[s, FORWARD]
        sizes[M_OUTPUT] += region_sizes(program, programs, totals[s, 0], totals[s, 1], OUTPUT)
        sizes[M_SAVED] += region_sizes(program, programs, totals[s, 0], totals[s, 1], 1)
        sizes[M_REGIONS] += programs[program]
    return sizes, totals


@jit
def place_regions(signatures, column, totals, programs, output, saved, regions, first, widths):
    """Give every lasting region of every signature's program in `column` its memory."""
    at = 0
    for s in range(signatures.shape[0]):
        program = signatures[s, column]
        first[s] = at
        if program < 0:
            continue
        for v in range(programs[program]):
            region = program + PROGRAM_HEADER + REGION_WORDS * v
            rows = totals[s, 1] if programs[region + 1] == SEGMENTS else totals[s, 0]
            size = aligned(programs[region] * rows)
            widths[at] = programs[region]
            if programs[region + 2] == OUTPUT:
                regions[at] = output
                output += size
            elif programs[region + 2] == SCRATCH:
                regions[at] = 0
            else:
                regions[at] = saved
                saved += size
            at += 1


@jit
def enter_batch(
    frame, program, programs, bases, items, segments, first_item, first_segment, scratch
):
    """Point the frame's regions at the rows of one batch."""
    frame.at[ITEM_ROWS], frame.at[SEGMENT_ROWS], frame.at[SKIPPED] = items, segments, 0
    for v in range(programs[program]):
        region = program + PROGRAM_HEADER + REGION_WORDS * v
        per_segment = programs[region + 1] == SEGMENTS
        if programs[region + 2] == SCRATCH:
            frame.regions[v] = scratch
            scratch += aligned(programs[region] * (segments if per_segment else items))
        else:
            before = first_segment if per_segment else first_item
            frame.regions[v] = bases[v] + programs[region] * before


@jit
def forward_view(frame, program, programs):
    """Let the frame's forward program be the one being emitted (scans look back at outputs)."""
    for v in range(programs[program]):
        region = program + PROGRAM_HEADER + REGION_WORDS * v
        frame.forward[v] = frame.regions[v]
        frame.forward_widths[v] = programs[region]
        frame.forward_domains[v] = programs[region + 1]


@inline
def row_place(nodes, row, base):
    """The address of a row: its root's, shifted."""
    at = row - base
    if at < 0:
        return nodes.place[row]
    return nodes.place[nodes.root[at]] + nodes.shift[at]


@jit
def even_order(rows, count, width, permutation):
    """Fill the order in which rows lie end to end; False where they do not."""
    low = high = rows[0]
    for j in range(count):
        low, high = min(low, rows[j]), max(high, rows[j])
    if width == 0 or high - low != (count - 1) * width:
        return False
    for j in range(count):
        permutation[j] = -1
    for j in range(count):
        q = (rows[j] - low) // width
        if permutation[q] >= 0 or (rows[j] - low) % width != 0:
            return False
        permutation[q] = j
    return True


@jit
def set_argument(argument, vectors, start, count, stream):
    """Describe rows as a view where they are evenly spaced, as a vector where they are not."""
    argument[0], argument[1], argument[2] = 0, 0, vector_address(stream, start)
    if count == 0:
        argument[2] = 0
        return
    stride = vectors[start + 1] - vectors[start] if count > 1 else np.int64(0)
    for j in range(2, count):
        if vectors[start + j] - vectors[start + j - 1] != stride:
            return
    if stride < 0:
        return
    argument[0], argument[1], argument[2] = vectors[start], stride, 0


@jit
def collect_rows(nodes, order, start, stop, arguments, base, rows):
    """The addresses of every argument's rows, node after node."""
    for k in range(arguments):
        m = 0
        for x in range(start, stop):
            i = order[x]
            form, first = nodes.columns[FORM, i], nodes.columns[POSITION, i]
            count = nodes.columns[ITEM_COUNT, i]
            for j in range(count):
                row = source_row(nodes.tape, form, first, count, k, j)
                rows[k, m] = row_place(nodes, row, base)
                m += 1


@jit
def place_rows(nodes, order, start, stop, outputs, items_total, frame, permutation, per_item):
    """Write the address of every output row of a batch whose item q is item permutation[q]."""
    inverse = np.empty(items_total, np.int32)
    for q in range(items_total):
        inverse[permutation[q]] = q
    m = 0
    for x in range(start, stop):
        i = order[x]
        count = nodes.columns[ITEM_COUNT, i] if per_item else nodes.columns[SEGMENT_COUNT, i]
        first = nodes.columns[FIRST, i]
        for z in range(outputs):
            base, width = frame.forward[z], frame.forward_widths[z]
            for j in range(count):
                nodes.place[first + z * count + j] = base + width * inverse[m + j]
        m += count


@jit
def scan_order(nodes, order, start, stop, alive, permutation, sorted_nodes):
    """Time-major order of the rows of a batch of sequences, longest sequence first.

    Fills how many rows each time step has, for each row which of the batch's rows it is, and the
    nodes by length.
    """
    times = alive.size
    count = np.zeros(times + 2, np.int64)
    for x in range(start, stop):
        count[nodes.columns[ITEM_COUNT, order[x]]] += 1
    for t in range(times - 1, -1, -1):
        count[t] += count[t + 1]  # sequences of at least t rows
    rank = np.zeros(times + 1, np.int64)
    for length in range(times + 1):
        rank[length] = count[length + 1]
    begin = np.zeros(times + 1, np.int64)
    for t in range(times):
        alive[t] = count[t + 1]
        begin[t + 1] = begin[t] + alive[t]
    m = 0
    for x in range(start, stop):
        length = nodes.columns[ITEM_COUNT, order[x]]
        r = rank[length]
        rank[length] += 1
        sorted_nodes[r] = x
        for t in range(length):
            permutation[begin[t] + r] = m
            m += 1


@jit
def lay_out(
    nodes, order, batches, signatures, base, totals, scratch, laid, tables, stream, longest
):
    """Fill addresses, arguments and calls for every batch. See the module's first lines."""
    programs = tables.programs
    widest = 0
    most = 1
    for s in range(signatures.shape[0]):
        widest = max(widest, programs[signatures[s, FORWARD]])
        most = max(most, signatures[s, ARGUMENTS])
    frame = Frame(
        np.zeros(FRAME_WORDS, np.int64),
        np.zeros(widest, np.int64),
        np.zeros(widest, np.int64),
        np.zeros(widest, np.int64),
        np.zeros(widest, np.int64),
        np.zeros((most, 3), np.int64),
        np.zeros(longest, np.int32),
        np.zeros(longest + 1, np.int64),
    )
    frame.at[DELTA], frame.at[TRASH] = 0, -1
    operands = np.empty((MAX_OPERANDS, 4), np.int64)
    regions = np.empty(widest, np.int64)
    rows = np.empty((most, longest), np.int64)
    permutation = np.empty(longest, np.int32)
    sorted_nodes = np.empty(nodes.columns.shape[1], np.int32)
    items_done = np.zeros((signatures.shape[0], 2), np.int64)
    arguments_used = integers_used = payload_used = np.int64(0)
    for b in range(batches.shape[0]):
        s, start, stop = batches[b, 0], batches[b, 1], batches[b, 2]
        kind, arguments = signatures[s, KIND], signatures[s, ARGUMENTS]
        program, outputs = signatures[s, FORWARD], signatures[s, OUTPUTS]
        items = segments = times = np.int64(0)
        for x in range(start, stop):
            items += nodes.columns[ITEM_COUNT, order[x]]
            segments += nodes.columns[SEGMENT_COUNT, order[x]]
            times = max(times, np.int64(nodes.columns[ITEM_COUNT, order[x]]))
        if kind == SCAN:
            segments = np.int64(stop - start)
        planned = laid.batches[b]
        planned[B_SIGNATURE], planned[B_ITEMS], planned[B_SEGMENTS] = s, items, segments
        planned[B_FIRST_ITEM], planned[B_FIRST_SEGMENT] = items_done[s, 0], items_done[s, 1]
        planned[B_ARGUMENTS], planned[B_TIMES] = arguments_used, times
        planned[B_ALIVE] = planned[B_OFFSETS] = planned[B_SEGMENT_OF] = integers_used
        planned[B_PAYLOAD] = payload_used
        planned[B_FIRST_NODE], planned[B_LAST_NODE] = start, stop
        bases = laid.regions[laid.first[s] :]
        enter_batch(
            frame, program, programs, bases, items, segments, items_done[s, 0], items_done[s, 1],
            scratch,
        )  # fmt: skip
        forward_view(frame, program, programs)
        for q in range(items):
            permutation[q] = q
        described = laid.arguments[arguments_used : arguments_used + arguments]
        if kind == SCAN:
            alive = laid.integers[integers_used : integers_used + times]
            scan_order(nodes, order, start, stop, alive, permutation, sorted_nodes)
            for t in range(times):
                frame.alive[t] = alive[t]
            frame.at[TIMES] = times
            integers_used += times
            sequences = arguments - programs[program + 5]
            frame.at[SEQUENCES] = sequences
            collect_rows(nodes, order, start, stop, sequences, base, rows)
        else:
            collect_rows(nodes, order, start, stop, arguments, base, rows)
            sequences = arguments
        if items == 0 and kind != SEGMENT:
            arguments_used += arguments
            for k in range(arguments):
                described[k, 0] = described[k, 1] = described[k, 2] = 0
            continue
        if kind == ROWS and items > 1:
            for k in range(arguments):
                stride = programs[program + PROGRAM_HEADER + REGION_WORDS * programs[program] + k]
                if even_order(rows[k], items, stride, permutation):
                    break
                for q in range(items):
                    permutation[q] = q
        for k in range(sequences):
            at = new_vector(stream, items)
            for q in range(items):
                stream.vectors[at + q] = rows[k, permutation[q]]
            set_argument(described[k], stream.vectors, at, items, stream)
        if kind == SCAN:
            for k in range(sequences, arguments):
                at = new_vector(stream, segments)
                for q in range(segments):
                    i = order[sorted_nodes[q]]
                    row = source_row(
                        nodes.tape, nodes.columns[FORM, i], nodes.columns[POSITION, i], 1, k, 0
                    )
                    stream.vectors[at + q] = row_place(nodes, row, base)
                set_argument(described[k], stream.vectors, at, segments, stream)
        for k in range(arguments):
            for w in range(3):
                frame.arguments[k, w] = described[k, w]
        arguments_used += arguments
        if kind == SEGMENT:
            planned[B_OFFSETS] = integers_used
            offsets = laid.integers[integers_used : integers_used + segments + 1]
            integers_used += segments + 1
            planned[B_SEGMENT_OF] = integers_used
            numbers = laid.integers[integers_used : integers_used + items]
            integers_used += items
            fill_segments(nodes, order, start, stop, arguments, offsets, numbers)
            for q in range(items):
                frame.segment_of[q] = numbers[q]
            frame.at[OFFSETS_AT] = np.int64(laid.integers.ctypes.data) + 8 * planned[B_OFFSETS]
        words = signatures[s, PAYLOAD]
        if words > 0:
            fill_payload(
                nodes,
                order,
                start,
                stop,
                arguments,
                words,
                permutation,
                laid.payload[payload_used:],
            )
            frame.at[PAYLOAD_AT] = np.int64(laid.payload.ctypes.data) + 4 * payload_used
            payload_used += items * words
        per_item = kind != SEGMENT or signatures[s, PER_ITEM] != 0
        if kind == SEGMENT and not per_item:
            for q in range(min(segments, permutation.size)):
                permutation[q] = q
            place_segments(nodes, order, start, stop, outputs, frame)
        else:
            place_rows(nodes, order, start, stop, outputs, items, frame, permutation, True)
        items_done[s, 0] += items
        items_done[s, 1] += segments
        emit_program(program, frame, tables, stream, operands, regions, kind == SCAN, False)
    finish_aliases(nodes, base)


@jit
def fill_segments(nodes, order, start, stop, arguments, offsets, numbers):
    """Where each segment begins, and the segment of each item."""
    q = segment = 0
    for x in range(start, stop):
        i = order[x]
        n, k = nodes.columns[ITEM_COUNT, i], nodes.columns[SEGMENT_COUNT, i]
        counts = nodes.columns[POSITION, i] + n * arguments
        for j in range(k):
            length = nodes.tape[counts + j] if nodes.columns[FORM, i] == LISTED else n
            offsets[segment] = q
            for _ in range(length):
                numbers[q] = segment
                q += 1
            segment += 1
    offsets[segment] = q


@jit
def fill_payload(nodes, order, start, stop, arguments, words, permutation, payload):
    """The payload of each item, in the batch's order."""
    source = np.empty(permutation.size, np.int64)
    m = 0
    for x in range(start, stop):
        i = order[x]
        single = nodes.columns[FORM, i] == SINGLE
        first = nodes.columns[POSITION, i] + arguments * (1 if single else 2)
        for j in range(nodes.columns[ITEM_COUNT, i]):
            source[m] = first + j * words
            m += 1
    for q in range(m):
        for w in range(words):
            payload[q * words + w] = nodes.tape[source[permutation[q]] + w]


@jit
def place_segments(nodes, order, start, stop, outputs, frame):
    """Write the address of every output row of a batch that gives a row a segment."""
    m = 0
    for x in range(start, stop):
        i = order[x]
        count, first = nodes.columns[SEGMENT_COUNT, i], nodes.columns[FIRST, i]
        for z in range(outputs):
            for j in range(count):
                row = frame.forward[z] + frame.forward_widths[z] * (m + j)
                nodes.place[first + z * count + j] = row
        m += count


@jit
def finish_aliases(nodes, base):
    """Give every alias its address, now that all roots have theirs."""
    for at in range(nodes.root.size):
        if nodes.root[at] != base + at:
            nodes.place[base + at] = nodes.place[nodes.root[at]] + nodes.shift[at]


__all__ = ["SEGMENT_COUNT", "SIGNATURE", "Laid", "Nodes", "lay_out", "measure", "place_regions"]
