"""Every policy gives a legal schedule, and none beats the lower bound."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import check_schedule, longest_chains

from lazynet.batching import policies
from lazynet.batching.policies import NAMES, NONE, lower_bound, schedule


@st.composite
def dags(draw, nodes=60):
    """Signatures and arguments of the nodes of a random tape; an argument may repeat."""
    count = draw(st.integers(0, nodes))
    kinds = draw(st.integers(1, 5))
    signature = draw(st.lists(st.integers(0, kinds - 1), min_size=count, max_size=count))
    dependencies = [
        draw(st.lists(st.integers(max(0, i - 12), i - 1), max_size=3)) if i else []
        for i in range(count)
    ]
    return signature, dependencies, kinds


def large_dag(seed, nodes, kinds):
    random = np.random.default_rng(seed)
    reach = random.integers(1, 200)
    dependencies = [
        [int(random.integers(max(0, i - reach), i)) for _ in range(random.integers(0, 4))]
        if i else []
        for i in range(nodes)
    ]  # fmt: skip
    return random.integers(0, kinds, nodes).tolist(), dependencies, kinds


def columns(dag):
    signature, dependencies, kinds = dag
    starts = np.concatenate([[0], np.cumsum([len(d) for d in dependencies])]).astype(np.int32)
    flat = np.array([d for row in dependencies for d in row], np.int32)
    return np.array(signature, np.int32), starts, flat, kinds


def check(dag, policy):
    arrays = columns(dag)
    order, batches = schedule(*arrays, NAMES[policy])
    check_schedule(dag[0], dag[1], order.tolist(), batches.tolist())
    assert len(batches) >= lower_bound(*arrays)
    return batches


@pytest.mark.parametrize("policy", NAMES)
@given(dag=dags())
def test_a_schedule_runs_every_node_once_after_its_arguments(policy, dag):
    check(dag, policy)


@pytest.mark.parametrize("policy", NAMES)
@pytest.mark.parametrize("kinds", [1, 7, 400])
def test_a_schedule_of_thousands_of_nodes_is_legal(policy, kinds):
    check(large_dag(kinds, 3000, kinds), policy)


@given(dag=dags())
def test_none_runs_nodes_one_by_one_as_recorded(dag):
    order, batches = schedule(*columns(dag), NONE)
    assert order.tolist() == list(range(len(dag[0])))
    assert len(batches) == len(dag[0])


@given(dag=dags())
def test_the_lower_bound_is_the_sum_of_the_longest_chains(dag):
    assert lower_bound(*columns(dag)) == sum(longest_chains(dag[0], dag[1]).values())


@pytest.mark.parametrize("words", [1, 7000, 40_000])
def test_the_lower_bound_of_many_signatures_takes_memory_for_some_at_once(monkeypatch, words):
    dag = large_dag(400, 3000, 400)
    whole = lower_bound(*columns(dag))
    monkeypatch.setattr(policies, "CHAINS_AT_ONCE", words)
    tracemalloc.start()
    try:
        bound = lower_bound(*columns(dag))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert bound == whole == sum(longest_chains(dag[0], dag[1]).values())
    assert peak < 4 * 3000 * 400 / 3


@given(dag=dags())
def test_auto_needs_no_more_batches_than_agenda_or_frontier(dag):
    counts = {policy: len(check(dag, policy)) for policy in ("auto", "agenda", "frontier")}
    assert counts["auto"] == min(counts.values())


@pytest.mark.parametrize("policy", ["depth", "agenda", "frontier", "auto"])
def test_independent_nodes_of_one_signature_are_one_batch(policy):
    assert len(check(([0] * 50, [[]] * 50, 1), policy)) == 1


@pytest.mark.parametrize("policy", ["depth", "agenda", "frontier", "auto"])
def test_chains_side_by_side_run_in_step(policy):
    """50 chains of a, b, a, b, ...: a batch for each step."""
    steps, chains = 12, 50
    signature = [t % 2 for _ in range(chains) for t in range(steps)]
    dependencies = [[c * steps + t - 1] if t else [] for c in range(chains) for t in range(steps)]
    assert len(check((signature, dependencies, 2), policy)) == steps


def test_frontier_waits_for_stragglers_where_depth_does_not():
    """Chains of different lengths that end in one op: the op runs once."""
    signature, dependencies = [], []
    for length in (1, 5, 9):
        for t in range(length):
            dependencies.append([len(signature) - 1] if t else [])
            signature.append(0)
        dependencies.append([len(signature) - 1])
        signature.append(1)
    dag = (signature, dependencies, 2)
    assert len(check(dag, "frontier")) == 9 + 1 == lower_bound(*columns(dag))
    assert len(check(dag, "depth")) == 9 + 3


def test_frontier_aligns_chains_whose_steps_differ():
    """30 chains, each of 40 steps of 4 kinds in an order of its own: as in lattices."""
    random = np.random.default_rng(3)
    signature = random.integers(0, 4, 30 * 40).tolist()
    dependencies = [[k - 1] if k % 40 else [] for k in range(30 * 40)]
    counts = {p: len(check((signature, dependencies, 4), p)) for p in ("agenda", "frontier")}
    assert counts["frontier"] < 0.75 * counts["agenda"]
