"""Ops over runs: values, derivatives, batches, and the rows that they take without copying."""

import numpy as np
import pytest
from naive import RUNS
from test_ops import check_derivative, gradient_of, lazy, observed

import lazynet as ln
from lazynet import check_grads
from lazynet.batching import layout as words
from lazynet.batching.policies import NAMES
from lazynet.op import REGISTRY
from lazynet.ops.reduce import sum as sum_of
from lazynet.record import record_runs

# For each op its forms: from two sizes n and m, the rows of each operand, those of the output, and
# the payload.
FORMS = {
    "attention": [
        lambda n, m: ((n, m, m), n, (m, 5, 6)),
        lambda n, m: ((n, m, m), n, (0, 7, 8)),
        lambda n, m: ((n, m, m), n, (1, 9, 9)),
    ],
    "pair_scores": [lambda n, m: ((n, m), n * m, ())],
    "pair_sum": [lambda n, m: ((n * m, m), n, ())],
    "pair_sum_back": [lambda n, m: ((n * m, n), m, ())],
    "pair_softmax": [
        lambda n, m: ((n * m,), n * m, (m, m)),
        lambda n, m: ((n * m,), n * m, (m, 0)),
    ],
    "pair_drop": [lambda n, m: ((n * m,), n * m, (3, 4))],
    "join_rows": [lambda n, m: ((4,), 1, ())],
    "log_scan": [lambda n, m: ((n, 1, 1), n, ())],
    "linear_scan": [lambda n, m: ((n, max(n - 1, 0)), n, ())],
    "viterbi": [lambda n, m: ((n, 1, 1, 1), n, ())],
    "argsort_rows": [lambda n, m: ((n,), n, ())],
    "after": [lambda n, m: ((n, m), n, ())],
    "pair_total": [lambda n, m: ((n * m,), n * m, (m,))],
}
SIZES = [(0, 2), (1, 1), (3, 4), (5, 2), (4, 4)]
CASES = [
    pytest.param(REGISTRY[name], sample, form, id=f"{name}-{k}-{j}")
    for name, forms in FORMS.items()
    for k, form in enumerate(forms)
    for j, sample in enumerate(REGISTRY[name].samples)
]
over_all = pytest.mark.parametrize(("op", "sample", "form"), CASES)
differentiable = [case for case in CASES if case.values[0].vjp]
over_differentiable = pytest.mark.parametrize(("op", "sample", "form"), differentiable)


def draw(sample, lengths, dtype="float64"):
    return [
        np.random.standard_normal((n, *shape)).astype(dtype)
        for n, shape in zip(lengths, sample.operands, strict=True)
    ]


def run(op, sample, form, size, operands):
    _, rows, payload = form(*size)
    return record_runs(op, operands, rows, sample.attributes, payload)


def expected(op, sample, form, size, arrays):
    _, rows, payload = form(*size)
    if not len(arrays[0]):
        row = op.signature(tuple(x.type for x in map(ln.sequence, arrays)), sample.attributes).type
        return np.zeros((rows, *row.shape))  # sums of nothing
    payload = {"payload": payload} if op.payload else {}
    return RUNS[op.name](*arrays, **dict(sample.attributes), **payload)


def test_every_op_over_runs_is_tested():
    # In test_ctc.py and test_sorting.py: their second operands are integers.
    elsewhere = {"ctc", "take_each", "put_each"}
    assert set(FORMS) | elsewhere == {
        name for name, op in REGISTRY.items() if op.kind == words.RUNS
    }


