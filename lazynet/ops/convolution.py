"""Convolution: windows of each row taken by a table, then a product with the weight.

Images are rows (channels, height, width), signals rows (channels, length). A Sequence of vectors is
a signal of its own length: `conv1d_rows`. All examples' windows are one product with the weight.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lazynet.device import beside_operands
from lazynet.ops.linear import linear
from lazynet.ops.products import bmm, matmul
from lazynet.ops.reduce import reshape
from lazynet.ops.rows import cat as cat_rows
from lazynet.ops.shape import permute
from lazynet.ops.take import PUT, rearranged, table_of
from lazynet.ops.views import zeros
from lazynet.record import ShapeError, as_value, record
from lazynet.tensor import Sequence


def several(value: Any, count: int, name: str) -> tuple[int, ...]:
    """One number for every axis, or one for each."""
    found = (value,) * count if isinstance(value, (int, np.integer)) else tuple(value)
    if len(found) != count:
        raise ShapeError(f"{name}: expected one number or {count}, not {value!r}")
    return found


def windows(index: np.ndarray, kernel, stride, padding, dilation) -> np.ndarray:
    """The numbers under a moving window: (channels, window..., places...), -1 outside.

    Args:
        index: (channels, axes...).
    """
    pairs = [(0, 0), *((p, p) for p in padding)]
    index = np.pad(index, pairs, constant_values=-1)
    places = []
    for size, k, s, d in zip(index.shape[1:], kernel, stride, dilation, strict=True):
        count = (size - d * (k - 1) - 1) // s + 1
        if count < 1:
            raise ShapeError(f"a window of {d * (k - 1) + 1} does not fit into {size}")
        places.append(np.arange(k)[:, None] * d + np.arange(count) * s)  # (window, place)
    if len(places) == 1:
        return index[:, places[0]]
    rows, columns = places
    found = index[:, rows[:, None, :, None], columns[None, :, None, :]]
    return found  # (channels, window rows, window columns, places down, places across)


def _unfolded(x, kernel, stride, padding, dilation, groups: int):
    """(groups, channels x window, places) of each row, and the shape of the places."""
    axes = len(kernel)
    key = ("windows", kernel, stride, padding, dilation, groups)
    made = windows(np.zeros((1, *x.type.shape[1:]), np.int64), kernel, stride, padding, dilation)
    shape = made.shape[1 + axes :]

    def taken(index):
        found = windows(index, kernel, stride, padding, dilation)
        return found.reshape(groups, -1, math.prod(shape))

    return rearranged(x, key, taken), shape


def _check(name: str, x, weight, axes: int, groups: int, inputs: int) -> None:
    if len(x.type.shape) != 1 + axes:
        raise ShapeError(f"{name}: expected rows of {1 + axes} axes, not {x.type.shape}")
    if x.type.shape[0] != inputs:
        raise ShapeError(
            f"{name}: rows of {x.type.shape[0]} channels for a weight of {weight.shape}"
            f"{f' and {groups} groups' if groups > 1 else ''}"
        )


def _convolved(name, x, weight, bias, axes: int, stride, padding, dilation, groups: int):
    x = as_value(x, name)
    out, inner, *kernel = weight.type.shape
    _check(name, x, weight, axes, groups, inner * groups)
    stride, dilation = several(stride, axes, name), several(dilation, axes, name)
    if padding == "same":
        whole = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if any(s != 1 for s in stride) or any(w % 2 for w in whole):
            raise ValueError(f"{name}: 'same' needs stride 1 and windows of an odd size")
        padding = tuple(w // 2 for w in whole)
    padding = (0,) * axes if padding == "valid" else several(padding, axes, name)
    if out % groups:
        raise ShapeError(f"{name}: {out} output channels cannot be cut into {groups} groups")
    columns, places = _unfolded(x, tuple(kernel), stride, padding, dilation, groups)
    size = inner * math.prod(kernel)
    if groups == 1:
        flat = matmul(reshape(weight, (out, size)), reshape(columns, columns.type.shape[1:]))
    else:
        flat = bmm(reshape(weight, (groups, out // groups, size)), columns)
    y = reshape(flat, (out, *places))
    return y if bias is None else y + reshape(bias, (out, *(1 for _ in places)))


def conv1d(x, weight, bias=None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups=1):
    """y[o, t] = b[o] + sum of weight[o, c, j] x[c, t s + j d - p], for rows (channels, length).

    Args:
        weight: (out, channels / groups, window).
        padding: a number, "valid" or "same".

    A Sequence of vectors (channels,) is one signal, along its rows; see `conv1d_rows`.

    >>> ln.nn.functional.conv1d(ln.ones(2, 5), ln.ones(3, 2, 3)).shape
    (3, 3)

    Raises:
        ShapeError: if channels do not match, or the window does not fit.
    """
    if isinstance(x, Sequence) and len(x.type.shape) == 1:
        if groups != 1:
            raise ValueError("conv1d: along the rows of a Sequence there is one group")
        return conv1d_rows(x, weight, bias, stride, padding, dilation)
    return _convolved("conv1d", x, weight, bias, 1, stride, padding, dilation, groups)


def conv2d(x, weight, bias=None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups=1):
    """The same over two axes, for rows (channels, height, width), weight (out, c / groups, h, w).

    >>> ln.nn.functional.conv2d(ln.ones(2, 5, 5), ln.ones(3, 2, 3, 3), padding=1).shape
    (3, 5, 5)
    """
    return _convolved("conv2d", x, weight, bias, 2, stride, padding, dilation, groups)


@beside_operands
def conv1d_rows(x, weight, bias=None, stride: int = 1, padding: Any = 0, dilation: int = 1):
    """conv1d along the rows of a Sequence of vectors: n rows in, about n / stride rows out.

    A Sequence that is shorter than the window, with its padding, gives no rows.

    >>> ln.nn.functional.conv1d(ln.sequence(np.ones((5, 2), "f")), ln.ones(3, 2, 3)).shape
    (3, 3)
    """
    out, inner, window = weight.type.shape
    if x.type.shape != (inner,):
        raise ShapeError(f"conv1d: rows of {x.type.shape} for a weight of {weight.shape}")
    span = dilation * (window - 1)
    if padding == "same":
        if stride != 1 or span % 2:
            raise ValueError("conv1d: 'same' needs stride 1 and a window of an odd size")
        padding = span // 2
    padding = 0 if padding == "valid" else padding
    if padding:
        edge = zeros(inner, dtype=x.type.dtype, length=padding)
        x = cat_rows([edge, x, edge], 0)
    count = max((len(x) - span - 1) // stride + 1, 0)
    shifted = [x[j * dilation :][: (count - 1) * stride + 1 : stride] if count else x[:0]
               for j in range(window)]  # fmt: skip
    flat = reshape(permute(weight, 0, 2, 1), (out, window * inner))
    return linear(cat_rows(shifted, -1), flat, bias)


def _transposed(
    name, x, weight, bias, axes: int, stride, padding, output_padding, groups, dilation
):
    x = as_value(x, name)
    inner, out, *kernel = weight.type.shape
    _check(name, x, weight, axes, groups, inner)
    stride, dilation = several(stride, axes, name), several(dilation, axes, name)
    padding, extra = several(padding, axes, name), several(output_padding, axes, name)
    places = x.type.shape[1:]
    shape = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(places, stride, padding, dilation, kernel, extra, strict=True)
    )
    whole = (out * groups, *shape)

    def placed():
        index = np.arange(math.prod(whole)).reshape(whole)
        found = windows(index, tuple(kernel), stride, padding, dilation)
        cut = (slice(None),) * (1 + axes) + tuple(slice(0, n) for n in places)
        return found[cut].reshape(groups, -1, math.prod(places))

    key = ("transposed", whole, tuple(kernel), stride, padding, dilation, places, groups)
    table, _ = table_of(key, placed)
    size = out * math.prod(kernel)
    flat = reshape(weight, (groups, inner // groups, size))
    columns = bmm(permute(flat, 0, 2, 1), reshape(x, (groups, inner // groups, math.prod(places))))
    y = record(PUT, (columns,), (("table", table), ("shape", whole)))
    return y if bias is None else y + reshape(bias, (whole[0], *(1 for _ in shape)))


def conv_transpose1d(
    x, weight, bias=None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups=1,
    dilation: Any = 1,
):  # fmt: skip
    """The transpose of conv1d as a linear map; weight (channels, out / groups, window).

    >>> ln.nn.functional.conv_transpose1d(ln.ones(2, 3), ln.ones(2, 4, 3), stride=2).shape
    (4, 7)
    """
    return _transposed(
        "conv_transpose1d", x, weight, bias, 1, stride, padding, output_padding, groups, dilation
    )


def conv_transpose2d(
    x, weight, bias=None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups=1,
    dilation: Any = 1,
):  # fmt: skip
    """The transpose of conv2d as a linear map; weight (channels, out / groups, height, width).

    >>> ln.nn.functional.conv_transpose2d(ln.ones(2, 3, 3), ln.ones(2, 4, 2, 2), stride=2).shape
    (4, 6, 6)
    """
    return _transposed(
        "conv_transpose2d", x, weight, bias, 2, stride, padding, output_padding, groups, dilation
    )
