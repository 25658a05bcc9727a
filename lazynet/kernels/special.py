"""Special functions of a float64, for the scalar words that libm has no name for."""

import math

import numpy as np

from lazynet.kernels.jit import word

_ROOT_PI_2 = math.sqrt(math.pi) / 2


@word
def erfinv(x):
    """The inverse of erf: Giles's polynomials ("Approximating the erfinv function", 2010), then
    four of Newton's steps."""
    if not abs(x) <= 1.0:
        return np.nan
    if abs(x) == 1.0:
        return x * np.inf
    w = -math.log((1.0 - x) * (1.0 + x))
    if w < 5.0:
        w = w - 2.5
        p = 2.81022636e-08
        p = 3.43273939e-07 + p * w
        p = -3.5233877e-06 + p * w
        p = -4.39150654e-06 + p * w
        p = 0.00021858087 + p * w
        p = -0.00125372503 + p * w
        p = -0.00417768164 + p * w
        p = 0.246640727 + p * w
        p = 1.50140941 + p * w
    else:
        w = math.sqrt(w) - 3.0
        p = -0.000200214257
        p = 0.000100950558 + p * w
        p = 0.00134934322 + p * w
        p = -0.00367342844 + p * w
        p = 0.00573950773 + p * w
        p = -0.0076224613 + p * w
        p = 0.00943887047 + p * w
        p = 1.00167406 + p * w
        p = 2.83297682 + p * w
    y = p * x
    for _ in range(4):
        if abs(y) > 1.0:
            # The complement keeps the digits that erf has lost, its logarithm is nearly a parabola.
            rest = math.erfc(abs(y))
            error = rest * math.log((1.0 - abs(x)) / rest)
        else:
            error = math.erf(abs(y)) - abs(x)
        step = error * _ROOT_PI_2 * math.exp(y * y)
        y -= step if y > 0.0 else -step
    return y


@word
def digamma(x):
    """The logarithmic derivative of gamma: recurrence up to 10, then the asymptotic series; below
    0 the reflection (Abramowitz and Stegun, 6.3.5, 6.3.7, 6.3.18)."""
    if x <= 0.0 and x == math.floor(x):
        return np.nan if x != 0.0 else -math.copysign(np.inf, x)
    shift = 0.0
    if x < 0.0:
        shift = -math.pi / math.tan(math.pi * x)
        x = 1.0 - x
    while x < 10.0:
        shift -= 1.0 / x
        x += 1.0
    z = 1.0 / (x * x)
    p = z * (
        1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132 - z * 691 / 32760))))
    )
    return shift + math.log(x) - 0.5 / x - p


@word
def polygamma(n, x):
    """The n-th derivative of digamma for n >= 1 and x > 0: recurrence up to 20, then the asymptotic
    series (Abramowitz and Stegun, 6.4.6, 6.4.11). Below 0 the reflection for n = 1 (6.4.7), else
    NaN."""
    reflected = 0.0
    if n == 1.0 and x <= 0.0:
        if x == math.floor(x):
            return np.inf
        reflected = (math.pi / math.sin(math.pi * (x - math.floor(x)))) ** 2
        x = 1.0 - x
    if not x > 0.0:
        return np.nan
    sign = 1.0 if n % 2.0 == 1.0 else -1.0
    factorial = math.gamma(n + 1.0)
    total = 0.0
    while x < 20.0:
        total += factorial / x ** (n + 1.0)
        x += 1.0
    rising = factorial / n  # (n - 1)!
    total += rising / x**n + factorial / (2.0 * x ** (n + 1.0))
    bernoulli = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
    for k in range(1, 8):
        term = math.gamma(2.0 * k + n) / (math.gamma(2.0 * k + 1.0) * x ** (2.0 * k + n))
        total += bernoulli[k - 1] * term
    return reflected - total if reflected > 0.0 else sign * total
