"""Structured prediction along a chain: scans in log space, and best paths, one node an example."""

from __future__ import annotations

from lazynet.batching import layout as words
from lazynet.op import Op, Sample, row_type
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import cat
from lazynet.ops.runs import (
    Rooms,
    backward_program,
    forward_program,
    offsets,
    operand,
    output,
    pieces_of,
    rows_in,
    step,
)
from lazynet.ops.shape import transposed
from lazynet.ops.told import told
from lazynet.record import ShapeError, as_value, record_runs
from lazynet.tensor import Sequence


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
    rooms, (width,) = Rooms(1), s.type.shape
    room = rooms.each(words.SEGMENTS, width, s.type.dtype)
    inputs = (offsets(0), *(operand(s, k) for k in range(3)), room)
    made = step("log_scan", inputs, [output(s)], s.type.shape, s.type.dtype)
    return forward_program(s, made, rooms=rooms)


def _log_scan_backward(s):
    rooms, (width,) = Rooms(), s.type.shape
    room = rooms.each(words.SEGMENTS, 2 * width, s.type.dtype)
    inputs = (offsets(0), operand(s, 0), operand(s, 1), output(s, words.FORWARD_REGION),
              output(s, words.D_FORWARD), room)  # fmt: skip
    outputs = [operand(s, k, words.D_ARGUMENT) for k in range(3)]
    made = step("log_scan_backward", inputs, outputs, s.type.shape, s.type.dtype, True)
    return backward_program(s, made, rooms=rooms)


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
    return linear_scan(g[::-1], transposed(matrices)[::-1])[::-1]


LOG_SCAN = Op(
    "log_scan", "y_t[j] = x_t[j] + log sum_i exp(y_{t-1}[i] + w[i, j])", _scan_shape("log_scan"),
    _log_scan_lower, _log_scan_vjp, kind=words.RUNS, backward=_log_scan_backward,
    samples=(Sample(((3,), (3, 3), (3,))),),
)  # fmt: skip


@told
def log_scan(x, transitions, initial):
    """y_0 = x_0 + initial, y_t[j] = x_t[j] + log sum_i exp(y_{t-1}[i] + transitions[i, j]).

    Shapes: n rows of (states,), transitions (states, states) -> n rows of (states,).

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
    rooms, (width,) = Rooms(), s.type.shape
    room = rooms.each(words.SEGMENTS, 2 * width, s.type.dtype)
    inputs = (offsets(0), offsets(2), operand(s, 1), output(s, words.FORWARD_REGION),
              output(s, words.D_FORWARD), room)  # fmt: skip
    outputs = [operand(s, k, words.D_ARGUMENT) for k in range(2)]
    made = step("linear_scan_backward", inputs, outputs, s.type.shape, s.type.dtype, True)
    return backward_program(s, made, rooms=rooms)


def _linear_scan_vjp(g, y, x, matrices):
    matrices = cat(matrices, 0) if isinstance(matrices, list) else matrices
    b, width = _backwards(g, matrices), y.type.size
    return b, reshape(y[:-1], (width, 1)) * reshape(b[1:], (1, width))


LINEAR_SCAN = Op(
    "linear_scan", "y_t[j] = x_t[j] + sum_i y_{t-1}[i] w_t[i, j]", _scan_shape("linear_scan"),
    _linear_scan_lower, _linear_scan_vjp, kind=words.RUNS, backward=_linear_scan_backward,
    samples=(Sample(((3,), (3, 3))),),
)  # fmt: skip


@told
def linear_scan(x, matrices):
    """y_0 = x_0, y_t[j] = x_t[j] + sum_i y_{t-1}[i] w_t[i, j]: a recurrence that is linear.

    Shapes: n rows of (width,), n - 1 rows of (width, width) -> n rows of (width,).

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
    x, rooms = s.operands[0], Rooms(1)
    room = rooms.each(words.SEGMENTS, 2 * x.size, x.dtype)
    back = rooms.each(words.ITEMS, x.size, "int64")
    inputs = (offsets(0), *(operand(s, k) for k in range(4)), room, back)
    made = step("viterbi", inputs, [output(s)], x.shape, x.dtype)
    return forward_program(s, made, rooms=rooms)


VITERBI = Op(
    "viterbi", "y = the path with the largest sum", _viterbi_shape, _viterbi_lower, None,
    kind=words.RUNS, samples=(Sample(((3,), (3, 3), (3,), (3,))),),
)  # fmt: skip


@told
def viterbi(x, transitions, initial, final):
    """The path y with the largest sum of x_t[y_t], transitions[y_{t-1}, y_t], and at the ends.

    Shapes: n rows of (states,), transitions (states, states) -> n rows (), of integers.

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
