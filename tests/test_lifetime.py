"""Parameters outlive their modules as long as something needs them; finalizers may record."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest

import lazynet as ln
from lazynet import executor, nn, running

pytestmark = pytest.mark.usefixtures("collects_quickly")
ROWS = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
MODULES = {
    "LayerNorm": lambda: nn.LayerNorm(2),  # a cell
    "Linear": lambda: nn.Linear(2, 2),
    "Conv1d": lambda: nn.Conv1d(2, 3, 1),
    "GRU": lambda: nn.GRU(2, 2),  # a scan
    "Sequential": lambda: nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.LayerNorm(3)),
}


def overwrite():
    """Numbers where memory was given back: arrays of the sizes of parameters."""
    return [np.full(size, 7.0, np.float32) for size in range(1, 25) for _ in range(40)]


@pytest.mark.parametrize("circle", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_what_is_recorded_keeps_the_parameters_of_a_module_that_dies(name, circle):
    def outcome(dies_before):
        """Values and gradients; the module dies before the forward, the backward, or never."""
        ln.manual_seed(0)
        module = MODULES[name]()
        if circle:
            module.itself = [module]
        x = ln.tensor(ROWS, requires_grad=True)
        y = module(ln.sequence(x))
        if dies_before == "backward":
            y.numpy()
        if dies_before:
            del module
            gc.collect()
        kept = overwrite()
        y.square().sum().backward()
        return y.numpy(), x.grad.numpy(), len(kept)

    expected = outcome(None)
    for moment in ("forward", "backward"):
        for a, b in zip(outcome(moment), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_temporary_module_computes():
    assert nn.LayerNorm(2)(ln.tensor([1.0, 3.0])).numpy().round(4).tolist() == [-1.0, 1.0]


_PARAMETERS_GO = """
import gc, weakref, numpy as np, lazynet as ln
from lazynet import nn

module = nn.Linear(2, 2)
leaf = weakref.ref(module.weight.graph)
y = module(ln.tensor([1.0, 2.0]))
del module
y.numpy()
assert leaf() is not None  # for backward
del y
ln.tensor([1.0]).exp().numpy()
gc.collect()
assert leaf() is None

gc.disable()  # no parameter waits for the collector
x, weight, dead = ln.tanh(ln.ones(3)), ln.Parameter(np.eye(3, dtype="float32")), []
for _ in range(4):
    bias = ln.Parameter(np.ones(3, "float32"))
    ln.sum(ln.linear(x, weight, bias)).backward()
    dead.append(weakref.ref(bias.graph))
    del bias
