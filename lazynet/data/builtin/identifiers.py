"""Identifiers in CamelCase and in snake_case, as pairs of strings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lazynet.data.builtin.source import Module, draw

_CAMEL_CASE = re.compile(r"\b[A-Z][A-Za-z0-9]*[A-Z][a-z0-9]+\b")
_SNAKE_CASE = re.compile(r"\b[a-z][a-z0-9]+(?:_[a-z][a-z0-9]+)+\b")
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+[0-9]*")
_LONGEST = 30  # characters


def names(limit: int = 2000) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(train, dev) of pairs such as ("HTTPServer", "http_server"), all of them different.

    Read as characters they are a small task of translation: most is copied, case changes, and
    where a word ends depends on what follows.
    """
    seen: set[str] = set()

    def unseen(module: Module, pair: tuple[str, str]) -> tuple[str, str] | None:
        if pair[1] in seen:
            return None
        seen.add(pair[1])
        return pair

    return draw(limit, _pairs, unseen)


def _pairs(module: Module) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys(_CAMEL_CASE.findall(module.source)):
        if len(name) <= _LONGEST:
            yield name, snake_case(name)
    for name in dict.fromkeys(_SNAKE_CASE.findall(module.source)):
        camel = name.title().replace("_", "")
        if len(name) <= _LONGEST and snake_case(camel) == name:
            yield camel, name


def snake_case(name: str) -> str:
    """``HTTPServerError`` as ``http_server_error``."""
    return "_".join(_WORD.findall(name)).lower()
