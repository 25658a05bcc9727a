"""Activation functions, under PyTorch's names and with its parameters.

A parameter such as `negative_slope` is an operand, not an attribute: calls with different ones
batch, and it may itself be a value that wants a gradient.
"""

from __future__ import annotations

import math

import numpy as np

from lazynet.op import Op, Sample
from lazynet.ops.axes import axis_of
from lazynet.ops.elementwise import (
    absolute,
    as_floats,
    exp,
    maximum,
    prepare,
    sigmoid,
    tanh,
    where,
    zero_of,
)
from lazynet.ops.functions import clamp, erf, logical_and
from lazynet.ops.lifting import elementwise
from lazynet.ops.take import rearranged
from lazynet.ops.told import told
from lazynet.ops.views import split
from lazynet.ops.ways import binary, unary
from lazynet.record import ShapeError, as_value, record
from lazynet.tensor import Sequence, Tensor

_PARAMETER = (Sample(((5,), ()), low=0.3), Sample(((5,), ()), low=-2.0, high=-0.3))
_SQRT_HALF, _NORMAL = math.sqrt(0.5), 1.0 / math.sqrt(2.0 * math.pi)
_GELU = math.sqrt(2.0 / math.pi)

LOG_SIGMOID = elementwise(
    "logsigmoid", "y = log(sigmoid(x))", "minimum(x0, c(0)) - log1p(exp(-abs(x0)))",
    lambda g, y, x: (g * sigmoid(-x),),
)  # fmt: skip
LEAKY_RELU = elementwise(
    "leaky_relu", "y = x where x > 0, else a x", "where(x0 > c(0), x0, x0 * x1)",
    lambda g, y, x, a: (where(x > 0.0, g, g * a), where(x > 0.0, zero_of(g), g * x)),
    samples=_PARAMETER,
)  # fmt: skip
ELU = elementwise(
    "elu", "y = x where x > 0, else a (exp(x) - 1)",
    "where(x0 > c(0), x0, x1 * expm1(minimum(x0, c(0))))",
    lambda g, y, x, a: (
        where(x > 0.0, g, g * a * exp(-relu_of(-x))),
        where(x > 0.0, zero_of(g), g * (exp(-relu_of(-x)) - 1.0)),
    ),
    samples=_PARAMETER,
)  # fmt: skip
GELU = elementwise(
    "gelu", "y = x Phi(x), Phi the normal distribution function",
    f"c(0.5) * x0 * (c(1) + erf(x0 * c({_SQRT_HALF!r})))",
    lambda g, y, x: (
        g * ((erf(x * _SQRT_HALF) + 1.0) * 0.5 + x * exp(x * x * -0.5) * _NORMAL),
    ),
)  # fmt: skip
GELU_TANH = elementwise(
    "gelu_tanh", "y = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))",
    f"c(0.5) * x0 * (c(1) + tanh(c({_GELU!r}) * (x0 + c(0.044715) * x0 * x0 * x0)))",
    lambda g, y, x: (g * _gelu_tanh_slope(x),),
)  # fmt: skip
SILU = elementwise(
    "silu", "y = x sigmoid(x)", "x0 * sigmoid(x0)",
    lambda g, y, x: (g * (sigmoid(x) + y * (1.0 - sigmoid(x))),),
)  # fmt: skip
SOFTPLUS = elementwise(
    "softplus", "y = log(1 + exp(x))", "maximum(x0, c(0)) + log1p(exp(-abs(x0)))",
    lambda g, y, x: (g * sigmoid(x),),
)  # fmt: skip
SOFTSIGN = elementwise(
    "softsign", "y = x / (1 + |x|)", "x0 / (c(1) + abs(x0))",
    lambda g, y, x: (g / ((absolute(x) + 1.0) * (absolute(x) + 1.0)),),
)  # fmt: skip
HARDTANH = elementwise(
    "hardtanh", "y = min(max(x, low), high)", "minimum(maximum(x0, x1), x2)",
    lambda g, y, x, low, high: (
        where(logical_and(x > low, x < high), g, zero_of(g)),
        where(logical_and(x <= low, low < high), g, zero_of(g)),
        where(maximum(x, low) >= high, g, zero_of(g)),
    ),
    samples=(Sample(((5,), (), ())), Sample(((5,), (5,), (5,)))),
)  # fmt: skip


