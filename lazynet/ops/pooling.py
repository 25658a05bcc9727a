"""Pooling: windows of each row taken by a table, then their largest or mean element.

In one dimension, a Sequence of vectors (channels,) is a signal of its own length, along its rows:
its windows are segments of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazynet.device import beside_operands
from lazynet.ops import reduce
from lazynet.ops.convolution import count_of, places_of, several, windows
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import sequence
from lazynet.ops.segments import ROW_MAX, ROW_SUM
from lazynet.ops.take import rearranged
from lazynet.ops.told import told
from lazynet.record import ShapeError, as_value, record_segments
from lazynet.tensor import Sequence, tensor


@dataclass(frozen=True)
class _Pool:
    """What windows there are, and what is made of each."""

    name: str
    axes: int
    kernel: Any
    stride: Any
    padding: Any
    dilation: Any = 1
    ceil: bool = False
    largest: bool = True
    padded: bool = True  # whether padding counts in a mean
    divisor: int | None = None

    def __call__(self, x):
        x = as_value(x, self.name)
        kernel = several(self.kernel, self.axes, self.name, "kernel_size")
        stride = (
            kernel if self.stride is None
            else several(self.stride, self.axes, self.name, "stride")
        )  # fmt: skip
        dilation = several(self.dilation, self.axes, self.name, "dilation")
        padding = several(self.padding, self.axes, self.name, "padding", 0)
        if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
            raise ShapeError(
                f"{self.name}: padding {padding} is more than half of the window {kernel}"
            )
        if self.divisor is not None and (not isinstance(self.divisor, int) or not self.divisor):
            raise ValueError(f"{self.name}: divisor_override must be an integer other than 0")
        sizes = _sizes(self.name, x, self.axes)
        pairs = tuple((p, p) for p in padding)
        first = (kernel[0], stride[0], pairs[0], dilation[0])
        if _along_rows(x) and (not sizes[0] or count_of(sizes[0], *first, self.ceil) < 1):
            return x[:0]
        if not all(sizes):
            raise ShapeError(f"{self.name}: there is nothing to pool in a value of {x.shape}")
        counts = places_of(self.name, sizes, kernel, stride, pairs, dilation, self.ceil)

        def taken(index):
            found = windows(index, kernel, stride, pairs, dilation, counts)
            flat = found.reshape(len(index), math.prod(kernel), math.prod(counts))
            return np.moveaxis(flat, 1, 2)

        key = ("pool", kernel, stride, padding, dilation, counts)
        numbers = taken(np.arange(math.prod(sizes)).reshape(1, *sizes))[0]
        if self.divisor is not None:
            shares = np.full(len(numbers), 1.0 / self.divisor)
        else:
            inside = numbers > -2 if self.padded else numbers >= 0
            shares = 1.0 / np.maximum(inside.sum(1), 1)
        return _over_windows(x, key, taken, numbers, counts, None if self.largest else shares)


def _along_rows(x) -> bool:
    """Whether a value is one signal, along the rows of a Sequence."""
    return isinstance(x, Sequence) and len(x.type.shape) == 1


def _sizes(name: str, x, axes: int) -> tuple[int, ...]:
    """The sizes of the axes along which windows move."""
    if axes == 1 and _along_rows(x):
        return (len(x),)
    if len(x.type.shape) != 1 + axes:
        raise ShapeError(f"{name}: expected rows of {1 + axes} axes, not {x.type.shape}")
    return x.type.shape[1:]


@beside_operands
def _over_windows(x, key: tuple, taken, numbers: np.ndarray, places, shares):
    """The largest elements of windows or, with `shares`, their sums times these.

    Args:
        taken: gives, of (channels, axes...) numbers, those under each window, negative outside:
            (channels, places, window).
        numbers: what it gives for the numbers of one channel: (places, window).
        places: the shape of all places.
    """
    dtype = x.type.dtype
    if _along_rows(x):
        items = [x[int(k)] for k in numbers[numbers >= 0]]
        op = ROW_MAX if shares is None else ROW_SUM
        y = record_segments(op, items or x[:0], counts=(numbers >= 0).sum(1).tolist())
        return y if shares is None else y * sequence(shares[:, None].astype(dtype))
    y = rearranged(x, key, taken)
    if shares is None:
        outside = numbers < 0
        if outside.any():
            y = y + tensor(np.where(outside, -np.inf, 0.0).astype(dtype))
        found = reduce.max(y, -1)
    else:
        found = reduce.sum(y, -1) * tensor(shares.astype(dtype))
    return reshape(found, (x.type.shape[0], *places))


@told
def max_pool1d(
    x, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False,
):  # fmt: skip
    """The largest element of each window, for rows (channels, length); ties share the gradient.

    A Sequence of vectors is one signal, along its rows; one shorter than a window, or without rows,
    gives no rows.

    Shapes: (channels, length) -> (channels, l), l as of `avg_pool1d` with a window of dilation
    (kernel_size - 1) + 1; n rows of (channels,) -> l rows.

    Args:
        stride: by default the kernel's size.
        ceil_mode: whether a last window may stick out behind.

    >>> ln.nn.functional.max_pool1d(ln.tensor([[1.0, 3.0, 2.0, 0.0]]), 2).numpy().tolist()
    [[3.0, 2.0]]

    Raises:
        ShapeError: if the window does not fit, or padding is more than half of it, or an axis of
            a row is empty.
    """
    return _Pool("max_pool1d", 1, kernel_size, stride, padding, dilation, ceil_mode)(x)


@told
def max_pool2d(
    x, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False,
):  # fmt: skip
    """The largest element of each window, for rows (channels, height, width); as `max_pool1d`.

    Shapes: (channels, height, width) -> (channels, h, w); n rows -> n rows.

    >>> ln.nn.functional.max_pool2d(ln.ones(3, 4, 4), 2).shape
    (3, 2, 2)
    """
    return _Pool("max_pool2d", 2, kernel_size, stride, padding, dilation, ceil_mode)(x)


@told
def avg_pool1d(
    x, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
):  # fmt: skip
    """The mean of each window, for rows (channels, length), or along the rows of a Sequence.

    Shapes: (channels, length) -> (channels, l), l = floor((length + 2 padding - kernel_size) /
    stride) + 1, rounded up with `ceil_mode`; n rows of (channels,) -> l rows.

    Args:
        stride: by default the kernel's size.
        ceil_mode: whether a last window may stick out behind.
        count_include_pad: whether padding counts as zeros, or is no part of a window.

    >>> ln.nn.functional.avg_pool1d(ln.tensor([[1.0, 3.0, 2.0, 0.0]]), 2).numpy().tolist()
    [[2.0, 1.0]]

    Raises:
        ShapeError: as `max_pool1d`.
    """
    return _Pool("avg_pool1d", 1, kernel_size, stride, padding, 1, ceil_mode, False,
                 count_include_pad)(x)  # fmt: skip


@told
def avg_pool2d(
    x, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
):  # fmt: skip
    """The mean of each window, for rows (channels, height, width); as `avg_pool1d`.

    Shapes: (channels, height, width) -> (channels, h, w); n rows -> n rows.

    Args:
        divisor_override: what sums are divided by, instead of the size of the window.

    >>> ln.nn.functional.avg_pool2d(ln.ones(3, 4, 4), 2).shape
    (3, 2, 2)
    """
    return _Pool("avg_pool2d", 2, kernel_size, stride, padding, 1, ceil_mode, False,
                 count_include_pad, divisor_override)(x)  # fmt: skip


def _adaptive(name, x, output_size, axes: int, largest: bool):
    x = as_value(x, name)
    sizes = _sizes(name, x, axes)
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * axes
    wanted = tuple(
        n if m is None else m for m, n in zip(given, sizes, strict=False)
    ) if len(given) == axes else given  # fmt: skip
    wanted = several(wanted, axes, name, "output_size")
    if not all(sizes):
        raise ShapeError(f"{name}: there is nothing to cover in a value of {x.shape}")
    spans = [
        [range(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        for n, m in zip(sizes, wanted, strict=True)
    ]
    longest = [max(map(len, part)) for part in spans]

    def taken(index):
        found = np.full((len(index), *wanted, *longest), -1)
        for place in np.ndindex(*wanted):
            cut = index[(slice(None), *np.ix_(*(spans[a][i] for a, i in enumerate(place))))]
            found[(slice(None), *place, *(slice(0, s) for s in cut.shape[1:]))] = cut
        return found.reshape(len(index), math.prod(wanted), -1)

    numbers = taken(np.arange(math.prod(sizes)).reshape(1, *sizes))[0]
    shares = None if largest else 1.0 / (numbers >= 0).sum(1)
    return _over_windows(x, ("adaptive", wanted), taken, numbers, wanted, shares)


@told
def adaptive_avg_pool1d(x, output_size: Any):
    """The means of `output_size` windows that cover a row (channels, length) evenly.

    Of a Sequence of vectors, that cover its rows.

    Shapes: (channels, length) -> (channels, output_size); rows of (channels,) -> `output_size`
    rows.

    >>> ln.nn.functional.adaptive_avg_pool1d(ln.ones(2, 7), 3).shape
    (2, 3)

    Raises:
        ShapeError: if rows have another number of axes. ValueError: if a size is not positive.
    """
    return _adaptive("adaptive_avg_pool1d", x, output_size, 1, False)


@told
def adaptive_avg_pool2d(x, output_size: Any):
    """The means of windows that cover a row (channels, height, width) evenly; None leaves an axis.

    Shapes: (channels, height, width) -> (channels, *output_size); n rows -> n rows.

    >>> ln.nn.functional.adaptive_avg_pool2d(ln.ones(2, 7, 5), (3, 1)).shape
    (2, 3, 1)

    Raises:
        ShapeError: if rows have another number of axes. ValueError: if a size is not positive.
    """
    return _adaptive("adaptive_avg_pool2d", x, output_size, 2, False)


@told
def adaptive_max_pool1d(x, output_size: Any):
    """The largest elements of `output_size` windows that cover a row (channels, length) evenly.

    Shapes: as `adaptive_avg_pool1d`.

    >>> ln.nn.functional.adaptive_max_pool1d(ln.ones(2, 7), 3).shape
    (2, 3)

    Raises:
        ShapeError: if rows have another number of axes. ValueError: if a size is not positive.
    """
    return _adaptive("adaptive_max_pool1d", x, output_size, 1, True)


@told
def adaptive_max_pool2d(x, output_size: Any):
    """The largest elements of windows that cover a row (channels, height, width) evenly.

    Shapes: (channels, height, width) -> (channels, *output_size); n rows -> n rows.

    >>> ln.nn.functional.adaptive_max_pool2d(ln.ones(2, 7, 5), (3, 1)).shape
    (2, 3, 1)

    Raises:
        ShapeError: if rows have another number of axes. ValueError: if a size is not positive.
    """
    return _adaptive("adaptive_max_pool2d", x, output_size, 2, True)
