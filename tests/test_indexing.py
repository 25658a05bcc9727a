"""Indexing of values: numpy's meaning, for rows and for the axes of rows."""

import numpy as np
import pytest
from checks import agrees_with_torch, batches_over_examples, normal
from hypothesis import given, settings
from hypothesis import strategies as st

import lazynet as ln
from lazynet.ops import take

EXAMPLES = settings(max_examples=150, deadline=None, derandomize=True)


@st.composite
def keys(draw, shape):
    """What an array of this shape may be indexed with."""
    length, arrays = draw(st.integers(0, 3)), draw(st.sampled_from([0, 0, 1, 2]))

    def part(size):
        kind = draw(st.sampled_from(["slice", "all", *["int", "array"][: 2 * (size > 0)]]))
        if kind == "int":
            return draw(st.integers(-size, size - 1))
        if kind == "array" and arrays:
            numbers = st.integers(-size, size - 1)
            return np.array(draw(st.lists(numbers, min_size=length, max_size=length)), int)
        if kind == "slice":
            ends = st.one_of(st.none(), st.integers(-size - 1, size + 1))
            return slice(draw(ends), draw(ends), draw(st.sampled_from([None, 1, 2, -1, -2])))
        return slice(None)

    before = draw(st.integers(0, len(shape)))
    parts = [part(size) for size in shape[:before]]
    if draw(st.booleans()):
        after = draw(st.integers(before, len(shape)))
        parts += [Ellipsis, *(part(size) for size in shape[after:])]
    for _ in range(draw(st.integers(0, 2))):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


SHAPES = st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple)


@EXAMPLES
@given(st.data(), SHAPES)
def test_a_tensor_is_indexed_as_an_array_is(data, shape):
    array = np.arange(float(np.prod(shape))).reshape(shape)
    key = data.draw(keys(shape))
    x = ln.tensor(array, requires_grad=True)
    y, want = (x * 2.0)[key], (array * 2.0)[key]
    assert tuple(y.shape) == want.shape
    np.testing.assert_array_equal(y.numpy(), want)
    weights = np.arange(1.0, want.size + 1).reshape(want.shape)
    ln.sum(y * ln.tensor(weights)).backward()
    gradient = np.zeros(shape)
    np.add.at(gradient, key, weights * 2.0)
    have = np.zeros(shape) if x.grad is None else x.grad.numpy()
    np.testing.assert_allclose(have, gradient)


@EXAMPLES
@given(st.data(), SHAPES, st.integers(0, 4))
def test_axes_of_rows_are_indexed_as_those_of_each_row(data, shape, length):
    array = np.arange(float(length * np.prod(shape))).reshape(length, *shape)
    key = data.draw(keys(shape))
    key = key if isinstance(key, tuple) else (key,)
    y = ln.sequence(array)[(slice(None), *key)]
    assert len(y) == length
    for k in range(length):
        np.testing.assert_array_equal(y[k].numpy(), array[k][key])


@pytest.mark.parametrize("key", [None, (None, None), (slice(None), None), (0, None), (None, 0)])
def test_new_axes_stand_where_they_are_asked_for(key):
    for shape in ((3,), (2, 3), (2, 3, 4)):
        array = np.random.rand(*shape)
        if key == (slice(None), None) or key == (0, None) or array.ndim:
            np.testing.assert_array_equal(ln.tensor(array)[key].numpy(), array[key])
    assert ln.tensor(1.0)[None].shape == (1,)


def test_rows_and_elements_chosen_together():
    array = np.arange(12.0).reshape(3, 4)
    x = ln.sequence(array)
    np.testing.assert_array_equal(x[[0, 2, 2], [1, 3, 0]].numpy(), array[[0, 2, 2], [1, 3, 0]])
    np.testing.assert_array_equal(x[[0, 2], 1].numpy(), array[[0, 2], 1])
    np.testing.assert_array_equal(x[:, [1, 3]].numpy(), array[:, [1, 3]])
    with pytest.raises(IndexError, match=r"choose rows first: x\[rows\]\[:, columns\]"):
        ln.ones(2, 3, length=4)[[0, 1], [1, 0]]


@pytest.mark.parametrize("of", [np.array, ln.tensor, ln.sequence, np.ndarray.tolist])
@pytest.mark.parametrize("seed", range(4))
def test_a_mask_of_elements_chooses_elements_of_rows(of, seed):
    array = np.random.default_rng(seed).standard_normal((4, 3))
    mask = array > (-1.0, 0.0, 1.0, 9.0)[seed]
    x = ln.tensor(array, requires_grad=True)
    y = ln.sequence(x)[of(mask)]
    assert isinstance(y, ln.Sequence)
    np.testing.assert_array_equal(y.numpy(), array[mask])
    if len(y):
        ln.sum(y * y).backward()
        np.testing.assert_array_equal(x.grad.numpy(), np.where(mask, 2.0 * array, 0.0))


