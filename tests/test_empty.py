"""Rows of no elements: every elementwise op takes them, and writes nothing anywhere."""

import numpy as np
import pytest

import lazynet as ln
from lazynet.batching import layout as words
from lazynet.op import REGISTRY
from lazynet.record import record

CASES = [
    op for op in REGISTRY.values()
    if op.kind == words.ROWS and not op.payload and op.samples[0].operands
    and op.samples[0].operands[0] == (5,) and not op.samples[0].attributes
]  # fmt: skip


@pytest.mark.parametrize("others", [(0,), ()], ids=["empty", "scalar"])
@pytest.mark.parametrize("op", CASES, ids=lambda op: op.name)
def test_elementwise_ops_of_empty_rows(op, others):
    sample = op.samples[0]
    operands = []
    for k in range(len(sample.operands)):
        dtype = (sample.dtypes[k] if sample.dtypes else "") or "float64"
        array = np.ones(others if k else (0,), dtype)
        operands.append(ln.tensor(array, requires_grad=dtype == "float64"))
    neighbours = [ln.tensor(np.full(3, 7.0)) for _ in range(4)]
    y = record(op, tuple(operands))
    assert y.numpy().shape == (0,)
    if op.vjp:
        ln.sum(y).backward()
        for x in operands:
            if x.dtype == "float64" and x.grad is not None:
                np.testing.assert_array_equal(x.grad.numpy(), np.zeros(x.shape))
    assert all((n.numpy() == 7.0).all() for n in neighbours)


def test_chains_of_empty_rows_run_forward_and_back():
    x = ln.tensor(np.zeros(0), requires_grad=True)
    d = abs(x - 1.0)
    y = ln.where(d < 0.5, d * d * (0.5 / 0.5), d - 0.25)
    ln.sum(y * 3.0).backward()
    assert x.grad.numpy().shape == (0,)


def test_rows_of_none_from_an_older_graph_bring_no_gradients_there():
    w = ln.tensor([1.0, 2.0], requires_grad=True)
    other = w * 5.0
    rows = ln.sequence([w * 2.0, w * 3.0])
    ln.sum(rows).backward()  # what is recorded from here on is another graph's
    none = ln.tanh(rows[2:])
    ln.sum(ln.tanh(other)).backward()  # and does not go through `rows` a second time
    assert none.shape == (0, 2)
    expected = 5.0 + 5.0 * (1.0 - np.tanh([5.0, 10.0]) ** 2)
    np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 0)], ids=str)
def test_a_layer_of_no_features_gives_its_bias(shape, bias):
    x = ln.tensor(np.zeros(shape), requires_grad=True)
    w, b = (
        ln.tensor(np.zeros((3, 0)), requires_grad=True),
        ln.tensor([1.0, 2.0, 3.0], "float64", True),
    )
    y = ln.linear(x * 2.0, w, b if bias else None)
    np.testing.assert_array_equal(y.numpy(), np.zeros((*shape[:-1], 3)) + bias * b.numpy())
    ln.sum(y * 3.0).backward()
    assert w.grad.shape == (3, 0)
    if bias:
        np.testing.assert_array_equal(b.grad.numpy(), np.full(3, 3.0 * np.prod(shape[:-1])))


@pytest.mark.parametrize("of", [ln.argmax, ln.argmin])
@pytest.mark.parametrize("make", [ln.tensor, ln.sequence])
def test_no_element_is_the_largest_of_none(make, of):
    with pytest.raises(IndexError, match=rf"^{of.__name__}: no element along axis -1 of \(2, 0\)"):
        of(make(np.zeros((2, 0))))
    assert of(ln.zeros(0, 2)).shape == (0,)


def test_rows_of_none_are_joined_with_rows_of_their_shape_alone():
    x = ln.ones(2, length=3)
    assert ln.cat([ln.zeros(2, length=0), x], 0).shape == (3, 2)
    for other in (ln.zeros(5, length=0), ln.zeros(2, length=0, dtype="float64")):
        with pytest.raises(ln.ShapeError, match=r"^cat: rows of .* do not make one Sequence"):
            ln.cat([other, x], 0)
        with pytest.raises(ln.ShapeError, match=r"^cat: rows of .* do not make one Sequence"):
            ln.cat([x[:0], other], 0)
