"""Schedules of cycles, in which the momentum goes down while the learning rate goes up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lazynet.optim.lr_scheduler.schedule import (
    LRScheduler,
    Rates,
    at_least,
    attributes_of,
    set_attributes,
)
from lazynet.optimizer import Group, Optimizer


class _Cycle(LRScheduler):
    """A schedule that may change the momentum, or the first of `betas`, against the lr."""

    cycle_momentum: bool
    use_beta1: bool

    def _begin_momentum(self, base: Any, most: Any, anew: bool) -> tuple[Rates, Rates]:
        """The bounds of each group, which begin with the larger one."""
        if not {"momentum", "betas"} & set(self.optimizer.defaults):
            raise ValueError(
                f"{type(self).__name__}: {type(self.optimizer).__name__} has no momentum; "
                "cycle_momentum=False changes learning rates alone"
            )
        self.use_beta1 = "betas" in self.optimizer.defaults
        bases = self._for_each(base, "a base_momentum")
        largest = self._for_each(most, "a max_momentum")
        if anew:
            groups = self.optimizer.param_groups
            for group, low, high in zip(groups, bases, largest, strict=True):
                group["max_momentum"], group["base_momentum"] = high, low
                self._set_momentum(group, high)
        return bases, largest

    def _set_momentum(self, group: Group, momentum: float) -> None:
        if self.use_beta1:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum

    def _momentums(self) -> Rates:
        """The momentum of each group in epoch `last_epoch`."""
        raise NotImplementedError

    def _go_to(self, epoch: int) -> None:
        super()._go_to(epoch)
        if self.cycle_momentum:
            for group, momentum in zip(self.optimizer.param_groups, self._momentums(), strict=True):
                self._set_momentum(group, momentum)


class CyclicLR(_Cycle):
    """lr = base_lr + (max_lr - base_lr) height scale, whose height goes from 0 to 1 and back.

    The momentum goes the other way, from `max_momentum` to `base_momentum` and back (Smith, 2017).

    Args:
        optimizer: whose learning rates change, and `momentum` or the first of `betas`.
        base_lr: a number, or one for each group.
        max_lr: the same, at the top.
        step_size_up: how many steps (of minibatches, as a rule) the way up takes.
        step_size_down: the way down; by default as many.
        mode: what the scale is: 1 for "triangular", half of that of the cycle before for
            "triangular2", gamma^step for "exp_range".
        gamma: for the mode "exp_range".
        scale_fn: the scale as a function of one's own, in place of `mode`.
        scale_mode: whether `scale_fn` is of the number of the "cycle", from 1, or of "iterations".
        cycle_momentum: whether the momentum changes as well.
        base_momentum: the smallest momentum, a number or one for each group.
        max_momentum: the largest.
        last_epoch: see `LRScheduler`.

    >>> optimizer = ln.optim.SGD([ln.Parameter([1.0])], lr=0.5, momentum=0.9)
    >>> schedule = ln.optim.lr_scheduler.CyclicLR(optimizer, 0.25, 0.75, step_size_up=2)
    >>> rates = []
    >>> for step in range(5):
    ...     schedule.step()
    ...     rates.append(optimizer.lr)
    >>> rates
    [0.5, 0.75, 0.5, 0.25, 0.5]

    Raises:
        ValueError: for an unknown mode, no steps, or an optimizer without momentum.
    """

    _apart = ("_scale_fn_custom",)

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[int], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        self._attach(optimizer)
        base_lrs = self._for_each(base_lr, "a base_lr")
        self.max_lrs = self._for_each(max_lr, "a max_lr")
        down = step_size_up if step_size_down is None else step_size_down
        at_least(1, "CyclicLR", step_size_up=step_size_up, step_size_down=down)
        self.total_size = float(step_size_up) + float(down)
        self.step_ratio = step_size_up / self.total_size
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                f"CyclicLR: mode is 'triangular', 'triangular2' or 'exp_range', not {mode!r}"
            )
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"CyclicLR: scale_mode is 'cycle' or 'iterations', not {scale_mode!r}")
        self.mode, self.gamma, self._scale_fn_custom = mode, gamma, scale_fn
        if scale_fn is None:
            scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.scale_mode = scale_mode
        anew = last_epoch == -1
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            bounds = self._begin_momentum(base_momentum, max_momentum, anew)
            self.base_momentums, self.max_momentums = bounds
        if anew:
            for group, rate in zip(optimizer.param_groups, base_lrs, strict=True):
                group["lr"] = rate
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def _heights(self) -> tuple[float, float]:
        """How far the lr is on the way up, or down, and the scale of this cycle."""
        turns = self.last_epoch / self.total_size
        cycle = math.floor(1 + turns)
        x = 1.0 + turns - cycle
        up = x <= self.step_ratio
        height = x / self.step_ratio if up else (x - 1) / (self.step_ratio - 1)
        return height, self._scale(cycle if self.scale_mode == "cycle" else self.last_epoch)

    def _scale(self, number: int) -> float:
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(number)
        if self.mode == "triangular2":
            return 1 / 2.0 ** (number - 1)
        return self.gamma**number if self.mode == "exp_range" else 1.0

    def get_lr(self) -> Rates:
        height, scale = self._heights()
        return [
            low + (high - low) * height * scale
            for low, high in zip(self.base_lrs, self.max_lrs, strict=True)
        ]

    def _momentums(self) -> Rates:
        height, scale = self._heights()
        return [
            high - (high - low) * height * scale
            for low, high in zip(self.base_momentums, self.max_momentums, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        function = self._scale_fn_custom
        attributes = None if function is None else attributes_of(function)
        return {**super().state_dict(), "_scale_fn_custom": attributes}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        if self._scale_fn_custom is not None:
            set_attributes(self._scale_fn_custom, state_dict["_scale_fn_custom"])


class OneCycleLR(_Cycle):
    """lr goes from max_lr / div_factor to max_lr, then to that / (div_factor final_div_factor).

    The momentum goes the other way, from `max_momentum` to `base_momentum` and back. It is made for
    a step after each minibatch (Smith and Topin, 2018).

    Args:
        optimizer: whose learning rates change, and `momentum` or the first of `betas`.
        max_lr: a number, or one for each group.
        total_steps: how many steps there are; or `epochs` and `steps_per_epoch`, whose product it
            is.
        pct_start: the part of them, between 0 and 1, that the way up takes.
        anneal_strategy: "cos" or "linear", the form of the ways.
        cycle_momentum: whether the momentum changes as well.
        base_momentum: the smallest momentum, a number or one for each group.
        max_momentum: the largest.
        div_factor: the initial lr is max_lr / div_factor.
        final_div_factor: the last lr is the initial one / final_div_factor.
        three_phase: whether the way down to the initial lr is as long as that up, and a third one
            leads to the last lr.
        last_epoch: see `LRScheduler`.

    >>> optimizer = ln.optim.Adam([ln.Parameter([1.0])])
    >>> schedule = ln.optim.lr_scheduler.OneCycleLR(
    ...     optimizer, 0.5, total_steps=6, pct_start=0.5, anneal_strategy="linear")
    >>> rates = []
    >>> for step in range(5):
    ...     schedule.step()
    ...     rates.append(round(optimizer.lr, 3))
    >>> rates
    [0.26, 0.5, 0.333, 0.167, 0.0]

    Raises:
        ValueError: for no steps, an option out of its range, an optimizer without momentum, or, of
            `step`, after all steps have been taken.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self._attach(optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: expected total_steps, or epochs and steps_per_epoch")
            at_least(1, "OneCycleLR", epochs=epochs, steps_per_epoch=steps_per_epoch)
            total_steps = epochs * steps_per_epoch
        at_least(1, "OneCycleLR", total_steps=total_steps)
        if not 0.0 <= pct_start <= 1.0:
            raise ValueError(f"OneCycleLR: pct_start must be between 0 and 1, not {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy is 'cos' or 'linear', not {anneal_strategy!r}"
            )
        self.total_steps, self._anneal_func_type = total_steps, anneal_strategy
        self._schedule_phases = _phases(total_steps, pct_start, three_phase)
        largest = self._for_each(max_lr, "a max_lr")
        anew = last_epoch == -1
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._begin_momentum(base_momentum, max_momentum, anew)
        if anew:
            for group, rate in zip(optimizer.param_groups, largest, strict=True):
                group["initial_lr"] = rate / div_factor
                group["max_lr"] = rate
                group["min_lr"] = group["initial_lr"] / final_div_factor
        super().__init__(optimizer, last_epoch)

    def step(self) -> None:
        if self.last_epoch >= self.total_steps:
            raise ValueError(
                f"OneCycleLR: this schedule has {self.total_steps} steps, and all are taken"
            )
        super().step()

    def _between(self, what: str) -> Rates:
        """The learning rate or momentum of each group, on its way in the phase that it is in."""
        start = 0.0
        for phase in self._schedule_phases[:-1]:
            if self.last_epoch <= phase["end_step"]:
                break
            start = phase["end_step"]
        else:
            phase = self._schedule_phases[-1]
        length = phase["end_step"] - start
        part = (self.last_epoch - start) / length if length else 1.0
        way = _cosine if self._anneal_func_type == "cos" else _line
        first, last = phase[f"start_{what}"], phase[f"end_{what}"]
        return [way(group[first], group[last], part) for group in self.optimizer.param_groups]

    def get_lr(self) -> Rates:
        return self._between("lr")

    def _momentums(self) -> Rates:
        return self._between("momentum")


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)


def _line(start: float, end: float, part: float) -> float:
    return (end - start) * part + start


def _phases(steps: int, part: float, three: bool) -> list[dict[str, Any]]:
    """Where each phase of one cycle ends, and between which options of a group it leads."""
    ways = [("initial_lr", "max_lr"), ("max_lr", "min_lr")]
    momentums = [("max_momentum", "base_momentum"), ("base_momentum", "max_momentum")]
    ends: list[float] = [float(part * steps) - 1, steps - 1]
    if three:
        ways = [ways[0], ("max_lr", "initial_lr"), ("initial_lr", "min_lr")]
        momentums.append(("max_momentum", "max_momentum"))
        ends.insert(1, float(2 * part * steps) - 2)
    return [
        {"end_step": end, "start_lr": way[0], "end_lr": way[1],
         "start_momentum": momentum[0], "end_momentum": momentum[1]}
        for end, way, momentum in zip(ends, ways, momentums, strict=True)
    ]  # fmt: skip
