"""A lattice LSTM (Zhang and Yang, Chinese NER Using Lattice LSTM, 2018).

It reads characters; the cell at a character joins those of all words of a lexicon that end there,
each begun at its own first character. Every character gets the tag of its word, a space that of the
word before it. The lexicon is words that are seen three times, of at least two letters; they are
found anywhere, also inside others.
"""

from __future__ import annotations

from typing import NamedTuple

import lazynet as ln
from benchmarks.workloads.base import Corpus, Spec, tagged
from lazynet import data, nn

F = nn.functional
_LONGEST = 120  # characters of a sentence
_LETTERS = range(2, 13)  # of a word of the lexicon


class Lattice(NamedTuple):
    characters: list[int]
    paths: list[list[tuple[int, int]]]  # of words that end at a character: (first character, word)
    tags: list[int]


def read(limit: int) -> Corpus:
    found, source = tagged(4 * limit)  # of which some are too long
    sentences = [(s, t) for s, t in found if len(" ".join(s)) <= _LONGEST][:limit]
    seen = data.Vocabulary((w for s, _ in found for w in s), min_count=3)
    entries = [w for w in seen.entries[1:] if len(str(w)) in _LETTERS]
    lexicon = {word: number for number, word in enumerate(entries)}
    characters = data.Vocabulary(a for s, _ in sentences for a in " ".join(s))
    tags = data.Vocabulary((t for _, gold in sentences for t in gold), unknown=None)
    examples = []
    for words, gold in sentences:
        text = " ".join(words)
        pairs = zip(words, tags.encode(gold), strict=True)
        each = [tag for word, tag in pairs for _ in range(len(word) + 1)]
        examples.append(Lattice(characters.encode(text), _paths(text, lexicon), each[: len(text)]))
    sizes = {"characters": len(characters), "words": len(lexicon), "tags": len(tags)}
    return Corpus(examples, sizes, source)


def _paths(text: str, lexicon: dict) -> list[list[tuple[int, int]]]:
    """(first character, word) of the words that end at each character, the longest first."""
    return [
        [(last + 1 - n, lexicon[word]) for n in reversed(_LETTERS)
         if n <= last + 1 and (word := text[last + 1 - n : last + 1]) in lexicon]
        for last in range(len(text))
    ]  # fmt: skip


class PlainLatticeCell(nn.Module):
    """One character, with any number of words that end there; every op is a node of its own."""

    automatic_cell = False

    def __init__(self, dim: int, hidden: int) -> None:
        self.plain = nn.LSTMCell(dim, hidden)
        self.word_x, self.word_h = nn.Linear(dim, 3 * hidden), nn.Linear(hidden, 3 * hidden, False)
        self.gate_x, self.gate_c = nn.Linear(dim, hidden), nn.Linear(hidden, hidden, False)

    def begin(self, x, state):
        """The memory of a word x that whose first character leads to this state."""
        h, c = state
        i, f, u = ln.chunk(self.word_x(x) + self.word_h(h), 3)
        return ln.sigmoid(f) * c + ln.sigmoid(i) * ln.tanh(u)

    def join(self, x, state, words):
        """A character with the memories of words that end there, which share its gates out."""
        h, _ = state
        own = self.plain
        gates = ln.linear(x, own.weight_ih, own.bias_ih) + ln.linear(h, own.weight_hh, own.bias_hh)
        i, _, u, o = ln.chunk(gates, 4)
        rows = ln.stack(words)
        weights = ln.exp(ln.sigmoid(self.gate_c(rows) + self.gate_x(x)))
        alone = ln.exp(ln.sigmoid(i))
        total = alone * ln.tanh(u) + ln.sum(weights * rows, 0)
        c = total / (alone + ln.sum(weights, 0))
        return ln.sigmoid(o) * ln.tanh(c), c

    def forward(self, x, state, paths):
        """A character with the words that end there: each, and the state it was begun from."""
        return self.join(x, state, [self.begin(word, below) for word, below in paths])


class LatticeCell(PlainLatticeCell):
    """The same as a cell: a node for each character, with any number of words."""

    forward = ln.cell(PlainLatticeCell.forward)


class FoundLatticeCell(PlainLatticeCell):
    """The same as written op by op, and lazynet may find that it is a cell."""

    automatic_cell = True
    forward = PlainLatticeCell.forward


class LatticeTagger(nn.Module):
    def __init__(
        self, characters: int, words: int, tags: int, dim: int, hidden: int, cell: nn.Module
    ) -> None:
        self.embed = nn.Embedding(characters, dim)
        self.embed_word = nn.Embedding(words, dim)
        self.cell = cell
        self.out = nn.Linear(hidden, tags)

    def loss(self, example):
        states = []  # after each character
        for x, paths in zip(self.embed(example.characters), example.paths, strict=True):
            if paths:
                words = [(self.embed_word(w), states[first]) for first, w in paths]
                states.append(self.cell(x, states[-1], words))
            else:
                states.append(self.cell.plain(x, states[-1] if states else None))
        rows = ln.stack([h for h, _ in states])
        return F.cross_entropy(self.out(rows), example.tags, reduction="sum")


def _with(cell):
    def made(c: Corpus, spec: Spec) -> LatticeTagger:
        own = cell(spec.dim, spec.hidden)
        return LatticeTagger(**c.sizes, dim=spec.dim, hidden=spec.hidden, cell=own)

    return made


MODELS = {"cells": _with(LatticeCell), "op by op": _with(PlainLatticeCell),
          "found": _with(FoundLatticeCell)}  # fmt: skip
