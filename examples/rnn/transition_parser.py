"""A transition parser: shift and reduce, with the stack read by an LSTM (Dyer et al., 2015).

Each step of a parse depends on the one before, and no two sentences take the same steps. The parser
is a plain loop for one sentence all the same; `ln.map` runs it for many sentences in step.

    python examples/rnn/transition_parser.py                     statements of Python source
    python examples/rnn/transition_parser.py --data treebank/    *train*.conllu, *dev*.conllu
"""

import argparse
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

import lazynet as ln
from lazynet import data, nn, optim

F = nn.functional
ROOT, END = "<root>", "<end>"
SHIFT = 0  # the other actions: 1 + 2 * label is an arc to the left, 2 + 2 * label to the right


class Stack(NamedTuple):
    """A stack of partial trees: its top, and what is below. Older stacks stay as they are."""

    value: ln.Tensor  # of the tree at the top
    state: tuple  # of the LSTM that has read the stack up to here
    index: int  # of the word at the head of that tree, 0 for the root
    below: "Stack | None"


class Parser(nn.Module):
    def __init__(self, words, tags, labels, hidden):
        super().__init__()
        self.words, self.tags, self.labels = words, tags, labels
        actions = 1 + 2 * len(labels)
        self.embed_word = nn.Embedding(len(words), hidden)
        self.embed_tag = nn.Embedding(len(tags), hidden)
        self.embed_action = nn.Embedding(actions, hidden)
        self.buffer = nn.LSTM(2 * hidden, hidden)
        self.stack = nn.LSTMCell(2 * hidden, hidden)
        self.compose = nn.Linear(5 * hidden, 2 * hidden)
        self.hidden = nn.Linear(2 * hidden, hidden)
        self.out = nn.Linear(hidden, actions)

    def push(self, below, value, index):
        state = self.stack(value, below.state) if below else self.stack(value)
        return Stack(value, state, index, below)

    def forward(self, sentence, choose):
        """The arcs {word: (head, label)} made by the actions that `choose(scores, allowed)` picks.

        Arc-standard: an arc joins the two topmost trees, and the head takes their place.
        """
        n = len(sentence)
        words = self.embed_word(self.words.encode([ROOT, *sentence.words, END]))
        tags = self.embed_tag(self.tags.encode([ROOT, *sentence.tags, END]))
        x = ln.cat([words, tags])
        ahead = self.buffer(x[::-1])[::-1]  # row i has read the words from the last one to word i
        stack, i, arcs = self.push(None, x[0], 0), 1, {}
        while len(arcs) < n:
            features = ln.cat([stack.state[0], ahead[i]])
            scores = self.out(F.relu(self.hidden(features)))
            action = choose(scores, self.allowed(stack, i <= n))
            if action == SHIFT:
                stack, i = self.push(stack, x[i], i), i + 1
                continue
            label, right = divmod(action - 1, 2)
            head, dependent = (stack.below, stack) if right else (stack, stack.below)
            arcs[dependent.index] = (head.index, label)
            parts = [head.value, dependent.value, self.embed_action(action)]
            value = F.tanh(self.compose(ln.cat(parts)))
            stack = self.push(stack.below.below, value, head.index)
        return arcs

    def allowed(self, stack, words_left):
        mask = np.zeros(1 + 2 * len(self.labels), bool)
        mask[SHIFT] = words_left
        if stack.below is not None:
            mask[1::2] = stack.below.index != 0  # the root is no dependent
            mask[2::2] = stack.below.index != 0 or not words_left  # and takes one, at the end
        return mask

    def loss(self, sentence, actions):
        rows = []

        def follow(scores, allowed):
            rows.append(scores)
            return actions[len(rows) - 1]

        self(sentence, follow)
        return F.cross_entropy(ln.stack(rows), actions, reduction="sum")

    def parse(self, sentence):
        return self(
            sentence, lambda scores, ok: int(np.where(ok, scores.numpy(), -np.inf).argmax())
        )


def oracle(sentence, labels):
    """The actions that build the tree of a sentence; None if arcs cross, so that there are none."""
    heads = [None, *sentence.heads]
    waiting = [heads.count(i) for i in range(len(heads))]  # dependents not attached yet
    stack, i, actions = [0], 1, []
    while i < len(heads) or len(stack) > 1:
        below, top = stack[-2:] if len(stack) > 1 else (None, None)
        if below and heads[below] == top and not waiting[below]:
            actions.append(1 + 2 * labels[sentence.labels[below - 1]])
            waiting[heads[stack.pop(-2)]] -= 1
        elif top and heads[top] == below and not waiting[top]:
            actions.append(2 + 2 * labels[sentence.labels[top - 1]])
            waiting[heads[stack.pop()]] -= 1
        elif i < len(heads):
            actions.append(SHIFT)
            stack.append(i)
            i += 1
        else:
            return None
    return actions


def attachment(model, sentences):
    """The shares of words with the right head (UAS), and with the right head and label (LAS)."""
    with ln.no_grad():
        parses = ln.map(model.parse, sentences)
    heads = arcs = 0
    for parse, sentence in zip(parses, sentences, strict=True):
        for i, gold in enumerate(zip(sentence.heads, sentence.labels, strict=True), 1):
            head, label = parse[i]
            heads += head == gold[0]
            arcs += (head, model.labels.entries[label]) == gold
    total = sum(map(len, sentences))
    return heads / total, arcs / total


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a CoNLL-U file, or a folder of them")
    parser.add_argument("--policy", default="auto", help="how to batch: none, depth, agenda, ...")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--limit", type=int, default=1000, help="sentences to train on")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    if args.data:
        train, dev = data.read_split(args.data, data.read_conllu)
    else:
        train, dev = data.builtin.dependencies(args.limit)
    train = train[: args.limit]
    words = data.Vocabulary((w for s in train for w in s.words), min_count=2, special=[ROOT, END])
    tags = data.Vocabulary((tag for s in train for tag in s.tags), special=[ROOT, END])
    labels = data.Vocabulary((label for s in train for label in s.labels), unknown=None)
    pairs = [(s, actions) for s in train if (actions := oracle(s, labels)) is not None]

    ln.manual_seed(args.seed)
    model = Parser(words, tags, labels, args.hidden)
    opt = optim.Adam(model.parameters(), lr=2e-3)
    loader = data.Loader(pairs, args.batch, seed=args.seed)
    metrics = {}

    with ln.batching(args.policy):
        for epoch in range(1, args.epochs + 1):
            total = 0.0
            for batch in tqdm(loader, desc=f"epoch {epoch}", leave=False):
                steps = sum(len(actions) for _, actions in batch)
                loss = ln.sum([model.loss(s, actions) for s, actions in batch]) / steps
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()
                total += loss.item()
            uas, las = attachment(model, dev)
            metrics = {"loss": total / len(loader), "uas": uas, "las": las}
            print(f"epoch {epoch}: loss {metrics['loss']:.3f}, UAS {uas:.3f}, LAS {las:.3f}")
    return metrics


if __name__ == "__main__":
    main()
