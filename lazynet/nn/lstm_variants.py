"""LSTMs with other gates: the forget gate coupled to the input gate, and normalised layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lazynet.nn.cells import CellOfTwo, State
from lazynet.nn.linear import drawn
from lazynet.nn.recurrent import _Network
from lazynet.ops.elementwise import sigmoid, tanh
from lazynet.ops.linear import linear
from lazynet.ops.normalization import layer_norm
from lazynet.ops.views import chunk
from lazynet.parameter import Parameter


def coupled_lstm_step(x: Any, state: State, weights: Any) -> State:
    """c' = (1 - i) c + i g, h' = o tanh(c'): what is forgotten makes room for what comes in."""
    w_ih, w_hh, b_ih, b_hh = weights
    h, c = state
    i, g, o = chunk(linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh), 3)
    c = c + sigmoid(i) * (tanh(g) - c)
    return sigmoid(o) * tanh(c), c


def layer_norm_lstm_step(x: Any, state: State, weights: Any) -> State:
    """i, f, g, o = LN(W_ih x) + LN(W_hh h), c' = f c + i g, h' = o tanh(LN(c'))."""
    w_ih, w_hh, n_ih, n_hh, n_c, b_ih, b_c = weights
    h, c = state
    size = n_c.type.size
    gates = layer_norm(linear(x, w_ih), 4 * size, n_ih, b_ih)
    i, f, g, o = chunk(gates + layer_norm(linear(h, w_hh), 4 * size, n_hh), 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(layer_norm(c, size, n_c, b_c)), c


class CoupledLSTMCell(CellOfTwo):
    """c' = (1 - i) c + i g, h' = o tanh(c'): `h, c = cell(x, (h, c))`; `cell(x)` starts from zeros.

    An LSTM whose forget gate is what the input gate leaves, "CIFG" (Greff et al., "LSTM: a search
    space odyssey", 2017). i, o = sigmoid(...), g = tanh(...), each of W_ih x + b_ih + W_hh h +
    b_hh. Parameters: weight_ih (3 hidden, input), weight_hh (3 hidden, hidden), bias_ih, bias_hh
    (3 hidden,), gates in the order i, g, o, uniform in (-1/sqrt(hidden), 1/sqrt(hidden)).

    Shapes: as `LSTMCell`.

        >>> h, c = nn.CoupledLSTMCell(3, 4)(ln.zeros(3))
        >>> h.shape
        (4,)
    """

    gates = 3
    step = coupled_lstm_step


class _NetworkOfTwo(_Network):
    """A network whose state is (h, c)."""

    states = 2

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, *,
        dropout: float = 0.0, bidirectional: bool = False, locked: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            input_size, hidden_size, num_layers, bias, dropout=dropout,
            bidirectional=bidirectional, locked=locked,
        )  # fmt: skip


class CoupledLSTM(_NetworkOfTwo):
    """An LSTM with coupled gates over a Sequence: `rows = lstm(x)`; formula in `CoupledLSTMCell`.

    Parameters of layer k as `GRU`, gates in the order i, g, o. The arguments are those of `GRU`,
    the state is (h, c).

    Shapes: as `RNN`.

        >>> nn.CoupledLSTM(3, 4, num_layers=2)(ln.rand(3, length=5)).shape
        (5, 4)
    """

    gates = 3
    step = coupled_lstm_step


_NORMALISED = ("weight_ih", "weight_hh", "norm_ih", "norm_hh", "norm_c", "bias_ih", "bias_c")


def _normalised(inputs: int, hidden: int, bias: bool) -> dict[str, Parameter | None]:
    bound = 1.0 / math.sqrt(hidden)

    def filled(value: float, size: int) -> Parameter:
        return Parameter(np.full(size, value, np.float32))

    return {
        "weight_ih": drawn(bound, 4 * hidden, inputs),
        "weight_hh": drawn(bound, 4 * hidden, hidden),
        "norm_ih": filled(1.0, 4 * hidden),
        "norm_hh": filled(1.0, 4 * hidden),
        "norm_c": filled(1.0, hidden),
        "bias_ih": filled(0.0, 4 * hidden) if bias else None,
        "bias_c": filled(0.0, hidden) if bias else None,
    }


class LayerNormLSTMCell(CellOfTwo):
    """An LSTM step with normalised layers: `h, c = cell(x, (h, c))`; `cell(x)` starts from zeros.

    i, f, g, o = LN(W_ih x) + LN(W_hh h), c' = f c + i g, h' = o tanh(LN(c')), where LN is
    `layer_norm` with a gain and, once for each sum, a bias (Ba, Kiros and Hinton, 2016, equations
    20 to 22).

    Parameters: weight_ih (4 hidden, input) and weight_hh (4 hidden, hidden), uniform in
    (-1/sqrt(hidden), 1/sqrt(hidden)), gates in the order i, f, g, o; the gains norm_ih and norm_hh
    (4 hidden,) and norm_c (hidden,), ones; bias_ih (4 hidden,) and bias_c (hidden,), zeros.

    Shapes: as `LSTMCell`.

        >>> h, c = nn.LayerNormLSTMCell(3, 4)(ln.zeros(3))
        >>> h.shape
        (4,)
    """

    names = _NORMALISED
    step = layer_norm_lstm_step

    def _drawn(self, inputs: int) -> dict[str, Parameter | None]:
        return _normalised(inputs, self.hidden_size, self.bias)


class LayerNormLSTM(_NetworkOfTwo):
    """A normalised LSTM over a Sequence: `rows = lstm(x)`; formula in `LayerNormLSTMCell`.

    Parameters of layer k are those of the cell with the suffix _lk, in the other direction
    _lk_reverse. The arguments are those of `GRU`, the state is (h, c).

    Shapes: as `RNN`.

        >>> nn.LayerNormLSTM(3, 4, bidirectional=True)(ln.rand(3, length=5)).shape
        (5, 8)
    """

    names = _NORMALISED
    step = layer_norm_lstm_step

    def _drawn(self, inputs: int) -> dict[str, Parameter | None]:
        return _normalised(inputs, self.hidden_size, self.bias)
