"""Hooks of gradients: what they see, what they change, and that all else batches."""

import gc
import weakref

import numpy as np
import pytest

import lazynet as ln
from lazynet.batching.policies import NAMES

A, B = np.random.default_rng(3).standard_normal((2, 3))


def leaf(array=A):
    return ln.tensor(array, requires_grad=True)


WAYS = {
    "backward": lambda y, x: y.backward() or x.grad,
    "recorded": lambda y, x: y.backward(create_graph=True) or x.grad,
    "gradients": lambda y, x: ln.gradients(y, [x])[0],
}
both_ways = pytest.mark.parametrize("way", WAYS)


@both_ways
@pytest.mark.parametrize("policy", NAMES)
def test_a_hook_sees_the_whole_gradient_and_may_change_it(way, policy):
    with ln.batching(policy):
        x, seen = leaf(), []
        y = x * 2.0
        early = y.square().sum()
        y.register_hook(lambda g: seen.append(g.numpy()))
        y.register_hook(lambda g: g * 10.0)
        found = WAYS[way](early + (y * B).sum(), x)
    np.testing.assert_allclose(seen, [4 * A + B])
    np.testing.assert_allclose(found.numpy(), 20 * (4 * A + B))


@both_ways
def test_a_removed_hook_is_not_called(way):
    x = leaf()
    y = x * 2.0
    handle = y.register_hook(lambda g: g * 10.0)
    handle.remove()
    handle.remove()
    np.testing.assert_allclose(WAYS[way](y.sum(), x).numpy(), 2 * np.ones(3))


@both_ways
def test_the_hook_of_a_leaf_sees_each_backward_by_itself(way):
    x, seen = leaf(), []
    x.register_hook(lambda g: seen.append(g.numpy()) or g * 10.0)
    for times in (1, 2):
        found = WAYS[way]((x * x).sum(), x)
        np.testing.assert_allclose(found.numpy(), (1 if way == "gradients" else times) * 20 * A)
    np.testing.assert_allclose(seen, [2 * A, 2 * A])


@both_ways
def test_the_hook_of_a_parameter_sees_all_examples(way):
    w, seen = ln.Parameter(np.stack([A, B])), []
    w.register_hook(lambda g: seen.append(g.numpy()))
    loss = ln.sum([ln.linear(ln.tensor(x), w).sum() for x in (A, B)])
    WAYS[way](loss, w)
    np.testing.assert_allclose(seen, [[A + B, A + B]])


@both_ways
@pytest.mark.parametrize("part", [lambda y: y[1:3], lambda y: y.chunk(2)[1], lambda y: y[2]])
def test_the_hook_of_a_part_sees_the_uses_of_that_handle(way, part):
    x, seen = leaf(np.arange(4.0)), []
    y = x * 1.0
    p = part(y)
    p.register_hook(lambda g: seen.append(g.numpy()) or g * 0.0)
    found = WAYS[way](y.sum() + (p * 5.0).sum(), x)
    np.testing.assert_allclose(seen, [np.full(p.shape, 5.0)])
    np.testing.assert_allclose(found.numpy(), np.ones(4))


@both_ways
def test_the_hook_of_a_sequence_sees_its_rows(way):
    x, seen = leaf(np.stack([A, B])), []
    rows = ln.sequence(x) * 2.0
    rows.register_hook(lambda g: seen.append(g.numpy()) or g[::-1])
    found = WAYS[way](rows[0].sum() * 3.0, x)
    np.testing.assert_allclose(seen, [[np.full(3, 3.0), np.zeros(3)]])
    np.testing.assert_allclose(found.numpy(), [np.zeros(3), np.full(3, 6.0)])


@ln.cell
def halves(x):
    return (x * 2.0).tanh(), x.square()


@both_ways
def test_the_results_of_a_cell_and_the_states_of_a_scan_have_hooks_of_their_own(way):
    def step(x, states):
        return (states[0] + x * 1.0, states[1] * 2.0)

    x, seen = leaf(), {}
    first, second = halves(x)
    rows = ln.sequence([first, second])
    sums, powers = ln.scan(step, (x * 0.0, x * 1.0), rows)
    loss = (second * 3.0).sum() + (sums[1] * B).sum() + powers[0].sum()
    for name, value in {"first": first, "second": second, "sums": sums, "powers": powers}.items():
        value.register_hook(lambda g, name=name: seen.__setitem__(name, g.numpy()))
        value.retain_grad()
    WAYS[way](loss, x)
    want = {"first": B, "second": B + 3, "sums": [0 * B, B], "powers": [0 * B + 1, 0 * B]}
    for name, value in {"first": first, "second": second, "sums": sums, "powers": powers}.items():
        np.testing.assert_allclose(seen[name], want[name])
        if way != "gradients":
            np.testing.assert_allclose(value.grad.numpy(), want[name])


