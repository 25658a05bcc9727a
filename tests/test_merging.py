"""Products that share an operand: the pass before and after, and the parameters that it moves."""

import copy
import gc
import threading
from itertools import pairwise

import numpy as np
import pytest

import lazynet as ln
from lazynet import merging, nn, passes
from lazynet.batching import layout as words
from lazynet.leaf import STATICS
from lazynet.program import Program, Ref, Region, call, elementwise

GATES = 3


def ref(space, index, size=4, offset=0):
    return Ref(space, index, "float32", size, offset)


def region(index, size=4, offset=0):
    return ref(words.REGION, index, size, offset)


X = ref(words.ARGUMENT, 0)
D_X = ref(words.D_ARGUMENT, 0)


def layer(weight, target, source=X):
    matrix = ref(words.STATIC, weight, 16)
    return call("matmul", (source, matrix), target, (1, 4, 4, 0, 1), "float32")


def added(step):
    return passes.replace(step, accumulate=(True,))


def program(steps, regions=8):
    lifetimes = [words.OUTPUT if k == 0 else words.SCRATCH for k in range(regions)]
    return Program([Region(16, words.ITEMS, lifetime) for lifetime in lifetimes], list(steps))


def always(numbers):
    return True


# -- the pass --------------------------------------------------------------------------------------


def test_products_of_one_value_become_one_with_a_wide_result():
    before = program(
        [
            layer(5, region(1)),
            elementwise("tanh(x0)", [region(1)], region(3)),
            layer(7, region(2)),
            elementwise("x0 * x1", [region(3), region(2)], region(0)),
        ]
    )
    after, moved, weights = merging.merge_products(before, always)
    product, first, second = after.steps
    assert (product.kernel, product.attributes) == ("matmul", (1, 8, 4, 0, 1))
    assert product.inputs == (X, ref(words.STATIC, 5, 32))
    assert product.outputs == (region(8, 8),)
    assert first.inputs == (region(8),)
    assert second.inputs == (region(3), region(8, 4, 16))
    assert moved == {1: (8, 0), 2: (8, 16)} and weights == [(5, 7)]
    assert [r.width for r in after.regions] == [16, 0, 0, 16, 16, 16, 16, 16, 32]


def test_sums_of_two_products_become_two():
    """What recurrent cells do: the products of the state are added where those of the input are."""
    h = ref(words.ARGUMENT, 1)
    before = program(
        [
            layer(5, region(1)),
            added(layer(6, region(1), h)),
            layer(7, region(2)),
            added(layer(8, region(2), h)),
            elementwise("x0 * x1", [region(1), region(2)], region(0)),
        ]
    )
    after = merging.merge_products(before, always)
    assert [step.kernel for step in after.program.steps] == ["matmul", "matmul", ""]
    assert [step.outputs for step in after.program.steps[:2]] == [(region(8, 8),)] * 2
    assert [step.accumulate for step in after.program.steps[:2]] == [(False,), (True,)]
    assert after.weights == [(5, 7), (6, 8)]


@pytest.mark.parametrize(
    "steps",
    [
        [layer(5, region(1)), layer(6, region(2), region(1))],  # of different values
        [layer(5, region(1)), layer(5, region(2))],  # of one weight
        [layer(5, region(1)), added(layer(6, region(1)))],  # into one place
        [layer(5, region(0)), layer(6, region(1))],  # one is a result, which stands by itself
        [
            layer(5, region(1), region(3)),  # what the second reads is made of the first
            elementwise("tanh(x0)", [region(1)], region(3)),
            layer(6, region(2), region(3)),
        ],
    ],
)
def test_products_that_cannot_be_one_are_left(steps):
    before = program(steps)
    after = merging.merge_products(before, always)
    assert after.program.steps == before.steps and after.weights == []


def test_weights_that_cannot_lie_side_by_side_are_left():
    before = program([layer(5, region(1)), layer(6, region(2))])
    assert merging.merge_products(before, lambda numbers: False).program == before


