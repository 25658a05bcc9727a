"""Arithmetic, comparisons and `where`: elementwise ops, and how their operands are made alike.

Each is one scalar formula; see `ops/lifting.py`. Operands broadcast as in numpy within a row; a
Tensor broadcasts against each row of a Sequence.
"""

from __future__ import annotations

import functools
import reprlib

import numpy as np

from lazynet.debugging import warn
from lazynet.op import Op, Sample, row_type
from lazynet.ops.axes import broadcast_shapes
from lazynet.ops.lifting import PAIRS, broadcast_of, elementwise
from lazynet.ops.reduce import expand
from lazynet.ops.told import told
from lazynet.ops.ways import binary, note_values, unary, with_leaves, with_numbers
from lazynet.quick import Short, record_values
from lazynet.record import DtypeError, Literal, as_value, record
from lazynet.tape import is_fixed
from lazynet.tensor import Sequence, Tensor, Value


def prepare(op: Op, *operands):
    """Make the operands of one call alike: numbers become literals, dtypes and shapes agree."""
    operands = tuple(x.item() if isinstance(x, np.generic) else x for x in operands)
    values = [x for x in operands if isinstance(x, Value)]
    if any(not isinstance(x, (Value, bool, int, float)) for x in operands):
        operands = tuple(x if isinstance(x, (bool, int, float)) else as_value(x, op.name)
                         for x in operands)  # fmt: skip
        values = [x for x in operands if isinstance(x, Value)]
    dtype = _common_dtype(values, operands)
    if dtype == "bool" and any(isinstance(x, (int, float)) and not isinstance(x, bool)
                               for x in operands):  # fmt: skip
        dtype = "int64"
    if dtype in ("int64", "bool") and (op is DIVIDE or any(isinstance(x, float) for x in operands)):
        dtype = "float32"
    if dtype == "bool" and op in (SUBTRACT, POWER):
        raise DtypeError(
            f"{op.name}: bools are no numbers here; give numbers, x.long(), or, to tell where two "
            "masks differ, x ^ y"
        )
    if op is POWER and dtype == "int64" and isinstance(operands[1], int) and operands[1] < 0:
        raise ValueError(
            f"pow: an integer to the power {operands[1]} is none; give floats, x.float() ** -1"
        )
    made = [x if isinstance(x, Value) else _literal(op, x, dtype) for x in operands]
    made = [x if x.type.dtype == dtype else cast(x, dtype) for x in made]
    _warn_of_meeting(op.name, values)
    target = broadcast_of(op.name, *(x.type for x in made))
    return [x if x.type.shape == target or x.type.size == 1 else expand(x, target) for x in made]


def _warn_of_meeting(name: str, values: list) -> None:
    """Warn of a Tensor that has the shape of a whole Sequence, and so meets each of its rows.

    Looked at where an op has not met such shapes yet, which is where a program is tried out.
    """
    rows = next((x for x in values if x.__class__ is Sequence and x.length > 1), None)
    if rows is None:
        return
    for x in values:
        if isinstance(x, Tensor) and x.type.shape == rows.shape:
            # No sizes: what is said again from one line is shown once.
            warn(
                f"{name}: a Tensor of the shape of all rows of a Sequence meets each one, which "
                "gives n times n; ln.sequence(x) makes rows of it; where this is meant, "
                "rows.unsqueeze(1) tells so"
            )


_WIDEST_FIRST = ("float64", "float32", "int64", "bool")


def _common_dtype(values: list, operands: tuple) -> str:
    """The dtype in which operands meet: of floats the widest, whatever integers are beside them."""
    if values:
        met = {x.type.dtype for x in values}
        return next(dtype for dtype in _WIDEST_FIRST if dtype in met)
    if all(isinstance(x, bool) for x in operands):
        return "bool"
    return "int64" if all(isinstance(x, int) for x in operands) else "float32"


def _literal(op: Op, x, dtype: str) -> Literal:
    """A number as an operand of this dtype."""
    value = getattr(x, "value", x)
    if isinstance(value, int) and not -(2**63) <= value < 2**63 and not _holds(value, dtype):
        raise TypeError(f"{op.name}: {reprlib.repr(value)} does not fit into {dtype}")
    return Literal(value, dtype)


