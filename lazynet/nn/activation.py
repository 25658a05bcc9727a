"""Activation functions as modules, for `Sequential`."""

from __future__ import annotations

from typing import Any

from lazynet.nn import functional as F
from lazynet.nn.module import Module
from lazynet.record import ShapeError
from lazynet.tensor import Parameter


class _Activation(Module):
    """y = function(x, options...); the options are attributes, in order."""

    function: Any = None
    options: tuple[tuple[str, Any], ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        names = [name for name, _ in self.options]
        unknown = set(kwargs) - set(names)
        if unknown or len(args) > len(names):
            raise TypeError(f"{type(self).__name__} takes {', '.join(names) or 'no arguments'}")
        given = dict(zip(names, args, strict=False)) | kwargs
        for name, default in self.options:
            setattr(self, name, given.get(name, default))

    def forward(self, x: Any) -> Any:
        return type(self).function(x, *(getattr(self, name) for name, _ in self.options))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name, _ in self.options)


def _module(name: str, function: Any, **options: Any) -> Any:
    inner = ", ".join(options)
    told = (function.__doc__ or "").split("\n\n")[0]
    body = {
        "function": staticmethod(function), "options": tuple(options.items()),
        "__module__": __name__, "__doc__": f"{name}({inner}): {told}",
    }  # fmt: skip
    return type(name, (_Activation,), body)


ReLU, ReLU6, Tanh = _module("ReLU", F.relu), _module("ReLU6", F.relu6), _module("Tanh", F.tanh)
Sigmoid, LogSigmoid = _module("Sigmoid", F.sigmoid), _module("LogSigmoid", F.logsigmoid)
LeakyReLU = _module("LeakyReLU", F.leaky_relu, negative_slope=0.01)
ELU, CELU = _module("ELU", F.elu, alpha=1.0), _module("CELU", F.celu, alpha=1.0)
SELU, SiLU, Mish = _module("SELU", F.selu), _module("SiLU", F.silu), _module("Mish", F.mish)
GELU = _module("GELU", F.gelu, approximate="none")
Softplus, Softsign = _module("Softplus", F.softplus, beta=1.0), _module("Softsign", F.softsign)
Hardtanh = _module("Hardtanh", F.hardtanh, min_val=-1.0, max_val=1.0)
Hardsigmoid = _module("Hardsigmoid", F.hardsigmoid)
Hardswish = _module("Hardswish", F.hardswish)
Hardshrink = _module("Hardshrink", F.hardshrink, lambd=0.5)
Softshrink = _module("Softshrink", F.softshrink, lambd=0.5)
Tanhshrink, GLU = _module("Tanhshrink", F.tanhshrink), _module("GLU", F.glu, dim=-1)
Threshold = _module("Threshold", F.threshold, threshold=0.0, value=0.0)
Softmin = _module("Softmin", F.softmin, dim=-1)
Softmax = _module("Softmax", F.softmax, dim=-1)
LogSoftmax = _module("LogSoftmax", F.log_softmax, dim=-1)


class PReLU(Module):
    """y = x where x > 0, else weight x (He et al., 2015).

    Parameters: weight (num_parameters,), 0.25 at first: one for all, or one for each channel (the
    first axis of a row).
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter([init] * num_parameters)

    def forward(self, x: Any) -> Any:
        if self.num_parameters > 1 and x.type.shape[:1] != (self.num_parameters,):
            raise ShapeError(
                f"PReLU: rows of {x.type.shape} have no {self.num_parameters} channels"
            )
        axes = max(len(x.type.shape) - 1, 0)
        slope = self.weight.reshape(self.num_parameters, *(1 for _ in range(axes)))
        return F.relu(x) - slope * F.relu(-x)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
