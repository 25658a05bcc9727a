"""Runs the calls of a plan, with the help of worker threads, and on a stopwatch if one is wanted.

`run_calls` is the compiled interpreter: a few nanoseconds a call beside the kernels themselves.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator

import numpy as np

from lazynet import lanes
from lazynet.batching.beside import MOST_BESIDE
from lazynet.batching.emit import (
    CALL_LENGTH,
    LOOP_BEGINS,
    OWNER_AT,
    OWNERS,
    SPLIT,
    operands_of_call,
)
from lazynet.kernels import blas, cpu, threads
from lazynet.kernels.jit import (
    KERNEL_TYPE,
    awaited,
    borrowing,
    callback_address,
    inline,
    jit,
)
from lazynet.kernels.memory import call, load
from lazynet.packs import Packs

# Calls between two looks at pending signals, so that Ctrl-C ends a long forward soon; loops of
# scans that are done in lanes count as one.
SLICE = 4096
# Words of calls from which on a plan wakes the worker threads: a dozen calls.
WORTH_WAKING = 200
# Words of a stopwatch: the address of `clock_gettime`, which clock, what it tells (seconds and
# nanoseconds), and then the nanoseconds that the calls of each local signature took.
W_CLOCK, W_WHICH, W_SECONDS, W_NANOSECONDS, W_SPENT = range(5)
NO_WATCH = np.zeros(0, np.int64)


def new_watch(owners: int) -> np.ndarray:
    """A stopwatch for the calls of so many signatures; empty on systems without such a clock."""
    try:
        clock = ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value
    except (AttributeError, OSError, TypeError):  # Windows
        return NO_WATCH
    watch = np.zeros(W_SPENT + min(owners, OWNERS), np.int64)
    watch[W_CLOCK], watch[W_WHICH] = clock or 0, time.CLOCK_MONOTONIC
    return watch


@inline
def _now(watch):
    """The nanoseconds that the clock of a stopwatch tells."""
    first = np.int64(watch.ctypes.data)
    call(watch[W_CLOCK], watch[W_WHICH], first + 8 * W_SECONDS)
    return 1_000_000_000 * load(first + 8 * W_SECONDS) + load(first + 8 * W_NANOSECONDS)


def places_of(calls: np.ndarray, stop: int) -> Iterator[int]:
    """Where each call begins, of those before a word."""
    at = 0
    while at < stop:
        yield at
        at += int(calls[at + 1] & CALL_LENGTH)


@inline
def run_call(at, table):
    """Run the call at address `at`, in parts if it is worth that; gives its second word."""
    word = load(at + 8)
    if word & SPLIT and load(table + threads.BOARD) != 0:
        words, operands = (word & CALL_LENGTH) - 2, operands_of_call(word) - 2
        threads.split(load(at), at + 16, words, operands, table)
    else:
        call(load(at), at + 16, table)
    return word


@jit
def run_loops(at, stop, table):
    """Run the loop at address `at` and those beside it; where they end."""
    loops = np.empty((MOST_BESIDE, lanes.LOOP_COLUMNS), np.int64)
    found = lanes.find_loops(at, stop, loops)
    board = load(table + threads.BOARD)
    most = load(board + threads.WORKERS) + 1
    for k in range(0, found, most):
        lanes.run_lanes(loops[k:], min(most, found - k), table)
    for k in range(found):
        at = loops[k, lanes.OPEN]
        while at < loops[k, lanes.END]:
            at += 8 * (run_call(at, table) & CALL_LENGTH)
    return at


@borrowing
def note_time(at, stop, spent, watch):
    """Note the time that calls took for their owners; that of loops goes to each in equal parts."""
    loops, begin = np.int64(0), at
    while at < stop:
        loops += load(at + 8) & LOOP_BEGINS != 0
        at += 8 * (load(at + 8) & CALL_LENGTH)
    at, loops = begin, max(loops, np.int64(1))
    while at < stop:
        word = load(at + 8)
        if at == begin or word & LOOP_BEGINS:
            watch[W_SPENT + (word >> OWNER_AT)] += spent // loops
        at += 8 * (word & CALL_LENGTH)


@awaited
@jit
def run_calls(calls, start, stop, limit, context, watch):
    """Run the calls from word `start` on, at most `limit` of them; gives the next word."""
    first, table = np.int64(calls.ctypes.data), np.int64(context.ctypes.data)
    at, end = first + 8 * start, first + 8 * stop
    done = 0
    together = load(table + threads.BOARD) != 0
    timed = watch.size > 0
    before = _now(watch) if timed else np.int64(0)
    while at < end and done < limit:
        begin, word = at, load(at + 8)
        if together and word & LOOP_BEGINS:
            at = run_loops(at, end, table)
        else:
            run_call(at, table)
            at += 8 * (word & CALL_LENGTH)
        if timed:
            after = _now(watch)
            note_time(begin, at, after - before, watch)
            before = after
        done += 1
    return (at - first) // 8


def execute(calls: np.ndarray, stop: int, watch: np.ndarray = NO_WATCH) -> None:
    """Run the first `stop` words of calls, large ones with the help of worker threads."""
    packs = Packs(calls, stop)
    try:
        _execute_together(calls, stop, packs, watch)
    finally:
        packs.give_back()


def _execute_together(calls: np.ndarray, stop: int, packs: Packs, watch: np.ndarray) -> None:
    pool = threads.POOL
    if stop < WORTH_WAKING or pool.threads == 1:
        _execute(calls, stop, packs, blas.context(), watch)
        return
    context = pool.context if pool.board else _start(pool)
    board = int(context[-1])
    if not board or not threads.begin(board, pool.wake):
        _execute(calls, stop, packs, blas.context(), watch)
        return
    try:
        _execute(calls, stop, packs, context, watch)
    finally:
        threads.end(board)


def _start(pool: threads.Pool) -> np.ndarray:
    """Start the workers; the context of plans that they take part in."""
    blas.use_threads(1)
    parts = (cpu.kernel("product_part", "float32"), cpu.kernel("product_part", "float64"))
    lane = callback_address(lanes.run_lane, KERNEL_TYPE)
    return pool.start(blas.context(), parts, lane)


def _execute(
    calls: np.ndarray, stop: int, packs: Packs, context: np.ndarray, watch: np.ndarray
) -> None:
    run_calls(packs.calls, 0, len(packs.calls), SLICE, context, NO_WATCH)
    context = packs.enter(context)
    at = 0
    while at < stop:
        at = run_calls(calls, at, stop, SLICE, context, watch)
