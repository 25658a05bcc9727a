"""Every module, called with what it cannot take: one sentence in its name, and no harm done."""

import re

import numpy as np
import pytest
from surface import Example, call_of, public_modules
from test_bad_input import BAD, ERRORS, forced

import lazynet as ln
from lazynet import nn

# Their parts tell what is wrong, under their own names; `Identity` takes anything.
OF_PARTS = {"nn.Sequential", "nn.TransformerEncoder", "nn.TransformerDecoder"}


def example_of(name):
    """A module, and arguments that are right."""
    seen, called = [], nn.Module.__call__

    def noted(module, *args, **options):
        seen.append((module, args, options))
        return called(module, *args, **options)

    for length in (None, 3):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nn.Module, "__call__", noted)
            try:
                call_of(name)(Example(length))
            except (TypeError, ValueError):
                continue
        calls = [call for call in seen if type(call[0]) is public_modules()[name]]
        if calls:
            return calls[-1]
    raise AssertionError(f"{name} takes nothing of what its example gives")


@pytest.mark.parametrize("name", public_modules())
def test_what_cannot_be_taken_is_told_in_one_sentence(name):
    module, args, options = example_of(name)
    own, refused = type(module).__name__, 0
    expected = r"[A-Z]\w+: " if name in OF_PARTS else rf"{own}(: |\()"
    with np.errstate(all="ignore"):
        for k in range(len(args)):
            for label, make in BAD.items():
                try:
                    given = module(*args[:k], make(), *args[k + 1 :], **options)
                    forced(given)
                    continue
                except Exception as error:
                    what, message, kind = f"argument {k}: {label}", str(error), type(error)
                refused += 1
                assert kind in ERRORS, f"{what}: {kind.__name__}: {message}"
                assert re.match(expected, message), f"{what}: {message}"
                assert "\n" not in message and len(message) < 400, f"{what}: {message}"
                assert (ln.tensor([1.0]) + 1.0).tolist() == [2.0], what
    assert refused or name == "nn.Identity"
    ln.forward()


def rows(*shape, dtype="float32"):
    return ln.sequence(np.ones(shape, dtype))


# what was called: (the call, the exception, its sentence)
MISTAKES = {
    "the size of a row": (
        lambda: nn.Linear(3, 2)(ln.ones(4)),
        ln.ShapeError,
        r"Linear: x has rows of \(4,\); expected rows of \(\.\.\., 3\)",
    ),
    "the dtype": (
        lambda: nn.Linear(3, 2)(rows(2, 3, dtype="float64")),
        ln.DtypeError,
        r"Linear: x holds float64, the weights float32; convert with \.astype\('float32'\)",
    ),
    "a state": (
        lambda: nn.LSTMCell(3, 2)(ln.ones(3), (ln.ones(2), ln.ones(3))),
        ln.ShapeError,
        r"LSTMCell: state has rows of \(3,\); expected rows of \(2,\)",
    ),
    "a child": (
        lambda: nn.ChildSumTreeLSTMCell(3, 2)(ln.ones(3), [(ln.ones(2), ln.ones(3))]),
        ln.ShapeError,
        r"ChildSumTreeLSTMCell: children has rows of \(3,\); expected rows of \(2,\)",
    ),
    "channels": (
        lambda: nn.GroupNorm(2, 4)(ln.ones(6, 3)),
        ln.ShapeError,
        r"GroupNorm: x has rows of \(6, 3\); expected rows of \(4, \.\.\.\)",
    ),
    "keys": (
        lambda: nn.MultiheadAttention(4, 2, kdim=3)(rows(2, 4), rows(5, 4)),
        ln.ShapeError,
        r"MultiheadAttention: key has rows of \(4,\); expected rows of \(3,\)",
    ),
    "a mask where keys come from a cache": (
        lambda: nn.MultiheadAttention(4, 2)(
            rows(2, 4), nn.MultiheadAttention(4, 2).project(rows(5, 4)), attn_mask=np.ones((3, 3))
        ),
        ln.ShapeError,
        r"MultiheadAttention: a mask of \(3, 3\) does not match 2 queries and 5 keys",
    ),
    "the outermost module": (
        lambda: nn.TransformerDecoderLayer(4, 2)(rows(2, 4), rows(5, 3)),
        ln.ShapeError,
        r"TransformerDecoderLayer: memory has rows of \(3,\); expected rows of \(4,\)",
    ),
    "a part of a row of modules": (
        lambda: nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(4, 1))(ln.ones(2)),
        ln.ShapeError,
        r"Linear: x has rows of \(3,\); expected rows of \(\.\.\., 4\)",
    ),
    "a loss": (
        lambda: nn.CrossEntropyLoss()(ln.ones(3), 3),
        IndexError,
        "CrossEntropyLoss: index 3 is out of range; expected 0 to 2",
    ),
    "an argument too few": (lambda: nn.Linear(3, 2)(), TypeError, r"Linear.*missing 1 .*'x'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_the_argument_and_what_was_expected(mistake):
    call, error, sentence = MISTAKES[mistake]
    with pytest.raises(error, match=f"^{sentence}"):
        call()


class Mine(nn.Module):
    """A module of a user, whose own lines fail under their own names."""

    def __init__(self, wrong):
        super().__init__()
        self.wrong = wrong

    def forward(self, x):
        return self.wrong(x)


def failing(x):
    raise ValueError("mine: not lazynet's")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Mine(lambda x: x + ln.ones(7)), "add: rows of"),
        (lambda: Mine(failing), "mine: not lazynet's"),
        (lambda: nn.Sequential(Mine(failing)), "mine: not lazynet's"),
        (lambda: nn.TransformerEncoderLayer(4, 2, 8, activation=failing), "mine: not lazynet's"),
    ],
)
def test_what_fails_in_users_code_stays_as_it_is(make, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        make()(rows(2, 4))


def test_a_users_module_of_a_kind_of_ours_has_its_own_name():
    class Own(nn.Linear):
        pass

    with pytest.raises(ln.ShapeError, match=r"^Own: x has rows of \(2,\)"):
        Own(3, 4)(ln.ones(2))
