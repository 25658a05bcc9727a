"""A quick look tells cells whether what they read is as it was, whatever holds it."""

import array
import collections
import contextvars
import copy
import gc
import weakref

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn, purity

variable = contextvars.ContextVar("factor", default=2.0)


class Settings:
    def __init__(self, factor):
        self.factor = factor


class Plain:
    factor = 2.0


class Slotted:
    __slots__ = ("factor",)

    def __init__(self, factor):
        self.factor = factor


def set_attribute(holder, value):
    holder.factor = value


def fill(holder, value):
    holder[:] = value


def only(holder, value):
    holder.clear()
    holder.add(value)


# What holds a number, how to read it, and how to change it in place.
HOLDERS = {
    "list": ([2.0], lambda h: h[0], lambda h, v: h.__setitem__(0, v)),
    "list that grows": ([2.0], lambda h: h[-1], lambda h, v: h.append(v)),
    "list in a list": ([[1.0], [2.0]], lambda h: h[1][0], lambda h, v: h[1].__setitem__(0, v)),
    "list that is turned": ([2.0, 3.0], lambda h: h[0], lambda h, v: h.reverse()),
    "dict": ({"a": 2.0}, lambda h: h["a"], lambda h, v: h.__setitem__("a", v)),
    "keys in order": (
        {2.0: 0, 3.0: 0}, lambda h: next(iter(h)), lambda h, v: h.__setitem__(2.0, h.pop(2.0)),
    ),
    "list in a dict": ({"a": [2.0]}, lambda h: h["a"][0], lambda h, v: h["a"].insert(0, v)),
    "object": (Settings(2.0), lambda h: h.factor, set_attribute),
    "attribute over that of the class": (Plain(), lambda h: h.factor, set_attribute),
    "object in a list": ([Settings(2.0)], lambda h: h[0].factor,
                         lambda h, v: set_attribute(h[0], v)),
    "object with slots": (Slotted(2.0), lambda h: h.factor, set_attribute),
    "array": (np.array([2.0]), lambda h: float(h[0]), fill),
    "array of another shape": (
        np.array([[2.0, 3.0]]), lambda h: float(h[-1, 0]), lambda h, v: setattr(h, "shape", (2, 1)),
    ),
    "set": ({2.0}, lambda h: next(iter(h)), only),
    "deque": (collections.deque([2.0]), lambda h: h[0], lambda h, v: h.appendleft(v)),
    "machine array": (array.array("d", [2.0]), lambda h: h[0], lambda h, v: h.insert(0, v)),
    "ordered dict": (
        collections.OrderedDict(a=2.0), lambda h: h["a"], lambda h, v: h.__setitem__("a", v),
    ),
    "variable of a context": (variable, lambda h: h.get(), lambda h, v: h.set(v)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _compiled():
    for _ in range(2):
        (ln.ones(2) + 1.0).numpy()  # from here on the short ways are compiled


def noted(monkeypatch):
    """The whole states that are taken from here on."""
    taken = []
    watch = purity.Guard._watch
    monkeypatch.setattr(purity.Guard, "_watch", lambda self: (taken.append(self), watch(self)))
    return taken


@pytest.mark.parametrize("place", ["attribute", "variable"])
@pytest.mark.parametrize("name", HOLDERS)
def test_what_changes_in_place_is_noticed_and_what_does_not_is_only_looked_at(
    name, place, monkeypatch
):
    holder, read, change = HOLDERS[name]
    if holder is not variable:
        holder = copy.deepcopy(holder)

    class Scaled(nn.Module):
        def __init__(self):
            self.holder = holder

        @ln.cell
        def forward(self, x):
            return x * read(self.holder)

    @ln.cell
    def scaled(x):
        return x * read(holder)

    function = Scaled() if place == "attribute" else scaled
    x = ln.ones(3) * 1.0

    def check():
        for _ in range(2):
            np.testing.assert_allclose(function(x).numpy(), np.full(3, read(holder)))
        with monkeypatch.context() as patch:
            taken = noted(patch)
            for _ in range(5):
                function(x)
                Elsewhere.other = Settings(1.0)  # another module changes, too
        assert not taken

    check()
    before, token = read(holder), variable.set(2.0)
    change(holder, 3.0)
    assert read(holder) != before
    check()
    variable.reset(token)


class _Elsewhere(nn.Module):
    pass


Elsewhere = _Elsewhere()


def test_a_module_that_notes_what_it_saw_leaves_its_cells_alone(monkeypatch):
    class Reader(nn.Module):
        def __init__(self):
            self.cell = nn.GRUCell(3, 3)

        def forward(self, rows):
            self.state = ln.zeros(3)
            for x in rows:
                self.state = self.cell(x, self.state)
            return self.state

    reader, rows = Reader(), ln.rand(3, length=4)
    first = reader(rows).numpy()
    reader(rows).numpy()
    taken = noted(monkeypatch)
    np.testing.assert_array_equal(reader(rows).numpy(), first)
    assert not taken
    reader.cell.weight_hh = ln.Parameter(np.zeros((9, 3), np.float32))
    assert not np.allclose(reader(rows).numpy(), first)
    assert taken


def test_what_a_cell_looks_at_does_not_keep_its_module():
    class Helper:
        def __init__(self, model):
            self.model = model

    class Model(nn.Module):
        def __init__(self, kind):
            self.layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
            self.settings = {"factor": 2.0}
            if kind == "back":
                self.helper = Helper(self)
            if kind == "list":
                self.every = [Settings(self)]
            if kind == "function":
                self.functions = [lambda x: x * self.settings["factor"]]

        @ln.cell
        def forward(self, x):
            for layer in self.layers:
                x = layer(x) * self.settings["factor"]
            return x

    for kind in ("plain", "back", "list", "function"):
        model = Model(kind)
        for _ in range(3):
            model(ln.ones(2)).numpy()
        gone = weakref.ref(model)
        del model
        gc.collect()
        assert gone() is None, kind


def test_counts_of_modules_go_with_them():
    from lazynet import snapshot

    before = len(snapshot._counters)
    cell = nn.GRUCell(3, 3)
    cell(ln.zeros(3), ln.zeros(3)).numpy()
    assert len(snapshot._counters) == before + 1
    del cell
    gc.collect()
    assert len(snapshot._counters) <= before


# -- functions that get other code in place, as reloading them does --------------------------------


def times(x, by=2.0, *, more=1.0):
    return x * by * more


def tripled(x, by=2.0, *, more=1.0):
    return x * 3.0


def counted(x, by=2.0, *, more=1.0):
    return x * settings.factor


settings = Settings(5.0)


class Times(nn.Module):
    @ln.cell
    def forward(self, x):
        return self.own(x) + times(x)

    def own(self, x):
        return x * 1.0


CHANGED = {
    "code": lambda: setattr(times, "__code__", tripled.__code__),
    "defaults": lambda: setattr(times, "__defaults__", (3.0,)),
    "keywords": lambda: setattr(times, "__kwdefaults__", {"more": 1.5}),
}


@pytest.fixture
def as_before():
    code, defaults, keywords = times.__code__, times.__defaults__, times.__kwdefaults__
    own = Times.own.__code__
    yield
    times.__code__, times.__defaults__, times.__kwdefaults__ = code, defaults, keywords
    Times.own.__code__ = own


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
@pytest.mark.parametrize("kind", ["function", "method", "scan"])
def test_a_function_that_is_changed_in_place_is_seen(change, kind, as_before):
    def step(x, states):
        return (times(x),)

    x = ln.ones(1)
    cell, module = ln.cell(lambda x: times(x) + 1.0), Times()
    found = {
        "function": lambda: cell(x).item(),
        "method": lambda: module(x).item(),
        "scan": lambda: ln.scan(step, (x,), ln.stack([x]))[0].numpy().item() + 1.0,
    }[kind]
    assert [found() for _ in range(3)] == [3.0, 3.0, 3.0]
    change()
    assert [found() for _ in range(3)] == [4.0, 4.0, 4.0]


def test_what_the_new_code_reads_is_watched(as_before, monkeypatch):
    cell, x = ln.cell(lambda x: times(x)), ln.ones(1)
    assert [cell(x).item() for _ in range(2)] == [2.0, 2.0]
    times.__code__ = counted.__code__
    assert [cell(x).item() for _ in range(2)] == [5.0, 5.0]
    monkeypatch.setattr(settings, "factor", 6.0)
    assert [cell(x).item() for _ in range(2)] == [6.0, 6.0]
    times.__code__ = tripled.__code__
    assert [cell(x).item() for _ in range(2)] == [3.0, 3.0]


def test_methods_and_the_function_itself_are_seen_too(as_before):
    module, x = Times(), ln.ones(1)
    assert [module(x).item() for _ in range(3)] == [3.0, 3.0, 3.0]
    Times.own.__code__ = (lambda self, x: x * 2.0).__code__
    assert [module(x).item() for _ in range(3)] == [4.0, 4.0, 4.0]

    def plain(x):
        return x * 1.0

    cell = ln.cell(plain)
    assert [cell(x).item() for _ in range(2)] == [1.0, 1.0]
    plain.__code__ = (lambda x: x * 7.0).__code__
    assert [cell(x).item() for _ in range(2)] == [7.0, 7.0]
