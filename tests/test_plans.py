"""Plans that come back: programs of one shape take the plan that was made for the first ones."""

import itertools
import threading

import numpy as np
import pytest

import lazynet as ln
from lazynet import executor, nn, plans
from lazynet.op import TABLE


@pytest.fixture
def made(monkeypatch):
    """Counts tapes that were read and plans that were laid out; nothing was kept before."""
    counts = {"read": 0, "laid out": 0}

    def counted(name, function):
        def run(*arguments):
            counts[name] += 1
            return function(*arguments)

        return run

    monkeypatch.setattr(plans, "_plans", plans.Cache(plans.MOST))
    monkeypatch.setattr(plans, "_missed", [0])
    monkeypatch.setattr(executor, "_read", counted("read", executor._read))
    monkeypatch.setattr(executor, "_emit", counted("laid out", executor._emit))
    return counts


def repeated(program, arguments):
    """What a program gives for each of the arguments, by default and under policy `none`."""
    found = [program(*a) for a in arguments]
    with ln.batching("none"):
        return found, [program(*a) for a in arguments]


def rows(count, width=6, seed=0):
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def test_numbers_of_a_tape_are_left_open(made):
    table = nn.Embedding(99, 6)
    tapes = []

    def spy(tape, *rest):
        tapes.append(tape.copy())
        return None, None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "find", spy)
        (table(77) * table([33, 55]).sum(0)).numpy()
    shape = tapes[0].copy()
    plans.leave_open(shape, TABLE.numbers)
    open_words = np.flatnonzero(tapes[0] != shape)
    assert tapes[0][open_words].tolist() == [77, 33, 55]
    assert shape[open_words].tolist() == open_words.tolist()


def test_a_program_that_comes_back_takes_the_plan_of_the_second(made):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    inputs = [ln.tensor(row) for row in rows(12)]
    found = [model(x).numpy() for x in inputs[:6] * 2]
    assert made["read"] == 2
    with ln.batching("none"):
        wanted = [model(x).numpy() for x in inputs[:6] * 2]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert made["read"] == 14  # that policy keeps nothing


def test_calls_come_back_where_the_same_addresses_do(made):
    layer, x = nn.Linear(6, 3), ln.tensor(rows(1)[0])
    found = [layer(x).tolist() for _ in range(9)]
    assert found == [found[0]] * 9
    assert made["laid out"] < 9


def test_other_words_and_other_classes(made):
    table, out = nn.Embedding(20, 6), nn.Linear(6, 5)

    def program(first, second, target):
        table.zero_grad()
        out.zero_grad()
        x = table(first) * table([second, first]).sum(0)
        loss = nn.functional.cross_entropy(out(x), target)
        loss.backward()
        return [loss.numpy(), *(p.grad.numpy() for p in (*table.parameters(), *out.parameters()))]

    draw = np.random.default_rng(1)
    words = [(int(draw.integers(20)), int(draw.integers(20)), k % 2) for k in range(16)]
    found, wanted = repeated(program, words)
    assert made["read"] < 16 + 16
    for a, b in zip(found, wanted, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_rows_in_any_order_in_memory():
    weight = ln.Parameter(rows(6))
    inputs = [ln.tensor(row) for row in rows(5)]
    draw = np.random.default_rng(2)

    def program(*order):
        x = [inputs[k] for k in order]
        y = [ln.tanh(weight @ (a + b)) for a, b in itertools.pairwise(x)]
        return ln.sequence(y).numpy()

    found, wanted = repeated(program, [draw.permutation(5) for _ in range(24)])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_graphs_that_live_side_by_side_have_plans_of_their_own():
    layer, inputs = nn.Linear(6, 1), [ln.tensor(row, requires_grad=True) for row in rows(6)]
    losses = []
    for x in inputs:
        losses.append(ln.tanh(layer(x)))
        losses[-1].numpy()
        ln.forward(losses[-1])
    for loss in losses[::-1]:
        loss.backward(ln.ones(1))
    for x, loss in zip(inputs, losses, strict=True):
        wanted = (1 - loss.numpy() ** 2) * layer.weight.numpy()[0]
        np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=1e-5)


def test_what_wants_gradients_may_change(made):
    layer, x = nn.Linear(6, 3), ln.tensor(rows(1)[0])
    for wanted in (True, False, True, False, True):
        layer.requires_grad_(wanted)
        for _ in range(3):
            layer.zero_grad()
            y = layer(x).sum()
            y.numpy()
            assert y.requires_grad == wanted
            if wanted:
                y.backward()
                np.testing.assert_allclose(layer.weight.grad.numpy()[1], x.numpy())
            with ln.no_grad():
                assert not layer(x).requires_grad
    assert made["read"] < 30
    leaf = ln.tensor(rows(1)[0], requires_grad=True)
    for given in (x, leaf, x, leaf):  # the same tape, of an input that wants a gradient
        y = (given * 2.0).sum()
        y.numpy()
        assert y.requires_grad == (given is leaf)


def test_parameters_may_move():
    layer, x = nn.Linear(6, 3), ln.tensor(rows(1)[0])
    for seed in range(6):
        for _ in range(3):
            layer(x).numpy()
        layer.weight.copy_(rows(3, seed=seed))
        np.testing.assert_allclose(
            layer(x).numpy(), layer.weight.numpy() @ x.numpy() + layer.bias.numpy(), rtol=1e-5
        )
        state = {name: p.numpy() + 1 for name, p in layer.named_parameters()}
        layer.load_state_dict(state)
        layer.double().float()  # which gives them other memory
        np.testing.assert_allclose(
            layer(x).numpy(), state["weight"] @ x.numpy() + state["bias"], rtol=1e-5
        )


