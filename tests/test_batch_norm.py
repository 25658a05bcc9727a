"""Batch normalisation: what the batch is, PyTorch's values and running statistics, laziness."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from checks import agrees_with_torch, batches, normal
from test_ops import observed

import lazynet as ln
from lazynet import nn

F = nn.functional


def normalized(x, eps=1e-5):
    """By numpy: x (n, channels, ...)."""
    axes = (0, *range(2, x.ndim))
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(var + eps)


SHAPES = [(6, 3), (5, 3, 4), (4, 3, 2, 5)]


def module_for(shape, **options):
    made = nn.BatchNorm2d(3, **options) if len(shape) == 4 else nn.BatchNorm1d(3, **options)
    return made.double()


def torch_module_for(torch, shape, **options):
    kind = torch.nn.BatchNorm2d if len(shape) == 4 else torch.nn.BatchNorm1d
    return kind(3, **options).double()


class TestFunction:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_the_rows_of_a_sequence_are_the_batch(self, shape):
        x, w, b = normal(*shape), normal(3), normal(3)
        y = F.batch_norm(ln.sequence(x), None, None, ln.tensor(w), ln.tensor(b), True)
        channels = (3, *(1 for _ in shape[2:]))
        want = normalized(x) * w.reshape(channels) + b.reshape(channels)
        np.testing.assert_allclose(y.numpy(), want, atol=1e-12)
        ln.check_grads(
            lambda x, w, b: F.batch_norm(ln.sequence(x), None, None, w, b, True), (x, w, b), 2,
            tolerance=1e-5,
        )  # fmt: skip

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_a_list_of_examples_is_the_batch(self, shape):
        x = normal(*shape)
        rows = ln.sequence(x)
        examples = [rows[:2], rows[2], rows[3:3], rows[3:]]
        y = F.batch_norm(examples, training=True)
        assert [v.shape for v in y] == [v.shape for v in examples]
        got = np.concatenate([v.numpy().reshape(-1, *shape[1:]) for v in y])
        np.testing.assert_allclose(got, normalized(x), atol=1e-12)

    def test_examples_of_a_list_may_have_other_sizes(self):
        x = [normal(3, n) for n in (2, 5, 1)]
        y = F.batch_norm([ln.tensor(v) for v in x], training=True)
        whole = np.concatenate(x, 1).T
        want = normalized(whole).T
        np.testing.assert_allclose(np.concatenate([v.numpy() for v in y], 1), want, atol=1e-12)
        ln.check_grads(
            lambda *v: ln.cat([F.batch_norm(list(v), training=True)[k] for k in range(3)]), x, 2,
            tolerance=1e-5,
        )  # fmt: skip

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_torch_agrees(self, torch, shape):
        mean, var = normal(3), normal(3) ** 2
        for training in (True, False):
            agrees_with_torch(
                torch,
                lambda x, t=training: F.batch_norm(x, ln.tensor(mean), ln.tensor(var), training=t),
                lambda x, t=training: torch.nn.functional.batch_norm(
                    x, torch.tensor(mean), torch.tensor(var), training=t
                ),
                [normal(*shape)], many=True,
            )  # fmt: skip


OPTIONS = [{}, {"momentum": 0.3, "eps": 1e-3}, {"momentum": None}, {"affine": False},
           {"track_running_stats": False}]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_training_and_eval_are_pytorch_s(torch, shape, options):
    ours, theirs = module_for(shape, **options), torch_module_for(torch, shape, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert ours.state_dict()[name].shape == tuple(value.shape)
        assert ours.state_dict()[name].dtype.name == str(value.dtype).removeprefix("torch.")
    if options.get("affine", True):
        ours.weight.copy_([0.5, 1.5, -1.0])
        theirs.weight.data = torch.tensor([0.5, 1.5, -1.0], dtype=torch.float64)
    for step in range(6):
        if step == 3:
            ours.eval()
            theirs.eval()
        if step == 5:
            ours.train()
            theirs.train()
        n = 2 + step
        agrees_with_torch(torch, ours, theirs, [normal(n, *shape[1:]) + 3], many=True)
        for name, value in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[name], value.numpy(), rtol=1e-10)


def test_weights_and_statistics_come_from_pytorch(torch):
    theirs = torch.nn.BatchNorm1d(3)
    for _ in range(3):
        theirs(torch.tensor(normal(5, 3).astype(np.float32)) * 2 + 1)
    ours = nn.BatchNorm1d(3)
    ours.load_state_dict(theirs.state_dict())
    assert int(ours.num_batches_tracked) == 3
    x = normal(4, 3).astype(np.float32)
    np.testing.assert_allclose(
        ours.eval()(ln.sequence(x)).numpy(), theirs.eval()(torch.tensor(x)).detach().numpy(),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip


class TestLaziness:
    def test_nothing_runs_before_a_value_is_wanted(self):
        ln.forward()
        norm, x = nn.BatchNorm1d(3), ln.sequence(normal(5, 3).astype(np.float32))
        with observed() as runs:
            y = norm(x)
            z = norm(y * 2.0)
            assert not runs and y.pending and z.pending
            assert norm.running_mean.pending and norm.running_var.pending
            assert int(norm.num_batches_tracked) == 2
            z.numpy()
        assert len(runs) == 1 and not norm.running_mean.pending

    def test_statistics_run_with_the_loss_and_do_not_change_its_gradient(self):
        norm, x = nn.BatchNorm1d(3).double(), normal(5, 3)
        leaf = ln.tensor(x, requires_grad=True)
        with observed() as runs:
            (norm(ln.sequence(leaf)) * ln.sequence(normal(5, 3))).sum().backward()
        assert len(runs) == 1 and not norm.running_mean.pending
        np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * x.mean(0))
        np.testing.assert_allclose(norm.running_var.numpy(), 0.9 + 0.1 * x.var(0, ddof=1))
        assert not norm.running_mean.requires_grad

    def test_a_step_lets_go_of_the_one_before(self):
        norm = nn.BatchNorm1d(3)

        def step():
            ln.sum(norm(ln.sequence(normal(5, 3).astype(np.float32))) ** 2).backward()
            return weakref.ref(norm.running_mean.graph)

        first = step()
        assert first() is not None  # its running mean may still be asked for
        step()
        gc.collect()
        assert first() is None

    def test_parameters_that_change_between_do_not_change_what_was_recorded(self):
        layer, norm = nn.Linear(3, 3).double(), nn.BatchNorm1d(3).double()
        x = normal(6, 3)
        want = 0.1 * (x @ layer.weight.numpy().T + layer.bias.numpy()).mean(0)
        norm(layer(ln.sequence(x)))
        layer.weight.copy_(np.zeros((3, 3)))
        np.testing.assert_allclose(norm.running_mean.numpy(), want)

    def test_a_minibatch_is_as_many_batches_whatever_its_size(self):
        norm = nn.BatchNorm1d(3)

        def made(count):
            examples = [ln.tensor(normal(3).astype(np.float32)) for _ in range(count)]
            return lambda: norm(examples)

        assert batches(made(3)) == batches(made(50))
        norm.eval()
        one = batches(lambda: [norm(ln.tensor(normal(3).astype(np.float32)))])
        assert one == batches(
            lambda: [norm(ln.tensor(normal(3).astype(np.float32))) for _ in range(50)]
        )

    def test_under_no_grad(self):
        norm = nn.BatchNorm1d(3)
        with ln.no_grad():
            y = norm(ln.sequence(normal(5, 3).astype(np.float32)))
        assert not y.requires_grad and norm.running_mean.numpy().any()


class TestState:
    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    @pytest.mark.parametrize("run", [True, False])
    def test_copies_have_statistics_of_their_own(self, copied, run):
        norm = nn.BatchNorm1d(3)
        norm(ln.sequence(normal(5, 3).astype(np.float32)))
        if run:
            ln.forward()
        twin = copied(norm)
        before = twin.state_dict()
        norm(ln.sequence(normal(5, 3).astype(np.float32) + 9))
        after = twin.state_dict()
        assert all((before[k] == after[k]).all() for k in before)
        assert (before["running_mean"] != norm.state_dict()["running_mean"]).all()
        x = ln.sequence(normal(2, 3).astype(np.float32))
        twin.load_state_dict(norm.state_dict())
        np.testing.assert_array_equal(twin.eval()(x).numpy(), norm.eval()(x).numpy())

    def test_buffers_are_no_parameters_and_may_be_cast_and_reset(self):
        norm = nn.BatchNorm2d(3)
        assert [n for n, _ in norm.named_parameters()] == ["weight", "bias"]
        assert [n for n, _ in norm.named_buffers()] == [
            "running_mean", "running_var", "num_batches_tracked",
        ]  # fmt: skip
        norm(ln.rand(3, 2, 2, length=4))
        norm.double()
        assert norm.running_mean.dtype == np.float64
        assert norm.num_batches_tracked.dtype == np.int64
        norm.reset_running_stats()
        assert norm.running_var.tolist() == [1, 1, 1] and int(norm.num_batches_tracked) == 0

    def test_it_is_no_part_of_a_cell_while_training(self):
        norm = nn.BatchNorm1d(3)

        @ln.cell
        def step(x):
            return norm(x.reshape(3, 2)).sum()

        with pytest.raises(TypeError, match="BatchNorm1d: its running statistics change"):
            step(ln.zeros(6))
        assert norm.running_mean.tolist() == [0, 0, 0] and int(norm.num_batches_tracked) == 0
        norm.eval()
        x = normal(6).astype(np.float32)
        np.testing.assert_allclose(
            step(ln.tensor(x)).numpy(), x.sum() / np.sqrt(1 + 1e-5), rtol=1e-5
        )


def test_it_trains_a_network():
    ln.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 1))
    opt = ln.optim.Adam(net.parameters(), lr=0.05)
    x = normal(40, 2).astype(np.float32)
    y = (x[:, :1] * x[:, 1:] > 0).astype(np.float32)
    for _ in range(100):
        loss = F.binary_cross_entropy_with_logits(net(ln.sequence(x)), ln.sequence(y))
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    assert ((net(ln.sequence(x)).numpy() > 0) == y).mean() > 0.95


ROWS = ln.sequence(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: nn.BatchNorm1d(3)(ln.zeros(3)), ValueError, "BatchNorm1d: expected more than one"),
        (lambda: nn.BatchNorm1d(3)(ROWS[:1]), ValueError, "more than one value for each channel"),
        (lambda: nn.BatchNorm1d(3)(ROWS[:0]), ValueError, "got 0"),
        (lambda: nn.BatchNorm1d(4)(ROWS), ln.ShapeError, "have no 4 channels"),
        (lambda: nn.BatchNorm2d(3)(ROWS), ln.ShapeError, r"expected \(channels, height, width\)"),
        (lambda: nn.BatchNorm1d(3)([ROWS, [1.0]]), TypeError, "not a list"),
        (lambda: nn.BatchNorm1d(0), ValueError, "num_features must be a positive"),
        (lambda: F.batch_norm(ROWS), ValueError, "running_mean and running_var are needed"),
        (lambda: F.batch_norm([], training=True), ln.ShapeError, "batch_norm: expected rows"),
        (lambda: F.batch_norm([ROWS, ln.zeros(4)], training=True), ln.ShapeError, "batch_norm"),
        (lambda: F.batch_norm(ROWS, training=True, weight=ln.zeros(2)), ln.ShapeError,
         "batch_norm: weight of"),
    ],
)  # fmt: skip
def test_mistakes_are_told(call, error, told):
    with pytest.raises(error, match=told):
        call()
