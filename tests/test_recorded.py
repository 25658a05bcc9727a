"""Modules with PyTorch's names and shapes of weights give the outputs that it gave (2.13, float64).

All weights and inputs are sines of their positions; the outputs were written down once.
"""

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn


def filled(shape, k):
    """0.4 sin(0.7 n + k + 1) for element n."""
    return (0.4 * np.sin(0.7 * np.arange(int(np.prod(shape))) + k + 1)).reshape(shape)


def given(*shape):
    return ln.tensor(2.0 * filled(shape, 100))


def rows(*shape):
    return ln.sequence(given(*shape))


# name: how to make the module, and its input.
MODULES = {
    "Linear": (lambda: nn.Linear(3, 2), lambda: [given(3)]),
    "Bilinear": (lambda: nn.Bilinear(2, 3, 2), lambda: [given(2), given(3)]),
    "Conv1d": (lambda: nn.Conv1d(2, 2, 2, padding=1), lambda: [given(2, 3)]),
    "Conv2d": (lambda: nn.Conv2d(1, 2, 2), lambda: [given(1, 3, 3)]),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(2, 1, 2, 2), lambda: [given(2, 3)]),
    "LayerNorm": (lambda: nn.LayerNorm(4), lambda: [given(4)]),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), lambda: [given(4, 2)]),
    "PReLU": (lambda: nn.PReLU(), lambda: [given(3)]),
    "RNN": (lambda: nn.RNN(2, 2), lambda: [rows(3, 2)]),
    "GRU": (lambda: nn.GRU(2, 2, num_layers=2), lambda: [rows(3, 2)]),
    "LSTM": (lambda: nn.LSTM(2, 2, bidirectional=True), lambda: [rows(3, 2)]),
    "LSTM proj": (lambda: nn.LSTM(2, 3, proj_size=2), lambda: [rows(3, 2)]),
    "RNNCell": (lambda: nn.RNNCell(2, 2), lambda: [given(2)]),
    "GRUCell": (lambda: nn.GRUCell(2, 2), lambda: [given(2)]),
    "LSTMCell": (lambda: nn.LSTMCell(2, 2), lambda: [given(2)]),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2), lambda: [rows(3, 4)] * 3),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(4, 2, 6, 0.0),
        lambda: [rows(3, 4)],
    ),
}
RECORDED = {
    "Linear": [0.5158251, -0.2308927],
    "Bilinear": [-0.0606667, 0.6852384],
    "Conv1d": [
        0.2565429, 0.5829655, 0.9382855, 0.6749202, 0.3948953, 0.0068459, -0.2454227,
        0.1115399,
    ],
    "Conv2d": [
        0.5829655, 0.9382855, 0.7659439, 0.3193371, 0.0068459, -0.2454227, 0.1326111,
        0.5851182,
    ],
    "ConvTranspose1d": [0.4238133, 0.2565429, 0.6147875, 0.4957405, 0.6749202, 0.6600864],
    "LayerNorm": [-0.0959117, 0.5519981, 0.1610637, 0.2742519],
    "GroupNorm": [
        -0.0959117, 0.6670746, 0.5791664, 0.2621132, 0.1013884, 0.2930275, 0.3545966,
        0.1460343,
    ],
    "PReLU": [0.3616206, 0.736299, 0.7646844],
    "RNN": [0.2879599, 0.3818199, 0.2267853, 0.0486224, 0.748331, 0.4911934],
    "GRU": [0.0140375, 0.1334167, 0.0175018, 0.1873578, -0.0722739, 0.1911439],
    "LSTM": [
        -0.072394, 0.0239437, 0.0722783, 0.0753386, -0.1228844, 0.0518188, 0.0514211,
        0.0645815, -0.1963222, -0.1186203, -0.1297198, 0.0196037,
    ],
    "LSTM proj": [-0.0696608, 0.0481059, -0.109128, 0.0736534, -0.0041841, 0.0957198],
    "RNNCell": [0.2879599, 0.3818199],
    "GRUCell": [-0.2461838, -0.3593968],
    "LSTMCell": [-0.1687938, -0.2704325],
    "MultiheadAttention": [
        -0.2838962, 0.1743462, -0.7682212, -0.0262328, -0.272022, 0.1477811, -0.7300348,
        -0.0716277, -0.2668284, 0.163755, -0.7653304, -0.021089,
    ],
    "TransformerEncoderLayer": [
        -0.3239118, 0.3867314, 0.3436852, -0.2045207, -0.1241536, 0.4134772, 0.3349896,
        -0.2724852, -0.2437063, 0.2561041, 0.3460429, -0.2175256,
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_outputs_are_those_that_were_recorded(name):
    make, inputs = MODULES[name]
    module = make().double().eval()
    state = sorted(module.state_dict().items())
    module.load_state_dict({key: filled(v.shape, k) for k, (key, v) in enumerate(state)})
    y = module(*inputs())
    y = y[0] if isinstance(y, tuple) else y
    np.testing.assert_allclose(y.numpy().ravel(), RECORDED[name], atol=1e-7)
