"""Cells over lists: one signature for every length, and the same results as op by op."""

import contextlib
import functools
import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lazynet as ln
from lazynet import nn

generator = np.random.default_rng(5)
WEIGHT = ln.Parameter(generator.standard_normal((3, 3)))
OTHER = ln.Parameter(generator.standard_normal((3, 3)) / 2)
SCALE = ln.tensor(np.array([0.5, 1.0, 2.0]))


def child_sum(x, below):
    """Rows of a Sequence, added up."""
    h, c = ln.sequence([h for h, _ in below]), ln.sequence([c for _, c in below])
    forget = ln.sigmoid(ln.linear(h, WEIGHT) + ln.linear(x, OTHER))
    c = ln.tanh(ln.linear(x, WEIGHT) + ln.linear(ln.sum(h, 0), OTHER)) + ln.sum(forget * c, 0)
    return ln.tanh(c), c


def looped(x, below):
    """Item by item, in plain Python."""
    parts = []
    for h, c in below:
        gate = ln.sigmoid(ln.linear(h, WEIGHT) * 2.0 + ln.linear(x, OTHER))
        parts.append(gate * c)
    c = ln.tanh(x) + ln.sum(parts)
    return ln.sin(c), c * 0.5


def attention(x, below):
    """The input reads the items by attention, and shares what it finds among them."""
    h = ln.sequence([h for h, _ in below])
    scores = ln.stack([ln.dot(ln.linear(key, WEIGHT), x) for key, _ in below])
    found = ln.sum(ln.softmax(scores, 0) * h, 0)
    return ln.tanh(found + x), ln.sum([ln.tanh(c * found) for _, c in below]) * 0.3


def largest(x, below):
    """Maxima and a sum of exponents, of views and of parts put together."""
    first, rest = ln.split(ln.sequence([h for h, _ in below]), (1, 2))
    turned = ln.cat([rest, first])
    mixed = ln.stack([ln.cat([c[1:], h[:1]]) for h, c in below])
    y = ln.max(turned, 0) * SCALE + ln.log(ln.sum(ln.exp(mixed), 0))
    return ln.tanh(y + x), y * 0.2


def side_by_side(x, below):
    """Two lists in step; a weight that is an expression of parameters; no gradient for one."""
    left, right = [h for h, _ in below], [c for _, c in below]
    with ln.no_grad():
        norm = ln.sum([ln.sum(h * h) for h in left])
    weight = WEIGHT + OTHER
    y = ln.sum([ln.linear(h, weight) * c for h, c in zip(left, right, strict=True)])
    return ln.tanh(y / (1.0 + norm) + x), ln.sum(ln.mean(ln.sequence(right), 1)) * x


def averaged(x, below):
    """Means over the items."""
    h = ln.mean(ln.sequence([h for h, _ in below]), 0)
    return ln.tanh(ln.linear(h, WEIGHT) + x), ln.mean([c for _, c in below])


def added_up(x, below):
    """One item after the other, added to what there is."""
    c = ln.tanh(x)
    for h, memory in below:
        c = ln.sigmoid(ln.linear(h, WEIGHT)) * memory + c
    return ln.tanh(c) + sum(h[:1].sum() for h, _ in below), ln.linear(c, OTHER)


def with_itself(x, below):
    """Items and the input, listed together."""
    h = ln.sequence([x, *(h for h, _ in below)])
    c = ln.sum(ln.stack([c * 0.5 for _, c in below] + [x]), 0)
    return ln.tanh(ln.sum(ln.tanh(ln.linear(h, WEIGHT)), 0)), c + ln.sum(
        [x, *(h for h, _ in below)]
    )


FUNCTIONS = [child_sum, looped, attention, largest, side_by_side, averaged, added_up, with_itself]
CELLS = {function.__name__: ln.cell(function) for function in FUNCTIONS}
POLICIES = ["none", "depth", "agenda", "frontier", "auto"]
# For each node, the numbers of what is below it, taken modulo the nodes that there are.
FORESTS = st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=6), min_size=1, max_size=9)


def leaf_states(count):
    draw = np.random.default_rng(count).standard_normal
    return [tuple(ln.tensor(draw(3), requires_grad=True) for _ in range(2)) for _ in range(count)]


def forest(cell, below, leaves, look_after=()):
    """The states of nodes above leaves; what `look_after` says is computed before going on."""
    states = [(h * 1.0, c * 1.0) for h, c in leaves]
    for number, children in enumerate(below):
        x = leaves[number % len(leaves)][0]
        states.append(cell(x, [states[child % len(states)] for child in children]))
        if number in look_after:
            states[-1][0].numpy()
    return states[len(leaves) :]


