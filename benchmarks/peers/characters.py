"""The tagger with rare words by letters: these packed over the minibatch, then the sentences."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence

from benchmarks.workloads.characters import LETTER_DIM
from lazynet.peers import Recurrent


class Twin(Recurrent):
    def __init__(self, words: int, tags: int, letters: int, dim: int, hidden: int) -> None:
        super().__init__(words, tags, dim, hidden)
        self.embed_letter = nn.Embedding(letters, LETTER_DIM)
        self.speller = nn.LSTM(LETTER_DIM, dim)

    def read(self, word):
        if isinstance(word, int):
            return self.embed.weight[word]
        rows, _ = self.speller(self.embed_letter(self.put(word)))
        return rows[-1]

    def one(self, example):
        words, tags = example
        rows, _ = self.rnn(torch.stack([self.read(word) for word in words]))
        return F.cross_entropy(self.out(rows), self.put(tags), reduction="sum")

    def together(self, batch):
        examples = sorted(batch, key=lambda example: -len(example[0]))
        known = [w for words, _ in examples for w in words if isinstance(w, int)]
        rare = [w for words, _ in examples for w in words if not isinstance(w, int)]
        rows = self.embed(self.put(known, dtype=torch.long))
        if rare:
            letters = pack_sequence([self.put(w) for w in rare], enforce_sorted=False)
            _, (h, _) = self.speller(letters._replace(data=self.embed_letter(letters.data)))
            rows = torch.cat([rows, h[0]])  # known words, then those that were spelled
        places = iter(range(len(known))), iter(range(len(known), len(known) + len(rare)))
        where = [
            self.put([next(places[not isinstance(w, int)]) for w in words]) for words, _ in examples
        ]
        packed = pack_sequence(where)
        targets = pack_sequence([self.put(tags) for _, tags in examples])
        rows, _ = self.rnn(packed._replace(data=rows[packed.data]))
        return F.cross_entropy(self.out(rows.data), targets.data, reduction="sum")
