"""How much memory a schedule takes, and where each value of each signature begins in it."""

import numpy as np

from lazynet.batching.decode import ITEM_COUNT, ROWS_READ, SEGMENT_COUNT
from lazynet.batching.layout import (
    ARGUMENTS,
    FORWARD,
    KIND,
    OUTPUT,
    PAYLOAD,
    PROGRAM_HEADER,
    REGION_WORDS,
    RUNS,
    SCAN,
    SCRATCH,
    SEGMENTS,
)
from lazynet.kernels.jit import inline, jit

ALIGNMENT = 64
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
        items = segments = longest = read = np.int64(0)
        for x in range(batches[b, 1], batches[b, 2]):
            i = order[x]
            items += columns[ITEM_COUNT, i]
            segments += columns[SEGMENT_COUNT, i]
            longest = max(longest, np.int64(columns[ITEM_COUNT, i]))
            read += columns[ROWS_READ, i]
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
        arguments, rows = signatures[s, ARGUMENTS], max(items, segments, read)
        sizes[M_VECTORS] += rows * (arguments + programs[program + 3])
        sizes[M_ARGUMENTS] += arguments
        sizes[M_INTEGERS] += segments + 1 + items + times + 1
        if signatures[s, KIND] == RUNS:
            sizes[M_INTEGERS] += (segments + 1) * arguments
            sizes[M_PAYLOAD] += segments * signatures[s, PAYLOAD]
        else:
            sizes[M_PAYLOAD] += items * signatures[s, PAYLOAD]
        sizes[M_LONGEST] = max(sizes[M_LONGEST], rows)
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
