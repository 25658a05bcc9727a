"""Recurrent and tree networks and their cells: PyTorch's values and gradients."""

import numpy as np
import pytest
from checks import normal

import lazynet as ln
from lazynet import nn


def state_of(name, make):
    return (make(), make()) if name.startswith("LSTM") else make()


def parts(state):
    return state if isinstance(state, tuple) else (state,)


CELLS = [
    ("RNNCell", {}),
    ("RNNCell", {"nonlinearity": "relu"}),
    ("GRUCell", {}),
    ("LSTMCell", {}),
    ("LSTMCell", {"bias": False}),
]
NETWORKS = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu"}),
    ("GRU", {}),
    ("GRU", {"bias": False, "bidirectional": True}),
    ("LSTM", {}),
    ("LSTM", {"bidirectional": True}),
    ("LSTM", {"num_layers": 3}),
    ("LSTM", {"num_layers": 2, "bidirectional": True}),
]


def pair(torch, name, options):
    """A module of PyTorch's and ours with the same weights, in float64."""
    theirs = getattr(torch.nn, name)(3, 4, **options).double()
    ours = getattr(nn, name)(3, 4, **options).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def same_gradients(theirs, ours):
    for (name, a), b in zip(theirs.named_parameters(), ours.parameters(), strict=True):
        np.testing.assert_allclose(b.grad.numpy(), a.grad, atol=1e-12, err_msg=name)


