"""Rows in memory of the host, as Python reads and writes them: by address, many at a time."""

from lazynet.kernels.jit import jit
from lazynet.kernels.memory import row_bool, row_float32, row_float64


@jit
def gather(out, addresses):
    """Copy the rows at these addresses, one after the other, to the rows of `out` (bytes)."""
    width = out.shape[1]
    for k in range(addresses.size):
        out[k] = row_bool(addresses[k], width)


@jit
def add32(address, values):
    """Add float32 values to the row at an address."""
    row = row_float32(address, values.size)
    for i in range(values.size):
        row[i] += values[i]


@jit
def add64(address, values):
    """Add float64 values to the row at an address."""
    row = row_float64(address, values.size)
    for i in range(values.size):
        row[i] += values[i]
