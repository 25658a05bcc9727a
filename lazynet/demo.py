"""The models of `lazynet demo` and `lazynet bench`, and corpora for them that are on any machine.

Each model is written for one example. The corpora are made from the source of Python's own standard
library: lines with the role of each token, and syntax trees with a label at the root.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lazynet import data, nn
from lazynet.modes import no_grad
from lazynet.ops.random import manual_seed
from lazynet.ops.rows import stack

Tagged = tuple[list[int], list[int]]


class Tagger(nn.Module):
    """A bidirectional LSTM reads a sentence and gives a row of scores for each of its words."""

    def __init__(self, words: int, tags: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, dim)
        self.rnn = nn.LSTM(dim, hidden, bidirectional=True)
        self.out = nn.Linear(2 * hidden, tags)

    def forward(self, words: list[int]) -> Any:
        return self.out(self.rnn(self.embed(words)))

    def loss(self, example: Tagged, reduction: str = "mean") -> Any:
        words, tags = example
        return nn.functional.cross_entropy(self(words), tags, reduction=reduction)


class TreeClassifier(nn.Module):
    """A Tree-LSTM reads a tree from its leaves up; a row of scores for each labelled node."""

    def __init__(self, words: data.Vocabulary, labels: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.words = words
        self.embed = nn.Embedding(len(words), dim)
        self.cell = nn.TreeLSTMCell(dim, hidden, 2)
        self.out = nn.Linear(hidden, labels)

    def forward(self, tree: data.Tree) -> Any:
        waiting: list[Any] = []
        rows: list[Any] = []
        for node in tree:  # in post-order: the children of a node are the last two that wait
            if node.is_leaf:
                waiting.append(self.cell(self.embed(self.words[node.word])))
            else:
                waiting.append(self.cell(None, [waiting.pop(-2), waiting.pop()]))
            if node.label is not None:
                rows.append(waiting[-1][0])
        return self.out(stack(rows))

    def loss(self, tree: data.Tree, reduction: str = "mean") -> Any:
        labels = [node.label for node in tree if node.label is not None]
        return nn.functional.cross_entropy(self(tree), labels, reduction=reduction)


@dataclass
class Workload:
    """A model and what it learns from."""

    name: str
    model: nn.Module
    loss: Callable[[Any], Any]  # of one example
    train: list[Any]
    dev: list[Any]
    about: str


def tagger(limit: int, hidden: int, seed: int = 0) -> Workload:
    """Lines of source, each token with its role in the syntax."""
    train, dev = data.builtin.tagged(limit)
    words = data.Vocabulary((w for line, _ in train for w in line), min_count=3)
    roles = data.Vocabulary((role for _, gold in train for role in gold), unknown=None)
    known = set(roles.entries)
    parts = [
        [(words.encode(line), roles.encode(gold)) for line, gold in part if known.issuperset(gold)]
        for part in (train, dev)
    ]
    manual_seed(seed)
    model = Tagger(len(words), len(roles), hidden, hidden)
    about = f"a BiLSTM tagger reads {len(parts[0])} lines of Python: {len(roles)} roles of tokens"
    return Workload("tagger", model, model.loss, parts[0], parts[1], about)


def tree(limit: int, hidden: int, seed: int = 0) -> Workload:
    """Syntax trees of functions, each with the first word of its name."""
    train, dev = data.builtin.trees(limit)
    words = data.Vocabulary((leaf.word for t in train for leaf in t.leaves()), min_count=2)
    labels = 1 + max(n.label for t in train + dev for n in t if n.label is not None)
    manual_seed(seed)
    model = TreeClassifier(words, labels, hidden, hidden)
    about = f"a Tree-LSTM reads {len(train)} syntax trees of Python: {labels} labels"
    return Workload("tree", model, model.loss, train, dev, about)


WORKLOADS: dict[str, Callable[..., Workload]] = {"tagger": tagger, "tree": tree}


def tagging_accuracy(model: Tagger, examples: list[Tagged]) -> float:
    """The share of words that get the right tag."""
    with no_grad():
        scores = [model(words) for words, _ in examples]  # the first .numpy() runs them all
    right = total = 0
    for rows, (_, gold) in zip(scores, examples, strict=True):
        right += int((rows.numpy().argmax(axis=1) == gold).sum())
        total += len(gold)
    return right / total
