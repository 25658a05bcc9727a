"""Pooling: loops and PyTorch as oracles, over random windows; rows of Sequences as signals."""

import naive_windows as naive
import numpy as np
import pytest
from checks import agrees_with_torch, batches_over_examples, goes_row_by_row, normal

import lazynet as ln
from lazynet import nn

F = nn.functional
SEEDS = range(20)


class Case:
    """A random window that fits an input of `axes` axes."""

    def __init__(self, seed, axes):
        draw = np.random.default_rng(seed)
        self.kernel = tuple(int(v) for v in draw.integers(1, 5, axes))
        self.stride = tuple(int(v) for v in draw.integers(1, 4, axes))
        self.padding = tuple(int(draw.integers(0, k // 2 + 1)) for k in self.kernel)
        self.size = tuple(
            int(draw.integers(max(k - 2 * p, 1), 9))
            for k, p in zip(self.kernel, self.padding, strict=True)
        )
        self.ceil = bool(draw.integers(2))
        self.x = draw.standard_normal((2, *self.size))

    @property
    def window(self):
        return (self.kernel, self.stride, self.padding)

    @property
    def plain(self):
        """The window as numbers where there is one axis."""
        return tuple(v[0] if len(v) == 1 else v for v in self.window)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("axes", [1, 2])
class TestRandomWindows:
    def test_values(self, axes, seed):
        case = Case(seed, axes)
        largest = getattr(F, f"max_pool{axes}d")(ln.tensor(case.x), *case.plain,
                                                 ceil_mode=case.ceil)  # fmt: skip
        want = naive.pooled(case.x, *case.window, True, case.ceil)
        np.testing.assert_array_equal(largest.numpy(), want)
        for padded in (True, False):
            mean = getattr(F, f"avg_pool{axes}d")(ln.tensor(case.x), *case.plain, case.ceil, padded)
            want = naive.pooled(case.x, *case.window, False, case.ceil, padded)
            np.testing.assert_allclose(mean.numpy(), want, atol=1e-12)

    def test_torch_agrees(self, torch, axes, seed):
        case, T = Case(seed, axes), torch.nn.functional
        options = {"ceil_mode": case.ceil}
        name = f"max_pool{axes}d"
        agrees_with_torch(
            torch,
            lambda x: getattr(F, name)(x, *case.window, **options),
            lambda x: getattr(T, name)(x, *case.window, **options),
            [case.x],
        )
        name = f"avg_pool{axes}d"
        agrees_with_torch(
            torch,
            lambda x: getattr(F, name)(x, *case.window, case.ceil, seed % 2 == 0),
            lambda x: getattr(T, name)(x, *case.window, case.ceil, seed % 2 == 0),
            [case.x],
        )
        wanted = tuple(np.random.default_rng(seed).integers(1, 6, axes).tolist())
        for name in (f"adaptive_avg_pool{axes}d", f"adaptive_max_pool{axes}d"):
            agrees_with_torch(
                torch,
                lambda x, n=name: getattr(F, n)(x, wanted),
                lambda x, n=name: getattr(T, n)(x, wanted),
                [case.x],
            )

    def test_adaptive_windows(self, axes, seed):
        x = Case(seed, axes).x
        wanted = tuple(np.random.default_rng(seed).integers(1, 6, axes).tolist())
        for name, largest in (("avg", False), ("max", True)):
            y = getattr(F, f"adaptive_{name}_pool{axes}d")(ln.tensor(x), wanted)
            np.testing.assert_allclose(y.numpy(), naive.adaptive(x, wanted, largest), atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("axes", [1, 2])
def test_derivatives_and_rows(axes, seed):
    case = Case(seed, axes)
    x = np.random.permutation(np.arange(case.x.size)).reshape(case.x.shape) * 0.1
    for name in (f"max_pool{axes}d", f"avg_pool{axes}d"):
        function = getattr(F, name)
        ln.check_grads(lambda v, f=function: f(v, *case.window, ceil_mode=case.ceil), [x])
        goes_row_by_row(lambda v, f=function: f(v, *case.window), normal(4, *x.shape))
    for name in (f"adaptive_max_pool{axes}d", f"adaptive_avg_pool{axes}d"):
        ln.check_grads(lambda v, n=name: getattr(F, n)(v, 3), [x])


def test_dilated_windows(torch):
    for dilation in (2, 3):
        agrees_with_torch(
            torch,
            lambda x, d=dilation: F.max_pool1d(x, 2, 1, 0, d),
            lambda x, d=dilation: torch.nn.functional.max_pool1d(x, 2, 1, 0, d),
            [normal(3, 8)],
        )
    x = np.arange(6.0)[None]
    assert F.max_pool1d(ln.tensor(x), 2, 1, dilation=2).tolist() == [[2, 3, 4, 5]]


def test_a_divisor_may_be_given():
    x = np.arange(16.0).reshape(1, 4, 4)
    y = F.avg_pool2d(ln.tensor(x), 2, divisor_override=2)
    np.testing.assert_allclose(y.numpy(), 2 * F.avg_pool2d(ln.tensor(x), 2).numpy())


def test_equal_elements_share_the_gradient():
    x = ln.tensor(np.ones((1, 4)), requires_grad=True)
    F.max_pool1d(x, 2).sum().backward()
    assert x.grad.tolist() == [[0.5, 0.5, 0.5, 0.5]]


class TestAlongTheRows:
    """A Sequence of vectors is one signal: what pooling makes of its transpose, transposed."""

    @pytest.mark.parametrize("seed", SEEDS)
    def test_is_pooling_of_the_transpose(self, seed):
        case = Case(seed, 1)
        rows, whole = ln.sequence(np.ascontiguousarray(case.x.T)), ln.tensor(case.x)
        for function in (F.max_pool1d, F.avg_pool1d):
            y = function(rows, *case.plain, ceil_mode=case.ceil)
            want = function(whole, *case.plain, ceil_mode=case.ceil).numpy().T
            np.testing.assert_allclose(y.numpy(), want, atol=1e-12)
        for function in (F.adaptive_avg_pool1d, F.adaptive_max_pool1d):
            np.testing.assert_allclose(
                function(rows, 3).numpy(), function(whole, 3).numpy().T, atol=1e-12
            )

    def test_derivatives(self):
        x = np.random.permutation(np.arange(14)).reshape(7, 2) * 0.1
        for function in (F.max_pool1d, F.avg_pool1d):
            ln.check_grads(lambda v, f=function: f(ln.sequence(v), 3, 2, 1), [x])

    @pytest.mark.parametrize("length", [0, 1, 2])
    def test_less_than_a_window_gives_no_rows(self, length):
        x = ln.sequence(normal(5, 2))[:length]
        assert F.max_pool1d(x, 3).shape == F.avg_pool1d(x, 3).shape == (0, 2)

    @pytest.mark.parametrize("length", [1, 2])
    def test_less_than_a_window_that_may_stick_out_gives_one(self, torch, length):
        x, T = normal(2, length), torch.nn.functional
        for name in ("max_pool1d", "avg_pool1d"):
            want = getattr(T, name)(torch.tensor(x)[None], 3, ceil_mode=True)[0].numpy()
            have = getattr(F, name)(ln.tensor(x), 3, ceil_mode=True).numpy()
            np.testing.assert_allclose(have, want, atol=1e-12)
            rows = getattr(F, name)(ln.sequence(x.T.copy()), 3, ceil_mode=True).numpy()
            np.testing.assert_allclose(rows, want.T, atol=1e-12)
        assert F.max_pool1d(ln.zeros(2, length=0), 3, ceil_mode=True).shape == (0, 2)

    def test_sentences_of_all_lengths_share_batches(self):
        x = [normal(2 + k % 7, 4) for k in range(50)]
        for function in (F.max_pool1d, F.avg_pool1d):
            batches_over_examples(lambda k, f=function: f(ln.sequence(x[k]), 2, 1))
        batches_over_examples(lambda k: F.adaptive_max_pool1d(ln.sequence(x[k]), 2))


def test_fifty_images_run_in_as_many_batches_as_one():
    x = [normal(2, 5, 5) for _ in range(50)]
    for function in (F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d):
        batches_over_examples(lambda k, f=function: f(ln.tensor(x[k]), 2))


MODULES = [
    ("MaxPool1d", (3, 2, 1, 2), (2, 9)),
    ("MaxPool2d", ((2, 3), None, 1), (2, 7, 8)),
    ("AvgPool1d", (3, 2, 1, True, False), (2, 8)),
    ("AvgPool2d", (3, 2, 1, True, False, 5), (2, 7, 8)),
    ("AdaptiveAvgPool1d", (3,), (2, 8)),
    ("AdaptiveAvgPool2d", ((3, None),), (2, 7, 8)),
    ("AdaptiveMaxPool1d", (3,), (2, 8)),
    ("AdaptiveMaxPool2d", (3,), (2, 7, 8)),
]


@pytest.mark.parametrize(("name", "arguments", "shape"), MODULES)
def test_modules_take_pytorch_s_arguments_in_its_order(torch, name, arguments, shape):
    x = normal(*shape)
    ours = getattr(nn, name)(*arguments)
    theirs = getattr(torch.nn, name)(*arguments)(torch.tensor(x))
    np.testing.assert_allclose(ours(ln.tensor(x)).numpy(), theirs.numpy(), atol=1e-12)
    assert "size=" in repr(ours)


@pytest.mark.parametrize("pool", [F.max_pool1d, F.avg_pool1d])
def test_windows_of_padding_alone_are_no_rows_of_a_sequence_without_rows(pool):
    assert pool(ln.ones(3, length=0), 2, 1, 1).shape == (0, 3)
    assert pool(ln.ones(3, length=1), 2, 1, 1).shape == (2, 3)


X = ln.zeros(2, 6)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: F.max_pool1d(ln.zeros(6), 2), ln.ShapeError, "max_pool1d: expected rows of 2"),
        (lambda: F.max_pool2d(X, 2), ln.ShapeError, "max_pool2d: expected rows of 3 axes"),
        (lambda: F.avg_pool1d(X, 2, padding=2), ln.ShapeError, "more than half of the window"),
        (lambda: F.avg_pool1d(X, 7), ln.ShapeError, "avg_pool1d: a window of 7 does not fit in"),
        (lambda: F.max_pool1d(ln.zeros(2, 0), 2, 1, 1), ln.ShapeError,
         r"max_pool1d: there is nothing to pool in a value of \(2, 0\)"),
        (lambda: F.avg_pool2d(ln.zeros(2, 3, 0), 2, 1, 1), ln.ShapeError, "nothing to pool"),
        (lambda: F.max_pool1d(X, 0), ValueError, "max_pool1d: kernel_size must be an integer"),
        (lambda: F.max_pool1d(X, 2, -1), ValueError, "max_pool1d: stride must be an integer"),
        (lambda: F.max_pool1d(X, (2, 2)), ValueError, "max_pool1d: kernel_size must be"),
        (lambda: F.avg_pool2d(ln.zeros(1, 4, 4), 2, divisor_override=0), ValueError, "divisor"),
        (lambda: F.adaptive_avg_pool1d(X, 0), ValueError, "output_size must be an integer"),
        (lambda: F.adaptive_max_pool2d(ln.zeros(1, 4, 4), (1, 2, 3)), ValueError, "output_size"),
        (lambda: F.adaptive_max_pool1d(ln.sequence(np.zeros((1, 2), "f"))[:0], 2), ln.ShapeError,
         "nothing to cover"),
    ],
)  # fmt: skip
def test_mistakes_are_told(call, error, told):
    with pytest.raises(error, match=told):
        call()
