"""Short statements as dependency trees over their tokens."""

from __future__ import annotations

import ast
import token
from bisect import bisect_left
from collections.abc import Iterator

from lazynet.data.builtin.source import Module, draw
from lazynet.data.builtin.tokens import tokens
from lazynet.data.readers import Sentence

_SHORTEST, _LONGEST = 5, 30  # tokens
_STATEMENTS = (
    ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Expr, ast.Assert, ast.Raise,
    ast.Delete,
)  # fmt: skip
_DISPLAYS = (
    ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp,
)  # fmt: skip
_Placed = ast.expr | ast.arg | ast.keyword  # what has a place inside a simple statement
_LABELS = {
    "func": "function", "args": "argument", "keywords": "argument", "value": "value",
    "values": "operand", "left": "operand", "right": "operand", "comparators": "operand",
    "operand": "operand", "targets": "target", "target": "target", "elts": "element",
    "keys": "key", "slice": "index", "lower": "index", "upper": "index", "step": "index",
    "test": "condition", "ifs": "condition",
}  # fmt: skip


def dependencies(limit: int = 1000) -> tuple[list[Sentence], list[Sentence]]:
    """(train, dev) of simple statements of 5 to 30 tokens, as projective trees with one root.

    The head of an operation is its operator, that of a call or an index is what is called or
    indexed, that of an attribute its name, that of a statement its keyword or ``=``. The label of
    an arc is the part that the dependent plays (operand, argument, ...), ``mark`` for brackets and
    separators. Tags are KEYWORD, NAME, NUMBER, STRING, OP.
    """
    return draw(limit, _statements, _sentence)


def _statements(module: Module) -> list[ast.stmt]:
    return [
        node
        for node in module.statements()
        if isinstance(node, _STATEMENTS) and not _is_docstring(node)
    ]


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _sentence(module: Module, statement: ast.stmt) -> Sentence | None:
    items = [item for item in tokens(module.segment(statement)) if item.kind != token.NEWLINE]
    if not _SHORTEST <= len(items) <= _LONGEST:
        return None
    starts = [_in_module(item.start, statement) for item in items]
    heads, labels = [0] * len(items), ["mark"] * len(items)

    def attach(node: ast.AST, first: int, last: int) -> int:
        """Attaches the tokens first..last - 1 of a node to its head token and returns that one.

        The parts of a node are separate runs of tokens, and each hangs as a whole on the head of
        the node: no arcs cross. Depth is bounded by the number of tokens.
        """
        own: list[int] = []
        parts: list[tuple[str, int]] = []
        position = first
        for label, part in sorted(_parts(node), key=lambda pair: _start(pair[1])):
            begin = bisect_left(starts, _start(part), first, last)
            end = bisect_left(starts, _end(part), begin, last)
            own += range(position, begin)
            parts.append((label, attach(part, begin, end)))
            position = end
        own += range(position, last)
        if isinstance(node, ast.Call | ast.Subscript) or not own:
            head = parts[0][1]
        elif isinstance(node, ast.Attribute):
            head = own[-1]
        elif isinstance(node, _DISPLAYS):
            head = own[0]
        else:
            head = next((i for i in own if items[i].text not in "()"), own[0])
        for i in own:
            heads[i] = head + 1
        for label, i in parts:
            heads[i], labels[i] = head + 1, label
        return head

    root = attach(statement, 0, len(items))
    heads[root], labels[root] = 0, "root"
    return Sentence([i.word for i in items], [i.category for i in items], heads, labels)


def _parts(node: ast.AST) -> Iterator[tuple[str, _Placed]]:
    """Pairs (label, part) of the parts that have a place in the source, in no order."""
    if isinstance(node, ast.JoinedStr):
        return  # one token
    for field, value in ast.iter_fields(node):
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, _Placed):
                yield _LABELS.get(field, "part"), part
            elif isinstance(part, ast.AST):  # parameters of a lambda, clauses of a comprehension
                yield from _parts(part)


def _start(node: _Placed) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: _Placed) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0


def _in_module(position: tuple[int, int], statement: ast.stmt) -> tuple[int, int]:
    """Where a place in the source of a statement is in its module."""
    line, column = position
    return line + statement.lineno - 1, column + statement.col_offset if line == 1 else column
