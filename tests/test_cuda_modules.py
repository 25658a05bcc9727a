"""Every module of `nn` on "cuda" against itself on the CPU, while new values live on the CPU."""

import numpy as np
import pytest
from on_cuda import MARKS

import lazynet as ln
from lazynet import nn
from lazynet.tensor import Value

pytestmark = MARKS


def row(*shape):
    return np.random.standard_normal(shape).astype("float32")


class Rows:
    """Rows of a Sequence, told from an array that is one Tensor."""

    def __init__(self, *shape):
        self.array = row(*shape)


def plain(names, make, *inputs):
    return {name: (lambda name=name: make(getattr(nn, name)), *inputs) for name in names.split()}


def image(names, *options):
    return plain(names, lambda kind: kind(*options), lambda: (row(2, 7, 7),))


def signal(names, *options):
    return plain(names, lambda kind: kind(*options), lambda: (row(2, 9),))


# name: how to make the module, then (values that become operands, other arguments).
MODULES = {
    **plain(
        "CELU ELU GELU SELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish "
        "PReLU ReLU ReLU6 Sigmoid SiLU Softplus Softshrink Softsign Tanh Tanhshrink Identity",
        lambda kind: kind(), lambda: (Rows(3, 4),),
    ),
    **plain("Softmax Softmin LogSoftmax", lambda kind: kind(-1), lambda: (Rows(3, 4),)),
    **plain("Dropout RowDropout LockedDropout GaussianNoise", lambda kind: kind(0.5),
            lambda: (Rows(3, 4),)),
    **plain("Flatten", lambda kind: kind(), lambda: (row(2, 3),)),
    **plain("Unflatten", lambda kind: kind(0, (2, 3)), lambda: (row(6),)),
    **plain("CosineSimilarity PairwiseDistance", lambda kind: kind(),
            lambda: (Rows(3, 4), Rows(3, 4))),
    **signal("CircularPad1d ReflectionPad1d ReplicationPad1d ZeroPad1d", 2),
    **image("CircularPad2d ReflectionPad2d ReplicationPad2d ZeroPad2d", 2),
    **signal("ConstantPad1d", 2, 0.5),
    **image("ConstantPad2d", 2, 0.5),
    **plain("GLU", lambda kind: kind(), lambda: (Rows(3, 4),)),
    **plain("Threshold", lambda kind: kind(0.1, 0.5), lambda: (Rows(3, 4),)),
    **plain("BatchNorm1d", lambda kind: kind(4), lambda: (Rows(5, 4),)),
    **plain("BatchNorm2d", lambda kind: kind(2), lambda: (Rows(3, 2, 4, 4),)),
    **plain("InstanceNorm1d", lambda kind: kind(4), lambda: (Rows(5, 4),)),
    **plain("InstanceNorm2d", lambda kind: kind(2), lambda: (Rows(3, 2, 4, 4),)),
    **plain("Linear", lambda kind: kind(4, 3), lambda: (Rows(3, 4),)),
    **plain("Bilinear", lambda kind: kind(4, 3, 2), lambda: (Rows(3, 4), Rows(3, 3))),
    **plain("Embedding", lambda kind: kind(5, 3), lambda: ([1, 4, 1],)),
    **plain("EmbeddingBag", lambda kind: kind(5, 3), lambda: ([[1, 4], [], [2]],)),
    "EmbeddingBag padded": (
        lambda: nn.EmbeddingBag(5, 3, padding_idx=1), lambda: ([[1, 4], [1], [2]],)
    ),
    "EmbeddingBag max": (lambda: nn.EmbeddingBag(5, 3, mode="max"), lambda: ([[1, 4], [], [2]],)),
    "EmbeddingBag mean": (lambda: nn.EmbeddingBag(5, 3, mode="mean"), lambda: ([[1, 4], [2]],)),
    **plain("LayerNorm RMSNorm", lambda kind: kind(4), lambda: (Rows(3, 4),)),
    **plain("GroupNorm", lambda kind: kind(2, 4), lambda: (row(4, 3),)),
    **signal("Conv1d ConvTranspose1d", 2, 3, 3),
    **image("Conv2d ConvTranspose2d", 2, 3, 3),
    "Conv1d over rows": (lambda: nn.Conv1d(4, 3, 3, padding=1), lambda: (Rows(5, 4),)),
    **plain("KMaxPool", lambda kind: kind(2), lambda: (Rows(5, 4),)),
    **signal("MaxPool1d AvgPool1d", 3, 2, 1),
    **image("MaxPool2d AvgPool2d", 3, 2, 1),
    **signal("AdaptiveAvgPool1d AdaptiveMaxPool1d", 4),
    **image("AdaptiveAvgPool2d AdaptiveMaxPool2d", (3, 2)),
    **plain("RNN GRU LSTM", lambda kind: kind(4, 3, bidirectional=True), lambda: (Rows(5, 4),)),
    **plain("CoupledLSTM LayerNormLSTM", lambda kind: kind(4, 3), lambda: (Rows(5, 4),)),
    **plain("RNNCell GRUCell LSTMCell CoupledLSTMCell LayerNormLSTMCell",
            lambda kind: kind(4, 3), lambda: (row(4),)),
    **plain("TreeLSTMCell", lambda kind: kind(4, 3, 2), lambda: (row(4), [])),
    **plain("TreeLSTM", lambda kind: kind(4, 3, 2),
            lambda: (Rows(2, 4), [(), (), (0, 1)])),
    **plain("ChildSumTreeLSTM", lambda kind: kind(4, 3),
            lambda: (Rows(4, 4), [(), (0,), (), (0, 1, 2)])),
    **plain("ChildSumTreeLSTMCell", lambda kind: kind(4, 3),
            lambda: (row(4), [(row(3), row(3)), (row(3), row(3))])),
    **plain("MultiheadAttention", lambda kind: kind(4, 2), lambda: (Rows(3, 4),) * 3),
    **plain("TransformerEncoderLayer", lambda kind: kind(4, 2, 6), lambda: (Rows(3, 4),)),
    **plain("TransformerDecoderLayer", lambda kind: kind(4, 2, 6),
            lambda: (Rows(3, 4), Rows(2, 4))),
    **plain("SinusoidalPositions", lambda kind: kind(4), lambda: (Rows(3, 4),)),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6), 2),
        lambda: (Rows(3, 4),),
    ),
    "TransformerDecoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6), 2),
        lambda: (Rows(3, 4), Rows(2, 4)),
    ),
    **plain("Transformer", lambda kind: kind(4, 2, 1, 1, 6), lambda: (Rows(3, 4), Rows(2, 4))),
    **plain("CRF", lambda kind: kind(3), lambda: (Rows(4, 3), [0, 2, 1, 1])),
    **plain("CrossEntropyLoss NLLLoss MultiMarginLoss", lambda kind: kind(),
            lambda: (Rows(3, 4), [1, 0, 3])),
    "CrossEntropyLoss smoothed": (
        lambda: nn.CrossEntropyLoss(weight=[1.0, 2.0, 0.5, 1.0], label_smoothing=0.1),
        lambda: (Rows(3, 4), [1, 0, 3]),
    ),
    **plain("BCEWithLogitsLoss HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss MSELoss SmoothL1Loss "
            "PoissonNLLLoss", lambda kind: kind(), lambda: (Rows(3, 4), Rows(3, 4))),
    **plain("CTCLoss", lambda kind: kind(), lambda: (Rows(6, 4), [1, 3, 3])),
    **plain("SoftMarginLoss MultiLabelSoftMarginLoss", lambda kind: kind(),
            lambda: (Rows(3, 4), Rows(3, 4))),
    "BCELoss": (lambda: nn.BCELoss(), lambda: (row(3) * 0.1 + 0.5, row(3) * 0.1 + 0.5)),
    "GaussianNLLLoss": (
        lambda: nn.GaussianNLLLoss(), lambda: (row(3), row(3), abs(row(3)) + 0.5)
    ),
    "CosineEmbeddingLoss": (lambda: nn.CosineEmbeddingLoss(), lambda: (row(3), row(3), 1)),
    "MarginRankingLoss": (lambda: nn.MarginRankingLoss(), lambda: (row(3), row(3), row(3))),
    "TripletMarginLoss": (lambda: nn.TripletMarginLoss(), lambda: (row(3), row(3), row(3))),
    "AdaptiveLogSoftmaxWithLoss": (
        lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 8, [2, 5], div_value=1.5),
        lambda: (Rows(3, 4), [0, 3, 7]),
    ),
    "ClassFactoredSoftmax": (
        lambda: nn.ClassFactoredSoftmax(4, [0, 0, 1, 1, 1]), lambda: (Rows(3, 4), [0, 3, 4])
    ),
    "HierarchicalSoftmax": (
        lambda: nn.HierarchicalSoftmax(4, nn.huffman_paths([1, 2, 3, 4])),
        lambda: (Rows(3, 4), [0, 3, 1]),
    ),
    "Sequential": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh()), lambda: (Rows(3, 4),)),
}  # fmt: skip
# Modules that compute nothing by themselves.
CONTAINERS = {
    "Module", "ModuleDict", "ModuleList", "KeyValueCache", "Parameter", "ParameterDict",
    "ParameterList",
}  # fmt: skip


