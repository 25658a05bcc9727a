"""What training puts in at random: elements, rows or features left out, and noise."""

from __future__ import annotations

from lazynet.batching import layout as words
from lazynet.device import beside_operands
from lazynet.op import Op, Sample
from lazynet.ops.elementwise import floats_of
from lazynet.ops.random import UNIFORM, bits_of, in_function, like, normal, rand, stream
from lazynet.ops.told import told
from lazynet.program import Ref, call, lowered, operand_refs, output_refs
from lazynet.record import as_value, record
from lazynet.tensor import Sequence


def _masked(x, drawn, p: float):
    """x / (1 - p) where `drawn` is at least p, 0 elsewhere."""
    return x * ((drawn >= p).astype(x.type.dtype) * (1.0 / (1.0 - p) if p < 1.0 else 0.0))


def _drops(name: str, x, p: float, training: bool) -> bool:
    """Whether there is anything to drop, of operands that are as they should be."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name}: the probability must be in [0, 1], not {p}")
    if not training or p == 0.0:
        return False
    floats_of(x, name)
    return True


def _drop_lower(signature):
    x, y = operand_refs(signature)[0], output_refs(signature)[0]
    payload, p = Ref(words.WORDS, 0, "int64", 1), dict(signature.attributes)["p"]
    return lowered(signature, [call("drop", (payload, x), y, (y.size, bits_of(p)), y.dtype)])


DROP = Op(
    "dropout", "y = x / (1 - p), or 0 with probability p", lambda row, p: (row.stored,),
    _drop_lower,
    lambda g, y, x, p, payload: (record(DROP, (g,), (("p", p),), payload=payload),),
    payload=2, samples=(Sample(((9,),), (("p", 0.4),), payload=(1, 2)),),
)  # fmt: skip


@told
def dropout(x, p: float = 0.5, training: bool = True):
    """Each element is 0 with probability p, else x / (1 - p); the identity outside training.

    Srivastava et al., "Dropout", 2014. Shapes: any -> the same; n rows -> n rows.

    >>> set(ln.dropout(ln.ones(100), 0.5).tolist()) <= {0.0, 2.0}
    True

    Raises:
        ValueError: unless 0 <= p <= 1.
    """
    x = as_value(x, "dropout")
    if not _drops("dropout", x, p, training):
        return x
    length = x.length if isinstance(x, Sequence) else None
    if length is None and in_function():
        return _masked(x, like(UNIFORM, x), p)
    keys = stream().keys(1 if length is None else length).reshape(-1)
    return record(DROP, (x,), (("p", float(p)),), payload=keys)


@told
@beside_operands
def row_dropout(x, p: float = 0.5, training: bool = True):
    """Each row of a Sequence is 0 with probability p, else x / (1 - p): whole words are dropped.

    A Tensor is one row. (Dai and Le, 2015, drop words so.)

    Shapes: any -> the same; n rows -> n rows.

        >>> x = ln.sequence(np.ones((8, 2), np.float32))
        >>> bool((ln.row_dropout(x).numpy().std(axis=1) == 0).all())
        True

    Raises:
        ValueError: unless 0 <= p <= 1.
    """
    x = as_value(x, "row_dropout")
    if not _drops("row_dropout", x, p, training):
        return x
    length = x.length if isinstance(x, Sequence) else None
    return _masked(x, rand(length=length, dtype=x.type.dtype), p)


@told
@beside_operands
def locked_dropout(x, p: float = 0.5, training: bool = True):
    """One mask of a row for all rows of a Sequence: the same features are 0 at every step.

    Gal and Ghahramani, 2016; Merity, Keskar and Socher, 2018, who call it so.

    Shapes: any -> the same; n rows -> n rows.

        >>> x = ln.sequence(np.ones((8, 2), np.float32))
        >>> bool((ln.locked_dropout(x).numpy().std(axis=0) == 0).all())
        True

    Raises:
        ValueError: unless 0 <= p <= 1.
    """
    x = as_value(x, "locked_dropout")
    if not _drops("locked_dropout", x, p, training):
        return x
    return _masked(x, rand(*x.type.shape, dtype=x.type.dtype), p)


@told
def gaussian_noise(x, std: float = 1.0, training: bool = True):
    """x + std e with e ~ N(0, 1) while training, else x.

    Shapes: any -> the same; n rows -> n rows.

    >>> ln.gaussian_noise(ln.zeros(3), 0.1).shape
    (3,)
    """
    x = floats_of(x, "gaussian_noise")
    return normal(x, std) if training and std else x
