"""Products in tiles of registers, against numpy: all shapes of tiles, and what they leave alone."""

import numpy as np
import pytest
from numba import njit

import lazynet as ln
from lazynet.kernels import small_products, tiles
from lazynet.kernels.small_products import BLAS, INNER, OUTER, call_product
from lazynet.kernels.words import meanings

KINDS = {"float32": 2e-4, "float64": 1e-11}
SIZES = [0, 1, 2, 3, 4, 5, 7, 8]
WIDTHS = [0, 1, 3, 4, 5, 8, 11, 32, 33, 45, 67]
DEPTHS = [0, 1, 7, 8, 9, 16, 70]


def _matrix(rng, rows, columns, spare, dtype):
    """A matrix whose rows lie further apart than they are long, with what is no number between."""
    found = np.full((rows, columns + spare), np.nan, dtype)
    found[:, :columns] = rng.standard_normal((rows, columns))
    return found


@njit
def _multiply(function, method, accumulate, ta, m, n, k, a, lda, b, ldb, c, ldc):
    call_product(function, method, accumulate, ta, m, n, k, a, lda, b, ldb, c, ldc)


def _check(multiply, c, expected, n, tolerance):
    """`multiply` writes `expected` into the first n columns of `c`, and nothing else."""
    before = c.copy()
    multiply(c)
    np.testing.assert_allclose(c[:, :n], expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(c[:, n:], before[:, n:])


@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("dtype", KINDS)
def test_rows_by_rows(dtype, accumulate):
    rng, function = np.random.default_rng(0), small_products.address(dtype)
    for m in [*SIZES, 40]:
        for n in WIDTHS:
            for k in DEPTHS:
                a, b = _matrix(rng, m, k, 2, dtype), _matrix(rng, n, k, 1, dtype)
                c = _matrix(rng, m, n, 3, dtype)
                expected = a[:, :k] @ b[:, :k].T + accumulate * c[:, :n]

                def multiply(c, a=a, b=b, m=m, n=n, k=k):
                    _multiply(
                        function, INNER, accumulate, 0, m, n, k, a.ctypes.data, k + 2,
                        b.ctypes.data, k + 1, c.ctypes.data, n + 3,
                    )  # fmt: skip

                _check(multiply, c, expected, n, KINDS[dtype])


@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("dtype", KINDS)
def test_columns_by_rows(dtype, transposed, accumulate):
    rng, function = np.random.default_rng(0), small_products.address(dtype)
    for m in [*SIZES, 40, 200]:
        for n in WIDTHS:
            for k in DEPTHS:
                rows, columns = (k, m) if transposed else (m, k)
                a, b = _matrix(rng, rows, columns, 2, dtype), _matrix(rng, k, n, 1, dtype)
                c = _matrix(rng, m, n, 3, dtype)
                left = a[:, :m].T if transposed else a[:, :k]
                expected = left @ b[:, :n] + accumulate * c[:, :n]

                def multiply(c, a=a, b=b, m=m, n=n, k=k):
                    _multiply(
                        function, OUTER, accumulate, transposed, m, n, k, a.ctypes.data,
                        a.shape[1], b.ctypes.data, n + 1, c.ctypes.data, n + 3,
                    )  # fmt: skip

                _check(multiply, c, expected, n, KINDS[dtype])


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("dtype", KINDS)
def test_tiles_of_processors_with_other_vectors(dtype, lanes):
    rng = np.random.default_rng(0)
    tile = tiles.tile(dtype, lanes)

    @njit
    def both(k, a, b, by_rows, c, some, d):
        tile(2, 0, k, a, k, 1, b, k, c, 4, 4)  # three rows
        tile(10, 1, k, a, k, 1, by_rows, some, d, some, some)  # two rows, narrow, outer

    for k in (1, 4, 16, 19, 35):
        some = min(k, lanes - 1)
        a, b, by_rows = (rng.standard_normal(s).astype(dtype) for s in ((3, k), (4, k), (k, some)))
        c, d = np.zeros((3, 4), dtype), np.ones((2, some), dtype)
        both(k, a.ctypes.data, b.ctypes.data, by_rows.ctypes.data, c.ctypes.data, some,
             d.ctypes.data)  # fmt: skip
        np.testing.assert_allclose(c, a @ b.T, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(d, 1 + a[:2] @ by_rows, rtol=1e-4, atol=1e-4)


def test_nan_in_a_part_of_a_vector_stays_in_its_row():
    x = np.ones((2, 9), np.float32)
    x[1, 8] = np.nan
    weight = ln.tensor(np.ones((3, 9), np.float32))
    found = ln.matmul(ln.tensor(x), ln.transpose(weight)).numpy()
    assert np.isnan(found[1]).all() and (found[0] == 9).all()


def test_small_products_are_made_of_tiles_and_large_ones_by_the_blas():
    choose = small_products.method.py_func
    assert choose(0, 1, 1, 256, 64) == choose(0, 1, 64, 1024, 256) == INNER  # a state and weights
    assert choose(0, 1, 1000, 5, 128) == INNER  # all words and a few labels
    assert choose(0, 1, 1000, 256, 64) == choose(0, 1, 40, 300, 300) == BLAS
    assert choose(0, 0, 4, 256, 1024) == choose(0, 0, 64, 64, 256) == OUTER  # back to a state
    assert choose(1, 0, 256, 64, 3) == OUTER  # the gradient of weights, of a short sentence
    assert choose(0, 0, 64, 256, 1024) == choose(1, 0, 1024, 256, 900) == BLAS
    assert choose(1, 1, 2, 2, 2) == BLAS


@pytest.mark.parametrize("shape", [(40, 500, 300), (300, 60, 200), (3, 700, 300), (900, 1, 300)])
def test_results_do_not_depend_on_the_number_of_threads(shape):
    m, n, k = shape
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n)))
    before, found = ln.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            ln.set_num_threads(threads)
            left, right = (ln.tensor(x, requires_grad=True) for x in (a, b))
            c = ln.matmul(left, right)
            slopes = ln.gradients(ln.sum(c * c), [left, right])  # A B^T and A^T B
            found.append([x.numpy() for x in (c, *slopes)])
    finally:
        ln.set_num_threads(before)
    for others in found[1:]:
        for x, y in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_dtype_without_products_has_none():
    assert meanings("int64")["product"] is None
