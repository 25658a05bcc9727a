"""Vocabularies: entries and the integers that stand for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence


class Vocabulary:
    """Numbers 0, 1, 2, ... for entries, the most frequent first.

    >>> from lazynet.data import Vocabulary
    >>> words = Vocabulary("the cat the dog the cat".split())
    >>> words.encode(["the", "bird"]), words.decode([1, 2])
    ([1, 0], ['the', 'cat'])

    Args:
        counts: a mapping from entry to count, or an iterable of entries to be counted.
        min_count: entries seen less often are left out.
        unknown: the entry that stands for all others; None for a closed set such as tags, where
            an entry that is not there raises KeyError.
        special: entries put first whatever their counts, such as marks of start and end.

    Special entries come first, then `unknown`, then the others by falling count, ties by text: the
    numbering does not depend on the order of the data.

    Raises:
        ValueError: for special entries that do not differ.
        TypeError: for what cannot be counted.
    """

    def __init__(
        self,
        counts: Mapping[Hashable, int] | Iterable[Hashable],
        min_count: int = 1,
        unknown: Hashable | None = "<unk>",
        special: Sequence[Hashable] = (),
    ) -> None:
        counter = _counted(counts)
        first = [*special] if unknown is None else [*special, unknown]
        common = [e for e, n in counter.items() if n >= min_count and e not in first]
        common.sort(key=lambda entry: (-counter[entry], str(entry)))
        self.entries = [*first, *common]
        self.unknown = unknown
        self._ids = {entry: i for i, entry in enumerate(self.entries)}
        if len(self._ids) != len(self.entries):
            raise ValueError(f"special entries must differ from each other, got {first}")

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Hashable]:
        """The entries, in the order of their numbers."""
        return iter(self.entries)

    def __contains__(self, entry: object) -> bool:
        return entry in self._ids

    def __getitem__(self, entry: Hashable) -> int:
        """The number of one entry, that of `unknown` if it is not there."""
        found = self._ids.get(entry)
        if found is not None:
            return found
        if self.unknown is None:
            raise KeyError(f"{entry!r} is not in this vocabulary, which has no unknown entry")
        return self._ids[self.unknown]

    def encode(self, entries: Iterable[Hashable]) -> list[int]:
        """The numbers of entries, in their order."""
        return [self[entry] for entry in entries]

    def decode(self, numbers: Iterable[int]) -> list[Hashable]:
        """The entries of numbers, in their order."""
        return [self.entries[number] for number in numbers]

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self)} entries>"


def _counted(counts: Mapping[Hashable, int] | Iterable[Hashable]) -> Counter[Hashable]:
    """How often each entry was seen; what cannot be one is told."""
    try:
        return Counter(counts)
    except TypeError as error:
        if not isinstance(counts, Iterable):
            kind = type(counts).__name__
            raise TypeError(f"Vocabulary: expected entries to count, not {kind}") from None
        raise TypeError(
            f"Vocabulary: what cannot be a key of a dict is no entry ({error}); of sentences, give "
            "the words: (word for sentence in sentences for word in sentence)"
        ) from None
