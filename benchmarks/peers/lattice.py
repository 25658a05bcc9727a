"""The lattice LSTM, batched by character over the minibatch: word paths are gathered by index.

States of the last characters are kept, as far back as a word may have begun; all words that end at
one character of any sentence are one product.
"""

import torch
from torch import nn
from torch.nn import functional as F

from lazynet import peers as placed


class Cell(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.plain = nn.LSTMCell(dim, hidden)
        self.word_x, self.word_h = nn.Linear(dim, 3 * hidden), nn.Linear(hidden, 3 * hidden, False)
        self.gate_x, self.gate_c = nn.Linear(dim, hidden), nn.Linear(hidden, hidden, False)

    def inputs(self, x):
        """What characters give to the gates of the LSTM, and to those of words."""
        return F.linear(x, self.plain.weight_ih, self.plain.bias_ih), self.gate_x(x)

    def forward(self, own, gate, state, words, begun, rows):
        """States after characters: `words` give their gates, begun in states, to these rows."""
        h, c = state
        i, f, u, o = (own + F.linear(h, self.plain.weight_hh, self.plain.bias_hh)).chunk(4, 1)
        i, u = torch.sigmoid(i), torch.tanh(u)
        made = torch.sigmoid(f) * c + i * u
        if len(rows):
            wi, wf, wu = (words + self.word_h(begun[0])).chunk(3, 1)
            memory = torch.sigmoid(wf) * begun[1] + torch.sigmoid(wi) * torch.tanh(wu)
            weights = torch.exp(torch.sigmoid(self.gate_c(memory) + gate[rows]))
            alone = torch.exp(i)
            total = (alone * u).index_add(0, rows, weights * memory)
            joined = total / alone.index_add(0, rows, weights)
            touched = own.new_zeros(len(own), 1, dtype=torch.bool).index_fill(0, rows, True)
            made = torch.where(touched, joined, made)
        return torch.sigmoid(o) * torch.tanh(made), made


class Twin(placed.Twin):
    def __init__(self, characters: int, words: int, tags: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, dim)
        self.embed_word = nn.Embedding(words, dim)
        self.cell = Cell(dim, hidden)
        self.out = nn.Linear(hidden, tags)

    def one(self, example):
        own, gate = self.cell.inputs(self.embed(self.put(example.characters)))
        zero = gate.new_zeros(1, gate.shape[1])
        states = [(zero, zero)]
        for t, paths in enumerate(example.paths):
            words, begun = gate[:0], (zero, zero)
            if paths:
                words = self.cell.word_x(self.embed_word(self.put([w for _, w in paths])))
                found = [states[first + 1] for first, _ in paths]
                begun = tuple(torch.cat(rows) for rows in zip(*found, strict=True))
            rows = torch.zeros(len(paths), dtype=torch.long, device=self.device)
            here = own[t : t + 1], gate[t : t + 1]
            states.append(self.cell(*here, states[-1], words, begun, rows))
        scores = self.out(torch.cat([h for h, _ in states[1:]]))
        return F.cross_entropy(scores, self.put(example.tags), reduction="sum")

    def together(self, batch):
        batch = sorted(batch, key=lambda example: -len(example.characters))  # the ended come last
        times = range(len(batch[0].characters))
        alive = [[e for e in batch if t < len(e.characters)] for t in times]
        counts = [len(each) for each in alive]
        characters = [e.characters[t] for t in times for e in alive[t]]
        paths = [
            [(row, *path) for row, example in enumerate(alive[t]) for path in example.paths[t]]
            for t in times
        ]
        ended = [len(each) for each in paths]
        words = self.put([word for each in paths for *_, word in each], dtype=torch.long)
        own, gate = self.cell.inputs(self.embed(self.put(characters)))
        words = self.cell.word_x(self.embed_word(words)).split(ended)
        zero = gate.new_zeros(len(batch), gate.shape[1])
        before, states = (zero, zero), []
        for t, here in enumerate(zip(own.split(counts), gate.split(counts), strict=True)):
            rows, begun = self.put([row for row, *_ in paths[t]], dtype=torch.long), before
            if paths[t]:
                since = min(first for _, first, _ in paths[t])
                starts = [sum(counts[since:first]) for _, first, _ in paths[t]]
                where = rows + self.put(starts)
                begun = tuple(
                    torch.cat(kept).index_select(0, where)
                    for kept in zip(*states[since:t], strict=True)
                )
            before = tuple(x[: counts[t]] for x in before)
            before = self.cell(*here, before, words[t], begun, rows)
            states.append(before)
        scores = self.out(torch.cat([h for h, _ in states]))
        tags = self.put([e.tags[t] for t in times for e in alive[t]])
        return F.cross_entropy(scores, tags, reduction="sum")