def test_products_of_the_derivative_become_one():
    def back(weight, g):
        matrix = ref(words.STATIC, weight, 16)
        return added(call("matmul", (g, matrix), D_X, (1, 4, 4, 0, 0), "float32"))

    def gradient(weight, g):
        target = ref(words.D_STATIC, weight, 16)
        return added(call("matmul", (g, X), target, (4, 4, 1, 1, 0), "float32"))

    before = program(
        [
            elementwise("tanh(x0)", [X], region(1)),
            back(5, region(1)),
            gradient(5, region(1)),
            elementwise("exp(x0)", [X], region(2)),
            back(7, region(2)),
            gradient(7, region(2)),
        ]
    )
    after = merging.merge_derivative(before, [(5, 7)])
    loops, (to_weights, to_x) = after.steps[:2], after.steps[2:]
    assert [step.outputs for step in loops] == [(region(8),), (region(8, 4, 16),)]
    assert to_x.inputs == (region(8, 8), ref(words.STATIC, 5, 32)) and to_x.outputs == (D_X,)
    assert to_x.attributes == (1, 4, 8, 0, 0)
    assert to_weights.inputs == (region(8, 8), X) and to_weights.attributes == (8, 4, 1, 1, 0)
    assert to_weights.outputs == (ref(words.D_STATIC, 5, 32),)
    assert merging.merge_derivative(before, [(5, 6)]).steps == before.steps


# -- cells -----------------------------------------------------------------------------------------


class Textbook(nn.Module):
    """A long short-term memory as it is written on paper, with a layer for each gate."""

    def __init__(self, dim=3, hidden=4):
        for gate in "ifgo":
            setattr(self, f"x{gate}", nn.Linear(dim, hidden))
            setattr(self, f"h{gate}", nn.Linear(hidden, hidden, bias=False))

    @ln.cell
    def forward(self, x, state):
        h, c = state
        i, f = ln.sigmoid(self.xi(x) + self.hi(h)), ln.sigmoid(self.xf(x) + self.hf(h))
        c = f * c + i * ln.tanh(self.xg(x) + self.hg(h))
        return ln.sigmoid(self.xo(x) + self.ho(h)) * ln.tanh(c), c


def weights(model):
    return [getattr(model, f"x{gate}").weight for gate in "ifgo"]


def loss(model, lengths=(3, 1, 0, 5)):
    rng = np.random.default_rng(0)
    ends = []
    for n in lengths:
        state = ln.zeros(4), ln.zeros(4)
        for x in ln.sequence(rng.standard_normal((n, 3)).astype(np.float32)):
            state = model(x, state)
        ends.append(ln.sum(state[0] * state[1]))
    return sum(ends[1:], ends[0])


def run(model, **options):
    model.zero_grad()
    value = loss(model, **options)
    value.backward()
    return value.item(), {name: p.grad for name, p in model.named_parameters()}


def plain(model):
    """The same, op by op."""
    with ln.debug():
        return run(model)