def test_every_module_is_in_the_table():
    """So that whoever adds a module learns whether it runs on CUDA."""
    named = {name for name, kind in vars(nn).items() if isinstance(kind, type)}
    assert named - CONTAINERS == {name.split()[0] for name in MODULES}


def placed(x, device):
    if isinstance(x, Rows):
        return ln.sequence(ln.tensor(x.array, requires_grad=True, device=device))
    if isinstance(x, np.ndarray):
        return ln.tensor(x, requires_grad=True, device=device)
    if isinstance(x, (list, tuple)) and x and isinstance(x[0], (tuple, np.ndarray)):
        return type(x)(placed(part, device) for part in x)
    return x


def values_in(x):
    if isinstance(x, Value):
        return [x]
    return [v for part in x for v in values_in(part)] if isinstance(x, (list, tuple)) else []


@pytest.mark.parametrize("name", MODULES)
def test_values_and_gradients_agree(name):
    make, inputs = MODULES[name]
    found = []
    for device in ("cpu", "cuda"):
        np.random.seed(1)
        ln.manual_seed(1)
        module = make()
        np.random.seed(2)
        operands = [placed(x, device) for x in inputs()]
        module.to(device)
        outputs = [y for y in values_in(module(*operands)) if y.dtype.kind == "f"]
        assert {y.device for y in outputs} == {"cpu" if device == "cpu" else "cuda:0"}
        ln.sum([ln.sum(y * y) for y in outputs]).backward()
        leaves = [*values_in(operands), *module.parameters()]
        arrays = [y.numpy() for y in outputs]
        arrays += [np.asarray(x.graph.gradient) for x in leaves if x.graph.gradient is not None]
        found.append(arrays)
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-5)
