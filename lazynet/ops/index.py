"""Parts of each row by number: indexing as numpy has it, gather and scatter, triangles."""

from __future__ import annotations

import math

import numpy as np

from lazynet.device import beside_operands
from lazynet.ops import reduce, views
from lazynet.ops.reduce import axis_of
from lazynet.ops.rows import sequence
from lazynet.ops.take import PUT, numbers_key, rearranged, row_axis, table_of
from lazynet.ops.told import told
from lazynet.record import ShapeError, as_value, record
from lazynet.tensor import Sequence, Tensor, tensor


def index(x, key):
    """x[key] for the axes of a row, with numpy's meaning of ints, slices, None, masks and arrays.

    Raises:
        IndexError: as numpy does, if the key does not fit.
    """
    parts = key if isinstance(key, tuple) else (key,)
    parts = tuple(
        views.index_array(s, "index") if isinstance(s, views.ARRAYS) else s for s in parts
    )
    name = tuple(
        (s.start, s.stop, s.step, "slice") if isinstance(s, slice)
        else s if s is None or s is Ellipsis or isinstance(s, int) else numbers_key(s)
        for s in parts
    )  # fmt: skip
    return rearranged(x, ("index", name), lambda numbers: numbers[parts])


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
    return rearranged(
        x, ("index_select", at, numbers_key(chosen)), lambda index: index.take(chosen, at)
    )


@told
def take_along_dim(x, dim: int, numbers):
    """y[i][j] = x[numbers[i][j]][j] along `dim`, as torch.gather, for an array of numbers.

    Shapes: that of the numbers.

    >>> ln.take_along_dim(ln.tensor([[1.0, 2.0], [3.0, 4.0]]), 1, [[1], [0]]).numpy().tolist()
    [[2.0], [3.0]]

    Raises:
        IndexError: if a number is out of range. ShapeError: if shapes do not match.
    """
    x, chosen = as_value(x, "take_along_dim"), np.asarray(numbers)
    at = row_axis(x, dim, "take_along_dim")
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < x.type.shape[at]:
        raise IndexError(
            f"take_along_dim: a number is out of range; the axis has {x.type.shape[at]}"
        )
    return rearranged(
        x,
        ("take_along_dim", at, numbers_key(chosen)),
        lambda index: np.take_along_axis(index, chosen, at),
    )


@told
def scatter_add(x, dim: int, numbers, source):
    """x with source[i][j] added at [numbers[i][j]][j] along `dim`, as torch.scatter_add.

    Shapes: numbers and source alike -> that of x.

    >>> ln.scatter_add(ln.zeros(3), 0, [1, 1], ln.tensor([2.0, 3.0])).numpy().tolist()
    [0.0, 5.0, 0.0]

    Raises:
        IndexError: if a number is out of range. ShapeError: if shapes do not match.
    """
    x, source, chosen = (
        as_value(x, "scatter_add"),
        as_value(source, "scatter_add"),
        np.asarray(numbers),
    )
    at, shape = row_axis(x, dim, "scatter_add"), x.type.shape
    if chosen.shape != source.type.shape:
        raise ShapeError(
            f"scatter_add: numbers of {chosen.shape} for a source of {source.type.shape}"
        )
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < shape[at]:
        raise IndexError(f"scatter_add: a number is out of range; the axis has {shape[at]}")
    whole = np.arange(math.prod(shape)).reshape(shape)
    table, _ = table_of(
        ("scatter", shape, at, numbers_key(chosen)), lambda: np.take_along_axis(whole, chosen, at)
    )
    return x + record(PUT, (source,), (("table", table), ("shape", shape)))


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
