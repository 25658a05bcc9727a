"""A backward that is interrupted, or fails, leaves every gradient as it was."""

import gc
import signal

import numpy as np
import pytest

import lazynet as ln
from lazynet import backward, executor
from lazynet.arena import POOL


class Shaky(ln.Function):
    """y = x, which may do something on its way back."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def forward(self, x):
        return x.copy()

    def backward(self, g, y, x):
        self.act()
        return (g,)


def press():
    signal.raise_signal(signal.SIGINT)


def fail():
    raise ZeroDivisionError("mine")


@pytest.fixture
def leaves():
    """One without a gradient, and one that has one."""
    fresh, old = ln.Parameter(np.ones((2, 3))), ln.tensor(np.ones(3), requires_grad=True)
    (old * 5.0).sum().backward()
    return fresh, old


def loss_of(leaves, between=lambda h: h):
    w, x = leaves
    return ln.linear(between(x * 2.0), w).sum()


def unchanged(leaves):
    fresh, old = leaves
    return fresh.grad is None and old.grad.tolist() == [5.0] * 3


@pytest.mark.parametrize("create_graph", [False, True])
def test_ctrl_c_while_gradients_are_added_waits_for_the_last(leaves, monkeypatch, create_graph):
    before = signal.getsignal(signal.SIGINT)
    home, name = (ln.leaf.Leaf, "want_gradient") if create_graph else (executor, "backward")
    run = getattr(home, name)

    def pressed(*arguments):
        press()
        return run(*arguments)

    loss = loss_of(leaves)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(home, name, pressed)
        loss.backward(create_graph=create_graph)
    assert signal.getsignal(signal.SIGINT) is before
    fresh, old = leaves
    assert fresh.grad.tolist() == [[2.0] * 3] * 2
    assert old.grad.tolist() == [9.0] * 3
    if not create_graph:
        with pytest.raises(RuntimeError, match="a second time"):
            loss.backward()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_fails_before_gradients_are_added_leaves_them(leaves, monkeypatch, error):
    def broken(*arguments):
        raise error

    loss = loss_of(leaves)
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(executor, "backward", broken)
        loss.backward()
    assert unchanged(leaves)
    loss.backward()
    assert leaves[0].grad.tolist() == [[2.0] * 3] * 2


@pytest.mark.parametrize(("act", "error"), [(press, KeyboardInterrupt), (fail, ZeroDivisionError)])
@pytest.mark.parametrize("place", ["value", "leaf", "function"])
def test_users_code_that_fails_or_is_interrupted_leaves_them(leaves, place, act, error):
    w, x = leaves
    calm = []

    def acting(*gradient):
        if not calm:
            act()

    def between(h):
        if place == "function":
            return Shaky(acting)(h)
        (h if place == "value" else w).register_hook(acting)
        return h

    loss = loss_of(leaves, between)
    with pytest.raises(error):
        loss.backward()
    assert unchanged(leaves)
    calm.append(True)
    loss.backward()
    assert (w.grad.tolist(), x.grad.tolist()) == ([[2.0] * 3] * 2, [9.0] * 3)


def test_ctrl_c_while_gradients_are_set_aside_for_hooks_puts_them_back(monkeypatch):
    old = [ln.tensor(np.ones(3), requires_grad=True) for _ in range(2)]
    ln.sum([(x * 5.0).sum() for x in old]).backward()
    for x in old:
        x.register_hook(lambda g: None)
    clear, pressed = ln.leaf.Leaf.clear_gradient, []

    def pressing(x):
        clear(x)
        if not pressed:
            pressed.append(x)
            raise KeyboardInterrupt

    loss = ln.sum([(x * 2.0).sum() for x in old])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ln.leaf.Leaf, "clear_gradient", pressing)
        loss.backward()
    assert [x.grad.tolist() for x in old] == [[5.0] * 3] * 2


def test_a_hook_that_fails_while_gradients_are_recorded_leaves_them(leaves):
    w, x = leaves
    h = x * 2.0
    h.register_hook(lambda g: fail())
    with pytest.raises(ZeroDivisionError):
        ln.linear(h, w).sum().backward(create_graph=True)
    assert unchanged(leaves)


def test_a_later_backward_starts_at_0_after_one_that_failed(monkeypatch):
    w = ln.Parameter(np.ones(3))

    def half(plan, *arguments):
        w.graph.want_gradient()[...] = 7.0
        raise MemoryError

    loss = (w * 2.0).sum()
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(backward._Plan, "_go_through", half)
        w.zero_grad()
        loss.backward()
    assert w.grad is None
    loss.backward()
    assert w.grad.tolist() == [2.0] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("stage", ["lay_out", "lay_out_reverse"])
def test_what_is_not_laid_out_gives_its_memory_back(monkeypatch, stage, error):
    def broken(*arguments):
        raise error

    def step():
        rows = [ln.tensor(np.ones(3), requires_grad=True) * float(k) for k in range(5)]
        loss = ln.sum([ln.linear(x, weight).tanh().sum() for x in rows[::2] + rows[1::2]])
        loss.backward()

    def held():
        gc.collect()
        return POOL.held()

    weight = ln.Parameter(np.ones((3, 3)))
    for _ in range(2):
        step()
    before = held()
    with monkeypatch.context() as patch:
        patch.setattr(executor, stage, broken)
        try:
            step()
        except error as raised:
            message = str(raised)
    assert held() == before
    forward = stage == "lay_out" and error is MemoryError
    assert message.startswith("this forward needs" if forward else "")
