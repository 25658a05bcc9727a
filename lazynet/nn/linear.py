"""Modules that are one op on each row: Linear, Embedding, Dropout."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from lazynet.nn.module import Module
from lazynet.ops import linear as products
from lazynet.ops.lookup import lookup, padding_row, without_padding
from lazynet.ops.noise import dropout
from lazynet.ops.products import bilinear
from lazynet.ops.random import numpy_generator
from lazynet.ops.reshape import reshape
from lazynet.ops.shape import flatten
from lazynet.parameter import Parameter
from lazynet.record import ShapeError, as_value


def drawn(bound: float, *shape: int) -> Parameter:
    """A parameter drawn uniformly from [-bound, bound)."""
    values = numpy_generator().uniform(-bound, bound, shape)
    return Parameter(values.astype(np.float32))


def sizes(module: str, **named: int) -> None:
    """Check that these are positive integers.

    Raises:
        ValueError: naming the one that is not.
    """
    for name, value in named.items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{module}: {name} must be a positive integer, not {value!r}")


class Linear(Module):
    """y = W x + b for each row.

    Parameters: weight (out, in) and bias (out,), uniform in (-1/sqrt(in), 1/sqrt(in)).
    Shapes: (in,) -> (out,); n rows of (in,) -> n rows of (out,).

    >>> layer = nn.Linear(3, 2)
    >>> layer(ln.zeros(3)).shape, layer(ln.zeros(3, length=5)).shape
    ((2,), (5, 2))

    Raises:
        ShapeError: when called, if a row does not match.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        bound = 1.0 / math.sqrt(in_features)  # kaiming_uniform_ with a = sqrt(5)
        self.weight = drawn(bound, out_features, in_features)
        self.bias = drawn(bound, out_features) if bias else None

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        return {"x": (..., self.in_features)}

    def forward(self, x: Any) -> Any:
        return products.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class Embedding(Module):
    """y = weight[index].

    Parameters: weight (num_embeddings, embedding_dim), normal with mean 0 and deviation 1; the row
    of `padding_idx` begins at 0, and no gradient reaches it.
    Shapes: an integer gives a Tensor (dim,), a list of n integers a Sequence of n rows of (dim,).

    >>> words = nn.Embedding(10, 4)
    >>> words(3).shape, words([1, 2, 1]).shape
    ((4,), (3, 4))

    Raises:
        IndexError: when called, on that line, if an index is out of range.
        ValueError: if there is no row `padding_idx`.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None
    ) -> None:
        super().__init__()
        sizes(type(self).__name__, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        values = numpy_generator().normal(size=(num_embeddings, embedding_dim))
        self.padding_idx = padding_row(type(self).__name__, padding_idx, num_embeddings)
        if self.padding_idx is not None:
            values[self.padding_idx] = 0.0
        self.weight = Parameter(values.astype(np.float32))

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None, **options: Any
    ) -> Self:
        """One of the rows of a matrix; with `freeze`, they are not trained.

        Args:
            options: other arguments of the class, such as the mode of an EmbeddingBag.
        """
        values = np.asarray(embeddings)
        if values.ndim != 2:
            raise ValueError(f"from_pretrained: expected a matrix, not {values.shape}")
        made = cls(*values.shape, **options)
        made.padding_idx = padding_row(cls.__name__, padding_idx, len(values))
        made.weight = Parameter(values, requires_grad=not freeze)
        return made

    def forward(self, index: Any) -> Any:
        rows = lookup(self.weight, index)
        return rows if self.padding_idx is None else without_padding(rows, index, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Dropout(Module):
    """y = x / (1 - p), but each element 0 with probability p; outside training y = x.

    Srivastava et al., "Dropout", 2014. Shapes: any -> the same; n rows -> n rows.

    >>> drop = nn.Dropout(0.5)
    >>> set(drop(ln.ones(100)).tolist()) <= {0.0, 2.0}, drop.eval()(ln.ones(2)).tolist()
    (True, [1.0, 1.0])

    Raises:
        ValueError: unless 0 <= p <= 1.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not isinstance(p, (int, float)) or not 0.0 <= p <= 1.0:
            raise ValueError(f"Dropout: the probability must be in [0, 1], not {p!r}")
        self.p = p

    def forward(self, x: Any) -> Any:
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Bilinear(Module):
    """z_o = x W_o y + b_o, for vectors x and y.

    Parameters: weight (out, in1, in2), bias (out,), uniform in (-1/sqrt(in1), 1/sqrt(in1)).

    Shapes: (in1,) (in2,) -> (out,); n rows -> n rows.

    >>> nn.Bilinear(2, 3, 4)(ln.ones(2), ln.ones(3)).shape
    (4,)
    """

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True
    ) -> None:
        super().__init__()
        sizes("Bilinear", in1_features=in1_features, in2_features=in2_features,
              out_features=out_features)  # fmt: skip
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        bound = 1.0 / math.sqrt(in1_features)
        self.weight = drawn(bound, out_features, in1_features, in2_features)
        self.bias = drawn(bound, out_features) if bias else None

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        return {"x": (self.in1_features,), "y": (self.in2_features,)}

    def forward(self, x: Any, y: Any) -> Any:
        return bilinear(x, y, self.weight, self.bias)

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={bias}"
        )


class Flatten(Module):
    """The axes of each row joined into one; a view.

    `start_dim` and `end_dim` count the axes of a row: as there is no batch axis, all of them are
    joined by default.

        >>> nn.Flatten()(ln.ones(2, 3)).shape
        (6,)

    Shapes: (2, 3) -> (6,); n rows -> n rows.
    """

    def __init__(self, start_dim: int = 0, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        return flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis of each row cut into several; a view.

    `dim` counts the axes of a row, as in `Flatten`.

        >>> nn.Unflatten(0, (2, 3))(ln.ones(6)).shape
        (2, 3)

    Shapes: (6,) -> (2, 3); n rows -> n rows.

    Args:
        unflattened_size: the sizes that take the place of the axis; one of them may be -1.

    Raises:
        ShapeError: when called, if there is no such axis, or the sizes do not multiply to its own.
    """

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Any) -> Any:
        shape, dim, made = as_value(x, "Unflatten").type.shape, self.dim, self.unflattened_size
        if not -len(shape) <= dim < len(shape):
            raise ShapeError(f"Unflatten: no axis {dim} in rows of {shape}")
        size, known = shape[dim], math.prod(n for n in made if n != -1)
        if made.count(-1) > 1 or (size != known if -1 not in made else not known or size % known):
            raise ShapeError(f"Unflatten: axis {dim} of rows of {shape} cannot become {made}")
        made = tuple(size // known if n == -1 else n for n in made)
        at = dim % len(shape)
        return reshape(x, (*shape[:at], *made, *shape[at + 1 :]))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
