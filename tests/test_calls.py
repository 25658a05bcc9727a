"""The short way of calling cells: the tape of the long way, and every change of state noticed."""

import collections
import sys

import numpy as np
import pytest
from checks import counts_references

import lazynet as ln
from lazynet import quick, quick_calls
from lazynet.cell import Cell

Pair = collections.namedtuple("Pair", "a b")


@ln.cell
def nested(x, state=None, scale=1.0, name="no", parts=(), also=True):
    y = x * scale if also else x
    if state is not None:
        h, (c,) = state
        y = y + h * c
    for part in parts:
        y = y - part
    return y + 1.0 if name == "yes" else y


@ln.cell
def many(x, children):
    total = ln.sum(ln.sequence(children)) if children else x
    return {"sum": total + x, "both": [x * 2.0, Pair(x, total)]}


@ln.cell
def two(x, y):
    return x + y, x * y


@ln.cell
def joined(x, items):
    return ln.tanh(ln.sum([item * 0.5 for item in items])) + x


@pytest.fixture
def x():
    for _ in range(2):
        value = ln.tanh(ln.tensor([0.5, -1.0, 2.0]))
        value.numpy()  # from here on the short ways are compiled
    return value


def program(x):
    y, z = x + 1.0, x * 2.0
    made = [nested(x), nested(x, (y, (z,))), nested(x, None, 0.0), nested(x, None, -0.0)]
    made += [nested(x, None, 2), nested(x, None, 2.0), nested(x, None, float("inf"))]
    made += [nested(x, None, 1.0, "yes"), nested(x, None, 1.0, "yes", (), False)]
    made += [nested(x, None, 1.0, "no", [y]), nested(x, None, 1.0, "no", (y, z))]
    made += [nested(x, (y, (z,)), 1.0, "no", []), *two(x, y)]
    for count in range(4):
        found = many(x, [y, z, y][:count])
        assert list(found) == ["sum", "both"] and type(found["both"][1]) is Pair
        made += [found["sum"], found["both"][0], *found["both"][1]]
        made += [joined(x, [y, z, y][:count])] if count else []
    return made


def tape_of(x):
    graph = x.graph
    before, first = len(graph.tape), graph.values
    made = program(x)
    return np.frombuffer(bytes(graph.tape[before:]), np.int32), first, made


def test_a_call_writes_what_the_long_way_writes(x, monkeypatch):
    for _ in range(2):  # kinds and numbers are met, and all lengths of lists
        program(x)
        ln.forward()
    with monkeypatch.context() as patch:
        patch.setattr(Cell, "_record", refuse)
        short, first, values = tape_of(x)
    ln.forward()
    monkeypatch.setattr(quick.Short, "record", lambda *_: None)
    long, later, others = tape_of(x)
    assert len(short) > 60 and set((long - short).tolist()) == {0, later - first}
    assert [y.id - first for y in values] == [y.id - later for y in others]
    assert [y.type for y in values] == [y.type for y in others]
    for value, other in zip(values, others, strict=True):
        np.testing.assert_array_equal(value.numpy(), other.numpy())
    assert np.signbit(values[3].numpy()).tolist() == [True, False, True]


def refuse(*_):
    raise AssertionError("the long way")


def test_other_calls_go_the_long_way(x, monkeypatch):
    nested(x, (x, (x,)))
    monkeypatch.setattr(Cell, "_record", refuse)
    nested(x, (x, (x,)))
    wide = ln.tensor([1.0, 2.0])
    for arguments in [
        (x, (x, x)), (x, [x, (x,)]), (x, (x, (x, x))), (x, (x, (None,))), (x, None, 3.0), (x, x),
        (x, (x, (wide,))), (x, (x, (x,)), True), (x, (x, (x,)), 1.0, "yes"), (1.0, (x, (x,))),
    ]:  # fmt: skip
        with pytest.raises(AssertionError, match="the long way"):
            nested(*arguments)


