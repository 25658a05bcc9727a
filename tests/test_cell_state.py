"""Cells see every change of what they read, and take no argument whose changes they do not see."""

import array
import collections
import contextvars
import dataclasses
import enum
import functools
import gc
import types
import weakref
from typing import ClassVar

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn


def value(x=1.0):
    return ln.tensor(np.array([x]), requires_grad=True)


class Plain:
    scale = 2.0

    def __init__(self, k=2.0):
        self.k = k

    @property
    def doubled(self):
        return self.k * FACTOR[0]

    def times(self, x):
        return x * (self.k * FACTOR[0])

    def __mul__(self, x):
        return x * (self.k * FACTOR[0])


class Slots:
    __slots__ = ("k",)

    def __init__(self):
        self.k = 2.0


class Holds:
    def __init__(self):
        self.inner = Plain()


class Table(dict):
    """A container with more than it contains."""

    scale = 2.0

    def times(self, x):
        return x * FACTOR[0]


class Made:
    def __init__(self):
        self.k = FACTOR[0]


class Tripled(nn.Module):
    def forward(self, x):
        return x * 3.0


class Net(nn.Module):
    """A module that is no cell, called by one."""

    def forward(self, x):
        return x * FACTOR[0] * Plain.scale


@functools.wraps(ln.tanh)
def wrapping(x):
    return ln.tanh(x) * FACTOR[0]


FACTOR = [1.0]
ACTIVATION = ln.tanh
VARIABLE = contextvars.ContextVar("VARIABLE", default=2.0)
WEIGHT = nn.Parameter([2.0])


def changing(name):
    """A function that reads Python state, and a change of that state."""
    plain, slots, holds, net = Plain(), Slots(), Holds(), Net()
    table, chars, numbers = {"k": 2.0}, bytearray(b"ab"), array.array("d", [2.0])
    queue, weights = collections.deque([2.0]), [2.0]
    part = functools.partial(lambda held, x: x * held[0], weights)
    own, objects, reference = Table(), np.array([Plain()], object), weakref.ref(plain)
    own.k, parts = 2.0, nn.ModuleList([Tripled(), Net()])
    get, proxy, items = table.get, types.MappingProxyType(table), table.values()
    return {
        "slots": (lambda x: x * slots.k, lambda: setattr(slots, "k", 3.0)),
        "a property": (lambda x: x * plain.doubled, lambda: FACTOR.__setitem__(0, 5.0)),
        "a method": (lambda x: plain.times(x), lambda: FACTOR.__setitem__(0, 6.0)),
        "an operator": (lambda x: plain * x, lambda: FACTOR.__setitem__(0, 7.0)),
        "a method of what is held": (
            lambda x: holds.inner.times(x), lambda: FACTOR.__setitem__(0, 8.0),
        ),
        "an attribute of a class": (
            lambda x: x * plain.scale, lambda: setattr(Plain, "scale", 4.0),
        ),
        "a module's forward": (lambda x: net(x), lambda: FACTOR.__setitem__(0, 9.0)),
        "another class": (
            lambda x: x * plain.scale,
            lambda: setattr(plain, "__class__", type("Other", (Plain,), {"scale": 11.0})),
        ),
        "another class, later": (
            lambda x: x * holds.inner.scale,
            lambda: setattr(holds, "inner", type("Other", (), {"scale": 12.0})()),
        ),
        "a partial": (lambda x: part(x), lambda: weights.__setitem__(0, 3.0)),
        "a method of a dict": (lambda x: x * get("k"), lambda: table.update(k=3.0)),
        "a proxy": (lambda x: x * proxy["k"], lambda: table.update(k=4.0)),
        "a view": (lambda x: x * sum(items), lambda: table.update(k=5.0)),
        "a deque": (lambda x: x * queue[0], lambda: queue.append(queue.popleft() + 1.0)),
        "a bytearray": (lambda x: x * float(chars[0]), lambda: chars.__setitem__(0, 1)),
        "an array": (lambda x: x * numbers[0], lambda: numbers.__setitem__(0, 3.0)),
        "a context variable": (lambda x: x * VARIABLE.get(), lambda: VARIABLE.set(3.0)),
        "an attribute of a container": (lambda x: x * own.k, lambda: setattr(own, "k", 3.0)),
        "a class of containers": (lambda x: x * own.scale, lambda: setattr(Table, "scale", 13.0)),
        "a method of a container": (
            lambda x: own.times(x), lambda: FACTOR.__setitem__(0, 10.0),
        ),
        "an object in an array": (
            lambda x: x * objects[0].k, lambda: setattr(objects[0], "k", 3.0),
        ),
        "an object behind a weak reference": (
            lambda x: x * reference().k, lambda: setattr(plain, "k", 3.0),
        ),
        "what makes an object": (lambda x: x * Made().k, lambda: FACTOR.__setitem__(0, 11.0)),
        "a class of a module": (
            lambda x: parts[0](x) + parts[1](x), lambda: setattr(parts[0], "__class__", Net),
        ),
        "what wraps a function of ours": (
            lambda x: wrapping(x), lambda: FACTOR.__setitem__(0, 12.0),
        ),
        "a name of a function of ours": (
            lambda x: ACTIVATION(x), lambda: globals().update(ACTIVATION=ln.relu),
        ),
    }[name]  # fmt: skip


