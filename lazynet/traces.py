"""Cells as they were traced, each for one kind of arguments, or for lists of many lengths."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lazynet import shortcut
from lazynet.batching import layout as words
from lazynet.calls import is_input, is_rows, structured
from lazynet.device import on_device
from lazynet.graph import words_of
from lazynet.leaf import STATICS
from lazynet.lists import ItemsDiffer, Listed, ListGraph
from lazynet.nested import mapped
from lazynet.op import RowType
from lazynet.ops.random import draw
from lazynet.program import Ref, ref_of
from lazynet.recording import recording_gradients
from lazynet.tensor import Tensor, Value
from lazynet.trace import argument_ids
from lazynet.traced import Traced


class Trace(Traced):
    """A cell traced for one kind of arguments."""

    result: Callable[[list[Any]], Any]  # from handles of the outputs

    def __init__(self, name: str, plain: Callable, values: list[Value], arguments: Any, named: Any):
        def function(*symbols):
            given = iter(symbols)
            swap = functools.partial(mapped, change=lambda x: next(given) if is_input(x) else x)
            swapped = [swap(x) for x in arguments]
            by_name = {name: swap(named[name]) for name in named}
            found: list[Any] = []
            self.result = structured(plain(*swapped, **by_name), found, name)
            if any(map(is_rows, found)):
                raise TypeError(
                    f"{name}: gives a Sequence; what is traced gives Tensors: give a list of them, "
                    "of which ln.sequence makes rows outside, or ln.cat of their features"
                )
            return found

        rows = self._rows([x.type for x in values])
        places = [(row, ref_of(row, words.ARGUMENT, k)) for k, row in enumerate(rows)]
        super().__init__(name, places, function)
        self._lift_constants()
        self.op.singles = self._singles()
        signature = self.signature()
        self.index, self.count = signature.index, len(signature.outputs)
        self.rows = signature.outputs

    def _rows(self, types: list[RowType]) -> list[RowType]:
        """The type of each operand of the node, from those of the call's values."""
        return types

    def _singles(self) -> int:
        return 0

    def entry(self, ids: list[int]) -> bytes:
        """What a call puts on the tape: its values have these ids, in their order."""
        return words_of(self.index, *ids)

    def _lift_constants(self) -> None:
        """What depends on parameters and constants alone is computed outside, once a graph."""
        constants = self.graph.pure()
        own = [node for node in self.graph.nodes if node[1] in constants]
        self.graph.nodes = [node for node in self.graph.nodes if node[1] not in constants]
        used = {vid for signature, _, entry in self.graph.nodes
                for vid in argument_ids(signature, entry)[0]}  # fmt: skip
        used |= {y.id for y in self.outputs}
        self._expressions = own
        self.lifted = [(s, vid) for s, vid, _ in own if vid in used]
        for signature, vid in self.lifted:
            (row,) = signature.outputs
            self.graph.symbols[vid] = Ref(words.ARGUMENT, len(self.arguments), row.dtype, row.size)
            self.arguments.append(row)

    def drawn(self, graph: Any, length: int | None) -> list[Value]:
        """New random values, as many as the cell draws, for a row or for `length` rows."""
        if not self.graph.draws:
            return []
        with on_device(graph.device):
            return [draw(signature, length) for signature in self.graph.draws]

    def constants(self, graph: Any) -> list[Tensor]:
        """The values in `graph` of what the cell takes from parameters alone."""
        if not self.lifted:
            return []
        key = (self.op, STATICS.version, recording_gradients.get())
        found = graph.memo.get(key)
        if found is None:
            known = self.constant_symbols()
            self.replay(self._expressions, known)
            found = graph.memo[key] = [known[vid][0].id for _, vid in self.lifted]
        rows = (signature.type for signature, _ in self.lifted)
        return [Tensor(graph, vid, row) for vid, row in zip(found, rows, strict=True)]


class ListTrace(Trace):
    """A cell traced for a call with a list in it: one signature, whatever the list's length.

    Raises:
        ItemsDiffer: when made, if the function has no such program.
    """

    kind = words.SEGMENT
    segments = True

    def __init__(
        self, name: str, plain: Callable, values: list[Value], arguments: Any, named: Any,
        call: Listed, adding: bool = False,
    ):  # fmt: skip
        self.call, self._adding = call, adding
        super().__init__(name, plain, values, arguments, named)
        if self.result is not shortcut.first and self.result is not tuple:
            raise ItemsDiffer  # what it gives may name the length

    def _inside(self) -> ListGraph:
        return ListGraph(self.name, self.may_draw, self.call.length, self._adding)

    def _rows(self, types: list[RowType]) -> list[RowType]:
        items, singles = self.call.in_order(types)
        return [*(own[0] for own in items), *singles]

    def _singles(self) -> int:
        return len(self.arguments) - len(self.call.items)

    def _symbols(self, arguments: list[tuple[RowType, Ref]]) -> list[Tensor]:
        count, graph = len(self.call.items), self.graph
        assert isinstance(graph, ListGraph)
        given: dict[int, Tensor] = {}
        for numbers, place in zip(self.call.items, arguments, strict=False):
            given.update(zip(numbers, graph.items(*place), strict=True))
        for number, place in zip(self.call.singles, arguments[count:], strict=True):
            given[number] = graph.symbol(*place)
        return [given[number] for number in range(len(given))]

    def entry(self, ids: list[int]) -> bytes:
        items, singles = self.call.in_order(ids)
        length, own = self.call.length, [i for column in items for i in column]
        rest = ids[len(own) + len(singles) :]  # draws, and what is made of parameters alone
        return words_of(-self.index - 1, length, 1, 1, *own, length, *singles, *rest)

    def join(self, other: ListTrace) -> bool:
        """Be of one signature with a trace for another length, if that recorded the same."""
        if not self._alike(other):
            return False
        for name in ("graph", "outputs", "op", "arguments", "lifted", "_expressions", "_signature"):
            setattr(self, name, getattr(other, name))
        self.index, self.rows = other.index, other.rows
        return True

    def _alike(self, other: ListTrace) -> bool:
        """Whether two traces for different lengths are one program.

        Constants are the same only if they are one leaf: others may come to differ.
        """
        ours, theirs = self.graph, other.graph
        return (
            self.arguments == other.arguments
            and len(self.call.items) == len(other.call.items)
            and ours.symbols == theirs.symbols
            and ours.ragged == theirs.ragged
            and ours.draws == theirs.draws
            and self.result is other.result
            and self.same_as(other)
        )
