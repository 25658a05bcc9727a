"""Normalisation of each row by its own elements, or of all rows of a batch together."""

from __future__ import annotations

import math
from typing import Any

from lazynet.ops import reduce
from lazynet.ops.axes import sizes_of
from lazynet.ops.elementwise import floats_of, maximum, square
from lazynet.ops.functions import rsqrt
from lazynet.ops.reshape import reshape
from lazynet.ops.statistics import norm, spread_back
from lazynet.ops.told import told
from lazynet.record import ShapeError, as_value
from lazynet.tensor import Sequence


def standardized(x, eps: float):
    """(x - mean) / sqrt(variance + eps) along the last axis."""
    away = x - reshape(reduce.mean(x, -1), (*x.type.shape[:-1], 1))
    spread = reduce.mean(away * away, -1)
    return away * rsqrt(reshape(spread, (*x.type.shape[:-1], 1)) + eps)


def _check_affine(name: str, shape: tuple[int, ...], **named) -> None:
    for what, value in named.items():
        if value is not None and value.shape != shape:
            raise ShapeError(f"{name}: {what} of {value.shape}; expected {shape}")


def _flat(name: str, x, shape) -> tuple[Any, tuple[int, ...]]:
    """Rows with the axes to normalise over joined into one, and how they were."""
    x = floats_of(x, name)
    shape = sizes_of((shape,))
    own = x.type.shape
    if not shape or own[len(own) - len(shape) :] != shape:
        raise ShapeError(f"{name}: rows of {own} do not end in the axes {shape}")
    return reshape(x, (*own[: len(own) - len(shape)], math.prod(shape))), own


