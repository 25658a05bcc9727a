"""Scans: a step over the rows of a Sequence, as one node a sequence, is the loop written out."""

import dataclasses
import functools
import re
import sys

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn, running

generator = np.random.default_rng(1)


def parameter(*shape):
    return ln.Parameter(generator.standard_normal(shape))


INPUT, STATE, BIAS = parameter(12, 3), parameter(12, 4), parameter(12)
LENGTHS = [3, 0, 1, 5, 2]
ROWS = [generator.standard_normal((n, 3)) for n in LENGTHS]


def minimal_gated_unit(x, states):
    """A cell with views, products that share nothing, and a state used twice."""
    (h,) = states
    gate, candidate, _ = (ln.linear(x, INPUT, BIAS) + ln.linear(h, STATE)).chunk(3)
    forget = gate.sigmoid()
    return ((1.0 - forget) * h + forget * candidate.tanh(),)


def two_states(x, states):
    h, c = states
    i, f, o = (ln.linear(h, STATE) + ln.linear(x, INPUT, BIAS)).chunk(3)
    c = f.sigmoid() * c + i.tanh()
    return o.sigmoid() * c.tanh(), c


def state_as_bias(x, states):
    """A product of the input alone that is added to what depends on the state."""
    (h,) = states
    made = ln.linear(x, INPUT, ln.cat([h, h, h])).tanh() + ln.linear(h, STATE, BIAS)
    first, second, third = made.tanh().chunk(3)
    return (first * second + third,)


STEPS = {
    "one state": (minimal_gated_unit, 1),
    "two states": (two_states, 2),
    "a state as a bias": (state_as_bias, 1),
}


def written_out(step, states, x):
    rows = [[] for _ in states]
    for row in x:
        states = step(row, states)
        for k, s in enumerate(states):
            rows[k].append(s)
    return rows


@pytest.mark.parametrize("policy", ["none", "auto"])
@pytest.mark.parametrize("name", STEPS)
def test_a_scan_is_the_loop_written_out_in_values_and_gradients(name, policy):
    step, count = STEPS[name]
    initial = [ln.tensor(generator.standard_normal(4), requires_grad=True) for _ in range(count)]
    results = []
    for scanned in (True, False):
        leaves = [ln.tensor(rows, requires_grad=True) for rows in ROWS if len(rows)]
        for leaf in (INPUT, STATE, BIAS, *initial):
            leaf.graph.clear_gradient()
        losses, values = [], []
        with ln.batching(policy):
            for leaf in leaves:
                x = ln.sequence(leaf)[::-1]
                if scanned:
                    outputs = ln.scan(step, tuple(initial), x)
                else:
                    outputs = [ln.sequence(rows) for rows in written_out(step, initial, x)]
                losses += [(y * y).sum() for y in outputs]
                values += list(outputs)
            ln.sum(losses).backward()
        gradients = [v.grad.numpy() for v in (*leaves, INPUT, STATE, BIAS, *initial)]
        results.append([v.numpy() for v in values] + gradients)
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_a_sequence_without_rows_gives_no_rows():
    (h,) = ln.scan(minimal_gated_unit, (ln.tensor(np.zeros(4)),), ln.sequence(np.zeros((2, 3)))[:0])
    assert h.numpy().shape == (0, 4)


def test_a_state_may_be_a_view():
    step = lambda x, s: (ln.tanh(x + s[0]),)  # noqa: E731
    _, second = (ln.tensor(np.arange(6.0)) * 1.0).chunk(2)
    (h,) = ln.scan(step, (second,), ln.sequence(np.zeros((1, 3))))
    np.testing.assert_allclose(h.numpy()[0], np.tanh([3.0, 4.0, 5.0]))


def test_the_nodes_of_a_sentence_are_as_many_whatever_its_length():
    seen = []
    observe = lambda graph, run: seen.append(run.plan.columns.shape[0])  # noqa: E731
    running.observers.append(observe)
    try:
        for n in (2, 40):
            x = ln.sequence(np.zeros((n, 3)))
            ln.scan(two_states, (ln.tensor(np.zeros(4)),) * 2, x)[0].sum().item()
    finally:
        running.observers.remove(observe)
    assert seen[0] == seen[1]