def test_a_range_is_an_array_of_its_numbers():
    array = np.arange(12.0).reshape(4, 3)
    for make in ln.tensor, ln.sequence:
        x = make(array)
        for key in (range(4), [0, 1, 2, 0]), (range(4), 1), range(1, 3), (slice(None), range(2)):
            np.testing.assert_array_equal(x[key].numpy(), array[key])


def test_an_empty_list_chooses_nothing():
    array = np.arange(12.0).reshape(4, 3)
    for make in ln.tensor, ln.sequence:
        assert make(array)[[]].shape == (0, 3) and make(array)[:, []].shape == (4, 0)


def test_rows_are_joined_with_rows():
    x, row = ln.sequence(np.arange(6.0).reshape(3, 2)), ln.tensor([7.0, 8.0], dtype="float64")
    for axis in (0, -2):
        joined = ln.cat([ln.sequence([row]), x[:2], x[:0], ln.sequence([row])], axis)
        assert joined.tolist() == [[7, 8], [0, 1], [2, 3], [7, 8]]
    assert ln.cat([x[:0], x[:0]], 0).shape == (0, 2)
    assert ln.cat([x, row], 1).shape == (3, 4)
    with pytest.raises(ln.ShapeError, match=r"^cat: rows of .* do not make one Sequence"):
        ln.cat([x, ln.ones(3, length=1)], 0)
    for axis in (0, -2):
        with pytest.raises(ln.ShapeError, match=r"^cat: along axis 0, the rows, Sequences can be"):
            ln.cat([row, x], axis)


@pytest.mark.parametrize("axis", [1, -2])
def test_an_axis_of_what_is_joined_counts_the_rows_wherever_they_stand(axis):
    row, rows = np.random.rand(1, 3), np.random.rand(2, 2, 3)
    repeated = np.broadcast_to(row, (2, 1, 3))
    one, many = ln.tensor(row), ln.sequence(rows)
    first, last = ln.cat([one, many], axis), ln.cat([many, one], axis)
    np.testing.assert_array_equal(first.numpy(), np.concatenate([repeated, rows], axis))
    np.testing.assert_array_equal(last.numpy(), np.concatenate([rows, repeated], axis))


def test_rows_of_views_are_laid_end_to_end_in_a_node_each():
    x = ln.sequence(np.arange(240, dtype=np.float32).reshape(40, 6)) * 1.0
    ln.forward()
    kept, (new, last) = ln.chunk(x, 2)[0] * 1.0, ln.chunk(x[:3], 2)
    with ln.profile() as p:
        joined = ln.cat([kept, new, last], 0)
        joined.numpy()
    assert p.nodes <= 4 and joined.shape == (46, 3)
    wanted = [x.numpy()[:, :3], x.numpy()[:3, :3], x.numpy()[:3, 3:]]
    np.testing.assert_array_equal(joined.numpy(), np.concatenate(wanted))
    with ln.profile() as p:
        stacked = ln.stack([*kept, new[0]])
        stacked.numpy()
    assert p.nodes == 2 and stacked.shape == (41, 3)


def test_new_axes_are_views():
    x = ln.ones(2, 3) * 2.0
    with ln.profile() as seen:
        y = x[None, :, None]
        ln.forward()
    assert y.shape == (1, 2, 1, 3)
    assert "alias" not in {entry.name for entry in seen.signatures.values()}


# Shapes of x, of the source, and the axis: axes of 1 beside larger ones, parts of x, and nothing.
SCATTERED = [
    ((2, 3), (2, 1), 0), ((2, 3), (1, 3), 1), ((2, 3), (1, 1), 0), ((2, 3), (5, 2), 0),
    ((3, 2, 4), (1, 6, 1), 1), ((3, 1), (4, 1), 0), ((2, 3), (0, 3), 0), ((4,), (7,), 0),
]  # fmt: skip


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(("shape", "source", "axis"), SCATTERED)
def test_scatter_add_puts_elements_where_pytorch_does(torch, shape, source, axis, many):
    numbers = np.random.randint(shape[axis], size=source)
    rows = (2,) * many
    every = np.broadcast_to(numbers, (*rows, *source)).copy()
    agrees_with_torch(
        torch,
        lambda x, y: ln.scatter_add(x, axis + many, numbers, y),
        lambda x, y: torch.scatter_add(x, axis + many, torch.tensor(every), y),
        [normal(*rows, *shape), normal(*rows, *source)],
        many,
    )


def test_a_source_larger_than_what_it_is_added_to_is_refused():
    for source in ((2, 4), (2, 3, 1), (2,)):
        with pytest.raises(
            ln.ShapeError, match=r"^scatter_add: a source of .* for rows of \(2, 3\)"
        ):
            ln.scatter_add(ln.zeros(2, 3), 0, np.zeros(source, int), ln.zeros(*source))


@pytest.mark.parametrize(
    ("shape", "numbers"), [((2, 3), (1, 1)), ((2, 1), (1, 4)), ((2, 3), (5, 3))]
)
def test_numbers_along_an_axis_broadcast_as_pytorchs(torch, shape, numbers):
    chosen = np.random.randint(shape[0], size=numbers)
    agrees_with_torch(
        torch,
        lambda x: ln.take_along_dim(x, 0, chosen),
        lambda x: torch.take_along_dim(x, torch.tensor(chosen), 0),
        [normal(*shape)],
    )