def values_and_gradients(cell, below, policy="auto", look_after=(), debug=False):
    leaves = leaf_states(3)
    for parameter in (WEIGHT, OTHER):
        parameter.graph.clear_gradient()
    with ln.batching(policy), ln.debug() if debug else contextlib.nullcontext():
        states = forest(cell, below, leaves, look_after)
        loss = ln.sum([ln.sum(h * h) + ln.sum(ln.sin(c)) for h, c in states])
        found = [loss.numpy(), *(v.numpy() for state in states for v in state)]
        loss.backward()
    wanted = [*(v for state in leaves for v in state), WEIGHT, OTHER]
    zero = np.zeros(1)
    return found + [zero if v.grad is None else v.grad.numpy() for v in wanted]


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CELLS)
@settings(max_examples=15, deadline=None)
@given(below=FORESTS, looks=st.sets(st.integers(0, 8), max_size=2))
def test_every_policy_gives_what_none_and_op_by_op_give(name, below, looks):
    cell = CELLS[name]
    expected = values_and_gradients(cell.__wrapped__, below, "none")
    assert_same(values_and_gradients(cell, below, "none", debug=True), expected)
    for policy in POLICIES:
        assert_same(values_and_gradients(cell, below, policy, looks), expected)


def batches_of(cell, calls):
    """How many batches the calls of a cell take, all of which are ready."""
    for arguments in calls:
        cell(*arguments)  # traces
    with ln.profile() as profile:
        kept = [cell(*arguments) for arguments in calls]
    del kept
    return sum(b.batches for b in profile.signatures.values() if b.name.startswith(cell.__name__))


@pytest.mark.parametrize("name", CELLS)
def test_lists_of_all_lengths_are_one_batch(name):
    states = leaf_states(6)
    x = ln.zeros(3, dtype="float64")
    calls = [(x, states[:n]) for n in (1, 2, 3, 5, 6, 2)]
    assert batches_of(CELLS[name], calls[name == "added_up" :]) == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda x, below: below[0] + x,
        lambda x, below: x + below[0] * below[-1] + ln.sum(below),
        lambda x, below: x + ln.sum([h * float(k) for k, h in enumerate(below)]),
        lambda x, below: x + ln.sum(below) / len(below),
        lambda x, below: ln.sum([a * b for a, b in zip(below, below[::-1], strict=True)]) + x,
        lambda x, below: ln.sum(ln.sequence(below)[::-1], 0) * x,
        lambda x, below: ln.max(ln.sequence([x, *below]), 0),
        lambda x, below: ln.softmax(ln.sequence([x, *below]), 0)[0],
        lambda x, below: ln.sum(ln.sequence([below[0], x, *below[1:], below[0]]), 0),
        lambda x, below: ln.sum(ln.sequence([*below[::-1], x]), 0) * below[0],
        lambda x, below: sum(below) * (1.0 / len(below)) * 2.0 + x * 2.0,
        lambda x, below: ln.sum(below[1:]) + x if len(below) > 1 else x,
        lambda x, below: x + ln.sum(below) * ln.tensor(np.full(3, float(len(below)))),
        lambda x, below: [x + ln.sum(below), len(below)][0],
        lambda x, below: sum(below[:-1], x) * below[-1],
        lambda x, below: ln.sum([sum(below[: k + 1], x) for k in range(len(below))]),
        lambda x, below: functools.reduce(lambda a, b: b + a * x, below),
        lambda x, below: functools.reduce(lambda a, b: b + a, below) * ln.mean(below[0]),
    ],
    ids=["an item", "two items", "numbers of items", "the length", "turned", "rows turned",
         "more than the items", "weights of more", "one of them twice", "turned, and more",
         "the length and the same number", "some items", "a constant", "the length beside",
         "part of a sum",
         "sums so far", "more than a sum", "a sum and an item"],
)  # fmt: skip
def test_what_depends_on_the_length_or_on_single_items_is_right_too(function):
    cell, states = ln.cell(function), [h for h, _ in leaf_states(5)]
    x = ln.tensor(np.array([0.5, -0.5, 1.0]))
    lengths = (1, 2, 3, 5, 3)
    expected = [function(x, states[:n]).numpy() for n in lengths]
    assert_same([y.numpy() for y in [cell(x, states[:n]) for n in lengths]], expected)


def test_a_function_that_gives_the_length_gives_each_its_own():
    cell = ln.cell(lambda below: {"sum": ln.sum(below), "count": len(below)})
    ones = [ln.ones(2)] * 4
    assert [cell(ones[:n])["count"] for n in (1, 3, 2, 3)] == [1, 3, 2, 3]


