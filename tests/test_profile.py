"""The profiler: counts that can be told by hand, and totals that agree with the engine's own."""

import threading

import numpy as np
import pytest

import lazynet as ln
from lazynet import backward, executor, interpreter, nn, optim, running
from lazynet.batching import emit
from lazynet.batching.frame import FRAME_WORDS, OWNER
from lazynet.profile import PHASES


def _chain(x, weight, steps):
    for _ in range(steps):
        x = ln.tanh(ln.linear(x, weight))
    return x


@pytest.fixture
def weight():
    return ln.Parameter(np.eye(3, dtype=np.float32))


def test_nodes_batches_and_bound_of_chains_side_by_side(weight):
    with ln.profile(examples=4) as p:
        ends = [_chain(ln.tensor([1.0, 2.0, 3.0]), weight, 5) for _ in range(4)]
        ends[0].numpy()
    assert p.nodes == 4 * 10
    assert p.batches == p.lower_bound == 10
    told = p.summary()
    assert told["nodes_per_example"] == 10
    assert told["forwards"] == 1
    assert told["backwards"] == 0
    named = {e["name"]: e for e in told["signatures"]}
    number = next(k for k, s in p.signatures.items() if s.name == "linear [3] W[3, 3]")
    assert named["linear [3] W[3, 3]"] == {
        "name": "linear [3] W[3, 3]", "nodes": 20, "rows": 20, "batches": 5, "lower_bound": 5,
        "kernel_calls": 5, "forward": p.signatures[number].forward, "backward": 0.0,
    }  # fmt: skip


def test_policy_none_has_a_batch_a_node_and_the_same_bound(weight):
    with ln.profile() as p, ln.batching("none"):
        ends = [_chain(ln.tensor([1.0, 2.0, 3.0]), weight, 5) for _ in range(4)]
    assert not any(end.pending for end in ends)
    assert p.batches == p.nodes == 40
    assert p.lower_bound == 10


def test_what_is_pending_at_the_end_counts(weight):
    with ln.profile() as p:
        end = _chain(ln.tensor([1.0, 2.0, 3.0]), weight, 2)
    assert p.nodes == 4
    assert not end.pending


def test_what_hooks_run_is_told_once(monkeypatch):
    ticks, passes = iter(range(10**6)), []
    monkeypatch.setattr(backward, "clock", lambda: float(next(ticks)))
    monkeypatch.setattr(executor, "clock", lambda: float(next(ticks)))
    monkeypatch.setattr(backward, "observers", [passes.append])

    @ln.enable_grad()
    def hook(gradient):
        (gradient * 2.0).numpy()
        inner = ln.tensor([1.0], requires_grad=True)
        y = inner * 3.0
        y.register_hook(lambda g: (g + 1.0).numpy())
        y.sum().backward()

    x = ln.tensor([1.0, 2.0], requires_grad=True)
    with ln.profile() as p:
        y = x * 3.0
        y.register_hook(hook)
        y.sum().backward()
    assert p.forwards == 4 and p.backwards == 2
    ran = 3 * 4  # of each forward in a hook, four spans of one tick
    assert p.seconds["forward"] == 4.0
    assert p.seconds["backward"] == max(one.seconds for one in passes) - ran > 0


def test_a_training_step_shows_every_phase():
    layer = nn.Linear(3, 2)
    opt = optim.Adam(layer.parameters())
    with ln.profile() as p:
        ln.mean([ln.cross_entropy(layer(ln.tensor([1.0, 2.0, 3.0])), 1)] * 2).backward()
        opt.step()
    told = p.summary()
    assert (told["forwards"], told["backwards"], told["updates"]) == (1, 1, 1)
    assert told["backward_batches"] > 0
    assert told["backward_kernel_calls"] > 0
    assert tuple(told["seconds"]) == (*PHASES, "total")
    assert all(told["seconds"][phase] > 0 for phase in PHASES if phase != "compile")
    assert told["seconds"]["total"] == pytest.approx(sum(p.seconds.values()))


def test_a_profile_goes_on_where_it_stopped_when_entered_again(weight):
    p = ln.profile()
    for forwards in (1, 2):
        with p:
            _chain(ln.tensor([1.0, 2.0, 3.0]), weight, 1).numpy()
        assert p.forwards == forwards
        assert p.nodes == 2 * forwards


def test_entering_one_profile_twice_at_once_raises():
    p = ln.profile()
    with p, pytest.raises(RuntimeError, match="entered already"), p:
        pass


