"""Zeros, infinities, NaN, huge and tiny numbers, ties and masks: values and slopes as PyTorch's.

Where the two differ on purpose, the case says why (`Apart`), and what is given here.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn

torch = pytest.importorskip("torch")
F, T = nn.functional, torch.nn.functional
INF, NAN = np.inf, np.nan
HUGE = {"float64": 1e300, "float32": 3e38}
TINY = {"float64": 1e-310, "float32": 1e-40}
TOLERANCES = {"float64": {"rtol": 1e-7, "atol": 1e-12}, "float32": {"rtol": 1e-4, "atol": 2e-6}}
both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


class Apart(NamedTuple):
    """Where results are not PyTorch's: of the value or a gradient, `where` on the operands."""

    reason: str
    what: Any  # "value", or the number of an operand, whose gradient it is
    where: Any
    gives: float | None = None  # what is given here, where that is one number


def compare(what, have, want, arrays, apart, dtype):
    have, want = np.broadcast_arrays(np.asarray(have), np.asarray(want))
    have, want = have.copy(), want.copy()
    for case in apart:
        if case.what == what:
            there = np.broadcast_to(case.where(*arrays), want.shape)
            assert there.any(), f"nowhere: {case.reason}"
            if case.gives is not None:
                np.testing.assert_array_equal(have[there], case.gives, case.reason)
            want[there] = have[there]
    np.testing.assert_allclose(have, want, **TOLERANCES[dtype], err_msg=f"{what} of {arrays}")


