"""A Tree-LSTM over binary trees scores every labelled node."""

from __future__ import annotations

from functools import cache

import lazynet as ln
from benchmarks.workloads.base import Corpus, Spec, real
from lazynet import data, nn

F = nn.functional


def read(limit: int) -> Corpus:
    path = real("sst/train.txt")
    found = data.read_trees(path)[:limit] if path else data.builtin.trees(limit)[0]
    words = data.Vocabulary((leaf.word for tree in found for leaf in tree.leaves()), min_count=2)
    labels = 1 + max(n.label for tree in found for n in tree if n.label is not None)
    for tree in found:
        for leaf in tree.leaves():
            leaf.word = words[leaf.word]
    sizes = {"words": len(words), "labels": labels}
    return Corpus(found, sizes, "SST" if path else "Python source")


class PlainTreeCell(nn.Module):
    """`nn.TreeLSTMCell` as a user would write it: every op is a node of its own."""

    automatic_cell = False

    def __init__(self, dim: int, hidden: int) -> None:
        built_in = nn.TreeLSTMCell(dim, hidden, 2)
        self.weight_ih, self.bias_ih = built_in.weight_ih, built_in.bias_ih
        self.weight_hh, self.bias_hh = built_in.weight_hh, built_in.bias_hh

    def forward(self, x, children=()):
        if x is not None:
            i, o, u = ln.chunk(ln.linear(x, self.weight_ih, self.bias_ih), 3)
            c = ln.sigmoid(i) * ln.tanh(u)
            return ln.sigmoid(o) * ln.tanh(c), c
        (left, left_c), (right, right_c) = children
        joined = ln.linear(ln.cat([left, right]), self.weight_hh, self.bias_hh)
        i, o, u, f, g = ln.chunk(joined, 5)
        c = ln.sigmoid(i) * ln.tanh(u) + ln.sigmoid(f) * left_c + ln.sigmoid(g) * right_c
        return ln.sigmoid(o) * ln.tanh(c), c


class FoundTreeCell(PlainTreeCell):
    """The very same, and lazynet may find that it is a cell."""

    automatic_cell = True
    forward = PlainTreeCell.forward


class TreeModel(nn.Module):
    def __init__(self, words: int, labels: int, dim: int, hidden: int, cell: nn.Module) -> None:
        self.embed = nn.Embedding(words, dim)
        self.cell = cell
        self.out = nn.Linear(hidden, labels)

    def loss(self, tree):
        waiting, rows, labels = [], [], []
        for node in tree:
            if node.is_leaf:
                waiting.append(self.cell(self.embed(node.word)))
            else:
                right, left = waiting.pop(), waiting.pop()
                waiting.append(self.cell(None, [left, right]))
            if node.label is not None:
                rows.append(waiting[-1][0])
                labels.append(node.label)
        return F.cross_entropy(self.out(ln.stack(rows)), labels, reduction="sum")


@cache
def numbered(tree):
    """A tree for `ln.fold`, made once, as reading it would: words, structure, labelled nodes."""
    nodes = list(tree)
    words = [node.word for node in nodes if node.is_leaf]
    labelled = [(k, node.label) for k, node in enumerate(nodes) if node.label is not None]
    return words, ln.Structure(tree.numbered()), *map(list, zip(*labelled, strict=True))


class FoldedTreeModel(TreeModel):
    """The same with a tree's nodes recorded in one piece."""

    def __init__(self, words: int, labels: int, dim: int, hidden: int) -> None:
        super().__init__(words, labels, dim, hidden, nn.TreeLSTM(dim, hidden))

    def loss(self, tree):
        words, structure, labelled, labels = numbered(tree)
        h = self.cell(self.embed(words), structure)
        return F.cross_entropy(self.out(h[labelled]), labels, reduction="sum")


def _with(cell):
    def made(c: Corpus, spec: Spec) -> TreeModel:
        own = cell(spec.dim, spec.hidden)
        return TreeModel(**c.sizes, dim=spec.dim, hidden=spec.hidden, cell=own)

    return made


MODELS = {
    "op by op": _with(PlainTreeCell),
    "found": _with(FoundTreeCell),
    "nn.TreeLSTMCell": _with(nn.TreeLSTMCell),
    "nn.TreeLSTM": lambda c, spec: FoldedTreeModel(**c.sizes, dim=spec.dim, hidden=spec.hidden),
}
