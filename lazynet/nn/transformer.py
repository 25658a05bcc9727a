"""Transformers: PyTorch's layers, written over one example; for positions see `positions.py`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.nn import init
from lazynet.nn.attention import KeyValueCache, MultiheadAttention
from lazynet.nn.containers import ModuleList
from lazynet.nn.linear import Linear, sizes
from lazynet.nn.module import Module
from lazynet.nn.normalization import LayerNorm
from lazynet.ops.activations import gelu
from lazynet.ops.elementwise import relu
from lazynet.ops.noise import dropout
from lazynet.record import ShapeError

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": relu, "gelu": gelu}


class _Layer(Module):
    """What encoder and decoder layers share: a residual around each part, and the feed-forward."""

    _remembers = False  # whether a part between the two attends to a memory

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Any = "relu",
        layer_norm_eps: float = 1e-5,
        *,
        norm_first: bool = False,
        bias: bool = True,
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
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias)
        if self._remembers:
            self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        if self._remembers:
            self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias)

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        rows = (self.linear1.in_features,)
        return {"tgt": rows, "memory": rows} if self._remembers else {"src": rows}

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

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        *,
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

    _remembers = True

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        *,
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

    _tells = False

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
        *,
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
            x = layer(x, mask, is_causal=is_causal, cache=cache)
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
        *,
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
            x = layer(x, own, tgt_mask, memory_mask, tgt_is_causal=tgt_is_causal, cache=cache)
        return x if self.norm is None else self.norm(x)

    def project(self, memory: Any) -> list[KeyValueCache]:
        """The memory's keys and values for each layer, worked out once for many steps."""
        layers: Any = self.layers
        return [layer.multihead_attn.project(memory) for layer in layers]


class Transformer(Module):
    """A decoder over the rows that an encoder makes of a source (Vaswani et al., 2017).

    Both end in a layer norm. Positions are no part of it; see `SinusoidalPositions`.

    Shapes: n rows and m rows of (d_model,) -> m rows of (d_model,).

        >>> model = nn.Transformer(8, nhead=2, num_encoder_layers=1, num_decoder_layers=1)
        >>> source, target = ln.ones(8, length=5), ln.ones(8, length=3)
        >>> model(source, target, tgt_is_causal=True).shape
        (3, 8)

    Parameters, as PyTorch's: encoder.layers.*, encoder.norm.*, decoder.layers.*, decoder.norm.*;
    matrices as `init.xavier_uniform_` draws them.

    Args:
        custom_encoder, custom_decoder: modules that take the place of the two.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Any = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        *,
        norm_first: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        sizes("Transformer", d_model=d_model, nhead=nhead)
        self.d_model, self.nhead = d_model, nhead
        options = (dim_feedforward, dropout, activation, layer_norm_eps)
        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(d_model, nhead, *options, norm_first=norm_first, bias=bias),
            num_encoder_layers,
            LayerNorm(d_model, layer_norm_eps, bias=bias),
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(d_model, nhead, *options, norm_first=norm_first, bias=bias),
            num_decoder_layers,
            LayerNorm(d_model, layer_norm_eps, bias=bias),
        )
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        return {"src": (self.d_model,), "tgt": (self.d_model,)}

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        *,
        src_is_causal: bool = False,
        tgt_is_causal: bool = False,
    ) -> Any:
        """m rows of (d_model,) from a source of n rows and a target of m rows.

        Args:
            src_mask, src_is_causal: of the source's rows among themselves.
            tgt_mask, tgt_is_causal: of the target's.
            memory_mask: of the target's rows and the source's.
        """
        memory = self.encoder(src, src_mask, is_causal=src_is_causal)
        return self.decoder(tgt, memory, tgt_mask, memory_mask, tgt_is_causal=tgt_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(size: int) -> np.ndarray:
        """What hides later rows when added to scores: 0, and -inf above the diagonal."""
        return np.triu(np.full((size, size), -np.inf, np.float32), 1)
