"""Products that are too small for a BLAS, in tiles of registers.

A BLAS copies both factors into an order of its own before it multiplies, and takes some
microseconds for that alone. Where a factor has few rows it would be read a few times only, so that
the copy costs as much as the product; here tiles read both factors as they lie.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lazynet.kernels.jit import callback_address, made_once, word
from lazynet.kernels.memory import load
from lazynet.kernels.threads import PACKED as PACKED_AT
from lazynet.kernels.tiles import NARROW, OUTER_TILE, ROWS, WIDTH, lanes, tile

# How a product is made. Parts of one are all made as the whole would be, so that results do not
# depend on the number of threads.
BLAS, INNER, OUTER, PACKED = range(4)
_KIND = types.void(*(types.int64,) * 12)

# Words of an entry of the table of packed matrices: the address of a matrix, whether it is
# transposed, its columns and rows, the bytes of an element, the address of its copy. The table
# begins with how many there are.
MATRIX, TRANSPOSED, COLUMNS, DEPTH, SIZE, COPY, ENTRY = range(7)

# Measured: beyond these a BLAS is as fast, or faster.
FEW, LEAST_DEPTH = 64, 128  # rows of a factor, where long rows that begin as vectors do meet
FEW_SHORT_ROWS = 24  # rows of a factor, where other rows meet
FEW_ROWS, FEW_COLUMNS = 12, 128  # rows of the result; its columns, if it is near
NEAR = 1 << 13  # elements of a matrix that stays in the first cache
WITHIN_REACH = 1 << 16  # elements of one that stays in the second

# Rows of B that are gone through before the next columns: what lies a power of two apart shares its
# places in the first cache, so that of long rows fewer have room there.
MOST_STEPS, LEAST_BLOCK = 64, 16
# Of packed matrices: so many rows of a panel stay in the first cache while rows of A pass by.
PANEL_STEPS = 128
MOST_PACKED = 256  # rows of a result beyond which a BLAS is as fast


@made_once
def panel(dtype: str) -> int:
    """The columns of a panel of a packed matrix: as many as an outer tile has."""
    return WIDTH * lanes(dtype)


@word
def method(ta, tb, m, n, k):
    """How to make C = op(A) op(B), with m rows and n columns: `BLAS`, `INNER` or `OUTER`."""
    if ta and tb:
        return BLAS
    if tb:
        few = FEW if k >= LEAST_DEPTH and k % 8 == 0 else FEW_SHORT_ROWS
        return INNER if min(m, n) <= few else BLAS
    if m <= FEW_ROWS or (n <= FEW_COLUMNS and m * n <= NEAR):
        return OUTER
    return OUTER if k * n <= NEAR and m * n <= WITHIN_REACH and n % 8 == 0 else BLAS


@word
def packed_at(context, transposed, n, k, matrix, stride):
    """Where a matrix of n columns and k rows lies packed; 0 if nowhere."""
    table = load(context + PACKED_AT)
    if table == 0 or stride != (k if transposed else n):
        return np.int64(0)
    for at in range(load(table)):
        q = table + 8 + 8 * ENTRY * at
        if load(q + 8 * MATRIX) == matrix and load(q + 8 * TRANSPOSED) == transposed:
            if load(q + 8 * COLUMNS) == n and load(q + 8 * DEPTH) == k:
                return load(q + 8 * COPY)
    return np.int64(0)


@word
def next_rows(left):
    """How many rows the next tile takes: three, unless that would leave one alone."""
    if left == 1:
        return np.int64(1)
    return np.int64(2) if left == 2 or left == 4 else np.int64(ROWS)


@intrinsic
def call_product(typing_context, function, method, accumulate, ta, m, n, k, a, lda, b, ldb, c, ldc):
    """Call what `address` gives: C (+)= A B^T (`INNER`) or op(A) B (`OUTER`), row-major.

    Of `PACKED`, B is in panels, one behind the other: all rows of some columns.
    """

    def generate(context, builder, signature, values):
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values[1:]])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.int64, *_KIND.args), generate


def _walk(dtype: str):
    """The word `walk` for a dtype."""
    item, width = np.dtype(dtype).itemsize, lanes(dtype)
    make = tile(dtype, width)

    @word
    def walk(method, by_columns, accumulate, m, n, k, a, step, along, b, ldb, c, ldc):
        """Make C tile by tile, column by column or row by row."""
        kind, most, some, across = np.int64(0), np.int64(WIDTH), np.int64(1), ldb
        if method == OUTER:
            kind, most, some, across = (
                np.int64(OUTER_TILE), np.int64(WIDTH * width), np.int64(width), np.int64(1),
            )  # fmt: skip
        top = np.int64(0)
        while top < m:
            bottom = m if by_columns else top + next_rows(m - top)
            j = np.int64(0)
            while j < n:
                columns = most if n - j >= most else min(n - j, some)
                which = kind if columns == most else kind + NARROW
                i = top
                while i < bottom:
                    rows = next_rows(bottom - i)
                    make(
                        which + rows - 1, accumulate, k, a + i * step * item, step, along,
                        b + j * across * item, ldb, c + (i * ldc + j) * item, ldc, columns,
                    )  # fmt: skip
                    i += rows
                j += columns
            top = bottom

    return walk


def _walk_panels(walk, dtype: str):
    """The word `walk_panels` for a dtype."""
    item, across = np.dtype(dtype).itemsize, panel(dtype)

    @word
    def walk_panels(accumulate, m, n, k, a, lda, b, c, ldc):
        """Make C a few columns at a time, and of these with a few rows of B at a time."""
        start = np.int64(0)
        while start < k or start == 0:
            steps = min(PANEL_STEPS, k - start)
            j = np.int64(0)
            while j < n:
                walk(
                    OUTER, True, accumulate or start > 0, m, min(across, n - j), steps,
                    a + start * item, lda, 1, b + (j * k + start * across) * item, across,
                    c + j * item, ldc,
                )  # fmt: skip
                j += across
            start += PANEL_STEPS

    return walk_panels


@made_once
def address(dtype: str) -> int:
    """Where the compiled code of small products lies.

    All kernels call the same, by address: with a loop for each kind of tile it takes a while to
    compile.
    """
    item, walk = np.dtype(dtype).itemsize, _walk(dtype)
    walk_panels = _walk_panels(walk, dtype)

    def small_product(method, accumulate, ta, m, n, k, a, lda, b, ldb, c, ldc):
        if method == PACKED:
            walk_panels(accumulate, m, n, k, a, lda, b, c, ldc)
            return
        if method == INNER:
            # The factor with fewer rows is gone through for each tile's rows of the other.
            walk(method, m <= n, accumulate, m, n, k, a, lda, 1, b, ldb, c, ldc)
            return
        step, along = (1, lda) if ta else (lda, 1)
        by_columns = m <= FEW_ROWS or m * n <= NEAR
        deep = max(LEAST_BLOCK, min(MOST_STEPS, NEAR // max(ldb, 1)))
        start = np.int64(0)
        while start < k or start == 0:
            walk(
                method, by_columns, accumulate or start > 0, m, n, min(deep, k - start),
                a + start * along * item, step, along, b + start * ldb * item, ldb, c, ldc,
            )  # fmt: skip
            start += deep

    small_product.generated_source = f"{dtype} small_product"  # type: ignore[attr-defined]
    return callback_address(small_product, _KIND)
