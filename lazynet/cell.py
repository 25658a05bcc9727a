"""Cells: a pure function of Tensors, recorded as one node.

A cell is traced once for each kind of arguments. What the trace found is one signature: recording a
call is one entry on the tape, whatever the function does.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

from lazynet import shortcut
from lazynet.anew import close_over_the_same, made_of, made_of_method
from lazynet.calls import NoConstant, classes_in, flatten, is_rows, structured
from lazynet.debugging import debugging
from lazynet.graph import words_of
from lazynet.lists import ItemsDiffer, listed
from lazynet.nested import mapped
from lazynet.ops.rows import sequence
from lazynet.ops.ways import with_leaves
from lazynet.purity import Guard, weakly
from lazynet.quick_calls import calls
from lazynet.record import ShapeError, enter, graph_of, handles
from lazynet.states import Known, States
from lazynet.tensor import Sequence, Tensor
from lazynet.trace import HookInside, TraceGraph
from lazynet.traces import ListTrace, Trace

_NOTHING: dict[str, Any] = {}


class Cell:
    """A function, or a method of one object, that is recorded as one node. See `cell`."""

    __name__: str

    trace = Trace
    recompute = False

    def __init__(self, function: Callable, owner: Any = None):
        functools.update_wrapper(self, function)
        self._function = function
        self._owner = None if owner is None else weakly(owner)
        self.held: Any = None  # the object, where nobody else may hold it
        self.states = States(_Known)
        self._bound: dict[int, Cell] = {}
        self._first: Cell | None = None  # where this one was made anew
        self._class: weakref.ref[type] | None = None  # the class that it is a method of, unbound

    def __set_name__(self, owner: type, name: str) -> None:
        self._class = weakref.ref(owner)

    def __get__(self, instance: Any, owner: Any = None) -> Cell:
        if instance is None:
            return self
        return self._bound.get(id(instance)) or self._bind(instance)

    def _bind(self, instance: Any) -> Any:
        """The same as a method of this object, kept as long as the object lives."""
        number = id(instance)
        made = self._bound[number] = self._of(instance)
        owner_name, own = type(instance).__name__, self._function.__name__
        made.__name__ = owner_name if own == "forward" else f"{owner_name}.{own}"
        weakref.finalize(instance, self._bound.pop, number, None).atexit = False
        return made

    def _of(self, instance: Any) -> Cell:
        return type(self)(self._function, instance)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if named:
            placed = self._placed(arguments, named)
            if placed is not None:
                return self(*placed)
        guard = self.states.guard
        if guard is not None and not named:
            made = calls.record(guard.watched, self.states.now.kinds, *arguments)
            if made is None and self.states.hold():
                made = self._record_shortly(arguments)
            if made is not None:
                return made
        kind = self._class and self._class()
        if kind is not None and arguments and isinstance(arguments[0], kind):
            return self.__get__(arguments[0])(*arguments[1:], **named)
        if guard is None and (first := self.first()) is not self:
            return first(*arguments, **named)
        key: list[Any] = []
        values: list[Any] = []
        for x in arguments:
            flatten(x, key, values)
        for name in named:  # in the order in which the function sees them
            key.append(name)
            flatten(named[name], key, values)
        return self._record(tuple(key), values, arguments, named)

    def first(self) -> Cell:
        """The cell of this function when it was made the first time (see `anew.py`)."""
        of_class = self._class is not None or (self._owner is not None and self.held is None)
        if self.states.guard is not None or of_class:
            return self
        found, function = self._first, self._function
        if found is None or not close_over_the_same(found._function, function):
            owner = self.held
            made = made_of(function) if owner is None else made_of_method(function, owner)
            found = self if made is None else made.kept.setdefault(type(self), self)
            self._first = None if found is self else found
        return found

    @functools.cached_property
    def _places(self) -> list[str]:
        """The names of the arguments by position; empty for those that are given by position."""
        code = self._function.__code__
        names = [""] * code.co_posonlyargcount
        names += code.co_varnames[code.co_posonlyargcount : code.co_argcount]
        return names[self._owner is not None :]

    def _placed(self, arguments: Any, named: dict[str, Any]) -> Any:
        """All arguments by position, where those by name come next; None otherwise."""
        names = self._places[len(arguments) : len(arguments) + len(named)]
        if len(names) < len(named) or not named.keys() <= set(names):
            return None
        return *arguments, *[named[name] for name in names]

    def _record_shortly(self, arguments: Any) -> Any:
        """The short way where all is as it was; None for a kind of call that it does not know."""
        kinds = self.states.now.kinds
        made = calls.record(None, kinds, *arguments)
        if made is None and kinds:
            made = with_leaves(calls, None, kinds, *arguments)
        return made

    def _record(self, key: Any, values: list[Any], arguments: Any, named: Any) -> Any:
        """The long way: trace if need be, bring values of other graphs in, record."""
        lengths = {x.length for x in values if x.__class__ is Sequence}
        if len(lengths) > 1:
            raise ShapeError(
                f"{self.__name__}: Sequences of {' and '.join(map(str, sorted(lengths)))} rows; a "
                "cell goes over the rows of all its Sequences together"
            )
        graph = graph_of(values) if values else None
        if graph is None or isinstance(graph, TraceGraph):
            return self._plain(*arguments, **named)
        if debugging.get() and lengths != {0}:  # without rows there is nothing to run
            return self._row_by_row(lengths, arguments, named)
        try:
            trace = self.find_trace(key, values, arguments, named)
        except HookInside:  # its modules' hooks are called for every example
            return self._row_by_row(lengths, arguments, named)
        length = lengths.pop() if lengths else None
        inputs = [*values, *trace.drawn(graph, length), *trace.constants(graph)]
        if length is None:
            entry = trace.entry([enter(graph, x)[0] for x in inputs])
        else:
            pairs = [word for x in inputs for word in enter(graph, x)]
            entry = words_of(-trace.index - 1, length, *pairs)
        rows = trace.count if length is None else trace.count * length
        vid = graph.append(trace.signature(), entry, rows)
        made = handles(graph, trace.signature(), vid, length)
        return trace.result(list(made) if isinstance(made, tuple) else [made])

    def _plain(self, *arguments: Any, **named: Any) -> Any:
        function, owner = self.plain()
        return (
            function(*arguments, **named) if owner is None else function(owner, *arguments, **named)
        )

    def plain(self) -> tuple[Callable, Any]:
        """The function itself, and the object that it is a method of."""
        if self._owner is None:
            return self._function, None
        owner = self._owner()
        if owner is None:
            raise ReferenceError(f"{self.__name__}: the module that it is a method of is gone")
        return self._function, owner

    def _row_by_row(self, lengths: set[int], arguments: Any, named: Any) -> Any:
        """Run untraced, op by op; over Sequences once for each row, as the trace would."""
        if not lengths:
            return self._plain(*arguments, **named)
        every = []
        for j in range(lengths.pop()):
            row = functools.partial(mapped, change=lambda x, j=j: x[j] if is_rows(x) else x)
            results = self._plain(*map(row, arguments), **{k: row(v) for k, v in named.items()})
            found: list[Tensor] = []
            rebuild = structured(results, found)
            every.append(found)
        return rebuild([sequence(list(rows)) for rows in zip(*every, strict=True)])

    def find_trace(
        self, key: Any, values: list[Any], arguments: Any, named: Any = _NOTHING
    ) -> Trace:
        """The trace for arguments of that kind; made if there is none yet."""
        states = self.states
        if states.guard is None:
            states.watch(Guard(self._function, self._owner))
        states.hold()
        found = states.now.traces.get(key)
        if found is None:
            self._check_constants(key)
            states.include(classes_in(key))
            before = states.guard.state
            found, again = self._traced(values, arguments, named)
            states.check(self.__name__, before, found, again)
            states.now.add(key, found)
            states.now.note_form(found, () if named else arguments)
        return found

    def _check_constants(self, key: Any) -> None:
        for part in key:
            if part.__class__ is NoConstant:
                raise TypeError(
                    f"{self.__name__}: an argument of type {part.kind.__name__} may change without "
                    "a cell seeing it; give it as a Tensor or as numbers, or let the function read "
                    "it from a variable or attribute, which is watched"
                )

    def _traced(
        self, values: list[Any], arguments: Any, named: Any, plain: Callable | None = None
    ) -> tuple[Trace, Trace]:
        """The function traced twice: over a list of any length if it can be, else as it is."""
        call = self.__name__, plain or self._plain, values, arguments, named
        every = (*arguments, *named.values())
        for way in [] if self.recompute else listed(every, values):
            # Of one item nothing tells whether adding it to something adds up all the items.
            for adding in (False, True) if way.length == 1 else (False,):
                with contextlib.suppress(ItemsDiffer):
                    return ListTrace(*call, way, adding), ListTrace(*call, way, adding)
        return self.trace(*call), self.trace(*call)

    def explain(self) -> str:
        """What the cell was compiled to: for each kind of arguments its programs as text."""
        known = list(self.first().states.traces())
        if not known:
            return f"{self.__name__}: not called yet"
        traces: dict[int, Trace] = {}
        for trace in known:
            traces.setdefault(trace.index, trace)  # lists of many lengths may be one
        return "\n\n".join(trace.explain() for trace in traces.values())

    def __reduce__(self) -> Any:
        """Copies trace anew. What is found by its name is pickled by it, as functions are."""
        function, owner = self.plain()
        if owner is not None:
            return cell_of, (type(self), types.MethodType(function, owner), self.__name__)
        home: Any = sys.modules.get(function.__module__)
        for name in function.__qualname__.split("."):
            home = getattr(home, name, None)
        return function.__qualname__ if home is self else (type(self), (function,))

    def __repr__(self) -> str:
        return f"<cell {self.__name__}>"


class _Known(Known):
    """What a cell was traced to while the state behind it was the same."""

    def __init__(self) -> None:
        super().__init__()
        self._lists: list[ListTrace] = []  # one for each program
        self._lengths: dict[Any, set[int]] = {}  # of lists, by all else that makes a kind of call

    def note_form(self, trace: Trace, arguments: Any) -> None:
        """Record calls with such arguments the short way, if they can be."""
        form = _form(arguments)
        if isinstance(trace, ListTrace):
            if not any(trace.join(other) for other in self._lists):
                self._lists.append(trace)
            form = self._of_any_length(trace, arguments)
        plain = not trace.lifted and not trace.graph.draws
        if arguments and form and plain:
            self.record_shortly(form, trace.index, len(trace.rows), trace.result)

    def _of_any_length(self, trace: ListTrace, arguments: Any) -> Any:
        """The form of a call over a list; None if it is known, where its length is noted."""
        call = trace.call
        key: list[Any] = [trace.index, call.paths]
        flatten(call.changed(arguments, lambda x: x[:1]), key, [])
        known = self._lengths.setdefault(tuple(key), set())
        known.add(call.length)
        if len(known) > 1:
            return None
        return _form(call.changed(arguments, lambda x: shortcut.AnyLength(_form(x[0]), known)))


def _form(arguments: Any) -> Any:
    """The arguments with their types in the place of Tensors and Sequences."""

    def type_of(x: Any) -> Any:
        if x.__class__ is Sequence:
            return shortcut.Rows(x.type)
        return x.type if x.__class__ is Tensor else x

    return mapped(arguments, change=type_of)


def cell(function: Callable) -> Any:
    """Record each call of a pure function as one node: `@ln.cell`.

    The function takes and gives Tensors, alone or in tuples, lists and dicts, and may use
    parameters and constants. It is traced once for each kind of arguments (shapes, dtypes, and
    Python values, which are part of the kind), and compiled: products, one generated loop for each
    chain of elementwise ops, weight gradients over all its calls at once. Over Sequences of n rows
    it goes row by row, and gives Sequences. Methods, `forward` of a Module above all, may be cells.
    When an attribute, a global or a variable that it reads has changed, it is traced anew.

    Calls with lists of different lengths (children, paths) run together if the function does the
    same with every item, in a loop or on `ln.sequence(items)`, and combines all of them: by
    `ln.sum`, `ln.mean`, `ln.max`, `ln.softmax` over the rows, or by adding one after the other.

    >>> @ln.cell
    ... def step(x, y):
    ...     return (x * 2.0 + y).tanh()
    >>> step(ln.zeros(3), ln.zeros(3)).tolist(), step(ln.zeros(3, length=5), ln.zeros(3)).shape
    ([0.0, 0.0, 0.0], (5, 3))

    >>> @ln.cell
    ... def join(children):
    ...     return ln.tanh(ln.sum([child * 0.5 for child in children]))
    >>> join([ln.zeros(2)]).tolist(), join([ln.zeros(2)] * 3).tolist()
    ([0.0, 0.0], [0.0, 0.0])

    Raises:
        ImpureFunction: if it changes what it reads, or does not do the same when called twice.
        TypeError: if it looks at a value, or uses one that is no argument, parameter or constant.
    """
    return cell_of(Cell, function, "cell")


def without_cell(function: Any) -> Any:
    """A method that became a cell by itself as the method that it was."""
    own = getattr(function, "__func__", None)
    return (
        types.MethodType(own.plain()[0], function.__self__) if isinstance(own, Cell) else function
    )


def check_function(name: str, function: Any, given: Any) -> None:
    """Raise for what is `given` where a function is wanted, unless it came to one of Python's."""
    if not isinstance(function, types.FunctionType):
        raise TypeError(
            f"{name}: expected a function or a method, not {type(given).__name__}; give it a "
            "function that calls it, or the forward of a module"
        )


def cell_of(kind: type[Cell], function: Any, name: str) -> Cell:
    """A cell of a function, a method, or of what another cell was made of."""
    owner = None
    function = without_cell(function)
    if isinstance(function, Cell):
        function, owner = function.plain()
    if isinstance(function, types.MethodType):
        function, owner = function.__func__, function.__self__
    check_function(name, function, function)
    made = kind(function, owner)
    made.held = owner
    return made
