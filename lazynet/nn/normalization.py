"""Normalisation as modules, with PyTorch's parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.cell import cell
from lazynet.nn import functional as F
from lazynet.nn.module import Module
from lazynet.tensor import Parameter


def _ones(*shape: int) -> Parameter:
    return Parameter(np.ones(shape, np.float32))


def _zeros(*shape: int) -> Parameter:
    return Parameter(np.zeros(shape, np.float32))


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) weight + bias over the last axes (Ba et al., 2016).

    Parameters: weight and bias of `normalized_shape`, ones and zeros at first.
    """

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        shape = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self.weight = _ones(*shape) if elementwise_affine else None
        self.bias = _zeros(*shape) if elementwise_affine and bias else None

    @cell
    def forward(self, x: Any) -> Any:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = self.elementwise_affine
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={affine}"


class RMSNorm(Module):
    """x / sqrt(mean of x^2 + eps) weight over the last axes (Zhang and Sennrich, 2019).

    Parameters: weight of `normalized_shape`, ones at first.
    """

    def __init__(
        self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True
    ) -> None:
        super().__init__()
        shape = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self.weight = _ones(*shape) if elementwise_affine else None

    @cell
    def forward(self, x: Any) -> Any:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        affine = self.elementwise_affine
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={affine}"


class GroupNorm(Module):
    """Normalises groups of the channels, the first axis of a row (Wu and He, 2018).

    Parameters: weight and bias of (num_channels,), ones and zeros at first.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels are no multiple of {num_groups}")
        self.num_groups, self.num_channels, self.eps, self.affine = (
            num_groups, num_channels, eps, affine,
        )  # fmt: skip
        self.weight = _ones(num_channels) if affine else None
        self.bias = _zeros(num_channels) if affine else None

    @cell
    def forward(self, x: Any) -> Any:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
