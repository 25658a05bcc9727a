"""Ctrl-C, at any moment of a step: one KeyboardInterrupt, and everything stays usable."""

import random
import signal
import time

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signal.setitimer")
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


# What is raised in a finalizer, Python prints and drops.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
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
