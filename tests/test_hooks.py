"""Hooks of gradients and of modules: what they see, what they change, and that all else batches."""

import gc
import pickle
import weakref

import numpy as np
import pytest
from test_ops import observed

import lazynet as ln
from lazynet import nn
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


# -- of values -------------------------------------------------------------------------------------


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


# -- gradients that are recorded by backward -------------------------------------------------------


def test_create_graph_gives_gradients_that_can_be_differentiated():
    x = ln.Parameter(A)
    (x * x * x).sum().backward(create_graph=True)
    slope = x.grad
    np.testing.assert_allclose(slope.numpy(), 3 * A**2)
    x.zero_grad()
    slope.square().sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 36 * A**3)


def test_create_graph_adds_up_as_in_pytorch():
    torch = pytest.importorskip("torch")

    def penalty(x, w):
        ((x * w).tanh() * x).sum().backward(create_graph=True)
        ((x * x * w).sum() + (w.grad * w.grad).sum()).backward()
        return [v.grad.numpy() if isinstance(v, ln.Tensor) else v.grad.detach().numpy()
                for v in (x, w)]  # fmt: skip

    ours = penalty(leaf(A), ln.Parameter(B))
    with pytest.warns(UserWarning, match="create_graph"):
        theirs = penalty(*(torch.tensor(a, requires_grad=True) for a in (A, B)))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_create_graph_goes_through_cells_scans_and_attention():
    layers = (
        nn.LSTM(3, 4).double(),
        nn.MultiheadAttention(4, 2).double(),
        nn.LSTMCell(4, 4).double(),
    )
    x = leaf(np.random.randn(5, 3))

    def penalty():
        rows = layers[0](ln.sequence(x))
        rows = layers[1](rows, rows, rows)[0]
        h, c = layers[2](rows[-1], (rows[0], rows[1]))
        (h * c).sum().backward(create_graph=True)
        return x.grad.square().sum()

    total = penalty()
    first = x.grad.numpy()
    total.backward()
    found, step, d = x.grad.numpy() - first, 1e-5, np.random.randn(5, 3)
    values = []
    for sign in (1, -1):
        x = leaf(x.numpy() + sign * step * d)
        values.append(penalty().item())
        x = leaf(x.numpy() - sign * step * d)
    np.testing.assert_allclose(np.vdot(found, d), (values[0] - values[1]) / (2 * step), rtol=1e-5)


def test_create_graph_keeps_what_retain_grad_asked_for():
    x = leaf()
    y = x * 2.0
    y.retain_grad()
    y.square().sum().backward(create_graph=True)
    np.testing.assert_allclose(y.grad.numpy(), 4 * A)
    (bend,) = ln.gradients(y.grad.sum(), [x])
    np.testing.assert_allclose(bend.numpy(), np.full(3, 4.0))


def test_clipping_gives_numbers():
    w = ln.Parameter(A)
    (w * w * w).sum().backward(create_graph=True)
    nn.utils.clip_grad_norm_(w, 1e-3)
    np.testing.assert_allclose(np.linalg.norm(w.grad.numpy()), 1e-3, rtol=1e-6)
    assert not w.grad.requires_grad


def test_create_graph_errors():
    with pytest.raises(RuntimeError, match="no leaf behind this value"):
        (ln.tensor(A) * 2.0).sum().backward(create_graph=True)
    with pytest.raises(ValueError, match="create_graph keeps the graph"):
        leaf().sum().backward(retain_graph=False, create_graph=True)


# -- of modules ------------------------------------------------------------------------------------


class Celled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3).double()

    @ln.cell
    def forward(self, x, y):
        return self.inner(x) * y, x + y


class Open(Celled):
    def forward(self, x, y):
        return self.inner(x) * y, x + y


kinds = pytest.mark.parametrize("kind", [Celled, Open])


