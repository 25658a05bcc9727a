"""Distances and angles of pairs of vectors, as modules."""

from __future__ import annotations

from typing import Any

from lazynet.nn import functional as F
from lazynet.nn.module import Module


class CosineSimilarity(Module):
    """x . y / (|x| |y|), norms at least eps.

    `dim` counts the axes of a row: as there is no batch axis, it is the last one by default.

    Shapes: (..., k) (..., k) -> (...); n rows -> n rows.

    >>> round(float(nn.CosineSimilarity()(ln.tensor([1.0, 0.0]), ln.tensor([3.0, 3.0]))), 4)
    0.7071

    Raises:
        ShapeError: when called, if the sizes differ.
    """

    def __init__(self, dim: int = -1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x: Any, y: Any) -> Any:
        return F.cosine_similarity(x, y, self.dim, self.eps)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, eps={self.eps}"


class PairwiseDistance(Module):
    """The p-norm of x - y + eps, over the last axis of each row.

    Shapes: (..., k) (..., k) -> (...), with `keepdim` (..., 1); n rows -> n rows.

    >>> round(float(nn.PairwiseDistance()(ln.tensor([1.0, 0.0]), ln.tensor([4.0, 4.0]))), 4)
    5.0

    Raises:
        ShapeError: when called, if the sizes differ.
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.p, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x: Any, y: Any) -> Any:
        return F.pairwise_distance(x, y, self.p, self.eps, self.keepdim)

    def extra_repr(self) -> str:
        return f"p={self.p}, eps={self.eps}, keepdim={self.keepdim}"
