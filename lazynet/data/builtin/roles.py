"""Logical lines of source, each token tagged with the part it plays in the syntax."""

from __future__ import annotations

import ast
import keyword
import token
from collections.abc import Iterator

from lazynet.data.builtin.source import Module, draw
from lazynet.data.builtin.tokens import Token, logical_lines

_Position = tuple[int, int]
_ROLE_OF_KIND = {token.NUMBER: "number", token.STRING: "string"}
_SHORTEST, _LONGEST = 5, 60  # tokens
_LITERALS = {"None", "True", "False"}


def tagged(limit: int = 2000) -> tuple[list, list]:
    """(train, dev) of pairs (words, roles), one pair a logical line of 5 to 60 tokens.

    Roles are those of the syntax tree: function, method, class, parameter, base, decorator; call,
    method_call, attribute, keyword_argument, read, store, attribute_store; module, import, binding
    (a name bound by ``as``, ``global`` or a pattern); string, bytes, number, literal;
    keyword, operator, bracket. The same name plays many: only its context tells.
    """
    return draw(limit, _lines, lambda module, example: example)


def _lines(module: Module) -> list[tuple[list[str], list[str]]]:
    roles, methods = _roles_by_position(module.tree)
    examples = []
    for line in logical_lines(module.source):
        if _SHORTEST <= len(line) <= _LONGEST:
            words = [item.word for item in line]
            examples.append((words, list(_roles_of_line(line, roles, methods))))
    return examples


def _roles_of_line(
    line: list[Token], roles: dict[_Position, str], methods: set[_Position]
) -> Iterator[str]:
    importing, before = None, None
    for item in line:
        known = roles.get(item.start)
        if item.kind == token.OP:
            role = "bracket" if item.text in "()[]{}" else "operator"
        elif item.kind != token.NAME:
            role = known or _ROLE_OF_KIND.get(item.kind, "operator")
        elif keyword.iskeyword(item.text):
            role = "literal" if item.text in _LITERALS else "keyword"
        elif before == "def":
            role = "method" if line[0].start in methods else "function"
        elif before == "class":
            role = "class"
        elif importing and before != "as":
            role = importing
        elif known is None and before is None:
            role = "keyword"  # match, case, type: keywords at the start of a line only
        else:
            role = known or "binding"
        # An import starts a statement; "yield from" and "raise ... from" do not.
        if item.text in ("from", "import") and (importing or before in (None, ":", ";")):
            importing = "module" if item.text == "from" or importing is None else "import"
        elif item.text == ";":
            importing = None
        before = item.text
        yield role


def _roles_by_position(tree: ast.Module) -> tuple[dict[_Position, str], set[_Position]]:
    """Roles by where a token starts, and where the definitions of methods start."""
    roles: dict[_Position, str] = {}
    methods: set[_Position] = set()
    for node in ast.walk(tree):  # parents come first, and what they say of a child holds
        match node:
            case ast.Call():
                _mark(roles, node.func, "call", "method_call")
            case ast.ClassDef():
                for base in node.bases:
                    _mark(roles, base, "base", "base")
                methods.update(
                    (part.lineno, part.col_offset)
                    for part in node.body
                    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
                )
            case ast.Name() | ast.Attribute():
                store = not isinstance(node.ctx, ast.Load)
                if store:
                    _mark(roles, node, "store", "attribute_store")
                else:
                    _mark(roles, node, "read", "attribute")
            case ast.arg():
                roles[node.lineno, node.col_offset] = "parameter"
            case ast.keyword(arg=str()):
                roles[node.lineno, node.col_offset] = "keyword_argument"
            case ast.Constant(value=bytes()):
                roles[node.lineno, node.col_offset] = "bytes"
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                _mark(roles, called, "decorator", "decorator")
    return roles, methods


def _mark(roles: dict[_Position, str], node: ast.expr, name: str, attribute: str) -> None:
    """Gives a role to the token of a name or of an attribute's last part, if it has none yet."""
    if isinstance(node, ast.Name):
        roles.setdefault((node.lineno, node.col_offset), name)
    elif isinstance(node, ast.Attribute):
        end = (node.end_lineno or 0, (node.end_col_offset or 0) - len(node.attr))
        roles.setdefault(end, attribute)