def same(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, g in expected[1].items():
        assert (found[1][name] is None) == (g is None), name
        if g is not None:
            np.testing.assert_allclose(found[1][name].numpy(), g.numpy(), rtol=1e-4, atol=1e-6)


def products(model):
    return model.forward.explain().count("matmul")


def are_side_by_side(parameters):
    places = [p.graph.address for p in parameters]
    sizes = [p.graph.array.nbytes for p in parameters]
    return all(b - a == size for (a, b), size in zip(pairwise(places), sizes, strict=False))


def test_a_cell_of_the_textbook_has_two_products_each_way():
    ln.manual_seed(0)
    model = Textbook()
    expected = plain(model)
    same(run(model), expected)
    assert products(model) == 2 + 4  # and two for the gradients of weights
    assert are_side_by_side(weights(model))
    same(run(model), expected)


def _in_two_groups(p):
    """The cotangent of a sum belongs to products of two values."""

    def mixed(x, y):
        return p[0](x) * ln.sigmoid(p[1](x)) + p[2](x) + p[0](y)

    def function(a, b, c):
        first = mixed(a, c)
        return ln.tanh(mixed(mixed(b, a), c)) * a + ln.tanh(first)

    return function


def _several_times(p):
    """One product, added up."""

    def function(a, b, c):
        gated = ln.tanh(p[0](b) * ln.sigmoid(p[1](b)))
        return gated * (p[0](a) + p[0](a) + p[0](a)) * ln.tanh(p[1](a)) + p[2](c)

    return function


@pytest.mark.parametrize("made", [_in_two_groups, _several_times])
def test_products_that_share_a_cotangent_keep_their_part_of_the_gradient(made):
    layers = nn.ModuleList([nn.Linear(2, 2, bias=False).double() for _ in range(3)])
    function = made(layers)
    cell = ln.cell(function)

    def gradients(called, arrays):
        layers.zero_grad()
        given = [ln.tensor(array, requires_grad=True) for array in arrays]
        ln.sum(called(*[x * 1.0 for x in given])).backward()
        return [x.grad.numpy() for x in (*given, *layers.parameters())]

    for arrays in np.random.default_rng(1).standard_normal((20, 3, 2)):
        expected = gradients(function, arrays)
        for ours, wanted in zip(gradients(cell, arrays), expected, strict=True):
            np.testing.assert_allclose(ours, wanted, rtol=1e-10)


def test_a_parameter_may_be_what_products_share():
    shared = ln.Parameter(np.array([0.5, -1.0]))
    layers = nn.ModuleList([nn.Linear(2, 2).double() for _ in range(2)])

    def step(x, states):
        return (states[0] * x + ln.sigmoid(layers[0](shared)) * ln.tanh(layers[1](shared)),)

    def gradient(called):
        shared.zero_grad()
        rows = ln.ones(2, dtype="float64", length=3)
        (states,) = called(step, (rows[0] * 0.0,), rows)
        ln.sum(states).backward()
        return shared.grad.numpy()

    with ln.debug():
        expected = gradient(one_by_one)
    np.testing.assert_allclose(gradient(ln.scan), expected, rtol=1e-10)


def one_by_one(step, states, rows):
    made = []
    for x in rows:
        states = step(x, states)
        made.append(states[0])
    return (ln.sequence(made),)


def test_the_first_gradient_is_collected_across_the_move():
    ln.manual_seed(0)
    model = Textbook()
    twin = copy.deepcopy(model)
    model.xf.weight.square().sum().backward()  # there is a gradient before the cell is compiled
    loss(model).backward()
    with ln.debug():
        twin.xf.weight.square().sum().backward()
        loss(twin).backward()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-4, atol=1e-6)
    assert are_side_by_side(weights(model))


def test_frozen_weights_get_no_gradient_and_keep_the_others_whole():
    ln.manual_seed(0)
    model = Textbook()
    run(model)
    for frozen in (model.xi.weight, model.xo.weight):
        frozen.requires_grad = False
    same(run(model), plain(model))
    assert model.xi.weight.grad is None and model.xf.weight.grad is not None
    model.xi.weight.requires_grad = True
    same(run(model), plain(model))


