"""The ops, one file a family; each op is one block. Importing this room registers them all."""

from lazynet.ops import (
    activations,
    elementwise,
    functions,
    index,
    linear,
    lookup,
    loss,
    random,
    reduce,
    rows,
    shape,
    take,
    views,
)

__all__ = [
    "activations",
    "elementwise",
    "functions",
    "index",
    "linear",
    "lookup",
    "loss",
    "random",
    "reduce",
    "rows",
    "shape",
    "take",
    "views",
]
