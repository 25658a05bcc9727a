"""Passes over programs: a program goes in, a better program comes out.

broadcast           loops read one element for all where it was repeated
sum_in_place        a sum of two products is one product added to the other
merge_products      products that share an operand become one (`merging.py`)
fold_accumulation   what is only added somewhere is added there by its own kernel
place               what is only copied into a part of a wider row is made there
hoist               of a scan, only what depends on the state is in the loop
postpone            of a scan's backward, only what leads to the state's gradient is
defer               steps that give a parameter's gradient run once, over all rows
fuse                elementwise steps of one width become one loop (`fusing.py`)
drop_unused         what nobody reads is not computed
save_for            values that the backward program reads outlive their batch
keep_for_deferred   values that deferred steps read do, too
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from lazynet.batching import layout as words
from lazynet.fusing import fuse
from lazynet.merging import (
    Merged,
    Numbers,
    merge_derivative,
    merge_products,
    overlap,
    relocated,
)
from lazynet.program import Program, Ref, Step

_ACCUMULATING = {
    "add_elements", "add_rows", "matmul", "put_axis", "repeat_axis", "scaled_softmax",
    "segment_sum", "sum_axis", "take_axis", "take_elements", "transpose",
}  # fmt: skip
_GIVEN = (words.ARGUMENT, words.STATIC, words.LITERAL)  # what a program reads and never writes


def _never(numbers: Numbers) -> bool:
    del numbers
    return False


def optimize_backward(
    program: Program, scan: bool = False, weights: Iterable[Numbers] = ()
) -> Program:
    """All passes that a derivative's program goes through; of a scan, with its loop.

    Args:
        weights: of each product of the forward that was merged.
    """
    led = program.written()
    program = place(merge_derivative(fold_accumulation(broadcast(program)), weights))
    for change in (postpone if scan else defer, fuse, drop_unused, keep_for_deferred):
        program = change(program)
    program.led = led | program.written()  # of a merged product the first parameter is written
    return program


def optimize_forward(program: Program, join: Callable[[Numbers], bool] = _never) -> Merged:
    """The passes for a program whose outputs are its first regions.

    Args:
        join: lets parameters lie one after the other, see `merge_products`.
    """
    merged = merge_products(sum_in_place(broadcast(program)), join)
    return merged._replace(program=drop_unused(fuse(merged.program)))


def with_steps(program: Program, steps: list[Step]) -> Program:
    """The same program with other steps."""
    return replace(program, steps=steps)


def is_copy(step: Step) -> bool:
    """Whether a step only moves one value."""
    return step.elementwise and len(step.inputs) == 1 and step.formulas[0].expression == "x0"


def readers(program: Program) -> dict[int, list[int]]:
    """For each region, the numbers of the steps that read it."""
    found: dict[int, list[int]] = {}
    for number, step in enumerate(program.steps):
        for ref in step.inputs:
            if ref.space == words.REGION:
                found.setdefault(ref.index, []).append(number)
    return found


def broadcast(program: Program) -> Program:
    """`r = x[0], x[0], ...`, read by an elementwise step, is x itself there.

    So is the cotangent of a sum over a row, which is the same for all its elements.
    """
    steps = list(program.steps)
    for number, step in enumerate(steps):
        if step.kernel != "repeat_axis" or step.accumulate != (False,) or step.inputs[0].size != 1:
            continue
        one, repeated = step.inputs[0], step.outputs[0]
        for later in range(number + 1, len(steps)):
            other = steps[later]
            if other.elementwise and other.domain == step.domain:
                inputs = tuple(one if ref == repeated else ref for ref in other.inputs)
                steps[later] = replace(other, inputs=inputs)
            if any(overlap(ref, one) or overlap(ref, repeated) for ref in other.outputs):
                break
    return with_steps(program, steps)


def fold_accumulation(program: Program) -> Program:
    """`r = kernel(...)`, then `target += r` and no other reader, is `target += kernel(...)`."""
    steps: list[Step | None] = list(program.steps)
    reading = readers(program)
    for number, step in enumerate(program.steps):
        if step.kernel not in _ACCUMULATING or step.accumulate != (False,):
            continue
        written = step.outputs[0]
        used = reading.get(written.index, [])
        if written.space != words.REGION or len(used) != 1:
            continue
        adding = program.steps[used[0]]
        if not (is_copy(adding) and adding.accumulate == (True,) and adding.inputs[0] == written):
            continue
        if adding.outputs[0].dtype != step.dtype or adding.domain != step.domain:
            continue
        steps[number] = None
        steps[used[0]] = replace(step, outputs=adding.outputs, accumulate=(True,))
    return with_steps(program, [step for step in steps if step is not None])


def sum_in_place(program: Program) -> Program:
    """`a = product, b = product, c = a + b` with no other reader adds the second product to a.

    That is the sum of an input's and a state's product in every recurrent cell.
    """
    reading = readers(program)
    for number, step in enumerate(program.steps):
        if not _is_sum(step) or any(not _is_whole(program, ref) for ref in step.inputs):
            continue
        first, second = (ref.index for ref in step.inputs)
        if any(len(reading[k]) != 1 for k in (first, second)):
            continue
        if any(program.regions[k].lifetime != words.SCRATCH for k in (first, second)):
            continue
        if len({program.regions[k].domain for k in (first, second, step.outputs[0].index)}) > 1:
            continue  # one has a row a segment, the other a row an item
        own, others = _products(program, first), _products(program, second)
        if own and others:
            total = _added_up(program.steps, own + others, number)
            return sum_in_place(with_steps(program, total))
    return program


def _products(program: Program, region: int) -> list[int]:
    """The steps that make all of a region, if these are products, perhaps added to a copy."""
    every = program.steps
    writers = [k for k, step in enumerate(every) if region in _written(step)]
    writers.sort(key=lambda k: (every[k].phase, k))
    made = [every[k] for k in writers]
    alike = all(
        (is_copy(step) or step.kernel == "matmul")
        and step.accumulate == (k > 0,)
        and _is_whole(program, step.outputs[0])
        for k, step in enumerate(made)
    )
    return writers if alike and any(step.kernel == "matmul" for step in made) else []


def _added_up(steps: list[Step], writers: list[int], number: int) -> list[Step]:
    """The steps with all these adding to the result of the sum `number`, where one begins it.

    A copy of what is given begins it, where there is one: it waits for nothing.
    """
    given = [k for k in writers if is_copy(steps[k]) and steps[k].inputs[0].space in _GIVEN]
    begun = given[0] if given else min(writers, key=lambda k: (steps[k].phase, k))
    changed = [
        replace(step, outputs=steps[number].outputs, accumulate=(k != begun,))
        if k in writers else step
        for k, step in enumerate(steps)
    ]  # fmt: skip
    del changed[number]
    if given:
        changed.insert(min(writers), changed.pop(begun))
    return changed


def place(program: Program) -> Program:
    """`r = ...`, then `wide[part] = r`, makes r in that part: r is the part from then on.

    So the cotangents of gates lie side by side, for one product, without being copied there.
    """
    for number, step in enumerate(program.steps):
        if not (is_copy(step) and step.accumulate == (False,)):
            continue
        source, target = step.inputs[0], step.outputs[0]
        if not (_is_whole(program, source) and _is_its_own(program, number)):
            continue
        own, wide = program.regions[source.index], program.regions[target.index]
        if own.domain != wide.domain or words.OUTPUT in (own.lifetime, wide.lifetime):
            continue
        kept = words.SAVED in (own.lifetime, wide.lifetime)
        regions = list(program.regions)
        regions[source.index] = replace(own, width=0)
        regions[target.index] = replace(wide, lifetime=words.SAVED if kept else words.SCRATCH)
        steps = [other for other in program.steps if other is not step]
        moved = {source.index: (target.index, target.offset)}
        placed = relocated(with_steps(program, steps), moved, words.REGION)
        return place(replace(placed, regions=regions))
    return program


def _is_whole(program: Program, ref: Ref) -> bool:
    """Whether an operand is all of a row of a region."""
    return (
        ref.space == words.REGION
        and ref.offset == 0
        and ref.width == program.regions[ref.index].width
    )


def _is_its_own(program: Program, number: int) -> bool:
    """Whether a copy is all that is written to its target, of a source that has its last value."""
    copy = program.steps[number]
    source, target = copy.inputs[0], copy.outputs[0]
    if target.space != words.REGION or target.index == source.index:
        return False
    if (target.size, target.dtype) != (source.size, source.dtype):
        return False  # one element for all, or another dtype
    for k, step in enumerate(program.steps):
        if any(overlap(ref, target) for ref in step.outputs) and k != number:
            return False
        if k < number and any(overlap(ref, target) for ref in step.inputs):
            return False
        if k > number and any(overlap(ref, source) for ref in step.outputs):
            return False
    return True


def _is_sum(step: Step) -> bool:
    if not step.elementwise or step.accumulate != (False,):
        return False
    plain = all(ref.space == words.REGION and ref.offset == 0 for ref in step.inputs)
    same = {ref.size for ref in (*step.inputs, *step.outputs)}
    expression = step.formulas[0].expression
    return plain and expression == "x0 + x1" and len(same) == 1 and len(set(step.inputs)) == 2


def _written(step: Step) -> set[int]:
    """The regions that a step writes."""
    return {ref.index for ref in step.outputs if ref.space == words.REGION}


def defer(program: Program) -> Program:
    """Steps that only add to parameters' gradients run after the last batch."""
    steps = [
        replace(step, phase=words.DEFERRED)
        if all(ref.space == words.D_STATIC for ref in step.outputs)
        else step
        for step in program.steps
    ]
    return with_steps(program, steps)


