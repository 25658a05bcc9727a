"""Long and deep runs, loops whose memory stays flat, threads and processes."""

import gc
import os
import threading

import numpy as np
import pytest
from checks import close, leaf, parameter

import lazynet as ln
from lazynet import nn
from lazynet.arena import LARGER, POOL, Pool
from lazynet.ops import reduce
from lazynet.ops.linear import linear
from lazynet.ops.noise import dropout
from lazynet.ops.random import manual_seed

pytestmark = pytest.mark.usefixtures("collects_quickly")

# -- depth, memory and repetition ------------------------------------------------------------------


@pytest.mark.parametrize("steps", [20_000, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("policy", ["none", "auto"])
def test_chains_of_many_thousand_steps(policy, steps):
    x = ln.tensor([0.001, 0.002], requires_grad=True)
    with ln.batching(policy):
        h = x
        for _ in range(steps):
            h = ln.tanh(h + x)
        h.sum().backward()
    assert np.isfinite(np.asarray(h)).all()
    h, g = np.zeros(2), np.zeros(2)
    a = np.array([0.001, 0.002], np.float32).astype(float)
    h = a
    g = np.ones(2)
    for _ in range(steps):
        h = np.tanh(h + a)
        g = (g + 1) * (1 - h * h)
    np.testing.assert_allclose(np.asarray(x.grad), g, rtol=1e-3)


@pytest.mark.parametrize("deep", [3000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_trees_far_deeper_than_the_recursion_limit_train(deep):
    """Built by a loop, and by a fold over the same tree: one leaf more at each height."""
    cell = nn.TreeLSTMCell(2, 3).double()
    leaves = np.random.randn(deep + 1, 2)
    found = []

    def looped():
        top, *others = (cell(ln.tensor(x)) for x in leaves)
        for other in others:
            top = cell(None, [top, other])
        return top[0]

    def folded():
        inner = [(deep + k if k else 0, k + 1) for k in range(deep)]
        tree = ln.Structure([() for _ in leaves] + inner)
        return ln.fold(cell, ln.sequence(leaves), tree)[0][-1]

    for build in (looped, folded):
        for p in cell.parameters():
            p.zero_grad()
        build().square().sum().backward()
        found.append([np.asarray(p.grad) for p in cell.parameters() if p.grad is not None])
    for a, b in zip(*found, strict=True):
        assert np.abs(a).max() > 1e-6
        close(a, b)


def test_chains_of_graphs_are_followed_without_recursion():
    x = leaf(2)
    h = x
    for _ in range(1200):
        h = ln.tanh(h * 0.999)
        (x * 1.0).sum().backward()  # a new graph
    x.graph.gradient = None
    h.sum().backward()
    assert np.isfinite(np.asarray(x.grad)).all()


def test_a_larger_free_buffer_serves_where_there_is_none_of_the_size():
    pool = Pool()
    large = pool.take(1 << 20)
    pool.give(large)
    assert pool.take((1 << 20) // LARGER) is large
    pool.give(large)
    assert pool.take((1 << 20) // LARGER // 2) is not large


def test_a_new_buffer_takes_the_place_of_smaller_ones():
    pool = Pool()
    smaller = [pool.take(1 << k) for k in (18, 19, 19)]
    for buffer in smaller:
        pool.give(buffer)
    pool.give(pool.take(1 << 20))
    assert pool.held() == 1 << 20 | 1 << 18  # what goes is no more than what comes


def test_what_a_pool_holds_is_bounded_by_what_was_in_use_together():
    pool, r, most = Pool(), np.random.default_rng(0), 0
    for _ in range(500):
        lent = [pool.take(int(s)) for s in 2 ** r.uniform(12, 20, r.integers(1, 4))]
        most = max(most, sum(buffer.size for buffer in lent))
        for buffer in lent:
            pool.give(buffer)
    assert pool.held() <= 1.2 * most


def memory_after(step, steps):
    """Bytes that graphs hold after so many steps, in use or pooled."""
    for k in range(steps):
        step(k)
    gc.collect()
    return live_bytes()


def live_bytes():
    """Bytes of all arenas that are alive, and of the pool."""
    from lazynet.arena import Arena

    arenas = [a for a in gc.get_objects() if type(a) is Arena]
    return sum(b.size for a in arenas for b in a.buffers) + POOL.held()


def training_loop():
    w = parameter(8, 8)

    def step(k):
        xs = [leaf(8, requires_grad=False) for _ in range(1 + k % 7)]
        w.zero_grad()
        reduce.sum([ln.tanh(linear(x, w)).sum() for x in xs]).backward()
        w.data -= 0.01 * np.asarray(w.grad)

    return step


def inference_loop():
    w = parameter(8, 8)

    def step(k):
        ln.tanh(linear(leaf(8, requires_grad=False), w)).numpy()

    return step


def inference_with_state():
    w = parameter(8, 8)
    state = [leaf(8, requires_grad=False)]

    def step(k):
        with ln.no_grad():
            state[0] = ln.tanh(linear(state[0], w))
            state[0].numpy()

    return step


def truncated_backpropagation():
    w = parameter(8, 8)
    state = [leaf(8, requires_grad=False)]

    def step(k):
        h = ln.tanh(linear(state[0], w))
        h.sum().backward()
        state[0] = h.detach()

    return step


def running_total():
    w = parameter(8, 8)
    total = [ln.tensor(0.0).astype("float64")]

    def step(k):
        loss = ln.tanh(linear(leaf(8, requires_grad=False), w)).sum()
        loss.backward()
        total[0] = total[0] + loss.detach()

    return step


def retained_gradients():
    w = parameter(8, 8)

    def step(k):
        h = linear(leaf(8, requires_grad=False), w)
        h.retain_grad()
        ln.tanh(h).sum().backward()
        assert h.grad is not None

    return step


@pytest.mark.parametrize(
    "loop",
    [
        training_loop,
        inference_loop,
        inference_with_state,
        truncated_backpropagation,
        running_total,
        retained_gradients,
    ],
)
def test_memory_stays_flat(loop):
    step = loop()
    before = memory_after(step, 100)
    assert memory_after(step, 1000) <= before + (1 << 20)


def test_the_same_seed_gives_the_same_losses_to_the_bit():
    def losses():
        manual_seed(3)
        random = np.random.default_rng(0)
        w = ln.Parameter(random.standard_normal((6, 6)))
        found = []
        for _ in range(10):
            xs = [ln.tensor(random.standard_normal(6)) for _ in range(5)]
            loss = reduce.mean([dropout(ln.tanh(linear(x, w)), 0.3).sum() for x in xs])
            w.zero_grad()
            loss.backward()
            w.data -= 0.1 * np.asarray(w.grad)
            found.append(loss.item())
        return found

    assert losses() == losses()


# -- threads and processes -------------------------------------------------------------------------


def run_in_threads(work, count):
    """Do some work in so many threads; what it raised in them."""
    errors = []

    def run():
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_threads_infer_independently():
    w, b = parameter(16, 16), parameter(16)
    inputs = [np.random.randn(16) for _ in range(8)]
    weight, bias = np.asarray(w), np.asarray(b)
    expected = [np.tanh(np.tanh(x @ weight.T + bias) @ weight.T + bias) for x in inputs]

    def work():
        for _ in range(30):
            with ln.no_grad():
                h = [ln.tanh(linear(ln.tensor(x), w, b)) for x in inputs]
                y = [ln.tanh(linear(x, w, b)) for x in h]
            for found, e in zip(y, expected, strict=True):
                close(found, e)

    assert not run_in_threads(work, 4)


def test_no_grad_as_a_decorator_in_many_threads():
    w = parameter(3)

    @ln.no_grad()
    def predict():
        return (w * 2.0).numpy()

    def work():
        for _ in range(200):
            predict()
        assert ln.is_grad_enabled()

    assert not run_in_threads(work, 4)


def test_a_pending_value_of_another_thread_raises_and_stays_usable():
    x = leaf(3)
    y = x * 2.0
    errors = []

    def work():
        for use in (lambda: y.numpy(), lambda: (y + 1.0).numpy(), lambda: y.sum().backward()):
            try:
                use()
            except RuntimeError as error:
                errors.append(str(error))

    assert not run_in_threads(work, 1)
    assert len(errors) == 3
    assert all("another thread" in error for error in errors)
    close(y, 2 * np.asarray(x))


def test_a_computed_value_of_another_thread_can_be_used():
    made = []
    assert not run_in_threads(lambda: made.append(leaf(3) * 2.0) or made[0].numpy(), 1)
    y = made[0] * 1.0
    close(y, np.asarray(made[0]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_computes():
    w = parameter(32, 32)
    x = leaf(32)
    pending = ln.tanh(linear(x, w))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            value = np.asarray(pending)
            loss = ln.tanh(linear(ln.tensor(value), w)).sum()
            loss.backward()
            code = 0 if np.isfinite(np.asarray(w.grad)).all() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.isfinite(np.asarray(pending)).all()


def test_a_list_of_losses_keeps_numbers_and_not_the_memory_of_every_step():
    weight = ln.Parameter(np.ones((8, 8)))
    losses, sizes = [], []
    for k in range(6):
        rows = ln.sequence(np.full((50, 8), float(k)))
        loss = ln.linear(rows, weight).tanh().square().sum()
        loss.backward()
        losses.append(loss)
        sizes.append(losses[0].graph.arena.size())
    assert sizes[-1] < sizes[0] / 10
    expected = [50 * 8 * np.tanh(8.0 * k) ** 2 for k in range(6)]
    np.testing.assert_allclose([loss.item() for loss in losses], expected)
    with pytest.raises(RuntimeError, match="second time"):
        losses[0].backward()
    assert (losses[1] * 2.0).item() == pytest.approx(2 * expected[1])
