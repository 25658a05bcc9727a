"""Ops over runs: their operands are runs of rows of different lengths, one of each an example.

Queries and keys, the rows of a sequence and the transitions between them: what relates rows of
different numbers is an op of this kind. A kernel sees the nodes of a batch as segments, and for the
output and each operand where the rows of each node begin.
"""

from __future__ import annotations

from lazynet.batching import layout as words
from lazynet.ops.views import as_stored
from lazynet.program import Program, Ref, Region, Step
from lazynet.record import ShapeError, as_value
from lazynet.tensor import Sequence, Tensor, Value

PAYLOAD = Ref(words.WORDS, 0, "int64", 1)


def offsets(index: int) -> Ref:
    """Where the rows of each node begin: in the output (0) or in operand `index - 1`."""
    return Ref(words.OFFSETS, index, "int64", 1)


def operand(signature, k: int, space: int = words.ARGUMENT) -> Ref:
    """Operand `k` of the node, or its gradient."""
    row = signature.operands[k]
    return Ref(space, k, row.dtype, row.size, row.offset)


def output(signature, space: int = words.REGION) -> Ref:
    """The output of the node, or, from its backward program, it or its gradient."""
    return Ref(space, 0, signature.type.dtype, signature.type.size)


class Rooms:
    """What a kernel works in besides its operands: scratch of each example, or of each output row.

    Args:
        first: the number of regions that the program has before.
    """

    def __init__(self, first: int = 0):
        self._first = first
        self.regions: list[Region] = []

    def each(self, domain: int, size: int, dtype: str) -> Ref:
        """Room for `size` elements for each example (SEGMENTS) or each output row (ITEMS)."""
        room = Ref(words.REGION, self._first + len(self.regions), dtype, size)
        self.regions.append(Region(room.width, domain))
        return room


def step(kernel: str, inputs, outputs, attributes, dtype: str, accumulate: bool = False) -> Step:
    """One call of a kernel for all nodes of the batch."""
    inputs, outputs = tuple(inputs), tuple(outputs)
    return Step(
        inputs, outputs, (accumulate,) * len(outputs), kernel, dtype, tuple(attributes),
        (False,) * (len(inputs) + len(outputs)), domain=words.SEGMENTS,
    )  # fmt: skip


def forward_program(signature, *steps: Step, rooms: Rooms | None = None) -> Program:
    """The program that fills the output."""
    regions = [Region(signature.type.width, words.ITEMS, words.OUTPUT)]
    regions += rooms.regions if rooms else []
    return Program(regions, list(steps), strides=tuple(r.stride for r in signature.operands))


def backward_program(signature, *steps: Step, rooms: Rooms | None = None) -> Program:
    """The program that adds to the gradients of the operands."""
    forward, regions = signature.forward, list(rooms.regions) if rooms else []
    return Program(regions, list(steps), strides=forward.strides, forward=forward)


def pieces_of(x, name: str, what: str) -> list[Value]:
    """A run as the pieces that follow each other in it, all of one row type.

    Args:
        x: a Sequence, a Tensor (one row), or a list of these.

    Raises:
        ShapeError: if rows differ in shape or dtype, or there are none to tell.
    """
    pieces = list(x) if isinstance(x, (list, tuple)) else [as_value(x, name)]
    if not pieces:
        raise ShapeError(f"{name}: an empty list does not tell the shape of the {what}")
    pieces = [p if p.__class__ is Sequence else Tensor(p.graph, p.id, p.type) for p in pieces]
    row = pieces[0].type
    for p in pieces:
        if p.type.shape != row.shape or p.type.dtype != row.dtype:
            raise ShapeError(f"{name}: {what} of {row.stored} and {p.type.stored} are no one run")
    if any(p.type is not row for p in pieces):
        pieces = [as_stored(p) for p in pieces]
    return pieces


def rows_in(x) -> int:
    """The number of rows of a run: of a Sequence, a Tensor, or a list of these."""
    if isinstance(x, list):
        return sum(rows_in(p) for p in x)
    return x.length if x.__class__ is Sequence else 1
