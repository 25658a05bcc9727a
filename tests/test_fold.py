"""Folds over trees and other structures: held equal to the loop that they stand for."""

import contextlib
import pickle

import numpy as np
import pytest

import lazynet as ln
from lazynet import data, nn
from lazynet.batching.policies import NAMES
from lazynet.quick import Short

LEAVES = [(), (), (0, 1), (), (2, 3)]
ALL = [(), (0,), (), (1, 2), (0, 3, 2)]  # rows everywhere, nodes shared, several numbers below


def total(x, below):
    return ln.tanh(x + ln.sum(below)) if below else x * 1.0


def rows(count, width=3, dtype="float64"):
    return np.random.default_rng(0).normal(size=(count, width)).astype(dtype)


def by_loop(cell, x, children):
    given, everywhere = iter(x), len(x) == len(children)
    states = []
    for below in children:
        row = next(given) if everywhere or not below else None
        states.append(cell(row, [states[j] for j in below]))
    return states


CASES = {
    "binary tree": (lambda: nn.TreeLSTMCell(3, 4), LEAVES, 3),
    "child sum": (lambda: nn.ChildSumTreeLSTMCell(3, 4), ALL, 5),
    "child sum, rows below only": (lambda: nn.ChildSumTreeLSTMCell(3, 4), LEAVES, 3),
    "function": (lambda: total, ALL, 5),
    "one node": (lambda: nn.TreeLSTMCell(3, 4), [()], 1),
}


