"""Modules that hold parameters: in a list, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lazynet.nn.containers import ModuleDict, ModuleList
from lazynet.parameter import Parameter
from lazynet.tensor import Tensor


class _Parameters:
    """What may be held, and how it shows."""

    def _check(self, value: Any) -> Any:
        if isinstance(value, Parameter):
            return value
        if isinstance(value, Tensor):
            return Parameter(value.numpy(), device=value.device)
        raise TypeError(f"{type(self).__name__} holds parameters, not {type(value).__name__}")

    def __repr__(self) -> str:
        held: Mapping[str, Parameter] = self._held  # type: ignore[attr-defined]
        lines = [f"  ({name}): {p.dtype} of {p.shape}\n" for name, p in held.items()]
        return f"{type(self).__name__}(" + ("\n" + "".join(lines) if lines else "") + ")"


class ParameterList(_Parameters, ModuleList):
    """A list of parameters that are found: `ParameterList([a, b])`, `.append(c)`, `[i]`.

    Their names are "0", "1", ... A Tensor becomes a parameter with a copy of its value.

    >>> weights = nn.ParameterList([ln.Parameter(np.ones((2, 2))) for _ in range(3)])
    >>> x = ln.tensor(np.ones(2))
    >>> for weight in weights:
    ...     x = x @ weight
    >>> x.tolist(), list(weights.state_dict())
    ([8.0, 8.0], ['0', '1', '2'])

    Raises:
        TypeError: for what is neither a Parameter nor a Tensor.
    """

    def __init__(self, parameters: Iterable[Any] = ()) -> None:
        super().__init__(parameters)


class ParameterDict(_Parameters, ModuleDict):
    """Parameters by name, which are found: `ParameterDict({"a": a})`, `["b"] = b`.

    A Tensor becomes a parameter with a copy of its value.

    >>> scales = nn.ParameterDict({"left": ln.ones(2), "right": ln.zeros(2)})
    >>> (scales["left"] + scales["right"]).tolist(), list(scales.state_dict())
    ([1.0, 1.0], ['left', 'right'])

    Raises:
        TypeError: for what is neither a Parameter nor a Tensor. KeyError: for a name with dots.
    """

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(parameters)
