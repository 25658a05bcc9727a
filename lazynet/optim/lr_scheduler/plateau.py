"""A schedule that follows a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lazynet.optim.lr_scheduler.schedule import Schedule
from lazynet.optimizer import Group, Optimizer


class ReduceLROnPlateau(Schedule):
    """lr = factor lr, not below `min_lr`, when a metric has not improved for `patience` epochs.

    Args:
        optimizer: whose learning rates change.
        mode: "min" if less is better, else "max".
        factor: below 1.
        patience: epochs in a row without improvement that change nothing.
        threshold: an improvement is by more than this, as a part of the best metric so far with
            `threshold_mode` "rel", as a number with "abs".
        cooldown: epochs after a change in which nothing is counted.
        min_lr: a number, or one for each group.
        eps: changes that are no larger are left out.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5)
    >>> schedule = ln.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     schedule.step(loss)
    >>> optimizer.lr
    0.25

    Raises:
        ValueError: for a factor that is not below 1, an unknown mode, a wrong number of `min_lr`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, not {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode is 'min' or 'max', not {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"ReduceLROnPlateau: threshold_mode is 'rel' or 'abs', not {threshold_mode!r}"
            )
        self._attach(optimizer)
        self.min_lrs = self._for_each(min_lr, "a min_lr")
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.mode, self.factor, self.patience, self.cooldown = mode, factor, patience, cooldown
        self.threshold, self.threshold_mode, self.eps = threshold, threshold_mode, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.last_epoch = self.cooldown_counter = self.num_bad_epochs = 0
        self._last_lr = self._rates()

    def step(self, metrics: Any) -> None:
        """Tell the metric of an epoch, a number or a Tensor of one."""
        current = float(metrics)
        self.last_epoch += 1
        if self._improves(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            if self.default_min_lr is not None:  # also of groups that were added
                self.min_lrs = self._for_each(self.default_min_lr, "a min_lr")
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                self._reduce(group, least)
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._rates()

    def _improves(self, metric: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        if self.threshold_mode == "rel":
            wanted = self.best * (1.0 + sign * self.threshold)
        else:
            wanted = self.best + sign * self.threshold
        return metric < wanted if self.mode == "min" else metric > wanted

    def _reduce(self, group: Group, least: float) -> None:
        rate = max(group["lr"] * self.factor, least)
        if group["lr"] - rate > self.eps:
            group["lr"] = rate
