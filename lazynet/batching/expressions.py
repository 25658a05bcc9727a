"""Expressions: elementwise nodes that are read once become one node with what reads them.

Code that is written op by op leaves a node for each op. Where a value is read by one elementwise
node alone, and nobody can ask for it any more, the two are put together, and so on. What is left
is a shorter tape: what was taken into another node is a link to nowhere there, so that all rows
keep their numbers.

What two nodes are together is a pattern: the outer pattern, which argument of it is taken in, the
inner pattern, and where the arguments of the inner one stand among those of both. Nodes of a
pattern that has no signature stay as they are, and are counted.
"""

from typing import NamedTuple

import numpy as np

from lazynet.batching.decode import (
    LISTED,
    PIECES,
    SINGLE,
    STEPPED,
    entry_words,
    listed_word,
    listed_words,
    output_rows,
)
from lazynet.batching.layout import ALIAS, ARGUMENTS, KIND, LINK, OUTPUTS
from lazynet.kernels.jit import borrowing, inline, jit, spliced

MOST_ARGUMENTS = 8  # of an expression; four bits say where each of them stands
MOST_OPS = 16
MOST_PATTERNS = 1 << 12
_SLOTS = 1 << 14
# Columns of a pattern: what it is made of, how many arguments and ops it has, the signature of its
# nodes (-1: none), and how many nodes there were that had none.
OUTER, WHERE, INNER, STANDING, ARITY, OPS, SIGNATURE, SEEN, PATTERN_COLUMNS = range(9)


class Patterns(NamedTuple):
    """The patterns that were met, from 1 on."""

    table: np.ndarray
    slots: np.ndarray  # their numbers, by hashes
    count: np.ndarray  # of one element: the number of the next one


class Candidates(NamedTuple):
    """Elementwise nodes of one row each, by number."""

    arguments: np.ndarray
    arity: np.ndarray
    pattern: np.ndarray
    reader: np.ndarray  # the node that took it in, or -1
    chosen: np.ndarray  # whether it is written as a part of an expression, or as one
    node: np.ndarray  # of each pending row; -1 where there is none
    free: np.ndarray  # of each pending row, whether it may be taken in


def no_patterns() -> Patterns:
    """Room for patterns."""
    table = np.zeros((MOST_PATTERNS, PATTERN_COLUMNS), np.int64)
    return Patterns(table, np.zeros(_SLOTS, np.int32), np.ones(1, np.int64))


@jit
def shorten(tape, numbers, base, rows, unheld, single, patterns, link):
    """The tape with expressions as nodes; empty if there are none that have a signature.

    Args:
        base, rows: the first pending row, and how many there are.
        unheld: the rows that nobody can ask for.
        single: for each signature, the pattern that a node of it is; 0 where it is none.
        link: the first word of links.
    """
    uses, nodes = count_uses(tape, numbers, base, rows, single)
    free = np.zeros(rows, np.uint8)
    for row in unheld:
        if row >= base and uses[row - base] == 1:
            free[row - base] = 1
    found = Candidates(
        np.empty((nodes, MOST_ARGUMENTS), np.int32), np.empty(nodes, np.int32),
        np.empty(nodes, np.int32), np.full(nodes, -1, np.int32), np.zeros(nodes, np.uint8),
        np.full(rows, -1, np.int32), free,
    )  # fmt: skip
    find(tape, numbers, base, single, patterns, found)
    if not choose(patterns, found):
        return np.empty(0, np.int32)
    shorter = np.empty(tape.size, np.int32)
    return shorter[: write(tape, numbers, single, patterns, found, link, shorter)].copy()


@inline
def rows_of(numbers, s, items, segments):
    """How many rows a node has, of all outputs."""
    rows = output_rows(numbers, s, items, segments)
    if numbers[s, KIND] == LINK or numbers[s, KIND] == ALIAS:
        return rows
    return rows * numbers[s, OUTPUTS]


@spliced
def note_use(row, base, uses):
    """Note that a row is read, if it is pending: once, or more often."""
    if row >= base and uses[row - base] < 2:
        uses[row - base] += 1


@jit
def count_uses(tape, numbers, base, rows, single):
    """How often each pending row is read, and how many nodes may be parts of expressions."""
    uses, nodes, p = np.zeros(rows, np.uint8), 0, np.int64(0)
    while p < tape.size:
        s, n, k, form, first, end = entry_words(tape, p, numbers)
        arguments = numbers[s, ARGUMENTS]
        if form == SINGLE:
            nodes += single[s] > 0
        if form == PIECES:
            q = first
            for _ in range(arguments):
                pieces = tape[q]
                for piece in range(pieces):
                    note_use(np.int64(tape[q + 1 + 3 * piece]), base, uses)
                q += 1 + 3 * pieces
        elif form == LISTED:
            for a in range(listed_words(numbers, s, n, k)):
                note_use(np.int64(tape[first + listed_word(numbers, s, n, k, a)]), base, uses)
        else:  # rows of a Sequence are of one node, which has more than one
            stride = 2 if form == STEPPED else 1
            for a in range(arguments):
                note_use(np.int64(tape[first + a * stride]), base, uses)
        p = end
    return uses, nodes


