"""Sequences: how they are made, and rows by number.

Row by row ops need nothing from here: a Sequence's rows are addresses, and every row-wise op takes
them. What happens along the rows is in `segments.py`.
"""

from __future__ import annotations

import operator

import numpy as np

from lazynet.batching import layout as words
from lazynet.leaf import Leaf
from lazynet.op import Op, RowType, Sample, Signature, row_type
from lazynet.ops.reshape import reshape
from lazynet.ops.told import told
from lazynet.ops.views import (
    ARRAYS,
    as_stored,
    cat_features,
    index_array,
    index_axes,
    indices,
    part,
    pick,
)
from lazynet.program import elementwise, lowered, operand_refs, output_refs
from lazynet.quick import Short
from lazynet.quick_segments import record_chosen
from lazynet.record import ShapeError, as_value, record_segments
from lazynet.tensor import Sequence, Tensor, Value, number_of_row, tensor

# -- making Sequences ------------------------------------------------------------------------------


def _copy_lower(signature):
    step = elementwise("x0", operand_refs(signature), output_refs(signature)[0])
    return lowered(signature, [step])


GATHER = Op(
    "gather", "y[j] = x[index[j]]", lambda row: (row.stored,), _copy_lower, lambda g, y, x: (g,),
    kind=words.SEGMENT, per_item=True, samples=(Sample(((4,),)),),
)  # fmt: skip


@told
def sequence(values):
    """A Sequence of these rows, in order: a list of Tensors of one shape, or the rows of an array.

    Shapes: n Tensors of a shape, or an array (n, ...) -> n rows.

    >>> ln.sequence([ln.zeros(2), ln.ones(2)]).shape, ln.sequence([1.0, 2.0]).tolist()
    ((2, 2), [1.0, 2.0])

    Raises:
        ShapeError: if the rows differ in shape, or there is nothing that tells their shape.
        TypeError: if a row is no Tensor.
    """
    if isinstance(values, Sequence):
        return values
    if not isinstance(values, (list, tuple)) or (values and not isinstance(values[0], Value)):
        return _rows_of(
            as_value(values if isinstance(values, Value) else tensor(values), "sequence")
        )
    if not values:
        raise ShapeError("sequence: an empty list does not tell the shape of its rows")
    row = values[0].type.stored
    if all([v.__class__ is Tensor and v.type is row for v in values]):
        return record_segments(GATHER, values)
    for value in values:
        if not isinstance(value, Value):
            raise TypeError(
                f"sequence: expected Tensors as rows, not {type(value).__name__} beside them; "
                "ln.tensor(x) makes one"
            )
        if isinstance(value, Sequence):
            raise ShapeError(
                f"sequence: a Sequence of {value.length} rows is no row; ln.cat(list, 0) lays "
                "Sequences end to end"
            )
        if value.type.shape != row.shape or value.type.dtype != row.dtype:
            raise ShapeError(
                f"sequence: rows of {row} and {value.type.stored} do not make one Sequence"
            )
    if len({value.type for value in values}) > 1 or not all(v.__class__ is Tensor for v in values):
        values = [v if v.__class__ is Tensor and v.type is row else as_stored(v) for v in values]
    return record_segments(GATHER, list(values))


# How values are joined along any axis; `ops/joining.py` enters itself here.
STACKED: list = []


def _rows_of(matrix):
    """The rows of a matrix as a Sequence: an alias, or, of a leaf, its own memory."""
    if not matrix.type.shape:
        raise ShapeError("sequence: a scalar has no rows")
    count, shape = matrix.type.shape[0], matrix.type.shape[1:]
    row = row_type(matrix.type.dtype, shape)
    whole = matrix.type.offset == 0 and matrix.type.stride == matrix.type.width
    if isinstance(matrix.graph, Leaf) and whole and matrix.__class__ is Tensor:
        return Sequence(matrix.graph, matrix.id * count, row, count)
    repeated = Sequence(matrix.graph, matrix.id, matrix.type, count, 0)
    return part(repeated, shape, np.arange(count) * row.size)


@told
def stack(values, dim: int = 0):
    """Values joined along a new axis: a Sequence, as of `sequence`, where that is the first.

    Shapes: n Tensors -> n rows; along another axis n Tensors of (2, 3) -> (2, n, 3) for dim 1, and
    n Sequences of rows (3,) -> rows of (n, 3). All rows of a Sequence as one Tensor (n, 3) are
    `ln.stack(rows, dim=1).T`, a matrix as any other.

    >>> x, y = ln.tensor([1.0, 2.0]), ln.tensor([3.0, 4.0])
    >>> ln.stack([x, y]).tolist(), ln.stack([x, y], dim=1).tolist()
    ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 3.0], [2.0, 4.0]])

    Raises:
        ShapeError: if shapes differ, or there is no such place for an axis.
    """
    if dim == 0:
        return sequence(values)
    values = [as_value(v, "stack") for v in values]
    if not values:
        raise ShapeError("stack: nothing to join")
    ragged = isinstance(values[0], Sequence)
    ndim = len(values[0].type.shape) + ragged + 1
    if not -ndim <= dim < ndim or (ragged and dim % ndim == 0):
        raise ShapeError(f"stack: no place {dim} for an axis in values of {values[0].shape}")
    if dim % ndim == 0:
        return sequence(values)
    at = dim % ndim - ragged
    parts = [reshape(v, (*v.type.shape[:at], 1, *v.type.shape[at:])) for v in values]
    return STACKED[0](parts, at + ragged)


