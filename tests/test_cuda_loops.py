"""Whole scans as one launch each on "cuda": the same numbers, and no more launches than loops."""

import numpy as np
import pytest
from on_cuda import MARKS, agree, on

import lazynet as ln
from lazynet import loops
from lazynet.device import device_of

pytestmark = MARKS
LENGTHS = [(1,), (3, 0, 5), (4, 2, 4, 1)]


@pytest.fixture(autouse=True)
def wanted(monkeypatch):
    monkeypatch.setattr(loops, "WANTED", True)


@pytest.fixture
def found(monkeypatch):
    """The loops that become one launch each, in their order."""
    noted, find = [], loops.find

    def noting(calls, moved):
        made = find(calls, moved)
        noted.extend(made.values())
        return made

    monkeypatch.setattr(loops, "find", noting)
    return noted


def draw(*shape):
    return np.random.standard_normal(shape).astype("float32")


def trained(make, lengths, dtype="float32"):
    """What a layer over rows gives, and its gradients."""

    def evaluate():
        ln.manual_seed(1)
        layer = make()
        rows = [ln.tensor(draw(n, 3).astype(dtype), requires_grad=True) for n in lengths]
        outputs = [layer(ln.sequence(x)) for x in rows]
        ln.sum([y.square().sum() for y in outputs if len(y)]).backward()
        used = [x for x in (*rows, *layer.parameters()) if x.grad is not None]
        return [*(y.numpy() for y in outputs), *(x.grad.numpy() for x in used)]

    return evaluate


@pytest.mark.parametrize("room", [loops.ON_CHIP, 0], ids=["on chip", "weights in memory"])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("layer", ["LSTM", "GRU", "RNN"])
def test_layers_agree_with_the_cpu(layer, lengths, room, found, monkeypatch):
    monkeypatch.setattr(loops, "ON_CHIP", room)
    agree(trained(lambda: getattr(ln.nn, layer)(3, 4, 2, bidirectional=True), lengths))
    if max(lengths) > 1:
        assert len(found) == 8  # two layers, two directions, forward and backward
        assert all(bool(loop.kept[0]) == bool(room) for loop in found)
        assert {loop.rows for loop in found} == {sum(n > 0 for n in lengths)}


def test_steps_of_users_agree_with_several_products_in_them(found):
    def evaluate():
        a, b, start = ln.Parameter(draw(4, 4)), ln.Parameter(draw(4, 4)), draw(4)
        h0 = ln.tensor(start, requires_grad=True)

        def step(x, states):
            h, c = states
            z = ln.sigmoid(ln.linear(h, a) + x)
            return ln.tanh(ln.linear(z * c, b)) + h, c * 0.5 + z

        made, rows = [], [ln.tensor(draw(n, 4), requires_grad=True) for n in (3, 5)]
        for x in rows:
            made += ln.scan(step, (h0, h0 * 0.5), ln.sequence(x))
        ln.sum([y.square().sum() for y in made]).backward()
        return [y.numpy() for y in made] + [x.grad.numpy() for x in (a, b, h0, *rows)]

    agree(evaluate)
    assert len(found) == 2


def test_a_step_with_other_kernels_is_launched_call_by_call(found):
    def evaluate():
        start = ln.tensor(draw(3), requires_grad=True)
        step = lambda x, states: (ln.softmax(states[0] + x, -1),)  # noqa: E731
        (y,) = ln.scan(step, (start,), ln.sequence(ln.tensor(draw(4, 3))))
        y.square().sum().backward()
        return [y.numpy(), start.grad.numpy()]

    agree(evaluate)
    assert not found


def launches(lengths):
    """How many launches one step over sequences of these lengths takes."""

    def evaluate():
        run = trained(lambda: ln.nn.LSTM(3, 4), lengths)
        before = device_of("cuda").counts["launches"]
        run()
        return device_of("cuda").counts["launches"] - before

    return on("cuda", evaluate)


def test_longer_sequences_take_no_more_launches(monkeypatch):
    assert launches((8, 5)) == launches((3, 2))
    monkeypatch.setattr(loops, "WANTED", False)
    assert launches((8, 5)) - launches((3, 2)) >= 5 * 4  # a product and a kernel, there and back


def test_products_in_half_precision_stay_products(found):
    def evaluate():
        layer = ln.nn.LSTM(3, 4).to("cuda")
        with ln.autocast("cuda"):
            return layer(ln.sequence(ln.tensor(draw(4, 3), device="cuda"))).numpy()

    on("cuda", evaluate)
    assert not found
