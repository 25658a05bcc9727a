"""How much memory a schedule takes, and where each value of each signature begins in it."""

import numpy as np

from lazynet.batching.decode import ITEM_COUNT, ROWS_READ, SEGMENT_COUNT, U_NEEDS, U_ONES
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
    B_ROWS_READ,
    B_SEGMENTS,
    B_SIGNATURE,
    B_TIMES,
    FORWARD,
    H_ARGUMENTS,
    H_EMISSION,
    H_REGIONS,
    H_VECTORS,
    KIND,
    OPERAND_WORDS,
    OUTPUT,
    PAYLOAD,
    PROGRAM_HEADER,
    REGION_WORDS,
    RUNS,
    SAVED,
    SCAN,
    SCRATCH,
    SEGMENT,
    SEGMENTS,
    V_DOMAIN,
    V_LIFETIME,
    V_WIDTH,
)
from lazynet.kernels.jit import borrowing, entered, inline, offered

ALIGNMENT = 64
# What `measure` tells of a schedule.
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
    M_HIGHEST,  # the highest number that the table of batches has to hold
    M_WIDEST,  # bytes of the widest row that backward may have to write where nobody reads
    M_ARITY,  # the most arguments of a node
    M_OPERANDS,  # more operands than any one step has
    MEASURES,
) = range(15)
# And of each local signature: its items and segments, and if its nodes have one row, the most items
# of a batch.
T_ITEMS, T_SEGMENTS, T_MOST, TOTALS = range(4)


@inline
def aligned(size):
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


@borrowing
def region_sizes(program, programs, items, segments, lifetime):
    """Bytes that the regions of one lifetime take for so many items and segments."""
    total = np.int64(0)
    for v in range(programs[program + H_REGIONS]):
        region = program + PROGRAM_HEADER + REGION_WORDS * v
        if programs[region + V_LIFETIME] == lifetime:
            rows = segments if programs[region + V_DOMAIN] == SEGMENTS else items
            total += aligned(programs[region + V_WIDTH] * rows)
    return total


@inline
def batch_scratch(program, programs, items, segments, needs):
    """Bytes that a batch takes for what is dropped behind it.

    That is also what would be saved for backward, where no backward will come.
    """
    total = region_sizes(program, programs, items, segments, SCRATCH)
    return total if needs else total + region_sizes(program, programs, items, segments, SAVED)


@inline
def widest_row(program, programs, kind):
    """Bytes of the widest value of a program; of nodes over runs, of their arguments as well.

    Their backward kernels write the gradients of all arguments, wanted or not.
    """
    widest = np.int64(0)
    regions = programs[program + H_REGIONS]
    for v in range(regions):
        widest = max(widest, programs[program + PROGRAM_HEADER + REGION_WORDS * v + V_WIDTH])
    if kind == RUNS:
        strides = program + PROGRAM_HEADER + REGION_WORDS * regions
        for k in range(programs[program + H_ARGUMENTS]):
            widest = max(widest, programs[strides + k])
    return widest


@inline
def count_nodes(columns, order, start, stop, scan):
    """Items, segments, rows read and time steps of a batch of nodes."""
    items = segments = longest = read = np.int64(0)
    for x in range(start, stop):
        i = order[x]
        items += columns[i, ITEM_COUNT]
        segments += columns[i, SEGMENT_COUNT]
        longest = max(longest, np.int64(columns[i, ITEM_COUNT]))
        read += columns[i, ROWS_READ]
    if scan:
        return items, np.int64(stop - start), read, longest
    return items, segments, read, np.int64(1)


@inline
def integer_words(kind, items, segments, times, arguments):
    """How many integers the layout puts down for a batch."""
    if kind == SEGMENT:
        return segments + 1 + items  # where segments begin, and the segment of each item
    if kind == RUNS:
        return (segments + 1) * (arguments + 1)  # where they begin, in the output and arguments
    return times if kind == SCAN else np.int64(0)


@borrowing
def enter_counts(batches, b, items, segments, read, times):
    """Put down what a batch has."""
    batches[b, B_ITEMS], batches[b, B_SEGMENTS] = items, segments
    batches[b, B_ROWS_READ], batches[b, B_TIMES] = read, times


@borrowing
def enter_places(batches, b, items, segments, arguments, integers, payload):
    """Put down where what a batch has begins."""
    batches[b, B_FIRST_ITEM], batches[b, B_FIRST_SEGMENT] = items, segments
    batches[b, B_ARGUMENTS], batches[b, B_INTEGERS] = arguments, integers
    batches[b, B_PAYLOAD] = payload


