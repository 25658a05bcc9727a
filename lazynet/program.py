"""Programs: what one signature does to a batch, as a straight line of kernel calls.

An op lowers to a program of a step or two; a formula for its derivative, traced, is a program; a
cell, traced, is a program. Passes (`fuse`, `defer`, ...) take a program and give a program. The
batching stages read programs as integers (`encode`), in the words of `batching/layout.py`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.kernels import cpu
from lazynet.kernels.generate import Elementwise, Formula, Operand


@dataclass(frozen=True, slots=True)
class Ref:
    """An operand of a step: which space, which value of it, and what part of its row."""

    space: int
    index: int
    dtype: str
    size: int
    offset: int = 0  # bytes
    literal: float | int = 0.0  # an int where the dtype is one: not every int is a float

    @property
    def width(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Region:
    """A value of the program: a row for each item, or for each segment, of the batch."""

    width: int
    domain: int = words.ITEMS
    lifetime: int = words.SCRATCH


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel call: a shared kernel by name, or formulas to be generated as one loop."""

    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    accumulate: tuple[bool, ...]
    kernel: str = ""
    dtype: str = "float32"
    attributes: tuple[int, ...] = ()
    views: tuple[bool, ...] = ()  # which operands must be evenly spaced; inputs, then outputs
    formulas: tuple[Formula, ...] = ()  # reading x0, x1, ...; the outputs are `results`
    results: tuple[str, ...] = ()
    domain: int = words.ITEMS
    phase: int = words.BEFORE

    @property
    def elementwise(self) -> bool:
        return not self.kernel

    @property
    def width(self) -> int:
        """Of an elementwise step: the elements of a row. Operands of one element broadcast to it,
        which may be to no element at all."""
        sizes = {ref.size for ref in (*self.inputs, *self.outputs)}
        return 0 if 0 in sizes else max(sizes)


@dataclass
class Program:
    """Steps over regions; the first regions are the node's outputs."""

    regions: list[Region]
    steps: list[Step]
    states: int = 0
    strides: tuple[int, ...] = ()  # bytes between an argument's rows where they lie end to end
    singles: int = 0  # how many of the last arguments have a row a segment
    # (argument, offset, elements, domain) -> region of its gathered rows
    gathered: dict[tuple[int, int, int, int], int] = field(default_factory=dict)
    forward: Program | None = None  # of a backward program, the forward program it belongs to
    transient: bool = False  # whether rows that it gathers are not kept for backward
    # Of a backward program, the parameters that may get gradients; None for all of its node.
    led: frozenset[int] | None = None

    @property
    def arguments(self) -> int:
        return len(self.strides)

    @functools.cached_property
    def statics(self) -> tuple[int, ...]:
        """The numbers of the parameters, constants and tables that the steps read."""
        refs = [ref for step in self.steps for ref in step.inputs]
        return tuple(sorted({ref.index for ref in refs if ref.space == words.STATIC}))

    def written(self) -> frozenset[int]:
        """The numbers of the parameters to whose gradients the steps add."""
        refs = [ref for step in self.steps for ref in step.outputs]
        return frozenset(ref.index for ref in refs if ref.space == words.D_STATIC)


def elementwise(expression: str, inputs, output: Ref, accumulate=False, domain=words.ITEMS) -> Step:
    """The step `output (+)= expression`, where the expression reads x0, x1, ..."""
    dtype = next((ref.dtype for ref in inputs if ref.dtype != "bool"), output.dtype)
    return Step(
        inputs=tuple(inputs),
        outputs=(output,),
        accumulate=(accumulate,),
        formulas=(Formula("y", expression, dtype),),
        results=("y",),
        domain=domain,
    )


def call(
    kernel: str, inputs, output: Ref, attributes, dtype, views=None, domain=words.ITEMS
) -> Step:
    """The step that calls a shared kernel (`kernels/cpu.py` lists them)."""
    views = tuple(views) if views else (False,) * (len(inputs) + 1)
    return Step(
        tuple(inputs), (output,), (False,), kernel, dtype, tuple(attributes), views, domain=domain
    )


def literal_ref(value: Any, dtype: str) -> Ref:
    """The reference to a Python number of this dtype."""
    number = float(value) if dtype.startswith("float") else int(value)
    return Ref(words.LITERAL, 0, dtype, 1, literal=number)


