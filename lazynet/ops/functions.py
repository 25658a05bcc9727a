"""Functions of one element: exponentials, trigonometry, special functions, rounding.

Each is one block; see `ops/lifting.py`. Values are those of libm (float32 through float64), and
so are those at 0, infinity and NaN.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from lazynet.op import Op, Sample
from lazynet.ops.elementwise import as_floats, cast, exp, prepare, sigmoid, where, zero_of
from lazynet.ops.lifting import PAIRS, elementwise
from lazynet.ops.told import told
from lazynet.ops.ways import binary, note_values, unary, with_numbers
from lazynet.quick import Short, record_values
from lazynet.record import DtypeError, Literal, as_value, record
from lazynet.tensor import Sequence, Tensor


def within(low: float, high: float) -> tuple[Sample, ...]:
    """Samples between two numbers, where a function is defined."""
    return (Sample(((5,),), low=low, high=high),)


def _rsqrt(x):
    return rsqrt(x)


# -- exponentials and roots ------------------------------------------------------------------------

EXPM1 = elementwise("expm1", "y = exp(x) - 1", "expm1(x0)", lambda g, y, x: (g * (y + 1.0),))
LOG1P = elementwise(
    "log1p", "y = log(1 + x)", "log1p(x0)", lambda g, y, x: (g / (x + 1.0),),
    samples=within(-0.5, 2.0),
)  # fmt: skip
_LOG_2 = math.log(2.0)  # apart, as equal infinities have no difference
LOGADDEXP = elementwise(
    "logaddexp", "z = log(exp(x) + exp(y))",
    f"where(x0 == x1, x0 + c({_LOG_2}), "
    "maximum(x0, x1) + log1p(exp(minimum(x0, x1) - maximum(x0, x1))))",
    lambda g, z, x, y: (g * sigmoid(x - y), g * sigmoid(y - x)), samples=PAIRS,
)  # fmt: skip
RSQRT = elementwise(
    "rsqrt", "y = 1 / sqrt(x)", "c(1) / sqrt(x0)", lambda g, y, x: (g * -0.5 * y * y * y,),
    samples=within(0.5, 2.0),
)  # fmt: skip
RECIPROCAL = elementwise(
    "reciprocal", "y = 1 / x", "c(1) / x0", lambda g, y, x: (-(g * y * y),),
    samples=within(0.5, 2.0),
)  # fmt: skip


def _inverse_square(x, y):
    """1 / (x^2 + y^2), or 0 where both are 0: the angle has no direction to turn to."""
    square_ = x * x + y * y
    return where(square_ == 0.0, zero_of(square_), 1.0 / square_)


# -- trigonometry ----------------------------------------------------------------------------------

SIN = elementwise("sin", "y = sin(x)", "sin(x0)", lambda g, y, x: (g * cos(x),))
COS = elementwise("cos", "y = cos(x)", "cos(x0)", lambda g, y, x: (-(g * sin(x)),))
TAN = elementwise(
    "tan", "y = tan(x)", "tan(x0)", lambda g, y, x: (g * (y * y + 1.0),), samples=within(-1.0, 1.0)
)
ASIN = elementwise(
    "asin", "y = arcsin(x)", "asin(x0)", lambda g, y, x: (g * _rsqrt(1.0 - x * x),),
    samples=within(-0.9, 0.9),
)  # fmt: skip
ACOS = elementwise(
    "acos", "y = arccos(x)", "acos(x0)", lambda g, y, x: (-(g * _rsqrt(1.0 - x * x)),),
    samples=within(-0.9, 0.9),
)  # fmt: skip
ATAN = elementwise("atan", "y = arctan(x)", "atan(x0)", lambda g, y, x: (g / (x * x + 1.0),))
ATAN2 = elementwise(
    "atan2", "z = the angle of the point (y, x)", "atan2(x0, x1)",
    lambda g, z, y, x: (g * x * _inverse_square(x, y), -(g * y * _inverse_square(x, y))),
    samples=tuple(Sample(s.operands, low=0.5, high=2.0) for s in PAIRS),
)  # fmt: skip
SINH = elementwise("sinh", "y = sinh(x)", "sinh(x0)", lambda g, y, x: (g * cosh(x),))
COSH = elementwise("cosh", "y = cosh(x)", "cosh(x0)", lambda g, y, x: (g * sinh(x),))
ASINH = elementwise(
    "asinh", "y = arsinh(x)", "asinh(x0)", lambda g, y, x: (g * _rsqrt(x * x + 1.0),)
)
ACOSH = elementwise(
    "acosh", "y = arcosh(x)", "acosh(x0)", lambda g, y, x: (g * _rsqrt(x * x - 1.0),),
    samples=within(1.2, 3.0),
)  # fmt: skip
ATANH = elementwise(
    "atanh", "y = artanh(x)", "atanh(x0)", lambda g, y, x: (g / (1.0 - x * x),),
    samples=within(-0.9, 0.9),
)  # fmt: skip

# -- special functions -----------------------------------------------------------------------------

_TWO_OVER_ROOT_PI = 2.0 / math.sqrt(math.pi)
ERF = elementwise(
    "erf", "y = 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x", "erf(x0)",
    lambda g, y, x: (g * _TWO_OVER_ROOT_PI * exp(-(x * x)),),
)  # fmt: skip
ERFC = elementwise(
    "erfc", "y = 1 - erf(x)", "erf_complement(x0)",
    lambda g, y, x: (g * -_TWO_OVER_ROOT_PI * exp(-(x * x)),),
)  # fmt: skip
ERFINV = elementwise(
    "erfinv", "x = erf(y)", "erfinv(x0)",
    lambda g, y, x: (g * (1.0 / _TWO_OVER_ROOT_PI) * exp(y * y),), samples=within(-0.9, 0.9),
)  # fmt: skip
LGAMMA = elementwise(
    "lgamma", "y = log |gamma(x)|", "lgamma(x0)", lambda g, y, x: (g * digamma(x),),
    samples=within(0.5, 4.0),
)  # fmt: skip
DIGAMMA = elementwise(
    "digamma", "y = the derivative of log gamma(x)", "digamma(x0)",
    lambda g, y, x: (g * polygamma(1, x),), samples=within(0.5, 4.0),
)  # fmt: skip


@functools.cache
def _polygamma(n: int) -> Op:
    return elementwise(
        f"polygamma_{n}", f"y = the derivative number {n} of digamma(x)", f"polygamma(c({n}), x0)",
        lambda g, y, x: (g * polygamma(n + 1, x),), samples=within(0.5, 4.0), listed=n == 1,
    )  # fmt: skip


_polygamma(1)


@told
def polygamma(n: int, x):
    """The n-th derivative of digamma, n >= 0, for x > 0; elsewhere NaN for n > 1.

    Shapes: any -> the same; n rows -> n rows.

    >>> round(float(ln.polygamma(1, ln.tensor(1.0))), 4)  # pi^2 / 6
    1.6449

    Raises:
        ValueError: for n < 0.
    """
    if not isinstance(n, int) or n < 0:
        raise ValueError(f"polygamma: expected an order n >= 0, not {n!r}")
    x = as_floats(as_value(x, "polygamma"))
    return digamma(x) if n == 0 else record(_polygamma(n), (x,))


# -- rounding --------------------------------------------------------------------------------------


def _rounding(name: str, formula: str, scalar: str) -> tuple[Op, Op]:
    """An op whose derivative is 0, and one through which gradients pass unchanged."""
    away = tuple(Sample((shape,), low=0.1, high=0.4) for shape in ((5,), (2, 3)))
    return (
        elementwise(name, formula, scalar, lambda g, y, x: (None,), samples=away),
        elementwise(f"{name}_straight", f"{formula}, its gradient that of x", scalar,
                    lambda g, y, x: (g,), listed=False),
    )  # fmt: skip


FLOORS = _rounding("floor", "y = the largest integer <= x", "floor(x0)")
CEILS = _rounding("ceil", "y = the smallest integer >= x", "ceil(x0)")
ROUNDS = _rounding("round", "y = the nearest integer, halves to even", "rint(x0)")
TRUNCS = _rounding("trunc", "y = x without its fraction", "truncate(x0)")


def _rounded(name: str, ops: tuple[Op, Op]):
    def function(x, straight_through: bool = False):
        x = as_value(x, name)
        return record(ops[straight_through], (x,)) if x.type.is_float else x

    function.__name__ = name
    function.__doc__ = f"""{ops[0].formula}, for each element; integers are left as they are.

    Shapes: any -> the same; n rows -> n rows.

    The gradient is 0 or, with `straight_through`, passes as if nothing had been rounded (Bengio et
    al., 2013).

    >>> ln.{name}(ln.tensor([1.0, -2.0])).numpy().tolist()
    [1.0, -2.0]
    """
    return told(function)


# -- what kind of number ---------------------------------------------------------------------------

ISNAN = elementwise("isnan", "y = whether x is NaN", "x0 != x0", None, result="bool")
ISINF = elementwise(
    "isinf", "y = whether |x| is infinite", "abs(x0) == c(inf)", None, result="bool"
)
ISFINITE = elementwise(
    "isfinite", "y = whether x is a finite number", "abs(x0) < c(inf)", None, result="bool"
)

# -- logic, and what is left after division --------------------------------------------------------

BOOLS = tuple(Sample(s.operands, dtypes=("bool", "bool")) for s in PAIRS)
AND = elementwise("logical_and", "z = x and y", "x0 & x1", None, result="bool", samples=BOOLS)
OR = elementwise("logical_or", "z = x or y", "x0 | x1", None, result="bool", samples=BOOLS)
XOR = elementwise(
    "logical_xor", "z = x or y, not both", "x0 ^ x1", None, result="bool", samples=BOOLS
)
NOT = elementwise(
    "logical_not", "y = not x", "x0 == c(0)", None, result="bool",
    samples=(Sample(((5,),), dtypes=("bool",)),),
)  # fmt: skip
REMAINDER = elementwise(
    "remainder", "z = x - floor(x / y) y", "remainder(x0, x1)",
    lambda g, z, x, y: (g, -(g * floor_divide(x, y))),
    samples=tuple(Sample(s.operands, low=0.6, high=0.9) for s in PAIRS),
)  # fmt: skip
FLOOR_DIVIDE = elementwise(
    "floor_divide", "z = floor(x / y)", "floor_divide(x0, x1)", lambda g, z, x, y: (None, None),
    samples=tuple(Sample(s.operands, low=0.6, high=0.9) for s in PAIRS),
)  # fmt: skip
CLAMP = elementwise(
    "clamp", "z = min(max(x, low), high)", "minimum(maximum(x0, x1), x2)",
    lambda g, z, x, low, high: (
        where(logical_and(x >= low, x <= high), g, zero_of(g)),
        where(logical_and(x < low, low < high), g, zero_of(g)),
        where(logical_or(x > high, high < low), g, zero_of(g)),
    ),
    samples=(Sample(((5,), (), ())), Sample(((5,), (5,), (5,)))),
)  # fmt: skip


def _float_prepare(op: Op, *operands):
    return [as_floats(x) if not isinstance(x, Literal) else x for x in prepare(op, *operands)]


def _bool_prepare(op: Op, *operands):
    values = [as_value(x, op.name) for x in operands]
    return prepare(op, *(x if x.type.dtype == "bool" else cast(x, "bool") for x in values))


expm1, log1p = unary(EXPM1, as_floats), unary(LOG1P, as_floats)
rsqrt, reciprocal = unary(RSQRT, as_floats), unary(RECIPROCAL, as_floats)
sin, cos, tan = unary(SIN, as_floats), unary(COS, as_floats), unary(TAN, as_floats)
asin, acos, atan = unary(ASIN, as_floats), unary(ACOS, as_floats), unary(ATAN, as_floats)
atan2, logaddexp = binary(ATAN2, _float_prepare), binary(LOGADDEXP, _float_prepare)
sinh, cosh = unary(SINH, as_floats), unary(COSH, as_floats)
asinh, acosh, atanh = unary(ASINH, as_floats), unary(ACOSH, as_floats), unary(ATANH, as_floats)
erf, erfc, erfinv = unary(ERF, as_floats), unary(ERFC, as_floats), unary(ERFINV, as_floats)
lgamma, digamma = unary(LGAMMA, as_floats), unary(DIGAMMA, as_floats)
floor, ceil = _rounded("floor", FLOORS), _rounded("ceil", CEILS)
round, trunc = _rounded("round", ROUNDS), _rounded("trunc", TRUNCS)
isnan, isinf, isfinite = unary(ISNAN), unary(ISINF), unary(ISFINITE)
logical_and, logical_or = binary(AND, _bool_prepare), binary(OR, _bool_prepare)
logical_xor = binary(XOR, _bool_prepare)
logical_not = unary(NOT, lambda x: x if x.type.dtype == "bool" else cast(x, "bool"))
remainder, floor_divide = binary(REMAINDER, prepare), binary(FLOOR_DIVIDE, prepare)


def _of_masks(sign: str, function):
    """A logical function as an operator, which means bits to who has integers: of bools only."""

    def operator(x, y):
        x, y = (_mask(v, sign, function) for v in (x, y))
        return function(x, y)

    return operator


def _mask(x, sign: str, function):
    x = as_value(x, sign)
    if x.type.dtype != "bool":
        raise DtypeError(
            f"{sign}: expected bools, not {x.type.dtype}; ln.{function.__name__} takes numbers, "
            "which are true where they are not 0"
        )
    return x


def _inverted(x):
    return logical_not(_mask(x, "~", logical_not))


_INT64 = np.iinfo(np.int64)
_known_clamps: dict = {}
_short_clamp = Short(record_values, _known_clamps)


@told
def clamp(x, min=None, max=None):
    """min(max(x, low), high); either bound may be a number, a value, or missing.

    The gradient passes where x lies within the bounds, the bounds included.

    Shapes: x and bounds broadcast; n rows -> n rows.

    >>> ln.clamp(ln.tensor([-2.0, 0.5, 2.0]), -1.0, 1.0).numpy().tolist()
    [-1.0, 0.5, 1.0]

    Raises:
        ValueError: if there is no bound.
    """
    if min is None and max is None:
        raise ValueError("clamp: give a lower bound, an upper bound, or both")
    x = as_value(x, "clamp")
    ends = (-math.inf, math.inf) if x.type.is_float else (_INT64.min, _INT64.max)
    given = x, ends[0] if min is None else min, ends[1] if max is None else max
    made = with_numbers(_short_clamp, *given)
    if made is None:
        operands = tuple(prepare(CLAMP, *given))
        made = record(CLAMP, operands)
        note_values(_known_clamps, CLAMP, operands, given)
    return made


_METHODS = (
    expm1, log1p, logaddexp, rsqrt, reciprocal, sin, cos, tan, asin, acos, atan, atan2, sinh, cosh,
    asinh, acosh, atanh, erf, erfc, erfinv, lgamma, digamma, floor, ceil, round, trunc, isnan,
    isinf, isfinite, logical_and, logical_or, logical_xor, logical_not, remainder, floor_divide,
    clamp,
)  # fmt: skip
for _class in (Tensor, Sequence):
    for _method in _METHODS:
        setattr(_class, _method.__name__, _method)
    _class.__mod__, _class.__floordiv__ = remainder, floor_divide
    _class.__rmod__ = lambda x, y: remainder(y, x)
    _class.__rfloordiv__ = lambda x, y: floor_divide(y, x)
    _class.__and__ = _class.__rand__ = _of_masks("&", logical_and)
    _class.__or__ = _class.__ror__ = _of_masks("|", logical_or)
    _class.__xor__ = _class.__rxor__ = _of_masks("^", logical_xor)
    _class.__invert__ = _inverted
