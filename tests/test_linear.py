"""Products and square matrices: values of numpy, derivatives of first and second order."""

import numpy as np
import pytest

import lazynet as ln

generator = np.random.default_rng(13)


def draw(*shape):
    return generator.standard_normal(shape)


def definite(n, *batch):
    a = draw(*batch, n, n)
    return a @ a.swapaxes(-1, -2) + 2 * np.eye(n)


EQUATIONS = {
    "ij,jk->ik": ((2, 3), (3, 4)),
    "ij,jk": ((2, 3), (3, 4)),
    "bij,bjk->bik": ((2, 3, 4), (2, 4, 2)),
    "ij->ji": ((2, 3),),
    "ii->i": ((3, 3),),
    "ii": ((3, 3),),
    "ij->": ((2, 3),),
    "i,i->": ((3,), (3,)),
    "i,j->ij": ((3,), (2,)),
    "hqd,hkd->hqk": ((2, 3, 4), (2, 5, 4)),
    "ab,bc,cd->ad": ((2, 3), (3, 2), (2, 4)),
    "ijk,k,j->i": ((2, 3, 4), (4,), (3,)),
    "iij,jk->ki": ((2, 2, 3), (3, 2)),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einstein_sums_are_those_of_numpy(equation):
    arrays = [draw(*shape) for shape in EQUATIONS[equation]]
    y = ln.einsum(equation, *map(ln.tensor, arrays))
    want = np.einsum(equation, *arrays)
    assert y.shape == want.shape
    np.testing.assert_allclose(y.numpy(), want, atol=1e-12)
    ln.check_grads(lambda *values: ln.einsum(equation, *values), arrays)


@pytest.mark.parametrize(
    ("equation", "shapes", "told"),
    [("ij,jk", ((2, 3),), "names 2 operands"), ("ij", ((2,),), "does not name the axes"),
     ("i,i->i", ((2,), (3,)), "has sizes 2 and 3"), ("i->j", ((2,),), "names a new one")],
)  # fmt: skip
def test_wrong_equations_are_told(equation, shapes, told):
    with pytest.raises(ValueError, match=told):
        ln.einsum(equation, *(ln.zeros(*s) for s in shapes))


@pytest.mark.parametrize(
    ("a", "b"),
    [((5, 1, 2, 3), (4, 3, 2)), ((2, 3), (4, 3, 2)), ((3,), (4, 3, 2)), ((4, 2, 3), (3,))],
)
def test_axes_in_front_of_a_product_broadcast(a, b):
    x, y = draw(*a), draw(*b)
    np.testing.assert_allclose(ln.matmul(ln.tensor(x), ln.tensor(y)).numpy(), x @ y, atol=1e-12)
    ln.check_grads(ln.matmul, (x, y))


def test_a_bilinear_form_of_the_rows_of_a_sequence():
    x, y, w, b = draw(3, 2), draw(3, 4), draw(5, 2, 4), draw(5)
    z = ln.bilinear(ln.sequence(x), ln.sequence(y), ln.Parameter(w), ln.Parameter(b))
    np.testing.assert_allclose(z.numpy(), np.einsum("ni,oij,nj->no", x, w, y) + b, atol=1e-12)
    ln.check_grads(ln.bilinear, (x[0], y[0], w, b))


MATRICES = {
    "inverse": (ln.inverse, np.linalg.inv),
    "det": (ln.det, np.linalg.det),
    "logdet": (ln.logdet, lambda a: np.log(np.linalg.det(a))),
    "cholesky": (ln.cholesky, np.linalg.cholesky),
}


@pytest.mark.parametrize("batch", [(), (2,), (2, 2)], ids=str)
@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("name", MATRICES)
def test_square_matrices(name, n, batch):
    ours, naive = MATRICES[name]
    a = definite(n, *batch)
    np.testing.assert_allclose(ours(ln.tensor(a)).numpy(), naive(a), rtol=1e-9)

    def symmetric(x):
        return ours((x + x.mT) * 0.5)

    if n < 5:
        ln.check_grads(symmetric, (a,), tolerance=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_systems_of_equations(dtype):
    a, b = draw(6, 6).astype(dtype), draw(6, 3).astype(dtype)
    y = ln.solve(ln.tensor(a), ln.tensor(b)).numpy()
    np.testing.assert_allclose(a @ y, b, atol=1e-3 if dtype == np.float32 else 1e-9)
    np.testing.assert_allclose(
        ln.solve(ln.tensor(a), ln.tensor(b[:, 0])).numpy(), y[:, 0], rtol=1e-4
    )
    ln.check_grads(ln.solve, (definite(3), draw(3, 2)), tolerance=1e-5)


def test_solve_takes_the_size_of_its_matrix_from_the_matrix():
    for n, m in ((1, 2), (2, 1), (2, 3)):
        a, b = definite(n), draw(n, m)
        for matrix in (ln.tensor(a), ln.Parameter(a)):
            for side in (ln.tensor(b), ln.Parameter(b)):
                y = ln.solve(matrix, side).numpy()
                np.testing.assert_allclose(y, np.linalg.solve(a, b), rtol=1e-4)


def test_signs_of_determinants_and_matrices_without_an_answer():
    sign, value = ln.slogdet(ln.tensor(np.diag([1.0, -2.0])))
    assert sign.item() == -1 and value.item() == pytest.approx(np.log(2))
    assert np.isnan(ln.logdet(ln.tensor(np.diag([1.0, -2.0]))).item())
    assert not np.isfinite(ln.inverse(ln.zeros(2, 2)).numpy()).any()
    assert np.isnan(ln.cholesky(ln.tensor([[-1.0]])).item())
    with pytest.raises(ln.ShapeError, match="inverse: expected square"):
        ln.inverse(ln.zeros(2, 3))
    with ln.debug(), pytest.raises(FloatingPointError, match=r"cholesky: NaN .*test_linear"):
        ln.cholesky(ln.tensor([[-1.0]])).item()


def test_matrices_of_many_examples_are_one_batch():
    values = [ln.inverse(ln.tensor(definite(3)) * 1.0) for _ in range(20)]
    with ln.profile() as seen:
        ln.forward(values)
    assert all(entry.batches == 1 for entry in seen.signatures.values())


def test_numbers_before_rows_add_them_up():
    weights, table = np.array([0.5, 0.25, 2.0]), np.arange(6.0).reshape(3, 2)
    for n in (3, 1, 0):
        got = ln.sequence(weights[:n]) @ ln.sequence(table[:n])
        np.testing.assert_allclose(got.numpy(), weights[:n] @ table[:n])
    got = ln.sequence(weights) @ ln.sequence(weights)
    assert got.shape == () and got.item() == pytest.approx(weights @ weights)
    ln.check_grads(lambda w, x: ln.sequence(w) @ ln.sequence(x), [weights, table], order=2)


def test_numbers_before_other_rows_are_refused():
    weights = ln.sequence([1.0, 2.0])
    with pytest.raises(ln.ShapeError, match=r"matmul: \(2,\) and \(3, 4\) do not match"):
        weights @ ln.sequence(np.ones((3, 4), np.float32))
    with pytest.raises(ln.DtypeError, match="matmul: operands must be of one float dtype"):
        weights @ ln.sequence(np.ones((2, 4)))
    with pytest.raises(ln.ShapeError, match=r"matmul: expected vectors or matrices, not rows of"):
        ln.sequence(np.ones((2, 4), np.float32)) @ weights