def test_hooks_of_merged_weights_see_and_change_their_own_gradient():
    ln.manual_seed(0)
    model = Textbook()
    _, before = run(model)
    seen = []
    model.xf.weight.register_hook(lambda g: seen.append(g.numpy()) or g * 2.0)
    for _ in range(2):
        _, after = run(model)
        for name, factor in (("xf.weight", 2.0), ("xi.weight", 1.0)):
            expected = factor * before[name].numpy()
            np.testing.assert_allclose(after[name].numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(seen[1], before["xf.weight"].numpy(), rtol=1e-5)
    model.xf.weight.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loss(model).backward()
    for name, p in model.named_parameters():  # as they were
        np.testing.assert_array_equal(p.grad.numpy(), after[name].numpy())


def test_updates_states_and_copies_of_merged_weights():
    ln.manual_seed(0)
    model, twin = Textbook(), Textbook()
    optimizer = ln.optim.Adam(model.parameters(), lr=0.1)
    run(model)
    optimizer.step()
    twin.load_state_dict(model.state_dict())
    assert run(twin)[0] == pytest.approx(run(model)[0], rel=1e-5)
    copied = copy.deepcopy(model)
    run(copied)
    optimizer.step()
    assert run(copied)[0] == pytest.approx(run(twin)[0], rel=1e-6)  # they go their own ways
    assert run(model)[0] != pytest.approx(run(twin)[0], rel=1e-6)
    same(run(model), plain(model))
    model.xf.weight.data[...] = 0.0
    same(run(model), plain(model))


def test_weights_that_someone_has_a_view_of_stay_where_they_are():
    model = Textbook()
    view = model.xf.weight.data[1:]
    run(model)
    assert products(model) > 6 and not are_side_by_side(weights(model))
    view[...] = 3.0
    assert (model.xf.weight.numpy()[1:] == 3.0).all()
    same(run(model), plain(model))


def test_weights_in_which_rows_of_a_graph_lie_stay_where_they_are():
    model = Textbook()
    row = ln.tanh(model.xf.weight[1])  # pending, or computed from there
    same(run(model), plain(model))
    row.sum().backward()
    assert not are_side_by_side(weights(model)) and np.isfinite(row.numpy()).all()


def test_weights_are_not_moved_while_another_thread_may_read_them():
    model, ready, done = Textbook(), threading.Event(), threading.Event()

    def hold():
        kept = ln.tanh(ln.tensor([1.0]))
        ready.set()
        done.wait()
        kept.numpy()

    other = threading.Thread(target=hold)
    other.start()
    ready.wait()
    try:
        same(run(model), plain(model))
        assert not are_side_by_side(weights(model))
    finally:
        done.set()
        other.join()


def test_weights_are_not_moved_by_what_a_hook_runs():
    """The backward that calls the hook goes on with the addresses that it has."""
    ln.manual_seed(0)
    model = Textbook()

    def value(hooked):
        x = ln.tensor([1.0, -1.0, 0.5], requires_grad=True)
        before = sum((ln.sum(ln.linear(x, w)) for w in weights(model)[1:]), 0.0)
        y = ln.tanh(before)
        if hooked:
            y.register_hook(lambda g: g * (1.0 + 0.0 * loss(model).item()))
        model.zero_grad()
        (y * 2.0).backward()
        return [w.grad.numpy() for w in weights(model)[1:]]

    expected = value(False)
    for found in (value(True), value(True)):
        for g, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(g, wanted, rtol=1e-6)
    assert not are_side_by_side(weights(model))


def test_two_cells_that_want_their_weights_in_different_orders():
    ln.manual_seed(0)
    first = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(3, 4)

    @ln.cell
    def there(x):
        a, b, c = (layer(x) for layer in first)
        return a * b * c

    @ln.cell
    def back(x):
        a, b, c = (layer(x) for layer in reversed(first))
        return a - b * c

    @ln.cell
    def some(x):
        return first[0](x) * first[1](x)

    def value():
        x = ln.tensor([1.0, 2.0, 3.0])
        return ln.sum(there(x) + back(x) + some(x))

    with ln.debug():
        expected = value().item()
    for _ in range(2):
        assert value().item() == pytest.approx(expected, rel=1e-5)
    assert [f.explain().count("matmul(a0") for f in (there, back, some)] == [1, 3, 1]


def test_the_memory_of_a_weight_that_dies_does_not_disturb_the_others():
    ln.manual_seed(0)
    model = Textbook()
    run(model)
    kept = model.xf.weight
    address = kept.graph.address
    number = model.xi.weight.graph.number
    del model
    gc.collect()
    assert STATICS.leaf(number) is None
    ln.sum(ln.linear(ln.ones(3), kept)).backward()
    assert kept.graph.address == address and np.isfinite(kept.grad.numpy()).all()


class _TwoLayers(nn.Module):
    def __init__(self):
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        return ln.sigmoid(self.a(x)) * ln.tanh(self.b(x))


class _TwoInACell(_TwoLayers):
    forward = ln.cell(_TwoLayers.forward)


@pytest.mark.parametrize("cleared", [False, True])
def test_the_gradient_of_a_frozen_weight_stays_as_it_is(cleared):
    def gradients(kind):
        ln.manual_seed(0)
        model, found = kind(), []
        x = ln.tensor([0.5, -1.0, 2.0])
        for flag in (True, False, False, True, True):
            model.a.weight.requires_grad_(flag)
            if cleared and not flag:
                model.a.weight.zero_grad()
            model(x).sum().backward()
            found += [None if p.grad is None else p.grad.numpy().copy() for p in model.parameters()]
        return found

    for found, expected in zip(gradients(_TwoInACell), gradients(_TwoLayers), strict=True):
        assert (found is None) == (expected is None)
        if found is not None:
            np.testing.assert_allclose(found, expected, rtol=1e-5)
