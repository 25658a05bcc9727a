"""Random programs give what their plain code gives, op by op, in whatever way they are run."""

import functools

import numpy as np
import pytest
from automatic_cells import is_cell
from random_programs import Way, arguments, outcome, program, text

import lazynet as ln
from lazynet import automatic
from lazynet.batching.policies import NAMES

ASKS = ("first", "second", "looks", "frozen")
OF_ALL = {
    "cells": Way(ln.cell, ln.cell),
    "whole": Way(ln.cell, ln.cell, whole=True),
    "checkpoints": Way(ln.checkpoint, ln.cell, whole=True),
    "again": Way(ln.cell, ln.cell, times=4),
    "plain again": Way(times=4),
    "debug": Way(ln.cell, ln.cell, whole=True, debug=True),
    **{policy: Way(policy=policy) for policy in NAMES if policy != "none"},
}
OF_ONE = {"function": {"inside": Way(inside=ln.cell), "automatic": Way(automatic=True)}}
SEEDS = [4, 11, 12, 18]  # they found faults of merged products, and of no_grad over parameters
MORE_SEEDS = [seed for seed in range(48) if seed not in SEEDS]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A `forward` is looked at after five calls."""
    monkeypatch.setattr(automatic, "CALLS", 5)


@functools.cache
def specification(seed, asks):
    return outcome(seed, Way(policy="none"), asks)


def cases(seeds):
    return [
        pytest.param(seed, way, id=f"{seed}-{text(seed).kind}-{name}")
        for seed in seeds
        for name, way in (OF_ALL | OF_ONE.get(text(seed).kind, {})).items()
    ]


def holds(seed, way):
    """The program, run so, gives the values and gradients of plain code."""
    for asks in ASKS:
        found, wanted = outcome(seed, way, asks), specification(seed, asks)
        for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
            told = f"{asks}, number {k} of\n{text(seed).code}\n{text(seed).inside}"
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9, err_msg=told)


@pytest.mark.parametrize(("seed", "way"), cases(SEEDS))
def test_a_program_gives_what_its_plain_code_gives(seed, way):
    holds(seed, way)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "way"), cases(MORE_SEEDS))
def test_more_programs_give_what_their_plain_code_gives(seed, way):
    holds(seed, way)


def test_a_plain_forward_is_found_to_be_a_cell():
    model = program(18, Way(automatic=True))
    for _ in range(9):
        model(*arguments(18)[:2])
    assert is_cell(type(model))
