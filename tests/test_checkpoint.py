"""Checkpoints: the values and gradients of the function, and memory for its results alone."""

import numpy as np
import pytest
from checks import leaf
from test_ops import observed

import lazynet as ln
from lazynet import nn
from lazynet.arena import POOL
from lazynet.batching.policies import NAMES
from lazynet.recording import end_recording

SIZE, DEPTH = 8, 12
WEIGHTS = [ln.Parameter(w) for w in np.random.default_rng(7).standard_normal((3, SIZE, SIZE)) / 3]
TABLE = ln.Parameter(np.random.default_rng(8).standard_normal((4 * SIZE, 2 * SIZE)) / 4)


def block(x):
    """Many values inside, one result."""
    for k in range(DEPTH):
        x = x + (ln.linear(x, WEIGHTS[k % 3]).tanh() * x.sigmoid())
    return x


def gated(x, states):
    (h,) = states
    i, f, g, o = (ln.linear(ln.cat([x, h]), TABLE)).chunk(4)
    return ((i.sigmoid() * g.tanh() + f.sigmoid() * h) * o.sigmoid(),)


def two(x, y):
    """Two results, one of which is read inside, and a view that is an argument."""
    first = (x.chunk(2)[1] * y).tanh()
    second = first.square() + ln.linear(x, WEIGHTS[0]).chunk(2)[0]
    return {"a": first, "b": (second, second.sum())}


def results(structure):
    from lazynet.nested import leaves_of

    return leaves_of(structure)


CALLS = {
    "tensors": (block, lambda f, x: [f(x[k] * 1.0) for k in range(5)]),
    "rows": (block, lambda f, x: [f(ln.sequence(x)[::-1]), f(x[0])]),
    "results": (two, lambda f, x: [f(x[k], x[k + 1][:4] * 2.0) for k in range(4)]),
    "views": (block, lambda f, x: [f(ln.cat([v, v]).chunk(2)[1]) for v in (x[0], x[1])]),
    "chains": (block, lambda f, x: [f(f(f(x[0]))), f(f(x[1]))]),
    "scans": (gated, lambda f, x: [
        ln.scan(f, (x[j],), ln.sequence(x)[j:])[0] for j in range(5)
    ]),
    "scans backward": (gated, lambda f, x: [ln.scan(f, (x[0],), ln.sequence(x)[::-1])[0][-1]]),
}  # fmt: skip


@pytest.mark.parametrize("policy", NAMES)
@pytest.mark.parametrize("name", CALLS)
def test_a_checkpoint_is_its_function_in_values_and_gradients(name, policy):
    function, call = CALLS[name]
    array, found = np.random.randn(5, SIZE), []
    for change in (ln.checkpoint, lambda f: f):
        x = ln.tensor(array, requires_grad=True)
        parameters = [*WEIGHTS, TABLE]
        for p in parameters:
            p.zero_grad()
        with ln.batching(policy):
            ys = [y for made in call(change(function), x) for y in results(made)]
            ln.sum([(y.square() * (k + 1.0)).sum() for k, y in enumerate(ys)]).backward()
        grads = [p.grad for p in parameters if p.grad is not None]
        found.append([v.numpy() for v in (*ys, x.grad, *grads)])
    assert len(found[0]) == len(found[1])
    for ours, plain in zip(*found, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-12)


def kept_bytes(function, examples=20, layers=6):
    """Bytes of rows that a graph keeps for backward, and of results of one call of the function."""
    end_recording()  # a graph of its own
    ys = [leaf(SIZE) for _ in range(examples)]
    for _ in range(layers):
        ys = [function(y) for y in ys]
    total = ln.sum([y.sum() for y in ys])
    total.numpy()
    return total.graph.arena.size(), examples * layers * SIZE * 8, total


def test_it_keeps_the_results_and_nothing_else():
    results_of_cell = kept_bytes(ln.cell(block))
    kept, wanted, _ = kept_bytes(ln.checkpoint(block))
    # Besides the results: the input's rows, the sums, and gaps of alignment.
    assert wanted <= kept <= 1.25 * wanted + 4096
    assert results_of_cell[0] >= DEPTH * kept
    assert kept_bytes(block)[0] >= DEPTH * kept


def taken_bytes(function, layers, monkeypatch):
    """The most memory that backward takes beside the rows: gradients, scratch, what it saves."""
    _, _, total = kept_bytes(function, layers=layers)
    live, most = [0], [0]
    take, give = POOL.take, POOL.give

    def counted(size):
        live[0] += size
        most[0] = max(most[0], live[0])
        buffer = take(size)
        sizes[id(buffer)] = size
        return buffer

    def returned(buffer):
        live[0] -= sizes.pop(id(buffer), 0)
        give(buffer)

    sizes: dict = {}
    with monkeypatch.context() as patch:
        patch.setattr(POOL, "take", counted)
        patch.setattr(POOL, "give", returned)
        total.backward()
    return most[0]


