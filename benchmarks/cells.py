"""No private doors: a user's own cells beside the built-in ones, by speed for each operation.

First a copy of every built-in cell as a user would write it, then cells that the library does not
have, each beside the built-in one that is most like it. All are marked `@ln.cell`, and that is all.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import lazynet as ln
from benchmarks import bound
from benchmarks.workloads.child_sum import PlainChildSumCell
from benchmarks.workloads.tree import PlainTreeCell
from lazynet import nn

Row = tuple[str, float, str]
ROUNDS = 15


class OwnCell(nn.Module):
    """Parameters of these shapes, by name."""

    def __init__(self, hidden: int, **shapes: tuple[int, ...]) -> None:
        draw = np.random.default_rng(0).uniform
        for name, shape in shapes.items():
            values = draw(-(hidden**-0.5), hidden**-0.5, shape).astype(np.float32)
            setattr(self, name, ln.Parameter(values))


def recurrent(gates: int) -> Callable[[int, int], dict[str, tuple[int, ...]]]:
    """Shapes of the weights of a recurrent cell, by its sizes."""
    return lambda dim, hidden: {
        "weight_ih": (gates * hidden, dim), "weight_hh": (gates * hidden, hidden),
        "bias_ih": (gates * hidden,), "bias_hh": (gates * hidden,),
    }  # fmt: skip


# -- copies of built-in cells ----------------------------------------------------------------------


class OwnRNN(OwnCell):
    @ln.cell
    def forward(self, x, h):
        return ln.tanh(
            ln.linear(x, self.weight_ih, self.bias_ih) + ln.linear(h, self.weight_hh, self.bias_hh)
        )


class OwnGRU(OwnCell):
    @ln.cell
    def forward(self, x, h):
        xr, xz, xn = ln.chunk(ln.linear(x, self.weight_ih, self.bias_ih), 3)
        hr, hz, hn = ln.chunk(ln.linear(h, self.weight_hh, self.bias_hh), 3)
        z = ln.sigmoid(xz + hz)
        return (1 - z) * ln.tanh(xn + ln.sigmoid(xr + hr) * hn) + z * h


class OwnLSTM(OwnCell):
    @ln.cell
    def forward(self, x, state):
        h, c = state
        gates = ln.linear(x, self.weight_ih, self.bias_ih)
        i, f, g, o = ln.chunk(gates + ln.linear(h, self.weight_hh, self.bias_hh), 4)
        c = ln.sigmoid(f) * c + ln.sigmoid(i) * ln.tanh(g)
        return ln.sigmoid(o) * ln.tanh(c), c


class OwnTreeLSTM(OwnCell):
    forward = ln.cell(PlainTreeCell.forward)


class OwnChildSum(OwnCell):
    forward = ln.cell(PlainChildSumCell.forward)


# -- cells that the library does not have ----------------------------------------------------------


class MinimalGated(OwnCell):
    """The minimal gated unit: one gate, for what is read and what is kept (Zhou et al., 2016)."""

    @ln.cell
    def forward(self, x, h):
        xf, xn = ln.chunk(ln.linear(x, self.weight_ih, self.bias_ih), 2)
        f = ln.sigmoid(xf + ln.linear(h, self.weight_hf))
        return (1 - f) * h + f * ln.tanh(xn + ln.linear(f * h, self.weight_hn))


class Highway(OwnCell):
    """A recurrent highway of two layers in each step (Zilly et al., 2017)."""

    @ln.cell
    def forward(self, x, h):
        read = ln.linear(x, self.weight_ih, self.bias_ih)
        for weight in (self.weight_1, self.weight_2):
            made = ln.linear(h, weight)
            u, t = ln.chunk(made if read is None else made + read, 2)
            t, read = ln.sigmoid(t), None  # the first layer alone reads the input
            h = t * ln.tanh(u) + (1 - t) * h
        return h


class Attentive(OwnCell):
    """A tree's node reads its children by attention, with its own input as the query."""

    @ln.cell
    def forward(self, x, children):
        u = ln.linear(x, self.weight_ih, self.bias_ih)
        if not children:
            return ln.tanh(u)
        query = ln.linear(x, self.weight_iq)
        rows = ln.stack(list(children))
        weights = ln.softmax(ln.dot(ln.linear(rows, self.weight_hk), query), 0)
        return ln.tanh(u + ln.linear(ln.sum(weights * rows, 0), self.weight_hh))


# -- programs that run them ------------------------------------------------------------------------


def chains(module: Any, dim: int, hidden: int, examples: int, pair: bool) -> Any:
    """The sum of the last states of sequences; `pair` tells whether a state is (h, c)."""
    zero, ends = ln.tensor(np.zeros(hidden, np.float32)), []
    for rows in _inputs(examples, 20, dim):
        state = (zero, zero) if pair else zero
        for x in rows:
            state = module(x, state)
        ends.append(state[0] if pair else state)
    return ln.sum(ln.sum(ends))


