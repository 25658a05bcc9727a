"""Cells: a function recorded as one node is the function recorded op by op, or it is refused."""

import copy
import functools
import math
import pickle

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn, running

generator = np.random.default_rng(3)


def parameter(*shape):
    return ln.Parameter(generator.standard_normal(shape))


INPUT, STATE, BIAS = parameter(12, 3), parameter(12, 4), parameter(12)
SCALE = 2.0


@ln.cell
def gated(x, state):
    h, c = state
    i, f, o = (ln.linear(x, INPUT, BIAS) + ln.linear(h, STATE)).chunk(3)
    c = f.sigmoid() * c + i.tanh()
    return o.sigmoid() * c.tanh(), c


@ln.cell
def normalized(x):
    """A weight that is an expression of parameters alone."""
    weight = INPUT / (INPUT * INPUT).sum().sqrt()
    return ln.linear(x, weight, BIAS).tanh()


@ln.cell
def attended(x, children):
    """A list of any length, made a Sequence and reduced."""
    rows = ln.stack(list(children))
    weights = ln.softmax(ln.stack([ln.dot(x, child) for child in children]), 0)
    return (rows * weights.unsqueeze()).sum(0) + ln.sum(list(children)) - ln.max(rows, 0)


@ln.cell
def named(x, *, twice):
    """Results in a dict; a Python value that chooses the program."""
    y = x * 2.0 if twice else x
    return {"y": y, "parts": [x.tanh(), (x[0], 7)]}


@ln.cell
def nested(x, state):
    return gated(x, gated(x, state))


@ln.cell
def cut(x):
    with ln.no_grad():
        y = x.exp()
    return x * y, x.detach() * x


def flat(results):
    if isinstance(results, ln.Tensor | ln.Sequence):
        return [results]
    if isinstance(results, dict):
        results = list(results.values())
    return [v for r in results for v in flat(r)] if isinstance(results, tuple | list) else []


def vector(size):
    return ln.tensor(generator.standard_normal(size), requires_grad=True)


CASES = {
    "several outputs": (gated, lambda: (vector(3), (vector(4), vector(4)))),
    "parameters alone": (normalized, lambda: (vector(3),)),
    "a list": (attended, lambda: (vector(4), [vector(4) for _ in range(3)])),
    "a list of one": (attended, lambda: (vector(4), [vector(4)])),
    "nested": (nested, lambda: (vector(3), (vector(4), vector(4)))),
    "cut": (cut, lambda: (vector(3),)),
}


def leaves_of(arguments):
    return [v for v in flat(list(arguments)) if v.is_leaf]


def run(function, examples, policy):
    for p in (INPUT, STATE, BIAS):
        p.graph.clear_gradient()
    for example in examples:
        for leaf in leaves_of(example):
            leaf.graph.clear_gradient()
    with ln.batching(policy):
        results = [y for example in examples for y in flat(function(*example))]
        ln.sum([(y * y).sum() for y in results]).backward()
    leaves = [leaf for example in examples for leaf in leaves_of(example)]
    gradients = [None if v.grad is None else v.grad.numpy() for v in (*leaves, INPUT, STATE, BIAS)]
    return [y.numpy() for y in results] + gradients


@pytest.mark.parametrize("policy", ["none", "depth", "agenda", "frontier", "auto"])
@pytest.mark.parametrize("name", CASES)
def test_a_cell_is_its_function_in_values_and_gradients(name, policy):
    cell, arguments = CASES[name]
    examples = [arguments() for _ in range(5)]
    for ours, expected in zip(
        run(cell, examples, policy), run(cell.__wrapped__, examples, "none"), strict=True
    ):
        assert (ours is None) == (expected is None)
        if ours is not None:
            np.testing.assert_allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_a_cell_runs_op_by_op_under_debug(name):
    cell, arguments = CASES[name]
    examples = [arguments() for _ in range(2)]
    expected = run(cell, examples, "auto")
    with ln.debug():
        found = run(cell, examples, "auto")
    for a, b in zip(found, expected, strict=True):
        if b is not None:
            np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("name", ["several outputs", "parameters alone", "a list", "nested"])
def test_second_derivatives_go_through_a_cell(name):
    cell, arguments = CASES[name]
    example = arguments()
    shape, arrays = copy_of(example), [leaf.numpy() for leaf in leaves_of(example)]
    ln.check_grads(lambda *values: flat(cell(*filled(shape, iter(values))))[0], arrays)


