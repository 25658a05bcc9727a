"""Tree-LSTM cells: one node of a tree, composed of its children (Tai et al., 2015)."""

from __future__ import annotations

import math
from typing import Any

from lazynet.cell import cell
from lazynet.fold import fold
from lazynet.nn.linear import drawn, sizes
from lazynet.nn.module import Module
from lazynet.ops.elementwise import sigmoid, tanh
from lazynet.ops.linear import linear
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.rows import cat, sequence
from lazynet.ops.views import chunk, split
from lazynet.record import ShapeError

State = tuple[Any, Any]


class _TreeCell(Module):
    dim: int
    hidden: int

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        return {"x": (self.dim,), "children": (self.hidden,)}

    def _check(self, x: Any, children: Any) -> list[State]:
        children = list(children)
        if x is None and not children:
            raise ShapeError(f"{type(self).__name__}: a node needs an input, children, or both")
        for child in children:
            if not isinstance(child, (tuple, list)) or len(child) != 2:
                kind = type(child).__name__
                raise TypeError(f"{type(self).__name__}: expected children (h, c), not a {kind}")
        return children


class TreeLSTMCell(_TreeCell):
    """The N-ary Tree-LSTM: `h, c = cell(x)` at a leaf, `cell(None, [(h, c), (h, c)])` above.

    i, o = sigmoid(...), u = tanh(...), f_k = sigmoid(...), c = i u + sum_k f_k c_k, h = o tanh(c)
    (Tai et al., 2015, equations 9-14). An inner node may have an input too.

    Parameters: weight_ih (3 hidden, dim) and bias_ih (3 hidden,) act on the input, gates in the
    order i, o, u; weight_if (hidden, dim) is the input's part in all forget gates; weight_hh
    ((3 + arity) hidden, arity hidden) and bias_hh act on the children, gates i, o, u, f_1, f_2, ...
    All are uniform in (-1/sqrt(hidden), 1/sqrt(hidden)).

    Shapes: x (dim,), h and c (hidden,) -> two of (hidden,).

    >>> cell = nn.TreeLSTMCell(3, 4)
    >>> h, c = cell(None, [cell(ln.rand(3)), cell(ln.rand(3))])
    >>> h.shape
    (4,)

    Args:
        dim: size of an input.
        hidden: size of h and c.
        arity: the number of children of every inner node.

    Raises:
        ShapeError: when called, for another number of children, or without an input and children.
    """

    def __init__(self, dim: int, hidden: int, arity: int = 2) -> None:
        super().__init__()
        sizes("TreeLSTMCell", dim=dim, hidden=hidden, arity=arity)
        self.dim, self.hidden, self.arity = dim, hidden, arity
        self._parts = (3 * hidden, *[hidden] * arity)
        bound = 1.0 / math.sqrt(hidden)
        self.weight_ih = drawn(bound, 3 * hidden, dim)
        self.weight_if = drawn(bound, hidden, dim)
        self.weight_hh = drawn(bound, (3 + arity) * hidden, arity * hidden)
        self.bias_ih = drawn(bound, 3 * hidden)
        self.bias_hh = drawn(bound, (3 + arity) * hidden)

    @cell
    def forward(self, x: Any = None, children: Any = ()) -> State:
        if not children and x is not None:
            i, o, u = chunk(linear(x, self.weight_ih, self.bias_ih), 3)
            c = sigmoid(i) * tanh(u)
            return sigmoid(o) * tanh(c), c
        children = self._check(x, children)
        if len(children) != self.arity:
            raise ShapeError(
                f"TreeLSTMCell: {len(children)} children; this cell joins {self.arity}"
            )
        joined = linear(cat([h for h, _ in children]), self.weight_hh, self.bias_hh)
        if x is None:
            i, o, u, *forget = chunk(joined, 3 + self.arity)
        else:
            gates, *forget = split(joined, self._parts)
            i, o, u = chunk(gates + linear(x, self.weight_ih, self.bias_ih), 3)
            shared = linear(x, self.weight_if)
            forget = [f + shared for f in forget]
        c = sigmoid(i) * tanh(u)
        for f, (_, below) in zip(forget, children, strict=True):
            c = c + sigmoid(f) * below
        return sigmoid(o) * tanh(c), c

    def extra_repr(self) -> str:
        return f"{self.dim}, {self.hidden}, arity={self.arity}"