@kinds
def test_forward_hooks_see_and_change_arguments_and_results(kind):
    module, told = kind(), []
    plain = module(ln.tensor(A), ln.tensor(B))[0].numpy()
    module.register_forward_pre_hook(lambda m, args: told.append(("pre", m, len(args))))
    module.register_forward_pre_hook(lambda m, args: (args[0], args[1] * 2.0))
    module.register_forward_hook(lambda m, args, y: told.append((args[1].numpy(), len(y))))
    module.register_forward_hook(lambda m, args, y: y[0])
    np.testing.assert_allclose(module(ln.tensor(A), ln.tensor(B)).numpy(), 2 * plain)
    assert told[0] == ("pre", module, 2)
    np.testing.assert_allclose(told[1][0], 2 * B)


def test_hooks_with_keywords_and_in_front():
    class Scaled(nn.Module):
        def forward(self, x, scale=1.0):
            return x * scale

    module, order = Scaled(), []
    change = lambda m, args, kwargs: (args, {"scale": 3.0})  # noqa: E731
    module.register_forward_pre_hook(change, with_kwargs=True)
    module.register_forward_hook(lambda m, args, y: order.append("last"))
    tell = lambda m, args, kwargs, y: order.append(kwargs["scale"])  # noqa: E731
    module.register_forward_hook(tell, prepend=True, with_kwargs=True)
    np.testing.assert_allclose(module(ln.tensor(A), scale=2.0).numpy(), 3 * A)
    assert order == [3.0, "last"]


def called(module, x, y, torch=None):
    """What a full backward hook saw, and the gradients of the inputs."""
    seen = []
    module.register_full_backward_hook(
        lambda m, inputs, outputs: seen.append((inputs, outputs)) or (inputs[0] * 2.0, inputs[1])
    )
    h = x * 1.0
    first, second = module(h, y)
    (first * second + first + h).sum().backward()
    return [g for pair in seen for part in pair for g in part], [x.grad, y.grad]


@kinds
def test_backward_hooks_are_those_of_pytorch(kind):
    torch = pytest.importorskip("torch")
    ours = kind()

    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(3, 3).double()

        def forward(self, x, y):
            return self.inner(x) * y, x + y

    theirs = Theirs()
    theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()})
    a = called(ours, leaf(A), leaf(B))
    b = called(theirs, *(torch.tensor(v, requires_grad=True) for v in (A, B)))
    for left, right in zip(a[0] + a[1], b[0] + b[1], strict=True):
        np.testing.assert_allclose(left.numpy(), right.numpy(), atol=1e-12)


@kinds
@both_ways
def test_backward_hooks_are_called_both_ways_with_the_same(kind, way):
    module, seen = kind(), []
    module.register_full_backward_pre_hook(lambda m, g: (g[0] * 3.0, g[1]))
    module.register_full_backward_hook(lambda m, a, b: seen.append([g.numpy() for g in (*a, *b)]))
    x = leaf()
    first, second = module(x, x * 2.0)
    found = WAYS[way]((first * second).sum(), x).numpy()
    weight, bias = module.inner.weight.numpy(), module.inner.bias.numpy()
    inner = weight @ A + bias
    g1, g2 = 3.0 * (3 * A), inner * 2 * A
    np.testing.assert_allclose(seen[0][2], g1)
    np.testing.assert_allclose(seen[0][3], g2)
    np.testing.assert_allclose(seen[0][0], (g1 * 2 * A) @ weight + g2)
    np.testing.assert_allclose(seen[0][1], g1 * inner + g2)
    np.testing.assert_allclose(found, seen[0][0] + 2 * seen[0][1])


def test_nested_results_have_backward_hooks():
    class Nested(nn.Module):
        def forward(self, x):
            return {"a": x * 2.0, "b": [x.square(), None]}

    module, seen, x = Nested(), [], leaf()
    module.register_full_backward_hook(lambda m, a, b: seen.append([g.numpy() for g in (*a, *b)]))
    made = module(x)
    assert made["b"][1] is None
    (made["a"] * 3.0 + made["b"][0]).sum().backward()
    np.testing.assert_allclose(seen[0], [6 + 2 * A, np.full(3, 3.0), np.ones(3)])


