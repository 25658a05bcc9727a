"""Parameters outlive their modules as long as something needs them, and no longer."""

import gc
import weakref

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn

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


def test_parameters_go_when_what_was_recorded_with_them_does():
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


def test_a_graph_without_pending_nodes_keeps_nothing():
    earlier = nn.Linear(2, 2)(ln.tensor([1.0, 2.0]))
    earlier.numpy()
    kept = len(earlier.graph._held)
    module = nn.Linear(2, 2)
    del module
    gc.collect()
    assert len(earlier.graph._held) == kept
