"""Random programs give the same values and gradients under every policy, and numpy's."""

import numpy as np
import pytest
from graphs import Program, programs
from hypothesis import given, settings

import lazynet as ln
from lazynet import running
from lazynet.batching.policies import NAMES

BATCHED = [policy for policy in NAMES if policy != "none"]


def compare(found, wanted, what):
    for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10, err_msg=f"{what} {k}")


@settings(max_examples=60)
@given(program=programs())
def test_values_and_slopes_are_those_of_numpy(program):
    values, loss, gradients = program.lazy("none")
    expected, expected_loss = program.naive()
    compare(values, expected, "value")
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-9, atol=1e-9)
    direction, slope = program.slope(np.random.default_rng(0))
    found = sum(np.vdot(g, d) for g, d in zip(gradients, direction, strict=True))
    np.testing.assert_allclose(found, slope, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("policy", BATCHED)
@settings(max_examples=40)
@given(program=programs())
def test_every_policy_gives_what_one_by_one_gives(policy, program):
    values, loss, gradients = program.lazy(policy)
    expected, expected_loss, expected_gradients = program.lazy("none")
    compare(values, expected, "value")
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-9, atol=1e-9)
    compare(gradients, expected_gradients, "gradient")


@pytest.mark.parametrize("policy", ["auto", "none"])
@settings(max_examples=40)
@given(program=programs())
def test_graphs_that_end_after_each_forward_give_the_same(policy, program):
    """As large ones do: what is computed enters the next one by links."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "MOST_BYTES", 0)
        values, loss, gradients = program.lazy(policy)
        dropped = program.lazy_and_dropped()
    expected, expected_loss, expected_gradients = program.lazy(policy)
    compare(values, expected, "value")
    np.testing.assert_allclose([loss, dropped[0]], expected_loss, rtol=1e-9, atol=1e-9)
    compare(gradients, expected_gradients, "gradient")
    compare(dropped[1], expected_gradients, "gradient of what was dropped")


@pytest.mark.parametrize("policy", BATCHED)
@pytest.mark.parametrize("seed", range(3))
def test_programs_of_thousands_of_nodes_agree(policy, seed):
    program = Program(seed, 1500, forwards=seed)
    values, loss, gradients = program.lazy(policy)
    expected, expected_loss = program.naive()
    compare(values, expected, "value")
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-8, atol=1e-8)
    compare(gradients, program.lazy("none")[2], "gradient")


def test_more_rows_than_32_bits_count_are_refused():
    rows = ln.sequence(np.zeros((1 << 20, 1), np.float32))
    many = [rows * 2.0 for _ in range(2049)]
    with pytest.raises(MemoryError, match=r"\d{10} rows are recorded, more than a graph can"):
        many[0].numpy()
    assert (rows[0] + 1.0).item() == 1.0


def test_more_rows_in_a_run_than_32_bits_count_are_refused():
    keys = [ln.sequence(np.zeros((1 << 20, 1), np.float32))] * 1024
    y = ln.nn.functional.scaled_dot_product_attention(ln.ones(1), keys, keys)
    with pytest.raises(MemoryError, match=r"more than there is.*attention"):
        y.numpy()


def test_more_rows_in_a_batch_than_32_bits_count_are_refused_before_memory_is_taken():
    rows = ln.sequence(np.zeros((1 << 20, 1), np.float32))
    sums = [ln.sum(rows, 0) for _ in range(2049)]
    with pytest.raises(MemoryError, match=r"needs \d{5}.* MiB, more than there is.*row_sum"):
        sums[0].numpy()
