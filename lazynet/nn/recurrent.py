"""Networks that scan a step over a Sequence, in layers and directions; see `cells.py`."""

from __future__ import annotations

import math
from typing import Any

from lazynet.nn.cells import (
    Recurrent,
    State,
    gru_step,
    lstm_step,
    nonlinearity_step,
    projected_lstm_step,
    zero_state,
)
from lazynet.nn.linear import drawn, sizes
from lazynet.ops.noise import dropout, locked_dropout
from lazynet.ops.rows import sequence
from lazynet.ops.told import kind_of
from lazynet.ops.views import cat_features
from lazynet.parameter import Parameter
from lazynet.record import ShapeError
from lazynet.scan import Step, scan
from lazynet.snapshot import CHANGES
from lazynet.tensor import Sequence, number_of_row


def _reversed(x: Sequence) -> Sequence:
    """x[::-1], in a shorter way."""
    last = number_of_row(x, max(x.length - 1, 0))
    return Sequence(x.graph, last, x.type, x.length, -x.step)


def _is_plain(x: Any, state: Any) -> bool:
    """Whether the argument is a Sequence, to be read from zeros on."""
    return state is None and x.__class__ is Sequence


def _instead(x: Any) -> str:
    """What was given for a Sequence, and what would have been right."""
    kind = kind_of(x)
    if isinstance(x, (list, tuple)):
        if any(isinstance(part, Sequence) for part in x):
            return f"{kind} of them; call it for each example: [module(x) for x in list]"
        return f"{kind}; ln.sequence(list) makes one of a list of Tensors"
    return f"{kind}; ln.sequence(x) makes one of its rows" if hasattr(x, "shape") else kind


class _Made:
    """What a network keeps: the steps of its weights, and zero states for the rows that it met."""

    def __init__(self) -> None:
        self.changes = -1  # how often modules had changed when the layers were looked at
        self.layers: list[list[Step]] = []
        self.steps: dict[str, Step] = {}
        self.zeros: dict[Any, list[State]] = {}


