"""Random values within cells: drawn anew for each call and row, with op by op's own values."""

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn
from lazynet.batching.policies import NAMES


@ln.cell
def noisy(x):
    return ln.dropout(x.tanh(), 0.5) + 0.1 * ln.randn(4)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.drop = nn.Linear(4, 4), nn.Dropout(0.5)

    @ln.cell
    def forward(self, x):
        return self.drop(self.linear(x).relu())


def examples(count=6):
    random = np.random.default_rng(0)
    return [ln.tensor(random.standard_normal(4).astype("f"), requires_grad=True)
            for _ in range(count)]  # fmt: skip


def outcome(function, debug=False):
    """Values and gradients of examples, from one seed."""
    xs = examples()
    ln.manual_seed(7)
    if debug:
        with ln.debug():
            ys = [function(x) for x in xs]
            loss = ln.sum([y.square().sum() for y in ys])
            loss.backward()
    else:
        ys = [function(x) for x in xs]
        ln.sum([y.square().sum() for y in ys]).backward()
    return [*(y.numpy() for y in ys), *(x.grad.numpy() for x in xs)]


@pytest.mark.parametrize("function", [noisy, Layer()], ids=["function", "module"])
def test_values_and_gradients_are_those_of_op_by_op(function):
    for ours, theirs in zip(outcome(function), outcome(function, debug=True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_tracing_draws_nothing():
    """The first call, which is traced, has the values of any later one."""

    def make():
        @ln.cell
        def fresh(x):
            return x * ln.rand(4)

        return fresh

    for function in (make(), make()):
        first, again = outcome(function), outcome(function)
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("policy", NAMES)
def test_every_policy_draws_the_same(policy):
    want = outcome(noisy)
    with ln.batching(policy):
        for ours, theirs in zip(outcome(noisy), want, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_calls_and_rows_differ_and_batch():
    x = ln.tensor(np.ones(4, "f"))
    with ln.profile() as seen:
        calls = [noisy(x) for _ in range(50)]
        rows = noisy(ln.sequence([x] * 50))
        ln.forward()
    counts = {e.name.split()[0]: e.batches for e in seen.signatures.values()}
    assert counts["noisy"] == 1 and counts["normal"] == 1 and counts["uniform"] == 1
    for values in (np.stack([y.numpy() for y in calls]), rows.numpy()):
        assert len(np.unique(values, axis=0)) == 50


def test_a_module_draws_while_it_trains_only():
    layer, x = Layer(), ln.tensor(np.ones(4, "f"))
    layer.eval()
    assert layer(x).tolist() == layer(x).tolist()
    layer.train()
    assert len({tuple(layer(x).tolist()) for _ in range(30)}) > 1


def test_noise_of_all_kinds():
    @ln.cell
    def all_kinds(x):
        return (ln.row_dropout(x) + ln.gaussian_noise(x, 0.1) + ln.bernoulli(x.sigmoid())
                + ln.normal(x, 1.0) + ln.uniform(x, 3.0))  # fmt: skip

    for ours, theirs in zip(outcome(all_kinds), outcome(all_kinds, debug=True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_second_derivatives_go_through():
    @ln.cell
    def cell(x):
        return (x * ln.rand(3, dtype="float64")).tanh().square()

    def seeded(x):
        ln.manual_seed(2)
        return cell(x)

    ln.check_grads(seeded, [np.array([0.3, -0.5, 0.9])])


def test_folds_draw_at_every_node():
    @ln.cell
    def node(x, below):
        return ln.dropout(x + (ln.sum(below) if below else 0.0), 0.5)

    x = ln.ones(64, length=5)
    y = ln.fold(node, x, [(), (), (0, 1), (), (2, 3)]).numpy()
    assert len(np.unique(y, axis=0)) == 5


def test_a_scan_refuses_to_draw():
    def step(x, states):
        return (ln.dropout(x + states[0], 0.5),)

    with pytest.raises(TypeError, match="random draws cannot be part of a scan"):
        ln.scan(step, (ln.zeros(2),), ln.ones(2, length=3))


BOUNDS = {
    "a scalar and a row": (lambda: ln.tensor(0.0), lambda: ln.ones(50), (50,)),
    "a row and a scalar": (lambda: ln.zeros(50), lambda: ln.tensor(1.0), (50,)),
    "a number and a row": (lambda: 0.0, lambda: ln.ones(50), (50,)),
    "a column and an array": (lambda: ln.zeros(2, 1), lambda: np.ones(25, "f"), (2, 25)),
    "a scalar and rows": (lambda: ln.tensor(0.0), lambda: ln.ones(length=50), (50,)),
    "rows of scalars and a row": (lambda: ln.zeros(length=10), lambda: ln.ones(5), (10, 5)),
    "a row and rows of scalars": (lambda: ln.zeros(5), lambda: ln.ones(length=10), (10, 5)),
}


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("function", [ln.uniform, ln.normal])
def test_each_element_of_what_bounds_broadcast_to_is_a_draw_of_its_own(function, name):
    first, second, shape = BOUNDS[name]
    drawn = function(first(), second())
    assert drawn.shape == shape
    assert np.unique(drawn.numpy()).size == np.prod(shape)
    assert drawn.numpy().dtype == "float32"
