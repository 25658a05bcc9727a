"""Normalisation of rows: numpy and PyTorch as oracles, derivatives, edges, modules."""

import naive_windows as naive
import numpy as np
import pytest
from checks import agrees_with_torch, batches_over_examples, goes_row_by_row, normal

import lazynet as ln
from lazynet import nn

F = nn.functional
SHAPES = [(6,), (4, 3), (3, 2, 4)]
ENDS = [(shape, shape[-k:]) for shape in SHAPES for k in range(1, len(shape) + 1)]


@pytest.mark.parametrize(("shape", "end"), ENDS, ids=str)
class TestLastAxes:
    def test_layer_norm(self, shape, end):
        x, w, b = normal(*shape), normal(*end), normal(*end)
        axes = tuple(range(-len(end), 0))
        y = F.layer_norm(ln.tensor(x), end, ln.tensor(w), ln.tensor(b), 1e-3)
        np.testing.assert_allclose(y.numpy(), naive.standardized(x, axes, 1e-3) * w + b)
        ln.check_grads(lambda x, w, b: F.layer_norm(x, end, w, b), (x, w, b), 2, tolerance=1e-5)

    def test_rms_norm(self, shape, end):
        x, w = normal(*shape), normal(*end)
        mean = (x**2).mean(tuple(range(-len(end), 0)), keepdims=True)
        y = F.rms_norm(ln.tensor(x), end, ln.tensor(w), 1e-3)
        np.testing.assert_allclose(y.numpy(), x / np.sqrt(mean + 1e-3) * w)
        ln.check_grads(lambda x, w: F.rms_norm(x, end, w), (x, w), 2, tolerance=1e-5)

    def test_torch_agrees(self, torch, shape, end):
        T = torch.nn.functional
        x, w, b = normal(*shape), normal(*end), normal(*end)
        for many in range(3):
            agrees_with_torch(
                torch,
                lambda x, *v: F.layer_norm(x, end, *v),
                lambda x, *v: T.layer_norm(x, end, *v),
                (x, w, b)[: 1 + many],
            )
        for eps in (None, 1e-2):
            agrees_with_torch(
                torch,
                lambda x, w, e=eps: F.rms_norm(x, end, w, e),
                lambda x, w, e=eps: T.rms_norm(x, end, w, e),
                (x, w),
            )

    def test_row_by_row(self, shape, end):
        x, w, b = normal(4, *shape), ln.tensor(normal(*end)), ln.tensor(normal(*end))
        goes_row_by_row(lambda x: F.layer_norm(x, end, w, b), x)
        goes_row_by_row(lambda x: F.rms_norm(x, end, w), x)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 2, 4)], ids=str)
class TestGroups:
    def test_values(self, shape, groups):
        x, w, b = normal(*shape), normal(6), normal(6)
        y = F.group_norm(ln.tensor(x), groups, ln.tensor(w), ln.tensor(b))
        np.testing.assert_allclose(y.numpy(), naive.group_norm(x, groups, w, b), atol=1e-12)
        if np.prod(shape) > groups:  # a group of one element is its bias
            ln.check_grads(
                lambda *v: F.group_norm(v[0], groups, *v[1:]), (x, w, b), 2, tolerance=1e-4
            )
        goes_row_by_row(lambda x: F.group_norm(x, groups), normal(4, *shape))

    def test_torch_agrees(self, torch, shape, groups):
        if np.prod(shape) == groups:
            pytest.skip("PyTorch takes no groups of one element")
        for many in range(3):
            agrees_with_torch(
                torch,
                lambda x, *v: F.group_norm(x, groups, *v),
                lambda x, *v: torch.nn.functional.group_norm(x[None], groups, *v)[0],
                (normal(*shape), normal(6), normal(6))[: 1 + many],
                tolerance=1e-8,
            )


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_normalize(torch, p):
    for shape in SHAPES:
        for dim in range(-1, len(shape)):
            x = normal(*shape)
            y = F.normalize(ln.tensor(x), p, dim)
            size = (np.abs(x) ** p).sum(dim, keepdims=True) ** (1 / p)
            np.testing.assert_allclose(y.numpy(), x / size)
            agrees_with_torch(
                torch,
                lambda x, d=dim: F.normalize(x, p, d),
                lambda x, d=dim: torch.nn.functional.normalize(x, p, d),
                (x,),
            )
    goes_row_by_row(lambda x: F.normalize(x, p), normal(4, 3))


