"""Losses: each a composition of ops, so that it batches and differentiates as they do."""

from __future__ import annotations

import math

import numpy as np

from lazynet.ops import reduce
from lazynet.ops.views import pick
from lazynet.record import ShapeError, as_value
from lazynet.tensor import Sequence, Tensor


def _reduced(loss, reduction: str):
    if reduction == "none" or (isinstance(loss, Tensor) and not loss.type.shape):
        return loss
    if reduction == "mean":
        return reduce.mean(loss)
    if reduction == "sum":
        return reduce.sum(loss)
    raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', not {reduction!r}")


def nll_loss(log_probabilities, target, reduction: str = "mean"):
    """Negative log-likelihood: -x[target] for each row.

    Args:
        log_probabilities: rows of (classes,).
        target: an integer for a Tensor, a list of integers for a Sequence.
        reduction: "mean" over the rows, "sum", or "none".

    Raises:
        IndexError: if a target is out of range.
    """
    x = as_value(log_probabilities, "nll_loss")
    if isinstance(x, Tensor) and isinstance(target, (list, tuple, np.ndarray)):
        raise ShapeError("nll_loss: a list of targets needs a Sequence; one row has one target")
    chosen = pick(x, target)
    if isinstance(chosen, Sequence) and reduction == "mean":
        # One node for the sign and the mean together.
        return reduce.sum(chosen) * (-1.0 / chosen.length if chosen.length else math.nan)
    if reduction == "sum":
        return -_reduced(chosen, reduction)  # of the sum, which is one row
    return _reduced(-chosen, reduction)


def cross_entropy(logits, target, reduction: str = "mean"):
    """-log softmax(x)[target] for each row; the mean over the rows, as PyTorch's.

    Args:
        logits: rows of (classes,): a Tensor with an integer target, or a Sequence with a list.
        reduction: "mean" over the rows, "sum", or "none".

    Raises:
        IndexError: if a target is out of range. ShapeError: if their number is not that of rows.
    """
    return nll_loss(reduce.log_softmax(logits), target, reduction)


def mse_loss(x, target, reduction: str = "mean"):
    """(x - target)^2; the mean over all elements."""
    return _reduced((as_value(x, "mse_loss") - target).square(), reduction)


__all__ = ["Sequence", "cross_entropy", "mse_loss", "nll_loss"]
