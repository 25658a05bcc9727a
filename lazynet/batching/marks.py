"""What backward goes through: the nodes that lead to what is differentiated, and parts of batches.

`mark` finds the nodes, latest first; `split` cuts every batch into runs of such nodes, which is
nearly always the whole batch. `reverse.py` plans backward through these parts.
"""

import numpy as np

from lazynet.batching.decode import (
    FIRST,
    FORM,
    ITEM_COUNT,
    LISTED,
    PIECES,
    POSITION,
    SEGMENT_COUNT,
    SIGNATURE,
    listed_word,
    listed_words,
    output_rows,
    source_row,
)
from lazynet.batching.layout import (
    ARGUMENTS,
    B_FIRST_ITEM,
    B_FIRST_NODE,
    B_ITEMS,
    B_LAST_NODE,
    B_SIGNATURE,
    KIND,
    ROWS,
)
from lazynet.kernels.jit import awaited, borrowing, entered, inline, jit, offered

# Columns of a part of a batch.
P_BATCH, P_START, P_STOP = range(3)


@inline
def node_rows(columns, i, signatures):
    """Rows of each output of node `i`."""
    items, segments = columns[i, ITEM_COUNT], columns[i, SEGMENT_COUNT]
    return output_rows(signatures, columns[i, SIGNATURE], items, segments)


@inline
def mark_sources(tape, columns, i, signatures, head, needs, marked):
    """Mark what node `i` depends on, as far as it needs gradients."""
    form, position, items = columns[i, FORM], columns[i, POSITION], columns[i, ITEM_COUNT]
    s = columns[i, SIGNATURE]
    if form == LISTED:
        segments = columns[i, SEGMENT_COUNT]
        for a in range(listed_words(signatures, s, items, segments)):
            source = head[tape[position + listed_word(signatures, s, items, segments, a)]]
            if needs[source]:
                marked[source] = 1
        return
    if form == PIECES:
        q = position
        for _ in range(signatures[s, ARGUMENTS]):
            pieces = tape[q]
            q += 1
            for _ in range(pieces):
                if tape[q + 2] > 0 and needs[head[tape[q]]]:
                    marked[head[tape[q]]] = 1
                q += 3
        return
    for k in range(signatures[s, ARGUMENTS]):
        source = head[source_row(tape, form, position, items, k, 0)]
        if needs[source]:
            marked[source] = 1


@offered
@entered
def mark(tape, columns, signatures, head, needs, consumed, wanted):
    """Spread `wanted` from nodes to what they depend on, latest node first.

    Returns whether a wanted node was gone through before.
    """
    again = False
    for i in range(columns.shape[0] - 1, -1, -1):
        first = columns[i, FIRST]
        if node_rows(columns, i, signatures) == 0 or not wanted[first] or not needs[first]:
            continue
        again = again or consumed[first] != 0
        if columns[i, ITEM_COUNT] or columns[i, FORM] == LISTED:
            mark_sources(tape, columns, i, signatures, head, needs, wanted)
    return again


@entered
def spend(columns, signatures, needs, wanted, consumed):
    """Note that every wanted node has been gone through."""
    for i in range(columns.shape[0]):
        first = columns[i, FIRST]
        if node_rows(columns, i, signatures) and wanted[first] and needs[first]:
            consumed[first] = 1


@entered
def mark_unspent(tape, columns, signatures, head, needs, consumed, used):
    """Mark the rows that nodes which backward may still visit depend on."""
    for i in range(columns.shape[0]):
        first = columns[i, FIRST]
        empty = columns[i, ITEM_COUNT] == 0 and columns[i, FORM] != LISTED
        if empty or not needs[first] or consumed[first]:
            continue
        mark_sources(tape, columns, i, signatures, head, needs, used)


@borrowing
def count_wanted(columns, order, batch, signatures, needs, wanted):
    """How many nodes of a batch are wanted and how many are not, of those with rows."""
    found = missing = 0
    for x in range(batch[B_FIRST_NODE], batch[B_LAST_NODE]):
        i = order[x]
        first = columns[i, FIRST]
        if node_rows(columns, i, signatures) == 0:
            continue
        if wanted[first] and needs[first]:
            found += 1
        else:
            missing += 1
    return found, missing


@borrowing
def mark_rows(columns, order, batch, begin, width, place, needs, wanted, visited):
    """Mark the rows of the wanted nodes of a batch whose output begins at `begin`."""
    visited[: batch[B_ITEMS]] = 0
    for x in range(batch[B_FIRST_NODE], batch[B_LAST_NODE]):
        i = order[x]
        first, rows = columns[i, FIRST], columns[i, ITEM_COUNT]
        if rows and wanted[first] and needs[first]:
            for j in range(rows):
                visited[(place[first + j] - begin) // width] = 1


@borrowing
def cut(visited, items, b, parts, count):
    """Put down the runs of marked rows of a batch; how many parts there are then."""
    q = 0
    while q < items:
        if not visited[q]:
            q += 1
            continue
        start = q
        while q < items and visited[q]:
            q += 1
        parts[count, P_BATCH], parts[count, P_START], parts[count, P_STOP] = b, start, q
        count += 1
    return count


@awaited
@jit
def split(columns, order, signatures, laid, place, needs, wanted):
    """The parts of each batch, as (batch, start, stop) in items, that backward has to visit.

    Batches of segments and scans are not cut: rows that are not wanted have gradients of 0.
    """
    longest = 0
    for b in range(laid.batches.shape[0]):
        longest = max(longest, laid.batches[b, B_ITEMS])
    parts = np.empty((columns[:, ITEM_COUNT].sum() + laid.batches.shape[0], 3), np.int64)
    visited = np.zeros(longest, np.uint8)
    count = 0
    for b in range(laid.batches.shape[0]):
        batch = laid.batches[b]
        s, items = batch[B_SIGNATURE], batch[B_ITEMS]
        found, missing = count_wanted(columns, order, batch, signatures, needs, wanted)
        if found == 0:
            continue
        if missing == 0 or signatures[s, KIND] != ROWS:
            parts[count, P_BATCH], parts[count, P_START], parts[count, P_STOP] = b, 0, items
            count += 1
            continue
        width = laid.widths[laid.first[s]]
        begin = laid.regions[laid.first[s]] + width * batch[B_FIRST_ITEM]
        mark_rows(columns, order, batch, begin, width, place, needs, wanted, visited)
        count = cut(visited, items, b, parts, count)
    return parts[:count].copy()
