"""Ops on rows and between them: views, lookup, making Sequences, and what happens along them.

Features of a row (`chunk`, `split`) are types, rows of a Sequence are addresses; neither is a node.
Elements and slices of a Tensor are aliases: nodes that compute nothing, whose gradient lands inside
their source's by itself.
"""

from __future__ import annotations

import math
from _thread import get_ident

import numpy as np

from lazynet.batching import layout as words
from lazynet.graph import current_graph, words_of
from lazynet.op import Op, Sample, row_type
from lazynet.ops import reduce
from lazynet.ops.reduce import reshape, retyped
from lazynet.program import Ref, call, elementwise, lowered, operand_refs, output_refs
from lazynet.record import ShapeError, as_value, record, record_segments, short
from lazynet.tensor import Parameter, Sequence, Tensor, Value, tensor

# -- features of a row -----------------------------------------------------------------------------


def chunk(x, chunks: int):
    """The last axis cut into equal parts. Views: nothing is computed or copied.

    Shapes: a vector row (k w,) gives k rows of (w,).

    Raises:
        ShapeError: if the axis cannot be cut evenly, or the row is no vector.
    """
    row = x.type
    key = ("chunk", chunks)
    parts = row.views.get(key)
    if parts is None:
        if len(row.shape) != 1 or row.size % chunks:
            raise ShapeError(f"chunk: rows of {row.shape} cannot be cut into {chunks} equal parts")
        width = row.size // chunks
        parts = row.views[key] = [row.view((width,), width * k) for k in range(chunks)]
    if x.__class__ is Tensor:
        graph, vid = x.graph, x.id
        return [Tensor(graph, vid, part) for part in parts]
    return [retyped(x, part) for part in parts]


def split(x, sizes):
    """The last axis of vector rows cut into parts of these sizes. Views."""
    row = x.type
    if len(row.shape) != 1 or sum(sizes) != row.size:
        raise ShapeError(f"split: rows of {row.shape} cannot be cut into parts of {list(sizes)}")
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    return [retyped(x, row.view((s,), at)) for s, at in zip(sizes, starts, strict=True)]


def cat(values, axis: int = -1):
    """Rows joined along their last axis (or, for vectors, along axis 0 of Tensors).

    y = [a; b; ...]. Sequences of one length are joined row by row; a Tensor among them is joined
    to each row. With `axis=0`, Sequences are laid end to end.
    """
    if axis == -1:
        # The short way, for Tensors of the graph being recorded.
        graph = values[0].graph if values and values[0].__class__ is Tensor else None
        if graph is not None and graph.thread == get_ident():
            types, ids = [], []
            for v in values:
                if v.__class__ is not Tensor or v.graph is not graph:
                    break
                types.append(v.type)
                ids.append(v.id)
            else:
                signature = CAT.signature(tuple(types))
                vid = graph.values
                graph.values = vid + 1
                tape = graph.tape
                tape += words_of(signature.index, *ids)
                return Tensor(graph, vid, signature.type)
    values = [as_value(v, "cat") for v in values]
    if not values:
        raise ShapeError("cat: nothing to join")
    if axis == 0 and all(isinstance(v, Sequence) for v in values):
        return sequence([row for v in values for row in v])
    return record(CAT, tuple(values))


def _cat_shape(*rows):
    if any(not r.shape or r.shape[:-1] != rows[0].shape[:-1] for r in rows):
        shapes = ", ".join(str(r.shape) for r in rows)
        raise ShapeError(f"cat: rows of {shapes} agree in all axes but the last? They do not")
    if any(r.dtype != rows[0].dtype for r in rows):
        raise TypeError(f"cat: dtypes differ: {', '.join(r.dtype for r in rows)}")
    return (row_type(rows[0].dtype, (*rows[0].shape[:-1], sum(r.shape[-1] for r in rows))),)


def _cat_lower(signature):
    y, at, steps = output_refs(signature)[0], 0, []
    refs = operand_refs(signature)
    outer = math.prod(signature.type.shape[:-1])
    size = np.dtype(y.dtype).itemsize
    total = y.size // outer if outer else 0
    for ref in refs:
        width = ref.size // outer if outer else 0
        for o in range(outer):
            source = Ref(ref.space, ref.index, ref.dtype, width, ref.offset + o * width * size)
            target = Ref(y.space, y.index, y.dtype, width, (o * total + at) * size)
            steps.append(elementwise("x0", [source], target))
        at += width
    return lowered(signature, steps)


