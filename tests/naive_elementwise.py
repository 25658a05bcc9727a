"""Naive versions of the functions of one element."""

import math

import numpy as np


def each(function):
    """A function of Python floats, for arrays."""
    return np.vectorize(function, otypes=[np.float64])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def digamma(x, step=1e-5):
    """By Richardson's extrapolation of central differences of log gamma."""
    return derivative(math.lgamma, x, step)


def derivative(function, x, step):
    wide = (function(x + 2 * step) - function(x - 2 * step)) / (4 * step)
    return (4 * (function(x + step) - function(x - step)) / (2 * step) - wide) / 3


def series(n, x, terms=200_000):
    """The n-th derivative of digamma as its series, the rest of it by an integral."""
    k = np.arange(terms, dtype=np.float64)
    rest = (x + terms - 0.5) ** -n / n
    return (-1) ** (n + 1) * math.factorial(n) * (np.sum((x + k) ** (-n - 1.0)) + rest)


def digamma_series(x, terms=200_000):
    k = np.arange(terms, dtype=np.float64)
    rest = math.log((terms + 0.5) / (terms + x - 0.5))
    return -0.57721566490153286 + np.sum(1 / (k + 1) - 1 / (k + x)) - rest


def erfinv(y):
    low, high = -6.0, 6.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < y else (low, middle)
    return (low + high) / 2


def elu(x, a):
    return np.where(x > 0, x, a * np.expm1(np.minimum(x, 0)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ROWS = {
    "expm1": np.expm1,
    "log1p": np.log1p,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "logaddexp": lambda x, y: np.log(np.exp(x) + np.exp(y)),
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": each(math.erf),
    "erfc": each(math.erfc),
    "erfinv": each(erfinv),
    "lgamma": each(math.lgamma),
    "digamma": each(digamma_series),
    "polygamma_1": each(lambda x: series(1, x)),
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "trunc": np.trunc,
    "isnan": np.isnan,
    "isinf": np.isinf,
    "isfinite": np.isfinite,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "logical_not": np.logical_not,
    "remainder": np.remainder,
    "floor_divide": np.floor_divide,
    "binary_cross_entropy": lambda x, y: -(y * np.log(x) + (1 - y) * np.log(1 - x)),
    "hardtanh": lambda x, low, high: np.clip(x, low, high),
    "clamp": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    "logsigmoid": lambda x: -np.log1p(np.exp(-x)),
    "leaky_relu": lambda x, a: np.where(x > 0, x, a * x),
    "elu": elu,
    "gelu": lambda x: x * (1 + each(math.erf)(x / math.sqrt(2))) / 2,
    "gelu_tanh": gelu_tanh,
    "silu": lambda x: x * sigmoid(x),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
}
