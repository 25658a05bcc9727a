"""Programs of several kinds on "cuda" against the CPU: steps, structures, derivatives, moving."""

import numpy as np
import pytest
from graphs import Program
from on_cuda import MARKS, agree, on
from test_merging import Textbook, same
from test_merging import run as run_textbook

import lazynet as ln
from lazynet import automatic, expressions, running
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


def test_ops_that_run_as_one_because_nobody_holds_them(monkeypatch):
    monkeypatch.setattr(expressions, "OFTEN", 1)
    monkeypatch.setattr(running, "LEAST_NOTED", 1)

    def evaluate():
        u, v, w = (ln.Parameter(draw(3, 3)) for _ in range(3))
        rows, found = [leaf(3) for _ in range(3)], []
        for _ in range(3):  # from the second time on
            for x in rows:
                h = ln.sin(x)
                h = ln.sigmoid(ln.linear(h, u)) * ln.tanh(ln.linear(h, v)) + ln.linear(h, w) * h
                found.append(h)
            ln.sum([y.square().sum() for y in found[-3:]]).backward()
        return [y.numpy() for y in found] + gradients(u, v, w, *rows)

    with ln.profile() as told:
        agree(evaluate)
    assert "fused(" in str(told)


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


@pytest.mark.parametrize("layer", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("lengths", [(1,), (3, 0, 5)], ids=str)
def test_scans_agree(layer, lengths):
    def scan():
        ln.manual_seed(1)
        model = getattr(ln.nn, layer)(3, 4)
        rows = [np.random.randn(n, 3).astype("float32") for n in lengths]
        outputs = [model(ln.sequence(ln.tensor(a))) for a in rows]
        ln.sum([ln.sum(y * y) for y in outputs if len(y)]).backward()
        gradients = [p.grad.numpy() for p in model.parameters()]
        return [*(y.numpy() for y in outputs), *gradients]

    agree(scan)


@pytest.mark.parametrize("seed", range(6))
def test_random_programs_agree(seed):
    program = Program(seed, 12, 1)

    def evaluate():
        arrays, loss, gradients = program.lazy()
        return [*arrays, loss, *gradients]

    agree(evaluate)


def test_a_cell_and_its_constants_are_found_on_both_devices():
    cell = ln.nn.LSTMCell(3, 4)  # without a state, its zeros are constants of the trace

    def gradients(device):
        cell.to(device).zero_grad()
        x = ln.tensor([1.0, 2.0, 3.0], device=device)
        h, _ = cell(x * 1.0)
        h.sum().backward()
        return [h.numpy(), cell.weight_ih.grad.numpy()]

    first = gradients("cpu")
    for device in ("cuda", "cpu", "cuda"):
        for a, b in zip(gradients(device), first, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_random_rows_are_the_same_on_every_device():
    def drop():
        ln.manual_seed(3)
        x = ln.tensor(np.ones(20, "float32"))
        return [ln.rand(5).numpy(), ln.dropout(x, 0.5).numpy()]

    here, there = on("cpu", drop), on("cuda", drop)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_as_values_and_second_order_agree():
    def second():
        x = ln.tensor([0.3, -0.7], requires_grad=True)
        (first,) = ln.gradients(ln.sum(ln.tanh(x) * x), [x])
        (again,) = ln.gradients(ln.sum(first * first), [x])
        return [first.numpy(), again.numpy()]

    agree(second)


def test_programs_in_step_may_look_at_values_of_the_device():
    def steps():
        def program(start):
            x = ln.tensor([start], device="cuda")
            while x.item() < 10.0:
                x = x * 2.0
            return x

        return [y.item() for y in ln.map(program, [1.0, 3.0])]

    assert steps() == [16.0, 12.0]


def differentiated():
    """Gradients through hooks, of copies, recorded ones, and those of a checkpoint."""
    x, seen = ln.tensor(np.arange(4.0), requires_grad=True), []
    x.register_hook(lambda g: g * 2.0)
    y = x * 3.0
    y.register_hook(lambda g: (seen.append(g.numpy()), g * 10.0)[1])
    rows = ln.sequence([y, y * 2.0]) * 1.0
    rows.retain_grad()
    last = rows[1]
    last.register_hook(lambda g: g + 1.0)
    ((last * rows[0]).sum() + ln.checkpoint(lambda v: (v.tanh() * v).exp())(x).sum()).backward()
    cube = lambda v: (v * v * v).sum()  # noqa: E731
    w = ln.tensor(np.arange(3.0), requires_grad=True)
    cube(w).backward(create_graph=True)
    w.grad.square().sum().backward()
    assert {v.grad.dtype for v in (x, rows, w)} == {np.dtype("float64")}
    return [x.grad.numpy(), rows.grad.numpy(), *seen, w.grad.numpy(), ln.hessian(cube)(w).numpy()]


def test_hooks_recorded_gradients_and_checkpoints_agree():
    agree(differentiated)
    with on_device(device_of("cuda")), pytest.raises(ln.DeviceError, match="runs on the CPU only"):
        ln.Function()(ln.tensor(1.0))


def test_cells_over_lists_of_several_lengths_agree():
    def evaluate():
        weight = ln.Parameter(np.random.standard_normal((3, 3)).astype("float32"))

        @ln.cell
        def join(x, below):
            rows = ln.sequence([h for h, _ in below])
            scores = ln.softmax(ln.dot(ln.linear(rows, weight), x), 0)
            most = ln.max(rows, 0) - ln.mean([c for _, c in below])
            return ln.tanh(ln.sum(scores * rows, 0) + x), most * x

        leaves = [
            ln.tensor(np.random.standard_normal(3).astype("float32"), requires_grad=True)
            for _ in range(4)
        ]
        states = [(h * 1.0, h * 0.5) for h in leaves]
        for below in ([0], [0, 1, 2], [4, 5, 3, 1], [6, 5], [7, 4, 6]):
            states.append(join(leaves[len(below) - 1], [states[k] for k in below]))
        ln.sum([ln.sum(h + c) for h, c in states[-3:]]).backward()
        return [v.numpy() for state in states for v in state] + [
            v.grad.numpy() for v in (*leaves, weight)
        ]

    agree(evaluate)
