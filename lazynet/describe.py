"""Programs as text, for those who want to see what became of a function.

Values are named by where they lie: a0 an argument, r0 a value of the program, W7 the parameter of
that number, h0 the previous state of a scan; f0 is a value of the forward program, and d before a
name its gradient. `[64+64]` is the part of a row that begins at element 64 and has 64.
"""

from __future__ import annotations

import re

import numpy as np

from lazynet.batching import layout as words
from lazynet.program import Program, Ref, Step

_SPACES = {
    words.ARGUMENT: "a", words.REGION: "r", words.STATIC: "W", words.STATE: "h",
    words.FORWARD_REGION: "f", words.D_ARGUMENT: "da", words.D_FORWARD: "df",
    words.D_STATIC: "dW", words.D_STATE: "dh", words.OFFSETS: "offsets", words.WORDS: "words",
}  # fmt: skip
_PHASES = {words.LOOP: "each step  ", words.AFTER: "after      ", words.DEFERRED: "at the end "}


def describe(program: Program) -> str:
    """One line for each kernel call, with the formulas of generated loops.

    Where some calls go over the items of lists and some over the lists, it says which do the first.
    """
    looping = any(step.phase == words.LOOP for step in program.steps)
    both = len({step.domain for step in program.steps}) > 1
    lines = []
    for step in program.steps:
        phase = _PHASES.get(step.phase, "")
        if looping and not phase:
            phase = "before     "
        if both:
            phase += "each item  " if step.domain == words.ITEMS else "           "
        lines += [phase + line for line in _lines(step)]
    return "\n".join(lines)


def _lines(step: Step) -> list[str]:
    signs = ["+=" if accumulate else "=" for accumulate in step.accumulate]
    if step.kernel:
        inputs = ", ".join(map(_name, step.inputs))
        numbers = f"; {', '.join(map(str, step.attributes))}" if step.attributes else ""
        return [f"{_name(step.outputs[0])} {signs[0]} {step.kernel}({inputs}{numbers})"]
    names = {f"x{k}": _name(ref) for k, ref in enumerate(step.inputs)}
    lines = ["loop:"]
    for formula in step.formulas:
        text = re.sub(r"c\(([^)]*)\)", r"\1", formula.expression)
        text = re.sub(r"\bx\d+\b", lambda m: names[m.group()], text)
        lines.append(f"    {formula.name} = {text}")
    for result, ref, sign in zip(step.results, step.outputs, signs, strict=True):
        lines.append(f"    {_name(ref)} {sign} {result}")
    return lines


def _name(ref: Ref) -> str:
    if ref.space == words.LITERAL:
        return repr(ref.literal)
    name = f"{_SPACES[ref.space]}{ref.index}"
    first = ref.offset // np.dtype(ref.dtype).itemsize
    return f"{name}[{first}+{ref.size}]" if first else f"{name}[{ref.size}]"