def layers(module: Any, dim: int, hidden: int, examples: int, pair: bool) -> Any:
    """The same by `ln.scan`: a node for a sequence, as in `nn.GRU` and `nn.LSTM`."""
    zero, step = ln.tensor(np.zeros(hidden, np.float32)), _step(module, pair)
    states = (zero, zero) if pair else (zero,)
    return ln.sum(ln.sum([ln.scan(step, states, rows)[0][-1]
                          for rows in _sequences(examples, 20, dim)]))  # fmt: skip


@cache
def _step(module: Any, pair: bool) -> Callable[..., Any]:
    """A cell as the step of a scan, made once."""

    def step(x, states):
        return module(x, states) if pair else (module(x, states[0]),)

    return step


def trees(module: Any, dim: int, hidden: int, examples: int, leaves_only: bool = False) -> Any:
    """The sum of the states at the roots of balanced trees of 16 leaves."""
    ends = []
    for rows in _inputs(examples, 31, dim):
        inputs = iter(rows)
        level = [module(next(inputs), ()) for _ in range(16)]
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=True)
            level = [module(None if leaves_only else next(inputs), pair) for pair in pairs]
        root = level[0]
        ends.append(root[0] if isinstance(root, tuple) else root)
    return ln.sum(ln.sum(ends))


def folds(module: Any, dim: int, hidden: int, examples: int, leaves_only: bool = False) -> Any:
    """The same by `ln.fold`: a tree is recorded in one piece, as in `nn.TreeLSTM`."""
    ends = []
    for rows in _sequences(examples, 31, dim):
        made = ln.fold(module, rows[:16] if leaves_only else rows, BALANCED)
        ends.append((made[0] if isinstance(made, tuple) else made)[-1])
    return ln.sum(ln.sum(ends))


