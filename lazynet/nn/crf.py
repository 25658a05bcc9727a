"""Conditional random fields over the tags of one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.device import beside_operands
from lazynet.nn import init
from lazynet.nn.linear import sizes
from lazynet.nn.module import Module
from lazynet.ops.fill import zeros
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.shape import transposed
from lazynet.ops.softmax import logsumexp
from lazynet.ops.structured import log_scan, viterbi
from lazynet.ops.views import indices, part, pick
from lazynet.parameter import Parameter
from lazynet.record import ShapeError
from lazynet.tensor import Sequence


class CRF(Module):
    """p(y | x) = exp(score(x, y)) / Z with scores of tags and of transitions between them.

    Shapes: n rows of (num_tags,) and n tags -> ().

    score(x, y) = start[y_0] + sum_t x_t[y_t] + sum_t transitions[y_{t-1}, y_t] + end[y_{n-1}]
    (Lafferty, McCallum and Pereira, 2001). x are emissions, n rows of (num_tags,), of any n; the
    empty sentence has one tagging, of probability 1.

        >>> crf, x = nn.CRF(3), ln.sequence(np.eye(3, dtype=np.float32))
        >>> loss = crf(x, [0, 1, 2])   # a scalar: -log p
        >>> tags = crf.decode(x)       # the best tagging, a Sequence of integers
        >>> shares = crf.marginals(x)  # the probability of each tag of each word

    Parameters, uniform in (-0.1, 0.1): transitions (num_tags, num_tags), from row to column;
    start_transitions and end_transitions (num_tags,).

    Raises:
        ShapeError: when called, if there is not a tag for each row. IndexError: if a tag is out of
            range.
    """

    def __init__(self, num_tags: int) -> None:
        super().__init__()
        sizes("CRF", num_tags=num_tags)
        self.num_tags = num_tags
        self.start_transitions = _drawn(num_tags)
        self.end_transitions = _drawn(num_tags)
        self.transitions = _drawn(num_tags, num_tags)

    def forward(self, emissions: Sequence, tags: Any) -> Any:
        """The loss of one sentence: -log p(tags | emissions) = log Z - score, a scalar."""
        return self.log_partition(emissions) - self.score(emissions, tags)

    @beside_operands
    def score(self, emissions: Sequence, tags: Any) -> Any:
        """The score of one tagging: a list of integers, one for each row.

        Raises:
            IndexError: if a tag is out of range. ShapeError: if there are not as many as rows.
        """
        self._check(emissions)
        numbers = indices(tags, self.num_tags, "CRF")
        if len(numbers) != len(emissions):
            raise ShapeError(f"CRF: {len(numbers)} tags for {len(emissions)} rows")
        if not len(numbers):
            return zeros(dtype=emissions.type.dtype)
        score = sum_of(pick(emissions, numbers))
        score = score + pick(self.start_transitions, int(numbers[0]))
        score = score + pick(self.end_transitions, int(numbers[-1]))
        if len(numbers) == 1:
            return score
        table = self.transitions
        repeated = Sequence(table.graph, table.id, table.type, len(numbers) - 1, 0)
        steps = part(repeated, (), numbers[:-1] * self.num_tags + numbers[1:])
        return score + sum_of(steps)

    @beside_operands
    def log_partition(self, emissions: Sequence) -> Any:
        """log Z: the log of the sum of exp(score) over all taggings."""
        self._check(emissions)
        if not len(emissions):
            return zeros(dtype=emissions.type.dtype)
        return logsumexp(self._forward(emissions)[-1] + self.end_transitions)

    def decode(self, emissions: Sequence) -> Sequence:
        """The tagging with the largest score: a Sequence of integers (`.tolist()`)."""
        self._check(emissions)
        return viterbi(emissions, self.transitions, self.start_transitions, self.end_transitions)

    def marginals(self, emissions: Sequence) -> Sequence:
        """p(y_t = j | emissions): n rows of (num_tags,), which can be differentiated."""
        self._check(emissions)
        if not len(emissions):
            return emissions * 1.0
        before = self._forward(emissions)
        after = log_scan(emissions[::-1], transposed(self.transitions), self.end_transitions)[::-1]
        log_z = logsumexp(before[-1] + self.end_transitions)
        return (before + after - emissions - log_z).exp()

    def _forward(self, emissions: Sequence) -> Sequence:
        """For each row and tag, the log of the sum over all beginnings that end in this tag."""
        return log_scan(emissions, self.transitions, self.start_transitions)

    def _check(self, emissions: Any) -> None:
        if not isinstance(emissions, Sequence) or emissions.type.shape != (self.num_tags,):
            shape = getattr(emissions, "shape", type(emissions).__name__)
            raise ShapeError(
                f"CRF: emissions of {shape}; expected a Sequence with rows of ({self.num_tags},)"
            )

    def extra_repr(self) -> str:
        return f"num_tags={self.num_tags}"


def _drawn(*shape: int) -> Parameter:
    return init.uniform_(Parameter(np.zeros(shape, np.float32)), -0.1, 0.1)
