"""Values to test with, and what is checked of functions: values, derivatives, rows, batches."""

import gc
import sys

import numpy as np
from test_ops import observed

import lazynet as ln

LENGTHS = (0, 1, 4)


def normal(*shape):
    """Normal numbers, from the generator that is seeded before each test."""
    return np.random.standard_normal(shape)


def share(*shape):
    """Numbers between 0 and 1: shares, probabilities."""
    return np.random.uniform(0.05, 0.95, shape)


def signs(*shape):
    """Ones of either sign."""
    return np.where(np.random.rand(*shape) < 0.5, -1.0, 1.0)


def leaf(*shape, requires_grad=True):
    return ln.tensor(normal(*shape), requires_grad=requires_grad)


def parameter(*shape):
    return ln.Parameter(normal(*shape))


def close(found, wanted):
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-10, atol=1e-12)


def leaves(arrays, many):
    """Each array as a leaf that wants a gradient, and as the function takes it."""
    made = [ln.tensor(a, requires_grad=np.asarray(a).dtype.kind == "f") for a in arrays]
    return made, [ln.sequence(x) if many else x for x in made]


def weighted(y, weights):
    """The sum of the elements of y, each with a weight of its own."""
    w = ln.tensor(weights)
    return ln.sum(y * (ln.sequence(w) if isinstance(y, ln.Sequence) else w))


def agrees_with_torch(torch, ours, theirs, arrays, many=False, tolerance=1e-9):
    """Values and gradients of both, in float64. `many`: the arrays are Sequences of rows."""
    mine, operands = leaves(arrays, many)
    other = [torch.tensor(a, requires_grad=np.asarray(a).dtype.kind == "f") for a in arrays]
    y, z = ours(*operands), theirs(*other)
    assert tuple(y.shape) == tuple(z.shape)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=tolerance, atol=tolerance)
    if not z.requires_grad:
        return
    weights = np.random.standard_normal(z.shape)
    weighted(y, weights).backward()
    (z * torch.tensor(weights)).sum().backward()
    for x, o in zip(mine, other, strict=True):
        if not o.requires_grad:
            continue
        have = np.zeros(o.shape) if x.grad is None else x.grad.numpy()
        want = np.zeros(o.shape) if o.grad is None else o.grad.numpy()
        np.testing.assert_allclose(have, want, rtol=tolerance, atol=tolerance)


def goes_row_by_row(function, *arrays):
    """Of Sequences of 0, 1 and n rows, the function gives what it gives of each row."""
    for n in LENGTHS:
        y = function(*(ln.sequence(a[:n]) for a in arrays))
        assert len(y) == n
        for j in range(n):
            one = function(*(ln.tensor(a[j]) for a in arrays))
            np.testing.assert_allclose(y[j].numpy(), one.numpy(), rtol=1e-12, atol=1e-12)


def batches(examples):
    """In how many batches these run; what is pending runs first."""
    ln.forward()
    kept = examples()
    with observed() as runs:
        ln.forward()
    assert kept
    return sum(r.batches for r in runs)


def batches_over_examples(example, count=50):
    """`count` examples run in as many batches as one of them; `example(k)` records number k."""
    one = batches(lambda: [example(0)])
    assert one > 0
    assert batches(lambda: [example(k) for k in range(count)]) == one


def counts_references(work, things):
    """Assert that a program, run once more, holds no more references to these objects than before.

    None, 1 and classes are everybody's: their counts may move a little, but not with every call.
    """
    for _ in range(2):
        work()
        ln.forward()
    gc.collect()
    before = [sys.getrefcount(thing) for thing in things]
    work()
    ln.forward()
    gc.collect()
    after = [sys.getrefcount(thing) for thing in things]
    for thing, a, b in zip(things, before, after, strict=True):
        assert abs(b - a) < 40, (thing, a, b)
