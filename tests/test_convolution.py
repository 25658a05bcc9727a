"""Convolutions: loops and PyTorch as oracles, over random shapes and options."""

import naive_windows as naive
import numpy as np
import pytest
from checks import agrees_with_torch, batches_over_examples, goes_row_by_row, normal

import lazynet as ln
from lazynet import nn

F = nn.functional
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


class Case:
    """Sizes and options of a convolution over `axes` axes, drawn from a seed."""

    def __init__(self, seed, axes, transposed=False):
        draw = np.random.default_rng(seed)

        def some(low, high):
            return tuple(int(v) for v in draw.integers(low, high, axes))

        self.groups = int(draw.choice([1, 1, 2, 3]))
        inner, outer = (self.groups * int(v) for v in draw.integers(1, 3, 2))
        self.kernel, self.stride, self.dilation = some(1, 4), some(1, 4), some(1, 3)
        self.padding = some(0, 3)
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        self.size = tuple(
            max(int(draw.integers(1, 7)), span - 2 * p)
            for span, p in zip(spans, self.padding, strict=True)
        )
        self.output_padding = (0,) * axes
        first, second = (inner, outer) if transposed else (outer, inner)
        self.x = draw.standard_normal((inner, *self.size))
        self.weight = draw.standard_normal((first, second // self.groups, *self.kernel))
        self.bias = draw.standard_normal(outer) if seed % 2 else None
        if transposed:
            most = [max(s, d) for s, d in zip(self.stride, self.dilation, strict=True)]
            self.output_padding = tuple(int(draw.integers(0, m)) for m in most)
            self.padding = tuple(
                min(p, ((n - 1) * s + span + e - 1) // 2)
                for p, n, s, span, e in zip(
                    self.padding, self.size, self.stride, spans, self.output_padding, strict=True
                )
            )

    def weights(self):
        return [self.weight] if self.bias is None else [self.weight, self.bias]

    def options(self, plain=False):
        """The options; `plain`: as numbers, for one axis."""
        found = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        found = {name: v[0] if plain else v for name, v in found.items()}
        return found | {"groups": self.groups}


NAMES = ("conv1d", "conv2d")
SEEDS = range(24)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("axes", [1, 2])
class TestAllOptions:
    def test_forward(self, axes, seed):
        case, function = Case(seed, axes), getattr(F, NAMES[axes - 1])
        want = naive.convolved(
            case.x, case.weight, case.bias, case.stride, [(p, p) for p in case.padding],
            case.dilation, case.groups,
        )  # fmt: skip
        values = map(ln.tensor, [case.x, *case.weights()])
        y = function(*values, **case.options(plain=axes == 1))
        assert y.shape == want.shape
        np.testing.assert_allclose(y.numpy(), want, atol=1e-12)

    def test_transposed(self, axes, seed):
        case = Case(seed, axes, transposed=True)
        want = naive.transposed(
            case.x, case.weight, case.bias, case.stride, case.padding, case.output_padding,
            case.dilation, case.groups,
        )  # fmt: skip
        values = map(ln.tensor, [case.x, *case.weights()])
        options = case.options() | {"output_padding": case.output_padding}
        y = getattr(F, f"conv_transpose{axes}d")(*values, **options)
        assert y.shape == want.shape
        np.testing.assert_allclose(y.numpy(), want, atol=1e-12)

    def test_torch_agrees(self, torch, axes, seed):
        case, name = Case(seed, axes), NAMES[axes - 1]
        options = case.options()
        agrees_with_torch(
            torch,
            lambda *v: getattr(F, name)(*v, **options),
            lambda *v: getattr(torch.nn.functional, name)(*v, **options),
            [case.x, *case.weights()],
        )
        back, name = Case(seed, axes, transposed=True), f"conv_transpose{axes}d"
        more = back.options() | {"output_padding": back.output_padding}
        agrees_with_torch(
            torch,
            lambda *v: getattr(F, name)(*v, **more),
            lambda *v: getattr(torch.nn.functional, name)(*v, **more),
            [back.x, *back.weights()],
        )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("axes", [1, 2])
class TestSomeOptions:
    def test_derivatives(self, axes, seed):
        case, function = Case(seed, axes), getattr(F, NAMES[axes - 1])
        options = case.options()
        ln.check_grads(lambda *v: function(*v, **options), [case.x, *case.weights()])
        back = Case(seed, axes, transposed=True)
        options = back.options() | {"output_padding": back.output_padding}
        function = getattr(F, f"conv_transpose{axes}d")
        ln.check_grads(lambda *v: function(*v, **options), [back.x, *back.weights()])

    def test_rows_of_a_sequence_are_signals(self, axes, seed):
        case, function = Case(seed, axes), getattr(F, NAMES[axes - 1])
        weights, options = [ln.tensor(w) for w in case.weights()], case.options()
        goes_row_by_row(lambda x: function(x, *weights, **options), normal(4, *case.x.shape))


@pytest.mark.parametrize("window", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_keeps_the_length_and_puts_the_odd_padding_behind(window, dilation):
    x, w = normal(2, 5), normal(3, 2, window)
    whole = dilation * (window - 1)
    want = naive.convolved(x, w, None, (1,), [(whole // 2, whole - whole // 2)], (dilation,), 1)
    y = F.conv1d(ln.tensor(x), ln.tensor(w), padding="same", dilation=dilation)
    np.testing.assert_allclose(y.numpy(), want, atol=1e-12)
    rows = F.conv1d(ln.sequence(x.T), ln.tensor(w), padding="same", dilation=dilation)
    np.testing.assert_allclose(rows.numpy(), want.T, atol=1e-12)


class TestAlongTheRows:
    """A Sequence of vectors is one signal: what conv1d makes of its transpose, transposed."""

    @pytest.mark.parametrize("seed", range(12))
    def test_is_conv1d_of_the_transpose(self, seed):
        draw = np.random.default_rng(seed)
        stride, padding, dilation = (int(v) for v in draw.integers(1, 4, 3))
        w, b = ln.tensor(normal(3, 2, 3)), ln.tensor(normal(3))
        length = dilation * 2 + 1 + int(draw.integers(0, 5))
        x = normal(length, 2)
        rows = F.conv1d(ln.sequence(x), w, b, stride, padding - 1, dilation)
        whole = F.conv1d(ln.tensor(x.T), w, b, stride, padding - 1, dilation)
        np.testing.assert_allclose(rows.numpy(), whole.numpy().T, atol=1e-12)
        ln.check_grads(
            lambda x, w, b: F.conv1d(ln.sequence(x), w, b, stride, padding - 1, dilation),
            (x, w.numpy(), b.numpy()),
        )

    @pytest.mark.parametrize("groups", [2, 4])
    @pytest.mark.parametrize("length", [0, 1, 2, 7])
    def test_channels_may_be_cut_into_groups(self, length, groups):
        x, w, b = normal(length, 4), normal(8, 4 // groups, 3), normal(8)
        options = {"padding": 1, "dilation": 1, "groups": groups}
        rows = F.conv1d(ln.sequence(x), ln.tensor(w), ln.tensor(b), **options)
        assert rows.shape == rows.numpy().shape == (length, 8)
        if length:
            whole = F.conv1d(ln.tensor(x.T), ln.tensor(w), ln.tensor(b), **options)
            np.testing.assert_allclose(rows.numpy(), whole.numpy().T, atol=1e-12)
            ln.check_grads(lambda x, *w: F.conv1d(ln.sequence(x), *w, **options), (x, w, b))

    @pytest.mark.parametrize("length", [0, 1, 2])
    def test_less_than_a_window_gives_no_rows(self, length):
        w = ln.tensor(normal(4, 2, 3), requires_grad=True)
        y = F.conv1d(ln.sequence(normal(5, 2))[:length], w)
        assert y.shape == (0, 4) and y.numpy().shape == (0, 4)
        ln.sum(y).backward()

    def test_sentences_of_all_lengths_share_batches(self):
        for layer in (nn.Conv1d(4, 3, 3, padding=1), nn.Conv1d(4, 8, 3, padding=1, groups=2)):
            x = [normal(1 + k % 7, 4).astype("f") for k in range(50)]
            batches_over_examples(lambda k, layer=layer, x=x: layer(ln.sequence(x[k])))


def test_fifty_images_run_in_as_many_batches_as_one():
    layers = [nn.Conv2d(3, 4, 3, groups=1), nn.ConvTranspose2d(3, 4, 3, stride=2)]
    x = [normal(3, 5, 5).astype(np.float32) for _ in range(50)]
    for layer in layers:
        batches_over_examples(lambda k, m=layer: m(ln.tensor(x[k])))


MODULES = [
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, (4, 9)),
    ("Conv1d", (4, 6, 3), {"bias": False, "dilation": 2}, (4, 9)),
    ("Conv1d", (4, 6, 4), {"padding": "same"}, (4, 9)),
    ("Conv2d", (4, 6, (3, 2)), {"padding": (1, 0)}, (4, 7, 6)),
    ("Conv2d", (4, 6, 3, 2, 1, 1, 2, False), {}, (4, 7, 6)),
    *[
        (f"Conv{axes}d", (4, 6, 3), {"padding": 2, "padding_mode": mode}, (4, 7, 6)[: 1 + axes])
        for axes in (1, 2)
        for mode in ("reflect", "replicate", "circular")
    ],
    ("Conv1d", (4, 6, 4), {"padding": "same", "padding_mode": "circular"}, (4, 9)),
    ("ConvTranspose1d", (4, 6, 3, 2, 1, 1, 2, False, 2), {}, (4, 5)),
    ("ConvTranspose2d", (4, 6, (3, 2)), {"stride": (2, 3), "output_padding": 1}, (4, 3, 5)),
]


@pytest.mark.parametrize(("name", "sizes", "options", "shape"), MODULES)
def test_modules_take_pytorch_s_weights_and_give_its_outputs(torch, name, sizes, options, shape):
    ours, theirs = getattr(nn, name)(*sizes, **options), getattr(torch.nn, name)(*sizes, **options)
    state = theirs.state_dict()
    mine = ours.state_dict()
    assert {k: v.shape for k, v in mine.items()} == {k: tuple(v.shape) for k, v in state.items()}
    bound = 1 / np.sqrt(np.prod(ours.weight.shape[1:]))
    assert all((np.abs(v) <= bound).all() for v in mine.values())
    ours.load_state_dict(state)
    x = normal(*shape).astype(np.float32)
    want = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours(ln.tensor(x)).numpy(), want, rtol=2e-4, atol=2e-5)
    if name == "Conv1d" and ours.groups == 1:
        rows = ours(ln.sequence(np.ascontiguousarray(x.T)))
        np.testing.assert_allclose(rows.numpy().T, want, rtol=2e-4, atol=2e-5)


def test_modules_show_their_options():
    assert repr(nn.Conv1d(2, 4, 3, padding=1, groups=2, bias=False)) == (
        "Conv1d(2, 4, kernel_size=(3,), padding=1, groups=2, bias=False)"
    )
    assert "output_padding=1" in repr(nn.ConvTranspose1d(2, 4, 3, stride=2, output_padding=1))


X, W = ln.zeros(4, 9), ln.zeros(6, 4, 3)
ROWS = ln.sequence(np.zeros((9, 4), np.float32))


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: F.conv1d(ln.zeros(9), W), ln.ShapeError, "conv1d: expected rows of 2 axes"),
        (lambda: F.conv1d(ln.zeros(3, 9), W), ln.ShapeError, "conv1d: rows of 3 channels for"),
        (lambda: F.conv1d(X, ln.zeros(6, 4)), ln.ShapeError, "conv1d: expected a weight of 3 axes"),
        (lambda: F.conv1d(X, W, ln.zeros(5)), ln.ShapeError, r"conv1d: a bias of \(5,\)"),
        (lambda: F.conv1d(X[:, :2], W), ln.ShapeError, "conv1d: a window of 3 does not fit into 2"),
        (lambda: F.conv1d(X, W, stride=0), ValueError, "conv1d: stride must be an integer from 1"),
        (lambda: F.conv1d(X, W, padding=-1), ValueError, "conv1d: padding must be an integer from"),
        (lambda: F.conv1d(X, W, padding="full"), ValueError, "conv1d: padding must be numbers"),
        (lambda: F.conv1d(X, W, None, 2, "same"), ValueError, "padding 'same' needs stride 1"),
        (lambda: F.conv1d(X, ln.zeros(5, 2, 3), groups=2), ln.ShapeError, "cannot be cut into 2"),
        (lambda: F.conv2d(X, ln.zeros(6, 4, 3, 3)), ln.ShapeError, "conv2d: expected rows of 3"),
        (lambda: F.conv1d(ROWS, ln.zeros(6, 5, 3)), ln.ShapeError, r"conv1d: rows of \(4,\) for"),
        (lambda: F.conv1d(ROWS, ln.zeros(6, 2, 3), groups=3), ln.ShapeError, "in 3 groups"),
        (lambda: F.conv_transpose1d(X, W), ln.ShapeError, "conv_transpose1d: rows of 4 channels"),
        (lambda: F.conv_transpose1d(X, ln.zeros(4, 6, 3), output_padding=1), ValueError,
         "output_padding"),
        (lambda: F.conv_transpose1d(X[:, :1], ln.zeros(4, 6, 3), padding=2), ln.ShapeError,
         "would give an output"),
        (lambda: nn.Conv1d(4, 6, 3, groups=4), ValueError, "no multiples of 4 groups"),
        (lambda: nn.Conv1d(4, 0, 3), ValueError, "out_channels must be a positive integer"),
        (lambda: nn.Conv1d(4, 6, (3, 3)), ValueError, "Conv1d: kernel_size must be"),
        (lambda: nn.Conv1d(4, 6, 3, padding_mode="mirror"), ValueError, "padding_mode must be"),
    ],
)  # fmt: skip
def test_mistakes_are_told(call, error, told):
    with pytest.raises(error, match=told):
        call()


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
def test_a_signal_of_no_rows_stays_one_in_any_padding(mode):
    layer = nn.Conv1d(2, 3, 3, padding=1, padding_mode=mode)
    assert layer(ln.zeros(2, length=0)).shape == (0, 3)
    assert layer(ln.zeros(2, length=4)).shape == (4, 3)
