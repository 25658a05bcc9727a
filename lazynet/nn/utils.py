"""Clipping of gradients; weights made of a direction and a length."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from lazynet.elsewhere import TORCH_UTILS
from lazynet.graph import Graph, current_graph
from lazynet.nn.module import Module
from lazynet.nn.recurrent import _Network
from lazynet.ops.reshape import reshape
from lazynet.ops.statistics import norm
from lazynet.parameter import Parameter
from lazynet.recording import recording_gradients
from lazynet.tensor import Tensor
from lazynet.unknown import tells


def _given(name: str, parameters: Parameter | Iterable[Parameter]) -> list[Parameter]:
    alone = isinstance(parameters, (Tensor, Module)) or not hasattr(parameters, "__iter__")
    given: list[Any] = [parameters] if alone else list(parameters)
    for p in given:
        if not isinstance(p, Tensor) or not p.is_leaf:
            what = "a computed value" if isinstance(p, Tensor) else type(p).__name__
            raise TypeError(f"{name}: expected parameters, as model.parameters() gives, not {what}")
    given = [p for p in given if p.graph.gradient is not None]
    for p in given:
        p.graph.recorded = None  # what is clipped is a number from here on
    return given


def clip_grad_norm_(
    parameters: Parameter | Iterable[Parameter],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Scale all gradients in place so that their joint norm is at most `max_norm`.

    Args:
        parameters: those without a gradient are passed over.
        norm_type: p of the norm (sum of |g|^p)^(1/p); `math.inf` for the largest absolute value.
        error_if_nonfinite: whether a norm that is infinite or NaN is an error.

    Returns:
        the norm before clipping.

    Raises:
        RuntimeError: for a norm that is not finite, if asked to. ValueError: unless norm_type > 0.
        TypeError: for what is no parameter.
    """
    if not norm_type > 0:
        raise ValueError(f"clip_grad_norm_: norm_type must be above 0, not {norm_type}")
    given = _given("clip_grad_norm_", parameters)
    gradients = [(p.graph.device.updates, p.graph.gradient.reshape(-1)) for p in given]
    norm = _joint_norm(gradients, norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {norm}")
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1.0:  # a NaN must reach the gradients, as in PyTorch
        for updates, g in gradients:
            updates.scale(g, g.dtype.type(factor))
    return norm


def _joint_norm(gradients: list[tuple[Any, Any]], p: float) -> float:
    """The norm of gradients as one vector: 2 and inf where they are, others by numpy."""
    if p == 2:
        return math.sqrt(sum(updates.square_sum(g) for updates, g in gradients))
    if p == math.inf:
        return max((float(updates.largest(g)) for updates, g in gradients), default=0.0)
    sizes = [np.abs(np.asarray(g, np.float64)) for _, g in gradients]
    return float(sum(np.sum(size**p) for size in sizes)) ** (1.0 / p)


def clip_grad_value_(parameters: Parameter | Iterable[Parameter], clip_value: float) -> None:
    """Clip each element of each gradient, in place, to [-clip_value, clip_value].

    Raises:
        TypeError: for what is no parameter.
    """
    for p in _given("clip_grad_value_", parameters):
        g = p.graph.gradient.reshape(-1)
        low, high = g.dtype.type(-clip_value), g.dtype.type(clip_value)
        p.graph.device.updates.clip(g, low, high)


class _WeightNorm:
    """Computes a weight from its direction and its lengths, once for all that is pending."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, dim
        # The graph and its mode, the leaves of what it was made of, and the weight.
        self._last: tuple[Any, bool, Any, Tensor] | None = None

    def __call__(self, module: Module) -> Tensor:
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        graph, mode = current_graph(v.graph.device), recording_gradients.get()
        if type(graph) is not Graph:
            return self.made(g, v)  # within a cell
        if self._last is not None:
            before, then, made_of, weight = self._last
            same = before() is graph and then == mode and made_of == (g.graph, v.graph)
            if same and weight.id >= graph.done:
                return weight
        weight = self.made(g, v)
        self._last = weakref.ref(graph), mode, (g.graph, v.graph), weight
        return weight

    def made(self, g: Any, v: Any) -> Tensor:
        if self.dim is None:
            return v * (g / norm(v, 2))
        axis, shape = self.dim, v.shape
        if axis == 0:
            rows = reshape(v, (shape[0], -1))
            return reshape(rows * (reshape(g, (shape[0], 1)) / norm(rows, 2, -1, True)), shape)
        rows = v.permute(axis, *(k for k in range(v.ndim) if k != axis))
        return v * (g / reshape(norm(reshape(rows, (shape[axis], -1)), 2, -1), g.shape))

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "dim": self.dim, "_last": None}


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Let a weight be g v / |v|: its length and its direction are learned by themselves.

    The parameter `name` is replaced by two, as torch.nn.utils.weight_norm does: `name_v` of its
    shape, and `name_g`, the norms (Salimans and Kingma, "Weight normalization", 2016). The weight
    is computed once for all examples that are pending together.

        >>> layer = nn.utils.weight_norm(nn.Linear(3, 2))
        >>> sorted(layer.state_dict()), layer.weight_g.shape
        (['bias', 'weight_g', 'weight_v'], (2, 1))

    Args:
        dim: the axis along which each slice has a length of its own; None: one for all.

    Returns:
        the module, changed.

    Raises:
        ValueError: if the module has no such parameter, or it no such axis; for RNN, GRU and LSTM.
    """
    if isinstance(module, _Network):
        raise ValueError(
            f"weight_norm: {type(module).__name__} runs as a scan, which reads parameters alone; "
            "normalise the weights of a cell, and call it in a loop"
        )
    weight = vars(module).get(name)
    if not isinstance(weight, Parameter):
        raise ValueError(f"weight_norm: {type(module).__name__} has no parameter {name!r}")
    if dim is not None and not 0 <= dim < weight.ndim:
        raise ValueError(f"weight_norm: no axis {dim} in a weight of shape {weight.shape}")
    value = weight.numpy()
    others = None if dim is None else tuple(k for k in range(weight.ndim) if k != dim)
    lengths = np.sqrt(np.square(value).sum(others, keepdims=dim is not None))
    delattr(module, name)
    setattr(module, f"{name}_g", Parameter(lengths.astype(value.dtype)))
    setattr(module, f"{name}_v", weight)
    module._computed = {**module._computed, name: _WeightNorm(name, dim)}
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight that `weight_norm` replaced a parameter again, with the value it has now.

    Raises:
        ValueError: if it was not replaced.
    """
    if not isinstance(module._computed.get(name), _WeightNorm):
        raise ValueError(f"remove_weight_norm: {name!r} of this module is not normalised")
    value = getattr(module, name).numpy()
    module._computed = {key: made for key, made in module._computed.items() if key != name}
    weight = getattr(module, f"{name}_v")
    delattr(module, f"{name}_g")
    delattr(module, f"{name}_v")
    weight.copy_(value)
    setattr(module, name, weight)
    return module


if not TYPE_CHECKING:  # a type checker would take any name for one that is there
    __getattr__ = tells(__name__, TORCH_UTILS)