def test_second_derivatives_go_through_a_cell_that_takes_parts_of_rows():
    cell = ln.cell(lambda x: ln.cat([x[1:], x[:1] * x[2:]]).tanh())
    ln.check_grads(cell, [generator.standard_normal((4, 3))[0]])
    rows = generator.standard_normal((4, 3))
    ln.check_grads(lambda *xs: ln.sum(cell(ln.sequence(list(xs))), 0), list(rows))


def copy_of(example):
    return [[None] * len(a) if isinstance(a, list | tuple) else None for a in example]


def filled(shape, values):
    return [[next(values) for _ in s] if isinstance(s, list) else next(values) for s in shape]


def nodes_of(program):
    seen = []

    def observe(graph, run):
        seen.append((run.plan.columns.shape[0], run.batches))

    running.observers.append(observe)
    try:
        ln.forward(flat(program()))
    finally:
        running.observers.remove(observe)
    return tuple(np.sum(seen, axis=0).tolist())


def test_calls_of_a_cell_are_one_node_each_and_one_batch():
    x, state = vector(3) * 1.0, (vector(4) * 1.0, vector(4) * 1.0)
    ln.forward([x, *state])
    assert nodes_of(lambda: [gated(x, state) for _ in range(50)]) == (50, 1)


def test_what_depends_on_parameters_alone_is_computed_once():
    few = nodes_of(lambda: [normalized(vector(3)) for _ in range(2)])[0]
    many = nodes_of(lambda: [normalized(vector(3)) for _ in range(20)])[0]
    assert many - few == 18


def test_numbers_in_a_cell_have_a_part_in_derivatives():
    def function(x):
        return ln.sum((x + 1.0) ** 3 + ln.maximum(x, 1.0) ** 0)

    x = ln.tensor([0.5, 2.0], dtype="float64")
    with ln.debug():
        expected = ln.grad(function)(x).numpy()
    np.testing.assert_allclose(ln.grad(ln.cell(function))(x).numpy(), expected)


@pytest.mark.parametrize("own", [lambda f: f, ln.cell], ids=["op by op", "cell"])
def test_parameters_behind_what_is_detached_get_no_gradient(own):
    gate, new, other = (nn.Linear(3, 3) for _ in range(3))

    @own
    def step(x):
        with ln.no_grad():
            last = other(x)
        return ln.sigmoid(gate(x)).detach() * ln.tanh(new(x)) + last

    for x in ln.ones(3), ln.ones(3, length=2):
        ln.sum(step(x)).backward()
        assert all(p.grad is None for m in (gate, other) for p in m.parameters())
        assert all(p.grad.numpy().any() for p in new.parameters())


def test_what_is_made_of_parameters_under_no_grad_in_a_cell_has_no_gradient():
    weight = ln.Parameter(np.array([2.0]))

    @ln.cell
    def scaled(x):
        with ln.no_grad():
            size = ln.tanh(weight)
        return x * size * weight

    scaled(ln.ones(1, dtype="float64")).sum().backward()
    assert weight.grad.item() == pytest.approx(np.tanh(2.0))


@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_cell_goes_over_the_rows_of_sequences(length):
    rows = ln.sequence(generator.standard_normal((5, 3)))[:length]
    h, c = vector(4), ln.sequence(generator.standard_normal((5, 4)))[:length]
    ours = gated(rows, (h, c))
    assert [y.shape for y in ours] == [(length, 4)] * 2
    for j in range(length):
        for y, expected in zip(ours, gated.__wrapped__(rows[j], (h, c[j])), strict=True):
            np.testing.assert_allclose(y.numpy()[j], expected.numpy(), atol=1e-12)
    if length:
        with ln.debug():
            for y, expected in zip(gated(rows, (h, c)), ours, strict=True):
                np.testing.assert_allclose(y.numpy(), expected.numpy(), atol=1e-12)


def test_sequences_of_different_lengths_are_refused():
    x = ln.sequence(np.zeros((3, 3)))
    with pytest.raises(ln.ShapeError, match="gated: Sequences of 2 and 3 rows"):
        gated(x, (ln.sequence(np.zeros((2, 4))), vector(4)))


def test_results_keep_their_structure():
    x = vector(3)
    for twice in (False, True):
        found = named(x, twice=twice)
        assert list(found) == ["y", "parts"] and found["parts"][1][1] == 7
        np.testing.assert_allclose(found["y"].numpy(), x.numpy() * (2 if twice else 1))
        assert found["parts"][1][0].item() == pytest.approx(x.numpy()[0])


