"""Gradients that `backward(create_graph=True)` records can be differentiated."""

import numpy as np
import pytest
from test_hooks import A, B, leaf

import lazynet as ln
from lazynet import nn


def test_create_graph_gives_gradients_that_can_be_differentiated():
    x = ln.Parameter(A)
    (x * x * x).sum().backward(create_graph=True)
    slope = x.grad
    np.testing.assert_allclose(slope.numpy(), 3 * A**2)
    x.zero_grad()
    slope.square().sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 36 * A**3)


def test_create_graph_adds_up_as_in_pytorch():
    torch = pytest.importorskip("torch")

    def penalty(x, w):
        ((x * w).tanh() * x).sum().backward(create_graph=True)
        ((x * x * w).sum() + (w.grad * w.grad).sum()).backward()
        return [v.grad.numpy() if isinstance(v, ln.Tensor) else v.grad.detach().numpy()
                for v in (x, w)]  # fmt: skip

    ours = penalty(leaf(A), ln.Parameter(B))
    with pytest.warns(UserWarning, match="create_graph"):
        theirs = penalty(*(torch.tensor(a, requires_grad=True) for a in (A, B)))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_create_graph_goes_through_cells_scans_and_attention():
    layers = (
        nn.LSTM(3, 4).double(),
        nn.MultiheadAttention(4, 2).double(),
        nn.LSTMCell(4, 4).double(),
    )
    x = leaf(np.random.randn(5, 3))

    def penalty():
        rows = layers[0](ln.sequence(x))
        rows = layers[1](rows, rows, rows)[0]
        h, c = layers[2](rows[-1], (rows[0], rows[1]))
        (h * c).sum().backward(create_graph=True)
        return x.grad.square().sum()

    total = penalty()
    first = x.grad.numpy()
    total.backward()
    found, step, d = x.grad.numpy() - first, 1e-5, np.random.randn(5, 3)
    values = []
    for sign in (1, -1):
        x = leaf(x.numpy() + sign * step * d)
        values.append(penalty().item())
        x = leaf(x.numpy() - sign * step * d)
    np.testing.assert_allclose(np.vdot(found, d), (values[0] - values[1]) / (2 * step), rtol=1e-5)


def test_create_graph_keeps_what_retain_grad_asked_for():
    x = leaf()
    y = x * 2.0
    y.retain_grad()
    y.square().sum().backward(create_graph=True)
    np.testing.assert_allclose(y.grad.numpy(), 4 * A)
    (bend,) = ln.gradients(y.grad.sum(), [x])
    np.testing.assert_allclose(bend.numpy(), np.full(3, 4.0))


def test_clipping_gives_numbers():
    w = ln.Parameter(A)
    (w * w * w).sum().backward(create_graph=True)
    nn.utils.clip_grad_norm_(w, 1e-3)
    np.testing.assert_allclose(np.linalg.norm(w.grad.numpy()), 1e-3, rtol=1e-6)
    assert not w.grad.requires_grad


def test_create_graph_errors():
    with pytest.raises(RuntimeError, match="no leaf behind this value"):
        (ln.tensor(A) * 2.0).sum().backward(create_graph=True)
    with pytest.raises(ValueError, match="create_graph keeps the graph"):
        leaf().sum().backward(retain_graph=False, create_graph=True)
