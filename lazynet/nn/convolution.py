"""Convolutions and pooling as modules, with PyTorch's parameters and initial values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lazynet.nn import functional as F
from lazynet.nn.linear import drawn, sizes
from lazynet.nn.module import Module
from lazynet.ops.convolution import pairs_of, several
from lazynet.tensor import Sequence


class _Convolution(Module):
    axes = 1
    function: Any = None

    def _make(
        self, in_channels: int, out_channels: int, kernel_size: Any, groups: int, bias: bool,
        transposed: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        """Weights of the right shape, and the options that `function` is called with."""
        name = type(self).__name__
        sizes(name, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: channels {in_channels} and {out_channels} are no multiples of "
                f"{groups} groups"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = several(kernel_size, self.axes, name, "kernel_size")
        for option, value in options.items():
            setattr(self, option, value)
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        bound = 1.0 / math.sqrt(math.prod(shape[1:]))  # kaiming_uniform_ with a = sqrt(5)
        self.weight = drawn(bound, *shape)
        self.bias = drawn(bound, out_channels) if bias else None

    def extra_repr(self) -> str:
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        defaults = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1,
                    "padding_mode": "zeros"}  # fmt: skip
        for name, default in defaults.items():
            value = getattr(self, name, default)
            if value != default:
                shown += f", {name}={value!r}"
        return shown if self.bias is not None else f"{shown}, bias=False"


class _Forward(_Convolution):
    stride: Any
    padding: Any
    dilation: Any

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
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                f"{type(self).__name__}: padding_mode must be 'zeros', 'reflect', 'replicate' or "
                f"'circular', not {padding_mode!r}"
            )
        self._make(in_channels, out_channels, kernel_size, groups, bias, stride=stride,
                   padding=padding, dilation=dilation)  # fmt: skip
        self.padding_mode = padding_mode

    def forward(self, x: Any) -> Any:
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = self._padded(x), 0
        return type(self).function(
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _padded(self, x: Any) -> Any:
        """The input with the padding of another mode than zeros put around it."""
        name, axes = type(self).__name__, self.axes
        stride, dilation = (
            several(self.stride, axes, name, "stride"),
            several(self.dilation, axes, name, "dilation"),
        )
        found = pairs_of(self.padding, name, self.kernel_size, stride, dilation)
        if isinstance(x, Sequence) and len(x.type.shape) == 1:
            if not len(x):
                return x  # there is nothing to pad with
            modes = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
            mode: Any = modes[self.padding_mode]
            return x[np.pad(np.arange(len(x)), found[0], mode)]
        widths = [width for pair in reversed(found) for width in pair]
        return F.pad(x, widths, self.padding_mode)


class _Transposed(_Convolution):
    stride: Any
    padding: Any
    output_padding: Any
    dilation: Any

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
    ) -> None:
        super().__init__()
        self._make(in_channels, out_channels, kernel_size, groups, bias, True, stride=stride,
                   padding=padding, output_padding=output_padding, dilation=dilation)  # fmt: skip

    def forward(self, x: Any) -> Any:
        return type(self).function(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups,
            self.dilation,
        )  # fmt: skip


class Conv1d(_Forward):
    """conv1d of rows (channels, length), or along the rows of a Sequence of vectors (channels,).

    Parameters: weight (out, in / groups, window), bias (out,), uniform in (-b, b) with
    b = 1 / sqrt(in / groups * window).

    Shapes: (in, length) -> (out, l) with
    l = floor((length + 2 padding - dilation (window - 1) - 1) / stride) + 1;
    n rows of (in,) -> l rows of (out,).

    >>> conv = nn.Conv1d(2, 3, kernel_size=3, padding=1)
    >>> conv(ln.ones(2, 5)).shape, conv(ln.ones(2, length=5)).shape
    ((3, 5), (5, 3))

    Args:
        padding: a number, "valid" or "same".
        padding_mode: what it is filled with: "zeros", "reflect", "replicate" or "circular".

    Raises:
        ValueError: if channels are no multiples of the groups.
        ShapeError: when called, if channels do not match.
    """

    function = staticmethod(F.conv1d)


class Conv2d(_Forward):
    """conv2d of rows (channels, height, width).

    Parameters: weight (out, in / groups, height, width), bias (out,), initial values as `Conv1d`.

    Shapes: (in, height, width) -> (out, h, w), h and w as l of `Conv1d`; n rows -> n rows.

    >>> nn.Conv2d(2, 3, kernel_size=3, stride=2)(ln.ones(2, 5, 7)).shape
    (3, 2, 3)
    """

    axes = 2
    function = staticmethod(F.conv2d)


class ConvTranspose1d(_Transposed):
    """conv_transpose1d of rows (channels, length); weight (in, out / groups, window).

    Shapes: (in, length) -> (out, l) with
    l = (length - 1) stride - 2 padding + dilation (window - 1) + output_padding + 1;
    n rows -> n rows.

    >>> nn.ConvTranspose1d(2, 3, kernel_size=3, stride=2)(ln.ones(2, 4)).shape
    (3, 9)

    Parameters: weight, and bias (out,), uniform in (-b, b), b = 1 / sqrt(out / groups * window).
    """

    function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_Transposed):
    """conv_transpose2d of rows (channels, height, width); weight (in, out / groups, h, w).

    Shapes: (in, height, width) -> (out, h, w), h and w as l of `ConvTranspose1d`; n rows -> n rows.

    >>> nn.ConvTranspose2d(2, 3, kernel_size=2, stride=2)(ln.ones(2, 3, 4)).shape
    (3, 6, 8)

    Parameters: weight, and bias (out,), initial values as `ConvTranspose1d`.
    """

    axes = 2
    function = staticmethod(F.conv_transpose2d)


class _Pool(Module):
    function: Any = None
    options: tuple[str, ...] = ()

    def _keep(self, kernel_size: Any, stride: Any, padding: Any, **options: Any) -> None:
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        for name, value in options.items():
            setattr(self, name, value)
        self.options = tuple(options)

    def forward(self, x: Any) -> Any:
        return type(self).function(
            x, self.kernel_size, self.stride, self.padding,
            **{name: getattr(self, name) for name in self.options},
        )  # fmt: skip

    def extra_repr(self) -> str:
        names = ("kernel_size", "stride", "padding", *self.options)
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class _MaxPool(_Pool):
    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, *,
        ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self._keep(kernel_size, stride, padding, dilation=dilation, ceil_mode=ceil_mode)


class MaxPool1d(_MaxPool):
    """The largest element of each window of a row (channels, length), or along a Sequence's rows.

    Shapes: as `nn.functional.max_pool1d`, as are the arguments.

    >>> nn.MaxPool1d(2)(ln.ones(3, 8)).shape
    (3, 4)
    """

    function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest element of each window of a row (channels, height, width).

    Shapes: as `nn.functional.max_pool2d`, as are the arguments.

    >>> nn.MaxPool2d(2)(ln.ones(3, 8, 8)).shape
    (3, 4, 4)
    """

    function = staticmethod(F.max_pool2d)


