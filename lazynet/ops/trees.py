"""Sums over all trees of one sentence, in log space.

Trees with crossing-free arcs are summed as the textbook has it, in ops over rows, all spans of one
width at a time: O(n) nodes for n words, which batch across examples, and derivatives of any order
without another formula. All other trees are a determinant.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from lazynet.batching import layout as words
from lazynet.device import beside_operands
from lazynet.op import Op, Sample, row_type
from lazynet.ops.decompositions import logdet
from lazynet.ops.elementwise import where
from lazynet.ops.fill import zeros
from lazynet.ops.linear import matmul
from lazynet.ops.reduce import max as max_of
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import sequence
from lazynet.ops.runs import backward_program, forward_program, offsets, operand, output, step
from lazynet.ops.segments import ROW_MAX, ROW_SUM
from lazynet.ops.told import told
from lazynet.record import ShapeError, as_value, record_runs, record_segments
from lazynet.tensor import Sequence, Tensor

# -- sums in log space -----------------------------------------------------------------------------


def log_sum_rows(x, counts: list[int]) -> Sequence:
    """log of the sum of exp of the rows of each segment; `counts` says how many each has."""
    top = record_segments(ROW_MAX, x, counts=counts).detach()
    spread = sequence([top[k] for k, count in enumerate(counts) for _ in range(count)])
    return record_segments(ROW_SUM, (x - spread).exp(), counts=counts).log() + top


# -- trees -----------------------------------------------------------------------------------------


@told
@beside_operands
def inside(spans: Sequence, n: int) -> Tensor:
    """log of the sum over all binary trees over n words of exp(sum of the scores of their spans).

    Shapes: n (n + 1) / 2 rows of one number -> ().

    The inside algorithm (Baker, 1979) for span scores: c[i, j] = s[i, j] + log sum over k of
    exp(c[i, k] + c[k, j]), c[i, i + 1] = s[i, i + 1]. The gradient with respect to a span's score
    is the probability that a tree has that span.

        >>> round(ln.inside(ln.sequence(np.zeros((10, 1))), 4).exp().item(), 9)
        5.0

    Args:
        spans: n (n + 1) / 2 rows of one number: the scores of the spans (0, 1), (0, 2), ...,
            (0, n), (1, 2), ..., (n - 1, n), as `span_index` counts them.
        n: the number of words, at least one.

    Returns:
        a scalar.

    Raises:
        ShapeError: if there are not as many spans, or no words.
    """
    if n < 1 or len(spans) != n * (n + 1) // 2 or spans.type.size != 1:
        raise ShapeError(
            f"inside: {len(spans)} rows of {spans.type.shape} for {n} words; expected "
            f"{n * (n + 1) // 2} rows of one number, and a word at least"
        )
    spans = reshape(spans, (1,))
    chart = {(i, i + 1): spans[span_index(i, i + 1, n)] for i in range(n)}
    for width in range(2, n + 1):
        cells = [(i, i + width) for i in range(n - width + 1)]
        total = _log_join([[(chart[i, k], chart[k, j]) for k in range(i + 1, j)] for i, j in cells])
        scores = sequence([spans[span_index(i, j, n)] for i, j in cells]) + total
        chart.update(zip(cells, scores, strict=True))
    return reshape(chart[0, n], ())


def span_index(i: int, j: int, n: int) -> int:
    """The row of the span of the words i to j - 1, of n words, as `inside` wants them."""
    return i * n - i * (i - 1) // 2 + j - i - 1


def _log_join(cells) -> Sequence:
    """For each cell the log of the sum of exp(a + b) over its pairs (a, b) of Tensors."""
    left = sequence([a for pairs in cells for a, _ in pairs])
    right = sequence([b for pairs in cells for _, b in pairs])
    return log_sum_rows(left + right, [len(pairs) for pairs in cells])


@told
@beside_operands
def dependency_inside(arcs: Sequence, n: int) -> Tensor:
    """log of the sum over all projective dependency trees of exp(sum of the scores of their arcs).

    Shapes: n n rows of one number -> ().

    Eisner's algorithm (1996) over spans whose heads are at their ends: incomplete spans, which an
    arc closes, and complete ones. The gradient with respect to an arc's score is the probability
    that a tree has it. Any number of words may depend on the root.

        >>> round(ln.dependency_inside(ln.sequence(np.zeros((9, 1))), 3).exp().item(), 9)
        3.0

    Args:
        arcs: n n rows of one number; row h n + d is the score of the arc from head h to dependent
            d, as `pair_scores` gives them; 0 is the root.
        n: the number of words and the root.

    Returns:
        a scalar.

    Raises:
        ShapeError: if there are not as many arcs, or no root.
    """
    _check_arcs("dependency_inside", arcs, n)
    arcs = reshape(arcs, (1,))
    zero = zeros(1, dtype=arcs.type.dtype)
    right = {(i, i): zero for i in range(n)}  # complete, the head at the left end
    left = {(i, i): zero for i in range(n)}  # complete, the head at the right end
    open_right, open_left = {}, {}
    for width in range(1, n):
        cells = [(i, i + width) for i in range(n - width)]
        joined = _log_join([[(right[i, k], left[k + 1, j]) for k in range(i, j)] for i, j in cells])
        for chart, scores in (
            (open_right, [arcs[i * n + j] for i, j in cells]),
            (open_left, [arcs[j * n + i] for i, j in cells]),
        ):
            chart.update(zip(cells, sequence(scores) + joined, strict=True))
        to_right = _log_join(
            [[(open_right[i, k], right[k, j]) for k in range(i + 1, j + 1)] for i, j in cells]
        )
        to_left = _log_join(
            [[(left[i, k], open_left[k, j]) for k in range(i, j)] for i, j in cells]
        )
        right.update(zip(cells, to_right, strict=True))
        left.update(zip(cells, to_left, strict=True))
    return reshape(right[0, n - 1], ())


# -- trees whose arcs may cross --------------------------------------------------------------------


def _joined_shape(row, count):
    return (row_type(row.dtype, (count, *row.shape)),)


def _join_lower(s):
    row = s.operands[0]
    refs = (offsets(1), operand(s, 0))
    return forward_program(s, step("join_rows", refs, [output(s)], (row.size,), row.dtype))


def _join_backward(s):
    row = s.operands[0]
    refs, dx = (offsets(1), output(s, words.D_FORWARD)), operand(s, 0, words.D_ARGUMENT)
    return backward_program(s, step("spread_rows", refs, [dx], (row.size,), row.dtype, True))


JOIN = Op(
    "join_rows", "y = the rows of x as one", _joined_shape, _join_lower,
    lambda g, y, x, count: (sequence(g[0]),), kind=words.RUNS, backward=_join_backward,
    samples=(Sample(((2,),), (("count", 4),)),),
)  # fmt: skip


def joined_rows(x: Sequence) -> Tensor:
    """The rows of x as one Tensor: y[j] = x_j; n rows of (...) give (n, ...)."""
    return record_runs(JOIN, (x,), 1, (("count", x.length),))[0]


@told
@beside_operands
def matrix_tree(arcs: Sequence, n: int) -> Tensor:
    """log of the sum over all dependency trees, crossing or not, of exp(sum of their arcs' scores).

    Shapes: n n rows of one number -> ().

    The matrix-tree theorem (Tutte, 1984; Koo, Globerson, Carreras and Collins, 2007): the sum is
    the determinant of L with L[d, d] = sum_h exp(s[h, d]) and L[h, d] = -exp(s[h, d]), without the
    root. The gradient with respect to an arc's score is the probability that a tree has it. Any
    number of words may depend on the root. Sentences of one length batch.

        >>> round(ln.matrix_tree(ln.sequence(np.zeros((16, 1))), 4).exp().item(), 9)  # of 3 words
        16.0

    Args:
        arcs, n: as `dependency_inside` takes them.

    Returns:
        a scalar.

    Raises:
        ShapeError: if there are not as many arcs, or no root.
    """
    _check_arcs("matrix_tree", arcs, n)
    dtype = arcs.type.dtype
    if n == 1:
        return zeros(dtype=dtype)
    counted, one, words_only = _constants(n, dtype)
    rows = joined_rows(reshape(arcs, (1,)))
    scores = where(counted, reshape(rows, (n, n)), -math.inf)
    top = max_of(scores).detach()
    weights = (scores - top).exp()
    laplacian = one * sum_of(weights, 0) - weights
    inner = matmul(matmul(words_only, laplacian), words_only.T)
    return logdet(inner) + top * float(n - 1)


@functools.cache
def _constants(n: int, dtype: str):
    """Which arcs count, the unit matrix, and the matrix that leaves out the root."""
    counted = ~np.eye(n, dtype=bool)
    counted[:, 0] = False
    arrays = (counted, np.eye(n, dtype=dtype), np.eye(n, dtype=dtype)[1:])
    return tuple(as_value(array, "matrix_tree") for array in arrays)  # on any device


def _check_arcs(name: str, arcs: Sequence, n: int) -> None:
    if n < 1 or len(arcs) != n * n or arcs.type.size != 1:
        raise ShapeError(
            f"{name}: {len(arcs)} rows of {arcs.type.shape} for {n} words; expected "
            f"{n * n} rows of one number"
        )
