"""Learning rates that change from epoch to epoch: PyTorch's schedules, step by step.

`step()` after each epoch (or batch) sets the `lr` of every group of an optimizer. `initial_lr` of a
group, which is part of the optimizer's state, is where its schedule starts from.
"""

from __future__ import annotations

import copy
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lazynet.optimizer import Group, Optimizer

Rates = list[float]


class _Schedule:
    """What all schedules share: an optimizer, and a state of plain numbers and lists."""

    optimizer: Optimizer
    last_epoch: int
    _last_lr: Rates

    def _attach(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            kind = type(optimizer).__name__
            raise TypeError(f"{type(self).__name__}: expected an optimizer, not {kind}")
        self.optimizer = optimizer

    def _rates(self) -> Rates:
        """The learning rates of the groups, as they are now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _for_each(self, given: Any, what: str) -> list[Any]:
        """One of something for each group: as given, or the same for all."""
        count = len(self.optimizer.param_groups)
        if not isinstance(given, (list, tuple)):
            return [given] * count
        if len(given) != count:
            raise ValueError(
                f"{type(self).__name__}: expected {what} for each of {count} groups of "
                f"parameters, not {len(given)}"
            )
        return list(given)

    def get_last_lr(self) -> Rates:
        """The learning rates that the last step has set, one for each group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Options and where the schedule is, as PyTorch lays them out. The optimizer has its own.

        Functions are no part of it; of objects that are called, their attributes are.
        """
        left_out = ("optimizer", "_is_initial")
        return {k: copy.deepcopy(v) for k, v in vars(self).items() if k not in left_out}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over options and place; PyTorch's for the same schedule will do.

        Raises:
            ValueError: for the state of something else; nothing has changed then.
        """
        own = self.state_dict()
        missing = ", ".join(sorted(name for name in own if name not in state_dict))
        if missing:
            raise ValueError(
                f"{type(self).__name__}: load_state_dict: this is another schedule's state, "
                f"without {missing}"
            )
        vars(self).update({name: copy.deepcopy(state_dict[name]) for name in own})


class LRScheduler(_Schedule):
    """What schedules of the number of the epoch share; `get_lr` of a subclass is its formula.

    Args:
        optimizer: whose learning rates change.
        last_epoch: -1 to begin; else the epoch after which to go on, where the optimizer's state
            was loaded.

    Raises:
        TypeError: for what is no optimizer. KeyError: for a `last_epoch` where the optimizer has
            had no schedule.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self._attach(optimizer)
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: group {k} has no initial_lr to go on from; load the "
                    "optimizer's state first"
                )
        self.base_lrs: Rates = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._is_initial = True  # while the first learning rates are set, which is no epoch
        self.step()
        self._is_initial = False

    def get_lr(self) -> Rates:
        """The learning rates of epoch `last_epoch`, which `step` sets, one for each group."""
        raise NotImplementedError(f"{type(self).__name__}: a schedule has to define get_lr")

    def step(self) -> None:
        """Go on to the next epoch: after the optimizer's steps in this one."""
        self._step_count += 1
        self.last_epoch += 1
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        self._last_lr = self._rates()


class LambdaLR(LRScheduler):
    """lr = initial lr times f(epoch).

    Args:
        optimizer: whose learning rates change.
        lr_lambda: f, or a list of one for each group.
        last_epoch: see `LRScheduler`.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5)
    >>> schedule = ln.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> schedule.step()
    >>> optimizer.lr
    0.25
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self._attach(optimizer)
        self.lr_lambdas = self._for_each(lr_lambda, "a function")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        return [
            rate * function(self.last_epoch)
            for rate, function in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        functions, self.lr_lambdas = self.lr_lambdas, []
        try:
            state = super().state_dict()
        finally:
            self.lr_lambdas = functions
        state["lr_lambdas"] = [
            None if isinstance(f, types.FunctionType) else dict(getattr(f, "__dict__", {}))
            for f in functions
        ]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        functions = self.lr_lambdas
        super().load_state_dict(state_dict)
        for function, attributes in zip(functions, self.lr_lambdas, strict=True):
            if attributes:
                vars(function).update(attributes)
        self.lr_lambdas = functions


class StepLR(LRScheduler):
    """lr = gamma lr after every `step_size` epochs.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5)
    >>> schedule = ln.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for epoch in range(4):
    ...     schedule.step()
    >>> optimizer.lr
    0.125
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size must be at least 1, not {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self._rates()
        return [rate * self.gamma for rate in self._rates()]


class ExponentialLR(LRScheduler):
    """lr = gamma lr after every epoch.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5)
    >>> schedule = ln.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        return self._rates() if self._is_initial else [r * self.gamma for r in self._rates()]


class LinearLR(LRScheduler):
    """lr = initial lr times a factor that goes in a line from one number to another.

    Args:
        optimizer: whose learning rates change.
        start_factor: the factor of epoch 0.
        end_factor: that of epoch `total_iters` and of all after it.
        total_iters: how many epochs the line takes.
        last_epoch: see `LRScheduler`.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5)
    >>> schedule = ln.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> schedule.step()
    >>> optimizer.lr
    0.375

    Raises:
        ValueError: for factors that are not between 0 and 1, or no epochs.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not (0.0 < start_factor <= 1.0 and 0.0 <= end_factor <= 1.0):
            raise ValueError(
                "LinearLR: factors must be between 0 and 1, and start_factor not 0, not "
                f"{start_factor} and {end_factor}"
            )
        if total_iters < 1:
            raise ValueError(f"LinearLR: total_iters must be at least 1, not {total_iters}")
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        if self.last_epoch == 0:
            return [rate * self.start_factor for rate in self._rates()]
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._rates()
        slope = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * slope
        return [rate * (1.0 + slope / before) for rate in self._rates()]


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (initial lr - eta_min) (1 + cos(pi epoch / T_max)) / 2.

    That of Loshchilov and Hutter, 2017, without restarts; after T_max epochs it goes up again.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5)
    >>> schedule = ln.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    >>> schedule.step()
    >>> round(optimizer.lr, 4)
    0.25
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max must be at least 1, not {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        t, most, least = self.last_epoch, self.T_max, self.eta_min
        if self._is_initial:
            return self._rates()
        if (t - 1 - most) % (2 * most) == 0:  # the step before was at the bottom
            return [
                rate + (base - least) * (1 - math.cos(math.pi / most)) / 2
                for rate, base in zip(self._rates(), self.base_lrs, strict=True)
            ]
        factor = (1 + math.cos(math.pi * t / most)) / (1 + math.cos(math.pi * (t - 1) / most))
        return [factor * (rate - least) + least for rate in self._rates()]


class ReduceLROnPlateau(_Schedule):
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


__all__ = [
    "CosineAnnealingLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR",
    "ReduceLROnPlateau", "StepLR",
]  # fmt: skip