class _Network(Recurrent):
    """Layers of scans, each in one direction or both."""

    states = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        *,
        dropout: float = 0.0,
        bidirectional: bool = False,
        locked: bool = False,
        proj_size: int = 0,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        sizes(name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(f"{name}: dropout must be a probability in [0, 1], not {dropout}")
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"{name}: proj_size must be less than hidden_size {hidden_size}, not {proj_size}"
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.dropout, self.bidirectional = bias, dropout, bidirectional
        self.locked, self.proj_size = locked, proj_size
        self._made = _Made()
        for layer in range(num_layers):
            inputs = self._sizes()[0] * (1 + bidirectional) if layer else input_size
            for suffix in self._suffixes(layer):
                self._make_weights(inputs, suffix)

    def _sizes(self) -> tuple[int, ...]:
        """The sizes of the parts of a state; the first is that of an output row."""
        return (self.proj_size or self.hidden_size, self.hidden_size)[: self.states]

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        return (f"_l{layer}", f"_l{layer}_reverse")[: 1 + self.bidirectional]

    def _layers(self) -> list[list[Step]]:
        """The steps of each layer, one a direction."""
        made, changes = self._made, CHANGES[0]
        if made.changes != changes:  # a module has changed, this one perhaps
            made.layers = [
                [self._step(suffix) for suffix in self._suffixes(layer)]
                for layer in range(self.num_layers)
            ]
            made.zeros = {}
            made.changes = changes
        return made.layers

    def _step(self, suffix: str) -> Step:
        """The step of one layer and direction: the same object while its weights are the same."""
        own, steps = vars(self), self._made.steps
        weights, step = tuple([own[name + suffix] for name in self.names]), steps.get(suffix)
        # Parameters are compared as objects: == would record a node.
        if step is None or list(map(id, step.weights)) != list(map(id, weights)):
            step = steps[suffix] = Step(self._function(), weights)
        return step

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_made": _Made()}

    def _function(self) -> Any:
        return type(self).step

    def forward(self, x: Sequence, state: Any = None, return_state: bool = False) -> Any:
        """The hidden Sequence of the last layer, and with `return_state` the final state.

        Args:
            x: n rows of (input_size,).
            state: where to start, laid out as the final state is; by default zeros.
            return_state: whether to give (rows, final state).

        Returns:
            n rows of (hidden_size,), or (proj_size,) where there is one; twice as wide if
            bidirectional. A state is `h`, for an LSTM `(h, c)`. With one layer and one direction
            each is a Tensor, else a Sequence of such rows, in PyTorch's order: layer 0, layer 0 in
            reverse, layer 1, ... Without rows in x the final state is the one it started from.

        Raises:
            ShapeError: if the rows of x, or the state, have another size.
        """
        layers = self._layers()
        initial = self._made.zeros.get((x.type, x.graph.device)) if _is_plain(x, state) else None
        if initial is None:
            initial = self._initial(x, state)
        final: list[State] = []
        for layer, steps in enumerate(layers):
            outputs = []
            for back, step in enumerate(steps):
                before = initial[layer * len(steps) + back]
                after = scan(step, before, _reversed(x) if back else x)
                outputs.append(_reversed(after[0]) if back else after[0])
                if return_state:
                    final.append(tuple([rows[-1] for rows in after]) if x.length else before)
            x = cat_features(outputs) if back else outputs[0]
            if self.dropout and self.training and layer < self.num_layers - 1:
                x = (locked_dropout if self.locked else dropout)(x, self.dropout)
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
        wanted, count = self._sizes(), self.num_layers * (1 + self.bidirectional)
        if _is_plain(x, state) and x.type.shape == (self.input_size,):
            zeros = [zero_state(wanted, x.type.dtype, x.device)] * count
            return self._made.zeros.setdefault((x.type, x.graph.device), zeros)
        name = type(self).__name__
        if not isinstance(x, Sequence):
            raise ShapeError(f"{name}: expected a Sequence, not {_instead(x)}")
        if x.type.shape != (self.input_size,):
            raise ShapeError(
                f"{name}: rows of {x.type.shape}; expected rows of ({self.input_size},)"
            )
        parts = state if self.states > 1 and isinstance(state, (tuple, list)) else (state,)
        if len(parts) == self.states:
            rows = [_rows(p, count, size) for p, size in zip(parts, wanted, strict=True)]
            if all(rows):
                return list(zip(*rows, strict=True))
        told = [f"({size},)" if count == 1 else f"{count} rows of ({size},)" for size in wanted]
        each = f"each {told[0]}" if len(set(told)) == 1 else " and ".join(told)
        raise ShapeError(
            f"{name}: expected a state of {self.states} part(s), {each}; got shapes "
            f"{[getattr(p, 'shape', type(p).__name__) for p in parts]}"
        )

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("num_layers", 1), ("bias", True), ("dropout", 0.0),
                              ("bidirectional", False), ("locked", False),
                              ("proj_size", 0)):  # fmt: skip
            if getattr(self, name) != default:
                shown += f", {name}={getattr(self, name)}"
        return shown


def _rows(part: Any, count: int, size: int) -> list[Any]:
    """The `count` states of (size,) that one part of an initial state consists of, or none."""
    rows = [part] if count == 1 and getattr(part, "shape", None) == (size,) else part
    if not isinstance(rows, (list, tuple)) and getattr(rows, "shape", None) != (count, size):
        return []
    if len(rows) != count:
        return []
    return list(rows) if all(getattr(row, "shape", None) == (size,) for row in rows) else []


