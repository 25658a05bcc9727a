"""Randomness: distributions, what draws depend on, gradients through them, and bent gradients."""

import math

import numpy as np
import pytest
from test_ops import observed

import lazynet as ln
from lazynet import check_grads, nn
from lazynet.batching.policies import NAMES

COUNT = 40_000


@pytest.fixture(autouse=True)
def seeded():
    ln.manual_seed(3)


def quantiles(x):
    return np.quantile(x, [0.05, 0.25, 0.5, 0.75, 0.95])


LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
NORMAL = np.array([-1.6448536, -0.6744898, 0.0, 0.6744898, 1.6448536])
# What is drawn, and its quantiles.
DRAWS = {
    "rand": (lambda dtype: ln.rand(COUNT, dtype=dtype), LEVELS),
    "randn": (lambda dtype: ln.randn(COUNT, dtype=dtype), NORMAL),
    "normal": (lambda dtype: ln.normal(ln.zeros(COUNT, dtype=dtype) + 2.0, 3.0), 2 + 3 * NORMAL),
    "uniform": (lambda dtype: ln.uniform(ln.zeros(COUNT, dtype=dtype) - 1.0, 3.0), 4 * LEVELS - 1),
    "exponential": (
        lambda dtype: ln.exponential(ln.zeros(COUNT, dtype=dtype) + 2.0),
        -np.log(1 - LEVELS) / 2,
    ),
    "gumbel": (lambda dtype: ln.gumbel(ln.zeros(COUNT, dtype=dtype)), -np.log(-np.log(LEVELS))),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", DRAWS)
def test_draws_have_the_distribution_they_say(name, dtype):
    draw, want = DRAWS[name]
    x = draw(dtype)
    assert x.dtype == dtype and np.isfinite(x.numpy()).all()
    np.testing.assert_allclose(quantiles(x.numpy()), want, atol=0.08)


def test_normal_draws_have_the_moments_of_a_normal_and_no_echo():
    x = ln.randn(COUNT, dtype="float64").numpy()
    assert abs(x.mean()) < 0.02 and abs(x.var() - 1) < 0.03
    assert abs((x**3).mean()) < 0.08 and abs((x**4).mean() - 3) < 0.2
    for lag in (1, 2, 3):
        assert abs((x[lag:] * x[:-lag]).mean()) < 0.02


def test_integers_come_equally_often():
    x = ln.randint(-2, 3, COUNT)
    assert x.dtype == "int64"
    values, counts = np.unique(x.numpy(), return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    np.testing.assert_allclose(counts / COUNT, 0.2, atol=0.01)
    assert ln.randint(7, 8, 5).tolist() == [7] * 5
    for low, high in ((3, 3), (0, 2**24 + 1)):
        with pytest.raises(ValueError, match="randint"):
            ln.randint(low, high)


def test_bernoulli_is_true_as_often_as_asked():
    p = np.repeat([0.0, 0.2, 0.7, 1.0], COUNT)
    x = ln.bernoulli(ln.tensor(p)).numpy().reshape(4, COUNT)
    assert x.dtype == bool
    np.testing.assert_allclose(x.mean(1), [0, 0.2, 0.7, 1], atol=0.01)
    assert not x[0].any() and x[3].all()


def test_classes_come_as_often_as_softmax_says():
    logits = ln.sequence(np.tile([0.0, 1.0, -1.0], (COUNT // 4, 1)))
    counts = np.bincount(ln.categorical(logits).numpy(), minlength=3) / len(logits)
    want = np.exp([0, 1, -1]) / np.exp([0, 1, -1]).sum()
    np.testing.assert_allclose(counts, want, atol=0.02)
    hard = ln.gumbel_softmax(ln.zeros(4, 3), hard=True).numpy()  # of several in a row
    np.testing.assert_array_equal(np.sort(hard, 1), [[0.0, 0.0, 1.0]] * 4)
    hard = ln.gumbel_softmax(logits, hard=True).numpy()
    np.testing.assert_allclose(hard.mean(0), want, atol=0.02)


@pytest.mark.parametrize("draw", [ln.rand, ln.randn, lambda *s, **k: ln.randint(0, 99, *s, **k)])
def test_draws_depend_on_the_seed_alone(draw):
    def program():
        values = [draw(3), draw(2, length=4), draw(3), draw(length=0)]
        return [v.numpy().tolist() for v in values]

    drawn = []
    for policy in NAMES:
        ln.manual_seed(5)
        with ln.batching(policy):
            drawn.append(program())
    assert all(d == drawn[0] for d in drawn)
    first, rows, second, none = drawn[0]
    assert first != second and rows[0] != rows[1] and none == []
    ln.manual_seed(6)
    assert program() != drawn[0]


def test_draws_of_many_examples_are_one_batch():
    values = [ln.randn(3) for _ in range(20)] + [ln.randn(3, length=n) for n in (0, 1, 5)]
    with observed() as runs:
        ln.forward(values)
    assert runs[0].batches == 1


def test_no_draw_is_at_the_edge_where_a_logarithm_would_be_infinite():
    from lazynet.ops.random import _inside_unit

    for dtype in ("float32", "float64"):
        edges = np.array([0, 1 - 2.0**-24], dtype) + np.array(2.0**-26, dtype)
        assert edges[0] > 0 and edges[1] < 1
        u = _inside_unit(ln.zeros(COUNT, dtype=dtype)).numpy()
        assert u.min() > 0 and u.max() < 1


class TestGradients:
    def reseeded(self, function):
        def value(*arguments):
            ln.manual_seed(4)
            return function(*arguments)

        return value

    @pytest.mark.parametrize(
        "function",
        [
            lambda m, s: ln.normal(m, s * s + 0.1),
            lambda m, s: ln.uniform(m, m + s * s),
            lambda m, s: ln.exponential(m * m + s * s + 0.5),
            lambda m, s: ln.gumbel_softmax(m, 0.7) * s,
            lambda m, s: ln.gaussian_noise(m * s, 0.5),
            lambda m, s: ln.dropout(m * s, 0.5),
            lambda m, s: ln.row_dropout(ln.sequence([m * s, m + s]), 0.5),
            lambda m, s: ln.locked_dropout(ln.sequence([m * s, m + s]), 0.5),
        ],
    )
    def test_they_reach_what_was_drawn_around(self, function):
        arrays = np.random.standard_normal((2, 4))
        check_grads(self.reseeded(function), [arrays[0], arrays[1]])

    def test_a_hard_draw_has_the_gradient_of_the_soft_one(self):
        slopes = []
        for hard in (True, False):
            ln.manual_seed(1)
            x = ln.tensor([0.1, 0.5, -0.3], requires_grad=True)
            y = ln.gumbel_softmax(x, 0.8, hard=hard)
            (y * ln.tensor([1.0, 2.0, 3.0])).sum().backward()
            slopes.append(x.grad.numpy())
            assert (sorted(y.tolist()) == pytest.approx([0, 0, 1])) == hard
        np.testing.assert_allclose(*slopes, rtol=1e-6)

    def test_reversal_and_scale_bend_the_gradient_and_not_the_value(self):
        a = np.random.standard_normal((3, 2))
        for bend, factor in (
            (ln.gradient_reversal, -1.0),
            (lambda x: ln.gradient_reversal(x, 0.3), -0.3),
            (lambda x: ln.scale_gradient(x, 2.5), 2.5),
            (lambda x: ln.scale_gradient(x, 0), 0.0),
        ):
            x = ln.tensor(a, requires_grad=True)
            y = bend(ln.sequence(x))
            np.testing.assert_array_equal(y.numpy(), a)
            y.square().sum().backward()
            np.testing.assert_allclose(x.grad.numpy(), factor * 2 * a)
            leaf = ln.tensor(a[0], requires_grad=True)
            (lazy,) = ln.gradients(bend(leaf * 3.0).square().sum(), [leaf])
            np.testing.assert_allclose(lazy.numpy(), factor * 18 * a[0])

    def test_unlike_scales_batch(self):
        values = [ln.scale_gradient(ln.tensor([1.0]), 0.1 * k) for k in range(9)]
        with observed() as runs:
            ln.forward(values)
        assert runs[0].batches == 1


class TestDropping:
    def test_expectations_are_kept(self):
        x = ln.sequence(np.ones((COUNT // 8, 8), np.float32))
        for drop in (ln.dropout, ln.row_dropout):
            y = drop(x, 0.25).numpy()
            assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
            assert y.mean() == pytest.approx(1, abs=0.02)
        y = np.concatenate([ln.locked_dropout(x[:3], 0.25).numpy()[0] for _ in range(500)])
        assert y.mean() == pytest.approx(1, abs=0.05)

    def test_rows_fall_whole_and_locked_masks_last(self):
        x = ln.sequence(np.ones((50, 6)))
        rows, locked = ln.row_dropout(x).numpy(), ln.locked_dropout(x).numpy()
        assert (rows == rows[:, :1]).all() and 0 < (rows[:, 0] == 0).sum() < 50
        assert (locked == locked[:1]).all() and 0 < (ln.dropout(x).numpy() == 0).sum() < 300
        other = ln.locked_dropout(x).numpy()
        third = ln.locked_dropout(x).numpy()
        assert not ((locked == other).all() and (locked == third).all())

    @pytest.mark.parametrize("drop", [ln.dropout, ln.row_dropout, ln.locked_dropout])
    def test_outside_training_and_with_nothing_to_drop_it_is_the_identity(self, drop):
        x = ln.sequence(np.ones((2, 3)))
        assert drop(x, 0.5, training=False) is x and drop(x, 0.0) is x
        assert drop(x[:0], 0.5).numpy().shape == (0, 3)
        assert drop(x[0], 0.5).shape == (3,)
        with pytest.raises(ValueError, match="probability must be in"):
            drop(x, 1.5)
        with pytest.raises(TypeError, match="float rows"):
            drop(ln.tensor([1, 2]), 0.5)

    def test_noise_only_while_training(self):
        x = ln.zeros(1000)
        assert ln.gaussian_noise(x, 0.1, training=False) is x
        assert ln.gaussian_noise(x, 0.1).numpy().std() == pytest.approx(0.1, rel=0.1)


def test_modules_are_noisy_only_while_training():
    x = ln.sequence(np.ones((30, 4)))
    for module, text in (
        (nn.RowDropout(0.5), "RowDropout(p=0.5)"),
        (nn.LockedDropout(0.5), "LockedDropout(p=0.5)"),
        (nn.GaussianNoise(0.2), "GaussianNoise(std=0.2)"),
    ):
        assert repr(module) == text
        assert len({module(x).numpy().tobytes() for _ in range(5)}) > 1
        assert module.eval()(x) is x
    with pytest.raises(ValueError, match="negative"):
        nn.GaussianNoise(-1.0)


def test_with_probability_1_everything_is_dropped_and_no_gradient_passes():
    for drop in (ln.dropout, ln.row_dropout, ln.locked_dropout):
        x = ln.tensor(np.ones((3, 2)), requires_grad=True)
        y = drop(ln.sequence(x), 1.0)
        y.sum().backward()
        assert not y.numpy().any() and not x.grad.numpy().any()
    q = ln.sequence(np.ones((2, 4)))
    assert not nn.functional.scaled_dot_product_attention(q, q, q, dropout_p=1.0).numpy().any()
    assert nn.Dropout(1.0)(ln.ones(2)).tolist() == [0.0, 0.0]


def test_mistakes_are_told():
    with pytest.raises(TypeError, match="gumbel: expected float rows"):
        ln.gumbel(ln.tensor([1, 2]))
    with pytest.raises(ValueError, match="temperature"):
        ln.gumbel_softmax(ln.zeros(2), 0.0)
    with pytest.raises(TypeError, match="expected float32 or float64"):
        ln.randn(2, dtype="int64")
    assert math.isfinite(ln.exponential(ln.tensor(1.0)).item())
