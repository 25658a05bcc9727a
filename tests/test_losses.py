"""Losses as functions: values of numpy and PyTorch, derivatives, options, edges, rows, batches."""

import inspect
import math

import naive_losses as naive
import numpy as np
import pytest
from checks import (
    agrees_with_torch,
    batches_over_examples,
    goes_row_by_row,
    normal,
    share,
    signs,
)

import lazynet as ln
from lazynet import nn

F = nn.functional
REDUCTIONS = ("mean", "sum", "none")
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")


# name, options, how the operands are drawn, naive version
ELEMENTWISE = [
    ("mse_loss", {}, (normal, normal), lambda x, t: (x - t) ** 2),
    ("l1_loss", {}, (normal, normal), lambda x, t: np.abs(x - t)),
    *[("smooth_l1_loss", {"beta": b}, (normal, normal), naive.smooth_l1) for b in (0.0, 0.5, 2.0)],
    *[("huber_loss", {"delta": d}, (normal, normal), naive.huber) for d in (0.5, 1.0)],
    ("binary_cross_entropy", {}, (share, share), naive.binary),
    (
        "binary_cross_entropy_with_logits", {}, (normal, share),
        lambda x, t: naive.binary(naive.sigmoid(x), t),
    ),
    (
        "hinge_embedding_loss", {"margin": 0.7}, (normal, signs),
        lambda x, t, margin: np.where(t == 1, x, np.maximum(margin - x, 0)),
    ),
    (
        "margin_ranking_loss", {"margin": 0.3}, (normal, normal, signs),
        lambda x, y, t, margin: np.maximum(0, -t * (x - y) + margin),
    ),
    ("kl_div", {}, (normal, share), naive.kl),
    ("kl_div", {"log_target": True}, (normal, normal), naive.kl),
    ("poisson_nll_loss", {}, (normal, share), naive.poisson),
    ("poisson_nll_loss", {"full": True}, (normal, lambda *s: 4 * share(*s)), naive.poisson),
    ("poisson_nll_loss", {"log_input": False, "full": True}, (share, lambda *s: 4 * share(*s)),
     naive.poisson),
    ("gaussian_nll_loss", {}, (normal, normal, share), naive.gaussian),
    ("gaussian_nll_loss", {"full": True, "eps": 0.3}, (normal, normal, share), naive.gaussian),
    ("soft_margin_loss", {}, (normal, signs), lambda x, t: np.log(1 + np.exp(-t * x))),
]  # fmt: skip
OF_ROWS = [
    *[
        ("triplet_margin_loss", {"p": p, "margin": 0.5, "swap": swap}, (normal,) * 3, naive.triplet)
        for p in (1.0, 2.0, 3.0, math.inf)
        for swap in (False, True)
    ],
    ("multilabel_soft_margin_loss", {}, (normal, share), naive.multilabel_soft_margin),
]


def drawn(case, *shape):
    return [draw(*shape) for draw in case[2]]


def named(cases):
    return [f"{name}-{'-'.join(map(str, options.values()))}" for name, options, *_ in cases]


def over(cases):
    return pytest.mark.parametrize("case", cases, ids=named(cases))


@pytest.mark.parametrize("shape", [(), (5,), (3, 4)], ids=str)
@over(ELEMENTWISE)
def test_losses_of_elements_are_those_of_numpy(case, shape):
    name, options, _, simple = case
    arrays = drawn(case, *shape)
    want = simple(*arrays, **options)
    reduced = {"none": want, "sum": want.sum(), "mean": want.mean()}
    for reduction in REDUCTIONS:
        y = getattr(F, name)(*map(ln.tensor, arrays), reduction=reduction, **options)
        np.testing.assert_allclose(y.numpy(), reduced[reduction], rtol=1e-9)


