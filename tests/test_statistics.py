"""Reductions composed of others: values of numpy over features and rows, and their derivatives."""

import numpy as np
import pytest

import lazynet as ln

generator = np.random.default_rng(17)
X = generator.standard_normal((3, 4, 2))

CASES = {
    "amax": (ln.amax, np.max),
    "amin": (ln.amin, np.min),
    "var": (ln.var, lambda x, axis: np.var(x, axis, ddof=1)),
    "std": (ln.std, lambda x, axis: np.std(x, axis, ddof=1)),
    "norm": (lambda x, axis: ln.norm(x, 2, axis), lambda x, axis: np.sqrt(np.sum(x * x, axis))),
    "norm 1": (lambda x, axis: ln.norm(x, 1, axis), lambda x, axis: np.sum(np.abs(x), axis)),
    "norm 3": (
        lambda x, axis: ln.norm(x, 3, axis),
        lambda x, axis: np.sum(np.abs(x) ** 3, axis) ** (1 / 3),
    ),
    "norm inf": (lambda x, axis: ln.norm(x, np.inf, axis), lambda x, axis: np.max(np.abs(x), axis)),
    "logsumexp": (ln.logsumexp, lambda x, axis: np.log(np.sum(np.exp(x), axis))),
    "prod": (ln.prod, np.prod),
}  # fmt: skip


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2)], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_reductions_of_a_row(name, axis):
    ours, naive = CASES[name]
    if name == "prod" and isinstance(axis, tuple):
        pytest.skip("a product is along one axis")
    y = ours(ln.tensor(X), axis=axis)
    want = naive(X, axis=axis)
    assert y.shape == np.shape(want)
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-10)
    ln.check_grads(lambda x: ours(x, axis=axis), (X,), tolerance=1e-5)


@pytest.mark.parametrize("axis", [None, 0, 1, -1], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_reductions_of_a_sequence(name, axis):
    ours, naive = CASES[name]
    y = ours(ln.sequence(X), axis=axis)
    np.testing.assert_allclose(y.numpy(), naive(X, axis=axis), rtol=1e-10)


KEPT = [ln.sum, ln.mean, ln.max, ln.min, ln.amax, ln.amin, ln.var, ln.std, ln.norm, ln.logsumexp,
        ln.any, ln.all]  # fmt: skip


@pytest.mark.parametrize("ours", KEPT, ids=lambda f: f.__name__)
def test_what_is_kept_of_an_axis_goes_together_with_the_value(ours):
    x, rows = ln.tensor(X), ln.sequence(X)
    assert ours(x, axis=None, keepdim=True).shape == (1, 1, 1)
    assert ours(rows, axis=None, keepdim=True).shape == (1, 1)  # rows are left out
    for axis in (None, 0, 1):
        whole = (x - ours(x, axis=axis, keepdim=True)).numpy()
        got = (rows - ours(rows, axis=axis, keepdim=True)).numpy()
        assert got.shape == X.shape
        np.testing.assert_allclose(got, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("make", [ln.tensor, ln.sequence])
@pytest.mark.parametrize(("ours", "naive"), [(ln.cumsum, np.cumsum), (ln.cumprod, np.cumprod)])
def test_running_sums_and_products(ours, naive, make, axis):
    np.testing.assert_allclose(ours(make(X), axis).numpy(), naive(X, axis=axis), rtol=1e-10)
    ln.check_grads(lambda x: ours(x, axis % 3), (X,), tolerance=1e-5)


@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_products_and_running_sums_of_few_rows(length):
    rows = generator.standard_normal((5, 3))[:length]
    x = ln.sequence(generator.standard_normal((5, 3)))[:length]
    np.testing.assert_allclose(ln.prod(x, 0).numpy(), np.prod(x.numpy(), 0))
    np.testing.assert_allclose(ln.cumsum(x, 0).numpy(), np.cumsum(x.numpy(), 0))
    assert len(rows) == len(x)


def test_gradients_of_products_with_zeros_are_the_other_factors():
    x = ln.tensor([2.0, 0.0, 3.0], requires_grad=True)
    ln.prod(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), [0.0, 6.0, 0.0])


def test_edges():
    assert ln.logsumexp(ln.tensor([-np.inf, -np.inf])).item() == -np.inf
    assert ln.logsumexp(ln.tensor([1000.0, 1000.0])).item() == pytest.approx(1000 + np.log(2))
    zero = ln.tensor([0.0, 0.0], requires_grad=True)
    ln.norm(zero).backward()
    assert zero.grad.numpy().tolist() == [0.0, 0.0]
    assert np.isnan(ln.norm(ln.tensor([np.nan, 1.0])).item())
    assert np.isnan(ln.var(ln.tensor([1.0])).item())
    with pytest.raises(ValueError, match="norm: expected p > 0"):
        ln.norm(zero, 0)


def test_least_elements_and_truths():
    x = ln.tensor([[3.0, 0.0], [1.0, 2.0]])
    assert ln.min(x).item() == 0.0 and ln.argmin(x, 0).numpy().tolist() == [1, 0]
    assert ln.any(x, 1).numpy().tolist() == [True, True]
    assert ln.all(x, 1).numpy().tolist() == [False, True]
    assert not ln.all(x).item() and ln.any(x > 2.5).item()


def test_means_of_rows_by_index():
    rows = generator.standard_normal((4, 2))
    means = ln.segment_mean(ln.sequence(rows), [2, 0, 2, 2], 4).numpy()
    np.testing.assert_allclose(means[0], rows[1])
    np.testing.assert_allclose(means[2], rows[[0, 2, 3]].mean(0))
    assert not means[[1, 3]].any()


@pytest.mark.parametrize("make", [ln.sequence, ln.tensor])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_sums_and_means_by_index_are_numpys_for_every_kind_of_rows(make, dtype, shape):
    rows = generator.integers(0, 2 if dtype == "bool" else 9, (5, *shape)).astype(dtype)
    index = [2, 0, 2, 2, 0]
    sums, means = (f(make(rows), index, 4) for f in (ln.segment_sum, ln.segment_mean))
    own = [rows[np.equal(index, s)] for s in range(4)]
    assert sums.numpy().dtype == ("int64" if dtype == "bool" else dtype)
    assert sums.shape == means.shape == (4, *shape)
    np.testing.assert_array_equal(sums.numpy(), [r.sum(0) for r in own])
    want = [r.mean(0) if len(r) else np.zeros(shape) for r in own]
    np.testing.assert_allclose(means.numpy(), want, rtol=1e-6)


NAMES = """
sum mean prod var std max min amax amin argmax argmin logsumexp norm any all cumsum cumprod softmax
log_softmax
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_an_axis_may_be_called_dim(name):
    x = ln.tensor(np.random.default_rng(0).normal(size=(3, 4)))
    for function in (getattr(ln, name), lambda v, **o: getattr(v, name)(**o)):
        want, have = function(x, axis=0), function(x, dim=0)
        np.testing.assert_array_equal(have.numpy(), want.numpy())
        assert have.shape[-1] == 4
    with pytest.raises(TypeError):
        getattr(ln, name)(x, axis=0, dim=0) if name != "log_softmax" else ln.log_softmax(x, dim="a")


@pytest.mark.parametrize("many", [False, True])
def test_sums_of_a_million_numbers_keep_their_digits(many):
    x = np.full(1_000_000, 0.1, np.float32)
    value = ln.sequence(x) if many else ln.tensor(x)
    assert ln.sum(value).item() == pytest.approx(x.astype(float).sum(), rel=1e-4)
    assert ln.mean(value, 0).item() == pytest.approx(0.1, rel=1e-4)
