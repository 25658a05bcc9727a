"""Matrix products of rows, by BLAS."""

from lazynet.kernels.memory import address, load
from lazynet.kernels.words import constant, gemm, gemm_function, itemsize, stackable


def matmul(call, context):
    """C (+)= op(A) op(B) for each item; attributes: accumulate, m, n, k, ta, tb.

    Items that share B are one product of their stacked rows; items that accumulate into one C from
    transposed A are one product over their stacked rows (a weight gradient). Bound: BLAS.
    """
    items = load(call)
    accumulate, m, n, k = load(call + 8), load(call + 16), load(call + 24), load(call + 32)
    ta, tb = load(call + 40), load(call + 48)
    a, b, c = call + 56, call + 80, call + 104
    function, fortran = gemm_function(context), load(context + 16)
    one, beta = constant(1), constant(1) if accumulate else constant(0)
    lda, ldb, ldc = (m if ta else k), (k if tb else n), n
    stack_a, stride_a = stackable(a, (m * k) * itemsize, k if ta else m)
    stack_b, stride_b = stackable(b, (k * n) * itemsize, n if tb else k)
    stack_c, stride_c = stackable(c, (m * n) * itemsize, m)
    start = 0
    while start < items:
        shared_b, shared_c = address(b, start), address(c, start)
        stop = start + 1
        if not ta and stack_a and stack_c:
            while stop < items and address(b, stop) == shared_b:
                stop += 1
        elif ta and not tb and accumulate and stack_a and stack_b:
            while stop < items and address(c, stop) == shared_c:
                stop += 1
        count = stop - start
        if count == 1:
            gemm(
                function,
                fortran,
                ta,
                tb,
                m,
                n,
                k,
                one,
                address(a, start),
                lda,
                shared_b,
                ldb,
                beta,
                shared_c,
                ldc,
            )
        elif not ta:
            gemm(
                function,
                fortran,
                0,
                tb,
                m * count,
                n,
                k,
                one,
                address(a, start),
                stride_a if m == 1 else lda,
                shared_b,
                ldb,
                beta,
                shared_c,
                stride_c if m == 1 else ldc,
            )
        else:
            gemm(
                function,
                fortran,
                1,
                0,
                m,
                n,
                k * count,
                one,
                address(a, start),
                stride_a if k == 1 else lda,
                shared_b,
                stride_b if k == 1 else ldb,
                beta,
                shared_c,
                ldc,
            )
        start = stop
