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
    results = {k for k, r in enumerate(again.regions) if r.lifetime == words.OUTPUT}
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


def _renamed(step: Step, change) -> Step:
    phase = words.AFTER if step.phase == words.DEFERRED else step.phase
    inputs, outputs = tuple(map(change, step.inputs)), tuple(map(change, step.outputs))
    return replace(step, inputs=inputs, outputs=outputs, phase=phase)
