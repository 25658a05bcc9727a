"""Backward programs that compute the forward again, instead of reading what it kept."""

from __future__ import annotations

from dataclasses import replace

from lazynet import passes
from lazynet.batching import layout as words
from lazynet.program import Program, Ref, Step


def recomputing(again: Program, reverse: Program, forward: Program, scan: bool) -> Program:
    """The backward program of a function of which nothing is kept but its results.

    First the forward's steps, for all rows at once: also those of a scan's loop, because the states
    are results and all known. Then the derivative, which reads what these steps give. No step is
    deferred, for which rows would have to be kept until the last batch.

    Args:
        again: the forward as it was lowered, its results first.
        reverse: the derivative, reading forward values.
        forward: the forward as it ran.
    """
    reverse = passes.postpone(reverse) if scan else reverse
    results = _kept(again, reverse)
    count = len(again.regions)

    def before(ref: Ref) -> Ref:
        if ref.space == words.REGION and ref.index in results:
            return replace(ref, space=words.FORWARD_REGION)
        return ref

    def after(ref: Ref) -> Ref:
        if ref.space == words.REGION:
            return replace(ref, index=ref.index + count)
        if ref.space == words.FORWARD_REGION and ref.index not in results:
            return replace(ref, space=words.REGION)
        return ref

    steps = [
        replace(step, inputs=tuple(map(before, step.inputs)), phase=words.BEFORE)
        for step in again.steps
        if not any(ref.space == words.REGION and ref.index in results for ref in step.outputs)
    ]
    steps += [_renamed(step, after) for step in reverse.steps]
    regions = [replace(r, lifetime=words.SCRATCH) for r in again.regions] + reverse.regions
    program = Program(
        regions, steps, forward.states, forward.strides, forward=forward, transient=True
    )
    for change in (passes.fold_accumulation, passes.fuse, passes.drop_unused):
        program = change(program)
    return program


def _kept(again: Program, reverse: Program) -> set[int]:
    """The results that are read as the forward gave them.

    Others are made of what is computed again, and so are they: a derivative that compares the two
    (which is the largest?) must not see that the forward added up in another order.
    """
    kept = {k for k, region in enumerate(again.regions) if region.lifetime == words.OUTPUT}
    wanted = _regions(reverse.steps, words.FORWARD_REGION) - kept
    while True:
        for step in reversed(again.steps):
            if any(ref.space == words.REGION and ref.index in wanted for ref in step.outputs):
                wanted |= _regions([step]) - kept
        sources = {
            k: _regions(
                [step for step in again.steps if (words.REGION, k) in map(_place, step.outputs)]
            )
            for k in kept
        }
        made = {k for k, regions in sources.items() if regions and regions <= wanted}
        if not made:
            return kept
        kept, wanted = kept - made, wanted | made


def _regions(steps: list[Step], space: int = words.REGION) -> set[int]:
    """The values of a space that steps read."""
    return {ref.index for step in steps for ref in step.inputs if ref.space == space}


def _place(ref: Ref) -> tuple[int, int]:
    return ref.space, ref.index


def _renamed(step: Step, change) -> Step:
    phase = words.AFTER if step.phase == words.DEFERRED else step.phase
    inputs, outputs = tuple(map(change, step.inputs)), tuple(map(change, step.outputs))
    return replace(step, inputs=inputs, outputs=outputs, phase=phase)
