"""Functions of functions: gradients, products with derivatives, Jacobians; all of them lazy."""

import numpy as np
import pytest
from test_ops import observed

import lazynet as ln
from lazynet import nn

A, B = np.random.default_rng(1).standard_normal((2, 3))
W = np.random.default_rng(2).standard_normal((4, 3))


def curve(x, y):
    return (x * y).tanh() + (x * x) * y


def scalar(x, y):
    return curve(x, y).sum()


def arrays(structure):
    from lazynet.nested import mapped

    return mapped(structure, lambda x: x.numpy())


# -- laziness --------------------------------------------------------------------------------------


def test_gradients_run_nothing_and_those_of_fifty_examples_are_the_batches_of_one():
    def count(examples):
        rows = [ln.tensor(np.random.randn(3)) for _ in range(examples)]
        with observed() as runs:
            found = [ln.grad(lambda x: ln.grad(scalar)(x, A).square().sum())(x) for x in rows]
            assert not runs and all(g.pending for g in found)
            ln.forward(found)
        assert len(runs) == 1
        return runs[0].batches

    assert count(50) == count(1)


def test_a_jacobian_takes_the_batches_of_a_gradient():
    with observed() as runs:
        ln.jacobian(lambda x: (ln.linear(x, ln.tensor(W)) * 2.0).tanh())(ln.tensor(A)).numpy()
        ln.forward()
        ln.grad(lambda x: (ln.linear(x, ln.tensor(W)) * 2.0).tanh().sum())(ln.tensor(A)).numpy()
    assert runs[0].batches <= runs[1].batches + 3


def test_gradients_through_a_long_chain_of_cells_visit_each_once():
    @ln.cell
    def step(x, h):
        return (x * h).tanh()

    h = x = ln.tensor(A, requires_grad=True)
    for _ in range(60):  # going on beyond a cell's operands from inside it would never end
        h = step(x, h)
    (found,) = ln.gradients(h.sum(), [x])
    h.sum().backward()
    np.testing.assert_allclose(found.numpy(), x.grad.numpy(), atol=1e-12)


# -- what was wrong when operands hang together ----------------------------------------------------


@pytest.mark.parametrize("second", ["same", "dependent"])
def test_the_operands_of_a_cell_may_depend_on_each_other(second):
    @ln.cell
    def product(x, y):
        return x * y.tanh()

    x = ln.tensor(A, requires_grad=True)
    h = x * 2.0
    y = product(h, h if second == "same" else h.square())
    (found,) = ln.gradients(y.sum(), [x])
    y.sum().backward()
    np.testing.assert_allclose(found.numpy(), x.grad.numpy(), atol=1e-12)


def test_an_argument_is_told_apart_from_the_same_value_in_another_place():
    x = ln.tensor(A)
    np.testing.assert_allclose(ln.grad(scalar)(x, x).numpy(), ln.grad(scalar)(A, A).numpy())
    first, second = ln.grad(scalar, argnums=(0, 1))(x, x)
    np.testing.assert_allclose(first.numpy(), ln.grad(scalar)(A, A).numpy())
    np.testing.assert_allclose(second.numpy(), ln.grad(scalar, 1)(A, A).numpy())


# -- meanings --------------------------------------------------------------------------------------


def test_values_that_want_no_gradient_are_differentiated_when_they_are_arguments():
    with ln.no_grad():
        x = ln.tensor(A) * 1.0
        found = ln.grad(scalar)(x, B)
    np.testing.assert_allclose(found.numpy(), ln.grad(scalar)(A, B).numpy())


def test_no_grad_inside_the_function_cuts_and_outside_does_not():
    def cut(x):
        with ln.no_grad():
            y = x * 3.0
        return (x * y).sum()

    with ln.no_grad():
        np.testing.assert_allclose(ln.grad(cut)(A).numpy(), 3 * A)


def test_arguments_and_results_may_be_nested():
    def function(both, *, scale):
        return {"s": (both["x"] * both["y"][0]).sum() * scale, "x": both["x"] * 2.0}, [1, "aux"]

    given = {"x": A, "y": [B, B]}
    found, aux = ln.grad(lambda b: (function(b, scale=2.0)[0]["s"], "aux"), has_aux=True)(given)
    assert aux == "aux"
    np.testing.assert_allclose(found["x"].numpy(), 2 * B)
    np.testing.assert_allclose(found["y"][0].numpy(), 2 * A)
    np.testing.assert_allclose(found["y"][1].numpy(), 0 * A)
    _, pull, aux = ln.vjp(lambda b: function(b, scale=2.0), given, has_aux=True)
    assert aux == [1, "aux"]
    back = pull({"s": np.float64(0), "x": np.ones(3)})
    np.testing.assert_allclose(back["x"].numpy(), 2 * np.ones(3))
    out, moved = ln.jvp(lambda b: function(b, scale=2.0)[0], (given,), (given,))
    np.testing.assert_allclose(moved["s"].numpy(), 4 * np.dot(A, B))
    np.testing.assert_allclose(moved["x"].numpy(), 2 * A)
    np.testing.assert_allclose(out["s"].numpy(), 2 * np.dot(A, B))


