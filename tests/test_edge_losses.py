"""Losses and normalisation at their edges: large logits, certain targets, masks, constant rows."""

import numpy as np
import pytest
from test_edges import INF, NAN, Apart, agree, both_dtypes, theirs

import lazynet as ln
from lazynet import nn

torch = pytest.importorskip("torch")
F, T = nn.functional, torch.nn.functional
REDUCTIONS = pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
LOGITS = np.array([0.0, -0.0, 1, -1, 0.5, 20, -20, 100, -100, 800, -800, 1e4, -1e4])
PROBABILITIES = np.array([0.0, 0.25, 0.5, 1.0])


def grid(*values):
    return [m.ravel() for m in np.meshgrid(*values, indexing="ij")]


def finite(*values):
    kept = np.all(np.isfinite(values), axis=0)
    return [v[kept] for v in values]


def losses_agree(name, arrays, dtype, reduction, apart=(), **options):
    agree(
        lambda *v: getattr(F, name)(*v, reduction=reduction, **options),
        lambda *v: getattr(T, name)(*v, reduction=reduction, **options),
        arrays, dtype, apart=apart,
    )  # fmt: skip


# -- of pairs --------------------------------------------------------------------------------------


@both_dtypes
@REDUCTIONS
@pytest.mark.parametrize("name", ["mse_loss", "smooth_l1_loss", "huber_loss", "l1_loss"])
def test_regression_onto_infinite_targets(name, reduction, dtype):
    x, target = grid(*[np.concatenate([LOGITS, [INF, -INF, NAN]])] * 2)
    if name == "l1_loss":  # the slope at NaN is NaN here
        defined = ~np.isnan(x) & ~np.isnan(target) & ~(np.isinf(x) & (x == target))
        x, target = x[defined], target[defined]
    losses_agree(name, [x, target], dtype, reduction)


CUT = "the slope of a logarithm that was cut off at -100 is that of the value, so not infinite"


@both_dtypes
@REDUCTIONS
def test_binary_cross_entropy_of_certain_predictions(reduction, dtype):
    x, target = grid(np.array([0.0, 1.0, 0.5, 1e-30, 0.9990234375]), PROBABILITIES)
    apart = (Apart(CUT, 1, lambda x, t: (x == 0) | (x == 1)),)
    losses_agree("binary_cross_entropy", [x, target], dtype, reduction, apart)


@both_dtypes
@REDUCTIONS
def test_binary_cross_entropy_of_large_logits(reduction, dtype):
    arrays = grid(LOGITS, PROBABILITIES)
    losses_agree("binary_cross_entropy_with_logits", arrays, dtype, reduction)
    weight = (np.arange(arrays[0].size) % 3).astype(dtype)
    agree(
        lambda x, t: F.binary_cross_entropy_with_logits(
            x, t, ln.tensor(weight), reduction, ln.tensor(weight)),
        lambda x, t: T.binary_cross_entropy_with_logits(
            x, t, torch.tensor(weight), reduction=reduction, pos_weight=torch.tensor(weight)),
        arrays, dtype,
    )  # fmt: skip


MASKED = "a target of 0 asks for nothing, whatever its log-probability is"


@pytest.mark.filterwarnings("ignore:reduction")
@both_dtypes
@REDUCTIONS
def test_divergence_of_impossible_events(reduction, dtype):
    x, target = grid(np.concatenate([-np.abs(LOGITS), [-INF, NAN]]), PROBABILITIES)
    if reduction != "none":
        x, target = finite(x, target)
    nothing = lambda x, t: (t == 0) & ~np.isfinite(x)  # noqa: E731
    apart = [Apart(MASKED, 1, lambda x, t: (t == 0) & np.isfinite(x), 0.0)]
    if reduction == "none":
        apart += [Apart(MASKED, "value", nothing, 0.0), Apart(MASKED, 1, nothing)]
    losses_agree("kl_div", [x, target], dtype, reduction, apart)
    losses_agree("kl_div", grid(LOGITS[:9], LOGITS[:9]), dtype, reduction, log_target=True)


@both_dtypes
@REDUCTIONS
def test_poisson_and_gaussian_likelihoods(reduction, dtype):
    x, target = grid(LOGITS[:9], 4 * PROBABILITIES)
    if dtype == "float32":
        x, target = (v[x < 50] for v in (x, target))
    losses_agree("poisson_nll_loss", [x, target], dtype, reduction)
    stirling = (Apart("Stirling's formula is not taken of 0", 1, lambda x, t: t == 0),)
    losses_agree("poisson_nll_loss", [np.abs(x), target], dtype, reduction, stirling,
                 log_input=False, full=True)  # fmt: skip
    x, target, var = grid(LOGITS[:9], [0.0, 2.0], [0.0, 1e-7, 1.0, 1e10])
    losses_agree("gaussian_nll_loss", [x, target, var], dtype, reduction)


