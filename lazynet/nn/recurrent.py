"""Recurrent cells, and networks that scan them over a Sequence.

A step is written once, over one example, in lazy ops. A cell runs it once; RNN, GRU and LSTM give
the same step to `scan`. Names, shapes, gate order and initial values are PyTorch's.
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
from lazynet.ops.random import dropout
from lazynet.ops.rows import cat, sequence
from lazynet.ops.views import chunk
from lazynet.record import ShapeError
from lazynet.scan import Step, scan
from lazynet.tensor import Parameter, Sequence, Tensor, tensor

State = tuple[Any, ...]
Weights = tuple[Parameter, Parameter, Parameter | None, Parameter | None]


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


@functools.cache
def zeros(size: int, dtype: str, device: str) -> Tensor:
    """The zero state: one leaf of a device, whoever asks for it."""
    return tensor(np.zeros(size, dtype), device=device)


@functools.cache
def _suffixes(layer: int, directions: int) -> tuple[str, ...]:
    return (f"_l{layer}", f"_l{layer}_reverse")[:directions]


@functools.cache
def _names(suffix: str) -> tuple[str, ...]:
    return tuple(name + suffix for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def _make_weights(
    module: Module, gates: int, inputs: int, hidden: int, bias: bool, suffix: str = ""
) -> None:
    bound, rows = 1.0 / math.sqrt(hidden), gates * hidden
    setattr(module, "weight_ih" + suffix, drawn(bound, rows, inputs))
    setattr(module, "weight_hh" + suffix, drawn(bound, rows, hidden))
    setattr(module, "bias_ih" + suffix, drawn(bound, rows) if bias else None)
    setattr(module, "bias_hh" + suffix, drawn(bound, rows) if bias else None)


def _nonlinearity(name: str) -> Any:
    if name not in ("tanh", "relu"):
        raise ValueError(f"nonlinearity: expected 'tanh' or 'relu', not {name!r}")
    return rnn_step if name == "tanh" else relu_step


# -- cells -----------------------------------------------------------------------------------------


class _Cell(Module):
    """One step. Weights as PyTorch's: weight_ih, weight_hh, bias_ih, bias_hh."""

    gates = 1
    step: Any = None
    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        _make_weights(self, self.gates, input_size, hidden_size, bias)

    @cell
    def forward(self, x: Any, h: Any = None) -> Any:
        if h is None:
            h = zeros(self.hidden_size, x.type.dtype, x.device)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return type(self).step(x, (h,), weights)[0]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh): `h = cell(x, h)`; `cell(x)` starts from zeros.

    Parameters: weight_ih (hidden, input), weight_hh (hidden, hidden), bias_ih, bias_hh (hidden,),
    uniform in (-1/sqrt(hidden), 1/sqrt(hidden)).
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh"
    ) -> None:
        super().__init__(input_size, hidden_size, bias)
        self.nonlinearity = nonlinearity
        _nonlinearity(nonlinearity)

    @cell
    def forward(self, x: Any, h: Any = None) -> Any:
        if h is None:
            h = zeros(self.hidden_size, x.type.dtype, x.device)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return _nonlinearity(self.nonlinearity)(x, (h,), weights)[0]


class GRUCell(_Cell):
    """h' = (1 - z) n + z h: `h = cell(x, h)`; `cell(x)` starts from zeros.

    r = sigmoid(...), z = sigmoid(...), n = tanh(W_in x + b_in + r (W_hn h + b_hn)).
    Parameters: weight_ih (3 hidden, input), weight_hh (3 hidden, hidden), bias_ih, bias_hh
    (3 hidden,), gates in the order r, z, n, uniform in (-1/sqrt(hidden), 1/sqrt(hidden)).
    """

    gates = 3
    step = gru_step


class LSTMCell(_Cell):
    """c' = f c + i g, h' = o tanh(c'): `h, c = cell(x, (h, c))`; `cell(x)` starts from zeros.

    i, f, o = sigmoid(...), g = tanh(...), each of W_ih x + b_ih + W_hh h + b_hh.
    Parameters: weight_ih (4 hidden, input), weight_hh (4 hidden, hidden), bias_ih, bias_hh
    (4 hidden,), gates in the order i, f, g, o, uniform in (-1/sqrt(hidden), 1/sqrt(hidden)).
    """

    gates = 4
    step = lstm_step

    @cell
    def forward(self, x: Any, state: State | None = None) -> tuple[Any, Any]:
        if state is None:
            zero = zeros(self.hidden_size, x.type.dtype, x.device)
            state = (zero, zero)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return lstm_step(x, state, weights)


# -- networks over Sequences -----------------------------------------------------------------------


