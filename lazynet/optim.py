"""Optimizers: PyTorch's formulas and options, one compiled pass over each parameter.

What is pending runs before a parameter changes, so values keep the weights they were recorded with.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lazynet.device import Device
from lazynet.kernels import updates
from lazynet.tensor import Parameter, settle

Group = dict[str, Any]
# Called with the seconds of every step; what was pending before it is not in them.
observers: list[Any] = []


class Optimizer:
    """What all optimizers share: groups of parameters with options, and a state for each parameter.

    Args:
        params: parameters, or dicts with the key "params" and options for these alone.
        defaults: the options of groups that do not set them.

    Raises:
        ValueError: for no parameters, for one given twice, or an option out of its range.
        TypeError: for something that is no parameter.
    """

    _keeps: tuple[str, ...] | None = None  # what a parameter's state holds, where it is told

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Parameter, dict[str, Any]] = {}
        if isinstance(params, Parameter):
            raise TypeError(f"{self._name}: expected several parameters, not one: give a list")
        if not isinstance(params, Iterable):
            kind = type(params).__name__
            raise TypeError(
                f"{self._name}: expected parameters, not {kind}; a model has .parameters()"
            )
        given = list(params)
        if not given:
            raise ValueError(f"{self._name}: got no parameters")
        groups = given if isinstance(given[0], Mapping) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Optimize these parameters too, with the options that the dict sets."""
        params = group["params"]
        params = [params] if isinstance(params, Parameter) else list(params)
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for p in params:
            if not isinstance(p, Parameter):
                raise TypeError(
                    f"{self._name}: can only optimize parameters, not {type(p).__name__}"
                )
            if id(p) in known:
                raise ValueError(f"{self._name}: a parameter of shape {p.shape} was given twice")
            known.add(id(p))
        unknown = set(group) - set(self.defaults) - {"params"}
        if unknown:
            raise ValueError(f"{self._name}: there is no option {', '.join(sorted(unknown))}")
        made = {**self.defaults, **group, "params": params}
        self._check(made)
        self.param_groups.append(made)

    def _check(self, group: Group) -> None:
        for name in ("lr", "eps", "weight_decay", "momentum"):
            value = group.get(name, 0.0)
            if not isinstance(value, (int, float, np.number)):
                raise TypeError(f"{self._name}: {name} must be a number, not {value!r}")
            if not value >= 0.0:
                raise ValueError(f"{self._name}: {name} must be at least 0, not {value}")
        betas = group.get("betas", (0.0, 0.0))
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"{self._name}: betas must be two numbers, not {betas!r}")
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"{self._name}: betas must be in [0, 1), not {betas}")

    @property
    def lr(self) -> float:
        """The learning rate (of the first group); setting it sets that of all groups."""
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        if not value >= 0.0:
            raise ValueError(f"{self._name}: lr must be at least 0, not {value}")
        for group in self.param_groups:
            group["lr"] = value

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for group in self.param_groups:
            for p in group["params"]:
                p.zero_grad()

    def step(self) -> None:
        """Change every parameter that has a gradient."""
        settle()
        start = time.perf_counter()
        for group in self.param_groups:
            for p in group["params"]:
                if p.graph.gradient is not None:
                    state = self.state.setdefault(p, {})
                    _follow(state, p.graph.device)
                    self._update(p.data.reshape(-1), p.graph.gradient.reshape(-1), state, group)
        for observer in observers:
            observer(time.perf_counter() - start)

    def _update(self, p: Any, g: Any, state: dict[str, Any], group: Group) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Options and state, laid out as PyTorch's: parameters by number. Arrays are copied."""
        params = [p for group in self.param_groups for p in group["params"]]
        number = {id(p): k for k, p in enumerate(params)}
        state = {
            number[id(p)]: {
                name: np.array(v).reshape(p.shape) if hasattr(v, "dtype") else v
                for name, v in kept.items()
            }
            for p, kept in self.state.items()
        }
        groups = [
            {**group, "params": [number[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over options and state; PyTorch's for the same optimizer will do.

        Raises:
            ValueError: if groups, numbers of parameters or shapes differ; nothing has changed then.
        """
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise ValueError(
                f"{self._name}: load_state_dict: this is no optimizer's state, which has 'state' "
                "and 'param_groups'"
            )
        groups = state_dict["param_groups"]
        ours = [len(group["params"]) for group in self.param_groups]
        theirs = [len(group["params"]) for group in groups]
        if ours != theirs:
            raise ValueError(
                f"{self._name}: the state is of groups of {theirs} parameters, not of {ours}"
            )
        params = [p for group in self.param_groups for p in group["params"]]
        numbers = [n for group in groups for n in group["params"]]
        kept = {int(n): v for n, v in state_dict["state"].items()}
        loaded = {
            p: {name: self._loaded(name, value, p) for name, value in kept[int(n)].items()}
            for p, n in zip(params, numbers, strict=True)
            if int(n) in kept
        }
        for names in ({k for k, v in s.items() if v is not None} for s in loaded.values()):
            if names and self._keeps is not None and names != set(self._keeps):
                raise ValueError(
                    f"{self._name}: the state of a parameter holds {', '.join(sorted(names))}, "
                    f"which is another optimizer's; expected {', '.join(self._keeps)}"
                )
        options = [{k: v for k, v in group.items() if k in self.defaults} for group in groups]
        for group in options:
            self._check({**self.defaults, **group})
        self.state = {p: {k: v for k, v in s.items() if v is not None} for p, s in loaded.items()}
        for group, new in zip(self.param_groups, options, strict=True):
            group.update(new)

    def _loaded(self, name: str, value: Any, p: Parameter) -> Any:
        if value is None or name == "step":
            return None if value is None else int(value)
        array = np.asarray(value).astype(p.dtype)
        if array.shape != p.shape:
            raise ValueError(
                f"{self._name}: {name} has shape {array.shape}, its parameter {p.shape}"
            )
        return array.reshape(-1)

    def __repr__(self) -> str:
        lines = [f"{self._name} ("]
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            lines += [f"    {name}: {group[name]}" for name in sorted(set(group) - {"params"})]
        return "\n".join([*lines, ")"])


def _rules(p: Any) -> Any:
    """The compiled updates of the device that an array is on."""
    return updates if isinstance(p, np.ndarray) else p.device.updates


def _zeros_like(p: Any) -> Any:
    return np.zeros_like(p) if isinstance(p, np.ndarray) else p.device.zeros_like(p)


def _follow(state: dict[str, Any], device: Device) -> None:
    """Move the arrays of a state to the device that its parameter is on."""
    for name, kept in state.items():
        if hasattr(kept, "dtype") and getattr(kept.device, "name", "cpu") != device.name:
            state[name] = device.own(np.asarray(kept))


class SGD(Optimizer):
    """p -= lr d, with d = g + weight_decay p, smoothed by `momentum`.

    b = momentum b + (1 - dampening) d takes the place of d; with `nesterov`, d + momentum b does.

    Args:
        params: parameters, or dicts of parameters and options.
        lr: learning rate.

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
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "momentum": momentum, "dampening": dampening,
             "weight_decay": weight_decay, "nesterov": nesterov},
        )  # fmt: skip

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] <= 0.0 or group["dampening"] != 0.0):
            raise ValueError("SGD: nesterov needs a momentum and no dampening")

    def _update(self, p: Any, g: Any, state: dict[str, Any], group: Group) -> None:
        real = p.dtype.type
        rate, decay, keep = real(group["lr"]), real(group["weight_decay"]), real(group["momentum"])
        if not keep:
            _rules(p).sgd(p, g, rate, decay)
            return
        take = real(1.0 - group["dampening"])
        if "momentum_buffer" not in state:  # the first buffer is d itself
            state["momentum_buffer"] = _zeros_like(p)
            take = real(1.0)
        buffer = state["momentum_buffer"]
        update = _rules(p).nesterov if group["nesterov"] else _rules(p).momentum
        update(p, g, buffer, rate, decay, keep, take)


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
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    def _decay(self, group: Group) -> tuple[float, float]:
        """(factor of the parameter, what is added to the gradient for each unit of it)."""
        return 1.0, group["weight_decay"]

    def _update(self, p: Any, g: Any, state: dict[str, Any], group: Group) -> None:
        real = p.dtype.type
        if not state:
            state.update(step=0, exp_avg=_zeros_like(p), exp_avg_sq=_zeros_like(p))
        state["step"] += 1
        beta1, beta2 = group["betas"]
        shrink, decay = self._decay(group)
        rate = group["lr"] / (1.0 - beta1 ** state["step"])
        scale = 1.0 / math.sqrt(1.0 - beta2 ** state["step"])
        numbers = (shrink, decay, beta1, 1.0 - beta1, beta2, 1.0 - beta2, rate, scale, group["eps"])
        _rules(p).adam(p, g, state["exp_avg"], state["exp_avg_sq"], *map(real, numbers))


class AdamW(Adam):
    """Adam, with p = (1 - lr weight_decay) p before each step (Loshchilov and Hutter, 2019).

    >>> p = ln.Parameter([2.0])
    >>> optimizer = ln.optim.AdamW([p], lr=0.5, weight_decay=0.1)
    >>> p.square().sum().backward()
    >>> optimizer.step()  # 2 (1 - 0.5 0.1) - 0.5
    >>> round(p.item(), 4)
    1.4
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _decay(self, group: Group) -> tuple[float, float]:
        return 1.0 - group["lr"] * group["weight_decay"], 0.0