# -- purity ----------------------------------------------------------------------------------------


class Scaled(nn.Module):
    def __init__(self):
        self.weight = parameter(3, 3)
        self.factor = 2.0
        self.table = [1.0]

    @ln.cell
    def forward(self, x):
        y = ln.linear(x, self.weight) * self.factor * self.table[0] * SCALE
        return y if self.training else -y


def test_a_change_of_what_a_cell_reads_is_seen(monkeypatch):
    module, x = Scaled(), vector(3)

    def expected(sign=1.0):
        return sign * module.weight.numpy() @ x.numpy() * module.factor * module.table[0] * SCALE

    np.testing.assert_allclose(module(x).numpy(), expected())
    module.factor = 3.0
    np.testing.assert_allclose(module(x).numpy(), expected())
    module.table[0] = 5.0
    np.testing.assert_allclose(module(x).numpy(), expected())
    module.eval()
    np.testing.assert_allclose(module(x).numpy(), expected(-1.0))
    monkeypatch.setitem(globals(), "SCALE", 0.5)
    np.testing.assert_allclose(module(x).numpy(), expected(-1.0))
    module.train()
    np.testing.assert_allclose(module(x).numpy(), expected())
    module.weight = parameter(3, 3)
    np.testing.assert_allclose(module(x).numpy(), expected())


def test_a_change_of_a_variable_in_a_closure_is_seen():
    factor, options = 2.0, {"shift": 1.0}

    def helper(x):
        return x * factor

    @ln.cell
    def function(x):
        return helper(x) + options["shift"]

    x = vector(2)
    np.testing.assert_allclose(function(x).numpy(), x.numpy() * 2.0 + 1.0)
    factor = 4.0
    np.testing.assert_allclose(function(x).numpy(), x.numpy() * 4.0 + 1.0)
    options["shift"] = -1.0
    np.testing.assert_allclose(function(x).numpy(), x.numpy() * 4.0 - 1.0)


def test_arrays_are_constants_of_a_cell():
    table = np.arange(3.0)

    @ln.cell
    def function(x):
        return x * table + ln.tensor(np.ones(3))

    x = vector(3)
    np.testing.assert_allclose(function(x).numpy(), x.numpy() * np.arange(3.0) + 1.0)
    table[0] = 9.0
    np.testing.assert_allclose(function(x).numpy(), x.numpy() * table + 1.0)


def test_what_is_not_the_same_twice_is_refused():
    draw = np.random.default_rng(0)

    @ln.cell
    def drawing(x):
        return x * float(draw.uniform())

    with pytest.raises(ln.ImpureFunction, match="drawing"):
        drawing(vector(2))


def test_what_changes_what_it_reads_is_refused():
    calls = []

    @ln.cell
    def counting(x):
        calls.append(1)
        return x * 2.0

    with pytest.raises(ln.ImpureFunction, match="counting"):
        counting(vector(2))


def test_looking_at_a_value_is_refused():
    @ln.cell
    def looking(x):
        return x if x.sum() > 0 else -x

    with pytest.raises(TypeError, match=r"looking: .* cannot look at values"):
        looking(vector(2))


def test_a_value_from_outside_is_refused():
    outside = vector(2) * 2.0

    @ln.cell
    def reaching(x):
        return x + outside

    with pytest.raises(TypeError, match=r"reaching: .* make it an argument"):
        reaching(vector(2))


def test_a_value_from_outside_that_is_given_is_refused():
    outside = vector(2) * 2.0

    @ln.cell
    def reaching(x):
        return x * 2.0, outside[1]

    with pytest.raises(TypeError, match=r"reaching: .* make it an argument"):
        reaching(vector(2))


@pytest.mark.parametrize("dtype", ["int64", "bool", "float32"])
def test_constants_and_parts_that_a_cell_gives_keep_their_dtype(dtype):
    given = np.array([[0, 1], [1, 0]]).astype(dtype)
    constant = ln.tensor(given)
    cell = ln.cell(lambda x, m: (x * 2.0, constant, ln.sequence(m)[1]))
    _, whole, row = cell(vector(2), constant)
    listed = ln.cell(lambda ms: ln.sum([ln.sequence(m)[1].astype("int64") for m in ms]))
    assert whole.dtype == row.dtype == dtype
    assert whole.tolist() == given.tolist()
    assert row.tolist() == given[1].tolist()
    assert listed([constant, constant]).tolist() == [2, 0]


