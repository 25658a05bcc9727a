"""Parts of rows, and rows joined: views, aliases, concatenation.

Features of a row (`chunk`, `split`) are types: no node. Elements and slices of a Tensor are
aliases: nodes that compute nothing, whose gradient lands inside their source's by itself.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from lazynet.batching import layout as words
from lazynet.op import Op, RowType, Sample, row_type
from lazynet.ops.axes import axis_of
from lazynet.ops.reshape import reshape, retyped
from lazynet.ops.told import told
from lazynet.parameter import Parameter
from lazynet.program import Ref, elementwise, lowered, operand_refs, output_refs
from lazynet.quick import Short, numbered, record_values, views
from lazynet.record import ShapeError, as_value, record
from lazynet.tensor import Sequence, Tensor, Value

GENERAL_INDEX: list = []  # what `index.py` does with an index that is no view; it enters itself
ARRAYS = (list, range, np.ndarray, Value)  # what holds several numbers of an index, or a mask
_MOST_JOINED = 8  # values that `cat` joins the short way
FEW = 512  # integers that are looked at one by one; more are quicker by numpy
_joined: dict[int, tuple[Short, dict]] = {}  # for so many values, the short way and what it knows

# -- features of a row -----------------------------------------------------------------------------


def chunk(x, chunks: int, dim: int = -1):
    """An axis cut into `chunks` parts of one size, the last smaller where it does not go even.

    Of rows that are vectors the parts are views: nothing is computed or copied. As in PyTorch there
    may be fewer parts than were asked for.

    >>> [part.tolist() for part in ln.chunk(ln.tensor([1.0, 2.0, 3.0, 4.0]), 2)]
    [[1.0, 2.0], [3.0, 4.0]]

    Shapes: (k w,) -> k of (w,); n rows -> n rows.

    Raises:
        ShapeError: if there is no such axis. ValueError: for less than one part.
    """
    parts = None
    plain = dim.__class__ is int and chunks.__class__ is int
    if plain and dim == -1 and x.__class__ in (Tensor, Sequence):
        parts = x.type.views.get(("chunk", chunks))
    if parts is None:
        return _chunk(x, chunks, dim)
    return views.record(x, parts) or [retyped(x, part) for part in parts]


@told
def _chunk(x, chunks: int, dim: int = -1):
    """`chunk`, where rows of this type are cut so for the first time."""
    x = as_value(x, "chunk")
    if chunks < 1:
        raise ValueError(f"chunk: expected one or more parts, not {chunks}")
    row, size = x.type, _size(x, dim, "chunk")
    if not size:
        return [x for _ in range(chunks)]  # as PyTorch: so many parts of nothing
    if dim != -1 or len(row.shape) != 1 or row.size % chunks:
        return _cut(x, -(-size // chunks), dim, "chunk")
    width = row.size // chunks
    parts = tuple(row.view((width,), width * k) for k in range(chunks))
    row.views["chunk", chunks] = parts
    return [retyped(x, part) for part in parts]


@told
def split(x, sizes, dim: int = -1):
    """An axis cut into parts of these sizes, or of one size (the last may be smaller).

    Of rows that are vectors the parts are views; along axis 0 of a Sequence they are its rows.

    >>> [part.tolist() for part in ln.split(ln.tensor([1.0, 2.0, 3.0]), [1, 2])]
    [[1.0], [2.0, 3.0]]

    Shapes: (sum of the sizes,) -> (size,) for each; n rows -> n rows.

    Raises:
        ShapeError: if there is no such axis, or the sizes are not those of all of it.
    """
    return _cut(x, sizes, dim, "split")


def _size(x, dim: int, name: str) -> int:
    at = axis_of(x, dim, name)
    return x.length if at is None else x.type.shape[at]


def _cut(x, sizes, dim: int, name: str):
    at, size = axis_of(x, dim, name), _size(x, dim, name)
    if isinstance(sizes, (int, np.integer)):
        each = int(sizes)
        if each < 1 and size:
            raise ShapeError(f"{name}: an axis of {size} cannot be cut into parts of {each}")
        sizes = [min(each, size - start) for start in range(0, size, each or 1)] or [0]
    sizes = [operator.index(s) for s in sizes]
    if sum(sizes) != size or any(s < 0 for s in sizes):
        raise ShapeError(f"{name}: an axis of {size} cannot be cut into parts of {list(sizes)}")
    row, starts = x.type, np.cumsum([0, *sizes[:-1]]).tolist()
    if at is not None and len(row.shape) == 1:
        return [retyped(x, row.view((s,), start)) for s, start in zip(sizes, starts, strict=True)]
    before = (slice(None),) * (0 if at is None else at + isinstance(x, Sequence))
    return [x[(*before, slice(a, a + s))] for a, s in zip(starts, sizes, strict=True)]


def cat_features(values):
    """Rows joined along their last axis: y = [a; b; ...]."""
    handle = joined_before(values)
    if handle is not None:
        return handle
    count = len(values)
    values = [as_value(v, "cat") for v in values]
    if not values:
        raise ShapeError("cat: nothing to join")
    handle = record(CAT, tuple(values))
    if count <= _MOST_JOINED and not any(v.__class__ is Parameter for v in values):
        if count not in _joined:
            known: dict = {}
            _joined[count] = Short(record_values, known), known
        known = _joined[count][1]
        for v in values[:-1]:
            known = known.setdefault(v.type, {})
        known[values[-1].type] = CAT.signature(tuple(v.type for v in values))
    return handle


def joined_before(values):
    """The same for rows of types that were joined before, the short way; None for others."""
    known = _joined.get(len(values))
    return None if known is None else known[0].record(*values)


def as_stored(value):
    """The value as a row of its own, so that rows of different views can stand in one list."""
    shape = value.type.shape
    return reshape(record(CAT, (reshape(value, (value.type.size,)),)), shape)


def _cat_shape(*rows):
    if not all(r.shape for r in rows):
        raise ShapeError(
            "cat: a scalar has no axis to be joined along; ln.stack(list) takes scalars"
        )
    if any(r.shape[:-1] != rows[0].shape[:-1] for r in rows):
        shapes = ", ".join(str(r.shape) for r in rows)
        raise ShapeError(f"cat: rows of {shapes} must agree in all axes but the last")
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


# -- elements and slices of a Tensor ---------------------------------------------------------------


def _alias_shape(row, shape):
    return (row_type(row.dtype, shape, 0, row.stride),)


ALIAS = Op(
    "alias", "a part of x", _alias_shape, kind=words.ALIAS, payload=1,
    samples=(Sample(((5,),), (("shape", (2,)),), payload=(8,)),
             Sample(((2, 3),), (("shape", ()),), payload=(16,))),
)  # fmt: skip


def part(x, shape: tuple[int, ...], first):
    """The part of each row that begins `first` elements in (one number, or one for each row)."""
    if x.__class__ is Parameter:
        x = Tensor(x.graph, x.id, x.type)  # its rows are meant, not its part in a signature
    row = x.type
    size = row.width // row.size if row.size else 0
    if x.__class__ is Tensor and first.__class__ is int:
        signature = row.views.get(("part", shape))
        if signature is None:
            signature = row.views["part", shape] = ALIAS.signature((row,), (("shape", shape),))
        handle = numbered.record(signature, x, first, row.size + 1, size, row.offset)
        if handle is not None:
            return handle
    offsets = np.asarray(first, np.int64) * size + x.type.offset
    if isinstance(x, Tensor):
        return record(ALIAS, (x,), (("shape", shape),), payload=[int(offsets)])
    payload = offsets if offsets.ndim else np.broadcast_to(offsets, (x.length,))
    return record(ALIAS, (x,), (("shape", shape),), payload=payload, length=x.length)


def _element(x, index: int):
    shape = x.type.shape
    if not shape:
        raise IndexError("a scalar cannot be indexed")
    k = index + shape[0] if index < 0 else index
    if not 0 <= k < shape[0]:
        raise IndexError(f"index {index} is out of range for rows of {shape}")
    return part(x, shape[1:], k * math.prod(shape[1:]))


def _slice(x, index: slice):
    shape = x.type.shape
    chosen = range(shape[0])[index]
    if chosen.step != 1 and len(chosen) > 1:
        return GENERAL_INDEX[0](x, index)
    start = chosen.start if len(chosen) else 0
    return part(x, (len(chosen), *shape[1:]), start * math.prod(shape[1:]))


def _index(x, index):
    """x[i], x[a:b], x[..., a:b] and x[None] for the axes of a row."""
    if isinstance(index, (int, np.integer)) and index.__class__ is not bool:
        return _element(x, int(index))
    if isinstance(index, slice):
        return _slice(x, index)
    if isinstance(index, Tensor) and not index.shape:
        return _element(x, index.__index__())
    if isinstance(index, tuple):
        return index_axes(x, index)
    if index is None or index is Ellipsis:
        return index_axes(x, (index,))
    if isinstance(index, ARRAYS):
        return GENERAL_INDEX[0](x, index)
    raise IndexError(
        f"a Tensor is indexed by integers, slices and arrays of them, not {type(index).__name__}"
    )


def _is_whole(i) -> bool:
    return isinstance(i, slice) and i == slice(None)


def index_axes(x, index: tuple):
    """x[index] for several axes of a row: views where the elements stay together."""
    shape = x.type.shape
    dots = [at for at, i in enumerate(index) if i is Ellipsis]
    if len(dots) == 1 and not any(isinstance(i, ARRAYS) for i in index):
        missing = len(shape) - sum(i is not None for i in index) + 1
        index = (*index[: dots[0]], *(slice(None),) * missing, *index[dots[0] + 1 :])
    if sum(map(_is_whole, index)) <= len(shape) and all(i is None or _is_whole(i) for i in index):
        left = iter(shape)
        return reshape(x, (*(1 if i is None else next(left) for i in index), *left))
    if len(index) == len(shape) == 1:
        return _index(x, index[0])
    given = sum(i is not None and i is not Ellipsis for i in index)
    if given > len(shape):
        raise IndexError(f"{given} indices are too many for rows of {shape}")
    first, *rest = index
    if isinstance(first, (int, np.integer)) and all(_keeps_order(i) for i in rest):
        return index_axes(_index(x, first), tuple(rest))
    return GENERAL_INDEX[0](x, index)


def _keeps_order(i) -> bool:
    """Whether an axis stays where it is; those of several arrays may come first, as in numpy."""
    return i is None or isinstance(i, (int, np.integer, slice))


def pick(x, index, name: str = "pick"):
    """y = x[index]: one element of each vector row; a list of integers gives one for each row.

    Shapes: (k,) -> (); n rows -> n rows.

    >>> ln.pick(ln.tensor([5.0, 6.0]), 1).item()
    6.0
    >>> ln.pick(ln.sequence([[1.0, 2.0], [3.0, 4.0]]), [0, 1]).tolist()
    [1.0, 4.0]

    Raises:
        IndexError: on this line, if an index is out of range. ShapeError: if rows are no vectors,
            or there are not as many indices as rows.
    """
    known = x.type.views.get("pick") if isinstance(x, Value) else None
    if known is not None:
        signature, size = known
        handle = numbered.record(signature, x, index, x.type.size, size, x.type.offset)
        if handle is not None:
            return handle
        plain = plainly(index)
        if plain is not index:
            return pick(x, plain, name)
    return _pick(x, index, name)


@told
def _pick(x, index, name: str):
    """`pick`, where there is no shorter way."""
    x = as_value(x, name)
    if len(x.type.shape) != 1:
        raise ShapeError(f"{name}: expected vector rows, not rows of {x.type.shape}")
    if isinstance(x, Sequence):
        numbers = indices(index, x.type.size, name)
        if len(numbers) != x.length:
            raise ShapeError(f"{name}: {len(numbers)} indices for a Sequence of {x.length} rows")
        _note_pick(x.type)
        return part(x, (), numbers)
    _note_pick(x.type)
    return part(x, (), int(indices([index], x.type.size, name)[0]))


def _note_pick(row: RowType) -> None:
    signature = ALIAS.signature((row,), (("shape", ()),))
    row.views["pick"] = signature, np.dtype(row.dtype).itemsize


def index_array(index, name: str) -> np.ndarray:
    """An index as an array.

    Which elements a value chooses decides over shapes, so what is pending runs to tell its numbers.

    Raises:
        TypeError: if it is made of lists that are not of one length.
    """
    if isinstance(index, Value):
        return index.numpy()  # type: ignore[attr-defined]
    try:
        return np.asarray(index, np.int64 if index.__class__ is list and not index else None)
    except ValueError:
        raise TypeError(f"{name}: expected a flat list of integers, not ragged lists") from None


def plainly(index):
    """Integers of numpy as Python's, which are recorded the short way; many stay as they are."""
    if index.__class__ is np.ndarray:
        few = index.ndim == 1 and index.size <= FEW and index.dtype.kind in "iu"
        return index.tolist() if few else index
    return int(index) if isinstance(index, np.integer) else index


