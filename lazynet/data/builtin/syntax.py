"""Syntax trees of functions, to be classified by the verb in the function's name."""

from __future__ import annotations

import ast

from lazynet.data.builtin.source import Module, draw
from lazynet.data.tree import Tree

# The commonest first words of function names in the library, in the order of their counts (fixed
# here, so that a class number means the same on every machine).
VERBS = ("init", "get", "set", "repr", "is", "read", "add", "close", "parse", "check")
_SMALLEST, _LARGEST = 5, 150  # leaves


def trees(limit: int = 1000, binary: bool = True) -> tuple[list[Tree], list[Tree]]:
    """(train, dev) of syntax trees of functions with 5 to 150 leaves, labelled at the root only.

    The label is the index in `VERBS` of the first word of the function's name, which the tree
    itself does not show. With `binary`, every inner node has two children and words are on leaves
    only, as in the Stanford Sentiment Treebank; else a node has the type of its syntax as its word
    and one child for each part.
    """
    return draw(limit, _functions, lambda module, function: _labelled(function, binary))


def _functions(module: Module) -> list[ast.FunctionDef]:
    return [node for node in module.functions() if _verb(node) in VERBS]


def _verb(function: ast.FunctionDef) -> str:
    return function.name.strip("_").split("_")[0].lower()


def _labelled(function: ast.FunctionDef, binary: bool) -> Tree | None:
    tree = _tree(function, function.name)
    if not _SMALLEST <= sum(1 for _ in tree.leaves()) <= _LARGEST:
        return None
    tree = _binarised(tree) if binary else tree
    tree.label = VERBS.index(_verb(function))
    return tree


def _tree(function: ast.FunctionDef, name: str) -> Tree:
    """A node for every node of the syntax, a leaf for every name and constant in it."""
    order: list[ast.AST] = []
    waiting: list[ast.AST] = [function]
    while waiting:  # parents before children; read backwards below
        node = waiting.pop()
        order.append(node)
        waiting.extend(_parts(node))
    made: dict[int, Tree] = {}
    for node in reversed(order):
        children = [made[id(part)] for part in _parts(node)]
        words = [word for word in _words(node) if node is not function]
        leaves = [Tree(None, word="<name>" if word == name else word) for word in words]
        made[id(node)] = Tree(None, leaves + children, type(node).__name__)
    return made[id(function)]


def _parts(node: ast.AST) -> list[ast.AST]:
    parts = ast.iter_child_nodes(node)
    # A load or a store is told by where it stands; a docstring would tell the function's name.
    kept = [part for part in parts if not isinstance(part, ast.expr_context)]
    if isinstance(node, ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
        kept.remove(node.body[0])
    return kept


def _words(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Constant):
        return [type(node.value).__name__]
    return [value for _, value in ast.iter_fields(node) if isinstance(value, str)]


def _binarised(tree: Tree) -> Tree:
    """The tree with (word, child, child, ...) turned into (((word child) child) ...)."""
    made: dict[int, Tree] = {}
    for node in tree:
        current = Tree(None, word=node.word)
        for child in node.children:
            current = Tree(None, (current, made[id(child)]))
        made[id(node)] = current
    return made[id(tree)]
