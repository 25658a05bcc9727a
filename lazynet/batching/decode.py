"""Reads the tape: integers in, columns and dependencies of the pending nodes out.

Links and aliases are no nodes to the later stages: they compute nothing. A link's rows have an
address already; an alias's row lies inside the row it names (its root), shifted by some bytes.
"""

from typing import NamedTuple

import numpy as np

from lazynet.batching.layout import (
    ALIAS,
    ARGUMENTS,
    BACKWARD,
    KIND,
    LINK,
    NEEDS,
    NO_DERIVATIVE,
    OUTPUTS,
    PAYLOAD,
    PER_ITEM,
    RUNS,
    SEGMENT,
    SINGLES,
)
from lazynet.kernels.jit import borrowing, inline, jit, spliced

# Columns of the nodes. A node's words lie side by side (`new_columns`), the most read first.
(POSITION, FIRST, FORM, ITEM_COUNT, SEGMENT_COUNT, ROWS_READ, SIGNATURE, _, NODE_COLUMNS) = range(9)
# Words of a local signature number: its signature, whether its nodes want gradients, and whether
# each of them has one row, so that nobody need look at their columns.
U_SIGNATURE, U_NEEDS, U_ONES, USED_WORDS = range(4)
# Forms of a tape entry: one row; rows given by (id, step); rows listed one by one; arguments of
# rows in pieces, each (id, step, count).
SINGLE, STEPPED, LISTED, PIECES = range(4)
# What a column says of more rows than it can count; no plan has so many.
TOO_MANY = 2**31 - 1


@inline
def entry_words(tape, p, numbers):
    """Signature, items, segments, form, first argument and end of the tape entry at `p`."""
    code = tape[p]
    if code >= 0:
        end = p + 1 + numbers[code, ARGUMENTS] + numbers[code, PAYLOAD]
        return np.int64(code), np.int64(1), np.int64(1), SINGLE, p + 1, end
    s = np.int64(-code - 1)
    n = np.int64(tape[p + 1])
    kind, arguments = numbers[s, KIND], numbers[s, ARGUMENTS]
    if kind == LINK:
        return s, n, np.int64(1), STEPPED, p + 2, p + 2
    if kind == SEGMENT:
        k = np.int64(tape[p + 2])
        if tape[p + 3] == 0:
            return s, n, k, STEPPED, p + 4, p + 4 + 2 * arguments
        singles = numbers[s, SINGLES]
        return s, n, k, LISTED, p + 4, p + 4 + n * (arguments - singles) + k * (1 + singles)
    if kind == RUNS:
        end = p + 2
        for _ in range(arguments):
            end += 1 + 3 * np.int64(tape[end])
        return s, n, np.int64(1), PIECES, p + 2, end + numbers[s, PAYLOAD]
    return s, n, n, STEPPED, p + 2, p + 2 + 2 * arguments + n * numbers[s, PAYLOAD]


@inline
def output_rows(numbers, s, items, segments):
    """Rows that each output of a node has."""
    if numbers[s, KIND] == SEGMENT and numbers[s, PER_ITEM] == 0:
        return segments
    return items


@inline
def listed_words(numbers, s, items, segments):
    """How many ids an entry lists: of each item, and of each segment."""
    singles = numbers[s, SINGLES]
    return (numbers[s, ARGUMENTS] - singles) * items + singles * segments


@inline
def listed_word(numbers, s, items, segments, a):
    """Where id `a` of those stands, counted from the first: behind the items' are the counts."""
    along = (numbers[s, ARGUMENTS] - numbers[s, SINGLES]) * items
    return a if a < along else a + segments


def new_columns(nodes: int) -> np.ndarray:
    """Room for the columns of so many nodes, indexed by node and column.

    Later stages go through nodes in any order: what they read of one shall be in one cache line.
    """
    return np.empty((nodes, NODE_COLUMNS), np.int32)


@jit
def count(tape, numbers):
    """How many nodes, argument ids and aliases there are on the tape; links are not counted."""
    p = np.int64(0)
    nodes = ids = aliases = 0
    while p < tape.size:
        s, _, _, form, first, end = entry_words(tape, p, numbers)
        kind = numbers[s, KIND]
        if kind != LINK and kind != ALIAS:
            nodes += 1
            if form == PIECES or form == LISTED:
                ids += end - first  # more than enough
            else:
                ids += numbers[s, ARGUMENTS]
        elif kind == ALIAS:
            aliases += 1
        p = end
    return nodes, ids, aliases


class Rows(NamedTuple):
    """What is known of rows, by their number; of the last three arrays, by that less the base."""

    head: np.ndarray
    needs: np.ndarray
    root: np.ndarray
    shift: np.ndarray
    producer: np.ndarray  # the node that makes a pending row; -1 of a link


class Decoded(NamedTuple):
    """What `decode` gives, as far as it is filled, and local signature numbers by signature."""

    signature: np.ndarray
    starts: np.ndarray
    dependencies: np.ndarray
    used: np.ndarray
    local: np.ndarray