class TestRecurrence:
    @pytest.mark.parametrize("name, options", CELLS)
    def test_a_cell_is_that_of_pytorch_with_gradients(self, torch, name, options):
        theirs, ours = pair(torch, name, options)
        x, start = normal(3), state_of(name, lambda: normal(4))
        xt = torch.tensor(x, requires_grad=True)
        st = [torch.tensor(s, requires_grad=True) for s in parts(start)]
        xl = ln.tensor(x, requires_grad=True)
        sl = [ln.tensor(s, requires_grad=True) for s in parts(start)]
        a = parts(theirs(xt, tuple(st) if len(st) > 1 else st[0]))
        b = parts(ours(xl, tuple(sl) if len(sl) > 1 else sl[0]))
        weights = [normal(4) for _ in a]
        for p, q in zip(a, b, strict=True):
            np.testing.assert_allclose(q.numpy(), p.detach())
        sum((p * torch.tensor(w)).sum() for p, w in zip(a, weights, strict=True)).backward()
        ln.sum([(q * w).sum() for q, w in zip(b, weights, strict=True)]).backward()
        same_gradients(theirs, ours)
        for p, q in zip([xt, *st], [xl, *sl], strict=True):
            np.testing.assert_allclose(q.grad.numpy(), p.grad, atol=1e-12)

    @pytest.mark.parametrize("name, options", CELLS)
    def test_a_cell_without_state_starts_from_zeros(self, torch, name, options):
        theirs, ours = pair(torch, name, options)
        x = normal(3)
        for p, q in zip(parts(theirs(torch.tensor(x))), parts(ours(ln.tensor(x))), strict=True):
            np.testing.assert_allclose(q.numpy(), p.detach())

    @pytest.mark.parametrize("name, options", NETWORKS)
    def test_a_network_is_that_of_pytorch_with_gradients(self, torch, name, options):
        theirs, ours = pair(torch, name, options)
        losses = []
        for n in (5, 1, 3):  # each backward adds up over sequences of several lengths
            x = normal(n, 3)
            xt, xl = torch.tensor(x, requires_grad=True), ln.tensor(x, requires_grad=True)
            a, b = theirs(xt)[0], ours(ln.sequence(xl))
            w = normal(*a.shape)
            (a * torch.tensor(w)).sum().backward()
            losses.append((b * ln.sequence(w)).sum())
            np.testing.assert_allclose(b.numpy(), a.detach(), atol=1e-12)
        ln.sum(losses).backward()
        same_gradients(theirs, ours)

    @pytest.mark.parametrize("name, options", NETWORKS)
    def test_states_are_laid_out_as_in_pytorch(self, torch, name, options):
        theirs, ours = pair(torch, name, options)
        count = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
        x, start = normal(5, 3), state_of(name, lambda: normal(count, 4))
        st = [torch.tensor(s, requires_grad=True) for s in parts(start)]
        sl = [ln.tensor(s if count > 1 else s[0], requires_grad=True) for s in parts(start)]
        out, a = theirs(torch.tensor(x), tuple(st) if len(st) > 1 else st[0])
        got, b = ours(ln.sequence(x), tuple(sl) if len(sl) > 1 else sl[0], return_state=True)
        np.testing.assert_allclose(got.numpy(), out.detach(), atol=1e-12)
        for p, q in zip(parts(a), parts(b), strict=True):
            assert q.shape == ((count, 4) if count > 1 else (4,))
            np.testing.assert_allclose(q.numpy().reshape(count, 4), p.detach(), atol=1e-12)
        out.sum().backward()
        got.sum().backward()
        for p, q in zip(st, sl, strict=True):
            np.testing.assert_allclose(q.grad.numpy().reshape(count, 4), p.grad, atol=1e-12)

    @pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
    def test_a_network_is_its_cell_step_by_step(self, name):
        net, cell = getattr(nn, name)(3, 4), getattr(nn, name + "Cell")(3, 4)
        cell.load_state_dict({k.removesuffix("_l0"): v for k, v in net.state_dict().items()})
        x, state, steps = ln.sequence(normal(6, 3).astype(np.float32)), None, []
        for row in x:
            state = cell(row, state)
            steps.append(parts(state)[0])
        np.testing.assert_allclose(ln.stack(steps).numpy(), net(x).numpy(), atol=1e-6)

    def test_reading_on_from_a_state_is_reading_at_once(self):
        net, x = nn.LSTM(3, 4, num_layers=2), ln.sequence(normal(7, 3).astype(np.float32))
        first, state = net(x[:3], return_state=True)
        second, _ = net(x[3:], state, return_state=True)
        joined = np.concatenate([first.numpy(), second.numpy()])
        np.testing.assert_allclose(joined, net(x).numpy(), atol=1e-6)

    @pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
    def test_without_rows_the_state_stays_what_it_was(self, options):
        net = nn.LSTM(3, 4, **options)
        x = ln.sequence(normal(2, 3).astype(np.float32))
        _, state = net(x, return_state=True)
        nothing, after = net(x[:0], state, return_state=True)
        assert nothing.shape == (0, 4 * (1 + net.bidirectional))
        for p, q in zip(state, after, strict=True):
            np.testing.assert_array_equal(p.numpy(), q.numpy())

    def test_dropout_acts_between_layers_while_training(self):
        x = ln.sequence(normal(5, 3).astype(np.float32))
        net = nn.GRU(3, 4, num_layers=2, dropout=0.5)
        assert (net(x).numpy() != net(x).numpy()).any()
        np.testing.assert_array_equal(net.eval()(x).numpy(), net(x).numpy())
        single = nn.GRU(3, 4, dropout=0.5)
        np.testing.assert_array_equal(single(x).numpy(), single(x).numpy())

    def test_a_replaced_weight_is_used(self):
        net, x = nn.RNN(3, 4), ln.sequence(normal(5, 3).astype(np.float32))
        net(x).numpy()
        zeros = [nn.Parameter(np.zeros(shape, np.float32)) for shape in ((4, 3), (4, 4), 4)]
        net.weight_ih_l0, net.weight_hh_l0, net.bias_ih_l0 = zeros
        net.bias_hh_l0 = net.bias_ih_l0
        np.testing.assert_array_equal(net(x).numpy(), 0.0)

    def test_wrong_shapes_are_told_where_they_are_given(self):
        net = nn.LSTM(3, 4)
        x = ln.sequence(normal(5, 3).astype(np.float32))
        with pytest.raises(ValueError, match=r"LSTM: rows of \(2,\); expected rows of \(3,\)"):
            net(ln.sequence(normal(5, 2)))
        with pytest.raises(ValueError, match="expected a Sequence"):
            net(x[0])
        with pytest.raises(ValueError, match=r"2 part\(s\), each \(4,\)"):
            net(x, (x[0], x[0]))
        with pytest.raises(ValueError, match="part"):
            net(x, (ln.tensor(np.zeros(4, np.float32)),))


