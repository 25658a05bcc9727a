"""A language model: an LSTM learns to tell the next word, then writes some text of its own.

Training sees whole sequences, one LSTM node each. Writing goes word by word, and every word must be
known before the next is read; `ln.map` writes several texts in step, so that this batches as well.

    python examples/rnn/language_model.py                     functions of Python source
    python examples/rnn/language_model.py --data corpus.txt   one sentence a line
"""

import argparse
import math

import numpy as np
from tqdm import tqdm

import lazynet as ln
from lazynet import data, nn, optim

F = nn.functional
START, END = "<start>", "<end>"


class LanguageModel(nn.Module):
    def __init__(self, words, hidden, dropout=0.2):
        super().__init__()
        self.embed = nn.Embedding(words, hidden)
        self.rnn = nn.LSTM(hidden, hidden)
        self.out = nn.Linear(hidden, words)
        self.dropout = dropout

    def forward(self, numbers):
        states = self.rnn(self.embed(numbers[:-1]))
        return self.out(F.dropout(states, self.dropout, training=self.training))

    def loss(self, numbers):
        return F.cross_entropy(self(numbers), numbers[1:], reduction="sum")

    def write(self, words, rng, longest=60):
        """One text: a plain loop that looks at each word before it goes on."""
        text, state, word = [], None, words[START]
        while len(text) < longest:
            rows, state = self.rnn(self.embed([word]), state, return_state=True)
            scores = self.out(rows[-1]).numpy()
            scores[words[START]] = -np.inf  # which nothing goes on with
            word = int((scores + rng.gumbel(size=len(scores))).argmax())  # a draw from the softmax
            if word == words[END]:
                break
            text.append(words.entries[word])
        return text


def show(text):
    """A text as lines; source keeps its layout, which the corpus tells by words of its own."""
    lines, indent = [""], 0
    for word in text:
        if word == "<newline>":
            lines.append("")
        elif word in ("<indent>", "<dedent>"):
            indent = max(0, indent + (4 if word == "<indent>" else -4))
        else:
            lines[-1] += f" {word}" if lines[-1] else " " * indent + word
    return "\n".join(lines)


def perplexity(model, sequences):
    model.eval()
    with ln.no_grad():
        losses = [model.loss(numbers) for numbers in sequences]
    total = sum(loss.item() for loss in losses)  # the first .item() runs them all
    model.train()
    return math.exp(total / sum(len(numbers) - 1 for numbers in sequences))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a file of sentences, one a line, or a folder of them")
    parser.add_argument("--policy", default="auto", help="how to batch: none, depth, agenda, ...")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument(
        "--limit", type=int, help="texts to train on: by default 1000, or all of --data"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    if args.data:
        train, dev = data.read_split(args.data, data.read_text)
    else:
        train, dev = data.builtin.text(args.limit or 1000)
    train = train[: args.limit]
    words = data.Vocabulary((w for text in train for w in text), min_count=3, special=[START, END])
    train, dev = ([words.encode([START, *t, END]) for t in part] for part in (train, dev))

    ln.manual_seed(args.seed)
    model = LanguageModel(len(words), args.hidden)
    opt = optim.Adam(model.parameters(), lr=3e-3)
    loader = data.Loader(train, args.batch, seed=args.seed)
    metrics = {}

    with ln.batching(args.policy):
        for epoch in range(1, args.epochs + 1):
            total = 0.0
            for batch in tqdm(loader, desc=f"epoch {epoch}", leave=False):
                tokens = sum(len(numbers) - 1 for numbers in batch)
                loss = ln.sum([model.loss(numbers) for numbers in batch]) / tokens
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()
                total += loss.item()
            metrics = {"loss": total / len(loader), "perplexity": perplexity(model, dev)}
            print(
                f"epoch {epoch}: loss {metrics['loss']:.3f}, perplexity {metrics['perplexity']:.1f}"
            )

        model.eval()
        with ln.no_grad():
            seeds = [np.random.default_rng([args.seed, i]) for i in range(3)]
            texts = ln.map(lambda rng: model.write(words, rng), seeds)
    for text in texts:
        print("-" * 40, show(text), sep="\n")
    return metrics


if __name__ == "__main__":
    main()
