"""SGD, Adam and AdamW: PyTorch's formulas and options."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lazynet.leaf import Leaf
from lazynet.optimizer import Group, Optimizer, Update, sign_of, zeros


def averages_of(leaf: Leaf, state: dict[str, Any]) -> tuple[tuple[Any, Any], int]:
    """The averages of Adam's state, and the number of the step that is taken now."""
    if not state:
        state.update(step=0, exp_avg=zeros(leaf), exp_avg_sq=zeros(leaf))
    state["step"] += 1
    return (state["exp_avg"], state["exp_avg_sq"]), state["step"]


class SGD(Optimizer):
    """p -= lr d, with d = g + weight_decay p, smoothed by `momentum`.

    b = momentum b + (1 - dampening) d takes the place of d; with `nesterov`, d + momentum b does.

    Args:
        params: parameters, or dicts of parameters and options.
        lr: learning rate.
        maximize: whether to go up the gradient, -g taking the place of g.

    >>> p = ln.Parameter([2.0])
    >>> optimizer = ln.optim.SGD([p], lr=0.25)
    >>> p.square().sum().backward()
    >>> optimizer.step()
    >>> p.tolist()
    [1.0]

    Raises:
        ValueError: for no parameters, or an option out of its range.
    """

    _keeps = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "momentum": momentum, "dampening": dampening,
             "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize},
        )  # fmt: skip

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] <= 0.0 or group["dampening"] != 0.0):
            raise ValueError("SGD: nesterov needs a momentum and no dampening")

    def _rule(self, leaf: Leaf, state: dict[str, Any], group: Group) -> Update:
        rate, decay, keep = group["lr"], group["weight_decay"], group["momentum"]
        if not keep:
            return Update("sgd", (), (sign_of(group), rate, decay))
        take = 1.0 - group["dampening"]
        if "momentum_buffer" not in state:  # the first buffer is d itself
            state["momentum_buffer"] = zeros(leaf)
            take = 1.0
        rule = "nesterov" if group["nesterov"] else "momentum"
        return Update(rule, (state["momentum_buffer"],), (sign_of(group), rate, decay, keep, take))


class Adam(Optimizer):
    """p -= lr m' / (sqrt(v') + eps), m' and v' averages of g and g^2 (Kingma and Ba, 2015).

    m = beta1 m + (1 - beta1) g and v = beta2 v + (1 - beta2) g^2 start from 0;
    m' = m / (1 - beta1^t), v' = v / (1 - beta2^t) correct for it. `weight_decay` adds
    weight_decay p to the gradient; `AdamW` decays the parameter itself.

    Args:
        params: parameters, or dicts of parameters and options.
        lr: learning rate.
        betas: (beta1, beta2).
        eps: keeps the quotient finite.
        maximize: whether to go up the gradient, -g taking the place of g.

    >>> p = ln.Parameter([2.0])
    >>> optimizer = ln.optim.Adam([p], lr=0.5)
    >>> p.square().sum().backward()
    >>> optimizer.step()  # the first step is lr long
    >>> round(p.item(), 4)
    1.5

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
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
             "maximize": maximize},
        )  # fmt: skip

    def _decay(self, group: Group) -> tuple[float, float]:
        """(factor of the parameter, what is added to the gradient for each unit of it)."""
        return 1.0, group["weight_decay"]

    def _rule(self, leaf: Leaf, state: dict[str, Any], group: Group) -> Update:
        averages, step = averages_of(leaf, state)
        beta1, beta2 = group["betas"]
        shrink, decay = self._decay(group)
        rate = group["lr"] / (1.0 - beta1**step)
        scale = 1.0 / math.sqrt(1.0 - beta2**step)
        means = (beta1, 1.0 - beta1, beta2, 1.0 - beta2)
        numbers = (sign_of(group), shrink, decay, *means, rate, scale, group["eps"])
        return Update("adam", averages, numbers)


class AdamW(Adam):
    """Adam, with p = (1 - lr weight_decay) p before each step (Loshchilov and Hutter, 2019).

    >>> p = ln.Parameter([2.0])
    >>> optimizer = ln.optim.AdamW([p], lr=0.5, weight_decay=0.1)
    >>> p.square().sum().backward()
    >>> optimizer.step()  # 2 (1 - 0.5 0.1) - 0.5
    >>> round(p.item(), 4)
    1.4
    """

    _decouples = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, maximize=maximize)

    def _decay(self, group: Group) -> tuple[float, float]:
        return 1.0 - group["lr"] * group["weight_decay"], 0.0
