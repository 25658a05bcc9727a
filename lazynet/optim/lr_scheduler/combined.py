"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from lazynet.optim.lr_scheduler.schedule import LRScheduler, Schedule
from lazynet.optimizer import Optimizer


class _Combined(Schedule):
    """Schedules of one optimizer, whose states are part of its own."""

    _schedulers: list[Any]
    _apart = ("_schedulers",)

    def _of(self, optimizer: Any, schedulers: Sequence[Any], kind: Any) -> None:
        """Take over schedules of this kind and optimizer."""
        name = type(self).__name__
        for k, schedule in enumerate(schedulers):
            if not isinstance(schedule, kind):
                raise TypeError(
                    f"{name}: expected schedules whose step takes nothing, not "
                    f"{type(schedule).__name__} as number {k}"
                )
        self._attach(optimizer)
        for k, schedule in enumerate(schedulers):
            if schedule.optimizer is not optimizer:
                raise ValueError(f"{name}: schedule number {k} is of another optimizer")
        self._schedulers = list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        states = [schedule.state_dict() for schedule in self._schedulers]
        return {**super().state_dict(), "_schedulers": states}

    def check_state(self, state_dict: Mapping[str, Any]) -> None:
        super().check_state(state_dict)
        given = state_dict["_schedulers"]
        if len(given) != len(self._schedulers):
            raise ValueError(
                f"{type(self).__name__}: load_state_dict: a state of {len(given)} schedules, not "
                f"of {len(self._schedulers)}"
            )
        for schedule, state in zip(self._schedulers, given, strict=True):
            schedule.check_state(state)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for schedule, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            schedule.load_state_dict(state)


class ChainedScheduler(_Combined):
    """Steps of several schedules at once: each goes on from the lr that the one before has set.

    Args:
        schedulers: schedules of one optimizer.
        optimizer: theirs, by default that of the first.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=1.0)
    >>> halves = ln.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    >>> steps = ln.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    >>> schedule = ln.optim.lr_scheduler.ChainedScheduler([halves, steps])
    >>> for epoch in range(2):
    ...     schedule.step()
    >>> optimizer.lr
    0.025

    Raises:
        ValueError: for no schedules, or those of several optimizers.
        TypeError: for what is no schedule, or waits for a metric.
    """

    def __init__(self, schedulers: Sequence[Any], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise ValueError("ChainedScheduler: expected at least one schedule")
        of_the_first = getattr(schedulers[0], "optimizer", None)
        self._of(optimizer or of_the_first, schedulers, (LRScheduler, _Combined))
        self._last_lr = self._rates()

    def step(self) -> None:
        """Go on to the next epoch in each of the schedules."""
        for schedule in self._schedulers:
            schedule.step()
        self._last_lr = self._rates()


class SequentialLR(_Combined):
    """One schedule after the other, each of which counts epochs from where it begins.

    Args:
        optimizer: whose learning rates change.
        schedulers: schedules of it, in order.
        milestones: the epochs in which the second begins, the third, ...

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=1.0)
    >>> warm = ln.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> cool = ln.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    >>> schedule = ln.optim.lr_scheduler.SequentialLR(optimizer, [warm, cool], milestones=[2])
    >>> rates = [optimizer.lr]
    >>> for epoch in range(4):
    ...     schedule.step()
    ...     rates.append(optimizer.lr)
    >>> rates
    [0.5, 0.75, 1.0, 0.5, 0.25]

    Raises:
        ValueError: for no schedules, those of another optimizer, or milestones that are not one
            fewer, in order.
        TypeError: for what is no schedule, waits for a metric, or is made of schedules.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]
    ) -> None:
        if not schedulers:
            raise ValueError("SequentialLR: expected at least one schedule")
        if len(milestones) != len(schedulers) - 1 or sorted(milestones) != list(milestones):
            raise ValueError(
                f"SequentialLR: expected the {len(schedulers) - 1} epochs in which "
                f"{len(schedulers)} schedules follow each other, in order, not {milestones}"
            )
        self._of(optimizer, schedulers, LRScheduler)
        self._milestones, self.last_epoch = list(milestones), 0
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for schedule in schedulers:
            schedule.last_epoch -= 1  # each has begun when it was made
        first = self._current()
        first.begin()
        self._last_lr = first.get_last_lr()

    def _current(self) -> LRScheduler:
        return self._schedulers[bisect_right(self._milestones, self.last_epoch)]

    def step(self) -> None:
        """Go on to the next epoch: in the schedule that it belongs to."""
        self.last_epoch += 1
        schedule = self._current()
        if self.last_epoch in self._milestones:
            schedule.begin_again()
        else:
            schedule.step()
        self._last_lr = schedule.get_last_lr()
