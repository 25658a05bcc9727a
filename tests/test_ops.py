"""Every registered op: values against `naive.py`, derivatives against differences, one batch."""

import numpy as np
import pytest
from naive import ROWS, RUNS, SEGMENTS

import lazynet as ln
from lazynet import running
from lazynet.batching import layout as words
from lazynet.op import REGISTRY
from lazynet.ops.elementwise import cast
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.rows import sequence
from lazynet.record import record, record_segments

for _dtype in ("float32", "float64", "int64", "bool"):
    cast(ln.tensor(1.0), _dtype)  # casts register when they are first used

RANDOM = {"normal", "uniform"}
CASES = [(op, sample) for op in REGISTRY.values() for sample in op.samples]
SEGMENT_CASES = [case for case in CASES if case[0].kind == words.SEGMENT]
ROW_CASES = [
    case
    for case in CASES
    if case[0].kind not in (words.SEGMENT, words.RUNS) and case[0].name not in RANDOM
]
LENGTHS = (0, 1, 7)


def named(cases):
    counts = {}
    for op, _ in cases:
        counts[op.name] = counts.get(op.name, -1) + 1
        yield f"{op.name}-{counts[op.name]}"


def over(cases):
    return pytest.mark.parametrize(("op", "sample"), cases, ids=list(named(cases)))


def draw(sample, position, length=None, dtype="float64"):
    """Values of one operand: one row, or `length` of them."""
    shape = sample.operands[position] if length is None else (length, *sample.operands[position])
    wanted = sample.dtypes[position] if sample.dtypes else ""
    if wanted == "bool":
        return np.asarray(np.random.rand(*shape) < 0.5)
    if wanted == "int64":
        return np.random.randint(sample.low, sample.high + 1, shape)
    # Distinct values, away from 0: no maximum is shared and no kink is met.
    values = np.random.permutation(np.linspace(sample.low, sample.high, 101)[1::2])
    values = np.resize(values, shape) + 0.013 * np.random.rand(*shape)
    return values.astype(dtype)


def lazy(array, as_sequence=False, parameter=False):
    if parameter:
        return ln.Parameter(array)
    leaf = ln.tensor(array, requires_grad=array.dtype.kind == "f")
    return sequence(leaf) if as_sequence else leaf


def run(op, sample, operands, length=None):
    """Record the op on these operands."""
    if op.kind == words.SEGMENT:
        return record_segments(op, operands[0], sample.attributes)
    payload = None
    if op.payload:
        payload = np.array(sample.payload * (1 if length is None else length), np.int32)
    return record(op, tuple(operands), sample.attributes, payload=payload, length=length)


def expected(op, sample, arrays):
    attributes = dict(sample.attributes)
    if op.payload:
        attributes["payload"] = sample.payload
    return ROWS[op.name](*arrays, **attributes)


def many(sample, length, ragged=None):
    """Operands with `length` rows each; those not in `ragged` have one row."""
    arrays, handles = [], []
    for position in range(len(sample.operands)):
        single = position in sample.parameters or (ragged is not None and position not in ragged)
        arrays.append(draw(sample, position, None if single else length))
        parameter = position in sample.parameters
        handles.append(lazy(arrays[-1], not single, parameter))
    rows = [
        [a[j] if h.__class__ is ln.Sequence else a for a, h in zip(arrays, handles, strict=True)]
        for j in range(length)
    ]
    return arrays, handles, rows


def test_every_op_has_samples_and_a_naive_version():
    for op in REGISTRY.values():
        assert op.samples, op.name
        naive = {words.SEGMENT: SEGMENTS, words.RUNS: RUNS}.get(op.kind, ROWS)
        assert op.name in naive or op.name in RANDOM


@over(ROW_CASES)
def test_values_of_one_row(op, sample):
    arrays = [draw(sample, k) for k in range(len(sample.operands))]
    handles = [lazy(a, parameter=k in sample.parameters) for k, a in enumerate(arrays)]
    y = run(op, sample, handles)
    want = expected(op, sample, arrays)
    assert y.shape == np.shape(want)
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("length", LENGTHS)
@over(ROW_CASES)
def test_values_of_the_rows_of_a_sequence(op, sample, length):
    _, handles, rows = many(sample, length)
    y = run(op, sample, handles, length)
    assert len(y) == length
    assert y.numpy().shape == y.shape
    for j in range(length):
        np.testing.assert_allclose(
            y[j].numpy(), expected(op, sample, rows[j]), rtol=1e-12, atol=1e-14
        )


@over([case for case in ROW_CASES if len(case[1].operands) > 1])
def test_one_row_broadcasts_against_the_rows_of_a_sequence(op, sample):
    for ragged in range(len(sample.operands)):
        _, handles, rows = many(sample, 4, ragged={ragged})
        y = run(op, sample, handles, 4)
        for j in range(4):
            np.testing.assert_allclose(
                y[j].numpy(), expected(op, sample, rows[j]), rtol=1e-12, atol=1e-14
            )


