"""Domain errors: values are numpy's, and under `ln.debug` the line that made them is told."""

import inspect
import re

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn, stops
from lazynet.tape import operands_of

# name: (the program, what is made)
MADE = {
    "log of a negative": (lambda x: ln.log(x - 2.0), "log: NaN"),
    "square root of a negative": (lambda x: ln.sqrt(x - 2.0), "sqrt: NaN"),
    "0 / 0": (lambda x: (x - x) / (x - x), "div: NaN"),
    "inf - inf": (lambda x: (x / 0.0) - (x / 0.0), "div: inf"),
    "log of 0": (lambda x: ln.log(x - x), "log: -inf"),
    "division by 0": (lambda x: x / (x - x), "div: inf"),
    "division by -0": (lambda x: -x / 0.0, "div: -inf"),
    "overflow": (lambda x: ln.exp(x * 1000.0), "exp: inf"),
    "a power": (lambda x: (x * 1e30) ** 2, "square: inf"),
    "a sum": (lambda x: ln.sum(x * 3e38), "sum: inf"),
    "rows": (lambda x: ln.log(ln.sequence([x, x * 0.0, x])), "log: -inf"),
    "a sum of rows": (lambda x: ln.sum([x * 3e38, x * 3e38]), "row_sum: inf"),
    "a scan": (lambda x: ln.scan(grow, (x * 1e20,), ln.sequence([x, x, x]))[0], "grow: inf"),
    "a cell": (lambda x: inverse(x - x), "div: inf"),
    "no rows": (lambda x: ln.max(ln.sequence([x])[:0], 0), "row_max: -inf"),
}


def grow(x, states):
    return (states[0] * states[0] * x,)


@ln.cell
def inverse(x):
    return 1.0 / x


def line_of(function):
    return inspect.getsourcelines(function)[1]


@pytest.mark.parametrize("name", MADE)
def test_what_makes_a_fault_is_named_with_its_line(name):
    program, told = MADE[name]
    place = inverse._function if name == "a cell" else program
    lines = inspect.getsourcelines(place)
    known = range(lines[1], lines[1] + len(lines[0]))
    with pytest.raises(FloatingPointError, match=told) as caught, ln.debug(inf=True):
        program(ln.tensor([1.0, 1.0])).numpy()
    message = str(caught.value)
    assert any(f"test_debugging.py:{n}" in message for n in known), message
    assert "\n" not in message


@pytest.mark.parametrize("name", MADE)
def test_without_debug_nothing_is_raised(name):
    program, _ = MADE[name]
    with np.errstate(all="ignore"):
        assert not np.isfinite(program(ln.tensor([1.0, 1.0])).numpy()).all()


@pytest.mark.parametrize("name", [n for n, (_, told) in MADE.items() if told.endswith("inf")])
def test_infinities_alone_are_no_fault_unless_asked_for(name):
    if name == "inf - inf":
        pytest.skip("makes a NaN, too")
    with ln.debug():
        MADE[name][0](ln.tensor([1.0, 1.0])).numpy()


def test_infinities_that_were_given_are_no_fault():
    mask = np.array([0.0, -np.inf, 0.0], np.float32)
    weights = ln.Parameter(np.full(3, np.inf))
    with ln.debug(inf=True):
        x = ln.tensor([1.0, 2.0, 3.0])
        (ln.softmax(x + ln.tensor(mask))).numpy()
        (ln.where(x > 2.0, x, -np.inf)).numpy()
        (ln.softmax(ln.sequence([x, x + mask]), 0)).numpy()
        (ln.tensor(np.ones(3)) * weights).numpy()


def test_a_nan_that_was_given_is_told_as_such():
    with pytest.raises(FloatingPointError, match=r"tanh: NaN .*; an operand is NaN already"), \
            ln.debug():  # fmt: skip
        ln.tanh(ln.tensor([np.nan])).numpy()


@pytest.mark.parametrize(
    "exponent", [3, np.float32(3.0), ln.tensor([3.0, 3.0]), ln.tensor([1.0, 1.0]) + 2.0]
)
def test_the_slope_of_an_exponent_is_no_fault_where_nobody_wants_it(exponent):
    def cube(x):
        return ln.sum(x**exponent)

    with ln.debug():
        x = ln.tensor([-1.0, 2.0], requires_grad=True)
        (slope,) = ln.gradients(cube(x), [x])
        (bend,) = ln.gradients(ln.sum(slope), [x])
        assert (slope.tolist(), bend.tolist()) == ([3.0, 12.0], [-6.0, 12.0])
        y = ln.tensor([3.0, 3.0], requires_grad=True)
        with pytest.raises(FloatingPointError, match="log: NaN"):
            ln.gradients(ln.sum(x**y), [y])[0].numpy()


