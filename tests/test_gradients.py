"""`ln.gradients`: cotangents as values, through cells and with respect to any value."""

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn


@ln.cell
def cube(x):
    return x * x * x


@ln.cell
def pair(x, y):
    return (x * y).tanh(), x * x + y


def chain(x, y):
    for _ in range(3):
        x, y = pair(x, y)
    return x * y


@ln.cell
def joined(x, y):
    return ln.cat([x, y]).tanh()


FUNCTIONS = {
    "a cotangent that depends on the argument": (lambda x, y: cube(x) * cube(x) + y, 2),
    "outputs that meet again": (lambda x, y: pair(*pair(x, y))[1] * pair(*pair(x, y))[0], 2),
    "a chain": (chain, 2),
    "parts of a cotangent": (lambda x, y: joined(x * y, x)[::2] * joined(y, x * x)[1::2], 2),
    "one value for two arguments": (lambda x, y: pair(x * y, x * y)[0], 2),
    "elements": (lambda x, y: pair((x * y)[0], (x + y)[1])[0], 2),
    "views": (lambda x, y: pair(*(ln.cat([x, y]) * 2.0).chunk(2))[0], 2),
    "rows": (lambda x, y: pair(ln.sequence([x, y, x * y]), y)[1], 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_first_and_second_derivatives_through_cells(name):
    function, order = FUNCTIONS[name]
    arguments = np.random.standard_normal((2, 3)) * 0.5
    ln.check_grads(function, list(arguments), order=order)


def test_going_back_through_a_long_chain_of_cells_takes_time_in_its_length():
    """Were all that lies behind gone through for each cell, 2^30 cells would be."""
    x = ln.tensor(np.full(2, 0.5), requires_grad=True)
    y = x
    for _ in range(30):
        y, _ = pair(y, x)
    (g,) = ln.gradients(ln.sum(y), [x])
    (second,) = ln.gradients(ln.sum(g), [x])
    assert g.shape == second.shape == (2,)
    assert second.graph.values < 30 * 200


def test_trees_have_second_derivatives():
    ln.manual_seed(0)
    cell = nn.TreeLSTMCell(3, 2).double()

    def tree(x, y):
        inner = cell(None, [cell(x), cell(y)])
        return cell(None, [inner, cell(x * y)])[0]

    ln.check_grads(tree, list(np.random.standard_normal((2, 3))), order=2)


def test_gradients_with_respect_to_each_output_of_a_cell():
    x = ln.tensor(np.ones(3), requires_grad=True)
    h, c = pair(x, x * 2.0)
    gh, gc = ln.gradients(ln.sum(h * 3.0 + c * 5.0), [h, c])
    assert (gh.tolist(), gc.tolist()) == ([3.0] * 3, [5.0] * 3)


def test_gradients_with_respect_to_parts_of_a_value():
    z = ln.tensor(np.ones(4), requires_grad=True) * 1.0
    element, view = z[1], z.chunk(2)[1]
    by_element, by_view = ln.gradients(ln.sum(view * 7.0) + element * 5.0, [element, view])
    assert (by_element.tolist(), by_view.tolist()) == (5.0, [7.0, 7.0])


def test_one_segment_recorded_as_a_sequence_has_its_derivative():
    x = np.array([[1.0, 2.0, 3.0], [4.0, -1.0, 3.5]])
    slope = ln.grad(lambda s: ln.sum(ln.segment_max(ln.sequence(s), [0, 0], 1)))(x)
    np.testing.assert_array_equal(slope.numpy(), [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
