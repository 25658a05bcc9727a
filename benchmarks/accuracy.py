"""Accuracy: the models of the examples, trained by lazynet and by PyTorch side by side.

    python -m benchmarks.accuracy                     both tasks, three seeds each
    python -m benchmarks.accuracy tagger --seeds 1

The minibatches are the same, in the same order, and so are Adam and its options. PyTorch runs
twice: from the values that the lazynet model starts with, and from values that it draws itself, by
its own rules. Data comes from the folder that LAZYNET_DATA names (sst/, wikiner/), else from the
source of Python's own standard library.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence

import lazynet as ln
from examples.rnn import tagger
from examples.tree import sentiment
from lazynet import data, optim
from lazynet.peers import Recurrent, Trees, numbered


@dataclass
class Task:
    """What is learned, by which model, and by which twin of it in PyTorch."""

    source: str
    train: list[Any]
    dev: list[Any]
    rate: float
    model: Callable[[], Any]
    loss: Callable[[Any, Any], Any]  # of the model, for one example
    accuracy: Callable[[Any, list[Any]], float]
    twin: Callable[[], Any]
    scores: Callable[[Any, list[Any]], tuple[Any, Any, list[int]]]  # rows, targets, rows an example
    root: bool = False  # whether the last row of an example alone counts for accuracy


def _folder() -> Path | None:
    folder = os.environ.get("LAZYNET_DATA", "")
    return Path(folder) if folder else None


def tagging(hidden: int, limit: int | None) -> Task:
    """Tags of words: the last tenth of the sentences is held out."""
    if folder := _folder():
        found = data.read_tagged(folder / "wikiner/tagged.txt")[:limit]
        held_out = len(found) // 10
        train, dev = found[:-held_out], found[-held_out:]
    else:
        train, dev = data.builtin.tagged(limit or 2000)
    words = data.Vocabulary((w for sentence, _ in train for w in sentence), min_count=3)
    tags = data.Vocabulary((t for _, gold in train + dev for t in gold), unknown=None)

    def scores(twin, batch):
        order = sorted(range(len(batch)), key=lambda i: -len(batch[i][0]))
        inputs = pack_sequence([torch.tensor(words.encode(batch[i][0])) for i in order])
        rows, _ = twin.rnn(inputs._replace(data=twin.embed(inputs.data)))
        padded, lengths = nn.utils.rnn.pad_packed_sequence(rows, batch_first=True)
        rows = torch.cat([padded[k, : lengths[k]] for k in range(len(order))])
        targets = [t for i in order for t in tags.encode(batch[i][1])]
        return twin.out(rows), torch.tensor(targets), lengths.tolist()

    return Task(
        "WikiNER" if folder else "Python source", train, dev, 3e-3,
        lambda: tagger.Tagger(words, tags, hidden),
        lambda model, pair: ln.cross_entropy(model(pair[0]), tags.encode(pair[1])),
        lambda model, pairs: tagger.accuracy(model, tags, pairs),
        lambda: Recurrent(len(words), len(tags), hidden, hidden),
        scores,
    )  # fmt: skip


def sentiments(hidden: int, limit: int | None) -> Task:
    """Labels of trees; the root's is what counts."""
    if folder := _folder():
        train, dev = data.read_split(folder / "sst", data.read_trees)
        train, dev = train[:limit], dev[:limit]
    else:
        train, dev = data.builtin.trees(limit or 1000)
    words = data.Vocabulary((leaf.word for t in train for leaf in t.leaves()), min_count=2)
    labels = 1 + max(n.label for t in train + dev for n in t if n.label is not None)

    def twin():
        made = Trees(len(words), labels, hidden, hidden)
        for parameter in made.cell.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))
        return made

    def scores(twin, batch):
        leaves, levels, targets, labelled = numbered(batch)
        h = twin.states(words.encode(leaves), levels)
        counts = [sum(node.label is not None for node in tree) for tree in batch]
        return twin.out(h[torch.tensor(labelled)]), torch.tensor(targets), counts

    return Task(
        "SST" if folder else "Python source", train, dev, 2e-3,
        lambda: sentiment.TreeClassifier(words, labels, hidden),
        sentiment.TreeClassifier.loss,
        sentiment.accuracy,
        twin, scores, root=True,
    )  # fmt: skip


TASKS = {"tagger": tagging, "sentiment": sentiments}


def by_lazynet(task: Task, epochs: int, batch: int, seed: int) -> list[float]:
    """The accuracy after each epoch."""
    ln.manual_seed(seed)
    model = task.model()
    optimizer = optim.Adam(model.parameters(), lr=task.rate)
    loader = data.Loader(task.train, batch, seed=seed)
    found = []
    for _ in range(epochs):
        for examples in loader:
            loss = ln.mean([task.loss(model, example) for example in examples])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found.append(task.accuracy(model, task.dev))
    return found


def by_pytorch(task: Task, epochs: int, batch: int, seed: int, same: bool) -> list[float]:
    """The accuracy after each epoch; `same` starts from the values of the lazynet model."""
    torch.manual_seed(seed)
    twin = task.twin()
    if same:
        ln.manual_seed(seed)
        values = task.model().state_dict()
        twin.load_state_dict({name: torch.from_numpy(values[name]) for name in twin.state_dict()})
    optimizer = torch.optim.Adam(twin.parameters(), lr=task.rate)
    loader = data.Loader(task.train, batch, seed=seed)
    found = []
    for _ in range(epochs):
        for examples in loader:
            rows, targets, counts = task.scores(twin, examples)
            weights = torch.tensor([1 / n / len(counts) for n in counts for _ in range(n)])
            loss = F.cross_entropy(rows, targets, reduction="none") @ weights
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found.append(_accuracy(task, twin))
    return found


def _accuracy(task: Task, twin: Any) -> float:
    with torch.no_grad():
        rows, targets, counts = task.scores(twin, task.dev)
    right = (rows.argmax(1) == targets).double()
    if task.root:
        right = right[torch.tensor([end - 1 for end in accumulate(counts)])]
    return right.mean().item()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.accuracy", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="|".join(TASKS), help="by default both")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=128, help="size of embeddings and states")
    parser.add_argument("--limit", type=int, help="examples to train on")
    args = parser.parse_args(argv)
    if unknown := set(args.names) - set(TASKS):
        parser.error(f"no task {', '.join(sorted(unknown))}; there are {', '.join(TASKS)}")

    for name in args.names or TASKS:
        task = TASKS[name](args.hidden, args.limit)
        print(
            f"\n{name} on {task.source}: {len(task.train)} examples to train on, {len(task.dev)} "
            f"held out; sizes {args.hidden}, minibatch {args.batch}, {args.epochs} epochs"
        )
        sides: dict[str, Callable[..., list[float]]] = {
            "lazynet": by_lazynet,
            "PyTorch, same start": lambda *given: by_pytorch(*given, same=True),
            "PyTorch, its own start": lambda *given: by_pytorch(*given, same=False),
        }
        for side, learn in sides.items():
            last = [learn(task, args.epochs, args.batch, s)[-1] for s in range(args.seeds)]
            each = " ".join(f"{100 * a:6.2f}" for a in last)
            print(f"  {side:<24} {100 * statistics.mean(last):6.2f}   by seed: {each}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
