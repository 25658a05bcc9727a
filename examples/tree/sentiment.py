"""A Tree-LSTM (Tai et al., 2015) reads trees from the leaves to the root and classifies them.

Every tree has a shape of its own, so there is nothing to pad and nothing to collate. The model is a
loop over the nodes of ONE tree; lazynet finds what can run together across a minibatch.

    python examples/tree/sentiment.py                     functions of Python source, by their verb
    python examples/tree/sentiment.py --data treebank/    train.txt, dev.txt: (3 (2 good) (2 film))
"""

import argparse

from tqdm import tqdm

import lazynet as ln
from lazynet import data, nn, optim

F = nn.functional


class TreeClassifier(nn.Module):
    def __init__(self, words, labels, hidden):
        super().__init__()
        self.words = words
        self.embed = nn.Embedding(len(words), hidden)
        self.cell = nn.TreeLSTMCell(hidden, hidden, 2)
        self.out = nn.Linear(hidden, labels)

    def forward(self, tree):
        """Rows of scores, one for each labelled node; children come before their parents."""
        stack, rows = [], []
        for node in tree:  # in post-order, so the children of a node are the top of the stack
            if node.is_leaf:
                state = self.cell(self.embed(self.words[node.word]))
            else:
                children = [stack.pop() for _ in node.children]
                state = self.cell(None, children[::-1])
            stack.append(state)
            if node.label is not None:
                rows.append(state[0])
        return self.out(ln.stack(rows))

    def loss(self, tree):
        labels = [node.label for node in tree if node.label is not None]
        return F.cross_entropy(self(tree), labels, reduction="sum") / len(labels)


def accuracy(model, trees):
    with ln.no_grad():
        scores = [model(tree) for tree in trees]  # the first .numpy() runs them all
    guesses = [rows.numpy()[-1].argmax() for rows in scores]  # the root is the last row
    return sum(guess == tree.label for guess, tree in zip(guesses, trees, strict=True)) / len(trees)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a file of bracketed binary trees, or a folder of them")
    parser.add_argument("--policy", default="auto", help="how to batch: none, depth, agenda, ...")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument(
        "--limit", type=int, help="trees to train on: by default 1000, or all of --data"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    if args.data:
        train, dev = data.read_split(args.data, data.read_trees)
    else:
        train, dev = data.builtin.trees(args.limit or 1000)
    train = train[: args.limit]
    words = data.Vocabulary((leaf.word for t in train for leaf in t.leaves()), min_count=2)
    labels = 1 + max(n.label for t in train + dev for n in t if n.label is not None)

    ln.manual_seed(args.seed)
    model = TreeClassifier(words, labels, args.hidden)
    opt = optim.Adam(model.parameters(), lr=2e-3)
    loader = data.Loader(train, args.batch, seed=args.seed)
    metrics = {}

    with ln.batching(args.policy):
        for epoch in range(1, args.epochs + 1):
            total = 0.0
            for batch in tqdm(loader, desc=f"epoch {epoch}", leave=False):
                loss = ln.mean([model.loss(tree) for tree in batch])
                opt.zero_grad()
                loss.backward()
                opt.step()
                total += loss.item()
            metrics = {"loss": total / len(loader), "accuracy": accuracy(model, dev)}
            print(f"epoch {epoch}: loss {metrics['loss']:.3f}, accuracy {metrics['accuracy']:.3f}")
    return metrics


if __name__ == "__main__":
    main()