@both_dtypes
@REDUCTIONS
@pytest.mark.parametrize(
    "name", ["soft_margin_loss", "hinge_embedding_loss", "margin_ranking_loss"]
)
def test_margins_at_their_kinks(name, reduction, dtype):
    x, sign = grid(LOGITS, [1.0, -1.0])
    if name == "soft_margin_loss":  # PyTorch's overflows where exp(-t x) does
        x, sign = (v[np.abs(x) < 50] for v in (x, sign))
    made = sign.astype(dtype)
    first = [x] if name != "margin_ranking_loss" else [x, np.roll(x, 1)]
    agree(
        lambda *v: getattr(F, name)(*v, ln.tensor(made), reduction=reduction),
        lambda *v: getattr(T, name)(*v, torch.tensor(made), reduction=reduction), first, dtype,
    )  # fmt: skip


def test_soft_margin_does_not_overflow():
    losses = F.soft_margin_loss(ln.tensor([-800.0, 800.0]), ln.tensor([1.0, 1.0]), "none")
    assert losses.tolist() == [800.0, 0.0]


# -- of vectors ------------------------------------------------------------------------------------

VECTORS = np.array([[0.0, 0, 0], [1, 2, 3], [1e10, 1e10, 0], [-1, -2, -3], [0, 0, 1]])


@both_dtypes
def test_angles_and_distances_of_zero_vectors(dtype):
    first, second = grid(np.arange(5), np.arange(5))
    x, y = VECTORS[first], VECTORS[second]
    agree(F.cosine_similarity, lambda a, b: T.cosine_similarity(a, b, -1), [x, y], dtype)
    agree(F.pairwise_distance, T.pairwise_distance, [x, y], dtype)
    agree(lambda a, b: F.pairwise_distance(a, b, eps=0.0),
          lambda a, b: T.pairwise_distance(a, b, eps=0.0), [x, y], dtype)  # fmt: skip
    agree(F.normalize, lambda a: T.normalize(a, dim=-1), [VECTORS], dtype)
    agree(lambda a: ln.norm(a, 2, 1), lambda a: torch.norm(a, 2, 1), [VECTORS], dtype)


@both_dtypes
@REDUCTIONS
def test_embedding_losses_of_zero_vectors(reduction, dtype):
    first, second = grid(np.arange(5), np.arange(5))
    x, y = VECTORS[first], VECTORS[second]
    if dtype == "float32":  # the cosine of a vector with itself is 1 but for rounding
        x, y = (v[(np.abs(x - y) > 0).any(axis=1)] for v in (x, y))
    sign = np.where(np.arange(len(x)) % 2 == 0, 1.0, -1.0).astype(dtype)
    agree(
        lambda a, b: F.cosine_embedding_loss(a, b, ln.sequence(sign), reduction=reduction),
        lambda a, b: T.cosine_embedding_loss(a, b, torch.tensor(sign), reduction=reduction),
        [x, y], dtype, rows=True,
    )  # fmt: skip
    for swap in (False, True):
        agree(
            lambda a, b, s=swap: F.triplet_margin_loss(a, b, a, reduction=reduction, swap=s),
            lambda a, b, s=swap: T.triplet_margin_loss(a, b, a, reduction=reduction, swap=s),
            [x, y], dtype, rows=True,
        )  # fmt: skip


# -- of classes ------------------------------------------------------------------------------------

SCORES = np.array([[1e4, -1e4, 0], [0, 0, 0], [100, 0, -100], [88, -88, 0], [1, 2, 3], [0, 1, 2]])
MASKED_SCORES = np.array([[-INF, 0, 1], [-INF, -INF, 1.0], [0, -INF, -INF], [-INF] * 3])
WEIGHTS = {"none": None, "a zero": [0.0, 1.0, 2.0], "even": [1.0, 1.0, 1.0]}
TARGETS = {"first": [0] * 6, "mixed": [0, 1, 2, 0, 1, 2], "ignored": [1] * 6}
CLASSES = pytest.mark.parametrize("targets", TARGETS)