def test_inputs_of_different_lengths_are_seen_together():
    attention, seen = nn.MultiheadAttention(4, 2).double(), []
    attention.register_full_backward_hook(lambda m, a, b: seen.append([g.shape for g in a]))
    q, k = (ln.sequence(leaf(np.random.randn(n, 4))) * 1.0 for n in (2, 5))
    attention(q, k, k)[0].sum().backward()
    assert seen == [[(2, 4), (5, 4), (5, 4)]]


def test_inputs_that_want_no_gradient_are_none_and_the_hook_is_still_called():
    layer, seen = nn.Linear(3, 2), []
    layer.register_full_backward_hook(lambda m, a, b: seen.append((a, b[0].numpy())))
    layer(ln.tensor(A.astype(np.float32))).sum().backward()
    assert seen[0][0] == (None,)
    np.testing.assert_array_equal(seen[0][1], np.ones(2))


def test_a_cell_that_calls_a_module_with_hooks_calls_them_for_every_example():
    module, seen = Celled(), []
    plain = [module(ln.tensor(a), ln.tensor(B))[0].numpy() for a in (A, B)]
    with module.inner.register_forward_hook(lambda m, args, y: seen.append(args[0].numpy())):
        hooked = [module(ln.tensor(a), ln.tensor(B))[0].numpy() for a in (A, B)]
        rows = module(ln.sequence(np.stack([A, B])), ln.sequence(np.stack([B, B])))[0].numpy()
    np.testing.assert_allclose(hooked, plain)
    np.testing.assert_allclose(rows, plain)
    np.testing.assert_allclose(seen, [A, B, A, B])
    again = module(ln.tensor(A), ln.tensor(B))[0]
    np.testing.assert_allclose(again.numpy(), plain[0])
    assert len(seen) == 4


@pytest.mark.parametrize("hooked", ["module", "inner"])
def test_a_fold_calls_the_hooks_of_its_cell_for_every_node(hooked):
    class Node(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 3).double()

        @ln.cell
        def forward(self, x, below):
            return self.inner(x) + (ln.sum(below) if below else 0.0)

    node, seen, tree = Node(), [], [(), (), (0, 1)]
    x = np.random.randn(3, 3)
    plain = ln.fold(node, ln.sequence(x), tree).numpy()
    target = node if hooked == "module" else node.inner
    with target.register_forward_hook(lambda m, args, y: seen.append(args[0].numpy())):
        np.testing.assert_allclose(ln.fold(node, ln.sequence(x), tree).numpy(), plain)
    np.testing.assert_allclose(seen, x)
    np.testing.assert_allclose(ln.fold(node, ln.sequence(x), tree).numpy(), plain)
    assert len(seen) == 3


def test_a_module_with_hooks_cannot_be_part_of_a_scan():
    layer = nn.Linear(3, 3).double()

    def step(x, states):
        return ((layer(x) + states[0]).tanh(),)

    layer.register_forward_hook(lambda m, args, y: None)
    with pytest.raises(TypeError, match="Linear has hooks, which are called for every example"):
        ln.scan(step, (ln.tensor(A),), ln.sequence(np.stack([A, B])))


def test_modules_with_hooks_still_batch():
    layer = nn.Linear(3, 2)
    layer.register_full_backward_hook(lambda m, a, b: None)
    values = [layer(ln.tensor(np.ones(3, np.float32), requires_grad=True)) for _ in range(50)]
    with observed() as runs:
        ln.forward(values)
    assert [r.batches for r in runs] == [3]  # the copies of inputs, the layer, those of outputs


def test_a_module_without_hooks_is_pickled_as_before():
    layer = nn.Linear(3, 2)
    layer.register_forward_hook(print).remove()
    assert pickle.loads(pickle.dumps(layer))._hooks == ()
