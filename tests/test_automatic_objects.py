"""A `forward` that became a cell by itself leaves classes, methods, lifetimes and threads be."""

import copy
import dataclasses
import functools
import gc
import inspect
import pickle
import signal
import sys
import threading
import weakref

import numpy as np
import pytest
from automatic_cells import given, is_cell, own, settled

import lazynet as ln
from lazynet import automatic, nn

pytestmark = pytest.mark.usefixtures("collects_quickly")
SEEN = []


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Classes made in these tests are looked at after five calls."""
    monkeypatch.setattr(automatic, "CALLS", 5)
    SEEN.clear()


class Part(nn.Module):
    def forward(self, x):
        return ln.tanh(x) * x + 1.0


@pytest.mark.parametrize("base", ["mixin", "module"])
def test_a_call_of_a_base_is_called(base):
    def called(self, *arguments):
        SEEN.append(1)
        return super(kind, self).__call__(*arguments)

    first = object if base == "mixin" else nn.Module
    kind = type("First", (first,), {"__call__": called})
    module = own(lambda self, x, h: ln.tanh(x + h) * x + h, kind)
    settled(module)
    assert len(SEEN) == 9
    assert is_cell(type(module))


def test_a_call_put_in_its_place_is_called():
    module = own(lambda self, x, h: ln.tanh(x + h) * x + h)
    before = type(module).__call__

    def called(self, *arguments):
        SEEN.append(1)
        return before(self, *arguments)

    type(module).__call__ = called
    settled(module)
    assert len(SEEN) == 9


def test_copies_of_a_class_are_called():
    @dataclasses.dataclass(slots=True)
    class Gate(nn.Module):
        factor: float

        def forward(self, x, h):
            return ln.tanh(x + h) * x * self.factor

    module = settled(Gate(2.0))
    before = module(*given()).numpy()
    module.factor = 4.0
    np.testing.assert_allclose(module(*given()).numpy(), 2.0 * before, rtol=1e-6)


def test_a_metaclass_sees_nothing():
    class Meta(type):
        def __setattr__(cls, name, value):
            raise AttributeError(name)

    class Gate(nn.Module, metaclass=Meta):
        def forward(self, x, h):
            return ln.tanh(x + h) * x + h

    settled(Gate())
    assert is_cell(Gate)


def test_recursion_goes_as_deep_as_without():
    def deepest(plain):
        def forward(self, x, depth):
            return x if depth == 0 else self(x, depth - 1) + x

        depth = 0
        while True:  # a class of its own for each depth: it is looked at in the middle
            module = own(forward, **({"automatic_cell": False} if plain else {}))
            try:
                module(ln.tensor([1.0]), depth + 10)
            except RecursionError:
                return depth
            depth += 10

    assert deepest(plain=False) >= deepest(plain=True) - 10


def test_a_mistake_deep_inside_is_made_once_or_twice():
    class Deep(nn.Module):
        def forward(self, x, parts):
            return ln.tanh(self(x, parts[0])) * x  # the last one has none

    parts = []
    for _ in range(40):
        parts = [parts]
    for _ in range(9):
        with pytest.raises(IndexError, match="list index out of range"):
            Deep()(ln.tensor([1.0]), parts)


def test_modules_in_each_other_become_cells():
    class Whole(nn.Module):
        def __init__(self):
            self.part = Part()

        def forward(self, x, h):
            return ln.tanh(self.part(x)) * h

    class Above(Whole):
        def forward(self, x, h):
            return super().forward(x, h) * x

    before = Above()(*given()).numpy()
    above = settled(Above())
    np.testing.assert_allclose(above(*given()).numpy(), before, rtol=1e-6)
    assert is_cell(Above)


def test_its_forward_is_a_method_like_others():
    x, _ = given()
    part = Part()
    before = inspect.signature(part.forward), part(x).numpy()
    for _ in range(9):
        part(x)
    assert is_cell(Part)
    assert inspect.ismethod(part.forward)
    assert inspect.signature(part.forward) == before[0]
    assert part.forward.__self__ is part
    for method in (
        Part().forward,  # holds its module
        copy.deepcopy(part.forward),
        pickle.loads(pickle.dumps(part.forward)),
        functools.partial(Part.forward, part),
    ):
        np.testing.assert_allclose(method(x).numpy(), before[1], rtol=1e-6)


def test_its_forward_may_be_scanned_folded_and_checkpointed():
    class Step(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(3, 3)

        def forward(self, x, states):
            return (ln.tanh(self.layer(x) + sum(states)) * x,)

    class Join(nn.Module):
        def forward(self, x, below):
            return ln.tanh(x + sum(below)) * x

    step, join, (x, h) = Step(), Join(), given()
    every = ln.sequence([x, h, x])

    def all_ways():
        return [
            ln.checkpoint(step.forward)(x, (h,))[0], ln.cell(step.forward)(x, (h,))[0],
            step.forward(x, (h,))[0], ln.scan(step.forward, (h,), every)[0],
            ln.scan(step, (h,), every)[0], ln.fold(join.forward, every, [(), (), (0, 1)]),
            ln.fold(join, every, [(), (), (0, 1)]), join(x, [h]),
        ]  # fmt: skip

    before = [np.asarray(y.numpy()) for y in all_ways()]
    for _ in range(9):
        step(x, (h,)), join(x, [h])
    assert is_cell(Step)
    assert is_cell(Join)
    for y, wanted in zip(all_ways(), before, strict=True):
        np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-6)


def test_modules_and_values_die_with_their_last_holder():
    part = own(lambda self, x: ln.tanh(x) * x + 1.0)
    x = ln.tensor([1.0, 2.0])
    for _ in range(9):
        y = part(x)
    assert is_cell(type(part))
    held = [weakref.ref(part), weakref.ref(x), weakref.ref(y.graph)]
    del part, x, y
    assert [reference() for reference in held] == [None] * 3


def test_objects_made_anew_for_each_step_end_it(monkeypatch):
    monkeypatch.setattr(automatic, "MOST_TRACES", 10)
    kind = type(own(lambda self, x, h: ln.tanh(x + h) * x + h))
    for _ in range(30):
        kind()(*given())
    assert not is_cell(kind)


def test_what_dies_or_is_signalled_while_it_is_looked_at_happens():
    class Holder:
        def __del__(self):
            SEEN.append("gone")

    def handler(*_):
        SEEN.append("signalled")

    class Loop(nn.Module):
        def forward(self, x, h):
            return ln.tanh(x + h) * x + h

    holder = Holder()
    holder.itself = holder
    del holder
    event = automatic.Watcher._event

    def interrupted(watcher, *arguments):  # in the middle of a trace
        if "signalled" not in SEEN:
            signal.raise_signal(signal.SIGUSR1)
            gc.collect()
        return event(watcher, *arguments)

    before = signal.signal(signal.SIGUSR1, handler)
    automatic.Watcher._event = interrupted
    try:
        settled(Loop())
    finally:
        automatic.Watcher._event = event
        signal.signal(signal.SIGUSR1, before)
    assert sorted(SEEN) == ["gone", "signalled"]
    assert is_cell(Loop)
    assert gc.isenabled()
    assert sys.getprofile() is None


def test_threads_may_make_it_a_cell_together():
    errors = []
    for _ in range(5):
        module = own(lambda self, x, h: ln.tanh(x + h) * x + h)
        wanted = np.asarray(module(*given()).numpy())
        start = threading.Barrier(4)

        def work(module=module, wanted=wanted, start=start):
            try:
                start.wait()
                for _ in range(10):
                    np.testing.assert_allclose(module(*given()).numpy(), wanted, rtol=1e-6)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors


def test_a_module_may_be_scanned_before_it_is_a_cell():
    class Step(nn.Module):
        def forward(self, x, states):
            return (ln.tanh(x + states[0]),)

    made = ln.scan(Step(), (ln.zeros(1),), ln.sequence([[0.0], [0.0]]))
    assert made[0].tolist() == [[0.0], [0.0]]
