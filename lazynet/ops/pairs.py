"""Pairs: a row for every query and key of an example, and the products between them.

The pair of query i and key j of an example with m keys is row i m + j of n m rows of (heads,):
the score matrix of one example, as a Sequence. The three products are each other's derivatives.
"""

from __future__ import annotations

from lazynet.batching import layout as words
from lazynet.op import Op, Sample, row_type
from lazynet.ops.random import bits_of
from lazynet.ops.runs import (
    PAYLOAD,
    backward_program,
    forward_program,
    offsets,
    operand,
    output,
    rows_in,
    step,
)
from lazynet.ops.told import told
from lazynet.record import ShapeError, record_runs


def _check(name: str, condition: bool, *rows) -> None:
    if not condition or len({row.dtype for row in rows}) > 1 or not rows[0].is_float:
        raise ShapeError(f"{name}: rows {' and '.join(map(repr, rows))} do not match")


# -- scores ----------------------------------------------------------------------------------------


def _scores_shape(q, k):
    _check("pair_scores", len(q.shape) == 2 and q.shape == k.shape, q, k)
    return (row_type(q.dtype, q.shape[:1]),)


def _product(signature, kernel, places, inputs, target, accumulate=False):
    """One of the three products; `places` tell where queries, keys and pairs are."""
    vectors = next(row for row in (*signature.operands, signature.type) if len(row.shape) == 2)
    refs = (*(offsets(k) for k in places), *inputs)
    return step(kernel, refs, [target], vectors.shape, vectors.dtype, accumulate)


def _scores_lower(s):
    inputs = (operand(s, 0), operand(s, 1))
    return forward_program(s, _product(s, "pair_scores", (1, 2, 0), inputs, output(s)))


def _scores_backward(s):
    g, places = output(s, words.D_FORWARD), (1, 2, 0)
    dq, dk = operand(s, 0, words.D_ARGUMENT), operand(s, 1, words.D_ARGUMENT)
    return backward_program(
        s,
        _product(s, "pair_sum", places, (g, operand(s, 1)), dq, True),
        _product(s, "pair_sum_back", places, (g, operand(s, 0)), dk, True),
    )


PAIR_SCORES = Op(
    "pair_scores", "p_ij = q_i . k_j, head by head", _scores_shape, _scores_lower,
    lambda g, y, q, k: (pair_sum(g, k, rows_in(q)), pair_sum_back(g, q, rows_in(k))),
    kind=words.RUNS, backward=_scores_backward, samples=(Sample(((2, 3), (2, 3))),),
)  # fmt: skip


@told
def pair_scores(q, k):
    """p_ij = q_i . k_j for all pairs, head by head: n rows and m rows of (heads, d) give n m rows.

    Shapes: n rows and m rows of (heads, d) -> n m rows of (heads,).

    The result has rows of (heads,); row i m + j is the pair of query i and key j.

        >>> q, k = ln.sequence(np.ones((2, 1, 3))), ln.sequence(np.ones((4, 1, 3)))
        >>> ln.pair_scores(q, k).shape  # one head
        (8, 1)

    Raises:
        ShapeError: if rows of queries and keys differ.
    """
    return record_runs(PAIR_SCORES, (q, k), rows_in(q) * rows_in(k))


# -- sums ------------------------------------------------------------------------------------------


def _sum_shape(p, x):
    _check("pair_sum", len(x.shape) == 2 and p.shape == x.shape[:1], p, x)
    return (x.stored,)


def _sum_lower(s):
    inputs = (operand(s, 0), operand(s, 1))
    return forward_program(s, _product(s, "pair_sum", (0, 2, 1), inputs, output(s)))


def _sum_backward(s):
    g, places = output(s, words.D_FORWARD), (0, 2, 1)
    dp, dv = operand(s, 0, words.D_ARGUMENT), operand(s, 1, words.D_ARGUMENT)
    return backward_program(
        s,
        _product(s, "pair_scores", places, (g, operand(s, 1)), dp, True),
        _product(s, "pair_sum_back", places, (operand(s, 0), g), dv, True),
    )


PAIR_SUM = Op(
    "pair_sum", "y_i = sum_j p_ij v_j", _sum_shape, _sum_lower,
    lambda g, y, p, v: (pair_scores(g, v), pair_sum_back(p, g, rows_in(v))),
    kind=words.RUNS, backward=_sum_backward, samples=(Sample(((2,), (2, 3))),),
)  # fmt: skip


@told
def pair_sum(p, v, queries: int):
    """y_i = sum_j p_ij v_j: n m rows of (heads,) and m rows of (heads, d) give n rows.

    Shapes: n m rows of (heads,) and m rows of (heads, d) -> n rows of (heads, d).

    >>> p, v = ln.sequence(np.ones((8, 1))), ln.sequence(np.ones((4, 1, 3)))
    >>> ln.pair_sum(p, v, queries=2).shape
    (2, 1, 3)

    Raises:
        ShapeError: if heads differ, or there are not as many pairs as queries times values.
    """
    _check_pairs("pair_sum", p, queries, rows_in(v))
    return record_runs(PAIR_SUM, (p, v), queries)


def _back_lower(s):
    inputs = (operand(s, 0), operand(s, 1))
    return forward_program(s, _product(s, "pair_sum_back", (2, 0, 1), inputs, output(s)))


def _back_backward(s):
    g, places = output(s, words.D_FORWARD), (2, 0, 1)
    dp, dx = operand(s, 0, words.D_ARGUMENT), operand(s, 1, words.D_ARGUMENT)
    return backward_program(
        s,
        _product(s, "pair_scores", places, (operand(s, 1), g), dp, True),
        _product(s, "pair_sum", places, (operand(s, 0), g), dx, True),
    )


