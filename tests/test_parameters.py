"""Lists and dicts of parameters: found, saved, changed, and read by cells."""

import copy

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn


class Layers(nn.Module):
    """Scales and matrices that are held by position and by name."""

    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList([ln.Parameter(np.full((2, 2), k + 1.0)) for k in range(2)])
        self.scales = nn.ParameterDict({"in": ln.Parameter(np.ones(2)), "out": ln.ones(2) * 3.0})

    def forward(self, x):
        x = x * self.scales["in"]
        for weight in self.weights:
            x = x @ weight
        return x * self.scales["out"]


class Celled(Layers):
    forward = ln.cell(Layers.forward)


NAMES = ["weights.0", "weights.1", "scales.in", "scales.out"]


@pytest.mark.parametrize("kind", [Layers, Celled])
class TestInAModel:
    def test_they_are_found_and_get_gradients(self, kind):
        model = kind().double()
        assert [name for name, _ in model.named_parameters()] == NAMES
        model(ln.tensor(np.ones(2))).sum().backward()
        assert all(p.grad is not None and p.grad.numpy().any() for p in model.parameters())

    def test_a_changed_one_is_noticed(self, kind):
        model, x = kind().double(), ln.tensor(np.ones(2))
        assert model(x).tolist() == [24.0 * 1, 24.0 * 1]
        model.scales["out"] = ln.Parameter(np.full(2, 6.0))
        assert model(x).tolist() == [48.0, 48.0]
        model.weights[0] = ln.Parameter(np.zeros((2, 2)))
        assert model(x).tolist() == [0.0, 0.0]
        del model.weights[0]
        assert model(x).tolist() == [24.0, 24.0]

    def test_states_are_saved_and_loaded(self, kind):
        model, other = kind(), copy.deepcopy(kind())
        for p in model.parameters():
            p.copy_(np.random.rand(*p.shape))
        other.load_state_dict(model.state_dict())
        x = ln.ones(2)
        np.testing.assert_allclose(
            other.double()(x.astype("float64")).numpy(),
            model.double()(x.astype("float64")).numpy(),
        )


def test_names_are_pytorchs():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.ParameterList([torch.ones(2), torch.zeros(3)])
    ours = nn.ParameterList([ln.ones(2), ln.zeros(3)])
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["0", "1"]
    ours.load_state_dict(theirs.state_dict())
    theirs = torch.nn.ParameterDict({"b": torch.ones(2), "a": torch.zeros(3)})
    ours = nn.ParameterDict({"b": ln.ones(2), "a": ln.zeros(3)})
    assert set(ours.state_dict()) == set(theirs.state_dict()) == {"a", "b"}  # which it sorts


def test_they_are_lists_and_dicts():
    a, b, c = (ln.Parameter(np.full(2, float(k))) for k in range(3))
    held = nn.ParameterList([a]).append(b).extend([c])
    assert len(held) == 3 and held[1] is b and list(held[1:]) == [b, c]
    assert isinstance(held[1:], nn.ParameterList)
    named = nn.ParameterDict({"a": a})
    named.update({"b": b})
    assert list(named.keys()) == ["a", "b"] and "b" in named and named["b"] is b
    assert repr(named) == "ParameterDict(\n  (a): float64 of (2,)\n  (b): float64 of (2,)\n)"
    assert repr(nn.ParameterList()) == "ParameterList()"


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: nn.ParameterList([1.0]), TypeError, "ParameterList holds parameters, not float"),
        (lambda: nn.ParameterList([nn.ReLU()]), TypeError, "ParameterList holds parameters, not"),
        (lambda: nn.ParameterDict({"a": None}), TypeError, "ParameterDict holds parameters, not"),
        (lambda: nn.ParameterDict({"a.b": ln.ones(2)}), KeyError, "ParameterDict: a name is"),
        (lambda: nn.ModuleList([ln.Parameter([1.0])]), TypeError, "ModuleList holds modules, not"),
    ],
)
def test_mistakes_are_told(call, error, told):
    with pytest.raises(error, match=told):
        call()
