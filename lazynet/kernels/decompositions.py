"""Systems of equations, for the square matrix of each row: LU with partial pivoting, Cholesky.

They are meant for many small matrices; nothing here is blocked. Bound: arithmetic.
"""

from lazynet.kernels.jit import word
from lazynet.kernels.memory import address, load
from lazynet.kernels.words import constant, log, row, sqrt


@word
def pivot(a, n, k):
    """The row with the largest element in column k, from row k down."""
    best = k
    for i in range(k + 1, n):
        if abs(a[i * n + k]) > abs(a[best * n + k]):
            best = i
    return best


@word
def swap(a, width, i, j):
    """Exchange two rows of a matrix."""
    for c in range(width):
        a[i * width + c], a[j * width + c] = a[j * width + c], a[i * width + c]


def solve(call, context):
    """Y = A^-1 B; attributes: accumulate, n, columns of B; operands: A, B, room for A, Y.

    Gauss's elimination. A singular A gives infinities or NaN.
    """
    items, n, m = load(call), load(call + 16), load(call + 24)
    for r in range(items):
        given, b = row(address(call + 32, r), n * n), row(address(call + 56, r), n * m)
        a, y = row(address(call + 80, r), n * n), row(address(call + 104, r), n * m)
        for j in range(n * n):
            a[j] = given[j]
        for j in range(n * m):
            y[j] = b[j]
        for k in range(n):
            p = pivot(a, n, k)
            if p != k:
                swap(a, n, p, k)
                swap(y, m, p, k)
            for i in range(k + 1, n):
                factor = a[i * n + k] / a[k * n + k]
                for c in range(k, n):
                    a[i * n + c] -= factor * a[k * n + c]
                for c in range(m):
                    y[i * m + c] -= factor * y[k * m + c]
        for back in range(n):
            i = n - 1 - back
            for c in range(m):
                total = y[i * m + c]
                for j in range(i + 1, n):
                    total -= a[i * n + j] * y[j * m + c]
                y[i * m + c] = total / a[i * n + i]


def log_abs_det(call, context):
    """y = log |det A|, or the sign of det A; attributes: accumulate, n, whether the sign is wanted.

    Operands: A, room for A, y.
    """
    items, n, wants_sign = load(call), load(call + 16), load(call + 24)
    for r in range(items):
        given, a = row(address(call + 32, r), n * n), row(address(call + 56, r), n * n)
        y = row(address(call + 80, r), 1)
        for j in range(n * n):
            a[j] = given[j]
        sign, total = constant(1), constant(0)
        for k in range(n):
            p = pivot(a, n, k)
            if p != k:
                swap(a, n, p, k)
                sign = -sign
            top = a[k * n + k]
            if top < constant(0):
                sign = -sign
            elif top == constant(0):
                sign = constant(0)
            total += log(abs(top))
            for i in range(k + 1, n):
                if top != constant(0):
                    factor = a[i * n + k] / top
                    for c in range(k, n):
                        a[i * n + c] -= factor * a[k * n + c]
        y[0] = sign if wants_sign else total


def cholesky(call, context):
    """The lower triangle L with L L^T = A; attributes: accumulate, n; operands: A, L.

    NaN where A is not positive definite. Only the lower triangle of A is read.
    """
    items, n = load(call), load(call + 16)
    for r in range(items):
        a, y = row(address(call + 24, r), n * n), row(address(call + 48, r), n * n)
        for i in range(n):
            for j in range(n):
                if j > i:
                    y[i * n + j] = constant(0)
                else:
                    total = a[i * n + j]
                    for k in range(j):
                        total -= y[i * n + k] * y[j * n + k]
                    y[i * n + j] = sqrt(total) if i == j else total / y[j * n + j]