def test_profiles_nest(weight):
    with ln.profile() as outer:
        _chain(ln.tensor([1.0, 2.0, 3.0]), weight, 1).numpy()
        with ln.profile() as inner:
            _chain(ln.tensor([1.0, 2.0, 3.0]), weight, 1).numpy()
    assert (outer.forwards, inner.forwards) == (2, 1)


def test_nothing_is_recorded_outside_or_after_an_error(weight):
    with pytest.raises(ZeroDivisionError), ln.profile() as p:
        raise ZeroDivisionError
    _chain(ln.tensor([1.0, 2.0, 3.0]), weight, 1).numpy()
    assert p.forwards == 0


def test_other_threads_are_not_recorded(weight):
    with ln.profile() as p:
        thread = threading.Thread(
            target=lambda: _chain(ln.tensor([1.0, 2.0, 3.0]), weight, 1).numpy()
        )
        thread.start()
        thread.join()
    assert p.forwards == 0


def test_rows_of_sequences_of_all_lengths_run_in_one_batch():
    layer = nn.Linear(3, 2)
    with ln.profile() as p:
        x = ln.tensor([1.0, 2.0, 3.0])
        rows = [layer(ln.sequence([x] * n)) for n in (1, 4, 2)]
    assert [len(r.numpy()) for r in rows] == [1, 4, 2]
    (linear,) = (e for e in p.summary()["signatures"] if e["name"].startswith("linear"))
    assert (linear["nodes"], linear["rows"], linear["batches"]) == (3, 7, 1)


def test_the_table_tells_what_the_summary_holds(weight):
    with ln.profile(examples=2) as p:
        ends = [_chain(ln.tensor([1.0, 2.0, 3.0]), weight, 3) for _ in range(2)]
        ln.sum([ln.sum(end) for end in ends]).backward()
    text, told = str(p), p.summary()
    assert f"{p.nodes} nodes ({p.nodes / 2:.1f} an example) in {p.batches} batches" in text
    assert f"(lower bound {p.lower_bound})" in text
    assert "linear [3] W[3, 3]" in text
    assert all(phase in text for phase in PHASES if told["seconds"][phase])


def test_compiling_is_a_phase_of_its_own():
    @ln.cell
    def unseen(x):
        return ln.tanh(x * 0.2839) + ln.sigmoid(x - 0.4711)  # no other test has this formula

    def run():
        with ln.profile() as p:
            unseen(ln.ones(3)).numpy()
        return p

    first, _, last = run(), run(), run()  # after a forward more may be compiled, in any process
    assert first.seconds["compile"] > 0.0 and "compile" in str(first)
    assert last.seconds["compile"] == 0.0 and "compile" not in str(last)


def test_an_empty_profile_prints_too():
    with ln.profile() as p:
        pass
    assert "0 forwards: 0 nodes in 0 batches" in str(p)


def test_examples_must_be_positive():
    with pytest.raises(ValueError, match="at least 1"):
        ln.profile(examples=0)


def test_memory_of_nodes_and_rows(weight):
    def told(chains):
        with ln.profile() as p:
            ends = [_chain(ln.tensor([1.0, 2.0, 3.0]), weight, 50) for _ in range(chains)]
            ends[0].numpy()
        assert p.rows == p.nodes == chains * 100
        return p

    few, many = told(2), told(20)
    assert few.bytes_computed >= 200 * 12  # three floats each
    assert many.bytes_computed == pytest.approx(10 * few.bytes_computed, rel=0.1)
    assert 20 < many.bytes_recorded / many.nodes < 200
    assert "memory: " in str(many)
    assert many.summary()["bytes_recorded"] == many.bytes_recorded


def test_memory_of_a_graph_that_goes_on_is_counted_once(weight):
    with ln.profile() as p:
        x = _chain(ln.tensor([1.0, 2.0, 3.0]), weight, 5)
        for _ in range(3):
            x.numpy()
            x = _chain(x, weight, 5)
    assert p.forwards == 4
    assert p.bytes_computed == x.graph.arena.size()


def test_parts_of_rows_are_told_apart_from_rows():
    x = ln.tanh(ln.tensor([1.0, 2.0, 3.0, 4.0]))
    first, second = ln.chunk(x, 2)
    with ln.profile() as p:
        made = [ln.exp(part) for part in (ln.exp(first), first, second, x[0])]
    assert all(y.shape in ((2,), ()) for y in made)
    names = sorted(e["name"] for e in p.summary()["signatures"])
    parts = ["exp [2]", "exp [2] in [4]", "exp [2]+2 in [4]", "exp [] in [4]"]
    assert names == sorted([*parts, "tanh [4]"])


# -- how long kernels took, and whose line it was --------------------------------------------------