def test_a_step_that_looks_at_a_value_is_refused():
    def looks(x, states):
        return (states[0] * (2.0 if x.sum() > 0 else 1.0),)

    with pytest.raises(TypeError, match="cannot look at values"):
        ln.scan(looks, (ln.tensor(np.zeros(3)),), ln.sequence(np.zeros((2, 3))))


def test_a_step_that_uses_a_foreign_value_is_refused():
    outside = ln.tensor(np.ones(3)) * 2.0
    with pytest.raises(TypeError, match="only its arguments, parameters and constants"):
        ln.scan(lambda x, s: (s[0] + outside,), (outside,), ln.sequence(np.zeros((2, 3))))
    with pytest.raises(TypeError, match="only its arguments, parameters and constants"):
        ln.scan(lambda x, s: (outside + s[0],), (outside,), ln.sequence(np.zeros((2, 3))))


def test_a_step_that_changes_the_shape_of_its_state_is_refused():
    with pytest.raises(ln.ShapeError, match="makes state 0"):
        ln.scan(
            lambda x, s: (ln.cat([s[0], s[0]]),), (ln.tensor(np.zeros(3)),),
            ln.sequence(np.zeros((2, 3))),
        )  # fmt: skip


NOTE = (
    r"in the step of ln.scan, which is called as .*step\(x, states\), with a row and a tuple of 1"
)


def wrong_way_round_step(states, x):
    return (states[0] + x,)


def lonely_step(x):
    return (x,)


@pytest.mark.parametrize("step", [wrong_way_round_step, lonely_step], ids=["swapped", "one"])
def test_a_step_with_other_arguments_is_told_how_it_is_called(step):
    with pytest.raises(TypeError) as caught:
        ln.scan(step, (ln.zeros(3),), ln.zeros(3, length=2))
    assert re.match(NOTE, caught.value.__notes__[0])


@pytest.mark.parametrize(
    ("step", "states", "x"),
    [
        (None, (ln.zeros(3),), ln.zeros(3, length=2)),
        (lonely_step, ln.zeros(3), ln.zeros(3, length=2)),
        (lonely_step, ln.zeros(3, length=2), (ln.zeros(3),)),
        (lonely_step, ([0.0],), ln.zeros(3, length=2)),
        (lonely_step, (ln.zeros(3),), ln.zeros(2, 3)),
    ],
    ids=["no step", "one state", "swapped", "lists", "a Tensor"],
)
def test_what_scan_cannot_take_is_told(step, states, x):
    with pytest.raises(TypeError, match=r"^scan: (expected a step, a tuple|states are Tensors)"):
        ln.scan(step, states, x)


@dataclasses.dataclass(frozen=True)
class Named:
    """Steps that are equal and do different things."""

    name: str
    k: float = dataclasses.field(compare=False)

    def __call__(self, x, states):
        return (states[0] * self.k + x,)

    def below(self, x, states):
        return x + states[0] * self.k if states else x


@dataclasses.dataclass
class Changing:
    """A step that has no hash."""

    k: float

    __call__, below = Named.__call__, Named.below


@pytest.mark.parametrize("make", [lambda k: Named("step", k), Changing])
def test_steps_are_told_apart_by_identity(make):
    x, zero = ln.sequence(np.ones((3, 1))), ln.zeros(1, dtype="float64")
    chain = ln.Structure([(), (0,), (1,)])
    for step, expected in ((make(2.0), [1.0, 3.0, 7.0]), (make(5.0), [1.0, 6.0, 31.0])):
        for made in (ln.scan(step, (zero,), x)[0], ln.fold(step.below, x, chain)):
            assert made.numpy().ravel().tolist() == expected


def test_an_object_that_cannot_be_held_weakly_is_told():
    class Slots:
        __slots__ = ()

        def __call__(self, x, states):
            return states

    with pytest.raises(TypeError, match="Slots has __slots__ without '__weakref__'; add it"):
        ln.scan(Slots(), (ln.zeros(1),), ln.zeros(1, length=2))