@told
def layer_norm(x, normalized_shape, weight=None, bias=None, eps: float = 1e-5):
    """(x - mean) / sqrt(variance + eps) weight + bias over the last axes (Ba et al., 2016).

    Shapes: any -> the same; n rows -> n rows.

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


@told
def rms_norm(x, normalized_shape, weight=None, eps: float | None = None):
    """x / sqrt(mean of x^2 + eps) weight over the last axes (Zhang and Sennrich, 2019).

    eps is by default the smallest relative distance of two numbers of the dtype, as in PyTorch.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.nn.functional.rms_norm(ln.tensor([2.0, 2.0]), 2, eps=0.0).numpy().tolist()
    [1.0, 1.0]

    Raises:
        ShapeError: if the rows do not end in these axes, or the weight has another shape.
    """
    flat, own = _flat("rms_norm", x, normalized_shape)
    _check_affine("rms_norm", own[len(flat.type.shape) - 1 :], weight=weight)
    if eps is None:
        eps = 2.0**-23 if flat.type.dtype == "float32" else 2.0**-52
    mean = reduce.mean(flat * flat, -1)
    y = reshape(flat * rsqrt(reshape(mean, (*flat.type.shape[:-1], 1)) + eps), own)
    return y if weight is None else y * weight


@told
def group_norm(x, num_groups: int, weight=None, bias=None, eps: float = 1e-5):
    """(x - mean) / sqrt(variance + eps) weight + bias in groups of channels (Wu and He, 2018).

    Channels are the first axis of a row. Shapes: any -> the same; n rows -> n rows.

    >>> ln.nn.functional.group_norm(ln.ones(4, 3), 2).shape
    (4, 3)

    Raises:
        ShapeError: if the channels cannot be cut into that many groups.
    """
    x = floats_of(x, "group_norm")
    own = x.type.shape
    if not own or num_groups < 1 or own[0] % num_groups:
        raise ShapeError(f"group_norm: rows of {own} have no {num_groups} groups of channels")
    _check_affine("group_norm", own[:1], weight=weight, bias=bias)
    flat = reshape(x, (num_groups, x.type.size // num_groups))
    y = reshape(standardized(flat, eps), own)
    channels = (own[0], *(1 for _ in own[1:]))
    y = y if weight is None else y * reshape(weight, channels)
    return y if bias is None else y + reshape(bias, channels)


@told
def instance_norm(
    x, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats: bool = True,
    *, eps: float = 1e-5,
):  # fmt: skip
    """(x - mean) / sqrt(variance + eps) weight + bias for each channel of one example by itself.

    Mean and variance are those of the axes after the channels (Ulyanov, Vedaldi and Lempitsky,
    2016), or of the rows, where these are vectors (channels,): a Sequence is one example then.
    Without `use_input_stats` they are `running_mean` and `running_var`, as `nn.InstanceNorm1d`
    keeps them.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.nn.functional.instance_norm(ln.tensor([[1.0, 3.0], [5.0, 5.0]]), eps=0.0)[0].tolist()
    [-1.0, 1.0]

    Args:
        x: rows of (channels, ...), or a Sequence of rows of (channels,).
        running_mean, running_var, weight, bias: (channels,).

    Raises:
        ShapeError: if these have another shape. ValueError: without `use_input_stats`, if mean or
            variance are missing.
    """
    x = floats_of(x, "instance_norm")
    shape = (channels_of("instance_norm", [x]),)
    _check_affine("instance_norm", shape, running_mean=running_mean, running_var=running_var,
                  weight=weight, bias=bias)  # fmt: skip
    if len(x.type.shape) == 1 and not isinstance(x, Sequence):
        raise ShapeError(
            f"instance_norm: a Tensor of {x.type.shape} has nothing to normalise over; expected "
            "(channels, ...), or a Sequence of rows of (channels,)"
        )
    if use_input_stats:
        running_mean, running_var, _ = instance_statistics(x)
    if running_mean is None or running_var is None:
        raise ValueError(
            "instance_norm: without use_input_stats, running_mean and running_var are needed"
        )
    return scaled_by([x], running_mean, running_var, weight, bias, eps)[0]


def instance_statistics(x):
    """(mean, variance, n) of each channel of each example of `instance_norm`.

    n is the number of elements of a channel, which is in the denominator of the variance.
    """
    shape = x.type.shape
    if len(shape) == 1:
        mean = reduce.mean(x, 0)
        return mean, reduce.mean(square(x - mean), 0), len(x)
    x = reshape(x, (shape[0], x.type.size // shape[0]))
    mean = reduce.mean(x, -1)
    away = square(x - reshape(mean, (*mean.type.shape, 1)))
    return mean, reduce.mean(away, -1), x.type.shape[1]


@told
def normalize(x, p: float = 2.0, dim: int = -1, eps: float = 1e-12):
    """x / max(|x|_p, eps) along an axis.

    Shapes: any -> the same; n rows -> n rows.

    >>> [round(v, 4) for v in ln.nn.functional.normalize(ln.tensor([3.0, 4.0])).numpy().tolist()]
    [0.6, 0.8]

    Raises:
        ShapeError: if there is no such axis.
    """
    x = floats_of(x, "normalize")
    return x / maximum(spread_back(norm(x, p, dim), x, dim), eps)


# -- over the rows of a batch ----------------------------------------------------------------------


def _channel_sums(x):
    """The sums of all that each channel, the first axis of a row, has in all rows."""
    shape = x.type.shape
    if len(shape) > 1:
        x = reduce.sum(reshape(x, (shape[0], x.type.size // shape[0])), -1)
    return reduce.sum(x, 0) if isinstance(x, Sequence) else x


def _per_channel(values, x):
    """Values of (channels,) as they broadcast against the rows of x."""
    return reshape(values, (values.type.size, *(1 for _ in x.type.shape[1:])))


def channels_of(name: str, values: list) -> int:
    """How many channels the rows of these values have.

    Raises:
        ShapeError: if they have none, or not all the same.
    """
    shapes = [v.type.shape for v in values]
    if not shapes or any(not s or s[0] != shapes[0][0] or not s[0] for s in shapes):
        told = ", ".join(map(str, shapes)) or "nothing"
        raise ShapeError(f"{name}: expected rows of (channels, ...), not {told}")
    return shapes[0][0]


def batch_statistics(values, name: str = "batch_norm"):
    """(mean, variance, n) of each channel, over the rows of all values and the axes after it.

    The variance has n in the denominator. Nothing is copied: examples are summed one by one, and
    these sums added up.

    Args:
        values: a list of Tensors and Sequences with rows of (channels, ...).

    Raises:
        ValueError: unless a channel has more than one value.
    """
    values = [floats_of(v, name) for v in values]
    channels = channels_of(name, values)
    count = sum(v.type.size // channels * (len(v) if isinstance(v, Sequence) else 1)
                for v in values)  # fmt: skip
    if count < 2:
        raise ValueError(
            f"{name}: expected more than one value for each channel while training, got {count}; "
            "give the examples of a minibatch as a list, or as the rows of a Sequence"
        )
    mean = reduce.sum([_channel_sums(v) for v in values]) * (1.0 / count)
    away = [_channel_sums(square(v - _per_channel(mean, v))) for v in values]
    return mean, reduce.sum(away) * (1.0 / count), count


@told
def batch_norm(
    x, running_mean=None, running_var=None, weight=None, bias=None, training: bool = False,
    *, eps: float = 1e-5,
):  # fmt: skip
    """(x - mean) / sqrt(variance + eps) weight + bias for each channel (Ioffe and Szegedy, 2015).

    Shapes: any -> the same; n rows -> n rows; a list -> a list.

    While training, mean and variance are those of the batch: of all rows given, and of the axes
    after the channels. Else they are `running_mean` and `running_var`. Values are immutable, so
    these are not changed here; `nn.BatchNorm1d` keeps them.

    Args:
        x: rows of (channels, ...): a Sequence, whose rows are the batch, a Tensor, or a list of
            Tensors and Sequences, the examples of a minibatch.
        running_mean, running_var, weight, bias: (channels,).

    >>> x = ln.sequence(np.array([[1.0], [3.0]]))
    >>> ln.nn.functional.batch_norm(x, training=True, eps=0.0).numpy().tolist()
    [[-1.0], [1.0]]

    Returns:
        what was given, normalised: a list for a list.

    Raises:
        ValueError: while training, unless a channel has more than one value; else, if mean or
            variance are missing.
        ShapeError: if rows differ in their channels, or what is given for these has another shape.
    """
    values = [floats_of(v, "batch_norm") for v in (x if isinstance(x, (list, tuple)) else [x])]
    shape = (channels_of("batch_norm", values),)
    _check_affine("batch_norm", shape, running_mean=running_mean, running_var=running_var,
                  weight=weight, bias=bias)  # fmt: skip
    if training:
        running_mean, running_var, _ = batch_statistics(values)
    if running_mean is None or running_var is None:
        raise ValueError("batch_norm: outside training, running_mean and running_var are needed")
    made = scaled_by(values, running_mean, running_var, weight, bias, eps)
    return made if isinstance(x, (list, tuple)) else made[0]


def scaled_by(values: list, mean, var, weight, bias, eps: float) -> list:
    """(x - mean) / sqrt(var + eps) weight + bias of the channels of each value."""
    mean, scale = as_value(mean, "batch_norm"), rsqrt(as_value(var, "batch_norm") + eps)
    scale = scale if weight is None else scale * weight
    found = []
    for x in values:
        y = (x - _per_channel(mean, x)) * _per_channel(scale, x)
        found.append(y if bias is None else y + _per_channel(bias, x))
    return found
