"""Scans beside each other: which may be, and their calls in an order in which they are.

Scans that follow each other in a schedule and do not need each other, as the two directions of a
layer do, are a group. What comes before their loops is done first, then the loops, then what comes
after them: so the loops lie one behind the other among the calls, and threads can take one each
(`lanes.py`). What a batch of a group drops behind it has its own memory.
"""

import numpy as np

from lazynet.batching.emit import LOOP_BESIDE
from lazynet.batching.frame import AFTER_AT, CALLS_AT, LOOP_AT
from lazynet.batching.layout import B_BESIDE, KIND, SCAN
from lazynet.kernels.jit import borrowing, inline, jit
from lazynet.kernels.memory import load, store

MOST_BESIDE = 16  # scans of a group: what each of them drops is kept until the last is done


@borrowing
def depends_on(nodes, starts, dependencies, group, number):
    """Whether one of the nodes needs another of the group with this number."""
    for i in nodes:
        for d in range(starts[i], starts[i + 1]):
            if group[dependencies[d]] == number:
                return True
    return False


@jit
def mark_beside(order, schedule, signatures, starts, dependencies, batches):
    """Note in the table of batches which scans may run beside those of the batch before.

    Args:
        schedule: signature, first and last node of each batch.
        signatures: the rows of the signature table of the local signatures.
        starts, dependencies: what each node depends on, as `decode` found it.
    """
    group = np.zeros(0, np.int32)  # for each node, the number of its group
    number, size = np.int32(0), 0
    for b in range(schedule.shape[0]):
        batches[b, B_BESIDE] = 0
        if signatures[schedule[b, 0], KIND] != SCAN:
            size = 0
            continue
        if group.size == 0:
            group = np.zeros(order.size, np.int32)
        nodes = order[schedule[b, 1] : schedule[b, 2]]
        if 0 < size < MOST_BESIDE and not depends_on(nodes, starts, dependencies, group, number):
            batches[b, B_BESIDE] = 1
            size += 1
        else:
            number += 1
            size = 1
        for i in nodes:
            group[i] = number


@inline
def turn_round(first, last):
    """Turn the order of the words from address `first` to `last` round."""
    last -= 8
    while first < last:
        word = load(first)
        store(first, load(last))
        store(last, word)
        first += 8
        last -= 8


@inline
def exchange(frame, first, middle, last):
    """Let the words of calls from `middle` to `last` come before those from `first` to `middle`."""
    calls = frame[CALLS_AT]
    turn_round(calls + 8 * first, calls + 8 * middle)
    turn_round(calls + 8 * middle, calls + 8 * last)
    turn_round(calls + 8 * first, calls + 8 * last)


@borrowing
def put_beside(frame, begin, loop, after):
    """Put the calls of the last scan, from word `begin` on, beside those of the group before it.

    Args:
        loop, after: where the loops of the group begin, and what comes after them. The frame then
            tells where they are of the group with the scan.
    """
    own_loop, own_after = frame[LOOP_AT], frame[AFTER_AT]
    if own_loop < own_after:
        word = frame[CALLS_AT] + 8 * (own_loop + 1)
        store(word, load(word) | LOOP_BESIDE)
    exchange(frame, loop, begin, own_loop)
    exchange(frame, after + own_loop - begin, own_loop, own_after)
    frame[LOOP_AT] = loop + own_loop - begin
    frame[AFTER_AT] = after + own_after - begin
