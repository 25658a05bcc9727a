"""Optimizers: PyTorch's formulas and options, one compiled pass over all parameters.

`SparseSGD` and `SparseAdam` change only those rows of a table that were looked up;
`lr_scheduler` changes learning rates from epoch to epoch.
"""

from lazynet.optim import lr_scheduler as lr_scheduler
from lazynet.optim.adaptive import Adagrad, RMSprop
from lazynet.optim.dense import SGD, Adam, AdamW
from lazynet.optim.sparse import SparseAdam, SparseSGD
from lazynet.optimizer import Optimizer, observers

__all__ = [
    "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "SparseAdam", "SparseSGD",
    "lr_scheduler", "observers",
]  # fmt: skip
