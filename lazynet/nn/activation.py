"""Activation functions as modules, for `Sequential`."""

from __future__ import annotations

from typing import Any

from lazynet.nn import functional as F
from lazynet.nn.module import Module
from lazynet.parameter import Parameter
from lazynet.record import ShapeError
from lazynet.unknown import instead_of


class _Activation(Module):
    """y = function(x, options...); the options are attributes, in order."""

    function: Any = None
    options: tuple[tuple[str, Any], ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        names = [name for name, _ in self.options]
        unknown = set(kwargs) - set(names)
        if unknown or len(args) > len(names):
            hint = "".join(instead_of(name) for name in sorted(unknown))
            raise TypeError(
                f"{type(self).__name__} takes {', '.join(names) or 'no arguments'}{hint}"
            )
        given = dict(zip(names, args, strict=False)) | kwargs
        for name, default in self.options:
            setattr(self, name, given.get(name, default))

    def forward(self, x: Any) -> Any:
        return type(self).function(x, *(getattr(self, name) for name, _ in self.options))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name, _ in self.options)


def _module(
    function: Any, made: str, given: list[float], result: list[float], **options: Any
) -> Any:
    """The module of a function; `made`, called on a vector, gives the result: its example."""
    name, inner = made.partition("(")[0], ", ".join(options)
    told = (function.__doc__ or "").split("\n\n")[0]
    body = {
        "function": staticmethod(function), "options": tuple(options.items()),
        "__module__": __name__, "__doc__": f"""{name}({inner}): {told}

    Shapes and errors as `nn.functional.{function.__name__}`.

    >>> y = nn.{made}(ln.tensor({given}))
    >>> [round(v, 4) for v in y.tolist()]
    {result}
    """,
    }  # fmt: skip
    return type(name, (_Activation,), body)


ReLU = _module(F.relu, "ReLU()", [-1.0, 2.0], [0.0, 2.0])
ReLU6 = _module(F.relu6, "ReLU6()", [-1.0, 8.0], [0.0, 6.0])
Tanh = _module(F.tanh, "Tanh()", [0.0, 1.0], [0.0, 0.7616])
Sigmoid = _module(F.sigmoid, "Sigmoid()", [0.0, 1.0], [0.5, 0.7311])
LogSigmoid = _module(F.logsigmoid, "LogSigmoid()", [0.0, 1.0], [-0.6931, -0.3133])
LeakyReLU = _module(F.leaky_relu, "LeakyReLU(0.5)", [-4.0, 2.0], [-2.0, 2.0], negative_slope=0.01)
ELU = _module(F.elu, "ELU()", [-1.0, 2.0], [-0.6321, 2.0], alpha=1.0)
CELU = _module(F.celu, "CELU(2.0)", [-1.0, 2.0], [-0.7869, 2.0], alpha=1.0)
SELU = _module(F.selu, "SELU()", [-1.0, 1.0], [-1.1113, 1.0507])
SiLU = _module(F.silu, "SiLU()", [0.0, 1.0], [0.0, 0.7311])
Mish = _module(F.mish, "Mish()", [0.0, 1.0], [0.0, 0.8651])
GELU = _module(F.gelu, 'GELU("tanh")', [0.0, 1.0], [0.0, 0.8412], approximate="none")
Softplus = _module(F.softplus, "Softplus(beta=2.0)", [0.0, 1.0], [0.3466, 1.0635], beta=1.0)
Softsign = _module(F.softsign, "Softsign()", [-1.0, 3.0], [-0.5, 0.75])
Hardtanh = _module(
    F.hardtanh, "Hardtanh(-2.0, 2.0)", [-3.0, 1.0], [-2.0, 1.0], min_val=-1.0, max_val=1.0
)
Hardsigmoid = _module(F.hardsigmoid, "Hardsigmoid()", [-4.0, 1.5], [0.0, 0.75])
Hardswish = _module(F.hardswish, "Hardswish()", [1.5, 4.0], [1.125, 4.0])
Hardshrink = _module(F.hardshrink, "Hardshrink()", [0.25, 2.0], [0.0, 2.0], lambd=0.5)
Softshrink = _module(F.softshrink, "Softshrink()", [0.25, 2.0], [0.0, 1.5], lambd=0.5)
Tanhshrink = _module(F.tanhshrink, "Tanhshrink()", [0.0, 1.0], [0.0, 0.2384])
GLU = _module(F.glu, "GLU()", [2.0, 4.0, 0.0, 0.0], [1.0, 2.0], dim=-1)
Threshold = _module(
    F.threshold, "Threshold(0.5, 9.0)", [0.0, 2.0], [9.0, 2.0], threshold=0.0, value=0.0
)
Softmin = _module(F.softmin, "Softmin()", [0.0, 1.0], [0.7311, 0.2689], dim=-1)
Softmax = _module(F.softmax, "Softmax()", [0.0, 1.0], [0.2689, 0.7311], dim=-1)
LogSoftmax = _module(F.log_softmax, "LogSoftmax()", [0.0, 1.0], [-1.3133, -0.3133], dim=-1)


class PReLU(Module):
    """y = x where x > 0, else weight x (He et al., 2015).

    Parameters: weight (num_parameters,), 0.25 at first: one for all, or one for each channel (the
    first axis of a row).

    Shapes: any -> the same; n rows -> n rows.

    >>> nn.PReLU()(ln.tensor([-4.0, 2.0])).tolist()
    [-1.0, 2.0]

    Raises:
        ShapeError: when called, if rows have not as many channels.
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
