"""Structured prediction: scans in log space, best paths, and sums over all trees.

A linear chain is a scan of one node an example (`log_scan`). Trees are written as the textbook has
them, in ops over rows, all spans of one width at a time: O(n) nodes for n words, which batch across
examples, and derivatives of any order without another formula.
"""

from __future__ import annotations

from lazynet.batching import layout as words
from lazynet.op import Op, Sample, row_type
from lazynet.ops.reduce import reshape, transpose
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.rows import ROW_MAX, ROW_SUM, cat, sequence
from lazynet.ops.runs import (
    backward_program,
    forward_program,
    offsets,
    operand,
    output,
    pieces_of,
    rows_in,
    step,
)
from lazynet.ops.views import zeros
from lazynet.record import ShapeError, as_value, record_runs, record_segments
from lazynet.tensor import Sequence, Tensor

G = words.D_ARGUMENT


def _check(name: str, x, *others) -> None:
    """Rows of (width,), a matrix of (width, width) and vectors, all of one float dtype."""
    width = x.size
    if len(x.shape) != 1 or not x.is_float:
        raise ShapeError(f"{name}: expected float rows of (width,), not {x!r}")
    for row, shape in zip(others, ((width, width), (width,), (width,)), strict=False):
        if row.shape != shape or row.dtype != x.dtype:
            raise ShapeError(f"{name}: {row!r} does not match rows {x!r}; expected {shape}")


# -- scans -----------------------------------------------------------------------------------------


def _scan_shape(name: str):
    def shape(x, *others):
        _check(name, x, *others)
        return (x.stored,)

    return shape


def _log_scan_lower(s):
    inputs = (offsets(0), *(operand(s, k) for k in range(3)))
    return forward_program(s, step("log_scan", inputs, [output(s)], s.type.shape, s.type.dtype))


def _log_scan_backward(s):
    inputs = (offsets(0), operand(s, 0), operand(s, 1), output(s, words.FORWARD_REGION),
              output(s, words.D_FORWARD))  # fmt: skip
    outputs = [operand(s, k, G) for k in range(3)]
    made = step("log_scan_backward", inputs, outputs, s.type.shape, s.type.dtype, True)
    return backward_program(s, made)


def _log_scan_vjp(g, y, x, w, a):
    x = cat(x, 0) if isinstance(x, list) else x
    width = y.type.size
    before, after = reshape(y[:-1], (width, 1)), reshape(x[1:] - y[1:], (1, width))
    shares = (before + w[0] + after).exp()
    b = _backwards(g, shares)
    dw = sum_of(shares * reshape(b[1:], (1, width)), 0)
    return b, dw, b[:1]


def _backwards(g, matrices):
    """b_t = g_t + w_{t+1} b_{t+1}, from the last row to the first."""
    return linear_scan(g[::-1], transpose(matrices)[::-1])[::-1]


LOG_SCAN = Op(
    "log_scan", "y_t[j] = x_t[j] + log sum_i exp(y_{t-1}[i] + w[i, j])", _scan_shape("log_scan"),
    _log_scan_lower, _log_scan_vjp, kind=words.RUNS, backward=_log_scan_backward,
    samples=(Sample(((3,), (3, 3), (3,))),),
)  # fmt: skip


def log_scan(x, transitions, initial):
    """y_0 = x_0 + initial, y_t[j] = x_t[j] + log sum_i exp(y_{t-1}[i] + transitions[i, j]).

    The forward algorithm (Rabiner, 1989) in log space: log sums over all paths that end in j. Its
    derivatives are expected counts. One node an example; examples of all lengths batch.

        >>> x = ln.sequence(np.zeros((3, 2), np.float32))
        >>> ln.log_scan(x, ln.zeros(2, 2), ln.zeros(2))[2].exp().tolist()  # 4 paths end in each
        [4.0, 4.0]

    Args:
        x: n rows of (width,).
        transitions: (width, width), from i to j.
        initial: (width,).

    Returns:
        n rows of (width,).

    Raises:
        ShapeError: if the sizes do not match.
    """
    runs = _runs("log_scan", x, transitions, initial)
    return record_runs(LOG_SCAN, runs, rows_in(runs[0]))


def _runs(name: str, x, *single) -> list:
    """The rows and, as runs of one row, what goes with them."""
    if not isinstance(x, Sequence):
        raise ShapeError(f"{name}: expected a Sequence of rows, not {type(x).__name__}")
    return [[x], *(pieces_of(as_value(v, name), name, "parts") for v in single)]


def _linear_scan_lower(s):
    inputs = (offsets(0), offsets(2), operand(s, 0), operand(s, 1))
    return forward_program(s, step("linear_scan", inputs, [output(s)], s.type.shape, s.type.dtype))


