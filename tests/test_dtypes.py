"""The dtypes of results, and what integers and bools give: PyTorch's."""

import itertools
import operator

import numpy as np
import pytest

import lazynet as ln

VALUES = {
    "float32": [0.5, 2.0, -3.0], "float64": [1.5, -2.0, 4.0], "int64": [3, -1, 2],
    "bool": [True, False, True],
}  # fmt: skip
ARITHMETIC = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "<": operator.lt, "==": operator.eq,
}  # fmt: skip


def given(home, dtype, many=False):
    """Values of a dtype, as each library has them."""
    if home is ln:
        made = ln.tensor(np.array(VALUES[dtype], dtype))
        return ln.sequence(made) if many else made
    return home.tensor(VALUES[dtype], dtype=getattr(home, dtype))


def same(found, wanted):
    """Values and dtype of a lazynet value are those of a torch one."""
    assert found.numpy().dtype == wanted.numpy().dtype
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-6)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(("first", "second"), [*itertools.product(VALUES, VALUES)])
@pytest.mark.parametrize("name", ARITHMETIC)
def test_operands_of_two_dtypes_meet_where_pytorchs_do(torch, name, first, second, many):
    if name == "-" and "bool" in (first, second):
        pytest.skip("PyTorch has no difference of bools")
    function = ARITHMETIC[name]
    found = function(given(ln, first, many), given(ln, second, many))
    with np.errstate(divide="ignore"):
        same(found, function(given(torch, first), given(torch, second)))


def test_a_layer_takes_what_floats_and_integers_make():
    layer, counts = ln.nn.Linear(3, 2), ln.tensor([1, 2, 3])
    x = ln.ones(3) * counts
    np.testing.assert_array_equal(layer(x).numpy(), layer(ln.tensor([1.0, 2.0, 3.0])).numpy())
    leaf = ln.tensor([1.0, 1.0, 1.0], requires_grad=True)
    ln.sum(leaf * counts).backward()
    assert leaf.grad.numpy().dtype == "float32" and leaf.grad.tolist() == [1, 2, 3]


@pytest.mark.parametrize("numbers", [(1, 0), (True, False), (1.0, 0), (2, 0.5)])
def test_where_of_numbers_has_their_dtype(torch, numbers):
    same(ln.where(given(ln, "bool"), *numbers), torch.where(given(torch, "bool"), *numbers))


@pytest.mark.parametrize("value", [0, 1, 7, 0.0, 0.5, -2.5, True, 2**40 + 1])
@pytest.mark.parametrize("dtype", VALUES)
def test_what_is_filled_has_the_dtype_asked_for(torch, dtype, value):
    theirs = getattr(torch, dtype)
    same(ln.full((2,), value, dtype=dtype), torch.full((2,), value, dtype=theirs))
    same(ln.full_like(ln.ones(3), value, dtype), torch.full((3,), value, dtype=theirs))
    same(ln.full_like(given(ln, dtype), value), torch.full_like(given(torch, dtype), value))
    rows = ln.full_like(given(ln, dtype, many=True), value)
    same(rows, torch.full_like(given(torch, dtype), value))


@pytest.mark.parametrize("dtype", VALUES)
def test_ones_and_zeros_have_the_dtype_asked_for(torch, dtype):
    for name in ("ones", "zeros"):
        theirs = getattr(torch, name)(2, 3, dtype=getattr(torch, dtype))
        same(getattr(ln, name)(2, 3, dtype=dtype), theirs)
        same(getattr(ln, name)(3, dtype=dtype, length=2), theirs)
        like = f"{name}_like"
        same(getattr(ln, like)(given(ln, dtype)), getattr(torch, like)(given(torch, dtype)))


MASKS = [np.array([True, False, True, True]), np.zeros(3, bool), np.ones((2, 3), bool)]
COUNTS = {
    "sum": lambda h, x: h.sum(x, 0),
    "prod": lambda h, x: h.prod(x, 0),
    "cumsum": lambda h, x: h.cumsum(x, 0),
    "cumprod": lambda h, x: h.cumprod(x, 0),
    "square": lambda h, x: h.square(x),
    "power": lambda h, x: x**2,
    "or": lambda h, x: (x + x).long(),
    "and": lambda h, x: (x * x).long(),
    "amax": lambda h, x: h.amax(x, 0),
    "amin": lambda h, x: h.amin(x, 0),
    "least": lambda h, x: h.min(x),
    "largest": lambda h, x: h.max(x),
}


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("mask", MASKS, ids=str)
@pytest.mark.parametrize("name", COUNTS)
def test_bools_are_counted_as_pytorch_counts_them(torch, name, mask, many):
    found = COUNTS[name](ln, (ln.sequence if many else ln.tensor)(mask))
    same(found, COUNTS[name](torch, torch.tensor(mask)))


