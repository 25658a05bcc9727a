"""The transition parser on an oracle's transitions: all sentences of a minibatch in step.

A stack is a row of slots, each with a tree's value and the state of the LSTM that has read the
stack up to there. As the transitions are known, so are the slots; scores come last, all at once.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from examples.rnn.transition_parser import END, ROOT, SHIFT
from lazynet import peers as placed


class Twin(placed.Twin):
    def __init__(self, words, tags, labels, dim: int, hidden: int) -> None:
        super().__init__()
        self.words, self.tags, self.labels, self.size = words, tags, labels, hidden
        actions = 1 + 2 * len(labels)
        self.embed_word = nn.Embedding(len(words), hidden)
        self.embed_tag = nn.Embedding(len(tags), hidden)
        self.embed_action = nn.Embedding(actions, hidden)
        self.buffer = nn.LSTM(2 * hidden, hidden)
        self.stack = nn.LSTMCell(2 * hidden, hidden)
        self.compose = nn.Linear(5 * hidden, 2 * hidden)
        self.hidden = nn.Linear(2 * hidden, hidden)
        self.out = nn.Linear(hidden, actions)

    def numbers(self, sentence):
        words = self.words.encode([ROOT, *sentence.words, END])
        return self.put([words, self.tags.encode([ROOT, *sentence.tags, END])])

    def read(self, numbers):
        return torch.cat([self.embed_word(numbers[0]), self.embed_tag(numbers[1])], 1)

    def loss(self, tops, ahead, actions):
        scores = self.out(torch.relu(self.hidden(torch.cat([tops, ahead], 1))))
        return F.cross_entropy(scores, self.put(actions), reduction="sum")

    def one(self, example):
        sentence, actions = example
        x = self.read(self.numbers(sentence))
        ahead = self.buffer(x.flip(0))[0].flip(0)
        zero = x.new_zeros(1, self.size)
        stack = [(x[:1], self.stack(x[:1], (zero, zero)))]
        tops, places = [], []
        for _, i, asked, action in transitions(len(sentence), actions, len(self.labels)):
            if asked:
                tops.append(stack[-1][1][0])
                places.append(i)
            if action == SHIFT:
                value = x[i : i + 1]
            else:
                top, below = stack.pop()[0], stack.pop()[0]
                pair = [below, top] if action > len(self.labels) else [top, below]
                embedded = self.embed_action.weight[action : action + 1]
                value = torch.tanh(self.compose(torch.cat([*pair, embedded], 1)))
            stack.append((value, self.stack(value, stack[-1][1] if stack else (zero, zero))))
        return self.loss(torch.cat(tops), ahead[places], actions)

    def together(self, batch):
        steps = [list(transitions(len(s), a, len(self.labels))) for s, a in batch]
        order = sorted(range(len(batch)), key=lambda k: -len(steps[k]))  # who has ended comes last
        batch, steps = [batch[k] for k in order], [steps[k] for k in order]
        numbers = [self.numbers(sentence) for sentence, _ in batch]
        packed = pack_sequence([each.T.flip(0) for each in numbers], enforce_sorted=False)
        rows = packed._replace(data=self.read(packed.data.T))
        x, lengths = pad_packed_sequence(rows, batch_first=True)
        ahead, _ = pad_packed_sequence(self.buffer(rows)[0], batch_first=True)
        width, last = (
            x.shape[1],
            lengths.to(self.device) - 1,
        )  # word i of sentence k is in row last[k] - i
        x, ahead = x.flatten(0, 1), ahead.flatten(0, 1)
        first = torch.arange(len(batch), device=self.device) * width + last
        depth = 2 + max(step[0] for each in steps for step in each)  # slot 0 is below every stack
        slots = x.new_zeros(len(batch) * depth, 4 * self.size)  # value, h, c
        base = torch.arange(len(batch), device=self.device) * depth

        def push(value, slot):
            below = slots.index_select(0, slot - 1)[:, 2 * self.size :]
            state = self.stack(value, tuple(below.chunk(2, 1)))
            slots.index_copy_(0, slot, torch.cat([value, *state], 1))
            return state[0]

        tops = [push(x[first], base + 1)]  # h at the top of every stack, after each transition
        seen, read = [], []
        start = 0  # of the rows of the last push
        for t in range(len(steps[0])):
            now = self.put([each[t] for each in steps if t < len(each)])
            n = len(now)
            size, i, asked, action = now.unbind(1)
            asks = asked.nonzero()[:, 0]
            seen.append(start + asks)
            read.append((first[:n] - i)[asks])
            start += len(tops[-1])
            tops.append(push(*self.values(x, slots, base[:n], first[:n], size, i, action)))
        actions = {k: iter(a) for k, (_, a) in enumerate(batch)}
        gold = [next(actions[k]) for t in range(len(steps[0])) for k, each in enumerate(steps)
                if t < len(each) and each[t][2]]  # fmt: skip
        return self.loss(torch.cat(tops)[torch.cat(seen)], ahead[torch.cat(read)], gold)

    def values(self, x, slots, base, first, size, i, action):
        """What each transition pushes, and into which slot."""
        value = x.new_empty(len(action), 2 * self.size)
        shifts = action == SHIFT
        moved, joined = shifts.nonzero()[:, 0], (~shifts).nonzero()[:, 0]
        value = value.index_copy(0, moved, x[(first - i)[moved]])
        if len(joined):
            top = (base + size)[joined]
            right = (action[joined] > len(self.labels))[:, None]
            above, below = (slots.index_select(0, s)[:, : 2 * self.size] for s in (top, top - 1))
            head, dependent = torch.where(right, below, above), torch.where(right, above, below)
            parts = torch.cat([head, dependent, self.embed_action(action[joined])], 1)
            value = value.index_copy(0, joined, torch.tanh(self.compose(parts)))
        return value, base + size + torch.where(shifts, 1, -1)


def transitions(n, actions, labels):
    """(trees on the stack, next word, whether there is a choice, action) of each transition."""
    size, i, given, arcs = 1, 1, iter(actions), 0
    while arcs < n:
        asked = size > 2 or i > n
        action = next(given) if asked else SHIFT
        yield size, i, int(asked), action
        if action == SHIFT:
            size, i = size + 1, i + 1
        else:
            size, arcs = size - 1, arcs + 1
