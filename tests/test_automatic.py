"""A `forward` that is called often becomes a cell by itself, if it is proven to be pure."""

import copy
import functools
import inspect
import pickle
import random
import sys

import numpy as np
import pytest

import lazynet as ln
from lazynet import automatic, nn
from lazynet.automatic import AutomaticCell

FACTOR = 2.0
SEEN = []


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Classes made in these tests are looked at after five calls."""
    monkeypatch.setattr(automatic, "CALLS", 5)
    SEEN.clear()


def doubled(x):
    return x * FACTOR


def gates(self, x, h):
    z = ln.sigmoid(self.a(x) + self.b(h))
    return z * h + (1.0 - z) * ln.tanh(x)


def pure_forwards():
    """Bodies of `forward` that become cells."""

    def with_helper(self, x, h):
        return doubled(ln.tanh(self.a(x) + h)) + x

    def with_loop(self, x, h):
        for layer in (self.a, self.b):
            h = ln.relu(layer(h) + x)
        return h

    def with_local_list(self, x, h):
        parts = []
        for layer in (self.a, self.b):
            parts.append(ln.tanh(layer(x)))
        return sum(parts) + h

    def with_comprehension(self, x, h):
        a, b = (ln.tanh(layer(x)) for layer in (self.a, self.b))
        return a * b + h

    def with_property(self, x, h):
        return ln.tanh(x * self.scale) + h * self.offset

    def with_branch(self, x, h):
        y = ln.tanh(self.a(x))
        return y * h if self.training else y + h

    def with_reduce(self, x, h):
        return functools.reduce(lambda a, b: ln.tanh(a * b), [x, h, self.a(x)])

    def with_check(self, x, h):
        if x.shape != h.shape:
            raise ValueError(f"shapes {x.shape} and {h.shape}")
        return ln.tanh(x + h) * x

    def with_an_object(self, x, h):
        return ln.tanh(x + h) * self.options.factor

    def with_numbers_of_numpy(self, x, h):
        return ln.tanh(x + h) * np.exp(h) / np.sqrt(3.0) * np.float32(2.0)

    def with_lists(self, x, h):
        for layer in self.layers[0]:
            h += ln.tanh(layer(x)) * self.settings["factors"][0]
        return h * len(self.layers)

    own = locals()
    return {"gates": gates, **own}


def impure_forwards():
    """Bodies that stay as they are."""

    def prints(self, x, h):
        print("called")
        return ln.tanh(x + h) * x

    def counts(self, x, h):
        self.calls += 1
        return ln.tanh(x + h) * x

    def remembers(self, x, h):
        self.log.append(1)
        return ln.tanh(x + h) * x

    def remembers_by_adding(self, x, h):
        log = self.log
        log += [1]
        return ln.tanh(x + h) * x

    def remembers_by_mapping(self, x, h):
        return ln.tanh(x + h) * x * len(list(map(self.log.append, [1])))

    def remembers_in_a_dict(self, x, h):
        notes = self.notes
        notes |= {len(notes): 1}
        return ln.tanh(x + h) * x

    def remembers_globally(self, x, h):
        SEEN.append(1)
        return ln.tanh(x + h) * x

    def draws_in_python(self, x, h):
        return ln.tanh(x + h) * random.random()

    def draws_in_numpy(self, x, h):
        return ln.tanh(x + h) * float(np.random.rand())

    def reads_of_numpy(self, x, h):
        return ln.tanh(x + h) * float(np.ones(3).sum())

    def hands_numpy_on(self, x, h):
        library = np
        return ln.tanh(x + h) * library.sqrt(2.0)

    def looks(self, x, h):
        return ln.tanh(x + h) * x if x.sum().item() > 0 else x

    def takes_from_an_iterator(self, x, h):
        return ln.tanh(x + h) * next(self.numbers)

    def goes_over_an_iterator(self, x, h):
        for number in self.numbers:
            return ln.tanh(x + h) * number

    def asks_for_mode(self, x, h):
        return ln.tanh(x + h) * (x if ln.is_grad_enabled() else h)

    def reads_by_name(self, x, h):
        return ln.tanh(x + h) * getattr(self, "factor" + "_of_class")

    def shows(self, x, h):
        return ln.tanh(x + h) * len(f"{x}")

    def writes_a_closure(self, x, h):
        def inner():
            nonlocal x
            x = x + 1.0

        inner()
        return outside(ln.tanh(x + h) * x)

    count = 0

    def outside(x):
        nonlocal count
        count += 1
        return x

    def hooks_in(self, x, h):
        y = ln.tanh(x + h)
        y.register_hook(lambda g: None)
        return y * x

    def makes_a_constant(self, x, h):
        return ln.tanh(x + h) * ln.tensor([1.0, 2.0, 3.0])

    def gives_a_list_of_its_own(self, x, h):
        return (ln.tanh(x + h) * x, self.log)

    own = locals()
    return {name: f for name, f in own.items() if callable(f) and name != "outside"}


class Options:
    factor = 3.0


def made(forward):
    """A module of a class of its own with that forward."""

    def __init__(self):
        ln.manual_seed(0)
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.calls, self.log, self.numbers = 0, [], iter(range(1000))
        self.options, self.settings, self.notes = Options(), {"factors": [0.5, 3.0]}, {}
        self.layers = [[self.a, self.b]]
        for name in ("calls", "log", "numbers", "options", "settings", "notes", "layers"):
            if name not in forward.__code__.co_names:
                delattr(self, name)

    members = {
        "__init__": __init__, "forward": forward, "factor_of_class": 4.0, "offset": 0.5,
        "scale": property(lambda self: self.factor_of_class * 2.0),
    }  # fmt: skip
    return type("Own", (nn.Module,), members)()


def step(module, seed=0):
    """Values and gradients of a few calls that follow each other, and of one more."""
    rng = np.random.default_rng(seed)
    x, h = (ln.tensor(rng.normal(size=3).astype("float32"), requires_grad=True) for _ in range(2))
    module.zero_grad()
    y = h
    for _ in range(3):
        made = module(x, y)
        y = made[0] if isinstance(made, tuple) else made
    y.sum().backward()
    own = [p.grad.numpy() for p in module.parameters() if p.grad is not None]
    return [y.numpy(), x.grad.numpy(), *own]


def is_cell(module):
    return isinstance(vars(type(module))["forward"], AutomaticCell)


def same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", pure_forwards())
def test_a_pure_forward_becomes_a_cell_with_the_same_results(name):
    module = made(pure_forwards()[name])
    before = step(module)
    for _ in range(4):
        same(step(module), before)
    assert is_cell(module)
    assert type(module).forward._home.refused is None
    x = ln.zeros(3)
    nodes = x.graph.values
    module(x, x)
    assert x.graph.values == nodes + 1


@pytest.mark.parametrize("name", impure_forwards())
def test_what_is_not_proven_to_be_pure_stays_as_it_is(name):
    module = made(impure_forwards()[name])
    for _ in range(4):
        step(module)
    assert not is_cell(module)
    assert "__call__" not in vars(type(module))


def test_nothing_happens_while_an_impure_forward_is_looked_at(capsys):
    forwards = impure_forwards()
    found = {
        "prints": lambda m: capsys.readouterr().out.count("called"),
        "remembers": lambda m: len(m.log),
        "remembers_by_adding": lambda m: len(m.log),
        "remembers_by_mapping": lambda m: len(m.log),
        "remembers_in_a_dict": lambda m: len(m.notes),
        "counts": lambda m: m.calls,
    }
    for name, happened in found.items():
        module = made(forwards[name])
        for _ in range(20):
            module(ln.zeros(3), ln.zeros(3))
        assert happened(module) == 20, name
        assert not is_cell(module)


class Blend(nn.Module):
    """Reads an attribute, an attribute of its class, a global and a helper."""

    weight = 1.0

    def __init__(self):
        self.a, self.share = nn.Linear(3, 3), 0.5
        self.options, self.factors = Options(), [2.0, {"more": 3.0}]

    def forward(self, x, h):
        y = doubled(ln.tanh(self.a(x))) * self.weight * self.options.factor
        y = y * self.factors[0] * self.factors[-1]["more"]
        return y * self.share + (h if self.training else -h)


def fresh(*kinds):
    """A class like `Blend`, which has not been called yet."""
    own = ("__init__", "forward", "weight")
    members = {name: vars(Blend)[name] for name in own}
    members["forward"] = inspect.unwrap(members["forward"])
    return type("Blend", (*kinds, nn.Module), members)


def settled(module):
    ln.manual_seed(0)
    for _ in range(3):
        step(module)
    assert is_cell(module)
    return module


CHANGES = {
    "attribute": lambda m, patch: setattr(m, "share", 0.25),
    "attribute of the class": lambda m, patch: setattr(type(m), "weight", 3.0),
    "global": lambda m, patch: patch.setattr(sys.modules[__name__], "FACTOR", 5.0),
    "helper": lambda m, patch: patch.setattr(sys.modules[__name__], "doubled", lambda x: x * x),
    "submodule": lambda m, patch: setattr(m, "a", nn.Linear(3, 3, bias=False)),
    "training": lambda m, patch: m.eval(),
    "object": lambda m, patch: setattr(m.options, "factor", 5.0),
    "list": lambda m, patch: m.factors.insert(0, 5.0),
    "dict in a list": lambda m, patch: m.factors[1].update(more=5.0),
    "hook": lambda m, patch: m.a.register_forward_hook(lambda module, args, y: y * 2.0),
    "own hook": lambda m, patch: m.register_forward_hook(lambda module, args, y: y * 2.0),
    "debug": lambda m, patch: None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_it_reads_is_noticed(change, monkeypatch):
    module = settled(fresh()())
    before = step(module)[0]
    CHANGES[change](module, monkeypatch)
    after = step(module)
    # A hook inside, which may do anything, ends it.
    assert is_cell(module) == (change != "hook")
    with ln.debug():  # runs cells op by op
        same(step(module), after)
    assert change == "debug" or not np.allclose(before, after[0])


def test_modules_of_one_class_are_proven_one_by_one():
    kind = fresh()
    settled(kind())
    other = kind()
    other.share = [0.5]  # a list times a Tensor is an error of the user's, a cell or not
    with pytest.raises(TypeError):
        step(other)
    other.share = 0.75
    other.a.log = iter([])
    step(other)
    assert not is_cell(other)


def test_a_list_that_is_changed_is_the_callers():
    class Takes(nn.Module):
        def forward(self, x, rows):
            rows.append(x)
            total = ln.tanh(sum(rows))
            return total * x + total

    module, x, rows = Takes(), ln.tensor([1.0]), []
    for _ in range(9):
        module(x, rows)
    assert len(rows) == 9
    assert not is_cell(module)


def test_lists_of_any_length_are_one_kind_of_call():
    class Sums(nn.Module):
        def forward(self, x, children):
            total = x
            for child in children:
                total = total + ln.tanh(child * x)
            return ln.sigmoid(total)

    module, x = Sums(), ln.tensor([1.0, -2.0])
    wanted = {n: module(x, [x] * n).numpy() for n in (1, 2, 3)}
    for n in (1, 2, 3) * 6:
        np.testing.assert_allclose(module(x, [x] * n).numpy(), wanted[n], rtol=1e-6)
    assert is_cell(module)


def test_it_ends_where_every_call_is_of_another_kind():
    class Any(nn.Module):
        def forward(self, x):
            return ln.tanh(x * x) + x

    module = Any()
    for n in range(1, 30):
        assert module(ln.ones(n)).shape == (n,)
    assert not is_cell(module)
    assert module(ln.zeros(2)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("call", "by_name"),
    [(lambda m, x: m(x, h=x), True), (lambda m, x: m(x, ln.stack([x]))[0], False)],
)
def test_calls_by_name_are_those_by_position_and_others_run_as_they_are(call, by_name):
    module = fresh()()
    x = ln.tensor([1.0, 2.0, 3.0])
    wanted = call(module, x).numpy()
    for _ in range(9):
        np.testing.assert_allclose(call(module, x).numpy(), wanted, rtol=1e-6)
    assert is_cell(module) == by_name


def test_a_mistake_in_a_call_is_the_users_and_the_cell_stays():
    module = settled(fresh()())
    for _ in range(3):
        with pytest.raises(ln.ShapeError, match=r"^Linear: x has rows of"):
            module(ln.zeros(4), ln.zeros(3))
    assert is_cell(module)
    assert module(ln.zeros(3), ln.zeros(3)).shape == (3,)


def test_subclasses_copies_and_pickles():
    module = settled(fresh()())
    wanted = step(module)
    same(step(copy.deepcopy(module)), wanted)
    blend = settled(Blend())
    same(step(pickle.loads(pickle.dumps(blend))), step(blend))

    class Twice(type(module)):
        def forward(self, x, h):
            return super().forward(x, h) * 2.0

    twice = Twice()
    twice.a = module.a
    for _ in range(4):
        np.testing.assert_allclose(step(twice)[0], double(module), rtol=1e-5)
    x = ln.ones(3)
    np.testing.assert_allclose(type(module).forward(module, x, x).numpy(), module(x, x).numpy())


def double(module):
    x, h = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    y = ln.tensor(h)
    for _ in range(3):
        y = module(ln.tensor(x), y) * 2.0
    return y.numpy()


def test_classes_and_subclasses_can_say_no():
    kind = fresh()
    other = type("Other", (kind,), {"automatic_cell": False})()
    for _ in range(9):
        other(ln.zeros(3), ln.zeros(3))
    assert "__call__" in vars(kind)  # waits for one that wants it
    module = settled(kind())
    x = ln.zeros(3)
    nodes = x.graph.values
    other(x, x)
    assert x.graph.values > nodes + 4
    other.a = module.a
    same(step(other), step(module))


def test_under_a_profiler_of_the_users_it_waits():
    module = fresh()()
    sys.setprofile(lambda *_: None)
    try:
        for _ in range(9):
            module(ln.zeros(3), ln.zeros(3))
        assert sys.getprofile() is not None
    finally:
        sys.setprofile(None)
    assert not is_cell(module)


def test_modules_of_the_library_are_left_alone():
    assert "__call__" not in vars(nn.Sequential)
    assert not isinstance(vars(nn.Sequential)["forward"], AutomaticCell)
