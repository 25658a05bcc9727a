"""The functions of ops: they try the short way of recording first, then the long one.

The short way (`quick.py`) is for operands of the graph being recorded and a signature met before.
Where leaves or numbers are among the operands, they become rows of the graph and it is tried once
more. For anything else `record` is the long way, and what it met is noted for the short one.
"""

from __future__ import annotations

from _thread import get_ident
from typing import Any

from lazynet.leaf import Leaf
from lazynet.op import Op, RowType, Signature, row_type
from lazynet.parameter import Parameter
from lazynet.quick import Short, record_layer, record_values
from lazynet.record import Literal, as_value, enter, graph_of, record
from lazynet.tensor import Sequence, Tensor, Value

_SMALL = 2**31  # integers below it fit everywhere
_SHAPES = "Shapes: any -> the same; n rows -> n rows."
_BROADCAST = """Shapes: operands are Tensors, Sequences, arrays or numbers, which broadcast as in
    numpy; a Tensor broadcasts against each row of a Sequence; n rows -> n rows."""
_RAISES = """

    Raises:
        ShapeError: if shapes do not broadcast, or Sequences have not as many rows."""


def unary(op: Op, prepare=None):
    """A function that records `op` on one operand, which `prepare` may change first."""
    known: dict[RowType, Signature] = {}
    short = Short(record_values, known)

    def recorded(x):
        handle = short.record(x)
        if handle is None:
            handle = with_leaves(short, x)
        if handle is not None:
            return handle
        given = x
        x = as_value(x, op.name)
        if prepare is not None:
            x = prepare(x)
        y = record(op, (x,))
        if x is given and (x.__class__ is Tensor or x.__class__ is Sequence):
            known[x.type] = op.signature((x.type,))
        return y

    return documented(recorded, op, 1)


def binary(op: Op, prepare, floats_only: bool = False):
    """A function that records `op` on two operands; `prepare` makes unlike operands alike.

    `floats_only`: `prepare` must see integers each time; the short way takes floats alone.
    """
    known: dict[Any, dict[Any, Signature]] = {}
    short = Short(record_values, known)
    turned = object()  # how the op is known that has its parameter on the left
    after, before = Short(record_layer, op), Short(record_layer, turned)

    def recorded(x, y):
        handle = short.record(x, y)
        if handle is None:
            way, given = short, (x, y)
            if y.__class__ is Parameter:
                way = after
            elif x.__class__ is Parameter:
                way, given = before, (y, x)
            handle = with_number(short, x, y) if way is short else way.record(*given)
            if handle is None:
                handle = with_leaves(way, *given)
        if handle is not None:
            return handle
        a, b = prepare(op, x, y)
        z = record(op, (a, b))
        if a is x and b is y:
            note_layer(op, (x, y))
            note_layer(op, (y, x), turned)
        first, second = _known_as(x, a), _known_as(y, b)
        alike = first is not None and second is not None and a.type.dtype == b.type.dtype
        if alike and (a.type.is_float or not floats_only):
            known.setdefault(first, {})[second] = op.signature((a.type, b.type))
        return z

    return documented(recorded, op, 2)


def documented(function, op: Op, arity: int):
    """Name a function after its op, and let its docstring tell the formula."""
    function.__name__ = function.__qualname__ = op.name
    ones = ", ".join(["ln.ones(2)"] * arity)
    function.__doc__ = f"""{op.formula}, for each element.

    {_SHAPES if arity == 1 else _BROADCAST}

    >>> ln.{op.name}({ones}).shape
    (2,){_RAISES if arity == 2 else ""}
    """
    return function


def _known_as(given, prepared) -> Any:
    """How the short way knows an operand: a value by its type, a number by its class.

    None for what it does not know, and where an operand was changed before it was recorded.
    """
    if prepared.__class__ is Literal:
        return given.__class__ if given.__class__ in (float, int) else None
    return prepared.type if prepared is given and given.__class__ is not Parameter else None


def with_leaves(short: Short, *operands):
    """What a short way records once the leaves among its operands are rows of the graph.

    None if there are none to bring in, and for what only the long way knows.
    """
    values = [x for x in operands if x.__class__ is Tensor or x.__class__ is Sequence]
    leaves = [x for x in values if x.graph.__class__ is Leaf]
    if not leaves:
        return None
    graph = graph_of(values)  # held until the node is there
    if graph.thread != get_ident() or any(x.graph.device is not graph.device for x in leaves):
        return None
    for x in leaves:
        enter(graph, x)
    return short.record(*operands)


def with_numbers(short: Short, *operands):
    """What a short way records once the numbers among its operands are rows of the graph.

    None if there are none, and for what only the long way knows.
    """
    beside = None
    for x in operands:
        if (x.__class__ is Tensor or x.__class__ is Sequence) and x.type.dtype != "bool":
            beside = x
            break
    if beside is None or beside.graph.thread != get_ident():
        return None
    graph, row, found = beside.graph, row_type(beside.type.dtype), []
    for x in operands:
        if _is_number_of(row, x):
            x = Tensor(graph, graph.literal(x, row.dtype), row)
        found.append(x)
    return short.record(*found)


def with_number(short: Short, x, y):
    """What the short way of two operands records once the number among them is a row of the graph.

    None if there is none, and for what only the long way knows.
    """
    number, beside = (x, y) if y.__class__ is Tensor or y.__class__ is Sequence else (y, x)
    if not isinstance(beside, Value) or beside.graph.thread != get_ident():
        return None
    if beside.type.dtype == "bool" or not _is_number_of(beside.type, number):
        return None
    beside.graph.literal(number, beside.type.dtype)
    return short.record(x, y)


def _is_number_of(row: RowType, x) -> bool:
    """Whether an operand is a number that a row of this dtype can hold."""
    return (x.__class__ is float and row.is_float) or (x.__class__ is int and -_SMALL < x < _SMALL)


def note_values(known: dict, op: Op, operands: tuple, given: tuple) -> None:
    """Let the short way know the signature of an op of three, just recorded.

    Args:
        operands: as they were recorded; numbers are literals.
        given: as the user gave them.
    """
    for made, x in zip(operands, given, strict=True):
        if made.__class__ is Literal:
            if x.__class__ is not float and x.__class__ is not int:
                return
        elif made is not x or made.__class__ is Parameter:
            return
    first, second, third = (x.type for x in operands)
    signature = op.signature((first, second, third))
    known.setdefault(first, {}).setdefault(second, {})[third] = signature


def note_layer(op: Op, operands: tuple, turned: Any = None) -> None:
    """Let the short way know the signature of an op of a value and Parameters, just recorded.

    Args:
        turned: as what the op is known if its operands are these the other way round.
    """
    x, *parameters = operands
    if x.__class__ is Parameter or any(p.__class__ is not Parameter for p in parameters):
        return
    leaves = [parameter.graph for parameter in parameters]
    types = (x.type, *leaves) if turned is None else (*leaves, x.type)
    known = leaves[0].known.setdefault(turned or op, {}).setdefault(x.type, {})
    known[leaves[-1].number] = op.signature(types)