def _cat_vjp(g, y, *operands):
    if len(g.type.shape) == 1:
        return tuple(split(g, [x.type.size for x in operands]))
    parts, at = [], 0
    for x in operands:
        width = x.type.shape[-1]
        columns = [
            retyped(g, g.type.view((width,), o * g.type.shape[-1] + at))
            for o in range(math.prod(g.type.shape[:-1]))
        ]
        parts.append(reshape(record(CAT, tuple(columns)), x.type.shape))
        at += width
    return tuple(parts)


CAT = Op("cat", "y = [a; b; ...]", _cat_shape, _cat_lower, _cat_vjp,
         samples=(Sample(((3,), (2,))), Sample(((2, 3), (2, 1)))))  # fmt: skip


def _zeros_lower(signature):
    return lowered(signature, [elementwise("c(0)", [], output_refs(signature)[0])])


ZEROS = Op(
    "zeros", "y = 0", lambda shape, dtype: (row_type(dtype, shape),), _zeros_lower, None,
    samples=(Sample((), (("shape", (5,)), ("dtype", "float64"))),),
)  # fmt: skip


def zeros(*shape, dtype: str = "float32", length: int | None = None):
    """Zeros: a Tensor of this shape, or a Sequence of `length` such rows."""
    shape = tuple(shape[0]) if shape and not isinstance(shape[0], int) else shape
    return record(ZEROS, (), (("shape", shape), ("dtype", dtype)), length=length)


# -- elements and slices of a Tensor ---------------------------------------------------------------


def _alias_shape(row, shape):
    return (row_type(row.dtype, shape, 0, row.stride),)


ALIAS = Op(
    "alias", "a part of x", _alias_shape, kind=words.ALIAS, payload=1,
    samples=(Sample(((5,),), (("shape", (2,)),), payload=(8,)),
             Sample(((2, 3),), (("shape", ()),), payload=(16,))),
)  # fmt: skip


def _part(x, shape: tuple[int, ...], first):
    """The part of each row that begins `first` elements in (one number, or one for each row)."""
    if x.__class__ is Parameter:
        x = Tensor(x.graph, x.id, x.type)  # its rows are meant, not its part in a signature
    size = np.dtype(x.type.dtype).itemsize
    offsets = np.asarray(first, np.int64) * size + x.type.offset
    if isinstance(x, Tensor):
        return record(ALIAS, (x,), (("shape", shape),), payload=[int(offsets)])
    payload = np.broadcast_to(offsets, (x.length,)).astype(np.int32)
    return record(ALIAS, (x,), (("shape", shape),), payload=payload, length=x.length)


def _element(x, index: int):
    shape = x.type.shape
    if not shape:
        raise IndexError("a scalar cannot be indexed")
    k = index + shape[0] if index < 0 else index
    if not 0 <= k < shape[0]:
        raise IndexError(f"index {index} is out of range for rows of {shape}")
    return _part(x, shape[1:], k * math.prod(shape[1:]))


def _slice(x, index: slice):
    shape = x.type.shape
    chosen = range(shape[0])[index]
    if chosen.step != 1:
        raise IndexError("slices of a Tensor take no step; a Sequence's do")
    start = chosen.start if len(chosen) else 0
    return _part(x, (len(chosen), *shape[1:]), start * math.prod(shape[1:]))


def _index(x, index):
    """x[i], x[a:b], x[..., a:b] and x[None] for the axes of a row."""
    if isinstance(index, (int, np.integer)):
        return _element(x, int(index))
    if isinstance(index, slice):
        return _slice(x, index)
    if isinstance(index, Tensor):
        return _element(x, index.__index__())
    if isinstance(index, tuple):
        return _index_axes(x, index)
    raise IndexError(
        f"a Tensor is indexed by integers and slices, not {type(index).__name__}; "
        "gather rows of a Sequence with a list of integers"
    )


