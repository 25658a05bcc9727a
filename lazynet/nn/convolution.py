"""Convolutions and pooling as modules, with PyTorch's parameters and initial values."""

from __future__ import annotations

import math
from typing import Any

from lazynet.nn import functional as F
from lazynet.nn.linear import drawn, sizes
from lazynet.nn.module import Module
from lazynet.ops.convolution import several


class _Convolution(Module):
    axes = 1
    transposed = False
    function: Any = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        output_padding: Any = 0,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        sizes(name, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: channels {in_channels} and {out_channels} are no multiples of "
                f"{groups} groups"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = several(kernel_size, self.axes, name)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.output_padding = output_padding
        first, second = (
            (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        )
        shape = (first, second // groups, *self.kernel_size)
        bound = 1.0 / math.sqrt(math.prod(shape[1:]))  # kaiming_uniform_ with a = sqrt(5)
        self.weight = drawn(bound, *shape)
        self.bias = drawn(bound, out_channels) if bias else None

    def forward(self, x: Any) -> Any:
        options = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation,
                   "groups": self.groups}  # fmt: skip
        if self.transposed:
            options["output_padding"] = self.output_padding
        return type(self).function(x, self.weight, self.bias, **options)

    def extra_repr(self) -> str:
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)):
            if getattr(self, name) != default:
                shown += f", {name}={getattr(self, name)}"
        return shown if self.bias is not None else f"{shown}, bias=False"


class Conv1d(_Convolution):
    """conv1d of rows (channels, length), or along the rows of a Sequence of vectors (channels,).

    Parameters: weight (out, in / groups, window), bias (out,), uniform in (-b, b) with
    b = 1 / sqrt(in / groups * window).
    """

    function = staticmethod(F.conv1d)


class Conv2d(_Convolution):
    """conv2d of rows (channels, height, width).

    Parameters: weight (out, in / groups, height, width), bias (out,), initial values as `Conv1d`.
    """

    axes = 2
    function = staticmethod(F.conv2d)


class ConvTranspose1d(_Convolution):
    """conv_transpose1d of rows (channels, length); weight (in, out / groups, window)."""

    transposed = True
    function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_Convolution):
    """conv_transpose2d of rows (channels, height, width); weight (in, out / groups, h, w)."""

    axes = 2
    transposed = True
    function = staticmethod(F.conv_transpose2d)


class _Pool(Module):
    function: Any = None

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Any) -> Any:
        return type(self).function(x, self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        stride = self.kernel_size if self.stride is None else self.stride
        return f"kernel_size={self.kernel_size}, stride={stride}, padding={self.padding}"


class MaxPool1d(_Pool):
    """The largest element of each window of a row (channels, length)."""

    function = staticmethod(F.max_pool1d)


class MaxPool2d(_Pool):
    """The largest element of each window of a row (channels, height, width)."""

    function = staticmethod(F.max_pool2d)


class AvgPool1d(_Pool):
    """The mean of each window of a row (channels, length)."""

    function = staticmethod(F.avg_pool1d)


class AvgPool2d(_Pool):
    """The mean of each window of a row (channels, height, width)."""

    function = staticmethod(F.avg_pool2d)


class _Adaptive(Module):
    function: Any = None

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        return type(self).function(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """The means of windows that cover a row (channels, length) evenly."""

    function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_Adaptive):
    """The means of windows that cover a row (channels, height, width) evenly."""

    function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveMaxPool1d(_Adaptive):
    """The largest elements of windows that cover a row (channels, length) evenly."""

    function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_Adaptive):
    """The largest elements of windows that cover a row (channels, height, width) evenly."""

    function = staticmethod(F.adaptive_max_pool2d)
