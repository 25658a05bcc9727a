"""The loss of a list of labels that is not aligned with the rows: connectionist classification."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lazynet.batching import layout as words
from lazynet.device import CPU, beside_operands
from lazynet.op import Op, Sample, row_type
from lazynet.ops.elementwise import where
from lazynet.ops.functions import clamp, isinf
from lazynet.ops.index import index_select
from lazynet.ops.linear import matmul
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import cat, sequence
from lazynet.ops.runs import (
    backward_program,
    forward_program,
    offsets,
    operand,
    output,
    step,
)
from lazynet.ops.softmax import logsumexp
from lazynet.ops.structured import log_scan
from lazynet.ops.told import told
from lazynet.ops.views import indices
from lazynet.record import ShapeError, as_value, record_runs
from lazynet.tensor import Sequence, tensor

IMPOSSIBLE = -1e30  # a log-probability whose differences are still numbers


def _ctc_shape(x, labels, blank):
    if len(x.shape) != 1 or not x.is_float:
        raise ShapeError(f"ctc_loss: expected float rows of (classes,), not {x!r}")
    return (row_type(x.dtype),)


def _attributes(s) -> tuple[int, int]:
    return s.operands[0].size, dict(s.attributes)["blank"]


def _ctc_lower(s):
    inputs = (offsets(1), offsets(2), operand(s, 0), operand(s, 1))
    return forward_program(s, step("ctc", inputs, [output(s)], _attributes(s), s.type.dtype))


def _ctc_backward(s):
    inputs = (
        offsets(1), offsets(2), operand(s, 0), operand(s, 1), output(s, words.D_FORWARD),
    )  # fmt: skip
    outputs = [operand(s, 0, words.D_ARGUMENT)]
    made = step("ctc_backward", inputs, outputs, _attributes(s), s.type.dtype, True)
    return backward_program(s, made)


def _ctc_vjp(g, y, x, labels, blank):
    x, labels = (cat(v, 0) if isinstance(v, list) else v for v in (x, labels))
    numbers = labels.numpy()
    shares = _shares(x, numbers, blank)
    return None if shares is None else -(shares * reshape(g[0], (1,))), None


class _States(NamedTuple):
    """What alignments go through, and the scores of each in each row."""

    classes: np.ndarray  # of each state
    ways: Any  # the logarithms of 1 and 0: from which state to which
    start: Any  # in which states an alignment begins
    end: Any  # and ends
    scores: Any


@beside_operands
def _states(x, labels: np.ndarray, blank: int) -> _States:
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    places = np.arange(len(states))
    skips = (places % 2 == 1) & (states != np.roll(states, 2)) & (places > 2)
    ahead = places - places[:, None]
    ways = np.where((ahead == 0) | (ahead == 1) | ((ahead == 2) & skips), 0.0, IMPOSSIBLE)
    start = np.where(places < 2, 0.0, IMPOSSIBLE)
    made = [tensor(array.astype(x.type.dtype)) for array in (ways, start, start[::-1])]
    return _States(states, *made, clamp(index_select(x, 1, states), IMPOSSIBLE))


@beside_operands
def _shares(x, labels: np.ndarray, blank: int):
    """For each row and class the share of the alignments there; None where there is none."""
    again = int((labels[1:] == labels[:-1]).sum())
    if len(x) < max(len(labels) + again, 1):
        return None
    s = _states(x, labels, blank)
    before = log_scan(s.scores, s.ways, s.start)
    after = log_scan(s.scores[::-1], s.ways.T, s.end)[::-1]
    whole = logsumexp(before[-1] + s.end)
    classes = tensor(np.eye(x.type.size, dtype=x.type.dtype)[s.classes])
    return matmul((before + after - s.scores - whole).exp(), classes)


@beside_operands
def _by_scan(x, labels: np.ndarray, blank: int):
    """The same as the op, by a scan over rows of states: what runs where the op does not."""
    if not len(x):
        return tensor(np.asarray(np.inf if len(labels) else 0.0, x.type.dtype))
    s = _states(x, labels, blank)
    loss = -logsumexp(log_scan(s.scores, s.ways, s.start)[-1] + s.end)
    return where(loss > -0.1 * IMPOSSIBLE, np.inf, loss)


CTC = Op(
    "ctc", "y = -log of the sum of all alignments of the labels with the rows", _ctc_shape,
    _ctc_lower, _ctc_vjp, kind=words.RUNS, backward=_ctc_backward,
    samples=(Sample(((3,), ()), (("blank", 0),), dtypes=("", "int64")),),
)  # fmt: skip


@told
def ctc_loss(
    log_probs: Any, targets: Any, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
):  # fmt: skip
    """-log p(targets | x): the sum over all alignments of the targets with the rows of x.

    Shapes: n rows of (classes,) -> ().

    An alignment gives each row a label or the blank; leaving out repetitions and then blanks gives
    the targets (Graves, Fernández, Gomez and Schmidhuber, "Connectionist temporal classification",
    2006). The gradient is the expected count of each class in each row. One node an example;
    examples of all lengths batch. On CUDA it is made of `log_scan`: examples with equally many
    targets batch.

        >>> x = ln.sequence(np.log(np.full((2, 2), 0.5, np.float32)))
        >>> round(float(ln.ctc_loss(x, [1]).exp()), 4)  # three of four alignments: 11, 01, 10
        1.3333

    Args:
        log_probs: n rows of (classes,): log-probabilities, as `log_softmax` gives them.
        targets: integers, none of them the blank; there may be none.
        blank: the number of the blank.
        reduction: "mean" divides by the number of targets, as PyTorch does for each example before
            it averages over them; "sum" and "none" leave the loss.
        zero_infinity: whether a loss that is infinite, because there are fewer rows than targets
            and blanks between equal ones need, is 0. The gradient of an infinite loss is 0.

    Returns:
        a scalar.

    Raises:
        IndexError: if a target is out of range. ValueError: if one is the blank.
        ShapeError: if the log-probabilities are no rows of (classes,).
    """
    name = "ctc_loss"
    x = as_value(log_probs, name)
    x = x if isinstance(x, Sequence) or len(x.type.shape) != 2 else sequence(x)
    if not isinstance(x, Sequence):
        raise ShapeError(f"{name}: expected a Sequence of rows of (classes,), not {x.shape}")
    if len(x.type.shape) != 1 or not x.type.is_float:
        raise ShapeError(f"{name}: expected float rows of (classes,), not rows of {x.type}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: expected a reduction 'mean', 'sum' or 'none', not {reduction!r}")
    classes = x.type.size
    if not isinstance(blank, (int, np.integer)) or not 0 <= blank < classes:
        raise IndexError(f"{name}: the blank {blank} is out of range; there are {classes} classes")
    numbers = indices(targets, classes, name)
    if (numbers == blank).any():
        raise ValueError(f"{name}: the blank {blank} cannot be a target")
    if x.graph.device is CPU:
        labels = sequence(numbers.astype(np.int64))
        loss = record_runs(CTC, (x, labels), 1, (("blank", blank),))[0]
    else:
        loss = _by_scan(x, numbers, blank)
    if zero_infinity:
        loss = where(isinf(loss), 0.0, loss)
    return loss * (1.0 / max(len(numbers), 1)) if reduction == "mean" else loss
