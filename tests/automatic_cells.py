"""What tests of modules whose `forward` becomes a cell by itself share."""

import lazynet as ln
from lazynet import nn
from lazynet.automatic import AutomaticCell


def given():
    return ln.tensor([1.0, -2.0, 3.0]), ln.tensor([0.5, 0.25, -1.0])


def own(forward, *bases, **members):
    """A module of a class of its own with that forward."""
    return type("Own", (*bases, nn.Module), {"forward": forward, **members})()


def settled(module):
    """The module after so many calls that its forward is a cell, or never will be one."""
    for _ in range(9):
        module(*given())
    return module


def is_cell(kind):
    return isinstance(vars(kind)["forward"], AutomaticCell)
