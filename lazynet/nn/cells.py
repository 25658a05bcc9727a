"""Steps of recurrent networks, and cells that run one.

A step is written once, over one example, in lazy ops. A cell runs it once; the networks of
`recurrent.py` give the same step to `scan`. Names, shapes, gate order and initial values are
PyTorch's.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from lazynet.cell import cell
from lazynet.nn.linear import drawn, sizes
from lazynet.nn.module import Module
from lazynet.ops.elementwise import relu, sigmoid, tanh
from lazynet.ops.linear import linear
from lazynet.ops.views import chunk
from lazynet.parameter import Parameter
from lazynet.record import ShapeError, as_value
from lazynet.tensor import Tensor, Value, tensor

State = tuple[Any, ...]
Weights = tuple[Any, ...]


# -- steps: (x, state, weights) -> state -----------------------------------------------------------


def rnn_step(x: Any, state: State, weights: Weights, function: Any = tanh) -> State:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh)."""
    w_ih, w_hh, b_ih, b_hh = weights
    return (function(linear(x, w_ih, b_ih) + linear(state[0], w_hh, b_hh)),)


def relu_step(x: Any, state: State, weights: Weights) -> State:
    """h' = max(0, W_ih x + b_ih + W_hh h + b_hh)."""
    return rnn_step(x, state, weights, relu)


def gru_step(x: Any, state: State, weights: Weights) -> State:
    """h' = (1 - z) n + z h, with n = tanh(W_in x + b_in + r (W_hn h + b_hn)) (Cho et al., 2014)."""
    w_ih, w_hh, b_ih, b_hh = weights
    (h,) = state
    xr, xz, xn = chunk(linear(x, w_ih, b_ih), 3)
    hr, hz, hn = chunk(linear(h, w_hh, b_hh), 3)
    n = tanh(xn + sigmoid(xr + hr) * hn)
    return (n + sigmoid(xz + hz) * (h - n),)


def lstm_step(x: Any, state: State, weights: Weights) -> State:
    """c' = f c + i g, h' = o tanh(c') (Hochreiter and Schmidhuber, 1997; Gers et al., 2000)."""
    w_ih, w_hh, b_ih, b_hh = weights
    h, c = state
    i, f, g, o = chunk(linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh), 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def projected_lstm_step(x: Any, state: State, weights: Any) -> State:
    """`lstm_step` with h' = W_hr (o tanh(c')) (Sak, Senior and Beaufays, 2014)."""
    h, c = lstm_step(x, state, weights[:4])
    return linear(h, weights[4]), c


@functools.cache
def zeros(size: int, dtype: str, device: str) -> Tensor:
    """The zero state: one leaf of a device, whoever asks for it."""
    return tensor(np.zeros(size, dtype), device=device)


@functools.cache
def zero_state(sizes: tuple[int, ...], dtype: str, device: str) -> State:
    """The zero state in parts of these sizes."""
    made = {size: zeros(size, dtype, device) for size in sizes}  # parts of one size are one
    return tuple(made[size] for size in sizes)


class Recurrent(Module):
    """What cells and networks have in common: which weights a step has."""

    names: tuple[str, ...] = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    gates = 1
    step: Any = None
    hidden_size: int
    bias: bool

    def _make_weights(self, inputs: int, suffix: str = "") -> None:
        for name, value in self._drawn(inputs).items():
            setattr(self, name + suffix, value)

    def _drawn(self, inputs: int) -> dict[str, Parameter | None]:
        """The weights of a step by name, all uniform in (-1/sqrt(hidden), 1/sqrt(hidden))."""
        hidden, rows = self.hidden_size, self.gates * self.hidden_size
        bound = 1.0 / math.sqrt(hidden)
        return {
            "weight_ih": drawn(bound, rows, inputs),
            "weight_hh": drawn(bound, rows, hidden),
            "bias_ih": drawn(bound, rows) if self.bias else None,
            "bias_hh": drawn(bound, rows) if self.bias else None,
        }

    def _weights(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.names])


def nonlinearity_step(name: str) -> Any:
    if name not in ("tanh", "relu"):
        raise ValueError(f"nonlinearity: expected 'tanh' or 'relu', not {name!r}")
    return rnn_step if name == "tanh" else relu_step


# -- cells -----------------------------------------------------------------------------------------


