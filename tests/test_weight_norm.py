"""Weights made of a direction and a length: PyTorch's values and gradients, one weight a batch."""

import copy
import pickle

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn

LAYERS = {
    "Linear": (lambda: nn.Linear(3, 2).double(), (3,)),
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3).double(), (2, 5)),
    "Conv2d": (lambda: nn.Conv2d(2, 4, 2).double(), (2, 3, 3)),
    "Bilinear": (lambda: nn.Bilinear(3, 3, 2).double(), (3,)),
}
over_layers = pytest.mark.parametrize("name", LAYERS)
over_axes = pytest.mark.parametrize("dim", [0, 1, None])


def call(layer, x):
    return layer(x, x) if isinstance(layer, nn.Bilinear) else layer(x)


@over_axes
@over_layers
def test_values_stay_and_gradients_are_pytorchs(name, dim):
    torch = pytest.importorskip("torch")
    make, shape = LAYERS[name]
    layer, x = make(), np.random.standard_normal(shape)
    plain = call(layer, ln.tensor(x)).numpy()
    bias = layer.bias.numpy()
    theirs = getattr(torch.nn, name)(*layer.weight.shape[1::-1], *layer.weight.shape[2:3])\
        if name.startswith("Conv") else torch.nn.Linear(3, 2) if name == "Linear" else \
        torch.nn.Bilinear(3, 3, 2)  # fmt: skip
    theirs = theirs.double()
    theirs.load_state_dict({"weight": torch.tensor(layer.weight.numpy()), "bias":
                            torch.tensor(bias)})  # fmt: skip
    with pytest.warns(FutureWarning):
        torch.nn.utils.weight_norm(theirs, dim=dim)
    assert nn.utils.weight_norm(layer, dim=dim) is layer
    given = torch.tensor(x)[None]
    want = theirs(given, given) if name == "Bilinear" else theirs(given)
    y = call(layer, ln.tensor(x))
    np.testing.assert_allclose(y.numpy(), plain, rtol=1e-12)
    np.testing.assert_allclose(y.numpy(), want[0].detach().numpy(), rtol=1e-12)
    (y * y).sum().backward()
    (want * want).sum().backward()
    for key in ("weight_g", "weight_v", "bias"):
        mine, other = getattr(layer, key), getattr(theirs, key)
        assert tuple(mine.shape) == tuple(other.shape)
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_examples_share_one_weight_and_batch():
    layer = nn.utils.weight_norm(nn.Linear(3, 2))
    with ln.profile() as seen:
        ys = [layer(ln.rand(3)) for _ in range(50)]
        ln.sum(ys).sum().backward()
    counts = {entry.name.split()[0]: (entry.nodes, entry.batches)
              for entry in seen.signatures.values()}  # fmt: skip
    assert counts["linear"] == (50, 1) and counts["div"] == (1, 1)


def test_training_moves_direction_and_length():
    ln.manual_seed(0)  # from other initial values the length may end negative
    layer = nn.utils.weight_norm(nn.Linear(3, 1, bias=False).double())
    optimizer = ln.optim.SGD(layer.parameters(), lr=0.05)
    rows, want = np.random.standard_normal((20, 3)), np.array([1.0, -2.0, 0.5])
    for _ in range(300):
        loss = ln.sum([(layer(ln.tensor(x)) - float(x @ want)).square().sum() for x in rows]) / 20
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(layer.weight.numpy()[0], want, atol=1e-3)
    np.testing.assert_allclose(layer.weight_g.numpy()[0, 0], np.linalg.norm(want), atol=1e-3)


def test_the_weight_is_that_of_now():
    layer = nn.utils.weight_norm(nn.Linear(2, 2, bias=False).double())
    x, plain = ln.tensor(np.array([1.0, 2.0])), layer.weight.numpy()
    first = layer(x)
    layer.weight_g.copy_(2.0 * layer.weight_g.numpy())
    np.testing.assert_allclose(first.numpy(), plain @ [1.0, 2.0])
    np.testing.assert_allclose(layer(x).numpy(), 2.0 * plain @ [1.0, 2.0])
    with ln.no_grad():
        silent = layer(x)
    layer(x).sum().backward()
    assert not silent.requires_grad
    once = layer.weight_v.grad.numpy()
    layer(x).sum().backward()
    np.testing.assert_allclose(layer.weight_v.grad.numpy(), 2.0 * once, rtol=1e-6)


def test_it_is_copied_saved_and_undone():
    layer = nn.utils.weight_norm(nn.Linear(3, 2))
    x = ln.rand(3)
    want = layer(x).numpy()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other(x).numpy(), want)
    fresh = nn.utils.weight_norm(nn.Linear(3, 2))
    fresh.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(fresh(x).numpy(), want)
    nn.utils.remove_weight_norm(layer)
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(layer(x).numpy(), want, rtol=1e-6)


def test_in_a_cell_it_is_computed_as_well():
    layer = nn.utils.weight_norm(nn.Linear(3, 3))
    cell = ln.cell(lambda x: ln.tanh(layer(x)))
    x = ln.rand(3)
    np.testing.assert_allclose(cell(x).numpy(), ln.tanh(layer(x)).numpy(), rtol=1e-5)


def test_what_cannot_be_normalised_is_refused():
    with pytest.raises(ValueError, match="no parameter 'weights'"):
        nn.utils.weight_norm(nn.Linear(3, 2), "weights")
    with pytest.raises(ValueError, match="LSTM runs as a scan"):
        nn.utils.weight_norm(nn.LSTM(3, 2), "weight_hh_l0")
    with pytest.raises(ValueError, match="no axis 2"):
        nn.utils.weight_norm(nn.Linear(3, 2), dim=2)
    with pytest.raises(ValueError, match="not normalised"):
        nn.utils.remove_weight_norm(nn.Linear(3, 2))
    with pytest.raises(AttributeError, match="Linear has no attribute 'wait'"):
        nn.Linear(3, 2).wait