@pytest.mark.parametrize("lengths", [(1,), (7,), (3, 1, 6)], ids=str)
@over(SEGMENT_CASES)
def test_values_along_segments(op, sample, lengths):
    arrays = [draw(sample, 0, n) for n in lengths]
    results = [run(op, sample, [lazy(a, True)]) for a in arrays]
    for a, y in zip(arrays, results, strict=True):
        want = SEGMENTS[op.name](list(a), **dict(sample.attributes))
        np.testing.assert_allclose(y.numpy(), want, rtol=1e-12, atol=1e-14)


@over(SEGMENT_CASES)
def test_a_segment_without_rows_is_legal(op, sample):
    empty = run(op, sample, [lazy(draw(sample, 0, 0), True)])
    beside = run(op, sample, [lazy(draw(sample, 0, 2), True)])
    assert beside.numpy().shape == beside.shape
    if op.per_item:
        assert empty.numpy().shape == (0, *sample.operands[0])
    else:
        assert np.all(empty.numpy() == {"row_sum": 0, "row_max": -np.inf, "row_share": 0}[op.name])


# -- derivatives -----------------------------------------------------------------------------------


def check_derivative(evaluate, arrays, handles):
    """The gradient of `evaluate(handles)` along a random direction is its difference quotient."""
    probe = {}

    def value(leaves):
        y = evaluate(leaves)
        if "weights" not in probe:
            probe["weights"] = np.random.randn(*y.shape)
        weights = ln.tensor(probe["weights"])
        return sum_of(y * (sequence(weights) if isinstance(y, ln.Sequence) else weights))

    direction = [np.random.randn(*a.shape) if a.dtype.kind == "f" else 0 for a in arrays]
    loss = value(handles)
    loss.backward()
    slope = sum(
        np.vdot(gradient_of(h), d)
        for h, d, a in zip(handles, direction, arrays, strict=True)
        if a.dtype.kind == "f"
    )
    step = 1e-6

    def moved(sign):
        leaves = []
        for a, d, h in zip(arrays, direction, handles, strict=True):
            changed = a + sign * step * d if a.dtype.kind == "f" else a
            leaves.append(lazy(changed, isinstance(h, ln.Sequence), isinstance(h, ln.Parameter)))
        with ln.no_grad():
            return value(leaves).item()

    quotient = (moved(1) - moved(-1)) / (2 * step)
    assert abs(slope - quotient) <= 1e-6 * max(1, abs(slope), abs(quotient))


def gradient_of(handle):
    gradient = handle.graph.gradient
    return np.zeros(handle.graph.array.shape) if gradient is None else gradient


def takes_one_value_twice(sample):
    same = len(sample.operands) == 2 and sample.operands[0] == sample.operands[1]
    return same and "int64" not in sample.dtypes


def differentiable(cases):
    return [
        (op, sample)
        for op, sample in cases
        if (op.vjp or op.kind == words.ALIAS) and op.name not in {"sign", "to_float32"}
    ]


@over(differentiable(ROW_CASES))
def test_derivative_of_one_row(op, sample):
    arrays = [draw(sample, k) for k in range(len(sample.operands))]
    handles = [lazy(a, parameter=k in sample.parameters) for k, a in enumerate(arrays)]
    check_derivative(lambda leaves: run(op, sample, leaves), arrays, handles)


@pytest.mark.parametrize("length", [1, 6])
@over(differentiable(ROW_CASES))
def test_derivative_of_the_rows_of_a_sequence(op, sample, length):
    arrays, handles, _ = many(sample, length)
    check_derivative(lambda leaves: run(op, sample, leaves, length), arrays, handles)


@over([case for case in differentiable(ROW_CASES) if len(case[1].operands) > 1])
def test_derivative_of_a_row_shared_by_a_sequence_adds_up(op, sample):
    for ragged in range(len(sample.operands)):
        arrays, handles, _ = many(sample, 4, ragged={ragged})
        check_derivative(lambda leaves: run(op, sample, leaves, 4), arrays, handles)


@over([case for case in differentiable(ROW_CASES) if len(case[1].operands) > 1])
def test_derivative_with_respect_to_parameters(op, sample):
    arrays = [draw(sample, k) for k in range(len(sample.operands))]
    for position, array in enumerate(arrays):
        if array.dtype.kind != "f":
            continue
        handles = [
            lazy(a, parameter=k in (*sample.parameters, position)) for k, a in enumerate(arrays)
        ]
        check_derivative(lambda leaves: run(op, sample, leaves), arrays, handles)


@over([case for case in differentiable(ROW_CASES) if takes_one_value_twice(case[1])])
def test_derivative_where_both_operands_are_one_value(op, sample):
    array = draw(sample, 0)
    check_derivative(lambda x: run(op, sample, [x[0], x[0]]), [array], [lazy(array)])


@over([case for case in differentiable(ROW_CASES) if not (case[1].parameters or case[1].dtypes)])
def test_derivative_of_a_view(op, sample):
    """Each operand is the second part of a row that is twice as wide."""
    arrays = [draw(sample, k) for k in range(len(sample.operands))]
    wide = [np.concatenate([a.reshape(-1) + 0.5, a.reshape(-1)]) for a in arrays]

    def views(leaves):
        return [(x * 1.0).chunk(2)[1].reshape(a.shape) for x, a in zip(leaves, arrays, strict=True)]

    check_derivative(lambda leaves: run(op, sample, views(leaves)), wide, [lazy(a) for a in wide])


