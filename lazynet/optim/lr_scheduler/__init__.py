"""Learning rates that change from epoch to epoch: PyTorch's schedules, step by step.

`step()` after each epoch (or batch) sets the `lr` of every group of an optimizer. `initial_lr` of a
group, which is part of the optimizer's state, is where its schedule starts from.
"""

from lazynet.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from lazynet.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from lazynet.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from lazynet.optim.lr_scheduler.formulas import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from lazynet.optim.lr_scheduler.plateau import ReduceLROnPlateau
from lazynet.optim.lr_scheduler.schedule import LRScheduler

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR",
    "StepLR",
]  # fmt: skip
