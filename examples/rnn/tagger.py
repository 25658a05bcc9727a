"""A tagger: a bidirectional LSTM reads a sentence and tells the role of each of its words.

The model is written for ONE sentence. Nothing runs while the losses of a minibatch are built; then
`backward` runs them all together, sentences of any length, without padding.

    python examples/rnn/tagger.py                        tokens of Python source, and their roles
    python examples/rnn/tagger.py --chars                the same, rare words read by their letters
    python examples/rnn/tagger.py --data sentences.txt   lines of word|tag word|tag ...
"""

import argparse

from tqdm import tqdm

import lazynet as ln
from lazynet import data, nn, optim

F = nn.functional


class Tagger(nn.Module):
    def __init__(self, words, tags, hidden):
        super().__init__()
        self.words = words
        self.embed = nn.Embedding(len(words), hidden)
        self.rnn = nn.LSTM(hidden, hidden, bidirectional=True)
        self.out = nn.Linear(2 * hidden, len(tags))

    def read(self, words):
        return self.embed(self.words.encode(words))

    def forward(self, words):
        return self.out(self.rnn(self.read(words)))  # one row of scores for each word


class CharTagger(Tagger):
    """Reads a word that is not in the vocabulary letter by letter: sequences inside a sequence."""

    def __init__(self, words, tags, letters, hidden):
        super().__init__(words, tags, hidden)
        self.letters = letters
        self.embed_letter = nn.Embedding(len(letters), 32)
        self.speller = nn.LSTM(32, hidden)

    def spell(self, word):
        return self.speller(self.embed_letter(self.letters.encode(word)))[-1]

    def read(self, words):
        return ln.stack(
            [self.embed(self.words[w]) if w in self.words else self.spell(w) for w in words]
        )


def accuracy(model, tags, examples):
    with ln.no_grad():
        scores = [model(words) for words, _ in examples]  # the first .numpy() runs them all
    right = total = 0
    for rows, (_, gold) in zip(scores, examples, strict=True):
        guess = tags.decode(rows.numpy().argmax(axis=1))
        right += sum(a == b for a, b in zip(guess, gold, strict=True))
        total += len(gold)
    return right / total


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a file of word|tag lines, or a folder of them")
    parser.add_argument("--chars", action="store_true", help="read rare words by their letters")
    parser.add_argument("--policy", default="auto", help="how to batch: none, depth, agenda, ...")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument(
        "--limit", type=int, help="sentences to train on: by default 2000, or all of --data"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    if args.data:
        train, dev = data.read_split(args.data, data.read_tagged)
    else:
        train, dev = data.builtin.tagged(args.limit or 2000)
    train = train[: args.limit]
    words = data.Vocabulary((w for sentence, _ in train for w in sentence), min_count=3)
    tags = data.Vocabulary((tag for _, gold in train for tag in gold), unknown=None)
    letters = data.Vocabulary(a for sentence, _ in train for w in sentence for a in w)

    ln.manual_seed(args.seed)
    if args.chars:
        model = CharTagger(words, tags, letters, args.hidden)
    else:
        model = Tagger(words, tags, args.hidden)
    opt = optim.Adam(model.parameters(), lr=3e-3)
    loader = data.Loader(train, args.batch, seed=args.seed)
    metrics = {}

    with ln.batching(args.policy):
        for epoch in range(1, args.epochs + 1):
            total = 0.0
            for batch in tqdm(loader, desc=f"epoch {epoch}", leave=False):
                losses = [F.cross_entropy(model(w), tags.encode(gold)) for w, gold in batch]
                loss = ln.mean(losses)  # nothing has run yet
                opt.zero_grad()
                loss.backward()  # everything runs, batched
                opt.step()
                total += loss.item()
            metrics = {"loss": total / len(loader), "accuracy": accuracy(model, tags, dev)}
            print(f"epoch {epoch}: loss {metrics['loss']:.3f}, accuracy {metrics['accuracy']:.3f}")
    return metrics


if __name__ == "__main__":
    main()
