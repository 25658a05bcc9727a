"""The rows of one batch: their addresses, the order they take, and what they carry.

A batch's items come node after node; `permutation[q]` is the item that lies at position q. Where
the order is the natural one, nothing is permuted.
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
    SINGLE,
    source_row,
)
from lazynet.batching.frame import FORWARD_REGIONS, FORWARD_WIDTHS, VECTOR_WORDS, new_vector, slot
from lazynet.kernels.jit import borrowing, inline
from lazynet.kernels.memory import load, store


class Nodes(NamedTuple):
    """The pending nodes and the graph's rows, as the layout reads and fills them."""

    tape: np.ndarray
    columns: np.ndarray
    root: np.ndarray  # with `shift` where a pending row lies; of no size if there are no aliases
    shift: np.ndarray
    place: np.ndarray  # the address of every row of the graph


class Work(NamedTuple):
    """Room for what is worked out for one batch."""

    rows: np.ndarray  # the address of every row of every argument, node after node
    permutation: np.ndarray
    inverse: np.ndarray
    sorted_nodes: np.ndarray  # scans: positions in the order of the nodes, longest first
    lengths: np.ndarray  # scans: three counts for each length of a sequence


@inline
def row_place(nodes, row, base):
    """The address of a row: its root's, shifted."""
    at = row - base
    if at < 0 or nodes.root.size == 0 or nodes.root[at] == row:
        return nodes.place[row]
    return nodes.place[nodes.root[at]] + nodes.shift[at]


@borrowing
def collect_rows(nodes, order, start, stop, arguments, base, rows):
    """The addresses of every argument's rows, node after node."""
    for k in range(arguments):
        m = 0
        for x in range(start, stop):
            i = order[x]
            form, first = nodes.columns[i, FORM], nodes.columns[i, POSITION]
            if form == SINGLE:
                rows[k, m] = row_place(nodes, np.int64(nodes.tape[first + k]), base)
                m += 1
                continue
            count = nodes.columns[i, ITEM_COUNT]
            for j in range(count):
                row = source_row(nodes.tape, form, first, count, k, j)
                rows[k, m] = row_place(nodes, row, base)
                m += 1


@borrowing
def collect_ones(nodes, order, start, stop, arguments, base, rows):
    """The same for nodes of one row each."""
    for k in range(arguments):
        for x in range(start, stop):
            row = np.int64(nodes.tape[nodes.columns[order[x], POSITION] + k])
            rows[k, x - start] = row_place(nodes, row, base)


@borrowing
def collect_singles(nodes, order, start, stop, along, singles, base, rows):
    """The addresses of the arguments that have a row a segment: those after the first `along`."""
    for z in range(singles):
        m = 0
        for x in range(start, stop):
            i = order[x]
            segments = nodes.columns[i, SEGMENT_COUNT]
            behind = along * nodes.columns[i, ITEM_COUNT] + segments  # the items' ids, the counts
            first = nodes.columns[i, POSITION] + behind + z * segments
            for j in range(segments):
                rows[along + z, m] = row_place(nodes, np.int64(nodes.tape[first + j]), base)
                m += 1


@borrowing
def collect_runs(nodes, order, start, stop, arguments, words, base, rows, offsets, payload):
    """The rows of a batch of nodes over runs: their addresses, where runs begin, the payload.

    `offsets` takes for the output, then for each argument, where the rows of each node begin, and
    their number at the end.
    """
    width = stop - start + 1
    for k in range(arguments + 1):
        offsets[k * width] = 0
    for x in range(start, stop):
        i, segment = order[x], x - start
        offsets[segment + 1] = offsets[segment] + nodes.columns[i, ITEM_COUNT]
        q = nodes.columns[i, POSITION]
        for k in range(arguments):
            m = offsets[(k + 1) * width + segment]
            pieces = nodes.tape[q]
            q += 1
            for _ in range(pieces):
                first, step = np.int64(nodes.tape[q]), np.int64(nodes.tape[q + 1])
                for j in range(nodes.tape[q + 2]):
                    rows[k, m] = row_place(nodes, first + step * j, base)
                    m += 1
                q += 3
            offsets[(k + 1) * width + segment + 1] = m
        for w in range(words):
            payload[segment * words + w] = nodes.tape[q + w]


@inline
def even_stride(rows, count):
    """The bytes from each row to the next, if that is the same everywhere and not negative; or -1.

    0 where there is but one row.
    """
    if count < 2:
        return np.int64(0)
    stride = rows[1] - rows[0]
    for j in range(2, count):
        if rows[j] - rows[j - 1] != stride:
            return np.int64(-1)
    return stride if stride >= 0 else np.int64(-1)


@borrowing
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


@borrowing
def take_order(strides, arguments, count, work):
    """Order a row-wise batch as some argument lies; True where that is the natural order."""
    for k in range(arguments):
        if even_stride(work.rows[k], count) == strides[k]:
            return True
        if even_order(work.rows[k], count, strides[k], work.permutation):
            return False
    return True


