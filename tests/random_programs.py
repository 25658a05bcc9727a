"""Random programs as users write them: what cells, scans, folds and policies have to agree on.

A program is the text of a `forward` over rows of 4 floats, with layers and weights that its lines
share. As plain code under policy `none` it is the specification. It is a function of two rows, a
step of a scan, or a cell of a fold; `outcome` calls it several times, on its own results too, and
gives all values and gradients.
"""

from __future__ import annotations

import contextlib
import linecache
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import lazynet as ln
from lazynet import nn

WIDTH, LAYERS = 4, 3
# What a line computes of values a and b: arguments, parameters, and results of lines before.
ELEMENTS = """
ln.tanh(a)
a * ln.sigmoid(b)
a - b * 0.5
1.5 - a
2.0 / (1.5 + ln.sigmoid(a))
ln.sigmoid(a) ** 3 + b
ln.where(a > 0.1, a, b * 2.0)
ln.maximum(a, b)
a - ln.sum(b) * 0.1
ln.softmax(a) + b
a[1] * b
ln.cat([a[1:], b[:1]])
ln.cat([ln.chunk(a, 2)[1] * b[3], ln.chunk(b, 2)[0]])
ln.stack([a, ln.tanh(b)], 1).reshape(2, 4).sum(0)
ln.sum([a, b, ln.tanh(a)])
a.detach() * b + a
""".strip().split("\n")
PRODUCTS = """
ln.outer(ln.tanh(a), b) @ ln.softmax(a)
a @ self.matrix
layer(a)
layer(a) * ln.sigmoid(other(a))
layer(a) * ln.sigmoid(other(a)) + third(a) + layer(b)
(layer(a) + layer(a)) * ln.tanh(other(a)) + third(b)
ln.sigmoid(other(b)) * ln.tanh(layer(a)) + a * layer(b)
self.wide(ln.cat([a, b])) * ln.tanh(layer(a))
""".strip().split("\n")
CALLS = """
self.inside(a, b)[0]
self.inside(b, layer(a))[0] * ln.sigmoid(layer(b))
""".strip().split("\n")
OF_LISTS = """
ln.sum([a, *(ln.tanh(layer(state)) * b for state in below)])
ln.sum([b, *(state * ln.sigmoid(other(state) + layer(a)) for state in below)])
ln.sequence([a, *(layer(state) for state in below)]).max(0)
""".strip().split("\n")
ARGUMENTS = {"function": "x, y", "step": "x, states", "node": "x, below"}


class Text(NamedTuple):
    """A program, how many values it gives, and the function that it calls."""

    kind: str
    results: int
    code: str
    inside: str


def text(seed: int) -> Text:
    """The program of a seed; seeds one after the other are of all kinds in turn."""
    draw, kind = random.Random(seed), list(ARGUMENTS)[seed % 3]
    results = draw.choice([1, 2])
    code = _code(draw, kind, results, draw.choice([2, 4, 6]))
    return Text(kind, results, code, _code(draw, "function", 1, 2, inside=True))


def _code(draw: random.Random, kind: str, results: int, size: int, inside: bool = False) -> str:
    """A `forward` of so many lines; what is inside calls nothing."""
    lines = [f"def forward(self, {ARGUMENTS[kind]}):"]
    values = {
        "function": ["x", "y"],
        "step": ["x", *(f"states[{k}]" for k in range(results))],
        "node": ["x", "self.q"],
    }[kind]
    for k in range(size):
        tables = [ELEMENTS, PRODUCTS, *[CALLS] * (not inside), *[OF_LISTS] * (kind == "node")]
        line = f"v{k} = {_filled(draw, draw.choice(draw.choice(tables)), values, results)}"
        cut = draw.random() < 0.15
        lines += ["    with ln.no_grad():", f"        {line}"] if cut else [f"    {line}"]
        values.append(f"v{k}")
    words = re.findall(r"\w+", "\n".join(lines))
    unused = [value for value in values if words.count(value) == 1]
    last = "".join(f"ln.tanh({x}), " for x in [" + ".join(unused), values[-2]][:results])
    return "\n".join([*lines, f"    return {last}\n"])


def _filled(draw: random.Random, line: str, values: list[str], results: int) -> str:
    """The line with names of a program in it: late values, and parameters."""
    names = {name: _operand(draw, values) for name in "ab"}
    order = draw.sample(range(LAYERS), LAYERS)
    for name, k in zip(("layer", "other", "third"), order, strict=True):
        names[name] = f"self.layers[{k}]"
    line = line.replace("for state", "for h").replace("state", f"h[{draw.randrange(results)}]")
    return re.sub(r"\b\w+\b", lambda found: names.get(found[0], found[0]), line)


def _operand(draw: random.Random, values: list[str]) -> str:
    return draw.choice(["self.p", "self.q"]) if draw.random() < 0.25 else draw.choice(values[-4:])


# -- ways of running -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How a program is run: what its `forward` becomes, and who calls it."""

    made: Callable = lambda function: function
    inside: Callable = lambda function: function
    whole: bool = False  # whether `ln.scan` and `ln.fold` call it, and Sequences are its arguments
    policy: str = "auto"
    automatic: bool = False
    debug: bool = False
    times: int = 1  # that the whole is done, each time from new arguments; the last one counts