ONE, TWO, WIDE, SHIFT = parameter(4, 4), parameter(4, 4), parameter(8, 4), parameter(4)
SUMS = {  # of products and of what is copied
    "a bias in the second": lambda x, h: ln.linear(ln.tanh(x), ONE) + ln.linear(h, TWO, SHIFT),
    "a bias of its own": lambda x, h: (
        ln.linear(ln.tanh(x), ONE) + ln.linear(h, TWO) + SHIFT.clone()
    ),
    "a bias that is given": lambda x, h: ln.linear(ln.tanh(x), ONE) + ln.linear(h, TWO, x),
    "copies": lambda x, h: ln.tanh(x.clone() + h.clone()),
    "a copy": lambda x, h: ln.tanh(ln.linear(x, ONE) + h.clone()),
    "parts": lambda x, h: ln.tanh(ln.cat([h[:2], x[:2]]) + ln.linear(x, ONE)),
    "parts of both": lambda x, h: ln.cat([x[:2], h[:2]]) + ln.cat([h[2:], x[2:]]),
    "a part of a product": lambda x, h: ln.linear(x, WIDE)[:4] + ln.linear(h, TWO, SHIFT),
    "products of parts": lambda x, h: ln.bmm(*halves(x, h)) + ln.bmm(*halves(h, x)),
}


