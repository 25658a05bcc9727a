"""Normalisation of each row by its own elements."""

from __future__ import annotations

import math
from typing import Any

from lazynet.ops import reduce
from lazynet.ops.elementwise import maximum
from lazynet.ops.functions import rsqrt
from lazynet.ops.reduce import reshape
from lazynet.ops.statistics import norm, spread_back
from lazynet.record import ShapeError, as_value


def standardized(x, eps: float):
    """(x - mean) / sqrt(variance + eps) along the last axis."""
    away = x - reshape(reduce.mean(x, -1), (*x.type.shape[:-1], 1))
    spread = reduce.mean(away * away, -1)
    return away * rsqrt(reshape(spread, (*x.type.shape[:-1], 1)) + eps)


def _floats(name: str, x):
    x = as_value(x, name)
    if not x.type.is_float:
        raise TypeError(f"{name}: expected float rows, not {x.type.dtype}")
    return x


def _check_affine(name: str, shape: tuple[int, ...], **named) -> None:
    for what, value in named.items():
        if value is not None and value.shape != shape:
            raise ShapeError(f"{name}: {what} of {value.shape}; expected {shape}")


def _flat(name: str, x, shape) -> tuple[Any, tuple[int, ...]]:
    """Rows with the axes to normalise over joined into one, and how they were."""
    x = _floats(name, x)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    own = x.type.shape
    if not shape or own[len(own) - len(shape) :] != shape:
        raise ShapeError(f"{name}: rows of {own} do not end in the axes {shape}")
    return reshape(x, (*own[: len(own) - len(shape)], math.prod(shape))), own


def layer_norm(x, normalized_shape, weight=None, bias=None, eps: float = 1e-5):
    """(x - mean) / sqrt(variance + eps) weight + bias over the last axes (Ba et al., 2016).

    >>> ln.nn.functional.layer_norm(ln.tensor([1.0, 1.0]), 2).numpy().tolist()
    [0.0, 0.0]

    Raises:
        ShapeError: if the rows do not end in these axes, or weight or bias have another shape.
    """
    flat, own = _flat("layer_norm", x, normalized_shape)
    _check_affine("layer_norm", own[len(flat.type.shape) - 1 :], weight=weight, bias=bias)
    y = reshape(standardized(flat, eps), own)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x, normalized_shape, weight=None, eps: float | None = None):
    """x / sqrt(mean of x^2 + eps) weight over the last axes (Zhang and Sennrich, 2019).

    eps is by default the smallest relative distance of two numbers of the dtype, as in PyTorch.

    >>> ln.nn.functional.rms_norm(ln.tensor([2.0, 2.0]), 2, eps=0.0).numpy().tolist()
    [1.0, 1.0]
    """
    flat, own = _flat("rms_norm", x, normalized_shape)
    _check_affine("rms_norm", own[len(flat.type.shape) - 1 :], weight=weight)
    if eps is None:
        eps = 2.0**-23 if flat.type.dtype == "float32" else 2.0**-52
    mean = reduce.mean(flat * flat, -1)
    y = reshape(flat * rsqrt(reshape(mean, (*flat.type.shape[:-1], 1)) + eps), own)
    return y if weight is None else y * weight


def group_norm(x, num_groups: int, weight=None, bias=None, eps: float = 1e-5):
    """Normalises groups of the channels, the first axis of a row (Wu and He, 2018).

    >>> ln.nn.functional.group_norm(ln.ones(4, 3), 2).shape
    (4, 3)

    Raises:
        ShapeError: if the channels cannot be cut into that many groups.
    """
    x = _floats("group_norm", x)
    own = x.type.shape
    if not own or num_groups < 1 or own[0] % num_groups:
        raise ShapeError(f"group_norm: rows of {own} have no {num_groups} groups of channels")
    _check_affine("group_norm", own[:1], weight=weight, bias=bias)
    flat = reshape(x, (num_groups, x.type.size // num_groups))
    y = reshape(standardized(flat, eps), own)
    channels = (own[0], *(1 for _ in own[1:]))
    y = y if weight is None else y * reshape(weight, channels)
    return y if bias is None else y + reshape(bias, channels)


def normalize(x, p: float = 2.0, dim: int = -1, eps: float = 1e-12):
    """x / max(|x|_p, eps) along an axis.

    >>> [round(v, 4) for v in ln.nn.functional.normalize(ln.tensor([3.0, 4.0])).numpy().tolist()]
    [0.6, 0.8]
    """
    x = _floats("normalize", x)
    return x / maximum(spread_back(norm(x, p, dim), x, dim), eps)
