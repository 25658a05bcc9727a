"""Scans beside each other: which are, and that they give what each gives by itself."""

import numpy as np
import pytest

import lazynet as ln
from lazynet import executor, nn
from lazynet.batching.emit import (
    CALL_LENGTH,
    LOOP_BEGINS,
    LOOP_BESIDE,
    LOOP_CALL,
    operands_of_call,
)
from lazynet.batching.layout import B_BESIDE
from lazynet.interpreter import places_of

generator = np.random.default_rng(3)
LENGTHS = [7, 0, 1, 30, 4, 12, 30]
ROWS = [generator.standard_normal((n, 5)) for n in LENGTHS]
TOLERANCE = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture(params=[1, 2, 3, 8])
def workers(request):
    before = ln.get_num_threads()
    ln.set_num_threads(request.param)
    yield request.param
    ln.set_num_threads(before)


def weights(*shape):
    return ln.Parameter(generator.standard_normal(shape) / 4)


class Net:
    """Scans over one sentence, each with weights of its own, from one learned first state."""

    def __init__(self, scans: int, width: int = 6):
        self.start, self.scans = weights(width), scans
        self.input = [weights(width, 5) for _ in range(scans)]
        self.state = [weights(width, width) for _ in range(scans)]
        self.steps = [self._step(k) for k in range(scans)]

    def _step(self, k):
        def step(x, states):
            (h,) = states
            return ((ln.linear(x, self.input[k]) + ln.linear(h, self.state[k])).tanh() * h + x[0],)

        return step

    def __call__(self, x):
        return [ln.scan(step, (self.start,), x)[0] for step in self.steps]

    def parameters(self):
        return [self.start, *self.input, *self.state]


def run(net, policy=None):
    for p in net.parameters():
        p.graph.clear_gradient()
    with ln.batching(policy or "auto"):
        found = [h for rows in ROWS for h in net(ln.sequence(rows))]
        loss = ln.sum([(h * h).sum() for h in found])
        loss.backward()
    return [h.numpy() for h in found], [p.grad.numpy() for p in net.parameters()]


def batches_of(program):
    """Which batches of the forward of a program are beside the one before."""
    seen = []

    def watch(*arguments):
        plan = schedule(*arguments)
        seen.append(plan.batches[:, B_BESIDE].tolist())
        return plan

    schedule, executor._schedule = executor._schedule, watch
    try:
        program().numpy()
    finally:
        executor._schedule = schedule
    return seen[0]


@pytest.mark.parametrize("scans", [1, 2, 3, 20])
def test_scans_beside_each_other_give_what_each_gives(scans, workers):
    net = Net(scans)
    values, gradients = run(net)
    expected, expected_gradients = run(net, "none")
    for got, wanted in zip(values + gradients, expected + expected_gradients, strict=True):
        np.testing.assert_allclose(got, wanted, **TOLERANCE)


def test_values_that_are_not_kept_have_memory_of_their_own(workers):
    net = Net(4)
    wanted, _ = run(net)
    with ln.no_grad():
        found = [h for rows in ROWS for h in net(ln.sequence(rows))]
        for got, expected in zip(found, wanted, strict=True):
            np.testing.assert_allclose(got.numpy(), expected, **TOLERANCE)


def test_directions_are_beside_each_other_and_layers_are_not():
    ln.manual_seed(0)
    both, stacked = nn.LSTM(5, 4, bidirectional=True), nn.LSTM(5, 4, num_layers=3)
    sentences = [rows.astype(np.float32) for rows in ROWS]

    def total(rnn):
        return ln.sum([rnn(ln.sequence(rows)).sum() for rows in sentences])

    assert sum(batches_of(lambda: total(both))) == 1
    assert sum(batches_of(lambda: total(stacked))) == 0


def test_a_scan_that_needs_another_of_its_group_begins_a_new_one():
    net = Net(2)
    x = ln.sequence(ROWS[3])

    def program():
        first = ln.scan(net.steps[0], (net.start,), x)[0]
        other = ln.scan(net.steps[1], (net.start,), x)[0]
        last = ln.scan(net.steps[0], (other[-1],), x)[0]
        return (first.sum() + last.sum()) * 1.0

    with ln.batching("none"):
        assert batches_of(program)[:3] == [0, 1, 0]


def test_loops_lie_one_behind_the_other(monkeypatch):
    """Before, loops, after: and a loop that is beside the one before says so."""
    seconds = []

    def note(calls, stop, watch):
        seconds.append([int(calls[at + 1]) for at in places_of(calls, stop)])
        return execute(calls, stop, watch)

    execute = executor.execute
    monkeypatch.setattr(executor, "execute", note)
    run(Net(3))
    for calls in seconds:
        inside = [k for k, word in enumerate(calls) if word & LOOP_CALL]
        assert inside == list(range(inside[0], inside[-1] + 1))
        begins = [word for word in calls if word & LOOP_BEGINS]
        assert [word & LOOP_BESIDE != 0 for word in begins] == [False, True, True]


def test_time_of_loops_is_told_for_each_of_them(workers):
    with ln.profile() as profile:
        run(Net(3))
    scans = [entry for entry in profile.signatures.values() if "step" in entry.name]
    assert len(scans) == 3 and all(entry.seconds > 0 for entry in scans)


def test_lanes_of_two_scans_write_to_rows_of_their_own(monkeypatch):
    """Also where both begin with the same states, one for each sentence."""
    net, gain = Net(2), weights(6)
    groups = []

    def note(calls, stop, watch):
        at, loops = 0, []
        while at < stop:
            word = int(calls[at + 1])
            length, operands = word & CALL_LENGTH, operands_of_call.py_func(word)
            if word & LOOP_BEGINS:
                loops.append([])
                inside = True
            if word & LOOP_CALL:
                inside = inside and operands != 0
                if inside:
                    loops[-1] += rows_of_call(calls[at : at + length], operands)
            at += length
        groups.append(loops)
        return execute(calls, stop, watch)

    execute = executor.execute
    monkeypatch.setattr(executor, "execute", note)
    found = []
    for rows in sorted(ROWS, key=len, reverse=True)[:-1]:  # so that the states lie evenly
        start, x = ln.tensor(generator.standard_normal(6)) * gain, ln.sequence(rows)
        found += [ln.scan(step, (start,), x)[0].sum() for step in net.steps]
    ln.sum(found).backward()
    forward, backward = groups
    assert len(forward) == len(backward) == 2 and all(forward) and all(backward)
    assert not {*backward[0]} & {*backward[1]}


def rows_of_call(call, operands):
    """The addresses of rows of a call, where they are spaced evenly and not one for all."""
    found = []
    for base, stride, vector in call[operands:].reshape(-1, 3).tolist():
        if stride and not vector:
            found += [base + stride * k for k in range(int(call[2]))]
    return found
