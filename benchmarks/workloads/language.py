"""An LSTM tells the next word of a text."""

from __future__ import annotations

from benchmarks.workloads.base import END, START, Corpus, real
from lazynet import data, nn

F = nn.functional


def read(limit: int) -> Corpus:
    path = real("wikiner/tagged.txt")
    found = [w for w, _ in data.read_tagged(path)[:limit]] if path else data.builtin.text(limit)[0]
    words = data.Vocabulary((w for t in found for w in t), min_count=2, special=[START, END])
    texts = [words.encode([START, *text, END]) for text in found]
    return Corpus(texts, {"words": len(words)}, "WikiNER" if path else "Python source")


class LanguageModel(nn.Module):
    """Scores for the next word."""

    def __init__(self, words: int, dim: int, hidden: int) -> None:
        self.embed = nn.Embedding(words, dim)
        self.rnn = nn.LSTM(dim, hidden)
        self.out = nn.Linear(hidden, words)

    def loss(self, numbers):
        scores = self.out(self.rnn(self.embed(numbers[:-1])))
        return F.cross_entropy(scores, numbers[1:], reduction="sum")


MODELS = {"": lambda c, spec: LanguageModel(**c.sizes, dim=spec.dim, hidden=spec.hidden)}
