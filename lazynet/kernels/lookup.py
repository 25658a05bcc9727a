"""Rows taken from a table, and added to one, by index."""

import numpy as np

from lazynet.kernels.memory import address, load
from lazynet.kernels.words import (
    constant,
    itemsize,
    lanes,
    payload_words,
    row,
    row_index,
    together,
)


def take_rows(call, context):
    """y = table[index]; operands: payload (an index an item), table, y; accumulate, width."""
    items, width = load(call), load(call + 16)
    index = payload_words(load(call + 24), items)
    for r in range(items):
        x = row(load(call + 48) + np.int64(index[r]) * width * itemsize, width)
        y = row(address(call + 72, r), width)
        for j in lanes(width):
            y[j] = x[j]


def take_own_row(call, context):
    """y = x[index] of each item's own x; operands: payload, x, y; attributes: accumulate, width."""
    items, width = load(call), load(call + 16)
    index = payload_words(load(call + 24), items)
    for r in range(items):
        x = row(address(call + 48, r) + np.int64(index[r]) * width * itemsize, width)
        y = row(address(call + 72, r), width)
        for j in lanes(width):
            y[j] = x[j]


def add_rows(call, context):
    """table[index] += x, into zeros unless it accumulates; operands: payload, x, table.

    Attributes: accumulate, width, rows of the table.
    """
    items, accumulate, width, rows = load(call), load(call + 8), load(call + 16), load(call + 24)
    index = payload_words(load(call + 32), items)
    for r in range(items):
        table = address(call + 80, r)
        if not accumulate:
            y = row(table, rows * width)
            for j in lanes(rows * width):
                y[j] = constant(0)
            together()
        x = row(address(call + 56, r), width)
        y = row(table + np.int64(index[r]) * width * itemsize, width)
        for j in lanes(width):
            y[j] += x[j]


def take_elements(call, context):
    """y[j] (+)= x[table[j]], 0 where table[j] < 0; attributes: accumulate, widths of y and x.

    Operands: the table of indices, one for all items, x, y.
    """
    items, accumulate = load(call), load(call + 8)
    width, source = load(call + 16), load(call + 24)
    table = row_index(load(call + 32), width)
    for r in range(items):
        x, y = row(address(call + 56, r), source), row(address(call + 80, r), width)
        for j in lanes(width):
            k = table[j]
            value = x[k] if k >= 0 else constant(0)
            if accumulate:
                y[j] += value
            else:
                y[j] = value


def add_elements(call, context):
    """y[table[j]] += x[j], into zeros unless it accumulates; attributes: widths of x and y.

    Operands: the table of indices, one for all items, x, y. Negative indices are left out.
    """
    items, accumulate = load(call), load(call + 8)
    width, target = load(call + 16), load(call + 24)
    table = row_index(load(call + 32), width)
    for r in range(items):
        x, y = row(address(call + 56, r), width), row(address(call + 80, r), target)
        if not accumulate:
            for j in lanes(target):
                y[j] = constant(0)
            together()
        for j in lanes(width):
            if table[j] >= 0:
                y[table[j]] += x[j]
