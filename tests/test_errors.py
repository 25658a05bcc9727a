"""What users get wrong is told in one sentence, on their own line, and changes nothing."""

import pickle

import numpy as np
import pytest

import lazynet as ln
from lazynet import executor, nn
from lazynet.ops import loss, losses, reduce, rows, segments
from lazynet.ops.elementwise import where
from lazynet.ops.linear import linear
from lazynet.ops.noise import dropout


def vector(n=3, dtype=np.float32):
    return ln.tensor(np.ones(n, dtype))


def sequence(n=3, width=4):
    return rows.sequence(np.ones((n, width), np.float32))


WEIGHT, BIAS, TABLE = (ln.Parameter(np.ones(s, np.float32)) for s in ((2, 3), (2,), (5, 3)))


@ln.cell
def drawing(x):
    return x + ln.sum(ln.rand(2, length=3), 0)


# what was asked: (the call, the exception, a part of its sentence)
MISTAKES = {
    # shapes
    "var": (lambda: ln.var(vector(3), 4), ln.ShapeError, r"no axis 4 in a value of shape \(3,\)"),
    "std": (lambda: ln.std(vector(3), (0, 1)), ln.ShapeError, "no axis 1"),
    "flatten": (lambda: ln.flatten(vector(3), 5), ln.ShapeError, "no axes from 5 to -1"),
    "reshape to less than nothing": (
        lambda: ln.reshape(ln.ones(6), -2, -3),
        ln.ShapeError,
        r"6 elements, not \(-2, -3\)",
    ),
    "zeros of less than nothing": (lambda: ln.zeros(-1), ValueError, r"negative, not \(-1,\)"),
    "draws of less than nothing": (lambda: ln.rand(2, -1), ValueError, r"negative, not \(2, -1\)"),
    "less than no rows": (lambda: ln.zeros(2, length=-1), ln.ShapeError, "0 or more rows, not -1"),
    "unpack": (
        lambda: ln.unpack(sequence(3), [4, -1]),
        ln.ShapeError,
        "lengths must not be negative",
    ),
    "add": (lambda: vector(3) + vector(4), ValueError, r"add: rows of \(3,\) and \(4,\)"),
    "add rows": (lambda: sequence(3) * sequence(2), ValueError, "Sequences of 3 and 2 rows"),
    "linear": (
        lambda: linear(vector(4), WEIGHT, BIAS),
        ValueError,
        r"linear: input row \(4,\) does not match weight \(2, 3\); expected rows of \(3,\)",
    ),
    "bias": (lambda: linear(vector(3), WEIGHT, vector(3)), ValueError, r"bias \(3,\)"),
    "matmul": (lambda: vector(4) @ WEIGHT, ValueError, r"matmul: \(1, 4\) and \(2, 3\)"),
    "matmul scalar": (lambda: ln.tensor(1.0) @ vector(3), ValueError, "vectors or matrices"),
    "dot": (lambda: ln.dot(vector(3), vector(1)), ValueError, r"^dot: .* of \(3,\) and \(1,\)"),
    "dot scalar": (lambda: ln.dot(vector(3), 2.0), ValueError, "^dot: expected vectors"),
    "reshape": (lambda: vector(6).reshape(4, 2), ValueError, r"have 6 elements, not \(4, 2\)"),
    "chunk": (lambda: vector(5).chunk(0), ValueError, "expected one or more parts, not 0"),
    "split": (lambda: vector(5).split([2, 2]), ValueError, "cannot be cut"),
    "cat": (
        lambda: rows.cat([ln.tensor(np.ones((2, 3))), ln.tensor(np.ones((3, 3)))]),
        ValueError,
        "cat: rows of",
    ),
    "where": (
        lambda: where(vector(3) > 0, vector(2), vector(4)),
        ValueError,
        "where: rows of",
    ),
    "axis": (lambda: vector(3).sum(1), ValueError, r"sum: no axis 1 in a value of shape \(3,\)"),
    "softmax axis": (lambda: sequence().softmax(2), ValueError, r"shape \(3, 4\)"),
    "transpose": (lambda: vector(3).T, ValueError, "expected a matrix"),
    "sequence": (
        lambda: rows.sequence([vector(3), vector(4)]),
        ValueError,
        "do not make one Sequence",
    ),
    "targets": (
        lambda: loss.cross_entropy(sequence(3), [0, 1]),
        ValueError,
        "2 targets for a Sequence of 3 rows",
    ),
    "one target": (lambda: loss.cross_entropy(vector(3), [0, 1]), ValueError, "needs a Sequence"),
    "segment_sum": (
        lambda: segments.segment_sum(sequence(3), [0, 1], 2),
        ValueError,
        "2 indices for 3 rows",
    ),
    "item": (lambda: vector(3).item(), ValueError, "only a tensor of one element"),
    "copy_": (lambda: WEIGHT.copy_(np.ones(3)), ValueError, r"\(2, 3\) cannot take \(3,\)"),
    # nothing given
    "empty sum": (lambda: reduce.sum([]), ValueError, "an empty list has no shape"),
    "empty mean": (lambda: reduce.mean([]), ValueError, "mean: an empty list has no shape"),
    "Sequences as rows": (
        lambda: ln.sequence([sequence(2), sequence(2)]),
        ln.ShapeError,
        r"^sequence: a Sequence of 2 rows is no row; ln.cat\(list, 0\) lays Sequences end to end",
    ),
    "stacked Sequences": (
        lambda: ln.stack([sequence(1)]),
        ln.ShapeError,
        "^stack: a Sequence of 1",
    ),
    "a Tensor laid after rows": (
        lambda: ln.cat([sequence(2), vector(4)], 0),
        ln.ShapeError,
        r"^cat: .* Sequences can be joined to Sequences only; ln.sequence\(\[x\]\) makes one",
    ),
    "rows laid after a Tensor": (
        lambda: ln.cat([vector(4), sequence(2)], 0),
        ln.ShapeError,
        "^cat",
    ),
    "sum of lists": (
        lambda: ln.sum([[vector()], [vector()] * 2]),
        TypeError,
        "^sum: .* not a list",
    ),
    "sum of a list along an axis": (
        lambda: ln.sum([vector(), vector()], axis=1),
        TypeError,
        r"^sum: axis 1 of a list, whose items are added up .*: ln.sequence\(list\) or ln.stack",
    ),
    "mean of a list along an axis": (
        lambda: ln.mean([vector(), vector()], -1),
        TypeError,
        "^mean: axis -1 of a list",
    ),
    "mean of a list with its axis": (
        lambda: ln.mean([vector(), vector()], 0, keepdim=True),
        TypeError,
        "^mean: keepdim of a list",
    ),
    "sum of words": (lambda: ln.sum(["a"]), TypeError, "^sum: expected a Tensor or Sequence"),
    "sum of what comes": (lambda: ln.sum(x for x in "a"), TypeError, "^sum: .*; a list would do"),
    "no largest row": (lambda: ln.argmax(sequence(3)[:0], 0), IndexError, "^argmax: no row of"),
    "empty sequence": (lambda: rows.sequence([]), ValueError, "an empty list does not tell"),
    "empty cat": (lambda: rows.cat([]), ValueError, "nothing to join"),
    # indices
    "row": (lambda: sequence(3)[3], IndexError, "row 3 of a Sequence of 3 rows"),
    "row below": (lambda: sequence(3)[-4], IndexError, "row -4 of a Sequence of 3 rows"),
    "element": (lambda: vector(3)[3], IndexError, "index 3 is out of range"),
    "scalar index": (lambda: ln.tensor(1.0)[0], IndexError, "a scalar cannot be indexed"),
    "gather": (lambda: sequence(3)[[0, 3]], IndexError, "gather: index 3 is out of range"),
    "mask": (lambda: sequence(3)[np.array([True, False])], IndexError, "a mask of 2"),
    "float index": (lambda: sequence(3)[[0.5]], TypeError, "a flat list of integers"),
    "text index": (lambda: vector(3)["a"], IndexError, "indexed by integers, slices"),
    "lookup": (lambda: ln.lookup(TABLE, 5), IndexError, "index 5 is out of range; .* 5 rows"),
    "lookup below": (lambda: ln.lookup(TABLE, [0, -1]), IndexError, "index -1 is out of range"),
    "lookup floats": (lambda: ln.lookup(TABLE, [0.5]), TypeError, "a flat list of integers"),
    "lookup ragged": (lambda: ln.lookup(TABLE, [[0], [1, 2]]), TypeError, "not ragged lists"),
    "lookup far beyond": (lambda: ln.lookup(TABLE, [0, 2**70]), IndexError, f"index {2**70} is"),
    "far below": (lambda: sequence(3)[[-(2**70)]], IndexError, f"index {-(2**70)} is out"),
    "gather ragged": (lambda: sequence(3)[[[0], [1, 2]]], TypeError, "gather: .* ragged lists"),
    "index ragged": (lambda: vector(3)[[[0], [1, 2]]], TypeError, "index: .* ragged lists"),
    "pick": (lambda: ln.pick(vector(3), 3), IndexError, "pick: index 3 is out of range"),
    "target": (lambda: loss.cross_entropy(vector(3), 3), IndexError, "index 3 is out of range"),
    "segment": (
        lambda: segments.segment_sum(sequence(2), [0, 2], 2),
        IndexError,
        "index 2 is out of range",
    ),
    "array beyond": (
        lambda: vector(3)[ln.tensor(1.5)],
        TypeError,
        "only an int64 tensor can be an index",
    ),
    # dtypes
    "mixed product": (
        lambda: linear(vector(3, np.float64), WEIGHT, BIAS),
        TypeError,
        "one float dtype, not float64 and float32",
    ),
    "int product": (lambda: ln.tensor([1, 2]) @ ln.tensor([1, 2]), TypeError, "one float dtype"),
    "int softmax": (lambda: ln.tensor([1, 2]).softmax(), TypeError, "expected float rows"),
    "int gradient": (
        lambda: ln.tensor([1, 2], requires_grad=True),
        TypeError,
        "only float tensors can require gradients",
    ),
    "complex": (lambda: ln.tensor(np.ones(2, complex)), TypeError, "complex128 is not supported"),
    "large": (
        lambda: ln.tensor(np.array([1, 2**63], np.uint64)),
        TypeError,
        "9223372036854775808 does not fit into int64",
    ),
    "larger": (lambda: ln.tensor(2**70), TypeError, f"^tensor: {2**70} does not fit into int64"),
    "large number": (
        lambda: ln.tensor([1]) + 2**70,
        TypeError,
        f"^add: {2**70} does not fit into int64",
    ),
    "largest number": (lambda: vector(3) * 2**200, TypeError, "^mul: .* does not fit into float32"),
    "large bound": (lambda: ln.clamp(ln.tensor([1]), 2**70), TypeError, "^clamp: .* into int64"),
    "text": (lambda: ln.tensor("abc"), TypeError, "not supported"),
    "nothing": (lambda: ln.tensor(None), TypeError, "^tensor: a NoneType is not supported"),
    "no dtype": (lambda: ln.tensor([1.0], dtype="flaot"), TypeError, "dtype 'flaot' is not"),
    "text dtype": (lambda: ln.tensor([1.0], dtype="float16"), TypeError, "not supported"),
    "condition": (lambda: where(vector(3), 1.0, 2.0), TypeError, "must be bool, not float32"),
    "int parameter": (lambda: ln.Parameter([1, 2]), TypeError, "float32 or float64, not int64"),
    # what is no value
    "list": (lambda: ln.tanh([1.0, 2.0]), TypeError, "tanh: expected a Tensor or Sequence"),
    "none": (lambda: vector(3) + None, TypeError, "add: expected a Tensor or Sequence"),
    "word": (lambda: vector(3) * "a", TypeError, "mul: expected a Tensor or Sequence"),
    "ragged": (lambda: ln.tensor([[1.0], [1.0, 2.0]]), ValueError, "ragged nested lists"),
    "sequence of words": (lambda: rows.sequence("abc"), TypeError, "^sequence: .*not supported"),
    "iteration": (lambda: list(ln.tensor(1.0)), TypeError, "a scalar has no rows"),
    "length": (lambda: len(ln.tensor(1.0)), TypeError, "a scalar Tensor has no length"),
    "embedding": (
        lambda: nn.Embedding(5, 3)([1, 9]),
        IndexError,
        "^Embedding: index 9 is out of range; expected 0 to 4",
    ),
    "embedding of words": (
        lambda: nn.Embedding(5, 3)(["a", "b"]),
        TypeError,
        "^Embedding: expected a flat list of integers, not text",
    ),
    "children without c": (
        lambda: nn.TreeLSTMCell(3, 3)(None, [vector(), vector()]),
        TypeError,
        r"^TreeLSTMCell: expected children \(h, c\), not a Tensor",
    ),
    "truth of rows": (
        lambda: bool(sequence(3) > 0),
        ValueError,
        r"^bool: a Sequence of 3 rows is not true or false as a whole; ask for len\(x\)",
    ),
    "truth of a vector": (
        lambda: bool(vector() > 0),
        ValueError,
        r"^bool: a Tensor of \(3,\) is not true or false as a whole; ask for ln.any\(x\)",
    ),
    "format of a vector": (lambda: f"{vector():.2f}", ValueError, "only a tensor of one element"),
    "bag": (lambda: nn.EmbeddingBag(5, 3)([9]), IndexError, "^EmbeddingBag: index 9 is out"),
    "no cell's input": (lambda: nn.GRUCell(4, 3)(None), TypeError, "^GRUCell: expected a Tensor"),
    "sort": (lambda: ln.sort(vector(3), 4), ln.ShapeError, "^sort: no axis 4"),
    "parts": (lambda: ln.chunk(vector(3), [1, 2]), TypeError, "^chunk: .* integer for chunks"),
    "rows in a cell": (lambda: drawing(vector(2)), TypeError, "^rand: rows .length=3. cannot"),
    "seed": (
        lambda: WEIGHT.sum().backward("a"),
        TypeError,
        r"^backward: gradient must be numbers of shape \(\), not 'a'",
    ),
    "ragged seed": (lambda: (WEIGHT * 2.0).backward([[1.0], []]), TypeError, "^backward: gradient"),
    "handle": (lambda: ln.Tensor([1, 2]), TypeError, r"^Tensor: .*ln.tensor\(data\)"),
    "handle of rows": (lambda: ln.Sequence([1, 2]), TypeError, r"ln.sequence\(rows\)"),
    # settings
    "policy": (
        lambda: ln.batching("fastest"),
        ValueError,
        "unknown batching policy 'fastest'; choose one of 'none', 'depth'",
    ),
    "global policy": (lambda: ln.set_batching("fastest"), ValueError, "unknown batching policy"),
    "policies": (
        lambda: ln.set_batching(["none"]),
        ValueError,
        r"unknown batching policy \['none'\]",
    ),
    "random seed": (
        lambda: ln.manual_seed("a"),
        ValueError,
        "^manual_seed: expected an integer .* not 'a'",
    ),
    "program": (lambda: ln.map(None, [1]), TypeError, "^map: expected a function of one example"),
    "examples": (lambda: ln.map(len, 3), TypeError, "^map: expected a list of examples, not int"),
    "reduction": (
        lambda: losses.mse_loss(vector(3), vector(3), "max"),
        ValueError,
        "'mean', 'sum' or 'none', not 'max'",
    ),
    "probability": (lambda: dropout(vector(3), 1.5), ValueError, r"in \[0, 1\], not 1.5"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_at_once_and_changes_nothing(mistake):
    call, error, sentence = MISTAKES[mistake]
    before = vector(3) * 2.0
    with pytest.raises(error, match=sentence) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    assert caught.value.__cause__ is None or "ragged" in mistake or mistake == "seed"
    assert before.tolist() == [2.0, 2.0, 2.0]
    assert (before + vector(3)).tolist() == [3.0, 3.0, 3.0]
    assert WEIGHT.tolist() == np.ones((2, 3)).tolist()


@pytest.mark.parametrize("value", [vector(3), sequence(3), WEIGHT], ids=["T", "S", "P"])
def test_assigning_into_a_value_raises(value):
    with pytest.raises(TypeError, match="values are immutable"):
        value[0] = 1.0
    with pytest.raises(TypeError, match="values are immutable"):
        value[0] += 1.0


def test_in_place_operators_make_new_values():
    x = vector(3)
    y = x
    y += 1.0
    assert (x.tolist(), y.tolist()) == ([1.0] * 3, [2.0] * 3)


def test_numpy_copies_so_that_changing_it_changes_no_value():
    for x in (vector(3), vector(3) * 1.0, sequence(2), WEIGHT):
        before = x.tolist()
        x.numpy()[...] = 7.0
        assert x.tolist() == before


def test_tensor_copies_so_that_changing_the_array_changes_no_value():
    array = np.ones(3)
    x = ln.tensor(array)
    y = x * 2.0
    array[:] = 9.0
    assert (x.tolist(), y.tolist()) == ([1.0] * 3, [2.0] * 3)


@pytest.mark.parametrize(
    ("expression", "expected", "dtype"),
    [
        (lambda: ln.tensor([1, 2, 3]) / ln.tensor([2, 2, 2]), [0.5, 1.0, 1.5], "float32"),
        (lambda: ln.tensor([1, 2, 3]) / 2, [0.5, 1.0, 1.5], "float32"),
        (lambda: 3 / ln.tensor([1, 2]), [3.0, 1.5], "float32"),
        (lambda: ln.tensor([1, 2]) + 1, [2, 3], "int64"),
        (lambda: ln.tensor([1, 2]) * 0.5, [0.5, 1.0], "float32"),
        (lambda: ln.tensor([1.0, 2.0]) * np.int64(3), [3.0, 6.0], "float32"),
        (lambda: ln.tensor([1.0, 2.0]) * np.float64(3), [3.0, 6.0], "float32"),
        (lambda: np.float64(3) * ln.tensor([1.0, 2.0]), [3.0, 6.0], "float32"),
        (lambda: np.ones(2, np.float32) + ln.tensor([1.0, 2.0]), [2.0, 3.0], "float32"),
        (lambda: ln.tensor([1.0]) + ln.tensor(np.ones(1)), [2.0], "float64"),
        (lambda: ln.tensor([True, True, False]).sum(), 2, "int64"),
        (lambda: ln.tensor([1, 2]).sum(), 3, "int64"),
        (lambda: ln.tensor([1, 2]).mean(), 1.5, "float32"),
        (lambda: rows.sequence(np.array([[1, 2], [3, -4]])).max(0), [3, 2], "int64"),
        (lambda: rows.sequence([ln.tensor([1, 2])[0], ln.tensor(5)]), [1, 5], "int64"),
        (lambda: ln.tensor([1.0, 0.0]) > 0, [True, False], "bool"),
        (lambda: ln.sigmoid(ln.tensor([0])), [0.5], "float32"),
        (lambda: ln.exp(ln.tensor([0])), [1.0], "float32"),
    ],
)
def test_dtypes_of_mixed_operands(expression, expected, dtype):
    value = expression()
    assert value.dtype == dtype
    assert value.tolist() == expected


def test_a_factor_of_minus_zero_is_not_one_of_zero():
    w = ln.Parameter(np.ones(2))
    plus, minus = w * 0.0, w * -0.0
    assert not np.signbit(plus.numpy()).any()
    assert np.signbit(minus.numpy()).all()


def test_a_computed_value_cannot_be_pickled():
    with pytest.raises(TypeError, match="pickle its numbers"):
        pickle.dumps(ln.ones(2) * 2.0)


def test_comparison_with_none_is_plain_false():
    assert (ln.tensor(1.0) == None) is False  # noqa: E711
    assert (ln.tensor(1.0) != None) is True  # noqa: E711


def test_a_policy_named_in_a_with_block_wins_over_the_global_one():
    runs = []

    def note(graph, run):
        runs.append(run.batches)

    ln.running.observers.append(note)
    try:
        ln.set_batching("none")
        values = [ln.tanh(vector(3)) for _ in range(5)]
        with ln.batching("auto"):
            ln.forward(values)
        values = [ln.tanh(vector(3)) for _ in range(5)]
        ln.forward(values)
    finally:
        ln.set_batching("auto")
        ln.running.observers.remove(note)
    assert runs == [1, 5]


def test_what_fails_while_running_leaves_the_rest_usable():
    from lazynet.op import Op
    from lazynet.record import record

    def lower(signature):
        raise ArithmeticError("cannot be lowered")

    broken = Op("broken", "fails", lambda row: (row,), lower, listed=False)
    good = vector(3) * 2.0
    bad = record(broken, (good,))
    with pytest.raises(ArithmeticError):
        bad.numpy()
    assert (vector(3) + 1.0).tolist() == [2.0] * 3
    with pytest.raises(ArithmeticError):
        (bad + 1.0).numpy()
    assert (vector(3) + 1.0).tolist() == [2.0] * 3


def test_an_unknown_dtype_is_refused_where_it_is_asked_for_and_leaves_the_rest_usable():
    x = ln.ones(2)
    for make in (
        lambda: ln.zeros(2, dtype="float16"),
        lambda: ln.zeros_like(x, dtype="float16"),
        lambda: ln.full((2,), 1.0, dtype="complex64"),
        lambda: x.astype("float16"),
    ):
        with pytest.raises(TypeError, match=r"float16|complex64"):
            make()
    assert (x + 1.0).tolist() == [2.0, 2.0]


def test_ctrl_c_in_compiled_code_is_one_keyboard_interrupt_and_changes_nothing(monkeypatch):
    """numba notices it while it hands results over, and wraps it in errors about that."""
    decode = executor.decode

    def interrupted(*arguments):
        decode(*arguments)
        error: BaseException = KeyboardInterrupt()
        for _ in range(2):
            wrapped = SystemError("returned a result with an exception set")
            wrapped.__cause__, error = error, wrapped
        raise error

    w = ln.Parameter(np.ones(3))
    loss = ln.sum(w * 2.0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as caught:
        patch.setattr(executor, "decode", interrupted)
        loss.backward()
    assert caught.value.__cause__ is None
    assert (vector(3) + 1.0).tolist() == [2.0] * 3
    assert w.grad is None
    loss.backward()
    assert w.grad.tolist() == [2.0] * 3
