"""Matrix products of rows on CUDA: calls of cuBLAS, made by the host from a call's record."""

import ctypes
import functools

import numpy as np


def matmul(kernels, dtype, call) -> None:
    """C (+)= op(A) op(B) for each item; with the record of `products.matmul`.

    Items that share B are one product of their stacked rows, items that add into one C from
    transposed A one product over them; others are one batched call where they are evenly spaced.
    """
    host, words, _, precision = call
    items, accumulate, m, n, k, ta, tb = words[:7]
    if not items:
        return
    size = np.dtype(dtype).itemsize
    gemm = functools.partial(kernels.driver.gemm, precision=precision)
    a, b, c = (_Operand(host, words, 7 + 3 * p, items) for p in range(3))
    lda, ldb, ldc = m if ta else k, k if tb else n, n
    tall, wide_a = a.stacked(m * k * size, k if ta else m, size)
    deep, wide_b = b.stacked(k * n * size, n if tb else k, size)
    whole, wide_c = c.stacked(m * n * size, m, size)

    if not ta and tall and whole:
        for at, times in _runs(b.rows):
            ld_a, ld_c = (wide_a, wide_c) if m == 1 and times > 1 else (lda, ldc)
            gemm(
                dtype, 0, tb, m * times, n, k, a.rows[at], ld_a, b.rows[at], ldb, accumulate,
                c.rows[at], ld_c,
            )  # fmt: skip
    elif ta and not tb and accumulate and tall and deep:
        for at, times in _runs(c.rows):
            ld_a, ld_b = (wide_a, wide_b) if k == 1 and times > 1 else (lda, ldb)
            gemm(
                dtype, 1, 0, m, n, k * times, a.rows[at], ld_a, b.rows[at], ld_b, accumulate,
                c.rows[at], ldc,
            )  # fmt: skip
    elif a.even and b.even and c.even and (c.stride >= m * n * size or items == 1):
        steps = (items, a.stride // size, b.stride // size, c.stride // size)
        gemm(
            dtype, ta, tb, m, n, k, a.rows[0], lda, b.rows[0], ldb, accumulate, c.rows[0], ldc,
            steps,
        )  # fmt: skip
    else:
        for at in range(items):
            gemm(
                dtype, ta, tb, m, n, k, a.rows[at], lda, b.rows[at], ldb, accumulate, c.rows[at],
                ldc,
            )  # fmt: skip


class _Operand:
    """One operand of a record: the addresses of its rows."""

    def __init__(self, host: int, words: list[int], at: int, items: int):
        base, self.stride, vector = words[at : at + 3]
        self.even = vector == 0
        if self.even:
            rows = base + self.stride * np.arange(items)
        else:
            listed = ctypes.c_int64.from_address(host + 8 * (at + 2)).value
            rows = base + np.frombuffer((ctypes.c_int64 * items).from_address(listed), np.int64)
        self.rows = rows.tolist()

    def stacked(self, matrix: int, rows: int, size: int) -> tuple[bool, int]:
        """Whether all items form one tall matrix, and its row stride in elements."""
        if not self.even:
            return False, 0
        if rows == 1:
            return self.stride >= matrix, self.stride // size
        return self.stride == matrix, 0


def _runs(addresses: list[int]):
    """(start, length) of the runs of equal addresses."""
    edges = np.flatnonzero(np.diff(addresses)) + 1
    starts = [0, *edges.tolist()]
    return zip(starts, np.diff([*starts, len(addresses)]).tolist())
