"""Checkpoints: functions of which backward computes the inside again, instead of keeping its rows.

A checkpoint is a cell (`cell.py`) that keeps nothing but its results. What it computes on the way
lies in scratch memory, forward and again backward, of which there is as much as its largest batch
takes, however many batches there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazynet.cell import Cell, cell_of
from lazynet.traces import Trace


class RecomputedTrace(Trace):
    """A trace whose backward computes the forward again."""

    recompute = True


class Checkpoint(Cell):
    """A cell that keeps nothing but its results. See `checkpoint`."""

    trace = RecomputedTrace
    recompute = True

    def __repr__(self) -> str:
        return super().__repr__().replace("cell", "checkpoint", 1)


def checkpoint(function: Callable) -> Any:
    """Keep only the results of a pure function for backward, which computes the rest again.

    It costs one more forward of the function, and saves the rows of all values inside it. Used like
    `ln.cell`, and under the same rules: a pure function of Tensors (alone or in tuples, lists and
    dicts) and parameters, or a method. Calls batch; over Sequences it goes row by row.

        >>> @ln.checkpoint
        ... def block(x):
        ...     for _ in range(8):
        ...         x = x + (x * 2.0).tanh()
        ...     return x
        >>> block(ln.ones(3)).shape
        (3,)

    As the step of `ln.scan` it saves the rows of all values of all steps but the states:
    `ln.scan(ln.checkpoint(step), states, x)`. Inside a cell it is a part of the cell. Gradients
    that are recorded (`ln.gradients`, `create_graph=True`) record what is inside, and keep it.

    Raises:
        ImpureFunction: when called, if it changes what it reads.
        TypeError: when called, if it looks at a value, or holds what a cell cannot hold: a scan
            or attention.
    """
    return cell_of(Checkpoint, function, "checkpoint")
