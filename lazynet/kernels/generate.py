"""Writes elementwise kernels: a formula, or a chain of them, becomes one loop over rows.

A generated kernel's attributes are one word, the row width. Its operands are the inputs and then
the outputs. An operand is either as wide as the row or a single element for the whole row
(`scalar`). An output is stored, or added to what is there (`accumulate`), which is how backward
puts gradients where they belong: rows shared by several items add up because items run in order.
"""

from dataclasses import dataclass

import numpy as np

from lazynet.kernels import memory
from lazynet.kernels.jit import kernel_address, made_once
from lazynet.kernels.scalars import WORDS
from lazynet.kernels.source import function_of

HEADER = 8  # bytes before the attributes: the number of items


@dataclass(frozen=True)
class Operand:
    """One input or output of an elementwise kernel."""

    dtype: str
    scalar: bool = False
    accumulate: bool = False


@dataclass(frozen=True)
class Formula:
    """`name = expression`; the expression reads inputs `x0, x1, ...` and earlier names."""

    name: str
    expression: str
    dtype: str


@dataclass(frozen=True)
class Elementwise:
    """A whole elementwise kernel: inputs, a straight line of formulas, and where results go."""

    inputs: tuple[Operand, ...]
    formulas: tuple[Formula, ...]
    outputs: tuple[tuple[str, Operand], ...]

    def source(self) -> str:
        """The kernel as Python source for numba."""
        operands = [*self.inputs, *(operand for _, operand in self.outputs)]
        names = [f"a{k}" for k in range(len(self.inputs))]
        names += [f"b{k}" for k in range(len(self.outputs))]
        places = [HEADER + 8 + memory.OPERAND * k for k in range(len(operands))]
        lines = ["def elementwise(call, context):", "    n = load(call)", "    w = load(call + 8)"]
        if not any(operand.scalar for operand in operands):
            # Rows that lie end to end are one long row.
            whole = " & ".join(  # as many branches as operands would make compiling slow
                f"contiguous(call + {place}, w * {_size(operand.dtype)})"
                for place, operand in zip(places, operands, strict=True)
            )
            lines += [f"    if {whole}:", "        w = w * n", "        n = min(n, 1)"]
        lines.append("    for r in range(n):")
        for name, place, operand in zip(names, places, operands, strict=True):
            lines.append(f"        {name} = at_{operand.dtype}(address(call + {place}, r))")
        for k, operand in enumerate(self.inputs):
            if operand.scalar:
                lines.append(f"        x{k} = a{k}[0]")
        lines.append("        for j in range(w):")
        for k, operand in enumerate(self.inputs):
            if not operand.scalar:
                lines.append(f"            x{k} = a{k}[j]")
        for formula in self.formulas:
            lines.append(f"            {formula.name} = {cast(formula)}")
        for k, (name, operand) in enumerate(self.outputs):
            sign = "+=" if operand.accumulate else "="
            index = "0" if operand.scalar else "j"
            lines.append(f"            b{k}[{index}] {sign} {name}")
        return "\n".join(lines) + "\n"

    @property
    def dtype(self) -> str:
        """The dtype in which the words of the formulas work."""
        found = next((f.dtype for f in self.formulas if f.dtype in ("float32", "float64")), None)
        return found or (self.formulas[0].dtype if self.formulas else self.inputs[0].dtype)

    def address(self) -> int:
        """The compiled kernel's address."""
        return kernel_address(_function(self))


def _size(dtype: str) -> int:
    return np.dtype(dtype).itemsize


def cast(formula: Formula) -> str:
    """The formula's expression, with its constants in its dtype."""
    return formula.expression.replace("c(", f"c_{formula.dtype}(")


@made_once
def _function(kernel: Elementwise):
    function = compile_source(kernel.source(), "elementwise", kernel.dtype)
    function.made_from = kernel
    return function


def compile_source(source: str, name: str, dtype: str):
    """The function `name` of `source`, in a namespace of the words for `dtype`."""
    namespace = {
        "__name__": __name__,  # numba asks for the module when it loads a cached kernel
        "load": memory.load,
        "address": memory.address,
        "contiguous": _contiguous,
        **WORDS[dtype],
        **{f"at_{key}": pointer for key, pointer in memory.POINTER.items()},
        **{f"c_{key}": words["c"] for key, words in WORDS.items()},
    }
    function = function_of(source, name, namespace)
    function.generated_source = f"{dtype}\n{source}"
    return function


@memory.word
def _contiguous(operand, width):
    return memory.load(operand + 16) == 0 and memory.load(operand + 8) == width
