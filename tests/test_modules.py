"""Activations, Bilinear, Flatten: PyTorch's arguments, names and outputs; rows and batches."""

import copy
import math
import pickle
import warnings

import numpy as np
import pytest
from checks import agrees_with_torch, batches_over_examples, goes_row_by_row, normal
from naive_elementwise import sigmoid
from naive_runs import softmax

import lazynet as ln
from lazynet import nn

EDGES = np.array([-80.0, -6.0, -3.0, -1.0, -0.5, -1e-9, 1e-9, 0.5, 1.0, 2.9, 6.5, 80.0])


def elu(x, a=1.0):
    return np.where(x > 0, x, a * np.expm1(np.minimum(x, 0)))


def gelu(x):
    return np.array([v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in x.ravel()]).reshape(x.shape)


# name, arguments, numpy's version
ACTIVATIONS = [
    ("ReLU", (), lambda x: np.maximum(x, 0)),
    ("ReLU6", (), lambda x: np.clip(x, 0, 6)),
    ("Tanh", (), np.tanh),
    ("Sigmoid", (), sigmoid),
    ("LogSigmoid", (), lambda x: -np.logaddexp(0, -x)),
    ("LeakyReLU", (), lambda x: np.where(x > 0, x, 0.01 * x)),
    ("LeakyReLU", (0.3,), lambda x: np.where(x > 0, x, 0.3 * x)),
    ("ELU", (), elu),
    ("ELU", (0.5,), lambda x: elu(x, 0.5)),
    ("CELU", (2.0,), lambda x: 2 * elu(x / 2)),
    ("SELU", (), lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772)),
    ("SiLU", (), lambda x: x * sigmoid(x)),
    ("Mish", (), lambda x: x * np.tanh(np.logaddexp(0, x))),
    ("GELU", (), gelu),
    (
        "GELU", ("tanh",),
        lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    ("Softplus", (), lambda x: np.logaddexp(0, x)),
    ("Softplus", (2.0,), lambda x: np.logaddexp(0, 2 * x) / 2),
    ("Softsign", (), lambda x: x / (1 + np.abs(x))),
    ("Hardtanh", (), lambda x: np.clip(x, -1, 1)),
    ("Hardtanh", (-2.0, 0.7), lambda x: np.clip(x, -2, 0.7)),
    ("Hardsigmoid", (), lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    ("Hardswish", (), lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    ("Hardshrink", (), lambda x: np.where(np.abs(x) > 0.5, x, 0)),
    ("Softshrink", (0.4,), lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.4, 0)),
    ("Tanhshrink", (), lambda x: x - np.tanh(x)),
    ("Threshold", (0.1, 20.0), lambda x: np.where(x > 0.1, x, 20.0)),
    ("Softmax", (-1,), softmax),
    ("Softmin", (-1,), lambda x: softmax(-x)),
    ("LogSoftmax", (-1,), lambda x: np.log(softmax(x))),
    ("GLU", (), lambda x: x[..., :3] * sigmoid(x[..., 3:])),
    ("PReLU", (), lambda x: np.where(x > 0, x, 0.25 * x)),
]  # fmt: skip
IDS = [f"{name}-{'-'.join(map(str, arguments))}" for name, arguments, _ in ACTIVATIONS]
over = pytest.mark.parametrize(("name", "arguments", "simple"), ACTIVATIONS, ids=IDS)


def made(name, arguments):
    return getattr(nn, name)(*arguments).double()


@over
class TestActivations:
    def test_values(self, name, arguments, simple):
        module, x = made(name, arguments), normal(4, 6)
        np.testing.assert_allclose(module(ln.tensor(x)).numpy(), simple(x), rtol=1e-12, atol=1e-14)
        goes_row_by_row(module, x)

    def test_derivatives(self, name, arguments, simple):
        module = made(name, arguments)
        x = np.array([-2.3, -1.4, -0.7, 0.35, 1.2, 3.1])
        ln.check_grads(module, [x], 2, tolerance=1e-5)

    def test_torch_agrees(self, torch, name, arguments, simple):
        theirs = getattr(torch.nn, name)(*arguments).double()
        for x in (normal(6), normal(2, 6), EDGES.copy()):
            agrees_with_torch(torch, made(name, arguments), theirs, [x], tolerance=1e-7)

    def test_names_copies_and_batches(self, torch, name, arguments, simple):
        module, theirs = made(name, arguments), getattr(torch.nn, name)(*arguments)
        assert list(module.state_dict()) == list(theirs.state_dict())
        x = ln.tensor(normal(6))
        for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            np.testing.assert_array_equal(twin(x).numpy(), module(x).numpy())
            assert repr(twin) == repr(module)
        arrays = [normal(6) for _ in range(50)]
        batches_over_examples(lambda k: module(ln.tensor(arrays[k])))


def test_softmax_along_other_axes(torch):
    for name in ("Softmax", "LogSoftmax", "Softmin"):
        for dim in (0, 1, 2):
            agrees_with_torch(
                torch, getattr(nn, name)(dim), getattr(torch.nn, name)(dim), [normal(3, 4, 2)]
            )


def test_prelu_has_a_slope_for_each_channel(torch):
    ours, theirs = nn.PReLU(3, 0.1).double(), torch.nn.PReLU(3, 0.1).double()
    state = {"weight": torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)}
    ours.load_state_dict(state)
    theirs.load_state_dict(state)
    x = normal(3, 4)
    np.testing.assert_allclose(
        ours(ln.tensor(x)).numpy(), theirs(torch.tensor(x)[None])[0].detach().numpy()
    )
    y = ours(ln.tensor(x))
    ln.sum(y).backward()
    np.testing.assert_allclose(ours.weight.grad.numpy(), np.minimum(x, 0).sum(1))
    with pytest.raises(ln.ShapeError, match=r"PReLU: rows of \(4,\) have no 3 channels"):
        ours(ln.zeros(4))


