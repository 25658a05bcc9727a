"""Attention over ragged Sequences: one node an example, of any number of queries and keys."""

from __future__ import annotations

import math
from typing import Any

from lazynet.batching import layout as words
from lazynet.device import beside_operands
from lazynet.op import Op, Sample, row_type
from lazynet.ops.elementwise import where
from lazynet.ops.pairs import (
    pair_drop,
    pair_scores,
    pair_softmax,
    pair_sum,
    pair_sum_back,
    pair_total,
)
from lazynet.ops.random import bits_of, stream
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import sequence
from lazynet.ops.runs import (
    PAYLOAD,
    backward_program,
    forward_program,
    offsets,
    operand,
    output,
    pieces_of,
    rows_in,
    step,
)
from lazynet.ops.told import told
from lazynet.quick import pieces
from lazynet.record import DtypeError, ShapeError, record_runs
from lazynet.tensor import Sequence, Tensor, tensor

NAME = "scaled_dot_product_attention"


def _shape(q, k, v, scale, p):
    return (row_type(q.dtype, (q.shape[0], v.shape[1])),)


def _attributes(signature) -> tuple[int, ...]:
    (heads, d), (_, e) = signature.operands[0].shape, signature.operands[2].shape
    return (heads, d, e, *(bits_of(value) for _, value in signature.attributes))


def _inputs(signature):
    return (offsets(1), offsets(2), PAYLOAD, *(operand(signature, k) for k in range(3)))


def _lower(s):
    made = step("attention", _inputs(s), [output(s)], _attributes(s), s.type.dtype)
    return forward_program(s, made)


def _backward(s):
    inputs = (*_inputs(s), output(s, words.D_FORWARD))
    outputs = [operand(s, k, words.D_ARGUMENT) for k in range(3)]
    kernel = "attention_backward"
    return backward_program(s, step(kernel, inputs, outputs, _attributes(s), s.type.dtype, True))


def _vjp(g, y, q, k, v, scale, p, payload):
    (reach, *key), n, m = payload, rows_in(q), rows_in(k)
    weights = pair_softmax(pair_scores(q, k) * scale, m, reach)
    slope = pair_drop(pair_scores(g, v), p, key)
    d_scores = weights * (slope - pair_total(weights * slope, m)) * scale
    d_values = pair_sum_back(pair_drop(weights, p, key), g, m)
    return pair_sum(d_scores, k, n), pair_sum_back(d_scores, q, m), d_values


ATTENTION = Op(
    "attention", "y_i = sum_j softmax_j(scale q_i . k_j) v_j over j <= i + reach", _shape, _lower,
    _vjp, kind=words.RUNS, payload=3, backward=_backward,
    samples=(Sample(((2, 4), (2, 4), (2, 3)), (("scale", 0.5), ("p", 0.0)), payload=(9, 0, 0)),
             Sample(((1, 4), (1, 4), (1, 3)), (("scale", 0.7), ("p", 0.0)), payload=(0, 0, 0)),
             Sample(((2, 2), (2, 2), (2, 3)), (("scale", 0.7), ("p", 0.3)), payload=(9, 5, 6))),
)  # fmt: skip


@told
def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, *, heads: int = 1, offset: int = 0,
):  # fmt: skip
    """y_i = sum_j softmax_j(scale q_i . k_j) v_j (Vaswani et al., 2017).

    Shapes: n rows of (d,), m rows of (d,) and of (v,) -> n rows of (v,).

    Queries, keys and values are those of ONE example, of any number: there is no padding, and a
    batch of examples is one call. Without a mask the weights are never stored.

        >>> q, k = ln.sequence(np.eye(2, 4)), ln.sequence(np.eye(3, 4))
        >>> nn.functional.scaled_dot_product_attention(q, k, k).shape
        (2, 4)

    Args:
        query: n rows of (heads d,) or of (heads, d); a Tensor is one query.
        key: m rows like those of the queries; a list of Sequences and Tensors stands for their rows
            one after the other, which are not copied (decoding: `nn.KeyValueCache`).
        value: m rows of (heads e,) or of (heads, e).
        attn_mask: an array or Tensor of (n, m), or a Sequence of n m rows of (1,) or (heads,), one
            for each pair: booleans that say which pairs count, or numbers that are added to the
            scores. A query that sees nothing gives NaN.
        dropout_p: the probability with which a weight is 0.
        is_causal: query i sees the keys up to i + offset only.
        scale: 1 / sqrt(d) by default.
        heads: into how many parts vector rows are cut.
        offset: of causal attention: how many keys come before that of the first query.

    Returns:
        n rows of (heads e,) or of (heads, e); a Tensor for a Tensor.

    Raises:
        ShapeError: if sizes do not match, or there is nothing to attend to.
        DtypeError: if dtypes differ or are no floats.
    """
    kind, drawn = None, drop_key(dropout_p)
    key, value = _alone(key), _alone(value)
    if attn_mask is None and offset >= 0 and _of_one_piece(query, key, value):
        kind = query.type, key.type, value.type, scale, heads, dropout_p
        payload = (offset if is_causal else key.length, *drawn)
        y = pieces.record(*_known[kind], payload, query, key, value) if kind in _known else None
        if y is not None:
            return y
    q, k, v = _operands(query, key, value, heads)
    scale = 1.0 / math.sqrt(q[0].type.shape[1]) if scale is None else float(scale)
    reach = _reach(rows_in(k), is_causal, offset)
    if attn_mask is None:
        attributes = (("scale", scale), ("p", float(dropout_p)))
        y = record_runs(ATTENTION, (q, k, v), rows_in(q), attributes, (reach, *drawn))
    else:
        weights = pair_drop(_weights(q, k, scale, reach, attn_mask), dropout_p, drawn)
        y = pair_sum(weights, v, rows_in(q))
    if len(_row_shape(value)) == 1:
        y = reshape(y, (y.type.size,))
    if kind is not None:
        rows = tuple(run[0].type for run in (q, k, v))
        _known[kind] = ATTENTION.signature(rows, attributes), y.type
    return y[0] if isinstance(query, Tensor) else y


