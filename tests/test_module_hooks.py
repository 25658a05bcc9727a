"""Hooks of modules: what they see, what they change, and that all else batches."""

import pickle

import numpy as np
import pytest
from test_hooks import WAYS, A, B, both_ways, leaf
from test_ops import observed

import lazynet as ln
from lazynet import nn


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
