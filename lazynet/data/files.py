"""Lines of text files, with errors that name the file, the line and what was expected there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PathLike = str | os.PathLike[str]


class DataError(ValueError):
    """A data file is missing or does not have its format; says where, and what was expected."""

    def __init__(self, path: PathLike, line: int | None, problem: str):
        place = os.fspath(path) if line is None else f"{os.fspath(path)}, line {line}"
        super().__init__(f"{place}: {problem}")
        self._told = os.fspath(path), line, problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._told, vars(self)  # so that it leaves a process of a pool


def numbered_lines(path: PathLike) -> Iterator[tuple[int, str]]:
    """Pairs (line number from 1, text without its line end) of a UTF-8 file."""
    try:
        raw_lines = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError:
        raise DataError(path, None, "no such file") from None
    except IsADirectoryError:
        raise DataError(path, None, "expected a file, found a folder") from None
    except OSError as error:
        raise DataError(path, None, f"cannot be read: {error.strerror}") from None
    for number, raw in enumerate(raw_lines, 1):
        try:
            # "utf-8-sig" drops the mark that some editors put before the first line.
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            problem = f"expected UTF-8 text, found byte 0x{raw[error.start]:02x}"
            raise DataError(path, number, f"{problem} at position {error.start}") from None
        yield number, text.rstrip("\r")


def words_of(line: str) -> list[str]:
    """The words of a line, separated by spaces or tabs; other Unicode spaces belong to a word."""
    return [word for word in line.replace("\t", " ").split(" ") if word]
