"""Hooks of gradients: functions that see, and may change, the gradient of a value on its way back.

A hook belongs to a node. The whole gradient of its output is there once every batch that used it
has been gone through, so backward stops before the node's own batch and calls the hook; gradients
that are recorded (`autodiff.py`) call it when they reach the node.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lazynet.batching import layout as words
from lazynet.graph import Graph
from lazynet.leaf import Leaf
from lazynet.op import RowType
from lazynet.ops.identity import after, clone
from lazynet.ops.rows import sequence
from lazynet.record import as_value
from lazynet.tape import node_of
from lazynet.tensor import Sequence, Tensor, Value
from lazynet.trace import TraceGraph


class HookHandle:
    """What registering a hook gives: `remove()` takes the hook away, and so does leaving `with`."""

    def __init__(self, remove: Callable[[], None]):
        self._remove = remove

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        remove, self._remove = self._remove, lambda: None
        remove()

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *error: Any) -> None:
        self.remove()


class Hook:
    """A function of the gradients of some values of one graph.

    Args:
        values: each the whole output of a node.
        function: takes a list of their gradients (None: nothing was made of the value), and gives
            the list of those that take their place.
    """

    def __init__(self, values: list[Value], function: Callable[[list[Any]], list[Any]]):
        self._values: list[tuple[int, RowType, int | None]] = [
            (v.id, v.type, v.length if isinstance(v, Sequence) else None) for v in values
        ]
        self._function = function
        self.rows = [v.id for v in values]

    def values(self, graph: Graph) -> list[Any]:
        """Handles of the values; not kept, because they would keep the graph."""
        return [
            Tensor(graph, row, type_) if length is None else Sequence(graph, row, type_, length)
            for row, type_, length in self._values
        ]

    def apply(self, gradients: list[Any]) -> list[Any]:
        """The gradients after the hook.

        Raises:
            ValueError: if it gives one of another shape.
        """
        return [
            None if old is None else _checked(new, old)
            for new, old in zip(self._function(gradients), gradients, strict=True)
        ]


def _checked(new: Any, old: Value) -> Any:
    if new is None or new is old:
        return old
    if not isinstance(new, Value):
        new = as_value(new, "hook")
    if isinstance(old, Sequence) and isinstance(new, Tensor):
        new = sequence(new)
    if tuple(new.shape) != tuple(old.shape):
        raise ValueError(
            f"hook: it gave a gradient of shape {tuple(new.shape)} for one of {tuple(old.shape)}"
        )
    return new if new.dtype == old.dtype else new.astype(old.dtype)


def _through(function: Callable[[Any], Any], gradient: Any) -> Any:
    """What one user's hook makes of a gradient."""
    return _checked(function(gradient), gradient)


def register_hook(value: Any, hook: Callable[[Any], Any]) -> HookHandle:
    """Call `hook(gradient)` when the whole gradient of a value is known; it may give another one.

    Hooks are called in the order of registration, in `backward` as in `ln.gradients`; there they
    see lazy values. Of a leaf it is the gradient of this backward, before it is added to `.grad`.

        >>> x = ln.tensor([1.0, 2.0], requires_grad=True)
        >>> y = x * 3.0
        >>> handle = y.register_hook(lambda g: g * 10.0)
        >>> y.sum().backward()
        >>> x.grad.tolist()
        [30.0, 30.0]

    A part of a value (an element, a row, a slice, a chunk) has no gradient of its own: the handle
    becomes one of a copy, and the hook sees the uses made of the handle from then on. Register it
    before using it.

    Args:
        hook: takes the gradient, of the value's shape, and gives None or what takes its place.

    Returns:
        a handle whose `remove()` takes the hook away.

    Raises:
        RuntimeError: if no gradient leads to the value.
        ValueError: in backward, if the hook gives a gradient of another shape.
    """
    leaf = _prepared(value, "register_hook")
    if leaf is not None:
        return _entered(leaf.hooks, functools.partial(_through, hook))
    entry = Hook([value], lambda gradients: [hook(gradients[0])])
    return enter(value.graph, entry)


def enter(graph: Graph, hook: Hook) -> HookHandle:
    """Let a hook be called for its graph."""
    removes = [_entered(graph.hooks.setdefault(row, []), hook) for row in hook.rows]

    def remove() -> None:
        for handle in removes:
            handle.remove()

    return HookHandle(remove)


def _entered(hooks: list[Any], hook: Any) -> HookHandle:
    hooks.append(hook)

    def remove() -> None:
        if hook in hooks:
            hooks.remove(hook)

    return HookHandle(remove)


def retain_grad(value: Any) -> None:
    """Keep the gradient of a value in `.grad` when backward comes through it.

    Of a part of a value (an element, a slice, a chunk) it is that of the uses made of this handle
    from here on, as `register_hook` tells.

        >>> x = ln.tensor([1.0, 2.0], requires_grad=True)
        >>> y = x * 3.0
        >>> y.retain_grad()
        >>> y.square().sum().backward()
        >>> y.grad.tolist()
        [6.0, 12.0]

    Raises:
        RuntimeError: if no gradient leads to the value.
    """
    if _prepared(value, "retain_grad") is None:
        length = value.length if isinstance(value, Sequence) else None
        value.graph.retained[value.id, value.type] = length


def _prepared(value: Any, name: str) -> Leaf | None:
    """The leaf that a value is; else None, and then the value is the whole output of a node."""
    if isinstance(value.graph, TraceGraph):
        raise TypeError(
            f"{name}: inside a traced function there is no value of one example to watch; give it "
            "as a result, and watch that"
        )
    if not wants_gradient(value):
        raise RuntimeError(f"{name}: no gradient leads to this value; it does not require one")
    if isinstance(value.graph, Leaf) and value.type is value.graph.type:
        return value.graph
    if isinstance(value.graph, Leaf) or not _whole(value):
        own = clone(value)
        value.graph, value.id, value.type = own.graph, own.id, own.type
        if isinstance(value, Sequence):
            value.step = own.step
    return None


def wants_gradient(value: Value) -> bool:
    """Whether a gradient leads to a value; runs nothing."""
    if isinstance(value.graph, Leaf):
        return value.graph.requires_grad
    if isinstance(value, Sequence) and not value.length:
        return False
    node = node_of(value.graph, value.id)
    return node is not None and node.needs


def _whole(value: Any) -> bool:
    """Whether a value is a whole output of its node."""
    node: Any = node_of(value.graph, value.id)
    k, at = divmod(value.id - node.first, node.rows)
    if node.signature.op.kind in (words.ALIAS, words.LINK) or at:
        return False
    if value.type is not node.signature.outputs[k]:
        return False
    if isinstance(value, Tensor):
        return not node.ragged
    return node.ragged and value.length == node.rows and value.step == 1


def watched(values: list[Any], function: Callable[[list[Any]], list[Any]]) -> list[Any]:
    """The same values, such that `function` sees all their gradients at one time.

    Each goes through a copy, and what is made of the copies waits for all of them: so going back,
    all gradients are known before the first copy is reached.
    """
    copies = [clone(v) for v in values]
    enter(copies[0].graph, Hook(copies, function))
    if len(copies) == 1:
        return copies
    return [after(v, [w for w in copies if w is not v]) for v in copies]


for _class in (Tensor, Sequence):
    _class.register_hook = register_hook  # type: ignore[assignment,method-assign]
    _class.retain_grad = retain_grad  # type: ignore[assignment,method-assign]