def ref_of(row, space: int, index: int) -> Ref:
    """The reference to a value of this type, which may be a view."""
    return Ref(space, index, row.dtype, row.size, row.offset)


def operand_refs(signature) -> list[Ref]:
    """The operands of a signature in their order: arguments of the node, or parameters."""
    return [
        ref_of(row, words.STATIC if static else words.ARGUMENT, k)
        for static, k, row in signature.places()
    ]


def output_refs(signature) -> list[Ref]:
    """The outputs of a signature: the first regions of its program."""
    rows = enumerate(signature.outputs)
    return [Ref(words.REGION, k, row.dtype, row.size) for k, row in rows]


def lowered(signature, steps, domain: int = words.ITEMS, regions=()) -> Program:
    """A forward program of these steps, whose first regions are the signature's outputs."""
    outputs = [Region(row.width, domain, words.OUTPUT) for row in signature.outputs]
    strides = tuple(row.stride for row in signature.operands)
    return Program([*outputs, *regions], list(steps), strides=strides)


class Pool:
    """All encoded programs, end to end in one array that the batching stages read."""

    def __init__(self):
        self.words = np.zeros(4096, np.int64)
        self.used = 0

    def add(self, program: Program) -> int:
        encoded = encode(program)
        while self.used + len(encoded) > len(self.words):
            self.words = np.concatenate([self.words, np.zeros_like(self.words)])
        start = self.used
        self.words[start : start + len(encoded)] = encoded
        self.used += len(encoded)
        return start


POOL = Pool()


def encode(program: Program) -> list[int]:
    """The program as integers, its kernels compiled. Adds the regions that gathers need."""
    program.regions = list(program.regions)
    steps, emission, vectors = [], 0, 0
    known = [*program.regions, *(program.forward.regions if program.forward else ())]
    ragged = any(region.domain == words.SEGMENTS for region in known)
    for step in program.steps:
        encoded, extra = _encode_step(step, program)
        steps += encoded
        emission += len(encoded) + extra
        refs = (*step.inputs, *step.outputs)
        vectors += sum(_vectors(ref, step, program, ragged) for ref in refs)
    header = {
        words.H_REGIONS: len(program.regions),
        words.H_STEPS: len(program.steps),
        words.H_EMISSION: emission,
        words.H_VECTORS: vectors,
        words.H_ARGUMENTS: program.arguments,
        words.H_STATES: program.states,
        words.H_SINGLES: program.singles,
    }
    regions: list[int] = []
    for r in program.regions:
        region = {words.V_WIDTH: r.width, words.V_DOMAIN: r.domain, words.V_LIFETIME: r.lifetime}
        regions += _in_order(region)
    return [*_in_order(header), *regions, *program.strides, *steps]


def _in_order(named: dict[int, int]) -> list[int]:
    """Words in the order of their names, which are numbers from 0 on."""
    return [named[k] for k in range(len(named))]


def _vectors(ref: Ref, step: Step, program: Program, ragged: bool) -> int:
    """How often an operand's rows may have to be listed one by one where the step is emitted.

    Arguments were listed before; else only what has a row a segment and is seen by items is.
    """
    spread = 0
    if step.domain == words.ITEMS:
        if ref.space in (words.ARGUMENT, words.D_ARGUMENT):
            spread = int(ref.index >= program.arguments - program.singles)
        elif ref.space in (words.REGION, words.FORWARD_REGION, words.D_FORWARD):
            spread = int(ragged)
    return spread + (ref.space in (words.STATE, words.D_STATE, words.D_ARGUMENT))


