"""Models of the demo in PyTorch, one example at a time and batched by hand; needs PyTorch.

They take the weights of their lazynet twins. `one` gives the sum of an example's losses, `together`
that of a minibatch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence

from lazynet.bench import Size
from lazynet.demo import TreeClassifier
from lazynet.race import Steps


class Twin(nn.Module):
    """A model with a linear layer `out` at its end."""

    out: nn.Linear

    @property
    def device(self) -> Any:
        """Where the parameters are."""
        return self.out.weight.device

    def put(self, values: Any, dtype: Any = None) -> Any:
        """A tensor of these values where the parameters are."""
        return torch.tensor(values, dtype=dtype, device=self.device)


class Recurrent(Twin):
    """Embedding, LSTM in one direction or both, linear layer: a row of scores for each word."""

    def __init__(self, words: int, outputs: int, dim: int, hidden: int, both: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, dim)
        self.rnn = nn.LSTM(dim, hidden, bidirectional=both)
        self.out = nn.Linear((1 + both) * hidden, outputs)

    def one(self, example: tuple[list[int], list[int]]) -> Any:
        words, targets = example
        rows, _ = self.rnn(self.embed(self.put(words)))
        return F.cross_entropy(self.out(rows), self.put(targets), reduction="sum")

    def together(self, batch: list[tuple[list[int], list[int]]]) -> Any:
        """Packed sequences, which do not pad."""
        pairs = sorted(batch, key=lambda pair: -len(pair[0]))
        words = pack_sequence([self.put(w) for w, _ in pairs])
        targets = pack_sequence([self.put(t) for _, t in pairs])
        rows, _ = self.rnn(words._replace(data=self.embed(words.data)))
        return F.cross_entropy(self.out(rows.data), targets.data, reduction="sum")


class TreeCell(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden, dim))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden))
        self.weight_hh = nn.Parameter(torch.empty(5 * hidden, 2 * hidden))
        self.bias_hh = nn.Parameter(torch.empty(5 * hidden))

    def leaves(self, x: Any) -> tuple[Any, Any]:
        i, o, u = F.linear(x, self.weight_ih, self.bias_ih).chunk(3, -1)
        c = torch.sigmoid(i) * torch.tanh(u)
        return torch.sigmoid(o) * torch.tanh(c), c

    def join(self, left: Any, left_c: Any, right: Any, right_c: Any) -> tuple[Any, Any]:
        joined = F.linear(torch.cat([left, right], -1), self.weight_hh, self.bias_hh)
        i, o, u, f, g = joined.chunk(5, -1)
        c = (
            torch.sigmoid(i) * torch.tanh(u)
            + torch.sigmoid(f) * left_c
            + torch.sigmoid(g) * right_c
        )
        return torch.sigmoid(o) * torch.tanh(c), c


class Trees(Twin):
    """Embedding, binary Tree-LSTM, linear layer: a row of scores for each labelled node."""

    def __init__(self, words: int, labels: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, dim)
        self.cell = TreeCell(dim, hidden)
        self.out = nn.Linear(hidden, labels)

    def one(self, tree: Any) -> Any:
        waiting: list[Any] = []
        rows, labels = [], []
        for node in tree:
            if node.is_leaf:
                waiting.append(self.cell.leaves(self.embed.weight[node.word]))
            else:
                right, left = waiting.pop(), waiting.pop()
                waiting.append(self.cell.join(*left, *right))
            if node.label is not None:
                rows.append(waiting[-1][0])
                labels.append(node.label)
        scores = self.out(torch.stack(rows))
        return F.cross_entropy(scores, self.put(labels), reduction="sum")

    def together(self, batch: list[Any]) -> Any:
        """All nodes of one height in all trees at once."""
        words, levels, labels, labelled = numbered(batch)
        scores = self.out(self.states(words, levels)[self.put(labelled)])
        return F.cross_entropy(scores, self.put(labels), reduction="sum")

    def states(self, words: list[int], levels: list[list[list[int]]]) -> Any:
        """The state of every node, in the order of `numbered`."""
        h, c = self.cell.leaves(self.embed(self.put(words)))
        for pairs in levels:
            left, right = self.put(pairs).unbind(1)
            above = self.cell.join(h[left], c[left], h[right], c[right])
            h, c = torch.cat([h, above[0]]), torch.cat([c, above[1]])
        return h


TWINS: dict[str, Callable[..., Any]] = {"tagger": Recurrent, "tree": Trees}


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


def train(twin: Any, state: Any, batches: list[Any], together: bool, device: str = "cpu") -> Steps:
    """Training steps of a model with these initial values: forward, backward, Adam."""
    values = {name: torch.from_numpy(state[name]) for name in twin.state_dict()}
    twin.load_state_dict(values)
    twin.to(device)
    optimizer = torch.optim.Adam(twin.parameters())
    total: Callable[[list[Any]], Any]
    total = twin.together if together else lambda batch: sum(map(twin.one, batch))

    def run(batch: list[Any]) -> float:
        loss = total(batch) / len(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return Steps(batches, run)


def theirs(size: Size, together: bool = False) -> Steps:
    """Training steps of a demo's model in PyTorch, from the values that lazynet's starts with."""
    workload, batches = size.workload_and_batches()
    state = workload.model.state_dict()
    words, outputs = len(state["embed.weight"]), len(state["out.bias"])
    twin = TWINS[size.workload](words, outputs, size.hidden, size.hidden)
    if isinstance(workload.model, TreeClassifier):
        for leaf in (leaf for tree in workload.train for leaf in tree.leaves()):
            leaf.word = workload.model.words[leaf.word]  # numbers, as lazynet looks them up itself
    return train(twin, state, batches, together)
