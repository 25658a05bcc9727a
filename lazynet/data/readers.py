"""Readers of the line-based formats of the field: tagged text, CoNLL-U, plain text, pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lazynet.data.files import DataError as DataError
from lazynet.data.files import PathLike, numbered_lines, words_of

Example = TypeVar("Example")


@dataclass(slots=True)
class Sentence:
    """A dependency-parsed sentence of n words.

    Word number i (from 1) is ``words[i - 1]``; ``heads[i - 1]`` is the number of its head, 0 for
    the root, and ``labels[i - 1]`` names the arc. ``tags`` are parts of speech (UPOS).
    """

    words: list[str]
    tags: list[str]
    heads: list[int]
    labels: list[str]

    def __len__(self) -> int:
        return len(self.words)

    def is_projective(self) -> bool:
        """True if no two arcs cross when all are drawn above the words, the root's included.

        >>> from lazynet.data import Sentence
        >>> Sentence(["a", "b"], ["X", "X"], [2, 0], ["dep", "root"]).is_projective()
        True
        """
        arcs = [(min(i, head), max(i, head)) for i, head in enumerate(self.heads, 1)]
        return not any(a < c < b < d for a, b in arcs for c, d in arcs)


def read_tagged(path: PathLike) -> list[tuple[list[str], list[str]]]:
    """Pairs (words, tags) from a file of ``word|tag word|tag ...`` lines, one sentence a line.

    A token is split at its last bar, so that words may hold bars. Empty lines are skipped.

    Raises:
        DataError: for a file that cannot be read, or a token without a word or a tag.
    """
    sentences = []
    for number, line in numbered_lines(path):
        words, tags = [], []
        for token in words_of(line):
            word, _, tag = token.rpartition("|")
            if not word or not tag:
                raise DataError(path, number, f"expected word|tag, found {token!r}")
            words.append(word)
            tags.append(tag)
        if words:
            sentences.append((words, tags))
    return sentences


def read_text(path: PathLike) -> list[list[str]]:
    """Lists of words from plain text, one sentence a line; empty lines are skipped.

    Raises:
        DataError: for a file that cannot be read.
    """
    return [words for _, line in numbered_lines(path) if (words := words_of(line))]


def read_pairs(path: PathLike) -> list[tuple[str, str]]:
    """Pairs (source, target) from ``source<TAB>target`` lines; empty lines are skipped.

    Raises:
        DataError: for a file that cannot be read, or a line of another form.
    """
    pairs = []
    for number, line in numbered_lines(path):
        if not line:
            continue
        fields = line.split("\t")
        if len(fields) != 2 or not all(fields):
            problem = f"expected source<TAB>target, found {len(fields)} field(s) in {line[:60]!r}"
            raise DataError(path, number, problem)
        pairs.append((fields[0], fields[1]))
    return pairs


def read_conllu(path: PathLike) -> list[Sentence]:
    """Sentences of a CoNLL-U file (universaldependencies.org/format.html).

    Comments, the lines of multiword tokens (``3-4``) and of empty nodes (``5.1``) are skipped.

    Raises:
        DataError: for a file that cannot be read, a line that has not ten columns, word numbers
            that do not run 1, 2, 3, ..., a head that is no word of the sentence, or a cycle.
    """
    sentences: list[Sentence] = []
    sentence, start = Sentence([], [], [], []), 1
    for number, line in numbered_lines(path):
        if not line.strip():
            _finish(path, start, sentence, sentences)
            sentence, start = Sentence([], [], [], []), number + 1
        elif not line.startswith("#"):
            if not sentence.words:
                start = number
            _read_word(path, number, line, sentence)
    _finish(path, start, sentence, sentences)
    return sentences


def _read_word(path: PathLike, number: int, line: str, sentence: Sentence) -> None:
    columns = line.split("\t")
    if len(columns) != 10:
        problem = f"expected 10 columns separated by tabs, found {len(columns)}"
        raise DataError(path, number, problem)
    identity, word, tag, head, label = (columns[i] for i in (0, 1, 3, 6, 7))
    if _is_span_or_empty_node(identity):
        return
    if identity != str(len(sentence) + 1):
        problem = f"expected word number {len(sentence) + 1}, found {identity!r}"
        raise DataError(path, number, problem)
    if not _is_number(head):
        raise DataError(path, number, f"expected a head (a word number or 0), found {head!r}")
    sentence.words.append(word)
    sentence.tags.append(tag)
    sentence.heads.append(int(head))
    sentence.labels.append(label)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_span_or_empty_node(identity: str) -> bool:
    separator = "-" if "-" in identity else "."
    first, found, last = identity.partition(separator)
    return bool(found) and _is_number(first) and _is_number(last)


def _finish(path: PathLike, start: int, sentence: Sentence, sentences: list[Sentence]) -> None:
    """Adds a sentence whose first word stands on line `start`, once its heads form a forest."""
    if not sentence.words:
        return
    heads = sentence.heads
    for word, head in enumerate(heads, 1):
        if head > len(heads):
            problem = f"expected heads from 0 to {len(heads)}, word {word} has head {head}"
            raise DataError(path, start, f"in the sentence that starts here, {problem}")
    reaches_root = {0}
    for word in range(1, len(heads) + 1):
        way: list[int] = []
        on_way: set[int] = set()
        while word not in reaches_root:
            if word in on_way:
                cycle = " -> ".join(map(str, [*way[way.index(word) :], word]))
                problem = f"expected heads that lead to 0, found the cycle {cycle}"
                raise DataError(path, start, f"in the sentence that starts here, {problem}")
            way.append(word)
            on_way.add(word)
            word = heads[word - 1]
        reaches_root.update(way)
    sentences.append(sentence)


def read_split(
    path: PathLike, read: Callable[[PathLike], list[Example]]
) -> tuple[list[Example], list[Example]]:
    """(train, dev) from a file or a folder, each file read by `read`.

    A folder gives the first two of its files that have ``train``, ``dev`` and ``test`` in their
    names. Of a single file, every tenth example is held out for dev; of less than ten, the last.

    Raises:
        DataError: where there is nothing to train on, or nothing to hold out.
    """
    files = _split_files(Path(path))
    parts = [read(file) for file in files]
    for file, examples in zip(files, parts, strict=True):
        if not examples:
            raise DataError(file, None, "expected at least one example, found none")
    if len(parts) == 2:
        return parts[0], parts[1]
    (examples,) = parts
    if len(examples) == 1:
        problem = "expected two examples or more, one of them to hold out, found 1"
        raise DataError(files[0], None, problem)
    if len(examples) < 10:
        return examples[:-1], examples[-1:]
    return [e for i, e in enumerate(examples) if i % 10 != 9], examples[9::10]


def _split_files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    every = sorted(file for file in place.iterdir() if file.is_file())
    firsts = (next((f for f in every if part in f.name), None) for part in ("train", "dev", "test"))
    named = [file for file in firsts if file is not None]
    if len(named) >= 2:
        return named[:2]
    if len(every) == 1:
        return every
    names = ", ".join(file.name for file in every) or "none"
    problem = f"expected one file, or files named train, dev, test; found {names}"
    raise DataError(place, None, problem)
