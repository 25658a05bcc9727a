"""Sorting, the largest k, and taking by index: values as numpy's and PyTorch's, all policies."""

import numpy as np
import pytest
from checks import batches_over_examples
from naive import RUNS
from test_ops import gradient_of, lazy

import lazynet as ln
from lazynet import nn
from lazynet.batching.policies import NAMES
from lazynet.ops.sorting import PUT_EACH, TAKE_EACH
from lazynet.record import record_runs

F = nn.functional
LENGTHS = (0, 1, 2, 7, 40)
AXES = [((6,), 0), ((6,), -1), ((3, 5), 0), ((3, 5), 1), ((2, 4, 3), 1), ((1,), 0), ((0,), 0)]
over_axes = pytest.mark.parametrize(("shape", "axis"), AXES)
both_ways = pytest.mark.parametrize("descending", [False, True])


def order(x, axis, descending):
    """numpy's stable order; the greatest first where it descends, and NaN is the greatest."""
    key = np.where(np.isnan(x), np.inf, x)
    return np.argsort(-key if descending else key, axis, kind="stable")


@both_ways
@over_axes
def test_sorting_is_numpys_and_pytorchs(torch, shape, axis, descending):
    x = np.random.standard_normal(shape).round(1)  # with ties
    values, places = ln.sort(ln.tensor(x), axis, descending)
    np.testing.assert_array_equal(places.numpy(), order(x, axis, descending))
    theirs = torch.sort(torch.tensor(x), dim=axis, descending=descending, stable=True)
    np.testing.assert_array_equal(values.numpy(), theirs.values.numpy())
    np.testing.assert_array_equal(places.numpy(), theirs.indices.numpy())
    assert values.type.shape == places.type.shape == shape


@both_ways
@pytest.mark.parametrize("width", [(), (3,), (2, 2)])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_rows_of_a_sequence_are_sorted_for_each_element(length, width, descending):
    x = np.random.standard_normal((length, *width)).round(1)
    values, places = ln.sort(ln.sequence(x), 0, descending)
    want = order(x, 0, descending)
    np.testing.assert_array_equal(places.numpy(), want)
    np.testing.assert_array_equal(values.numpy(), np.take_along_axis(x, want, 0))