@offered
@entered
def measure(columns, order, schedule, signatures, used, programs, batches, totals, sizes):
    """Fill the table of batches, and tell the memory that a schedule takes.

    Args:
        signatures: the rows of the signature table of the local signatures.
        used: what `decode` found of them.
        batches: has a row for each of the schedule, filled with the columns of `layout.py`; which
            scans run beside others is there already (`beside.py`).
        totals: takes what each local signature has, as named above; zeros before.
        sizes: takes the words named above; zeros before.
    """
    scratch = calls = vectors = arguments_used = integers = payload = longest = np.int64(0)
    taken = np.int64(0)  # scratch of the batches that run beside each other, up to this one
    for b in range(schedule.shape[0]):
        s, start, stop = schedule[b, 0], schedule[b, 1], schedule[b, 2]
        kind, program = signatures[s, KIND], signatures[s, FORWARD]
        arguments = signatures[s, ARGUMENTS]
        if used[s, U_ONES] and kind != SCAN:
            items = segments = np.int64(stop - start)
            read, times = np.int64(0), np.int64(1)
            totals[s, T_MOST] = max(totals[s, T_MOST], items)
        else:
            items, segments, read, times = count_nodes(columns, order, start, stop, kind == SCAN)
            taken = taken if batches[b, B_BESIDE] else np.int64(0)
            taken += batch_scratch(program, programs, items, segments, used[s, U_NEEDS])
            scratch = max(scratch, taken)
        batches[b, B_SIGNATURE], batches[b, B_FIRST_NODE], batches[b, B_LAST_NODE] = s, start, stop
        enter_counts(batches, b, items, segments, read, times)
        first, segment = totals[s, T_ITEMS], totals[s, T_SEGMENTS]
        enter_places(batches, b, first, segment, arguments_used, integers, payload)
        totals[s, T_ITEMS] += items
        totals[s, T_SEGMENTS] += segments
        rows = max(items, segments, read)
        longest = max(longest, rows)
        calls += (programs[program + H_EMISSION] + 16) * max(times, 1)
        vectors += rows * (arguments + programs[program + H_VECTORS])
        arguments_used += arguments
        integers += integer_words(kind, items, segments, times, arguments)
        payload += (segments if kind == RUNS else items) * signatures[s, PAYLOAD]
    sizes[M_CALLS], sizes[M_VECTORS], sizes[M_ARGUMENTS] = calls, vectors, arguments_used
    sizes[M_INTEGERS], sizes[M_PAYLOAD], sizes[M_LONGEST] = integers, payload, longest
    for s in range(signatures.shape[0]):
        program, needs = signatures[s, FORWARD], used[s, U_NEEDS]
        most, items, segments = totals[s, T_MOST], totals[s, T_ITEMS], totals[s, T_SEGMENTS]
        scratch = max(scratch, batch_scratch(program, programs, most, most, needs))
        sizes[M_OUTPUT] += region_sizes(program, programs, items, segments, OUTPUT)
        if needs:
            sizes[M_SAVED] += region_sizes(program, programs, items, segments, SAVED)
        sizes[M_REGIONS] += programs[program + H_REGIONS]
        sizes[M_WIDEST] = max(sizes[M_WIDEST], widest_row(program, programs, signatures[s, KIND]))
        sizes[M_ARITY] = max(sizes[M_ARITY], signatures[s, ARGUMENTS])
        sizes[M_OPERANDS] = max(sizes[M_OPERANDS], programs[program + H_EMISSION] // OPERAND_WORDS)
        sizes[M_HIGHEST] = max(sizes[M_HIGHEST], items, segments)
    sizes[M_HIGHEST] = max(sizes[M_HIGHEST], integers, longest, arguments_used, payload)
    sizes[M_SCRATCH] = scratch


@entered
def place_regions(
    signatures, used, column, totals, programs, output, saved, regions, first, widths
):
    """Give every lasting region of every signature's program in `column` its memory.

    The others get 0: they begin anew in each batch. What is saved for backward lasts only where one
    may come.
    """
    at = 0
    for s in range(signatures.shape[0]):
        program = signatures[s, column]
        first[s] = at
        if program < 0:
            continue
        for v in range(programs[program + H_REGIONS]):
            region = program + PROGRAM_HEADER + REGION_WORDS * v
            per_segment = programs[region + V_DOMAIN] == SEGMENTS
            rows = totals[s, T_SEGMENTS if per_segment else T_ITEMS]
            size = aligned(programs[region + V_WIDTH] * rows)
            widths[at] = programs[region + V_WIDTH]
            if programs[region + V_LIFETIME] == OUTPUT:
                regions[at] = output
                output += size
            elif programs[region + V_LIFETIME] == SCRATCH or not used[s, U_NEEDS]:
                regions[at] = 0
            else:
                regions[at] = saved
                saved += size
            at += 1
