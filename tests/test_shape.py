"""Shapes and parts of rows: what numpy makes of the same array, and gradients that come back."""

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn

generator = np.random.default_rng(11)
X = generator.standard_normal((3, 4, 2))
MASK = X > 0
NUMBERS = np.array([[[1], [0], [2], [1]]])

CASES = {
    "permute": (lambda x: ln.permute(x, 2, 0, 1), lambda x: x.transpose(2, 0, 1)),
    "transpose": (lambda x: ln.transpose(x, 0, 2), lambda x: x.swapaxes(0, 2)),
    "mT": (lambda x: x.mT, lambda x: x.swapaxes(1, 2)),
    "unsqueeze": (lambda x: ln.unsqueeze(x, 1), lambda x: x[:, None]),
    "squeeze": (lambda x: x[:1].squeeze(), lambda x: x[0]),
    "flatten": (lambda x: ln.flatten(x, 1), lambda x: x.reshape(3, 8)),
    "broadcast": (lambda x: x.expand(2, 3, 4, 2), lambda x: np.broadcast_to(x, (2, 3, 4, 2))),
    "flip": (lambda x: ln.flip(x, 0, -1), lambda x: np.flip(x, (0, 2))),
    "flip all": (lambda x: ln.flip(x), np.flip),
    "roll": (lambda x: ln.roll(x, 3, 1), lambda x: np.roll(x, 3, 1)),
    "tile": (lambda x: ln.tile(x, 2, 1, 2), lambda x: np.tile(x, (2, 1, 2))),
    "repeat": (
        lambda x: ln.repeat_interleave(x, [2, 0, 1], 0), lambda x: np.repeat(x, [2, 0, 1], 0),
    ),
    "pad": (
        lambda x: ln.pad(x, (1, 0, 2, 1), value=5.0),
        lambda x: np.pad(x, ((0, 0), (2, 1), (1, 0)), constant_values=5.0),
    ),
    "pad reflect": (
        lambda x: ln.pad(x, (0, 0, 2, 1), "reflect"),
        lambda x: np.pad(x, ((0, 0), (2, 1), (0, 0)), "reflect"),
    ),
    "pad replicate": (
        lambda x: ln.pad(x, (2, 3), "replicate"),
        lambda x: np.pad(x, ((0, 0), (0, 0), (2, 3)), "edge"),
    ),
    "slices": (lambda x: x[::2, 1:3, ::-1], lambda x: x[::2, 1:3, ::-1]),
    "new axis": (lambda x: x[:, None, 1], lambda x: x[:, None, 1]),
    "ellipsis": (lambda x: x[..., 1], lambda x: x[..., 1]),
    "a list": (lambda x: x[[2, 0, 2]], lambda x: x[[2, 0, 2]]),
    "lists": (lambda x: x[[2, 0], :, [1, 0]], lambda x: x[[2, 0], :, [1, 0]]),
    "a mask": (lambda x: x[MASK], lambda x: x[MASK]),
    "select": (lambda x: x.index_select(1, [3, 3, 0]), lambda x: x[:, [3, 3, 0]]),
    "along": (
        lambda x: ln.take_along_dim(x, 0, NUMBERS), lambda x: np.take_along_axis(x, NUMBERS, 0),
    ),
    "diagonal": (lambda x: ln.diagonal(x), lambda x: np.diagonal(x, 0, 1, 2)),
    "trace": (lambda x: ln.trace(x), lambda x: np.trace(x, 0, 1, 2)),
    "tril": (lambda x: ln.tril(x, -1), lambda x: np.tril(x, -1)),
    "triu": (lambda x: ln.triu(x), np.triu),
    "cat": (lambda x: ln.cat([x, x * 2.0], 1), lambda x: np.concatenate([x, x * 2], 1)),
    "cat first": (lambda x: ln.cat([x, x * 2.0], 0), lambda x: np.concatenate([x, x * 2], 0)),
    "unbind": (lambda x: ln.unbind(x, 2)[1], lambda x: x[:, :, 1]),
    "outer": (lambda x: ln.outer(x[0, 0], x[1, 1]), lambda x: np.outer(x[0, 0], x[1, 1])),
    "scatter": (
        lambda x: ln.scatter_add(x[0, 0], 0, [1, 1, 0, 1], x[1, :, 1]),
        lambda x: x[0, 0] + np.array([x[1, 2, 1], x[1, [0, 1, 3], 1].sum()]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_row_is_rearranged_as_numpy_rearranges_an_array(name):
    ours, naive = CASES[name]
    y = ours(ln.tensor(X))
    assert y.shape == naive(X).shape
    np.testing.assert_allclose(y.numpy(), naive(X))
    ln.check_grads(ours, (X,))


@pytest.mark.parametrize("name", ["flip", "roll", "mT", "pad", "select", "transpose"])
def test_rows_of_a_sequence_keep_their_number(name):
    table = {
        "flip": (lambda x: ln.flip(x, 1), lambda r: np.flip(r, 0)),
        "roll": (lambda x: ln.roll(x, 1, 2), lambda r: np.roll(r, 1, 1)),
        "mT": (lambda x: x.mT, lambda r: r.T),
        "pad": (lambda x: ln.pad(x, (1, 1)), lambda r: np.pad(r, ((0, 0), (1, 1)))),
        "select": (lambda x: ln.index_select(x, 2, [1]), lambda r: r[:, [1]]),
        "transpose": (lambda x: ln.transpose(x, 1, 2), lambda r: r.T),
    }
    ours, naive = table[name]
    for n in (0, 1, 3):
        y = ours(ln.sequence(X)[:n])
        assert len(y) == n
        for row, want in zip(y, X[:n], strict=True):
            np.testing.assert_allclose(row.numpy(), naive(want))


def test_rows_themselves_are_reversed_rolled_and_repeated():
    rows = ln.sequence(X)
    np.testing.assert_allclose(ln.flip(rows, 0).numpy(), X[::-1])
    np.testing.assert_allclose(ln.roll(rows, 1, 0).numpy(), np.roll(X, 1, 0))
    np.testing.assert_allclose(
        ln.repeat_interleave(rows, [0, 2, 1], 0).numpy(), np.repeat(X, [0, 2, 1], 0)
    )


def test_numbers_become_rows_with_a_one():
    assert ln.one_hot([2, 0], 3).numpy().tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(IndexError, match="one_hot: index 3"):
        ln.one_hot([3], 3)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda x: ln.permute(x, 0, 0, 1), ln.ShapeError, "permute"),
        (lambda x: ln.unsqueeze(x, 9), ln.ShapeError, "unsqueeze"),
        (lambda x: ln.broadcast_to(x, 5, 4, 2), ln.ShapeError, "broadcast_to"),
        (lambda x: ln.pad(x, (1,)), ln.ShapeError, "pad: 1 widths"),
        (lambda x: ln.pad(x, (1, 1), "mirror"), ValueError, "mode must be one of"),
        (lambda x: ln.index_select(x, 0, [3]), IndexError, "index_select: index 3"),
        (lambda x: ln.take_along_dim(x, 0, [[[7]]]), IndexError, "take_along_dim"),
        (lambda x: ln.diagonal(x[0, 0]), ln.ShapeError, "diagonal: expected a matrix"),
        (lambda x: ln.cat([x, x[:, :1]], 0), ln.ShapeError, "cat: rows of"),
        (lambda x: ln.repeat_interleave(x, [1], 0), ln.ShapeError, "1 numbers for an axis of 3"),
        (lambda x: x[[5]], IndexError, "out of bounds"),
    ],
)
def test_mistakes_are_told(call, error, told):
    with pytest.raises(error, match=told):
        call(ln.tensor(X))