assert [leaf() for leaf in dead[1:]] == [None] * 3  # the first was recorded beside x, which lives
"""


def test_parameters_go_when_what_was_recorded_with_them_does():
    # By itself: any graph of another test that waits to run would keep what it may need.
    done = subprocess.run(
        [sys.executable, "-c", _PARAMETERS_GO], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _cell(constant):
    @ln.cell
    def scaled(x):
        return ln.tanh(x * constant) + ln.tensor([0.5, -0.5])

    return scaled


def _step(constant):
    def step(x, state):
        return (ln.tanh(x * constant + state[0] + ln.tensor([0.5, -0.5])),)

    return lambda x: ln.scan(step, (ln.zeros(2),), ln.stack([x, x * 2.0]))[0][-1]


def _over_a_list(constant):
    @ln.cell
    def added(items):
        return ln.tanh(sum(x * constant for x in items)) + ln.tensor([0.5, -0.5])

    return lambda x: added([x, x * 2.0, x]) + added([x, x * 2.0])


FUNCTIONS = {"cell": _cell, "step": _step, "cell over a list": _over_a_list}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_recorded_keeps_the_constants_of_a_function_that_dies(name):
    def outcome(dies_before):
        """The value, and two derivatives; the function dies before one of them, or never."""
        function = FUNCTIONS[name](ln.tensor([3.0, 0.25]))
        x = ln.tensor([0.5, 2.0], requires_grad=True)
        y = function(x)
        results = []
        for moment in ("value", "first", "second"):
            if moment == dies_before:
                del function
                gc.collect()
            kept = overwrite()
            if moment != "value":
                (y,) = ln.gradients(y.sum(), [x])
            results += [y.numpy(), len(kept)]
        return results

    expected = outcome(None)
    for moment in ("value", "first", "second"):
        for a, b in zip(outcome(moment), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_constants_of_a_function_go_when_it_does(name):
    def go():
        constants = ln.tensor([3.0, 0.25]), ln.Parameter([3.0, 0.25])
        for constant in constants:
            function = FUNCTIONS[name](constant)
            assert np.isfinite(function(ln.tensor([0.5, 2.0])).numpy()).all()
        return [weakref.ref(constant.graph) for constant in constants]

    gone = go()
    ln.tensor([1.0]).exp().numpy()  # no graph of before waits to run
    gc.collect()
    assert [leaf() for leaf in gone] == [None, None]


def test_a_graph_without_pending_nodes_keeps_nothing():
    earlier = nn.Linear(2, 2)(ln.tensor([1.0, 2.0]))
    earlier.numpy()
    kept = len(earlier.graph.links._held)
    module = nn.Linear(2, 2)
    del module
    gc.collect()
    assert len(earlier.graph.links._held) == kept


class Finalized:
    """What records when it is collected: in the middle of whatever made the collector run."""

    def __init__(self, value, made):
        self.value, self.made, self.me = value, made, self

    def __del__(self):
        self.made.append(self.value + 1.0)


@pytest.mark.parametrize("often", [1, 2, 3, 5, 7, 11, 40])
def test_finalizers_may_record_at_any_time(often):
    made: list = []
    x = ln.tanh(ln.tensor([0.5, 1.0]))
    x.numpy()
    before = gc.get_threshold()
    gc.set_threshold(often, 2)
    try:
        for k in range(100):
            y, other = x * float(k), x + ln.tensor([1.0, 2.0])
            Finalized(x, made)
            np.testing.assert_allclose(y.numpy(), x.numpy() * k, rtol=1e-6)
            np.testing.assert_allclose(other.numpy(), x.numpy() + np.array([1, 2]), rtol=1e-6)
    finally:
        gc.set_threshold(*before)
    assert len(made) > 30
    for value in made:
        np.testing.assert_allclose(value.numpy(), x.numpy() + 1.0, rtol=1e-6)


def test_finalizers_do_not_record_into_a_trace():
    made: list = []
    leaf = ln.tensor([0.5, 1.0])

    def function_of(constant):
        return ln.cell(lambda x: ln.exp(ln.tanh(x) * ln.sigmoid(x * constant)) * 2.0)

    before = gc.get_threshold()
    try:
        for often in range(5, 200, 5):
            function = function_of(ln.tensor([1.0, float(often)]))
            gc.collect()
            gc.disable()
            Finalized(leaf, made)
            gc.set_threshold(often, 1, 1)
            gc.enable()
            assert np.isfinite(function(leaf).numpy()).all()
            gc.set_threshold(*before)
    finally:
        gc.set_threshold(*before)
        gc.enable()
    gc.collect()
    assert len(made) == len(range(5, 200, 5))
    for late in made:
        np.testing.assert_allclose(late.numpy(), [1.5, 2.0], rtol=1e-6)


def test_what_is_recorded_in_the_middle_of_a_forward_stays_pending(monkeypatch):
    x = ln.tanh(ln.tensor([0.5, 1.0]))
    execute, made = executor.execute, []

    def recording(*arguments):
        made.append(x + ln.tensor([1.0] * 2))
        made.extend(made[0] * float(k) for k in range(300))  # so many that the columns grow
        return execute(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(executor, "execute", recording)
        value = x.numpy()
    assert made[0].pending and not x.pending
    np.testing.assert_allclose(made[4].numpy(), 3.0 * (value + 1.0), rtol=1e-6)
    np.testing.assert_array_equal(x.numpy(), value)


@ln.cell
def _several_steps(x):
    y = ln.tanh(x)
    return ln.sigmoid(y * x) * y


@pytest.mark.parametrize("policy", ["auto", "none"])
def test_what_only_backward_would_read_is_dropped_where_none_may_come(policy):
    def memory(leaf, length):
        """What the rows of a graph take, and the value."""
        h = ln.tanh(leaf)
        for _ in range(length):
            h = _several_steps(h)
        with ln.batching(policy):
            value = h.numpy()
        return h.graph.arena.size(), value

    wanting = ln.tensor(np.linspace(-1, 1, 1000), requires_grad=True)
    kept, expected = memory(wanting, 10)
    with ln.no_grad():
        found = [memory(wanting, 10)]
    found.append(memory(ln.tensor(wanting.numpy()), 10))
    for size, value in found:
        np.testing.assert_array_equal(value, expected)
        assert size < 0.6 * kept
        assert size >= 11 * 8000  # the values themselves, which somebody may ask for


@pytest.mark.parametrize("bytes_of_a_run", [0, 1 << 10])
def test_a_value_that_is_kept_does_not_keep_what_comes_after_it(monkeypatch, bytes_of_a_run):
    monkeypatch.setattr(running, "MOST_BYTES", 1 << 13)
    monkeypatch.setattr(running, "BYTES_OF_A_RUN", bytes_of_a_run)
    w = ln.tensor(np.linspace(-1, 1, 256), requires_grad=True)
    kept, met = ln.tanh(w), weakref.WeakSet()
    kept.numpy()
    for _ in range(40):
        y = ln.tanh(kept * w)
        y.numpy()
        met.add(y.graph)
    assert len(met) <= 2
    assert kept.graph.arena.size() <= 1 << 14
    (y * kept).sum().backward()
    t, v = np.tanh(w.numpy()), w.numpy()
    u = np.tanh(t * v)
    of_t = u + t * (1 - u * u) * v
    np.testing.assert_allclose(w.grad.numpy(), of_t * (1 - t * t) + t * (1 - u * u) * t, rtol=1e-5)
