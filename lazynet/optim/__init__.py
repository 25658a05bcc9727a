"""Optimizers: PyTorch's formulas and options, one compiled pass over all parameters.

`SparseSGD` and `SparseAdam` change only those rows of a table that were looked up;
`lr_scheduler` changes learning rates from epoch to epoch.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from lazynet import unknown as _unknown
from lazynet.elsewhere import TORCH_OPTIM as _TORCH_OPTIM
from lazynet.optim import lr_scheduler as lr_scheduler
from lazynet.optim.adaptive import Adagrad, RMSprop
from lazynet.optim.dense import SGD, Adam, AdamW
from lazynet.optim.sparse import SparseAdam, SparseSGD
from lazynet.optimizer import Optimizer, observers

__all__ = [
    "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "SparseAdam", "SparseSGD",
    "lr_scheduler", "observers",
]  # fmt: skip

if not _TYPE_CHECKING:  # a type checker would take any name for one that is there
    __getattr__ = _unknown.tells(__name__, _TORCH_OPTIM)
