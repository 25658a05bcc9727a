"""Losses as modules; see `nn.functional` for their formulas."""

from __future__ import annotations

from typing import Any

from lazynet.nn import functional as F
from lazynet.nn.module import Module


class _Loss(Module):
    """function(*values, **options)."""

    function: Any = None
    defaults: dict[str, Any] = {}
    positional: tuple[str, ...] = ()

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__()
        if len(given) > len(self.positional):
            raise TypeError(
                f"{type(self).__name__} takes {', '.join(self.positional) or 'nothing'} by "
                f"position, and by name {', '.join(self.defaults)}"
            )
        twice = set(options) & set(self.positional[: len(given)])
        if twice:
            raise TypeError(f"{type(self).__name__}: {', '.join(sorted(twice))} is given twice")
        options |= dict(zip(self.positional, given, strict=False))
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


def _module(
    function: Any, made: str, given: str, result: float, positional: int = 0, **defaults: Any
) -> Any:
    """The module of a function; `made`, called on what is given, gives the result: its example.

    Args:
        positional: how many of the first options may be given by position, as in PyTorch.
    """
    told = (function.__doc__ or "").split("\n\n")[0]
    body = {
        "function": staticmethod(function), "defaults": {"reduction": "mean", **defaults},
        "positional": tuple(defaults)[:positional],
        "__module__": __name__, "__doc__": f"""{told}

    Shapes, options and errors as `nn.functional.{function.__name__}`.

    >>> loss = nn.{made}
    >>> round(float(loss({given})), 4)
    {result}
    """,
    }  # fmt: skip
    return type(made.partition("(")[0], (_Loss,), body)


CrossEntropyLoss = _module(
    F.cross_entropy, "CrossEntropyLoss()", "ln.zeros(2), 1", 0.6931,
    positional=1, weight=None, ignore_index=-100, label_smoothing=0.0,
)  # fmt: skip
NLLLoss = _module(
    F.nll_loss, "NLLLoss()", "ln.tensor([-1.0, -2.0]), 1", 2.0,
    positional=1, weight=None, ignore_index=-100,
)  # fmt: skip
MSELoss = _module(F.mse_loss, "MSELoss()", "ln.tensor([1.0, 3.0]), ln.ones(2)", 2.0)
L1Loss = _module(F.l1_loss, 'L1Loss(reduction="sum")', "ln.tensor([1.0, 3.0]), ln.ones(2)", 2.0)
SmoothL1Loss = _module(
    F.smooth_l1_loss, "SmoothL1Loss()", "ln.tensor([3.0]), ln.ones(1)", 1.5, beta=1.0
)
HuberLoss = _module(
    F.huber_loss, "HuberLoss(delta=2.0)", "ln.tensor([4.0]), ln.ones(1)", 4.0, delta=1.0
)
BCELoss = _module(
    F.binary_cross_entropy, "BCELoss()", "ln.tensor([0.5]), ln.ones(1)", 0.6931,
    positional=1, weight=None,
)  # fmt: skip
BCEWithLogitsLoss = _module(
    F.binary_cross_entropy_with_logits, "BCEWithLogitsLoss()",
    "ln.zeros(1), ln.ones(1)", 0.6931, positional=1, weight=None, pos_weight=None,
)  # fmt: skip
HingeEmbeddingLoss = _module(
    F.hinge_embedding_loss, "HingeEmbeddingLoss()", "ln.tensor([0.25]), -ln.ones(1)", 0.75,
    positional=1, margin=1.0,
)  # fmt: skip
MultiMarginLoss = _module(
    F.multi_margin_loss, "MultiMarginLoss()", "ln.tensor([1.0, 0.5]), 0", 0.25,
    positional=3, p=1, margin=1.0, weight=None,
)  # fmt: skip
MarginRankingLoss = _module(
    F.margin_ranking_loss, "MarginRankingLoss()", "ln.ones(1), ln.tensor([3.0]), 1.0", 2.0,
    positional=1, margin=0.0,
)  # fmt: skip
TripletMarginLoss = _module(
    F.triplet_margin_loss, "TripletMarginLoss(margin=2.0)",
    "ln.ones(1), ln.ones(1), ln.ones(1)", 2.0, positional=4, margin=1.0, p=2.0, eps=1e-6,
    swap=False,
)  # fmt: skip
CosineEmbeddingLoss = _module(
    F.cosine_embedding_loss, "CosineEmbeddingLoss()", "ln.ones(2), ln.ones(2), -1.0", 1.0,
    positional=1, margin=0.0,
)  # fmt: skip
KLDivLoss = _module(
    F.kl_div, 'KLDivLoss(reduction="batchmean")',
    "ln.tensor([-1.0, -1.0]), ln.tensor([1.0, 0.0])", 1.0, log_target=False,
)  # fmt: skip
PoissonNLLLoss = _module(
    F.poisson_nll_loss, "PoissonNLLLoss()", "ln.zeros(1), ln.tensor([2.0])", 1.0,
    positional=2, log_input=True, full=False, eps=1e-8,
)  # fmt: skip
GaussianNLLLoss = _module(
    F.gaussian_nll_loss, "GaussianNLLLoss()", "ln.ones(1), ln.zeros(1), ln.ones(1)", 0.5,
    full=False, eps=1e-6,
)  # fmt: skip
SoftMarginLoss = _module(F.soft_margin_loss, "SoftMarginLoss()", "ln.zeros(1), ln.ones(1)", 0.6931)
MultiLabelSoftMarginLoss = _module(
    F.multilabel_soft_margin_loss, "MultiLabelSoftMarginLoss()",
    "ln.zeros(2), ln.tensor([1.0, 0.0])", 0.6931, positional=1, weight=None,
)  # fmt: skip
CTCLoss = _module(
    F.ctc_loss, "CTCLoss()", "ln.zeros(2, length=3).log_softmax(), [1]", 0.2877,
    positional=1, blank=0, zero_infinity=False,
)  # fmt: skip