def _holds(value: int, dtype: str) -> bool:
    """Whether an integer beyond int64 can be a number of this dtype."""
    return dtype.startswith("float") and value**2 <= int(np.finfo(dtype).max) ** 2


def as_floats(x):
    """Integers as floats, for functions whose results are no integers."""
    return x if x.type.is_float else cast(x, "float32")


def floats_of(x, name: str):
    """An operand as a value of floats.

    Raises:
        TypeError: for one of other numbers.
    """
    x = as_value(x, name)
    if not x.type.is_float:
        raise TypeError(f"{name}: expected float rows, not {x.type.dtype}")
    return x


def _none_is_different(function, answer: bool):
    @functools.wraps(function)
    def compared(x, y):
        return answer if y is None else function(x, y)

    return compared


def number_of(x):
    """Bools as integers, of which there may be more than 1."""
    return cast(x, "int64") if x.type.dtype == "bool" else x


def _no_mask(x):
    if x.type.dtype == "bool":
        raise DtypeError("neg: bools are no numbers here; ~x is true where x is not")
    return x


cast_ops: dict[str, Op] = {}


def cast(x, dtype: str):
    """The same values in another dtype."""
    if isinstance(x, Literal):
        return Literal(x.value, dtype)
    row_type(dtype)  # refuses what is none before an op is made of it
    if dtype not in cast_ops:
        cast_ops[dtype] = elementwise(
            f"to_{dtype}", f"y = {dtype}(x)", "x0 != c(0)" if dtype == "bool" else "x0",
            (lambda g, y, x: (cast(g, x.type.dtype),)) if dtype.startswith("float") else None,
            result=dtype,
        )  # fmt: skip
    return record(cast_ops[dtype], (x,))


# -- arithmetic ------------------------------------------------------------------------------------

ADD = elementwise(
    "add", "z = x + y", "x0 + x1", lambda g, z, x, y: (g, g), samples=PAIRS, of_bools="x0 | x1"
)
SUBTRACT = elementwise("sub", "z = x - y", "x0 - x1", lambda g, z, x, y: (g, -g), samples=PAIRS)
MULTIPLY = elementwise(
    "mul", "z = x y", "x0 * x1", lambda g, z, x, y: (g * y, g * x), samples=PAIRS
)
DIVIDE = elementwise(
    "div", "z = x / y", "x0 / x1", lambda g, z, x, y: (g / y, -(g * z) / y),
    samples=tuple(Sample(s.operands, low=0.5, high=2.0) for s in PAIRS),
)  # fmt: skip


def _power_vjp(g, z, x, y):
    """Of x^0 the slope is 0 whatever x is, and of 0^y it is 0 for y >= 0, as in PyTorch."""
    of_base = where(y == 0.0, zero_of(g), g * (y * power(x, y - 1)))
    if is_fixed(y):
        return of_base, None  # that of y would be NaN for x < 0, which `ln.debug` tells of
    slope = g * z * log(x)
    return of_base, where(x == 0.0, where(y >= 0.0, zero_of(g), slope), slope)


POWER = elementwise(
    "pow", "z = x ^ y", "power(x0, x1)", _power_vjp,
    samples=tuple(Sample(s.operands, low=0.5, high=2.0) for s in PAIRS),
)  # fmt: skip
MAXIMUM = elementwise(
    "maximum", "z = max(x, y)", "maximum(x0, x1)",
    lambda g, z, x, y: (where(x < y, zero_of(g), where(x == y, g * 0.5, g)),
                        where(y < x, zero_of(g), where(x == y, g * 0.5, g))),
    samples=PAIRS,
)  # fmt: skip
MINIMUM = elementwise(
    "minimum", "z = min(x, y)", "minimum(x0, x1)",
    lambda g, z, x, y: (where(x > y, zero_of(g), where(x == y, g * 0.5, g)),
                        where(y > x, zero_of(g), where(x == y, g * 0.5, g))),
    samples=PAIRS,
)  # fmt: skip

