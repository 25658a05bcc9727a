"""The child-sum Tree-LSTM, batched by level: sums over children by `index_add`."""

from itertools import accumulate

import torch
from torch import nn
from torch.nn import functional as F

from lazynet import peers as placed


class Cell(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden, dim))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden, hidden))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden))
        self.weight_if = nn.Parameter(torch.empty(hidden, dim))
        self.weight_hf = nn.Parameter(torch.empty(hidden, hidden))
        self.bias_f = nn.Parameter(torch.empty(hidden))

    def inputs(self, x):
        """What inputs give to the gates i, o, u and to the forget gates."""
        return F.linear(x, self.weight_ih, self.bias_ih), F.linear(x, self.weight_if, self.bias_f)

    def forward(self, gates, forget, h, c, parent):
        """The states of nodes; h and c are those of their children, each of a parent."""
        if len(h):
            total = torch.zeros_like(forget).index_add(0, parent, h)
            gates = gates + F.linear(total, self.weight_hh)
        i, o, u = gates.chunk(3, -1)
        made = torch.sigmoid(i) * torch.tanh(u)
        if len(h):
            kept = torch.sigmoid(F.linear(h, self.weight_hf) + forget[parent]) * c
            made = made.index_add(0, parent, kept)
        return torch.sigmoid(o) * torch.tanh(made), made


class Twin(placed.Twin):
    def __init__(self, words: int, labels: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, dim)
        self.cell = Cell(dim, hidden)
        self.out = nn.Linear(hidden, labels)

    def one(self, tree):
        states = {}
        none = self.out.weight[:0]
        for word in tree.order:
            inputs = self.cell.inputs(self.embed.weight[tree.words[word]][None])
            below = [states[child] for child in tree.children[word]]
            h, c = (torch.cat(rows) for rows in zip(*below, strict=True)) if below else (none, none)
            parent = torch.zeros(len(below), dtype=torch.long, device=self.device)
            states[word] = self.cell(*inputs, h, c, parent)
        rows = torch.cat([states[word][0] for word in range(len(tree.words))])
        return F.cross_entropy(self.out(rows), self.put(tree.labels), reduction="sum")

    def together(self, batch):
        words, labels, levels = numbered(batch)
        gates, forget = self.cell.inputs(self.embed(self.put(words)))
        h = c = gates[:0, : self.cell.weight_hf.shape[0]]
        ends = list(accumulate(len(below) for below in levels))
        for start, stop, below in zip([0, *ends], ends, levels, strict=False):
            children = self.put([child for each in below for child in each], dtype=torch.long)
            counts = self.put([len(each) for each in below])
            parent = torch.arange(len(below), device=self.device).repeat_interleave(counts)
            own = gates[start:stop], forget[start:stop]
            above = self.cell(*own, h[children], c[children], parent)
            h, c = torch.cat([h, above[0]]), torch.cat([c, above[1]])
        return F.cross_entropy(self.out(h), self.put(labels), reduction="sum")


def numbered(batch):
    """Words and labels level by level, leaves first, and the rows of children for each level."""
    levels: list[list[tuple[int, int]]] = []
    for k, tree in enumerate(batch):
        height = [0] * len(tree.words)
        for word in tree.order:
            height[word] = 1 + max((height[child] for child in tree.children[word]), default=-1)
            levels += [[] for _ in range(height[word] + 1 - len(levels))]
            levels[height[word]].append((k, word))
    nodes = [node for level in levels for node in level]
    row = {node: number for number, node in enumerate(nodes)}
    children = [[[row[k, x] for x in batch[k].children[word]] for k, word in level]
                for level in levels]  # fmt: skip
    words = [batch[k].words[word] for k, word in nodes]
    return words, [batch[k].labels[word] for k, word in nodes], children