@both_dtypes
@CLASSES
@REDUCTIONS
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(smoothing, weight, reduction, targets, dtype):
    numbers, given = TARGETS[targets], WEIGHTS[weight]
    options = {"reduction": reduction, "ignore_index": 1, "label_smoothing": smoothing}
    if targets == "first" and weight == "a zero" and smoothing and reduction == "mean":
        pytest.skip("divided by weights of 0: infinite here, NaN in PyTorch")
    agree(
        lambda x: F.cross_entropy(x, numbers, weight=given, **options),
        lambda x: T.cross_entropy(
            x, torch.tensor(numbers), **options,
            weight=None if given is None else torch.tensor(given, dtype=x.dtype)),
        [SCORES], dtype, rows=True,
    )  # fmt: skip


@both_dtypes
@CLASSES
@REDUCTIONS
@pytest.mark.parametrize("name", ["nll_loss", "multi_margin_loss"])
def test_picked_scores(name, reduction, targets, dtype):
    numbers = TARGETS[targets]
    every = [{}, {"weight": [0.0, 1.0, 2.0]}]
    every += [{"ignore_index": 1}] if name == "nll_loss" else [{"p": 2}, {"margin": -1.0}]
    for options in every:
        tensors = {
            k: torch.tensor(v, dtype=getattr(torch, dtype)) if k == "weight" else v
            for k, v in options.items()
        }
        agree(
            lambda x, o=options: getattr(F, name)(x, numbers, reduction=reduction, **o),
            lambda x, o=tensors: getattr(T, name)(
                x, torch.tensor(numbers), reduction=reduction, **o),
            [SCORES], dtype, rows=True,
        )  # fmt: skip


@both_dtypes
@pytest.mark.parametrize("target", [0, 1, 2])
def test_cross_entropy_of_masked_classes(target, dtype):
    agree(
        lambda x: F.cross_entropy(x, [target] * 4, reduction="none"),
        lambda x: T.cross_entropy(x, torch.tensor([target] * 4), reduction="none"),
        [MASKED_SCORES], dtype, rows=True,
    )  # fmt: skip


@both_dtypes
@REDUCTIONS
def test_cross_entropy_of_one_row_that_is_ignored(reduction, dtype):
    for ignored in (0, 1):
        options = {"ignore_index": ignored, "reduction": reduction}
        if reduction == "mean" and ignored == 0:  # one row has no mean: its loss is 0, not 0 / 0
            assert float(F.cross_entropy(ln.tensor(SCORES[0]), 0, **options)) == 0.0
            continue
        agree(
            lambda x, o=options: F.cross_entropy(x, 0, **o),
            lambda x, o=options: T.cross_entropy(x, torch.tensor(0), **o), [SCORES[0]], dtype,
        )  # fmt: skip


@both_dtypes
def test_distributions_as_targets(dtype):
    targets = np.array([[0, 0, 1.0], [1, 0, 0], [0.5, 0.5, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]])
    for name in ("cross_entropy", "multilabel_soft_margin_loss"):
        agree(
            lambda x, t, n=name: getattr(F, n)(x, t, reduction="none"),
            lambda x, t, n=name: getattr(T, n)(x, t, reduction="none"), [SCORES, targets], dtype,
            rows=True,
        )  # fmt: skip


# -- normalisation ---------------------------------------------------------------------------------

ROWS = np.array(
    [[0.0, 0, 0, 0], [5, 5, 5, 5], [1e15, -1e15, 0, 0], [1e-30] * 4, [INF, 0, 1, 2], [NAN, 0, 1, 2],
     [1, 2, 3, 4], [0.1] * 4, [-1, -1, -1, 1]]
)  # fmt: skip


@both_dtypes
@pytest.mark.parametrize("rows", [False, True])
def test_normalisation_of_constant_and_huge_rows(rows, dtype):
    agree(lambda x: F.layer_norm(x, 4), lambda x: T.layer_norm(x, (4,)), [ROWS], dtype, rows)
    agree(lambda x: F.rms_norm(x, 4), lambda x: T.rms_norm(x, (4,)), [ROWS], dtype, rows)
    wide = ROWS.reshape(9, 4, 1).repeat(2, 2)
    group = lambda x: F.group_norm(x if rows else ln.sequence(x), 2)  # noqa: E731
    agree(group, lambda x: theirs("group_norm")(x, 2), [wide], dtype, rows)


@both_dtypes
def test_batch_norm_of_constant_channels(dtype):
    x = np.array([[0.0, -0.0, 1e15, 1], [0, 0, -1e15, 2], [0, 0, 0, 3]])
    agree(
        lambda v: F.batch_norm(v, training=True),
        lambda v: T.batch_norm(v, None, None, training=True), [x], dtype, rows=True,
    )  # fmt: skip