def test_gradients_are_kept_as_hooks_leave_them():
    x = leaf()
    y = x * 2.0
    y.retain_grad()
    y.register_hook(lambda g: g * 5.0)
    y.sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), np.full(3, 5.0))


def test_hooks_of_many_examples_stop_backward_once():
    seen = []

    def passes(hooked):
        from lazynet import backward

        found = []
        backward.observers.append(found.append)
        w = ln.Parameter(np.eye(3))
        values = [ln.linear(ln.tensor(np.random.randn(3)), w) for _ in range(50)]
        for y in values if hooked else []:
            y.register_hook(lambda g: seen.append(g.shape))
        ln.sum([y.tanh().sum() for y in values]).backward()
        backward.observers.remove(found.append)
        return found[0].batches, found[0].calls

    assert passes(True) == passes(False)
    assert seen == [(3,)] * 50


def test_the_gradient_of_one_use_is_that_of_a_clone():
    x = leaf()
    first, second = x.clone(), x.clone()
    first.retain_grad()
    second.retain_grad()
    ((first * 3.0).sum() + second.square().sum()).backward()
    np.testing.assert_allclose(first.grad.numpy(), np.full(3, 3.0))
    np.testing.assert_allclose(second.grad.numpy(), 2 * A)
    np.testing.assert_allclose(x.grad.numpy(), 3 + 2 * A)


def test_an_error_in_a_hook_is_raised_and_changes_no_gradient():
    w, x = ln.Parameter(np.eye(3)), leaf()
    ln.linear(x, w).sum().backward()
    before = w.grad.numpy(), x.grad.numpy()

    def fail(g):
        raise ZeroDivisionError("mine")

    h = x * 2.0
    y = ln.linear(h, w)
    handle = h.register_hook(fail)
    loss = y.sum()
    with pytest.raises(ZeroDivisionError, match="mine"):
        loss.backward()
    np.testing.assert_array_equal(w.grad.numpy(), before[0])
    np.testing.assert_array_equal(x.grad.numpy(), before[1])
    handle.remove()
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), before[1] + 2.0)


def test_a_hook_of_a_leaf_that_fails_changes_no_gradient():
    w, x = ln.Parameter(np.eye(3)), leaf()
    handle = w.register_hook(lambda g: np.ones(2))
    with pytest.raises(ValueError, match=r"shape \(2,\) for one of \(3, 3\)"):
        ln.linear(x, w).sum().backward(retain_graph=True)
    assert w.grad is None and x.grad is None
    handle.remove()


def test_hooks_and_retained_gradients_are_for_values_that_want_one():
    for name in ("register_hook", "retain_grad"):
        for value in (ln.tensor(A), ln.tensor(A) * 2.0, leaf().detach()):
            with pytest.raises(RuntimeError, match=f"{name}: no gradient leads to this value"):
                getattr(value, name)(*([print] if name == "register_hook" else []))


def test_a_hook_does_not_keep_a_graph():
    x = leaf()
    y = x * 2.0
    y.register_hook(lambda g: None)
    graph = weakref.ref(y.graph)
    gc.disable()
    try:
        del y
        assert graph() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("factor", [None, 10.0], ids=["plain leaf", "hooked leaf"])
@pytest.mark.parametrize("policy", NAMES)
def test_a_hook_may_run_another_backward_through_the_same_graph(policy, factor):
    with ln.batching(policy):
        x, seen = leaf(), []
        if factor is not None:
            x.register_hook(lambda g: seen.append(g.numpy()) or g * factor)
        x.sum().backward()
        side = (x * 5.0).sum()
        a = x * 2.0
        b = a.square()
        a.register_hook(lambda g: seen.append(g.numpy()))
        b.register_hook(lambda g: side.backward())
        (b * 3.0).sum().backward()
    scale = factor or 1.0
    np.testing.assert_allclose(x.grad.numpy(), scale * (1.0 + 5.0 + 24.0 * A))
    of_leaf = [np.ones(3), np.full(3, 5.0), 24.0 * A]
    expected = [*of_leaf[:2], 12.0 * A, of_leaf[2]] if factor else [12.0 * A]
    np.testing.assert_allclose(np.array(seen), np.array(expected))