def hoist(program: Program) -> Program:
    """In a scan, what depends on the state runs in the loop; everything else before it, at once."""
    moving: set[int] = set()
    steps = []
    for step in program.steps:
        added_to = [ref for ref, adds in zip(step.outputs, step.accumulate, strict=True) if adds]
        inside = any(
            ref.space == words.STATE or (ref.space == words.REGION and ref.index in moving)
            for ref in (*step.inputs, *added_to)
        )
        if inside:
            moving |= {ref.index for ref in step.outputs}
        steps.append(replace(step, phase=words.LOOP if inside else words.BEFORE))
    return with_steps(program, steps)


def postpone(program: Program) -> Program:
    """In a scan's backward, only what leads to the previous state's gradient runs in the loop.

    The rest runs after it, for all rows at once; what gives a parameter's gradient is deferred.
    """
    needed: set[int] = set()
    inside = []
    for step in reversed(program.steps):
        here = any(
            ref.space == words.D_STATE or (ref.space == words.REGION and ref.index in needed)
            for ref in step.outputs
        )
        if here:
            needed |= {ref.index for ref in step.inputs if ref.space == words.REGION}
        inside.append(here)
    steps = [
        replace(step, phase=words.LOOP if here else words.AFTER)
        for step, here in zip(program.steps, reversed(inside), strict=True)
    ]
    deferred = defer(with_steps(program, steps)).steps
    return with_steps(program, deferred)


