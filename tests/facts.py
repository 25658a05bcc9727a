"""What each public function and module does, found out by trying the calls of `surface.py`."""

import functools
from typing import NamedTuple

import numpy as np
from surface import Example, call_of, direction

import lazynet as ln

EXAMPLES = 50
LENGTHS = (2, 3, 5)
# Their gradient is not that of their value, on purpose.
BENT = {"ln.scale_gradient", "ln.gradient_reversal"}


class Facts(NamedTuple):
    """What was found out about one public name.

    Args:
        takes: "Tensor", "rows" (of a Sequence, each as a Tensor), "whole" (a Sequence as one),
            "integers" (a list of them).
        signatures: how many signatures its nodes have.
        apart: signatures that take more batches for many examples than for one.
        differentiable: whether it has derivatives; the first two were compared with differences.
    """

    takes: tuple[str, ...]
    signatures: int
    apart: tuple[str, ...]
    differentiable: bool


@functools.cache
def facts(name):
    """Try everything on one public name."""
    call = call_of(name)
    takes = takes_of(call)
    lengths = [None] if "Tensor" in takes else []
    lengths += LENGTHS if takes != ("Tensor",) else []
    signatures, apart = _batches(call, lengths)
    length = None if "Tensor" in takes else 3
    return Facts(takes, signatures, tuple(sorted(apart)), _differentiable(call, length, name))


def flat(y):
    """The values in a result."""
    if isinstance(y, ln.Tensor | ln.Sequence):
        return [y]
    if isinstance(y, dict):
        y = list(y.values())
    return [v for part in y for v in flat(part)] if isinstance(y, list | tuple) else []


def computed(call, example):
    """The arrays that a call gives."""
    ln.manual_seed(0)
    with ln.no_grad():
        return [v.numpy() for v in flat(call(example))]


def attempt(call, example):
    """The same, or None where the call refuses what the example gives."""
    try:
        return computed(call, example)
    except (TypeError, ValueError):
        return None


# -- what it takes ---------------------------------------------------------------------------------


def takes_of(call):
    found, example = [], Example(None)
    single = attempt(call, example)
    kinds = {kind for kind, _ in example.drawn}
    if single is not None and kinds == {"numbers"}:
        return ("integers",)
    if single is not None and "rows" in kinds:
        return ("whole",)
    if single is not None:
        found.append("Tensor")
    example = Example(3, shared=example.shared)
    together = attempt(call, example)
    if together is not None:
        found.append("rows" if _is_row_by_row(call, example, together) else "whole")
    return tuple(found)


def _is_row_by_row(call, example, together):
    """Whether the rows of the result are the results of the rows."""
    again = Example(example.length, shared=example.shared, given=example.drawn)
    with ln.no_grad():
        other = [v.numpy() for v in flat(call(again))]
    drawn = any(not np.array_equal(a, b) for a, b in zip(together, other, strict=True))
    for j in range(example.length):
        given = [(kind, rows[j] if kind == "x" else rows) for kind, rows in example.drawn]
        row = attempt(call, Example(None, shared=example.shared, given=given))
        if row is None or len(row) != len(together):
            return False
        for a, b in zip(row, together, strict=True):
            if b.shape != (example.length, *a.shape):
                return False
            if not drawn and not np.allclose(a, b[j], rtol=1e-4, atol=1e-5):
                return False
    return True


# -- how it batches --------------------------------------------------------------------------------


def _batches(call, lengths):
    """How many signatures there are, and which run in more batches for many examples than one."""
    shared, single = {}, {}
    forms = [(lengths[k % len(lengths)], k) for k in range(EXAMPLES)]

    def made(length, seed):
        return call(Example(length, n=length or 3, shared=shared, seed=seed))

    made(lengths[0], 0)  # parameters are made
    with ln.profile() as seen:
        kept = [made(*form) for form in forms]
    more = {number for number, entry in seen.signatures.items() if entry.batches > 1}
    for form in forms if more else ():
        with ln.profile() as alone:
            kept = made(*form)
        for number, entry in alone.signatures.items():
            single[number] = max(single.get(number, 1), entry.batches)
    del kept
    assert seen.forwards <= 1, "it asks for a value"
    return len(seen.signatures), {
        entry.name
        for number, entry in seen.signatures.items()
        if entry.batches > single.get(number, 1)
    }


# -- how far it is differentiable ------------------------------------------------------------------


def _differentiable(call, length, name):
    """Whether there is a derivative. It and the second one are compared with differences."""
    if name in BENT:
        return True
    shared = {}
    call(Example(length, shared=shared, dtype="float64"))
    start = {p: p.numpy() for p in Example(shared=shared).parameters()}

    def at(step, order):
        """The derivative of this order along one direction, `step` away from the start."""
        for k, (p, value) in enumerate(start.items()):
            p.copy_(value + step * direction(100 + k, p.shape))
        example = Example(length, shared=shared, dtype="float64", step=step)
        ln.manual_seed(0)
        value = _scalar(flat(call(example)))
        leaves = [*example.leaves, *start]
        moves = [*example.directions, *(direction(100 + k, p.shape) for k, p in enumerate(start))]
        for _ in range(order):
            found = ln.gradients(value, leaves)
            slopes = [
                ln.sum(g * ln.tensor(d)) for g, d in zip(found, moves, strict=True) if g is not None
            ]
            if not slopes:
                return None
            value = ln.sum(slopes)
        return value.item()

    slope, curvature = at(0.0, 1), at(0.0, 2)
    if slope is None:
        return False
    step = 1e-5
    _agree(name, slope, at(step, 0) - at(-step, 0), step)
    step = 1e-4
    _agree(name, curvature or 0.0, at(step, 1) - at(-step, 1), step)  # None: the slope is constant
    return True


def _agree(name, exact, difference, step):
    """Make sure that a derivative is what a central difference tells."""
    quotient = difference / (2 * step)
    assert abs(quotient - exact) <= 1e-5 * max(1.0, abs(exact)), (name, quotient, exact)


def _scalar(values):
    """A weighted sum of all floats in a result."""
    floats = [v for v in values if v.dtype.kind == "f"]
    parts = []
    for k, y in enumerate(floats):
        weights = ln.tensor(direction(1000 + k, y.shape))
        parts.append(ln.sum(y * (ln.sequence(weights) if isinstance(y, ln.Sequence) else weights)))
    return ln.sum(parts) if parts else ln.tensor(np.zeros(()))
