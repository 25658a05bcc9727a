"""Bags of words: embeddings of several indices as one row."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.nn.linear import Embedding
from lazynet.ops.fill import zeros
from lazynet.ops.lookup import lookup
from lazynet.ops.rows import sequence
from lazynet.ops.segments import ROW_MAX, ROW_SUM
from lazynet.ops.views import indices
from lazynet.record import ShapeError, as_value, record_segments
from lazynet.tensor import Sequence, tensor

MODES = ("sum", "mean", "max")


class EmbeddingBag(Embedding):
    """y = the sum, mean or maximum of weight[i] over the indices i of a bag of any size.

        >>> bag = nn.EmbeddingBag(10, 4, mode="sum")
        >>> bag([1, 2, 1]).shape, bag([[1, 2], [], [3]]).shape
        ((4,), (3, 4))

    Parameters: weight (num_embeddings, embedding_dim), as Embedding's. An empty bag gives 0.

    Shapes: integers -> (embedding_dim,); n lists of integers -> n rows of (embedding_dim,).

    Args:
        padding_idx: an index that counts as if it were not in the bag; its row begins at 0 and gets
            no gradient.
        include_last_offset: whether offsets end with the number of all indices.

    Raises:
        ValueError: for another mode. IndexError: when called, if an index is out of range.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        mode: str = "mean",
        padding_idx: int | None = None,
        include_last_offset: bool = False,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx)
        if mode not in MODES:
            raise ValueError(f"EmbeddingBag: mode must be one of {MODES}, not {mode!r}")
        self.mode, self.include_last_offset = mode, include_last_offset

    def forward(self, index: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        """One row a bag.

        Args:
            index: the integers of one bag, giving a Tensor; a list of bags, giving a Sequence; or,
                with `offsets`, the integers of all bags one after the other.
            offsets: where each bag begins.
            per_sample_weights: with the mode "sum" and one bag or offsets, a number or value for
                each index.

        Raises:
            IndexError: if an index is out of range. ShapeError: if offsets or weights do not fit.
        """
        if isinstance(index, str) or not hasattr(index, "__len__"):
            raise TypeError(f"EmbeddingBag: expected a list of integers, not {index!r}")
        if offsets is not None:
            counts = _counts(offsets, len(index), self.include_last_offset)
        elif isinstance(index, (list, tuple)) and index and np.ndim(index[0]) == 1:
            counts = [len(bag) for bag in index]
            index = [i for bag in index for i in bag]
        else:
            return self._reduced(index, [len(index)], per_sample_weights)[0]
        return self._reduced(index, counts, per_sample_weights)

    def _reduced(self, index: Any, counts: list[int], weights: Any) -> Sequence:
        if weights is not None:
            weights = self._weights(weights, len(index))
        if self.padding_idx is not None:
            index, counts, weights = self._unpadded(index, counts, weights)
        rows = lookup(self.weight, list(index))
        if weights is not None:
            rows = rows * weights
        if self.mode == "max":
            return self._largest(rows, counts)
        total = record_segments(ROW_SUM, rows, counts=counts)
        if self.mode == "sum":
            return total
        shares = 1.0 / np.maximum(counts, 1)
        return total * sequence(tensor(shares[:, None], self.weight.dtype))

    def _unpadded(self, index: Any, counts: list[int], weights: Any) -> tuple[Any, list[int], Any]:
        """Bags without what pads them."""
        numbers = indices(index, self.num_embeddings, "EmbeddingBag")
        kept = numbers != self.padding_idx
        if weights is not None:
            weights = weights[kept]
        ends = np.cumsum(counts)
        running = np.concatenate([[0], np.cumsum(kept)])
        return numbers[kept], (running[ends] - running[ends - counts]).tolist(), weights

    def _weights(self, weights: Any, count: int) -> Any:
        if self.mode != "sum":
            raise ValueError(f"EmbeddingBag: weights go with the mode 'sum', not {self.mode!r}")
        if not isinstance(weights, Sequence):
            array = weights if hasattr(weights, "type") else np.asarray(weights, self.weight.dtype)
            weights = sequence(as_value(array, "EmbeddingBag"))
        if len(weights) != count or weights.type.size != 1:
            raise ShapeError(f"EmbeddingBag: weights of {weights.shape} for {count} indices")
        return weights

    def _largest(self, rows: Sequence, counts: list[int]) -> Sequence:
        """The elementwise maximum of each bag, 0 where there is none."""
        full = [count for count in counts if count]
        if len(full) == len(counts):
            return record_segments(ROW_MAX, rows, counts=counts)
        empty = zeros(self.embedding_dim, dtype=self.weight.dtype.name)
        largest = iter(record_segments(ROW_MAX, rows, counts=full)) if full else iter(())
        return sequence([next(largest) if count else empty for count in counts])

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, mode={self.mode!r}"


def _counts(offsets: Any, length: int, with_last: bool) -> list[int]:
    """How many indices each bag has."""
    starts = np.asarray(offsets)
    if with_last and starts.ndim == 1 and len(starts):
        if starts[-1] != length:
            raise ShapeError(
                f"EmbeddingBag: offsets end with {starts[-1]} and not with the {length} indices"
            )
        starts = starts[:-1]
    edges = np.append(starts, length)
    if starts.ndim != 1 or len(starts) == 0 or starts[0] != 0 or (np.diff(edges) < 0).any():
        raise ShapeError(
            f"EmbeddingBag: offsets {starts.tolist()} for {length} indices; expected where each "
            "bag begins, the first at 0, in order"
        )
    return np.diff(edges).tolist()
