"""Recurrent networks with all of PyTorch's options, and LSTMs with other gates."""

import copy
import pickle

import numpy as np
import pytest
from checks import agrees_with_torch, batches_over_examples, normal
from naive_elementwise import sigmoid

import lazynet as ln
from lazynet import nn


def standardized(x, eps=1e-5):
    return (x - x.mean()) / np.sqrt(x.var() + eps)


OPTIONS = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu"}),
    ("RNN", {"nonlinearity": "relu", "bias": False, "num_layers": 2, "bidirectional": True}),
    ("GRU", {}),
    ("GRU", {"bias": False}),
    ("GRU", {"num_layers": 3}),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {}),
    ("LSTM", {"bias": False, "bidirectional": True}),
    ("LSTM", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {"proj_size": 2}),
    ("LSTM", {"proj_size": 3, "bias": False, "num_layers": 2}),
    ("LSTM", {"proj_size": 2, "num_layers": 2, "bidirectional": True}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
class TestAgainstTorch:
    def made(self, torch, name, options):
        theirs = getattr(torch.nn, name)(3, 4, **options)
        ours = getattr(nn, name)(3, 4, **options)
        state = theirs.state_dict()
        assert list(ours.state_dict()) == list(state)
        for key, value in state.items():
            mine = ours.state_dict()[key]
            assert mine.shape == tuple(value.shape) and (np.abs(mine) <= 0.5).all()
        ours.load_state_dict(state)
        return ours.double(), theirs.double()

    def test_outputs_and_gradients(self, torch, name, options):
        ours, theirs = self.made(torch, name, options)
        for length in (1, 5):
            x = normal(length, 3)
            agrees_with_torch(torch, ours, lambda x: theirs(x)[0], [x], many=True)
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-9)

    def test_states(self, torch, name, options):
        ours, theirs = self.made(torch, name, options)
        x = normal(5, 3)
        scans = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
        sizes = (options.get("proj_size") or 4, 4)[: 2 if name == "LSTM" else 1]
        parts = [normal(scans, size) for size in sizes]
        given = [ln.tensor(p[0]) if scans == 1 else ln.sequence(p) for p in parts]
        start = [torch.tensor(p) for p in parts]
        rows, final = ours(
            ln.sequence(x), given[0] if len(given) == 1 else tuple(given), return_state=True
        )
        want, last = theirs(torch.tensor(x), start[0] if len(start) == 1 else tuple(start))
        np.testing.assert_allclose(rows.numpy(), want.detach().numpy(), atol=1e-10)
        final, last = (final, last) if len(sizes) == 2 else ((final,), (last,))
        for mine, other in zip(final, last, strict=True):
            other = other.detach().numpy()
            np.testing.assert_allclose(mine.numpy(), other[0] if scans == 1 else other, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_no_rows_give_no_rows_and_the_state_they_started_from(name, options):
    net = getattr(nn, name)(3, 4, **options)
    rows, state = net(ln.sequence(np.zeros((0, 3), np.float32)), return_state=True)
    width = (options.get("proj_size") or 4) * (1 + options.get("bidirectional", False))
    assert rows.numpy().shape == (0, width)
    for part in state if isinstance(state, tuple) else (state,):
        assert not part.numpy().any()


VARIANTS = ["CoupledLSTM", "LayerNormLSTM"]


def coupled(x, h, c, w):
    """One step by numpy."""
    gates = w["weight_ih"] @ x + w["weight_hh"] @ h + w["bias_ih"] + w["bias_hh"]
    i, g, o = np.split(gates, 3)
    c = (1 - sigmoid(i)) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def normalised(x, h, c, w):
    gates = standardized(w["weight_ih"] @ x) * w["norm_ih"] + w["bias_ih"]
    gates += standardized(w["weight_hh"] @ h) * w["norm_hh"]
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(standardized(c) * w["norm_c"] + w["bias_c"]), c


STEPS = {"CoupledLSTM": coupled, "LayerNormLSTM": normalised}


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


def drawn(module):
    """The module in float64 with random weights, the gains and biases too."""
    module = module.double()
    for p in module.parameters():
        p.copy_(normal(*p.shape))
    return module


class TestOtherGates:
    def test_a_cell_is_its_formula(self, variant):
        cell = drawn(getattr(nn, variant + "Cell")(3, 4))
        x, h, c = normal(3), normal(4), normal(4)
        got = cell(ln.tensor(x), (ln.tensor(h), ln.tensor(c)))
        want = STEPS[variant](x, h, c, cell.state_dict())
        for mine, other in zip(got, want, strict=True):
            np.testing.assert_allclose(mine.numpy(), other, rtol=1e-10)
        fresh = cell(ln.tensor(x))
        want = STEPS[variant](x, np.zeros(4), np.zeros(4), cell.state_dict())
        np.testing.assert_allclose(fresh[0].numpy(), want[0], rtol=1e-10)

    def test_a_network_is_its_cell_step_by_step(self, variant):
        net = drawn(getattr(nn, variant)(3, 4, bidirectional=True))
        x = normal(6, 3)
        rows = net(ln.sequence(x)).numpy()
        for part, suffix, order in ((0, "_l0", 1), (1, "_l0_reverse", -1)):
            state = net.state_dict()
            w = {k.removesuffix(suffix): v for k, v in state.items() if k.endswith(suffix)}
            h = c = np.zeros(4)
            found = []
            for row in x[::order]:
                h, c = STEPS[variant](row, h, c, w)
                found.append(h)
            np.testing.assert_allclose(
                rows[:, 4 * part : 4 * part + 4], np.array(found)[::order], rtol=1e-9
            )

    def test_derivatives(self, variant):
        order = 2 if variant == "CoupledLSTM" else 1
        net = drawn(getattr(nn, variant)(3, 2))
        for length in (1, 4):
            ln.check_grads(
                lambda x: net(ln.sequence(x)), [normal(length, 3)], order, tolerance=1e-4
            )
        cell = drawn(getattr(nn, variant + "Cell")(3, 2))
        arrays = [normal(3), normal(2), normal(2)]
        ln.check_grads(lambda x, h, c: cell(x, (h, c))[0], arrays, order, tolerance=1e-4)

    def test_the_gradient_of_weights_is_a_difference_quotient(self, variant):
        net = drawn(getattr(nn, variant)(3, 2))
        x, w = ln.sequence(normal(4, 3)), ln.sequence(normal(4, 2))
        (net(x) * w).sum().backward()
        for p in net.parameters():
            d, start = normal(*p.shape), p.numpy()
            values = []
            for step in (1e-6, -1e-6):
                p.copy_(start + step * d)
                values.append((net(x) * w).sum().item())
            p.copy_(start)
            slope = (values[0] - values[1]) / 2e-6
            assert np.vdot(p.grad.numpy(), d) == pytest.approx(slope, rel=1e-5, abs=1e-6)

    def test_sentences_of_all_lengths_share_batches(self, variant):
        net = getattr(nn, variant)(3, 4)
        cell = getattr(nn, variant + "Cell")(3, 4)
        x = [normal(k % 5, 3).astype(np.float32) for k in range(1, 51)]
        batches_over_examples(lambda k: net(ln.sequence(x[k])))
        batches_over_examples(lambda k: cell(ln.tensor(x[0][0] * k)))

    def test_no_bias_states_and_copies(self, variant):
        net = getattr(nn, variant)(3, 4, 2, bias=False)
        assert not [n for n in net.state_dict() if n.startswith("bias")]
        x = ln.sequence(normal(5, 3).astype(np.float32))
        rows, (h, c) = net(x, return_state=True)
        assert rows.shape == (5, 4) and h.shape == c.shape == (2, 4)
        np.testing.assert_array_equal(h[-1].numpy(), rows[-1].numpy())
        for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            np.testing.assert_array_equal(twin(x).numpy(), rows.numpy())

    def test_it_learns(self, variant):
        """The sign of the first element has to be kept to the end."""
        ln.manual_seed(0)
        net, out = getattr(nn, variant)(1, 8), nn.Linear(8, 1)
        opt = ln.optim.Adam([*net.parameters(), *out.parameters()], lr=0.02)
        x = [normal(3 + k % 3, 1).astype(np.float32) for k in range(20)]
        for _ in range(80):
            losses = [
                nn.functional.binary_cross_entropy_with_logits(
                    out(net(ln.sequence(v))[-1]), ln.tensor((v[0] > 0).astype(np.float32))
                )
                for v in x
            ]
            loss = ln.mean(losses)
            opt.zero_grad()
            loss.backward()
            opt.step()
        assert loss.item() < 0.3


NETWORKS = ["RNN", "GRU", "LSTM", *VARIANTS]


class TestDropout:
    def relay(self, **options):
        """Two layers that hand on what comes in, which is 1 everywhere."""
        net = nn.RNN(6, 6, 2, bias=False, nonlinearity="relu", dropout=0.4, **options)
        for layer in range(2):
            getattr(net, f"weight_ih_l{layer}").copy_(np.eye(6))
            getattr(net, f"weight_hh_l{layer}").copy_(np.zeros((6, 6)))
        return net, ln.sequence(np.ones((40, 6), np.float32))

    def test_elements_between_layers_are_dropped_while_training(self):
        net, x = self.relay()
        y = net(x).numpy()
        assert {round(float(v), 4) for v in np.unique(y)} == {0.0, round(1 / 0.6, 4)}
        assert abs((y == 0).mean() - 0.4) < 0.1
        assert (y.std(0) > 0).any()
        np.testing.assert_array_equal(net.eval()(x).numpy(), 1.0)

    def test_one_mask_for_all_rows_where_it_is_locked(self):
        net, x = self.relay(locked=True)
        masks = [net(x).numpy() for _ in range(20)]
        assert all((m == m[:1]).all() for m in masks)
        assert abs((np.array(masks)[:, 0] == 0).mean() - 0.4) < 0.15
        np.testing.assert_array_equal(net.eval()(x).numpy(), 1.0)

    @pytest.mark.parametrize("name", NETWORKS)
    def test_the_last_layer_is_not_dropped(self, name):
        net = getattr(nn, name)(3, 4, dropout=0.9, locked=True)
        x = ln.sequence(normal(5, 3).astype(np.float32))
        np.testing.assert_array_equal(net(x).numpy(), net(x).numpy())

    @pytest.mark.parametrize("name", NETWORKS)
    def test_all_networks_take_it(self, name):
        net = getattr(nn, name)(3, 4, 2, dropout=0.5, locked=True)
        x = ln.sequence(normal(5, 3).astype(np.float32))
        assert len({net(x).numpy().tobytes() for _ in range(8)}) > 1
        assert "dropout=0.5" in repr(net) and "locked=True" in repr(net)


@pytest.mark.parametrize("state", [3, "h", None, ([1.0], [2.0]), ((1, 2), 3)])
def test_what_is_no_state_is_told(state):
    state = (state, state) if state is None else state
    with pytest.raises(ln.ShapeError, match=r"^LSTM: expected a state of 2 part\(s\), each \(4,\)"):
        nn.LSTM(3, 4)(ln.rand(3, length=2), state)
    with pytest.raises(ln.ShapeError, match=r"^GRU: expected a state of 1 part\(s\), each \(4,\)"):
        nn.GRU(3, 4)(ln.rand(3, length=2), state)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, "LSTM: proj_size must be less than"),
        (lambda: nn.LSTM(3, 4, proj_size=-1), ValueError, "LSTM: proj_size must be"),
        (lambda: nn.GRU(3, 4, proj_size=2), TypeError, "proj_size"),
        (lambda: nn.GRU(3, 4, dropout=1.5), ValueError, "GRU: dropout must be a probability"),
        (lambda: nn.RNN(3, 4, nonlinearity="sigmoid"), ValueError, "expected 'tanh' or 'relu'"),
        (lambda: nn.CoupledLSTM(3, 0), ValueError, "CoupledLSTM: hidden_size must be"),
        (
            lambda: nn.LSTM(3, 4, proj_size=2)(ln.rand(3, length=2), (ln.zeros(4), ln.zeros(4))),
            ln.ShapeError, r"LSTM: expected a state of 2 part\(s\), \(2,\) and \(4,\)",
        ),
        (lambda: nn.LayerNormLSTM(3, 4)(ln.rand(2, length=2)), ln.ShapeError,
         r"LayerNormLSTM: rows of \(2,\)"),
    ],
)  # fmt: skip
def test_mistakes_are_told(call, error, told):
    with pytest.raises(error, match=told):
        call()


