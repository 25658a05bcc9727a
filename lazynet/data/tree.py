"""Trees with a label on every node, and the reader of bracketed trees; nothing here recurses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lazynet.data.files import DataError, PathLike, numbered_lines


class Tree:
    """A node with a label (None where it has none), a word (leaves at least) and children.

    Iterating over a tree gives its nodes in post-order: every child before its parent, from left
    to right, the root last.

    >>> from lazynet.data import Tree
    >>> tree = Tree(3, [Tree(2, word="good"), Tree(2, word="film")])
    >>> [leaf.word for leaf in tree.leaves()], tree.numbered()
    (['good', 'film'], [(), (), (0, 1)])
    """

    __slots__ = ("children", "label", "word")

    def __init__(
        self, label: int | None, children: Sequence[Tree] = (), word: str | None = None
    ) -> None:
        self.label = label
        self.children = tuple(children)
        self.word = word

    @property
    def is_leaf(self) -> bool:
        return not self.children

    def __iter__(self) -> Iterator[Tree]:
        order, waiting = [], [self]
        while waiting:  # root first, right to left: the reverse of post-order
            node = waiting.pop()
            order.append(node)
            waiting.extend(node.children)
        return reversed(order)

    def numbered(self) -> list[tuple[int, ...]]:
        """For each node in post-order the numbers of its children: what `ln.Structure` takes."""
        nodes = list(self)
        number = {id(node): k for k, node in enumerate(nodes)}
        return [tuple(number[id(child)] for child in node.children) for node in nodes]

    def leaves(self) -> Iterator[Tree]:
        """The leaves from left to right."""
        return (node for node in self if not node.children)

    def __str__(self) -> str:
        """The tree in brackets, as `read_trees` reads it."""
        parts: list[str] = []
        waiting: list[Tree | str] = [self]
        while waiting:
            item = waiting.pop()
            if isinstance(item, str):
                parts.append(item)
                continue
            parts.append(" (" + " ".join(str(x) for x in (item.label, item.word) if x is not None))
            waiting.append(")")
            waiting.extend(reversed(item.children))
        return "".join(parts).lstrip()

    def __repr__(self) -> str:
        text = str(self)
        return f"<Tree {text if len(text) <= 60 else text[:57] + '...'}>"


_TOKEN = re.compile(r"[()]|[^ \t()]+")  # other Unicode spaces belong to a word


def read_trees(path: PathLike) -> list[Tree]:
    """Trees from a file of bracketed trees with integer labels, one tree a line.

    This is the format of the Stanford Sentiment Treebank: ``(3 (2 good) (2 film))``, where a node
    holds a label, then either one word or its children. Words stay as they are written. Empty
    lines are skipped; trees may be of any depth.

    Raises:
        DataError: for a file that cannot be read, or a line that is no such tree.
    """
    return [_parse(path, number, line) for number, line in numbered_lines(path) if line.strip()]


def _parse(path: PathLike, number: int, line: str) -> Tree:
    def wrong(problem: str, column: int) -> DataError:
        return DataError(path, number, f"column {column + 1}: {problem}")

    root: Tree | None = None
    open_nodes: list[tuple[int, list[Tree], list[str]]] = []  # label, children, words
    tokens = _TOKEN.finditer(line)
    for match in tokens:
        token, column = match.group(), match.start()
        if root is not None:
            raise wrong(f"expected one tree a line, found {token!r} after its end", column)
        if token == "(":
            if open_nodes and open_nodes[-1][2]:
                raise wrong("expected one word or children, found both", column)
            label = next(tokens, None)
            if label is None or not re.fullmatch(r"-?[0-9]+", label.group()):
                found = repr(label.group()) if label else "the end of the line"
                raise wrong(f"expected an integer label after '(', found {found}", column)
            open_nodes.append((int(label.group()), [], []))
        elif not open_nodes:
            raise wrong(f"expected '(', found {token!r}", column)
        elif token == ")":
            label_value, children, words = open_nodes.pop()
            if not children and not words:
                raise wrong("expected a word or children after the label, found ')'", column)
            node = Tree(label_value, children, words[0] if words else None)
            if open_nodes:
                open_nodes[-1][1].append(node)
            else:
                root = node
        else:
            _, children, words = open_nodes[-1]
            if children or words:
                found = "both" if children else f"a second word, {token!r}"
                raise wrong(f"expected one word or children, found {found}", column)
            words.append(token)
    if root is None:
        raise wrong(f"expected {len(open_nodes)} more ')', found the end of the line", len(line))
    return root
