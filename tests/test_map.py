"""`ln.map`: programs that look at values run in step, and mean what they mean one by one."""

import threading

import numpy as np
import pytest

import lazynet as ln
from lazynet import running

generator = np.random.default_rng(0)
WEIGHT = ln.Parameter(generator.standard_normal((8, 8)))
STARTS = generator.standard_normal((20, 8))


def walk(number):
    """Takes as many steps as its own values say."""
    h, steps = ln.tensor(STARTS[number]), 0
    while steps < 5 + number % 4:
        h = ln.linear(h, WEIGHT).tanh()
        if h.sum() > 0:
            h = h * 0.5
        steps += 1
    return h.sum()


def forwards(run):
    seen = []
    observe = lambda graph, r: seen.append(r)  # noqa: E731
    running.observers.append(observe)
    try:
        result = run()
    finally:
        running.observers.remove(observe)
    return result, len(seen)


def test_results_are_those_of_one_by_one_in_order_with_far_fewer_forwards():
    alone, many = forwards(lambda: [walk(n).item() for n in range(20)])
    together, few = forwards(lambda: [y.item() for y in ln.map(walk, range(20))])
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    assert few <= 10 < many / 10


def test_training_through_a_map_gives_the_gradients_of_one_by_one():
    gradients = []
    for run in (lambda: ln.map(walk, range(6)), lambda: [walk(n) for n in range(6)]):
        WEIGHT.zero_grad()
        ln.sum(run()).backward()
        gradients.append(WEIGHT.grad.numpy())
    np.testing.assert_allclose(*gradients, rtol=1e-10)


def test_a_map_inside_a_map_waits_for_the_outer_one():
    inner = lambda k: sum(y.item() for y in ln.map(walk, range(k, k + 3)))  # noqa: E731
    nested, few = forwards(lambda: ln.map(inner, range(5)))
    np.testing.assert_allclose(nested, [inner(k) for k in range(5)])
    assert few <= 12


def test_an_exception_names_its_example_and_ends_the_others():
    ended = []

    def program(number):
        try:
            walk(number).item()
            if number == 2:
                raise KeyError("lost")
            walk(number).item()
        finally:
            ended.append(number)

    with pytest.raises(KeyError) as caught:
        ln.map(program, range(4))
    assert caught.value.__notes__ == ["in example 2 of ln.map"]
    assert sorted(ended) == [0, 1, 2, 3]
    assert ln.tensor([1.0, 2.0]).sum().item() == 3.0


def test_modes_follow_the_program_that_set_them():
    def program(number):
        x = ln.tensor(STARTS[number], requires_grad=True)
        if number % 2:
            with ln.no_grad():
                y = x.sum()
                y.item()
                return (y * x.sum()).requires_grad
        y = x.sum()
        y.item()
        return (y * x.sum()).requires_grad

    assert ln.map(program, range(4)) == [True, False, True, False]
    with ln.no_grad():
        assert ln.map(program, range(2)) == [False, False]


def test_random_numbers_do_not_depend_on_how_examples_interleave():
    def program(number):
        drawn = []
        for _ in range(1 + number):
            drawn.append(ln.rand(3).numpy())
        return drawn[-1]

    ln.manual_seed(3)
    together = ln.map(program, range(4))
    ln.manual_seed(3)
    alone = [ln.map(lambda _, n=n: program(n), [n])[0] for n in range(4)]
    np.testing.assert_array_equal(together, alone)


def test_a_value_that_cannot_be_had_raises_instead_of_waiting_for_ever():
    values = []

    def record():
        values.append(ln.tensor([1.0]) * 2.0)

    thread = threading.Thread(target=record)
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError, match="the thread that recorded it has ended"):
        ln.map(lambda _: values[0].numpy(), [1, 2])


def test_no_examples_give_no_results():
    assert ln.map(walk, []) == []
