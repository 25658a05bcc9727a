"""Losses of scores of classes: weights, smoothing, what is ignored, margins."""

import naive_losses as naive
import numpy as np
import pytest
from checks import agrees_with_torch, batches_over_examples, normal, share

import lazynet as ln
from lazynet import nn

F = nn.functional
REDUCTIONS = ("mean", "sum", "none")
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")


SETTINGS = [
    (weight, smoothing, ignored)
    for weight in (None, np.array([0.5, 1.0, 2.0, 0.1]))
    for smoothing in (0.0, 0.1, 1.0)
    for ignored in (-100, 2)
]


class TestCrossEntropy:
    @pytest.mark.parametrize("reduction", REDUCTIONS)
    @pytest.mark.parametrize("length", [1, 5])
    @pytest.mark.parametrize(("weight", "smoothing", "ignored"), SETTINGS)
    def test_of_rows(self, weight, smoothing, ignored, length, reduction):
        x, target = normal(length, 4), [1, 2, 0, 2, 3][:length]
        got = F.cross_entropy(ln.sequence(x), target, reduction, weight, ignored, smoothing)
        want = naive.cross_entropy(x, target, reduction, weight, ignored, smoothing)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-9)
        ln.check_grads(
            lambda x: F.cross_entropy(
                ln.sequence(x), target, reduction, weight, ignored, smoothing
            ),
            (x,), 2, tolerance=1e-5,
        )  # fmt: skip

    @pytest.mark.parametrize("reduction", REDUCTIONS)
    @pytest.mark.parametrize("length", [0, 1, 5])
    @pytest.mark.parametrize(("weight", "smoothing", "ignored"), SETTINGS)
    def test_of_rows_agrees_with_torch(self, torch, weight, smoothing, ignored, length, reduction):
        target = [2, 1, 0, 2, 3][:length]
        agrees_with_torch(
            torch,
            lambda x: F.cross_entropy(x, target, reduction, weight, ignored, smoothing),
            lambda x: torch.nn.functional.cross_entropy(
                x, torch.tensor(target, dtype=torch.int64), reduction=reduction,
                weight=None if weight is None else torch.tensor(weight), ignore_index=ignored,
                label_smoothing=smoothing,
            ),
            (normal(length, 4),), many=True,
        )  # fmt: skip

    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_of_distributions(self, torch, reduction):
        t, weight = share(3, 4), np.array([0.5, 1.0, 2.0, 0.1])
        t /= t.sum(1, keepdims=True)
        x = normal(3, 4)
        got = F.cross_entropy(ln.sequence(x), t, "none")
        np.testing.assert_allclose(got.numpy(), -(t * naive.log_softmax(x)).sum(-1))
        for smoothing in (0.0, 0.2):
            agrees_with_torch(
                torch,
                lambda x, t, s=smoothing: F.cross_entropy(x, t, reduction, weight, -100, s),
                lambda x, t, s=smoothing: torch.nn.functional.cross_entropy(
                    x, t, torch.tensor(weight), reduction=reduction, label_smoothing=s
                ),
                (x, t), many=True,
            )  # fmt: skip

    def test_of_one_row_weights_stay_in(self):
        x, weight = normal(4), np.array([0.5, 1.0, 2.0, 0.1])
        plain = F.cross_entropy(ln.tensor(x), 2).item()
        assert plain == pytest.approx(-naive.log_softmax(x)[2])
        for reduction in REDUCTIONS:
            assert F.cross_entropy(ln.tensor(x), 2, reduction, weight).item() == pytest.approx(
                2.0 * plain
            )

    def test_what_is_ignored_costs_nothing_whatever_its_scores(self):
        x = ln.tensor([-np.inf, 1.0], requires_grad=True)
        loss = F.nll_loss(x, -1, ignore_index=-1)
        loss.backward()
        assert loss.item() == 0.0 and x.grad.tolist() == [0.0, 0.0]
        rows = ln.sequence(np.array([[np.nan, np.nan], [0.0, 0.0]]))
        assert F.cross_entropy(rows, [7, 0], "none", ignore_index=7).tolist()[0] == 0.0

    def test_targets_may_be_tensors_or_arrays(self):
        x = ln.sequence(normal(3, 4))
        want = F.cross_entropy(x, [1, 2, 0]).item()
        for target in (ln.tensor([1, 2, 0]), np.array([1, 2, 0]), (1, 2, 0)):
            assert F.cross_entropy(x, target).item() == want
        one = F.cross_entropy(x[0], 1).item()
        for target in (ln.tensor(1), np.int64(1), np.array(1)):
            assert F.cross_entropy(x[0], target).item() == one

    def test_large_logits_do_not_overflow(self):
        assert F.cross_entropy(ln.tensor([1e4, 0.0]), 0).item() == 0.0
        assert F.cross_entropy(ln.tensor([1e4, 0.0]), 1).item() == 1e4

    @pytest.mark.parametrize("margin", [5.0, 12.0, 30.0])
    def test_nearly_certain_targets_among_large_logits(self, margin):
        x = ln.tensor(np.array([1000.0 + margin, 1000.0, 990.0], np.float32), requires_grad=True)
        loss = F.cross_entropy(x, 0)
        loss.backward()
        exact = np.log1p(np.exp(-margin) + np.exp(-margin - 10.0))
        assert abs(loss.item() - exact) < 1e-7
        assert abs(x.grad.numpy()[0] - np.expm1(-exact)) < 1e-7

    def test_nothing_as_wide_as_the_classes_is_computed(self):
        x = ln.sequence(np.random.randn(50, 1000).astype(np.float32))
        with ln.profile() as p:
            F.cross_entropy(x, [7] * 50).item()
        assert p.summary()["bytes_computed"] < 50 * 64

    def test_fifty_examples_run_in_as_many_batches_as_one(self):
        x = [normal(1 + k % 3, 4) for k in range(50)]
        t = [np.random.randint(0, 4, len(rows)).tolist() for rows in x]
        for options in ({}, {"label_smoothing": 0.1}, {"weight": np.arange(1.0, 5.0)}):
            batches_over_examples(
                lambda k, o=options: F.cross_entropy(ln.sequence(x[k]), t[k], "sum", **o)
            )


