"""The benchmarks at toy size: they run, and all contenders compute the same thing."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lazynet as ln
from lazynet import automatic
from lazynet.kernels import blas

pytestmark = pytest.mark.bench
ROOT = Path(__file__).parent.parent
TRAINED = [
    "tagger", "characters", "tree", "child_sum", "seq2seq", "parsing", "language", "lattice",
]  # fmt: skip


@pytest.fixture(autouse=True)
def on_built_in_data(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delenv("LAZYNET_DATA", raising=False)


@pytest.fixture
def told(tmp_path):
    from benchmarks.__main__ import main

    def run(*names):
        assert main([*names, "--quick", "--out", str(tmp_path)]) == 0
        assert (tmp_path / "results.md").read_text().startswith("# Benchmarks")
        return json.loads((tmp_path / "results.json").read_text())

    return run


def _spec(name, batch=6, limit=24):
    from benchmarks.workloads import Spec

    return Spec(name, dim=4, hidden=6, batch=batch, limit=limit)


def _ways(name):
    from benchmarks import workloads

    return list(workloads.room(name).MODELS)


# -- all contenders of a workload compute the same thing -------------------------------------------


@pytest.mark.parametrize("name", TRAINED)
def test_every_way_to_write_a_model_trains_alike(name, monkeypatch):
    from benchmarks import workloads

    monkeypatch.setattr(automatic, "CALLS", 50)  # what is found to be a cell is one from then on
    learners = [workloads.train(_spec(name), way=way) for way in _ways(name)]
    losses = [[step(k) for k in range(3)] for step in learners]
    assert losses[0][0] != losses[0][1]
    np.testing.assert_allclose(losses, [losses[0]] * len(losses), rtol=1e-4)


@pytest.mark.parametrize("way", ["one_at_a_time", "by_hand"])
@pytest.mark.parametrize("name", TRAINED)
def test_peers_train_alike(name, way):
    pytest.importorskip("torch")
    from benchmarks import peers, workloads

    ours, theirs = workloads.train(_spec(name)), getattr(peers, way)(_spec(name))
    expected = [ours(k) for k in range(4)]
    np.testing.assert_allclose([theirs(k) for k in range(4)], expected, rtol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", TRAINED)
def test_ways_and_policies_agree_to_the_last_places(name, seed):
    from benchmarks import workloads
    from lazynet.batching.policies import NAMES

    losses = {}
    for way in _ways(name):
        learner = workloads.model(replace(_spec(name), seed=seed), way).double()
        (batch, *_) = workloads.corpus(name, 24).batches(6)
        wanted = []
        for policy in ("none", *NAMES):
            learner.zero_grad()
            with ln.batching(policy):
                loss = workloads.batch_loss(learner, batch)
                loss.backward()
            found = [p.grad.numpy() for p in learner.parameters() if p.grad is not None]
            wanted = wanted or found
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10, err_msg=policy)
            assert loss.numpy().dtype == np.float64
            losses[way, policy] = loss.item()
    np.testing.assert_allclose([*losses.values()], losses[way, "none"], rtol=1e-10)


def test_parsing_in_step_gives_the_trees_of_parsing_one_by_one():
    from benchmarks.workloads import corpus, model, parser

    together, alone = parser.parse(_spec("parser")), parser.parse(_spec("parser"), together=False)
    assert [together(k) for k in range(2)] == [alone(k) for k in range(2)] != [0, 0]
    sentences = [sentence for sentence, _ in corpus("parser", 24).examples[:4]]
    learner = model(_spec("parser"))
    with ln.no_grad():
        assert ln.map(learner.parse, sentences) == [learner.parse(s) for s in sentences]


# -- how well they batch ---------------------------------------------------------------------------


def _ratio(name, way):
    """Batches of a step's forward for each that the bound asks for."""
    from benchmarks import workloads

    learner = workloads.model(_spec(name, limit=200), way)
    (batch, *_) = workloads.corpus(name, 200).batches(32)
    with ln.batching("auto"), ln.profile() as p:
        workloads.batch_loss(learner, batch).numpy()
    return p.batches / p.lower_bound


@pytest.mark.parametrize(
    "name, way",
    [("tagger", ""), ("tagger", "word by word"), ("tree", "op by op"), ("characters", ""),
     ("tree", "nn.TreeLSTMCell"), ("language", ""), ("parsing", ""), ("seq2seq", "")],
)  # fmt: skip
def test_schedules_have_as_few_batches_as_the_bound(name, way):
    assert _ratio(name, way) <= 1.02


