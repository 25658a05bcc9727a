"""Positions of rows, as encodings that are added to them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lazynet.nn.linear import sizes
from lazynet.nn.module import Module
from lazynet.ops.rows import sequence
from lazynet.record import ShapeError, as_value
from lazynet.tensor import Tensor


def sinusoidal_positions(length: int, dim: int) -> np.ndarray:
    """Encodings of the positions 0, 1, ...: sin and cos of position / 10000^(2 k / dim).

    Vaswani et al., 2017, section 3.5: column 2 k is the sine, column 2 k + 1 the cosine.

        >>> nn.sinusoidal_positions(2, 4)[0].tolist()
        [0.0, 1.0, 0.0, 1.0]
    """
    angles = np.arange(length)[:, None] * np.exp(np.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    table = np.empty((length, dim), np.float32)
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, : dim // 2])
    return table


_TABLES: dict[tuple[int, str], Any] = {}  # by size and dtype; examples take a part of them


class SinusoidalPositions(Module):
    """y_t = x_t + sinusoidal_positions[start + t].

    Shapes: n rows of (dim,) -> n rows of (dim,) (Vaswani et al., 2017).

        >>> nn.SinusoidalPositions(4)(ln.sequence(np.zeros((2, 4), np.float32)))[0].tolist()
        [0.0, 1.0, 0.0, 1.0]

    The encodings are no parameters. Tables of them grow as longer examples come.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        sizes("SinusoidalPositions", dim=dim)
        self.dim = dim

    def forward(self, x: Any, start: int = 0) -> Any:
        """The rows of x, the first of them at position `start`; a Tensor is one row.

        Raises:
            ShapeError: for rows of another size. ValueError: for a start before 0.
        """
        if x.type.shape != (self.dim,):
            raise ShapeError(
                f"SinusoidalPositions: rows of {x.type.shape}; expected rows of ({self.dim},)"
            )
        if start < 0:
            raise ValueError(f"SinusoidalPositions: positions begin at 0, not {start}")
        count = 1 if isinstance(x, Tensor) else len(x)
        key = (self.dim, x.type.dtype)
        table = _TABLES.get(key)
        if table is None or len(table) < start + count:
            rows = sinusoidal_positions(max(64, 2 * (start + count)), self.dim)
            rows = as_value(rows.astype(x.type.dtype), "SinusoidalPositions")  # on any device
            table = _TABLES[key] = sequence(rows)
        return x + (table[start] if isinstance(x, Tensor) else table[start : start + count])
