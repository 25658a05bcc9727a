"""Losses of regression and of distributions: compositions of ops, PyTorch's names.

`reduction` goes over the elements that one example has; see `loss.py`.
"""

from __future__ import annotations

import math

import numpy as np

from lazynet.device import beside_operands
from lazynet.op import Sample
from lazynet.ops import reduce
from lazynet.ops.activations import logsigmoid, softplus
from lazynet.ops.elementwise import absolute, exp, log, maximum, minimum, prepare, relu, where
from lazynet.ops.functions import clamp, log1p
from lazynet.ops.lifting import PAIRS, elementwise
from lazynet.ops.linear import vectors_of
from lazynet.ops.loss import reduced, rows_beside, weighted, weights_of
from lazynet.ops.told import told
from lazynet.record import ShapeError, as_value, record
from lazynet.tensor import Sequence, tensor


def _pair(name: str, x, target):
    """Float rows, and targets of their shape and dtype."""
    x, target = as_value(x, name), as_value(target, name)
    x, target = rows_beside(target, x), rows_beside(x, target)
    if not x.type.is_float:
        raise TypeError(f"{name}: expected float rows, not {x.type.dtype}")
    if x.type.shape != target.type.shape or (
        isinstance(x, Sequence) and isinstance(target, Sequence) and len(x) != len(target)
    ):
        raise ShapeError(f"{name}: values of {x.shape} for a target of {target.shape}")
    return x, target if target.type.is_float else target.astype(x.type.dtype)


def signs_of(name: str, x, target):
    """Targets of 1 and -1 in the dtype of x, which they broadcast against."""
    target = rows_beside(x, as_value(target, name))
    if isinstance(x, Sequence) and isinstance(target, Sequence) and len(x) != len(target):
        raise ShapeError(f"{name}: {len(target)} targets for {len(x)} rows")
    return target if target.type.is_float else target.astype(x.type.dtype)


@told
def mse_loss(x, target, reduction: str = "mean", weight=None):
    """weight (x - target)^2; the mean is divided by the sum of the weights, 1 by default.

    Shapes: x, target and weight alike -> (), or with reduction "none" that of x.

    >>> float(ln.nn.functional.mse_loss(ln.tensor([1.0, 3.0]), ln.tensor([1.0, 1.0])))
    2.0

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    x, target = _pair("mse_loss", x, target)
    return weighted("mse_loss", (x - target).square(), weight, reduction)


@told
def l1_loss(x, target, reduction: str = "mean", weight=None):
    """weight |x - target|; the mean is divided by the sum of the weights, 1 by default.

    Shapes: x, target and weight alike -> (), or with reduction "none" that of x.

    >>> float(ln.nn.functional.l1_loss(ln.tensor([1.0, 3.0]), ln.tensor([1.0, 1.0])))
    1.0

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    x, target = _pair("l1_loss", x, target)
    return weighted("l1_loss", absolute(x - target), weight, reduction)


@told
def smooth_l1_loss(x, target, reduction: str = "mean", beta: float = 1.0):
    """d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2 (Girshick, 2015).

    Shapes: x and target alike -> (), or with reduction "none" that of x.

    >>> float(ln.nn.functional.smooth_l1_loss(ln.tensor([3.0]), ln.tensor([1.0])))
    1.5

    Raises:
        ShapeError: if the shapes differ. ValueError: if beta is negative.
    """
    x, target = _pair("smooth_l1_loss", x, target)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    d = absolute(x - target)
    if beta == 0:
        return reduced("smooth_l1_loss", d, reduction)
    near = minimum(d, beta)
    return reduced("smooth_l1_loss", near * near * (0.5 / beta) + (d - near), reduction)


@told
def huber_loss(x, target, reduction: str = "mean", delta: float = 1.0, weight=None):
    """d^2 / 2 where d = |x - target| <= delta, else delta (d - delta / 2) (Huber, 1964).

    Each is multiplied by its weight, if there are any; the mean is over the elements, as in PyTorch
    and other than that of `mse_loss`.

    Shapes: x, target and weight alike -> (), or with reduction "none" that of x.

    >>> float(ln.nn.functional.huber_loss(ln.tensor([3.0]), ln.tensor([1.0])))
    1.5

    Raises:
        ShapeError: if the shapes differ. ValueError: unless delta > 0.
    """
    x, target = _pair("huber_loss", x, target)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    d = absolute(x - target)
    near = minimum(d, delta)
    losses = near * near * 0.5 + (d - near) * delta
    if weight is not None:
        losses = losses * weights_of("huber_loss", losses, weight)
    return reduced("huber_loss", losses, reduction)


