"""Peers: the same models in PyTorch, one example at a time and batched by hand.

Weights start from the lazynet model's, minibatches come in the same order, Adam has the same
options: the losses of the first steps agree, and the race checks that they do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence

from benchmarks import workloads
from benchmarks.workloads import Spec, corpus


class Recurrent(nn.Module):
    """The tagger and the language model: embedding, LSTM, linear layer."""

    def __init__(self, words: int, outputs: int, spec: Spec) -> None:
        super().__init__()
        both = spec.workload == "tagger"
        self.embed = nn.Embedding(words, spec.dim)
        self.rnn = nn.LSTM(spec.dim, spec.hidden, bidirectional=both)
        self.out = nn.Linear((1 + both) * spec.hidden, outputs)


class TreeCell(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden, dim))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden))
        self.weight_hh = nn.Parameter(torch.empty(5 * hidden, 2 * hidden))
        self.bias_hh = nn.Parameter(torch.empty(5 * hidden))

    def leaves(self, x):
        i, o, u = F.linear(x, self.weight_ih, self.bias_ih).chunk(3, -1)
        c = torch.sigmoid(i) * torch.tanh(u)
        return torch.sigmoid(o) * torch.tanh(c), c

    def join(self, left, left_c, right, right_c):
        joined = F.linear(torch.cat([left, right], -1), self.weight_hh, self.bias_hh)
        i, o, u, f, g = joined.chunk(5, -1)
        c = (
            torch.sigmoid(i) * torch.tanh(u)
            + torch.sigmoid(f) * left_c
            + torch.sigmoid(g) * right_c
        )
        return torch.sigmoid(o) * torch.tanh(c), c


class Trees(nn.Module):
    def __init__(self, words: int, labels: int, spec: Spec) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, spec.dim)
        self.cell = TreeCell(spec.dim, spec.hidden)
        self.out = nn.Linear(spec.hidden, labels)


def _prepared(spec: Spec, device: str) -> tuple[Any, list[list[Any]], Any]:
    c = corpus(spec.workload, spec.limit)
    learner = (Trees if spec.workload == "tree" else Recurrent)(c.words, c.labels, spec)
    state = workloads.model(spec).state_dict()
    learner.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    learner.to(device)
    return learner, c.batches(spec.batch), torch.optim.Adam(learner.parameters())


def _trained(
    spec: Spec, total_loss: Callable[[Any, list[Any]], Any], device: str = "cpu"
) -> Callable[[int], float]:
    learner, batches, optimizer = _prepared(spec, device)

    def step(number: int) -> float:
        batch = batches[number % len(batches)]
        loss = total_loss(learner, batch) / len(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _pairs(batch: list[Any]) -> list[tuple[list[int], list[int]]]:
    """(inputs, targets): a text is its words, and the same words one later."""
    return [(e[:-1], e[1:]) if isinstance(e, list) else e for e in batch]


def one_at_a_time(spec: Spec) -> Callable[[int], float]:
    """Every example by itself, in one graph and one backward; `nn.LSTM` where there is one."""

    def recurrent(learner, batch):
        total = 0.0
        for words, targets in _pairs(batch):
            rows, _ = learner.rnn(learner.embed(torch.tensor(words)))
            total += F.cross_entropy(learner.out(rows), torch.tensor(targets), reduction="sum")
        return total

    def trees(learner, batch):
        total = 0.0
        for tree in batch:
            waiting, rows, labels = [], [], []
            for node in tree:
                if node.is_leaf:
                    waiting.append(learner.cell.leaves(learner.embed.weight[node.word]))
                else:
                    right, left = waiting.pop(), waiting.pop()
                    waiting.append(learner.cell.join(*left, *right))
                if node.label is not None:
                    rows.append(waiting[-1][0])
                    labels.append(node.label)
            scores = learner.out(torch.stack(rows))
            total += F.cross_entropy(scores, torch.tensor(labels), reduction="sum")
        return total

    return _trained(spec, trees if spec.workload == "tree" else recurrent)


def packed(spec: Spec, device: str = "cpu") -> Callable[[int], float]:
    """Batched by hand: packed sequences, which do not pad."""

    def loss(learner, batch):
        pairs = sorted(_pairs(batch), key=lambda pair: -len(pair[0]))
        words = pack_sequence([torch.tensor(w) for w, _ in pairs]).to(device)
        targets = pack_sequence([torch.tensor(t) for _, t in pairs]).to(device)
        rows, _ = learner.rnn(words._replace(data=learner.embed(words.data)))
        return F.cross_entropy(learner.out(rows.data), targets.data, reduction="sum")

    return _trained(spec, loss, device)


def by_level(spec: Spec, device: str = "cpu") -> Callable[[int], float]:
    """Batched by hand: all nodes of one height in all trees at once."""

    def loss(learner, batch):
        words, levels, labels, labelled = numbered(batch)
        h, c = learner.cell.leaves(learner.embed(torch.tensor(words, device=device)))
        for pairs in levels:
            left, right = torch.tensor(pairs, device=device).unbind(1)
            above = learner.cell.join(h[left], c[left], h[right], c[right])
            h, c = torch.cat([h, above[0]]), torch.cat([c, above[1]])
        scores = learner.out(h[torch.tensor(labelled)])
        return F.cross_entropy(scores, torch.tensor(labels, device=device), reduction="sum")

    return _trained(spec, loss, device)


def numbered(batch: list[Any]) -> tuple[list[int], list[list[list[int]]], list[int], list[int]]:
    """The words of the leaves, the children of each level by row, and what is labelled.

    Rows are numbered level by level, leaves first.
    """
    levels: list[list[Any]] = []
    height: dict[int, int] = {}
    for tree in batch:
        for node in tree:
            level = 1 + max((height[id(child)] for child in node.children), default=-1)
            height[id(node)] = level
            levels += [[] for _ in range(level + 1 - len(levels))]
            levels[level].append(node)
    row = {id(node): k for k, node in enumerate(n for level in levels for n in level)}
    children = [
        [[row[id(child)] for child in node.children] for node in level] for level in levels[1:]
    ]
    labels = [
        (node.label, row[id(node)]) for tree in batch for node in tree if node.label is not None
    ]
    words = [leaf.word for leaf in levels[0]]
    return words, children, [label for label, _ in labels], [place for _, place in labels]