def test_a_state_that_is_no_pair_is_refused():
    with pytest.raises(TypeError, match=r"LSTMCell: expected a state \(h, c\), not Tensor"):
        nn.LSTMCell(3, 2)(ln.zeros(3), ln.zeros(2))


@pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell", "CoupledLSTMCell"])
def test_a_cell_begins_with_an_array_as_with_a_tensor(name):
    cell, x = getattr(nn, name)(3, 2), normal(3).astype(np.float32)
    made, expected = cell(x), cell(ln.tensor(x))
    if name.endswith("LSTMCell"):
        made, expected = made[0], expected[0]
    np.testing.assert_allclose(made.numpy(), expected.numpy(), rtol=1e-6)


def test_a_network_that_was_called_may_get_other_sizes():
    net, x = nn.GRU(3, 4, num_layers=2), ln.rand(3, length=5)
    before = net(x).tolist()
    net.num_layers = 1
    assert net(x).tolist() != before
    net.num_layers = 2
    assert net(x).tolist() == before
    other = nn.GRU(3, 6)
    net.num_layers, net.hidden_size = 1, 6
    for name, weight in other.named_parameters():
        setattr(net, name, weight)
    assert net(x).tolist() == other(x).tolist()


@pytest.mark.parametrize("make", [nn.RNNCell, nn.GRUCell, nn.LSTMCell, nn.CoupledLSTMCell])
def test_states_of_another_shape_are_refused_where_they_would_broadcast(make):
    cell, wrapped = (
        make(4, 5),
        (lambda h: h) if make in (nn.RNNCell, nn.GRUCell) else (lambda h: (h, h)),
    )
    told = rf"^{make.__name__}: (h|state) has rows of .*; expected rows of \(5,\)"
    for wrong in (ln.zeros(1, 5), ln.zeros(6), ln.zeros(())):
        with pytest.raises(ln.ShapeError, match=told):
            cell(ln.zeros(4), wrapped(wrong))
    for x, h in ((ln.zeros(4), ln.zeros(5)), (ln.zeros(2, 4), ln.zeros(2, 5)),
                 (ln.zeros(4, length=3), ln.zeros(5))):  # fmt: skip
        made = cell(x, wrapped(h))
        assert (made[0] if isinstance(made, tuple) else made).shape == (*x.shape[:-1], 5)
