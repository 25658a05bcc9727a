"""What a cell was traced with may change; the cell notices, and is traced anew."""

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn


def scale(value):
    """A module that multiplies by a number which is its parameter."""
    made = nn.PReLU()  # on rows below 0 a factor
    made.weight.copy_([value])
    return made


class Model(nn.Module):
    """A cell over everything that containers hold."""

    def __init__(self):
        self.listed = nn.ModuleList([scale(2.0), scale(3.0)])
        self.row = nn.Sequential(scale(5.0))
        self.named = nn.ModuleDict({"a": scale(7.0)})

    @ln.cell
    def forward(self, x):
        for module in self.listed:
            x = module(x)
        x = self.row(x)
        for module in self.named.values():
            x = module(x)
        return x


CHANGES = {
    "append": (lambda m: m.listed.append(scale(0.5)), 105),
    "extend": (lambda m: m.listed.extend([scale(0.5), scale(0.1)]), 10.5),
    "insert": (lambda m: m.listed.insert(0, scale(0.1)), 21),
    "set an item": (lambda m: m.listed.__setitem__(1, scale(4.0)), 280),
    "delete an item": (lambda m: m.listed.__delitem__(0), 105),
    "delete a slice": (lambda m: m.listed.__delitem__(slice(0, 2)), 35),
    "append to a Sequential": (lambda m: m.row.append(scale(0.1)), 21),
    "insert into a Sequential": (lambda m: m.row.insert(0, scale(0.1)), 21),
    "set in a Sequential": (lambda m: m.row.__setitem__(0, scale(1.0)), 42),
    "delete from a Sequential": (lambda m: m.row.__delitem__(0), 42),
    "update a dict": (lambda m: m.named.update({"a": scale(1.0), "b": scale(2.0)}), 60),
    "set in a dict": (lambda m: m.named.__setitem__("b", scale(2.0)), 420),
    "delete from a dict": (lambda m: m.named.__delitem__("a"), 30),
    "another container": (lambda m: setattr(m, "row", nn.Sequential()), 42),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_inside_a_container_is_noticed(change):
    model, x = Model(), ln.tensor([-1.0])
    assert model(x).tolist() == [-210.0]
    make, wanted = CHANGES[change]
    make(model)
    assert model(x).tolist() == pytest.approx([-wanted])


@pytest.mark.parametrize("change", CHANGES)
def test_a_function_over_a_container_notices_it(change):
    model, x = Model(), ln.tensor([-1.0])

    @ln.cell
    def outside(x):
        return model(x)

    assert outside(x).tolist() == [-210.0]
    make, wanted = CHANGES[change]
    make(model)
    assert outside(x).tolist() == pytest.approx([-wanted])


def test_what_a_container_refuses_changes_nothing():
    model = Model()
    before = [list(model.listed), list(model.named.items())]
    for call in (
        lambda: model.listed.append(3),
        lambda: model.listed.extend([scale(1.0), 3]),
        lambda: model.named.update({"b": scale(1.0), "c.d": scale(1.0)}),
        lambda: model.named.update({"b": scale(1.0), "c": 3}),
        lambda: model.named.__delitem__("z"),
    ):
        with pytest.raises((TypeError, KeyError)):
            call()
    assert [list(model.listed), list(model.named.items())] == before


# -- freezing --------------------------------------------------------------------------------------


@ln.cell
def affine(x, weight, bias):
    return ln.linear(x, weight, bias).tanh()


def gradients_of(function, parameters):
    for p in parameters:
        p.zero_grad()
    x = ln.tensor(np.ones(3, np.float32), requires_grad=True)
    ln.sum([function(x).sum() for _ in range(4)]).backward()
    return [None if p.grad is None else float(abs(p.grad.numpy()).sum()) for p in parameters]


@pytest.mark.parametrize("how", ["cell", "op"])
@pytest.mark.parametrize("first", [(True, True), (False, False), (True, False), (False, True)])
def test_freezing_and_thawing_each_parameter_is_noticed(how, first):
    weight, bias = (ln.Parameter(np.full(s, 0.1, np.float32)) for s in ((2, 3), (2,)))
    apply = affine if how == "cell" else ln.linear
    full = gradients_of(lambda x: apply(x, weight, bias), [weight, bias])
    for flags in (first, (True, True), (False, True), (True, False), (False, False), (True, True)):
        for p, flag in zip((weight, bias), flags, strict=True):
            p.requires_grad_(flag)
        found = gradients_of(lambda x: apply(x, weight, bias), [weight, bias])
        assert found == pytest.approx([g if f else None for g, f in zip(full, flags, strict=True)])


@pytest.mark.parametrize("how", ["cell", "op"])
def test_a_parameter_that_was_frozen_from_the_start_can_be_thawed_alone(how):
    weight, bias = (ln.Parameter(np.full(s, 0.1, np.float32), False) for s in ((2, 3), (2,)))
    apply = affine if how == "cell" else ln.linear
    constant = ln.tensor(np.ones(3, np.float32))
    slope = 1.0 if how == "op" else 1.0 - np.tanh(0.4) ** 2
    apply(constant, weight, bias).numpy()
    bias.requires_grad_(True)
    apply(constant, weight, bias).sum().backward()
    assert weight.grad is None
    np.testing.assert_allclose(bias.grad.numpy(), slope, rtol=1e-5)
    bias.requires_grad_(False)
    weight.requires_grad_(True)
    apply(constant, weight, bias).sum().backward()
    np.testing.assert_allclose(weight.grad.numpy(), slope, rtol=1e-5)
    np.testing.assert_allclose(bias.grad.numpy(), slope, rtol=1e-5)


def test_frozen_modules_of_a_cell_get_no_gradient_and_are_found_again():
    cell = nn.LSTMCell(3, 2)
    full = gradients_of(lambda x: cell(x)[0], list(cell.parameters()))
    cell.requires_grad_(False)
    assert gradients_of(lambda x: cell(x)[0], list(cell.parameters())) == [None] * 4
    cell.requires_grad_(True)
    assert gradients_of(lambda x: cell(x)[0], list(cell.parameters())) == pytest.approx(full)


# -- training and evaluation -----------------------------------------------------------------------


class Switch(nn.Module):
    """Twice as much while training."""

    def forward(self, x):
        return x * 2.0 if self.training else x


class Outer(nn.Module):
    def __init__(self):
        self.inner = nn.ModuleList([nn.Sequential(Switch())])

    @ln.cell
    def forward(self, x):
        return self.inner[0](x)


def test_train_and_eval_reach_what_a_cell_was_traced_with():
    model, x = Outer(), ln.tensor([1.0])
    assert model(x).tolist() == [2.0]
    assert model.eval()(x).tolist() == [1.0]
    assert model.train()(x).tolist() == [2.0]
    model.inner[0][0].eval()
    assert model(x).tolist() == [1.0]


class Added(nn.Module):
    """Twice as much while training, and what is below."""

    @ln.cell
    def forward(self, x, below=()):
        y = x * 2.0 if self.training else x
        return y + ln.sum(below) if below else y


class Around(nn.Module):
    def __init__(self, inner):
        self.inner = inner

    @ln.cell
    def forward(self, x):
        return self.inner(x) + 0.0


def _fails(inner, around, x):
    with pytest.raises(ln.ShapeError):
        inner(ln.zeros(1, length=2), ln.zeros(1, length=3))


def _under_debug(inner, around, x):
    with ln.debug():
        inner(x)


LEAF = ln.Structure([()])
ELSEWHERE = {  # where a change may be noticed first
    "in a cell around it": lambda inner, around, x: around(x),
    "under debug": _under_debug,
    "in a fold": lambda inner, around, x: ln.fold(inner, ln.sequence([x]), LEAF),
    "in a call that fails": _fails,
}


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_change_that_is_noticed_elsewhere_first_is_noticed(place):
    inner, x = Added(), ln.tensor([1.0])
    around = Around(inner)
    x.sum().item()  # calls are recorded the short way after a first forward
    for mode in (True, False, True, False):
        around.train(mode)
        ELSEWHERE[place](inner, around, x)
        for _ in range(2):
            assert inner(x).tolist() == [2.0 if mode else 1.0]
