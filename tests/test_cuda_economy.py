"""What "cuda" is asked to do: how often, and what happens where there is no room."""

import gc
import re

import numpy as np
import pytest
from on_cuda import MARKS

import lazynet as ln
from lazynet.device import device_of
from lazynet.kernels import cuda_driver
from lazynet.kernels.cuda_driver import Staging

pytestmark = MARKS


@pytest.fixture
def step():
    """A step of training: an LSTM over three sentences, Adam."""
    model = ln.nn.LSTM(3, 4).cuda()
    optimizer = ln.optim.Adam(model.parameters())

    def run():
        rows = [
            ln.sequence(ln.tensor(np.ones((n, 3), "float32"), device="cuda")) for n in (3, 1, 4)
        ]
        loss = ln.sum([ln.sum(model(x)) for x in rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    run()
    return run


def test_a_step_reads_nothing_before_a_value_is_asked_for(step):
    with ln.profile() as p:
        loss = step()
    assert p.downloads == 0
    with ln.profile() as p:
        loss.item()
    assert (p.downloads, p.launches) == (1, 0)


def test_launches_and_copies_of_a_step_are_few_and_told(step):
    with ln.profile() as p:
        step()
    told = p.summary()
    assert told["launches"] <= told["kernel_calls"] + told["backward_kernel_calls"] + 4 + 1
    assert told["launches"] > 4
    # The leaves in one, the forward, the seed of backward, and the backward.
    assert told["uploads"] == 4
    assert re.search(rf"^devices: {p.launches} launches, 4 uploads, 0 downloads$", str(p), re.M)


def test_the_cpu_is_asked_for_no_launches():
    with ln.profile() as p:
        (ln.tensor(1.0) + 1.0).item()
    assert p.launches == p.uploads == p.downloads == 0
    assert "devices" not in str(p)


def test_staged_bytes_are_overwritten_only_when_their_copies_are_done():
    rng = np.random.default_rng(0)
    queue, done = [], 0  # (offset, size) of copies and marks, in order; how many have been done

    def mark():
        queue.append(None)
        return len(queue)

    def wait(place):
        nonlocal done
        done = max(done, place)

    staging = Staging(64, mark, wait)
    waited = 0
    for _ in range(300):
        left = int(rng.integers(1, 90))
        while left:
            before = done
            start, size = staging.part(left)
            waited += done > before
            assert 0 < size <= min(left, 32) and start >= 0 and start + size <= 64
            for part in queue[done:]:
                assert part is None or part[0] >= start + size or part[0] + part[1] <= start
            queue.append((start, size))
            left -= size
    assert waited > 100


# -- where there is no room ------------------------------------------------------------------------


@pytest.fixture
def room(monkeypatch):
    """A function that limits the memory of the first simulated device to so much more."""
    if not cuda_driver.simulated():
        pytest.skip("memory is limited on the simulated device only")
    device = device_of("cuda")
    gc.collect()
    device.pool.release()

    def limit(more):
        free, whole = device.driver.memory()
        monkeypatch.setattr(device.driver, "limit", whole - free + more, raising=False)

    return limit


def still_works():
    x = ln.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_a_leaf_without_room_is_an_error_that_tells_the_sizes(room):
    still_works()
    room(1 << 20)
    with pytest.raises(MemoryError, match=r"'cuda:0' has no room for 4\.0 MiB more: lazynet holds"):
        ln.tensor(np.zeros(1 << 20, "float32"), device="cuda")
    still_works()


def test_a_forward_without_room_names_what_is_large(room):
    x = ln.tensor(np.ones(1 << 10, "float32"), device="cuda")
    still_works()
    room(1 << 21)
    values = [x * float(k) for k in range(1000)]
    with pytest.raises(MemoryError, match=r"than there is; the largest parts are mul.* x 1000"):
        values[-1].numpy()
    del values
    still_works()


def test_a_backward_without_room_is_an_error_and_can_be_run_later(room):
    x = ln.tensor(np.ones(1 << 7, "float32"), device="cuda", requires_grad=True)
    still_works()
    loss = ln.sum([ln.sum(ln.tanh(x * float(k))) for k in range(60)])
    loss.item()
    room(1 << 14)
    with pytest.raises(MemoryError, match="has no room for"):
        loss.backward()
    still_works()
    room(1 << 26)
    loss.backward()
    assert x.grad.numpy().any()


def test_the_pool_gives_up_what_is_free_before_it_gives_up(room):
    x = ln.tensor(np.zeros(1 << 19, "float32"), device="cuda")
    room(0)
    del x  # 2 MiB, which are free now, in a buffer of another size
    gc.collect()
    assert ln.tensor(np.zeros(1 << 18, "float32"), device="cuda").numpy().shape == (1 << 18,)


def test_a_profile_tells_the_time_of_kernels_by_signature():
    x = ln.tensor(np.ones((4, 3), "float32"), device="cuda")
    weight = ln.Parameter(np.ones((2, 3), "float32"), device="cuda")
    with ln.profile() as p:
        ln.tanh(ln.linear(x[0], weight)).sum().backward()
    told = {s.name.partition(" ")[0]: s for s in p.signatures.values()}
    assert told["linear"].forward > 0 and told["linear"].backward > 0 and told["tanh"].backward > 0
    assert sum(s.forward for s in told.values()) <= p.seconds["forward"]