class ChildSumTreeLSTMCell(_TreeCell):
    """The child-sum Tree-LSTM, for any number of children: `h, c = cell(x, [(h, c), ...])`.

    i, o = sigmoid(...), u = tanh(...) of the input and of sum_k h_k; f_k = sigmoid(...) of the
    input and h_k; c = i u + sum_k f_k c_k, h = o tanh(c) (Tai et al., 2015, equations 2-8).

    Parameters: weight_ih (3 hidden, dim) and bias_ih (3 hidden,) act on the input, gates in the
    order i, o, u; weight_hh (3 hidden, hidden) on the sum of the children; weight_if (hidden, dim),
    weight_hf (hidden, hidden) and bias_f (hidden,) make the forget gates. All are uniform in
    (-1/sqrt(hidden), 1/sqrt(hidden)).

    Shapes: x (dim,), h and c (hidden,) -> two of (hidden,).

    >>> cell = nn.ChildSumTreeLSTMCell(3, 4)
    >>> h, c = cell(ln.rand(3), [cell(ln.rand(3)) for _ in range(3)])
    >>> h.shape
    (4,)

    Raises:
        ShapeError: when called, without an input and children.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        sizes("ChildSumTreeLSTMCell", dim=dim, hidden=hidden)
        self.dim, self.hidden = dim, hidden
        bound = 1.0 / math.sqrt(hidden)
        self.weight_ih = drawn(bound, 3 * hidden, dim)
        self.weight_hh = drawn(bound, 3 * hidden, hidden)
        self.bias_ih = drawn(bound, 3 * hidden)
        self.weight_if = drawn(bound, hidden, dim)
        self.weight_hf = drawn(bound, hidden, hidden)
        self.bias_f = drawn(bound, hidden)

    @cell
    def forward(self, x: Any = None, children: Any = ()) -> State:
        children = self._check(x, children)
        if not children:
            gates = linear(x, self.weight_ih, self.bias_ih)
        else:
            h, c = sequence([h for h, _ in children]), sequence([c for _, c in children])
            forget = linear(h, self.weight_hf, self.bias_f)
            total = sum_of(h, 0)
            if x is None:
                gates = linear(total, self.weight_hh, self.bias_ih)
            else:
                gates = linear(x, self.weight_ih, self.bias_ih) + linear(total, self.weight_hh)
                forget = forget + linear(x, self.weight_if)
        i, o, u = chunk(gates, 3)
        made = sigmoid(i) * tanh(u)
        if children:
            made = made + sum_of(sigmoid(forget) * c, 0)
        return sigmoid(o) * tanh(made), made

    def extra_repr(self) -> str:
        return f"{self.dim}, {self.hidden}"


class TreeLSTM(Module):
    """`TreeLSTMCell` over whole trees: `rows = tree_lstm(x, children)`, the h of every node.

    Args of a call: x, a row for each leaf, or for each node; children, an `ln.Structure` or what it
    is made of. A tree is a few entries on the tape, whatever its size; see `ln.fold`.

    Shapes: n rows of (dim,) -> a row of (hidden,) for each node.

    >>> nn.TreeLSTM(3, 4)(ln.rand(3, length=3), [(), (), (0, 1), (), (2, 3)]).shape  # ((a b) c)
    (5, 4)
    """

    def __init__(self, dim: int, hidden: int, arity: int = 2) -> None:
        super().__init__()
        self.cell = TreeLSTMCell(dim, hidden, arity)

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        return {"x": (self.cell.dim,)}

    def forward(self, x: Any, children: Any) -> Any:
        return fold(self.cell, x, children)[0]


class ChildSumTreeLSTM(Module):
    """`ChildSumTreeLSTMCell` over whole trees: `rows = tree_lstm(x, children)`; see `TreeLSTM`.

    Shapes: n rows of (dim,) -> a row of (hidden,) for each node.

    >>> tree_lstm = nn.ChildSumTreeLSTM(3, 4)
    >>> tree_lstm(ln.rand(3, length=4), [(), (), (), (0, 1, 2)]).shape  # a root over three words
    (4, 4)
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.cell = ChildSumTreeLSTMCell(dim, hidden)

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        return {"x": (self.cell.dim,)}

    def forward(self, x: Any, children: Any) -> Any:
        return fold(self.cell, x, children)[0]
