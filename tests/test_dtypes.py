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