@over_all
def test_values_are_those_of_the_naive_version(op, sample, form):
    for size in SIZES:
        arrays = draw(sample, form(*size)[0])
        y = run(op, sample, form, size, [lazy(a, True) for a in arrays])
        want = expected(op, sample, form, size, arrays)
        np.testing.assert_allclose(y.numpy(), want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("policy", NAMES)
@over_differentiable
def test_values_and_gradients_of_examples_of_all_sizes_under_every_policy(op, sample, form, policy):
    with ln.batching(policy):
        examples = []
        for size in SIZES:
            arrays = draw(sample, form(*size)[0])
            handles = [lazy(a, True) for a in arrays]
            examples.append((size, arrays, handles, run(op, sample, form, size, handles)))
        weights = [np.random.standard_normal(y.shape) for *_, y in examples]
        sum_of([
            sum_of(y * lazy(w, True)) for w, (*_, y) in zip(weights, examples, strict=True)
        ]).backward()  # fmt: skip
    for w, (size, arrays, handles, y) in zip(weights, examples, strict=True):
        want = expected(op, sample, form, size, arrays)
        assert y.shape == want.shape
        np.testing.assert_allclose(y.numpy(), want, rtol=1e-11, atol=1e-12)
        for k, (a, x) in enumerate(zip(arrays, handles, strict=True)):
            d = np.random.standard_normal(a.shape)
            moved = [[b + s * d if b is a else b for b in arrays] for s in (1e-6, -1e-6)]
            up, down = (np.vdot(w, expected(op, sample, form, size, b)) for b in moved)
            slope = np.vdot(gradient_of(x), d)
            assert slope == pytest.approx((up - down) / 2e-6, rel=1e-6, abs=1e-7), (size, k)


@over_differentiable
def test_first_and_second_derivatives_are_those_of_the_formula(op, sample, form):
    for size in [(3, 4), (1, 1), (4, 2)]:
        arrays = draw(sample, form(*size)[0])

        def value(*operands, size=size):
            return run(op, sample, form, size, [ln.sequence(x) for x in operands])

        check_grads(value, arrays, order=2)


@over_all
def test_float32_agrees_with_float64(op, sample, form):
    arrays = draw(sample, form(4, 3)[0])
    exact = run(op, sample, form, (4, 3), [lazy(a, True) for a in arrays])
    narrow = run(op, sample, form, (4, 3), [lazy(a.astype("float32"), True) for a in arrays])
    assert narrow.dtype == ("float32" if op.vjp else "int64")
    np.testing.assert_allclose(narrow.numpy(), exact.numpy(), rtol=2e-5, atol=2e-6)


@over_all
def test_fifty_examples_are_one_batch(op, sample, form):
    examples = []
    for j in range(50):
        size = SIZES[j % len(SIZES)]
        operands = [lazy(a, True) for a in draw(sample, form(*size)[0])]
        examples.append(run(op, sample, form, size, operands))
    with observed() as runs:
        ln.forward(examples)
    assert [r.batches for r in runs] == [1]


@over_all
def test_rows_may_lie_anywhere(op, sample, form):
    """Reversed rows, and parts of wider rows."""
    size = (4, 3)
    arrays = draw(sample, form(*size)[0])
    wide = [np.concatenate([a[::-1].reshape(len(a), -1) + 0.5, a[::-1].reshape(len(a), -1)], 1)
            for a in arrays]  # fmt: skip

    def value(leaves):
        parts = [
            (x * 1.0).chunk(2)[1].reshape(a.shape[1:])[::-1]
            for x, a in zip(leaves, arrays, strict=True)
        ]
        return run(op, sample, form, size, parts)

    handles = [lazy(a, True) for a in wide]
    want = expected(op, sample, form, size, arrays)
    np.testing.assert_allclose(value(handles).numpy(), want, rtol=1e-11, atol=1e-12)
    if op.vjp:
        check_derivative(value, wide, handles)


@over_all
def test_a_run_may_come_in_pieces(op, sample, form):
    size = (4, 3)
    arrays = draw(sample, form(*size)[0])

    def value(leaves):
        runs = []
        for x in leaves:
            y = x * 1.0
            runs.append([y[:1], y[1], y[2:2], y[2:]] if len(y) > 1 else [y])
        return run(op, sample, form, size, runs)

    handles = [lazy(a, True) for a in arrays]
    want = expected(op, sample, form, size, arrays)
    np.testing.assert_allclose(value(handles).numpy(), want, rtol=1e-11, atol=1e-12)
    if op.vjp:
        check_derivative(value, arrays, handles)
        check_grads(lambda *leaves: value([ln.sequence(x) for x in leaves]), arrays, order=2)


def test_operands_that_want_no_gradient_are_left_out():
    q, k = lazy(np.random.randn(3, 1, 2), True), ln.sequence(np.random.randn(4, 1, 2))
    record_runs(REGISTRY["pair_scores"], (q, k), 12).sum().backward()
    np.testing.assert_allclose(gradient_of(q), np.tile(k.numpy().sum(0), (3, 1, 1)))


def test_an_op_over_runs_cannot_be_part_of_a_traced_function():
    scores = REGISTRY["pair_scores"]  # the registry grows with all that was run before

    @ln.cell
    def step(x):
        rows = ln.sequence([x.reshape(1, 2), x.reshape(1, 2)])
        return record_runs(scores, (rows, rows), 4)[0]

    with pytest.raises(TypeError, match="pair_scores cannot be part of a traced function"):
        step(ln.tensor([1.0, 2.0]))