NEGATIVE = elementwise("neg", "y = -x", "-x0", lambda g, y, x: (-g,))
EXP = elementwise("exp", "y = exp(x)", "exp(x0)", lambda g, y, x: (g * y,))
LOG = elementwise(
    "log", "y = log(x)", "log(x0)", lambda g, y, x: (g / x,), samples=(Sample(((5,),), low=0.5),)
)
SQRT = elementwise(
    "sqrt", "y = sqrt(x)", "sqrt(x0)", lambda g, y, x: (g * 0.5 / y,),
    samples=(Sample(((5,),), low=0.5),),
)  # fmt: skip
ABSOLUTE = elementwise("abs", "y = |x|", "abs(x0)", lambda g, y, x: (g * sign(x),))
SIGN = elementwise(
    "sign", "y = sign(x)", "where(x0 > c(0), c(1), where(x0 < c(0), c(-1), x0))",
    lambda g, y, x: (None,),
)  # fmt: skip
SQUARE = elementwise("square", "y = x^2", "x0 * x0", lambda g, y, x: (g * 2.0 * x,))
TANH = elementwise("tanh", "y = tanh(x)", "tanh(x0)", lambda g, y, x: (g * (1.0 - y * y),))
SIGMOID = elementwise(
    "sigmoid", "y = 1 / (1 + exp(-x))", "sigmoid(x0)", lambda g, y, x: (g * y * (1.0 - y),)
)
RELU = elementwise(
    "relu", "y = max(x, 0)", "maximum(x0, c(0))",
    lambda g, y, x: (where(x <= 0.0, zero_of(g), g),),
)  # fmt: skip
DETACH = elementwise("detach", "y = x, without gradient", "x0", None)

# -- comparisons -----------------------------------------------------------------------------------


def _comparison(name: str, sign_: str) -> Op:
    return elementwise(
        name, f"z = x {sign_} y", f"x0 {sign_} x1", None, result="bool", samples=PAIRS
    )


LESS, LESS_EQUAL = _comparison("lt", "<"), _comparison("le", "<=")
GREATER, GREATER_EQUAL = _comparison("gt", ">"), _comparison("ge", ">=")
EQUAL, NOT_EQUAL = _comparison("eq", "=="), _comparison("ne", "!=")


def _where_shape(condition, x, y):
    if condition.dtype != "bool":
        raise TypeError(f"where: the condition must be bool, not {condition.dtype}")
    return (row_type(x.dtype, broadcast_of("where", condition, x, y)),)


WHERE = elementwise(
    "where", "z = x where c, else y", "where(x0, x1, x2)",
    lambda g, z, c, x, y: (None, where(c, g, zero_of(g)), where(c, zero_of(g), g)),
    samples=tuple(
        Sample(shapes, dtypes=("bool", "", ""))
        for shapes in (((5,), (5,), (5,)), ((5,), (), ()), ((), (5,), (5,)), ((), (), ()))
    ),
)  # fmt: skip
WHERE.shape = _where_shape


# -- functions -------------------------------------------------------------------------------------

add, subtract = binary(ADD, prepare), binary(SUBTRACT, prepare)
multiply, divide = binary(MULTIPLY, prepare), binary(DIVIDE, prepare)
power = binary(POWER, prepare, floats_only=True)
maximum, minimum = binary(MAXIMUM, prepare), binary(MINIMUM, prepare)
less, less_equal = binary(LESS, prepare), binary(LESS_EQUAL, prepare)
greater, greater_equal = binary(GREATER, prepare), binary(GREATER_EQUAL, prepare)
equal, not_equal = binary(EQUAL, prepare), binary(NOT_EQUAL, prepare)
negative = unary(NEGATIVE, _no_mask)
exp, log, sqrt = unary(EXP, as_floats), unary(LOG, as_floats), unary(SQRT, as_floats)
absolute, sign, square = unary(ABSOLUTE), unary(SIGN), unary(SQUARE, number_of)
tanh, sigmoid, relu = unary(TANH, as_floats), unary(SIGMOID, as_floats), unary(RELU)
detach = unary(DETACH)

