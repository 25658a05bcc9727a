"""Programs of several kinds on "cuda" against the CPU: steps, structures, derivatives, moving."""

import numpy as np
import pytest
from on_cuda import MARKS, agree, on
from test_merging import Textbook, same
from test_merging import run as run_textbook

import lazynet as ln
from lazynet import automatic
from lazynet.automatic import AutomaticCell
from lazynet.device import device_of, on_device

pytestmark = MARKS


def draw(*shape):
    return np.random.standard_normal(shape).astype("float32")


def leaf(*shape):
    return ln.tensor(draw(*shape), requires_grad=True)


def gradients(*leaves):
    return [x.grad.numpy() for x in leaves]


@pytest.mark.parametrize("kept", [lambda step: step, ln.checkpoint], ids=["kept", "recomputed"])
def test_scans_of_users_over_sequences_of_several_lengths(kept):
    def evaluate():
        weight, start = ln.Parameter(draw(3, 3)), leaf(3)

        def step(x, states):
            h, c = states
            h = ln.tanh(ln.linear(h, weight) + x) * ln.sigmoid(c)
            return h, c + h * h

        found, rows = [], [leaf(n, 3) for n in (2, 4, 1)]
        for x in rows:
            h, c = ln.scan(kept(step), (start, start * 0.5), ln.sequence(x))
            found += [h, c]
        ln.sum([y.square().sum() for y in found]).backward()
        return [y.numpy() for y in found] + gradients(weight, start, *rows)

    agree(evaluate)


def test_folds_over_graphs_that_share_nodes():
    def evaluate():
        weight = ln.Parameter(draw(3, 3))

        @ln.cell
        def join(x, below):
            if not below:
                return ln.tanh(x)
            return ln.tanh(ln.linear(x, weight) + sum(below))

        rows = [leaf(n, 3) for n in (5, 3)]
        graphs = [[(), (0,), (0, 1), (0, 1, 2), (3, 1)], [(), (), (0, 1)]]
        found = [
            ln.fold(join, ln.sequence(x), below) for x, below in zip(rows, graphs, strict=True)
        ]
        ln.sum([y.square().sum() for y in found]).backward()
        return [y.numpy() for y in found] + gradients(weight, *rows)

    agree(evaluate)


def test_forwards_that_became_cells_by_themselves(monkeypatch):
    monkeypatch.setattr(automatic, "CALLS", 5)

    class Mix(ln.nn.Module):
        def __init__(self):
            self.a = ln.nn.Linear(3, 3)

        def forward(self, x, h):
            z = ln.sigmoid(self.a(x) + h)
            return z * h + (1.0 - z) * ln.tanh(x)

    def evaluate():
        ln.manual_seed(0)
        mix, x = Mix(), leaf(3)
        h = x
        for _ in range(12):
            h = mix(x, h)
        h.square().sum().backward()
        return [h.numpy(), *gradients(x, *mix.parameters())]

    agree(evaluate)
    assert isinstance(vars(Mix)["forward"], AutomaticCell)


def test_rows_of_leaves_and_what_older_graphs_hold():
    def evaluate():
        table, state, losses = leaf(6, 3), ln.zeros(3), []
        for k in (1, 4, 1):
            state = ln.tanh(state.detach() * 0.5 + table[k] + table[k + 1 : k + 2].sum(0))
            losses.append(state.sum())
            losses[-1].backward()
        return [loss.numpy() for loss in losses] + gradients(table)

    agree(evaluate)


def test_derivatives_along_directions_and_of_derivatives():
    def evaluate():
        ln.manual_seed(0)
        layer = ln.nn.Linear(3, 3)
        x, t = ln.tensor(draw(3)), ln.tensor(draw(3))
        f = lambda v: ln.softmax(layer(v).tanh(), -1)  # noqa: E731
        loss = lambda v: f(v).square().sum()  # noqa: E731
        y, along = ln.jvp(f, (x,), (t,))
        return [v.numpy() for v in (y, along, ln.jacobian(f)(x), ln.hvp(loss, x, t)[1])]

    agree(evaluate)


