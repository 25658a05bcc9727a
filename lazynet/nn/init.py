"""Initial values, drawn in place from the generator that `ln.manual_seed` governs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.ops.random import numpy_generator
from lazynet.parameter import Parameter


def _of_parameters(function: Callable) -> Callable:
    """Let a function that fills a parameter tell what it was given instead of one."""

    @functools.wraps(function)
    def filling(parameter: Parameter, *args: Any, **kwargs: Any) -> Parameter:
        if not isinstance(parameter, Parameter):
            raise TypeError(
                f"{function.__name__}: expected a parameter, not a {type(parameter).__name__}; a "
                "module has several: module.weight, or for p in module.parameters()"
            )
        return function(parameter, *args, **kwargs)

    return filling


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan in, fan out) of a weight of shape (out, in, ...).

    Raises:
        ValueError: for fewer than two axes.
    """
    if len(shape) < 2:
        raise ValueError(f"fan in and fan out need at least two axes; this shape is {shape}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The gain that keeps the variance through a nonlinearity; PyTorch's table.

    Args:
        nonlinearity: "linear", "sigmoid", "tanh", "relu", "leaky_relu" or "selu".
        param: the negative slope of "leaky_relu", by default 0.01.

    Raises:
        ValueError: for another name.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1.0 + (0.01 if param is None else param) ** 2))
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75}
    if nonlinearity not in gains:
        names = ", ".join([*gains, "leaky_relu"])
        raise ValueError(f"calculate_gain: no gain for {nonlinearity!r}; there are {names}")
    return gains[nonlinearity]


@_of_parameters
def uniform_(parameter: Parameter, a: float = 0.0, b: float = 1.0) -> Parameter:
    """Uniform in [a, b)."""
    return parameter.copy_(numpy_generator().uniform(a, b, parameter.shape))


@_of_parameters
def normal_(parameter: Parameter, mean: float = 0.0, std: float = 1.0) -> Parameter:
    """Normal with this mean and standard deviation."""
    return parameter.copy_(numpy_generator().normal(mean, std, parameter.shape))


@_of_parameters
def constant_(parameter: Parameter, value: float) -> Parameter:
    """One number everywhere."""
    return parameter.copy_(np.full(parameter.shape, value))


@_of_parameters
def zeros_(parameter: Parameter) -> Parameter:
    """0 everywhere."""
    return constant_(parameter, 0.0)


@_of_parameters
def ones_(parameter: Parameter) -> Parameter:
    """1 everywhere."""
    return constant_(parameter, 1.0)