def test_derivatives_along_the_rows_of_a_sequence():
    def last(x):
        return ln.softmax(x, 0) * x[::-1]

    rows = np.random.randn(4, 3)
    x, t = ln.sequence(rows), np.random.randn(4, 3)
    _, moved = ln.jvp(last, (x,), (t,))
    step = 1e-6
    quotient = (
        last(ln.sequence(rows + step * t)).numpy() - last(ln.sequence(rows - step * t)).numpy()
    ) / (2 * step)
    np.testing.assert_allclose(moved.numpy(), quotient, atol=1e-8)
    full = ln.jacobian(last)(x)
    assert full.shape == (4, 3, 4, 3)
    np.testing.assert_allclose(np.tensordot(full.numpy(), t, 2), quotient, atol=1e-8)


def test_derivatives_along_a_direction_go_through_cells_scans_and_attention():
    recurrent = nn.LSTM(3, 4).double()
    attention = nn.MultiheadAttention(4, 2).double()

    def network(x):
        states = recurrent(ln.sequence(x))
        return attention(states, states, states)[0]

    ln.check_grads(network, [np.random.randn(3, 3)], order=2, modes=("fwd", "rev"))


def test_errors_tell_what_was_expected():
    with pytest.raises(ValueError, match=r"gives a scalar, not a value of shape \(3,\)"):
        ln.grad(curve)(A, B)
    with pytest.raises(TypeError, match="only floats have derivatives, not int64"):
        ln.grad(scalar)(np.arange(3), B)
    with pytest.raises(ValueError, match="there is no argument 2; there are 2"):
        ln.grad(scalar, 2)(A, B)
    with pytest.raises(TypeError, match="must give a pair"):
        ln.grad(scalar, has_aux=True)(A, B)
    with pytest.raises(ValueError, match="1 arguments and 2 directions"):
        ln.jvp(scalar, (A,), (A, B))
    with pytest.raises(TypeError, match="expected a tuple of arguments"):
        ln.jvp(scalar, ln.tensor(A), ln.tensor(B))
    with pytest.raises(ValueError, match="nested as"):
        ln.vjp(curve, A, B)[1]([A, B])
    with pytest.raises(ValueError, match=r"the seed has shape \(2,\), the value \(3,\)"):
        ln.gradients(ln.tensor(A, requires_grad=True) * 2.0, [], np.ones(2))
    with pytest.raises(ValueError, match="modes are"):
        ln.check_grads(scalar, [A, B], modes=("forward",))


def test_gradients_after_a_backward_that_freed_the_graph_are_refused():
    x = ln.tensor(A, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="a second time"):
        ln.gradients(y * 2.0, [x])


def test_gradients_through_a_parameter_that_has_changed_are_refused():
    w = ln.Parameter(A)
    y = (w * w).sum()
    w.copy_(B)
    with pytest.raises(RuntimeError, match="has been modified since"):
        ln.gradients(y, [w])


def test_check_grads_finds_a_wrong_second_derivative_in_both_modes():
    from lazynet.ops.lifting import elementwise
    from lazynet.record import record

    cut = elementwise("", "y = x^2", "x0 * x0", lambda g, y, x: (g * (2.0 * x.detach()),))
    for mode in ("fwd", "rev"):
        ln.check_grads(lambda x: record(cut, (x,)), [A], order=1, modes=(mode,))
        with pytest.raises(AssertionError, match=rf"second derivative .* \({mode}\)"):
            ln.check_grads(lambda x: record(cut, (x,)), [A], modes=(mode,))


# -- PyTorch as an oracle --------------------------------------------------------------------------


@pytest.fixture
def functional():
    return pytest.importorskip("torch").func


def as_torch(torch, *values):
    return [torch.tensor(np.asarray(v)) for v in values]


@pytest.mark.parametrize("argnums", [0, 1, (0, 1), (1, 0)], ids=str)
def test_gradients_and_jacobians_are_those_of_pytorch(functional, argnums):
    import torch

    x, y = as_torch(torch, A, B)
    for ours, theirs in (
        (ln.grad(scalar, argnums), functional.grad(scalar, argnums)),
        (ln.jacobian(curve, argnums), functional.jacrev(curve, argnums)),
        (ln.hessian(scalar, argnums), functional.hessian(scalar, argnums)),
    ):
        compare(ours(A, B), theirs(x, y))


def compare(ours, theirs):
    if isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            compare(a, b)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for name in theirs:
            compare(ours[name], theirs[name])
    else:
        assert tuple(ours.shape) == tuple(theirs.shape)
        np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), atol=1e-12)


def test_products_with_derivatives_are_those_of_pytorch(functional):
    import torch

    x, y, s, t = as_torch(torch, A, B, B + 1, A - 1)
    compare(ln.jvp(curve, (A, B), (B + 1, A - 1)), functional.jvp(curve, (x, y), (s, t)))
    ours, theirs = ln.vjp(curve, A, B), functional.vjp(curve, x, y)
    compare(ours[0], theirs[0])
    compare(ours[1](ln.tensor(A)), theirs[1](x))
    compare(
        ln.hvp(scalar, (A, B), (B + 1, A - 1)),
        torch.autograd.functional.hvp(scalar, (x, y), (s, t)),
    )
    one = lambda x: scalar(x, x)  # noqa: E731
    compare(ln.hvp(one, A, B), torch.autograd.functional.hvp(one, x, y))


def test_nested_jacobians_are_those_of_pytorch(functional):
    import torch

    def function(given):
        return {"a": given["x"] * given["y"], "b": (given["x"].sum(), given["y"] ** 2)}

    x, y = as_torch(torch, A, B)
    compare(ln.jacobian(function)({"x": A, "y": B}), functional.jacrev(function)({"x": x, "y": y}))