def test_backward_takes_the_inside_of_one_batch_whatever_the_number_of_batches(monkeypatch):
    few, many = (taken_bytes(ln.checkpoint(block), n, monkeypatch) for n in (2, 12))
    results_of_ten_layers = 10 * 20 * SIZE * 8
    assert many - few <= 1.5 * results_of_ten_layers  # the gradients of the results
    assert many < taken_bytes(ln.cell(block), 12, monkeypatch)


def test_a_scan_of_a_checkpoint_keeps_its_states_and_nothing_else():
    def kept(step):
        end_recording()
        x = ln.sequence(np.random.randn(50, SIZE))
        h = ln.scan(step, (leaf(SIZE),), x)[0][-1]
        h.numpy()
        return h.graph.arena.size()

    states = 50 * SIZE * 8
    assert states <= kept(ln.checkpoint(gated)) <= 1.25 * states + 4096
    assert kept(gated) >= 3 * kept(ln.checkpoint(gated))


def test_calls_batch_and_their_backward_does():
    block_of = ln.checkpoint(block)
    ys = [block_of(leaf(SIZE)) for _ in range(50)]
    with observed() as runs:
        ln.forward(ys)
    assert [r.batches for r in runs] == [1]


def test_second_derivatives_go_through_a_checkpoint():
    ln.check_grads(ln.checkpoint(lambda x: block(x * 1.0)), [np.random.randn(SIZE)], order=2)
    step = ln.checkpoint(gated)
    ln.check_grads(
        lambda x, h: ln.scan(step, (h,), ln.sequence(x))[0],
        [np.random.randn(3, SIZE), np.random.randn(SIZE)],
    )


def test_a_method_may_be_one_and_changed_attributes_are_noticed():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.scale = nn.Linear(SIZE, SIZE).double(), 1.0

        @ln.checkpoint
        def forward(self, x):
            return self.layer(x).tanh() * self.scale

    def value_and_slope():
        module.zero_grad()
        y = module(x)
        y.sum().backward()
        return y.numpy(), module.layer.weight.grad.numpy()

    module, x = Block(), leaf(SIZE)
    one = value_and_slope()
    module.scale = 2.0
    for doubled, before in zip(value_and_slope(), one, strict=True):
        np.testing.assert_allclose(doubled, 2 * before)
    assert repr(module.forward) == "<checkpoint Block>"
    assert "forward" in module.forward.explain()


def test_inside_a_cell_it_is_a_part_of_the_cell():
    inner = ln.checkpoint(lambda x: x.tanh() * 2.0)

    @ln.cell
    def outer(x):
        return inner(x) + 1.0

    x = leaf(3)
    outer(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * (1 - np.tanh(x.numpy()) ** 2))


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda x: ln.scan(gated, (x,), ln.sequence(x.reshape(1, SIZE)))[0][-1], "a scan cannot"),
        (lambda x: x * float(x[0].item()), "cannot look at values"),
    ],
    ids=["scan", "look"],
)
def test_what_it_cannot_hold_is_refused_with_a_sentence(function, sentence):
    with pytest.raises(TypeError, match=sentence):
        ln.checkpoint(function)(leaf(SIZE))


def test_what_it_computes_again_has_the_same_noise():
    drop = ln.checkpoint(lambda x: ln.dropout(x.tanh(), 0.5) * 3.0)
    x = leaf(SIZE)
    y = drop(x)
    y.sum().backward()
    slope = 3.0 * 2.0 * (1.0 - np.tanh(x.numpy()) ** 2)
    np.testing.assert_allclose(x.grad.numpy(), np.where(y.numpy() == 0.0, 0.0, slope), rtol=1e-6)


def test_the_largest_of_what_is_computed_again_is_found():
    one, two, three = (ln.Parameter(w) for w in np.random.default_rng(1).standard_normal((3, 8, 8)))
    bias = ln.Parameter(np.full(8, 0.1))

    def largest(x, y):
        total = ln.linear(x, one) + (ln.linear(y, two, bias) + ln.linear(x, three, bias))
        return ln.max(total * total)

    made = []
    for function in (largest, ln.checkpoint(largest)):
        generator = np.random.default_rng(2)
        rows = generator.standard_normal((20, 8))
        leaves = [ln.tensor(row, requires_grad=True) for row in rows]
        ln.sum([function(x, y) for x, y in zip(leaves[::2], leaves[1::2], strict=True)]).backward()
        made.append([x.grad.numpy() for x in leaves])
    for ours, expected in zip(*made, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9)