def _linear_scan_backward(s):
    inputs = (offsets(0), offsets(2), operand(s, 1), output(s, words.FORWARD_REGION),
              output(s, words.D_FORWARD))  # fmt: skip
    outputs = [operand(s, k, G) for k in range(2)]
    made = step("linear_scan_backward", inputs, outputs, s.type.shape, s.type.dtype, True)
    return backward_program(s, made)


def _linear_scan_vjp(g, y, x, matrices):
    matrices = cat(matrices, 0) if isinstance(matrices, list) else matrices
    b, width = _backwards(g, matrices), y.type.size
    return b, reshape(y[:-1], (width, 1)) * reshape(b[1:], (1, width))


LINEAR_SCAN = Op(
    "linear_scan", "y_t[j] = x_t[j] + sum_i y_{t-1}[i] w_t[i, j]", _scan_shape("linear_scan"),
    _linear_scan_lower, _linear_scan_vjp, kind=words.RUNS, backward=_linear_scan_backward,
    samples=(Sample(((3,), (3, 3))),),
)  # fmt: skip


def linear_scan(x, matrices):
    """y_0 = x_0, y_t[j] = x_t[j] + sum_i y_{t-1}[i] w_t[i, j]: a recurrence that is linear.

        >>> x, w = ln.sequence(np.ones((3, 1))), ln.sequence(np.full((2, 1, 1), 2.0))
        >>> ln.linear_scan(x, w).numpy()[:, 0].tolist()
        [1.0, 3.0, 7.0]

    Args:
        x: n rows of (width,).
        matrices: n - 1 rows of (width, width): w_1 to w_{n-1}.

    Returns:
        n rows of (width,).

    Raises:
        ShapeError: if the sizes do not match.
    """
    if rows_in(matrices) != max(rows_in(x) - 1, 0):
        raise ShapeError(
            f"linear_scan: {rows_in(matrices)} matrices for {rows_in(x)} rows; expected one less"
        )
    return record_runs(LINEAR_SCAN, (x, matrices), rows_in(x))


# -- best paths ------------------------------------------------------------------------------------


def _viterbi_shape(x, *others):
    _check("viterbi", x, *others)
    return (row_type("int64"),)


def _viterbi_lower(s):
    x = s.operands[0]
    inputs = (offsets(0), *(operand(s, k) for k in range(4)))
    return forward_program(s, step("viterbi", inputs, [output(s)], x.shape, x.dtype))


VITERBI = Op(
    "viterbi", "y = the path with the largest sum", _viterbi_shape, _viterbi_lower, None,
    kind=words.RUNS, samples=(Sample(((3,), (3, 3), (3,), (3,))),),
)  # fmt: skip


def viterbi(x, transitions, initial, final):
    """The path y with the largest sum of x_t[y_t], transitions[y_{t-1}, y_t], and at the ends.

    argmax over y of initial[y_0] + sum_t (x_t[y_t] + transitions[y_{t-1}, y_t]) + final[y_{n-1}].
    The Viterbi algorithm (1967); of equally good predecessors the first is taken.

        >>> x = ln.sequence(np.eye(2, dtype=np.float32))
        >>> ln.viterbi(x, ln.zeros(2, 2), ln.zeros(2), ln.zeros(2)).tolist()
        [0, 1]

    Args:
        x: n rows of (width,).
        transitions: (width, width), from i to j.
        initial, final: (width,), for the first and the last row.

    Returns:
        n integers: a Sequence of int64.

    Raises:
        ShapeError: if the sizes do not match.
    """
    runs = _runs("viterbi", x, transitions, initial, final)
    return record_runs(VITERBI, runs, rows_in(runs[0]))


# -- sums in log space -----------------------------------------------------------------------------


def log_sum_rows(x, counts: list[int]) -> Sequence:
    """log of the sum of exp of the rows of each segment; `counts` says how many each has."""
    top = record_segments(ROW_MAX, x, counts=counts).detach()
    spread = sequence([top[k] for k, count in enumerate(counts) for _ in range(count)])
    return record_segments(ROW_SUM, (x - spread).exp(), counts=counts).log() + top


# -- trees -----------------------------------------------------------------------------------------


def inside(spans: Sequence, n: int) -> Tensor:
    """log of the sum over all binary trees over n words of exp(sum of the scores of their spans).

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


def dependency_inside(arcs: Sequence, n: int) -> Tensor:
    """log of the sum over all projective dependency trees of exp(sum of the scores of their arcs).

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
    if n < 1 or len(arcs) != n * n or arcs.type.size != 1:
        raise ShapeError(
            f"dependency_inside: {len(arcs)} rows of {arcs.type.shape} for {n} words; expected "
            f"{n * n} rows of one number"
        )
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


__all__ = [
    "dependency_inside",
    "inside",
    "linear_scan",
    "log_scan",
    "log_sum_rows",
    "span_index",
    "viterbi",
]
