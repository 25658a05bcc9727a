"""Schedules of one formula: functions, steps, lines and powers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lazynet.optim.lr_scheduler.schedule import (
    FromTheOneBefore,
    LRScheduler,
    Rates,
    at_least,
    attributes_of,
    set_attributes,
)
from lazynet.optimizer import Optimizer


class _Functions(LRScheduler):
    """A schedule with a function of the epoch for each group."""

    _apart = ("lr_lambdas",)

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self._attach(optimizer)
        self.lr_lambdas = self._for_each(lr_lambda, "a function")
        for function in self.lr_lambdas:
            if not callable(function):
                kind = type(function).__name__
                raise TypeError(f"{type(self).__name__}: expected a function, not {kind}")
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        attributes = [attributes_of(function) for function in self.lr_lambdas]
        return {**super().state_dict(), "lr_lambdas": attributes}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for function, attributes in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            set_attributes(function, attributes)


class LambdaLR(_Functions):
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

    Raises:
        TypeError: for what is no function. ValueError: for another number of them than of groups.
    """

    def get_lr(self) -> Rates:
        return [
            rate * function(self.last_epoch)
            for rate, function in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]


class MultiplicativeLR(_Functions):
    """lr = f(epoch) lr after every epoch.

    Args:
        optimizer: whose learning rates change.
        lr_lambda: f, or a list of one for each group.
        last_epoch: see `LRScheduler`.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5)
    >>> schedule = ln.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 1 / epoch)
    >>> for epoch in range(2):
    ...     schedule.step()
    >>> optimizer.lr
    0.25

    Raises:
        TypeError: for what is no function. ValueError: for another number of them than of groups.
    """

    def get_lr(self) -> Rates:
        if self._is_initial:
            return self._rates()
        return [
            rate * function(self.last_epoch)
            for rate, function in zip(self._rates(), self.lr_lambdas, strict=True)
        ]


class StepLR(FromTheOneBefore):
    """lr = gamma lr after every `step_size` epochs.

    Args:
        optimizer: whose learning rates change.
        step_size: 1 or more.
        gamma: the factor.
        last_epoch: see `LRScheduler`.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5)
    >>> schedule = ln.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for epoch in range(4):
    ...     schedule.step()
    >>> optimizer.lr
    0.125

    Raises:
        ValueError: for a `step_size` below 1.
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        at_least(1, "StepLR", step_size=step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self._rates()
        return [rate * self.gamma for rate in self._rates()]


class MultiStepLR(FromTheOneBefore):
    """lr = gamma lr after each of these epochs.

    Args:
        optimizer: whose learning rates change.
        milestones: numbers of epochs, in any order; one that is there twice counts twice.
        gamma: the factor.
        last_epoch: see `LRScheduler`.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5)
    >>> schedule = ln.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1, 3], gamma=0.5)
    >>> for epoch in range(4):
    ...     schedule.step()
    >>> optimizer.lr
    0.125

    Raises:
        ValueError: for a milestone that is no number of an epoch.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        given = [*milestones]
        for epoch in given:
            at_least(0, "MultiStepLR", milestones=epoch)
        self.milestones, self.gamma = Counter(given), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        times = self.milestones.get(self.last_epoch, 0)
        return [rate * self.gamma**times for rate in self._rates()]


class ExponentialLR(FromTheOneBefore):
    """lr = gamma lr after every epoch.

    Args:
        optimizer: whose learning rates change.
        gamma: the factor.
        last_epoch: see `LRScheduler`.

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


class ConstantLR(FromTheOneBefore):
    """lr = factor times the initial lr, and from epoch `total_iters` on the initial lr.

    Args:
        optimizer: whose learning rates change.
        factor: above 0, and 1 at most.
        total_iters: in how many epochs it counts.
        last_epoch: see `LRScheduler`.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5)
    >>> schedule = ln.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=1)
    >>> optimizer.lr
    0.25
    >>> schedule.step()
    >>> optimizer.lr
    0.5

    Raises:
        ValueError: for a factor that is not between 0 and 1, or no epochs.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0.0 < factor <= 1.0:
            raise ValueError(f"ConstantLR: factor must be between 0 and 1, and not 0, not {factor}")
        at_least(1, "ConstantLR", total_iters=total_iters)
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        if self.last_epoch == 0:
            return [rate * self.factor for rate in self._rates()]
        if self.last_epoch == self.total_iters:
            return [rate * (1.0 / self.factor) for rate in self._rates()]
        return self._rates()


class LinearLR(FromTheOneBefore):
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
        at_least(1, "LinearLR", total_iters=total_iters)
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


class PolynomialLR(FromTheOneBefore):
    """lr = initial lr times (1 - epoch / total_iters)^power, and 0 from epoch `total_iters` on.

    Args:
        optimizer: whose learning rates change.
        total_iters: how many epochs it takes.
        power: 1 for a line.
        last_epoch: see `LRScheduler`.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5)
    >>> schedule = ln.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=2, power=2.0)
    >>> schedule.step()
    >>> optimizer.lr
    0.125

    Raises:
        ValueError: for no epochs.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        at_least(1, "PolynomialLR", total_iters=total_iters)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._rates()
        left = 1.0 - self.last_epoch / self.total_iters
        before = 1.0 - (self.last_epoch - 1) / self.total_iters
        return [rate * (left / before) ** self.power for rate in self._rates()]
