"""Parts of each row by number: indexing as numpy has it, gather and scatter, triangles."""

from __future__ import annotations

import numpy as np

from lazynet.device import beside_operands
from lazynet.ops import reduce, views
from lazynet.ops.axes import axis_of
from lazynet.ops.rows import sequence
from lazynet.ops.take import places_of, put_in, rearranged, row_axis, taken
from lazynet.ops.told import told
from lazynet.record import ShapeError, as_value
from lazynet.tensor import Sequence, Tensor, tensor


def index(x, key):
    """x[key] for the axes of a row, with numpy's meaning of ints, slices, None, masks and arrays.

    Raises:
        IndexError: as numpy does, if the key does not fit.
    """
    parts = key if isinstance(key, tuple) else (key,)
    parts = tuple(_part_of_index(s) for s in parts)
    if any(isinstance(s, np.ndarray) for s in parts):
        return taken(x, places_of(x.type.shape)[parts])
    name = tuple((s.start, s.stop, s.step, "slice") if isinstance(s, slice) else s for s in parts)
    return rearranged(x, ("index", name), lambda numbers: numbers[parts])


def _part_of_index(part):
    """What indexes one axis: None, `...`, a slice or an int; an array of whatever else it is."""
    if part is None or part is Ellipsis or isinstance(part, slice) or type(part) is int:
        return part
    return int(part) if isinstance(part, np.integer) else views.index_array(part, "index")


@told
def index_select(x, dim: int, numbers):
    """Elements (or rows) number `numbers` along an axis.

    Shapes: the axis gets as many elements as there are numbers; other axes stay.

    >>> ln.index_select(ln.tensor([5.0, 6.0, 7.0]), 0, [2, 0]).numpy().tolist()
    [7.0, 5.0]

    Raises:
        IndexError: if a number is out of range. ShapeError: if there is no such axis.
    """
    x = as_value(x, "index_select")
    at = axis_of(x, dim, "index_select")
    if at is None:
        return x[list(numbers)]
    chosen = views.indices(numbers, x.type.shape[at], "index_select")
    return taken(x, places_of(x.type.shape).take(chosen, at))


@told
def take_along_dim(x, dim: int, numbers):
    """y[i][j] = x[numbers[i][j]][j] along `dim`, for an array of numbers; as torch.take_along_dim.

    Shapes: that of the numbers; other axes than `dim` broadcast.

    >>> ln.take_along_dim(ln.tensor([[1.0, 2.0], [3.0, 4.0]]), 1, [[1], [0]]).numpy().tolist()
    [[2.0], [3.0]]

    Raises:
        IndexError: if a number is out of range. ShapeError: if shapes do not match.
    """
    x = as_value(x, "take_along_dim")
    at = row_axis(x, dim, "take_along_dim")
    chosen = _numbers_along(numbers, x.type.shape[at], "take_along_dim")
    return taken(x, np.take_along_axis(places_of(x.type.shape), chosen, at))


@told
def scatter_add(x, dim: int, numbers, source):
    """x with source[i][j] added at [numbers[i][j]][j] along `dim`, as torch.scatter_add.

    Shapes: numbers and source alike, in other axes than `dim` at most as large as x -> that of x.

    >>> ln.scatter_add(ln.zeros(3), 0, [1, 1], ln.tensor([2.0, 3.0])).numpy().tolist()
    [0.0, 5.0, 0.0]

    Raises:
        IndexError: if a number is out of range. ShapeError: if shapes do not match.
    """
    x, source = as_value(x, "scatter_add"), as_value(source, "scatter_add")
    at, shape = row_axis(x, dim, "scatter_add"), x.type.shape
    chosen = _numbers_along(numbers, shape[at], "scatter_add")
    if chosen.shape != source.type.shape:
        raise ShapeError(
            f"scatter_add: numbers of {chosen.shape} for a source of {source.type.shape}"
        )
    met = (*chosen.shape[:at], shape[at], *chosen.shape[at + 1 :])
    if len(met) != len(shape) or any(m > n for m, n in zip(met, shape, strict=True)):
        raise ShapeError(
            f"scatter_add: a source of {chosen.shape} for rows of {shape}; in other axes than "
            f"{dim} it may be no larger"
        )
    # The part of x that the source meets, which has its sizes: nothing of it is broadcast.
    places = places_of(shape)[tuple(map(slice, met))]
    return x + put_in(source, np.take_along_axis(places, chosen, at), shape)