def agree(ours, theirs, arrays, dtype, rows=False, apart=()):
    """Values and, with weights of their own for all elements, gradients of both."""
    arrays = [np.asarray(a, dtype) for a in arrays]
    mine = [ln.tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    with np.errstate(all="ignore"):
        y = ours(*(ln.sequence(x) if rows else x for x in mine))
        z = theirs(*other)
        assert tuple(y.shape) == tuple(z.shape)
        compare("value", y.numpy(), z.detach().numpy(), arrays, apart, dtype)
        if not z.requires_grad:
            return
        weights = (
            np.random.default_rng(0).uniform(0.5, 1.5, z.shape).astype(z.detach().numpy().dtype)
        )
        w = ln.tensor(weights)
        ln.sum(y * (ln.sequence(w) if isinstance(y, ln.Sequence) else w)).backward()
        (z * torch.tensor(weights)).sum().backward()
        for k, (x, o) in enumerate(zip(mine, other, strict=True)):
            have = np.zeros(o.shape) if x.grad is None else x.grad.numpy()
            want = np.zeros(o.shape) if o.grad is None else o.grad.numpy()
            compare(k, have, want, arrays, apart, dtype)


def edges(dtype):
    big, tiny = HUGE[dtype], TINY[dtype]
    return np.array([0, -0.0, INF, -INF, NAN, big, -big, tiny, 1, -1, 0.5, 2.5, -2, 3, -0.5], dtype)


def pairs(dtype):
    """Every edge against every other."""
    a = edges(dtype)
    return [m.ravel() for m in np.meshgrid(a, a, indexing="ij")]


def named(name):
    return getattr(ln, name, None) or getattr(F, name)


def theirs(name):
    return next(getattr(h, name) for h in (torch, T, torch.special) if hasattr(h, name))


# -- two operands ----------------------------------------------------------------------------------


def small(x):
    return np.abs(x) < 1e-37


def huge(x):
    return np.abs(x) > 1e37


def either(test):
    return lambda *operands: np.any([test(x) for x in operands], axis=0)


ROUNDED = "x^2 + y^2 overflows or vanishes; the angle of the other is not exact then"
OF_TWO = {
    "add": (), "sub": (), "mul": (), "maximum": (), "minimum": (),
    "div": (),
    "atan2": (Apart(ROUNDED, 0, either(huge)), Apart(ROUNDED, 1, either(huge))),
    "remainder": (
        Apart("the remainder is exact; PyTorch loses it where x / y overflows", "value",
              lambda x, y: (np.abs(x) < INF) & (huge(x) | small(y))),
    ),
    "pow": (
        Apart("y overflows before it meets 0", 0, either(huge)),
    ),
}  # fmt: skip


COMPARISONS = "lt le gt ge eq ne logical_and logical_or logical_xor floor_divide"


@both_dtypes
@pytest.mark.parametrize("name", OF_TWO)
def test_of_two_operands(name, dtype):
    agree(named(name), theirs(name), pairs(dtype), dtype, apart=OF_TWO[name])


@both_dtypes
@pytest.mark.parametrize("name", COMPARISONS.split())
def test_of_two_operands_without_derivative(name, dtype):
    arrays = pairs(dtype)
    with ln.no_grad(), np.errstate(all="ignore"):
        have = named(name)(*map(ln.tensor, arrays)).numpy()
    np.testing.assert_array_equal(have, theirs(name)(*map(torch.tensor, arrays)).numpy())


@pytest.mark.parametrize("name", ["remainder", "floor_divide"])
def test_integers_stay_integers(name):
    x, y = (m.ravel() for m in np.meshgrid(np.arange(-7, 8), [-3, -1, 1, 2, 5], indexing="ij"))
    have = named(name)(ln.tensor(x), ln.tensor(y))
    assert have.dtype == "int64"
    np.testing.assert_array_equal(have.numpy(), theirs(name)(torch.tensor(x), torch.tensor(y)))
    least = ln.tensor([-(2**63), 5])
    assert named(name)(least, ln.tensor([-1, 0])).numpy()[1] == 0  # of 0, as numpy; it never traps


def test_integers_within_integer_bounds_stay_integers():
    x = np.arange(-3, 4)
    for bounds in ((-1, 2), (None, 1), (0, None)):
        have = ln.clamp(ln.tensor(x), *bounds)
        want = torch.clamp(torch.tensor(x), *bounds)
        assert have.dtype == "int64" and have.tolist() == want.tolist()
    assert ln.clamp(ln.tensor(x), 0.5).dtype == "float32"


AS_C = "powers are C's: PyTorch takes the root of -0 and -inf, which is -0 and NaN"


def below(x):
    return (x == -INF) | ((x == 0) & np.signbit(x))


POWERS = {
    0.5: (Apart(AS_C, "value", below), Apart(AS_C, 0, below)),
    -0.5: (Apart(AS_C, "value", below), Apart(AS_C, 0, below)),
    0: (), 1: (), 2: (), 3: (), -1: (), -2: (),
}  # fmt: skip


@both_dtypes
@pytest.mark.parametrize("p", POWERS)
def test_powers_with_a_number(p, dtype):
    agree(lambda x: x**p, lambda x: x**p, [edges(dtype)], dtype, apart=POWERS[p])
    agree(lambda x: p**x, lambda x: p**x, [edges(dtype)], dtype)


@both_dtypes
def test_where_keeps_what_it_does_not_choose_out_of_the_gradient(dtype):
    x, y = pairs(dtype)
    chosen = np.arange(x.size) % 2 == 0
    agree(
        lambda a, b: ln.where(ln.tensor(chosen), a, b),
        lambda a, b: torch.where(torch.tensor(chosen), a, b), [x, y], dtype,
    )  # fmt: skip


BOUNDS = [(-1.0, 1.0), (0.0, 0.0), (1.0, -1.0), (None, 1.0), (-1.0, None), (-INF, INF), (NAN, 1.0)]


@both_dtypes
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_clamp_with_equal_crossed_and_missing_bounds(bounds, dtype):
    agree(lambda x: ln.clamp(x, *bounds), lambda x: torch.clamp(x, *bounds), [edges(dtype)], dtype)


@both_dtypes
def test_clamp_with_bounds_that_are_values(dtype):
    x, y = pairs(dtype)
    agree(ln.clamp, torch.clamp, [x, y, np.ones_like(x)], dtype)
    agree(ln.clamp, torch.clamp, [x, np.ones_like(x), y], dtype)


# -- one operand -----------------------------------------------------------------------------------

SLOPES = """
erfinv lgamma log1p digamma abs exp expm1 sin cos tanh sigmoid relu asinh atan sinh cosh erf erfc
square relu6 celu elu selu silu mish softplus softsign hardtanh hardshrink softshrink tanhshrink
leaky_relu logsigmoid log sqrt rsqrt reciprocal tan asin acos atanh acosh sign floor ceil round
trunc
"""
ENDS = [1, -1, 1 + 1e-6, -1 - 1e-6, -1.5, -2.5, 0.5, 1.5, 2.5, 100, -100, 700, -700, 1e5, 1e-30]
NOT_A_NUMBER = "the slope at NaN is NaN; PyTorch's depends on the function and the dtype"
POLE = "infinite at the poles, where PyTorch is finite by rounding"
SIGN = "the sign of NaN is NaN, as in numpy"
OVERFLOW = "intermediate values overflow"
OF_ONE = {
    "sign": (Apart(SIGN, "value", np.isnan, NAN),),
    "abs": (Apart(SIGN, 0, np.isnan, NAN),),
    "digamma": (
        Apart(POLE, 0, lambda x: (x == np.floor(x)) & (x < 0) & (x > -1e6), INF),
        Apart(POLE, 0, lambda x: (x == -INF) | (x < -1e6) | (np.abs(x + 1) < 1e-5)),
    ),
    "softsign": (Apart("the slope at infinity is 0", 0, np.isinf, 0.0),),
    "mish": (Apart(OVERFLOW, 0, huge),),
    **{
        name: (Apart(NOT_A_NUMBER, 0, np.isnan),)
        for name in ("relu6", "celu", "elu", "selu", "hardtanh", "hardshrink", "softshrink")
    },
}  # fmt: skip


@both_dtypes
@pytest.mark.parametrize("name", SLOPES.split())
def test_slopes_of_one_operand(name, dtype):
    values = np.concatenate([edges(dtype), np.asarray(ENDS, dtype)])
    agree(named(name), theirs(name), [values], dtype, apart=OF_ONE.get(name, ()))


def test_the_inverse_of_erf_up_to_the_last_numbers_before_1():
    near = 1.0 - np.concatenate([2.0 ** -np.arange(1, 54), np.linspace(0.0, 1.0, 50)])
    agree(ln.erfinv, torch.erfinv, [np.concatenate([near, -near])], "float64")


@both_dtypes
def test_activations_with_options(dtype):
    x = edges(dtype)[:-8]
    finite = np.array([0, -0.0, 1, -1, 0.5, 30, -30, 100, -100, 1e4, -1e4])
    for approximate in ("none", "tanh"):
        agree(
            lambda v, a=approximate: F.gelu(v, a),
            lambda v, a=approximate: T.gelu(v, approximate=a), [finite], dtype,
        )  # fmt: skip
    agree(lambda v: F.threshold(v, 0.5, 2.0), lambda v: T.threshold(v, 0.5, 2.0), [x], dtype)
    agree(F.glu, T.glu, [np.stack([finite, finite[::-1]], 1)], dtype)
    agree(F.hardswish, T.hardswish, [finite], dtype)


# -- along an axis ---------------------------------------------------------------------------------


def table(dtype):
    """Rows of which each has something about it."""
    big, tiny = HUGE[dtype], TINY[dtype]
    return np.array(
        [
            [1, 2, 3, 4], [2, 2, 1, 2], [0, 0, 0, 0], [-0.0, 0, -0.0, 0], [INF, 1, 2, INF],
            [-INF, 1, 2, 3], [-INF] * 4, [INF] * 4, [INF, -INF, 0, 1], [NAN, 1, 2, 3],
            [1, NAN, 3, NAN], [1, 2, 3, NAN], [big, big, 1, 1], [-big] * 4, [tiny] * 4,
            [0, 2, 0, 3], [0, 1, 2, 3], [1000, 0, -1000, 1000], [5, 5, 5, 5],
            [1e4, 1e4 + 1, 1e4, 1e4], [-1, -1, -2, -2],
        ],
        dtype,
    )  # fmt: skip


def finite(x):
    """Those of the rows that are finite and not huge."""
    return x[np.all(np.abs(x) < 1e37, axis=1)]


def at_huge(x):
    return np.broadcast_to((np.abs(x) > 1e3).any(axis=1, keepdims=True), x.shape)


SHARES = "the slopes are the softmax; PyTorch's do not sum to 1, as y and x round to one number"
REDUCTIONS = """
sum mean amax amin argmax argmin any all cumsum softmax log_softmax prod cumprod var std
"""
ALONG = {
    **dict.fromkeys(REDUCTIONS.split(), ()),
    "logsumexp": (Apart(SHARES, 0, at_huge), ),
}  # fmt: skip
# Differences and quotients of infinities, taken in another order, are NaN at other places.
FINITE_SLOPES = ("prod", "cumprod", "var", "std")


@both_dtypes
@pytest.mark.parametrize("name", ALONG)
def test_along_an_axis_of_a_tensor_and_along_rows(name, dtype):
    mine, other, whole = named(name), theirs(name), table(dtype)
    if name in ("var", "std"):
        whole = whole[~huge(whole).any(axis=1) | np.isinf(whole).any(axis=1)]  # float64 in PyTorch
    with np.errstate(all="ignore"):
        have = mine(ln.tensor(whole), 1).numpy()
    np.testing.assert_allclose(have, other(torch.tensor(whole), 1).numpy(), **TOLERANCES[dtype])
    x = finite(whole) if name in FINITE_SLOPES else whole
    agree(lambda v: mine(v, 1), lambda v: other(v, 1), [x], dtype, apart=ALONG[name])
    agree(lambda v: mine(v, 1), lambda v: other(v, 1), [x], dtype, True, ALONG[name])
    turned = [a._replace(where=lambda v, a=a: a.where(v.T).T) for a in ALONG[name]]
    agree(lambda v: mine(v, 0), lambda v: other(v, 0), [x.T], dtype, apart=turned)
    agree(lambda v: mine(v, 0), lambda v: other(v, 0), [x.T], dtype, True, turned)


@both_dtypes
@pytest.mark.parametrize("name", [n for n in ALONG if n not in ("var", "std")])
def test_along_one_element_and_along_none(name, dtype):
    x = finite(table(dtype))[:, :1]
    for axis, rows in ((1, False), (1, True)):
        agree(lambda v, a=axis: named(name)(v, a), lambda v, a=axis: theirs(name)(v, a), [x],
              dtype, rows)  # fmt: skip
    agree(lambda v: named(name)(v, 0), lambda v: theirs(name)(v, 0), [x[:1]], dtype, True)
    if name not in ("amax", "amin", "argmax", "argmin"):  # of nothing, PyTorch has none of these
        empty = np.zeros((3, 0), dtype)
        agree(lambda v: named(name)(v, 1), lambda v: theirs(name)(v, 1), [empty], dtype)
        agree(lambda v: named(name)(v, 0), lambda v: theirs(name)(v, 0), [empty.T], dtype, True)


P_NORMS = {
    1: (Apart(SIGN, 0, np.isnan, NAN),),
    2: (), 3: (), 1.5: (),
    0.5: (
        Apart("the slope at 0 is 0", 0, lambda x: x == 0, 0.0),
        Apart(OVERFLOW, 0, lambda x: at_huge(x) | small(x)),
    ),
    INF: (Apart(NOT_A_NUMBER, 0, lambda x: np.isnan(x).any(axis=1, keepdims=True)),),
}  # fmt: skip


@both_dtypes
@pytest.mark.parametrize("p", P_NORMS)
def test_norms(p, dtype):
    agree(
        lambda v: ln.norm(v, p, 1), lambda v: torch.linalg.vector_norm(v, p, 1), [table(dtype)],
        dtype, apart=P_NORMS[p],
    )  # fmt: skip


@both_dtypes
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_masks_of_minus_infinity(name, dtype):
    scores = np.where(np.random.default_rng(0).random((5, 4)) < 0.5, -INF, 1.0)
    scores[:, 0] = -INF
    for axis in (0, 1):
        for rows in (False, True):
            agree(lambda v, a=axis: named(name)(v, a), lambda v, a=axis: theirs(name)(v, a),
                  [scores], dtype, rows)  # fmt: skip


def test_large_logits_keep_their_last_places():
    """log softmax of logits around 10,000 is as exact as of the same around 0."""
    x = np.array([0.0, 1.0, 2.0], np.float32)
    for axis, many in ((-1, ln.tensor), (0, ln.sequence)):
        exact = ln.log_softmax(many(x), axis).numpy()
        np.testing.assert_allclose(ln.log_softmax(many(x + 10000), axis).numpy(), exact, rtol=1e-6)


# -- order -----------------------------------------------------------------------------------------

DISORDER = [[3, 1, 2, NAN], [INF, -INF, NAN, NAN], [1, 1, 1, 1], [0.0, -0.0, 0.0, -0.0],
            [2, 1, 2, 1], [NAN] * 4, [-INF, -INF, INF, INF]]  # fmt: skip


@both_dtypes
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("descending", [False, True])
def test_order_of_ties_infinities_and_nan(descending, dim, dtype):
    options = {"dim": dim, "descending": descending}
    for rows in (False, True):
        for part in ("values", "indices"):
            agree(
                lambda v, p=part: getattr(ln.sort(v, **options), p),
                lambda v, p=part: getattr(torch.sort(v, **options, stable=True), p),
                [DISORDER], dtype, rows,
            )  # fmt: skip
        agree(
            lambda v: ln.topk(v, 2, dim, descending).values,
            lambda v: torch.sort(v, **options, stable=True).values.narrow(dim, 0, 2),
            [DISORDER], dtype, rows,
        )  # fmt: skip


@both_dtypes
def test_segments_without_rows(dtype):
    x, index = np.array([[1.0, NAN], [-INF, 2.0], [3.0, 4.0]], dtype), np.array([3, 0, 3])
    where = torch.tensor(index)[:, None].expand(3, 2)
    empty = torch.zeros(5, 2, dtype=getattr(torch, dtype))
    for name, reduce, start in (("sum", "sum", 0.0), ("mean", "mean", 0.0), ("max", "amax", -INF)):
        agree(
            lambda v, n=name: getattr(ln, f"segment_{n}")(v, index, 5),
            lambda v, r=reduce, s=start: (empty + s).scatter_reduce(
                0, where, v, r, include_self=r == "amax"),
            [x], dtype, rows=True,
            apart=(Apart("PyTorch shares it with where it began", 0, np.isinf),) * (name == "max"),
        )  # fmt: skip


@pytest.mark.parametrize("name", ["expm1", "log1p", "exp", "log"])
def test_single_precision_is_right_to_the_last_places(name):
    x = np.concatenate([s * np.geomspace(1e-37, 80, 4000) for s in (1, -1)]).astype(np.float32)
    x = x[x > -1] if name == "log1p" else np.abs(x) if name == "log" else x
    got = getattr(ln, name)(ln.tensor(x)).numpy().astype(np.float64)
    np.testing.assert_allclose(got, getattr(np, name)(x.astype(np.float64)), rtol=6e-7, atol=1e-37)


@both_dtypes
@pytest.mark.parametrize("exponent", [2, 3, 0.5, 2.0, 3.0, 4, -1, 0])
def test_powers_by_numbers(dtype, exponent):
    x = edges(dtype)
    agree(lambda v: v**exponent, lambda v: v**exponent, [x[np.abs(x) < 1e30]], dtype)
    whole = ln.tensor([1, 2, -3])
    if exponent != -1:  # which is refused
        expected = torch.tensor([1, 2, -3]) ** exponent
        for power in (whole**exponent, ln.pow(whole, exponent), whole.pow(exponent)):
            assert power.dtype == str(expected.dtype).removeprefix("torch.")
            np.testing.assert_allclose(power.numpy(), expected.numpy())
