"""The bound: the matrix products of a training step alone, back to back, outputs allocated before.

No program that computes the same step with the same BLAS is faster. What it leaves out (recording,
activations, losses, gathers, the optimizer) is what the ratio to it measures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.workloads import Spec, corpus

Product = tuple[int, int, int]  # rows, inner size, columns


def _layer(rows: int, inputs: int, outputs: int, input_gradient: bool = True) -> list[Product]:
    """A linear layer over so many rows: forward, gradient of the weight, gradient of the input."""
    found = [(rows, inputs, outputs), (outputs, rows, inputs)]
    return [*found, (rows, outputs, inputs)] if input_gradient else found


def _lstm(lengths: list[int], dim: int, hidden: int) -> list[Product]:
    """An LSTM in one direction: input products at once, then step by step, forward and back."""
    rows = sum(lengths)
    alive = [sum(n > t for n in lengths) for t in range(max(lengths))]
    steps = [(n, hidden, 4 * hidden) for n in alive[1:]]  # the first state is zero
    back = [(n, 4 * hidden, hidden) for n in alive[1:]]
    return [*_layer(rows, dim, 4 * hidden), *steps, *back, (4 * hidden, rows, hidden)]


def _levels(batch: list[Any]) -> list[int]:
    """How many inner nodes have each height, over all trees; the first is the number of leaves."""
    found: list[int] = []
    for tree in batch:
        height: dict[int, int] = {}
        for node in tree:
            level = 1 + max((height[id(child)] for child in node.children), default=-1)
            height[id(node)] = level
            found += [0] * (level + 1 - len(found))
            found[level] += 1
    return found


def products(spec: Spec, batch: list[Any]) -> list[Product]:
    """The products of one training step, as shapes."""
    c = corpus(spec.workload, spec.limit)
    if spec.workload == "tree":
        leaves, *inner = _levels(batch)
        labelled = sum(node.label is not None for tree in batch for node in tree)
        found = _layer(leaves, spec.dim, 3 * spec.hidden)
        for rows in inner:
            found += [(rows, 2 * spec.hidden, 5 * spec.hidden)]
            found += [(rows, 5 * spec.hidden, 2 * spec.hidden)]
        found += [(5 * spec.hidden, sum(inner), 2 * spec.hidden)]
        return found + _layer(labelled, spec.hidden, c.labels)
    if spec.workload == "tagger":
        lengths = [len(words) for words, _ in batch]
        directions, outputs = 2, c.labels
    else:
        lengths = [len(words) - 1 for words in batch]
        directions, outputs = 1, c.words
    found = directions * _lstm(lengths, spec.dim, spec.hidden)
    return found + _layer(sum(lengths), directions * spec.hidden, outputs)


def flops(found: list[Product]) -> float:
    """Floating point operations of these products."""
    return float(sum(2 * m * k * n for m, k, n in found))


def run(spec: Spec) -> Callable[[int], float]:
    """The contender: runs the products of a minibatch; its "loss" is the number of operations."""
    batches = corpus(spec.workload, spec.limit).batches(spec.batch)
    shapes = [products(spec, batch) for batch in batches]
    # Everything is made, and touched, before the first step: a step is nothing but products.
    sizes = [[m * k, k * n, m * n] for found in shapes for m, k, n in found]
    a, b, out = (np.ones(max(column), np.float32) for column in zip(*sizes, strict=True))

    def step(number: int) -> float:
        found = shapes[number % len(shapes)]
        for m, k, n in found:
            left, right = a[: m * k].reshape(m, k), b[: k * n].reshape(k, n)
            np.matmul(left, right, out[: m * n].reshape(m, n))
        return flops(found)

    return step