@pytest.mark.parametrize("policy", NAMES)
@pytest.mark.parametrize("name", CASES)
def test_a_fold_is_the_loop_over_the_nodes(name, policy):
    make, children, count = CASES[name]
    ln.manual_seed(0)
    cell = make()
    parameters = list(cell.parameters()) if isinstance(cell, nn.Module) else []

    def run(fold):
        for p in parameters:
            p.zero_grad()
        leaf = ln.tensor(rows(count, dtype="float32"), requires_grad=True)
        found = fold(cell, ln.sequence(leaf), children)
        parts = found if isinstance(found, tuple) else (found,)
        ln.sum([(part * part).sum() for part in parts]).backward()
        grads = [x.grad for x in (leaf, *parameters)]  # None for weights that no node uses
        return [part.numpy() for part in parts], [0.0 if g is None else g.numpy() for g in grads]

    def looped(cell, x, children):
        states = by_loop(cell, x, children)
        if isinstance(states[0], tuple):
            return tuple(ln.sequence(list(part)) for part in zip(*states, strict=True))
        return ln.sequence(states)

    with ln.batching(policy):
        values, gradients = run(ln.fold)
        expected, expected_gradients = run(looped)
    for found, wanted in zip(values, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("computed", [None, False, True], ids=["given", "pending", "computed"])
@pytest.mark.parametrize("children", [LEAVES, ln.Structure(LEAVES)], ids=["list", "structure"])
def test_rows_of_any_kind_may_come_in(children, computed):
    source = ln.sequence(rows(6))
    if computed is not None:
        source = source * 2.0
    if computed:
        ln.sum(source * ln.Parameter(np.ones(3))).backward()  # its graph is an older one now
    same = ln.sequence([source[2]] * 3)
    for x in (source[:3], source[::-1][:3], source[1::2], same, ln.sequence(rows(3))):
        found = ln.fold(total_of_leaves, x, children)
        np.testing.assert_allclose(found[-1].numpy(), x.numpy().sum(0))
    with ln.no_grad():
        found = ln.fold(total_of_leaves, source[:3], children)
    np.testing.assert_allclose(found.numpy()[-1], source.numpy()[:3].sum(0))


def total_of_leaves(x, below):
    return x * 1.0 if x is not None else ln.sum(below)


def test_folds_of_many_examples_run_as_one_batch_for_each_height():
    counted = []

    def note(graph, run):
        counted.append(run.batches)

    from lazynet import running

    running.observers.append(note)
    try:
        for examples in (1, 50):
            found = [
                ln.fold(total_of_leaves, ln.sequence(rows(3)) * 1.0, LEAVES)
                for _ in range(examples)
            ]
            assert np.isfinite(found[-1].numpy()).all()
    finally:
        running.observers.remove(note)
    assert counted[0] == counted[1]


def test_what_finalizers_record_while_a_fold_is_recorded_is_beside_it(monkeypatch):
    class Interrupted(np.ndarray):
        """Words in whose sum another value is recorded."""

        def __add__(self, other):
            if len(made) < 3:
                made.append(x[0] + float(len(made)))
            return np.asarray(self) + other

    made: list = []
    structure, x = ln.Structure(LEAVES), ln.sequence(rows(3)) * 1.0
    expected = ln.fold(total_of_leaves, x, structure).numpy()
    (plan,) = structure.plans.values()
    plan._words = plan._words.view(Interrupted)
    monkeypatch.setattr(Short, "record", lambda *_: None)  # in which nothing comes between
    np.testing.assert_array_equal(ln.fold(total_of_leaves, x, structure).numpy(), expected)
    for k, value in enumerate(made):
        np.testing.assert_allclose(value.numpy(), x[0].numpy() + k, rtol=1e-6)
    assert len(made) == 3


def test_debug_mode_and_cells_around_a_fold_take_the_loop():
    x = ln.sequence(rows(3))
    expected = ln.fold(total_of_leaves, x, LEAVES).numpy()
    with ln.debug():
        np.testing.assert_array_equal(ln.fold(total_of_leaves, x * 1.0, LEAVES).numpy(), expected)

    @ln.cell
    def whole(a, b, c):
        return ln.fold(total_of_leaves, ln.sequence([a, b, c]), LEAVES)[-1]

    np.testing.assert_allclose(whole(*(row * 1.0 for row in x)).numpy(), expected[-1])


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = 2.0
        self.weight = nn.Parameter([1.0, 2.0, 3.0])

    def forward(self, x, below):
        own = x * ln.exp(self.weight)  # an expression of parameters alone: computed once
        return own * self.factor + (ln.sum(below) if below else 0.0)


def test_a_module_that_changed_is_traced_anew_and_expressions_of_parameters_are_shared():
    module, structure = Scaled(), ln.Structure([(), (0,), (0, 1)])
    x = rows(3, dtype="float32")
    for factor in (2.0, 3.0, 2.0):
        module.factor = factor
        module.zero_grad()
        own = x * np.exp([1.0, 2.0, 3.0]) * factor
        expected = np.stack([own[0], own[0] + own[1], 2 * own[0] + own[1] + own[2]])
        found = ln.fold(module, ln.sequence(x), structure)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
        found.sum().backward()
        np.testing.assert_allclose(module.weight.grad.numpy(), expected.sum(0), rtol=1e-5)
    assert pickle.loads(pickle.dumps(structure)).children == structure.children


def test_second_derivatives_go_through():
    x = ln.tensor(rows(5), requires_grad=True)
    ln.check_grads(lambda x: ln.fold(total, ln.sequence(x), ALL).sum(), (x,))


def test_modules_over_whole_trees():
    tree = data.tree.Tree(0, [data.tree.Tree(1, word="a"), data.tree.Tree(2, word="b")])
    assert tree.numbered() == [(), (), (0, 1)]
    x = ln.sequence(rows(2, dtype="float32"))
    model = nn.TreeLSTM(3, 4)
    h = model(x, tree.numbered())
    assert h.shape == (3, 4)
    (left, right) = (model.cell(row) for row in x)
    np.testing.assert_allclose(h.numpy()[2], model.cell(None, [left, right])[0].numpy(), rtol=1e-6)
    assert nn.ChildSumTreeLSTM(3, 4)(x, [(), (0,)]).shape == (2, 4)


def test_a_chain_of_many_nodes():
    n = 20_000
    x = ln.tensor(np.full((n, 1), 1.0 / n), requires_grad=True)
    chain = [(), *((k,) for k in range(n - 1))]
    y = ln.fold(lambda x, below: x + below[0] if below else x * 1.0, ln.sequence(x), chain)
    y[-1].sum().backward()
    np.testing.assert_allclose(y.numpy()[-1], 1.0, rtol=1e-6)
    np.testing.assert_array_equal(x.grad.numpy(), 1.0)


@pytest.mark.parametrize("debug", [False, True])
def test_a_structure_without_nodes_has_no_states(debug):
    with ln.debug() if debug else contextlib.nullcontext():
        cell = nn.ChildSumTreeLSTMCell(4, 3)
        for state in ln.fold(cell, ln.zeros(4, length=0), ln.Structure([])):
            assert state.shape == (0, 3)
            assert float(state.sum()) == 0.0


MISTAKES = {
    "no nodes": (lambda x: ln.fold(total, x, []), ln.ShapeError, "3 rows for a Structure.0 nodes"),
    "no Sequence": (lambda x: ln.fold(total, x[0], [()]), ln.ShapeError, "must be a Sequence"),
    "rows": (lambda x: ln.fold(total, x, [(), (0,)]), ln.ShapeError, "3 rows for a Structure"),
    "order": (lambda x: ln.fold(total, x, [(), (2,), ()]), ValueError, "node 1 .* node 2 below"),
    "itself": (lambda x: ln.fold(total, x, [(), (1,), ()]), ValueError, "node 1 .* node 1 below"),
    "negative": (lambda x: ln.fold(total, x, [(), (-1,), ()]), ValueError, "node -1 below"),
    "shapes": (
        lambda x: ln.fold(growing, x, [(), (0,), ()]),
        ln.ShapeError,
        "for a node with 1 below it",
    ),
}


def growing(x, below):
    return ln.cat([x, *below])


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(mistake):
    call, error, sentence = MISTAKES[mistake]
    with pytest.raises(error, match=sentence):
        call(ln.sequence(rows(3)))


def test_a_module_that_nothing_else_holds_lives_for_the_fold():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        @ln.cell
        def forward(self, x, below):
            return self.layer(x) + (ln.sum(below) if below else ln.zeros_like(x))

    x, tree = ln.rand(3, length=3), ln.Structure([(), (0,), (0, 1)])
    ln.manual_seed(1)
    kept = Sum()
    ln.manual_seed(1)
    np.testing.assert_array_equal(ln.fold(Sum(), x, tree).numpy(), ln.fold(kept, x, tree).numpy())
    forward = Sum().forward
    with pytest.raises(ReferenceError, match="the module that it is a method of is gone"):
        forward(x[0], [])
