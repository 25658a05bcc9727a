"""The examples of attention learn what they say."""

import random

import pytest
from test_examples import check, train

PATH = "attention/transformer_tagger"
SMALL = "--limit 400 --hidden 32 --epochs 3 --batch 8"


@pytest.mark.parametrize("options", ["", "--no-crf"])
def test_the_transformer_tagger_learns_from_a_little_built_in_data(options):
    check(train(PATH, f"{SMALL} {options}"), {"accuracy": 0.7})


@pytest.mark.slow
def test_it_learns_from_the_built_in_data():
    check(train(PATH, ""), {"accuracy": 0.9})


def test_it_learns_a_rule_that_no_word_tells_by_itself(tmp_path):
    """A word's tag is A before the one x of its sentence, and B after it."""
    rng, lines = random.Random(0), []
    for _ in range(160):
        n = rng.randrange(2, 9)
        at = rng.randrange(n)
        words = ["x" if t == at else rng.choice("abc") for t in range(n)]
        lines.append(" ".join(f"{w}|{'AXB'[(t > at) + (t >= at)]}" for t, w in enumerate(words)))
    file = tmp_path / "data.txt"
    file.write_text("\n".join(lines))
    options = f"--data {file} --hidden 32 --epochs 12 --batch 4"
    check(train(PATH, options), {"accuracy": 0.97})


def test_policy_none_trains_as_auto_does():
    losses = [
        train(PATH, f"--limit 30 --hidden 16 --epochs 2 --policy {policy}")["loss"]
        for policy in ("none", "auto")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
