"""The ops, one file a family; each op is one block. Importing this room registers them all."""

from lazynet.ops import (
    activations,
    decompositions,
    elementwise,
    functions,
    index,
    linear,
    lookup,
    loss,
    products,
    random,
    reduce,
    rows,
    shape,
    statistics,
    take,
    views,
)

__all__ = [
    "activations",
    "decompositions",
    "elementwise",
    "functions",
    "index",
    "linear",
    "lookup",
    "loss",
    "products",
    "random",
    "reduce",
    "rows",
    "shape",
    "statistics",
    "take",
    "views",
]
