"""Order: sorting along an axis of each row or along the rows of a Sequence, and the largest k.

An order is a value of integers, found when it runs; what it chooses is taken by ops whose
derivatives put gradients back to where values came from. NaN counts as the greatest of numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lazynet.batching import layout as words
from lazynet.op import Op, Sample, row_type
from lazynet.ops import reduce
from lazynet.ops.axes import axis_of
from lazynet.ops.reduce import split
from lazynet.ops.runs import (
    Rooms,
    backward_program,
    forward_program,
    offsets,
    operand,
    output,
    rows_in,
    step,
)
from lazynet.ops.take import TAKE_AXIS, check_places
from lazynet.ops.told import told
from lazynet.program import call, lowered, operand_refs, output_refs
from lazynet.record import ShapeError, as_value, record, record_runs
from lazynet.tensor import Sequence, Tensor


class Sorted(NamedTuple):
    """What `sort` and `topk` give: the elements, and where they were."""

    values: Any
    indices: Any


# -- along an axis of each row ---------------------------------------------------------------------


def _argsort_shape(row, axis, descending, count):
    return (row_type("int64", (*row.shape[:axis], count, *row.shape[axis + 1 :])),)


def _argsort_lower(signature):
    options = dict(signature.attributes)
    row = signature.types[0]
    attributes = (*split(row, options["axis"]), int(options["descending"]), options["count"])
    x, y = operand_refs(signature), output_refs(signature)[0]
    return lowered(signature, [call("argsort_axis", x, y, attributes, row.dtype)])


ARGSORT = Op(
    "argsort", "y = where the first elements along the axis are", _argsort_shape, _argsort_lower,
    samples=(Sample(((5,),), (("axis", 0), ("descending", False), ("count", 5))),
             Sample(((2, 4, 2),), (("axis", 1), ("descending", True), ("count", 3)))),
)  # fmt: skip


# -- along the rows of a Sequence ------------------------------------------------------------------


def _argsort_rows_lower(s):
    row, rooms = s.operands[0], Rooms(1)
    room = rooms.each(words.ITEMS, row.size, row.dtype)
    attributes = (row.size, int(dict(s.attributes)["descending"]))
    made = step(
        "argsort_rows", (offsets(0), operand(s, 0), room), [output(s)], attributes, row.dtype
    )
    return forward_program(s, made, rooms=rooms)


ARGSORT_ROWS = Op(
    "argsort_rows", "y = the order of the rows, for each element of a row",
    lambda row, descending: (row_type("int64", row.shape),), _argsort_rows_lower, kind=words.RUNS,
    samples=(Sample(((3,),), (("descending", False),)), Sample(((),), (("descending", True),))),
)  # fmt: skip


def _each_shape(x, n):
    check_places("take_each", n)
    if x.shape != n.shape:
        raise ShapeError(f"rows of {x.shape} cannot be taken by rows of {n.shape}")
    return (x.stored,)


def _each(kernel: str, first: int):
    """A program of a kernel whose index belongs to the output (0) or to the rows given (1)."""

    def lower(s):
        inputs = (offsets(first), offsets(1 - first), operand(s, 0), operand(s, 1))
        made = step(kernel, inputs, [output(s)], (s.type.size,), s.type.dtype)
        return forward_program(s, made)

    return lower


def _each_backward(kernel: str, first: int):
    def lower(s):
        g, dx = output(s, words.D_FORWARD), operand(s, 0, words.D_ARGUMENT)
        inputs = (offsets(first), offsets(1 - first), g, operand(s, 1))
        return backward_program(s, step(kernel, inputs, [dx], (s.type.size,), s.type.dtype, True))

    return lower


TAKE_EACH = Op(
    "take_each", "y_k[j] = x_n[j] with n = n_k[j]", _each_shape, _each("take_each", 0),
    lambda g, y, x, n: (record_runs(PUT_EACH, (g, n), rows_in(x)), None),
    kind=words.RUNS, backward=_each_backward("put_each", 0),
    samples=(Sample(((3,), (3,)), dtypes=("", "int64")),),
)  # fmt: skip
PUT_EACH = Op(
    "put_each", "y_n[j] += x_k[j] with n = n_k[j], from zeros", _each_shape, _each("put_each", 1),
    lambda g, y, x, n: (record_runs(TAKE_EACH, (g, n), rows_in(x)), None),
    kind=words.RUNS, backward=_each_backward("take_each", 1),
    samples=(Sample(((3,), (3,)), dtypes=("", "int64")),),
)  # fmt: skip

# -- functions -------------------------------------------------------------------------------------


@told
def argsort(x, dim: int = -1, descending: bool = False):
    """The order of the elements along an axis: y[k] is where the k-th of them is.

    Shapes: any -> the same, of integers; n rows -> n rows.

    Along axis 0 of a Sequence its rows are sorted, for each element of a row by itself; examples of
    all lengths batch. Of equal elements the earlier comes first; NaN is the greatest.

        >>> ln.argsort(ln.tensor([3.0, 1.0, 2.0])).tolist()
        [1, 2, 0]

    Returns:
        int64, of the shape of x.

    Raises:
        ShapeError: if there is no such axis.
    """
    x = as_value(x, "argsort")
    at = axis_of(x, dim, "argsort")
    if at is None:
        return record_runs(ARGSORT_ROWS, (x,), x.length, (("descending", bool(descending)),))
    return _order_of(x, at, descending, x.type.shape[at])


def _order_of(x, at: int, descending: bool, count: int):
    """Where the first `count` elements along an axis of each row are, in their order."""
    return record(
        ARGSORT, (x,), (("axis", at), ("descending", bool(descending)), ("count", count))
    )  # fmt: skip


@told
def sort(x, dim: int = -1, descending: bool = False) -> Sorted:
    """The elements in their order along an axis, and where they were; as torch.sort(stable=True).

        >>> ln.sort(ln.sequence([[1.0, 6.0], [2.0, 5.0]]), 0, descending=True).values.tolist()
        [[2.0, 6.0], [1.0, 5.0]]

    Shapes, order and errors: as `argsort`. Gradients go back to where the elements were.
    """
    x = as_value(x, "sort")
    return _taken(x, argsort(x, dim, descending), axis_of(x, dim, "sort"))


@told
def topk(x, k: int, dim: int = -1, largest: bool = True) -> Sorted:
    """The k largest elements along an axis, the largest first, and where they were.

    Shapes: k elements along the axis; k rows along the rows of a Sequence.

        >>> ln.topk(ln.tensor([3.0, 1.0, 2.0]), 2).values.tolist()
        [3.0, 2.0]

    Args:
        largest: False for the smallest, the smallest first.

    Raises:
        ShapeError: if there are less than k.
    """
    x = as_value(x, "topk")
    at = axis_of(x, dim, "topk")
    return _taken(x, _first(x, k, at, largest, "topk"), at)


@told
def k_max_pool(x, k: int, dim: int = 0):
    """The k largest elements along an axis, in the order in which they stand there.

    Along the rows of a Sequence: k rows for a sentence of any length, which keep the order of its
    features (Kalchbrenner, Grefenstette and Blunsom, "A convolutional neural network for modelling
    sentences", 2014).

    Shapes: as `topk`.

        >>> ln.nn.functional.k_max_pool(ln.sequence([1.0, 5.0, 2.0, 4.0]), 2).tolist()
        [5.0, 4.0]

    Raises:
        ShapeError: if there are less than k.
    """
    x = as_value(x, "k_max_pool")
    at = axis_of(x, dim, "k_max_pool")
    chosen = _first(x, k, at, True, "k_max_pool")
    return _taken(x, sort(chosen, dim).values, at).values


def _first(x, k: int, at: int | None, descending: bool, name: str):
    """Where the first k elements along an axis are."""
    count = x.length if at is None else x.type.shape[at]
    if not 0 <= k <= count:
        raise ShapeError(f"{name}: {k} of {count} elements; an axis has to have at least k")
    return argsort(x, 0, descending)[:k] if at is None else _order_of(x, at, descending, int(k))


def _taken(x, order, at: int | None) -> Sorted:
    if at is None:
        return Sorted(record_runs(TAKE_EACH, (x, order), order.length), order)
    return Sorted(record(TAKE_AXIS, (x, order), (("axis", at),)), order)


reduce.ROW_REDUCTIONS["argmax"] = lambda x: argsort(x, 0, True)[0]
for _class in (Tensor, Sequence):
    for _function in (argsort, sort, topk):
        setattr(_class, _function.__name__, _function)
