"""The benchmarks at toy size: they run, and all contenders compute the same thing."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def told(tmp_path):
    from benchmarks.__main__ import main

    def run(*names):
        assert main([*names, "--quick", "--out", str(tmp_path)]) == 0
        assert (tmp_path / "results.md").read_text().startswith("# Benchmarks")
        return json.loads((tmp_path / "results.json").read_text())

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tagger", "tree", "language", "parser"])
def test_a_race_ends_with_losses_that_agree(told, name):
    (race,) = told(name)["races"]
    assert race["disagreement"] < 1e-3
    assert all(c["milliseconds"] > 0 for c in race["contenders"])
    assert race["contenders"][0]["first_against_it"] == 1


def test_the_micro_figures_keep_what_they_promise(told):
    figures = {what: value for what, value, _ in told("micro")["micro"]}
    assert figures["losses that differ in a second training"] == 0
    assert all(value > 0 for what, value in figures.items() if what.startswith("record "))


def test_the_bound_has_the_products_of_a_small_step():
    from benchmarks import bound
    from benchmarks.workloads import Spec, corpus

    spec = Spec("tagger", dim=3, hidden=2, batch=2, limit=8)
    labels = corpus("tagger", 8).labels
    found = bound.products(spec, [([1, 2], [0, 0]), ([3], [0])])
    forward = [(3, 3, 8), (1, 2, 8)] * 2 + [(3, 4, labels)]  # one sequence has a second step
    assert all(found.count(product) >= forward.count(product) for product in forward)
    assert bound.flops([(2, 3, 4)]) == 48


def test_a_contender_that_fails_is_named():
    from benchmarks.race import Contender, run
    from benchmarks.workloads import Spec

    broken = Contender("broken", "benchmarks.workloads:train", {"policy": "no such"})
    with pytest.raises(RuntimeError, match="broken failed"):
        run(Spec("tagger", 2, 2, 2, 8), [broken], 1, 1)
