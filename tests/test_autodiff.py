"""Gradients as values: first and second derivatives from the formulas, for every kind of node."""

import numpy as np
import pytest
from test_ops import ROW_CASES, SEGMENT_CASES, differentiable, draw, over

import lazynet as ln
from lazynet import check_grads, grad, gradients, value_and_grad
from lazynet.batching import layout as words
from lazynet.graph import current_graph
from lazynet.ops.lifting import elementwise
from lazynet.record import enter, record, record_segments

generator = np.random.default_rng(0)


def normal(*shape):
    return generator.standard_normal(shape)


WEIGHT, RECURRENT = ln.Parameter(normal(4, 3)), ln.Parameter(normal(4, 4))
TABLE = ln.Parameter(normal(5, 3))


def rnn_step(x, states):
    return ((ln.linear(x, WEIGHT) + ln.linear(states[0], RECURRENT)).tanh(),)


def unrolled(x, h):
    rows = []
    for row in ln.sequence(x):
        h = (row + h).tanh()
        rows.append(h)
    return ln.sequence(rows)


PROGRAMS = {
    "quotients and broadcasting": (lambda x, y: (x * y).tanh() / (1.0 + y * y), [(5,), (5,)]),
    "a layer with weights as arguments": (
        lambda x, w, b: ln.linear(x, w, b).sigmoid(), [(4,), (3, 4), (3,)],
    ),
    "a matrix product": (lambda a, b: (a @ b).tanh(), [(2, 3), (3, 4)]),
    "softmax over features": (lambda x: ln.softmax(x) * ln.log_softmax(x), [(4,)]),
    "views and elements": (lambda x: x.chunk(2)[0] * x.chunk(2)[1] + x[1], [(4,)]),
    "softmax over rows and reversal": (
        lambda x: ln.softmax(ln.sequence(x), 0) * ln.sequence(x)[::-1], [(4, 3)],
    ),
    "a sum of a list": (lambda x: ln.sum([x, x * 2.0, x.tanh()]), [(3,)]),
    "rows made of a list": (lambda x: ln.sequence([x, x * 2.0, x.tanh()]).sum(0), [(3,)]),
    "a broadcast row": (lambda x, q: ln.sequence(x) * q.tanh(), [(4, 3), (3,)]),
    "segment sums": (
        lambda x: ln.segment_sum(ln.sequence(x).square(), [0, 2, 0, 2], 3), [(4, 3)],
    ),
    "a loss": (lambda x: ln.cross_entropy(ln.sequence(x), [0, 2, 0, 1]), [(4, 3)]),
    "a recurrence, row by row": (unrolled, [(3, 4), (4,)]),
    "a table as an argument": (
        lambda t: ln.lookup(t, [1, 3, 1]) * ln.lookup(t * 2.0, 2), [(4, 3)],
    ),
    "a choice": (lambda x, y: ln.where(x > y, x * y, y.square()), [(5,), (5,)]),
    "a scan": (lambda x, h: ln.scan(rnn_step, (h,), ln.sequence(x))[0], [(3, 3), (4,)]),
    "the last state of a scan": (
        lambda x, h: ln.scan(rnn_step, (h,), ln.sequence(x)[::-1])[0][-1], [(3, 3), (4,)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_first_and_second_derivatives_are_those_of_central_differences(name):
    function, shapes = PROGRAMS[name]
    check_grads(function, [normal(*shape) for shape in shapes], order=2)


CHECKED = [
    (op, sample)
    for op, sample in differentiable(ROW_CASES + SEGMENT_CASES)
    if sample.operands and not (sample.parameters or op.name.startswith("to_float"))
]


@over(CHECKED)
def test_every_op_has_first_and_second_derivatives_both_ways_from_its_formula(op, sample):
    """Ops over runs have the same in `test_runs.py`, with all their forms and sizes."""
    length = 3 if op.kind == words.SEGMENT else None
    given = [draw(sample, k, length) for k in range(len(sample.operands))]
    floats = [k for k, a in enumerate(given) if a.dtype.kind == "f"]

    def applied(*values):
        operands = [ln.tensor(a) for a in given]
        for k, x in zip(floats, values, strict=True):
            operands[k] = x
        if op.kind == words.SEGMENT:
            return record_segments(op, ln.sequence(operands[0]), sample.attributes)
        return record(op, operands, sample.attributes, payload=list(sample.payload) or None)

    check_grads(applied, [given[k] for k in floats], order=2, tolerance=1e-6)


def test_a_wrong_formula_is_found():
    wrong = elementwise("", "y = x^2", "x0 * x0", lambda g, y, x: (g * x,))
    with pytest.raises(AssertionError, match="first derivative"):
        check_grads(lambda x: record(wrong, (x,)), [normal(3)])


def test_gradients_of_a_looked_up_table_are_exact():
    y = ln.lookup(TABLE, [1, 2, 1]).square().sum()
    (first,) = gradients(y, [TABLE])
    counts = np.array([0, 2, 1, 0, 0])[:, None]
    np.testing.assert_allclose(first.numpy(), 2 * counts * TABLE.numpy())
    (second,) = gradients(first.square().sum(), [TABLE])
    np.testing.assert_allclose(second.numpy(), 8 * counts**2 * TABLE.numpy())


def test_grad_of_grad():
    cube = lambda x: (x * x * x).sum()  # noqa: E731
    x = np.array([1.0, 2.0, 3.0])
    value, slope = value_and_grad(cube)(x)
    np.testing.assert_allclose((value.item(), *slope.numpy()), (36, 3, 12, 27))
    np.testing.assert_allclose(grad(lambda x: grad(cube)(x).sum())(x).numpy(), 6 * x)


def test_a_value_that_does_not_depend_on_an_input_has_no_gradient():
    x, y = (ln.tensor(normal(3), requires_grad=True) for _ in range(2))
    assert gradients((x * 2.0).sum(), [y]) == [None]


def test_one_input_need_not_be_in_a_list():
    x = ln.tensor(normal(3), requires_grad=True)
    (found,) = gradients(x.square().sum(), x)
    np.testing.assert_allclose(found.numpy(), 2 * x.numpy())


def test_gradients_and_hooks_inside_a_traced_function_are_refused():
    @ln.cell
    def sloped(x):
        return grad(lambda y: y.square().sum())(x)

    @ln.cell
    def watched(x):
        y = x * 2.0
        y.register_hook(print)
        return y

    with pytest.raises(TypeError, match="gradients: inside a traced function"):
        sloped(ln.tensor(normal(3)))
    with pytest.raises(TypeError, match="register_hook: inside a traced function"):
        watched(ln.tensor(normal(3), requires_grad=True))


def test_gradients_agree_with_backward():
    x = ln.tensor(normal(4, 3), requires_grad=True)
    loss = ln.cross_entropy(ln.linear(ln.sequence(x), WEIGHT).tanh(), [0, 3, 1, 2])
    lazy = [g.numpy() for g in gradients(loss, [x, WEIGHT])]
    WEIGHT.zero_grad()
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), lazy[0], atol=1e-12)
    np.testing.assert_allclose(WEIGHT.grad.numpy(), lazy[1], atol=1e-12)


VIEWS = {
    "an item": lambda x: x[1],
    "rows": lambda x: x[1:],
    "picked": lambda x: ln.pick(ln.sequence(x), [0, 1, 0]),
    "a part": lambda x: ln.chunk(x, 2)[0],
    "a view of a view": lambda x: x[1:][0],
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_that_was_asked_for_leads_back(view):
    def gradient(asked):
        x = ln.tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
        y = VIEWS[view](x)
        if asked:
            y.numpy()
        (recorded,) = ln.gradients(ln.sum(y), [x])
        ln.sum(y).backward(create_graph=True)
        np.testing.assert_array_equal(recorded, x.grad.numpy())
        return x.grad.tolist()

    assert gradient(asked=True) == gradient(asked=False)


def test_leaves_that_are_met_after_the_first_gradients_are_found():
    x, z = ln.tensor([1.0, 2.0], requires_grad=True), ln.tensor([3.0, 4.0], requires_grad=True)
    first = (x * ln.tensor([5.0, 6.0])).sum()
    ln.gradients(first, [x])
    second = (z * ln.tensor([7.0, 8.0])).sum()
    first.backward()  # ends the recording: what nobody uses is forgotten
    (found,) = ln.gradients(second, [z])
    assert found.tolist() == [7.0, 8.0]
    second.backward(create_graph=True)
    assert z.grad.tolist() == [7.0, 8.0]


def test_a_link_that_was_asked_for_alone_leads_back():
    """A forward that comes between the link to an older graph and the node that wants it."""
    x = ln.tensor([1.0, 2.0], requires_grad=True)
    h = ln.tanh(x)
    h.sum().backward(retain_graph=True)
    graph, other = current_graph(), ln.tensor([1.0]) * 1.0
    enter(graph, h)
    other.numpy()
    y = (h * 3.0).sum()
    assert y.graph is graph
    (found,) = ln.gradients(y, [x])
    np.testing.assert_allclose(found.numpy(), 3 * (1 - h.numpy() ** 2), rtol=1e-6)