class _Network(Module):
    """Layers of scans, each in one direction or both."""

    gates = 1
    states = 1
    step: Any = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size,
              num_layers=num_layers)  # fmt: skip
        if not 0.0 <= dropout < 1.0:
            raise ValueError(
                f"{type(self).__name__}: dropout must be a probability in [0, 1), not {dropout}"
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.dropout, self.bidirectional = bias, dropout, bidirectional
        self._steps: dict[str, Step] = {}
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size * (1 + bidirectional)
            for suffix in self._suffixes(layer):
                _make_weights(self, self.gates, inputs, hidden_size, bias, suffix)

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        return _suffixes(layer, 1 + self.bidirectional)

    def _step(self, suffix: str) -> Step:
        """The step of one layer and direction: the same object while its weights are the same."""
        own, (w_ih, w_hh, b_ih, b_hh) = vars(self), _names(suffix)
        weights = (own[w_ih], own[w_hh], own[b_ih], own[b_hh])
        step = self._steps.get(suffix)
        # Parameters are compared as objects: == would record a node.
        if step is None or list(map(id, step.weights)) != list(map(id, weights)):
            step = self._steps[suffix] = Step(self._function(), weights)
        return step

    def _function(self) -> Any:
        return type(self).step

    def forward(self, x: Sequence, state: Any = None, return_state: bool = False) -> Any:
        """The hidden Sequence of the last layer, and with `return_state` the final state.

        Args:
            x: n rows of (input_size,).
            state: where to start, laid out as the final state is; by default zeros.
            return_state: whether to give (rows, final state).

        Returns:
            n rows of (hidden_size,), twice as wide if bidirectional. A state is `h`, for an LSTM
            `(h, c)`. With one layer and one direction each is a Tensor (hidden_size,), else a
            Sequence of such rows, in PyTorch's order: layer 0, layer 0 in reverse, layer 1, ...
            Without rows in x the final state is the one it started from.

        Raises:
            ShapeError: if the rows of x, or the state, have another size.
        """
        initial = iter(self._initial(x, state))
        final: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for back, suffix in enumerate(self._suffixes(layer)):
                before = next(initial)
                after = scan(self._step(suffix), before, x[::-1] if back else x)
                outputs.append(after[0][::-1] if back else after[0])
                if return_state:
                    final.append(tuple(rows[-1] for rows in after) if len(x) else before)
            x = outputs[0] if len(outputs) == 1 else cat(outputs)
            if self.dropout and self.training and layer < self.num_layers - 1:
                x = dropout(x, self.dropout)
        return (x, self._state(final)) if return_state else x

    def _state(self, final: list[State]) -> Any:
        """The final states as one: a Tensor, or a Sequence with a row for each scan."""
        if len(final) == 1:
            parts: list[Any] = list(final[0])
        else:
            parts = [sequence(list(rows)) for rows in zip(*final, strict=True)]
        return parts[0] if self.states == 1 else tuple(parts)

    def _initial(self, x: Sequence, state: Any) -> list[State]:
        """One tuple of Tensors for each layer and direction."""
        name, hidden = type(self).__name__, self.hidden_size
        if not isinstance(x, Sequence):
            raise ShapeError(
                f"{name}: expected a Sequence, not a {type(x).__name__}; ln.sequence(list) makes "
                "one of a list of Tensors"
            )
        if x.type.shape != (self.input_size,):
            raise ShapeError(
                f"{name}: rows of {x.type.shape}; expected rows of ({self.input_size},)"
            )
        count = self.num_layers * (1 + self.bidirectional)
        if state is None:
            return [(zeros(hidden, x.type.dtype, x.device),) * self.states] * count
        parts = (state,) if self.states == 1 else tuple(state)
        rows = [[p] if count == 1 and p.shape == (hidden,) else list(p) for p in parts]
        if len(parts) != self.states or any(
            len(r) != count or any(s.shape != (hidden,) for s in r) for r in rows
        ):
            each = f"({hidden},)" if count == 1 else f"{count} rows of ({hidden},)"
            raise ShapeError(
                f"{name}: expected a state of {self.states} part(s), each {each}; got shapes "
                f"{[getattr(p, 'shape', type(p).__name__) for p in parts]}"
            )
        return list(zip(*rows, strict=True))

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("num_layers", 1), ("bias", True), ("dropout", 0.0),
                              ("bidirectional", False)):  # fmt: skip
            if getattr(self, name) != default:
                shown += f", {name}={getattr(self, name)}"
        return shown


class RNN(_Network):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh) over a Sequence: `rows = rnn(x)`.

    Parameters of layer k: weight_ih_lk (hidden, inputs), weight_hh_lk (hidden, hidden), bias_ih_lk
    and bias_hh_lk (hidden,); in the other direction the same with the suffix _reverse. All are
    uniform in (-1/sqrt(hidden), 1/sqrt(hidden)).

    Args:
        num_layers: each layer reads the rows of the one below.
        dropout: probability with which elements between layers are dropped while training.
        bidirectional: whether a second scan reads from the end; rows are then joined.
        nonlinearity: "tanh" or "relu".
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        nonlinearity: str = "tanh",
    ) -> None:
        self.nonlinearity = nonlinearity
        _nonlinearity(nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, bias, dropout, bidirectional)

    def _function(self) -> Any:
        return _nonlinearity(self.nonlinearity)


class GRU(_Network):
    """A gated recurrent network over a Sequence: `rows = gru(x)`; formula in `GRUCell`.

    Parameters of layer k: weight_ih_lk (3 hidden, inputs), weight_hh_lk (3 hidden, hidden),
    bias_ih_lk and bias_hh_lk (3 hidden,), gates in the order r, z, n. The arguments are those of
    `RNN`, but for the nonlinearity.
    """

    gates = 3
    step = gru_step


class LSTM(_Network):
    """A long short-term memory over a Sequence: `rows = lstm(x)`; formula in `LSTMCell`.

    Parameters of layer k: weight_ih_lk (4 hidden, inputs), weight_hh_lk (4 hidden, hidden),
    bias_ih_lk and bias_hh_lk (4 hidden,), gates in the order i, f, g, o. The arguments are those of
    `RNN`, but for the nonlinearity. The state is (h, c).
    """

    gates = 4
    states = 2
    step = lstm_step
