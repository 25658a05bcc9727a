"""Instance normalisation: each example by itself, and what is kept of all of them."""

import numpy as np
import pytest
from checks import agrees_with_torch, batches_over_examples, goes_row_by_row, normal

import lazynet as ln
from lazynet import nn

F = nn.functional
SHAPES = {"InstanceNorm1d": (3, 5), "InstanceNorm2d": (3, 4, 2)}
OPTIONS = [
    {},
    {"affine": True, "eps": 1e-3},
    {"track_running_stats": True, "momentum": 0.3},
    {"affine": True, "track_running_stats": True, "momentum": None},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", SHAPES)
def test_training_and_eval_are_pytorch_s(torch, name, options):
    if options.get("momentum", 0.1) is None:
        pytest.skip("PyTorch's instance norm wants a momentum")
    ours, theirs = getattr(nn, name)(3, **options), getattr(torch.nn, name)(3, **options).double()
    if options.get("affine"):
        with torch.no_grad():
            theirs.weight.normal_()
            theirs.bias.normal_()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours = ours.double()
    ours.load_state_dict(theirs.state_dict())
    for step in range(5):
        for module in (ours, theirs):
            module.train(step not in (2, 3))
        x = normal(2 + step, *SHAPES[name]) + 3
        agrees_with_torch(torch, ours, theirs, [x], many=True)
        for key, value in theirs.state_dict().items():
            if key != "num_batches_tracked":  # which PyTorch does not count here
                np.testing.assert_allclose(ours.state_dict()[key], value.numpy(), rtol=1e-10)


def test_without_momentum_the_running_ones_are_averages():
    norm = nn.InstanceNorm1d(2, track_running_stats=True, momentum=None)
    xs = [normal(4, 2, 6).astype("f") for _ in range(3)]
    for x in xs:
        norm(ln.sequence(x))
    want = np.mean([x.mean((0, 2)) for x in xs], 0)
    np.testing.assert_allclose(norm.running_mean.numpy(), want, rtol=1e-4, atol=1e-6)
    assert int(norm.num_batches_tracked) == 3


@pytest.mark.parametrize("length", [0, 1, 2, 7])
def test_a_sequence_of_vectors_is_one_example(torch, length):
    x = normal(length, 3)
    y = nn.InstanceNorm1d(3)(ln.sequence(x)).numpy()
    assert y.shape == (length, 3)
    if length == 1:
        assert not y.any()
    elif length:
        want = torch.nn.functional.instance_norm(torch.tensor(x.T)[None])[0].T
        np.testing.assert_allclose(y, want, atol=1e-12)


def test_examples_of_all_lengths_are_those_of_each_alone_and_batch():
    norm = nn.InstanceNorm1d(3, affine=True)
    xs = [ln.sequence(normal(n, 3).astype("f")) for n in (4, 1, 9)]
    for y, x in zip(norm(xs), xs, strict=True):
        np.testing.assert_allclose(y.numpy(), norm(x).numpy(), atol=1e-6)
    batches_over_examples(lambda k: norm(ln.sequence(np.full((2 + k % 5, 3), k, "f"))))
    goes_row_by_row(nn.InstanceNorm2d(3).double(), normal(4, 3, 2, 2))


def test_examples_of_a_list_are_tracked_together():
    one, many = (nn.InstanceNorm1d(3, track_running_stats=True) for _ in range(2))
    x = normal(4, 3, 5).astype("f")
    one(ln.sequence(x))
    many([ln.sequence(x[:1]), ln.tensor(x[1]), ln.sequence(x[2].T), ln.sequence(x[3].T)])
    for key in ("running_mean", "running_var"):
        np.testing.assert_allclose(one.state_dict()[key], many.state_dict()[key], rtol=1e-5)
    assert many([]) == []


@pytest.mark.parametrize("use", [True, False])
@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 2)])
def test_first_and_second_derivatives(shape, use):
    given = [normal(*shape), normal(3), 0.5 + np.random.rand(3), normal(3), normal(3)]
    ln.check_grads(lambda x, m, v, w, b: F.instance_norm(x, m, v, w, b, use), given, 2)
    ln.check_grads(lambda x: F.instance_norm(ln.sequence(x)), [normal(4, 3)], 2)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: nn.InstanceNorm1d(3)(ln.ones(4, 5)), ln.ShapeError, "^InstanceNorm1d: rows of"),
        (lambda: nn.InstanceNorm1d(3)(ln.ones(3)), ln.ShapeError, "^InstanceNorm1d: a Tensor of"),
        (lambda: nn.InstanceNorm2d(3)(ln.ones(3, 5)), ln.ShapeError, "^InstanceNorm2d: rows of"),
        (lambda: F.instance_norm(ln.ones(3, 5), use_input_stats=False), ValueError, "are needed"),
        (lambda: F.instance_norm(ln.ones(3, 5), weight=ln.ones(2)), ln.ShapeError, "weight of"),
    ],
)
def test_mistakes_are_told(call, error, told):
    with pytest.raises(error, match=told):
        call()