@jit
def decode(tape, numbers, base, columns, ids, marks, head, needs, root, shift):
    """Columns of the pending nodes, their dependencies, and the signatures they use.

    Args:
        base: the first id of the pending rows.
        columns: filled, see `new_columns`.
        marks: (id, flag) pairs: from that id on, gradients are recorded or not.
        head: for each row of the graph, the first row of its node (written for pending rows).
        needs: for each row, whether a leaf that wants a gradient lies behind it (likewise).
        root, shift: for each pending row, the row it lies in and how many bytes in; of no size
            where there are no aliases, as every row lies in itself then.

    Returns:
        the local signature number of each node, dependency starts, dependencies, and what each
        local signature number stands for (`USED_WORDS`).
    """
    nodes = columns.shape[0]
    signature, starts = np.empty(nodes, np.int32), np.empty(nodes + 1, np.int32)
    dependencies = np.empty(ids, np.int32)
    used = np.empty((min(nodes, 2 * numbers.shape[0]), USED_WORDS), np.int32)
    local = np.full((numbers.shape[0], 2), -1, np.int32)
    rows = Rows(head, needs, root, shift, np.empty(head.size - base, np.int32))
    found = Decoded(signature, starts, dependencies, used, local)
    count, signatures = read_nodes(tape, numbers, base, columns, marks, rows, found)
    return signature, starts, dependencies[:count].copy(), used[:signatures].copy()


@borrowing
def read_nodes(tape, numbers, base, columns, marks, rows, found):
    """Fill `columns`, `rows` and `found`; how many dependencies and local signatures there are."""
    p, v = np.int64(0), np.int64(base)
    i = d = signatures = mark = 0
    recording = True
    while p < tape.size:
        s, n, k, form, first, end = entry_words(tape, p, numbers)
        while mark < marks.shape[0] and marks[mark, 0] <= v:
            recording = marks[mark, 1] == 1
            mark += 1
        kind, count = numbers[s, KIND], output_rows(numbers, s, n, k)
        p = end
        if kind == LINK:
            v = enter_rows(v, count, -1, base, rows)
            continue
        if kind == ALIAS:
            v = enter_aliases(tape, form, first, v, count, base, rows)
            continue
        found.starts[i] = d
        d, need, read = read_sources(tape, numbers, s, n, k, form, first, base, rows, found, d)
        columns[i, ROWS_READ] = min(read, TOO_MANY)
        # A node without rows goes with those that have some, which most often need gradients.
        need = need or (read == 0 if form == PIECES else n == 0)
        need = need and recording and numbers[s, BACKWARD] != NO_DERIVATIVE
        slot = 1 if need else 0
        number = found.local[s, slot]
        if number < 0:
            number = found.local[s, slot] = signatures
            found.used[number, U_SIGNATURE], found.used[number, U_NEEDS] = s, slot
            found.used[number, U_ONES] = 1
            signatures += 1
        found.signature[i] = columns[i, SIGNATURE] = number
        if form != SINGLE:
            found.used[number, U_ONES] = 0
        columns[i, ITEM_COUNT], columns[i, SEGMENT_COUNT] = n, k
        columns[i, FORM], columns[i, POSITION], columns[i, FIRST] = form, first, v
        count *= numbers[s, OUTPUTS]
        for j in range(v, v + count):
            rows.needs[j] = slot
        v = enter_rows(v, count, i, base, rows)
        i += 1
    found.starts[i] = d
    return d, signatures


@spliced
def enter_rows(v, count, node, base, rows):
    """Enter the rows from `v` on of a node, or of a link (-1); the row that follows."""
    for j in range(v, v + count):
        rows.head[j], rows.producer[j - base] = v, node
        if rows.root.size > 0:
            rows.root[j - base], rows.shift[j - base] = j, 0
    return v + count


@spliced
def enter_aliases(tape, form, first, v, count, base, rows):
    """Enter the rows from `v` on of an alias, each as a part of another; the row that follows."""
    step = 0 if form == SINGLE else tape[first + 1]
    offsets = first + (1 if form == SINGLE else 2)
    for j in range(count):
        source, offset = np.int64(tape[first]) + step * j, np.int64(tape[offsets + j])
        own, at = v + j - base, source - base
        rows.root[own] = rows.root[at] if at >= 0 else source
        rows.shift[own] = (rows.shift[at] if at >= 0 else 0) + offset
        rows.producer[own] = rows.producer[at] if at >= 0 else -1
        rows.head[v + j], rows.needs[v + j] = rows.head[source], rows.needs[source]
    return v + count


@spliced
def read_sources(tape, numbers, s, n, k, form, first, base, rows, found, d):
    """Note what a node depends on.

    Returns how many dependencies there are then, whether anything that it reads needs gradients,
    and the rows read by a node whose arguments are pieces.
    """
    need, read, arguments = numbers[s, NEEDS] != 0, np.int64(0), numbers[s, ARGUMENTS]
    if form == PIECES:
        q = first
        for _ in range(arguments):
            pieces = tape[q]
            q += 1
            for _ in range(pieces):
                if tape[q + 2] > 0:
                    read += tape[q + 2]
                    d, need = read_source(np.int64(tape[q]), base, rows, found, d, need)
                q += 3
    elif form == LISTED or n > 0:
        stride = 2 if form == STEPPED else 1
        for a in range(listed_words(numbers, s, n, k) if form == LISTED else arguments):
            at = listed_word(numbers, s, n, k, a) if form == LISTED else a * stride
            source = np.int64(tape[first + at])
            d, need = read_source(source, base, rows, found, d, need)
    return d, need, read


@spliced
def read_source(source, base, rows, found, d, need):
    """Note as dependency `d` the node that makes a row, if it is pending, and what it needs."""
    if source >= base and rows.producer[source - base] >= 0:
        found.dependencies[d] = rows.producer[source - base]
        d += 1
    return d, need or rows.needs[source] != 0


@inline
def source_row(tape, form, first, items, argument, j):
    """The id of item `j` of an argument of the node whose arguments begin at `first`."""
    if form == SINGLE:
        return np.int64(tape[first + argument])
    if form == STEPPED:
        return np.int64(tape[first + 2 * argument]) + np.int64(tape[first + 2 * argument + 1]) * j
    return np.int64(tape[first + argument * items + j])
