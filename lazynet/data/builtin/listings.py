"""Functions as sequences of tokens, for language models."""

from __future__ import annotations

import ast
import token

from lazynet.data.builtin.source import Module, draw
from lazynet.data.builtin.tokens import tokens

_LAYOUT = {token.NEWLINE: "<newline>", token.INDENT: "<indent>", token.DEDENT: "<dedent>"}
_SHORTEST, _LONGEST = 10, 80  # tokens


def text(limit: int = 1000) -> tuple[list[list[str]], list[list[str]]]:
    """(train, dev) of lists of words: a function from ``def`` on, 10 to 80 words of it.

    The words ``<newline>``, ``<indent>`` and ``<dedent>`` tell the layout; a longer function is cut
    at the end of a line.
    """
    return draw(limit, Module.functions, _words)


def _words(module: Module, function: ast.FunctionDef) -> list[str] | None:
    words: list[str] = []
    end = 0
    for item in tokens(module.segment(function)):
        words.append(_LAYOUT.get(item.kind) or item.word)
        if len(words) > _LONGEST:
            break
        if item.kind == token.NEWLINE:
            end = len(words)
    return words[:end] if end >= _SHORTEST else None
