"""Convolution: windows of each row taken by a table, then a product with the weight.

Images are rows (channels, height, width), signals rows (channels, length). A Sequence of vectors is
a signal of its own length: `conv1d_rows`. All examples' windows are one product with the weight.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lazynet.device import beside_operands
from lazynet.ops.fill import zeros
from lazynet.ops.linear import linear
from lazynet.ops.products import bmm, matmul
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import cat as cat_rows
from lazynet.ops.shape import permute
from lazynet.ops.take import PUT, rearranged, table_of
from lazynet.ops.told import told
from lazynet.record import ShapeError, as_value, record
from lazynet.tensor import Sequence


def several(value: Any, count: int, name: str, what: str, least: int = 1) -> tuple[int, ...]:
    """One integer for every axis, or one for each.

    Raises:
        ValueError: naming what is not that, or below `least`.
    """
    found = (value,) * count if isinstance(value, (int, np.integer)) else value
    if not isinstance(found, (tuple, list)) or len(found) != count or any(
        not isinstance(v, (int, np.integer)) or v < least for v in found
    ):  # fmt: skip
        number = f"an integer from {least} on" + (f", or {count} of them" if count > 1 else "")
        raise ValueError(f"{name}: {what} must be {number}, not {value!r}")
    return tuple(int(v) for v in found)


def places_of(name: str, sizes, kernel, stride, padding, dilation, ceil: bool = False):
    """For each axis, how often a window fits, as `count_of` tells; `padding` are pairs.

    Raises:
        ShapeError: if it does not fit at all.
    """
    counts = []
    for n, k, s, around, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        counts.append(count_of(n, k, s, around, d, ceil))
        if counts[-1] < 1:
            raise ShapeError(
                f"{name}: a window of {d * (k - 1) + 1} does not fit into {n}"
                f"{' with padding {} and {}'.format(*around) if any(around) else ''}"
            )
    return tuple(counts)


def count_of(n: int, kernel: int, stride: int, padding, dilation: int, ceil: bool) -> int:
    """How often a window fits into n elements; `ceil` lets the last one stick out behind."""
    room = n + sum(padding) - dilation * (kernel - 1) - 1
    count = (-(-room // stride) if ceil else room // stride) + 1
    # The last window begins inside, or in the padding before.
    return count - (ceil and (count - 1) * stride >= n + padding[0])


def windows(index: np.ndarray, kernel, stride, padding, dilation, counts) -> np.ndarray:
    """The numbers under a moving window: (channels, window..., places...), outside -1 in the
    padding, -2 behind it.

    Args:
        index: (channels, axes...).
        padding: a pair for each axis.
        counts: the places for each axis, as `places_of` tells.
    """
    index = np.pad(index, [(0, 0), *padding], constant_values=-1)
    found = []
    for k, s, d, count in zip(kernel, stride, dilation, counts, strict=True):
        found.append(np.arange(k)[:, None] * d + np.arange(count) * s)  # (window, place)
    more = [max(int(f.max()) + 1 - n, 0) for f, n in zip(found, index.shape[1:], strict=True)]
    index = np.pad(index, [(0, 0), *((0, m) for m in more)], constant_values=-2)
    if len(found) == 1:
        return index[:, found[0]]
    rows, columns = found
    return index[:, rows[:, None, :, None], columns[None, :, None, :]]


def pairs_of(padding: Any, name: str, kernel, stride, dilation) -> tuple[tuple[int, int], ...]:
    """Padding as numbers before and after: of "same", the odd one comes after."""
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError(f"{name}: padding 'same' needs stride 1, not {stride}")
        whole = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple((w // 2, w - w // 2) for w in whole)
    if isinstance(padding, str) and padding != "valid":
        raise ValueError(f"{name}: padding must be numbers, 'valid' or 'same', not {padding!r}")
    axes = len(kernel)
    each = (0,) * axes if padding == "valid" else several(padding, axes, name, "padding", 0)
    return tuple((p, p) for p in each)


def _check(name: str, x, weight, bias, axes: int, groups: int, inputs: int, outputs: int) -> None:
    if len(weight.type.shape) != 2 + axes:
        raise ShapeError(f"{name}: expected a weight of {2 + axes} axes, not {weight.shape}")
    if len(x.type.shape) != 1 + axes:
        raise ShapeError(f"{name}: expected rows of {1 + axes} axes, not {x.type.shape}")
    if x.type.shape[0] != inputs:
        raise ShapeError(
            f"{name}: rows of {x.type.shape[0]} channels for a weight of {weight.shape}"
            f"{f' and {groups} groups' if groups > 1 else ''}"
        )
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(f"{name}: a bias of {bias.shape}; expected ({outputs},)")


def _convolved(name, x, weight, bias, axes: int, stride, padding, dilation, groups: int):
    x, weight = as_value(x, name), as_value(weight, name)
    out, inner, *kernel = weight.type.shape if len(weight.type.shape) == 2 + axes else (0, 0)
    _check(name, x, weight, bias, axes, groups, inner * groups, out)
    stride = several(stride, axes, name, "stride")
    dilation = several(dilation, axes, name, "dilation")
    pairs = pairs_of(padding, name, kernel, stride, dilation)
    if groups < 1 or out % groups:
        raise ShapeError(f"{name}: {out} output channels cannot be cut into {groups} groups")
    places = places_of(name, x.type.shape[1:], kernel, stride, pairs, dilation)
    key = ("windows", *kernel, stride, pairs, dilation, groups)
    columns = rearranged(
        x, key,
        lambda index: windows(index, kernel, stride, pairs, dilation, places).reshape(
            groups, -1, math.prod(places)
        ),
    )  # fmt: skip
    size = inner * math.prod(kernel)
    if groups == 1:
        flat = matmul(reshape(weight, (out, size)), reshape(columns, columns.type.shape[1:]))
    else:
        flat = bmm(reshape(weight, (groups, out // groups, size)), columns)
    y = reshape(flat, (out, *places))
    return y if bias is None else y + reshape(bias, (out, *(1 for _ in places)))


@told
def conv1d(x, weight, bias=None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups=1):
    """y[o, t] = b[o] + sum of weight[o, c, j] x[c, t s + j d - p], for rows (channels, length).

    Shapes: (channels, length) -> (out, l) with l = floor((length + 2 padding - dilation (window -
    1) - 1) / stride) + 1; n rows of (channels,) -> l rows of (out,).

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
        return conv1d_rows(x, weight, bias, stride, padding, dilation, groups)
    return _convolved("conv1d", x, weight, bias, 1, stride, padding, dilation, groups)