@pytest.mark.parametrize("length", [1, 6])
@over(differentiable(SEGMENT_CASES))
def test_derivative_along_segments(op, sample, length):
    array = draw(sample, 0, length)
    check_derivative(lambda x: run(op, sample, x), [array], [lazy(array, True)])


# -- dtypes and batches ----------------------------------------------------------------------------


@over([case for case in ROW_CASES + SEGMENT_CASES if case[0].kind != words.ALIAS])
def test_float32_agrees_with_float64(op, sample):
    exact = [draw(sample, k, 5) for k in range(len(sample.operands))]
    exact = [a[0] if k in sample.parameters else a for k, a in enumerate(exact)]
    results = []
    for dtype in ("float64", "float32"):
        operands = [
            lazy(a.astype(dtype) if a.dtype.kind == "f" else a, k not in sample.parameters,
                 k in sample.parameters)
            for k, a in enumerate(exact)
        ]  # fmt: skip
        y = run(op, sample, operands, 5)
        if sample.operands and not op.name.startswith("to_") and y.dtype.kind == "f":
            assert y.dtype == dtype
        results.append(y.numpy())
    np.testing.assert_allclose(results[1], results[0], rtol=2e-5, atol=2e-6)


@over([case for case in ROW_CASES + SEGMENT_CASES if case[0].kind != words.ALIAS])
def test_fifty_examples_are_one_batch(op, sample):
    parameters = {k: lazy(draw(sample, k), parameter=True) for k in sample.parameters}
    examples = []
    for j in range(50):
        length = LENGTHS[j % 3] if op.kind == words.SEGMENT else None
        operands = [
            parameters.get(k, lazy(draw(sample, k, length), length is not None))
            for k in range(len(sample.operands))
        ]
        examples.append(run(op, sample, operands))
    with observed() as runs:
        ln.forward(examples)
    assert [r.batches for r in runs] == [1]


@over([case for case in ROW_CASES if not (case[1].parameters or case[0].kind == words.ALIAS)])
def test_rows_of_sequences_and_tensors_share_a_batch(op, sample):
    single = [lazy(draw(sample, k)) for k in range(len(sample.operands))]
    values = [run(op, sample, single)]
    for length in LENGTHS:
        values.append(run(op, sample, many(sample, length)[1], length))
    with observed() as runs:
        ln.forward(values)
    assert [r.batches for r in runs] == [1]


def test_no_two_samples_share_a_batch():
    """Ops, attributes and shapes are compared in full: what differs in one is another batch."""
    with ln.batching("agenda"):
        kept, different = [], set()
        for op, sample in ROW_CASES + SEGMENT_CASES:
            if op.kind == words.ALIAS:
                continue
            operands = [
                lazy(draw(sample, k, 2 if op.kind == words.SEGMENT else None),
                     op.kind == words.SEGMENT, k in sample.parameters)
                for k in range(len(sample.operands))
            ]  # fmt: skip
            kept.append(run(op, sample, operands))
            different.add((op.name, sample.operands, sample.attributes, sample.dtypes))
        with observed() as runs:
            ln.forward(kept)
    assert sum(r.batches for r in runs) == len(different)


def test_one_op_with_two_parameters_is_two_batches():
    rows = [ln.tensor(np.ones(3)) for _ in range(10)]
    weights = [ln.Parameter(np.ones((2, 3))) for _ in range(2)]
    values = [record(REGISTRY["linear"], (x, weights[k % 2])) for k, x in enumerate(rows)]
    with observed() as runs:
        ln.forward(values)
    assert [r.batches for r in runs] == [2]


class observed:
    """The forwards that run inside, as a list."""

    def __enter__(self):
        self.runs = []
        self._observer = lambda graph, run: self.runs.append(run)
        running.observers.append(self._observer)
        return self.runs

    def __exit__(self, *error):
        running.observers.remove(self._observer)


def test_ops_and_attributes_never_share_a_batch():
    """All ops on all samples, recorded one after the other, twice: each has a batch of its own."""
    ln.forward()
    recorded = []
    for _ in range(2):
        for op, sample in ROW_CASES:
            arrays = [draw(sample, k) for k in range(len(sample.operands))]
            handles = [lazy(a, parameter=k in sample.parameters) for k, a in enumerate(arrays)]
            recorded.append((op, sample, arrays, run(op, sample, handles)))
    with observed() as runs:
        ln.forward()
    (all_run,) = runs
    kinds = {
        (op.name, s.operands, s.attributes, s.dtypes, s.parameters)
        for op, s, _, _ in recorded
        if op.kind != words.ALIAS
    }
    assert len(all_run.plan.used) >= len(kinds) and all_run.batches >= len(kinds)
    for op, sample, arrays, y in recorded:
        np.testing.assert_allclose(
            y.numpy(), expected(op, sample, arrays), rtol=1e-12, atol=1e-14, err_msg=op.name
        )
