"""Clipping of gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lazynet.tensor import Parameter


def _given(parameters: Parameter | Iterable[Parameter]) -> list[Parameter]:
    given = [parameters] if isinstance(parameters, Parameter) else list(parameters)
    given = [p for p in given if p.graph.gradient is not None]
    for p in given:
        p.graph.recorded = None  # what is clipped is a number from here on
    return given


def clip_grad_norm_(
    parameters: Parameter | Iterable[Parameter],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Scale all gradients in place so that their joint norm is at most `max_norm`.

    Args:
        parameters: those without a gradient are passed over.
        norm_type: 2, or `math.inf` for the largest absolute value.
        error_if_nonfinite: whether a norm that is infinite or NaN is an error.

    Returns:
        the norm before clipping.

    Raises:
        RuntimeError: for a norm that is not finite, if asked to.
    """
    gradients = [(p.graph.device.updates, p.graph.gradient.reshape(-1)) for p in _given(parameters)]
    if norm_type == 2:
        norm = math.sqrt(sum(updates.square_sum(g) for updates, g in gradients))
    elif norm_type == math.inf:
        norm = max((float(updates.largest(g)) for updates, g in gradients), default=0.0)
    else:
        raise ValueError(f"clip_grad_norm_: norm_type is 2 or math.inf, not {norm_type}")
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {norm}")
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1.0:  # a NaN must reach the gradients, as in PyTorch
        for updates, g in gradients:
            updates.scale(g, g.dtype.type(factor))
    return norm


def clip_grad_value_(parameters: Parameter | Iterable[Parameter], clip_value: float) -> None:
    """Clip each element of each gradient, in place, to [-clip_value, clip_value]."""
    for p in _given(parameters):
        g = p.graph.gradient.reshape(-1)
        low, high = g.dtype.type(-clip_value), g.dtype.type(clip_value)
        p.graph.device.updates.clip(g, low, high)
