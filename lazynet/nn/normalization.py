"""Normalisation as modules, with PyTorch's parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.cell import cell
from lazynet.nn import functional as F
from lazynet.nn.linear import sizes
from lazynet.nn.module import Module
from lazynet.ops.axes import sizes_of
from lazynet.ops.normalization import (
    batch_statistics,
    channels_of,
    instance_statistics,
    scaled_by,
)
from lazynet.ops.reduce import sum as sum_of
from lazynet.parameter import Parameter
from lazynet.record import ShapeError
from lazynet.tensor import Tensor, Value, tensor
from lazynet.trace import TraceGraph


def _ones(*shape: int) -> Parameter:
    return Parameter(np.ones(shape, np.float32))


def _zeros(*shape: int) -> Parameter:
    return Parameter(np.zeros(shape, np.float32))


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) weight + bias over the last axes (Ba et al., 2016).

    Parameters: weight and bias of `normalized_shape`, ones and zeros at first.

    Shapes: (..., *normalized_shape) -> the same; n rows -> n rows.

    >>> [round(v, 4) for v in nn.LayerNorm(2)(ln.tensor([1.0, 3.0])).tolist()]
    [-1.0, 1.0]

    Raises:
        ShapeError: when called, if rows do not end in these axes.
    """

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        shape = sizes_of((normalized_shape,))
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self.weight = _ones(*shape) if elementwise_affine else None
        self.bias = _zeros(*shape) if elementwise_affine and bias else None

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        return {"x": (..., *self.normalized_shape)}

    @cell
    def forward(self, x: Any) -> Any:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = self.elementwise_affine
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={affine}"


class RMSNorm(Module):
    """x / sqrt(mean of x^2 + eps) weight over the last axes (Zhang and Sennrich, 2019).

    Parameters: weight of `normalized_shape`, ones at first.

    Shapes: (..., *normalized_shape) -> the same; n rows -> n rows.

    >>> nn.RMSNorm(2, eps=0.0)(ln.tensor([2.0, -2.0])).tolist()
    [1.0, -1.0]

    Args:
        eps: by default the smallest relative distance of two numbers of the dtype.

    Raises:
        ShapeError: when called, if rows do not end in these axes.
    """

    def __init__(
        self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True
    ) -> None:
        super().__init__()
        shape = sizes_of((normalized_shape,))
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self.weight = _ones(*shape) if elementwise_affine else None

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        return {"x": (..., *self.normalized_shape)}

    @cell
    def forward(self, x: Any) -> Any:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        affine = self.elementwise_affine
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={affine}"


