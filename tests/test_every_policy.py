"""Every op and every public name: all policies give the values and gradients of one by one."""

import numpy as np
import pytest
from facts import LENGTHS, flat, takes_of
from surface import Example, call_of, public_functions, public_modules
from test_ops import ROW_CASES, SEGMENT_CASES, draw, lazy, over, run

import lazynet as ln
from lazynet.batching import layout as words
from lazynet.batching.policies import NAMES

SURFACE = [*public_functions(), *public_modules()]


def differentiated(values, leaves):
    """The values, and the gradients of a weighted sum of all floats in them."""
    generator, parts = np.random.default_rng(0), []
    for y in values:
        if y.dtype.kind == "f" and y.requires_grad:
            w = ln.tensor(generator.standard_normal(tuple(y.shape)).astype(y.dtype))
            parts.append(ln.sum(y * (ln.sequence(w) if isinstance(y, ln.Sequence) else w)))
    if parts:
        ln.sum(parts).backward()
    found = [y.numpy() for y in values]
    return found + [None if x.grad is None else x.grad.numpy() for x in leaves]


def agree(program, policies=tuple(NAMES)):
    """`program()` gives (values, leaves); the policies give the same."""
    results = {}
    for policy in policies:
        ln.forward()
        with ln.batching(policy):
            results[policy] = differentiated(*program())
    wanted = results.pop("none")
    assert wanted
    for policy, found in results.items():
        for a, b in zip(found, wanted, strict=True):
            assert (a is None) == (b is None), policy
            if a is not None:
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11, err_msg=policy)


@over(ROW_CASES + SEGMENT_CASES)
def test_ops_of_the_registry(op, sample):
    """Rows that are computed first, so that they lie where a policy has put them."""
    segment = op.kind == words.SEGMENT
    lengths = (0, 1, 4, 2) if segment else (None, 0, 3, None, 1)
    arrays = [[draw(sample, k, None if k in sample.parameters else n)
               for k in range(len(sample.operands))] for n in lengths]  # fmt: skip

    def program():
        shared = {k: lazy(arrays[0][k], parameter=True) for k in sample.parameters}
        values, leaves = [], [p for p in shared.values()]
        for n, own in zip(lengths, arrays, strict=True):
            handles = []
            for k, array in enumerate(own):
                made = shared[k] if k in shared else lazy(array, n is not None)
                if k not in shared and made.graph.requires_grad:
                    leaves.append(ln.Tensor(made.graph, 0, made.graph.type))
                    made = made * 1.0 if k % 2 else made + 0.0
                handles.append(made)
            values.append(run(op, sample, handles, n))
        return values, leaves

    agree(program)


def public_program(name):
    """Calls of a public function or module with examples of all lengths."""
    call = call_of(name)
    takes = takes_of(call)
    lengths = [None] * ("Tensor" in takes) + list(LENGTHS) * (takes != ("Tensor",))

    def program():
        ln.manual_seed(0)
        shared, values, leaves = {}, [], []
        for k, length in enumerate(lengths * 2):
            example = Example(length, n=length or 3, shared=shared, dtype="float64", seed=k)
            values += flat(call(example))
            leaves += example.leaves
        return values, leaves + Example(shared=shared).parameters()

    return program


@pytest.mark.parametrize("name", SURFACE)
def test_public_functions_and_modules(name):
    """The default policy, and one of the others in turn."""
    others = [policy for policy in NAMES if policy not in ("none", "auto")]
    agree(public_program(name), ("none", "auto", others[SURFACE.index(name) % len(others)]))


@pytest.mark.slow
@pytest.mark.parametrize("name", SURFACE)
def test_public_functions_and_modules_under_every_policy(name):
    agree(public_program(name))