def test_programs_in_step_over_the_device():
    layer = ln.nn.Linear(2, 2)

    def evaluate():
        layer.to("cuda" if ln.zeros(1).device != "cpu" else "cpu")

        def program(n):
            x, steps = ln.full((2,), 0.5 + n), 0
            while x.sum().item() < 40.0 and steps < 6:
                x, steps = x * 2.0 + layer(x) * 0.1, steps + 1
            return x, steps

        found = ln.map(program, range(3))
        return [x.numpy() for x, _ in found] + [np.array([steps for _, steps in found])]

    agree(evaluate)


# -- moving ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("here", "there"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_what_is_pending_is_computed_where_its_parameters_were(here, there):
    ln.manual_seed(0)
    layer, rows = ln.nn.Linear(3, 2).to(here), draw(4, 3)
    y = layer(ln.sequence(ln.tensor(rows, device=here)))
    layer.to(there)
    want = rows @ layer.weight.numpy().T + layer.bias.numpy()
    assert y.device.startswith(here) and layer.weight.device.startswith(there)
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-5, atol=1e-6)


def test_backward_through_what_was_computed_before_its_parameters_moved_is_refused():
    layer = ln.nn.Linear(3, 2)
    loss = layer(ln.tensor(draw(3))).sum()
    loss.item()
    layer.cuda()
    with pytest.raises(RuntimeError, match="modified since"):
        loss.backward()
    assert layer.weight.grad is None


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_states_of_optimizers_are_host_arrays_and_follow_their_parameters(name):
    def steps(devices):
        ln.manual_seed(0)
        model = ln.nn.Linear(3, 2)
        options = {"momentum": 0.9} if name == "SGD" else {}
        optimizer = getattr(ln.optim, name)(model.parameters(), lr=0.1, **options)
        for device in devices:
            model.to(device)
            optimizer.zero_grad()
            model(ln.tensor(np.ones(3, "float32"), device=device)).square().sum().backward()
            optimizer.step()
            states = optimizer.state_dict()["state"].values()
            assert {type(v) for state in states for v in state.values()} <= {int, np.ndarray}
        return [p.numpy() for p in model.parameters()]

    for a, b in zip(steps(["cpu", "cuda", "cuda", "cpu"]), steps(["cpu"] * 4), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_what_fails_on_the_cpu_leaves_the_device_alone():
    class Fails(ln.Function):
        def forward(self, x):
            raise ValueError("no")

    there = on("cuda", lambda: ln.ones(2) * 3.0)
    good, bad = ln.tensor([1.0, 2.0]) * 2.0, Fails()(ln.tensor([1.0]))
    with pytest.raises(ValueError, match="no"):
        bad.numpy()
    assert good.tolist() == [2.0, 4.0] and there.tolist() == [3.0, 3.0]


def test_weights_of_merged_products_move_together():
    ln.manual_seed(0)
    model = Textbook()
    expected = run_textbook(model)
    addresses = [p.graph.address for p in model.parameters()]
    model.to("cuda")
    assert {p.graph.device.name for p in model.parameters()} == {"cuda:0"}
    with on_device(device_of("cuda")):
        found, gradients = run_textbook(model)
    same(  # with what was computed on the CPU
        (found, {name: ln.tensor(g.numpy(), device="cpu") for name, g in gradients.items()}),
        expected,
    )
    model.to("cpu")
    same(run_textbook(model), expected)
    assert addresses != [p.graph.address for p in model.parameters()]


@pytest.mark.parametrize("name", ["SparseSGD", "SparseAdam"])
def test_rows_that_were_looked_up_are_changed_in_one_launch(name):
    def trained():
        ln.manual_seed(0)
        weight = ln.Parameter(np.random.randn(9, 4).astype(np.float32))
        optimizer = getattr(ln.optim, name)([weight], lr=0.1)
        for rows in ([3, 1, 3], [7], [1, 0]):
            optimizer.zero_grad()
            ln.sum(ln.sum(ln.tanh(ln.lookup(weight, rows)))).backward()
            before = weight.graph.device.counts.get("launches", 0)
            optimizer.step()
            assert weight.graph.device.counts.get("launches", 0) - before <= 1
        return [weight.numpy(), weight.grad.numpy()]

    agree(trained)