def test_random_numbers_are_new_each_time(made):
    x = ln.tensor(np.ones(32))
    drawn = [nn.functional.dropout(x, 0.5).tolist() for _ in range(6)]
    assert len(set(map(tuple, drawn))) == 6
    assert made["read"] == 2


def test_only_so_many_are_kept(made):
    x = ln.tensor(rows(1)[0])
    for length in range(2 * plans.MOST):
        for _ in range(2):
            ln.sum([x * float(k) for k in range(length % 90)] or [x]).numpy()
    assert 0 < len(plans._plans._kept) <= plans.MOST
    assert len(plans._plans._came) <= 8 * plans.MOST
    assert all(len(p.places._kept) <= plans.MOST_PLACES for p in plans._plans._kept.values())


def test_what_is_long_or_goes_on_is_not_kept(made):
    x = ln.tensor(rows(1)[0])
    for _ in range(4):
        ln.sum([x * float(k) for k in range(plans.LARGEST)]).numpy()
    y = x * 2.0
    y.numpy()
    for _ in range(4):
        y = y * 2.0
        y.numpy()
    assert not plans._plans._kept


def test_what_is_kept_takes_little_memory(made):
    for length in (3, 20_000):  # few words of a tape, of many rows
        for _ in range(6):
            (ln.sequence(rows(length, 1)) * 2.0).sum(0).numpy()
    assert len(plans._plans._kept) == 1
    weight, first = ln.Parameter(rows(6)), ln.tensor(rows(1)[0])

    def step(x, states):
        return (ln.tanh(weight @ states[0] + x),)

    for length in (2, 1000):  # few rows, but calls for each of them
        for _ in range(6):
            ln.scan(step, (first,), ln.sequence(rows(length)))[0][-1].numpy()
    places = [place for p in plans._plans._kept.values() for place in p.places._kept.values()]
    assert places and all(len(place.calls) <= plans.MOST_WORDS for place in places)


def test_threads_take_each_others_plans(made):
    layer, inputs = nn.Linear(6, 3), rows(40)
    wanted = inputs @ layer.weight.numpy().T + layer.bias.numpy()
    found = [None] * 4

    def run(k):
        found[k] = [layer(ln.tensor(row)).numpy() for row in inputs for _ in range(3)]

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rows_found in found:
        np.testing.assert_allclose(rows_found, wanted.repeat(3, 0), rtol=1e-5, atol=1e-6)
    assert made["read"] < 40


def test_policies_have_plans_of_their_own(made):
    weight = ln.Parameter(rows(6))
    x, y = (ln.tensor(row) for row in rows(2))

    def program():
        return ln.sum([ln.tanh(weight @ x), weight @ ln.tanh(y), ln.tanh(weight @ ln.tanh(x))])

    batches = {}
    for policy in ("depth", "agenda", "depth", "agenda") * 2:
        with ln.batching(policy), ln.profile() as told:
            program().numpy()
        batches.setdefault(policy, set()).add(told.batches)
    assert all(len(found) == 1 for found in batches.values())
    assert made["read"] == 4


def test_the_profile_tells_how_many_plans_were_found(made):
    layer, x = nn.Linear(6, 3), ln.tensor(rows(1)[0])
    with ln.profile() as p:
        for _ in range(5):
            layer(x).numpy()
    assert (p.forwards, p.plans_found) == (5, 3)
    assert p.summary()["plans_found"] == 3
    assert repr(p).startswith("5 forwards, 3 by a plan found again: 5 nodes in 5 batches")
    with ln.profile() as p:
        (x * 3.0).numpy()
    assert repr(p).startswith("1 forward: 1 node")


def test_where_nothing_comes_back_plans_are_looked_for_seldom(made, monkeypatch):
    looked, leave_open = [], plans.leave_open

    def counted(*arguments):
        looked.append(arguments)
        return leave_open(*arguments)

    monkeypatch.setattr(plans, "leave_open", counted)
    x = ln.tensor(rows(1)[0])
    new = plans.PATIENCE + 10 * plans.SELDOM
    for number in range(new):
        ln.cat([x] * (number + 2)).numpy()
    assert len(looked) == plans.PATIENCE + 10
    for _ in range(2 * plans.SELDOM):  # the program is met, and met again: now it is kept
        ln.tanh(x).numpy()
    assert len(plans._plans._kept) == 1
    looked.clear()
    for _ in range(2 * plans.SELDOM):
        ln.tanh(x).numpy()
    assert plans.SELDOM < len(looked) < 2 * plans.SELDOM + 1  # from the first that was found on


def test_of_too_many_in_turn_those_that_are_kept_are_found():
    cache, found = plans.Cache(8), 0
    for _ in range(40):
        for key in range(12):
            if cache.find(key) is not None:
                found += 1
            elif cache.came_before(key):
                cache.keep(key, f"value {key}")
    assert len(cache._kept) == 8
    assert 40 * 12 / 3 < found < 40 * 8
    assert all(value == f"value {key}" for key, value in cache._kept.items())
