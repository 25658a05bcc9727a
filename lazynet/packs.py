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
from lazynet.kernels.jit import borrowing, inline, jit
from lazynet.kernels.memory import load, store
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
# Words of a product's record.
_ITEMS, _M, _N, _K, _TB, _B = 0, 2, 3, 4, 6, 10
_CALL, _OPERANDS = 14, 8  # words of a call that packs, and where its operands begin
_PANEL32, _PANEL64 = panel("float32"), panel("float64")


@inline
def place_of(matrix, transposed, n, k, matrices, found):
    """Where a matrix is among those found so far; their number where it is new."""
    for at in range(found):
        known = matrices[at]
        same = known[MATRIX] == matrix and known[TRANSPOSED] == transposed
        if same and known[COLUMNS] == n and known[DEPTH] == k:
            return at
    return found


@borrowing
def count_products(calls, stop, matrices):
    """Enter the matrices by which few rows are multiplied; how many there are."""
    at = np.int64(calls.ctypes.data)
    end, found = at + 8 * stop, np.int64(0)
    while at < end:
        word, record = load(at + 8), at + 16
        size = (word >> PRODUCT_AT) & PRODUCTS
        at += 8 * (word & CALL_LENGTH)
        if size == 0:
            continue
        rows = load(record + 8 * _ITEMS) * load(record + 8 * _M)
        n, k = load(record + 8 * _N), load(record + 8 * _K)
        matrix, transposed = load(record + 8 * _B), load(record + 8 * _TB)
        place = place_of(matrix, transposed, n, k, matrices, found)
        if rows > MOST_PACKED or n < LEAST_COLUMNS or place == MOST:
            continue
        known = matrices[place]
        if place == found:
            known[MATRIX], known[TRANSPOSED] = matrix, transposed
            known[COLUMNS], known[DEPTH], known[SIZE] = n, k, 4 * size
            known[TIMES] = known[ROWS] = 0
            found += 1
        known[TIMES] += 1
        known[ROWS] += rows
    return found


@inline
def panels_of(matrix):
    """How many panels a matrix has, of how many columns."""
    across = _PANEL32 if matrix[SIZE] == 4 else _PANEL64
    return (matrix[COLUMNS] + across - 1) // across, across


@jit
def choose(calls, stop, matrices, table):
    """Fill the table with the matrices whose copies save more time than they take.

    Returns the bytes of the copies; where each begins among them stands in its entry.
    """
    chosen = end = np.int64(0)
    for at in range(count_products(calls, stop, matrices)):
        known = matrices[at]
        times, rows = known[TIMES], known[ROWS]
        if times < LEAST_TIMES or rows < max(LEAST_ROWS, LEAST_EACH * times):
            continue
        count, across = panels_of(known)
        known[COPY] = end
        end += aligned(count * across * known[DEPTH] * known[SIZE])
        table[1 + ENTRY * chosen : 1 + ENTRY * (chosen + 1)] = known[:ENTRY]
        chosen += 1
    table[0] = chosen
    return end


@jit
def write_calls(table, address, kernel32, kernel64, calls):
    """Write the calls that make copies from an address on; tells the table where they lie."""
    for at in range(table[0]):
        matrix, q = table[1 + ENTRY * at :], calls.ctypes.data + 8 * _CALL * at
        matrix[COPY] += address
        n, k, size = matrix[COLUMNS], matrix[DEPTH], matrix[SIZE]
        count, across = panels_of(matrix)
        split = SPLIT if n * k * size >= WORTH_SPLITTING else 0
        store(q, kernel32 if size == 4 else kernel64)
        store(q + 8, _CALL + (np.int64(_OPERANDS) << OPERANDS_AT) + split)
        store(q + 16, count)
        store(q + 24, matrix[TRANSPOSED])
        store(q + 32, n)
        store(q + 40, k)
        store(q + 48, across)
        store(q + 56, matrix[COPY])
        between = across * size * (k if matrix[TRANSPOSED] else 1)
        put_operand(q + 64, matrix[MATRIX], between, np.int64(0))
        put_operand(q + 88, matrix[COPY], across * size * k, np.int64(0))


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
