"""What others do beside or before it does not reach a value that has nothing to do with them."""

import threading

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn, optim
from lazynet.graph import Graph

X = ln.tensor([1.0, -2.0])


def test_a_step_of_one_model_does_not_hinder_the_backward_of_another():
    actor, critic = nn.Linear(2, 2), nn.Linear(2, 2)
    first, second = actor(X).sum(), critic(X).sum()
    first.backward()
    optim.SGD(actor.parameters(), lr=0.1).step()
    second.backward()
    np.testing.assert_array_equal(critic.bias.grad.numpy(), [1.0, 1.0])
    again = critic(X).sum()
    again.numpy()
    actor.weight.copy_(np.zeros((2, 2)))
    (gradient,) = ln.gradients(again, [critic.weight])
    np.testing.assert_array_equal(gradient.numpy(), [[1.0, -2.0]] * 2)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("way", ["layer", "product", "cell"])
def test_a_parameter_that_changed_refuses_the_backward_of_what_reads_it(way, frozen):
    x = ln.tensor([1.0, 2.0], requires_grad=True)
    weight = ln.Parameter([[3.0, 4.0], [5.0, 6.0]], requires_grad=not frozen)
    ways = {
        "layer": lambda: ln.linear(x, weight),
        "product": lambda: x * weight[0],
        "cell": lambda: ln.cell(_scaled)(x, weight),
    }
    y = ways[way]().sum()
    y.numpy()
    weight.copy_(np.ones((2, 2)))
    with pytest.raises(RuntimeError, match="has been modified since"):
        y.backward()


def _scaled(x, weight):
    return ln.tanh(weight @ x)


def test_a_thread_with_the_identifier_of_one_that_ended_begins_anew():
    weight, made, kept = ln.Parameter([1.0, 2.0]), [], []

    def record(value, mode):
        weight.copy_(value)
        with mode:
            y = weight * 2.0
            made.append((y.numpy().tolist(), y.requires_grad, threading.get_ident()))
            kept.append(y + 1.0)  # stays pending

    for k in range(8):
        mode = ln.no_grad() if k % 2 else ln.enable_grad()
        thread = threading.Thread(target=record, args=([float(k), 1.0], mode))
        thread.start()
        thread.join()
    expected = [([2.0 * k, 2.0], k % 2 == 0) for k in range(8)]
    assert [(value, wants) for value, wants, _ in made] == expected
    with pytest.raises(RuntimeError, match="the thread that recorded it has ended"):
        kept[0].numpy()


def test_a_weight_of_parameters_that_were_replaced_is_made_anew():
    layer = nn.utils.weight_norm(nn.Linear(2, 2, bias=False))
    before = layer(X)
    layer.weight_v = ln.Parameter(np.eye(2, dtype=np.float32))
    layer.weight_g = ln.Parameter([[2.0], [2.0]])
    np.testing.assert_allclose(layer(X).numpy(), [2.0, -4.0], rtol=1e-6)
    assert before.shape == (2,)


def test_a_generator_goes_on_in_its_mode():
    x = ln.Parameter([1.0, 2.0])

    @ln.no_grad()
    def values(count):
        for k in range(count):
            scale = yield x * float(k)
            assert not ln.is_grad_enabled()
            assert scale in (None, 3)
        return "done"

    assert [y.requires_grad for y in values(3)] == [False] * 3
    made = values(2)
    next(made)
    assert ln.is_grad_enabled() and made.send(3).requires_grad is False
    with pytest.raises(StopIteration, match="done"):
        next(made)
    thrown = values(1)
    next(thrown)
    with pytest.raises(KeyError):
        thrown.throw(KeyError("x"))
    assert ln.is_grad_enabled()


@pytest.mark.parametrize("rows", [False, True])
def test_a_value_is_read_in_another_thread_while_its_graph_shrinks(monkeypatch, rows):
    """Of a loss that backward began at, all else goes at the next backward, and its row moves."""
    layer, read, shrink = nn.Linear(2, 2), [], Graph.shrink

    def shrink_while_read(graph, *arguments):
        shrink(graph, *arguments)
        reader = threading.Thread(target=lambda: read.append(first.numpy()))
        reader.start()
        reader.join(0.2)  # what does not wait for the end is done by then
        readers.append(reader)

    def one():
        y = layer(ln.sequence([X, X + 1.0]) if rows else X)
        y.backward(np.ones(y.shape))
        return y

    readers: list[threading.Thread] = []
    first = one()
    expected = first.numpy()
    monkeypatch.setattr(Graph, "shrink", shrink_while_read)
    one()
    assert readers
    for reader in readers:
        reader.join()
    np.testing.assert_array_equal(read, [expected] * len(readers))