PAIR_SUM_BACK = Op(
    "pair_sum_back", "y_j = sum_i p_ij x_i", _sum_shape, _back_lower,
    lambda g, y, p, x: (pair_scores(x, g), pair_sum(p, g, rows_in(x))),
    kind=words.RUNS, backward=_back_backward, samples=(Sample(((2,), (2, 3))),),
)  # fmt: skip


def pair_sum_back(p, x, keys: int):
    """y_j = sum_i p_ij x_i: n m rows of (heads,) and n rows of (heads, d) give m rows."""
    _check_pairs("pair_sum_back", p, rows_in(x), keys)
    return record_runs(PAIR_SUM_BACK, (p, x), keys)


def _check_pairs(name: str, p, queries: int, keys: int) -> None:
    if rows_in(p) != queries * keys:
        raise ShapeError(
            f"{name}: {rows_in(p)} pairs for {queries} queries and {keys} keys; expected "
            f"{queries * keys}"
        )


def _check_keys(name: str, p, keys: int) -> None:
    if keys < 0 or (rows_in(p) % keys if keys else rows_in(p)):
        raise ShapeError(f"{name}: {rows_in(p)} pairs are not those of queries with {keys} keys")


# -- softmax over the keys of each query -----------------------------------------------------------


def _pairs_shape(row):
    _check("pair_softmax", len(row.shape) == 1, row)
    return (row.stored,)


def _over_keys(kernel: str):
    def lower(s):
        refs = (offsets(0), PAYLOAD, operand(s, 0))
        return forward_program(s, step(kernel, refs, [output(s)], s.type.shape, s.type.dtype))

    return lower


def _softmax_backward(s):
    refs = (offsets(0), PAYLOAD, output(s, words.FORWARD_REGION), output(s, words.D_FORWARD))
    dx = operand(s, 0, words.D_ARGUMENT)
    kernel = "pair_softmax_backward"
    return backward_program(s, step(kernel, refs, [dx], s.type.shape, s.type.dtype, True))


PAIR_SOFTMAX = Op(
    "pair_softmax", "y_ij = exp(x_ij) / sum_j exp(x_ij) over j <= i + reach", _pairs_shape,
    _over_keys("pair_softmax"),
    lambda g, y, x, payload: (y * (g - pair_total(g * y, payload[0])),),
    kind=words.RUNS, payload=2, backward=_softmax_backward,
    samples=(Sample(((2,),), payload=(3, 3)), Sample(((2,),), payload=(3, 0))),
)  # fmt: skip


@told
def pair_softmax(x, keys: int, reach: int | None = None):
    """y_ij = exp(x_ij) / sum_j exp(x_ij), over the keys of each query; 0 where j > i + reach.

    Shapes: n m rows of (heads,) -> the same.

        >>> ln.pair_softmax(ln.sequence(np.zeros((4, 1))), keys=2, reach=0).numpy()[:, 0].tolist()
        [1.0, 0.0, 0.5, 0.5]

    Args:
        x: the pairs of n queries with `keys` keys, n m rows of (heads,).
        reach: how far beyond its own number a query sees; by default it sees all keys.

    Raises:
        ShapeError: if the rows are not those of a number of queries.
        ValueError: for a reach below 0.
    """
    _check_keys("pair_softmax", x, keys)
    reach = keys if reach is None else reach
    if reach < 0:
        raise ValueError(f"pair_softmax: a query sees its own key at least, not up to {reach}")
    return record_runs(PAIR_SOFTMAX, (x,), rows_in(x), payload=(keys, reach))


def _drop_lower(s):
    refs = (offsets(0), PAYLOAD, operand(s, 0))
    attributes = (*s.type.shape, bits_of(dict(s.attributes)["p"]))
    return forward_program(s, step("pair_drop", refs, [output(s)], attributes, s.type.dtype))


def _drop_backward(s):
    refs, dx = (offsets(0), PAYLOAD, output(s, words.D_FORWARD)), operand(s, 0, words.D_ARGUMENT)
    attributes = (*s.type.shape, bits_of(dict(s.attributes)["p"]))
    return backward_program(s, step("pair_drop", refs, [dx], attributes, s.type.dtype, True))


PAIR_DROP = Op(
    "pair_drop", "y = x / (1 - p), or 0 with probability p", lambda row, p: _pairs_shape(row),
    _drop_lower, lambda g, y, x, p, payload: (pair_drop(g, p, payload),),
    kind=words.RUNS, payload=2, backward=_drop_backward,
    samples=(Sample(((2,),), (("p", 0.4),), payload=(1, 2)),),
)  # fmt: skip


def pair_drop(x, p: float, key):
    """x / (1 - p), or 0 with probability p, as the (stream, counter) pair `key` decides."""
    return record_runs(PAIR_DROP, (x,), rows_in(x), (("p", float(p)),), tuple(key))


def _total_backward(s):
    refs, dx = (offsets(0), PAYLOAD, output(s, words.D_FORWARD)), operand(s, 0, words.D_ARGUMENT)
    return backward_program(s, step("pair_total", refs, [dx], s.type.shape, s.type.dtype, True))


PAIR_TOTAL = Op(
    "pair_total", "y_ij = sum over the keys j of x_ij", _pairs_shape, _over_keys("pair_total"),
    lambda g, y, x, payload: (pair_total(g, payload[0]),),
    kind=words.RUNS, payload=1, backward=_total_backward, samples=(Sample(((2,),), payload=(3,)),),
)  # fmt: skip


def pair_total(x, keys: int):
    """For every pair the sum over the keys of its query."""
    _check_keys("pair_total", x, keys)
    return record_runs(PAIR_TOTAL, (x,), rows_in(x), payload=(keys,))