def indices(index, limit: int, name: str) -> np.ndarray:
    """Indices as an array, checked against the size of what they index.

    Raises:
        IndexError: if one is out of range. TypeError: if they are no integers.
    """
    numbers = index_array(index, name)
    flat = numbers.dtype == np.int64 and numbers.ndim == 1 and numbers.size > 0
    if index.__class__ is list and flat and min(index) >= 0 and max(index) < limit:
        return numbers
    if numbers.size == 0:
        return numbers.astype(np.int64).reshape(-1)
    if numbers.dtype == object and all(isinstance(k, int) for k in numbers.flat):
        beyond = [k for k in numbers.flat if not 0 <= k < limit]  # of more than 64 bits, say
        if beyond:
            raise IndexError(_out_of_range(name, beyond[0], limit))
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        kind = f"shape {numbers.shape} and dtype {numbers.dtype}"
        if numbers.dtype.kind in "USO":
            kind = "text" if numbers.dtype.kind != "O" else type(numbers.flat[0]).__name__
        raise TypeError(f"{name}: expected a flat list of integers, not {kind}")
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high >= limit:
        bad = low if low < 0 else high
        raise IndexError(_out_of_range(name, bad, limit))
    return numbers


def _out_of_range(name: str, index: int, limit: int) -> str:
    expected = f"expected 0 to {limit - 1}" if limit else "there is nothing to choose from"
    return f"{name}: index {index} is out of range; {expected}"


Tensor.__getitem__ = _index
for _class in (Tensor, Sequence):
    _class.chunk, _class.split = chunk, split
