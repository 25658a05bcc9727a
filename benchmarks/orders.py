"""How few batches a lattice needs, where the bound that `ln.profile` tells cannot be reached.

The cells of a sentence wait for each other, and their signatures come in an order of its own. A
schedule of a minibatch runs through an order of signatures that has the order of every sentence in
it, and so that of any few of them: it has no fewer batches than the shortest one that has, which is
found by going through all places in these few. The lower bound looks at each signature by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np

import lazynet as ln
from benchmarks import workloads
from benchmarks.workloads import Spec

Row = tuple[str, float, str]
LETTERS = 3  # signatures of cells: the first character, a plain one, one at which words end
TOGETHER = 4  # sentences that are looked at together


def figures(scale: float) -> Iterator[Row]:
    """For minibatches of lattices: batches, both bounds, and batches by the higher one."""
    spec = Spec("lattice", 8, 8, 64 if scale == 1.0 else 4, 1500 if scale == 1.0 else 16)
    learner = workloads.model(spec, "cells")
    batches = workloads.corpus(spec.workload, spec.limit).batches(spec.batch)
    for number, batch in enumerate(batches):
        with ln.profile() as p:
            workloads.batch_loss(learner, batch).numpy()
        orders = [order(example) for example in batch]
        alone = sum(max(count) for count in zip(*map(counts, orders), strict=True))
        bound = p.lower_bound - alone + shortest(hardest(orders))
        what = f"lattice, minibatch {number}"
        yield f"{what}: batches", p.batches, ""
        yield f"{what}: the lower bound", p.lower_bound, ""
        yield f"{what}: the bound by {TOGETHER} sentences", bound, ""
        yield f"{what}: batches by that bound", p.batches / bound, "x"


def order(example: Any) -> np.ndarray:
    """The signatures of the cells of a sentence, in their order."""
    cells = [2 if paths else 1 for paths in example.paths]
    cells[0] = cells[0] if example.paths[0] else 0  # with no state before it
    return np.array(cells, np.int8)


def counts(letters: np.ndarray) -> list[int]:
    return np.bincount(letters, minlength=LETTERS).tolist()


def hardest(orders: list[np.ndarray]) -> list[np.ndarray]:
    """Some orders that have a long order in common: the longest, and one by one what adds most."""
    found: list[np.ndarray] = [max(orders, key=len)]
    for _ in range(TOGETHER - 2):
        found.append(max(orders, key=lambda letters: shortest([*found, letters])))
    by_three = sorted(orders, key=lambda letters: -shortest([*found[:2], letters]))
    return max(([*found, letters] for letters in by_three[:12]), key=shortest)


def shortest(orders: list[np.ndarray]) -> int:
    """The length of the shortest order that has all of these (at most four) in it."""
    none = np.zeros(0, np.int8)
    return int(_shortest(*orders, *[none] * (4 - len(orders))))


@numba.njit
def _shortest(a, b, c, d):
    """For all places in four orders: how many letters it takes to be there."""
    best = np.full((len(a) + 1, len(b) + 1, len(c) + 1, len(d) + 1), 255, np.uint8)
    best[0, 0, 0, 0] = 0
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            for k in range(len(c) + 1):
                for m in range(len(d) + 1):
                    taken = best[i, j, k, m]
                    if taken == 255:
                        continue
                    for letter in range(LETTERS):
                        p = i + (i < len(a) and a[i] == letter)
                        q = j + (j < len(b) and b[j] == letter)
                        r = k + (k < len(c) and c[k] == letter)
                        s = m + (m < len(d) and d[m] == letter)
                        if p + q + r + s > i + j + k + m:
                            best[p, q, r, s] = min(best[p, q, r, s], taken + 1)
    return best[len(a), len(b), len(c), len(d)]
