"""Recording: from operands to one entry on the tape and a handle.

`record` is the long way, for any op and any operands. `unary` and `binary` make functions that
first try the short way (`quick.py`): operands of the graph being recorded, a signature met before.
"""

from __future__ import annotations

from _thread import get_ident
from typing import Any

import numpy as np

from lazynet.graph import Graph, current_graph, words_of
from lazynet.leaf import STATICS, Leaf
from lazynet.op import Op, RowType, Signature, row_type
from lazynet.parameter import Parameter
from lazynet.quick import Short, node, record_layer, record_values
from lazynet.quick_segments import of_list, one_segment
from lazynet.recording import recording_gradients
from lazynet.tensor import Sequence, Tensor, Value, tensor


class ShapeError(ValueError):
    """Operands whose shapes do not fit; raised on the line that recorded the op."""


class DtypeError(TypeError):
    """Operands whose dtypes do not fit; raised on the line that recorded the op."""


class Literal:
    """A Python number as an operand: it takes the dtype of the other operand."""

    __slots__ = ("type", "value")

    def __init__(self, value, dtype: str):
        self.value = value
        self.type = row_type(dtype)


def graph_of(operands) -> Graph:
    """The graph to record into: the operands' if it is open and ours, else the current one."""
    me, device = get_ident(), None
    for x in operands:
        if x.__class__ is Literal:
            continue
        graph = x.graph
        if graph.thread == me:
            return graph
        if isinstance(graph, Leaf):
            if graph.copies is not None:
                continue
        else:
            if graph.open and graph.owner == me:
                return graph
            if graph.owner != me and graph.pending:
                graph.forward()  # raises: it is pending in another thread
        device = graph.device
    return current_graph(device)


def enter(graph: Graph, x: Any) -> tuple[int, int]:
    """The (id, step) of an operand's rows in `graph`."""
    if x.__class__ is Literal:
        return graph.literal(x.value, x.type.dtype), 0
    count, step = (x.length, x.step) if x.__class__ is Sequence else (1, 0)
    if x.graph is graph:
        return x.id, step
    if count > 1 and step == 0:
        return graph.link(x.graph, x.id, 0, 1, x.type)[0], 0
    return graph.link(x.graph, x.id, step, count, x.type)


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


def record(op: Op, operands, attributes: tuple = (), payload=None, length: int | None = None):
    """Record one row-wise node (or alias) over the operands.

    Args:
        operands: Tensors, Sequences, Parameters or Literals; Sequences must agree in length.
        attributes: (name, value) pairs, part of the signature.
        payload: 32-bit words: `op.payload` of them for each row.
        length: for ops without Sequence operands, the number of rows, to give a Sequence.

    Returns:
        the output's handle, or a tuple of handles where the op has several outputs.
    """
    types, dynamic = [], []
    for x in operands:
        kind = x.__class__
        if kind is Parameter:
            types.append(x.graph)
            continue
        types.append(x.type)
        dynamic.append(x)
        if kind is Sequence:
            if length is None:
                length = x.length
            elif x.length != length:
                raise ShapeError(
                    f"{op.name}: Sequences of {length} and {x.length} rows cannot be combined row "
                    "by row"
                )
    signature = op.signature(tuple(types), attributes)
    graph = graph_of(operands)
    if signature.statics and len(STATICS.devices) > 1 and graph.device is not None:
        STATICS.check(op.name, [number for _, number, _ in signature.statics], graph.device)
    if not op.payload and dynamic:
        handle = node.record(signature, *dynamic)
        if handle is not None:
            return handle
    memo = None
    if length is None:
        if not op.payload:
            memo = _expression(graph, signature, dynamic)
            if memo is not None and memo in graph.memo:
                return handles(graph, signature, graph.memo[memo], None)
        entry = [signature.index, *[enter(graph, x)[0] for x in dynamic]]
        if payload is not None:
            entry.extend(payload)
        vid = graph.append(signature, words_of(*entry), len(signature.outputs))
    else:
        if length < 0:
            raise ShapeError(f"{op.name}: expected 0 or more rows, not {length}")
        entry = [-signature.index - 1, length]
        for x in dynamic:
            entry.extend(enter(graph, x))
        packed = words_of(*entry)
        if payload is not None:
            packed += np.asarray(payload, np.int32).tobytes()
        vid = graph.append(signature, packed, length * len(signature.outputs))
    if memo is not None:
        graph.memo[memo] = vid
        graph.constants.update(range(vid, graph.values))
    return handles(graph, signature, vid, length)


def _expression(graph: Graph, signature: Signature, dynamic) -> Any:
    """What identifies a pure expression of parameters; None for a node that is none.

    Such an expression is computed once a graph, however many examples record it.
    """
    for x in dynamic:
        if x.__class__ is not Literal and (x.graph is not graph or x.id not in graph.constants):
            return None
    key: list[Any] = [signature, STATICS.version, recording_gradients.get()]
    for x in dynamic:
        # The sign tells 0.0 from -0.0, which are equal.
        key.append((x.type, repr(x.value) if x.__class__ is Literal else x.id))
    return tuple(key) if signature.statics or len(dynamic) > 0 else None