M, N = np.arange(6.0).reshape(2, 3), np.int64
# sizes and axes as they may be given: (ours, what numpy makes of M)
GIVEN = {
    "sum": (lambda x: ln.sum(x, N(0)), M.sum(0)),
    "mean": (lambda x: x.mean(N(-1)), M.mean(-1)),
    "softmax": (lambda x: ln.softmax(x, N(1)).sum(1), np.ones(2)),
    "reshape": (lambda x: x.reshape(N(3), N(2)), M.reshape(3, 2)),
    "reshape to one size": (lambda x: x.reshape(N(6)), M.reshape(6)),
    "reshape to an array": (lambda x: x.reshape(np.array([3, -1])), M.reshape(3, 2)),
    "permute": (lambda x: x.permute(N(1), N(0)), M.T),
    "transpose": (lambda x: x.transpose(N(1), N(0)), M.T),
    "roll": (lambda x: x.roll(N(1), N(1)), np.roll(M, 1, 1)),
    "tile": (lambda x: x.tile(N(2)), np.tile(M, 2)),
    "expand": (lambda x: x[0].expand(N(4), N(-1)), np.tile(M[0], (4, 1))),
    "flip": (lambda x: x.flip([0, 1]), M[::-1, ::-1]),
    "flip one": (lambda x: ln.flip(x, (N(1),)), M[:, ::-1]),
    "sum in a list": (lambda x: ln.sum(x, [0, 1]), M.sum()),
    "mean in a list": (lambda x: x.mean(dim=[N(1)]), M.mean(1)),
    "zeros": (lambda x: x + ln.zeros([N(2), 3], dtype="float64"), M),
    "rand": (lambda x: x + 0.0 * ln.rand((2, 3), dtype="float64"), M),
    "randn": (lambda x: x + 0.0 * ln.randn([N(2), N(3)], dtype="float64"), M),
    "randint": (lambda x: x + ln.randint(0, 1, (2, 3)).astype("float64"), M),
    "one_hot": (lambda x: ln.one_hot(ln.tensor(1), N(3)), [0.0, 1.0, 0.0]),
    "one_hot of several": (lambda x: ln.one_hot(ln.tensor([1, 0]), 2), [[0.0, 1.0], [1.0, 0.0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", GIVEN)
def test_sizes_and_axes_are_given_one_by_one_or_together_and_as_integers_of_numpy(name):
    ours, want = GIVEN[name]
    np.testing.assert_allclose(ours(ln.tensor(M)).numpy(), want)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: ln.ones(4).reshape(2.0, 2), r"^reshape: sizes must be integers, not \(2.0, 2\)"),
        (lambda: ln.rand((2, 0.5)), r"^rand: sizes must be integers, not \(2, 0.5\)"),
        (lambda: ln.flip(ln.ones(2), "a"), "^flip: sizes must be integers"),
        (lambda: nn.LayerNorm(4.0), "sizes must be integers, not"),
    ],
)
def test_sizes_that_are_no_integers_are_told(made, told):
    with pytest.raises(TypeError, match=told):
        made()


def test_modules_take_integers_of_numpy():
    x = ln.tensor(M)
    for module in (nn.LayerNorm(N(3)), nn.RMSNorm([N(3)]), nn.ZeroPad1d(N(0))):
        assert module.double()(x).shape == (2, 3)
    assert nn.HierarchicalSoftmax(3, N(5)).n_classes == 5
    assert nn.functional.layer_norm(x, N(3)).shape == (2, 3)
