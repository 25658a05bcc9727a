"""Writes docs/ops.md and docs/names.md: `python docs/make_ops.py`.

What stands in the first is found out by trying, what stands in the second is what errors tell.
"""

import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from facts import BENT, facts  # noqa: E402
from surface import public_functions, public_modules  # noqa: E402

from lazynet import elsewhere  # noqa: E402

PLACE = ROOT / "docs" / "ops.md"
NAMES_PLACE = ROOT / "docs" / "names.md"
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


NAMES_HEAD = """# Coming from PyTorch or DyNet

Names are PyTorch's where it has one, and modules have its parameters, gate order and initial
values: `load_state_dict` takes its weights. What changes is how a program is written.

- **There is no batch axis.** Write the program for one example; those of a minibatch are a Python
  list. `ln.sequence(array)` makes rows of an array of (n, features); words of a sentence are a
  list of integers, one call for each sentence. Nothing is padded, and nothing is masked.
- **Nothing runs while you write.** `.item()`, `.numpy()`, `if x > 0` and `.backward()` run what is
  pending; printing a value or looking at it in a debugger shows that it is pending, and runs
  nothing. So collect the losses of a minibatch, then call `backward` once. A loop that looks at a
  value in every example gets a `PerformanceHint`; `ln.map` runs such loops in step.
- **numpy's functions of elements are lazy.** `np.exp(x)` is `ln.exp(x)`, and `array * x` is
  `x * array`. What lazynet has under another name or form (`np.sum(x)`) gives numbers, and is
  refused where that would lose a gradient.
- **Values do not change in place.** Parameters do: `p.copy_(values)`, `p.data[...] = values`.

## Not the same as in PyTorch

| PyTorch | lazynet |
|---|---|
| `torch.cat(xs)` joins along axis 0 | `ln.cat(xs)` joins features, `ln.cat(xs, 0)` rows |
| `x.chunk(n)`, `x.split(size)` cut axis 0 | the last axis |
| `x.max(dim)` gives values and places | values; `x.argmax(dim)` gives places |
| `x.argmax()` looks at all elements | along the last axis |
| `x.roll(n)`, `x.repeat_interleave(n)` flatten | along the last axis |
| `x.diagonal()` is of the first two axes | of the last two |
| `torch.stack` gives a tensor | `ln.stack` gives a Sequence, of any length |
| `x.size()`, `x.numel()` | `x.shape`, `x.size` |
| `rnn(x)` gives rows and the last state | rows; with `return_state=True` the state, too |
| `MultiheadAttention` gives weights | with `need_weights=True` |
| `LSTM(batch_first=...)`, packed sequences | neither: a Sequence is one example |
| `Embedding` of a matrix of indices | of a list of indices: one example |
| `DataLoader` with a `collate_fn` | `data.Loader`, which gives lists of examples |
| `for x, y in loader` | `for batch in loader`, and in it `for x, y in batch` |
| `DataLoader` keeps their order, unless `shuffle=True` | shuffles, unless `shuffle=False` |
| `rows - matrix`, `y == target` go row by row | a Tensor meets each row; `ln.sequence(x)` is rows |

DyNet's `--dynet-autobatch` is always on; its policy is `ln.batching("agenda")`, the default is
`"auto"`.
"""


def names_of(title, package, **attributes):
    """The names of one package, and of what it makes, and what is written here instead."""
    rows = [(f"`{name}`", instead) for name, instead in package.items()]
    for owner, table in attributes.items():
        rows += [(f"`{owner}.{name}`", instead) for name, instead in table.items()]
    lines = [f"| {name} | {instead} |\n" for name, instead in sorted(rows, key=str)]
    return f"\n## Names of {title}\n\n| | here |\n|---|---|\n" + "".join(lines)


def names_page():
    """The page of names that errors tell of."""
    of_torch = names_of(
        "PyTorch",
        elsewhere.TORCH_PACKAGE,
        x=elsewhere.TORCH_VALUES,
        module=elsewhere.TORCH_MODULES,
        data=elsewhere.TORCH_DATA,
        loader=elsewhere.TORCH_LOADERS,
        optim=elsewhere.TORCH_OPTIM,
        **{"nn.utils": elsewhere.TORCH_UTILS},
    )
    of_dynet = names_of(
        "DyNet",
        elsewhere.DYNET_PACKAGE,
        x=elsewhere.DYNET_VALUES,
        model=elsewhere.DYNET_MODULES,
        trainer=elsewhere.DYNET_OPTIMIZERS,
    )
    return f"{NAMES_HEAD}{of_torch}{of_dynet}"


if __name__ == "__main__":
    for place, text in (PLACE, page()), (NAMES_PLACE, names_page()):
        place.write_text(text, encoding="utf-8")
        print(f"wrote {place}")
