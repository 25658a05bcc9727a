"""Ops of one's own, written in numpy: `ln.Function`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.batching import layout as words
from lazynet.device import CPU, DeviceError
from lazynet.kernels import host
from lazynet.op import Op, RowType, Signature, row_type
from lazynet.parameter import Parameter
from lazynet.program import (
    Program,
    Ref,
    Region,
    Step,
    elementwise,
    lowered,
    operand_refs,
    output_refs,
)
from lazynet.record import DtypeError, ShapeError, as_value, graph_of, record
from lazynet.tensor import Tensor


class Function:
    """An op whose forward and backward are written in numpy, over all rows of a batch at once.

    A subclass says what one row becomes (`shape`) and computes many (`forward`, `backward`); an
    instance is the op. Its attributes are its options, which must not change. It is batched,
    profiled and checked like a built-in op, over Tensors and over the rows of Sequences.

        >>> class Cube(ln.Function):
        ...     def forward(self, x):
        ...         return x * x * x
        ...
        ...     def backward(self, g, y, x):
        ...         return 3 * g * x * x
        >>> cube = Cube()
        >>> x = ln.tensor([1.0, 2.0], requires_grad=True)
        >>> y = cube(x)
        >>> y.sum().backward()
        >>> y.tolist(), x.grad.tolist()
        ([1.0, 8.0], [3.0, 12.0])
        >>> ln.check_grads(cube, [np.ones(3)], order=1, modes=("rev",))

    Every array has a leading axis of n rows, of whichever examples run together: row k of the
    result may depend on row k of the arguments alone. A parameter is the same row n times, without
    being copied. Arguments cannot be written to. What forward or backward raises is raised where
    the value was asked for, and no gradient has changed then; they cannot ask for lazy values.

    Second derivatives, and derivatives along a direction, need `vjp`, the backward written in lazy
    ops: it is used wherever gradients are recorded, and in the place of `backward` if there is
    none. Without either, the op has no derivative, as comparisons have none.

    Attributes:
        name: what errors and profiles call it; by default the class's name.
        dtype: of the result; by default that of the float arguments.
    """

    name: str = ""
    dtype: str | None = None
    backward: Callable[..., Any] | None = None
    vjp: Callable[..., Any] | None = None

    def shape(self, *shapes: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a row of the result from those of the arguments; by default the first's.

        Raise `ln.ShapeError` for shapes that do not fit.
        """
        return shapes[0]

    def forward(self, *arrays: np.ndarray) -> np.ndarray:
        """The result (n, *shape) from arguments of (n, ...)."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *operands: Any) -> Any:
        values = [as_value(x, self._name) for x in operands]
        if not values:
            raise TypeError(f"{self._name}: a Function takes at least one argument")
        # A parameter is an argument like others: its rows are gathered, not looked up.
        values = [Tensor(x.graph, x.id, x.type) if type(x) is Parameter else x for x in values]
        device = graph_of(values).device
        if device is not None and device is not CPU:
            raise DeviceError(
                f"{self._name}: it is written in numpy and runs on the CPU only, not on "
                f"{device.name!r}; move its arguments with .cpu()"
            )
        return record(self._op(), tuple(values))

    @property
    def _name(self) -> str:
        return self.name or type(self).__name__

    def _op(self) -> Op:
        found = self.__dict__.get("_made")
        if found is None:
            found = self.__dict__["_made"] = _op_of(self)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_made"}


def _op_of(function: Function) -> Op:
    name = function._name
    differentiable = function.backward is not None or function.vjp is not None
    slope = _slope_of(function) if function.backward is not None else None

    def vjp(g, y, *operands):
        if function.vjp is not None:
            return _each(name, "vjp", function.vjp(g, y, *operands), len(operands))
        made = record(slope, (g, y, *operands))
        given = iter(made if isinstance(made, tuple) else (made,))
        return tuple(next(given) if x.type.is_float else None for x in operands)

    return Op(
        name, f"{name}, in numpy", lambda *rows: (_result(function, rows),),
        lambda s: lowered(s, [_forward_step(function, s)]), vjp if differentiable else None,
        backward=(lambda s: _backward_program(function, s)) if slope else None, listed=False,
        host=True,
    )  # fmt: skip


def _result(function: Function, rows: tuple[RowType, ...]) -> RowType:
    name = function._name
    dtypes = list(dict.fromkeys(row.dtype for row in rows if row.is_float))
    if len(dtypes) > 1:
        raise DtypeError(f"{name}: arguments of {' and '.join(dtypes)}; convert with .astype")
    shape = function.shape(*(row.shape for row in rows))
    if not isinstance(shape, tuple) or not all(isinstance(n, (int, np.integer)) for n in shape):
        raise ShapeError(f"{name}: shape() gives a tuple of integers, not {shape!r}")
    return row_type(function.dtype or (dtypes or [rows[0].dtype])[0], tuple(map(int, shape)))


def _rows(rows: Any) -> list[host.Rows]:
    return [host.Rows(row.shape, row.dtype) for row in rows]


def _step(kernel: str, inputs: list[Ref], outputs: list[Ref]) -> Step:
    """One call for all items. Wanting its rows evenly spaced, it is never split."""
    views = (True,) * (len(inputs) + len(outputs))
    return Step(
        tuple(inputs), tuple(outputs), (False,) * len(outputs), kernel, outputs[0].dtype,
        views=views,
    )  # fmt: skip


def _forward_step(function: Function, s: Signature) -> Step:
    def run(*arrays):
        made = np.asarray(function.forward(*arrays))
        return [_checked(function._name, "forward", made, (len(arrays[0]), *s.type.shape))]

    kernel = host.register(
        f"forward of {function._name}", _rows(s.operands), _rows([s.type]), run
    )  # fmt: skip
    return _step(kernel, operand_refs(s), output_refs(s))


def _slopes(function: Function, operands: tuple[RowType, ...]) -> Callable[..., list[Any]]:
    """The backward over arrays, checked: a gradient for each float operand."""

    def run(g, y, *arrays):
        assert function.backward is not None
        given = _each(function._name, "backward", function.backward(g, y, *arrays), len(arrays))
        return [
            None if made is None
            else _checked(function._name, "backward", np.asarray(made), (len(g), *row.shape))
            for made, row in zip(given, operands, strict=True) if row.is_float
        ]  # fmt: skip

    return run


def _backward_program(function: Function, s: Signature) -> Program:
    """Backward into rows of its own, from where they are added to the gradients."""
    floats = [k for k, row in enumerate(s.operands) if row.is_float]
    own = [s.operands[k].stored for k in floats]
    y = output_refs(s)[0]
    g = Ref(words.D_FORWARD, 0, y.dtype, y.size)
    inputs = [g, Ref(words.FORWARD_REGION, 0, y.dtype, y.size), *operand_refs(s)]
    outputs = [Ref(words.REGION, j, row.dtype, row.size) for j, row in enumerate(own)]
    kernel = host.register(
        f"backward of {function._name}", _rows([s.type, s.type, *s.operands]), _rows(own),
        _slopes(function, s.operands),
    )  # fmt: skip
    steps = [_step(kernel, inputs, outputs)] if own else []
    for k, ref in zip(floats, outputs, strict=True):
        row = s.operands[k]
        target = Ref(words.D_ARGUMENT, k, row.dtype, row.size, row.offset)
        steps.append(elementwise("x0", [ref], target, accumulate=True))
    assert s.forward is not None
    return Program(
        [Region(row.width) for row in own], steps, strides=s.forward.strides, forward=s.forward
    )


def _slope_of(function: Function) -> Op:
    """The backward as an op, for gradients that are recorded."""
    name = f"backward of {function._name}"

    def lower(s: Signature) -> Program:
        kernel = host.register(
            name, _rows(s.operands), _rows(s.outputs), _slopes(function, s.operands[2:])
        )
        return lowered(s, [_step(kernel, operand_refs(s), output_refs(s))])

    def refuse(*_):
        raise NotImplementedError(
            f"{function._name}: its backward is written in numpy and has no derivative; second "
            "derivatives, and jvp, need a vjp written in lazy ops"
        )

    return Op(
        name, name, lambda g, y, *rows: tuple(row.stored for row in rows if row.is_float), lower,
        refuse, listed=False, host=True,
    )  # fmt: skip


def _each(name: str, what: str, given: Any, count: int) -> tuple[Any, ...]:
    found = given if isinstance(given, (tuple, list)) else (given,)
    if len(found) != count:
        raise ValueError(f"{name}.{what}: it gave {len(found)} gradients for {count} arguments")
    return tuple(found)


def _checked(name: str, what: str, made: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if made.shape != shape:
        raise ShapeError(f"{name}.{what}: it gave an array of {made.shape}, not of {shape}")
    return made