@over(ELEMENTWISE)
def test_derivatives_of_losses_of_elements(case):
    name, options, *_ = case
    arrays = drawn(case, 5)
    rest = [ln.tensor(a) for a in arrays[2:]]
    order = 1 if name in ("huber_loss", "smooth_l1_loss", "l1_loss") else 2
    for reduction in ("mean", "none"):
        ln.check_grads(
            lambda x, r=reduction: getattr(F, name)(
                x, *map(ln.tensor, arrays[1:2]), *rest, reduction=r, **options
            ),
            arrays[:1], order, tolerance=1e-5,
        )  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 4), (0,)], ids=str)
@over(ELEMENTWISE)
def test_losses_of_elements_agree_with_torch(torch, case, shape, reduction):
    name, options, *_ = case
    if name == "gaussian_nll_loss" and not shape:
        pytest.skip("PyTorch wants an axis here")
    arrays = drawn(case, *shape)
    theirs = getattr(torch.nn.functional, name)
    fixed = arrays[1:]
    agrees_with_torch(
        torch,
        lambda x: getattr(F, name)(x, *map(ln.tensor, fixed), reduction=reduction, **options),
        lambda x: theirs(x, *map(torch.tensor, fixed), reduction=reduction, **options),
        arrays[:1],
    )


@over(ELEMENTWISE)
def test_losses_of_elements_go_row_by_row(case):
    name, options, *_ = case
    goes_row_by_row(
        lambda *xs: getattr(F, name)(*xs, reduction="none", **options), *drawn(case, 4, 3)
    )


@pytest.mark.parametrize("length", [1, 4])
@over(ELEMENTWISE)
def test_the_mean_of_a_sequence_is_over_all_its_elements(case, length):
    name, options, _, simple = case
    arrays = drawn(case, length, 3)
    y = getattr(F, name)(*map(ln.sequence, arrays), **options)
    np.testing.assert_allclose(y.numpy(), simple(*arrays, **options).mean(), rtol=1e-9)


@pytest.mark.parametrize("shape", [(4,), (4, 3)], ids=str)
@pytest.mark.parametrize("given", [np.asarray, ln.tensor])
@over(ELEMENTWISE)
def test_a_target_may_be_the_matrix_of_all_rows(case, given, shape):
    name, options, _, simple = case
    x, *others = drawn(case, *shape)
    y = getattr(F, name)(ln.sequence(x), *map(given, others), reduction="none", **options)
    assert isinstance(y, ln.Sequence) and y.shape == shape
    np.testing.assert_allclose(y.numpy(), simple(x, *others, **options), rtol=1e-9)
    if len(others) == 1:
        z = getattr(F, name)(given(x), ln.sequence(others[0]), reduction="none", **options)
        np.testing.assert_array_equal(z.numpy(), y.numpy())


WITH_WEIGHTS = [
    *[(name, "weight") for name in ("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy")],
    *[("binary_cross_entropy_with_logits", option) for option in ("weight", "pos_weight")],
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "option"), WITH_WEIGHTS)
def test_weights_may_be_the_matrix_of_all_rows(name, option, reduction):
    x, target, weight = ln.sequence(share(4, 3)), ln.sequence(share(4, 3)), share(4, 3)
    y, z = (
        getattr(F, name)(x, target, reduction=reduction, **{option: w})
        for w in (weight, ln.sequence(weight))
    )
    assert y.shape == z.shape
    np.testing.assert_array_equal(y.numpy(), z.numpy())


@over(OF_ROWS)
def test_losses_of_rows(case):
    name, options, _, simple = case
    arrays = drawn(case, 4, 5)
    want = simple(*arrays, **options)
    y = getattr(F, name)(*map(ln.sequence, arrays), reduction="none", **options)
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-9)
    goes_row_by_row(lambda *xs: getattr(F, name)(*xs, reduction="none", **options), *arrays)
    ln.check_grads(
        lambda *xs: getattr(F, name)(*xs, **options), [a[0] for a in arrays], 1, tolerance=1e-5
    )


