"""Functions of rows under PyTorch's names; a Sequence is taken row by row."""

from __future__ import annotations

import math
from typing import Any

from lazynet.ops import elementwise, lookup, loss, reduce
from lazynet.ops import linear as products
from lazynet.ops import random as randomness
from lazynet.record import ShapeError
from lazynet.tensor import Parameter, Sequence, Tensor


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """y = W x + b for rows x of (..., in), weight (out, in) and bias (out,)."""
    return products.linear(x, weight, bias)


def embedding(index: Any, weight: Parameter) -> Any:
    """y = weight[index]: an integer gives a Tensor, a list of integers a Sequence."""
    return lookup.lookup(weight, index)


def relu(x: Any) -> Any:
    """y = max(x, 0)."""
    return elementwise.relu(x)


def tanh(x: Any) -> Any:
    """y = tanh(x)."""
    return elementwise.tanh(x)


def sigmoid(x: Any) -> Any:
    """y = 1 / (1 + exp(-x))."""
    return elementwise.sigmoid(x)


def softmax(x: Any, dim: int = -1) -> Any:
    """y = exp(x) / sum exp(x) along an axis; axis 0 of a Sequence is its rows."""
    return reduce.softmax(x, dim)


def log_softmax(x: Any, dim: int = -1) -> Any:
    """y = x - log(sum exp(x)) along an axis."""
    return reduce.log_softmax(x, dim)


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Each element is 0 with probability p, else x / (1 - p); the identity outside training."""
    return randomness.dropout(x, p, training)


def cross_entropy(logits: Any, target: Any, reduction: str = "mean") -> Any:
    """-log softmax(x)[target]; over the rows of a Sequence the "mean", the "sum", or "none".

    Args:
        logits: rows of (classes,): a Tensor with an integer target, or a Sequence with a list.
    """
    return loss.cross_entropy(logits, target, reduction)


def nll_loss(log_probabilities: Any, target: Any, reduction: str = "mean") -> Any:
    """-x[target]; over the rows of a Sequence the "mean", the "sum", or "none"."""
    return loss.nll_loss(log_probabilities, target, reduction)


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Any:
    """(x - target)^2; over all elements the "mean", the "sum", or "none"."""
    return loss.mse_loss(x, target, reduction)


def scaled_dot_product_attention(query: Tensor, keys: Sequence, values: Sequence) -> Tensor:
    """y = sum_j softmax_j(k_j . q / sqrt(d)) v_j (Vaswani et al., 2017), for one query.

    Args:
        query: (d,).
        keys: n rows of (d,).
        values: n rows of (e,).

    Returns:
        (e,): the mean of the values, weighted by how well their keys match the query.

    Raises:
        ShapeError: if the sizes do not match, or there is nothing to attend to.
    """
    if not isinstance(keys, Sequence) or not isinstance(values, Sequence):
        raise ShapeError("scaled_dot_product_attention: keys and values must be Sequences")
    if keys.type.shape != query.type.shape or len(query.type.shape) != 1:
        raise ShapeError(
            f"scaled_dot_product_attention: a query of {query.shape} does not match keys with rows "
            f"of {keys.type.shape}; both are vectors of one size"
        )
    if len(keys) != len(values) or not len(keys):
        raise ShapeError(
            f"scaled_dot_product_attention: {len(keys)} keys for {len(values)} values; expected "
            "as many, and at least one"
        )
    scaled: Any = query * (1.0 / math.sqrt(query.type.size))
    weights = reduce.softmax(products.dot(keys, scaled), 0)
    return reduce.sum(values * weights, 0)
