"""Distances and angles of pairs of vectors, and the losses made of them.

`reduction` goes over the elements that one example has; see `loss.py`.
"""

from __future__ import annotations

from lazynet.ops import reduce
from lazynet.ops.axes import axis_of
from lazynet.ops.elementwise import maximum, minimum, sqrt, where
from lazynet.ops.functions import clamp
from lazynet.ops.linear import vectors_of
from lazynet.ops.loss import reduced
from lazynet.ops.losses import signs_of
from lazynet.ops.statistics import norm
from lazynet.ops.told import told
from lazynet.record import as_value


@told
def pairwise_distance(x, y, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False):
    """The p-norm of x - y + eps, over the last axis of each row.

    Shapes: (..., k) (..., k) -> (...), with `keepdim` (..., 1); n rows -> n rows.

    >>> round(float(ln.nn.functional.pairwise_distance(ln.tensor([3.0]), ln.tensor([1.0]))), 3)
    2.0

    Raises:
        ShapeError: if the sizes differ.
    """
    x, y = vectors_of("pairwise_distance", x, y)
    return norm(x - y + eps, p, -1, keepdim)


@told
def triplet_margin_loss(
    anchor, positive, negative, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
    reduction: str = "mean", swap: bool = False,
):  # fmt: skip
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d = `pairwise_distance`.

    With `swap`, the nearer of d(anchor, negative) and d(positive, negative) counts (Balntas et al.,
    2016).

    Shapes: three of (..., k) -> (), or with reduction "none" (...).

    >>> F, x = ln.nn.functional, ln.tensor([1.0])
    >>> float(F.triplet_margin_loss(x, x, x))
    1.0

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced("triplet_margin_loss", clamp(near - far + margin, 0.0), reduction)


@told
def cosine_similarity(x, y, dim: int = -1, eps: float = 1e-8):
    """x . y / (|x| |y|), norms at least eps.

    Shapes: (..., k) (..., k) -> (...); n rows -> n rows.

    >>> round(float(ln.nn.functional.cosine_similarity(ln.tensor([2.0]), ln.tensor([3.0]))), 4)
    1.0

    Raises:
        ShapeError: if the sizes differ.
    """
    x, y = as_value(x, "cosine_similarity"), as_value(y, "cosine_similarity")
    longer = max(x, y, key=lambda v: len(v.shape))
    axis_of(longer, dim, "cosine_similarity")
    axis = dim if dim < 0 else dim - len(longer.shape)  # of both, counted from their ends
    x, y = vectors_of("cosine_similarity", x, y, axis)
    size = maximum(norm(x, 2, axis), eps) * maximum(norm(y, 2, axis), eps)
    return reduce.sum(x * y, axis) / size


@told
def cosine_embedding_loss(x, y, target, margin: float = 0.0, reduction: str = "mean"):
    """1 - cos(x, y) where the target is 1, max(0, cos(x, y) - margin) where it is -1.

    Squares of norms are made larger by 1e-12, so that the loss is smooth at 0, as in PyTorch.

    Shapes: x and y (k,), a target for each row -> (), or with reduction "none" n rows -> n rows.

    >>> F, x = ln.nn.functional, ln.tensor([1.0, 0.0])
    >>> round(float(F.cosine_embedding_loss(x, x, ln.tensor(-1.0))), 4)
    1.0

    Raises:
        ShapeError: if the shapes differ. ValueError: for another reduction.
    """
    x, y = vectors_of("cosine_embedding_loss", x, y)
    squares = [reduce.sum(v * v, -1) + 1e-12 for v in (x, y)]
    cosine = reduce.sum(x * y, -1) / sqrt(squares[0] * squares[1])
    target = signs_of("cosine_embedding_loss", cosine, target)
    away = clamp(cosine - margin, 0.0)
    return reduced("cosine_embedding_loss", where(target == 1.0, 1.0 - cosine, away), reduction)
