"""Worker threads: parts of large calls give what the whole gives."""

import os
import sys
import threading

import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock

import lazynet as ln
from lazynet import executor, nn
from lazynet.batching.emit import operands_of_call
from lazynet.interpreter import places_of
from lazynet.kernels import threads, updates
from lazynet.leaf import STATICS

generator = np.random.default_rng(5)
ROWS = [generator.standard_normal((n, 32)).astype(np.float32) for n in (40, 1, 0, 25, 60) * 4]


@pytest.fixture(params=[1, 2, 5])
def workers(request):
    before = ln.get_num_threads()
    ln.set_num_threads(request.param)
    yield request.param
    ln.set_num_threads(before)


def model():
    ln.manual_seed(0)
    rnn, join = nn.LSTM(32, 96, bidirectional=True), nn.ChildSumTreeLSTMCell(192, 192)
    return rnn, join, nn.Linear(192, 160)


def step(rnn, join, out):
    states = [rnn(ln.sequence(rows)) for rows in ROWS]
    joined = [join(h[0], [(x, x.tanh()) for x in h])[0] for h in states if len(h)]
    scores = [out(h) for h in (*states, *joined)]
    loss = ln.sum([(ln.log_softmax(s) * s.tanh()).sum() for s in scores])
    loss.backward()
    modules = (rnn, join, out)
    gradients = [p.grad.numpy() for module in modules for p in module.parameters()]
    return [loss.numpy(), *gradients, *(s.numpy() for s in scores)]


@pytest.fixture(scope="module")
def expected():
    before = ln.get_num_threads()
    ln.set_num_threads(1)
    found = step(*model())
    ln.set_num_threads(before)
    return found


def test_parts_give_what_the_whole_gives(workers, expected):
    for ours, whole in zip(step(*model()), expected, strict=True):
        np.testing.assert_allclose(ours, whole, rtol=2e-4, atol=2e-4)
    assert ln.get_num_threads() == (workers if sys.platform == "linux" else 1)


def test_large_calls_are_marked_to_be_split(monkeypatch):
    marked = []

    def count(calls, stop, watch):
        for at in places_of(calls, stop):
            marked.append(operands_of_call.py_func(int(calls[at + 1])) != 0)
        return execute(calls, stop, watch)

    execute = executor.execute
    monkeypatch.setattr(executor, "execute", count)
    step(*model())
    assert True in marked and False in marked


def test_runs_are_repeatable_with_workers(workers):
    for ours, again in zip(step(*model()), step(*model()), strict=True):
        np.testing.assert_array_equal(ours, again)


