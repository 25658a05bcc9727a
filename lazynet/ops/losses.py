"""Losses of regression, of pairs and of distributions: compositions of ops, PyTorch's names.

`reduction` goes over the elements that one example has; see `loss.py`.
"""

from __future__ import annotations

import math

from lazynet.ops import reduce
from lazynet.ops.activations import softplus
from lazynet.ops.elementwise import absolute, exp, log, maximum, relu, where
from lazynet.ops.functions import clamp
from lazynet.ops.loss import reduced
from lazynet.ops.statistics import norm
from lazynet.record import ShapeError, as_value


def _pair(name: str, x, target):
    x, target = as_value(x, name), as_value(target, name)
    if x.type.shape != target.type.shape:
        raise ShapeError(f"{name}: rows of {x.type.shape} for a target of {target.type.shape}")
    return x, target if target.type.is_float else target.astype(x.type.dtype)


def mse_loss(x, target, reduction: str = "mean"):
    """(x - target)^2.

    >>> float(ln.nn.functional.mse_loss(ln.tensor([1.0, 3.0]), ln.tensor([1.0, 1.0])))
    2.0
    """
    x, target = _pair("mse_loss", x, target)
    return reduced((x - target).square(), reduction)


def l1_loss(x, target, reduction: str = "mean"):
    """|x - target|.

    >>> float(ln.nn.functional.l1_loss(ln.tensor([1.0, 3.0]), ln.tensor([1.0, 1.0])))
    1.0
    """
    x, target = _pair("l1_loss", x, target)
    return reduced(absolute(x - target), reduction)


def smooth_l1_loss(x, target, reduction: str = "mean", beta: float = 1.0):
    """d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2 (Girshick, 2015).

    >>> float(ln.nn.functional.smooth_l1_loss(ln.tensor([3.0]), ln.tensor([1.0])))
    1.5
    """
    x, target = _pair("smooth_l1_loss", x, target)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    d = absolute(x - target)
    if beta == 0:
        return reduced(d, reduction)
    return reduced(where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta), reduction)


def huber_loss(x, target, reduction: str = "mean", delta: float = 1.0):
    """d^2 / 2 where d = |x - target| <= delta, else delta (d - delta / 2) (Huber, 1964).

    >>> float(ln.nn.functional.huber_loss(ln.tensor([3.0]), ln.tensor([1.0])))
    1.5
    """
    x, target = _pair("huber_loss", x, target)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    d = absolute(x - target)
    return reduced(where(d <= delta, d * d * 0.5, (d - 0.5 * delta) * delta), reduction)


def binary_cross_entropy(x, target, weight=None, reduction: str = "mean"):
    """-(target log x + (1 - target) log(1 - x)); logarithms are cut off at -100.

    >>> round(float(ln.nn.functional.binary_cross_entropy(ln.tensor([0.5]), ln.tensor([1.0]))), 4)
    0.6931
    """
    x, target = _pair("binary_cross_entropy", x, target)
    losses = -(target * clamp(log(x), -100.0) + (1.0 - target) * clamp(log(1.0 - x), -100.0))
    return reduced(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    x, target, weight=None, reduction: str = "mean", pos_weight=None
):
    """binary_cross_entropy of sigmoid(x), without overflow; `pos_weight` counts positive targets.

    >>> F = ln.nn.functional
    >>> round(float(F.binary_cross_entropy_with_logits(ln.tensor([0.0]), ln.tensor([1.0]))), 4)
    0.6931
    """
    x, target = _pair("binary_cross_entropy_with_logits", x, target)
    positive = softplus(-x)
    if pos_weight is not None:
        positive = positive * ((as_value(pos_weight, "pos_weight") - 1.0) * target + 1.0)
    losses = (1.0 - target) * x + positive
    return reduced(losses if weight is None else losses * weight, reduction)


def hinge_embedding_loss(x, target, margin: float = 1.0, reduction: str = "mean"):
    """x where the target is 1, max(0, margin - x) where it is -1.

    >>> float(ln.nn.functional.hinge_embedding_loss(ln.tensor([0.25]), ln.tensor([-1.0])))
    0.75
    """
    x, target = _pair("hinge_embedding_loss", x, target)
    return reduced(where(target == 1.0, x, relu(margin - x)), reduction)