def test_signatures_share_the_time_of_the_kernels_and_nobody_else_watches(monkeypatch):
    x, weight = ln.rand(64, length=50), ln.Parameter(np.eye(64, dtype=np.float32))
    with ln.profile() as p:
        loss = ln.sum(ln.tanh(ln.linear(x, weight)) ** 2, 1).sum()
        loss.backward()
    told = p.summary()["signatures"]
    assert all(e["forward"] > 0 for e in told)
    assert sum(e["forward"] for e in told) <= p.seconds["forward"]
    assert 0 < sum(e["backward"] for e in told) <= p.seconds["backward"]
    totals = [e["forward"] + e["backward"] for e in told]
    assert totals == sorted(totals, reverse=True)
    assert "forward ms" in repr(p)
    runs = []
    monkeypatch.setattr(running, "observers", [lambda _, run: runs.append(run)])
    ln.tanh(x).numpy()
    assert runs and not len(runs[0].spent)  # nobody watches


def test_deferred_products_are_their_signatures_own():
    x, weight = ln.rand(8, length=50), ln.Parameter(np.ones((400, 8), dtype=np.float32))
    with ln.profile() as p:
        ln.sum(ln.linear(x, weight), 1).sum().backward()
    (linear,) = (s for s in p.signatures.values() if s.name.startswith("linear"))
    assert linear.backward > 0


def test_a_call_tells_whose_it_is_and_where_its_operands_begin():
    frame = np.zeros(FRAME_WORDS, np.int64)
    for owner, told in ((0, 0), (7, 7), (emit.OWNERS + 5, emit.OWNERS - 1)):
        emit.own_calls.py_func(frame, owner)
        word = 20 + (5 << emit.OPERANDS_AT) + int(frame[OWNER]) + emit.LOOP_CALL + emit.LOOP_BEGINS
        assert word >> emit.OWNER_AT == told < len(interpreter.new_watch(owner + 1))
        assert emit.operands_of_call.py_func(word) == 5
        assert word & emit.CALL_LENGTH == 20


def test_without_a_clock_no_times_are_told(monkeypatch):
    monkeypatch.setattr(executor, "new_watch", lambda owners: interpreter.NO_WATCH)
    with ln.profile(lines=True) as p:
        ln.tanh(ln.tensor([1.0])).numpy()
    assert p.summary()["signatures"][0]["forward"] == 0.0
    assert "forward ms" not in repr(p) and "code" in repr(p)


def test_lines_tell_what_they_recorded():
    cell = nn.LSTMCell(3, 3)
    with ln.profile(lines=True) as p:
        x = ln.tensor([1.0, 2.0, 3.0]) * 2.0
        state = cell(x)
        for _ in range(4):
            state = cell(x, state)
        rows = nn.GRU(3, 2)(ln.sequence([x, x]))
        loss = ln.sum(state[0]) + ln.sum(rows).sum()
        loss.backward()
    told = {e["code"]: e for e in p.summary()["lines"]}
    assert told["state = cell(x, state)"]["nodes"] == 4
    assert told["state = cell(x)"]["nodes"] == 1
    assert told["rows = nn.GRU(3, 2)(ln.sequence([x, x]))"]["rows"] == 2 + 2
    assert all(e["file"] == __file__ for e in told.values())
    assert sum(e["nodes"] for e in told.values()) == p.nodes
    for phase in ("forward", "backward"):
        shared = sum(e[phase] for e in told.values())
        assert shared == pytest.approx(sum(getattr(s, phase) for s in p.signatures.values()))
    assert "state = cell(x, state)" in repr(p)
    assert ln.tanh(x).graph.sites is None  # no longer noted


def test_a_fold_is_its_line():
    cell = nn.TreeLSTMCell(3, 3, 2)
    with ln.profile(lines=True) as p:
        ln.fold(cell, ln.rand(3, length=3), ln.Structure([(), (), (0, 1)]))[0].numpy()
    assert {e["code"][:7] for e in p.summary()["lines"]} == {"ln.fold"}


def test_values_are_the_same_where_lines_are_noted(weight):
    x = ln.tensor([1.0, 2.0, 3.0])
    expected = _chain(x, weight, 3).tolist()
    pending = _chain(x, weight, 3)
    with ln.profile(lines=True):
        assert not pending.pending  # it ran before, and does not count
        assert _chain(x, weight, 3).tolist() == expected


def test_an_error_ends_the_noting_of_lines(weight):
    with pytest.raises(ZeroDivisionError), ln.profile(lines=True):
        raise ZeroDivisionError
    assert ln.tanh(ln.tensor([1.0])).graph.sites is None
