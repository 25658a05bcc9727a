"""Optimizers that change only those rows of a table that were looked up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lazynet.leaf import Leaf
from lazynet.optim.dense import averages_of
from lazynet.optimizer import Group, Optimizer, Update, sign_of
from lazynet.touched import table_of_rows


class _OfRows(Optimizer):
    """Changes the rows of a table that were looked up since its gradient was cleared.

    Of a parameter that was used in any other way it changes all.
    """

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        super().add_param_group(group)
        for p in self.param_groups[-1]["params"]:
            p.graph.note_touched()

    def _table(self, leaf: Leaf, arrays: list[Any]) -> np.ndarray:
        rows = leaf.touched.rows() if leaf.touched is not None and leaf.type.shape else None
        if rows is None:
            return super()._table(leaf, arrays)
        count, *shape = leaf.type.shape
        return table_of_rows(arrays, math.prod(shape), rows, count)


class SparseSGD(_OfRows):
    """p[rows] -= lr g[rows], for the rows of a table that were looked up.

    The same as `SGD` without options, as the gradient of other rows is 0, but it takes time for
    these rows alone, and so does clearing their gradient. Of parameters that were used in any other
    way it changes all elements.

    Args:
        params: parameters, such as the weights of `nn.Embedding`.
        lr: learning rate.
        maximize: whether to go up the gradient.

    >>> table = nn.Embedding(100_000, 2)
    >>> optimizer = ln.optim.SparseSGD(table.parameters(), lr=1.0)
    >>> before = table.weight.numpy()
    >>> ln.sum(table(7)).backward()
    >>> optimizer.step()
    >>> np.flatnonzero((table.weight.numpy() != before).any(1)).tolist()
    [7]

    Raises:
        ValueError: for no parameters, or an option out of its range.
    """

    _keeps = ()

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, *, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "maximize": maximize})

    def _rule(self, leaf: Leaf, state: dict[str, Any], group: Group) -> Update:
        return Update("sgd", (), (sign_of(group), group["lr"], 0.0))


class SparseAdam(_OfRows):
    """Adam for the rows of a table that were looked up: the averages of other rows rest, too.

    m += (1 - beta1) (g - m), v += (1 - beta2) (g^2 - v) and
    p -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps) in these rows; t counts the steps
    of the whole parameter. That is PyTorch's optimizer of this name; it is not the same as `Adam`,
    which goes on moving rows that have been looked up before. Of parameters that were used in any
    other way than by looking up rows it changes all elements.

    Args:
        params: parameters, such as the weights of `nn.Embedding`.
        lr: learning rate.
        betas: (beta1, beta2).
        eps: keeps the quotient finite.
        maximize: whether to go up the gradient.

    >>> table = nn.Embedding(100_000, 2)
    >>> optimizer = ln.optim.SparseAdam(table.parameters(), lr=0.5)
    >>> before = table.weight.numpy()
    >>> ln.sum(table([3, 9, 3])).backward()
    >>> optimizer.step()  # the first step is lr long
    >>> change = before - table.weight.numpy()
    >>> np.flatnonzero(change.any(1)).tolist(), change[9].round(4).tolist()
    ([3, 9], [0.5, 0.5])

    Raises:
        ValueError: for no parameters, or an option out of its range.
    """

    _keeps = ("step", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def _rule(self, leaf: Leaf, state: dict[str, Any], group: Group) -> Update:
        averages, step = averages_of(leaf, state)
        beta1, beta2 = group["betas"]
        rate = group["lr"] * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step)
        numbers = (sign_of(group), 1.0 - beta1, 1.0 - beta2, rate, group["eps"])
        return Update("sparse_adam", averages, numbers)