@over(OF_ROWS)
def test_losses_of_rows_agree_with_torch(torch, case):
    name, options, *_ = case
    for reduction in REDUCTIONS:
        agrees_with_torch(
            torch,
            lambda *xs, r=reduction: getattr(F, name)(*xs, reduction=r, **options),
            lambda *xs, r=reduction: getattr(torch.nn.functional, name)(
                *xs, reduction=r, **options
            ),
            drawn(case, 4, 5), many=True,
        )  # fmt: skip


@over(ELEMENTWISE + OF_ROWS)
def test_fifty_examples_run_in_as_many_batches_as_one(case):
    name, options, *_ = case
    arrays = [drawn(case, 5) for _ in range(50)]
    batches_over_examples(lambda k: getattr(F, name)(*map(ln.tensor, arrays[k]), **options))
    lengths = (1, 3, 2)
    rows = [drawn(case, lengths[k % 3], 5) for k in range(50)]
    batches_over_examples(
        lambda k: getattr(F, name)(*map(ln.sequence, rows[k]), reduction="none", **options)
    )


@over(ELEMENTWISE + OF_ROWS)
def test_values_stay_float32(case):
    name, options, *_ = case
    arrays = [a.astype(np.float32) for a in drawn(case, 5)]
    assert getattr(F, name)(*map(ln.tensor, arrays), **options).dtype == np.float32


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_each_element_may_have_a_weight(torch, name, reduction, many):
    theirs = getattr(torch.nn.functional, name)
    if "weight" not in inspect.signature(theirs).parameters:
        pytest.skip("this PyTorch has no weights here")
    arrays = normal(3, 4), normal(3, 4), share(3, 4)
    agrees_with_torch(
        torch, lambda x, t, w: getattr(F, name)(x, t, reduction=reduction, weight=w),
        lambda x, t, w: theirs(x, t, reduction=reduction, weight=w), arrays, many,
    )  # fmt: skip
    order = 2 if name == "mse_loss" else 1
    ln.check_grads(
        lambda x, w: getattr(F, name)(x, ln.tensor(arrays[1]), reduction=reduction, weight=w),
        [arrays[0], arrays[2]], order,
    )  # fmt: skip


class TestPairs:
    def test_cosine_similarity_and_distance(self, torch):
        for shape in ((6,), (2, 3), (3, 2, 4)):
            x, y = normal(*shape), normal(*shape)
            np.testing.assert_allclose(
                F.cosine_similarity(ln.tensor(x), ln.tensor(y)).numpy(), naive.cosine(x, y)
            )
            for dim in range(-1, len(shape)):
                agrees_with_torch(
                    torch,
                    lambda a, b, d=dim: F.cosine_similarity(a, b, d),
                    lambda a, b, d=dim: torch.nn.functional.cosine_similarity(a, b, d),
                    (x, y),
                )
            for p in (1.0, 2.0, 3.0, math.inf):
                agrees_with_torch(
                    torch,
                    lambda a, b, p=p: F.pairwise_distance(a, b, p),
                    lambda a, b, p=p: torch.nn.functional.pairwise_distance(a, b, p),
                    (x, y),
                )

    def test_one_vector_is_compared_with_each_row(self):
        x, y = normal(3, 2, 4), normal(2, 4)
        for dim, same in ((-1, 2), (1, 1), (-2, 1)):
            np.testing.assert_allclose(
                F.cosine_similarity(ln.sequence(x), ln.tensor(y), dim).numpy(),
                naive.cosine(np.moveaxis(x, same, -1), np.moveaxis(y, same - 1, -1)),
            )

    @pytest.mark.parametrize("margin", [0.0, 0.3])
    def test_cosine_embedding(self, margin):
        x, y, t = normal(6, 5), normal(6, 5), signs(6)
        want = naive.cosine_embedding(x, y, t, margin)
        got = F.cosine_embedding_loss(
            ln.sequence(x), ln.sequence(y), ln.sequence(t), margin, "none"
        )
        np.testing.assert_allclose(got.numpy(), want)
        ln.check_grads(
            lambda a, b: F.cosine_embedding_loss(a, b, ln.tensor(1.0), margin), (x[0], y[0]), 2,
            tolerance=1e-5,
        )  # fmt: skip

    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_cosine_embedding_agrees_with_torch(self, torch, reduction):
        t = signs(4)
        agrees_with_torch(
            torch,
            lambda a, b: F.cosine_embedding_loss(a, b, ln.sequence(t), 0.1, reduction),
            lambda a, b: torch.nn.functional.cosine_embedding_loss(
                a, b, torch.tensor(t), 0.1, reduction=reduction
            ),
            (normal(4, 5), normal(4, 5)), many=True,
        )  # fmt: skip

    def test_integer_targets_do_not_change_the_dtype(self):
        x = ln.tensor(normal(3).astype(np.float32))
        y = F.margin_ranking_loss(x, x * 2.0, ln.tensor([1, -1, 1]))
        assert y.dtype == np.float32


