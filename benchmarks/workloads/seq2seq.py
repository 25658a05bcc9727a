"""An encoder, and a decoder that attends to it: a sentence is put into its parts of speech.

Training gives the decoder the right output of the step before (teacher forcing).
"""

from __future__ import annotations

import lazynet as ln
from benchmarks.workloads.base import END, START, Corpus, parsed
from lazynet import data, nn

F = nn.functional


def read(limit: int) -> Corpus:
    found, source = parsed(limit)
    words = data.Vocabulary((w for s in found for w in s.words), min_count=2)
    tags = data.Vocabulary((t for s in found for t in s.tags), unknown=None, special=[START, END])
    pairs = [(words.encode(s.words), tags.encode([START, *s.tags, END])) for s in found]
    return Corpus(pairs, {"words": len(words), "tags": len(tags)}, source)


class Translator(nn.Module):
    def __init__(self, words: int, tags: int, dim: int, hidden: int) -> None:
        self.embed = nn.Embedding(words, dim)
        self.encoder = nn.LSTM(dim, hidden, bidirectional=True)
        self.memory = nn.Linear(2 * hidden, hidden)
        self.embed_tag = nn.Embedding(tags, dim)
        self.decoder = nn.LSTMCell(dim + hidden, hidden)
        self.out = nn.Linear(2 * hidden, tags)

    def loss(self, example):
        source, target = example
        memory = self.memory(self.encoder(self.embed(source)))
        h = c = context = ln.tanh(memory[-1])
        rows = []
        for number in target[:-1]:
            h, c = self.decoder(ln.cat([self.embed_tag(number), context]), (h, c))
            context = F.scaled_dot_product_attention(h, memory, memory)
            rows.append(ln.cat([h, context]))
        return F.cross_entropy(self.out(ln.stack(rows)), target[1:], reduction="sum")


MODELS = {"": lambda c, spec: Translator(**c.sizes, dim=spec.dim, hidden=spec.hidden)}
