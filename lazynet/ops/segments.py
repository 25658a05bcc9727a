"""Ops along the rows: sums, maxima and softmax over the rows of each example, or of each segment.

These are the ops that care where one example ends: they get the offsets of segments.
"""

from __future__ import annotations

import numpy as np

from lazynet.batching import layout as words
from lazynet.op import Op, Sample, row_type
from lazynet.ops import reduce
from lazynet.ops.rows import sequence
from lazynet.ops.told import told
from lazynet.ops.views import as_stored, indices
from lazynet.program import Ref, call, lowered, operand_refs, output_refs
from lazynet.record import ShapeError, as_value, record_segments
from lazynet.tensor import Sequence, Tensor


def _segment_lower(kernel: str, per_item: bool):
    def lower(signature):
        row, attributes = signature.operands[0], [int(value) for _, value in signature.attributes]
        offsets = Ref(words.OFFSETS, 0, "int64", 1)
        y = output_refs(signature)[0]
        step = call(
            kernel, (offsets, *operand_refs(signature)), y, (row.size, *attributes), row.dtype,
            domain=words.SEGMENTS,
        )  # fmt: skip
        return lowered(signature, [step], words.ITEMS if per_item else words.SEGMENTS)

    return lower


ROW_SUM = Op(
    "row_sum", "y = sum of the rows", lambda row: (row.stored,),
    _segment_lower("segment_sum", False), lambda g, y, x: (g,), kind=words.SEGMENT,
    samples=(Sample(((4,),)), Sample(((),)), Sample(((2, 3),))),
)  # fmt: skip
ROW_MAX = Op(
    "row_max", "y = elementwise maximum of the rows; ties share the gradient",
    lambda row: (row.stored,), _segment_lower("segment_max", False),
    lambda g, y, x: (_row_max_cotangent(g, y, x),), kind=words.SEGMENT,
    samples=(Sample(((4,),)), Sample(((),))),
)  # fmt: skip


def _float_rows(name: str):
    def shape(row):
        if not row.is_float:
            raise TypeError(f"{name}: expected float rows, not {row.dtype}")
        return (row.stored,)

    return shape


def _row_share_shape(row):
    _float_rows("mean")(row)
    return (row_type(row.dtype),)


ROW_SHARE = Op(
    "row_share", "y = 1 / number of rows", _row_share_shape, _segment_lower("segment_share", False),
    kind=words.SEGMENT, samples=(Sample(((4,),)), Sample(((),))),
)  # fmt: skip
ROW_SOFTMAX = Op(
    "row_softmax", "y = exp(x) / sum of exp(x) over the rows", _float_rows("softmax"),
    _segment_lower("segment_softmax", True),
    lambda g, y, x: (y * (g - record_segments(ROW_SUM, g * y)),), kind=words.SEGMENT, per_item=True,
    samples=(Sample(((4,),)), Sample(((),))),
)  # fmt: skip
ROW_LOG_SOFTMAX = Op(
    "row_log_softmax", "y = x - log(sum of exp(x) over the rows)", _float_rows("log_softmax"),
    _segment_lower("segment_log_softmax", True),
    lambda g, y, x: (g - y.exp() * record_segments(ROW_SUM, g),), kind=words.SEGMENT,
    per_item=True, samples=(Sample(((4,),)), Sample(((),))),
)  # fmt: skip


ROW_CUMSUM = Op(
    "row_cumsum", "y = sum of the rows up to its own, or from it on",
    lambda row, back: (row.stored,),
    _segment_lower("segment_cumsum", True),
    lambda g, y, x, back: (record_segments(ROW_CUMSUM, g, (("back", not back),)),),
    kind=words.SEGMENT, per_item=True,
    samples=(Sample(((4,),), (("back", False),)), Sample(((),), (("back", True),))),
)  # fmt: skip


def _row_max_cotangent(g, y, x):
    chosen = (x == y).astype(x.type.dtype)
    return chosen * (g / record_segments(ROW_SUM, chosen))


def _sum_rows(x):
    if isinstance(x, (list, tuple)):
        return _sum_list(list(x))
    return record_segments(ROW_SUM, x)


def _share_of_rows(x):
    """1 / the number of rows, as a value, where they are what a traced list of any length holds."""
    graph = x.graph if isinstance(x, Sequence) else getattr(x[0], "graph", None)
    counted = getattr(graph, "counted", None)
    if counted is None or not counted(x):
        return None
    return record_segments(ROW_SHARE, x)


def _sum_list(values):
    if not values:
        raise ShapeError("sum: an empty list has no shape")
    values = [as_value(v, "sum") for v in values]
    values = [v.astype("int64") if v.type.dtype == "bool" else v for v in values]
    if all(v.__class__ is Tensor for v in values):
        first = values[0].type
        if all(v.type is first for v in values):
            return record_segments(ROW_SUM, values)
        if all(v.type.shape == first.shape and v.type.dtype == first.dtype for v in values):
            return record_segments(ROW_SUM, [as_stored(v) for v in values])
    total, *others = values
    for value in others:
        total = total + value
    return total


@told
def segment_sum(x, index, count: int):
    """y[s] = sum of the rows j of x with index[j] = s, for s < count: a Sequence of `count` rows.

    The message passing of graphs: rows are edges, segments the nodes they point to.

    Shapes: n rows of any shape, n integers -> `count` rows of that shape.

    >>> ln.segment_sum(ln.sequence([[1.0], [3.0]]), [0, 0], 2).numpy().tolist()
    [[4.0], [0.0]]

    Raises:
        IndexError: on this line, if an index is not below `count`.
    """
    return over_segments(ROW_SUM, x, index, count, "segment_sum")


def over_segments(op: Op, x, index, count: int, name: str):
    """An op over segments on the rows of x that `index` puts in each of `count` segments."""
    numbers = indices(index, count, name)
    if len(numbers) != len(x):
        raise ShapeError(f"{name}: {len(numbers)} indices for {len(x)} rows")
    order = np.argsort(numbers, kind="stable")
    counts = np.bincount(numbers, minlength=count) if count else np.zeros(0, np.int64)
    x = x if isinstance(x, Sequence) else sequence(x)
    if op is ROW_SUM and x.type.dtype == "bool":
        x = x.astype("int64")  # a count
    return record_segments(op, x, counts=counts, chosen=order)


reduce.ROW_OPS.update(sum=ROW_SUM, max=ROW_MAX)
reduce.ROW_REDUCTIONS.update(
    sum=_sum_rows,
    share=_share_of_rows,
    max=lambda x: record_segments(ROW_MAX, x),
    softmax=lambda x: record_segments(ROW_SOFTMAX, x),
    log_softmax=lambda x: record_segments(ROW_LOG_SOFTMAX, x),
)
