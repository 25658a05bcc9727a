"""Losses as modules: PyTorch's values, options and their order, and what mistakes are told."""

import numpy as np
import pytest
from checks import normal, share, signs

import lazynet as ln
from lazynet import nn

F = nn.functional
REDUCTIONS = ("mean", "sum", "none")
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")


MODULES = {
    "CrossEntropyLoss": (
        [{}, {"label_smoothing": 0.1}, {"ignore_index": 1}, {"reduction": "sum"}], (normal(5, 4),),
    ),
    "NLLLoss": ([{}, {"reduction": "none"}], (normal(5, 4),)),
    "MultiMarginLoss": ([{}, {"p": 2, "margin": 0.5}], (normal(5, 4),)),
    "MSELoss": ([{}, {"reduction": "none"}], (normal(5, 4), normal(5, 4))),
    "L1Loss": ([{}], (normal(5, 4), normal(5, 4))),
    "SmoothL1Loss": ([{}, {"beta": 0.3}], (normal(5, 4), normal(5, 4))),
    "HuberLoss": ([{}, {"delta": 0.3}], (normal(5, 4), normal(5, 4))),
    "BCELoss": ([{}], (share(5, 4), share(5, 4))),
    "BCEWithLogitsLoss": ([{}], (normal(5, 4), share(5, 4))),
    "HingeEmbeddingLoss": ([{}, {"margin": 0.2}], (normal(5, 4), signs(5, 4))),
    "MarginRankingLoss": ([{}, {"margin": 0.2}], (normal(5), normal(5), signs(5))),
    "TripletMarginLoss": (
        [{}, {"p": 1.0, "swap": True}], (normal(5, 4), normal(5, 4), normal(5, 4)),
    ),
    "CosineEmbeddingLoss": ([{}, {"margin": 0.2}], (normal(5, 4), normal(5, 4), signs(5))),
    "KLDivLoss": ([{}, {"log_target": True}, {"reduction": "batchmean"}],
                  (normal(5, 4), share(5, 4))),
    "PoissonNLLLoss": ([{}, {"log_input": False}, {"full": True}], (share(5, 4), 4 * share(5, 4))),
    "GaussianNLLLoss": ([{}, {"full": True}], (normal(5, 4), normal(5, 4), share(5, 4))),
    "SoftMarginLoss": ([{}], (normal(5, 4), signs(5, 4))),
    "MultiLabelSoftMarginLoss": ([{}], (normal(5, 4), share(5, 4))),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_modules_give_what_pytorch_s_give(torch, name):
    for options in MODULES[name][0]:
        arrays = MODULES[name][1]
        ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
        mine, other = [*map(ln.sequence, arrays)], [*map(torch.tensor, arrays)]
        if len(arrays) == 1:
            mine.append([3, 1, 0, 1, 2])
            other.append(torch.tensor(mine[-1]))
        np.testing.assert_allclose(ours(*mine).numpy(), theirs(*other).numpy(), rtol=1e-9)
        assert list(ours.state_dict()) == []
        for option, value in options.items():
            assert f"{option}={value!r}" in repr(ours)


CLASS_WEIGHTS = np.array([0.5, 1.0, 2.0, 1.0])
POSITIONAL = {
    "CrossEntropyLoss": [CLASS_WEIGHTS], "NLLLoss": [CLASS_WEIGHTS], "BCELoss": [CLASS_WEIGHTS],
    "BCEWithLogitsLoss": [CLASS_WEIGHTS], "MultiLabelSoftMarginLoss": [CLASS_WEIGHTS],
    "MultiMarginLoss": [2, 0.5], "TripletMarginLoss": [0.5, 1.0], "MarginRankingLoss": [0.5],
    "CosineEmbeddingLoss": [0.2], "HingeEmbeddingLoss": [0.2], "PoissonNLLLoss": [False, True],
}  # fmt: skip


@pytest.mark.parametrize("name", POSITIONAL)
def test_options_by_position_are_pytorch_s(torch, name):
    given, arrays = POSITIONAL[name], MODULES[name][1]
    ours = getattr(nn, name)(*given)
    theirs = getattr(torch.nn, name)(
        *(torch.tensor(g) if isinstance(g, np.ndarray) else g for g in given)
    )
    mine, other = [*map(ln.sequence, arrays)], [*map(torch.tensor, arrays)]
    if len(arrays) == 1:
        mine.append([3, 1, 0, 1, 2])
        other.append(torch.tensor(mine[-1]))
    np.testing.assert_allclose(ours(*mine).numpy(), theirs(*other).numpy(), rtol=1e-9)


def test_losses_are_modules_with_known_options():
    with pytest.raises(TypeError, match="CrossEntropyLoss takes weight by position, and"):
        nn.CrossEntropyLoss(None, None)
    with pytest.raises(TypeError, match="MSELoss takes nothing by position"):
        nn.MSELoss("sum")
    with pytest.raises(TypeError, match="MarginRankingLoss: margin is given twice"):
        nn.MarginRankingLoss(1.0, margin=2.0)
    with pytest.raises(TypeError, match="MSELoss takes reduction, not beta"):
        nn.MSELoss(beta=1.0)


ROW, ROWS = ln.zeros(3), ln.sequence(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: F.mse_loss(ROW, ln.zeros(4)), ln.ShapeError, r"mse_loss: values of \(3,\)"),
        (lambda: F.mse_loss(ROWS, ROWS[:1]), ln.ShapeError, r"mse_loss: values of \(2, 3\)"),
        (lambda: F.mse_loss(ROW, ROW, "max"), ValueError, "mse_loss: expected a reduction 'mean'"),
        (lambda: F.l1_loss(ROW, ROW, weight=ln.ones(2)), ln.ShapeError, r"l1_loss: a weight of"),
        (lambda: F.l1_loss(ln.tensor([1]), ln.tensor([1])), TypeError, "l1_loss: expected float"),
        (lambda: F.huber_loss(ROW, ROW, delta=0.0), ValueError, "huber_loss: delta must be posi"),
        (lambda: F.smooth_l1_loss(ROW, ROW, beta=-1.0), ValueError, "smooth_l1_loss: beta must"),
        (lambda: F.nll_loss(ROW, [1]), ln.ShapeError, "nll_loss: a list of targets needs a Seq"),
        (lambda: F.nll_loss(ROWS, 1), ln.ShapeError, "nll_loss: a Sequence of 2 rows needs a list"),
        (lambda: F.nll_loss(ROWS, [1]), ln.ShapeError, "nll_loss: 1 targets for a Sequence of 2"),
        (lambda: F.nll_loss(ROWS, [1, 3]), IndexError, "nll_loss: index 3 is out of range"),
        (lambda: F.nll_loss(ROW, -1), IndexError, "nll_loss: index -1 is out of range"),
        (lambda: F.nll_loss(ROW, 1, weight=[1.0]), ln.ShapeError, "nll_loss: expected a weight"),
        (lambda: F.nll_loss(ROWS, [1, 9], weight=np.ones(3)), IndexError, "nll_loss: index 9"),
        (lambda: F.cross_entropy(ROWS, [1, 3]), IndexError, "cross_entropy: index 3"),
        (lambda: F.cross_entropy(ROWS, [1, 3], "sum", label_smoothing=0.1), IndexError,
         "cross_entropy: index 3"),
        (lambda: F.cross_entropy(ROW, 1, label_smoothing=2.0), ValueError, "label_smoothing must"),
        (lambda: F.cross_entropy(ROWS, np.zeros((2, 4))), ln.ShapeError, "targets of"),
        (lambda: F.cross_entropy(ln.zeros(2, 3), 1), ln.ShapeError, "cross_entropy: expected"),
        (lambda: F.multi_margin_loss(ROW, 1, p=3), ValueError, "p must be 1 or 2"),
        (lambda: F.cosine_similarity(ln.tensor(1.0), ROW), ln.ShapeError, "cosine_similarity"),
        (lambda: F.cosine_similarity(ROW, ln.ones(1)), ln.ShapeError,
         r"^cosine_similarity: .* of \(3,\) and \(1,\)"),
        (lambda: F.cosine_similarity(ROWS, ROW, 0), ln.ShapeError, "elements along axis -2 of"),
        (lambda: F.cosine_similarity(ROW, ROW, 1), ln.ShapeError, "no axis 1"),
        (lambda: F.pairwise_distance(ROW, ln.ones(1)), ln.ShapeError, "pairwise_distance: expect"),
        (lambda: F.cosine_embedding_loss(ROW, ln.ones(1), 1), ln.ShapeError, "along axis -1"),
        (lambda: F.margin_ranking_loss(ROW, ln.zeros(2), ROW), ln.ShapeError, "margin_ranking"),
        (lambda: F.cosine_embedding_loss(ROWS, ROWS, ROWS[:1]), ln.ShapeError, "1 targets for 2"),
    ],
)  # fmt: skip
def test_mistakes_are_told(call, error, told):
    with pytest.raises(error, match=told):
        call()
