"""Initial values: moments, bounds and patterns; each draw follows `ln.manual_seed`."""

import math

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn

init = nn.init


def parameter(*shape):
    return ln.Parameter(np.full(shape, np.nan, np.float32))


DRAWN = {
    "uniform_": lambda p: init.uniform_(p, -2.0, 3.0),
    "normal_": lambda p: init.normal_(p, 1.0, 2.0),
    "trunc_normal_": lambda p: init.trunc_normal_(p, 0.0, 1.0, -1.5, 2.0),
    "xavier_uniform_": init.xavier_uniform_,
    "xavier_normal_": init.xavier_normal_,
    "kaiming_uniform_": init.kaiming_uniform_,
    "kaiming_normal_": init.kaiming_normal_,
    "orthogonal_": init.orthogonal_,
    "sparse_": lambda p: init.sparse_(p, 0.3, 0.5),
}
# Of 200 x 300 elements: their mean, their standard deviation, and how large they may be.
MOMENTS = {
    "uniform_": (0.5, 5 / 12**0.5, 3.0),
    "normal_": (1.0, 2.0, np.inf),
    "trunc_normal_": (0.0794, 0.8163, 2.0),
    "xavier_uniform_": (0.0, (2 / 500) ** 0.5, (6 / 500) ** 0.5),
    "xavier_normal_": (0.0, (2 / 500) ** 0.5, np.inf),
    "kaiming_uniform_": (0.0, (2 / 300) ** 0.5, (6 / 300) ** 0.5),
    "kaiming_normal_": (0.0, (2 / 300) ** 0.5, np.inf),
    "orthogonal_": (0.0, (1 / 300) ** 0.5, 1.0),
    "sparse_": (0.0, 0.5 * 0.7**0.5, np.inf),
}


@pytest.mark.parametrize("name", DRAWN)
def test_moments_and_bounds(name):
    ln.manual_seed(1)
    p = parameter(200, 300)
    assert DRAWN[name](p) is p
    mean, std, bound = MOMENTS[name]
    value = p.numpy()
    assert abs(value.mean() - mean) < 0.02 * max(std, abs(mean))
    assert abs(value.std() - std) < 0.02 * std
    assert np.abs(value).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("name", DRAWN)
def test_draws_follow_the_seed(name):
    values = []
    for seed in (3, 3, 4):
        ln.manual_seed(seed)
        values.append(DRAWN[name](parameter(6, 5)).numpy())
    np.testing.assert_array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])


def test_values_that_are_not_drawn():
    assert (init.constant_(parameter(2, 3), 4.0).numpy() == 4.0).all()
    assert (init.zeros_(parameter(2)).numpy() == 0.0).all()
    assert (init.ones_(parameter(2)).numpy() == 1.0).all()
    np.testing.assert_array_equal(init.eye_(parameter(2, 3)).numpy(), np.eye(2, 3))
    q = init.orthogonal_(parameter(3, 5), 2.0).numpy()
    np.testing.assert_allclose(q @ q.T, 4.0 * np.eye(3), atol=1e-5)


def test_truncation_far_outside_is_in_the_interval():
    value = init.trunc_normal_(parameter(50), 0.0, 1.0, 30.0, 31.0).numpy()
    assert ((value >= 30.0) & (value <= 31.0)).all()


def test_a_part_of_each_column_is_zero():
    value = init.sparse_(parameter(10, 4), 0.25).numpy()
    assert ((value == 0.0).sum(0) == 3).all()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("shape", [(4, 2, 3), (4, 4, 3), (2, 4, 3, 3)])
def test_dirac_is_pytorchs(shape, groups):
    torch = pytest.importorskip("torch")
    want = torch.nn.init.dirac_(torch.empty(shape), groups).numpy()
    np.testing.assert_array_equal(init.dirac_(parameter(*shape), groups).numpy(), want)


def test_a_convolution_with_dirac_gives_what_it_is_given():
    layer = nn.Conv1d(3, 3, 3, padding=1, bias=False)
    init.dirac_(layer.weight)
    x = np.random.standard_normal((3, 7)).astype("f")
    np.testing.assert_array_equal(layer(ln.tensor(x)).numpy(), x)


def test_gains_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert init.calculate_gain("leaky_relu", 0.5) == pytest.approx(
        torch.nn.init.calculate_gain("leaky_relu", 0.5)
    )


