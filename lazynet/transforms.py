"""Functions made of functions: their gradients, products with their derivatives, their Jacobians.

Names and meanings are those of torch.func. A function takes and gives Tensors and Sequences, alone
or in tuples, lists and dicts. Every result is lazy and batches: over examples, over the rows of a
Jacobian, and together with whatever else is pending. Results can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.autodiff import gradients
from lazynet.cotangents import zero_rows
from lazynet.device import beside_operands
from lazynet.modes import enable_grad
from lazynet.nested import alike, filled, leaves_of, mapped
from lazynet.ops.fill import zeros
from lazynet.ops.identity import variable
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import sequence
from lazynet.ops.trees import joined_rows
from lazynet.tensor import Sequence, Tensor, Value, tensor


def grad(function: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """The function that gives the gradient df/dx of a scalar function.

        >>> cube = lambda x: (x * x * x).sum()
        >>> x = ln.tensor([1.0, 2.0])
        >>> ln.grad(cube)(x).tolist()
        [3.0, 12.0]
        >>> ln.grad(lambda x: ln.grad(cube)(x).sum())(x).tolist()
        [6.0, 12.0]

    Args:
        function: gives a scalar.
        argnums: the number of the argument, or a tuple of numbers, which gives a tuple.
        has_aux: whether the function gives (scalar, anything else); then so does the gradient.

    Returns:
        a function of the same arguments. Each gradient is nested as its argument and has its shape;
        it is 0 where the value does not depend on the argument.

    Raises:
        ValueError: when called, if the function gives no scalar.
        TypeError: when called, if an argument to differentiate holds something that is no float.
    """

    both = value_and_grad(function, argnums, has_aux)

    def gradient(*arguments: Any, **named: Any) -> Any:
        value, found = both(*arguments, **named)
        return (found, value[1]) if has_aux else found

    return gradient


def value_and_grad(
    function: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable:
    """The function that gives (f(x), df/dx); with `has_aux` ((f(x), aux), df/dx).

        >>> value, slope = ln.value_and_grad(lambda x: x.square().sum())(ln.tensor([1.0, 2.0]))
        >>> value.item(), slope.tolist()
        (5.0, [2.0, 4.0])

    Arguments and errors as those of `grad`.
    """

    _refuse_values("grad", function)

    def both(*arguments: Any, **named: Any) -> Any:
        chosen, arguments = _chosen("grad", arguments, argnums)
        with enable_grad():
            value = function(*arguments, **named)
        y = _first(value, has_aux, "grad")
        if not isinstance(y, Tensor) or y.type.size != 1:
            shape = getattr(y, "shape", None)
            what = type(y).__name__ if shape is None else f"a value of shape {tuple(shape)}"
            raise ValueError(f"grad: expected a function that gives a scalar, not {what}")
        return value, _nested(chosen, gradients(y, leaves_of(chosen)))

    return both


def vjp(function: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """(f(x), pull) with pull(g) = g^T df/dx: the product of a cotangent and the Jacobian.

        >>> y, pull = ln.vjp(lambda x: x.square(), ln.tensor([1.0, 2.0]))
        >>> y.tolist(), pull(ln.tensor([1.0, 10.0])).tolist()
        ([1.0, 4.0], [2.0, 40.0])

    Args:
        primals: the arguments.
        has_aux: whether the function gives (output, anything else), which is then given last.

    Returns:
        the output, the function from a cotangent nested as the output to a tuple of cotangents (of
        one argument, that one), and `aux` if there is one.
    """
    chosen, primals = _chosen("vjp", primals, tuple(range(len(primals))))
    with enable_grad():
        value = function(*primals)
    y = _first(value, has_aux, "vjp")

    def pull(cotangent: Any) -> Any:
        ys, seeds = alike("vjp", y, cotangent)
        made = _nested(chosen, _pulled(ys, seeds, leaves_of(chosen)))
        return made[0] if len(made) == 1 else made

    return (y, pull, value[1]) if has_aux else (y, pull)


def jvp(function: Callable, primals: tuple, tangents: tuple, has_aux: bool = False) -> tuple:
    """(f(x), df/dx t): the derivative of a function along a direction.

    It is made of two products with the transposed Jacobian: g^T df/dx is linear in g, and its own
    derivative with respect to g, times t, is df/dx t. So every op, cell and scan has it, and it
    costs about twice as much as a gradient.

        >>> y, dy = ln.jvp(lambda x: x.square(), (ln.tensor([1.0, 2.0]),), (ln.ones(2),))
        >>> y.tolist(), dy.tolist()
        ([1.0, 4.0], [2.0, 4.0])

    Args:
        primals: a tuple of arguments.
        tangents: for each argument its direction, nested in the same way.
        has_aux: whether the function gives (output, anything else), which is then given last.

    Raises:
        ValueError: if the directions are nested in another way, or have other shapes.
        TypeError: for what is no tuple of arguments, or of directions.
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError("jvp: expected a tuple of arguments and a tuple of directions")
    if len(primals) != len(tangents):
        raise ValueError(f"jvp: {len(primals)} arguments and {len(tangents)} directions")
    chosen, arguments = _chosen("jvp", tuple(primals), tuple(range(len(primals))))
    xs, directions = alike("jvp", chosen, tuple(tangents))
    with enable_grad():
        value = function(*arguments)
        y = _first(value, has_aux, "jvp")
        slots = [variable(zero_rows(v)) for v in leaves_of(y)]
        pulled = _pulled(leaves_of(y), slots, xs)
    pairs = [
        (g, _like(t, x)) for g, x, t in zip(pulled, xs, directions, strict=True) if g is not None
    ]
    found = gradients([g for g, _ in pairs], slots, [t for _, t in pairs])
    moved = [zero_rows(v) if g is None else g for g, v in zip(found, leaves_of(y), strict=True)]
    made = filled(y, moved)
    return (y, made, value[1]) if has_aux else (y, made)


