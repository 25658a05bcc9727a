"""The transition parser of the examples: trained on an oracle's transitions, and parsing greedily.

Its stack is read by an LSTM, so that every transition depends on those before, and no two sentences
take the same ones. All its sizes are the hidden size.
"""

from __future__ import annotations

from typing import Any

import lazynet as ln
from benchmarks.workloads.base import Corpus, Spec, parsed
from examples.rnn import transition_parser
from examples.rnn.transition_parser import END, ROOT, oracle
from lazynet import data
from lazynet.race import Steps


def read(limit: int) -> Corpus:
    """Sentences with the transitions that build their trees; where arcs cross there are none."""
    found, source = parsed(limit)
    special = [ROOT, END]
    words = data.Vocabulary((w for s in found for w in s.words), min_count=2, special=special)
    tags = data.Vocabulary((t for s in found for t in s.tags), special=special)
    labels = data.Vocabulary((a for s in found for a in s.labels), unknown=None)
    pairs = [(s, actions) for s in found if (actions := oracle(s, labels))]
    return Corpus(pairs, {"words": words, "tags": tags, "labels": labels}, source)


class Parser(transition_parser.Parser):
    def loss(self, example):
        return super().loss(*example)


MODELS = {"": lambda c, spec: Parser(**c.sizes, hidden=spec.hidden)}


def parse(spec: Spec, together: bool = True, policy: str = "auto") -> Steps:
    """Greedy parsing of a minibatch: in step with `ln.map`, or one sentence after another.

    The "loss" of a step is the number of arcs to a word's right, which agrees if parses do.
    """
    from benchmarks import workloads

    ln.set_batching(policy)
    learner = workloads.model(spec)
    batches = workloads.corpus(spec.workload, spec.limit).batches(spec.batch)

    def run(batch: list[Any]) -> float:
        sentences = [sentence for sentence, _ in batch]
        with ln.no_grad():
            if together:
                parses = ln.map(learner.parse, sentences)
            else:
                parses = [learner.parse(sentence) for sentence in sentences]
        return float(sum(head < word for p in parses for word, (head, _) in p.items()))

    return Steps(batches, run)
