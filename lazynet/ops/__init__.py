"""The ops, one file a family; each op is one block. Importing this room registers them all."""

from lazynet.ops import elementwise, linear, lookup, loss, random, reduce, rows, views

__all__ = ["elementwise", "linear", "lookup", "loss", "random", "reduce", "rows", "views"]