GIVEN = {
    "a list": lambda x, n, w: (x * 1.0)[list(n[0])],
    "lists": lambda x, n, w: (x * 1.0)[list(n[0]), :, list(n[1] % 2)],
    "index_select": lambda x, n, w: ln.index_select(x, 1, n[0] % 3),
    "take_along_dim": lambda x, n, w: ln.take_along_dim(x, 0, n[:, :, None]),
    "scatter_add": lambda x, n, w: ln.scatter_add(x, 0, n[:, :, None], w),
    "repeat_interleave": lambda x, n, w: ln.repeat_interleave(x, np.roll([2, 0, 1], n[0, 0]), 1),
}


@pytest.mark.parametrize("name", GIVEN)
def test_examples_with_different_numbers_batch_and_leave_nothing_behind(name):
    function = GIVEN[name]

    def example(k):
        x, w = (ln.tensor(a, requires_grad=True) for a in (normal(4, 3, 2), normal(2, 3, 1)))
        return function(x, np.random.randint(4, size=(2, 3)), w)

    example(0)
    known = len(take._tables)
    batches_over_examples(example)
    assert len(take._tables) == known


@pytest.mark.parametrize("name", GIVEN)
def test_derivatives_of_what_numbers_choose(name):
    numbers, w = np.random.randint(4, size=(2, 3)), normal(2, 3, 1)
    ln.check_grads(
        lambda x, w: GIVEN[name](x.tanh(), numbers, w.tanh()).square(), (normal(4, 3, 2), w)
    )


def test_an_index_of_another_kind_is_not_taken_for_an_integer():
    x = ln.ones(2, 3) * np.arange(3.0)
    assert x[:, 1].tolist() == x[:, np.int64(1)].tolist() == x[:, ln.tensor(1)].tolist() == [1, 1]
    array = x.numpy()
    np.testing.assert_array_equal(x[:, True].numpy(), array[:, True])
    with pytest.raises(IndexError):
        x[:, 1.0]


A = np.arange(6.0).reshape(2, 3)
# of A: what indexes it, where an array is made a value by `of`
BY_VALUES = {
    "numbers": lambda x, of: x[of([1, 0])],
    "numbers from the end": lambda x, of: x[of([-1, -1])],
    "a mask": lambda x, of: x[of([True, False])],
    "one number": lambda x, of: x[of(1)],
    "of an axis": lambda x, of: x[:, of([2, 0])],
    "behind dots": lambda x, of: x[..., of([-1])],
    "of both axes": lambda x, of: x[of([1, 0]), of([-1, 0])],
    "and a mask": lambda x, of: x[of([1, 0]), of([True, False, True])],
}


@pytest.mark.parametrize("make", [ln.tensor, ln.sequence])
@pytest.mark.parametrize("case", BY_VALUES)
def test_values_index_as_the_arrays_do_that_they_hold(case, make):
    choose = BY_VALUES[case]
    for of in (ln.tensor, np.array):
        y = choose(make(A), of)
        np.testing.assert_array_equal(y.numpy(), choose(A, np.array))


def test_a_mask_that_is_computed_chooses_elements_with_their_gradients():
    x = ln.tensor(A, requires_grad=True)
    y = x[x * 2.0 > 5.0]
    assert y.tolist() == [3.0, 4.0, 5.0]
    ln.sum(y).backward()
    assert x.grad.tolist() == [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    with pytest.raises(TypeError, match="a traced function cannot look at values"):
        ln.cell(lambda x: x[x > 2.0])(ln.tensor([1.0, 3.0]))


def test_dots_stand_for_the_axes_that_are_left_of_rows():
    x = ln.sequence(A)
    for y, want in (
        (x[...], A), (x[..., 0], A[:, 0]), (x[..., -1:], A[:, -1:]), (x[..., None], A[..., None]),
        (x[..., 1, 2], A[1, 2]), (x[..., :1, 2], A[:1, 2]), (x[1, ...], A[1]), (x[()], A),
    ):  # fmt: skip
        np.testing.assert_array_equal(y.numpy(), want)


@pytest.mark.parametrize(
    ("choose", "told"),
    [
        (lambda x: x[[0, 1], [0, 3]], "index 3 is out of bounds"),
        (lambda x: x[[0, 1], [0, -4]], "index -4 is out of bounds"),
        (lambda x: x[[0, 1], [0, 1, 2]], r"columns of \(3,\) for 2 rows"),
        (lambda x: x[np.ones((2, 2), bool)], r"a mask of \(2, 2\) for a Sequence of \(2, 3\)"),
        (lambda x: x.unsqueeze(1)[np.ones((2, 1, 3), bool)], "for each element of rows that are"),
        (lambda x: x[[0, 1], [0, 1], [0, 1]], "rows and axes of rows cannot be indexed by arrays"),
    ],
)
def test_elements_of_rows_that_are_not_there_are_refused(choose, told):
    with pytest.raises(IndexError, match=told):
        choose(ln.sequence(A))