class KMaxPool(Module):
    """The k largest elements along an axis, in their order; by default of a Sequence's rows.

    Shapes: n rows -> k rows of the same shape.

    >>> nn.KMaxPool(2)(ln.sequence([1.0, 5.0, 2.0, 4.0])).tolist()
    [5.0, 4.0]
    """

    def __init__(self, k: int, dim: int = 0) -> None:
        super().__init__()
        self.k, self.dim = k, dim

    def forward(self, x: Any) -> Any:
        return F.k_max_pool(x, self.k, self.dim)

    def extra_repr(self) -> str:
        return f"{self.k}, dim={self.dim}"


class AvgPool1d(_Pool):
    """The mean of each window of a row (channels, length), or along the rows of a Sequence.

    Shapes: as `nn.functional.avg_pool1d`, as are the arguments.

    >>> nn.AvgPool1d(2)(ln.ones(3, 8)).shape
    (3, 4)
    """

    function = staticmethod(F.avg_pool1d)

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self._keep(kernel_size, stride, padding, ceil_mode=ceil_mode,
                   count_include_pad=count_include_pad)  # fmt: skip


class AvgPool2d(_Pool):
    """The mean of each window of a row (channels, height, width).

    Shapes: as `nn.functional.avg_pool2d`, as are the arguments.

    >>> nn.AvgPool2d(2)(ln.ones(3, 8, 8)).shape
    (3, 4, 4)
    """

    function = staticmethod(F.avg_pool2d)

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._keep(
            kernel_size, stride, padding, ceil_mode=ceil_mode,
            count_include_pad=count_include_pad, divisor_override=divisor_override,
        )  # fmt: skip


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
    """The means of windows that cover a row (channels, length) evenly.

    Shapes: (channels, length) -> (channels, output_size); n rows of (channels,) ->
    `output_size` rows.

    >>> nn.AdaptiveAvgPool1d(3)(ln.ones(2, 7)).shape
    (2, 3)
    """

    function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_Adaptive):
    """The means of windows that cover a row (channels, height, width) evenly.

    Shapes: (channels, height, width) -> (channels, *output_size); n rows -> n rows.

    >>> nn.AdaptiveAvgPool2d((3, 1))(ln.ones(2, 7, 5)).shape
    (2, 3, 1)
    """

    function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveMaxPool1d(_Adaptive):
    """The largest elements of windows that cover a row (channels, length) evenly.

    Shapes: (channels, length) -> (channels, output_size); n rows of (channels,) ->
    `output_size` rows.

    >>> nn.AdaptiveMaxPool1d(3)(ln.ones(2, 7)).shape
    (2, 3)
    """

    function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_Adaptive):
    """The largest elements of windows that cover a row (channels, height, width) evenly.

    Shapes: (channels, height, width) -> (channels, *output_size); n rows -> n rows.

    >>> nn.AdaptiveMaxPool2d((3, 1))(ln.ones(2, 7, 5)).shape
    (2, 3, 1)
    """

    function = staticmethod(F.adaptive_max_pool2d)