def test_a_row_of_zeros_stays_0_and_has_a_gradient():
    x = ln.tensor(np.zeros(3), requires_grad=True)
    y = F.normalize(x)
    assert y.tolist() == [0.0, 0.0, 0.0]
    ln.sum(y).backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_constant_rows_become_the_bias():
    y = F.layer_norm(ln.tensor(np.full(4, 1e3)), 4, None, ln.tensor(np.arange(4.0)))
    assert y.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_empty_rows():
    assert F.layer_norm(ln.tensor(np.zeros((2, 0))), 0).numpy().shape == (2, 0)
    assert F.group_norm(ln.tensor(np.zeros((4, 0))), 2).numpy().shape == (4, 0)


MODULES = [
    ("LayerNorm", (5,), {}, (5,)),
    ("LayerNorm", ((3, 5),), {"eps": 1e-3, "bias": False}, (2, 3, 5)),
    ("LayerNorm", (5,), {"elementwise_affine": False}, (4, 5)),
    ("RMSNorm", (5,), {}, (3, 5)),
    ("RMSNorm", ((3, 5),), {"eps": 1e-3, "elementwise_affine": False}, (3, 5)),
    ("GroupNorm", (2, 6), {}, (6, 4)),
    ("GroupNorm", (3, 6, 1e-3, False), {}, (6, 4, 2)),
]


@pytest.mark.parametrize(("name", "arguments", "options", "shape"), MODULES)
def test_modules_take_pytorch_s_weights_and_give_its_outputs(
    torch, name, arguments, options, shape
):
    ours = getattr(nn, name)(*arguments, **options)
    theirs = getattr(torch.nn, name)(*arguments, **options)
    state = theirs.state_dict()
    assert {k: v.tolist() for k, v in ours.state_dict().items()} == {
        k: v.tolist() for k, v in state.items()
    }
    changed = {k: torch.tensor(normal(*v.shape).astype(np.float32)) for k, v in state.items()}
    ours.load_state_dict(changed)
    theirs.load_state_dict(changed)
    x = normal(*shape).astype(np.float32)
    want = theirs(torch.tensor(x)[None]).detach().numpy()[0]
    np.testing.assert_allclose(ours(ln.tensor(x)).numpy(), want, rtol=1e-4, atol=1e-5)
    for n in (0, 1, 3):
        rows = ln.sequence(np.stack([x] * 3))[:n]
        got = ours(rows).numpy()
        assert got.shape == (n, *shape)
        np.testing.assert_allclose(got, np.stack([want] * 3)[:n], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "arguments", "options", "shape"), MODULES)
def test_modules_are_one_batch_over_fifty_examples(name, arguments, options, shape):
    module = getattr(nn, name)(*arguments, **options)
    x = [normal(*shape).astype(np.float32) for _ in range(50)]
    batches_over_examples(lambda k: module(ln.tensor(x[k])))


X = ln.zeros(4, 3)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: F.layer_norm(X, 4), ln.ShapeError, r"layer_norm: rows of \(4, 3\) do not end"),
        (lambda: F.layer_norm(X, ()), ln.ShapeError, "layer_norm: rows of"),
        (lambda: F.layer_norm(X, 3, ln.zeros(4)), ln.ShapeError, "layer_norm: weight of"),
        (lambda: F.layer_norm(X, 3, None, ln.zeros(1)), ln.ShapeError, "layer_norm: bias of"),
        (lambda: F.layer_norm(ln.tensor([1, 2]), 2), TypeError, "layer_norm: expected float"),
        (lambda: F.rms_norm(X, (4,)), ln.ShapeError, "rms_norm: rows of"),
        (lambda: F.rms_norm(X, 3, ln.zeros(2)), ln.ShapeError, "rms_norm: weight of"),
        (lambda: F.group_norm(X, 3), ln.ShapeError, "group_norm: rows of"),
        (lambda: F.group_norm(X, 0), ln.ShapeError, "group_norm: rows of"),
        (lambda: F.group_norm(X, 2, ln.zeros(3)), ln.ShapeError, "group_norm: weight of"),
        (lambda: F.normalize(ln.tensor([1, 2])), TypeError, "normalize: expected float"),
        (lambda: F.normalize(X, 0.0), ValueError, "^normalize: expected p > 0"),
        (lambda: nn.GroupNorm(4, 6), ValueError, "GroupNorm: 6 channels are no multiple of 4"),
    ],
)
def test_mistakes_are_told(call, error, told):
    with pytest.raises(error, match=told):
        call()
