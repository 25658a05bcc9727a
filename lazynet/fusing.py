"""Elementwise steps of a program become loops, each short enough to be compiled and vectorized."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lazynet.batching import layout as words
from lazynet.kernels.generate import Formula
from lazynet.merging import overlap
from lazynet.program import Program, Ref, Step

# Formulas, and operands, of one generated loop. Compiling takes longer than in proportion to these,
# and beyond some hundreds numba gives up; what is passed on to the next loop costs little then.
MOST_FUSED = 100
# Pairs of operands of a loop, one of them written, that LLVM is willing to compare for overlaps
# before it runs the vectorized code. With more the loop is not vectorized, and five times as slow.
MOST_PAIRS = 128


class _Places:
    """What some steps read and write, by the values that it is in."""

    def __init__(self, *steps: Step):
        self._read: dict[tuple[int, int], list[Ref]] = {}
        self._written: dict[tuple[int, int], list[tuple[Ref, bool]]] = {}
        for step in steps:
            self.add(step)

    def add(self, step: Step) -> None:
        for ref in step.inputs:
            self._read.setdefault((ref.space, ref.index), []).append(ref)
        for ref, adds in zip(step.outputs, step.accumulate, strict=True):
            self._written.setdefault((ref.space, ref.index), []).append((ref, adds))

    def read(self, at: Ref) -> Iterator[Ref]:
        """What is read that shares bytes with an operand."""
        return (ref for ref in self._read.get((at.space, at.index), ()) if overlap(ref, at))

    def written(self, at: Ref) -> Iterator[tuple[Ref, bool]]:
        """What is written that shares bytes with an operand, and whether it is only added to."""
        return (
            pair for pair in self._written.get((at.space, at.index), ()) if overlap(pair[0], at)
        )

    def precede(self, step: Step) -> bool:
        """Whether a step has to come after these."""
        if any(True for ref in step.inputs for _ in self.written(ref)):
            return True
        return any(
            any(not (adds and added) for _, added in self.written(ref))
            or any(True for _ in self.read(ref))
            for ref, adds in zip(step.outputs, step.accumulate, strict=True)
        )


@dataclass
class _Group:
    """Elementwise steps that become one loop."""

    width: int
    domain: int
    phase: int
    inputs: list[Ref] = field(default_factory=list)
    formulas: list[Formula] = field(default_factory=list)
    outputs: list[tuple[str, Ref, bool]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    places: _Places = field(default_factory=_Places)

    def takes(self, step: Step) -> bool:
        """Whether a step may be part of this loop, as far as the loop itself goes.

        In the loop every element is read before any is written: what a step reads is as it was, or
        the very value that an earlier step makes, to which others may add theirs.
        """
        same = (self.width, self.domain, self.phase) == (step.width, step.domain, step.phase)
        longest = max(len(self.formulas) + len(step.formulas), len(self.inputs) + len(step.inputs))
        if not same or longest > MOST_FUSED:
            return False
        reads = all(
            other == ref and self._is_made(ref)
            for ref in step.inputs
            for other, _ in self.places.written(ref)
        )
        return reads and all(
            all((adds and added) or (adds and self._is_made(ref) and other == ref)
                for other, added in self.places.written(ref))
            and all(other == ref for other in self.places.read(ref))
            for ref, adds in zip(step.outputs, step.accumulate, strict=True)
        )  # fmt: skip

    def _is_made(self, ref: Ref) -> bool:
        """Whether a whole value is written here, and not only added to."""
        return any(target == ref and not added for _, target, added in self.outputs)

    def name_of(self, ref: Ref) -> str:
        """How the value at `ref` is called in this loop."""
        for name, written, accumulated in self.outputs:
            if written == ref and not accumulated:
                return name
        if ref not in self.inputs:
            self.inputs.append(ref)
        return f"x{self.inputs.index(ref)}"

    def add(self, step: Step) -> None:
        """Append the formulas of a step, under new names."""
        self.steps.append(step)
        self.places.add(step)
        names = {f"x{k}": self._operand(ref) for k, ref in enumerate(step.inputs)}
        for formula in step.formulas:
            own = f"v{len(self.formulas)}"
            self.formulas.append(Formula(own, _renamed(formula.expression, names), formula.dtype))
            names[formula.name] = own
        for result, ref, accumulate in zip(
            step.results, step.outputs, step.accumulate, strict=True
        ):
            self._write(names[result], ref, accumulate)

    def _operand(self, ref: Ref) -> str:
        if ref.space == words.LITERAL:
            return _constant(ref)
        return self.name_of(ref)

    def _write(self, name: str, ref: Ref, accumulate: bool) -> None:
        for k, (other, target, accumulated) in enumerate(self.outputs):
            if accumulate and target == ref:
                total = f"v{len(self.formulas)}"
                self.formulas.append(Formula(total, f"{other} + {name}", ref.dtype))
                self.outputs[k] = (total, ref, accumulated)
                return
        self.outputs.append((name, ref, accumulate))

    def pairs(self, elsewhere: set[int]) -> int:
        """Operands with one that is written, counting what is read here alone as not written."""
        read = sum(ref.size > 1 or self.width == 1 for ref in self.inputs)
        written = [ref for _, ref, _ in self.outputs]
        count = sum(ref.space != words.REGION or ref.index in elsewhere for ref in written)
        return count * read + count * (count - 1) // 2

    def step(self) -> Step:
        return Step(
            inputs=tuple(self.inputs),
            outputs=tuple(ref for _, ref, _ in self.outputs),
            accumulate=tuple(accumulate for _, _, accumulate in self.outputs),
            formulas=tuple(self.formulas),
            results=tuple(name for name, _, _ in self.outputs),
            domain=self.domain,
            phase=self.phase,
        )


def _constant(ref: Ref) -> str:
    value = ref.literal
    if value != value:
        return "c(inf - inf)"
    if value in (float("inf"), float("-inf")):
        return "c(inf)" if value > 0 else "c(-inf)"
    return f"c({value!r})" if ref.dtype.startswith("float") else f"c({int(value)})"


def _renamed(expression: str, names: dict[str, str]) -> str:
    return re.sub(r"\b[xvy]\d*\b", lambda m: names.get(m.group(), m.group()), expression)


def fuse(program: Program) -> Program:
    """Elementwise steps of one width, domain and phase become one loop where order allows it.

    No loop has more than `MOST_FUSED` formulas, or more operands than can be vectorized: what comes
    after it reads what it has written.
    """
    done: list[tuple[Step | _Group, _Places]] = []
    for step in program.steps:
        if not step.elementwise:
            done.append((step, _Places(step)))
            continue
        group = _group_for(step, done)
        if group is None:
            group = _Group(step.width, step.domain, step.phase)
            done.append((group, group.places))
        group.add(step)
    kept = {k for k, region in enumerate(program.regions) if region.lifetime != words.SCRATCH}
    every = Counter(_reads(program.steps))
    steps: list[Step] = []
    for entry, _ in done:
        if isinstance(entry, Step):
            steps.append(entry)
        else:
            elsewhere = kept | set(every - Counter(_reads(entry.steps)))
            steps += [loop.step() for loop in _cut(entry, elsewhere)]
    return replace(program, steps=steps)


def _reads(steps: list[Step]) -> Iterator[int]:
    """The regions that steps read, one by one."""
    return (ref.index for step in steps for ref in step.inputs if ref.space == words.REGION)


def _cut(loop: _Group, elsewhere: set[int]) -> list[_Group]:
    """A loop in parts that can be vectorized; `elsewhere` are regions read outside of it."""
    middle = len(loop.steps) // 2
    if not middle or loop.pairs(elsewhere) <= MOST_PAIRS:
        return [loop]
    halves = []
    for steps in (loop.steps[:middle], loop.steps[middle:]):
        half = _Group(loop.width, loop.domain, loop.phase)
        for step in steps:
            half.add(step)
        halves.append(half)
    first, second = halves
    return [*_cut(first, elsewhere | set(_reads(second.steps))), *_cut(second, elsewhere)]


def _group_for(step: Step, done: list[tuple[Step | _Group, _Places]]) -> _Group | None:
    """The latest loop that `step` can join: it need not come after anything behind that."""
    for entry, places in reversed(done):
        if isinstance(entry, _Group) and entry.takes(step):
            return entry
        if places.precede(step):
            return None
    return None