def hvp(function: Callable, inputs: Any, v: Any) -> tuple:
    """(f(x), H v) with H the matrix of second derivatives of a scalar function.

        >>> value, product = ln.hvp(lambda x: (x * x * x).sum(), ln.tensor([1.0, 2.0]), ln.ones(2))
        >>> value.item(), product.tolist()
        (9.0, [6.0, 12.0])

    Args:
        inputs: the argument, or a tuple of arguments.
        v: the direction, nested as the inputs are.

    Returns:
        the value, and the product nested as the inputs are: as `torch.autograd.functional.hvp`.
    """
    single = not isinstance(inputs, tuple)
    arguments = (inputs,) if single else inputs
    chosen, arguments = _chosen("hvp", arguments, tuple(range(len(arguments))))
    xs, directions = alike("hvp", chosen, (v,) if single else v)
    with enable_grad():
        value, slopes = value_and_grad(function, tuple(range(len(arguments))))(*arguments)
    seeds = [_like(t, x) for t, x in zip(directions, xs, strict=True)]
    made = _nested(chosen, gradients(leaves_of(slopes), xs, seeds))
    return value, made[0] if single else made


def jacobian(
    function: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable:
    """The function that gives the Jacobian J[i, j] = dy_i / dx_j.

        >>> ln.jacobian(lambda x: x.square())(ln.tensor([1.0, 2.0])).tolist()
        [[2.0, 0.0], [0.0, 4.0]]

    Args:
        argnums: the number of the argument, or a tuple of numbers, which gives a tuple.
        has_aux: whether the function gives (output, anything else); then so does the Jacobian.

    Returns:
        a function of the same arguments. It gives a Tensor of the output's shape followed by the
        argument's (n rows of a Sequence are an axis of n), for each value in the argument, nested
        as the argument, for each value in the output, nested as the output.
    """

    def matrix(*arguments: Any, **named: Any) -> Any:
        chosen, arguments = _chosen("jacobian", arguments, argnums)
        with enable_grad():
            value = function(*arguments, **named)
        y = _first(value, has_aux, "jacobian")
        xs = leaves_of(chosen)
        found = mapped(y, lambda v: filled(chosen, _rows_of_jacobian(v, xs)))
        return (found, value[1]) if has_aux else found

    return matrix


def hessian(function: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The function that gives the second derivatives H[i, j] = d2f / dx_i dx_j.

        >>> ln.hessian(lambda x: (x * x * x).sum())(ln.tensor([1.0, 2.0])).tolist()
        [[6.0, 0.0], [0.0, 12.0]]

    The Jacobian of the Jacobian: of a function that is no scalar, the output's axes come first.

    Args:
        argnums: the number of the argument; a tuple of numbers gives a tuple of tuples.
    """
    return jacobian(jacobian(function, argnums), argnums)


def _chosen(name: str, arguments: tuple, argnums: int | tuple[int, ...]) -> tuple[Any, tuple]:
    """The arguments to differentiate, made differentiable, and all arguments with them in place."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for k in numbers:
        if not -len(arguments) <= k < len(arguments):
            raise ValueError(f"{name}: there is no argument {k}; there are {len(arguments)}")
    numbers = tuple(k % len(arguments) for k in numbers)
    made = list(arguments)
    with enable_grad():
        for k in dict.fromkeys(numbers):
            made[k] = mapped(arguments[k], lambda x: _differentiable(name, x))
    found = tuple(made[k] for k in numbers)
    return (found[0] if isinstance(argnums, int) else found), tuple(made)


def _refuse_values(name: str, function: Any) -> None:
    """Raise for a value that was computed already."""
    if isinstance(function, Value):
        raise TypeError(
            f"{name}: expected a function, not a {type(function).__name__}; the gradients of a "
            "value are ln.gradients(y, [x]), or y.backward() and x.grad"
        )


def _differentiable(name: str, x: Any) -> Value:
    x = x if isinstance(x, Value) else tensor(x)
    if not x.type.is_float:
        raise TypeError(f"{name}: only floats have derivatives, not {x.type.dtype}")
    return variable(x)


def _first(value: Any, has_aux: bool, name: str) -> Any:
    if not has_aux:
        return value
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{name}: with has_aux the function must give a pair (output, aux)")
    return value[0]


def _nested(chosen: Any, found: list[Any]) -> Any:
    """Gradients in the places of the values; 0 where there is none."""
    xs = leaves_of(chosen)
    return filled(
        chosen, [zero_rows(x) if g is None else g for x, g in zip(xs, found, strict=True)]
    )


@beside_operands
def _like(t: Any, x: Value) -> Any:
    """A direction as a value of the shape of x."""
    if isinstance(t, Value):
        return t
    array = np.asarray(t, x.type.dtype)
    return sequence(tensor(array)) if isinstance(x, Sequence) else tensor(array)


def _pulled(ys: list[Any], seeds: list[Any], xs: list[Any]) -> list[Any]:
    """The products of these cotangents and the Jacobians; values that are no floats have none."""
    pairs = [(v, g) for v, g in zip(ys, seeds, strict=True) if v.type.is_float]
    return gradients([v for v, _ in pairs], xs, [g for _, g in pairs])


@beside_operands
def _rows_of_jacobian(y: Value, xs: list[Any]) -> list[Any]:
    """For each x the derivatives of every element of y, as one Tensor."""
    shape = tuple(y.shape)
    count = int(np.prod(shape))
    rows: list[list[Any]] = [[] for _ in xs]
    for k in range(count):
        unit = np.zeros(count, y.type.dtype)
        unit[k] = 1
        for row, g, x in zip(rows, gradients(y, xs, unit.reshape(shape)), xs, strict=True):
            g = zero_rows(x) if g is None else g
            g = joined_rows(g) if isinstance(g, Sequence) else g
            row.append(reshape(g, (g.type.size,)))
    made = []
    for row, x in zip(rows, xs, strict=True):
        full = (*shape, *x.shape)
        joined = joined_rows(sequence(row)) if row else zeros(*full, dtype=x.type.dtype)
        made.append(reshape(joined, full))
    return made
