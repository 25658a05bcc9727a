"""Every public function, given what it cannot take: one sentence in its name, and no harm done."""

import inspect
import re

import numpy as np
import pytest
import surface
from surface import Example, public_functions

import lazynet as ln
from lazynet import nn


class Thing:
    """Nothing that a function knows."""


BAD = {
    "None": lambda: None,
    "a word": lambda: "word",
    "lists of unequal lengths": lambda: [[1.0], [2.0, 3.0]],
    "a fraction": lambda: 2.5,
    "less than nothing": lambda: -1,
    "too much": lambda: 100,
    "a thing": lambda: Thing(),
    "another shape": lambda: ln.tensor(np.ones((2, 3, 5), np.float32)),
    "rows of another shape": lambda: ln.sequence(np.ones((5, 7), np.float32)),
    "integers": lambda: ln.tensor([1, 2, 3]),
}
# Functions under two names; errors tell the one that PyTorch has as well.
ALIASES = {"absolute": "abs", "subtract": "sub", "multiply": "mul", "divide": "div"}
ERRORS = (TypeError, ValueError, IndexError, ln.ShapeError, ln.DtypeError)


def example_of(name):
    """The function of a public name, and arguments that are right."""
    home = {"ln": ln, "nn.functional": nn.functional}[name.rpartition(".")[0]]
    short = name.rpartition(".")[2]
    function, seen = getattr(home, short), []

    def noted(*args, **options):
        seen.append((args, options))
        return function(*args, **options)

    noted.__signature__ = inspect.signature(function)
    with pytest.MonkeyPatch.context() as patch:
        for place in (ln, nn.functional):  # one example may serve both
            if hasattr(place, short):
                patch.setattr(place, short, noted)
        call = surface.FUNCTIONS.get(short) or surface._plain(noted, short)
        for length in (None, 3):
            try:
                call(Example(length))
                break
            except ln.ShapeError:
                continue
    return function, *seen[-1]


def changed(function, args, options):
    """The same arguments, each in turn replaced by all that is bad; options too."""
    for k, _ in enumerate(args):
        for label, make in BAD.items():
            yield f"argument {k}: {label}", (*args[:k], make(), *args[k + 1 :]), options
    for p in list(inspect.signature(function).parameters.values())[len(args) :]:
        if p.kind is not p.VAR_POSITIONAL and p.default is not p.empty:
            for label, make in BAD.items():
                yield f"{p.name}: {label}", args, {**options, p.name: make()}


def forced(value):
    for part in value if isinstance(value, (tuple, list)) else (value,):
        if isinstance(part, (ln.Tensor, ln.Sequence)):
            part.numpy()


@pytest.mark.parametrize("name", public_functions())
def test_what_cannot_be_taken_is_told_in_one_sentence(name):
    function, args, options = example_of(name)
    short = name.rpartition(".")[2]
    short, refused = ALIASES.get(short, short), 0
    with np.errstate(all="ignore"):
        for what, bad, bad_options in changed(function, args, options):
            try:
                forced(function(*bad, **bad_options))
                continue
            except Exception as error:
                message, kind = str(error), type(error)
            refused += 1
            assert kind in ERRORS, f"{what}: {kind.__name__}: {message}"
            assert re.match(rf"{short}(: |\()", message), f"{what}: {message}"
            assert "\n" not in message and len(message) < 400, f"{what}: {message}"
            assert (ln.tensor([1.0]) + 1.0).tolist() == [2.0], what
    assert refused or not (args or options)
    ln.forward()  # what was recorded and not asked for


def test_an_error_of_users_code_behind_a_value_stays_as_it_is():
    class Broken(ln.Function):
        def forward(self, x):
            raise ValueError("of my own")

    with pytest.raises(ValueError, match="of my own"):
        ln.lookup(ln.ones(3, 2), Broken()(ln.ones(2)).astype("int64"))