# The same under PyTorch's names.
sub, mul, div, neg = subtract, multiply, divide, negative
pow, abs = power, absolute
eq, ne, lt, le, gt, ge = equal, not_equal, less, less_equal, greater, greater_equal


_known_wheres: dict = {}
_short_where = Short(record_values, _known_wheres)


def where(condition, x, y):
    """z = x where the condition holds, else y, for each element.

    Shapes: all three broadcast against each other; n rows -> n rows.

    >>> x = ln.tensor([-1.0, 2.0])
    >>> ln.where(x > 0, x, 0.0).tolist()
    [0.0, 2.0]

    Raises:
        TypeError: if the condition is not bool. ShapeError: if shapes do not broadcast.
    """
    made = _short_where.record(condition, x, y)
    if made is None:
        made = with_leaves(_short_where, condition, x, y)
    if made is None:
        made = with_numbers(_short_where, condition, x, y)
    return _where(condition, x, y) if made is None else made


@told
def _where(condition, x, y):
    """`where`, the long way."""
    given = condition, x, y
    condition = as_value(condition, "where")
    if condition.type.dtype != "bool":
        raise TypeError(f"where: the condition must be bool, not {condition.type.dtype}")
    x, y = prepare(WHERE, x, y)
    _warn_of_meeting("where", [condition, x, y])
    target = broadcast_shapes(condition.type.shape, x.type.shape, y.type.shape)
    operands = tuple(
        v if v.type.shape == target or v.type.size == 1 else expand(v, target)
        for v in (condition, x, y)
    )
    made = record(WHERE, operands)
    note_values(_known_wheres, WHERE, operands, given)
    return made


def zero_of(x):
    """A literal 0 in the dtype of x, which broadcasts."""
    return Literal(0, x.type.dtype)


def _reflected(function):
    @functools.wraps(function)
    def reflected(x, y):
        return function(y, x)

    return reflected


def _power(x, exponent):
    kind = exponent.__class__
    if kind is int or (kind is float and x.type.is_float):  # integers to a float power are floats
        if exponent == 2:
            return square(x)
        if exponent == 3:
            return x * square(x)
        if exponent == 0.5:
            return sqrt(x)  # of -inf NaN, as in PyTorch
    return power(x, exponent)


for _class in (Tensor, Sequence):
    _class.__add__ = _class.__radd__ = add
    _class.__sub__, _class.__rsub__ = subtract, _reflected(subtract)
    _class.__mul__ = _class.__rmul__ = multiply
    _class.__truediv__, _class.__rtruediv__ = divide, _reflected(divide)
    _class.__pow__, _class.__rpow__ = _power, _reflected(power)
    _class.__neg__, _class.__abs__, _class.__pos__ = negative, absolute, lambda x: x
    _class.__lt__, _class.__le__ = less, less_equal
    _class.__gt__, _class.__ge__ = greater, greater_equal
    _class.__eq__ = _none_is_different(equal, False)
    _class.__ne__ = _none_is_different(not_equal, True)
    _class.__hash__ = object.__hash__
    _class.exp, _class.log, _class.sqrt = exp, log, sqrt
    _class.tanh, _class.sigmoid, _class.relu = tanh, sigmoid, relu
    _class.abs, _class.sign, _class.square = absolute, sign, square
    _class.add, _class.sub, _class.mul, _class.div = add, subtract, multiply, divide
    _class.pow, _class.neg = _power, negative
    _class.maximum, _class.minimum = maximum, minimum
    _class.lt, _class.le, _class.gt, _class.ge = less, less_equal, greater, greater_equal
    _class.eq, _class.ne = equal, not_equal
    _class.where = lambda x, condition, other: where(condition, x, other)
    _class.detach = detach
    _class.astype = lambda x, dtype: cast(x, np.dtype(dtype).name)
    _class.float = lambda x: cast(x, "float32")
    _class.double = lambda x: cast(x, "float64")
    _class.long = lambda x: cast(x, "int64")
