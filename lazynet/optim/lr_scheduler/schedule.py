"""What schedules share: an optimizer, its learning rates, and a state."""

from __future__ import annotations

import copy
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from lazynet.optimizer import Optimizer

Rates = list[float]


class Schedule:
    """What all schedules share: an optimizer, and a state of plain numbers and lists."""

    optimizer: Optimizer
    last_epoch: int
    _last_lr: Rates
    _apart: tuple[str, ...] = ()  # attributes whose part of the state a subclass tells itself

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
        left_out = ("optimizer", "_is_initial", *self._apart)
        return {k: copy.deepcopy(v) for k, v in vars(self).items() if k not in left_out}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over options and place; PyTorch's for the same schedule will do.

        Raises:
            ValueError: for the state of something else; nothing has changed then.
        """
        self.check_state(state_dict)
        own = self.state_dict().keys() - set(self._apart)
        vars(self).update({name: copy.deepcopy(state_dict[name]) for name in own})

    def check_state(self, state_dict: Mapping[str, Any]) -> None:
        """Raise for the state of something else."""
        missing = ", ".join(sorted(name for name in self.state_dict() if name not in state_dict))
        if missing:
            raise ValueError(
                f"{type(self).__name__}: load_state_dict: this is another schedule's state, "
                f"without {missing}"
            )


class LRScheduler(Schedule):
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
        self.begin()

    def get_lr(self) -> Rates:
        """The learning rates of epoch `last_epoch`, which `step` sets, one for each group."""
        raise NotImplementedError(f"{type(self).__name__}: a schedule has to define get_lr")

    def step(self) -> None:
        """Go on to the next epoch: after the optimizer's steps in this one."""
        self._step_count += 1
        self._go_to(self.last_epoch + 1)

    def begin(self) -> None:
        """Set the first learning rates, which is no epoch."""
        self._step_count = 0  # for the state alone, where PyTorch keeps it
        self._is_initial = True
        self.step()
        self._is_initial = False

    def begin_again(self) -> None:
        """Go back to epoch 0, from the learning rates that another schedule has left."""
        self._go_to(0)

    def _go_to(self, epoch: int) -> None:
        self.last_epoch = epoch
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        self._last_lr = self._rates()


class FromTheOneBefore(LRScheduler):
    """A schedule whose formula goes on from the learning rates of the epoch before."""

    def begin_again(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = rate
        self._is_initial = True
        self._go_to(0)
        self._is_initial = False


def attributes_of(function: Any) -> dict[str, Any] | None:
    """What a state holds of an object that is called; of functions nothing."""
    return (
        None
        if isinstance(function, types.FunctionType)
        else dict(getattr(function, "__dict__", {}))
    )


def set_attributes(function: Any, attributes: Mapping[str, Any] | None) -> None:
    """Give an object that is called what a state holds of it, as `attributes_of` gave it."""
    if attributes:
        vars(function).update(copy.deepcopy(attributes))


def at_least(least: int, name: str, **given: Any) -> None:
    """Raise for a number of epochs that is no integer, or less."""
    for setting, value in given.items():
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name}: {setting} must be at least {least}, not {value!r}")