def test_the_shortest_common_order_is_what_trying_all_gives():
    def holds(order, letters):
        rest = iter(order)
        return all(letter in rest for letter in letters)

    def tried(orders):
        for length in itertools.count():
            for order in itertools.product(range(3), repeat=length):
                if all(holds(order, letters) for letters in orders):
                    return length

    from benchmarks import orders

    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 4):
        for _ in range(5):
            some = [rng.integers(0, 3, rng.integers(0, 4)).astype(np.int8) for _ in range(count)]
            assert orders.shortest(some) == tried(some)


def test_lattices_have_few_batches_for_the_orders_of_their_sentences(told):
    (figures,) = told("orders")["figures"].values()
    values = {what: value for what, value, _ in figures}
    for number in range(3):
        batches, bound, higher = (
            values[f"lattice, minibatch {number}: {what}"]
            for what in ("batches", "the lower bound", "the bound by 4 sentences")
        )
        assert bound <= higher <= batches <= 1.2 * higher


# -- what is measured ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TRAINED, "parser"])
def test_a_race_ends_with_losses_that_agree(told, name):
    (race,) = told(name)["races"]
    assert race["disagreement"] < 1e-3
    first, *others = race["contenders"]
    assert first["first_against_it"] == 1
    assert all(c["milliseconds"] > 0 and c["memory"] >= 0 for c in race["contenders"])
    if name != "parser":
        assert first["nodes"] > first["batches"] >= first["lower_bound"]
        assert all(first["seconds"][phase] > 0 for phase in ("build", "forward", "backward"))
        assert others[-1]["share_of_bound"] == 1


def test_the_micro_figures_keep_what_they_promise(told):
    figures = [figure for figures in told("micro")["figures"].values() for figure in figures]
    values = {what: value for what, value, _ in figures}
    assert values["losses that differ in a second training"] == 0
    assert all(value > 0 for what, value in values.items() if what.startswith("record "))


def test_what_was_measured_stays_until_it_is_measured_anew(tmp_path):
    from benchmarks import report

    def measured(race, *contenders):
        return {"race": race, "data": "words", "contenders": list(contenders)}

    told = report.kept(tmp_path)
    assert told == {"machine": report.machine(), "races": [], "figures": {}}
    told["figures"]["micro"] = [("recording", 0.4, "us")]
    for race in ("trees", "taggers"):
        contender = {"name": race, "milliseconds": 2, "examples_per_second": 3}
        contender |= {"first_against_it": 1, "share_of_bound": None}
        report.enter(told, measured(race, contender))
    report.write(told, tmp_path)

    told = report.kept(tmp_path)
    report.enter(told, measured("trees", {**contender, "name": "quicker"}))
    report.enter(told, {**measured("trees", contender), "data": "others"})
    report.write(told, tmp_path)
    told = report.kept(tmp_path)
    assert [r["contenders"][0]["name"] for r in told["races"]] == ["quicker", "taggers", "taggers"]
    assert list(told["figures"]) == ["micro"]

    (tmp_path / "results.json").write_text(json.dumps({**told, "machine": {}}))
    assert report.kept(tmp_path)["races"] == []  # figures of another machine are not mixed in


def test_the_bound_has_the_products_of_a_small_step():
    from benchmarks import bound, workloads
    from benchmarks.workloads import Spec

    spec = Spec("tagger", dim=3, hidden=2, batch=2, limit=8)
    tags = workloads.corpus("tagger", 8).sizes["tags"]
    (found,) = bound.products(spec, [[([1, 2], [0, 0]), ([3], [0])]])
    direction = [
        (3, 8, 3), (1, 8, 2),  # inputs of all words; one sentence has a second step
        (1, 2, 8), (3, 3, 8),  # back to the state, and to the inputs
    ]  # fmt: skip
    for product in [*direction * 2, (3, tags, 4), (3, 4, tags)]:
        assert product in [p[:3] for p in found], product
    weights = 2 * 2 * (8 * 3 * 3 + 8 * 2 * 3) + 2 * tags * 4 * 3  # every weight's, over all rows
    others = sum(2 * m * n * k for m, n, k in [*direction * 2, (3, tags, 4), (3, 4, tags)])
    assert bound.flops(found) == pytest.approx(weights + others, rel=0.2)
    assert bound.flops([bound.Product(2, 3, 4)]) == 48


