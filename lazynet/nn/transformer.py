"""Transformers: PyTorch's layers, written over one example; positions are the user's."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.nn.attention import KeyValueCache, MultiheadAttention
from lazynet.nn.containers import ModuleList
from lazynet.nn.linear import Linear, sizes
from lazynet.nn.module import Module
from lazynet.ops.activations import gelu
from lazynet.ops.elementwise import relu
from lazynet.ops.random import dropout
from lazynet.ops.reduce import mean
from lazynet.ops.rows import sequence
from lazynet.record import ShapeError, as_value
from lazynet.tensor import Parameter, Tensor

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": relu, "gelu": gelu}


class _LayerNorm(Module):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, for each row."""

    def __init__(self, size: int, eps: float, bias: bool) -> None:
        super().__init__()
        self.eps = eps
        self.weight = Parameter(np.ones(size, np.float32))
        self.bias = Parameter(np.zeros(size, np.float32)) if bias else None

    def forward(self, x: Any) -> Any:
        centred = x - mean(x, -1, keepdim=True)
        y = centred / (mean(centred.square(), -1, keepdim=True) + self.eps).sqrt() * self.weight
        return y if self.bias is None else y + self.bias


class _Layer(Module):
    """What encoder and decoder layers share: a residual around each part, and the feed-forward."""

    linear1: Linear
    linear2: Linear

    def __init__(
        self, d_model: int, dim_feedforward: int, dropout: float, activation: Any, norm_first: bool
    ) -> None:
        super().__init__()
        name = type(self).__name__
        sizes(name, d_model=d_model, dim_feedforward=dim_feedforward)
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(f"{name}: dropout must be in [0, 1], not {dropout}")
        if not callable(activation) and activation not in ACTIVATIONS:
            known = ", ".join(map(repr, ACTIVATIONS))
            raise ValueError(f"{name}: activation {activation!r}; use {known} or a function")
        self.dropout, self.norm_first, self.activation = dropout, norm_first, activation

    def _drop(self, x: Any) -> Any:
        return dropout(x, self.dropout, self.training)

    def _around(self, x: Any, norm: Module, part: Callable[[Any], Any]) -> Any:
        """x + part(x), normalised before the part or after the sum."""
        if self.norm_first:
            return x + self._drop(part(norm(x)))
        return norm(x + self._drop(part(x)))

    def _feed_forward(self, x: Any) -> Any:
        activation = self.activation if callable(self.activation) else ACTIVATIONS[self.activation]
        return self.linear2(self._drop(activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """x + attention(x), then x + W_2 f(W_1 x), each with layer norm (Vaswani et al., 2017).

    Shapes: n rows of (d_model,) -> n rows of (d_model,).

        >>> layer = nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16)
        >>> layer(ln.sequence(np.ones((5, 8), np.float32))).shape
        (5, 8)

    Parameters, as PyTorch's: self_attn.*, linear1.*, linear2.*, norm1.*, norm2.*.

    Args:
        activation: "relu", "gelu", or a function of rows.
        norm_first: whether each part normalises what it takes, or each sum is normalised.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Any = "relu",
        layer_norm_eps: float = 1e-5,
        norm_first: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__(d_model, dim_feedforward, dropout, activation, norm_first)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        self.norm1 = _LayerNorm(d_model, layer_norm_eps, bias)
        self.norm2 = _LayerNorm(d_model, layer_norm_eps, bias)

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Any:
        """n rows of (d_model,) from n rows of (d_model,); a Tensor is one row.

        Args:
            src_mask, is_causal, cache: as `MultiheadAttention` takes them.
        """

        def attend(x: Any) -> Any:
            return self.self_attn(x, attn_mask=src_mask, is_causal=is_causal, cache=cache)[0]

        x = self._around(src, self.norm1, attend)
        return self._around(x, self.norm2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """An encoder layer that attends to a memory between its two parts (Vaswani et al., 2017).

    Shapes: n rows and a memory of m rows of (d_model,) -> n rows of (d_model,).

        >>> layer = nn.TransformerDecoderLayer(8, nhead=2, dim_feedforward=16)
        >>> memory = ln.sequence(np.ones((3, 8), np.float32))
        >>> layer(ln.sequence(np.ones((5, 8), np.float32)), memory, tgt_is_causal=True).shape
        (5, 8)

    Parameters, as PyTorch's: self_attn.*, multihead_attn.*, linear1.*, linear2.*, norm1.* to
    norm3.*. Arguments as `TransformerEncoderLayer`.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Any = "relu",
        layer_norm_eps: float = 1e-5,
        norm_first: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__(d_model, dim_feedforward, dropout, activation, norm_first)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        self.norm1 = _LayerNorm(d_model, layer_norm_eps, bias)
        self.norm2 = _LayerNorm(d_model, layer_norm_eps, bias)
        self.norm3 = _LayerNorm(d_model, layer_norm_eps, bias)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Any:
        """n rows of (d_model,) from n rows of (d_model,) and a memory of m rows.

        Args:
            memory: m rows of (d_model,), or what `multihead_attn.project` gave for them.
            tgt_mask, tgt_is_causal, cache: of the rows among themselves.
            memory_mask: of the rows and the memory.
        """

        def attend(x: Any) -> Any:
            return self.self_attn(x, attn_mask=tgt_mask, is_causal=tgt_is_causal, cache=cache)[0]

        def look_up(x: Any) -> Any:
            return self.multihead_attn(x, memory, attn_mask=memory_mask)[0]

        x = self._around(tgt, self.norm1, attend)
        x = self._around(x, self.norm2, look_up)
        return self._around(x, self.norm3, self._feed_forward)


class _Stack(Module):
    """Copies of a layer, one after the other, and a norm after the last."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        sizes(type(self).__name__, num_layers=num_layers)
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.norm = norm

    def caches(self) -> list[KeyValueCache]:
        """An empty cache for each layer: what `forward` takes to go on step by step."""
        return [KeyValueCache() for _ in self.layers]

    def _caches(self, given: list[KeyValueCache] | None) -> list[Any]:
        if given is None:
            return [None] * len(self.layers)
        if len(given) != len(self.layers):
            raise ShapeError(
                f"{type(self).__name__}: {len(given)} caches for {len(self.layers)} layers"
            )
        return given


class TransformerEncoder(_Stack):
    """Copies of an encoder layer, one after the other.

    Shapes: n rows of (d_model,) -> n rows of (d_model,).

        >>> layer = nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16)
        >>> encoder = nn.TransformerEncoder(layer, num_layers=2)
        >>> encoder(ln.sequence(np.ones((5, 8), np.float32))).shape
        (5, 8)

    Parameters: layers.0.*, layers.1.*, ..., all copies of the layer's own values, and norm.*.
    """

    def forward(
        self,
        src: Any,
        mask: Any = None,
        is_causal: bool = False,
        caches: list[KeyValueCache] | None = None,
    ) -> Any:
        """n rows of (d_model,) from n rows of (d_model,).

        Args:
            caches: what `caches()` gave, filled by earlier rows: a language model goes on with the
                new rows alone.
        """
        x = src
        for layer, cache in zip(self.layers, self._caches(caches), strict=True):
            x = layer(x, mask, is_causal, cache)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(_Stack):
    """Copies of a decoder layer, one after the other.

    Shapes: n rows and a memory of m rows of (d_model,) -> n rows of (d_model,).

    >>> layer = nn.TransformerDecoderLayer(8, nhead=2, dim_feedforward=16)
    >>> decoder = nn.TransformerDecoder(layer, num_layers=2)
    >>> memory = decoder.project(ln.sequence(np.ones((3, 8), np.float32)))
    >>> caches = decoder.caches()
    >>> for x in ln.sequence(np.ones((5, 8), np.float32)):
    ...     y = decoder(x, memory, caches=caches)  # one step
    >>> y.shape
    (8,)
    """

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_is_causal: bool = False,
        caches: list[KeyValueCache] | None = None,
    ) -> Any:
        """n rows of (d_model,) from n rows of (d_model,) and a memory of m rows.

        Args:
            memory: m rows of (d_model,), or what `project` gave for them.
            caches: what `caches()` gave, filled by earlier rows.
        """
        x = tgt
        memories = memory if isinstance(memory, list) else [memory] * len(self.layers)
        for layer, own, cache in zip(self.layers, memories, self._caches(caches), strict=True):
            x = layer(x, own, tgt_mask, memory_mask, tgt_is_causal, cache)
        return x if self.norm is None else self.norm(x)

    def project(self, memory: Any) -> list[KeyValueCache]:
        """The memory's keys and values for each layer, worked out once for many steps."""
        layers: Any = self.layers
        return [layer.multihead_attn.project(memory) for layer in layers]


def sinusoidal_positions(length: int, dim: int) -> np.ndarray:
    """Encodings of the positions 0, 1, ...: sin and cos of position / 10000^(2 k / dim).

    Vaswani et al., 2017, section 3.5: column 2 k is the sine, column 2 k + 1 the cosine.

        >>> nn.sinusoidal_positions(2, 4)[0].tolist()
        [0.0, 1.0, 0.0, 1.0]
    """
    angles = np.arange(length)[:, None] * np.exp(np.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    table = np.empty((length, dim), np.float32)
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, : dim // 2])
    return table


_TABLES: dict[tuple[int, str], Any] = {}  # by size and dtype; examples take a part of them


class SinusoidalPositions(Module):
    """y_t = x_t + sinusoidal_positions[start + t].

    Shapes: n rows of (dim,) -> n rows of (dim,) (Vaswani et al., 2017).

        >>> nn.SinusoidalPositions(4)(ln.sequence(np.zeros((2, 4), np.float32)))[0].tolist()
        [0.0, 1.0, 0.0, 1.0]

    The encodings are no parameters. Tables of them grow as longer examples come.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        sizes("SinusoidalPositions", dim=dim)
        self.dim = dim

    def forward(self, x: Any, start: int = 0) -> Any:
        """The rows of x, the first of them at position `start`; a Tensor is one row."""
        if x.type.shape != (self.dim,):
            raise ShapeError(
                f"SinusoidalPositions: rows of {x.type.shape}; expected rows of ({self.dim},)"
            )
        count = 1 if isinstance(x, Tensor) else len(x)
        key = (self.dim, x.type.dtype)
        table = _TABLES.get(key)
        if table is None or len(table) < start + count:
            rows = sinusoidal_positions(max(64, 2 * (start + count)), self.dim)
            rows = as_value(rows.astype(x.type.dtype), "SinusoidalPositions")  # on any device
            table = _TABLES[key] = sequence(rows)
        return x + (table[start] if isinstance(x, Tensor) else table[start : start + count])