def test_activations_know_their_options():
    with pytest.raises(TypeError, match="LeakyReLU takes negative_slope"):
        nn.LeakyReLU(slope=0.1)
    with pytest.raises(TypeError, match="ReLU takes no arguments"):
        nn.ReLU(1.0)
    with pytest.raises(ValueError, match="GELU: approximate"):
        nn.GELU("fast")(ln.zeros(2))
    with pytest.raises(ln.ShapeError, match=r"GLU: rows of \(3,\) have no two halves"):
        nn.GLU()(ln.zeros(3))
    with pytest.raises(ValueError, match="Softshrink: lambd must not be negative"):
        nn.Softshrink(-1.0)(ln.zeros(3))


class TestBilinear:
    def test_values_and_derivatives(self):
        m = nn.Bilinear(3, 4, 2).double()
        x, y, w, b = normal(3), normal(4), m.weight.numpy(), m.bias.numpy()
        want = np.einsum("i,oij,j->o", x, w, y) + b
        np.testing.assert_allclose(m(ln.tensor(x), ln.tensor(y)).numpy(), want)
        ln.check_grads(lambda *v: ln.bilinear(*v), (x, y, w, b))
        goes_row_by_row(m, normal(4, 3), normal(4, 4))

    @pytest.mark.parametrize("bias", [True, False])
    def test_torch_agrees(self, torch, bias):
        theirs = torch.nn.Bilinear(3, 4, 2, bias)
        ours = nn.Bilinear(3, 4, 2, bias)
        state = theirs.state_dict()
        shapes = {k: tuple(v.shape) for k, v in state.items()}
        assert {k: v.shape for k, v in ours.state_dict().items()} == shapes
        assert (np.abs(ours.weight.numpy()) <= 1 / math.sqrt(3)).all()
        ours.load_state_dict(state)
        agrees_with_torch(torch, ours.double(), theirs.double(), (normal(5, 3), normal(5, 4)), True)

    def test_fifty_examples_run_in_as_many_batches_as_one(self):
        m = nn.Bilinear(3, 4, 2)
        x, y = normal(50, 3).astype("f"), normal(50, 4).astype("f")
        batches_over_examples(lambda k: m(ln.tensor(x[k]), ln.tensor(y[k])))

    def test_mistakes_are_told(self):
        m = nn.Bilinear(3, 4, 2)
        with pytest.raises(ln.ShapeError, match="Bilinear: x has rows"):
            m(ln.zeros(4), ln.zeros(4))
        with pytest.raises(ValueError, match="in2_features must be a positive integer"):
            nn.Bilinear(3, 0, 2)


class TestFlatten:
    def test_joins_all_axes_of_a_row(self):
        x = normal(4, 2, 3)
        assert nn.Flatten()(ln.tensor(x)).shape == (24,)
        rows = nn.Flatten()(ln.sequence(x))
        assert rows.shape == (4, 6)
        np.testing.assert_array_equal(rows.numpy(), x.reshape(4, 6))

    def test_may_join_some_of_them(self):
        x = normal(2, 3, 4)
        y = nn.Flatten(1, 2)(ln.tensor(x))
        np.testing.assert_array_equal(y.numpy(), x.reshape(2, 12))
        assert repr(nn.Flatten(1)) == "Flatten(start_dim=1, end_dim=-1)"


@pytest.mark.parametrize("index", [[1, 2, 1, 0, 2], [0, 2], 1, 2])
@pytest.mark.parametrize("padding", [1, -2])
def test_padding_begins_at_0_and_gets_no_gradient(padding, index):
    words = nn.Embedding(3, 4, padding_idx=padding)
    assert not words.weight.numpy()[1].any() and words.padding_idx == 1
    words.weight.copy_(np.arange(12.0).reshape(3, 4))  # its own values count nevertheless
    for rows in (words(index), nn.functional.embedding(index, words.weight, padding_idx=1)):
        np.testing.assert_array_equal(rows.numpy(), words.weight.numpy()[index])
        words.zero_grad()
        (rows.sum() + words(0).sum()).backward()
        counts = np.bincount([0, *np.atleast_1d(index)], minlength=3) * [1, 0, 1]
        np.testing.assert_array_equal(words.weight.grad.numpy(), np.repeat(counts[:, None], 4, 1))


