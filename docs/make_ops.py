"""Writes docs/ops.md: `python docs/make_ops.py`. What stands there is found out by trying."""

import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from facts import BENT, facts  # noqa: E402
from surface import public_functions, public_modules  # noqa: E402

PLACE = ROOT / "docs" / "ops.md"
HEAD = """# Every function and module

Written by `python docs/make_ops.py`, which calls each of them on small examples; a test does the
same and compares. The formula is the first line of the docstring.

**Works on.** *Tensor*: one row. *Rows*: each row of a Sequence by itself, so that row i of the
result is the result of row i. *Sequence*: the rows together, as a sum over them does. *Integers*:
Python's.

**Batches.** 50 examples of different lengths, recorded one by one, run in one forward. *1* is one
batch; *k* is k signatures, each of which runs in as many batches as it does for one example (mostly
one). *0* computes nothing: the result is a view. What needs more says why.

**Derivatives.** *1, 2*: first and second derivatives agree with differences in float64. *None*: no
gradient goes through. *Its own*: the gradient is on purpose not that of the value.
"""
COLUMNS = "| | computes | works on | batches | derivatives |\n|---|---|---|---|---|\n"
TAKES = {"Tensor": "Tensor", "rows": "rows", "whole": "Sequence", "integers": "integers"}


def first_line(value):
    """The first line of a docstring."""
    return inspect.getdoc(value).splitlines()[0].rstrip(".").replace("|", "\\|")


def reason(value):
    """What a docstring says about nodes that do not batch."""
    lines = [line.strip() for line in inspect.getdoc(value).splitlines()]
    return next(line.removeprefix("Batches: ") for line in lines if line.startswith("Batches: "))


def line_of(name, value):
    """The line of one public name."""
    found = facts(name)
    takes = ", ".join(TAKES[kind] for kind in found.takes)
    batches = reason(value) if found.apart else str(found.signatures)
    derivatives = "its own" if name in BENT else ("1, 2" if found.differentiable else "none")
    return f"| `{name}` | {first_line(value)} | {takes} | {batches} | {derivatives} |\n"


def table(values):
    """Their lines, by name."""
    lines = [line_of(name, values[name]) for name in sorted(values, key=str.lower)]
    return COLUMNS + "".join(lines)


def page():
    """The whole page."""
    functions = public_functions()
    own = {name: f for name, f in functions.items() if name.startswith("ln.")}
    named = {name: f for name, f in functions.items() if not name.startswith("ln.")}
    return (
        f"{HEAD}\n## Functions\n\n{table(own)}\n## nn.functional\n\nBesides those of `ln` that are "
        f"found here, too.\n\n{table(named)}\n## Modules\n\n{table(public_modules())}"
    )


if __name__ == "__main__":
    PLACE.write_text(page(), encoding="utf-8")
    print(f"wrote {PLACE}")