def test_lists_of_different_lengths_in_one_call_and_lists_of_other_things():
    def function(x, first, second):
        return x + ln.sum(first) * ln.sum([value * 2.0 for value in second["of"]])

    cell, states = ln.cell(function), [h for h, _ in leaf_states(4)]
    x = ln.tensor(np.array([0.5, -0.5, 1.0]))
    calls = [(n, m) for n in (1, 2, 3) for m in (1, 2, 3)]
    expected = [function(x, states[:n], {"of": states[1:][:m]}).numpy() for n, m in calls]
    found = [cell(x, states[:n], {"of": states[1:][:m]}) for n, m in calls]
    assert_same([y.numpy() for y in found], expected)


def test_a_state_as_a_list_beside_a_list_of_any_length():
    def function(state, below):
        h, c = state
        return ln.tanh(h + ln.sum(below)) * c

    cell, states = ln.cell(function), [h for h, _ in leaf_states(6)]
    calls = [(states[:2], states[:n]) for n in (1, 2, 3, 4)]
    expected = [function(*arguments).numpy() for arguments in calls]
    assert_same([cell(*arguments).numpy() for arguments in calls], expected)
    assert batches_of(cell, calls) == 1


def test_known_lengths_are_recorded_without_looking_for_a_trace(monkeypatch):
    cell = ln.cell(lambda x, below: x + ln.sum([h * c for h, c in below]))
    pure = ln.cell(lambda below: ln.sum([h * c for h, c in below]))
    states, x = [(h * 1.0, c * 1.0) for h, c in leaf_states(4)], ln.zeros(3, dtype="float64")
    x = x + 0.0
    for n in (1, 2, 3, 2):
        cell(x, states[:n]), pure(states[:n])
    monkeypatch.setattr(type(cell), "find_trace", None)
    for n in (3, 1, 2):
        expected = sum(h.numpy() * c.numpy() for h, c in leaf_states(4)[:n])
        states, x = [(h * 1.0, c * 1.0) for h, c in leaf_states(4)], x * 0.0
        assert_same([cell(x, states[:n]).numpy(), pure(states[:n]).numpy()], [expected] * 2)


def test_items_of_other_graphs_other_kinds_and_other_nesting_take_the_long_way():
    cell = ln.cell(lambda x, below: x + ln.sum([h * c for h, c in below]))
    x = ln.ones(2)
    pair = (ln.ones(2) * 2.0, ln.ones(2) * 3.0)
    assert cell(x, [pair]).tolist() == [7.0, 7.0]
    assert cell(x, [pair, pair]).tolist() == [13.0, 13.0]
    older = (ln.ones(2) * 2.0, ln.ones(2) * 3.0)
    ln.sum([ln.sum(v) for v in older]).numpy()
    assert cell(x, [pair, older]).tolist() == [13.0, 13.0]
    assert cell(x, [pair, [older[0], older[1]]]).tolist() == [13.0, 13.0]
    assert cell(x, (pair, older)).tolist() == [13.0, 13.0]
    double = ln.ones(2, dtype="float64")
    assert cell(x, [(double, double)]).dtype == np.float64
    with pytest.raises(ln.ShapeError):
        cell(x, [(ln.ones(3), ln.ones(3))])


def test_constants_of_different_lengths_are_told_apart():
    constants = {n: ln.tensor([1.0] * 3, requires_grad=True) for n in (1, 2)}

    @ln.cell
    def function(below):
        return ln.sum(below) * constants[len(below)]

    ones = [ln.ones(3)] * 2
    loss = ln.sum(function(ones[:1])) + ln.sum(function(ones))
    loss.backward()
    assert [constants[n].grad.tolist() for n in (1, 2)] == [[1.0] * 3, [2.0] * 3]


def test_modes_inside_are_told_apart():
    @ln.cell
    def function(below):
        with ln.no_grad() if len(below) == 2 else contextlib.nullcontext():
            squares = ln.sum([h * h for h in below])
        return squares + ln.sum(below)

    for n, slope in ((1, 3.0), (2, 1.0), (3, 3.0)):
        x = ln.tensor([1.0], requires_grad=True)
        ln.sum(function([x * 1.0] + [ln.ones(1)] * (n - 1))).backward()
        assert x.grad.tolist() == [slope]


@pytest.mark.parametrize("name", [name for name in CELLS if name != "side_by_side"])  # it cuts
@pytest.mark.parametrize("length", [1, 3])
def test_derivatives_of_both_orders_agree_with_differences(name, length):
    cell = CELLS[name]

    def function(x, *values):
        pairs = list(zip(values[::2], values[1::2], strict=True))
        h, c = cell(x, [*pairs, pairs[0]])  # an item twice
        return h * 1.3 + c

    draw = np.random.default_rng(2).standard_normal
    ln.check_grads(function, [draw(3) for _ in range(1 + 2 * length)], tolerance=1e-5)


