"""Recording: from operands to one entry on the tape and a handle.

This is the long way, for any op and any operands. The functions of ops (`ops/ways.py`) try the
short one first (`quick.py`): operands of the graph being recorded, a signature met before.
"""

from __future__ import annotations

from _thread import get_ident
from typing import Any

import numpy as np

from lazynet.graph import Graph, current_graph, words_of
from lazynet.leaf import STATICS, Leaf
from lazynet.op import Op, Signature, row_type
from lazynet.parameter import Parameter
from lazynet.quick import node
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


def as_value(x: Any, name: str) -> Any:
    """An operand as a value; arrays and numbers become leaves."""
    if isinstance(x, (Value, Literal)):
        return x
    if isinstance(x, (np.ndarray, np.generic, int, float, bool)):
        made = tensor(x)
        made.graph.copies = {}
        return made
    if isinstance(x, (list, tuple)):
        advice = "ln.tensor(list) makes a Tensor of numbers, ln.sequence(list) a Sequence of them"
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