def _encode_step(step: Step, program: Program) -> tuple[list[int], int]:
    refs = [*step.inputs, *step.outputs]
    flags = [0] * len(step.inputs)
    flags += [words.WRITTEN | (words.ACCUMULATED if a else 0) for a in step.accumulate]
    attributes: tuple[int, ...]
    views: tuple[bool, ...]
    if step.elementwise:
        attributes, kernel = (step.width,), _elementwise_kernel(step).address()
        views = (False,) * len(refs)
    else:
        attributes = (int(step.accumulate[0]), *step.attributes)
        kernel, views = cpu.kernel(step.kernel, step.dtype), step.views
    operands: list[int] = []
    extra = 0
    for ref, flag, view in zip(refs, flags, views, strict=True):
        helper, region = 0, -1
        if view:
            flag |= words.VIEW
            helper = copy_kernel(ref.dtype, bool(flag & words.WRITTEN)).address()
            region = _gather_region(ref, step, program)
            extra += words.STEP_HEADER + 2 * words.OPERAND_WORDS
        operand = {
            words.O_SPACE: ref.space,
            words.O_INDEX: ref.index,
            words.O_OFFSET: ref.offset,
            words.O_WIDTH: ref.width,
            words.O_FLAGS: flag,
            words.O_HELPER: helper,
            words.O_SIZE: ref.size,
            words.O_REGION: region,
        }
        operands += _in_order(operand)
    header = {
        words.S_WORDS: words.STEP_HEADER + len(attributes) + len(operands),
        words.S_KERNEL: kernel,
        words.S_DOMAIN: step.domain,
        words.S_PHASE: step.phase,
        words.S_ATTRIBUTES: len(attributes),
        words.S_OPERANDS: len(refs),
        words.S_APART: int(_item_by_item(step)),
        words.S_PRODUCT: _product_with_parameter(step),
    }
    return [*_in_order(header), *attributes, *operands], extra


def _item_by_item(step: Step) -> bool:
    """Whether the kernel of a step does each of its items by itself, and any of them in a call.

    Users' functions see all rows at once; a product of transposed rows adds up over them.
    """
    if step.kernel == "matmul":
        _, _, _, transposed, _ = step.attributes
        return not transposed
    return not any(step.views)


def _product_with_parameter(step: Step) -> int:
    """A fourth of the bytes of an element, of a product of rows with a parameter; else 0."""
    if step.kernel != "matmul" or not _item_by_item(step):
        return 0
    return np.dtype(step.dtype).itemsize // 4 if step.inputs[1].space == words.STATIC else 0


def _gather_region(ref: Ref, step: Step, program: Program) -> int:
    """The region where rows of `ref` are gathered when they are not evenly spaced."""
    part = (ref.index, ref.offset, ref.size, step.domain)
    if ref.space == words.ARGUMENT and part in program.gathered:
        return program.gathered[part]
    if ref.space == words.ARGUMENT and program.forward and part in program.forward.gathered:
        return -2 - program.forward.gathered[part]
    keep = ref.space in (words.ARGUMENT, words.STATE) and (
        step.phase == words.DEFERRED or (step.kernel == "matmul" and not program.transient)
    )
    lifetime = words.SAVED if keep else words.SCRATCH
    width = 0 if _is_spaced_evenly(ref, step, program) else ref.width
    program.regions.append(Region(width, step.domain, lifetime))
    region = len(program.regions) - 1
    # A step of a loop that goes over one row alone reads it where it lies.
    if ref.space == words.ARGUMENT and lifetime == words.SAVED and step.phase != words.LOOP:
        program.gathered[part] = region
    return region


def _is_spaced_evenly(ref: Ref, step: Step, program: Program) -> bool:
    """Whether an operand's rows are those of a value of the program, one behind the other."""
    home: Program | None = None
    if ref.space == words.REGION:
        home = program
    elif ref.space in (words.FORWARD_REGION, words.D_FORWARD):
        home = program.forward
    return home is not None and home.regions[ref.index].domain == step.domain


def _elementwise_kernel(step: Step) -> Elementwise:
    width = step.width

    def operand(ref, accumulate=False):
        return Operand(ref.dtype, scalar=ref.size == 1 and width != 1, accumulate=accumulate)

    outputs = zip(step.results, step.outputs, step.accumulate, strict=True)
    return Elementwise(
        tuple(operand(ref) for ref in step.inputs),
        step.formulas,
        tuple((name, operand(ref, a)) for name, ref, a in outputs),
    )


def copy_kernel(dtype: str, accumulate: bool) -> Elementwise:
    """y (+)= x: what gathers and scatters rows."""
    formula = Formula("y", "x0", dtype)
    return Elementwise((Operand(dtype),), (formula,), (("y", Operand(dtype, False, accumulate)),))