def zero(cell):
    z = np.zeros(cell.hidden)
    return ln.tensor(z), ln.tensor(z)


class TestTrees:
    """Each cell against its equations in numpy."""

    @staticmethod
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def nary(self, w, x, children):
        hidden, n = w["weight_if"].shape[0], len(children)
        gates, forget = np.zeros(3 * hidden), np.zeros((n, hidden))
        if x is not None:
            gates = gates + w["weight_ih"] @ x + w["bias_ih"]
            forget = forget + w["weight_if"] @ x
        if children:
            joined = w["weight_hh"] @ np.concatenate([h for h, _ in children]) + w["bias_hh"]
            gates = gates + joined[: 3 * hidden]
            forget = forget + joined[3 * hidden :].reshape(n, hidden)
        i, o, u = np.split(gates, 3)
        c = self.sigmoid(i) * np.tanh(u)
        for f, (_, below) in zip(forget, children, strict=True):
            c = c + self.sigmoid(f) * below
        return self.sigmoid(o) * np.tanh(c), c

    def child_sum(self, w, x, children):
        total = sum([h for h, _ in children], np.zeros(w["weight_if"].shape[0]))
        wx, fx = (0, 0) if x is None else (w["weight_ih"] @ x, w["weight_if"] @ x)
        i, o, u = np.split(wx + w["bias_ih"] + w["weight_hh"] @ total, 3)
        c = self.sigmoid(i) * np.tanh(u)
        for h, below in children:
            c = c + self.sigmoid(fx + w["weight_hf"] @ h + w["bias_f"]) * below
        return self.sigmoid(o) * np.tanh(c), c

    @pytest.mark.parametrize("with_input", [True, False])
    @pytest.mark.parametrize("arity", [0, 1, 2, 3])
    def test_cells_follow_their_equations(self, arity, with_input):
        x = normal(3) if with_input or arity == 0 else None
        children = [(normal(4), normal(4)) for _ in range(arity)]
        given = [(ln.tensor(h), ln.tensor(c)) for h, c in children]
        for cell, oracle in (
            (nn.TreeLSTMCell(3, 4, arity or 2).double(), self.nary),
            (nn.ChildSumTreeLSTMCell(3, 4).double(), self.child_sum),
        ):
            expected = oracle(cell.state_dict(), x, children)
            got = cell(None if x is None else ln.tensor(x), given)
            for a, b in zip(expected, got, strict=True):
                np.testing.assert_allclose(b.numpy(), a, atol=1e-12)

    @pytest.mark.parametrize("kind", [nn.TreeLSTMCell, nn.ChildSumTreeLSTMCell])
    def test_gradients_reach_every_weight_of_a_tree(self, kind):
        cell = kind(3, 4).double()

        def loss():
            leaves = [cell(ln.tensor(x)) for x in inputs]
            inner = cell(None, leaves[:2])
            h, _ = cell(ln.tensor(inputs[0]), [inner, leaves[2]])
            return (h * weights).sum()

        inputs, weights = normal(3, 3), normal(4)
        loss().backward()
        for name, p in cell.named_parameters():
            gradient, direction = p.grad.numpy(), normal(*p.shape)
            value, step = p.numpy(), 1e-6
            p.copy_(value + step * direction)
            above = loss().item()
            p.copy_(value - step * direction)
            slope = (above - loss().item()) / (2 * step)
            p.copy_(value)
            assert slope == pytest.approx((gradient * direction).sum(), rel=1e-5), name

    def test_impossible_nodes_are_refused(self):
        cell = nn.TreeLSTMCell(3, 4)
        with pytest.raises(ValueError, match="3 children; this cell joins 2"):
            cell(None, [zero(cell)] * 3)
        for one in (cell, nn.ChildSumTreeLSTMCell(3, 4)):
            with pytest.raises(ValueError, match="needs an input, children, or both"):
                one(None, [])