def test_padding_needs_a_row():
    with pytest.raises(ValueError, match="no row 3 of 3 to pad with"):
        nn.Embedding(3, 4, padding_idx=3)
    with pytest.raises(ValueError, match="embedding: no row 3 of 3 to pad with"):
        nn.functional.embedding([1], ln.Parameter(np.ones((3, 4))), padding_idx=3)
    bag = nn.EmbeddingBag.from_pretrained(np.ones((3, 4)), padding_idx=1, mode="sum")
    assert bag([0, 1, 2]).tolist() == [2.0] * 4


def test_rows_to_pad_with_may_be_counted_from_the_last():
    table = ln.Parameter(np.ones((3, 4)))
    nn.functional.embedding([0, 2], table, padding_idx=-1).sum().backward()
    assert table.grad.sum(1).tolist() == [4.0, 0.0, 0.0]


MODES = ("Circular", "Reflection", "Replication", "Zero", "Constant")
PADS = [f"{mode}Pad{axes}d" for mode in MODES for axes in (1, 2)]


@pytest.mark.parametrize("name", PADS)
def test_padding_is_pytorchs(torch, name):
    axes = int(name[-2])
    value = [(0.5,), (float("-inf"),)] if name.startswith("Constant") else [()]
    for width in (0, 2, (1, 2) if axes == 1 else (2, 0, 1, 2)):
        for more in value:
            ours, theirs = getattr(nn, name)(width, *more), getattr(torch.nn, name)(width, *more)
            agrees_with_torch(torch, ours, theirs, [normal(4, 3, *(5, 4)[:axes])], many=True)
    ln.check_grads(getattr(nn, name)(1, *value[0]), [normal(2, *(5, 4)[:axes])], 2)
    batches_over_examples(lambda k: ours(ln.tensor(normal(2, *(5, 4)[:axes]))))


def test_padding_takes_as_many_widths_as_there_are_ends():
    with pytest.raises(ValueError, match="ZeroPad2d: padding must be an integer or 4 of them, not"):
        nn.ZeroPad2d((1, 2))
    with pytest.raises(ln.ShapeError, match=r"ZeroPad1d: rows of \(2, 3, 4\); expected 1 axes"):
        nn.ZeroPad1d(1)(ln.ones(2, 3, 4))
    with pytest.raises(ln.ShapeError, match=r"^ReflectionPad1d: "):
        nn.ReflectionPad1d(1)(ln.tensor(1.0))


def test_distances_and_angles_are_pytorchs(torch):
    x, y = normal(5, 4), normal(5, 4)
    for options in ({}, {"p": 1.0, "eps": 0.1}, {"keepdim": True}):
        ours, theirs = nn.PairwiseDistance(**options), torch.nn.PairwiseDistance(**options)
        agrees_with_torch(torch, ours, theirs, [x, y], many=True)
    agrees_with_torch(torch, nn.CosineSimilarity(), torch.nn.CosineSimilarity(), [x, y], many=True)
    ours, theirs = nn.CosineSimilarity(0, 1e-3), torch.nn.CosineSimilarity(0, 1e-3)
    agrees_with_torch(torch, ours, theirs, [x, y])


def test_an_axis_is_cut_as_pytorch_cuts_it(torch):
    x = normal(4, 6, 2)
    for dim, made in ((1, (2, 3)), (0, (-1, 2)), (-1, (1, 2))):
        ours, theirs = nn.Unflatten(dim, made), torch.nn.Unflatten(dim, made)
        agrees_with_torch(torch, ours, theirs, [x])
    assert nn.Unflatten(0, (3, 2))(ln.ones(6, 2, length=4)).shape == (4, 3, 2, 2)
    for dim, made in ((0, (4, 2)), (3, (1, 1)), (0, (-1, -1)), (0, (-1, 4))):
        with pytest.raises(ln.ShapeError, match=r"^Unflatten: "):
            nn.Unflatten(dim, made)(ln.ones(6, 2))


def test_modules_in_plain_lists_are_told_of_at_the_line_that_asks():
    class Held(nn.Module):
        def __init__(self, held):
            self.out, self.held = nn.Linear(2, 2), held

    for held, words in (
        ([nn.Linear(2, 2)], "plain list, .* nn.ModuleList"),
        ({"a": nn.Linear(2, 2)}, "plain dict, .* nn.ModuleDict"),
        ((1, ln.Parameter(np.ones(2))), "plain tuple, .* nn.ParameterList"),
    ):
        module = nn.Sequential(Held(held))
        with pytest.warns(UserWarning, match=f"^0.held of Sequential holds .* {words}") as told:
            assert len(list(module.parameters())) == 2
        assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = Held([1, "a"])
        module.again = [module.out]  # is among its members
        module._hidden = [nn.Linear(2, 2)]
        assert len(list(module.parameters())) == 2
