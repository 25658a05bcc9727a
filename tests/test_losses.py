"""Losses: the values of numpy and PyTorch, derivatives, all options, edges, rows and batches."""

import inspect
import math

import naive_losses as naive
import numpy as np
import pytest
from checks import agrees_with_torch, batches_over_examples, goes_row_by_row, normal

import lazynet as ln
from lazynet import nn

F = nn.functional
REDUCTIONS = ("mean", "sum", "none")
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")


def share(*shape):
    return np.random.uniform(0.05, 0.95, shape)


def signs(*shape):
    return np.where(np.random.rand(*shape) < 0.5, -1.0, 1.0)


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


MODULES = {
    "CrossEntropyLoss": (
        [{}, {"label_smoothing": 0.1}, {"ignore_index": 1}, {"reduction": "sum"}], (normal(5, 4),),
    ),
    "NLLLoss": ([{}, {"reduction": "none"}], (normal(5, 4),)),
    "MultiMarginLoss": ([{}, {"p": 2, "margin": 0.5}], (normal(5, 4),)),
    "MSELoss": ([{}, {"reduction": "none"}], (normal(5, 4), normal(5, 4))),
    "L1Loss": ([{}], (normal(5, 4), normal(5, 4))),
    "SmoothL1Loss": ([{}, {"beta": 0.3}], (normal(5, 4), normal(5, 4))),
    "HuberLoss": ([{}, {"delta": 0.3}], (normal(5, 4), normal(5, 4))),
    "BCELoss": ([{}], (share(5, 4), share(5, 4))),
    "BCEWithLogitsLoss": ([{}], (normal(5, 4), share(5, 4))),
    "HingeEmbeddingLoss": ([{}, {"margin": 0.2}], (normal(5, 4), signs(5, 4))),
    "MarginRankingLoss": ([{}, {"margin": 0.2}], (normal(5), normal(5), signs(5))),
    "TripletMarginLoss": (
        [{}, {"p": 1.0, "swap": True}], (normal(5, 4), normal(5, 4), normal(5, 4)),
    ),
    "CosineEmbeddingLoss": ([{}, {"margin": 0.2}], (normal(5, 4), normal(5, 4), signs(5))),
    "KLDivLoss": ([{}, {"log_target": True}, {"reduction": "batchmean"}],
                  (normal(5, 4), share(5, 4))),
    "PoissonNLLLoss": ([{}, {"log_input": False}, {"full": True}], (share(5, 4), 4 * share(5, 4))),
    "GaussianNLLLoss": ([{}, {"full": True}], (normal(5, 4), normal(5, 4), share(5, 4))),
    "SoftMarginLoss": ([{}], (normal(5, 4), signs(5, 4))),
    "MultiLabelSoftMarginLoss": ([{}], (normal(5, 4), share(5, 4))),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_modules_give_what_pytorch_s_give(torch, name):
    for options in MODULES[name][0]:
        arrays = MODULES[name][1]
        ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
        mine, other = [*map(ln.sequence, arrays)], [*map(torch.tensor, arrays)]
        if len(arrays) == 1:
            mine.append([3, 1, 0, 1, 2])
            other.append(torch.tensor(mine[-1]))
        np.testing.assert_allclose(ours(*mine).numpy(), theirs(*other).numpy(), rtol=1e-9)
        assert list(ours.state_dict()) == []
        for option, value in options.items():
            assert f"{option}={value!r}" in repr(ours)


CLASS_WEIGHTS = np.array([0.5, 1.0, 2.0, 1.0])
POSITIONAL = {
    "CrossEntropyLoss": [CLASS_WEIGHTS], "NLLLoss": [CLASS_WEIGHTS], "BCELoss": [CLASS_WEIGHTS],
    "BCEWithLogitsLoss": [CLASS_WEIGHTS], "MultiLabelSoftMarginLoss": [CLASS_WEIGHTS],
    "MultiMarginLoss": [2, 0.5], "TripletMarginLoss": [0.5, 1.0], "MarginRankingLoss": [0.5],
    "CosineEmbeddingLoss": [0.2], "HingeEmbeddingLoss": [0.2], "PoissonNLLLoss": [False, True],
}  # fmt: skip


@pytest.mark.parametrize("name", POSITIONAL)
def test_options_by_position_are_pytorch_s(torch, name):
    given, arrays = POSITIONAL[name], MODULES[name][1]
    ours = getattr(nn, name)(*given)
    theirs = getattr(torch.nn, name)(
        *(torch.tensor(g) if isinstance(g, np.ndarray) else g for g in given)
    )
    mine, other = [*map(ln.sequence, arrays)], [*map(torch.tensor, arrays)]
    if len(arrays) == 1:
        mine.append([3, 1, 0, 1, 2])
        other.append(torch.tensor(mine[-1]))
    np.testing.assert_allclose(ours(*mine).numpy(), theirs(*other).numpy(), rtol=1e-9)


def test_losses_are_modules_with_known_options():
    with pytest.raises(TypeError, match="CrossEntropyLoss takes weight by position, and"):
        nn.CrossEntropyLoss(None, None)
    with pytest.raises(TypeError, match="MSELoss takes nothing by position"):
        nn.MSELoss("sum")
    with pytest.raises(TypeError, match="MarginRankingLoss: margin is given twice"):
        nn.MarginRankingLoss(1.0, margin=2.0)
    with pytest.raises(TypeError, match="MSELoss takes reduction, not beta"):
        nn.MSELoss(beta=1.0)


ROW, ROWS = ln.zeros(3), ln.sequence(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: F.mse_loss(ROW, ln.zeros(4)), ln.ShapeError, r"mse_loss: values of \(3,\)"),
        (lambda: F.mse_loss(ROWS, ROWS[:1]), ln.ShapeError, r"mse_loss: values of \(2, 3\)"),
        (lambda: F.mse_loss(ROW, ROW, "max"), ValueError, "mse_loss: expected a reduction 'mean'"),
        (lambda: F.l1_loss(ROW, ROW, weight=ln.ones(2)), ln.ShapeError, r"l1_loss: a weight of"),
        (lambda: F.l1_loss(ln.tensor([1]), ln.tensor([1])), TypeError, "l1_loss: expected float"),
        (lambda: F.huber_loss(ROW, ROW, delta=0.0), ValueError, "huber_loss: delta must be posi"),
        (lambda: F.smooth_l1_loss(ROW, ROW, beta=-1.0), ValueError, "smooth_l1_loss: beta must"),
        (lambda: F.nll_loss(ROW, [1]), ln.ShapeError, "nll_loss: a list of targets needs a Seq"),
        (lambda: F.nll_loss(ROWS, 1), ln.ShapeError, "nll_loss: a Sequence of 2 rows needs a list"),
        (lambda: F.nll_loss(ROWS, [1]), ln.ShapeError, "nll_loss: 1 targets for a Sequence of 2"),
        (lambda: F.nll_loss(ROWS, [1, 3]), IndexError, "nll_loss: index 3 is out of range"),
        (lambda: F.nll_loss(ROW, -1), IndexError, "nll_loss: index -1 is out of range"),
        (lambda: F.nll_loss(ROW, 1, weight=[1.0]), ln.ShapeError, "nll_loss: expected a weight"),
        (lambda: F.nll_loss(ROWS, [1, 9], weight=np.ones(3)), IndexError, "nll_loss: index 9"),
        (lambda: F.cross_entropy(ROWS, [1, 3]), IndexError, "cross_entropy: index 3"),
        (lambda: F.cross_entropy(ROWS, [1, 3], "sum", label_smoothing=0.1), IndexError,
         "cross_entropy: index 3"),
        (lambda: F.cross_entropy(ROW, 1, label_smoothing=2.0), ValueError, "label_smoothing must"),
        (lambda: F.cross_entropy(ROWS, np.zeros((2, 4))), ln.ShapeError, "targets of"),
        (lambda: F.cross_entropy(ln.zeros(2, 3), 1), ln.ShapeError, "cross_entropy: expected"),
        (lambda: F.multi_margin_loss(ROW, 1, p=3), ValueError, "p must be 1 or 2"),
        (lambda: F.cosine_similarity(ln.tensor(1.0), ROW), ln.ShapeError, "cosine_similarity"),
        (lambda: F.cosine_similarity(ROW, ln.ones(1)), ln.ShapeError,
         r"^cosine_similarity: .* of \(3,\) and \(1,\)"),
        (lambda: F.cosine_similarity(ROWS, ROW, 0), ln.ShapeError, "elements along axis -2 of"),
        (lambda: F.cosine_similarity(ROW, ROW, 1), ln.ShapeError, "no axis 1"),
        (lambda: F.pairwise_distance(ROW, ln.ones(1)), ln.ShapeError, "pairwise_distance: expect"),
        (lambda: F.cosine_embedding_loss(ROW, ln.ones(1), 1), ln.ShapeError, "along axis -1"),
        (lambda: F.margin_ranking_loss(ROW, ln.zeros(2), ROW), ln.ShapeError, "margin_ranking"),
        (lambda: F.cosine_embedding_loss(ROWS, ROWS, ROWS[:1]), ln.ShapeError, "1 targets for 2"),
    ],
)  # fmt: skip
def test_mistakes_are_told(call, error, told):
    with pytest.raises(error, match=told):
        call()