class TestMultiMargin:
    @pytest.mark.parametrize("p", [1, 2])
    @pytest.mark.parametrize("weight", [None, np.array([0.5, 1.0, 2.0])])
    def test_values(self, p, weight):
        x, target = normal(4, 3), [0, 2, 1, 1]
        got = F.multi_margin_loss(ln.sequence(x), target, p, 0.7, weight, "none")
        np.testing.assert_allclose(got.numpy(), naive.multi_margin(x, target, p, 0.7, weight))
        one = F.multi_margin_loss(ln.tensor(x[1]), 2, p, 0.7, weight)
        np.testing.assert_allclose(one.numpy(), got[1].numpy())

    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_agrees_with_torch(self, torch, reduction):
        weight = np.array([0.5, 1.0, 2.0])
        for p in (1, 2):
            agrees_with_torch(
                torch,
                lambda x, p=p: F.multi_margin_loss(x, [0, 2, 1], p, 0.7, weight, reduction),
                lambda x, p=p: torch.nn.functional.multi_margin_loss(
                    x, torch.tensor([0, 2, 1]), p, 0.7, torch.tensor(weight), reduction=reduction
                ),
                (normal(3, 3),), many=True,
            )  # fmt: skip


class TestOfNumbers:
    """A choice among any number of things, each with a score: rows are numbers."""

    @pytest.mark.parametrize("reduction", REDUCTIONS)
    @pytest.mark.parametrize("length", [1, 5])
    def test_is_that_of_one_row(self, length, reduction):
        x = normal(length)
        for target in range(length):
            got = F.cross_entropy(ln.sequence(x), target, reduction)
            assert got.shape == ()
            assert got.item() == pytest.approx(-naive.log_softmax(x)[target])
            of_logs = F.nll_loss(ln.sequence(x).log_softmax(0), target, reduction)
            assert of_logs.item() == pytest.approx(got.item())

    def test_gradients(self):
        x = normal(4)
        ln.check_grads(lambda x: F.cross_entropy(ln.sequence(x), 2), [x], order=2)
        ln.check_grads(lambda x: F.nll_loss(ln.sequence(x).log_softmax(0), 0), [x], order=2)

    def test_batches_over_examples_of_any_length(self):
        weight, data = ln.tensor(normal(3)), [normal(1 + k % 7, 3) for k in range(50)]
        batches_over_examples(lambda k: ln.cross_entropy(ln.sequence(data[k]) @ weight, k % 7))

    @pytest.mark.parametrize("target", [3, -1])
    def test_what_is_out_of_range(self, target):
        with pytest.raises(IndexError, match=f"cross_entropy: index {target} .* expected 0 to 2"):
            ln.cross_entropy(ln.sequence(normal(3)), target)

    def test_one_target_alone(self):
        with pytest.raises(
            ln.ShapeError, match=r"cross_entropy: .* numbers of which one is the targ"
        ):
            ln.cross_entropy(ln.sequence(normal(3)), [1, 0, 2])