@told
def conv2d(x, weight, bias=None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups=1):
    """y[o, t, u] = b[o] + sum of weight[o, c, i, j] x[c, t s + i d - p, u s + j d - p].

    `conv1d` over two axes; weight (out, channels / groups, height, width), bias (out,).

    Shapes: (channels, height, width) -> (out, h, w), h and w as l of `conv1d`; n rows -> n rows.

    >>> ln.nn.functional.conv2d(ln.ones(2, 5, 5), ln.ones(3, 2, 3, 3), padding=1).shape
    (3, 5, 5)

    Raises:
        ShapeError: as `conv1d`.
    """
    return _convolved("conv2d", x, weight, bias, 2, stride, padding, dilation, groups)


@beside_operands
def conv1d_rows(
    x, weight, bias=None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
):
    """conv1d along the rows of a Sequence of vectors: n rows in, about n / stride rows out.

    A Sequence that is shorter than the window, with its padding, gives no rows.

    >>> ln.nn.functional.conv1d(ln.sequence(np.ones((5, 2), "f")), ln.ones(3, 2, 3)).shape
    (3, 3)
    """
    weight = as_value(weight, "conv1d")
    out, inner, window = weight.type.shape if len(weight.type.shape) == 3 else (0, 0, 0)
    if not window or x.type.shape != (inner * groups,):
        many = f" in {groups} groups" if groups != 1 else ""
        raise ShapeError(f"conv1d: rows of {x.type.shape} for a weight of {weight.shape}{many}")
    if groups < 1 or out % groups:
        raise ShapeError(f"conv1d: {out} output channels cannot be cut into {groups} groups")
    (stride,), (dilation,) = (
        several(stride, 1, "conv1d", "stride"), several(dilation, 1, "conv1d", "dilation"),
    )  # fmt: skip
    ((before, after),) = pairs_of(padding, "conv1d", (window,), (stride,), (dilation,))
    edges = [zeros(inner * groups, dtype=x.type.dtype, length=p) for p in (before, after)]
    if before or after:
        x = cat_rows([edges[0], x, edges[1]], 0)
    count = max((len(x) - dilation * (window - 1) - 1) // stride + 1, 0)
    shifted = [x[j * dilation :][: (count - 1) * stride + 1 : stride] if count else x[:0]
               for j in range(window)]  # fmt: skip
    rows, flat = cat_rows(shifted, -1), permute(weight, 0, 2, 1)
    if groups == 1:
        return linear(rows, reshape(flat, (out, window * inner)), bias)
    parts = permute(reshape(rows, (window, groups, inner)), 0, 2, 1, 3)  # axis 0 is the rows
    columns = reshape(parts, (groups, window * inner, 1))
    flat = reshape(flat, (groups, out // groups, window * inner))
    y = reshape(bmm(flat, columns), (out,))
    return y if bias is None else y + bias


def _transposed(
    name, x, weight, bias, axes: int, stride, padding, output_padding, groups, dilation
):
    x, weight = as_value(x, name), as_value(weight, name)
    inner, out, *kernel = weight.type.shape if len(weight.type.shape) == 2 + axes else (0, 0)
    _check(name, x, weight, bias, axes, groups, inner, out * groups)
    if groups < 1 or inner % groups:
        raise ShapeError(f"{name}: {inner} channels cannot be cut into {groups} groups")
    stride = several(stride, axes, name, "stride")
    dilation = several(dilation, axes, name, "dilation")
    pairs = tuple((p, p) for p in several(padding, axes, name, "padding", 0))
    extra = several(output_padding, axes, name, "output_padding", 0)
    places = x.type.shape[1:]
    shape = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, (p, _), d, k, e in zip(
            places, stride, pairs, dilation, kernel, extra, strict=True
        )
    )
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise ValueError(
            f"{name}: output_padding {extra} must be less than stride {stride} or "
            f"dilation {dilation}"
        )
    if min(shape) < 1:
        raise ShapeError(f"{name}: rows of {x.type.shape} would give an output of {shape}")
    whole = (out * groups, *shape)

    def placed():
        index = np.arange(math.prod(whole)).reshape(whole)
        found = windows(index, kernel, stride, pairs, dilation, places)
        return found.reshape(groups, -1, math.prod(places))

    key = ("transposed", whole, *kernel, stride, pairs, dilation, places, groups)
    table, _ = table_of(key, placed)
    size = out * math.prod(kernel)
    flat = reshape(weight, (groups, inner // groups, size))
    columns = bmm(permute(flat, 0, 2, 1), reshape(x, (groups, inner // groups, math.prod(places))))
    y = record(PUT, (columns,), (("table", table), ("shape", whole)))
    return y if bias is None else y + reshape(bias, (whole[0], *(1 for _ in shape)))


@told
def conv_transpose1d(
    x, weight, bias=None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups=1,
    dilation: Any = 1,
):  # fmt: skip
    """The transpose of conv1d as a linear map; weight (channels, out / groups, window).

    Shapes: (channels, length) -> (out, l) with l = (length - 1) stride - 2 padding + dilation
    (window - 1) + output_padding + 1; n rows -> n rows.

    >>> ln.nn.functional.conv_transpose1d(ln.ones(2, 3), ln.ones(2, 4, 3), stride=2).shape
    (4, 7)

    Raises:
        ShapeError: if channels do not match.
    """
    return _transposed(
        "conv_transpose1d", x, weight, bias, 1, stride, padding, output_padding, groups, dilation
    )


@told
def conv_transpose2d(
    x, weight, bias=None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups=1,
    dilation: Any = 1,
):  # fmt: skip
    """The transpose of conv2d as a linear map; weight (channels, out / groups, height, width).

    Shapes: (channels, height, width) -> (out, h, w), h and w as l of `conv_transpose1d`; n rows ->
    n rows.

    >>> ln.nn.functional.conv_transpose2d(ln.ones(2, 3, 3), ln.ones(2, 4, 2, 2), stride=2).shape
    (4, 6, 6)

    Raises:
        ShapeError: if channels do not match.
    """
    return _transposed(
        "conv_transpose2d", x, weight, bias, 2, stride, padding, output_padding, groups, dilation
    )