def relu_of(x):
    """max(x, 0), with the gradient of `where`."""
    return where(x <= 0.0, zero_of(x), x)


def _gelu_tanh_slope(x):
    t = tanh((x + x * x * x * 0.044715) * _GELU)
    return (t + 1.0) * 0.5 + x * 0.5 * (1.0 - t * t) * _GELU * (x * x * 0.134145 + 1.0)


def _of_floats(op: Op, x, parameter):
    return prepare(op, as_floats(as_value(x, op.name)), parameter)


_leaky_relu, _elu = binary(LEAKY_RELU, _of_floats), binary(ELU, _of_floats)
logsigmoid, silu = unary(LOG_SIGMOID, as_floats), unary(SILU, as_floats)
softsign = unary(SOFTSIGN, as_floats)
_softplus, _gelu, _gelu_tanh = (unary(op, as_floats) for op in (SOFTPLUS, GELU, GELU_TANH))


@told
def leaky_relu(x, negative_slope=0.01):
    """x where x > 0, else negative_slope * x.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.leaky_relu(ln.tensor([-2.0, 3.0]), 0.5).numpy().tolist()
    [-1.0, 3.0]
    """
    return _leaky_relu(x, negative_slope)


@told
def elu(x, alpha=1.0):
    """x where x > 0, else alpha (exp(x) - 1) (Clevert et al., 2016).

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.elu(ln.tensor([0.0, 3.0])).numpy().tolist()
    [0.0, 3.0]
    """
    return _elu(x, alpha)


@told
def selu(x):
    """1.0507 elu(x, 1.6733): keeps mean 0 and variance 1 (Klambauer et al., 2017).

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.selu(ln.tensor([0.0])).numpy().tolist()
    [0.0]
    """
    return elu(x, 1.6732632423543772) * 1.0507009873554805


@told
def celu(x, alpha: float = 1.0):
    """max(x, 0) + min(alpha (exp(x / alpha) - 1), 0) (Barron, 2017).

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.celu(ln.tensor([2.0]), 0.5).numpy().tolist()
    [2.0]
    """
    return elu(as_value(x, "celu") / alpha) * alpha


