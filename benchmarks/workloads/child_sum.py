"""A child-sum Tree-LSTM over dependency trees tells the relation of every word to its head."""

from __future__ import annotations

from typing import NamedTuple

import lazynet as ln
from benchmarks.workloads.base import Corpus, parsed
from lazynet import data, nn

F = nn.functional


class Tree(NamedTuple):
    """A sentence as a tree; everything by the number of the word, from 0."""

    words: list[int]
    labels: list[int]
    children: list[list[int]]
    order: list[int]  # every word after its children


def read(limit: int) -> Corpus:
    found, source = parsed(limit)
    words = data.Vocabulary((w for s in found for w in s.words), min_count=2)
    labels = data.Vocabulary((a for s in found for a in s.labels), unknown=None)
    trees = []
    for s in found:
        children: list[list[int]] = [[] for _ in s.words]
        order = [word for word, head in enumerate(s.heads) if head == 0]
        for word, head in enumerate(s.heads):
            if head:
                children[head - 1].append(word)
        for word in order:
            order.extend(children[word])
        trees.append(Tree(words.encode(s.words), labels.encode(s.labels), children, order[::-1]))
    return Corpus(trees, {"words": len(words), "labels": len(labels)}, source)


class ChildSum(nn.Module):
    def __init__(self, words: int, labels: int, dim: int, hidden: int) -> None:
        self.embed = nn.Embedding(words, dim)
        self.cell = nn.ChildSumTreeLSTMCell(dim, hidden)
        self.out = nn.Linear(hidden, labels)

    def loss(self, tree):
        states: dict[int, tuple] = {}
        for word in tree.order:
            below = [states[child] for child in tree.children[word]]
            states[word] = self.cell(self.embed(tree.words[word]), below)
        rows = ln.stack([states[word][0] for word in range(len(tree.words))])
        return F.cross_entropy(self.out(rows), tree.labels, reduction="sum")


MODELS = {"": lambda c, spec: ChildSum(**c.sizes, dim=spec.dim, hidden=spec.hidden)}