def test_references_are_counted(x):
    y, items, scale, name = x + 1.0, [x, x + 2.0], float("2.25"), "".join(["y", "es"])
    state = (y, (x,))

    def work():
        for _ in range(50):
            nested(x, state, scale, name), many(x, items), two(x, y), joined(x, items)
            nested(y, state, scale, name, items), nested(x, None, 2.5), joined(y, [x])

    work()
    kinds = nested.states.now.kinds
    things = [x, y, items, scale, name, state, state[1], x.type, x.graph, kinds, kinds[0], None]
    things += [nested.states.guard, nested.states.guard.watched, many.states.now.kinds[-1][3]]
    counts_references(work, things)


def test_a_result_that_cannot_be_built_raises_what_it_raised(x):
    class Odd(tuple):
        def __new__(cls, *parts):
            return super().__new__(cls, parts)

    @ln.cell
    def odd(x):
        return Odd(x, x * 2.0)

    for _ in range(3):
        assert type(odd(x)) is Odd

    def fail(cls, *parts):
        raise OverflowError("no room")

    Odd.__new__ = fail
    for _ in range(2):
        with pytest.raises(OverflowError, match="no room"):
            quick_calls.calls.record(None, odd.states.now.kinds, x)
    ln.forward()


FACTOR = 2.0


def test_what_a_cell_reads_is_looked_at_in_every_call(x, monkeypatch):
    offset = 1.0

    class Scaled(ln.nn.Module):
        power = 3.0

        def __init__(self):
            self.shift = 0.5

        @ln.cell
        def forward(self, x):
            return x * FACTOR + offset + self.shift + self.power

    module = Scaled()

    def check():
        for _ in range(3):
            wanted = x.numpy() * FACTOR + offset + module.shift + module.power
            np.testing.assert_allclose(module(x).numpy(), wanted, rtol=1e-6)

    check()
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 3.0)
    check()
    offset = 5.0
    check()
    module.shift = 1.5
    check()
    Scaled.power = 7.0
    check()
    module.power = 8.0
    check()
    del module.power
    check()
    del Scaled.power
    with pytest.raises(AttributeError):
        module(x)
    Scaled.power = 7.0
    check()


def test_a_variable_that_is_gone_is_noticed(x):
    offset = 1.0

    @ln.cell
    def shifted(x):
        return x + offset

    for _ in range(3):
        shifted(x)
    del offset
    with pytest.raises(NameError, match="offset"):
        shifted(x)
    offset = 2.0
    np.testing.assert_allclose(shifted(x).numpy(), x.numpy() + 2.0)


def test_arguments_by_name_are_those_by_position(x, monkeypatch):
    nested(x, (x, (x,)), 2.0)
    nested(x)
    monkeypatch.setattr(Cell, "_record", refuse)
    for named in (
        nested(x, state=(x, (x,)), scale=2.0), nested(scale=2.0, x=x, state=(x, (x,))), nested(x=x)
    ):  # fmt: skip
        assert isinstance(named, ln.Tensor)
    with pytest.raises(AssertionError, match="the long way"):
        nested(x, scale=2.0)  # what lies between keeps its default


def test_mistakes_with_names_are_told_as_python_does(x):
    @ln.cell
    def f(a, /, b, *, c=1.0):
        return a * b + c

    np.testing.assert_allclose(f(x, b=x).numpy(), x.numpy() ** 2 + 1.0, rtol=1e-6)
    np.testing.assert_allclose(f(x, b=x, c=2.0).numpy(), x.numpy() ** 2 + 2.0, rtol=1e-6)
    for call, words in {
        lambda: f(a=x, b=x): "positional-only", lambda: f(x, x, b=x): "multiple values",
        lambda: f(x, d=x): "unexpected keyword", lambda: f(x, c=2.0): "missing 1 required",
    }.items():  # fmt: skip
        with pytest.raises(TypeError, match=words):
            call()
