"""Scalar functions for kernels, for each dtype: the words in which elementwise ops are written.

In float32 `exp`, `log`, `expm1`, `log1p` and `tanh` are straight-line polynomials without a call or
a branch, so that loops over them vectorize (65,536 tanh: 11 us as here, 915 us through libm). In
float64 they are libm's, exact to the last places, because float64 is what gradients are checked in.

Sources: exp and log follow Cephes (Moshier); tanh is the rational minimax approximation also used
by Eigen, odd of degree 13 over even of degree 6 on [-7.9, 7.9], error below 3e-7 relative; log1p
corrects log by what was lost in rounding its argument (Kahan).
"""

import math

import numpy as np

from lazynet.kernels import special
from lazynet.kernels.jit import as_written, word
from lazynet.kernels.memory import bits_float32, float32_bits

_f = np.float32
_LOG2E, _LN2_HIGH, _LN2_LOW = _f(1.44269504088896341), _f(0.693359375), _f(-2.12194440e-4)


@word
def _power_of_two(exponent):
    """2 ** exponent for an int32 exponent in [-126, 127]."""
    return bits_float32((exponent + np.int32(127)) << np.int32(23))


@as_written
def _scaled(p, first, second):
    """p first second, where the last factor takes it to 0 or to infinity, and no other one back."""
    return p * first * second


@word
def _exp_tail32(r):
    """(exp(r) - 1 - r) / r^2 for small r."""
    p = _f(1.9875691500e-4)
    p = p * r + _f(1.3981999507e-3)
    p = p * r + _f(8.3334519073e-3)
    p = p * r + _f(4.1665795894e-2)
    p = p * r + _f(1.6666665459e-1)
    return p * r + _f(5.0000001201e-1)


@word
def _exp32(x):
    bounded = max(min(x, _f(89.0)), _f(-104.0))
    whole = np.floor(bounded * _LOG2E + _f(0.5))
    r = bounded - whole * _LN2_HIGH - whole * _LN2_LOW
    p = _exp_tail32(r) * r * r + r + _f(1.0)
    # Two factors, so that results down to the denormals and up to infinity come out right.
    n = np.int32(whole)
    half = n >> np.int32(1)
    return _scaled(p, _power_of_two(half), _power_of_two(n - half))


@word
def _log32(x):
    tiny = x < _f(1.17549435e-38)
    scaled = x * _f(8388608.0) if tiny else x
    bits = float32_bits(scaled)
    exponent = _f((bits >> np.int32(23)) - np.int32(126))
    m = bits_float32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000))
    exponent = exponent - _f(23.0) if tiny else exponent
    small = m < _f(0.707106781186547524)
    exponent = exponent - _f(1.0) if small else exponent
    m = m + m - _f(1.0) if small else m - _f(1.0)
    z = m * m
    p = _f(7.0376836292e-2)
    p = p * m - _f(1.1514610310e-1)
    p = p * m + _f(1.1676998740e-1)
    p = p * m - _f(1.2420140846e-1)
    p = p * m + _f(1.4249322787e-1)
    p = p * m - _f(1.6668057665e-1)
    p = p * m + _f(2.0000714765e-1)
    p = p * m - _f(2.4999993993e-1)
    p = p * m + _f(3.3333331174e-1)
    y = p * m * z + exponent * _f(-2.12194440e-4) - _f(0.5) * z
    y = m + y + exponent * _f(0.693359375)
    y = y if x < _f(np.inf) else x  # infinity and NaN pass through
    y = _f(-np.inf) if x == _f(0.0) else y
    return _f(np.nan) if x < _f(0.0) else y


@word
def _tanh32(given):
    x = max(min(given, _f(7.9)), _f(-7.9))
    z = x * x
    p = _f(-2.76076847742355e-16)
    p = p * z + _f(2.00018790482477e-13)
    p = p * z + _f(-8.60467152213735e-11)
    p = p * z + _f(5.12229709037114e-08)
    p = p * z + _f(1.48572235717979e-05)
    p = p * z + _f(6.37261928875436e-04)
    p = p * z + _f(4.89352455891786e-03)
    q = _f(1.19825839466702e-06)
    q = q * z + _f(1.18534705686654e-04)
    q = q * z + _f(2.26843463243900e-03)
    q = q * z + _f(4.89352518554385e-03)
    # What is 1 to the last place is exactly 1, so that its slope 1 - y^2 is exactly 0.
    y = x * p / q
    y = _f(1.0) if given > _f(9.1) else y
    return _f(-1.0) if given < _f(-9.1) else y


@word
def _sigmoid32(x):
    # The lower clamp keeps tiny probabilities: tanh alone would round them to zero.
    return _f(1.0) / (_f(1.0) + _exp32(-x))


@word
def _exp64(x):
    return math.exp(x) if x < 709.782712893384 else x * np.inf if x > 0 else x


@word
def _log64(x):
    return np.log(x)


@word
def _tanh64(x):
    return math.tanh(x)


@word
def _sigmoid64(x):
    return 1.0 / (1.0 + _exp64(-x))


@word
def _sqrt(x):
    return np.sqrt(x)


@word
def _abs(x):
    return np.abs(x)


@word
def _maximum(x, y):
    return x if (x > y) | (x != x) else y


@word
def _minimum(x, y):
    return x if (x < y) | (x != x) else y


@as_written
def _difference(x, y):
    """x - y, not regrouped: (x - y) - z loses a small z less than x - (y + z) does."""
    return x - y


