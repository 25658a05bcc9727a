"""Products that share an operand become one product.

A cell written as in a textbook has a product for each gate: sigmoid(W_i x + U_i h), and so on. Here
W_i x, W_f x, ... become one product with a wide result, of which each gate reads its part. For that
the weights have to lie one after the other in memory, which `blocks.py` sees to, and so have their
gradients: in the derivative, what goes back to x is one product, what goes to the weights another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lazynet.batching import layout as words
from lazynet.program import Program, Ref, Region, Step

Numbers = tuple[int, ...]
Moved = dict[int, tuple[int, int]]  # region -> the wider region it is a part of, and its offset


class Merged(NamedTuple):
    """A program in which products were merged, and what its derivative has to know of that."""

    program: Program
    moved: Moved
    weights: list[Numbers]  # of each merged product, in the order in which they lie


def merge_products(program: Program, join: Callable[[Numbers], bool]) -> Merged:
    """Products of one value with several weights are one product.

    Args:
        join: lets parameters lie one after the other, and tells whether they do.
    """
    moved: Moved = {}
    weights: list[Numbers] = []
    refused: set[Numbers] = set()
    while True:
        for members in _with_one_input(program):
            numbers = tuple(step.inputs[1].index for step in members)
            changed = None if numbers in refused else _forward(program, members)
            if changed is not None and join(numbers):
                program, moved = changed[0], {**moved, **changed[1]}
                weights.append(numbers)
                break
            refused.add(numbers)
        else:
            return Merged(program, moved, weights)


def merge_derivative(program: Program, weights: Iterable[Numbers]) -> Program:
    """The same in the derivative, for weights that lie one after the other."""
    for numbers in weights:
        for find in (_of_one_target, _of_weights):
            for members in find(program, numbers):
                changed = _backward(program, members)
                program = program if changed is None else changed
    return program


def relocated(program: Program, moved: Moved, space: int) -> Program:
    """The program with regions of a space being parts of wider ones."""

    def change(ref: Ref) -> Ref:
        if ref.space != space or ref.index not in moved:
            return ref
        region, offset = moved[ref.index]
        return replace(ref, index=region, offset=ref.offset + offset)

    steps = [
        replace(
            step, inputs=tuple(map(change, step.inputs)), outputs=tuple(map(change, step.outputs))
        )
        for step in program.steps
    ]
    return replace(program, steps=steps)


# -- forward ---------------------------------------------------------------------------------------


def _with_one_input(program: Program) -> Iterator[list[Step]]:
    """Groups of products W_1 a, W_2 a, ... whose results can lie side by side."""
    groups: dict[tuple, list[Step]] = {}
    for step in program.steps:
        if _is_product(step, 0, 1) and step.inputs[1].space == words.STATIC:
            source = step.inputs[0]
            key = source, step.accumulate, step.phase, step.domain, step.dtype
            groups.setdefault(key, []).append(step)
    for group in groups.values():
        for members in _beside(program, group, lambda step: step.outputs[0]):
            if len({step.inputs[1].index for step in members}) == len(members):
                yield members


def _forward(program: Program, members: list[Step]) -> tuple[Program, Moved] | None:
    """The program with these products in one; None where their order does not allow it."""
    program, moved = _side_by_side(program, [step.outputs[0] for step in members])
    members = _found_again(members, moved)
    first, columns = members[0], sum(step.outputs[0].size for step in members)
    source, weight = first.inputs
    inner = weight.size // first.outputs[0].size
    made = replace(
        first,
        inputs=(source, replace(weight, size=columns * inner)),
        outputs=(replace(first.outputs[0], size=columns),),
        attributes=(1, columns, inner, 0, 1),
    )
    steps = _in_place_of(program.steps, members, made)
    return None if steps is None else (replace(program, steps=steps), moved)


# -- derivative ------------------------------------------------------------------------------------


def _of_one_target(program: Program, numbers: Numbers) -> Iterator[list[Step]]:
    """Groups of a += g_1 W_1, a += g_2 W_2, ... of all these weights, in their order."""
    groups: dict[tuple, dict[int, Step]] = {}
    for step in program.steps:
        if _is_product(step, 0, 0) and step.inputs[1].space == words.STATIC and step.accumulate[0]:
            own = groups.setdefault((step.outputs, step.phase, step.domain), {})
            own.setdefault(step.inputs[1].index, step)
    yield from _complete(program, groups, numbers)


def _of_weights(program: Program, numbers: Numbers) -> Iterator[list[Step]]:
    """Groups of dW_1 += g_1' a, dW_2 += g_2' a, ... of all these weights, in their order."""
    groups: dict[tuple, dict[int, Step]] = {}
    for step in program.steps:
        target = step.outputs[0]
        if step.kernel != "matmul" or target.space != words.D_STATIC or target.offset:
            continue
        if step.attributes[2:] == (1, 1, 0) and step.accumulate[0]:
            own = groups.setdefault((step.inputs[1], step.phase, step.domain), {})
            own.setdefault(target.index, step)
    yield from _complete(program, groups, numbers)


def _complete(
    program: Program, groups: dict[tuple, dict[int, Step]], numbers: Numbers
) -> Iterator[list[Step]]:
    """Those groups that have a product of each weight, whose cotangents can lie side by side."""
    for own in groups.values():
        if all(number in own for number in numbers):
            members = [own[number] for number in numbers]
            if [members] == list(_beside(program, members, lambda step: step.inputs[0])):
                yield members


def _backward(program: Program, members: list[Step]) -> Program | None:
    """The program with these products in one; None where their order does not allow it."""
    program, moved = _side_by_side(program, [step.inputs[0] for step in members])
    members = _found_again(members, moved)
    first, columns = members[0], sum(step.inputs[0].size for step in members)
    given = replace(first.inputs[0], size=columns)
    (target,), other = first.outputs, first.inputs[1]
    if first.attributes[3:] == (1, 0):  # the gradients of the weights
        target = replace(target, size=columns * other.size)
        attributes = (columns, other.size, 1, 1, 0)
    else:
        other = replace(other, size=columns * target.size)
        attributes = (1, target.size, columns, 0, 0)
    made = replace(first, inputs=(given, other), outputs=(target,), attributes=attributes)
    steps = _in_place_of(program.steps, members, made)
    return None if steps is None else replace(program, steps=steps)


# -- rows side by side -----------------------------------------------------------------------------


def _is_product(step: Step, ta: int, tb: int) -> bool:
    """Whether a step is a product of a row and all of a matrix, taken as `ta` and `tb` say."""
    if step.kernel != "matmul" or step.attributes[0] != 1 or step.attributes[3:] != (ta, tb):
        return False
    matrix = step.inputs[1]
    return matrix.offset == 0 and matrix.size == step.attributes[1] * step.attributes[2]


def _beside(
    program: Program, group: list[Step], value: Callable[[Step], Ref]
) -> Iterator[list[Step]]:
    """The steps of a group whose values have regions of their own; and those that lie in a row."""
    alone: dict[int, Step] = {}
    parts: dict[int, dict[int, Step]] = {}
    for step in group:
        ref = value(step)
        if ref.space != words.REGION or program.regions[ref.index].lifetime == words.OUTPUT:
            continue
        if ref.offset == 0 and program.regions[ref.index].width == ref.width:
            alone.setdefault(ref.index, step)
        else:
            parts.setdefault(ref.index, {}).setdefault(ref.offset, step)
    if len(alone) > 1:
        yield list(alone.values())
    for own in parts.values():
        row: list[Step] = []
        for offset, step in sorted(own.items()):
            if row and value(row[-1]).offset + value(row[-1]).width != offset:
                yield from [row] if len(row) > 1 else []
                row = []
            row.append(step)
        yield from [row] if len(row) > 1 else []


def _side_by_side(program: Program, values: list[Ref]) -> tuple[Program, Moved]:
    """The program with regions in one wide region, unless they are parts of one already."""
    if len({ref.index for ref in values}) == 1:
        return program, {}
    own = [program.regions[ref.index] for ref in values]
    ends = np.cumsum([region.width for region in own]).tolist()
    index, kept = len(program.regions), any(region.lifetime == words.SAVED for region in own)
    wide = Region(ends[-1], own[0].domain, words.SAVED if kept else words.SCRATCH)
    offsets = [0, *ends[:-1]]
    moved = {ref.index: (index, offset) for ref, offset in zip(values, offsets, strict=True)}
    gone = [replace(r, width=0) if k in moved else r for k, r in enumerate(program.regions)]
    program = relocated(program, moved, words.REGION)
    return replace(program, regions=[*gone, wide]), moved


def _found_again(members: list[Step], moved: Moved) -> list[Step]:
    """Steps as they are in the program after regions have moved."""
    return relocated(Program([], members), moved, words.REGION).steps


# -- order -----------------------------------------------------------------------------------------


def _in_place_of(steps: list[Step], members: list[Step], made: Step) -> list[Step] | None:
    """The steps with one in place of several; None where something must run in between."""
    group: list[int] = []  # a step may be there twice; not any more where what it reads has moved
    for m in members:
        found = next((k for k, step in enumerate(steps) if step == m and k not in group), None)
        if found is None:
            return None
        group.append(found)
    group.sort()
    node = {k: group[0] if k in group else k for k in range(len(steps))}
    before: dict[int, set[int]] = {node[k]: set() for k in range(len(steps))}
    for k, later in enumerate(steps):
        for j in range(k):
            if node[j] != node[k] and must_follow(later, steps[j]):
                before[node[k]].add(node[j])
    order: list[int] = []
    waiting = sorted(before)
    while waiting:
        ready = next((k for k in waiting if before[k] <= set(order)), None)
        if ready is None:
            return None
        waiting.remove(ready)
        order.append(ready)
    return [made if k == group[0] else steps[k] for k in order]


def must_follow(later: Step, earlier: Step) -> bool:
    """Whether a step reads what an earlier one writes, or writes what that reads or writes.

    What both only add to may be added in any order.
    """
    for ref, adds in zip(earlier.outputs, earlier.accumulate, strict=True):
        if any(overlap(ref, other) for other in later.inputs):
            return True
        for other, adds_too in zip(later.outputs, later.accumulate, strict=True):
            if overlap(ref, other) and not (adds and adds_too):
                return True
    return any(overlap(ref, other) for ref in earlier.inputs for other in later.outputs)


def overlap(ref: Ref, other: Ref) -> bool:
    """Whether two operands share bytes of a row."""
    same = (ref.space, ref.index) == (other.space, other.index)
    return (
        same and ref.offset < other.offset + other.width and other.offset < ref.offset + ref.width
    )
