"""Losses of classifiers: compositions of ops, which batch and differentiate as these do.

A loss is that of one example. `reduction` goes over what one example has: "mean" and "sum" over the
rows of a Sequence or the elements of a Tensor, "none" leaves them.
"""

from __future__ import annotations

import math

import numpy as np

from lazynet.device import OPENED, beside_operands
from lazynet.ops import reduce
from lazynet.ops.elementwise import relu, where
from lazynet.ops.index import one_hot
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import sequence
from lazynet.ops.softmax import log_softmax, logsumexp, nll
from lazynet.ops.told import told
from lazynet.ops.views import indices, pick, plainly
from lazynet.record import ShapeError, as_value
from lazynet.tensor import Sequence, Tensor, Value, tensor

_INTEGERS = np.dtype(int)


def reduced(name: str, loss, reduction: str):
    """The mean, the sum, or all of the elements of a loss."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: expected a reduction 'mean', 'sum' or 'none', not {reduction!r}")
    if reduction == "none" or (isinstance(loss, Tensor) and not loss.type.shape):
        return loss
    return reduce.mean(loss) if reduction == "mean" else reduce.sum(loss)


def rows_beside(x, other):
    """A value or an array beside a Sequence: its rows, where it has the shape of all of that."""
    whole = isinstance(other, (Tensor, np.ndarray)) and other.shape == x.shape
    return sequence(other) if whole and isinstance(x, Sequence) else other


def weights_of(name: str, losses, weight):
    """Weights of losses, of their shape and dtype."""
    weight = rows_beside(losses, as_value(weight, name))
    if tuple(weight.shape) != tuple(losses.shape):
        raise ShapeError(f"{name}: a weight of {weight.shape} for losses of {losses.shape}")
    return weight if weight.type.dtype == losses.type.dtype else weight.astype(losses.type.dtype)


def weighted(name: str, losses, weight, reduction: str):
    """`reduced`, with weights: the mean is divided by their sum."""
    if weight is None:
        return reduced(name, losses, reduction)
    weight = weights_of(name, losses, weight)
    if reduction != "mean":
        return reduced(name, losses * weight, reduction)
    return reduce.sum(losses * weight) / reduce.sum(weight)


def _is_usual(x, target) -> bool:
    """Whether these are scores and a target, or as many targets, that need no closer look."""
    if x.__class__ is Sequence:
        fit = target.__class__ is list and x.length == len(target)
    else:
        fit = x.__class__ is Tensor and target.__class__ is int
    return fit and len(x.type.shape) == 1 and x.type.is_float


def _is_choice(x) -> bool:
    """Whether these are numbers, one for each of any number of things to choose from."""
    return isinstance(x, Sequence) and not x.type.shape and x.type.is_float


def _chosen(name: str, x, target: int):
    return x[int(indices([target], len(x), name)[0])]


def _checked(name: str, x, target):
    """The scores, and the targets: an integer for a Tensor, a list or an array for a Sequence."""
    if _is_usual(x, target):
        return x, target
    x = as_value(x, name)
    if len(x.type.shape) != 1 or not x.type.is_float:
        advice = ""
        if isinstance(x, Sequence) and not x.type.shape:
            advice = "; numbers of which one is the target take that alone"
        if isinstance(x, Tensor) and x.ndim == 2:
            advice = "; ln.sequence(x) makes rows of it"
        elif len(x.type.shape) == 2 and x.type.shape[0] == 1:
            advice = "; rows of a Sequence need no x.view(-1, classes)"
        raise ShapeError(f"{name}: expected float rows of (classes,), not rows of {x.type}{advice}")
    if isinstance(target, Value):
        target = target.numpy()  # type: ignore[attr-defined]
    if isinstance(target, np.ndarray) and not target.ndim:
        target = target[()]
    target = plainly(target)
    many = isinstance(target, (list, tuple, np.ndarray))
    if isinstance(x, Tensor) and many:
        raise ShapeError(f"{name}: a list of targets needs a Sequence; one row has one target")
    if isinstance(x, Sequence):
        if not many:
            raise ShapeError(f"{name}: a Sequence of {len(x)} rows needs a list of targets")
        if len(target) != len(x):
            raise ShapeError(f"{name}: {len(target)} targets for a Sequence of {len(x)} rows")
    return x, target


@told
@beside_operands
def nll_loss(
    log_probabilities, target, reduction: str = "mean", weight=None, ignore_index: int = -100
):
    """Negative log-likelihood: -weight[target] x[target] for each row.

    Shapes: (classes,) -> (); n rows -> (), with reduction "none" n rows (); n numbers, a Sequence
    of which the target chooses one -> ().

    Args:
        log_probabilities: rows of (classes,).
        target: an integer for a Tensor or for numbers, a list of integers for rows.
        reduction: "mean" over the rows (divided by the sum of their weights), "sum", or "none". A
            Tensor is one row, whose loss is the same in all three: its weight stays in.
        weight: an array of (classes,), 1 by default.
        ignore_index: rows with this target are left out; their own loss is 0.

    >>> float(ln.nn.functional.nll_loss(ln.tensor([-1.0, -2.0]), 1))
    2.0

    Returns:
        (); with reduction "none" one number a row.

    Raises:
        IndexError: if a target is out of range. ShapeError: if their number is not that of rows.
    """
    plain = weight is None and target.__class__ is int
    if plain and _is_choice(log_probabilities):
        return -_chosen("nll_loss", log_probabilities, target)
    x, target = _checked("nll_loss", log_probabilities, target)
    return _picked("nll_loss", _negative, x, target, reduction, weight, ignore_index)


def _negative(x, target, name: str):
    return -pick(x, target, name)


def _picked(name: str, loss, x, target, reduction: str, weight, ignore_index: int):
    """The losses of rows and their targets, times weight[target], reduced."""
    if weight is None and not _has(target, ignore_index):
        losses = loss(x, target, name)
        if isinstance(losses, Sequence) and reduction in ("mean", "sum"):
            total = reduce.ROW_REDUCTIONS["sum"](losses)
            if reduction == "sum":
                return total
            return total * (1.0 / losses.length if losses.length else math.nan)
        return reduced(name, losses, reduction)
    kept = _Kept(name, x, target, weight, ignore_index)
    return kept.reduced(loss(kept.of(x), kept.targets, name) * kept.weights, reduction)


def _has(target, ignored: int) -> bool:
    if isinstance(target, int):
        return target == ignored
    if isinstance(target, (list, tuple)):
        return ignored in target
    return bool(np.any(np.asarray(target) == ignored))


class _Kept:
    """The targets that count, their weights, and the rows that they belong to."""

    @beside_operands
    def __init__(self, name: str, x, target, weight, ignored: int):
        self.name, self.single, self.count = name, isinstance(x, Tensor), x.shape[0]
        classes, dtype = x.type.size, x.type.dtype
        weights = np.ones(classes) if weight is None else np.asarray(weight, np.float64)
        if weights.shape != (classes,):
            raise ShapeError(
                f"{name}: expected a weight for each of {classes} classes, not {weights.shape}"
            )
        numbers = np.atleast_1d(np.asarray(target, None if len(x) else np.int64))
        self.rows = np.flatnonzero(numbers != ignored)
        chosen = indices(numbers[self.rows], classes, name)
        if self.single:
            self.empty = not len(chosen)
            self.targets = 0 if self.empty else int(chosen[0])
            self.weights = tensor(np.asarray(weights[self.targets], dtype))
        else:
            self.empty = False
            self.targets = chosen
            self.weights = sequence(weights[chosen].astype(dtype))

    def of(self, rows):
        """Those of the rows whose targets count."""
        return rows if self.single or len(self.rows) == self.count else rows[self.rows]

    @beside_operands
    def reduced(self, losses, reduction: str):
        """The losses reduced; of all of them, those of ignored targets are 0."""
        if self.single:
            losses = where(tensor(False), losses, 0.0) if self.empty else losses
            return reduced(self.name, losses, reduction)
        if reduction == "mean":
            return reduce.sum(losses) / reduce.sum(self.weights)
        if reduction == "none" and len(self.rows) < self.count:
            zero = where(tensor(False), reduce.sum(losses), 0.0)
            found = dict(zip(self.rows.tolist(), losses, strict=True))
            return sequence([found.get(k, zero) for k in range(self.count)])
        return reduced(self.name, losses, reduction)


def cross_entropy(
    logits, target, reduction: str = "mean", weight=None, ignore_index: int = -100,
    label_smoothing: float = 0.0,
):  # fmt: skip
    """-log softmax(x)[target] for each row; the mean over the rows, as PyTorch's.

    Shapes: (classes,) -> (); n rows -> (), with reduction "none" n rows (); n numbers, a Sequence
    of which the target chooses one, as where a model points at a word -> ().

    Args:
        logits: rows of (classes,).
        target: an integer for a Tensor or for numbers, a list of integers for rows; or a
            distribution over the classes for each row: floats of the shape of the logits.
        reduction: "mean" over the rows, "sum", or "none".
        weight: an array of (classes,), 1 by default; the mean is divided by the targets' weights.
            A Tensor is one row, whose loss is the same in all three: its weight stays in.
        ignore_index: rows with this target are left out; their own loss is 0.
        label_smoothing: the part of the target that is spread over all classes evenly.

    >>> round(float(ln.cross_entropy(ln.tensor([0.0, 0.0]), 1)), 4)
    0.6931
    >>> round(float(ln.cross_entropy(ln.sequence([0.0, 0.0, 0.0]), 2)), 4)
    1.0986

    Returns:
        (); with reduction "none" one number a row.

    Raises:
        IndexError: if a target is out of range. ShapeError: if their number is not that of rows.
        ValueError: for another reduction, or smoothing that is no part of 1.
    """
    plain = label_smoothing.__class__ is float and not label_smoothing and weight is None
    if plain and not OPENED and _is_usual(logits, target):
        try:
            return _picked("cross_entropy", nll, logits, target, reduction, None, ignore_index)
        except (TypeError, ValueError, LookupError):
            pass  # what is wrong is told below
    return _cross_entropy(logits, target, reduction, weight, ignore_index, label_smoothing)


@told
@beside_operands
def _cross_entropy(
    logits, target, reduction: str, weight=None, ignore_index: int = -100,
    label_smoothing: float = 0.0,
):  # fmt: skip
    """`cross_entropy`, the long way."""
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing must be in [0, 1], not {label_smoothing}")
    if getattr(target, "dtype", _INTEGERS).kind == "f":
        return _of_distributions(logits, target, reduction, weight, label_smoothing)
    plain = weight is None and not label_smoothing and target.__class__ is int
    if plain and _is_choice(logits):
        return logsumexp(logits, 0) - _chosen("cross_entropy", logits, target)
    x, target = _checked("cross_entropy", logits, target)
    if not label_smoothing:
        return _picked("cross_entropy", nll, x, target, reduction, weight, ignore_index)
    kept = _Kept("cross_entropy", x, target, weight, ignore_index)
    scores = kept.of(log_softmax(x, -1))
    exact = pick(scores, kept.targets, "cross_entropy") * kept.weights
    if weight is not None:
        scores = scores * tensor(np.asarray(weight, x.type.dtype))
    spread = reduce.sum(scores, -1) * (label_smoothing / x.type.size)
    return kept.reduced(-(exact * (1.0 - label_smoothing) + spread), reduction)


@beside_operands
def _of_distributions(logits, target, reduction: str, weight, label_smoothing: float):
    """Cross-entropy with a distribution over the classes for each row."""
    x = as_value(logits, "cross_entropy")
    if isinstance(target, np.ndarray):
        target = sequence(target) if isinstance(x, Sequence) else tensor(target)
    if target.shape != x.shape or len(x.type.shape) != 1:
        raise ShapeError(
            f"cross_entropy: targets of {target.shape} for scores of {x.shape}; distributions over "
            "the classes have the shape of the scores"
        )
    if target.type.dtype != x.type.dtype:
        target = target.astype(x.type.dtype)
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + label_smoothing / x.type.size
    scores = log_softmax(x, -1)
    if weight is not None:
        scores = scores * tensor(np.asarray(weight, x.type.dtype))
    return reduced("cross_entropy", -reduce.sum(target * scores, -1), reduction)


@told
@beside_operands
def multi_margin_loss(
    x, target, p: int = 1, margin: float = 1.0, weight=None, reduction: str = "mean"
):
    """sum over i != target of weight[target] max(0, margin - x[target] + x[i])^p / classes.

    Shapes: (classes,) -> (); n rows -> (), with reduction "none" n rows ().

    Args:
        x: rows of (classes,).
        target: an integer for a Tensor, a list of integers for a Sequence.
        p: 1 or 2.
        weight: an array of (classes,), 1 by default.
        reduction: "mean" over the rows, "sum", or "none".

    >>> float(ln.nn.functional.multi_margin_loss(ln.tensor([1.0, 0.5]), 0))
    0.25

    Returns:
        (); with reduction "none" one number a row.

    Raises:
        IndexError: if a target is out of range. ShapeError: if their number is not that of rows.
        ValueError: for another reduction, or another p.
    """
    name = "multi_margin_loss"
    x, target = _checked(name, x, target)
    if p not in (1, 2):
        raise ValueError(f"{name}: p must be 1 or 2, not {p}")
    chosen = pick(x, target, name)
    gap = relu((x - reshape(chosen, (1,))) + margin)
    gap = where(one_hot(target, x.type.size, "bool"), 0.0, gap)
    total = reduce.sum(gap if p == 1 else gap * gap, -1)
    if weight is not None:
        total = total * _Kept(name, x, target, weight, -1).weights
    return reduced(name, total * (1.0 / x.type.size), reduction)