NAMES = [
    "slots", "a property", "a method", "an operator", "a method of what is held",
    "an attribute of a class", "a module's forward", "another class", "another class, later",
    "a partial", "a method of a dict", "a proxy", "a view", "a deque", "a bytearray", "an array",
    "a context variable", "an attribute of a container", "a class of containers",
    "a method of a container", "an object in an array", "an object behind a weak reference",
    "what makes an object", "a class of a module", "what wraps a function of ours",
    "a name of a function of ours",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_change_is_seen(name, monkeypatch):
    monkeypatch.setattr(Plain, "scale", 2.0)
    monkeypatch.setattr(Table, "scale", 2.0)
    monkeypatch.setitem(globals(), "ACTIVATION", ln.tanh)
    FACTOR[0] = 1.0
    function, change = changing(name)
    cell, x = ln.cell(function), value(1.5)

    def run():
        for _ in range(2):
            assert cell(x).item() == function(x).item()
        return cell(x).item()

    before = run()
    contextvars.copy_context().run(lambda: (change(), setattr(run, "after", run())))
    assert run.after != before


class Kind(enum.Enum):
    LEFT = 1
    RIGHT = 2

    def times(self, x):
        return x * FACTOR[0]


@dataclasses.dataclass(frozen=True)
class Options:
    shared: ClassVar[float] = 1.0
    scale: float
    kind: Kind = Kind.LEFT

    def times(self, x):
        return x * FACTOR[0]


class Pair(collections.namedtuple("Pair", "h c")):
    factor = 1.0

    def times(self, x):
        return x * self.factor


def by_factor(x):
    return x * FACTOR[0]


class Member(nn.Module):
    """A module with a member that it calls."""

    def __init__(self, member):
        self.member = member

    def forward(self, x):
        return self.member(x)


class OfClass:
    k = 1.0

    @classmethod
    @ln.cell
    def times(cls, x):
        return x * cls.k


class ModuleClass(nn.Module, OfClass):
    pass


def _importing(x):
    from test_cell_state import FACTOR as imported

    return x * imported[0]


def _closing():
    held = [1.0]
    function = lambda x: x * held[0]  # noqa: E731
    return Member(function), lambda: held.__setitem__(0, 2.0)


def _rebinding():
    held = 1.0

    def change():
        nonlocal held
        held = 2.0

    return Member(lambda x: x * held), change


def _replaced():
    module = Member(ln.tanh)
    ln.cell(module.forward)(value())
    module.member = by_factor
    return module, change_factor


def change_factor():
    FACTOR[0] = 2.0


CALLED = {  # what code is found in, and a change of what that reads
    "an attribute": lambda: (Member(by_factor), change_factor),
    "an attribute that closes over a list": _closing,
    "an attribute that closes over a number": _rebinding,
    "an attribute that took another's place": _replaced,
    "a partial that is an attribute": lambda: (Member(functools.partial(by_factor)), change_factor),
    "a list": lambda listed=(by_factor,): (lambda x: listed[0](x), change_factor),
    "an argument of a class": lambda: (
        lambda x, held=Options(1.0): held.times(x), change_factor,
    ),
    "an argument that is a kind": lambda: (lambda x, kind=Kind.LEFT: kind.times(x), change_factor),
    "a named tuple": lambda pair=Pair(1, 2): (  # noqa: B008
        lambda x: pair.times(x), lambda: setattr(Pair, "factor", 2.0),
    ),
    "a module that it imports itself": lambda: (_importing, change_factor),
    "a class, by name": lambda held=Options(1.0): (
        lambda x: x * getattr(held, "shared", 1.0), lambda: setattr(Options, "shared", 2.0),
    ),
    "a method of a class": lambda: (OfClass.times, lambda: setattr(OfClass, "k", 2.0)),
    "a method of a class of modules": lambda: (
        ModuleClass.times, lambda: setattr(ModuleClass, "k", 2.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLED)
def test_a_change_of_what_found_code_reads_is_seen(name, monkeypatch):
    monkeypatch.setattr(OfClass, "k", 1.0)
    monkeypatch.setattr(Pair, "factor", 1.0)
    monkeypatch.setattr(Options, "shared", 1.0)
    FACTOR[0] = 1.0
    function, change = CALLED[name]()
    cell = ln.cell(getattr(function, "forward", function))
    assert [cell(value(1.5)).item() for _ in range(2)] == [1.5, 1.5]
    change()
    assert [cell(value(1.5)).item() for _ in range(2)] == [3.0, 3.0]


@pytest.mark.parametrize("given", [Options(1.0), Kind.LEFT, Pair(1, 2), OfClass])
def test_a_change_of_what_methods_of_arguments_read_is_seen(given, monkeypatch):
    monkeypatch.setattr(OfClass, "k", 1.0)
    monkeypatch.setattr(Pair, "factor", 1.0)
    FACTOR[0] = 1.0
    plain = {OfClass: lambda x, held: x * held.k}.get(given, lambda x, held: held.times(x))
    cell = ln.cell(plain)
    assert [cell(value(1.5), given).item() for _ in range(2)] == [1.5, 1.5]
    FACTOR[0] = OfClass.k = Pair.factor = 2.0
    assert [cell(value(1.5), given).item() for _ in range(2)] == [3.0, 3.0]


class Own(nn.Module):
    def __init__(self):
        self.first = lambda x: x * self.k
        self.second = lambda x, own=self: x * own.k
        self.k = 2.0

    @ln.cell
    def forward(self, x):
        return self.second(self.first(x))


def test_a_module_dies_with_functions_that_hold_it():
    module = Own()
    assert module(value()).item() == 4.0
    module.k = 3.0
    assert module(value()).item() == 9.0
    gone = weakref.ref(module)
    del module
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("way", [ln.cell, ln.checkpoint])
@pytest.mark.parametrize("kind", [Plain, Own])
def test_a_cell_of_a_method_sees_changes_of_its_object_and_holds_it(way, kind):
    FACTOR[0] = 1.0
    owner = kind()
    cell = way(owner.times if kind is Plain else owner.forward)
    before = cell(value()).item()
    owner.k = 5.0
    assert cell(value()).item() == (5.0 if kind is Plain else 25.0) != before
    del owner
    gc.collect()
    assert cell(value()).item() == (5.0 if kind is Plain else 25.0)


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (lambda x, k: x * float(k), [1, True, 1.0, np.float32(3), np.bool_(True), float("nan")]),
        (lambda x, k: x * (2.0 if k is True else 3.0), [1, True, 1.0]),
        (lambda x, k: x * float(sum(k)), [[1, 2], [True, 2], (1, 2), [], frozenset({5}), range(3)]),
        (lambda x, k: x * k.scale * float(k.kind.value), [Options(2.0), Options(2.0, Kind.RIGHT)]),
        (lambda x, k: k(x), [ln.tanh, ln.sin, abs]),
        (lambda x, k: k.h * x - k.c, [Pair(value(), value(2.0)), Pair(value(3.0), value(4.0))]),
        (lambda x, k: x[k], [slice(None), slice(0, 1), 0, ..., None]),
    ],
    ids=["numbers", "True is not 1", "of numbers", "frozen", "functions of ours", "named", "index"],
)  # fmt: skip
def test_values_of_python_make_another_kind_of_call(function, given):
    cell, x = ln.cell(function), value(0.5)
    for _ in range(2):
        for k in given:
            np.testing.assert_array_equal(cell(x, k).numpy(), function(x, k).numpy())


def test_keywords_are_seen_in_their_order():
    @ln.cell
    def ordered(x, **named):
        return sum((v * (k + 1.0) for k, v in enumerate(named.values())), x)

    for _ in range(2):
        assert ordered(value(), a=value(2.0), b=value(3.0)).item() == 9.0
        assert ordered(value(), b=value(3.0), a=value(2.0)).item() == 8.0


@pytest.mark.parametrize(
    "given",
    [np.ones(2), {1, 2}, Plain(), Net(), lambda x: x, nn.Linear(1, 1), [np.ones(2)], iter([1]),
     Options(np.ones(1)), functools.partial(ln.tanh), collections.OrderedDict(a=1)],
    ids=["array", "set", "object", "module", "function", "linear", "in a list", "iterator",
         "frozen around an array", "partial", "ordered dict"],
)  # fmt: skip
def test_arguments_that_may_change_unseen_are_refused(given):
    @ln.cell
    def taking(x, other):
        return x * 2.0

    with pytest.raises(TypeError, match=r"taking: an argument of type \w+ may change without"):
        taking(value(), given)
    assert taking(value(), 3).item() == 2.0


@pytest.mark.parametrize(
    ("question", "name"),
    [
        (lambda x: x.requires_grad, "requires_grad"),
        (lambda x: x.is_leaf, "is_leaf"),
        (lambda x: x.grad is None, "grad"),
        (lambda x: ln.is_grad_enabled(), r"ln.is_grad_enabled\(\)"),
        (lambda x: WEIGHT.item() > 1.0, "the value of a parameter"),
        (lambda x: WEIGHT.reshape(1, 1).tolist() == [[2.0]], "the value of a parameter"),
        (lambda x: np.linalg.norm(WEIGHT.detach()) > 1.0, "requires_grad"),
        (lambda x: WEIGHT.requires_grad, "requires_grad"),
        (lambda x: WEIGHT.grad is None, "grad"),
    ],
    ids=["requires_grad", "is_leaf", "grad", "is_grad_enabled", "a parameter's value",
         "a view of a parameter", "numpy", "a parameter's requires_grad", "a parameter's grad"],
)  # fmt: skip
def test_what_differs_from_call_to_call_cannot_be_asked_for(question, name):
    question(WEIGHT)  # outside it can

    @ln.cell
    def asking(x):
        return x * 2.0 if question(x) else x

    with pytest.raises(TypeError, match=f"asking: {name} cannot be asked for"):
        asking(value())
    with ln.debug():
        asking(value())
    assert ln.is_grad_enabled()


class State:
    def __init__(self, h):
        self.h = h


@pytest.mark.parametrize(
    ("made", "kind"),
    [(lambda x: (v for v in [x]), "generator"), (lambda x: State(x), "State"),
     (lambda x: {x}, "set"), (lambda x: (x, lambda: x), "function")],
    ids=["generator", "object", "set", "function"],
)  # fmt: skip
def test_results_that_hold_what_cannot_be_made_anew_are_refused(made, kind):
    @ln.cell
    def giving(x):
        return made(x * 2.0)

    with pytest.raises(TypeError, match=f"giving: gives a {kind}"):
        giving(value())


def test_rows_of_a_matrix_may_be_taken_inside():
    cell = ln.cell(lambda x: ln.sum(ln.sequence(x) * 2.0, 0))
    assert cell(ln.tensor(np.ones((3, 2)))).tolist() == [6.0, 6.0]
    assert cell(ln.tensor(np.ones((3, 2))) * 2.0).tolist() == [12.0, 12.0]


def test_arrays_in_results_are_made_anew():
    cell = ln.cell(lambda x: (x, np.zeros(2)))
    cell(value())[1][0] = 5.0
    assert cell(value())[1].tolist() == [0.0, 0.0]


def test_a_cell_without_rows_gives_none_under_debug_too():
    cell = ln.cell(lambda x, y: (x * y, ln.sum(x)))
    with ln.debug():
        product, total = cell(ln.sequence(np.ones((3, 2)))[:0], ln.ones(2, dtype="float64"))
    assert (product.shape, total.shape) == ((0, 2), (0,))


def test_a_method_called_by_its_class_sees_changes_of_its_object():
    class Scaled:
        def __init__(self):
            self.k = 2.0

        @ln.cell
        def times(self, x):
            return x * self.k

    class More(Scaled):
        @ln.cell
        def times(self, x):
            return Scaled.times(self, x) + 1.0

    for kind, extra in ((Scaled, 0.0), (More, 1.0)):
        scaled = kind()
        for k in (2.0, 5.0, 2.0):
            scaled.k = k
            assert kind.times(scaled, value()).item() == scaled.times(value()).item() == k + extra


def test_bases_behind_a_definition_cost_nothing_and_are_seen_through_super():
    class First(nn.Module):
        def factor(self):
            return 2.0

    class Middle(First):
        pass

    class Plain(Middle):
        @ln.cell
        def forward(self, x):
            return ln.tanh(x)

    class Last(Middle):
        def factor(self):
            return super().factor() + 1.0

        @ln.cell
        def forward(self, x):
            return x * self.factor()

    x = ln.tensor([1.0, 2.0])
    plain, last = Plain(), Last()
    for _ in range(2):
        assert plain(x).shape == (2,)
        assert last(x).tolist() == [3.0, 6.0]
    _, _, _, functions, *others = plain.forward.states.guard.watched
    assert len(functions) == 1 and not any(others)  # its own code, and one count
    Middle.factor = lambda self: 10.0
    assert last(x).tolist() == [11.0, 22.0]
