"""Derivatives against differences: how an op, a cell, a layer of one's own is shown to be right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lazynet.autodiff import gradients
from lazynet.nested import leaves_of
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.rows import sequence
from lazynet.tensor import Sequence as Rows
from lazynet.tensor import tensor
from lazynet.transforms import jvp

STEP = 1e-4  # of the differences, whose own error is of the order of its fourth power


def check_grads(
    function: Callable,
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = ("fwd", "rev"),
    tolerance: float = 1e-6,
) -> None:
    """Compare the derivatives of a function with differences of its values, in float64.

    The derivative along a random direction, of all arguments at once, is compared with the
    difference of four points (8 f(h) - 8 f(-h) - f(2h) + f(-2h)) / 12 h; for `order` 2 the same is
    done to that derivative.

        >>> ln.check_grads(lambda x, w: (w * x).tanh(), [np.ones(3), np.ones(3)])

    Args:
        function: of float64 Tensors, giving a Tensor or Sequence, or several in a tuple.
        args: arrays.
        order: 1 or more.
        modes: "rev" for gradients (`ln.gradients`), "fwd" for derivatives along a direction
            (`ln.jvp`).
        tolerance: relative to the size of the derivative, or absolute below 1.

    Raises:
        AssertionError: with both numbers, where they differ.
        ValueError: for an unknown mode.
        TypeError: for arguments that are no list.
    """
    unknown = [mode for mode in modes if mode not in ("fwd", "rev")]
    if unknown or not modes:
        raise ValueError(f'check_grads: modes are "fwd" and "rev", not {list(modes)}')
    if not isinstance(args, (list, tuple)):
        raise TypeError(
            f"check_grads: expected a list of arguments, not {type(args).__name__}; one goes in a "
            "list as well"
        )
    generator = np.random.default_rng(0)
    arrays = [np.asarray(a, np.float64) for a in args]
    weights: dict[int, Any] = {}

    def scalar(*values: Any) -> Any:
        parts = []
        for k, y in enumerate(leaves_of(function(*values))):
            if not y.type.is_float:
                continue
            if k not in weights:
                weights[k] = generator.standard_normal(tuple(y.shape))
            w = tensor(weights[k])
            parts.append(sum_of(y * (sequence(w) if isinstance(y, Rows) else w)))
        return sum_of(parts)

    directions = [generator.standard_normal(a.shape) for a in arrays]
    _check(scalar, arrays, directions, order, tuple(modes), tolerance, 1)


def _check(scalar, arrays, directions, order, modes, tolerance, number) -> None:
    def backward(*values):
        found = gradients(scalar(*values), values)
        parts = [
            sum_of(g * tensor(d)) for g, d in zip(found, directions, strict=True) if g is not None
        ]
        return sum_of(parts) if parts else tensor(np.zeros(()))

    def forward(*values):
        return jvp(scalar, values, tuple(tensor(d) for d in directions))[1]

    def at(function, step: float):
        return function(*(
            tensor(a + step * d, requires_grad=True)
            for a, d in zip(arrays, directions, strict=True)
        ))  # fmt: skip

    points = [at(scalar, k * STEP) for k in (1, -1, 2, -2)]
    ways = {"rev": backward, "fwd": forward}
    derivatives = {mode: at(ways[mode], 0.0) for mode in modes}
    up, down, far_up, far_down = (float(p.numpy()) for p in points)
    numeric = (8 * (up - down) - (far_up - far_down)) / (12 * STEP)
    for mode, derivative in derivatives.items():
        exact = float(derivative.numpy())
        if not abs(numeric - exact) <= tolerance * max(1.0, abs(numeric), abs(exact)):
            name = {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
            raise AssertionError(
                f"{name} derivative along a random direction: {exact} by formula ({mode}), "
                f"{numeric} by differences"
            )
    if order > 1:
        following = ways["rev" if "rev" in modes else "fwd"]
        _check(following, arrays, directions, order - 1, modes, tolerance, number + 1)
