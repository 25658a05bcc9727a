"""Modules that add noise while training, and do nothing after it."""

from __future__ import annotations

from typing import Any

from lazynet.nn.linear import Dropout
from lazynet.nn.module import Module
from lazynet.ops.noise import gaussian_noise, locked_dropout, row_dropout


class RowDropout(Dropout):
    """Each row of a Sequence is 0 with probability p, else x / (1 - p): whole words are dropped.

    Dai and Le, 2015. Shapes and errors as `Dropout`; a Tensor is one row.

    >>> x = nn.RowDropout(0.5)(ln.ones(4, length=3)).numpy()
    >>> bool((x == x[:, :1]).all())
    True
    """

    def forward(self, x: Any) -> Any:
        return row_dropout(x, self.p, self.training)


class LockedDropout(Dropout):
    """One mask for all rows of a Sequence: the same features are 0 at every step.

    Gal and Ghahramani, 2016; Merity, Keskar and Socher, 2018.

    Shapes and errors as `Dropout`.

    >>> x = nn.LockedDropout(0.5)(ln.ones(4, length=3)).numpy()
    >>> bool((x == x[0]).all())
    True
    """

    def forward(self, x: Any) -> Any:
        return locked_dropout(x, self.p, self.training)


class GaussianNoise(Module):
    """y = x + std e with e ~ N(0, 1) while training; outside it y = x.

    Shapes: any -> the same; n rows -> n rows.

    >>> noise = nn.GaussianNoise(0.1)
    >>> noise(ln.zeros(2)).shape, noise.eval()(ln.ones(2)).tolist()
    ((2,), [1.0, 1.0])

    Raises:
        ValueError: if the deviation is negative.
    """

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        if std < 0:
            raise ValueError(f"GaussianNoise: the deviation must not be negative, not {std}")
        self.std = std

    def forward(self, x: Any) -> Any:
        return gaussian_noise(x, self.std, self.training)

    def extra_repr(self) -> str:
        return f"std={self.std}"
