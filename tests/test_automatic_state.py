"""What a `forward` that becomes a cell by itself depends on, and what it must leave alone."""

import functools
import gc
import operator

import numpy as np
import pytest
from automatic_cells import given, is_cell, own, settled

import lazynet as ln
from lazynet import automatic, nn

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
