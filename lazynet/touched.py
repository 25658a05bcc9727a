"""Which rows of a table's gradient can be other than zero: those that a program looked up.

A table of a hundred thousand words has a gradient as large, of which a minibatch touches a few
hundred rows. Optimizers that change these alone (`optim.SparseAdam`, `optim.SparseSGD`) let it be
noted which they are; then clearing the gradient and the update take time for these.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.batching.layout import B_PAYLOAD, B_SIGNATURE
from lazynet.batching.marks import P_BATCH, P_START, P_STOP
from lazynet.kernels.python import data_of


class Touched:
    """The rows that were added to since the gradient was cleared; or all of them."""

    __slots__ = ("_all", "_rows")

    def __init__(self) -> None:
        self._rows: list[np.ndarray] = []
        self._all = False

    def clear(self) -> None:
        """None any more."""
        self._rows, self._all = [], False

    def everything(self) -> None:
        """Any row may have been."""
        self._rows, self._all = [], True

    def note(self, rows: np.ndarray | None) -> None:
        """These as well; None for all."""
        if rows is None:
            self.everything()
        elif not self._all:
            self._rows.append(rows)

    def rows(self) -> np.ndarray | None:
        """The rows, each once and in order; None for all."""
        if self._all:
            return None
        if len(self._rows) != 1:
            self._rows = [np.concatenate([np.zeros(0, np.int32), *self._rows])]
        self._rows = [np.unique(self._rows[0])]
        return self._rows[0]


def rows_looked_up(run: Any, parts: np.ndarray, number: int) -> np.ndarray | None:
    """The rows of a parameter whose gradients these parts of a forward add to; None for all."""
    found = [np.zeros(0, np.int32)]
    for local, kind in enumerate(run.plan.kinds):
        if number not in (n for _, n, _ in kind.statics):
            continue
        if not kind.op.looks_up:
            return None
        batches = run.laid.batches[parts[:, P_BATCH]]
        for part, batch in zip(parts, batches, strict=True):
            if batch[B_SIGNATURE] == local:
                first = int(batch[B_PAYLOAD])
                found.append(run.laid.payload[first + part[P_START] : first + part[P_STOP]])
    return np.concatenate(found)


def table_of_rows(arrays: list[Any], width: int, rows: np.ndarray | None, count: int) -> np.ndarray:
    """The table of `updates.each` for rows of arrays that have `count` rows of `width` elements.

    Args:
        rows: which; None for all, which are one entry.
    """
    firsts = [data_of(array) for array in arrays]
    if rows is None:
        return np.array([[width * count, *firsts]], np.int64)
    table = np.empty((len(rows), 1 + len(arrays)), np.int64)
    table[:, 0] = width
    table[:, 1:] = rows[:, None].astype(np.int64) * (width * arrays[0].itemsize)
    table[:, 1:] += firsts
    return table