def save_for(program: Program, backward: Program) -> Program:
    """Regions of a forward program that its backward program reads outlive their batch."""
    read = {
        ref.index
        for step in backward.steps
        for ref in step.inputs
        if ref.space == words.FORWARD_REGION
    }
    return _saved(program, read)


def _saved(program: Program, regions: set[int]) -> Program:
    """The program with these regions kept for longer than a batch."""
    lasting = [
        replace(region, lifetime=words.SAVED)
        if k in regions and region.lifetime == words.SCRATCH
        else region
        for k, region in enumerate(program.regions)
    ]
    return replace(program, regions=lasting)


def drop_unused(program: Program) -> Program:
    """Remove steps whose results nobody reads, and elementwise results that nobody reads."""
    steps = list(program.steps)
    outputs = {k for k, region in enumerate(program.regions) if region.lifetime != words.SCRATCH}
    while True:
        read = {ref.index for step in steps for ref in step.inputs if ref.space == words.REGION}
        read |= outputs
        kept = []
        for step in steps:
            useful = [
                k
                for k, ref in enumerate(step.outputs)
                if ref.space != words.REGION or ref.index in read
            ]
            if len(useful) == len(step.outputs):
                kept.append(step)
            elif useful:
                kept.append(
                    replace(
                        step,
                        outputs=tuple(step.outputs[k] for k in useful),
                        accumulate=tuple(step.accumulate[k] for k in useful),
                        results=tuple(step.results[k] for k in useful),
                    )
                )
        if kept == steps:
            break
        steps = kept
    used = read | {ref.index for s in steps for ref in s.outputs if ref.space == words.REGION}
    regions = [
        region if k in used else replace(region, width=0)
        for k, region in enumerate(program.regions)
    ]
    return replace(program, steps=steps, regions=regions)


def keep_for_deferred(program: Program) -> Program:
    """Regions that deferred steps read are kept until those steps run."""
    late = {
        ref.index
        for step in program.steps
        if step.phase == words.DEFERRED
        for ref in step.inputs
        if ref.space == words.REGION
    }
    return _saved(program, late)
