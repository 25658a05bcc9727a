"""A transition parser: shift and reduce, with the stack read by an LSTM (Dyer et al., 2015).

Each step of a parse depends on the one before, and no two sentences take the same steps. The parser
is a plain loop for one sentence all the same; `ln.map` runs it for many sentences in step.

    python examples/rnn/transition_parser.py                     statements of Python source
    python examples/rnn/transition_parser.py --data treebank/    *train*.conllu, *dev*.conllu
    python examples/rnn/transition_parser.py --compare           parsing in step against one by one
"""

import argparse
import time
from typing import NamedTuple

from tqdm import tqdm

import lazynet as ln
from lazynet import data, nn, optim

F = nn.functional
ROOT, END = "<root>", "<end>"
SHIFT = 0  # with n labels, actions 1 to n are arcs to the left, n + 1 to 2 n to the right


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
        state = self.stack(value, below.state if below else None)
        return Stack(value, state, index, below)

    def forward(self, sentence, choose):
        """The arcs {word: (head, label)} made by the actions that `choose(scores, first)` picks.

        Arc-standard: an arc joins the two topmost trees, and the head takes their place. Of the
        actions, those from number `first` on are possible. The root takes one dependent, at the
        end; until there are two trees above it, only a shift is possible, and nothing is asked.
        """
        n, labels = len(sentence), len(self.labels)
        words = self.embed_word(self.words.encode([ROOT, *sentence.words, END]))
        tags = self.embed_tag(self.tags.encode([ROOT, *sentence.tags, END]))
        x = ln.cat([words, tags])
        ahead = self.buffer(x[::-1])[::-1]  # row i has read the words from the last one to word i
        stack, i, arcs = self.push(None, x[0], 0), 1, {}
        while len(arcs) < n:
            action, two_trees = SHIFT, bool(stack.below and stack.below.below)
            if two_trees or i > n:
                seen = F.relu(self.hidden(ln.cat([stack.state[0], ahead[i]])))
                first = SHIFT if i <= n else 1 if two_trees else 1 + labels
                action = choose(self.out(seen), first)
            if action == SHIFT:
                stack, i = self.push(stack, x[i], i), i + 1
                continue
            right, label = divmod(action - 1, labels)
            head, dependent = (stack.below, stack) if right else (stack, stack.below)
            arcs[dependent.index] = (head.index, label)
            parts = [head.value, dependent.value, self.embed_action(action)]
            value = F.tanh(self.compose(ln.cat(parts)))
            stack = self.push(stack.below.below, value, head.index)
        return arcs

    def loss(self, sentence, actions):
        rows = []

        def follow(scores, first):
            rows.append(scores)
            return actions[len(rows) - 1]

        self(sentence, follow)
        return F.cross_entropy(ln.stack(rows), actions, reduction="sum")

    def parse(self, sentence):
        """The arcs that the best action of each step makes: a loop that looks at every score."""
        return self(sentence, lambda scores, first: first + int(scores.numpy()[first:].argmax()))


def oracle(sentence, labels):
    """The actions, where there is a choice, that build a sentence's tree; None if none do."""
    heads = [None, *sentence.heads]
    waiting = [heads.count(i) for i in range(len(heads))]  # dependents not attached yet
    stack, i, actions = [0], 1, []
    while i < len(heads) or len(stack) > 1:
        below, top = stack[-2:] if len(stack) > 2 or i == len(heads) else (None, None)
        if top and heads[below] == top and not waiting[below]:
            actions.append(1 + labels[sentence.labels[below - 1]])
            waiting[heads[stack.pop(-2)]] -= 1
        elif top and heads[top] == below and not waiting[top]:
            actions.append(1 + len(labels) + labels[sentence.labels[top - 1]])
            waiting[heads[stack.pop()]] -= 1
        elif i < len(heads):
            actions += [SHIFT] if top else []
            stack.append(i)
            i += 1
        else:
            return None  # arcs cross, or several words depend on the root
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


def compare(model, sentences, rounds=4):
    """Sentences parsed in a second, one by one and in step: the best of some rounds."""
    best = [0.0, 0.0]
    for _ in range(rounds):  # the first one also compiles
        for k, run in enumerate((lambda *a: list(map(*a)), ln.map)):
            start = time.perf_counter()
            with ln.no_grad():
                run(model.parse, sentences)
            best[k] = max(best[k], len(sentences) / (time.perf_counter() - start))
    return best


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a CoNLL-U file, or a folder of them")
    parser.add_argument("--policy", default="auto", help="how to batch: none, depth, agenda, ...")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument(
        "--limit", type=int, help="sentences to train on: by default 1000, or all of --data"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compare", action="store_true", help="time parsing 64 sentences")
    args = parser.parse_args(argv)

    if args.data:
        train, dev = data.read_split(args.data, data.read_conllu)
    else:
        train, dev = data.builtin.dependencies(args.limit or 1000)
    train = train[: args.limit]
    words = data.Vocabulary((w for s in train for w in s.words), min_count=2, special=[ROOT, END])
    tags = data.Vocabulary((tag for s in train for tag in s.tags), special=[ROOT, END])
    labels = data.Vocabulary((label for s in train for label in s.labels), unknown=None)
    pairs = [(s, actions) for s in train if (actions := oracle(s, labels))]
    if not pairs:
        parser.error("no sentence to train on is projective and has one root")

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
        if args.compare:
            alone, in_step = metrics["alone"], metrics["in_step"] = compare(model, dev[:64])
            print(f"sentences/s: {alone:.0f} one by one, {in_step:.0f} in step")
    return metrics


if __name__ == "__main__":
    main()