def _balanced(leaves: int) -> ln.Structure:
    """A tree of so many leaves in which all are equally deep."""
    children: list[tuple[int, ...]] = [()] * leaves
    level = list(range(leaves))
    while len(level) > 1:
        above = range(len(children), len(children) + len(level) // 2)
        children += zip(level[::2], level[1::2], strict=True)
        level = list(above)
    return ln.Structure(children)


BALANCED = _balanced(16)


def _inputs(examples: int, count: int, dim: int) -> list[Any]:
    """The rows of every example, as handles; the numbers themselves are made once."""
    return [list(rows) for rows in _sequences(examples, count, dim)]


@cache
def _sequences(examples: int, count: int, dim: int) -> list[Any]:
    values = np.random.default_rng(1).standard_normal((examples, count, dim), np.float32)
    return [ln.sequence(each) for each in values]


@dataclass
class Pair:
    """A built-in cell, and another one that is run in its place; `copy` if it computes the same."""

    name: str
    built_in: Callable[[int, int], Any]
    other: Callable[[int, int], Any]
    programs: tuple[Callable[..., Any], ...]  # that run a cell: by calls in a loop, as a whole
    options: tuple[bool, bool]  # of a program, for the built-in cell and for the other one
    copy: bool = True


def _made(kind: Any, shapes: Callable[[int, int], dict[str, tuple[int, ...]]]) -> Any:
    return lambda dim, hidden: kind(hidden, **shapes(dim, hidden))


def _child_sum(dim: int, hidden: int) -> dict[str, tuple[int, ...]]:
    return {
        "weight_ih": (3 * hidden, dim), "weight_hh": (3 * hidden, hidden), "bias_ih": (3 * hidden,),
        "weight_if": (hidden, dim), "weight_hf": (hidden, hidden), "bias_f": (hidden,),
    }  # fmt: skip


IN_A_ROW, ON_TREES = (chains, layers), (trees, folds)
PAIRS = [
    Pair("RNN, own copy", nn.RNNCell, _made(OwnRNN, recurrent(1)), IN_A_ROW, (False, False)),
    Pair("GRU, own copy", nn.GRUCell, _made(OwnGRU, recurrent(3)), IN_A_ROW, (False, False)),
    Pair("LSTM, own copy", nn.LSTMCell, _made(OwnLSTM, recurrent(4)), IN_A_ROW, (True, True)),
    Pair("Tree-LSTM, own copy", nn.TreeLSTMCell, _made(OwnTreeLSTM, lambda dim, hidden: {
        "weight_ih": (3 * hidden, dim), "weight_if": (hidden, dim), "bias_ih": (3 * hidden,),
        "weight_hh": (5 * hidden, 2 * hidden), "bias_hh": (5 * hidden,),
    }), ON_TREES, (True, True)),
    Pair("child-sum Tree-LSTM, own copy", nn.ChildSumTreeLSTMCell, _made(OwnChildSum, _child_sum),
         ON_TREES, (False, False)),
    Pair("minimal gated unit, beside GRU", nn.GRUCell, _made(MinimalGated, lambda dim, hidden: {
        "weight_ih": (2 * hidden, dim), "bias_ih": (2 * hidden,), "weight_hf": (hidden, hidden),
        "weight_hn": (hidden, hidden),
    }), IN_A_ROW, (False, False), copy=False),
    Pair("highway of two layers, beside LSTM", nn.LSTMCell, _made(Highway, lambda dim, hidden: {
        "weight_ih": (2 * hidden, dim), "bias_ih": (2 * hidden,),
        "weight_1": (2 * hidden, hidden), "weight_2": (2 * hidden, hidden),
    }), IN_A_ROW, (True, False), copy=False),
    Pair("attention over children, beside child-sum", nn.ChildSumTreeLSTMCell,
         _made(Attentive, lambda dim, hidden: {
             "weight_ih": (hidden, dim), "bias_ih": (hidden,), "weight_iq": (hidden, dim),
             "weight_hk": (hidden, hidden), "weight_hh": (hidden, hidden),
         }), ON_TREES, (False, False), copy=False),
]  # fmt: skip


def figures(scale: float) -> Iterator[Row]:
    """Speeds of both cells of each pair, and of the other per operation against the built-in."""
    sizes, examples = (((8, 8),), 4) if scale < 1 else (((64, 64), (128, 256)), 64)
    rounds = max(2, int(ROUNDS * scale))
    for dim, hidden in sizes:
        for pair in PAIRS:
            for program in pair.programs:
                yield from compare(pair, program, dim, hidden, examples, rounds)


def modules(pair: Pair, dim: int, hidden: int) -> list[Any]:
    """The built-in cell and the other one; a copy has the same weights."""
    ln.manual_seed(0)
    built_in, other = pair.built_in(dim, hidden), pair.other(dim, hidden)
    if pair.copy:
        other.load_state_dict(built_in.state_dict())
    return [built_in, other]


def operations(
    program: Callable[..., Any], module: Any, sizes: tuple[int, ...], option: bool
) -> float:
    """Floating point operations of the products of a forward and a backward."""
    with bound.recorded() as products:
        program(module, *sizes, option).backward()
    return bound.flops(products)


def as_small(pair: Pair, program: Callable[..., Any], dim: int, hidden: int, wanted: float) -> int:
    """The hidden units of a built-in cell that does about so many operations for an example."""

    def differs(units: int) -> float:
        module = pair.built_in(dim, units)
        return abs(operations(program, module, (dim, units, 1), pair.options[0]) / wanted - 1)

    return min(range(8, hidden + 1, 8), key=differs)


def _in_turn(steps: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Medians of the seconds that steps take by turns."""
    seconds: list[list[float]] = [[] for _ in steps]
    for number in range(-4, rounds):
        for step, taken in zip(steps, seconds, strict=True):
            start = time.perf_counter()
            step()
            if number >= 0:
                taken.append(time.perf_counter() - start)
    return list(map(statistics.median, seconds))


def compare(
    pair: Pair, program: Callable[..., Any], dim: int, hidden: int, examples: int, rounds: int
) -> list[Row]:
    """Forward and backward of both in turn, by operations a second.

    What a node costs besides its operations does not depend on how many they are, so a cell that
    does few of them stands beside the built-in one with as few, too.
    """
    built_in, other = modules(pair, dim, hidden)
    contenders = [(built_in, hidden, pair.options[0]), (other, hidden, pair.options[1])]
    if not pair.copy:
        wanted = operations(program, other, (dim, hidden, 1), pair.options[1])
        units = as_small(pair, program, dim, hidden, wanted)
        contenders.append((pair.built_in(dim, units), units, pair.options[0]))

    def step_of(module: Any, units: int, option: bool) -> Callable[[], None]:
        def step() -> None:
            module.zero_grad()
            program(module, dim, units, examples, option).backward()

        return step

    seconds = _in_turn([step_of(*contender) for contender in contenders], rounds)
    speeds = [
        operations(program, module, (dim, units, examples), option) / taken
        for (module, units, option), taken in zip(contenders, seconds, strict=True)
    ]
    what = f"{pair.name}, {program.__name__} {dim}/{hidden}"
    rows = [
        (what, 1e-9 * speeds[1], "GFLOP/s"),
        (f"{what}: the built-in", 1e-9 * speeds[0], "GFLOP/s"),
        (f"{what}: speed per operation against it", speeds[1] / speeds[0], "x"),
    ]
    for speed in speeds[2:]:
        small = f"{what}: against one of {units} units, with as many operations"
        rows.append((small, speeds[1] / speed, "x"))
    return rows