class RNN(_Network):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh) over a Sequence: `rows = rnn(x)`.

    Parameters of layer k: weight_ih_lk (hidden, inputs), weight_hh_lk (hidden, hidden), bias_ih_lk
    and bias_hh_lk (hidden,); in the other direction the same with the suffix _reverse. All are
    uniform in (-1/sqrt(hidden), 1/sqrt(hidden)).

    Shapes: n rows of (input,) -> n rows of (hidden,), or of (2 hidden,) if bidirectional.

    >>> nn.RNN(3, 4, num_layers=2)(ln.rand(3, length=5)).shape
    (5, 4)

    Args:
        num_layers: each layer reads the rows of the one below.
        dropout: probability with which elements between layers are dropped while training.
        bidirectional: whether a second scan reads from the end; rows are then joined.
        locked: whether dropout has one mask for all rows of a sequence (see `nn.LockedDropout`).
        nonlinearity: "tanh" or "relu".

    Raises:
        ShapeError: when called, if rows or states do not match.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        *,
        dropout: float = 0.0,
        bidirectional: bool = False,
        locked: bool = False,
    ) -> None:
        self.nonlinearity = nonlinearity
        nonlinearity_step(nonlinearity)
        super().__init__(
            input_size, hidden_size, num_layers, bias, dropout=dropout,
            bidirectional=bidirectional, locked=locked,
        )  # fmt: skip

    def _function(self) -> Any:
        return nonlinearity_step(self.nonlinearity)


class GRU(_Network):
    """A gated recurrent network over a Sequence: `rows = gru(x)`; formula in `GRUCell`.

    Parameters of layer k: weight_ih_lk (3 hidden, inputs), weight_hh_lk (3 hidden, hidden),
    bias_ih_lk and bias_hh_lk (3 hidden,), gates in the order r, z, n. The arguments are those of
    `RNN`, but for the nonlinearity.

    Shapes: as `RNN` (Cho et al., 2014).

    >>> nn.GRU(3, 4)(ln.rand(3, length=5)).shape
    (5, 4)
    """

    gates = 3
    step = gru_step

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, *,
        dropout: float = 0.0, bidirectional: bool = False, locked: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            input_size, hidden_size, num_layers, bias, dropout=dropout,
            bidirectional=bidirectional, locked=locked,
        )  # fmt: skip


class LSTM(_Network):
    """A long short-term memory over a Sequence: `rows = lstm(x)`; formula in `LSTMCell`.

    Parameters of layer k: weight_ih_lk (4 hidden, inputs), weight_hh_lk (4 hidden, hidden),
    bias_ih_lk and bias_hh_lk (4 hidden,), gates in the order i, f, g, o; with a projection also
    weight_hr_lk (proj, hidden), and weight_hh_lk is (4 hidden, proj). The state is (h, c).

        >>> rows = nn.LSTM(3, 4, bidirectional=True)(ln.rand(3, length=5))
        >>> rows.shape
        (5, 8)

    Shapes: as `RNN`, with a projection (proj,) for (hidden,) (Hochreiter and Schmidhuber, 1997).

    The arguments are those of `RNN`, but for the nonlinearity, and:

    Args:
        proj_size: h' = W_hr (o tanh(c')) has this size (Sak, Senior and Beaufays, 2014), unless 0.
    """

    gates = 4
    states = 2
    step = lstm_step

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, *,
        dropout: float = 0.0, bidirectional: bool = False, locked: bool = False,
        proj_size: int = 0,
    ) -> None:  # fmt: skip
        if proj_size:
            self.names = (*type(self).names, "weight_hr")
        super().__init__(
            input_size, hidden_size, num_layers, bias, dropout=dropout,
            bidirectional=bidirectional, locked=locked, proj_size=proj_size,
        )  # fmt: skip

    def _function(self) -> Any:
        return projected_lstm_step if self.proj_size else type(self).step

    def _drawn(self, inputs: int) -> dict[str, Parameter | None]:
        weights = super()._drawn(inputs)
        if self.proj_size:
            bound, hidden = 1.0 / math.sqrt(self.hidden_size), self.hidden_size
            weights["weight_hh"] = drawn(bound, self.gates * hidden, self.proj_size)
            weights["weight_hr"] = drawn(bound, self.proj_size, hidden)
        return weights