class _Cell(Recurrent):
    """One step. Weights as PyTorch's: weight_ih, weight_hh, bias_ih, bias_hh."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self._make_weights(input_size)

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        return {"x": (self.input_size,), "h": (self.hidden_size,)}

    def _check(self, name: str, x: Any, *states: Any) -> None:
        """Refuse a state that would broadcast against what is computed of x."""
        own = (self.hidden_size,)
        for state in states:
            if isinstance(x, Value) and isinstance(state, Value):
                shape = state.type.shape
                if shape not in (own, (*x.type.shape[:-1], *own)):
                    raise ShapeError(
                        f"{type(self).__name__}: {name} has rows of {shape}; expected rows of {own}"
                    )

    @cell
    def forward(self, x: Any, h: Any = None) -> Any:
        if h is None:
            x = _begun(x, type(self).__name__)
            h = zeros(self.hidden_size, x.type.dtype, x.device)
        self._check("h", x, h)
        return type(self).step(x, (h,), self._weights())[0]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


def _begun(x: Any, name: str) -> Any:
    """The first input of a chain, which may be an array; lists are told of where they are given."""
    return x if isinstance(x, (list, tuple)) else as_value(x, name)


class RNNCell(_Cell):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh): `h = cell(x, h)`; `cell(x)` starts from zeros.

    Parameters: weight_ih (hidden, input), weight_hh (hidden, hidden), bias_ih, bias_hh (hidden,),
    uniform in (-1/sqrt(hidden), 1/sqrt(hidden)).

    Shapes: x (input,), h (hidden,) -> (hidden,); n rows -> n rows (Elman, 1990).

    >>> h, cell = ln.zeros(4), nn.RNNCell(3, 4)
    >>> for x in ln.sequence(np.eye(3, dtype=np.float32)):
    ...     h = cell(x, h)
    >>> h.shape
    (4,)

    Raises:
        ValueError: for another nonlinearity. ShapeError: when called, if x or h have another size.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh"
    ) -> None:
        super().__init__(input_size, hidden_size, bias)
        self.nonlinearity = nonlinearity
        nonlinearity_step(nonlinearity)

    @cell
    def forward(self, x: Any, h: Any = None) -> Any:
        if h is None:
            x = _begun(x, type(self).__name__)
            h = zeros(self.hidden_size, x.type.dtype, x.device)
        self._check("h", x, h)
        return nonlinearity_step(self.nonlinearity)(x, (h,), self._weights())[0]


class GRUCell(_Cell):
    """h' = (1 - z) n + z h: `h = cell(x, h)`; `cell(x)` starts from zeros.

    r = sigmoid(...), z = sigmoid(...), n = tanh(W_in x + b_in + r (W_hn h + b_hn)).
    Parameters: weight_ih (3 hidden, input), weight_hh (3 hidden, hidden), bias_ih, bias_hh
    (3 hidden,), gates in the order r, z, n, uniform in (-1/sqrt(hidden), 1/sqrt(hidden)).

    Shapes: x (input,), h (hidden,) -> (hidden,); n rows -> n rows (Cho et al., 2014).

    >>> nn.GRUCell(3, 4)(ln.zeros(3)).shape
    (4,)
    """

    gates = 3
    step = gru_step


class CellOfTwo(_Cell):
    """A step of a state (h, c)."""

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        return {"x": (self.input_size,), "state": (self.hidden_size,)}

    @cell
    def forward(self, x: Any, state: State | None = None) -> tuple[Any, Any]:
        if state is None:
            x = _begun(x, type(self).__name__)
            zero = zeros(self.hidden_size, x.type.dtype, x.device)
            state = (zero, zero)
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            raise TypeError(f"{type(self).__name__}: expected a state (h, c), not {state!r}")
        self._check("state", x, *state)
        return type(self).step(x, state, self._weights())


class LSTMCell(CellOfTwo):
    """c' = f c + i g, h' = o tanh(c'): `h, c = cell(x, (h, c))`; `cell(x)` starts from zeros.

    i, f, o = sigmoid(...), g = tanh(...), each of W_ih x + b_ih + W_hh h + b_hh.
    Parameters: weight_ih (4 hidden, input), weight_hh (4 hidden, hidden), bias_ih, bias_hh
    (4 hidden,), gates in the order i, f, g, o, uniform in (-1/sqrt(hidden), 1/sqrt(hidden)).

        >>> h, c = nn.LSTMCell(3, 4)(ln.zeros(3))
        >>> h.shape, c.shape
        ((4,), (4,))

    Shapes: x (input,), h and c (hidden,) -> two of (hidden,); n rows -> n rows (Hochreiter and
    Schmidhuber, 1997; Gers et al., 2000).
    """

    gates = 4
    step = lstm_step
