"""`GradScaler`: keeps small gradients of float16 products from vanishing, as PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lazynet.optim import Optimizer


class GradScaler:
    """Multiplies the loss by a number, and divides the gradients by it before a step.

    Steps whose gradients are not finite are left out, and the number shrinks; after
    `growth_interval` steps in a row it grows (Micikevicius and others, 2018).

        >>> x = ln.Parameter([2.0])
        >>> optimizer, scaler = ln.optim.SGD([x], lr=0.5), ln.GradScaler(init_scale=4.0)
        >>> scaler.scale((x * x).sum()).backward()
        >>> scaler.step(optimizer)
        True
        >>> scaler.update()
        >>> x.tolist()
        [0.0]

    Args:
        init_scale: the first number.
        growth_factor, backoff_factor: what it is multiplied with to grow and to shrink.
        growth_interval: finite steps in a row until it grows.
        enabled: False to change nothing.

    Raises:
        ValueError: for a number or a factor out of its range.
    """

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if init_scale <= 0.0 or growth_factor <= 1.0 or not 0.0 < backoff_factor < 1.0:
            raise ValueError(
                "GradScaler: init_scale must be above 0, growth_factor above 1, and backoff_factor "
                f"between 0 and 1, not {init_scale}, {growth_factor} and {backoff_factor}"
            )
        self._scale, self._enabled, self._finite_steps = float(init_scale), enabled, 0
        self.growth_factor, self.backoff_factor = growth_factor, backoff_factor
        self.growth_interval = growth_interval
        # Of each optimizer since `update`, whether its gradients are finite; they are divided.
        self._unscaled: dict[int, bool] = {}
        self._stepped: set[int] = set()  # optimizers, since `update`

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The number that losses are multiplied with."""
        return self._scale if self._enabled else 1.0

    def scale(self, loss: Any) -> Any:
        """The loss times the number; backward from there."""
        return loss * self._scale if self._enabled else loss

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer's parameters, say to clip them before `step`.

        Raises:
            RuntimeError: if that was done since the last `update`.
        """
        if not self._enabled:
            return
        if id(optimizer) in self._unscaled:
            raise RuntimeError(
                "GradScaler: unscale_ has divided these gradients since the last update()"
            )
        finite = True
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.graph.gradient is not None:
                    p.graph.recorded = None  # what is divided is a number from here on
                    g, rules = p.graph.gradient.reshape(-1), p.graph.device.updates
                    rules.scale(g, p.dtype.type(1.0 / self._scale))
                    finite = finite and bool(np.isfinite(rules.square_sum(g)))
        self._unscaled[id(optimizer)] = finite

    def step(self, optimizer: Optimizer) -> bool:
        """A step of the optimizer, unless a gradient is not finite; whether there was one.

        Raises:
            RuntimeError: if there was one since the last `update`.
        """
        if not self._enabled:
            optimizer.step()
            return True
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler: step was called since the last update()")
        if id(optimizer) not in self._unscaled:
            self.unscale_(optimizer)
        finite = self._unscaled[id(optimizer)]
        self._stepped.add(id(optimizer))
        if finite:
            optimizer.step()
        return finite

    def update(self, new_scale: float | None = None) -> None:
        """Grow or shrink the number, after the steps of all optimizers; or set it."""
        if not self._enabled:
            return
        found, self._unscaled, self._stepped = self._unscaled, {}, set()
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not all(found.values()):
            self._scale, self._finite_steps = self._scale * self.backoff_factor, 0
        elif found:
            self._finite_steps += 1
            if self._finite_steps == self.growth_interval:
                self._scale, self._finite_steps = self._scale * self.growth_factor, 0

    def state_dict(self) -> dict[str, Any]:
        """The number and how far it is from growing, as PyTorch lays it out; of none, nothing."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self.growth_factor,
            "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval,
            "_growth_tracker": self._finite_steps,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state; PyTorch's will do. A scaler that is not enabled takes nothing.

        Raises:
            RuntimeError: for what is no scaler's state, or that of one that was not enabled.
        """
        if not self._enabled:
            return
        missing = ", ".join(name for name in self.state_dict() if name not in state_dict)
        if missing:
            raise RuntimeError(
                f"GradScaler: load_state_dict: the state has no {missing}; a scaler that is not "
                "enabled saves an empty one"
            )
        self._scale = float(state_dict["scale"])
        self.growth_factor = float(state_dict["growth_factor"])
        self.backoff_factor = float(state_dict["backoff_factor"])
        self.growth_interval = int(state_dict["growth_interval"])
        self._finite_steps = int(state_dict["_growth_tracker"])