def halves(x, h):
    return x.reshape(2, 2, 1), h.reshape(2, 1, 2)


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("way", [ln.cell, ln.checkpoint])
def test_sums_of_products_and_copies_are_whole(name, way):
    x, h = vector(4), vector(4)

    def run(function):
        for p in (ONE, TWO, WIDE, SHIFT):
            p.zero_grad()
        y = function(x, h)
        (y * y).reshape(-1).sum().backward()
        grads = [p.grad.numpy() for p in (ONE, TWO, WIDE, SHIFT) if p.grad is not None]
        return [y.numpy(), *grads]

    for a, b in zip(run(SUMS[name]), run(way(SUMS[name])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_a_sequence_as_a_result_is_refused():
    stacking = ln.cell(lambda x: ln.stack([x, x * 2.0]))
    with pytest.raises(TypeError, match=r"gives a Sequence; .* give a list"):
        stacking(vector(2))


def test_errors_inside_a_cell_leave_it_usable():
    with pytest.raises(ln.ShapeError):
        gated(vector(5), (vector(4), vector(4)))
    assert gated(vector(3), (vector(4), vector(4)))[0].numpy().shape == (4,)


def test_without_a_tensor_the_function_is_called():
    assert named.__wrapped__ is not named
    assert ln.cell(lambda n: n + 1)(2) == 3


# -- modules ---------------------------------------------------------------------------------------


def test_copies_of_a_module_have_traces_of_their_own():
    cell = nn.LSTMCell(3, 4)
    x = ln.tensor(np.ones(3, np.float32))
    before = cell(x)[0].numpy()
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        np.testing.assert_array_equal(other(x)[0].numpy(), before)
        other.bias_ih.copy_(np.full(16, 2.0, np.float32))
        assert not np.allclose(other(x)[0].numpy(), before)
        np.testing.assert_array_equal(cell(x)[0].numpy(), before)


@ln.cell
def found_by_name(x):
    return x * 2.0


def doubled(x):
    return x * 2.0


class HoldsCells(nn.Module):
    def __init__(self):
        self.k = 3.0
        self.cells = [found_by_name, ln.cell(doubled), ln.checkpoint(doubled)]
        self.own = ln.cell(self.times)

    def times(self, x):
        return x * self.k

    def forward(self, x):
        return self.own(sum((cell(x) for cell in self.cells), x))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_cells_that_are_held_are_copied(copied):
    holds = HoldsCells()
    assert holds(ln.tensor([1.0])).tolist() == [21.0]
    other = copied(holds)
    other.k = 1.0
    assert [m(ln.tensor([1.0])).tolist() for m in (holds, other)] == [[21.0], [7.0]]
    assert [type(cell) for cell in other.cells] == [type(cell) for cell in holds.cells]
    assert other.cells[0] is found_by_name


def test_profiles_and_explanations_name_a_cell():
    with ln.profile() as seen:
        gated(vector(3), (vector(4), vector(4)))[0].numpy()
    assert "gated" in str(seen)
    assert "matmul" in gated.explain() and "tanh" in gated.explain()
    assert "not called yet" in ln.cell(lambda x: x).explain()


def test_a_cell_can_be_scanned():
    x = ln.sequence(generator.standard_normal((4, 3)))
    start = (vector(4), vector(4))
    h, _ = ln.scan(gated, start, x)
    state = start
    for row in x:
        state = gated(row, state)
    np.testing.assert_allclose(h.numpy()[-1], state[0].numpy(), atol=1e-12)


@pytest.mark.parametrize("children", [15, 40])
def test_a_cell_may_have_more_operands_than_workers_have_room_for(children):
    module = nn.ChildSumTreeLSTMCell(3, 2)
    inputs = [ln.tensor(np.full(3, k / children, np.float32)) for k in range(children)]

    def gradient():
        module.zero_grad()
        h, _ = module(inputs[0], [module(x) for x in inputs])
        ln.sum(h).backward()
        return [p.grad.numpy() for p in module.parameters()]

    together = gradient()
    with ln.debug():
        apart = gradient()
    for a, b in zip(together, apart, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_what_is_no_function_is_refused_and_what_is_one_is_taken():
    layer = nn.Linear(3, 2)
    for make in (ln.cell, ln.checkpoint):
        for wrong in (layer, 3, functools.partial(ln.tanh)):
            with pytest.raises(TypeError, match="expected a function or a method"):
                make(wrong)
        x = ln.ones(3)
        for right in (ln.tanh, layer.forward, ln.cell(lambda x: x * 2.0)):
            np.testing.assert_allclose(make(right)(x).numpy(), right(x).numpy(), rtol=1e-6)


def test_zero_is_not_minus_zero():
    @ln.cell
    def over(x, k):
        return x / k

    x = ln.ones(1)
    for _ in range(3):
        assert [over(x, k).item() for k in (0.0, -0.0)] == [np.inf, -np.inf]


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_zero_of_numpy_is_not_minus_zero(kind):
    cell = ln.cell(lambda x, k: x * math.copysign(1.0, k))
    for k in (0.0, -0.0, 0.0):
        assert cell(ln.tensor([2.0]), kind(k)).tolist() == [math.copysign(2.0, k)]


@pytest.mark.parametrize("over", ["a value", "a list"])
def test_integers_in_a_cell_are_no_floats(over):
    def function(x):
        return ln.clamp(x, 0) + (2**53 + 1), ln.where(x > 2**62 + 1, x, -1), ln.clamp(x, max=5)

    x = ln.tensor(np.array([0, 1, -3, 2**62 + 1, 2**62 + 2], np.int64))
    of_one = ln.cell(function)
    of_many = ln.cell(lambda xs: function(xs[0] + xs[1] * 0))
    found = of_one(x) if over == "a value" else of_many([x, x])
    for y, expected in zip(found, function(x), strict=True):
        np.testing.assert_array_equal(y.numpy(), expected.numpy())


def test_numbers_without_a_literal_may_be_arguments():
    cell, x = ln.cell(lambda x, k: x * k), ln.ones(1)
    for _ in range(3):
        for k in (1.0, np.inf, -np.inf, np.nan, 2.0):
            np.testing.assert_equal(cell(x, float(k)).numpy(), [k])


def test_a_call_with_more_arguments_than_were_seen_is_not_taken_for_one_with_fewer():
    cell = ln.cell(lambda x, y=None: x if y is None else x + y)
    one = ln.ones(2) * 1.0
    assert cell(one).tolist() == cell(one).tolist() == [1.0, 1.0]
    assert cell(one, one).tolist() == [2.0, 2.0]


@pytest.mark.slow  # compiles as many kernels as it has hundreds of operands
def test_a_cell_may_be_longer_than_one_loop_and_have_more_operands():
    def function(*values):
        total = ln.tanh(values[0])
        for x in values:
            total = ln.tanh(total * x) + 0.5 * x
        return ln.cat(list(values)) * ln.sum(total), total

    cell, expected = ln.cell(function), None
    for call in (function, cell):
        values = [ln.tensor(np.full(2, k / 400), requires_grad=True) for k in range(400)]
        ln.sum([ln.sum(y * y) for y in call(*values)]).backward()
        found = np.stack([x.grad.numpy() for x in values])
        expected = found if expected is None else expected
    np.testing.assert_allclose(found, expected, rtol=1e-10)