def _logarithm_gap(x):
    return clamp(log1p(-x), -100.0) - clamp(log(x), -100.0)


BINARY_CROSS_ENTROPY = elementwise(
    "binary_cross_entropy", "z = -(y log x + (1 - y) log(1 - x))",
    "-(x1 * maximum(log(x0), c(-100)) + (c(1) - x1) * maximum(log1p(-x0), c(-100)))",
    lambda g, z, x, y: (
        g * (x - y) / maximum(x * (1.0 - x), 1e-12), g * _logarithm_gap(x),
    ),
    samples=tuple(Sample(s.operands, low=0.1, high=0.9) for s in PAIRS),
)  # fmt: skip


@told
def binary_cross_entropy(x, target, weight=None, reduction: str = "mean"):
    """-(target log x + (1 - target) log(1 - x)); logarithms are cut off at -100.

    At x = 0 and x = 1 the slope is that of 1e-12 from there, as in PyTorch.

    Shapes: x and target alike -> (), or with reduction "none" that of x.

    >>> round(float(ln.nn.functional.binary_cross_entropy(ln.tensor([0.5]), ln.tensor([1.0]))), 4)
    0.6931

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    x, target = _pair("binary_cross_entropy", x, target)
    losses = record(BINARY_CROSS_ENTROPY, tuple(prepare(BINARY_CROSS_ENTROPY, x, target)))
    if weight is not None:
        losses = losses * rows_beside(losses, weight)
    return reduced("binary_cross_entropy", losses, reduction)


@told
def binary_cross_entropy_with_logits(
    x, target, weight=None, reduction: str = "mean", pos_weight=None
):
    """binary_cross_entropy of sigmoid(x), without overflow; `pos_weight` counts positive targets.

    Shapes: x and target alike -> (), or with reduction "none" that of x.

    >>> F = ln.nn.functional
    >>> round(float(F.binary_cross_entropy_with_logits(ln.tensor([0.0]), ln.tensor([1.0]))), 4)
    0.6931

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    x, target = _pair("binary_cross_entropy_with_logits", x, target)
    positive = softplus(-x)
    if pos_weight is not None:
        pos_weight = rows_beside(x, as_value(pos_weight, "pos_weight"))
        positive = positive * ((pos_weight - 1.0) * target + 1.0)
    losses = (1.0 - target) * x + positive
    if weight is not None:
        losses = losses * rows_beside(losses, weight)
    return reduced("binary_cross_entropy_with_logits", losses, reduction)


@told
def hinge_embedding_loss(x, target, margin: float = 1.0, reduction: str = "mean"):
    """x where the target is 1, max(0, margin - x) where it is -1.

    Shapes: x and target alike -> (), or with reduction "none" that of x.

    >>> float(ln.nn.functional.hinge_embedding_loss(ln.tensor([0.25]), ln.tensor([-1.0])))
    0.75

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    x, target = _pair("hinge_embedding_loss", x, target)
    away = clamp(margin - x, 0.0)
    return reduced("hinge_embedding_loss", where(target == 1.0, x, away), reduction)


@told
def margin_ranking_loss(x, y, target, margin: float = 0.0, reduction: str = "mean"):
    """max(0, -target (x - y) + margin): target 1 wants x above y, -1 below.

    Shapes: x and y alike, the target broadcasts -> (), or with reduction "none" that of x.

    >>> F = ln.nn.functional
    >>> float(F.margin_ranking_loss(ln.tensor([1.0]), ln.tensor([3.0]), ln.tensor([1.0])))
    2.0

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    x, y = _pair("margin_ranking_loss", x, y)
    target = signs_of("margin_ranking_loss", x, target)
    return reduced("margin_ranking_loss", clamp(margin - (x - y) * target, 0.0), reduction)


