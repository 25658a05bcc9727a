"""How elementwise ops are made: one scalar formula each, lifted to rows and to every dtype.

The formula reads its operands as x0, x1, ... in the words of `kernels/scalars.py`; neighbours in a
program become one fused loop. Operands broadcast as in numpy within a row.
"""

from __future__ import annotations

from lazynet.op import Op, RowType, Sample, row_type
from lazynet.ops.axes import broadcast_shapes
from lazynet.ops.reduce import unbroadcast
from lazynet.program import elementwise as elementwise_step
from lazynet.program import lowered, operand_refs, output_refs
from lazynet.record import ShapeError

ONE = (Sample(((5,),)),)
PAIRS = (
    Sample(((5,), (5,))),
    Sample(((3, 4), (3, 4))),
    Sample(((5,), ())),
    Sample(((), (5,))),
    Sample(((), ())),
)


def broadcast_of(name: str, *rows: RowType) -> tuple[int, ...]:
    """The shape to which rows broadcast, for the op of this name."""
    try:
        return broadcast_shapes(*[row.shape for row in rows])
    except ValueError:
        shapes = " and ".join(str(row.shape) for row in rows)
        raise ShapeError(
            f"{name}: rows of {shapes} do not broadcast; shapes must agree from the right, or be 1"
        ) from None


def elementwise(
    name, formula, scalar, vjp=None, result=None, samples=ONE, listed=True, of_bools=None
) -> Op:
    """An elementwise op.

    Args:
        scalar: the formula that gives one element.
        vjp: cotangents of the operands as if nothing were broadcast; sums are added by themselves.
        result: dtype of the result, if it is not that of the operands.
        of_bools: the formula where all are bools, if it is another.
    """

    def shape(*rows):
        dtype = result or next((r.dtype for r in rows if r.dtype != "bool"), rows[0].dtype)
        return (row_type(dtype, broadcast_of(name, *rows)),)

    def lower(signature):
        bools = of_bools is not None and signature.type.dtype == "bool"
        step = elementwise_step(
            of_bools if bools else scalar, operand_refs(signature), output_refs(signature)[0]
        )
        return lowered(signature, [step])

    def derivative(g, y, *operands):
        cotangents = vjp(g, y, *operands)
        return tuple(
            None if c is None else unbroadcast(c, x.type)
            for c, x in zip(cotangents, operands, strict=True)
        )

    return Op(
        name, formula, shape, lower, derivative if vjp else None, samples=samples, listed=listed
    )