@told
def gelu(x, approximate: str = "none"):
    """x Phi(x), with Phi the normal distribution function, or its approximation "tanh"
    (Hendrycks and Gimpel, 2016).

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.gelu(ln.tensor([0.0])).numpy().tolist()
    [0.0]

    Raises:
        ValueError: for another approximation.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}")
    return _gelu(x) if approximate == "none" else _gelu_tanh(x)


@told
def softplus(x, beta: float = 1.0):
    """log(1 + exp(beta x)) / beta, without overflow.

    Shapes: any -> the same; n rows -> n rows.

    >>> round(float(ln.softplus(ln.tensor(0.0))), 4)
    0.6931
    """
    return _softplus(x) if beta == 1.0 else _softplus(as_value(x, "softplus") * beta) / beta


@told
def mish(x):
    """x tanh(softplus(x)) (Misra, 2019).

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.mish(ln.tensor([0.0])).numpy().tolist()
    [0.0]
    """
    x = as_floats(as_value(x, "mish"))
    return x * tanh(_softplus(x))


def _between(name: str, x, low, high):
    return record(HARDTANH, tuple(prepare(HARDTANH, as_value(x, name), low, high)))


@told
def hardtanh(x, min_val: float = -1.0, max_val: float = 1.0):
    """x within [min_val, max_val], the nearer bound outside; at the bounds the gradient is 0.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.hardtanh(ln.tensor([-2.0, 0.5])).numpy().tolist()
    [-1.0, 0.5]
    """
    return _between("hardtanh", x, min_val, max_val)


@told
def relu6(x):
    """min(max(x, 0), 6).

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.relu6(ln.tensor([-2.0, 7.0])).numpy().tolist()
    [0.0, 6.0]
    """
    return _between("relu6", x, 0.0, 6.0)


@told
def hardsigmoid(x):
    """min(max(x / 6 + 1/2, 0), 1).

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.hardsigmoid(ln.tensor([-4.0, 0.0])).numpy().tolist()
    [0.0, 0.5]
    """
    return _between("hardsigmoid", as_value(x, "hardsigmoid") * (1.0 / 6.0) + 0.5, 0.0, 1.0)


@told
def hardswish(x):
    """x hardsigmoid(x) (Howard et al., 2019).

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.hardswish(ln.tensor([1.5, 4.0])).numpy().tolist()
    [1.125, 4.0]
    """
    return as_value(x, "hardswish") * hardsigmoid(x)


@told
def hardshrink(x, lambd: float = 0.5):
    """x, but 0 where |x| <= lambd.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.hardshrink(ln.tensor([-2.0, 0.25])).numpy().tolist()
    [-2.0, 0.0]
    """
    x = as_floats(as_value(x, "hardshrink"))
    return where(absolute(x) <= lambd, zero_of(x), x)


@told
def softshrink(x, lambd: float = 0.5):
    """x moved towards 0 by lambd, as far as 0.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.softshrink(ln.tensor([-2.0, 0.25])).numpy().tolist()
    [-1.5, 0.0]

    Raises:
        ValueError: if lambd is negative.
    """
    if lambd < 0:
        raise ValueError(f"softshrink: lambd must not be negative, got {lambd}")
    x = as_floats(as_value(x, "softshrink"))
    return x - clamp(x, -lambd, lambd)


@told
def tanhshrink(x):
    """x - tanh(x).

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.tanhshrink(ln.tensor([0.0])).numpy().tolist()
    [0.0]
    """
    x = as_floats(as_value(x, "tanhshrink"))
    return x - tanh(x)


@told
def threshold(x, threshold: float, value: float):
    """x where x > threshold, else value.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.threshold(ln.tensor([-2.0, 3.0]), 0.5, 9.0).numpy().tolist()
    [9.0, 3.0]
    """
    x = as_value(x, "threshold")
    return where(x <= threshold, value, x)


@told
def glu(x, dim: int = -1):
    """a sigmoid(b), of the first and second halves of an axis of each row (Dauphin et al., 2017).

    Shapes: (2 k,) -> (k,), along any axis; n rows -> n rows.

    >>> ln.glu(ln.tensor([2.0, 0.0])).numpy().tolist()
    [1.0]

    Raises:
        ShapeError: if the axis has no two halves.
    """
    x = as_floats(as_value(x, "glu"))
    at = axis_of(x, dim, "glu")
    shape = x.type.shape
    if at is None or shape[at] % 2:
        raise ShapeError(f"glu: rows of {shape} have no two halves along axis {dim}")
    half = shape[at] // 2
    if len(shape) == 1:
        a, b = split(x, [half, half])
    else:
        a, b = (
            rearranged(x, ("glu", at, k), lambda index, k=k: np.split(index, 2, at)[k])
            for k in range(2)
        )
    return a * sigmoid(b)


ACTIVATIONS = (logsigmoid, leaky_relu, elu, selu, celu, gelu, silu, softplus, softsign, mish,
               hardtanh, relu6, hardsigmoid, hardswish, hardshrink, softshrink, tanhshrink,
               threshold, glu)  # fmt: skip
for _class in (Tensor, Sequence):
    for _method in ACTIVATIONS:
        setattr(_class, _method.__name__, _method)
