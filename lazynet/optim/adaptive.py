"""Adagrad and RMSprop: steps that are divided by the size of the gradients so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lazynet.leaf import Leaf
from lazynet.optimizer import Group, Optimizer, Update, sign_of, zeros


class Adagrad(Optimizer):
    """p -= lr' g / (sqrt(s) + eps), s the sum of all g^2 (Duchi and others, 2011).

    lr' = lr / (1 + (t - 1) lr_decay) in step t; `weight_decay` adds weight_decay p to the gradient.

    Args:
        params: parameters, or dicts of parameters and options.
        lr: learning rate.
        initial_accumulator_value: what s starts from.
        eps: keeps the quotient finite.
        maximize: whether to go up the gradient, -g taking the place of g.

    >>> p = ln.Parameter([2.0])
    >>> optimizer = ln.optim.Adagrad([p], lr=0.5)
    >>> p.square().sum().backward()
    >>> optimizer.step()  # the first step is lr long
    >>> p.tolist()
    [1.5]

    Raises:
        ValueError: for no parameters, or an option out of its range.
    """

    _keeps = ("step", "sum")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
             "initial_accumulator_value": initial_accumulator_value, "eps": eps,
             "maximize": maximize},
        )  # fmt: skip

    def _rule(self, leaf: Leaf, state: dict[str, Any], group: Group) -> Update:
        if not state:
            first = np.full(leaf.type.size, group["initial_accumulator_value"], leaf.type.dtype)
            state.update(step=0, sum=leaf.device.own(first))
        rate = group["lr"] / (1.0 + state["step"] * group["lr_decay"])
        state["step"] += 1
        numbers = (sign_of(group), rate, group["weight_decay"], group["eps"])
        return Update("adagrad", (state["sum"],), numbers)


class RMSprop(Optimizer):
    """p -= lr g / (sqrt(v) + eps), v an average of g^2 (Tieleman and Hinton, 2012).

    v = alpha v + (1 - alpha) g^2 starts from 0. With `centered`, v - m^2 takes the place of v, m
    being the same average of g; with `momentum`, b = momentum b + g / (sqrt(v) + eps) is what is
    subtracted; `weight_decay` adds weight_decay p to the gradient.

    Args:
        params: parameters, or dicts of parameters and options.
        lr: learning rate.
        alpha: how much of the average stays in a step.
        eps: keeps the quotient finite.
        maximize: whether to go up the gradient, -g taking the place of g.

    >>> p = ln.Parameter([2.0])
    >>> optimizer = ln.optim.RMSprop([p], lr=0.5, alpha=0.75)
    >>> p.square().sum().backward()
    >>> optimizer.step()  # 2 - 0.5 / sqrt(1 - 0.75)
    >>> round(p.item(), 4)
    1.0

    Raises:
        ValueError: for no parameters, or an option out of its range.
    """

    _keeps = ("step", "square_avg")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
             "momentum": momentum, "centered": centered, "maximize": maximize},
        )  # fmt: skip

    def _kept(self, group: Mapping[str, Any]) -> set[str]:
        mean = {"grad_avg"} if group["centered"] else set()
        return {*self._keeps, *mean, *({"momentum_buffer"} if group["momentum"] else ())}

    def _rule(self, leaf: Leaf, state: dict[str, Any], group: Group) -> Update:
        keep, mass = group["alpha"], group["momentum"]
        names = [name for name in _RMSPROP if name in self._kept(group)]
        for name in names:
            if name not in state:
                state[name] = zeros(leaf)
        state["step"] = state.get("step", 0) + 1
        rule = "rmsprop" + "_centered" * bool(group["centered"]) + "_momentum" * bool(mass)
        numbers = [sign_of(group), group["lr"], group["weight_decay"], keep, 1.0 - keep]
        numbers += [group["eps"], mass] if mass else [group["eps"]]
        return Update(rule, tuple(state[name] for name in names), tuple(numbers))


_RMSPROP = ("square_avg", "grad_avg", "momentum_buffer")  # in the order in which rules take them
