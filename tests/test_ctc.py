"""Connectionist temporal classification: the sum over all alignments, PyTorch, derivatives."""

import itertools
import math

import naive_runs
import numpy as np
import pytest
from checks import agrees_with_torch, batches_over_examples

import lazynet as ln
from lazynet import nn
from lazynet.batching.policies import NAMES

F = nn.functional
TARGETS = [[], [1], [2], [1, 2], [1, 1], [2, 1, 1], [1, 2, 1]]


def scores(rows, classes=3):
    x = np.random.standard_normal((rows, classes))
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def needed(target):
    """The least number of rows: a blank stands between equal labels."""
    return len(target) + sum(a == b for a, b in itertools.pairwise(target))


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_the_loss_is_the_sum_over_all_alignments(target, rows):
    x = scores(rows)
    y = ln.ctc_loss(ln.sequence(x), target, reduction="none")
    assert y.shape == ()
    np.testing.assert_allclose(y.numpy(), naive_runs.ctc(x, target, 0)[0], rtol=1e-12, atol=1e-12)
    assert math.isinf(y.item()) == (rows < needed(target))


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_any_class_may_be_the_blank(blank):
    x, target = scores(4), [k for k in range(3) if k != blank]
    y = ln.ctc_loss(ln.sequence(x), target, blank, "none")
    np.testing.assert_allclose(y.numpy(), naive_runs.ctc(x, target, blank)[0], rtol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 4, 6])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_first_and_second_derivatives(target, rows):
    if rows >= needed(target):
        ln.check_grads(lambda x: ln.ctc_loss(ln.sequence(x), target), [scores(rows)])
        ln.check_grads(lambda x: ln.ctc_loss(ln.sequence(x).log_softmax(), target), [scores(rows)])


def test_the_compiled_gradient_is_that_of_the_formula():
    for target in TARGETS:
        x = ln.tensor(scores(6), requires_grad=True)
        (by_formula,) = ln.gradients(ln.ctc_loss(ln.sequence(x), target), [x])
        ln.ctc_loss(ln.sequence(x), target).backward()
        np.testing.assert_allclose(x.grad.numpy(), by_formula.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("seed", range(8))
def test_torch_agrees(torch, seed, reduction):
    draw = np.random.default_rng(seed)
    classes, blank = int(draw.integers(3, 9)), int(draw.integers(0, 3))
    others = [k for k in range(classes) if k != blank]
    target = draw.choice(others, int(draw.integers(1, 12))).tolist()
    x = draw.standard_normal((needed(target) + int(draw.integers(0, 9)), classes))
    agrees_with_torch(
        torch,
        lambda x: F.ctc_loss(x.log_softmax(), target, blank, reduction),
        lambda x: torch.nn.functional.ctc_loss(
            x.log_softmax(-1), torch.tensor(target), torch.tensor(len(x)),
            torch.tensor(len(target)), blank, reduction,
        ),
        [x], many=True,
    )  # fmt: skip


class TestImpossible:
    def test_the_loss_is_infinite_or_0_and_its_gradient_0(self):
        for zero in (False, True):
            x = ln.tensor(scores(2), requires_grad=True)
            y = ln.ctc_loss(ln.sequence(x), [1, 1], zero_infinity=zero)
            y.backward()
            assert y.item() == (0.0 if zero else math.inf)
            np.testing.assert_array_equal(x.grad.numpy(), np.zeros((2, 3)))
            (g,) = ln.gradients(ln.ctc_loss(ln.sequence(x), [1, 1], zero_infinity=zero), [x])
            assert g is None or not g.numpy().any()

    def test_possible_examples_beside_it_keep_their_gradients(self):
        x = [ln.tensor(scores(n), requires_grad=True) for n in (2, 5, 0)]
        losses = [ln.ctc_loss(ln.sequence(v), [1, 1], zero_infinity=True) for v in x]
        ln.mean(losses).backward()
        alone = ln.tensor(x[1].numpy(), requires_grad=True)
        ln.ctc_loss(ln.sequence(alone), [1, 1]).backward()
        np.testing.assert_allclose(x[1].grad.numpy(), alone.grad.numpy() / 3)

    def test_log_probabilities_may_be_infinite(self):
        x = scores(4)
        x[1, 2] = x[2, 0] = -np.inf
        leaf = ln.tensor(x, requires_grad=True)
        y = ln.ctc_loss(ln.sequence(leaf), [1, 2], reduction="none")
        y.backward()
        np.testing.assert_allclose(y.numpy(), naive_runs.ctc(x, [1, 2], 0)[0], rtol=1e-12)
        assert np.isfinite(leaf.grad.numpy()).all()
        np.testing.assert_allclose(leaf.grad.numpy().sum(1), -np.ones(4))

    def test_nothing_overflows(self):
        x = ln.tensor(np.full((300, 4), -700.0, np.float32), requires_grad=True)
        y = ln.ctc_loss(ln.sequence(x), [1, 2, 3] * 20, reduction="none")
        y.backward()
        assert np.isfinite(y.item()) and np.isfinite(x.grad.numpy()).all()
        np.testing.assert_allclose(x.grad.numpy().sum(1), -1, rtol=1e-4)


class TestBatches:
    def test_examples_of_all_lengths_are_one_batch(self):
        x = [scores(3 + k % 7) for k in range(50)]
        targets = [TARGETS[k % len(TARGETS)] for k in range(50)]
        batches_over_examples(lambda k: ln.ctc_loss(ln.sequence(x[k]), targets[k], reduction="sum"))

    @pytest.mark.parametrize("policy", NAMES)
    def test_every_policy_gives_the_values_and_gradients_of_each_alone(self, policy):
        x = [scores(n) for n in (3, 0, 6, 1, 4)]
        targets = [[1, 2], [], [1, 1, 2], [2], [1]]
        with ln.batching(policy):
            leaves = [ln.tensor(a, requires_grad=True) for a in x]
            losses = [ln.ctc_loss(ln.sequence(v), t) for v, t in zip(leaves, targets, strict=True)]
            ln.sum(losses).backward()
        for a, t, v, y in zip(x, targets, leaves, losses, strict=True):
            alone = ln.tensor(a, requires_grad=True)
            want = ln.ctc_loss(ln.sequence(alone), t)
            want.backward()
            np.testing.assert_allclose(y.numpy(), want.numpy(), rtol=1e-12)
            if len(a):
                np.testing.assert_allclose(v.grad.numpy(), alone.grad.numpy(), atol=1e-12)

    def test_rows_may_lie_anywhere(self):
        x = scores(5)
        wide = ln.tensor(np.concatenate([x + 1, x], 1)[::-1].copy(), requires_grad=True)
        rows = (ln.sequence(wide) * 1.0)[::-1].chunk(2)[1]
        y = ln.ctc_loss(rows, [1, 2], reduction="none")
        y.backward()
        np.testing.assert_allclose(y.numpy(), naive_runs.ctc(x, [1, 2], 0)[0])
        np.testing.assert_array_equal(wide.grad.numpy()[:, :3], 0)
        np.testing.assert_allclose(wide.grad.numpy()[:, 3:].sum(1), -1)


def test_float32_agrees_with_float64():
    x = scores(20, 6)
    exact = ln.ctc_loss(ln.sequence(x), [1, 2, 2, 5])
    narrow = ln.ctc_loss(ln.sequence(x.astype(np.float32)), [1, 2, 2, 5])
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow.numpy(), exact.numpy(), rtol=1e-5)