@told
def kl_div(x, target, reduction: str = "mean", log_target: bool = False):
    """target (log target - x), of log-probabilities x: 0 where the target is 0.

    The reduction may be "batchmean" as well: the sum divided by the number of rows, 1 for a Tensor.

    Shapes: x and target alike -> (), or with reduction "none" that of x.

    >>> round(float(ln.nn.functional.kl_div(ln.tensor([-1.0]), ln.tensor([1.0]))), 4)
    1.0

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    x, target = _pair("kl_div", x, target)
    if log_target:
        losses = exp(target) * (target - x)
    else:
        some = where(target > 0.0, target, 1.0)
        losses = where(target > 0.0, target * (log(some) - x), target * 0.0)
    if reduction == "batchmean":
        rows = len(x) if isinstance(x, Sequence) else 1
        return reduce.sum(losses) * (1.0 / rows if rows else math.nan)
    return reduced("kl_div", losses, reduction)


@told
def poisson_nll_loss(
    x, target, log_input: bool = True, full: bool = False, eps: float = 1e-8,
    reduction: str = "mean",
):  # fmt: skip
    """exp(x) - target x, or x - target log(x + eps) without `log_input`.

    `full` adds Stirling's approximation of log target!, for targets above 1.

    Shapes: x and target alike -> (), or with reduction "none" that of x.

    >>> float(ln.nn.functional.poisson_nll_loss(ln.tensor([0.0]), ln.tensor([2.0])))
    1.0

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    x, target = _pair("poisson_nll_loss", x, target)
    losses = exp(x) - target * x if log_input else x - target * log(x + eps)
    if full:
        some = where(target > 1.0, target, 1.0)
        stirling = some * log(some) - some + log(some * (2.0 * math.pi)) * 0.5
        losses = losses + where(target > 1.0, stirling, 0.0)
    return reduced("poisson_nll_loss", losses, reduction)


@told
@beside_operands
def gaussian_nll_loss(
    x, target, var, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
):
    """(log v + (x - target)^2 / v) / 2 with v = max(var, eps); `full` adds log(2 pi) / 2.

    The variance's lower bound has no gradient, as in PyTorch.

    Shapes: x and target alike, var broadcasts -> (), or with reduction "none" that of x.

    >>> F, one = ln.nn.functional, ln.tensor([1.0])
    >>> float(F.gaussian_nll_loss(one, one * 2.0, one))
    0.5

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    x, target = _pair("gaussian_nll_loss", x, target)
    if isinstance(var, (int, float)):
        var = tensor(np.asarray(var, x.type.dtype))
    var = rows_beside(x, as_value(var, "gaussian_nll_loss"))
    v = var + relu(eps - var).detach()
    losses = (log(v) + (x - target).square() / v) * 0.5
    return reduced(
        "gaussian_nll_loss", losses + 0.5 * math.log(2.0 * math.pi) if full else losses, reduction
    )


@told
def soft_margin_loss(x, target, reduction: str = "mean"):
    """log(1 + exp(-target x)), for targets of 1 and -1.

    Shapes: x and target alike -> (), or with reduction "none" that of x.

    >>> round(float(ln.nn.functional.soft_margin_loss(ln.tensor([0.0]), ln.tensor([1.0]))), 4)
    0.6931

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    x, target = _pair("soft_margin_loss", x, target)
    return reduced("soft_margin_loss", softplus(-(target * x)), reduction)


@told
def multilabel_soft_margin_loss(x, target, weight=None, reduction: str = "mean"):
    """The mean over the classes of -(t log sigmoid(x) + (1 - t) log sigmoid(-x)), for each row.

    Shapes: (classes,) -> (); n rows -> (), with reduction "none" n rows ().

    Args:
        x: rows of (classes,).
        target: rows of (classes,), 1 for each class that the row belongs to, else 0.
        weight: of the classes, 1 by default.

    >>> F = ln.nn.functional
    >>> round(float(F.multilabel_soft_margin_loss(ln.zeros(2), ln.tensor([1.0, 0.0]))), 4)
    0.6931

    Returns:
        (); with reduction "none" one number a row.

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    name = "multilabel_soft_margin_loss"
    x, target = vectors_of(name, *_pair(name, x, target))
    losses = -(target * logsigmoid(x) + (1.0 - target) * logsigmoid(-x))
    losses = losses if weight is None else losses * weight
    return reduced(name, reduce.mean(losses, -1), reduction)
