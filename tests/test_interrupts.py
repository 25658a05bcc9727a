"""Ctrl-C, at any moment of a step: one KeyboardInterrupt, and everything stays usable."""

import itertools
import random
import signal
import sys
import time

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signal.setitimer"),
    # What is raised in a finalizer, Python prints and drops.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SENTENCES = [[k % 7, (3 * k + 1) % 7, k % 5][: 1 + k % 3] for k in range(12)]


class Reader(nn.Module):
    def __init__(self):
        self.embed = nn.Embedding(7, 6)
        self.rnn = nn.LSTM(6, 6, bidirectional=True)
        self.out = nn.Linear(12, 4)
        self.join = nn.TreeLSTMCell(6, 6)

    def forward(self, words):
        return self.out(self.rnn(self.embed(words)))

    def tree(self, words):
        if len(words) == 1:
            return self.join(self.embed(words[0]))
        return self.join(None, [self.tree(words[:1]), self.tree(words[1:])])


def backward(model):
    """A step with loops over rows and trees: the loss, and all gradients."""
    losses = [ln.cross_entropy(model(s), [0] * len(s)) for s in SENTENCES]
    losses += [ln.sum(model.tree(s)[0]) for s in SENTENCES]
    return gradients(model, losses)


def in_step(model):
    """Programs that look at their values, and the backward through them."""

    def program(words):
        rows = model(words)
        return ln.cross_entropy(rows * 2.0 if rows[0][0] > 0 else rows, [0] * len(words))

    return gradients(model, ln.map(program, SENTENCES))


def gradients(model, losses):
    model.zero_grad()
    loss = ln.mean(losses)
    loss.backward()
    used = [p for p in model.parameters() if p.grad is not None]
    return [loss.numpy(), *(p.grad.numpy() for p in used)]


@pytest.mark.parametrize("step", [backward, in_step])
def test_a_step_may_be_interrupted_anywhere(step):
    model, generator = Reader(), random.Random(0)
    step(model)
    start = time.perf_counter()
    wanted = step(model)
    span = time.perf_counter() - start
    interrupted = 0
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        while interrupted < 50:
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + generator.random() * span)
                step(model)
                signal.setitimer(signal.ITIMER_REAL, 0)
                span *= 0.9  # it was too late: sooner next time
            except KeyboardInterrupt:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            for found, value in zip(step(model), wanted, strict=True):
                np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-6)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupted(function, number):
    """Press Ctrl-C at the call of that number, where Python looks for it; whether there is one."""
    calls = itertools.count()

    def look(frame, event, argument):
        if event in ("call", "c_return") and next(calls) == number:
            raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        function()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(before)
    return next(calls) > number


@pytest.mark.parametrize("count", [3, 300])  # and more than a graph has room for at first
def test_a_forward_may_be_interrupted_at_any_call(count):
    x, rows = ln.Parameter(np.linspace(-1.0, 1.0, 5)), np.linspace(-1.0, 2.0, count)[:, None]
    wanted = np.tanh(rows * x.numpy())
    slopes = (2 * wanted * (1 - wanted**2) * rows).sum(0)
    for number in itertools.count():
        y = ln.tanh(ln.sequence(rows) * x)
        there = interrupted(y.numpy, number)
        assert len(y.graph.place) == len(y.graph.head) == len(y.graph.consumed)
        x.zero_grad()
        (y * y).sum(0).sum().backward()  # in the same graph, if that is as it was
        np.testing.assert_allclose(y.numpy(), wanted)
        np.testing.assert_allclose(x.grad.numpy(), slopes, atol=1e-12)
        if not there:
            break
    assert number > 50


def test_a_backward_may_be_interrupted_at_any_call():
    x, weight = ln.tensor(np.ones(4)), ln.Parameter(np.arange(12.0).reshape(3, 4) / 9)
    wanted = 1 - np.tanh(weight.numpy() @ x.numpy())[:, None] ** 2 * np.ones(4)
    y = ln.tanh(weight @ x).sum()
    for number in itertools.count():
        weight.zero_grad()
        there = interrupted(y.backward, number)
        if weight.grad is None or not weight.grad.numpy().any():
            y.backward()
        np.testing.assert_allclose(weight.grad.numpy(), wanted)
        y = ln.tanh(weight @ x).sum()  # in the same graph, if that goes on
        if not there:
            break
    assert number > 100


def test_gradients_as_values_may_be_interrupted_at_any_call():
    x, weight = ln.tensor(np.ones(4)), ln.Parameter(np.arange(12.0).reshape(3, 4) / 9)
    wanted = 1 - np.tanh(weight.numpy() @ x.numpy())[:, None] ** 2 * np.ones(4)
    for number in itertools.count():
        y = ln.tanh(weight @ x).sum()  # in the same graph, if that goes on
        there = interrupted(lambda y=y: ln.gradients(y, [weight]), number)
        (slope,) = ln.gradients(y, [weight])
        np.testing.assert_allclose(slope.numpy(), wanted)
        if not there:
            break
    assert number > 100
