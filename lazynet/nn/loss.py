"""Losses as modules; see `nn.functional` for their formulas."""

from __future__ import annotations

from typing import Any

from lazynet.nn import functional as F
from lazynet.nn.module import Module


class _Loss(Module):
    """function(*values, **options)."""

    function: Any = None
    defaults: dict[str, Any] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__()
        unknown = set(options) - set(self.defaults)
        if unknown:
            known = ", ".join(self.defaults)
            raise TypeError(
                f"{type(self).__name__} takes {known}, not {', '.join(sorted(unknown))}"
            )
        for name, value in (self.defaults | options).items():
            setattr(self, name, value)

    def forward(self, *values: Any) -> Any:
        return type(self).function(*values, **{name: getattr(self, name) for name in self.defaults})

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.defaults)


def _module(name: str, function: Any, **defaults: Any) -> Any:
    told = (function.__doc__ or "").split("\n\n")[0]
    body = {
        "function": staticmethod(function), "defaults": {"reduction": "mean", **defaults},
        "__module__": __name__, "__doc__": told,
    }  # fmt: skip
    return type(name, (_Loss,), body)


CrossEntropyLoss = _module(
    "CrossEntropyLoss", F.cross_entropy, weight=None, ignore_index=-100, label_smoothing=0.0
)
NLLLoss = _module("NLLLoss", F.nll_loss, weight=None, ignore_index=-100)
MSELoss, L1Loss = _module("MSELoss", F.mse_loss), _module("L1Loss", F.l1_loss)
SmoothL1Loss = _module("SmoothL1Loss", F.smooth_l1_loss, beta=1.0)
HuberLoss = _module("HuberLoss", F.huber_loss, delta=1.0)
BCELoss = _module("BCELoss", F.binary_cross_entropy, weight=None)
BCEWithLogitsLoss = _module(
    "BCEWithLogitsLoss", F.binary_cross_entropy_with_logits, weight=None, pos_weight=None
)
HingeEmbeddingLoss = _module("HingeEmbeddingLoss", F.hinge_embedding_loss, margin=1.0)
MultiMarginLoss = _module("MultiMarginLoss", F.multi_margin_loss, p=1, margin=1.0, weight=None)
MarginRankingLoss = _module("MarginRankingLoss", F.margin_ranking_loss, margin=0.0)
TripletMarginLoss = _module(
    "TripletMarginLoss", F.triplet_margin_loss, margin=1.0, p=2.0, eps=1e-6, swap=False
)
CosineEmbeddingLoss = _module("CosineEmbeddingLoss", F.cosine_embedding_loss, margin=0.0)
KLDivLoss = _module("KLDivLoss", F.kl_div, log_target=False)
PoissonNLLLoss = _module("PoissonNLLLoss", F.poisson_nll_loss, log_input=True, full=False, eps=1e-8)
GaussianNLLLoss = _module("GaussianNLLLoss", F.gaussian_nll_loss, full=False, eps=1e-6)
SoftMarginLoss = _module("SoftMarginLoss", F.soft_margin_loss)
MultiLabelSoftMarginLoss = _module(
    "MultiLabelSoftMarginLoss", F.multilabel_soft_margin_loss, weight=None
)
CTCLoss = _module("CTCLoss", F.ctc_loss, blank=0, zero_infinity=False)
