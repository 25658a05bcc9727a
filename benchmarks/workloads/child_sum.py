"""A child-sum Tree-LSTM over dependency trees tells the relation of every word to its head."""

from __future__ import annotations

from typing import NamedTuple

import lazynet as ln
from benchmarks.workloads.base import Corpus, Spec, parsed
from lazynet import data, nn

F = nn.functional


class Tree(NamedTuple):
    """A sentence as a tree; everything by the number of the word, from 0."""

    words: list[int]
    labels: list[int]
    children: list[list[int]]
    order: list[int]  # every word after its children
    structure: ln.Structure  # of the words in that order


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
        order.reverse()
        place = {word: k for k, word in enumerate(order)}
        structure = ln.Structure([[place[child] for child in children[word]] for word in order])
        own = words.encode(s.words), labels.encode(s.labels)
        trees.append(Tree(*own, children, order, structure))
    return Corpus(trees, {"words": len(words), "labels": len(labels)}, source)


class PlainChildSumCell(nn.Module):
    """`nn.ChildSumTreeLSTMCell` op by op: sums over any number of children are one signature."""

    automatic_cell = False

    def __init__(self, dim: int, hidden: int) -> None:
        built_in = nn.ChildSumTreeLSTMCell(dim, hidden)
        self.weight_ih, self.bias_ih = built_in.weight_ih, built_in.bias_ih
        self.weight_if, self.bias_f = built_in.weight_if, built_in.bias_f
        self.weight_hh, self.weight_hf = built_in.weight_hh, built_in.weight_hf

    def forward(self, x, children):
        gates = ln.linear(x, self.weight_ih, self.bias_ih)
        if not children:
            i, o, u = ln.chunk(gates, 3)
            c = ln.sigmoid(i) * ln.tanh(u)
            return ln.sigmoid(o) * ln.tanh(c), c
        h, c = ln.stack([h for h, _ in children]), ln.stack([c for _, c in children])
        i, o, u = ln.chunk(gates + ln.linear(ln.sum(h, 0), self.weight_hh), 3)
        own = ln.linear(x, self.weight_if, self.bias_f)
        forget = ln.sigmoid(ln.linear(h, self.weight_hf) + own)
        c = ln.sigmoid(i) * ln.tanh(u) + ln.sum(forget * c, 0)
        return ln.sigmoid(o) * ln.tanh(c), c


class FoundChildSumCell(PlainChildSumCell):
    """The very same, and lazynet may find that it is a cell."""

    automatic_cell = True
    forward = PlainChildSumCell.forward


class ChildSum(nn.Module):
    def __init__(self, words: int, labels: int, dim: int, hidden: int, cell: nn.Module) -> None:
        self.embed = nn.Embedding(words, dim)
        self.cell = cell
        self.out = nn.Linear(hidden, labels)

    def loss(self, tree):
        states: dict[int, tuple] = {}
        for word in tree.order:
            below = [states[child] for child in tree.children[word]]
            states[word] = self.cell(self.embed(tree.words[word]), below)
        rows = ln.stack([states[word][0] for word in range(len(tree.words))])
        return F.cross_entropy(self.out(rows), tree.labels, reduction="sum")


class FoldedChildSum(ChildSum):
    """The same with a tree's nodes recorded in one piece."""

    def __init__(self, words: int, labels: int, dim: int, hidden: int) -> None:
        super().__init__(words, labels, dim, hidden, nn.ChildSumTreeLSTM(dim, hidden))

    def loss(self, tree):
        rows = self.cell(self.embed([tree.words[word] for word in tree.order]), tree.structure)
        labels = [tree.labels[word] for word in tree.order]
        return F.cross_entropy(self.out(rows), labels, reduction="sum")


def _with(cell):
    def made(c: Corpus, spec: Spec) -> ChildSum:
        own = cell(spec.dim, spec.hidden)
        return ChildSum(**c.sizes, dim=spec.dim, hidden=spec.hidden, cell=own)

    return made


MODELS = {
    "op by op": _with(PlainChildSumCell),
    "found": _with(FoundChildSumCell),
    "nn.ChildSumTreeLSTMCell": _with(nn.ChildSumTreeLSTMCell),
    "nn.ChildSumTreeLSTM": lambda c, spec: FoldedChildSum(
        **c.sizes, dim=spec.dim, hidden=spec.hidden
    ),
}