def handles(graph: Graph, signature: Signature, vid: int, length: int | None):
    """The handles of a node's outputs."""
    if len(signature.outputs) == 1:
        if length is None:
            return Tensor(graph, vid, signature.type)
        return Sequence(graph, vid, signature.type, length)
    if length is None:
        found: list[Any] = [Tensor(graph, vid + k, t) for k, t in enumerate(signature.outputs)]
    else:
        found = [
            Sequence(graph, vid + k * length, t, length) for k, t in enumerate(signature.outputs)
        ]
    return tuple(found)


def record_segments(op: Op, items, attributes: tuple = (), counts=None, chosen=None):
    """Record one node over the rows of a Sequence (one segment) or over a list of Tensors.

    Args:
        items: a Sequence, or a list of Tensors of one type.
        counts: how many consecutive items each segment has; by default all make one segment.
        chosen: numbers of the rows of a Sequence that are the items; by default all of them.

    Returns:
        a Sequence with a row an item where the op is `per_item`; else a Tensor, or a Sequence with
        a row a segment where `counts` is given.
    """
    row = items.type if isinstance(items, Sequence) else items[0].type
    signature = op.signature((row,), attributes)
    handle = None
    if counts is None and chosen is None:
        if items.__class__ is list:
            handle = of_list.record(signature, row, items, *(() if op.per_item else (None,)))
        elif not op.per_item:
            handle = one_segment.record(signature, items)
    if handle is not None:
        return handle
    if isinstance(items, Sequence) and counts is None and chosen is None:
        graph = graph_of((items,))
        vid, step = enter(graph, items)
        n = items.length
        entry = words_of(-signature.index - 1, n, 1, 0, vid, step)
        segments = 1
    else:
        if isinstance(items, Sequence):
            graph = graph_of((items,))
            vid, step = enter(graph, items)
            ids = vid + step * (np.arange(items.length) if chosen is None else chosen)
        else:
            graph = graph_of(items)
            ids = [x.id if x.graph is graph else enter(graph, x)[0] for x in items]
        n = len(ids)
        counted = [n] if counts is None else counts
        segments = len(counted)
        head = (-signature.index - 1, n, segments, 1)
        if isinstance(ids, list):
            entry = words_of(*head, *ids, *counted)
        else:
            entry = np.concatenate((head, ids, counted)).astype(np.int32).tobytes()
    rows = n if op.per_item else segments
    vid = graph.append(signature, entry, rows)
    if op.per_item or counts is not None:
        return Sequence(graph, vid, signature.type, rows)
    return Tensor(graph, vid, signature.type)


def record_runs(op: Op, runs, length: int, attributes: tuple = (), payload=()):
    """Record one node over runs of rows, each of its own length.

    Args:
        runs: for each operand a Sequence, a Tensor (a run of one row), or a list of these, whose
            rows (of one type) follow each other: nothing is copied.
        length: the number of output rows.
        payload: `op.payload` words.
    """
    lists = [run if isinstance(run, list) else [run] for run in runs]
    signature = op.signature(tuple(run[0].type for run in lists), attributes)
    graph = graph_of([x for run in lists for x in run])
    entry = [-signature.index - 1, length]
    for run in lists:
        entry.append(len(run))
        for x in run:
            entry.extend(enter(graph, x))
            entry.append(x.length if x.__class__ is Sequence else 1)
    entry.extend(payload)
    vid = graph.append(signature, words_of(*entry), length)
    return Sequence(graph, vid, signature.type, length)


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


_SMALL = 2**31  # integers below it fit everywhere
_SHAPES = "Shapes: any -> the same; n rows -> n rows."
_BROADCAST = """Shapes: operands are Tensors, Sequences, arrays or numbers, which broadcast as in
    numpy; a Tensor broadcasts against each row of a Sequence; n rows -> n rows."""
_RAISES = """

    Raises:
        ShapeError: if shapes do not broadcast, or Sequences have not as many rows."""


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


def as_value(x: Any, name: str) -> Any:
    """An operand as a value; arrays and numbers become leaves."""
    if isinstance(x, (Value, Literal)):
        return x
    if isinstance(x, (np.ndarray, np.generic, int, float, bool)):
        made = tensor(x)
        made.graph.copies = {}
        return made
    if isinstance(x, (list, tuple)):
        advice = "ln.tensor(list) makes a Tensor of numbers, ln.sequence(list) rows of them"
        if any(isinstance(part, Value) for part in x):
            advice = "ln.sequence(list) or ln.stack(list) makes one of a list of Tensors"
        raise TypeError(
            f"{name}: expected a Tensor or Sequence, not a {type(x).__name__}; {advice}"
        )
    kind, advice = type(x).__name__, ""
    if hasattr(x, "__array__") or hasattr(x, "__dlpack__"):  # of another library
        kind = f"a {type(x).__module__.partition('.')[0]}.{kind}"
        advice = "; ln.tensor(x) makes a Tensor of it"
    elif hasattr(x, "__next__"):
        advice = "; a list would do"
    raise TypeError(f"{name}: expected a Tensor or Sequence, not {kind}{advice}")
