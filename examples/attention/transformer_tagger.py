"""A tagger: a transformer reads a sentence, and a CRF tells the roles of its words together.

The model is written for ONE sentence. Nothing runs while the losses of a minibatch are built; then
`backward` runs them all together: attention over sentences of any length, without padding or masks.

    python examples/attention/transformer_tagger.py                       tokens of Python source
    python examples/attention/transformer_tagger.py --no-crf              each role by itself
    python examples/attention/transformer_tagger.py --data sentences.txt  lines of word|tag ...
"""

import argparse

from tqdm import tqdm

import lazynet as ln
from lazynet import data, nn, optim

F = nn.functional


class TransformerTagger(nn.Module):
    def __init__(self, words, tags, hidden, heads=4, layers=2, crf=True):
        super().__init__()
        self.words = words
        self.embed = nn.Embedding(len(words), hidden)
        self.positions = nn.SinusoidalPositions(hidden)
        layer = nn.TransformerEncoderLayer(hidden, heads, 2 * hidden, dropout=0.1, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.out = nn.Linear(hidden, len(tags))
        self.crf = nn.CRF(len(tags)) if crf else None

    def forward(self, words):
        x = self.positions(self.embed(self.words.encode(words)))
        return self.out(self.encoder(x))  # one row of scores for each word

    def loss(self, words, gold):
        scores = self(words)
        if self.crf is None:
            return F.cross_entropy(scores, gold)
        return self.crf(scores, gold) * (1.0 / len(gold))

    def tag(self, words):
        scores = self(words)
        return ln.argmax(scores) if self.crf is None else self.crf.decode(scores)


def accuracy(model, tags, examples):
    model.eval()
    with ln.no_grad():
        guesses = [model.tag(words) for words, _ in examples]  # the first .tolist() runs them all
    model.train()
    right = total = 0
    for guess, (_, gold) in zip(guesses, examples, strict=True):
        right += sum(a == b for a, b in zip(tags.decode(guess.tolist()), gold, strict=True))
        total += len(gold)
    return right / total


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a file of word|tag lines, or a folder of them")
    parser.add_argument("--no-crf", action="store_true", help="choose each tag by itself")
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

    ln.manual_seed(args.seed)
    model = TransformerTagger(words, tags, args.hidden, crf=not args.no_crf)
    opt = optim.Adam(model.parameters(), lr=2e-3)
    loader = data.Loader(train, args.batch, seed=args.seed)
    metrics = {}

    with ln.batching(args.policy):
        for epoch in range(1, args.epochs + 1):
            total = 0.0
            for batch in tqdm(loader, desc=f"epoch {epoch}", leave=False):
                losses = [model.loss(w, tags.encode(gold)) for w, gold in batch]
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