class TestBinary:
    def test_certain_and_wrong_costs_100(self):
        y = F.binary_cross_entropy(ln.tensor([0.0, 1.0, 1.0]), ln.tensor([1.0, 0.0, 1.0]), None,
                                   "none")  # fmt: skip
        assert y.tolist() == [100.0, 100.0, 0.0]

    def test_large_logits_do_not_overflow(self):
        x = ln.tensor([1e4, -1e4, -1e4], requires_grad=True)
        y = F.binary_cross_entropy_with_logits(x, ln.tensor([0.0, 0.0, 1.0]), None, "none")
        assert y.tolist() == [1e4, 0.0, 1e4]
        y.sum().backward()
        assert x.grad.tolist() == [1.0, 0.0, -1.0]

    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_weights(self, torch, reduction):
        w, t = share(3, 4), share(3, 4)
        agrees_with_torch(
            torch,
            lambda x: F.binary_cross_entropy(x, ln.tensor(t), ln.tensor(w), reduction),
            lambda x: torch.nn.functional.binary_cross_entropy(
                x, torch.tensor(t), torch.tensor(w), reduction=reduction
            ),
            (share(3, 4),),
        )
        agrees_with_torch(
            torch,
            lambda x: F.binary_cross_entropy_with_logits(x, ln.tensor(t), w, reduction, w[0]),
            lambda x: torch.nn.functional.binary_cross_entropy_with_logits(
                x, torch.tensor(t), torch.tensor(w), reduction=reduction,
                pos_weight=torch.tensor(w[0]),
            ),
            (normal(3, 4),),
        )  # fmt: skip


class TestDistributions:
    def test_a_target_of_zero_costs_nothing(self):
        x = ln.tensor([-np.inf, 0.0], requires_grad=True)
        y = F.kl_div(x, ln.tensor([0.0, 1.0]), "none")
        assert y.tolist() == [0.0, 0.0]

    def test_batchmean_is_over_rows(self, torch):
        t = share(4, 3)
        agrees_with_torch(
            torch,
            lambda x: F.kl_div(x, ln.sequence(t), "batchmean"),
            lambda x: torch.nn.functional.kl_div(x, torch.tensor(t), reduction="batchmean"),
            (normal(4, 3),), many=True,
        )  # fmt: skip

    def test_a_variance_may_be_a_number_and_is_bounded_below(self, torch):
        x, t = normal(4), normal(4)
        for var in (0.5, 0.0):
            got = F.gaussian_nll_loss(ln.tensor(x), ln.tensor(t), var, reduction="none")
            np.testing.assert_allclose(got.numpy(), naive.gaussian(x, t, np.full(4, var)))
        v = np.array([0.0, 0.5, 1e-9, 2.0])
        agrees_with_torch(
            torch,
            lambda x, t, v: F.gaussian_nll_loss(x, t, v, eps=0.1),
            lambda x, t, v: torch.nn.functional.gaussian_nll_loss(x, t, v, eps=0.1),
            (x, t, v),
        )
