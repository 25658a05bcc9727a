"""Pooling: windows of each row taken by a table, then their largest or mean element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lazynet.device import beside_operands
from lazynet.ops import reduce
from lazynet.ops.convolution import several, windows
from lazynet.ops.reduce import reshape
from lazynet.ops.take import rearranged
from lazynet.record import ShapeError, as_value
from lazynet.tensor import tensor


def _pooled(name, x, kernel, stride, padding, axes: int, largest: bool, count_outside: bool):
    x = as_value(x, name)
    if len(x.type.shape) != 1 + axes:
        raise ShapeError(f"{name}: expected rows of {1 + axes} axes, not {x.type.shape}")
    kernel = several(kernel, axes, name)
    stride = kernel if stride is None else several(stride, axes, name)
    padding, ones = several(padding, axes, name), (1,) * axes
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ShapeError(f"{name}: padding {padding} is more than half of the window {kernel}")
    channels = x.type.shape[0]
    made = windows(np.zeros((1, *x.type.shape[1:]), np.int64), kernel, stride, padding, ones)
    places = made.shape[1 + axes :]

    def taken(index):
        found = windows(index, kernel, stride, padding, ones)
        return np.moveaxis(found.reshape(channels, math.prod(kernel), math.prod(places)), 1, 2)

    y = rearranged(x, ("pool", kernel, stride, padding), taken)
    outside = made.reshape(math.prod(kernel), -1).T < 0
    return _over_windows(y, (channels, *places), largest, outside, count_outside)


@beside_operands
def _over_windows(y, shape, largest: bool, outside: np.ndarray, count_outside: bool = False):
    """The largest or the mean element of windows, the last axis; `outside` is no part of them."""
    dtype = y.type.dtype
    if largest:
        if outside.any():
            y = y + tensor(np.where(outside, -np.inf, 0.0).astype(dtype))
        found = reduce.max(y, -1)
    else:
        sizes = outside.shape[1] - (0 if count_outside else outside.sum(1))
        sizes = np.broadcast_to(sizes, outside.shape[:1])
        found = reduce.sum(y, -1) * tensor((1.0 / sizes).astype(dtype))
    return reshape(found, shape)


def max_pool1d(x, kernel_size: Any, stride: Any = None, padding: Any = 0):
    """The largest element of each window, for rows (channels, length); ties share the gradient.

    >>> ln.nn.functional.max_pool1d(ln.tensor([[1.0, 3.0, 2.0, 0.0]]), 2).numpy().tolist()
    [[3.0, 2.0]]
    """
    return _pooled("max_pool1d", x, kernel_size, stride, padding, 1, True, False)


def max_pool2d(x, kernel_size: Any, stride: Any = None, padding: Any = 0):
    """The largest element of each window, for rows (channels, height, width).

    >>> ln.nn.functional.max_pool2d(ln.ones(3, 4, 4), 2).shape
    (3, 2, 2)
    """
    return _pooled("max_pool2d", x, kernel_size, stride, padding, 2, True, False)


def avg_pool1d(x, kernel_size: Any, stride: Any = None, padding: Any = 0, count_include_pad=True):
    """The mean of each window, for rows (channels, length).

    >>> ln.nn.functional.avg_pool1d(ln.tensor([[1.0, 3.0, 2.0, 0.0]]), 2).numpy().tolist()
    [[2.0, 1.0]]
    """
    return _pooled("avg_pool1d", x, kernel_size, stride, padding, 1, False, count_include_pad)


def avg_pool2d(x, kernel_size: Any, stride: Any = None, padding: Any = 0, count_include_pad=True):
    """The mean of each window, for rows (channels, height, width).

    >>> ln.nn.functional.avg_pool2d(ln.ones(3, 4, 4), 2).shape
    (3, 2, 2)
    """
    return _pooled("avg_pool2d", x, kernel_size, stride, padding, 2, False, count_include_pad)


def _adaptive(name, x, output_size, axes: int, largest: bool):
    x = as_value(x, name)
    if len(x.type.shape) != 1 + axes:
        raise ShapeError(f"{name}: expected rows of {1 + axes} axes, not {x.type.shape}")
    wanted = several(output_size, axes, name)
    spans = [
        [range(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        for n, m in zip(x.type.shape[1:], wanted, strict=True)
    ]
    longest = [max(map(len, part)) for part in spans]
    channels = x.type.shape[0]
    count = math.prod(wanted)

    def taken(index):
        found = np.full((index.shape[0], *wanted, *longest), -1)
        for place in np.ndindex(*wanted):
            cut = index[(slice(None), *np.ix_(*(spans[a][i] for a, i in enumerate(place))))]
            found[(slice(None), *place, *(slice(0, s) for s in cut.shape[1:]))] = cut
        return found.reshape(index.shape[0], count, -1)

    y = rearranged(x, ("adaptive", wanted), taken)
    outside = taken(np.zeros((1, *x.type.shape[1:]), np.int64))[0] < 0
    return _over_windows(y, (channels, *wanted), largest, outside)


def adaptive_avg_pool1d(x, output_size: Any):
    """The means of `output_size` windows that cover a row (channels, length) evenly.

    >>> ln.nn.functional.adaptive_avg_pool1d(ln.ones(2, 7), 3).shape
    (2, 3)
    """
    return _adaptive("adaptive_avg_pool1d", x, output_size, 1, False)


def adaptive_avg_pool2d(x, output_size: Any):
    """The same over two axes.

    >>> ln.nn.functional.adaptive_avg_pool2d(ln.ones(2, 7, 5), (3, 1)).shape
    (2, 3, 1)
    """
    return _adaptive("adaptive_avg_pool2d", x, output_size, 2, False)


def adaptive_max_pool1d(x, output_size: Any):
    """The largest elements of `output_size` windows that cover a row (channels, length) evenly.

    >>> ln.nn.functional.adaptive_max_pool1d(ln.ones(2, 7), 3).shape
    (2, 3)
    """
    return _adaptive("adaptive_max_pool1d", x, output_size, 1, True)


def adaptive_max_pool2d(x, output_size: Any):
    """The same over two axes.

    >>> ln.nn.functional.adaptive_max_pool2d(ln.ones(2, 7, 5), (3, 1)).shape
    (2, 3, 1)
    """
    return _adaptive("adaptive_max_pool2d", x, output_size, 2, True)
