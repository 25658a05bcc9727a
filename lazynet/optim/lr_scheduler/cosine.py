"""Schedules that go down a cosine."""

from __future__ import annotations

import math

from lazynet.optim.lr_scheduler.schedule import (
    FromTheOneBefore,
    LRScheduler,
    Rates,
    at_least,
)
from lazynet.optimizer import Optimizer


class CosineAnnealingLR(FromTheOneBefore):
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
        at_least(1, "CosineAnnealingLR", T_max=T_max)
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


class CosineAnnealingWarmRestarts(LRScheduler):
    """lr = eta_min + (initial lr - eta_min) (1 + cos(pi t / T)) / 2, t epochs after a restart.

    The first period T is of `T_0` epochs, each other one `T_mult` times as long as the one before
    (Loshchilov and Hutter, 2017).

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5)
    >>> schedule = ln.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2)
    >>> rates = []
    >>> for epoch in range(6):
    ...     schedule.step()
    ...     rates.append(round(optimizer.lr, 3))
    >>> rates
    [0.25, 0.5, 0.427, 0.25, 0.073, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        at_least(1, "CosineAnnealingWarmRestarts", T_0=T_0, T_mult=T_mult)
        self.T_0 = self.T_i = T_0
        self.T_mult, self.eta_min, self.T_cur = T_mult, eta_min, last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        height = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]

    def step(self) -> None:
        self.T_cur = self.T_cur + 1 if self.last_epoch >= 0 else 0
        if self.T_cur >= self.T_i:
            self.T_cur %= self.T_i
            self.T_i *= self.T_mult
        super().step()