def test_gradients_of_parameters_can_be_recorded():
    states, x = leaf_states(4), ln.tensor(np.array([0.5, -0.5, 1.0]))

    def loss(function):
        return ln.sum([ln.sum(ln.cat(list(function(x, states[:n])))) for n in (1, 2, 4)])

    for cell in CELLS.values():
        found, expected = (ln.gradients(loss(f), [WEIGHT, OTHER]) for f in (cell, cell.__wrapped__))
        zero = np.zeros((3, 3))
        for a, b in zip(found, expected, strict=True):
            assert_same([zero if a is None else a.numpy()], [zero if b is None else b.numpy()])


def test_programs_in_step_share_batches_of_different_lengths():
    cell = CELLS["child_sum"]

    def program(n):
        states, x = leaf_states(n), ln.zeros(3, dtype="float64")
        h, c = cell(x, states)
        while h.sum().item() < 1.0 and n < 6:
            n += 1
            h, c = cell(x, [*states, (h + 1.0, c)])
        return h.numpy()

    assert_same(ln.map(program, [1, 2, 3, 4]), [program(n) for n in (1, 2, 3, 4)])


def test_draws_for_the_whole_call_are_drawn_anew_for_each():
    @ln.cell
    def noisy(below):
        return ln.sum(below) + ln.rand(2)

    ones = [ln.ones(2)] * 3
    values = [noisy(ones[:n]).numpy() - n for n in (1, 2, 3, 1)]
    assert len({tuple(v) for v in values}) == 4
    assert all(((v >= 0) & (v < 1)).all() for v in values)


def test_what_is_drawn_for_each_item_is_drawn_for_each():
    cell = ln.cell(lambda below: ln.sum([nn.functional.dropout(h, 0.5) for h in below]))
    values = cell([ln.ones(50)] * 3).numpy()
    assert set(values) <= {0.0, 2.0, 4.0, 6.0}
    assert len(set(values)) > 2


def test_what_a_module_holds_may_change():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = 2.0

        @ln.cell
        def forward(self, below):
            return ln.sum([h * self.scale for h in below])

    module, ones = Scaled(), [ln.ones(1)] * 3
    assert [module(ones[:n]).item() for n in (1, 3)] == [2.0, 6.0]
    module.scale = 3.0
    assert [module(ones[:n]).item() for n in (1, 3)] == [3.0, 9.0]
    module.scale = 2.0
    assert [module(ones[:n]).item() for n in (2, 3)] == [4.0, 6.0]


def test_a_cell_keeps_nothing_of_the_calls_that_it_was_traced_for():
    cell = ln.cell(lambda below: ln.sum([h * 2.0 for h in below]))
    graphs = []

    def work():  # in a thread of its own, whose graph no other test holds
        one = ln.ones(2) * 1.0
        graphs.append(weakref.ref(one.graph))
        cell([one, one]).numpy()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    gc.collect()
    assert graphs[0]() is None


def test_a_checkpoint_over_a_list_is_its_function():
    function, states = CELLS["child_sum"].__wrapped__, leaf_states(3)
    cell, x = ln.checkpoint(function), ln.zeros(3, dtype="float64")
    for n in (1, 2, 3):
        assert_same([v.numpy() for v in cell(x, states[:n])],
                    [v.numpy() for v in function(x, states[:n])])  # fmt: skip


def test_explain_tells_one_program_for_all_lengths():
    cell, states = ln.cell(child_sum), leaf_states(4)
    for n in (1, 2, 4):
        cell(ln.zeros(3, dtype="float64"), states[:n])
    assert cell.explain().count("forward\n") == 1


def test_items_that_are_nested_tuples_are_recorded_the_short_way(monkeypatch):
    @ln.cell
    def join(x, below):
        return x + ln.sum([(w * h).tanh() + c for w, (h, c) in below])

    values = [ln.tanh(ln.tensor([0.1 * k, 1.0])) for k in range(9)]
    below = [(values[3 * k], (values[3 * k + 1], values[3 * k + 2])) for k in range(3)]
    for n in (1, 2, 3):
        join(values[0], below[:n]).numpy()
    expected = [
        values[0].numpy()
        + sum(np.tanh(w.numpy() * h.numpy()) + c.numpy() for w, (h, c) in below[:n])
        for n in (1, 2, 3)
    ]

    def long_way(*_):
        raise AssertionError("the long way")

    monkeypatch.setattr(type(join), "_record", long_way)
    for n in (1, 2, 3):
        np.testing.assert_allclose(join(values[0], below[:n]).numpy(), expected[n - 1], rtol=1e-5)
    with pytest.raises(AssertionError, match="the long way"):
        join(values[0], [(values[0], [values[1], values[2]])])
