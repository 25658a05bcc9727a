"""Output layers for large vocabularies: the probability of a word without that of all others.

Each gives log p(target | x) for a row and an integer, or for the rows of a Sequence and as many.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence as Listed
from typing import Any, NamedTuple

import numpy as np

from lazynet.device import beside_operands
from lazynet.nn.containers import ModuleList, Sequential
from lazynet.nn.linear import Linear, drawn, sizes
from lazynet.nn.module import Module
from lazynet.ops.activations import logsigmoid
from lazynet.ops.fill import zeros
from lazynet.ops.linear import dot, linear
from lazynet.ops.lookup import lookup
from lazynet.ops.reduce import argmax, mean
from lazynet.ops.reshape import reshape
from lazynet.ops.rows import gather, sequence
from lazynet.ops.segments import ROW_SUM
from lazynet.ops.softmax import log_softmax, nll
from lazynet.ops.views import cat_features, indices, part, split
from lazynet.parameter import Parameter
from lazynet.record import ShapeError, record_segments
from lazynet.tensor import Sequence, Tensor, tensor


class _Output(Module):
    """What they share: targets are checked, a Tensor is one row, the loss is a mean."""

    n_classes: int
    in_features: int

    def forward(self, x: Any, target: Any) -> Any:
        """The loss: the mean over the rows of -log p(target | x)."""
        return _loss(self.log_prob_of(x, target))

    def _log_prob(self, x: Sequence, target: np.ndarray) -> Sequence:
        """log p(target | x) row by row, of at least one row."""
        raise NotImplementedError

    @beside_operands
    def log_prob_of(self, x: Any, target: Any) -> Any:
        """log p(target | x): a scalar for a row and an integer, or one for each row of a Sequence.

        Raises:
            IndexError: if a target is out of range. ShapeError: if rows or their number do not fit.
        """
        name = type(self).__name__
        single = isinstance(x, Tensor)
        numbers = indices([target] if single else target, self.n_classes, name)
        rows = Sequence(x.graph, x.id, x.type, 1) if single else x
        if rows.type.shape != (self.in_features,):
            raise ShapeError(
                f"{name}: rows of {rows.type.shape}; expected rows of ({self.in_features},)"
            )
        if len(numbers) != len(rows):
            raise ShapeError(f"{name}: {len(numbers)} targets for {len(rows)} rows")
        if not len(rows):
            return zeros(dtype=rows.type.dtype, length=0)
        y = reshape(self._log_prob(rows, numbers), ())
        return y[0] if single else y


def _loss(log_probs: Any) -> Any:
    return -log_probs if isinstance(log_probs, Tensor) else -mean(log_probs)


@beside_operands
def _spread(chosen: list[tuple[list[int], Sequence]], count: int) -> Sequence:
    """Values for some of `count` rows, put where they belong; 0 elsewhere."""
    found: dict[int, Tensor] = {}
    for rows, values in chosen:
        found.update(zip(rows, values, strict=True))
    zero = None if len(found) == count else zeros(dtype=chosen[0][1].type.dtype)
    return sequence([found.get(j, zero) for j in range(count)])


class ASMoutput(NamedTuple):
    """What AdaptiveLogSoftmaxWithLoss gives, as in PyTorch."""

    output: Any  # log p(target | x) for each row
    loss: Any  # the mean of -output


class AdaptiveLogSoftmaxWithLoss(_Output):
    """log p(y | x) with frequent words in the head and rare ones in smaller and smaller tails.

    Shapes: (in,) and a class -> (output (), loss ()); n rows and n classes -> (n rows (), ()).

    p(y | x) = p_head(y | x) for y < cutoffs[0], else p_head(cluster | x) p_cluster(y | x)
    (Grave et al., "Efficient softmax approximation for GPUs", 2017). Words are numbered from the
    most frequent on.

        >>> out = nn.AdaptiveLogSoftmaxWithLoss(8, 100, cutoffs=[10, 40], div_value=2.0)
        >>> loss = out(ln.sequence(np.ones((3, 8), np.float32)), [1, 20, 99]).loss

    Parameters, as PyTorch's: head.weight (cutoffs[0] + clusters, in), and for cluster k
    tail.k.0.weight (in / div_value^(k + 1), in) and tail.k.1.weight (words, ...).

    Args:
        cutoffs: the first word of each cluster, ascending.
        div_value: how many times narrower each tail is than the one before.

    Raises:
        ValueError: for cutoffs that do not ascend, or reach the number of classes; where div_value
            leaves a cluster no features.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Listed[int],
        div_value: float = 4.0,
        head_bias: bool = False,
    ) -> None:
        super().__init__()
        sizes("AdaptiveLogSoftmaxWithLoss", in_features=in_features, n_classes=n_classes)
        edges = [*(int(c) for c in cutoffs), n_classes]
        if len(edges) < 2 or edges[0] < 1 or any(a >= b for a, b in itertools.pairwise(edges)):
            raise ValueError(
                f"AdaptiveLogSoftmaxWithLoss: cutoffs {list(cutoffs)} must ascend from 1 on and "
                f"stay below the {n_classes} classes"
            )
        self.in_features, self.n_classes, self.cutoffs = in_features, n_classes, edges
        self.div_value, self.n_clusters = div_value, len(edges) - 1
        self.shortlist_size = edges[0]
        self.head = Linear(in_features, edges[0] + self.n_clusters, head_bias)
        self.tail = ModuleList()
        for k in range(self.n_clusters):
            narrow = int(in_features // div_value ** (k + 1))
            if narrow < 1:
                raise ValueError(
                    f"AdaptiveLogSoftmaxWithLoss: in_features {in_features} // div_value "
                    f"{div_value} ** {k + 1} leaves cluster {k + 1} no features; give a smaller "
                    "div_value or fewer cutoffs"
                )
            words = edges[k + 1] - edges[k]
            self.tail.append(
                Sequential(Linear(in_features, narrow, False), Linear(narrow, words, False))
            )

    def forward(self, x: Any, target: Any) -> ASMoutput:
        """(log p(target | x), the mean of its negative)."""
        output = self.log_prob_of(x, target)
        return ASMoutput(output, _loss(output))

    def _log_prob(self, x: Sequence, target: np.ndarray) -> Sequence:
        cluster = np.searchsorted(self.cutoffs, target, side="right")  # 0 is the head
        own = np.where(cluster == 0, target, self.shortlist_size + cluster - 1)
        total = -nll(self.head(x), own, "AdaptiveLogSoftmaxWithLoss")
        chosen = []
        for k in np.unique(cluster[cluster > 0]).tolist():
            rows = np.flatnonzero(cluster == k)
            scores, inside = self.tail[k - 1](gather(x, rows)), target[rows] - self.cutoffs[k - 1]
            chosen.append((rows.tolist(), -nll(scores, inside, "AdaptiveLogSoftmaxWithLoss")))
        return total + _spread(chosen, len(x)) if chosen else total

    def log_prob(self, x: Any) -> Any:
        """log p(y | x) of every word y: rows of (n_classes,)."""
        scores = log_softmax(self.head(x))
        head, *clusters = split(scores, [self.shortlist_size] + [1] * self.n_clusters)
        tails = [log_softmax(t(x)) + c for t, c in zip(self.tail, clusters, strict=True)]
        return cat_features([head, *tails])

    def predict(self, x: Any) -> Any:
        """The most probable word of each row."""
        return argmax(self.log_prob(x))


class ClassFactoredSoftmax(_Output):
    """log p(y | x) = log p(c(y) | x) + log p(y | c(y), x) with a class c(y) for each word.

    Goodman, "Classes for fast maximum entropy training", 2001: with about sqrt(n) classes a word
    costs two softmaxes of sqrt(n).

    Shapes: n rows of (in_features,) and n words -> a number.

        >>> out = nn.ClassFactoredSoftmax(8, [0, 0, 1, 1, 1])  # five words in two classes
        >>> loss = out(ln.sequence(np.ones((3, 8), np.float32)), [0, 4, 2])

    Parameters: classes.weight and classes.bias, over the classes; weight (n_classes, in) and bias
    (n_classes,) over the words, those of a class one after the other: row r is word `words[r]`.

    Args:
        classes: the class of each word, numbers from 0 on of which each has a word.

    Raises:
        ValueError: for classes that are no such numbers.
    """

    def __init__(self, in_features: int, classes: Listed[int]) -> None:
        super().__init__()
        sizes("ClassFactoredSoftmax", in_features=in_features, words=len(classes))
        assigned = np.asarray(classes)
        numbered = assigned.dtype.kind in "iu" and int(assigned.min()) >= 0
        counts = np.bincount(assigned) if numbered else np.zeros(1, np.int64)
        if not counts.all():
            raise ValueError(
                "ClassFactoredSoftmax: expected the class of each word, numbers from 0 on of which "
                "each has a word"
            )
        self.in_features, self.n_classes = in_features, len(assigned)
        self.class_of = assigned
        self.words = np.argsort(assigned, kind="stable")
        self.counts = counts
        self._starts = np.cumsum([0, *counts[:-1]])
        self._place = np.argsort(self.words)  # of each word, its row
        self.classes = Linear(in_features, len(counts))
        bound = in_features**-0.5
        self.weight = drawn(bound, self.n_classes, in_features)
        self.bias = drawn(bound, self.n_classes)

    def _log_prob(self, x: Sequence, target: np.ndarray) -> Sequence:
        own = self.class_of[target]
        chosen = []
        for c in np.unique(own).tolist():
            rows = np.flatnonzero(own == c)
            inside = self._place[target[rows]] - self._starts[c]
            scores = self._scores(gather(x, rows), c)
            chosen.append((rows.tolist(), -nll(scores, inside, "ClassFactoredSoftmax")))
        return _spread(chosen, len(x)) - nll(self.classes(x), own, "ClassFactoredSoftmax")

    def _scores(self, x: Any, c: int) -> Any:
        """Of the words of one class, whose softmax is p(y | c, x)."""
        first, count = int(self._starts[c]), int(self.counts[c])
        weight = part(self.weight, (count, self.in_features), first * self.in_features)
        return linear(x, weight, part(self.bias, (count,), first))

    def log_prob(self, x: Any) -> Any:
        """log p(y | x) of every word: rows of (n_classes,), in the order of `words`."""
        scores = split(linear(x, self.weight, self.bias), self.counts.tolist())
        of_classes = split(log_softmax(self.classes(x)), [1] * len(self.counts))
        joined = [log_softmax(s) + c for s, c in zip(scores, of_classes, strict=True)]
        return cat_features(joined)


class HierarchicalSoftmax(_Output):
    """log p(y | x) = sum over the path to y of log sigmoid(+-(w_node . x + b_node)).

    A word is a leaf of a binary tree, and p(y | x) the product of the choices on its way (Morin and
    Bengio, "Hierarchical probabilistic neural network language model", 2005): log2(n) products a
    word. The tree is that of Huffman (1952), in which frequent words have short paths.

    Shapes: n rows of (in_features,) and n words -> a number.

        >>> out = nn.HierarchicalSoftmax(8, counts=[50, 20, 5, 5, 1])
        >>> loss = out(ln.sequence(np.ones((3, 8), np.float32)), [0, 4, 2])

    Parameters: weight (words - 1, in) and bias (words - 1,), one row for each inner node.

    Args:
        counts: how often each word occurs, or the number of words, for a balanced tree.

    Raises:
        ValueError: for fewer than two words.
    """

    def __init__(self, in_features: int, counts: Listed[float] | int) -> None:
        super().__init__()
        given = [1.0] * int(counts) if isinstance(counts, (int, np.integer)) else list(counts)
        sizes("HierarchicalSoftmax", in_features=in_features, words=len(given))
        if len(given) < 2:
            raise ValueError("HierarchicalSoftmax: a tree has two words at least")
        self.in_features, self.n_classes = in_features, len(given)
        self.paths = huffman_paths(given)
        bound = in_features**-0.5
        self.weight = drawn(bound, len(given) - 1, in_features)
        self.bias = Parameter(np.zeros(len(given) - 1, np.float32))

    def _log_prob(self, x: Sequence, target: np.ndarray) -> Sequence:
        paths = [self.paths[y] for y in target.tolist()]
        counts = [len(path) for path in paths]
        nodes = [node for path in paths for node, _ in path]
        signs = np.array([sign for path in paths for _, sign in path])
        repeated = gather(x, np.repeat(np.arange(len(x)), counts))
        scores = dot(lookup(self.weight, nodes), repeated) + lookup(self.bias, nodes)
        choices = logsigmoid(scores * sequence(tensor(signs, x.type.dtype)))
        return record_segments(ROW_SUM, choices, counts=counts)


def huffman_paths(counts: Listed[float]) -> list[list[tuple[int, int]]]:
    """For each word the inner nodes from the root down, each with the side taken: 1 or -1.

        >>> nn.huffman_paths([4, 1, 1])
        [[(1, -1)], [(1, 1), (0, 1)], [(1, 1), (0, -1)]]

    Huffman, "A method for the construction of minimum-redundancy codes", 1952.
    """
    waiting = [(count, k, [k]) for k, count in enumerate(counts)]
    heapq.heapify(waiting)
    paths: list[list[tuple[int, int]]] = [[] for _ in counts]
    for node in range(len(counts) - 1):
        first, second = heapq.heappop(waiting), heapq.heappop(waiting)
        for (_, _, words), sign in ((first, 1), (second, -1)):
            for word in words:
                paths[word].append((node, sign))
        heapq.heappush(waiting, (first[0] + second[0], len(counts) + node, first[2] + second[2]))
    return [path[::-1] for path in paths]
