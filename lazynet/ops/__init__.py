"""The ops, one file a family; each op is one block. Importing this room registers them all."""

from lazynet.ops import elementwise, linear, loss, random, reduce, rows

__all__ = ["elementwise", "linear", "loss", "random", "reduce", "rows"]
