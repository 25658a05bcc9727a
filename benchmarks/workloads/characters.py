"""The tagger, whose rare words are read letter by letter: sequences inside a sequence."""

from __future__ import annotations

import lazynet as ln
from benchmarks.workloads.base import Corpus, tagged
from lazynet import data, nn

F = nn.functional
LETTER_DIM = 32


def read(limit: int) -> Corpus:
    """A word is its number, or the list of its letters if it is seen fewer than three times."""
    found, source = tagged(limit)
    words = data.Vocabulary((w for sentence, _ in found for w in sentence), min_count=3)
    tags = data.Vocabulary((t for _, gold in found for t in gold), unknown=None)
    letters = data.Vocabulary(a for sentence, _ in found for w in sentence for a in w)
    examples = [
        ([words[w] if w in words else letters.encode(w) for w in sentence], tags.encode(gold))
        for sentence, gold in found
    ]
    sizes = {"words": len(words), "tags": len(tags), "letters": len(letters)}
    return Corpus(examples, sizes, source)


class CharacterTagger(nn.Module):
    def __init__(self, words: int, tags: int, letters: int, dim: int, hidden: int) -> None:
        self.embed = nn.Embedding(words, dim)
        self.embed_letter = nn.Embedding(letters, LETTER_DIM)
        self.speller = nn.LSTM(LETTER_DIM, dim)
        self.rnn = nn.LSTM(dim, hidden, bidirectional=True)
        self.out = nn.Linear(2 * hidden, tags)

    def read(self, word):
        if isinstance(word, int):
            return self.embed(word)
        return self.speller(self.embed_letter(word))[-1]

    def loss(self, example):
        words, tags = example
        rows = self.rnn(ln.stack([self.read(word) for word in words]))
        return F.cross_entropy(self.out(rows), tags, reduction="sum")


MODELS = {"": lambda c, spec: CharacterTagger(**c.sizes, dim=spec.dim, hidden=spec.hidden)}
