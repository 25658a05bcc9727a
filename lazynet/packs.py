"""Packs: parameters that a plan multiplies by again and again, in the order in which tiles read.

The steps of a scan and the levels of a tree multiply a few rows each by the same matrix. A BLAS
copies a matrix into an order of its own for every product; tiles read it as it lies, from more
places of memory at one time than a processor likes. So a matrix that is met often is copied once,
before the plan runs, by calls like any other, and its products find the copy in a table.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.batching.emit import (
    CALL_LENGTH,
    OPERANDS_AT,
    PRODUCT_AT,
    PRODUCTS,
    SPLIT,
    WORTH_SPLITTING,
    put_operand,
)
from lazynet.batching.measure import aligned
from lazynet.device import CPU
from lazynet.kernels import packing, threads
from lazynet.kernels.jit import borrowing, entered, inline, offered
from lazynet.kernels.memory import load, store
from lazynet.kernels.products import ITEMS, TB, B, K, M, N
from lazynet.kernels.small_products import (
    COLUMNS,
    COPY,
    DEPTH,
    ENTRY,
    MATRIX,
    MOST_PACKED,
    SIZE,
    TRANSPOSED,
    panel,
)

# What is counted of a matrix, behind the words of its entry of the table: products, and their rows.
TIMES, ROWS, COUNTED = ENTRY, ENTRY + 1, ENTRY + 2
MOST = 64  # matrices that are counted: products look for theirs one after the other
# A matrix is packed if it has so many columns, for so many products, of so many rows together and
# each on average.
LEAST_COLUMNS, LEAST_TIMES, LEAST_ROWS, LEAST_EACH = 16, 4, 128, 4
WORTH_COUNTING = 600  # words of calls: some thirty calls
_CALL, _OPERANDS = 14, 8  # words of a call that packs, and where its operands begin
_PANEL32, _PANEL64 = panel("float32"), panel("float64")


# In what follows tables are addresses: compiling it takes a fraction of what arrays would.


@inline
def word(row, column):
    """One word of a row of a table."""
    return load(row + 8 * column)


@inline
def put(row, column, content):
    """Write one word of a row of a table."""
    store(row + 8 * column, content)


@borrowing
def place_of(matrix, transposed, n, k, matrices, end):
    """The row of a matrix among those found so far; their end where it is new."""
    row = matrices
    while row < end:
        same = word(row, MATRIX) == matrix and word(row, TRANSPOSED) == transposed
        if same and word(row, COLUMNS) == n and word(row, DEPTH) == k:
            return row
        row += 8 * COUNTED
    return row


@borrowing
def count_products(at, stop, matrices):
    """Enter the matrices by which few rows are multiplied; where the table of them ends."""
    end = matrices
    while at < stop:
        second, record = load(at + 8), at + 16
        size = (second >> PRODUCT_AT) & PRODUCTS
        at += 8 * (second & CALL_LENGTH)
        if size == 0:
            continue
        rows, n = word(record, ITEMS) * word(record, M), word(record, N)
        if rows > MOST_PACKED or n < LEAST_COLUMNS:
            continue
        k, matrix, transposed = word(record, K), word(record, B), word(record, TB)
        row = place_of(matrix, transposed, n, k, matrices, end)
        if row == matrices + 8 * COUNTED * MOST:
            continue
        if row == end:
            put(row, MATRIX, matrix)
            put(row, TRANSPOSED, transposed)
            put(row, COLUMNS, n)
            put(row, DEPTH, k)
            put(row, SIZE, 4 * size)
            put(row, TIMES, 0)
            put(row, ROWS, 0)
            end += 8 * COUNTED
        put(row, TIMES, word(row, TIMES) + 1)
        put(row, ROWS, word(row, ROWS) + rows)
    return end


@inline
def panel_of(size):
    """How many columns a panel has, of elements of so many bytes."""
    return _PANEL32 if size == 4 else _PANEL64


@offered
@entered
def choose(calls, stop, matrices, table):
    """Fill the table with the matrices whose copies save more time than they take.

    Returns the bytes of the copies; where each begins among them stands in its entry.
    """
    first, row = np.int64(calls.ctypes.data), np.int64(matrices.ctypes.data)
    end = count_products(first, first + 8 * stop, row)
    entries = np.int64(table.ctypes.data)
    entry, size = entries + 8, np.int64(0)
    while row < end:
        times, rows = word(row, TIMES), word(row, ROWS)
        if times >= LEAST_TIMES and rows >= LEAST_ROWS and rows >= LEAST_EACH * times:
            put(row, COPY, size)
            across = panel_of(word(row, SIZE))
            count = (word(row, COLUMNS) + across - 1) // across
            size += aligned(count * across * word(row, DEPTH) * word(row, SIZE))
            for column in range(ENTRY):
                put(entry, column, word(row, column))
            entry += 8 * ENTRY
        row += 8 * COUNTED
    store(entries, (entry - entries - 8) // (8 * ENTRY))
    return size


@entered
def write_calls(table, address, kernel32, kernel64, calls):
    """Write the calls that make copies from an address on; tells the table where they lie."""
    entries, q = np.int64(table.ctypes.data), np.int64(calls.ctypes.data)
    for at in range(load(entries)):
        entry = entries + 8 + 8 * ENTRY * at
        put(entry, COPY, word(entry, COPY) + address)
        n, k, size = word(entry, COLUMNS), word(entry, DEPTH), word(entry, SIZE)
        across, transposed = panel_of(size), word(entry, TRANSPOSED)
        split = SPLIT if n * k * size >= WORTH_SPLITTING else 0
        put(q, 0, kernel32 if size == 4 else kernel64)
        put(q, 1, _CALL + (np.int64(_OPERANDS) << OPERANDS_AT) + split)
        put(q, 2, (n + across - 1) // across)
        put(q, 3, transposed)
        put(q, 4, n)
        put(q, 5, k)
        put(q, 6, across)
        put(q, 7, word(entry, COPY))
        between = across * size * (k if transposed else 1)
        put_operand(q + 64, word(entry, MATRIX), between, np.int64(0))
        put_operand(q + 88, word(entry, COPY), across * size * k, np.int64(0))
        q += 8 * _CALL


def calls_to_pack(table: np.ndarray, address: int) -> np.ndarray:
    """The calls that make the copies of a table from an address on."""
    calls = np.empty(_CALL * int(table[0]), np.int64)
    sizes = table[1 + SIZE : 1 + ENTRY * int(table[0]) : ENTRY].tolist()
    kernels = [
        packing.address(dtype) if size in sizes else 0
        for dtype, size in (("float32", 4), ("float64", 8))
    ]
    write_calls(table, address, *kernels, calls)
    return calls


class Packs:
    """The packed matrices of one run of a plan.

    Attributes:
        calls: what makes them, to be run before.
    """

    def __init__(self, calls: np.ndarray, stop: int):
        self.calls = np.zeros(0, np.int64)
        self._table: np.ndarray | None = None
        self._buffer: Any = None
        if stop < WORTH_COUNTING:
            return
        table = np.empty(1 + ENTRY * MOST, np.int64)
        size = choose(calls, stop, np.empty((MOST, COUNTED), np.int64), table)
        if size:
            self._table, self._buffer = table, CPU.pool.take(size)
            self.calls = calls_to_pack(table, self._buffer.address)

    def enter(self, context: np.ndarray) -> np.ndarray:
        """The context with the table of these matrices."""
        if self._table is None:
            return context
        context = context.copy()
        context[threads.PACKED // 8] = self._table.ctypes.data
        return context

    def give_back(self) -> None:
        """Return the memory of the copies."""
        if self._buffer is not None:
            CPU.pool.give(self._buffer)
