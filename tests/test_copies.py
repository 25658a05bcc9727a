"""Copies and pickles of values and devices: what comes back is used like what was given."""

import copy
import pickle

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn
from lazynet.device import CPU

WAYS = [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
both = pytest.mark.parametrize("copied", WAYS, ids=["deepcopy", "pickle"])
VALUES = {
    "numbers": lambda: ln.tensor([1.0, -2.0]),
    "float64": lambda: ln.tensor(np.arange(6.0).reshape(2, 3)),
    "scalar": lambda: ln.tensor(3.0),
    "integers": lambda: ln.tensor([1, 2]),
    "truth": lambda: ln.tensor([True, False]),
    "nothing": lambda: ln.tensor(np.zeros((0, 2), "float32")),
    "rows": lambda: ln.sequence(ln.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])),
    "no rows": lambda: ln.sequence(ln.tensor(np.zeros((0, 2), "float32"))),
    "backwards": lambda: ln.sequence(ln.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))[::-1],
    "numbers as rows": lambda: ln.sequence(ln.tensor([1.0, 2.0, 3.0])),
}


@both
@pytest.mark.parametrize("made", VALUES.values(), ids=VALUES)
def test_a_leaf_comes_back_as_it_was_and_can_be_used(made, copied):
    value = made()
    again = copied(value)
    assert type(again) is type(value) and again.is_leaf
    assert (again.shape, again.dtype) == (value.shape, value.dtype)
    np.testing.assert_array_equal(again.numpy(), value.numpy())
    both_used = ln.where(again == value, again, again)
    np.testing.assert_array_equal(both_used.numpy(), value.numpy())


@both
def test_whether_a_gradient_is_wanted_comes_back(copied):
    x = ln.tensor([1.0, 2.0], requires_grad=True)
    again = copied(x)
    assert again.requires_grad and not copied(ln.tensor([1.0])).requires_grad
    (again * again).sum().backward()
    assert again.grad.tolist() == [2.0, 4.0] and x.grad is None


@both
def test_a_gradient_reaches_the_rows_of_a_copied_sequence(copied):
    rows = copied(ln.sequence(ln.tensor([[1.0], [2.0]], requires_grad=True)))
    assert rows.requires_grad
    assert ln.gradients(ln.sum(rows * rows), [rows])[0].tolist() == [[2.0], [4.0]]


@both
def test_a_module_with_buffers_computes_what_it_did(copied):
    norm = nn.BatchNorm1d(2)
    norm(ln.sequence(ln.tensor([[1.0, 5.0], [3.0, -5.0]]))).numpy()
    norm.eval()
    x = ln.ones(2, length=3)
    np.testing.assert_array_equal(copied(norm)(x).numpy(), norm(x).numpy())


def test_a_shallow_copy_of_a_value_is_the_value_and_of_a_parameter_a_new_one():
    computed, p = ln.ones(2) * 2.0, ln.Parameter([1.0])
    assert copy.copy(computed) is computed
    other = copy.copy(p)
    other.copy_([2.0])
    assert p.item() == 1.0


@both
def test_there_is_one_device_of_a_name(copied):
    assert copied(CPU) is CPU


def test_a_shallow_copy_of_a_network_may_get_other_weights():
    network, x = nn.GRU(2, 3, bidirectional=True), ln.rand(2, length=4)
    before = network(x).tolist()
    other = copy.copy(network)
    other.weight_ih_l0 = ln.Parameter(other.weight_ih_l0.numpy() * 2)
    assert other(x).tolist() != before and network(x).tolist() == before
