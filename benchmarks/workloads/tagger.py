"""A bidirectional LSTM over the words of a sentence gives each a tag."""

from __future__ import annotations

import lazynet as ln
from benchmarks.workloads.base import Corpus, tagged
from lazynet import data, demo, nn

F = nn.functional


def read(limit: int) -> Corpus:
    found, source = tagged(limit)
    words = data.Vocabulary((w for sentence, _ in found for w in sentence), min_count=2)
    tags = data.Vocabulary((t for _, gold in found for t in gold), unknown=None)
    pairs = [(words.encode(sentence), tags.encode(gold)) for sentence, gold in found]
    return Corpus(pairs, {"words": len(words), "tags": len(tags)}, source)


class Tagger(demo.Tagger):
    """`nn.LSTM` over the sentence: a node for each direction."""

    def loss(self, example):
        return super().loss(example, reduction="sum")


class WordByWord(nn.Module):
    """The same with a cell and a loop over the words, from both ends."""

    def __init__(self, words: int, tags: int, dim: int, hidden: int) -> None:
        self.embed = nn.Embedding(words, dim)
        self.ahead = nn.LSTMCell(dim, hidden)
        self.back = nn.LSTMCell(dim, hidden)
        self.out = nn.Linear(2 * hidden, tags)

    @staticmethod
    def read(cell, words):
        rows, state = [], None
        for word in words:
            state = cell(word, state)
            rows.append(state[0])
        return rows

    def loss(self, example):
        numbers, tags = example
        words = [self.embed(number) for number in numbers]
        ahead, back = self.read(self.ahead, words), self.read(self.back, words[::-1])[::-1]
        rows = [ln.cat(pair) for pair in zip(ahead, back, strict=True)]
        return F.cross_entropy(self.out(ln.stack(rows)), tags, reduction="sum")


MODELS = {
    "nn.LSTM": lambda c, spec: Tagger(**c.sizes, dim=spec.dim, hidden=spec.hidden),
    "word by word": lambda c, spec: WordByWord(**c.sizes, dim=spec.dim, hidden=spec.hidden),
}