def gather(x: Sequence, index):
    """Rows of a Sequence by number: y[j] = x[index[j]]; a boolean mask chooses rows.

    A mask with a bool for each element of rows of (d,) chooses elements, in order, a row each.

    Shapes: n rows and m numbers -> m rows.

    >>> x = ln.sequence([1.0, 2.0, 3.0])
    >>> ln.gather(x, [2, 0, 2]).tolist(), ln.gather(x, [True, False, True]).tolist()
    ([3.0, 1.0, 3.0], [1.0, 3.0])

    Raises:
        IndexError: on this line, if an index is out of range. ShapeError: if x is no Sequence.
    """
    made = _chosen.record(x, index)
    return _gather(x, index) if made is None else made


@told
def _gather(x: Sequence, index):
    """`gather`, where there is no shorter way."""
    x = as_value(x, "gather")
    if not isinstance(x, Sequence):
        raise ShapeError("gather: expected a Sequence of rows; of a Tensor, take x[index]")
    numbers = index_array(index, "gather")
    if numbers.dtype == bool:
        if numbers.ndim > 1:
            return _elements(x, numbers)
        if len(numbers) != x.length:
            raise IndexError(f"gather: a mask of {len(numbers)} for a Sequence of {x.length} rows")
        numbers = np.flatnonzero(numbers)
    if numbers.ndim == 1 and numbers.size and numbers.dtype.kind in "iu":
        numbers = numbers.astype(np.int64, copy=False)  # differences of smaller ones may wrap
        first, last = int(numbers[0]), int(numbers[-1])
        step = int(numbers[1]) - first if numbers.size > 1 else 1
        within = 0 <= first < x.length and 0 <= last < x.length
        if within and (numbers[1:] - numbers[:-1] == step).all():  # evenly spaced: a view
            return Sequence(x.graph, number_of_row(x, first), x.type, numbers.size, x.step * step)
        low = int(numbers.min())
        if low < -x.length:
            raise IndexError(f"gather: index {low} is out of range; there are {x.length} rows")
        numbers = np.where(numbers < 0, numbers + x.length, numbers)
    numbers = indices(numbers, x.length, "gather")
    if not len(numbers):
        return x[:0]
    _known_rows[x.type] = GATHER.signature((x.type,))
    return record_segments(GATHER, x, chosen=numbers)


_known_rows: dict[RowType, Signature] = {}
_chosen = Short(record_chosen, _known_rows)


def cat(values, axis: int = -1):
    """Rows joined along their last axis: y = [a; b; ...].

    Sequences of one length are joined row by row; a Tensor among them is joined to each row. With
    `axis=0`, Sequences are laid end to end, and a Tensor among them is one row.

    Raises:
        ShapeError: if the rows differ in another axis than the last, or there is nothing to join.
    """
    if axis == 0 and any(isinstance(v, Sequence) for v in values):
        kinds = {(v.type.shape, v.type.dtype): v.type.stored for v in values}
        if len(kinds) > 1:  # also where there are no rows of one kind
            told = " and ".join(map(str, kinds.values()))
            raise ShapeError(f"cat: rows of {told} do not make one Sequence")
        if len({v.type for v in values}) > 1:  # the rows of a view are stored as one node
            values = [v if v.type is v.type.stored else as_stored(v) for v in values]
        rows = [row for v in values for row in (v if isinstance(v, Sequence) else [v])]
        return sequence(rows) if rows else values[0]
    return cat_features(values)


def _index_sequence(x, index):
    if index.__class__ is list:
        return gather(x, index)
    if isinstance(index, (Tensor, np.ndarray)) and not index.shape:
        return x[operator.index(index)]
    if index is Ellipsis:
        return x
    if index is None or isinstance(index, (bool, np.bool_)):
        kind = type(index).__name__
        raise IndexError(f"a Sequence is indexed by integers, slices and lists of them, not {kind}")
    if not isinstance(index, tuple):
        return gather(x, index)
    if not index:
        return x
    first, *rest = index
    if first is Ellipsis:
        rows = sum(i is not None for i in rest) > len(x.type.shape)  # nothing is left for the dots
        return x[tuple(rest)] if rows else index_axes(x, index)
    if isinstance(first, slice) and first == slice(None):
        return index_axes(x, tuple(rest))
    if isinstance(first, ARRAYS) and any(isinstance(i, ARRAYS) for i in rest):
        return _pairs(x, first, rest)
    return index_axes(x[first], tuple(rest)) if rest else x[first]


def _elements(x, mask: np.ndarray):
    """The elements of rows that are vectors for which a mask holds, a row each."""
    if mask.ndim != 2 or mask.shape != x.shape:
        raise IndexError(
            f"gather: a mask of {mask.shape} for a Sequence of {x.shape}; it has a bool for each "
            "row, or for each element of rows that are vectors"
        )
    rows, columns = np.nonzero(mask)
    return _pairs(x, rows, [columns])


def _pairs(x, rows, rest: list):
    """One element of each of the rows chosen, by arrays of both: y[j] = x[rows[j], columns[j]]."""
    if len(rest) != 1 or len(x.type.shape) != 1:
        raise IndexError(
            "rows and axes of rows cannot be indexed by arrays together, but for rows that are "
            "vectors; choose rows first: x[rows][:, columns]"
        )
    chosen = gather(x, rows)
    columns = np.arange(x.type.size)[index_array(rest[0], "index")]
    if columns.shape != (len(chosen),):
        raise IndexError(f"index: columns of {columns.shape} for {len(chosen)} rows")
    return pick(chosen, columns)


Sequence._index = _index_sequence
