"""Functions of rows under PyTorch's names; a Sequence is taken row by row."""

from __future__ import annotations

from typing import Any

from lazynet.ops import elementwise, lookup, loss, reduce
from lazynet.ops import linear as products
from lazynet.ops import random as randomness
from lazynet.ops.attention import scaled_dot_product_attention as scaled_dot_product_attention
from lazynet.tensor import Parameter


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
