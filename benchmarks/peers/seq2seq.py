"""The translator: a packed encoder, then all decoders in step, with attention over padded rows."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from lazynet import peers as placed


class Twin(placed.Twin):
    def __init__(self, words: int, tags: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, dim)
        self.encoder = nn.LSTM(dim, hidden, bidirectional=True)
        self.memory = nn.Linear(2 * hidden, hidden)
        self.embed_tag = nn.Embedding(tags, dim)
        self.decoder = nn.LSTMCell(dim + hidden, hidden)
        self.out = nn.Linear(2 * hidden, tags)

    def one(self, example):
        source, target = example
        rows, _ = self.encoder(self.embed(self.put(source)))
        memory = self.memory(rows)
        h = c = context = torch.tanh(memory[-1:])
        found = []
        for x in self.embed_tag(self.put(target[:-1])):
            h, c = self.decoder(torch.cat([x[None], context], 1), (h, c))
            context = F.scaled_dot_product_attention(h, memory, memory)
            found.append(torch.cat([h, context], 1))
        scores = self.out(torch.cat(found))
        return F.cross_entropy(scores, self.put(target[1:]), reduction="sum")

    def together(self, batch):
        pairs = sorted(batch, key=lambda pair: -len(pair[1]))  # whose decoder has ended comes last
        packed = pack_sequence([self.put(s) for s, _ in pairs], enforce_sorted=False)
        rows, _ = self.encoder(packed._replace(data=self.embed(packed.data)))
        memory, lengths = pad_packed_sequence(rows._replace(data=self.memory(rows.data)), True)
        lengths = lengths.to(self.device)
        first = memory[torch.arange(len(pairs), device=self.device), lengths - 1]
        places = torch.arange(memory.shape[1], device=self.device)
        seen = places < lengths[:, None, None]  # one query, its own words
        h = c = context = torch.tanh(first)
        inputs = pack_sequence([self.put(t[:-1]) for _, t in pairs])
        targets = pack_sequence([self.put(t[1:]) for _, t in pairs])
        found = []
        for x in self.embed_tag(inputs.data).split(inputs.batch_sizes.tolist()):
            n = len(x)
            h, c = self.decoder(torch.cat([x, context[:n]], 1), (h[:n], c[:n]))
            rows = memory[:n]
            read = F.scaled_dot_product_attention(h[:, None], rows, rows, seen[:n])
            context = read[:, 0]
            found.append(torch.cat([h, context], 1))
        return F.cross_entropy(self.out(torch.cat(found)), targets.data, reduction="sum")
