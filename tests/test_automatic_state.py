"""What a `forward` that becomes a cell by itself depends on, and what it must leave as it was."""

import copy
import dataclasses
import functools
import gc
import inspect
import operator
import pickle
import signal
import sys
import threading
import weakref

import numpy as np
import pytest

import lazynet as ln
from lazynet import automatic, nn
from lazynet.automatic import AutomaticCell

pytestmark = pytest.mark.usefixtures("collects_quickly")
SEEN = []
note = SEEN.append


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Classes made in these tests are looked at after five calls."""
    monkeypatch.setattr(automatic, "CALLS", 5)
    monkeypatch.setattr(Config, "factor", 2.0)
    monkeypatch.setattr(Other, "factor", 2.0)
    monkeypatch.setattr(scaler, "factor", 2.0)
    monkeypatch.setattr(with_attribute, "factor", 2.0)
    SEEN.clear()


class Config:
    factor = 2.0


class Other(nn.Module):
    factor = 2.0

    def forward(self, x):
        return x


class Scaler:
    factor = 2.0

    def scaled(self, x):
        return x * self.factor


scaler = Scaler()
scaled = scaler.scaled


def with_attribute(x):
    return x * with_attribute.factor


with_attribute.factor = 2.0


@functools.lru_cache
def remembered(n):
    SEEN.append(n)
    return 2.0


class Part(nn.Module):
    def forward(self, x):
        return ln.tanh(x) * x + 1.0


def given():
    return ln.tensor([1.0, -2.0, 3.0]), ln.tensor([0.5, 0.25, -1.0])


def own(forward, *bases, **members):
    """A module of a class of its own with that forward."""
    return type("Own", (*bases, nn.Module), {"forward": forward, **members})()


def settled(module):
    """The module after so many calls that its forward is a cell, or never will be one."""
    for _ in range(9):
        module(*given())
    return module


def is_cell(kind):
    return isinstance(vars(kind)["forward"], AutomaticCell)


def set_slot(module):
    module.factor = 5.0


def set_part(module):
    type(module.part).forward = lambda self, x: x * 100.0


class HasBase:
    factor = 2.0


class WithSlot(nn.Module):
    __slots__ = ("factor",)

    def __init__(self):
        self.factor = 2.0

    def forward(self, x, h):
        return ln.tanh(x * self.factor + h) * x


class WithPart(nn.Module):
    def __init__(self):
        self.part = type("Part", (nn.Module,), {"forward": lambda self, x: ln.tanh(x) * x})()

    def forward(self, x, h):
        return ln.tanh(self.part(x) + h) * x


def _closes_over_a_class():
    kind = Config
    return own(lambda self, x, h: ln.tanh(x + h) * kind.factor * x)


def _holds_a_class():
    module = own(lambda self, x, h: ln.tanh(x + h) * self.config.factor * x)
    module.config = Config
    return module


def _class_set(name, value):
    return lambda module: setattr(type(module), name, value)


STATE = {  # a module, and a change of what it reads
    "method": (
        lambda: own(lambda self, x, h: ln.tanh(x + h) * self.gate(x), gate=lambda self, x: x * 2.0),
        _class_set("gate", lambda self, x: x * 3.0),
    ),
    "property": (
        lambda: own(lambda self, x, h: ln.tanh(x + h) * self.g * x, g=property(lambda self: 2.0)),
        _class_set("g", property(lambda self: 5.0)),
    ),
    "forward of a part's class": (WithPart, set_part),
    "class in a variable": (_closes_over_a_class, lambda m: setattr(Config, "factor", 3.0)),
    "class in an attribute": (_holds_a_class, lambda m: setattr(Config, "factor", 3.0)),
    "class in an attribute of the class": (
        lambda: own(lambda self, x, h: ln.tanh(x + h) * self.config.factor * x, config=Config),
        lambda m: setattr(Config, "factor", 3.0),
    ),
    "class of another module": (
        lambda: own(lambda self, x, h: ln.tanh(x + h) * Other.factor * x),
        lambda m: setattr(Other, "factor", 3.0),
    ),
    "object of a method": (
        lambda: own(lambda self, x, h: ln.tanh(scaled(x) + h) * x),
        lambda m: setattr(scaler, "factor", 3.0),
    ),
    "attribute of a function": (
        lambda: own(lambda self, x, h: ln.tanh(with_attribute(x) + h) * x),
        lambda m: setattr(with_attribute, "factor", 3.0),
    ),
    "attribute that hides one of a base": (
        lambda: own(lambda self, x, h: ln.tanh(x + h) * self.factor * x, HasBase),
        _class_set("factor", 3.0),
    ),
    "slot": (WithSlot, set_slot),
}  # fmt: skip


@pytest.mark.parametrize("name", STATE)
def test_a_change_of_what_it_reads_is_noticed(name):
    make, change = STATE[name]
    module = settled(make())
    before = module(*given()).numpy()
    change(module)
    after = module(*given()).numpy()
    with ln.debug():  # runs op by op
        np.testing.assert_allclose(after, module(*given()).numpy(), rtol=1e-6)
    assert not np.allclose(before, after)


@pytest.mark.parametrize("made", [nn.Parameter, ln.tensor])
def test_an_object_at_the_address_of_one_that_is_gone_is_another(made):
    module = own(lambda self, x, h: ln.tanh(x + h) * self.member * x + 1.0)
    module.member = made([7.0])
    settled(module)
    for k in range(6):
        del module.member
        gc.collect()
        module.member = made([float(k)])
        after = module(*given()).numpy()
        with ln.debug():
            np.testing.assert_allclose(after, module(*given()).numpy(), rtol=1e-6)


def _watched_in_try(self, x, h):
    try:
        unknown()
    except:  # noqa: E722 # pyright: ignore
        SEEN.append(1)
    return ln.tanh(x + h) * x


def _fails_in_a_trace(self, x, h):
    try:
        positive = bool(x.sum() > 0)
    except TypeError:
        positive = False
    return ln.tanh(x + h) * x if positive else x


def _iterates(self, x, h):
    list(map(note, [1]))
    return ln.tanh(x + h) * x


def _iterates_over_print(self, x, h):
    list(map(print, [1]))
    return ln.tanh(x + h) * x


IMPURE = {
    "method of a list": lambda self, x, h: (note(1), ln.tanh(x + h) * x)[1],
    "method of a list, in map": _iterates,
    "builtin, in map": _iterates_over_print,
    "remembered result": lambda self, x, h: ln.tanh(x + h) * x * remembered(3),
    "identity": lambda self, x, h: ln.tanh(x + h) * (x if x is h else h) + x,
    "identity, by operator": lambda self, x, h: ln.tanh(x + h) * x * float(operator.is_(x, h)),
    "set of Tensors": lambda self, x, h: ln.tanh(x + h) * x * float(len({x, h})),
    "attribute by name": lambda self, x, h: operator.attrgetter("factor")(self) * ln.tanh(x + h),
    "class by its dictionary": lambda self, x, h: type(self).__dict__["factor"] * ln.tanh(x + h),
    "try": _watched_in_try,
    "try of what a trace cannot do": _fails_in_a_trace,
    "given Tensor is given back": lambda self, x, h: (ln.tanh(x + h) * x + 1.0, h),
}


@pytest.mark.parametrize("name", IMPURE)
def test_what_cannot_be_watched_stays_as_it_is(name, capsys):
    module = own(IMPURE[name], factor=2.0)
    x, h = given()
    remembered.cache_clear()
    made = [module(x, h) for _ in range(20)]
    assert not is_cell(type(module))
    seen = len(SEEN) + capsys.readouterr().out.count("1")
    happens = name.startswith(("method of a list", "builtin")) or name == "try"
    assert seen == (20 if happens else name == "remembered result")
    if isinstance(made[-1], tuple):
        assert made[-1][1] is h


def unknown():
    raise KeyError


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