# Signature and type of the output of what was recorded, by the types of rows and numbers.
_known: dict[tuple, tuple] = {}


def _alone(x):
    """A list of one Sequence as that Sequence."""
    one = x.__class__ is list and len(x) == 1 and x[0].__class__ is Sequence
    return x[0] if one else x


def _of_one_piece(query, key, value) -> bool:
    """Whether operands are such that only their types can be at fault."""
    one = isinstance(query, (Tensor, Sequence)) and key.__class__ is value.__class__ is Sequence
    return one and key.length == value.length > 0


def pair_weights(
    query, key, attn_mask=None, is_causal: bool = False, scale: float | None = None, *,
    heads: int = 1, offset: int = 0,
):  # fmt: skip
    """The weights p_ij = softmax_j(scale q_i . k_j) of attention, as values.

    Arguments as those of `scaled_dot_product_attention`.

        >>> q, k = ln.sequence(np.eye(2, 4)), ln.sequence(np.eye(3, 4))
        >>> pair_weights(q, k)[:3].numpy().shape  # of the first query, for three keys and one head
        (3, 1)

    Returns:
        n m rows of (heads,); row i m + j is the weight of key j for query i.
    """
    q, k, _ = _operands(query, key, key, heads)
    scale = 1.0 / math.sqrt(q[0].type.shape[1]) if scale is None else float(scale)
    return _weights(q, k, scale, _reach(rows_in(k), is_causal, offset), attn_mask)


_NO_KEY = (0, 0)


def drop_key(p: float) -> tuple[int, int]:
    """The (stream, counter) pair that decides which weights of one example are dropped."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{NAME}: the probability must be in [0, 1], not {p}")
    return tuple(stream().keys(1)[0].tolist()) if p else _NO_KEY


def _weights(q, k, scale: float, reach: int, mask):
    scores = pair_scores(q, k) * scale
    if mask is not None:
        scores = _masked(scores, mask, (rows_in(q), rows_in(k)))
    return pair_softmax(scores, rows_in(k), reach)


@beside_operands
def _masked(scores, mask, shape: tuple[int, int]):
    pairs = mask
    if not isinstance(mask, Sequence):
        mask = mask if isinstance(mask, Tensor) else tensor(mask)
        if mask.shape != shape:
            raise ShapeError(
                f"{NAME}: a mask of {mask.shape} does not match {shape[0]} queries and {shape[1]} "
                "keys"
            )
        pairs = sequence(reshape(mask, (math.prod(shape), 1)))
    elif mask.length != math.prod(shape):
        raise ShapeError(f"{NAME}: a mask of {mask.length} rows for {math.prod(shape)} pairs")
    if pairs.type.dtype == "bool":
        return where(pairs, scores, -math.inf)
    return scores + pairs.astype(scores.type.dtype)


def _reach(keys: int, causal: bool, offset: int) -> int:
    if offset < 0:
        raise ValueError(f"{NAME}: the offset is a number of earlier keys, not {offset}")
    return offset if causal else keys


def _row_shape(x) -> tuple[int, ...]:
    return (x[0] if isinstance(x, (list, tuple)) else x).type.shape


def _operands(query, key, value, heads: int) -> list[list[Any]]:
    """Queries, keys and values as runs of rows of (heads, width)."""
    runs = []
    for x, what in ((query, "queries"), (key, "keys"), (value, "values")):
        if what != "queries" and isinstance(x, Tensor):
            raise ShapeError(f"{NAME}: keys and values must be Sequences, or lists of rows")
        pieces = pieces_of(x, NAME, what)
        shape = pieces[0].type.shape
        if len(shape) == 1 and shape[0] % heads == 0:
            shape = (heads, shape[0] // heads)
        elif len(shape) != 2 or heads not in (1, shape[0]):
            raise ShapeError(f"{NAME}: {what} with rows of {shape} do not have {heads} heads")
        runs.append([reshape(p, shape) for p in pieces])
    _check(query, *runs)
    return runs


def _check(query, q, k, v) -> None:
    rows = [run[0].type for run in (q, k, v)]
    if rows[0].shape != rows[1].shape or rows[2].shape[0] != rows[1].shape[0]:
        what = "a query" if isinstance(query, Tensor) else "queries with rows"
        raise ShapeError(
            f"{NAME}: {what} of {_flat(rows[0])} does not match keys with rows of "
            f"{_flat(rows[1])} and values with rows of {_flat(rows[2])}"
        )
    if len({row.dtype for row in rows}) > 1 or not rows[0].is_float:
        raise DtypeError(
            f"{NAME}: operands must be of one float dtype, not "
            f"{' and '.join(row.dtype for row in rows)}; convert with .astype"
        )
    if rows_in(k) != rows_in(v) or (rows_in(q) and not rows_in(k)):
        raise ShapeError(
            f"{NAME}: {rows_in(k)} keys for {rows_in(v)} values; expected as many, and at least one"
        )


def _flat(row) -> tuple[int, ...]:
    return row.shape[1:] if row.shape[0] == 1 else row.shape
