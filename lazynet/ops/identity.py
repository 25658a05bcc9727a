"""Ops that give what they are given: for gradients to be told apart by, or to be changed."""

from __future__ import annotations

from lazynet.batching import layout as words
from lazynet.graph import words_of
from lazynet.op import TABLE, Op, Sample
from lazynet.ops.elementwise import floats_of
from lazynet.ops.lifting import elementwise
from lazynet.ops.runs import backward_program, forward_program, operand, output
from lazynet.ops.told import told
from lazynet.parameter import Parameter
from lazynet.program import elementwise as elementwise_step
from lazynet.program import lowered, operand_refs, output_refs
from lazynet.record import Literal, as_value, enter, graph_of, record, record_runs
from lazynet.tensor import Sequence, Tensor

CLONE = elementwise("clone", "y = x", "x0", lambda g, y, x: (g,))
VARIABLE = elementwise("variable", "y = x", "x0", lambda g, y, x: (g,), listed=False)


def _after_backward(signature):
    g, dx = output(signature, words.D_FORWARD), operand(signature, 0, words.D_ARGUMENT)
    return backward_program(signature, elementwise_step("x0", [g], dx, accumulate=True))


AFTER = Op(
    "after", "y = x, computed after others have been", lambda x, *others: (x.stored,),
    lambda s: forward_program(s, elementwise_step("x0", [operand(s, 0)], output(s))),
    lambda g, y, x, *others: (g, *(None for _ in others)),
    kind=words.RUNS, backward=_after_backward, samples=(Sample(((2, 3), (4,))),),
)  # fmt: skip


def after(x, others):
    """y = x, in a later batch than all of `others`, which may have any shapes."""
    runs = [Tensor(v.graph, v.id, v.type) if isinstance(v, Tensor) else v for v in (x, *others)]
    y = record_runs(AFTER, runs, x.length if isinstance(x, Sequence) else 1)
    return y if isinstance(x, Sequence) else y[0]


def _own_node(op: Op, x):
    """The same value as a node of its own: never shared, not even of a parameter."""
    x = as_value(x, op.name)
    if x.__class__ is Parameter:
        x = Tensor(x.graph, x.id, x.type)
    graph, signature = graph_of((x,)), op.signature((x.type,))
    row, step = enter(graph, x)
    if x.__class__ is Sequence:
        entry = words_of(-signature.index - 1, x.length, row, step)
        vid = graph.append(signature, entry, x.length)
        return Sequence(graph, vid, signature.type, x.length)
    vid = graph.append(signature, words_of(signature.index, row), 1)
    return Tensor(graph, vid, signature.type)


@told
def clone(x):
    """y = x, as a value of its own, through which gradients pass.

    The gradient of x is the sum over all its uses. That of one use alone is the gradient of a clone
    that nothing else uses:

        >>> x = ln.tensor(3.0, requires_grad=True)
        >>> once = x.clone()
        >>> once.retain_grad()
        >>> (x * 5.0 + once.square()).backward()
        >>> x.grad.item(), once.grad.item()
        (11.0, 6.0)

    Shapes: any -> the same; n rows -> n rows.
    """
    return _own_node(CLONE, x)


def variable(x):
    """y = x, as a value that wants a gradient whether or not one is wanted behind x."""
    y = _own_node(VARIABLE, x)
    if x.type.is_float:
        TABLE.numbers[VARIABLE.signature((x.type,)).index, words.NEEDS] = 1
    return y


# -- gradients that are not those of the value -----------------------------------------------------


def _scaled_shape(row, scale):
    if not row.is_float or scale.shape or scale.dtype != row.dtype:
        raise TypeError(f"scale_gradient: expected float rows and a number, not {row!r}, {scale!r}")
    return (row.stored,)


def _scaled_lower(signature):
    x, _ = operand_refs(signature)
    return lowered(signature, [elementwise_step("x0", [x], output_refs(signature)[0])])


# Not listed: its derivative is, on purpose, not that of its value.
SCALE_GRADIENT = Op(
    "scale_gradient", "y = x, with the gradient s g", _scaled_shape, _scaled_lower,
    lambda g, y, x, s: (g * s, None), listed=False,
)  # fmt: skip


@told
def scale_gradient(x, scale: float):
    """y = x, whose gradient is multiplied by `scale` on its way back.

    Shapes: any -> the same; n rows -> n rows.

    >>> x = ln.tensor([1.0, 2.0], requires_grad=True)
    >>> ln.scale_gradient(x, 0.5).sum().backward()
    >>> x.grad.tolist()
    [0.5, 0.5]
    """
    x = floats_of(x, "scale_gradient")
    return record(SCALE_GRADIENT, (x, Literal(float(scale), x.type.dtype)))


@told
def gradient_reversal(x, scale: float = 1.0):
    """y = x, with the gradient -scale g: what helps the layers above hurts those below.

    Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation", 2015.

    Shapes: any -> the same; n rows -> n rows.

        >>> x = ln.tensor([1.0], requires_grad=True)
        >>> ln.gradient_reversal(x).sum().backward()
        >>> x.grad.tolist()
        [-1.0]
    """
    return scale_gradient(x, -scale)


for _class in (Tensor, Sequence):
    _class.clone = clone
