"""What optimizers share: groups of parameters, states, and one compiled pass over all of them.

What is pending runs before a parameter changes, so values keep the weights they were recorded with.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lazynet.device import Device
from lazynet.elsewhere import DYNET_OPTIMIZERS
from lazynet.kernels.jit import clock
from lazynet.leaf import Leaf
from lazynet.parameter import Parameter
from lazynet.recording import settle
from lazynet.touched import table_of_rows
from lazynet.unknown import TellsSettings, missing

Group = dict[str, Any]
_NOT_NEGATIVE = (
    "lr", "eps", "weight_decay", "momentum", "lr_decay", "initial_accumulator_value", "alpha",
)  # fmt: skip
# What schedules of learning rates keep in groups: where they start from, and bounds.
_OF_SCHEDULES = {"initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum"}
# What groups of PyTorch say besides options: how a step is computed, and names.
_WITHOUT_EFFECT = {
    "params", "decoupled_weight_decay", "foreach", "fused", "capturable", "differentiable",
    "name", "param_names",
}  # fmt: skip
# Called with the seconds of every step; what was pending before it is not in them.
observers: list[Any] = []


class Update(NamedTuple):
    """What is to be done with a parameter: a rule of `kernels/updates.py`, and what it takes."""

    rule: str
    arrays: tuple[Any, ...]  # of the state, after the parameter and its gradient
    numbers: tuple[float, ...]


class Optimizer(TellsSettings):
    """What all optimizers share: groups of parameters with options, and a state for each parameter.

    Args:
        params: parameters, or dicts with the key "params" and options for these alone.
        defaults: the options of groups that do not set them.

    Raises:
        ValueError: for no parameters, for one given twice, or an option out of its range.
        TypeError: for something that is no parameter.
    """

    _keeps: tuple[str, ...] | None = None  # what a parameter's state holds, where it is told
    _decouples = False  # whether weight decay passes the gradient by

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

    if not TYPE_CHECKING:  # a type checker would take any name for one that is there

        def __getattr__(self, name: str):
            raise missing(self, f"{type(self).__name__!r} object", name, DYNET_OPTIMIZERS)

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
        for name in _NOT_NEGATIVE:
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

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; unless `set_to_none`, make them 0."""
        for group in self.param_groups:
            for p in group["params"]:
                p.zero_grad(set_to_none)

    def step(self) -> None:
        """Change every parameter that has a gradient and still wants one."""
        settle()
        start = clock()
        for group in self.param_groups:
            calls: dict[Any, list[np.ndarray]] = {}
            for p in group["params"]:
                leaf = p.graph
                if leaf.gradient is not None and leaf.requires_grad:
                    state = self.state.setdefault(p, {})
                    _follow(state, leaf.device)
                    array = p.data  # what is pending has run, and this counts as a change
                    update = self._rule(leaf, state, group)
                    if update is None:
                        self._update(array.reshape(-1), leaf.gradient.reshape(-1), state, group)
                        continue
                    call = (leaf.device, leaf.type.dtype, update.rule, update.numbers)
                    arrays = [array, leaf.gradient, *update.arrays]
                    calls.setdefault(call, []).append(self._table(leaf, arrays))
            for (device, dtype, rule, numbers), tables in calls.items():
                device.updates.each(rule, dtype, np.concatenate(tables), numbers)
        for observer in observers:
            observer(clock() - start)

    def _rule(self, leaf: Leaf, state: dict[str, Any], group: Group) -> Update | None:
        """What is to be done with a parameter; None where `_update` does it."""
        return None

    def _update(self, p: Any, g: Any, state: dict[str, Any], group: Group) -> None:
        """Change a parameter, as a flat array, by its gradient: for optimizers of users."""
        raise NotImplementedError(f"{self._name}: an optimizer has to say what an update is")

    def _table(self, leaf: Leaf, arrays: list[Any]) -> np.ndarray:
        """Where a rule finds the elements that it changes."""
        return table_of_rows(arrays, leaf.type.size, None, 1)

    def state_dict(self) -> dict[str, Any]:
        """Options and state, laid out as PyTorch's: parameters by number. Arrays are copied."""
        params = [p for group in self.param_groups for p in group["params"]]
        number = {id(p): k for k, p in enumerate(params)}
        state = {
            number[id(p)]: {name: _saved(value, p) for name, value in kept.items()}
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
            ValueError: if groups, numbers of parameters or shapes differ, or an option is set that
                this optimizer does not have; nothing has changed then.
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
        for group, given in zip(self.param_groups, groups, strict=True):
            expected = self._kept({**self.defaults, **given})
            for p in group["params"]:
                self._check_kept(loaded.get(p, {}), expected)
        options = [self._options(group) for group in groups]
        for group in options:
            self._check({**self.defaults, **group})
        self.state = {p: {k: v for k, v in s.items() if v is not None} for p, s in loaded.items()}
        for group, new in zip(self.param_groups, options, strict=True):
            group.update(new)

    def _kept(self, group: Mapping[str, Any]) -> set[str] | None:
        """What the state of a parameter holds under these options; None where it is not told."""
        return None if self._keeps is None else set(self._keeps)

    def _check_kept(self, state: Mapping[str, Any], expected: set[str] | None) -> None:
        names = {name for name, value in state.items() if value is not None}
        if names and expected is not None and names != expected:
            raise ValueError(
                f"{self._name}: the state of a parameter holds {', '.join(sorted(names))}, "
                f"which is another optimizer's; expected {', '.join(sorted(expected))}"
            )

    def _options(self, group: Mapping[str, Any]) -> Group:
        """The options of a group that is loaded; those that mean something else are refused."""
        decouples = group.get("decoupled_weight_decay", self._decouples)
        if decouples != self._decouples and group.get("weight_decay"):
            raise ValueError(
                f"{self._name}: the state is of an optimizer that "
                + ("decays parameters, as AdamW does" if decouples else "adds decay to gradients")
            )
        kept = {k: v for k, v in group.items() if k in self.defaults or k in _OF_SCHEDULES}
        others = sorted(set(group) - set(kept) - _WITHOUT_EFFECT)
        if unknown := ", ".join(f"{k}={group[k]!r}" for k in others if group[k]):
            raise ValueError(f"{self._name}: the state has an option that there is not: {unknown}")
        return kept

    def _loaded(self, name: str, value: Any, p: Parameter) -> Any:
        if value is None:
            return None
        if self._keeps is None and not hasattr(value, "dtype"):
            return copy.deepcopy(value)  # a number, or what else a user's optimizer keeps
        if name == "step":
            return int(value)
        array = np.asarray(value)
        if array.shape == p.shape:
            return array.astype(p.dtype).reshape(-1)
        if self._keeps is None:
            return array.copy()
        raise ValueError(f"{self._name}: {name} has shape {array.shape}, its parameter {p.shape}")

    def __repr__(self) -> str:
        lines = [f"{self._name} ("]
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            lines += [f"    {name}: {group[name]}" for name in sorted(set(group) - {"params"})]
        return "\n".join([*lines, ")"])


def zeros(leaf: Leaf) -> Any:
    """Zeros for each element of a parameter, where it is."""
    return leaf.device.zeros_like(leaf.array.reshape(-1))


def _saved(value: Any, p: Parameter) -> Any:
    """A copy of what a state holds; what has an element for each of the parameter, in its shape."""
    if not hasattr(value, "dtype"):
        return copy.deepcopy(value)
    array = np.array(value)
    return array.reshape(p.shape) if array.shape == (p.size,) else array


def sign_of(group: Group) -> float:
    """What a gradient is multiplied with: -1 to go up."""
    return -1.0 if group["maximize"] else 1.0


def _follow(state: dict[str, Any], device: Device) -> None:
    """Move the arrays of a state to the device that its parameter is on."""
    for name, kept in state.items():
        if hasattr(kept, "dtype") and getattr(kept.device, "name", "cpu") != device.name:
            state[name] = device.own(np.asarray(kept))