def test_the_slope_of_an_exponent_that_a_cell_computes_is_there_under_no_grad():
    @ln.cell
    def power(x, y):
        return x ** (y * 2.0)

    y = ln.tensor([1.0, 2.0], requires_grad=True)
    total = ln.sum(power(ln.tensor([np.e, 1.0]), y))
    with ln.no_grad():
        (slope,) = ln.gradients(total, [y])
    np.testing.assert_allclose(slope.numpy(), [2.0 * np.e**2, 0.0], rtol=1e-6)


def test_debug_decorates_and_ends():
    @ln.debug(inf=True)
    def program():
        return ln.log(ln.tensor([0.0])).numpy()

    with pytest.raises(FloatingPointError):
        program()
    assert ln.log(ln.tensor([0.0])).tolist() == [-np.inf]
    with ln.debug():
        assert ln.log(ln.tensor([0.0])).tolist() == [-np.inf]


def test_the_line_of_a_module_is_that_of_its_caller():
    layer = nn.Linear(2, 2)
    with pytest.raises(FloatingPointError, match=f"recorded at {__file__}"), ln.debug(inf=True):
        layer(ln.tensor([3e38, 3e38]) * 10.0).numpy()


def test_the_hint_that_nothing_batches_stands_at_the_line_that_asked():
    with pytest.warns(ln.PerformanceHint, match=r"test_debugging\.py:\d+ asked .* ln\.map") as told:
        for _ in range(600):
            ln.tanh(ln.tensor([1.0])).item()
            line = inspect.currentframe().f_lineno - 1
    assert [(hint.filename, hint.lineno) for hint in told] == [(__file__, line)]


# name: (the program, what backward makes, of which operation)
MADE_BACK = {
    "a chosen log": (lambda x: ln.where(x > 0.0, ln.log(x), 0.0), "log: NaN"),
    "a chosen root of rows": (lambda x: ln.where(x > 0.0, ln.sqrt(ln.sequence([x])[0]), 0.0),
                              "sqrt: NaN"),
    "a root": (lambda x: ln.sqrt(x), "sqrt: inf"),
    "a cell": (lambda x: root(x), "sqrt: inf"),
    "a scan": (lambda x: ln.scan(root_of_state, (x,), ln.sequence([x]))[0], "root_of_state: inf"),
    "a parameter": (lambda x: ln.linear(x * 1e-30, BIG).sum() * 1e30, "linear: inf"),
}  # fmt: skip
BIG = ln.Parameter(np.full((1, 2), 1e30, np.float32))


@ln.cell
def root(x):
    return ln.sqrt(x)


def root_of_state(x, states):
    return (ln.sqrt(states[0]),)


@pytest.mark.parametrize("name", MADE_BACK)
@pytest.mark.parametrize("policy", ["auto", "none"])
def test_what_backward_makes_is_told_with_the_line(name, policy):
    program, told = MADE_BACK[name]
    x = ln.tensor([0.0, 4.0], requires_grad=True)
    (x * 3.0).sum().backward()
    with ln.batching(policy):
        program(x).sum().backward()  # nothing is raised otherwise
        x.grad = None
        (x * 3.0).sum().backward()
        with pytest.raises(FloatingPointError) as error, ln.debug(inf="inf" in told):
            program(x).sum().backward()
    assert re.match(rf"backward of {told} in the gradient of an operand of .*", str(error.value))
    assert f"recorded at {__file__}" in str(error.value)
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 3.0])  # nothing was added


def test_gradients_that_are_infinite_already_are_not_made_again():
    x = ln.tensor([0.0], requires_grad=True)
    with pytest.raises(FloatingPointError, match=r"of mul: NaN .*; that of its result is inf"), \
            ln.debug():  # fmt: skip
        ln.sqrt(ln.sqrt(x) * x * 0.0).sum().backward()
    with ln.debug():
        ln.sqrt(x).sum().backward()
    assert x.grad.tolist() == [np.inf]


def test_a_look_reads_the_gradients_of_parts_of_rows(monkeypatch):
    seen = []

    def note(graph, nodes, gradient):
        for node in nodes:
            if node.signature.op.name == "cat":
                seen.extend(gradient(x).tolist() for x in operands_of(graph, node))

    monkeypatch.setattr(stops, "first_fault_back", note)
    x = ln.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    with ln.debug():
        first, rest = ln.split(ln.sequence(x) * 1.0, (1, 2))
        (ln.cat([rest, first]) * ln.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert seen == [[[1.0, 10.0]] * 2, [[100.0]] * 2]