def margin_ranking_loss(x, y, target, margin: float = 0.0, reduction: str = "mean"):
    """max(0, -target (x - y) + margin): target 1 wants x above y, -1 below.

    >>> F = ln.nn.functional
    >>> float(F.margin_ranking_loss(ln.tensor([1.0]), ln.tensor([3.0]), ln.tensor([1.0])))
    2.0
    """
    x, y = as_value(x, "margin_ranking_loss"), as_value(y, "margin_ranking_loss")
    return reduced(relu(margin - (x - y) * target), reduction)


def pairwise_distance(x, y, p: float = 2.0, eps: float = 1e-6):
    """The norm of x - y + eps, over the last axis.

    >>> round(float(ln.nn.functional.pairwise_distance(ln.tensor([3.0]), ln.tensor([1.0]))), 3)
    2.0
    """
    x, y = as_value(x, "pairwise_distance"), as_value(y, "pairwise_distance")
    return norm(x - y + eps, p, -1)


def triplet_margin_loss(
    anchor, positive, negative, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
    reduction: str = "mean",
):  # fmt: skip
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d = `pairwise_distance`.

    >>> F, x = ln.nn.functional, ln.tensor([1.0])
    >>> float(F.triplet_margin_loss(x, x, x))
    1.0
    """
    near = pairwise_distance(anchor, positive, p, eps)
    return reduced(relu(near - pairwise_distance(anchor, negative, p, eps) + margin), reduction)


def cosine_similarity(x, y, dim: int = -1, eps: float = 1e-8):
    """x . y / (|x| |y|), norms at least eps.

    >>> round(float(ln.nn.functional.cosine_similarity(ln.tensor([2.0]), ln.tensor([3.0]))), 4)
    1.0
    """
    x, y = as_value(x, "cosine_similarity"), as_value(y, "cosine_similarity")
    size = maximum(norm(x, 2, dim), eps) * maximum(norm(y, 2, dim), eps)
    return reduce.sum(x * y, dim) / size


def cosine_embedding_loss(x, y, target, margin: float = 0.0, reduction: str = "mean"):
    """1 - cos(x, y) where the target is 1, max(0, cos(x, y) - margin) where it is -1.

    >>> F, x = ln.nn.functional, ln.tensor([1.0, 0.0])
    >>> round(float(F.cosine_embedding_loss(x, x, ln.tensor(-1.0))), 4)
    1.0
    """
    cosine = cosine_similarity(x, y)
    target = as_value(target, "cosine_embedding_loss")
    return reduced(where(target == 1.0, 1.0 - cosine, relu(cosine - margin)), reduction)


def kl_div(x, target, reduction: str = "mean", log_target: bool = False):
    """target (log target - x), of log-probabilities x: 0 where the target is 0.

    >>> round(float(ln.nn.functional.kl_div(ln.tensor([-1.0]), ln.tensor([1.0]))), 4)
    1.0
    """
    x, target = _pair("kl_div", x, target)
    if log_target:
        return reduced(exp(target) * (target - x), reduction)
    some = where(target > 0.0, target, 1.0)
    return reduced(where(target > 0.0, target * (log(some) - x), target * 0.0), reduction)


def poisson_nll_loss(
    x, target, log_input: bool = True, full: bool = False, eps: float = 1e-8,
    reduction: str = "mean",
):  # fmt: skip
    """exp(x) - target x, or x - target log(x + eps) without `log_input`.

    `full` adds Stirling's approximation of log target!, for targets above 1.

    >>> float(ln.nn.functional.poisson_nll_loss(ln.tensor([0.0]), ln.tensor([2.0])))
    1.0
    """
    x, target = _pair("poisson_nll_loss", x, target)
    losses = exp(x) - target * x if log_input else x - target * log(x + eps)
    if full:
        some = where(target > 1.0, target, 1.0)
        stirling = some * log(some) - some + log(some * (2.0 * math.pi)) * 0.5
        losses = losses + where(target > 1.0, stirling, 0.0)
    return reduced(losses, reduction)


def gaussian_nll_loss(
    x, target, var, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
):
    """(log v + (x - target)^2 / v) / 2 with v = max(var, eps); `full` adds log(2 pi) / 2.

    The variance's lower bound has no gradient, as in PyTorch.

    >>> F, one = ln.nn.functional, ln.tensor([1.0])
    >>> float(F.gaussian_nll_loss(one, one * 2.0, one))
    0.5
    """
    x, target = _pair("gaussian_nll_loss", x, target)
    var = as_value(var, "gaussian_nll_loss")
    v = var + relu(eps - var).detach()
    losses = (log(v) + (x - target).square() / v) * 0.5
    return reduced(losses + 0.5 * math.log(2.0 * math.pi) if full else losses, reduction)