class Scaled(nn.Module):
    def __init__(self):
        self.factor, self.weight = 0.5, ln.Parameter(np.ones(1))

    def forward(self, x, states):
        return (states[0] * self.factor + x * self.weight,)


def long_way(monkeypatch):
    """Let scans that take the long way from here on raise."""

    def refuse(*_):
        raise AssertionError("the long way")

    monkeypatch.setattr(sys.modules["lazynet.scan"], "_recorded", refuse)


@pytest.mark.parametrize("step", [Scaled(), ln.cell(lambda x, s: (s[0] * 0.5 + x,))])
def test_scans_that_were_met_are_recorded_the_short_way(step, monkeypatch):
    zero = ln.zeros(1, dtype="float64")
    for length in (2, 3):  # the second is recorded after a first forward
        x = ln.sequence(np.ones((length, 1))) * 1.0
        expected = ln.scan(step, (zero,), x)[0].tolist()
    long_way(monkeypatch)
    (rows,) = ln.scan(step, (zero,), x)
    (back,) = ln.scan(step, (zero,), x[::-1])
    assert rows.tolist() == back.tolist() == expected == [[1.0], [1.5], [1.75]]


def test_a_scan_sees_what_changed_since_the_last_one():
    step, zero = Scaled(), ln.zeros(1, dtype="float64")
    for factor in (0.5, 2.0, 0.5, 3.0):
        step.factor = factor
        for _ in range(2):
            x = ln.sequence(np.ones((3, 1)))
            ends = ln.scan(step, (zero,), x)[0][-1].item(), ln.scan(step, [zero], x)[0][-1].item()
            assert ends == (1 + factor + factor**2,) * 2
    step.weight = ln.Parameter(np.full(1, 4.0))
    assert ln.scan(step, (zero,), x)[0][-1].item() == 4 * (1 + 3 + 9)
    with pytest.raises(TypeError, match=r"^scan: expected a step"):
        ln.scan(step, zero, x)


def test_steps_made_anew_are_not_taken_for_those_that_died():
    zero, x = ln.zeros(1, dtype="float64"), ln.sequence(np.ones((2, 1)))
    for k in range(60):
        step = Named("step", float(k))
        assert ln.scan(step, (zero,), x)[0][-1].item() == 1 + k
        assert ln.scan(step, (zero,), x)[0][-1].item() == 1 + k


def test_a_scan_sees_that_its_step_is_called_in_another_way():
    class Step(Scaled):
        pass

    step, zero = Step(), ln.zeros(1, dtype="float64")

    def end():
        x = ln.sequence(np.ones((3, 1))) * 1.0
        return [ln.scan(step, (zero,), x)[0][-1].item() for _ in range(3)]

    assert end() == [1.75] * 3
    for factor in (7.0, 8.0):
        Step.__call__ = lambda self, x, states, factor=factor: (states[0] * 0.0 + x * factor,)
        assert end() == [factor] * 3
    del Step.__call__
    assert end() == [1.75] * 3


def test_a_scan_sees_a_helper_that_is_defined_anew():
    def times(factor):
        return lambda x: x * factor

    def step(x, states):
        return (states[0] + helper(x),)

    zero, x = ln.zeros(1, dtype="float64"), ln.sequence(np.ones((3, 1)))
    for factor in (2.0, 3.0, 4.0):
        helper = times(factor)
        assert ln.scan(step, (zero,), x)[0][-1].item() == 3.0 * factor


def test_what_is_no_function_is_refused_with_advice():
    def step(weight, row, state):
        return (state[0] * weight + row,)

    part = functools.partial(step, 2.0)
    x = ln.sequence(np.ones((3, 3), np.float32))
    with pytest.raises(TypeError, match=r"scan: expected a function .* not partial; give it a"):
        ln.scan(part, (ln.zeros(3),), x)
    with pytest.raises(TypeError, match=r"fold: expected a function .* not partial; give it a"):
        ln.fold(part, x, [(), (), (0, 1)])
    calling = ln.scan(lambda row, state: part(row, state), (ln.zeros(3),), x)[0]
    assert calling[-1].tolist() == [7.0, 7.0, 7.0]