def test_views_and_lists_of_rows_are_sorted_alike():
    x = np.random.standard_normal((6, 4))
    rows = ln.sequence(x)
    for given, want in (
        (rows[::-1], x[::-1]),
        (ln.sequence([rows[k] for k in (3, 0, 5)]), x[[3, 0, 5]]),
        (rows[:, 1:3], x[:, 1:3]),
    ):
        np.testing.assert_array_equal(ln.sort(given, 0).values.numpy(), np.sort(want, 0))
        np.testing.assert_array_equal(ln.sort(given, -1).values.numpy(), np.sort(want, -1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_is_the_greatest_and_infinities_are_in_order(dtype):
    x = np.array([np.nan, 1.0, -np.inf, np.inf, np.nan, -0.0, 0.0, 5e-324], dtype)
    for value in (ln.tensor(x), ln.sequence(x)):
        np.testing.assert_array_equal(ln.sort(value, 0).values.numpy(), np.sort(x))
        assert np.isnan(ln.sort(value, 0, True).values.numpy()[:2]).all()
        assert ln.argsort(value, 0).numpy()[-2:].tolist() == [0, 4]  # the earlier first


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(("shape", "axis"), [case for case in AXES if case[0] != (0,)])
def test_topk_is_pytorchs(torch, shape, axis, largest):
    x = np.random.permutation(np.arange(float(np.prod(shape)))).reshape(shape)
    for k in (0, 1, shape[axis]):
        values, places = ln.topk(ln.tensor(x), k, axis, largest)
        theirs = torch.topk(torch.tensor(x), k, axis, largest)
        np.testing.assert_array_equal(values.numpy(), theirs.values.numpy())
        np.testing.assert_array_equal(places.numpy(), theirs.indices.numpy())


@both_ways
@pytest.mark.parametrize("k", [0, 1, 3, 7, 39, 40])
def test_topk_is_the_beginning_of_the_order_with_ties_and_nan(k, descending):
    x = np.random.randint(8, size=(3, 40, 2)).astype(np.float32)
    x[x == 5] = np.nan
    places = ln.topk(ln.sequence(x), k, 1, descending).indices
    np.testing.assert_array_equal(places.numpy(), order(x, 1, descending)[:, :k])


@pytest.mark.parametrize("length", [2, 5, 40])
def test_k_max_pooling_keeps_the_order_of_rows(length):
    x = np.random.standard_normal((length, 3))
    want = np.stack([c[np.sort(np.argsort(-c)[:2])] for c in x.T], 1)
    np.testing.assert_array_equal(F.k_max_pool(ln.sequence(x), 2).numpy(), want)
    np.testing.assert_array_equal(F.k_max_pool(ln.tensor(x), 2, 0).numpy(), want)
    np.testing.assert_array_equal(nn.KMaxPool(2)(ln.sequence(x)).numpy(), want)


def test_first_and_second_derivatives():
    x = np.random.permutation(np.linspace(-2.0, 2.0, 12)).reshape(4, 3)
    ln.check_grads(lambda v: ln.sort(v.tanh(), 1, True).values.square(), [x])
    ln.check_grads(lambda v: ln.sort(ln.sequence(v).tanh(), 0).values.square(), [x])
    ln.check_grads(lambda v: ln.topk(v, 2, 0).values.square(), [x])
    ln.check_grads(lambda v: F.k_max_pool(ln.sequence(v), 2).square(), [x])


@pytest.mark.parametrize("policy", NAMES)
@pytest.mark.parametrize("op", [TAKE_EACH, PUT_EACH], ids=lambda op: op.name)
def test_values_and_gradients_of_examples_of_all_sizes(op, policy):
    with ln.batching(policy):
        examples = []
        for rows, chosen in ((4, 3), (4, 0), (4, 9)):
            n = np.random.randint(rows, size=(chosen, 3))
            x = np.random.standard_normal((rows if op is TAKE_EACH else chosen, 3))
            leaf = lazy(x, True)
            y = record_runs(op, (leaf, ln.sequence(n)), chosen if op is TAKE_EACH else rows)
            examples.append((x, n, leaf, y, np.random.standard_normal(y.shape)))
        ln.sum([(y * lazy(w, True)).sum() for *_, y, w in examples]).backward()
    for x, n, leaf, y, w in examples:
        np.testing.assert_allclose(y.numpy(), RUNS[op.name](x, n))
        back = RUNS["put_each" if op is TAKE_EACH else "take_each"](w, n)
        np.testing.assert_allclose(gradient_of(leaf), back)


def test_examples_of_all_lengths_are_sorted_in_one_batch():
    batches_over_examples(
        lambda k: ln.sort(ln.sequence(np.random.standard_normal((k % 5 + 1, 3))), 0).values
    )


def test_argmax_and_argmin_over_rows():
    x = np.random.standard_normal((5, 3))
    rows = ln.sequence(x)
    assert ln.argmax(rows, 0).tolist() == x.argmax(0).tolist()
    assert ln.argmin(rows, 0).tolist() == x.argmin(0).tolist()
    with pytest.raises(IndexError):
        ln.argmax(rows[:0], 0)


def test_what_cannot_be_sorted_is_refused():
    rows = ln.sequence(np.zeros((3, 2)))
    for wrong in (lambda: ln.sort(rows, 2), lambda: ln.argsort(ln.tensor(1.0)),
                  lambda: ln.topk(rows, 4, 0), lambda: ln.topk(rows, -1),
                  lambda: F.k_max_pool(rows[:1], 2)):  # fmt: skip
        with pytest.raises(ln.ShapeError, match=r"sort|topk|k_max_pool"):
            wrong()


def test_segment_max_is_that_of_each_segment():
    x = np.random.standard_normal((6, 2))
    y = ln.segment_max(ln.sequence(x), [2, 0, 2, 2, 0, 3], 5).numpy()
    assert y.tolist()[1] == y.tolist()[4] == [-np.inf, -np.inf]
    for s, own in ((0, [1, 4]), (2, [0, 2, 3]), (3, [5])):
        np.testing.assert_array_equal(y[s], x[own].max(0))
    with pytest.raises(IndexError, match="segment_max"):
        ln.segment_max(ln.sequence(x), [5] * 6, 5)


def test_packing_and_unpacking():
    values = [ln.sequence(np.random.standard_normal((n, 2))) for n in (3, 0, 1)]
    rows, lengths = ln.pack(values)
    assert lengths == [3, 0, 1] and rows.shape == (4, 2)
    for part, value in zip(ln.unpack(rows, lengths), values, strict=True):
        np.testing.assert_array_equal(part.numpy(), value.numpy())
    for wrong in (lambda: ln.pack([]), lambda: ln.pack([ln.tensor(1.0)]),
                  lambda: ln.unpack(rows, [3]), lambda: ln.unpack(rows, [])):  # fmt: skip
        with pytest.raises(ln.ShapeError, match=r"pack: "):
            wrong()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint64])
def test_rows_are_chosen_by_integers_of_every_size(dtype):
    x = np.arange(300.0)
    for chosen in ([0, 100, 44], [3, 2, 1], [5, 5, 5], [0, 127, 1], [7]):
        index = np.array(chosen, dtype)
        np.testing.assert_array_equal(ln.gather(ln.sequence(x), index).numpy(), x[chosen])
    leaf = ln.tensor(x[:201], requires_grad=True)
    ln.gather(ln.sequence(leaf), np.array([0, 200, 144], np.uint8)).sum().backward()
    assert np.flatnonzero(leaf.grad.numpy()).tolist() == [0, 144, 200]
    with pytest.raises(IndexError, match="index -301 is out of range"):
        ln.gather(ln.sequence(x), [-301])
    with pytest.raises(ln.ShapeError, match="gather: expected a Sequence"):
        ln.gather(ln.tensor(x), [0])


def test_empty_sequences_are_joined():
    e = ln.ones(3, length=0)
    assert ln.cat([e, e], 0).shape == (0, 3) and ln.pack([e]).lengths == [0]


def test_sizes_of_parts_are_integers():
    x = ln.tensor([1.0, 2.0, 3.0])
    with pytest.raises(TypeError):
        ln.split(x, [1.0, 2.0])
    with pytest.raises(ln.ShapeError, match="into parts of 0"):
        ln.split(x, 0)
    assert [p.tolist() for p in ln.split(x, np.int64(2))] == [[1.0, 2.0], [3.0]]
