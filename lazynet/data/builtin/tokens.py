"""Tokens of Python source, as words for a model."""

from __future__ import annotations

import io
import keyword
import token
import tokenize
from collections.abc import Iterator
from typing import NamedTuple

_LONGEST_WORD = 20  # characters
_SILENT = {token.ENCODING, token.ENDMARKER, token.COMMENT, token.NL, token.TYPE_COMMENT}


class Token(NamedTuple):
    """A token: its kind as in the standard module `token`, its text, where it starts and ends."""

    kind: int
    text: str
    start: tuple[int, int]  # line from 1, column from 0
    end: tuple[int, int]

    @property
    def word(self) -> str:
        """The text without spaces, long ones cut: a string is one word."""
        text = self.text if self.kind != token.STRING else "".join(self.text.split())
        return text if len(text) <= _LONGEST_WORD else text[: _LONGEST_WORD - 3] + "..."

    @property
    def category(self) -> str:
        """KEYWORD, NAME, NUMBER, STRING or OP."""
        if self.kind == token.NAME and keyword.iskeyword(self.text):
            return "KEYWORD"
        return token.tok_name[self.kind]


def tokens(source: str) -> Iterator[Token]:
    """The tokens of source that parses, without comments and empty lines.

    A formatted string is one token of kind STRING, whether this Python's tokenizer splits it
    (3.12 and later) or not.
    """
    depth, start = 0, (0, 0)
    pieces: list[str] = []
    for kind, text, begin, end, _ in tokenize.generate_tokens(io.StringIO(source).readline):
        name = token.tok_name[kind]
        if name in ("FSTRING_START", "TSTRING_START"):
            if not depth:
                start, pieces = begin, []
            depth += 1
        if depth:
            pieces.append(text)
            if name in ("FSTRING_END", "TSTRING_END"):
                depth -= 1
                if not depth:
                    yield Token(token.STRING, "".join(pieces), start, end)
        elif kind not in _SILENT:
            yield Token(kind, text, begin, end)


def logical_lines(source: str) -> Iterator[list[Token]]:
    """The tokens of each logical line (a whole statement, or the head of one) of source."""
    line: list[Token] = []
    for item in tokens(source):
        if item.kind == token.NEWLINE:
            if line:
                yield line
            line = []
        elif item.kind not in (token.INDENT, token.DEDENT):
            line.append(item)