def _index_axes(x, index: tuple):
    if Ellipsis in index:
        at = index.index(Ellipsis)
        missing = len(x.type.shape) - sum(i is not None for i in index) + 1
        index = (*index[:at], *(slice(None),) * missing, *index[at + 1 :])
    if index and index[-1] is None and all(i == slice(None) for i in index[:-1]):
        return reshape(x, (*x.type.shape, 1))
    if index and all(i == slice(None) for i in index[:-1]) and len(index) == len(x.type.shape) == 1:
        return _index(x, index[-1])
    if index and isinstance(index[0], (int, np.integer)):
        first = _element(x, int(index[0]))
        return _index_axes(first, index[1:]) if len(index) > 1 else first
    if not index or all(i == slice(None) for i in index):
        return x
    raise IndexError("only the first axis of a Tensor can be cut; reshape or transpose first")


def _index_sequence(x, index):
    if isinstance(index, tuple):
        if index and index[0] == slice(None):
            return _index_axes(x, index[1:])
        return x[index[0]] if len(index) == 1 else _index_axes(x[index[0]], index[1:])
    return gather(x, index)


def pick(x, index):
    """y = x[index]: one element of each vector row; a list of integers gives one for each row.

    Raises:
        IndexError: on this line, if an index is out of range.
    """
    if x.__class__ is Tensor and index.__class__ is int and x.graph.thread == get_ident():
        row = x.type
        known = row.views.get("pick")
        if known is not None and 0 <= index < row.size:
            return short(known[0], x, row.offset + index * known[1])
    x = as_value(x, "pick")
    if len(x.type.shape) != 1:
        raise ShapeError(f"pick: expected vector rows, not rows of {x.type.shape}")
    if isinstance(x, Sequence):
        numbers = indices(index, x.type.size, "pick")
        if len(numbers) != x.length:
            raise ShapeError(f"pick: {len(numbers)} indices for a Sequence of {x.length} rows")
        return _part(x, (), numbers)
    signature = ALIAS.signature((x.type,), (("shape", ()),))
    x.type.views["pick"] = signature, np.dtype(x.type.dtype).itemsize
    return _part(x, (), int(indices([index], x.type.size, "pick")[0]))


def indices(index, limit: int, name: str) -> np.ndarray:
    """Indices as an array, checked against the size of what they index.

    Raises:
        IndexError: if one is out of range. TypeError: if they are no integers.
    """
    if isinstance(index, Value):
        index = index.numpy()  # type: ignore[attr-defined]
    numbers = np.asarray(index)
    if numbers.size == 0:
        return numbers.astype(np.int64).reshape(-1)
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        raise TypeError(
            f"{name}: expected a flat list of integers, not {numbers.dtype} {numbers.shape}"
        )
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high >= limit:
        bad = low if low < 0 else high
        raise IndexError(f"{name}: index {bad} is out of range; there are {limit}")
    return numbers


# -- lookup ----------------------------------------------------------------------------------------


def _lookup_shape(table):
    return (row_type(table.dtype, table.shape[1:]),)


def _lookup_lower(signature):
    number, row = signature.statics[0][1:]
    y = output_refs(signature)[0]
    payload = Ref(words.WORDS, 0, "int64", 1)
    table = Ref(words.STATIC, number, row.dtype, row.size)
    return lowered(signature, [call("take_rows", (payload, table), y, (y.size,), row.dtype)])


LOOKUP = Op(
    "lookup", "y = table[index]", _lookup_shape, _lookup_lower,
    lambda g, y, table, payload: (
        record(SCATTER_ROW, (g,), (("rows", table.type.shape[0]),), payload=payload),
    ),
    payload=1, samples=(Sample(((4, 3),), payload=(2,), parameters=(0,)),),
)  # fmt: skip


def _scatter_row_lower(signature):
    row = signature.operands[0]
    ((_, rows),) = signature.attributes
    payload = Ref(words.WORDS, 0, "int64", 1)
    inputs = (payload, *operand_refs(signature))
    step = call("add_rows", inputs, output_refs(signature)[0], (row.size, rows), row.dtype)
    return lowered(signature, [step])


