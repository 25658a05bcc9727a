"""One launch for all steps of a scan, with the weights of a product on the chip.

The loop of a scan is calls of a few kernels, products and generated ones, for each time step. Row r
of such a call depends on row r of those before it alone, because row r belongs to one sequence in
all of them. So a block of threads takes a sequence and goes through all steps of it; its threads
share the elements of a row, and wait for each other only.
"""

import functools

import numpy as np
from numba.core import types

from lazynet.kernels.cuda import element_lines, element_words
from lazynet.kernels.cuda_words import compile_source
from lazynet.kernels.generate import Elementwise

ON_CHIP = 48 << 10  # bytes that a block has on every device without asking for them

# Weights of n columns and k rows, which are stored by columns where they are `turned`, are kept by
# rows. The words of a call are (kernel, length), then its record; `mask` tells the length.
_STEPS = """
def steps(start, stop, mask, rows, weights, n, k, turned):
    chip = cuda.shared.array(0, element)
    kept = row(weights, n * k)
    for j in range(cuda.threadIdx.x, n * k, cuda.blockDim.x):
        chip[j % k * n + j // k if turned else j] = kept[j]
    cuda.syncthreads()
    for r in range(cuda.blockIdx.x, rows, cuda.gridDim.x):
        at = start
        while at < stop:
            kind, call = load(at), at + 16
            if r < load(call):
"""
_ELEMENTS = """
w = load(call + 8)
for j in range(cuda.threadIdx.x, w, cuda.blockDim.x):
"""
# The record of `products.matmul`, with A as it is stored.
_PRODUCT = """
accumulate, m, width = load(call + 8), load(call + 16), load(call + 24)
depth, tb = load(call + 32), load(call + 48)
b_at = address(call + 80, r)
a, b = row(address(call + 56, r), m * depth), row(b_at, depth * width)
c = row(address(call + 104, r), m * width)
for j in range(cuda.threadIdx.x, m * width, cuda.blockDim.x):
    i, q = j // width, j % width
    total = number(0)
    if b_at == weights:
        for p in range(depth):
            total += a[i * depth + p] * chip[p * width + q]
    elif tb:
        for p in range(depth):
            total += a[i * depth + p] * b[q * depth + p]
    else:
        for p in range(depth):
            total += a[i * depth + p] * b[p * width + q]
    if accumulate:
        add(c, j, total)
    else:
        c[j] = total
"""
_NEXT = """
            cuda.syncthreads()
            at += 8 * (load(at + 8) & mask)
"""


@functools.cache
def steps(cases: tuple, dtype: str):
    """The kernel of loops whose calls are of these kernels, by number, as a Python function."""
    lines = _STEPS.strip("\n").splitlines()
    for number, case in enumerate(cases):
        lines.append(f"                if kind == {number}:")
        body = (_ELEMENTS if isinstance(case, Elementwise) else _PRODUCT).strip("\n").splitlines()
        if isinstance(case, Elementwise):
            body += [f"    {line}" for line in element_lines(case)]
        lines += [f"                    {line}" for line in body]
    lines += _NEXT.strip("\n").splitlines()
    words = element_words(dtype)
    words.update(
        row=words[f"row_{dtype}"], add=words[f"add_{dtype}"], number=words["c"],
        element=getattr(types, dtype),
    )  # fmt: skip
    return compile_source("\n".join(lines) + "\n", "steps", words)


def launch(kernels, loop, start: int, stop: int, mask: int) -> None:
    """Run the calls of a loop, which lie on the device from `start` to `stop`."""
    dtype, (_, n, k, _) = loop.dtype, loop.kept
    compiled = kernels.compiled_once(loop.cases, lambda: steps(loop.cases, dtype))
    kernels.driver.launch_blocks(
        compiled, loop.rows, start, stop, mask, loop.rows, *loop.kept,
        on_chip=max(n * k, 1) * np.dtype(dtype).itemsize,
    )  # fmt: skip
