"""Matrix products of rows, by BLAS."""

from lazynet.kernels.memory import address, load
from lazynet.kernels.threads import WHOLE
from lazynet.kernels.words import itemsize, part_of_product, plain_product, stackable

# The words of a product's record. Of A, B and C each: base, stride and vector.
ITEMS, ACCUMULATE, M, N, K, TA, TB, A, B, C, WORDS = 0, 1, 2, 3, 4, 5, 6, 7, 10, 13, 16


def matmul(call, context):
    """C (+)= op(A) op(B) for each item; attributes: accumulate, m, n, k, ta, tb.

    Items that share B are one product of their stacked rows; items that accumulate into one C from
    transposed A are one product over their stacked rows (a weight gradient). Bound: BLAS.
    """
    items, accumulate = load(call + 8 * ITEMS), load(call + 8 * ACCUMULATE)
    m, n, k = load(call + 8 * M), load(call + 8 * N), load(call + 8 * K)
    ta, tb = load(call + 8 * TA), load(call + 8 * TB)
    a, b, c = call + 8 * A, call + 8 * B, call + 8 * C
    lda, ldb, ldc = (m if ta else k), (k if tb else n), n
    stack_a, stride_a = stackable(a, (m * k) * itemsize, k if ta else m)
    stack_b, stride_b = stackable(b, (k * n) * itemsize, n if tb else k)
    stack_c, stride_c = stackable(c, (m * n) * itemsize, m)
    start = 0
    while start < items:
        first_a, first_b, first_c = address(a, start), address(b, start), address(c, start)
        stop = start + 1
        if not ta and stack_a and stack_c:
            while stop < items and address(b, stop) == first_b:
                stop += 1
        elif ta and not tb and accumulate and stack_a and stack_b:
            while stop < items and address(c, stop) == first_c:
                stop += 1
        count = stop - start
        tall, deep, wide_a, wide_b, wide_c = m, k, lda, ldb, ldc
        if count > 1 and ta:
            deep = k * count
            if k == 1:
                wide_a, wide_b = stride_a, stride_b
        elif count > 1:
            tall = m * count
            if m == 1:
                wide_a, wide_c = stride_a, stride_c
        whole = tall
        if not ta and count == items:  # perhaps of a call in parts
            whole = m * max(items, load(context + WHOLE))
        part_of_product(
            context, whole, accumulate, ta, tb, tall, n, deep, first_a, wide_a, first_b, wide_b,
            first_c, wide_c,
        )  # fmt: skip
        start = stop


def product_part(call, context):
    """One part of a product; the record holds all of its numbers."""
    plain_product(
        context,
        load(call),
        load(call + 8),
        load(call + 16),
        load(call + 24),
        load(call + 32),
        load(call + 40),
        load(call + 48),
        load(call + 56),
        load(call + 64),
        load(call + 72),
        load(call + 80),
        load(call + 88),
        load(call + 96),
    )