SCATTER_ROW = Op(
    "scatter_row", "y = zeros; y[index] = x",
    lambda row, rows: (row_type(row.dtype, (rows, *row.shape)),), _scatter_row_lower,
    lambda g, y, x, rows, payload: (record(TAKE_ROW, (g,), payload=payload),), payload=1,
    samples=(Sample(((3,),), (("rows", 4),), payload=(2,)),),
)  # fmt: skip


def _take_row_lower(signature):
    row = signature.operands[0]
    payload = Ref(words.WORDS, 0, "int64", 1)
    y = output_refs(signature)[0]
    step = call("take_own_row", (payload, *operand_refs(signature)), y, (y.size,), row.dtype)
    return lowered(signature, [step])


TAKE_ROW = Op(
    "take_row", "y = x[index]", lambda row: (row_type(row.dtype, row.shape[1:]),), _take_row_lower,
    lambda g, y, x, payload: (
        record(SCATTER_ROW, (g,), (("rows", x.type.shape[0]),), payload=payload),
    ),
    payload=1, samples=(Sample(((4, 3),), payload=(2,)),),
)  # fmt: skip


def lookup(table, index):
    """Rows of a parameter: y = table[index].

    Args:
        table: a Parameter of (count, ...).
        index: an integer, giving a Tensor, or a list of integers, giving a Sequence.

    Raises:
        IndexError: on this line, if an index is out of range.
    """
    count = table.type.shape[0]
    if isinstance(index, (int, np.integer)):
        if not 0 <= index < count:
            raise IndexError(f"lookup: index {index} is out of range; the table has {count} rows")
        if table.__class__ is Parameter:
            graph = current_graph()
            if graph.thread:
                signature = LOOKUP.signature((table.graph,))
                vid = graph.values
                graph.values = vid + 1
                tape = graph.tape
                tape += words_of(signature.index, index)
                return Tensor(graph, vid, signature.type)
        return record(LOOKUP, (table,), payload=(int(index),))
    if isinstance(index, Tensor) and not index.type.shape:
        return lookup(table, int(index))
    numbers = indices(index, count, "lookup")
    return record(LOOKUP, (table,), payload=numbers, length=len(numbers))


# -- making Sequences ------------------------------------------------------------------------------


def _copy_lower(signature):
    step = elementwise("x0", operand_refs(signature), output_refs(signature)[0])
    return lowered(signature, [step])


GATHER = Op(
    "gather", "y[j] = x[index[j]]", lambda row: (row.stored,), _copy_lower, lambda g, y, x: (g,),
    kind=words.SEGMENT, per_item=True, samples=(Sample(((4,),)),),
)  # fmt: skip


def sequence(values):
    """A Sequence of these rows, in order: a list of Tensors of one shape, or the rows of an array.

    Raises:
        ShapeError: if the rows differ in shape, or there is nothing that tells their shape.
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
    for value in values:
        if value.type.shape != row.shape or value.type.dtype != row.dtype:
            raise ShapeError(
                f"sequence: rows of {row} and {value.type.stored} do not make one Sequence"
            )
    if len({value.type for value in values}) > 1 or not all(v.__class__ is Tensor for v in values):
        values = [_stored(value) for value in values]
    return record_segments(GATHER, list(values))


def _stored(value):
    """The value as a row of its own, so that rows of different views can stand in one list."""
    shape = value.type.shape
    return reshape(record(CAT, (reshape(value, (value.type.size,)),)), shape)


def _rows_of(matrix):
    """The rows of a matrix as a Sequence: an alias, or, of a leaf, its own memory."""
    if not matrix.type.shape:
        raise ShapeError("sequence: a scalar has no rows")
    count, shape = matrix.type.shape[0], matrix.type.shape[1:]
    row = row_type(matrix.type.dtype, shape)
    whole = matrix.type.offset == 0 and matrix.type.stride == matrix.type.width
    if matrix.is_leaf and whole and matrix.__class__ is Tensor:
        return Sequence(matrix.graph, matrix.id * count, row, count)
    repeated = Sequence(matrix.graph, matrix.id, matrix.type, count, 0)
    return _part(repeated, shape, np.arange(count) * row.size)


def stack(values):
    """The same as `sequence`: PyTorch's name for a new leading axis."""
    return sequence(values)