class GroupNorm(Module):
    """(x - mean) / sqrt(variance + eps) weight + bias in groups of channels (Wu and He, 2018).

    Parameters: weight and bias of (num_channels,), ones and zeros at first.

    Channels are the first axis of a row. Shapes: (num_channels, ...) -> the same; n rows -> n rows.

    >>> nn.GroupNorm(2, 4)(ln.rand(4, 3)).shape
    (4, 3)

    Raises:
        ValueError: if the channels are no multiple of the groups.
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

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        return {"x": (self.num_channels, ...)}

    @cell
    def forward(self, x: Any) -> Any:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class _BatchNorm(Module):
    axes: tuple[int, ...] = ()
    expected = ""
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = True, track_running_stats: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes(type(self).__name__, num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = _ones(num_features) if affine else None
        self.bias = _zeros(num_features) if affine else None
        kept: list[Any] = [np.zeros(num_features, np.float32), np.ones(num_features, np.float32),
                           np.zeros((), np.int64)]  # fmt: skip
        names = ("running_mean", "running_var", "num_batches_tracked")
        for name, start in zip(names, kept, strict=True):
            self.register_buffer(name, tensor(start) if track_running_stats else None)

    def forward(self, x: Any) -> Any:
        """Rows normalised: of a Sequence, a Tensor, or each of a list of examples."""
        values = list(x) if isinstance(x, (list, tuple)) else [x]
        self._check(values)
        if not values:
            return []
        mean, var = self.running_mean, self.running_var
        if self.training or mean is None:
            mean, var, count = batch_statistics(values, type(self).__name__)
            if self.training and self.track_running_stats:
                self._track(mean, var * (count / (count - 1.0)))
        made = scaled_by(values, mean, var, self.weight, self.bias, self.eps)
        return made if isinstance(x, (list, tuple)) else made[0]

    def _check(self, values: list[Any]) -> None:
        name = type(self).__name__
        for v in values:
            if not isinstance(v, Value):
                raise TypeError(
                    f"{name}: expected a Tensor, a Sequence, or a list of them, "
                    f"not a {type(v).__name__}"
                )
            if len(v.type.shape) not in self.axes:
                raise ShapeError(f"{name}: rows of {v.type.shape}; expected {self.expected}")
        if values and channels_of(name, values) != self.num_features:
            raise ShapeError(
                f"{name}: rows of {values[0].type.shape} have no {self.num_features} channels; a "
                "matrix of examples is given as ln.sequence(x)"
            )

    def _track(self, mean: Any, var: Any) -> None:
        """Move the running statistics towards those of a batch; nothing runs."""
        if isinstance(mean.graph, TraceGraph):
            raise TypeError(
                f"{type(self).__name__}: its running statistics change while training, so it is no "
                "part of a cell or scan then; call it outside, or with .eval()"
            )
        assert self.num_batches_tracked is not None
        batches = int(self.num_batches_tracked) + 1
        share = 1.0 / batches if self.momentum is None else self.momentum
        own = vars(self)
        # Not through setattr: nothing that was traced reads these while training.
        own["num_batches_tracked"] = tensor(
            np.int64(batches), device=self.num_batches_tracked.device
        )
        for name, new in (("running_mean", mean), ("running_var", var)):
            old = own[name]
            if not old.is_leaf and not old.pending:
                old = tensor(old.numpy(), device=old.device)  # lets go of the step that made it
            own[name] = old * (1.0 - share) + new.detach().astype(old.dtype) * share

    def reset_running_stats(self) -> None:
        """Start the running statistics anew: mean 0, variance 1, no batches."""
        for name, start in (("running_mean", 0.0), ("running_var", 1.0)):
            old = getattr(self, name)
            if old is not None:
                setattr(self, name, tensor(np.full(old.shape, start, old.dtype), device=old.device))
        if self.num_batches_tracked is not None:
            device = self.num_batches_tracked.device
            self.num_batches_tracked = tensor(np.int64(0), device=device)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """(x - mean) / sqrt(variance + eps) weight + bias for each channel (Ioffe and Szegedy, 2015).

    A program is written for one example, so it has to say what its batch is: the rows of the
    Sequence that is given, or a list of examples, for which a list comes back.

    Shapes: any -> the same; n rows -> n rows; a list -> a list.

        >>> norm = nn.BatchNorm1d(4)
        >>> norm(ln.sequence(np.random.rand(5, 4).astype("f"))).shape  # a batch of 5
        (5, 4)
        >>> hidden = [ln.rand(4) for _ in range(3)]  # of three examples
        >>> [y.shape for y in norm(hidden)]
        [(4,), (4,), (4,)]

    Rows are (num_features,) or (num_features, length); the lengths of examples may differ. While
    training, mean and variance are those of the batch, and gradients go through them. The running
    ones move towards them: by `momentum`, or, where that is None, so that they are the average over
    all batches. They are lazy values like others: a call records their change, which runs with the
    batch that it belongs to, and reading one runs what is pending. In eval mode the running ones
    are used, row by row. With `track_running_stats=False` the batch's are used in both modes.

    Parameters: weight and bias of (num_features,), ones and zeros at first. Buffers: running_mean,
    running_var (with n - 1 in the denominator) and num_batches_tracked, as PyTorch's.

    Batches: all but the running mean and variance, which move once a call, each from the last.

    Raises:
        ValueError: while training, if the batch has one value for each channel only.
    """

    axes = (1, 2)
    expected = "(channels,) or (channels, length)"


class BatchNorm2d(_BatchNorm):
    """(x - mean) / sqrt(variance + eps) weight + bias for each channel of images.

    Shapes: (num_features, height, width) -> the same; n rows -> n rows; a list -> a list.

    As `BatchNorm1d`, for rows of (num_features, height, width), of any size.

    >>> nn.BatchNorm2d(3)(ln.rand(3, 4, 5, length=2)).shape
    (2, 3, 4, 5)

    Batches: all but the running mean and variance, which move once a call, each from the last.
    """

    axes = (3,)
    expected = "(channels, height, width)"


class _InstanceNorm(_BatchNorm):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = False, track_running_stats: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats)

    def forward(self, x: Any) -> Any:
        """Examples normalised, each by itself: one of them, or each of a list."""
        values = list(x) if isinstance(x, (list, tuple)) else [x]
        self._check(values)
        mean, var = self.running_mean, self.running_var
        if self.training and mean is not None:
            self._track_examples(values)
        own = self.training or mean is None
        made = [F.instance_norm(v, mean, var, self.weight, self.bias, own, eps=self.eps)
                for v in values]  # fmt: skip
        return made if isinstance(x, (list, tuple)) else made[0]

    def _track_examples(self, values: list[Any]) -> None:
        """Move the running statistics towards the average of those of all examples."""
        means, variances = [], []
        for v in values:
            if len(v.type.shape) == 1 and not len(v):
                continue
            mean, var, count = instance_statistics(v)
            means += [mean] if isinstance(mean, Tensor) else list(mean)
            var = var * (count / max(count - 1.0, 1.0))
            variances += [var] if isinstance(var, Tensor) else list(var)
        if means:
            share = 1.0 / len(means)
            self._track(sum_of(means) * share, sum_of(variances) * share)


class InstanceNorm1d(_InstanceNorm):
    """(x - mean) / sqrt(variance + eps) weight + bias for each channel of one example by itself.

    An example is a row (num_features, length) or, where rows are vectors (num_features,), a whole
    Sequence of any number of rows (Ulyanov, Vedaldi and Lempitsky, 2016).

    Shapes: any -> the same; n rows -> n rows; a list of examples -> a list.

        >>> norm = nn.InstanceNorm1d(2)
        >>> [round(v, 2) for v in norm(ln.tensor([[1.0, 3.0], [5.0, 9.0]]))[1].tolist()]
        [-1.0, 1.0]
        >>> norm(ln.rand(2, length=7)).shape
        (7, 2)

    Parameters, with `affine`: weight and bias of (num_features,), ones and zeros at first. Buffers,
    with `track_running_stats`: running_mean, running_var and num_batches_tracked; while training
    they move towards the average over the examples of a call, in eval mode they take the place of
    an example's own. Where a channel has one value, that becomes the bias.

    Batches: all but the running mean and variance, which move once a call, each from the last.

    Raises:
        ShapeError: when called, for other channels.
    """

    axes = (1, 2)
    expected = "(channels, length), or a Sequence of rows of (channels,)"


class InstanceNorm2d(_InstanceNorm):
    """(x - mean) / sqrt(variance + eps) weight + bias for each channel of one image by itself.

    Shapes: (num_features, height, width) -> the same; n rows -> n rows; a list -> a list.

    As `InstanceNorm1d`, for rows of (num_features, height, width), of any size.

    >>> nn.InstanceNorm2d(3)(ln.rand(3, 4, 5)).shape
    (3, 4, 5)
    """

    axes = (3,)
    expected = "(channels, height, width)"
