"""Folds: a cell over the nodes of a tree, or of any graph whose nodes come after those below them.

Each node is recorded as the cell would record it, so that nodes of many examples batch, but all
nodes of an example go onto the tape in one piece: a structure is integers, as the tape is.
"""

from __future__ import annotations

import itertools
import types
from _thread import get_ident
from collections.abc import Callable
from collections.abc import Sequence as Listed
from typing import Any

import numpy as np

from lazynet.anew import kept_of
from lazynet.calls import flatten, structured
from lazynet.cell import Cell, check_function, without_cell
from lazynet.debugging import debugging
from lazynet.graph import Graph
from lazynet.ops.fill import zeros
from lazynet.ops.rows import GATHER, sequence
from lazynet.purity import Kept
from lazynet.quick_segments import OF_STATES, OF_X
from lazynet.quick_segments import nodes as short
from lazynet.record import ShapeError, enter, graph_of
from lazynet.tensor import Sequence, Tensor
from lazynet.trace import HookInside
from lazynet.traces import Trace

_MOST_PLANS = 8  # of a structure
_PLACE = -(1 << 30)  # stands for a value in an entry; the next ones are below it
# Cells of functions that are not marked as cells: by their object, then by function.
_known = Kept()


class Structure:
    """What lies below each node of a tree, or of any graph without circles.

    Args:
        children: for each node the numbers of those below it, all smaller than its own: a tree in
            post-order is one, and nodes may share what is below them.

    `fold` takes such lists as they are; who folds over one structure again and again, as in
    training, makes it once.

    >>> ln.Structure([(), (), (0, 1)])
    Structure(3 nodes, 2 with nothing below)

    Raises:
        ValueError: if a node does not come after those below it.
        TypeError: for something else than a list of lists of numbers.
    """

    __slots__ = ("below", "bottom", "children", "counts", "plans")

    def __init__(self, children: Listed[Listed[int]]):
        self.children = children
        try:
            count = len(children)
            self.counts = np.fromiter(map(len, children), np.int32, count)  # of nodes below each
            total = int(self.counts.sum())
            self.below = np.fromiter(itertools.chain.from_iterable(children), np.int32, total)
        except (TypeError, ValueError) as error:
            raise TypeError(
                "Structure: expected for each node a list of the numbers of those below it, such "
                f"as [(), (), (0, 1)] ({error})"
            ) from None
        above = np.repeat(np.arange(count, dtype=np.int32), self.counts)
        wrong = np.flatnonzero((self.below < 0) | (self.below >= above))
        if len(wrong):
            node, j = above[wrong[0]], self.below[wrong[0]]
            raise ValueError(
                f"Structure: node {node} is said to have node {j} below it; numbers of those below "
                "are smaller than its own"
            )
        self.bottom = count - int(np.count_nonzero(self.counts))
        self.plans: dict[Any, _Plan] = {}

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        return f"Structure({len(self)} nodes, {self.bottom} with nothing below)"

    def __reduce__(self):
        return Structure, (self.children,)