@borrowing
def find(tape, numbers, base, single, patterns, found):
    """Find the pattern of each node together with what it takes in."""
    p, v, i = np.int64(0), np.int64(base), 0
    while p < tape.size:
        s, n, k, form, first, end = entry_words(tape, p, numbers)
        if form == SINGLE and single[s] > 0:
            arity = numbers[s, ARGUMENTS]
            found.pattern[i], found.arity[i] = single[s], arity
            for a in range(arity):
                found.arguments[i, a] = tape[first + a]
            for a in range(arity - 1, -1, -1):  # what is moved was looked at before
                row = np.int64(tape[first + a]) - base
                if row >= 0 and found.free[row] and found.node[row] >= 0:
                    take_in(i, a, np.int64(found.node[row]), patterns, found)
            found.node[v - base] = i
            i += 1
        v += rows_of(numbers, s, n, k)
        p = end


@spliced
def take_in(i, at, inner, patterns, found):
    """Put node `inner` in place of argument `at` of node `i`, if there is room for it.

    The first argument that it brings stands there, others behind the rest; if it brings none, the
    last one of the rest does.
    """
    arguments, table, arity = found.arguments, patterns.table, np.int64(found.arity[i])
    outer, inside = np.int64(found.pattern[i]), np.int64(found.pattern[inner])
    fits = (
        arity + found.arity[inner] <= MOST_ARGUMENTS + 1
        and table[outer, OPS] + table[inside, OPS] <= MOST_OPS
        and patterns.count[0] < table.shape[0]
    )
    if fits:
        arguments[i, at] = -1
        standing, brings = np.int64(0), False
        for a in range(found.arity[inner]):
            row, where = arguments[inner, a], np.int64(0)
            while where < arity and arguments[i, where] != row:
                where += 1
            if where == arity:
                if brings:
                    arity += 1
                else:
                    where, brings = np.int64(at), True
                arguments[i, where] = row
            standing |= where << (4 * a)
        if not brings:
            arity -= 1
            arguments[i, at] = arguments[i, arity]
            for a in range(found.arity[inner]):
                if (standing >> (4 * a)) & 15 == arity:
                    standing += (at - arity) << (4 * a)
        found.pattern[i] = pattern_of(outer, at, inside, standing, arity, patterns)
        found.arity[i], found.reader[inner] = arity, i


@spliced
def pattern_of(outer, at, inner, standing, arity, patterns):
    """The number of a pattern, which may be a new one."""
    table, slots = patterns.table, patterns.slots
    slot = outer * 40503 + at * 7919 + inner * 2654435 + standing * 31
    slot = (slot ^ (slot >> 15)) & (slots.size - 1)
    number = np.int64(slots[slot])
    while number > 0 and not (
        table[number, OUTER] == outer
        and table[number, WHERE] == at
        and table[number, INNER] == inner
        and table[number, STANDING] == standing
        and table[number, ARITY] == arity
    ):
        slot = (slot + 1) & (slots.size - 1)
        number = np.int64(slots[slot])
    if number == 0:
        number = patterns.count[0]
        patterns.count[0], slots[slot] = number + 1, number
        table[number, OUTER], table[number, WHERE], table[number, INNER] = outer, at, inner
        table[number, STANDING], table[number, ARITY] = standing, arity
        table[number, OPS] = table[outer, OPS] + table[inner, OPS]
        table[number, SIGNATURE], table[number, SEEN] = -1, 0
    return number


@borrowing
def choose(patterns, found):
    """Choose the nodes whose expression has a signature, count others; whether there are any."""
    some = False
    for i in range(found.pattern.size - 1, -1, -1):
        pattern = found.pattern[i]
        if found.reader[i] >= 0:
            found.chosen[i] = found.chosen[found.reader[i]]
        elif patterns.table[pattern, OPS] > 1:
            found.chosen[i] = patterns.table[pattern, SIGNATURE] >= 0
            patterns.table[pattern, SEEN] += 1 - found.chosen[i]
            some = some or found.chosen[i] == 1
    return some


@borrowing
def write(tape, numbers, single, patterns, found, link, shorter):
    """Write the tape with what was chosen; how many words it has."""
    p, i, size = np.int64(0), 0, 0
    linked = -1  # where the entry stands that tells of the rows just before, if they are links
    while p < tape.size:
        s, _, _, form, _, end = entry_words(tape, p, numbers)
        number = -1
        if form == SINGLE and single[s] > 0:
            number = i if found.chosen[i] else -1
            i += 1
        if number >= 0 and found.reader[number] >= 0:
            if linked < 0:
                linked, shorter[size], shorter[size + 1] = size, link, 0
                size += 2
            shorter[linked + 1] += 1
        else:
            linked = -1
            if number < 0:
                for q in range(p, end):
                    shorter[size + q - p] = tape[q]
                size += end - p
            else:
                shorter[size] = patterns.table[found.pattern[number], SIGNATURE]
                for a in range(found.arity[number]):
                    shorter[size + 1 + a] = found.arguments[number, a]
                size += 1 + found.arity[number]
        p = end
    return size
