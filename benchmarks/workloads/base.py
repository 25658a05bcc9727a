"""What all workloads share: the size of a race, encoded corpora, the data they come from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazynet import data

START, END = "<start>", "<end>"
_MINIBATCHES = 64  # after these a race begins anew


@dataclass(frozen=True)
class Spec:
    """What every contender of one race has in common."""

    workload: str
    dim: int
    hidden: int
    batch: int
    limit: int = 1500  # examples
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.workload} {self.dim}/{self.hidden}, minibatch {self.batch}"


@dataclass
class Corpus:
    """Encoded examples, and the sizes that models of them take, by name."""

    examples: list[Any]
    sizes: dict[str, Any]
    source: str

    def batches(self, size: int) -> list[list[Any]]:
        """Whole minibatches, in an order that is the same for every contender."""
        shuffled = [example for batch in data.Loader(self.examples, 1) for example in batch]
        size = min(size, len(shuffled))
        starts = range(0, len(shuffled) - size + 1, size)[:_MINIBATCHES]
        return [shuffled[start : start + size] for start in starts]


def real(name: str) -> Path | None:
    """A file or folder of the real data, if there is any."""
    folder = os.environ.get("LAZYNET_DATA", "")
    path = Path(folder) / name
    return path if folder and path.exists() else None


def tagged(limit: int) -> tuple[list[tuple[list[str], list[str]]], str]:
    """Sentences with a tag for each word, and where they come from."""
    if path := real("wikiner/tagged.txt"):
        return data.read_tagged(path)[:limit], "WikiNER"
    return data.builtin.tagged(limit)[0], "Python source"


def parsed(limit: int) -> tuple[list[data.Sentence], str]:
    """Sentences with dependency trees, and where they come from."""
    if folder := real("ud_ewt"):
        files = sorted(folder.glob("*.conllu"))
        return [s for file in files for s in data.read_conllu(file)][:limit], "UD EWT"
    return data.builtin.dependencies(limit)[0], "Python source"
