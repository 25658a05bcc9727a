"""Packing: copies of matrices in panels, in the order in which tiles read fastest.

In a panel lie all rows of as many columns as a tile has, one behind the other. So a tile goes
through memory from one end to the other.
"""

import functools

from lazynet.kernels.jit import kernel_address
from lazynet.kernels.memory import OPERAND, load
from lazynet.kernels.words import itemsize, lift, row

AT_ONCE = 16  # rows of a panel that are made before the next, where they are columns of the matrix


def pack(call, context):
    """Copy panels of a matrix, an item each.

    Attributes: transposed, columns and rows of the matrix, columns of a panel, the first address of
    the copy. Operands: the panels of the matrix and of the copy.
    """
    transposed, n, k, panel = load(call + 8), load(call + 16), load(call + 24), load(call + 32)
    source, copy, size = call + 48, load(call + 48 + OPERAND), k * panel * itemsize
    before = (copy - load(call + 40)) // size * panel
    for j in range(load(call)):
        matrix, lines = load(source) + load(source + 8) * j, row(copy + size * j, k * panel)
        some = min(panel, n - before - panel * j)
        if not transposed:
            for r in range(k):
                values = row(matrix + itemsize * r * n, some)
                for c in range(some):
                    lines[r * panel + c] = values[c]
            continue
        for first in range(0, k, AT_ONCE):
            for c in range(some):
                values = row(matrix + itemsize * (c * k + first), min(AT_ONCE, k - first))
                for r in range(min(AT_ONCE, k - first)):
                    lines[(first + r) * panel + c] = values[r]


@functools.cache
def address(dtype: str) -> int:
    """Where the compiled code of `pack` lies."""
    return kernel_address(lift(pack, dtype))
