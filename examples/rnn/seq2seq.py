"""Sequence to sequence with attention: translates CamelCase into snake_case, letter by letter.

The decoder attends to every letter of the source. When it translates, it must know a letter before
it reads on: `ln.map` runs this plain loop for many words in step, so greedy and beam search batch.

    python examples/rnn/seq2seq.py                    identifiers of Python source
    python examples/rnn/seq2seq.py --data pairs.txt   lines of source<TAB>target
"""

import argparse

from tqdm import tqdm

import lazynet as ln
from lazynet import data, nn, optim

F = nn.functional
START, END = "<start>", "<end>"


class Translator(nn.Module):
    def __init__(self, letters, hidden):
        super().__init__()
        self.letters = letters
        self.embed = nn.Embedding(len(letters), hidden)
        self.encoder = nn.LSTM(hidden, hidden, bidirectional=True)
        self.memory = nn.Linear(2 * hidden, hidden)
        self.decoder = nn.LSTMCell(2 * hidden, hidden)
        self.out = nn.Linear(2 * hidden, len(letters))

    def encode(self, source):
        """The memory, a row for each letter, and the decoder's first state."""
        memory = self.memory(self.encoder(self.embed(self.letters.encode(source))))
        first = F.tanh(memory[-1])
        return memory, (first, first, first)

    def step(self, memory, state, letter):
        """Scores of the next letter after `letter`, and the state that goes with it."""
        h, c, context = state
        h, c = self.decoder(ln.cat([self.embed(letter), context]), (h, c))
        context = F.scaled_dot_product_attention(h, memory, memory)
        return self.out(ln.cat([h, context])), (h, c, context)

    def loss(self, source, target):
        memory, state = self.encode(source)
        numbers = self.letters.encode([START, *target, END])
        rows = []
        for letter in numbers[:-1]:
            scores, state = self.step(memory, state, letter)
            rows.append(scores)
        return F.cross_entropy(ln.stack(rows), numbers[1:])

    def greedy(self, source):
        memory, state = self.encode(source)
        result, letter = [], self.letters[START]
        while len(result) < 2 * len(source) + 10:
            scores, state = self.step(memory, state, letter)
            letter = scores.argmax().item()  # looks at a value, one example at a time
            if letter == self.letters[END]:
                break
            result.append(letter)
        return "".join(self.letters.decode(result))

    def beam(self, source, width=4):
        memory, state = self.encode(source)
        alive, best = [(0.0, [self.letters[START]], state)], (-float("inf"), [])
        for _ in range(2 * len(source) + 10):
            grown = []
            steps = [self.step(memory, state, result[-1]) for _, result, state in alive]
            chances = [F.log_softmax(scores) for scores, _ in steps]  # all before the first look
            for (score, result, _), (_, state), row in zip(alive, steps, chances, strict=True):
                row = row.numpy()
                for letter in row.argsort()[-width:].tolist():
                    grown.append((score + float(row[letter]), [*result, letter], state))
            grown.sort(key=lambda hypothesis: -hypothesis[0])
            ended = [(score, r[1:-1]) for score, r, _ in grown if r[-1] == self.letters[END]]
            best = max([best, *ended], key=lambda hypothesis: hypothesis[0])
            alive = [one for one in grown if one[1][-1] != self.letters[END]][:width]
            if not alive or best[0] > alive[0][0]:  # scores only fall: no other can overtake it
                break
        best = max([best, *[(score, r[1:]) for score, r, _ in alive]], key=lambda one: one[0])
        return "".join(self.letters.decode(best[1]))


def exact(search, pairs):
    """The share of pairs that a search gets right to the last letter."""
    with ln.no_grad():
        results = ln.map(lambda pair: search(pair[0]), pairs)
    right = [result == target for result, (_, target) in zip(results, pairs, strict=True)]
    return sum(right) / len(right)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a file of source<TAB>target lines, or a folder of them")
    parser.add_argument("--policy", default="auto", help="how to batch: none, depth, agenda, ...")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument(
        "--limit", type=int, help="pairs to train on: by default 2000, or all of --data"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    if args.data:
        train, dev = data.read_split(args.data, data.read_pairs)
    else:
        train, dev = data.builtin.names(args.limit or 2000)
    train = train[: args.limit]
    letters = data.Vocabulary((a for pair in train for a in "".join(pair)), special=[START, END])

    ln.manual_seed(args.seed)
    model = Translator(letters, args.hidden)
    opt = optim.Adam(model.parameters(), lr=3e-3)
    loader = data.Loader(train, args.batch, seed=args.seed)
    metrics = {}

    with ln.batching(args.policy):
        for epoch in range(1, args.epochs + 1):
            total = 0.0
            for batch in tqdm(loader, desc=f"epoch {epoch}", leave=False):
                loss = ln.mean([model.loss(source, target) for source, target in batch])
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()
                total += loss.item()
            metrics = {"loss": total / len(loader), "accuracy": exact(model.greedy, dev)}
            print(f"epoch {epoch}: loss {metrics['loss']:.3f}, accuracy {metrics['accuracy']:.3f}")
        metrics["beam_accuracy"] = exact(model.beam, dev)
        print(f"beam search: accuracy {metrics['beam_accuracy']:.3f}")
    return metrics


if __name__ == "__main__":
    main()
