"""The bound: the matrix products of a training step alone, back to back, outputs allocated before.

The products are those that lazynet runs, read from its calls. A program that runs these products by
the same BLAS is not faster; what the bound leaves out (recording, activations, losses, gathers, the
optimizer, and the products inside attention) is what the ratio to it measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numba
import numpy as np

import lazynet as ln
from benchmarks import workloads
from benchmarks.workloads import Spec, corpus
from lazynet import executor
from lazynet.interpreter import places_of
from lazynet.kernels import blas, cpu
from lazynet.kernels.memory import load
from lazynet.kernels.products import WORDS, A, B, C
from lazynet.race import Steps

_GEMM = blas.GEMM["float32"]


class Product(NamedTuple):
    """C = op(A) op(B): C has m rows and n columns, k is what is summed over."""

    m: int
    n: int
    k: int
    ta: int = 0  # whether A is stored transposed, and B
    tb: int = 0


def flops(found: list[Product]) -> float:
    """Floating point operations of these products."""
    return float(sum(2 * p.m * p.n * p.k for p in found))


@contextmanager
def recorded() -> Iterator[list[Product]]:
    """The products that are run meanwhile, in their order."""
    found: list[Product] = []
    execute = executor.execute
    kernels = {cpu.kernel("matmul", dtype) for dtype in ("float32", "float64")}

    def read(calls: np.ndarray, stop: int, *watch: np.ndarray) -> None:
        for at in places_of(calls, stop):
            if int(calls[at]) in kernels:
                found.extend(_products(calls[at + 2 : at + 2 + WORDS].tolist()))
        execute(calls, stop, *watch)

    executor.execute = read
    try:
        yield found
    finally:
        executor.execute = execute


def _products(record: list[int]) -> list[Product]:
    """The products of one call of `kernels.products.matmul`: items that share a factor are one.

    A call without items runs nothing: another one does its work as well.
    """
    items, accumulate, m, n, k, ta, tb = record[:A]
    if items == 0:
        return []
    a, b, c = (record[at : at + 3] for at in (A, B, C))  # base, stride, vector
    shared_b, shared_c = (not operand[1] and not operand[2] for operand in (b, c))
    if not ta and shared_b and not a[2] and not c[2]:
        return [Product(m * items, n, k, ta, tb)]
    if ta and not tb and accumulate and shared_c and not a[2] and not b[2]:
        return [Product(m, n, k * items, ta, tb)]
    return [Product(m, n, k, ta, tb)] * items


def products(spec: Spec, batches: list[Any], way: str = "") -> list[list[Product]]:
    """The products of a training step on each of these minibatches."""
    learner = workloads.model(spec, way)
    shapes = []
    for batch in batches:
        with recorded() as found:
            workloads.batch_loss(learner, batch).backward()
        learner.zero_grad()
        shapes.append(list(found))
    return shapes


@numba.njit
def _multiply(table, ta, tb, m, n, k, a, b, c):  # type: ignore[no-untyped-def]
    """C = op(A) op(B) of matrices without space between rows, in one call of the BLAS."""
    table, one, zero = np.int64(table), np.float32(1), np.float32(0)
    _GEMM(
        load(table), load(table + 16), ta, tb, m, n, k, one, a, m if ta else k, b, k if tb else n,
        zero, c, n,
    )  # fmt: skip


def replay(shapes: list[list[Product]]) -> Callable[[int], float]:
    """Runs the products of a step by its number; gives their number of operations.

    The BLAS, which lazynet holds at one thread, has as many as lazynet meanwhile. What is a vector
    goes through numpy, which has a quicker routine for it; all else goes to the BLAS at once.
    """
    # Everything is made, and touched, before the first step: a step is nothing but products.
    sizes = [[p.m * p.k, p.k * p.n, p.m * p.n] for found in shapes for p in found]
    a, b, out = (np.ones(max(column), np.float32) for column in zip(*sizes, strict=True))
    table = blas.context().ctypes.data
    places = a.ctypes.data, b.ctypes.data, out.ctypes.data
    _multiply(table, 0, 0, 1, 1, 1, *places)

    def matrix(memory: np.ndarray, rows: int, columns: int, transposed: int) -> np.ndarray:
        if transposed:
            return memory[: rows * columns].reshape(columns, rows).T
        return memory[: rows * columns].reshape(rows, columns)

    def step(number: int) -> float:
        blas.use_threads(ln.get_num_threads())
        for m, n, k, ta, tb in shapes[number]:
            if (m == 1 or n == 1) and k > 1:
                np.matmul(matrix(a, m, k, ta), matrix(b, k, n, tb), matrix(out, m, n, 0))
            else:
                _multiply(table, ta, tb, m, n, k, *places)
        blas.use_threads(1)
        return flops(shapes[number])

    return step


def run(spec: Spec, way: str = "") -> Steps:
    """The contender: its "loss" is the number of operations."""
    batches = corpus(spec.workload, spec.limit).batches(spec.batch)
    step = replay(products(spec, batches, way))
    steps = Steps(list(range(len(batches))), step)
    steps.one = lambda: None  # type: ignore[method-assign]
    return steps