@_of_parameters
def trunc_normal_(
    parameter: Parameter, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Parameter:
    """Normal, but only in [a, b]: what falls outside is drawn again.

    Raises:
        ValueError: unless a < b.
    """
    if not a < b:
        raise ValueError(f"trunc_normal_: expected a < b, not {a} and {b}")
    generator, drawn = numpy_generator(), np.full(parameter.size, np.nan)
    # Where next to nothing falls inside, all that does is as good as uniform.
    for _ in range(1000):
        outside = np.flatnonzero(~((drawn >= a) & (drawn <= b)))
        if not len(outside):
            break
        drawn[outside] = generator.normal(mean, std, len(outside))
    else:
        drawn[outside] = generator.uniform(a, b, len(outside))
    return parameter.copy_(drawn.reshape(parameter.shape))


@_of_parameters
def dirac_(parameter: Parameter, groups: int = 1) -> Parameter:
    """A convolution's weight (out, in, ...) that gives what it is given: 1 in the middle, else 0.

    Each of the groups does so for as many channels as it has.

    Raises:
        ValueError: for fewer than three axes, or an `out` that is no multiple of the groups.
    """
    shape = parameter.shape
    if len(shape) < 3 or shape[0] % groups:
        raise ValueError(f"dirac_: expected (out, in, ...) in {groups} groups, not {shape}")
    value = np.zeros(shape)
    middle = tuple(size // 2 for size in shape[2:])
    each = shape[0] // groups
    for k in range(groups):
        for channel in range(min(each, shape[1])):
            value[(k * each + channel, channel, *middle)] = 1.0
    return parameter.copy_(value)


@_of_parameters
def sparse_(parameter: Parameter, sparsity: float, std: float = 0.01) -> Parameter:
    """Normal, with the share `sparsity` of each column of a matrix 0 (Martens, 2010).

    Raises:
        ValueError: for what is no matrix.
    """
    if parameter.ndim != 2:
        raise ValueError(f"sparse_: expected a matrix, not {parameter.shape}")
    rows, columns = parameter.shape
    generator = numpy_generator()
    value = generator.normal(0.0, std, (rows, columns))
    for column in range(columns):
        value[generator.permutation(rows)[: math.ceil(sparsity * rows)], column] = 0.0
    return parameter.copy_(value)


@_of_parameters
def eye_(parameter: Parameter) -> Parameter:
    """1 on the diagonal of a matrix, 0 elsewhere.

    Raises:
        ValueError: for what is no matrix.
    """
    if parameter.ndim != 2:
        raise ValueError(f"eye_: expected a matrix, not {parameter.shape}")
    return parameter.copy_(np.eye(parameter.shape[0], parameter.shape[1]))


@_of_parameters
def xavier_uniform_(parameter: Parameter, gain: float = 1.0) -> Parameter:
    """Uniform in (-a, a), a = gain sqrt(6 / (fan in + fan out)) (Glorot and Bengio, 2010).

    Raises:
        ValueError: for fewer than two axes.
    """
    bound = gain * math.sqrt(6.0 / sum(fans(parameter.shape)))
    return uniform_(parameter, -bound, bound)


@_of_parameters
def xavier_normal_(parameter: Parameter, gain: float = 1.0) -> Parameter:
    """Normal, std = gain sqrt(2 / (fan in + fan out)) (Glorot and Bengio, 2010).

    Raises:
        ValueError: for fewer than two axes.
    """
    return normal_(parameter, 0.0, gain * math.sqrt(2.0 / sum(fans(parameter.shape))))


def _kaiming(parameter: Parameter, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode is 'fan_in' or 'fan_out', not {mode!r}")
    fan = fans(parameter.shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


@_of_parameters
def kaiming_uniform_(
    parameter: Parameter, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Parameter:
    """Uniform in (-b, b), b = gain sqrt(3 / fan) (He et al., 2015); `a` is the negative slope.

    Raises:
        ValueError: for fewer than two axes, or another mode or nonlinearity.
    """
    bound = math.sqrt(3.0) * _kaiming(parameter, a, mode, nonlinearity)
    return uniform_(parameter, -bound, bound)


@_of_parameters
def kaiming_normal_(
    parameter: Parameter, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Parameter:
    """Normal, std = gain / sqrt(fan) (He et al., 2015); `a` is the negative slope.

    Raises:
        ValueError: for fewer than two axes, or another mode or nonlinearity.
    """
    return normal_(parameter, 0.0, _kaiming(parameter, a, mode, nonlinearity))


@_of_parameters
def orthogonal_(parameter: Parameter, gain: float = 1.0) -> Parameter:
    """Gain times a matrix with orthonormal rows or columns, uniformly drawn (Saxe et al., 2013).

    Raises:
        ValueError: for fewer than two axes.
    """
    rows = parameter.shape[0] if parameter.ndim else 0
    if parameter.ndim < 2:
        raise ValueError(f"orthogonal_: expected at least two axes, not {parameter.shape}")
    drawn = numpy_generator().normal(size=(rows, parameter.size // rows))
    q, r = np.linalg.qr(drawn.T if drawn.shape[0] < drawn.shape[1] else drawn)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)  # makes the draw uniform
    q = q.T if drawn.shape[0] < drawn.shape[1] else q
    return parameter.copy_(gain * q.reshape(parameter.shape))