def test_what_cannot_be_filled_is_refused():
    for wrong, told in (
        (lambda: init.xavier_normal_(parameter(3)), "fan in and fan out need at least two axes"),
        (lambda: init.eye_(parameter(3)), "eye_"),
        (lambda: init.orthogonal_(parameter(3)), "orthogonal_"),
        (lambda: init.dirac_(parameter(3, 3)), "dirac_"),
        (lambda: init.dirac_(parameter(3, 3, 3), 2), "dirac_"),
        (lambda: init.sparse_(parameter(3), 0.1), "sparse_"),
        (lambda: init.trunc_normal_(parameter(3), a=1.0, b=1.0), "trunc_normal_"),
        (lambda: init.calculate_gain("swish"), "swish"),
        (lambda: init.kaiming_normal_(parameter(3, 3), mode="fan"), "kaiming: mode is"),
    ):
        with pytest.raises(ValueError, match=told):
            wrong()


def within(p, bound):
    """Uniform in (-bound, bound), as far as one draw can tell."""
    x = p.numpy()
    assert np.abs(x).max() <= bound
    assert x.std() == pytest.approx(bound / math.sqrt(3), rel=0.2)
    assert x.dtype == np.float32


class TestInitialValues:
    def test_defaults_have_the_spread_of_pytorch(self):
        ln.manual_seed(0)
        linear = nn.Linear(100, 60)
        within(linear.weight, 0.1)
        within(linear.bias, 0.1)
        for module in (nn.LSTM(20, 25), nn.GRUCell(20, 25), nn.TreeLSTMCell(20, 25)):
            for p in module.parameters():
                within(p, 0.2)
        table = nn.Embedding(100, 50).weight.numpy()
        assert table.std() == pytest.approx(1.0, rel=0.1) and abs(table.mean()) < 0.1

    def test_the_seed_decides_all_of_it(self):
        def draw(seed):
            ln.manual_seed(seed)
            return nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 2)).state_dict()

        one, same, other = draw(1), draw(1), draw(2)
        for name, value in one.items():
            np.testing.assert_array_equal(value, same[name])
        assert (one["0.weight"] != other["0.weight"]).any()

    @pytest.mark.parametrize(
        "name, options, spread",
        [
            ("uniform_", {"a": -2.0, "b": 2.0}, 2 / math.sqrt(3)),
            ("normal_", {"std": 3.0}, 3.0),
            ("xavier_uniform_", {"gain": 2.0}, 2 * math.sqrt(2 / 300)),
            ("xavier_normal_", {}, math.sqrt(2 / 300)),
            ("kaiming_uniform_", {"a": math.sqrt(5)}, math.sqrt(1 / 3 / 200)),
            ("kaiming_uniform_", {"nonlinearity": "relu", "mode": "fan_out"}, math.sqrt(2 / 100)),
            ("kaiming_normal_", {"nonlinearity": "tanh"}, 5 / 3 / math.sqrt(200)),
        ],
    )
    def test_random_values_have_the_spread_they_promise(self, name, options, spread):
        ln.manual_seed(0)
        p = parameter(100, 200)
        assert getattr(nn.init, name)(p, **options) is p
        assert p.numpy().std() == pytest.approx(spread, rel=0.03)
        assert abs(p.numpy().mean()) < 0.05 * spread

    def test_fixed_values(self):
        p = parameter(2, 3)
        np.testing.assert_array_equal(nn.init.ones_(p).numpy(), 1.0)
        np.testing.assert_array_equal(nn.init.zeros_(p).numpy(), 0.0)
        np.testing.assert_array_equal(nn.init.constant_(p, 0.5).numpy(), 0.5)
        np.testing.assert_array_equal(nn.init.eye_(p).numpy(), np.eye(2, 3))

    @pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (4, 2, 3)])
    def test_orthogonal_matrices_are_orthogonal(self, shape):
        p = nn.Parameter(np.zeros(shape))
        m = nn.init.orthogonal_(p, gain=2.0).numpy().reshape(shape[0], -1) / 2
        product = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
        np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-12)

    def test_what_cannot_be_drawn_is_refused(self):
        for function in (nn.init.xavier_uniform_, nn.init.eye_, nn.init.orthogonal_):
            with pytest.raises(ValueError, match=r"\(3,\)"):
                function(parameter(3))
        with pytest.raises(ValueError, match="sine"):
            nn.init.calculate_gain("sine")
        with pytest.raises(ValueError, match="mode"):
            nn.init.kaiming_uniform_(parameter(2, 2), mode="fan")
