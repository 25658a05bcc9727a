"""The state of a module: parameters and buffers by dotted name, set, cast and moved as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lazynet.device import Device
from lazynet.parameter import Parameter
from lazynet.tensor import Tensor, Value, tensor


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(..., strict=False)` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Entry(NamedTuple):
    """A parameter or buffer, whether it is part of the state, and where it is kept."""

    name: str
    value: Tensor
    kept: bool
    owner: Any
    key: str


def load(module: Any, state: Mapping[str, Any], strict: bool) -> IncompatibleKeys:
    """Set a module's parameters and buffers, after all was checked: `Module.load_state_dict`."""
    if not isinstance(state, Mapping):
        raise TypeError(
            f"{type(module).__name__}: load_state_dict: expected a dict of arrays, not "
            f"{type(state).__name__}; ln.load(path) gives that of a file"
        )
    places = {entry.name: entry for entry in module._entries("", None) if entry.kept}
    missing = [name for name in places if name not in state]
    unexpected = [name for name in state if name not in places]
    problems = []
    if strict and missing:
        problems.append("Missing key(s): " + ", ".join(missing))
    if strict and unexpected:
        problems.append("Unexpected key(s): " + ", ".join(unexpected))
    arrays, unfit = _fitting(state, places)
    problems += unfit
    if problems:
        what = f"Error(s) in loading state_dict for {type(module).__name__}:"
        raise RuntimeError("\n    ".join([what, *problems]))
    for name, array in arrays.items():
        _, old, _, owner, key = places[name]
        if isinstance(old, Parameter):
            old.copy_(array)
        else:
            owner._replace(key, tensor(array, device=old.device))
    return IncompatibleKeys(missing, unexpected)


def cast(module: Any, dtype: str) -> None:
    """Make the floats of a module's state of this dtype: `Module.float` and `Module.double`."""
    made: dict[int, Tensor] = {}
    for _, old, _, owner, key in list(module._entries("", None)):
        if old.dtype.kind != "f":
            continue
        if id(old) not in made:
            array, device = old.numpy().astype(dtype), old.device
            made[id(old)] = (
                Parameter(array, old.requires_grad, device)
                if isinstance(old, Parameter)
                else tensor(array, device=device)
            )
        owner._replace(key, made[id(old)])


def move(module: Any, device: Device) -> None:
    """Move a module's state to a device: `Module.to`."""
    for _, value, _, owner, key in list(module._entries("", None)):
        if isinstance(value, Parameter):
            value.move_(device)
        else:
            owner._replace(key, value.to(device))


def _fitting(
    state: Mapping[str, Any], places: dict[str, Entry]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """What a state has for these places, copied in their dtypes, and what does not fit there."""
    arrays: dict[str, np.ndarray] = {}
    problems = []
    for name in (name for name in places if name in state):
        array, ours = _as_array(state[name]), places[name].value
        if array.shape != ours.shape:
            problem = f"the state has shape {array.shape}, the module {ours.shape}"
            problems.append(f"{name}: {problem}")
            continue
        try:
            arrays[name] = array.astype(ours.dtype)
        except (TypeError, ValueError):
            problem = f"the state holds {array.dtype.name}, which is not {ours.dtype}"
            problems.append(f"{name}: {problem}")
    return arrays, problems


def _as_array(value: Any) -> np.ndarray:
    if not isinstance(value, Value) and hasattr(value, "detach"):
        value = value.detach()  # a PyTorch tensor that requires a gradient is no array
    return np.asarray(value)