def _numbers_along(numbers, limit: int, name: str) -> np.ndarray:
    """Numbers of elements of an axis, checked against its size."""
    chosen = np.asarray(numbers)
    if not chosen.size:
        return chosen.astype(np.int64)
    if not 0 <= chosen.min() <= chosen.max() < limit:
        raise IndexError(f"{name}: a number is out of range; the axis has {limit}")
    return chosen


@told
def diagonal(x, offset: int = 0):
    """The diagonal of the matrix in each row.

    Shapes: (n, m) -> (k,), k = min(n, m) without an offset; n rows -> n rows.

    >>> ln.diagonal(ln.tensor([[1.0, 2.0], [3.0, 4.0]])).numpy().tolist()
    [1.0, 4.0]

    Raises:
        ShapeError: if rows are no matrices.
    """
    x = _matrix(x, "diagonal")
    return rearranged(x, ("diagonal", offset), lambda index: np.diagonal(index, offset, -2, -1))


@told
def trace(x):
    """The sum of the diagonal of the matrix in each row.

    Shapes: (n, m) -> (); n rows -> n rows.

    >>> float(ln.trace(ln.tensor([[1.0, 2.0], [3.0, 4.0]])))
    5.0

    Raises:
        ShapeError: if rows are no matrices.
    """
    return reduce.sum(diagonal(x), -1)


@told
def tril(x, diagonal: int = 0):
    """The lower triangle of the matrix in each row, 0 above it.

    Shapes: (n, m) -> (n, m); n rows -> n rows.

    >>> ln.tril(ln.tensor([[1.0, 2.0], [3.0, 4.0]])).numpy().tolist()
    [[1.0, 0.0], [3.0, 4.0]]

    Raises:
        ShapeError: if rows are no matrices.
    """
    x = _matrix(x, "tril")
    return rearranged(x, ("tril", diagonal), lambda index: np.tril(index + 1, diagonal) - 1)


@told
def triu(x, diagonal: int = 0):
    """The upper triangle of the matrix in each row, 0 below it.

    Shapes: (n, m) -> (n, m); n rows -> n rows.

    >>> ln.triu(ln.tensor([[1.0, 2.0], [3.0, 4.0]])).numpy().tolist()
    [[1.0, 2.0], [0.0, 4.0]]

    Raises:
        ShapeError: if rows are no matrices.
    """
    x = _matrix(x, "triu")
    return rearranged(x, ("triu", diagonal), lambda index: np.triu(index + 1, diagonal) - 1)


def _matrix(x, name: str):
    x = as_value(x, name)
    if len(x.type.shape) < 2:
        raise ShapeError(f"{name}: expected a matrix in each row, not rows of {x.type.shape}")
    return x


@told
@beside_operands
def one_hot(numbers, classes: int, dtype: str = "float32"):
    """Rows with a 1 at the number and 0 elsewhere: a Tensor for one number, else a Sequence.

    Shapes: an integer -> (classes,); n integers -> n rows of (classes,).

    >>> ln.one_hot(1, 3).numpy().tolist()
    [0.0, 1.0, 0.0]

    Raises:
        IndexError: if a number is not below `classes`.
    """
    single = np.isscalar(numbers) or getattr(numbers, "shape", None) == ()
    chosen = views.indices(np.reshape(numbers, -1) if single else numbers, classes, "one_hot")
    rows = np.zeros((len(chosen), classes), dtype)
    rows[np.arange(len(chosen)), chosen] = 1
    return tensor(rows[0]) if single else sequence(rows)


_METHODS = (index_select, take_along_dim, scatter_add, diagonal, trace, tril, triu)
for _class in (Tensor, Sequence):
    for _method in _METHODS:
        setattr(_class, _method.__name__, _method)
views.GENERAL_INDEX.append(index)
