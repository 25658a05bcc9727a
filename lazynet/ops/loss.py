"""Losses of classifiers: compositions of ops, which batch and differentiate as these do.

A loss is that of one example. `reduction` goes over what one example has: "mean" and "sum" over the
rows of a Sequence or the elements of a Tensor, "none" leaves them.
"""

from __future__ import annotations

import math

import numpy as np

from lazynet.device import beside_operands
from lazynet.ops import reduce
from lazynet.ops.rows import sequence
from lazynet.ops.views import pick
from lazynet.record import ShapeError, as_value
from lazynet.tensor import Sequence, Tensor, tensor


def reduced(loss, reduction: str):
    """The mean, the sum, or all of the elements of a loss."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', not {reduction!r}")
    if reduction == "none" or (isinstance(loss, Tensor) and not loss.type.shape):
        return loss
    return reduce.mean(loss) if reduction == "mean" else reduce.sum(loss)


def _checked(name: str, x, target):
    x = as_value(x, name)
    many = isinstance(target, (list, tuple, np.ndarray))
    if isinstance(x, Tensor) and many:
        raise ShapeError(f"{name}: a list of targets needs a Sequence; one row has one target")
    if isinstance(x, Sequence):
        if not many:
            raise ShapeError(f"{name}: a Sequence of {len(x)} rows needs a list of targets")
        if len(target) != len(x):
            raise ShapeError(f"{name}: {len(target)} targets for a Sequence of {len(x)} rows")
    return x


def nll_loss(
    log_probabilities, target, reduction: str = "mean", weight=None, ignore_index: int = -100,
    name: str = "nll_loss",
):  # fmt: skip
    """Negative log-likelihood: -weight[target] x[target] for each row.

    Args:
        log_probabilities: rows of (classes,).
        target: an integer for a Tensor, a list of integers for a Sequence.
        reduction: "mean" over the rows (divided by the sum of their weights), "sum", or "none".
        weight: an array of (classes,), 1 by default.
        ignore_index: rows with this target are left out.

    >>> float(ln.nn.functional.nll_loss(ln.tensor([-1.0, -2.0]), 1))
    2.0

    Raises:
        IndexError: if a target is out of range. ShapeError: if their number is not that of rows.
    """
    x = _checked(name, log_probabilities, target)
    if weight is None and ignore_index == -100 and not _has(target, ignore_index):
        chosen = pick(x, target, name)
        if isinstance(chosen, Sequence) and reduction == "mean":
            # One node for the sign and the mean together.
            return reduce.sum(chosen) * (-1.0 / chosen.length if chosen.length else math.nan)
        if reduction == "sum":
            return -reduced(chosen, reduction)  # of the sum, which is one row
        return reduced(-chosen, reduction)
    kept, chosen_weights, x = _kept(x, target, weight, ignore_index)
    losses = -(pick(x, kept, name) * chosen_weights)
    return _weighted(losses, chosen_weights, reduction)


def _has(target, ignored: int) -> bool:
    return ignored in target if isinstance(target, (list, tuple)) else bool(
        np.any(np.asarray(target) == ignored)
    )  # fmt: skip


@beside_operands
def _kept(x, target, weight, ignored: int):
    """The targets that count, their weights, and the rows that they belong to."""
    weights = np.ones(x.type.size) if weight is None else np.asarray(weight, np.float64)
    if weights.shape != x.type.shape:
        raise ShapeError(
            f"weight: expected one for each of {x.type.size} classes, not {weights.shape}"
        )
    dtype = x.type.dtype
    if isinstance(x, Tensor):
        if target == ignored:
            return 0, tensor(np.zeros((), dtype)), x
        inside = 0 <= target < len(weights)
        return target, tensor(np.asarray(weights[target] if inside else 0.0, dtype)), x
    numbers = np.asarray(target)
    rows = np.flatnonzero(numbers != ignored)
    kept = numbers[rows].tolist()
    if len(rows) < len(numbers):
        x = x[rows] if len(rows) else x[:0]
    found = [weights[k] if 0 <= k < len(weights) else 0.0 for k in kept]
    return kept, sequence(np.asarray(found, dtype)), x


def _weighted(losses, weights, reduction: str):
    if reduction != "mean" or isinstance(losses, Tensor):
        return reduced(losses, reduction)
    return reduce.sum(losses) / reduce.sum(weights)


@beside_operands
def cross_entropy(
    logits, target, reduction: str = "mean", weight=None, ignore_index: int = -100,
    label_smoothing: float = 0.0,
):  # fmt: skip
    """-log softmax(x)[target] for each row; the mean over the rows, as PyTorch's.

    Args:
        logits: rows of (classes,): a Tensor with an integer target, or a Sequence with a list.
        reduction: "mean" over the rows, "sum", or "none".
        weight: an array of (classes,), 1 by default; the mean is divided by the targets' weights.
        ignore_index: rows with this target are left out.
        label_smoothing: the part of the target that is spread over all classes evenly.

    >>> round(float(ln.cross_entropy(ln.tensor([0.0, 0.0]), 1)), 4)
    0.6931

    Raises:
        IndexError: if a target is out of range. ShapeError: if their number is not that of rows.
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing must be in [0, 1], not {label_smoothing}")
    x = _checked("cross_entropy", logits, target)
    scores = reduce.log_softmax(x, -1)
    if not label_smoothing:
        return nll_loss(scores, target, reduction, weight, ignore_index, "cross_entropy")
    kept, weights, scores = _kept(scores, target, weight, ignore_index)
    exact = pick(scores, kept, "cross_entropy") * weights
    if weight is not None:
        scores = scores * tensor(np.asarray(weight, x.type.dtype))
    spread = reduce.sum(scores, -1) * (label_smoothing / x.type.size)
    if isinstance(x, Tensor) and target == ignore_index:
        spread = spread * 0.0
    return _weighted(-(exact * (1.0 - label_smoothing) + spread), weights, reduction)


def multi_margin_loss(x, target, p: int = 1, margin: float = 1.0, reduction: str = "mean"):
    """sum over i != target of max(0, margin - x[target] + x[i])^p / classes, for each row.

    >>> float(ln.nn.functional.multi_margin_loss(ln.tensor([1.0, 0.5]), 0))
    0.25
    """
    x = _checked("multi_margin_loss", x, target)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p must be 1 or 2, not {p}")
    chosen = pick(x, target, "multi_margin_loss")
    gap = ((x - reduce.reshape(chosen, (1,))) + margin).relu()
    total = reduce.sum(gap if p == 1 else gap * gap, -1) - margin**p
    return reduced(total * (1.0 / x.type.size), reduction)