def test_the_bound_runs_what_was_recorded():
    from benchmarks import bound

    spec = _spec("tree")
    (found, *_) = bound.products(spec, [bound.corpus("tree", 24).batches(6)[0]])
    assert all(p.m and p.n and p.k for p in found)  # no call that another one made superfluous
    assert bound.run(spec)(0) == bound.flops(found) > 0


def test_the_bound_multiplies_on_all_threads(monkeypatch):
    from benchmarks import bound

    made, threads, ones, flops = [], [], np.ones, bound.flops
    monkeypatch.setattr(np, "ones", lambda size, dtype: made.append(ones(size, dtype)) or made[-1])
    steps = []
    for m, n, k, ta, tb in ((3, 4, 5, 0, 1), (3, 4, 5, 1, 0), (1, 4, 5, 0, 1), (3, 4, 1, 0, 0)):
        steps.append(bound.replay([[bound.Product(m, n, k, ta, tb)]]))
        steps[-1](0)
        assert (made[-1] == k).all() and made[-1].size == m * n
    monkeypatch.setattr(
        bound, "flops", lambda found: threads.append(blas.threads()) or flops(found)
    )
    multiply = bound._multiply
    monkeypatch.setattr(
        bound, "_multiply", lambda *a: threads.append(blas.threads()) or multiply(*a)
    )
    steps[0](0)
    if blas.threads() is not None:
        assert threads == [ln.get_num_threads(), 1]


def test_operands_are_counted_by_how_they_lie():
    from benchmarks.phases import operands

    x = ln.sequence(np.ones((6, 2), np.float32))
    with operands() as read, ln.no_grad():
        ln.tanh(x).numpy()
        assert read == {"viewed": 6, "addressed": 0}
        (x[[0, 1, 3]] + x[:3]).numpy()
    assert read["addressed"] > 0


def test_copies_of_cells_compute_what_the_built_in_ones_do():
    from benchmarks import cells

    for pair in cells.PAIRS:
        modules = cells.modules(pair, 3, 4)
        for program in pair.programs:
            both = zip(modules, pair.options, strict=True)
            first, second = (program(module, 3, 4, 2, option).item() for module, option in both)
            assert (first == pytest.approx(second, abs=1e-5)) == pair.copy, pair.name
        whole, one_by_one = (p(modules[1], 3, 4, 2, pair.options[1]) for p in pair.programs)
        assert whole.item() == pytest.approx(one_by_one.item(), abs=1e-5), pair.name


def test_a_cell_is_told_beside_a_built_in_one_with_as_many_operations():
    from benchmarks import cells

    pair = next(pair for pair in cells.PAIRS if pair.built_in is ln.nn.GRUCell and not pair.copy)
    wanted = cells.operations(pair.programs[0], pair.other(8, 24), (8, 24, 1), pair.options[1])
    units = cells.as_small(pair, pair.programs[0], 8, 24, wanted)
    small = pair.built_in(8, units)
    done = cells.operations(pair.programs[0], small, (8, units, 1), pair.options[0])
    assert units == 16 and 0.7 < done / wanted < 1.3
    rows = cells.compare(pair, pair.programs[0], 8, 24, 2, 1)
    assert len(rows) == 4 and "of 16 units" in rows[-1][0] and all(row[1] > 0 for row in rows)


def test_a_contender_that_fails_is_named():
    from benchmarks.workloads import Spec
    from lazynet.race import Contender, run

    broken = Contender("broken", "benchmarks.workloads:train", {"policy": "no such"})
    with pytest.raises(RuntimeError, match="broken failed"):
        run(Spec("tagger", 2, 2, 2, 8), [broken], 1, 1)


def test_contenders_whose_losses_differ_are_told():
    from lazynet.race import Contender, disagreement

    first, second = (Contender(n, "", losses=[2.0, 1.0 + 0.5 * (n == "b")]) for n in "ab")
    assert disagreement([first, second]) == 0.5


def test_memory_is_counted_from_where_it_settled():
    from lazynet import race

    before = race.settled()
    held = np.ones(2**22)
    assert race.memory("VmHWM") - before > 20
    assert held.nbytes == 2**25