def test_the_module_and_a_matrix(torch):
    x = scores(7)
    for options in ({}, {"blank": 1, "reduction": "sum"}, {"zero_infinity": True}):
        ours, theirs = nn.CTCLoss(**options), torch.nn.CTCLoss(**options)
        target = [2, 2, 0] if options.get("blank") else [2, 2, 1]
        want = theirs(torch.tensor(x), torch.tensor(target), torch.tensor(7), torch.tensor(3))
        for given in (ln.sequence(x), ln.tensor(x)):
            np.testing.assert_allclose(ours(given, target).numpy(), want.numpy())


def test_it_learns_labels_without_an_alignment():
    ln.manual_seed(0)
    net = nn.LSTM(4, 16)
    out = nn.Linear(16, 4)
    opt = ln.optim.Adam([*net.parameters(), *out.parameters()], lr=0.02)
    draw = np.random.default_rng(0)
    examples = []
    for _ in range(12):
        target = draw.integers(1, 4, draw.integers(1, 4)).tolist()
        rows = [np.eye(4)[k] for k in target for _ in range(3)]
        rows = [r * (j % 3 == 1) for j, r in enumerate(rows)]
        examples.append((ln.sequence(np.array(rows, np.float32)), target))
    for _ in range(150):
        losses = [ln.ctc_loss(out(net(x)).log_softmax(), t) for x, t in examples]
        loss = ln.mean(losses)
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert loss.item() < 0.2


X = ln.sequence(np.zeros((4, 3), np.float32))


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: ln.ctc_loss(X, [3]), IndexError, "ctc_loss: index 3 is out of range"),
        (lambda: ln.ctc_loss(X, [-1]), IndexError, "ctc_loss: index -1"),
        (lambda: ln.ctc_loss(X, [1, 0]), ValueError, "the blank 0 cannot be a target"),
        (lambda: ln.ctc_loss(X, [1], blank=3), IndexError, "the blank 3 is out of range"),
        (lambda: ln.ctc_loss(X, [1.0]), TypeError, "ctc_loss: expected a flat list of integers"),
        (lambda: ln.ctc_loss(ln.zeros(3), [1]), ln.ShapeError, "ctc_loss: expected a Sequence"),
        (lambda: ln.ctc_loss(ln.sequence(np.zeros((2, 2, 2))), [1]), ln.ShapeError, "float rows"),
        (lambda: ln.ctc_loss(X, [1], reduction="max"), ValueError, "ctc_loss: expected a reduc"),
    ],
)
def test_mistakes_are_told(call, error, told):
    with pytest.raises(error, match=told):
        call()
