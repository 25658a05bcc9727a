"""Attention as a module, and what a decoder keeps of earlier steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.nn import init
from lazynet.nn.linear import Linear, sizes
from lazynet.nn.module import Module
from lazynet.ops.attention import drop_key, pair_weights, scaled_dot_product_attention
from lazynet.ops.functions import logical_not
from lazynet.ops.linear import linear
from lazynet.ops.pairs import pair_drop, pair_sum
from lazynet.ops.reduce import mean
from lazynet.ops.reshape import reshape
from lazynet.ops.runs import rows_in
from lazynet.ops.views import chunk, part
from lazynet.parameter import Parameter
from lazynet.record import ShapeError
from lazynet.tensor import Sequence, Tensor, Value


class KeyValueCache:
    """The keys and values of the steps so far: what decoding attends to.

    Rows stay where they were computed. Attention takes them one after the other, so that a step
    neither computes nor copies what came before it.

        >>> mha, cache = nn.MultiheadAttention(4, 2), nn.KeyValueCache()
        >>> for x in ln.sequence(np.eye(3, 4, dtype=np.float32)):
        ...     y, _ = mha(x, cache=cache)  # x attends to all steps up to its own
        >>> len(cache)
        3
    """

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.values: list[Any] = []

    def __len__(self) -> int:
        return rows_in(self.keys)

    def append(self, keys: Any, values: Any) -> None:
        """Add keys and values: Sequences of as many rows, or Tensors, which are one row.

        Raises:
            ShapeError: for another number of values than of keys.
        """
        if rows_in(keys) != rows_in(values):
            raise ShapeError(
                f"KeyValueCache: {rows_in(keys)} keys for {rows_in(values)} values; expected as "
                "many of each"
            )
        self.keys.append(keys)
        self.values.append(values)

    def copy(self) -> KeyValueCache:
        """A cache that holds the same rows and goes its own way: one hypothesis of a beam."""
        made = KeyValueCache()
        made.keys, made.values = list(self.keys), list(self.values)
        return made


class MultiheadAttention(Module):
    """y = W_o [head_1; ...; head_h] + b_o, each head attention of its own part of projected rows.

    Shapes: n rows of (embed,), m rows of (kdim,) and of (vdim,) -> n rows of (embed,).

    head_i = softmax(q_i k_i' / sqrt(d)) v_i with q = W_q x_q + b_q etc. (Vaswani et al., 2017).

        >>> mha = nn.MultiheadAttention(8, num_heads=2)
        >>> x = ln.sequence(np.ones((5, 8), np.float32))
        >>> y, _ = mha(x)
        >>> y.shape
        (5, 8)

    Parameters, as PyTorch's: in_proj_weight (3 embed, embed), or q_proj_weight (embed, embed),
    k_proj_weight (embed, kdim) and v_proj_weight (embed, vdim) where those sizes differ;
    in_proj_bias (3 embed,); out_proj.weight (embed, embed) and out_proj.bias (embed,).

    Raises:
        ValueError: if embed_dim cannot be cut into that many heads, or dropout is not in [0, 1].
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
    ) -> None:
        super().__init__()
        kdim, vdim = kdim or embed_dim, vdim or embed_dim
        sizes("MultiheadAttention", embed_dim=embed_dim, num_heads=num_heads, kdim=kdim, vdim=vdim)
        if embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention: embed_dim {embed_dim} cannot be cut into {num_heads} heads"
            )
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(f"MultiheadAttention: dropout must be in [0, 1], not {dropout}")
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self._key_sizes = kdim, vdim
        self.together = kdim == vdim == embed_dim
        if self.together:
            self.in_proj_weight = _xavier(3 * embed_dim, embed_dim)
        else:
            self.q_proj_weight = _xavier(embed_dim, embed_dim)
            self.k_proj_weight = _xavier(embed_dim, kdim)
            self.v_proj_weight = _xavier(embed_dim, vdim)
        self.in_proj_bias = _zeros(3 * embed_dim) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        keys, values = self._key_sizes
        return {"query": (self.embed_dim,), "key": (keys,), "value": (values,)}

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        *,
        attn_mask: Any = None,
        is_causal: bool = False,
        need_weights: bool = False,
        average_attn_weights: bool = True,
        cache: KeyValueCache | None = None,
    ) -> tuple[Any, Any]:
        """Attend from the queries to the keys, by default to themselves.

        Args:
            query: n rows of (embed,); a Tensor is one row.
            key: m rows of (kdim,), by default the queries; or what `project` gave.
            value: m rows of (vdim,), by default the keys.
            attn_mask: an array, list or Tensor of (n, m), or a Sequence with a row for each pair:
                True, as in PyTorch's module, where a key must NOT be seen, or numbers that are
                added to the scores.
            is_causal: a query sees the keys up to its own only.
            need_weights: give the weights, too.
            average_attn_weights: give their mean over the heads.
            cache: keys and values of earlier rows, to which those of `key` are appended; they come
                before the queries.

        Returns:
            (y, weights): n rows of (embed,), and for each query a Sequence with a row for each key:
            a number, or (heads,) if they are not averaged; None unless `need_weights`.
        """
        if isinstance(key, KeyValueCache):
            q, keys, values, offset = self._part(query, 0), key.keys, key.values, 0
        else:
            key = query if key is None else key
            q, k, v = self._project(query, key, key if value is None else value)
            offset = 0 if cache is None else len(cache)
            cache = KeyValueCache() if cache is None else cache
            cache.append(k, v)
            keys, values = cache.keys, cache.values
        attn_mask = None if attn_mask is None else _kept(attn_mask)
        p = self.dropout if self.training else 0.0
        if not need_weights:
            y = scaled_dot_product_attention(
                q, keys, values, attn_mask, p, is_causal, heads=self.num_heads, offset=offset
            )
            return self.out_proj(y), None
        pairs = pair_weights(q, keys, attn_mask, is_causal, heads=self.num_heads, offset=offset)
        pairs = pair_drop(pairs, p, drop_key(p))
        y = self.out_proj(self._weighted(query, pairs, values))
        shown, m = mean(pairs, -1) if average_attn_weights else pairs, rows_in(keys)
        return y, [shown[i * m : (i + 1) * m] for i in range(rows_in(query))]

    def project(self, key: Any, value: Any = None) -> KeyValueCache:
        """The keys and values of a memory, projected once, to be given as `key` many times."""
        cache = KeyValueCache()
        cache.append(self._part(key, 1), self._part(key if value is None else value, 2))
        return cache

    def _weighted(self, query: Any, pairs: Sequence, values: list[Any]) -> Any:
        """The values, weighted by weights that are values themselves."""
        shape = (self.num_heads, self.embed_dim // self.num_heads)
        y = pair_sum(pairs, [reshape(v, shape) for v in values], rows_in(query))
        y = reshape(y, (self.embed_dim,))
        return y[0] if isinstance(query, Tensor) else y

    def _project(self, query: Any, key: Any, value: Any) -> Any:
        """Queries, keys and values; of one and the same rows in a single product."""
        if self.together and query is key is value:
            return chunk(linear(query, self.in_proj_weight, self.in_proj_bias), 3)
        return self._part(query, 0), self._part(key, 1), self._part(value, 2)

    def _part(self, x: Any, which: int) -> Any:
        """Rows projected to queries (0), keys (1) or values (2)."""
        e = self.embed_dim
        weight: Value
        if self.together:
            weight = part(self.in_proj_weight, (e, e), which * e * e)
        else:
            weight = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)[which]
        bias = self.in_proj_bias
        return linear(x, weight, None if bias is None else part(bias, (e,), which * e))

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


def _kept(mask: Any) -> Any:
    """A mask as attention takes it: its booleans say which pairs count, not which do not."""
    if isinstance(mask, Value):
        return logical_not(mask) if mask.type.dtype == "bool" else mask
    mask = np.asarray(mask)
    return ~mask if mask.dtype == bool else mask


def _xavier(*shape: int) -> Parameter:
    return init.xavier_uniform_(_zeros(*shape))


def _zeros(*shape: int) -> Parameter:
    return Parameter(np.zeros(shape, np.float32))
