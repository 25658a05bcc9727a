"""Runs the loops of scans on several threads: each goes through all steps of some sequences.

A step of a loop is a few small calls. Doing each of them in parts means that threads wait for each
other several times a step. But a row of a step needs only the row of the same sequence in the step
before: so a thread goes through a whole loop, or through the whole loop for some of its sequences
(a lane), and waits once, at the end. Loops that lie beside each other among the calls
(`batching/beside.py`) are done at one time.
"""

import numpy as np

from lazynet.batching.beside import MOST_BESIDE
from lazynet.batching.emit import (
    CALL_LENGTH,
    LOOP_BEGINS,
    LOOP_BESIDE,
    LOOP_CALL,
    operands_of_call,
)
from lazynet.kernels import threads
from lazynet.kernels.jit import borrowing, inline
from lazynet.kernels.memory import call, load, store

# Words of the record of a lane: its calls, of their rows the first and the one behind the last, and
# the table of packed matrices.
L_START, L_STOP, L_FIRST, L_LAST, L_PACKED = range(5)
# Byte offsets behind its beginning: a context and a record of its own.
CONTEXT_AT, RECORD_AT = threads.LANE_CONTEXT - threads.ROOM, threads.LANE_RECORD - threads.ROOM
# Columns of a loop: where its calls begin, where those do that may not be done beside others or for
# some sequences alone, where it ends, the most rows of a call and the rows of all calls.
BEGIN, OPEN, END, ROWS, TOTAL, LOOP_COLUMNS = range(6)
EVERY_ROW = 1 << 40


def run_lane(record, context):
    """Do calls for the rows of some sequences; see the words of the record above."""
    at, stop = load(record + 8 * L_START), load(record + 8 * L_STOP)
    low, high = load(record + 8 * L_FIRST), load(record + 8 * L_LAST)
    own, room = record + CONTEXT_AT, record + RECORD_AT
    for offset in range(0, threads.CONTEXT_BYTES, 8):
        store(own + offset, load(context + offset))
    store(own + threads.PACKED, load(record + 8 * L_PACKED))
    while at < stop:
        second, items = load(at + 8), load(at + 16)
        words = second & CALL_LENGTH
        if low == 0 and items <= high:
            store(own + threads.WHOLE, 0)
            call(load(at), at + 16, own)
        elif low < items:
            operands, count = operands_of_call(second) - 2, min(high, items) - low
            threads.copy_part(at + 16, words - 2, operands, low, count, room)
            store(own + threads.WHOLE, items)
            call(load(at), room, own)
        at += 8 * words


@borrowing
def find_loops(at, stop, loops):
    """Enter the loop at address `at` and those beside it; how many there are."""
    found = np.int64(0)
    second = load(at + 8)
    while found < MOST_BESIDE:
        loops[found, BEGIN] = at
        loops[found, OPEN] = loops[found, ROWS] = loops[found, TOTAL] = 0
        inside = True
        while inside:
            if loops[found, OPEN] == 0:
                if operands_of_call(second) == 0:
                    loops[found, OPEN] = at
                items = load(at + 16)
                loops[found, ROWS] = max(loops[found, ROWS], items)
                loops[found, TOTAL] += items
            at += 8 * (second & CALL_LENGTH)
            second = load(at + 8) if at < stop else np.int64(0)
            inside = second & (LOOP_CALL | LOOP_BEGINS) == LOOP_CALL
        if loops[found, OPEN] == 0:
            loops[found, OPEN] = at
        loops[found, END] = at
        found += 1
        if second & (LOOP_BEGINS | LOOP_BESIDE) != LOOP_BEGINS | LOOP_BESIDE:
            break
    return found


@inline
def rows_before(loop, share):
    """The least row before which the calls of a loop have that many rows, all together."""
    low, high = np.int64(0), loop[ROWS]
    while low < high:
        middle = (low + high) // 2
        rows, at = np.int64(0), loop[BEGIN]
        while at < loop[OPEN] and rows < share:
            rows += min(load(at + 16), middle)
            at += 8 * (load(at + 8) & CALL_LENGTH)
        if rows < share:
            low = middle + 1
        else:
            high = middle
    return low


@inline
def enter_lane(record, loop, first, last, packed):
    """Write the record of a lane."""
    store(record + 8 * L_PACKED, packed)
    store(record + 8 * L_START, loop[BEGIN])
    store(record + 8 * L_STOP, loop[OPEN])
    store(record + 8 * L_FIRST, first)
    store(record + 8 * L_LAST, last)


@borrowing
def run_lanes(loops, found, table):
    """Run, of so many loops, what may be done in lanes; no more loops than there are threads."""
    board, packed = load(table + threads.BOARD), load(table + threads.PACKED)
    kernel, alone = load(board + threads.LANE), load(board + threads.ALONE)
    lanes = (load(board + threads.WORKERS) + 1) // found
    posted = np.int64(0)
    for k in range(found):
        loop, first = loops[k], np.int64(0)
        for lane in range(1, lanes + 1):
            last = rows_before(loop, loop[TOTAL] * lane // lanes) if lane < lanes else EVERY_ROW
            if last == first:
                continue
            slot = threads.slot_of(board, posted)
            enter_lane(slot + threads.ROOM, loop, first, last, packed)
            first = last
            if k < found - 1 or lane < lanes:
                threads.post(board, slot, kernel)
                posted += 1
            else:
                call(kernel, slot + threads.ROOM, alone)
    for k in range(posted):
        threads.finish(board, k)