def gather(x: Sequence, index):
    """Rows of a Sequence by number: y[j] = x[index[j]]; a boolean mask chooses rows.

    Raises:
        IndexError: on this line, if an index is out of range.
    """
    if isinstance(index, Value):
        index = index.numpy()  # type: ignore[attr-defined]
    numbers = np.asarray(index)
    if numbers.dtype == bool:
        if len(numbers) != x.length:
            raise IndexError(f"a mask of {len(numbers)} for a Sequence of {x.length} rows")
        numbers = np.flatnonzero(numbers)
    numbers = np.where(numbers < 0, numbers + x.length, numbers) if numbers.size else numbers
    numbers = indices(numbers, x.length, "gather")
    if not len(numbers):
        return x[:0]
    return record_segments(GATHER, [x[int(k)] for k in numbers])


# -- along the rows --------------------------------------------------------------------------------


def _segment_lower(kernel: str, per_item: bool):
    def lower(signature):
        row = signature.operands[0]
        offsets = Ref(words.OFFSETS, 0, "int64", 1)
        y = output_refs(signature)[0]
        step = call(
            kernel, (offsets, *operand_refs(signature)), y, (row.size,), row.dtype,
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
ROW_SOFTMAX = Op(
    "row_softmax", "y = exp(x) / sum of exp(x) over the rows", lambda row: (row.stored,),
    _segment_lower("segment_softmax", True),
    lambda g, y, x: (y * (g - record_segments(ROW_SUM, g * y)),), kind=words.SEGMENT, per_item=True,
    samples=(Sample(((4,),)), Sample(((),))),
)  # fmt: skip


def _row_max_cotangent(g, y, x):
    chosen = (x == y).astype(x.type.dtype)
    return chosen * (g / record_segments(ROW_SUM, chosen))


def _sum_rows(x):
    if isinstance(x, (list, tuple)):
        return _sum_list(list(x))
    return record_segments(ROW_SUM, x)


def _sum_list(values):
    if not values:
        raise ShapeError("sum: an empty list has no shape")
    if all(v.__class__ is Tensor for v in values):
        first = values[0].type
        if all(v.type is first for v in values):
            return record_segments(ROW_SUM, values)
        if all(v.type.shape == first.shape and v.type.dtype == first.dtype for v in values):
            return record_segments(ROW_SUM, [_stored(v) for v in values])
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def segment_sum(x, index, count: int):
    """y[s] = sum of the rows j of x with index[j] = s, for s < count: a Sequence of `count` rows.

    The message passing of graphs: rows are edges, segments the nodes they point to.

    Raises:
        IndexError: on this line, if an index is not below `count`.
    """
    numbers = indices(index, count, "segment_sum")
    if len(numbers) != len(x):
        raise ShapeError(f"segment_sum: {len(numbers)} indices for {len(x)} rows")
    order = np.argsort(numbers, kind="stable")
    counts = np.bincount(numbers, minlength=count) if count else np.zeros(0, np.int64)
    return record_segments(ROW_SUM, _permuted(x, order), counts=counts.tolist())


def _permuted(x, order):
    if isinstance(x, Sequence) and np.array_equal(order, np.arange(x.length)):
        return x
    return [x[int(k)] for k in order] if len(order) else x[:0]


reduce.ROW_REDUCTIONS.update(
    sum=_sum_rows,
    max=lambda x: record_segments(ROW_MAX, x),
    softmax=lambda x: record_segments(ROW_SOFTMAX, x),
    log_softmax=lambda x: record_segments(ROW_SOFTMAX, x).log(),
)
Tensor.__getitem__ = _index
Sequence._index = _index_sequence
for _class in (Tensor, Sequence):
    _class.chunk, _class.split = chunk, split
    _class.unsqueeze = lambda x, axis=-1: reshape(x, (*x.type.shape, 1)) if axis == -1 else reshape(
        x, (1, *x.type.shape))  # fmt: skip
    _class.squeeze = lambda x: reshape(x, tuple(s for s in x.type.shape if s != 1))