@pytest.mark.parametrize(("m", "n", "k"), [(300, 70, 50), (5, 900, 300), (700, 5, 300)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_any_shape_are_split_rightly(workers, m, n, k, dtype):
    a, w = generator.standard_normal((m, k)).astype(dtype), generator.standard_normal((n, k))
    weight = ln.Parameter(w.astype(dtype))
    x = ln.tensor(a, requires_grad=True)
    for _ in range(20):  # so that the plan is long enough to wake the workers
        weight.graph.clear_gradient()
        x.graph.clear_gradient()
        ys = [ln.linear(ln.sequence(x), weight) for _ in range(3)]
        many = [(ys[0] * float(j)).sum() for j in range(30)]
        (ln.sum(many) + ys[1].sum()).backward()
    total = 1.0 + sum(range(30))
    scale = 1e-3 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(ys[2].numpy(), a @ w.T, rtol=scale, atol=scale * 10)
    ones = np.ones((m, n))
    np.testing.assert_allclose(
        weight.grad.numpy(), total * ones.T @ a, rtol=scale, atol=total * scale
    )
    np.testing.assert_allclose(x.grad.numpy(), total * ones @ w, rtol=scale, atol=total * scale)


def test_plans_of_several_python_threads_run_at_once(expected):
    found: list = [None] * 4
    models = [model() for _ in found]

    def work(k):
        found[k] = step(*models[k])

    started = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    for ours in found:
        for a, b in zip(ours, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_workers_of_its_own(expected):
    step(*model())
    child = os.fork()
    if child == 0:
        same = all(
            np.allclose(a, b, rtol=2e-4, atol=2e-4)
            for a, b in zip(step(*model()), expected, strict=True)
        )
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="there are workers on Linux only")
@pytest.mark.parametrize("allowed", [0, 1, 3])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_workers_that_cannot_be_started_are_done_without(expected, monkeypatch, allowed, error):
    start, started = threading.Thread.start, []

    def limited(thread):
        if len(started) == allowed:
            raise error
        started.append(thread)
        start(thread)

    before = ln.get_num_threads()
    ln.set_num_threads(5)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", limited)
            if error is KeyboardInterrupt:
                with pytest.raises(KeyboardInterrupt):
                    step(*model())
            else:
                step(*model())
                assert ln.get_num_threads() == allowed + 1
        for ours, whole in zip(step(*model()), expected, strict=True):
            np.testing.assert_allclose(ours, whole, rtol=2e-4, atol=2e-4)
    finally:
        ln.set_num_threads(before)


class Noted:
    """A lock that notes what is done with it."""

    def __init__(self, lock):
        self.lock, self.done = lock, []

    def acquire(self):
        self.done.append("acquired")
        return self.lock.acquire()

    def release(self):
        self.done.append("released")
        self.lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_is_forked_while_no_thread_compiles(monkeypatch):
    noted = Noted(global_compiler_lock._lock)
    with monkeypatch.context() as patch:
        patch.setattr(global_compiler_lock, "_lock", noted)
        child = os.fork()
        if child == 0:
            os._exit(0 if noted.done == ["acquired", "released"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert noted.done == ["acquired", "released"]


def test_a_parameter_may_be_made_while_another_is():
    made, forget = [], STATICS._forget

    def also(number):
        if not made:  # as a finalizer may
            made.append(None)
            made.append(ln.Parameter(np.full(2, 2.0)))
        return forget(number)

    def work():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(STATICS, "_forget", also)
            made.append(ln.Parameter(np.full(3, 3.0)))

    thread = threading.Thread(target=work, daemon=True)  # that it would wait for itself in
    thread.start()
    thread.join(60)
    assert [value.tolist() for value in made[1:]] == [[2.0] * 2, [3.0] * 3]


def test_a_senseless_number_of_threads_is_refused():
    for wrong in (0, -1, 2.5, 1000):
        with pytest.raises(ValueError, match="threads: expected 1 to"):
            ln.set_num_threads(wrong)


def test_the_environment_says_how_many(monkeypatch):
    for name in ("LAZYNET_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    cores = threads._threads_wanted()
    assert cores >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads._threads_wanted() == 3
    monkeypatch.setenv("LAZYNET_NUM_THREADS", "2")
    assert threads._threads_wanted() == 2


def test_large_updates_are_shared(workers):
    shapes = [(5,), (300, 301), (2, 40_000), (1,)]
    before = [generator.standard_normal(shape) for shape in shapes]
    slopes = [generator.standard_normal(shape) for shape in shapes]
    parameters = [ln.Parameter(x) for x in before]
    optimizer = ln.optim.Adam(parameters, lr=0.5)
    step(*model())  # so that there are workers
    for _ in range(2):
        optimizer.zero_grad()
        ln.sum(
            [(p * ln.tensor(g)).sum() for p, g in zip(parameters, slopes, strict=True)]
        ).backward()
        optimizer.step()
    for p, x, g in zip(parameters, before, slopes, strict=True):
        expected = x - 2 * 0.5 * g / (np.abs(g) + 1e-8)
        np.testing.assert_allclose(p.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_pieces_of_a_table_of_updates_are_all_of_it():
    table = np.array([[3 * updates.PIECE + 5, 800, 1600], [0, 0, 0], [7, 80, 160]])
    pieces = updates.in_pieces(table, 4)
    assert pieces[:, 0].tolist() == [updates.PIECE] * 3 + [5, 7]
    assert (pieces[:4, 1] - 800).tolist() == [4 * updates.PIECE * k for k in range(4)]
    assert (pieces[:4, 2] - 1600).tolist() == [4 * updates.PIECE * k for k in range(4)]
    assert pieces[4].tolist() == [7, 80, 160]


@pytest.mark.parametrize(("queries", "keys"), [(40, 400), (300, 400), (5, 4000)])
def test_attention_of_several_heads_is_split_rightly(workers, queries, keys):
    q, k, v = (generator.standard_normal((n, 256)) for n in (queries, keys, keys))
    leaves = [ln.tensor(x, requires_grad=True) for x in (q, k, v)]
    values = [ln.sequence(x) for x in leaves]
    y = nn.functional.scaled_dot_product_attention(*values, heads=4)
    step(*model())  # the plans are long enough to wake the workers
    many = [ln.tanh(values[0][:3] * float(j)).sum() * 0.0 for j in range(40)]
    (ln.sum(many) + (y * y).sum()).backward()
    by_head = [x.reshape(len(x), 4, 64).transpose(1, 0, 2) for x in (q, k, v)]
    scores = by_head[0] @ by_head[1].transpose(0, 2, 1) / 8
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = (weights / weights.sum(-1, keepdims=True)) @ by_head[2]
    weights /= weights.sum(-1, keepdims=True)
    slope = 2.0 * expected @ by_head[2].transpose(0, 2, 1)
    slope = weights * (slope - (weights * slope).sum(-1, keepdims=True)) / 8
    wanted = [expected, slope @ by_head[1], slope.transpose(0, 2, 1) @ by_head[0]]
    for got, want in zip([y, *(x.grad for x in leaves[:2])], wanted, strict=True):
        want = want.transpose(1, 0, 2).reshape(-1, 256)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-8, atol=1e-10)