def test_lists_of_bools_are_counted():
    values = [ln.tensor([True, False]), ln.tensor([True, True])]
    assert ln.sum(values).tolist() == [2, 1] and ln.mean(values).tolist() == [1.0, 0.5]
    assert ln.sum([values[0], True, np.array([True, True])]).tolist() == [3, 2]


@pytest.mark.parametrize("many", [False, True])
def test_the_least_of_bools_and_of_the_least_integers(many):
    make = ln.sequence if many else ln.tensor
    for array in (
        [True, False, True],
        [5, -(2**63), 2**63 - 1],
        [2**63 - 1, -(2**63)],
        [2.0, -1.0],
    ):
        x = np.array(array)
        assert ln.min(make(x)).item() == ln.amin(make(x), 0).item() == x.min()
        assert ln.argmin(make(x), 0).item() == x.argmin()
        assert ln.argmax(make(x), 0).item() == x.argmax()


def test_bools_have_no_differences_and_no_powers():
    x, rows = ln.tensor([True, False]), ln.sequence([[True, False]])
    for wrong in (lambda: x - x, lambda: x - rows, lambda: x - True, lambda: False - x,
                  lambda: x ** x, lambda: True**x):  # fmt: skip
        with pytest.raises(ln.DtypeError, match=r"^(sub|pow): bools are no numbers here"):
            wrong()
    for v in (x, rows):
        with pytest.raises(ln.DtypeError, match=r"^neg: bools are no numbers here; ~x is"):
            -v
    assert (1 - x).tolist() == [0, 1] and (x - 1.0).tolist() == [0.0, -1.0]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("sign", ["&", "|", "^"])
def test_operators_of_masks_are_pytorchs(torch, sign, many):
    function = {"&": operator.and_, "|": operator.or_, "^": operator.xor}[sign]
    pair = np.array([True, True, False, False]), np.array([True, False, True, False])
    x, y = (ln.sequence(a) if many else ln.tensor(a) for a in pair)
    want = function(*map(torch.tensor, pair))
    for found in (function(x, y), function(x, pair[1]) if not many else function(x, y)):
        same(found, want)
    same(function(x, True), function(torch.tensor(pair[0]), True))
    same(function(False, x), function(False, torch.tensor(pair[0])))
    same(~x, ~torch.tensor(pair[0]))


@pytest.mark.parametrize("many", [False, True])
def test_operators_of_masks_refuse_numbers(many):
    numbers, mask = given(ln, "int64", many), given(ln, "bool", many)
    told = r"^{}: expected bools, not {}; ln.{} takes numbers"
    for sign, name, function in (("&", "logical_and", operator.and_),
                                 (r"\|", "logical_or", operator.or_),
                                 (r"\^", "logical_xor", operator.xor)):  # fmt: skip
        for pair in ((numbers, numbers), (numbers, mask), (mask, numbers), (mask, 2), (1, mask)):
            with pytest.raises(ln.DtypeError, match=told.format(sign, "int64", name)):
                function(*pair)
    with pytest.raises(ln.DtypeError, match=told.format("~", "float32", "logical_not")):
        ~given(ln, "float32", many)
    assert ln.logical_and(numbers, mask).tolist() == [True, False, True]


PRODUCTS = {
    "bmm": lambda a: ln.bmm(a, a),
    "matmul": lambda a: ln.matmul(a, a),
    "@": lambda a: a @ a,
    "einsum": lambda a: ln.einsum("bij,bjk->bik", a, a),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_integers_are_refused_where_they_are_written(name):
    told = "matmul" if name == "@" else name
    for dtype in ("int64", "bool"):
        with pytest.raises(ln.DtypeError, match=f"^{told}: operands must be of one float dtype"):
            PRODUCTS[name](ln.tensor(np.ones((2, 3, 3), dtype)))
    with pytest.raises(ln.DtypeError, match=r"^bmm: .* not float32 and float64"):
        ln.bmm(ln.ones(1, 2, 2), ln.ones(1, 2, 2, dtype="float64"))
    assert PRODUCTS[name](ln.ones(2, 3, 3)).tolist() == np.full((2, 3, 3), 3.0).tolist()