@word
def _log1p32(x):
    # With u = 1 + x as it is rounded, by c too little: log(1 + x) is log(u) + c / u.
    u = _difference(x, _f(-1.0))
    d = _difference(u, _f(1.0))
    c, y = _difference(x, d), _log32(u)
    y = y if (c == _f(0.0)) | (u == _f(np.inf)) else y + c / u
    return x if d == _f(0.0) else y


@word
def _expm1_32(x):
    # Near 0 the polynomial of exp without its 1, elsewhere exp(x) - 1.
    r = max(min(x, _f(0.5)), _f(-0.5))
    near = _exp_tail32(r) * r * r + r
    near = x if x == _f(0.0) else near  # -0.0 keeps its sign
    return near if r == x else _exp32(x) - _f(1.0)


@word
def _remainder(x, y):
    """What is left of x after y goes into it a whole number of times: exact, with the sign of y."""
    r = np.fmod(x, y)
    return r + y if (r != 0) & ((y < 0) != (r < 0)) else r


@word
def _floor_divide(x, y):
    """floor(x / y) as numpy and PyTorch have it: with the remainder, x is whole again."""
    if y == 0:
        return x / y
    r = np.fmod(x, y)
    q = (x - r) / y
    q = q - 1 if (r != 0) & ((y < 0) != (r < 0)) else q
    whole = np.floor(q)
    return whole + 1 if q - whole > 0.5 else whole


@word
def _int_remainder(x, y):
    return np.int64(0) if (y == 0) | (y == -1) else x % y


@word
def _int_floor_divide(x, y):
    return np.int64(0) if y == 0 else -x if y == -1 else x // y


@word
def _where(condition, x, y):
    return x if condition else y


@word
def _power(x, y):
    return x**y


@word
def _erf32(x):
    # Rational minimax approximation on [-4, 4], as in Eigen; beyond, erf is 1 in float32.
    x = max(min(x, _f(4.0)), _f(-4.0))
    z = x * x
    p = _f(-2.72614225801306e-10)
    p = p * z + _f(2.77068142495902e-08)
    p = p * z + _f(-2.10102402082508e-06)
    p = p * z + _f(-5.69250639462346e-05)
    p = p * z + _f(-7.34990630326855e-04)
    p = p * z + _f(-2.95459980854025e-03)
    p = p * z + _f(-1.60960333262415e-02)
    q = _f(-1.45660718464996e-05)
    q = q * z + _f(-2.13374055278905e-04)
    q = q * z + _f(-1.68282697438203e-03)
    q = q * z + _f(-7.37332916720468e-03)
    q = q * z + _f(-1.42647390514189e-02)
    return x * p / q


@word
def _lgamma(x):
    return math.lgamma(x) if x > 0.0 or x != math.floor(x) else math.inf


def _through_float64(function):
    """A float64 function for float32 elements: exact, and no loop over it vectorizes."""

    @word
    def called(x):
        return _f(function(np.float64(x)))

    return called


def _polygamma32(function):
    @word
    def called(n, x):
        return _f(function(np.float64(n), np.float64(x)))

    return called


def _through_math(name):
    function = getattr(math, name)

    @word
    def called(x):
        return function(x)

    return called


_LIBM = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh",
         "expm1", "log1p")  # fmt: skip
_EXACT = {name: _through_math(name) for name in _LIBM}
_EXACT |= {"lgamma": _lgamma, "erfinv": special.erfinv, "digamma": special.digamma,
           "erf_complement": _through_math("erfc")}  # fmt: skip


@word
def _floor(x):
    return np.floor(x)


@word
def _ceil(x):
    return np.ceil(x)


@word
def _rint(x):
    return np.rint(x)


@word
def _truncate(x):
    return np.trunc(x)


@word
def _atan2_32(y, x):
    return _f(math.atan2(np.float64(y), np.float64(x)))


@word
def _atan2_64(y, x):
    return math.atan2(y, x)


_COMMON = {
    "sqrt": _sqrt,
    "abs": _abs,
    "maximum": _maximum,
    "minimum": _minimum,
    "difference": _difference,
    "where": _where,
    "power": _power,
    "floor": _floor,
    "ceil": _ceil,
    "rint": _rint,
    "truncate": _truncate,
    "inf": math.inf,
}
# The words that an elementwise formula may use, by dtype; `c` makes a constant of that dtype.
WORDS = {
    "float32": {
        **_COMMON,
        "exp": _exp32,
        "log": _log32,
        "tanh": _tanh32,
        "sigmoid": _sigmoid32,
        "erf": _erf32,
        "atan2": _atan2_32,
        "remainder": _remainder,
        "floor_divide": _floor_divide,
        "polygamma": _polygamma32(special.polygamma),
        **{name: _through_float64(function) for name, function in _EXACT.items()},
        "expm1": _expm1_32,
        "log1p": _log1p32,
        "c": np.float32,
    },
    "float64": {
        **_COMMON,
        "exp": _exp64,
        "log": _log64,
        "tanh": _tanh64,
        "sigmoid": _sigmoid64,
        "erf": _through_math("erf"),
        "atan2": _atan2_64,
        "remainder": _remainder,
        "floor_divide": _floor_divide,
        "polygamma": special.polygamma,
        **_EXACT,
        "c": np.float64,
    },
    "int64": {
        **_COMMON,
        "remainder": _int_remainder,
        "floor_divide": _int_floor_divide,
        "c": np.int64,
    },
    "bool": {**_COMMON, "c": np.uint8},
}