def program(seed: int, way: Way) -> Any:
    """A module of its own with the forward of a seed."""
    found, numbers = text(seed), np.random.default_rng(seed)
    inside = _module(f"<inside program {seed}>", found.inside, way.inside, way)
    model = _module(f"<program {seed}>", found.code, way.made, way)
    model.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH).double() for _ in range(LAYERS)])
    model.wide = nn.Linear(2 * WIDTH, WIDTH).double()
    model.matrix = ln.Parameter(numbers.standard_normal((WIDTH, WIDTH)))
    model.p, model.q = (ln.Parameter(numbers.standard_normal(WIDTH)) for _ in range(2))
    for name in ("layers", "wide", "matrix", "p", "q"):
        setattr(inside, name, getattr(model, name))
    model.inside = inside
    for parameter in model.parameters():
        parameter.copy_(numbers.standard_normal(parameter.shape) * 0.7)
    return model


def _module(name: str, code: str, made: Callable, way: Way) -> Any:
    names: dict[str, Any] = {"ln": ln}
    exec(compile(code, name, "exec"), names)
    linecache.cache[name] = len(code), None, code.splitlines(True), name  # for errors
    members = {"forward": made(names["forward"]), "automatic_cell": way.automatic}
    return type("Program", (nn.Module,), members)()


def arguments(seed: int) -> list[ln.Tensor]:
    """Rows that want a gradient."""
    rows = np.random.default_rng(seed + 1).standard_normal((8, WIDTH))
    return [ln.tensor(row, requires_grad=True) for row in rows]


def outcome(seed: int, way: Way, asks: str) -> list[np.ndarray]:
    """All values and gradients of a program.

    Args:
        asks: `first` and `second` order; `looks` asks for values in between, `frozen` is of a model
            and arguments some of which want no gradient.
    """
    model = program(seed, way)
    if way.automatic:
        x, y = ln.tensor(np.zeros(WIDTH)), ln.tensor(np.zeros(WIDTH))
        for _ in range(9):
            model(x * 1.0, y * 1.0)
    if asks == "frozen":
        model.layers[seed % LAYERS].requires_grad_(False)
        model.q.requires_grad_(False)
    for _ in range(way.times):
        model.zero_grad()
        results = _once(seed, model, way, asks)
    return results


def _once(seed: int, model: Any, way: Way, asks: str) -> list[np.ndarray]:
    found, leaves = text(seed), arguments(seed)
    if asks == "frozen":
        leaves[::3] = [x.detach() for x in leaves[::3]]
    with ln.batching(way.policy), ln.debug() if way.debug else contextlib.nullcontext():
        values = USES[found.kind](model, way, leaves, asks == "looks", found.results)
        values.append(leaves[7] * leaves[7])  # some programs give nothing that wants a gradient
        loss = ln.sum([ln.sum(v * (k + 1.0)) for k, v in enumerate(values)])
        results = []
        wanted = [x for x in (*leaves, *model.parameters()) if x.requires_grad]
        if asks == "second":
            slopes = ln.gradients(loss, wanted)
            results += map(_or_zeros, slopes, wanted)
            loss = ln.sum([ln.sum(x * x) for x in slopes if x is not None])
        elif asks == "first":
            loss.backward(retain_graph=True)
            loss = ln.sum([ln.sum(v * v) for v in values])
        loss.backward()
        results += [v.numpy() for v in values]
    return results + [_or_zeros(x.grad, x) for x in wanted]


def _or_zeros(slope, x):
    """A gradient's numbers. Where plain code cuts it off and has none, a cell has zeros."""
    return np.zeros(x.shape) if slope is None else slope.numpy()


# -- what is called --------------------------------------------------------------------------------


def _of_function(model, way, x, look, results):
    """Calls of rows, of a result, and of Sequences."""
    made = list(model(x[0], x[1]))
    if look:
        made[0].numpy()
    made += model(made[-1], x[2])
    made += model(x[3] * 1.0, ln.tanh(x[2]))
    first, second = ln.sequence(x[3:6]) * 1.0, ln.sequence(x[5:8])[::-1]
    if way.whole:
        return [*made, *model(first, second)]
    parts = [model(a, b) for a, b in zip(first, second, strict=True)]
    return [*made, *map(ln.sequence, map(list, zip(*parts, strict=True)))]


def _of_step(model, way, x, look, results):
    """Scans of several lengths, one of them over rows from the last to the first."""
    scan = ln.scan if way.whole else _loop
    states, rows = tuple(x[5 : 5 + results]), ln.sequence(x[:5])
    made = [*scan(model.forward, states, rows)]
    if look:
        made[0][2].numpy()
    made += scan(model.forward, tuple([s[-1] for s in made]), (rows * 1.0)[::-2])
    return made + list(scan(model.forward, states, rows[2:3]))


def _loop(step, states, rows):
    made = []
    for x in rows:
        states = step(x, states)
        made.append(states)
    return [ln.sequence(list(part)) for part in zip(*made, strict=True)]


STRUCTURES = [[(), (), (0, 1), (2, 0), (3, 3)], [(), (), (1, 0)]]


def _of_node(model, way, x, look, results):
    """Folds over two structures, the second one over what the first one gave."""
    fold = ln.fold if way.whole else _each_node
    made = list(fold(model, ln.sequence(x[:5]), STRUCTURES[0]))
    if look:
        made[0][1].numpy()
    return made + list(fold(model, made[-1][1:4], STRUCTURES[1]))


def _each_node(model, rows, children):
    made = []
    for x, below in zip(rows, children, strict=True):
        made.append(model(x, [made[k] for k in below]))
    return [ln.sequence(list(part)) for part in zip(*made, strict=True)]


USES = {"function": _of_function, "step": _of_step, "node": _of_node}
