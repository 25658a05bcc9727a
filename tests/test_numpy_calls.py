"""numpy's functions on values: those of elements are lazy, others give numbers or say why not."""

import numpy as np
import pytest

import lazynet as ln

X = np.array([0.5, 0.25, 0.75])
UNARY = ["exp", "log", "sqrt", "tanh", "arcsin", "arccosh", "absolute", "negative", "positive",
         "sign", "floor", "isnan", "square", "reciprocal", "expm1"]  # fmt: skip
BINARY = ["add", "subtract", "multiply", "divide", "true_divide", "power", "maximum", "minimum",
          "arctan2", "mod", "remainder", "floor_divide", "less", "greater_equal", "equal",
          "matmul"]  # fmt: skip


def values():
    x = ln.tensor(X, requires_grad=True)
    return x, ln.sequence(ln.tensor(np.stack([X, 2 * X])))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_elements_are_recorded(name):
    function = getattr(np, name)
    for x in values():
        y = function(x)
        assert type(y) is type(x)
        np.testing.assert_allclose(y.numpy(), function(x.numpy()), rtol=1e-12)


@pytest.mark.parametrize("name", BINARY)
def test_arrays_and_values_meet_as_values_do(name):
    function, other = getattr(np, name), np.array([2.0, 0.25, 1.0])
    for x in values():
        for operands in ((x, other), (other, x)):
            if name == "matmul" and x.ndim == 2 and operands[0] is other:
                continue
            y = function(*operands)
            assert isinstance(y, ln.Tensor | ln.Sequence)
            numbers = [v.numpy() if v is x else v for v in operands]
            np.testing.assert_allclose(y.numpy(), function(*numbers), rtol=1e-12)


def test_operators_of_arrays_and_numbers_of_numpy_are_recorded():
    x, rows = values()
    for made in (X + x, X - x, X * x, X / x, X**x, x > X, np.float64(2.0) * x, np.int64(2) - x):
        assert isinstance(made, ln.Tensor)
    assert ((X > 0.3) & (x < 0.7)).tolist() == [True, False, False]
    assert (np.logical_or(X > 0.6, x < 0.3)).tolist() == [False, True, True]
    assert (np.invert(x > 0.3)).tolist() == [False, True, False]
    assert isinstance(X * rows, ln.Sequence)


def test_gradients_come_back_through_functions_of_elements():
    x, _ = values()
    ln.sum(np.exp(x) * X + np.float64(3.0) * np.sqrt(x)).backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(X) * X + 1.5 / np.sqrt(X))


def test_what_numbers_are_made_of_is_refused_where_a_gradient_would_be_lost():
    x, rows = values()
    sentence = r"np\.sum: numpy gives numbers, and no gradient would come back .* write ln.sum, or"
    with pytest.raises(TypeError, match=sentence):
        np.sum(x)
    with pytest.raises(TypeError, match=r"write ln\.cat, or"):
        np.concatenate([X, x * 2.0])
    with pytest.raises(TypeError, match="ops of lazynet, or"):
        np.log10(x)
    with pytest.raises(TypeError, match=r"np\.add"):
        np.add(X, x, out=np.zeros(3))
    assert np.sum(x.detach()) == X.sum()
    assert np.mean(rows, axis=0).tolist() == (1.5 * X).tolist()
    with ln.no_grad():
        assert np.sum(x * 1.0) == X.sum()
    array = X.copy()
    array += x.detach()
    array[0] = x[0]
    assert array.tolist() == [0.5, 0.5, 1.5]


def test_what_has_no_gradient_is_told():
    x, rows = values()
    assert np.argmax(x) == 2 and np.allclose(x, X) and np.array_equal(np.argsort(x), [1, 0, 2])
    pending = rows * 2.0
    assert np.shape(pending) == (2, 3) and np.ndim(pending) == 2 and pending.pending
    np.testing.assert_allclose(x, X)


def test_cells_may_use_functions_of_elements():
    @ln.cell
    def f(x):
        return np.exp(x) * np.sqrt(2.0) + X

    x, _ = values()
    for _ in range(3):
        np.testing.assert_allclose(f(x).numpy(), np.exp(X) * np.sqrt(2.0) + X)
