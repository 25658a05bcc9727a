"""Minibatches: plain lists of examples, in a new order every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from lazynet.elsewhere import TORCH_LOADERS
from lazynet.unknown import TellsSettings, missing

Example = TypeVar("Example")


class Loader(TellsSettings, Generic[Example]):
    """Iterates over examples in lists of `batch_size`; the last list may be shorter.

    With `shuffle` every epoch has an order of its own, which depends on `seed` and the number of
    the epoch alone. `epoch` counts the epochs begun; set it to go on where an earlier run stopped.

    >>> from lazynet.data import Loader
    >>> list(Loader([1, 2, 3, 4, 5], batch_size=2, shuffle=False))
    [[1, 2], [3, 4], [5]]

    Raises:
        ValueError: for a batch size that is no integer of at least 1.
        TypeError: for examples that cannot be asked for by number, such as a generator.
    """

    def __init__(
        self, examples: Sequence[Example], batch_size: int, shuffle: bool = True, seed: int = 0
    ) -> None:
        if not hasattr(examples, "__len__") or not hasattr(examples, "__getitem__"):
            kind = type(examples).__name__
            raise TypeError(f"Loader: expected a list of examples, not {kind}; a list would do")
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(
                f"Loader: batch_size must be an integer of at least 1, not {batch_size!r}"
            )
        self.examples = examples
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0

    if not TYPE_CHECKING:  # a type checker would take any name for one that is there

        def __getattr__(self, name: str):
            raise missing(self, "'Loader' object", name, TORCH_LOADERS)

    def __repr__(self) -> str:
        size, shuffle = self.batch_size, self.shuffle
        return f"Loader({len(self.examples)} examples, batch_size={size}, shuffle={shuffle})"

    def __len__(self) -> int:
        """The number of minibatches of an epoch."""
        return -(-len(self.examples) // self.batch_size)

    def __iter__(self) -> Iterator[list[Example]]:
        order = np.arange(len(self.examples))
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        self.epoch += 1
        return self._batches(order.tolist())

    def _batches(self, order: list[int]) -> Iterator[list[Example]]:
        for start in range(0, len(order), self.batch_size):
            yield [self.examples[i] for i in order[start : start + self.batch_size]]