@borrowing
def describe_rows(rows, count, natural_order, work, argument, frame):
    """Put an argument's rows down in order: as a view where evenly spaced, else as a vector."""
    if natural_order:
        stride = even_stride(rows, count)
        if stride >= 0:
            argument[0], argument[1] = rows[0] if count else 0, stride
            return
    start = new_vector(frame, count)
    if natural_order:
        for q in range(count):
            store(start + 8 * q, rows[q])
        argument[2] = start
    else:
        for q in range(count):
            store(start + 8 * q, rows[work.permutation[q]])
        describe(argument, start, count, frame)


@inline
def describe(argument, start, count, frame):
    """Tell where rows lie whose `count` addresses, the last vector made, stand from `start` on.

    Evenly spaced rows need no vector, and its room is free for the next.
    """
    stride = load(start + 8) - load(start) if count > 1 else np.int64(0)
    even = stride >= 0
    for j in range(2, count):
        even = even and load(start + 8 * j) - load(start + 8 * (j - 1)) == stride
    if not even:
        argument[2] = start
        return
    argument[0], argument[1] = load(start) if count else 0, stride
    frame[VECTOR_WORDS] -= count


@borrowing
def describe_states(nodes, order, argument, first_state, states, nodes_in, base, work, frame):
    """The initial states of a scan's sequences, longest sequence first."""
    for k in range(states):
        start = new_vector(frame, nodes_in)
        for q in range(nodes_in):
            i = order[work.sorted_nodes[q]]
            first = nodes.columns[i, POSITION]
            row = source_row(nodes.tape, nodes.columns[i, FORM], first, 1, first_state + k, 0)
            store(start + 8 * q, row_place(nodes, row, base))
        describe(argument[first_state + k], start, nodes_in, frame)


@borrowing
def place_rows(nodes, order, start, stop, outputs, items, natural_order, frame, work):
    """Write the address of every output row of a batch that gives a row an item."""
    if not natural_order:
        for q in range(items):
            work.inverse[work.permutation[q]] = q
    for z in range(outputs):
        base = frame[slot(frame, FORWARD_REGIONS, z)]
        width = frame[slot(frame, FORWARD_WIDTHS, z)]
        m = 0
        for x in range(start, stop):
            count = np.int64(nodes.columns[order[x], ITEM_COUNT])
            first = nodes.columns[order[x], FIRST] + z * count
            for j in range(count):
                q = m + j if natural_order else np.int64(work.inverse[m + j])
                nodes.place[first + j] = base + width * q
            m += count


@borrowing
def place_segments(nodes, order, start, stop, outputs, frame):
    """Write the address of every output row of a batch that gives a row a segment."""
    m = 0
    for x in range(start, stop):
        i = order[x]
        count, first = nodes.columns[i, SEGMENT_COUNT], nodes.columns[i, FIRST]
        for z in range(outputs):
            base = frame[slot(frame, FORWARD_REGIONS, z)]
            width = frame[slot(frame, FORWARD_WIDTHS, z)]
            for j in range(count):
                nodes.place[first + z * count + j] = base + width * (m + j)
        m += count


@borrowing
def scan_order(nodes, order, start, stop, alive, work):
    """Time-major order of the rows of a batch of sequences, longest sequence first.

    Fills how many rows each time step has, for each row which of the batch's rows it is, and the
    nodes by length.
    """
    times = alive.size
    count, rank, begin = work.lengths[0], work.lengths[1], work.lengths[2]
    for t in range(times + 2):
        count[t] = 0
    for x in range(start, stop):
        count[nodes.columns[order[x], ITEM_COUNT]] += 1
    for t in range(times - 1, -1, -1):
        count[t] += count[t + 1]  # sequences of at least t rows
    for length in range(times + 1):
        rank[length] = count[length + 1]
    begin[0] = 0
    for t in range(times):
        alive[t] = count[t + 1]
        begin[t + 1] = begin[t] + alive[t]
    m = 0
    for x in range(start, stop):
        length = nodes.columns[order[x], ITEM_COUNT]
        r = rank[length]
        rank[length] += 1
        work.sorted_nodes[r] = x
        for t in range(length):
            work.permutation[begin[t] + r] = m
            m += 1


@borrowing
def fill_segments(nodes, order, start, stop, arguments, offsets, numbers):
    """Where each segment begins, and the segment of each item."""
    q = segment = 0
    for x in range(start, stop):
        i = order[x]
        n, k = nodes.columns[i, ITEM_COUNT], nodes.columns[i, SEGMENT_COUNT]
        counts = nodes.columns[i, POSITION] + n * arguments
        for j in range(k):
            length = nodes.tape[counts + j] if nodes.columns[i, FORM] == LISTED else n
            offsets[segment] = q
            for _ in range(length):
                numbers[q] = segment
                q += 1
            segment += 1
    offsets[segment] = q


@borrowing
def fill_payload(nodes, order, start, stop, arguments, words, natural_order, work, payload):
    """The payload of each item, in the batch's order (`place_rows` has filled the inverse)."""
    m = 0
    for x in range(start, stop):
        i = order[x]
        single = nodes.columns[i, FORM] == SINGLE
        first = nodes.columns[i, POSITION] + arguments * (1 if single else 2)
        for j in range(nodes.columns[i, ITEM_COUNT]):
            q = m if natural_order else work.inverse[m]
            for w in range(words):
                payload[q * words + w] = nodes.tape[first + j * words + w]
            m += 1
