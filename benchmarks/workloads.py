"""The workloads: real data, models written for one example, and a training step of each.

tagger    bidirectional LSTM over the words of a sentence
tree      Tree-LSTM over binary trees, as plain ops ("op by op") and as `nn.TreeLSTMCell`
language  LSTM that tells the next word
parser    transition parser, greedy decoding with `ln.map`
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import lazynet as ln
from lazynet import data, nn, optim
from lazynet.demo import Tagger

F = nn.functional
START, END = "<start>", "<end>"


@dataclass(frozen=True)
class Spec:
    """What every contender of one race has in common."""

    workload: str
    dim: int
    hidden: int
    batch: int
    limit: int = 1500  # examples
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.workload} {self.dim}/{self.hidden}, minibatch {self.batch}"


@dataclass
class Corpus:
    """Encoded examples and the sizes of their vocabularies."""

    examples: list[Any]
    words: int
    labels: int
    source: str

    def batches(self, size: int) -> list[list[Any]]:
        """Whole minibatches, in an order that is the same for every contender."""
        shuffled = [example for batch in data.Loader(self.examples, 1) for example in batch]
        size = min(size, len(shuffled))
        starts = range(0, len(shuffled) - size + 1, size)
        return [shuffled[start : start + size] for start in starts]


def _real(name: str) -> Path | None:
    folder = os.environ.get("LAZYNET_DATA", "")
    path = Path(folder) / name
    return path if folder and path.exists() else None


@cache
def corpus(workload: str, limit: int) -> Corpus:
    """The corpus of a workload; examples are the first `limit`."""
    return {"tagger": _tagged, "tree": _trees, "language": _text, "parser": _parsed}[workload](
        limit
    )


def _tagged(limit: int) -> Corpus:
    path = _real("wikiner/tagged.txt")
    found = data.read_tagged(path)[:limit] if path else data.builtin.tagged(limit)[0]
    words = data.Vocabulary((w for sentence, _ in found for w in sentence), min_count=2)
    tags = data.Vocabulary((t for _, gold in found for t in gold), unknown=None)
    pairs = [(words.encode(sentence), tags.encode(gold)) for sentence, gold in found]
    return Corpus(pairs, len(words), len(tags), "WikiNER" if path else "Python source")


def _trees(limit: int) -> Corpus:
    path = _real("sst/train.txt")
    found = data.read_trees(path)[:limit] if path else data.builtin.trees(limit)[0]
    words = data.Vocabulary((leaf.word for tree in found for leaf in tree.leaves()), min_count=2)
    labels = 1 + max(n.label for tree in found for n in tree if n.label is not None)
    for tree in found:
        for leaf in tree.leaves():
            leaf.word = words[leaf.word]
    return Corpus(found, len(words), labels, "SST" if path else "Python source")


def _text(limit: int) -> Corpus:
    path = _real("wikiner/tagged.txt")
    found = [w for w, _ in data.read_tagged(path)[:limit]] if path else data.builtin.text(limit)[0]
    words = data.Vocabulary((w for t in found for w in t), min_count=2, special=[START, END])
    texts = [words.encode([START, *text, END]) for text in found]
    return Corpus(texts, len(words), len(words), "WikiNER" if path else "Python source")


def _parsed(limit: int) -> Corpus:
    folder = _real("ud_ewt")
    if folder:
        files = sorted(folder.glob("*.conllu"))
        found = [s for file in files for s in data.read_conllu(file)][:limit]
    else:
        found = data.builtin.dependencies(limit)[0]
    return Corpus(found, 0, 0, "UD EWT" if folder else "Python source")


# -- models ----------------------------------------------------------------------------------------


class PlainTreeCell(nn.Module):
    """`nn.TreeLSTMCell` as a user would write it: every op is a node of its own."""

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


class TreeModel(nn.Module):
    """Scores for every labelled node of a tree."""

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


class LanguageModel(nn.Module):
    """Scores for the next word."""

    def __init__(self, words: int, dim: int, hidden: int) -> None:
        self.embed = nn.Embedding(words, dim)
        self.rnn = nn.LSTM(dim, hidden)
        self.out = nn.Linear(hidden, words)

    def loss(self, numbers):
        scores = self.out(self.rnn(self.embed(numbers[:-1])))
        return F.cross_entropy(scores, numbers[1:], reduction="sum")


def model(spec: Spec, built_in_cell: bool = False) -> Any:
    """The lazynet model of a workload, with initial values that depend on the seed alone."""
    c = corpus(spec.workload, spec.limit)
    ln.manual_seed(spec.seed)
    if spec.workload == "tagger":
        return Tagger(c.words, c.labels, spec.dim, spec.hidden)
    if spec.workload == "language":
        return LanguageModel(c.words, spec.dim, spec.hidden)
    cell = (nn.TreeLSTMCell if built_in_cell else PlainTreeCell)(spec.dim, spec.hidden)
    return TreeModel(c.words, c.labels, spec.dim, spec.hidden, cell)


# -- contenders: functions from a Spec to step(number of the minibatch) -> loss --------------------


def train(
    spec: Spec, policy: str = "auto", built_in_cell: bool = False, device: str = "cpu"
) -> Callable[[int], float]:
    """Training steps: build, forward, backward, Adam."""
    ln.set_batching(policy)
    learner = model(spec, built_in_cell).to(device)
    batches = corpus(spec.workload, spec.limit).batches(spec.batch)
    optimizer = optim.Adam(learner.parameters())

    def tagging(example):
        return F.cross_entropy(learner(example[0]), example[1], reduction="sum")

    loss_of = tagging if spec.workload == "tagger" else learner.loss

    def step(number: int) -> float:
        batch = batches[number % len(batches)]
        loss = ln.sum([loss_of(example) for example in batch]) / len(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def parse(spec: Spec, together: bool = True, policy: str = "auto") -> Callable[[int], float]:
    """Greedy decoding of a minibatch: in step with `ln.map`, or one sentence after another."""
    from examples.rnn.transition_parser import END as STOP
    from examples.rnn.transition_parser import ROOT, Parser

    ln.set_batching(policy)
    c = corpus("parser", spec.limit)
    special = [ROOT, STOP]
    words = data.Vocabulary((w for s in c.examples for w in s.words), 2, special=special)
    tags = data.Vocabulary((t for s in c.examples for t in s.tags), special=special)
    labels = data.Vocabulary((a for s in c.examples for a in s.labels), unknown=None)
    ln.manual_seed(spec.seed)
    parser = Parser(words, tags, labels, spec.hidden)
    batches = c.batches(spec.batch)

    def step(number: int) -> float:
        batch = batches[number % len(batches)]
        with ln.no_grad():
            run = ln.map if together else (lambda f, examples: [f(e) for e in examples])
            parses = run(parser.parse, batch)
        return float(sum(map(len, parses)))

    return step
