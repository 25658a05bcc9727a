"""Functions of rows under PyTorch's names; a Sequence is taken row by row."""

from __future__ import annotations

from typing import Any

from lazynet.ops import lookup, told
from lazynet.ops.activations import celu as celu
from lazynet.ops.activations import elu as elu
from lazynet.ops.activations import gelu as gelu
from lazynet.ops.activations import glu as glu
from lazynet.ops.activations import hardshrink as hardshrink
from lazynet.ops.activations import hardsigmoid as hardsigmoid
from lazynet.ops.activations import hardswish as hardswish
from lazynet.ops.activations import hardtanh as hardtanh
from lazynet.ops.activations import leaky_relu as leaky_relu
from lazynet.ops.activations import logsigmoid as logsigmoid
from lazynet.ops.activations import mish as mish
from lazynet.ops.activations import relu6 as relu6
from lazynet.ops.activations import selu as selu
from lazynet.ops.activations import silu as silu
from lazynet.ops.activations import softplus as softplus
from lazynet.ops.activations import softshrink as softshrink
from lazynet.ops.activations import softsign as softsign
from lazynet.ops.activations import tanhshrink as tanhshrink
from lazynet.ops.activations import threshold as threshold
from lazynet.ops.alignment import ctc_loss as ctc_loss
from lazynet.ops.attention import scaled_dot_product_attention as scaled_dot_product_attention
from lazynet.ops.convolution import conv1d as conv1d
from lazynet.ops.convolution import conv2d as conv2d
from lazynet.ops.convolution import conv_transpose1d as conv_transpose1d
from lazynet.ops.convolution import conv_transpose2d as conv_transpose2d
from lazynet.ops.distances import cosine_embedding_loss as cosine_embedding_loss
from lazynet.ops.distances import cosine_similarity as cosine_similarity
from lazynet.ops.distances import pairwise_distance as pairwise_distance
from lazynet.ops.distances import triplet_margin_loss as triplet_margin_loss
from lazynet.ops.elementwise import relu as relu
from lazynet.ops.elementwise import sigmoid as sigmoid
from lazynet.ops.elementwise import tanh as tanh
from lazynet.ops.index import one_hot as one_hot
from lazynet.ops.linear import linear as linear
from lazynet.ops.loss import cross_entropy as cross_entropy
from lazynet.ops.loss import multi_margin_loss as multi_margin_loss
from lazynet.ops.loss import nll_loss as nll_loss
from lazynet.ops.losses import binary_cross_entropy as binary_cross_entropy
from lazynet.ops.losses import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from lazynet.ops.losses import gaussian_nll_loss as gaussian_nll_loss
from lazynet.ops.losses import hinge_embedding_loss as hinge_embedding_loss
from lazynet.ops.losses import huber_loss as huber_loss
from lazynet.ops.losses import kl_div as kl_div
from lazynet.ops.losses import l1_loss as l1_loss
from lazynet.ops.losses import margin_ranking_loss as margin_ranking_loss
from lazynet.ops.losses import mse_loss as mse_loss
from lazynet.ops.losses import multilabel_soft_margin_loss as multilabel_soft_margin_loss
from lazynet.ops.losses import poisson_nll_loss as poisson_nll_loss
from lazynet.ops.losses import smooth_l1_loss as smooth_l1_loss
from lazynet.ops.losses import soft_margin_loss as soft_margin_loss
from lazynet.ops.noise import dropout as dropout
from lazynet.ops.normalization import batch_norm as batch_norm
from lazynet.ops.normalization import group_norm as group_norm
from lazynet.ops.normalization import instance_norm as instance_norm
from lazynet.ops.normalization import layer_norm as layer_norm
from lazynet.ops.normalization import normalize as normalize
from lazynet.ops.normalization import rms_norm as rms_norm
from lazynet.ops.pooling import adaptive_avg_pool1d as adaptive_avg_pool1d
from lazynet.ops.pooling import adaptive_avg_pool2d as adaptive_avg_pool2d
from lazynet.ops.pooling import adaptive_max_pool1d as adaptive_max_pool1d
from lazynet.ops.pooling import adaptive_max_pool2d as adaptive_max_pool2d
from lazynet.ops.pooling import avg_pool1d as avg_pool1d
from lazynet.ops.pooling import avg_pool2d as avg_pool2d
from lazynet.ops.pooling import max_pool1d as max_pool1d
from lazynet.ops.pooling import max_pool2d as max_pool2d
from lazynet.ops.products import bilinear as bilinear
from lazynet.ops.random import gumbel_softmax as gumbel_softmax
from lazynet.ops.shape import pad as pad
from lazynet.ops.softmax import log_softmax as log_softmax
from lazynet.ops.softmax import softmax as softmax
from lazynet.ops.sorting import k_max_pool as k_max_pool
from lazynet.parameter import Parameter


@told.told
def embedding(index: Any, weight: Parameter, padding_idx: int | None = None) -> Any:
    """y = weight[index]: an integer gives a Tensor, a list of integers a Sequence.

    Shapes: an integer -> (dim,); n integers -> n rows of (dim,).

    No gradient reaches the row of `padding_idx`.

    >>> table = ln.Parameter([[1.0, 2.0], [3.0, 4.0]])
    >>> nn.functional.embedding([1, 0], table).tolist()
    [[3.0, 4.0], [1.0, 2.0]]

    Raises:
        IndexError: on this line, if an index is out of range.
    """
    if padding_idx is not None:
        padding_idx = lookup.padding_row("embedding", padding_idx, weight.shape[0])
    return lookup.without_padding(lookup.lookup(weight, index), index, padding_idx)


@told.told
def softmin(x: Any, dim: int = -1) -> Any:
    """y = exp(-x) / sum exp(-x) along an axis; axis 0 of a Sequence is its rows.

    Shapes: any -> the same; n rows -> n rows.

    >>> [round(v, 4) for v in nn.functional.softmin(ln.tensor([0.0, 1.0])).tolist()]
    [0.7311, 0.2689]

    Raises:
        ShapeError: if there is no such axis.
    """
    return softmax(-x, dim)