class _Plan:
    """The entries of a structure's nodes on a tape, but for what each recording adds to them."""

    def __init__(self, structure: Structure, traces: dict[int, Trace], everywhere: bool, step: int):
        """`traces`: of the cell, by the number of nodes below; `step`: between the rows of x."""
        counts, nodes = structure.counts, len(structure)
        self.traces, self._nodes = traces, nodes
        self.rows, self.result = traces[0].rows, traces[0].result
        outputs = len(self.rows)
        inputs = np.ones(nodes, np.int64) if everywhere else (counts == 0).astype(np.int64)
        entries = {
            below: _entry(trace, int(everywhere or not below) + outputs * below)
            for below, trace in traces.items()
        }
        lengths = np.zeros(max(traces) + 1, np.int64)
        for below, (entry, _) in entries.items():
            lengths[below] = len(entry)
        lengths = lengths[counts]
        starts = np.cumsum(lengths) - lengths
        lists = [self._listed(row, nodes, k, outputs) for k, row in enumerate(self.rows)]
        words = [np.zeros(lengths.sum(), np.int32), *(ids for ids, _ in lists)]
        adds = [np.zeros(lengths.sum(), np.int32), *(kinds for _, kinds in lists)]
        number = step * (np.cumsum(inputs) - inputs)  # of a node's row of x
        first = np.cumsum(counts) - counts
        self._constants = []
        for below, (entry, columns) in entries.items():
            here = np.flatnonzero(counts == below)
            at = starts[here]
            words[0][at[:, None] + np.arange(len(entry))] = entry
            own = int(everywhere or not below)
            if own:
                words[0][at + columns[0]], adds[0][at + columns[0]] = number[here], OF_X
            for j in range(outputs * below):
                state = outputs * structure.below[first[here] + j // outputs] + j % outputs
                place = at + columns[own + j]
                words[0][place], adds[0][place] = state, OF_STATES
            if traces[below].lifted:
                rest = columns[own + outputs * below :]
                self._constants.append((traces[below], [at + column for column in rest]))
        self._words, self._adds = np.concatenate(words), np.concatenate(adds)
        self._rows = tuple(row.stored for row in self.rows)
        # For the short way; none where entries have constants.
        self._all = None if self._constants else (
            self._words.ctypes.data, self._adds.ctypes.data, len(self._words), nodes,
            2 * outputs * nodes,
        )  # fmt: skip

    @staticmethod
    def _listed(row: Any, nodes: int, k: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
        """The entry that makes a Sequence of the nodes' outputs k."""
        index = GATHER.signature((row,)).index
        ids = k + outputs * np.arange(nodes)
        words = np.array([-index - 1, nodes, 1, 1, *ids, nodes], np.int32)
        adds = np.array([0, 0, 0, 0, *[OF_STATES] * nodes, 0], np.int32)
        return words, adds

    def record(self, graph: Graph, x: Sequence) -> Any:
        """Put the nodes on the tape of a graph, in which x is."""
        made = None if self._all is None else short.record(x, self._all, self._rows)
        return self.result(self._at_length(graph, x.id) if made is None else list(made))

    def _at_length(self, graph: Graph, first: int) -> list[Any]:
        """The same, the long way, where x begins at row `first`; gives a Sequence each output."""
        constants = [
            (places, [value.id for value in trace.constants(graph)])
            for trace, places in self._constants
        ]
        nodes, outputs = self._nodes, len(self.rows)
        while True:
            base = graph.values
            words = self._words + np.array([0, first, base], np.int32).take(self._adds)
            for places, ids in constants:
                for at, number in zip(places, ids, strict=True):
                    words[at] = number
            entries = words.tobytes()
            # The rows of one Sequence come from one node: for each output, one that lists them.
            vid = base + outputs * nodes
            following = vid + outputs * nodes
            if graph.values == base:  # else finalizers have recorded meanwhile
                break
        graph.tape += entries
        graph.values = following
        graph.note_line(base)
        return [Sequence(graph, vid + k * nodes, row, nodes) for k, row in enumerate(self._rows)]


def _entry(trace: Trace, values: int) -> tuple[np.ndarray, list[int]]:
    """What a call puts on the tape, and where in it stand its values and the trace's constants."""
    count = values + len(trace.lifted)
    entry = np.frombuffer(trace.entry([_PLACE - k for k in range(count)]), np.int32)
    place = {int(_PLACE - word): at for at, word in enumerate(entry) if word <= _PLACE}
    return entry, [place[k] for k in range(count)]


def fold(cell: Callable, x: Sequence, children: Structure | Listed[Listed[int]]) -> Any:
    """Run `state = cell(x_k, [states of the nodes below k])` over the nodes k of a structure.

    Args:
        cell: a pure function of a row (or None) and a list of states, giving a state: a Tensor, or
            a tuple of Tensors such as (h, c). A cell, as `nn.TreeLSTMCell`, or a function that
            could be one.
        x: a row for each node; or one for each node with nothing below it, and the others get None.
        children: the nodes, as `Structure` takes them.

    Returns:
        the states of all nodes: for each Tensor of a state a Sequence, row k that of node k.

    It records what a loop over the nodes would, at a fraction of the cost.

    >>> def total(x, below):
    ...     return x + sum(below)
    >>> ln.fold(total, ln.sequence(np.ones((3, 1))), [(), (), (0, 1)]).numpy().ravel().tolist()
    [1.0, 1.0, 3.0]

    Raises:
        ShapeError: if the number of rows fits neither, or states differ in shape.
        ValueError: if the nodes are no structure.
    """
    if not isinstance(x, Sequence):
        raise ShapeError(f"fold: the inputs must be a Sequence, not {x!r}")
    structure = children if isinstance(children, Structure) else Structure(children)
    if x.length != len(structure) and x.length != structure.bottom:
        raise ShapeError(
            f"fold: {x.length} rows for a {structure!r}; expected a row for each node, or for each "
            "with nothing below"
        )
    graph = x.graph
    if graph.thread != get_ident():
        graph = graph_of([x])
    if getattr(cell, "_hooks", ()) and len(structure):
        return _node_by_node(cell, x, structure)  # hooks of a module are called for every node
    traced = _cell_of(cell)  # which does not hold the module it belongs to: `cell` does
    if not len(structure):
        leading = _trace(traced, graph, x.type, None, 0)
        return leading.result([zeros(*r.shape, dtype=r.dtype, length=0) for r in leading.rows])
    if type(graph) is not Graph or debugging.get():
        return _node_by_node(traced, x, structure)
    if x.graph is not graph:
        first, step = enter(graph, x)
        x = Sequence(graph, first, x.type, x.length, step)
    try:
        plan = _plan(traced, graph, x, structure)
    except HookInside:  # its modules' hooks are called for every node
        plan = None
    if plan is None:
        return _node_by_node(traced, x, structure)
    return plan.record(graph, x)


def _plan(cell: Cell, graph: Graph, x: Sequence, structure: Structure) -> _Plan | None:
    """The plan for a cell on a structure, as the cell is now; None for one that draws."""
    step = 0 if x.length == 1 else x.step
    key = (cell, x.type, x.length, step, cell.states.state())
    plan = structure.plans.get(key)
    if plan is None:
        everywhere = x.length == len(structure)
        leading = _trace(cell, graph, x.type, None, 0)
        traces = {0: leading}
        for below in sorted(set(structure.counts.tolist()) - {0}):
            row = x.type if everywhere else None
            traces[below] = _trace(cell, graph, row, leading, below)
        if any(trace.graph.draws for trace in traces.values()):
            return None  # every node draws anew
        if len(structure.plans) == _MOST_PLANS:
            structure.plans.clear()
        plan = _Plan(structure, traces, everywhere, step)
        structure.plans[*key[:-1], cell.states.state()] = plan
    return plan


def _trace(cell: Cell, graph: Graph, row: Any, leading: Trace | None, below: int) -> Trace:
    """The cell's trace for nodes with so many below, whose states are those of `leading`."""
    states = []
    if leading is not None:
        for _ in range(below):
            states.append(leading.result([Tensor(graph, 0, state) for state in leading.rows]))
    arguments = (Tensor(graph, 0, row) if row is not None else None, states)
    key: list[Any] = []
    values: list[Any] = []
    for argument in arguments:
        flatten(argument, key, values)
    found = cell.find_trace(tuple(key), values, arguments)
    if leading is not None and found.rows != leading.rows:
        raise ShapeError(
            f"fold: {cell.__name__} gives {list(found.rows)} for a node with {below} below it, and "
            f"{list(leading.rows)} for one with nothing below"
        )
    return found


def _node_by_node(cell: Callable, x: Sequence, structure: Structure) -> Any:
    """The same as a loop, for cells within traces, for debugging, and for modules with hooks."""
    given, everywhere = iter(x), len(structure) == len(x)
    states: list[Any] = []
    parts: list[list[Tensor]] = []
    for below in structure.children:
        row = next(given) if everywhere or not len(below) else None
        states.append(cell(row, [states[j] for j in below]))
        parts.append([])
        rebuild = structured(states[-1], parts[-1])
    return rebuild([sequence(list(rows)) for rows in zip(*parts, strict=True)])


def _cell_of(function: Callable) -> Cell:
    """The function as a cell; a Module is its forward."""
    given = function
    if isinstance(function, Cell):
        return function.first()
    if not isinstance(function, (types.FunctionType, types.MethodType)):
        function = getattr(function, "forward", type(function).__call__.__get__(function))
        if isinstance(function, Cell):
            return function
    function = without_cell(function)
    owner = getattr(function, "__self__", None)
    plain = getattr(function, "__func__", function)
    check_function("fold", plain, given)
    plain, known = kept_of(plain, owner, _known)
    found = known.get(plain)
    if found is None:
        found = known[plain] = Cell(plain, owner)
    return found
