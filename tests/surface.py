"""One small example of every public function and module, as tables.

A call takes an `Example`, which makes its operands: `x` gives a Tensor, or a Sequence of as many
rows as the example has; `rows` gives a Sequence always. Functions without an entry take operands as
the op of their name does, or rows of four numbers. `facts.py` finds out by trying what each does.
"""

import inspect
import types

import numpy as np

import lazynet as ln
from lazynet import nn
from lazynet.batching import layout as words
from lazynet.op import REGISTRY

F = nn.functional


class Example:
    """Makes the operands of one example, and remembers them.

    Args:
        length: how many rows `x` gives; None for a Tensor.
        n: how many rows `rows` gives.
        shared: parameters and modules that examples have in common.
        given: operands to give instead of drawing them, as `drawn` of another example has them.
        step: how far each operand is moved along a direction of its own.
    """

    def __init__(
        self, length=None, n=3, shared=None, dtype="float32", given=None, seed=0, step=0.0
    ):
        self.length, self.n, self.dtype, self.step = length, n, dtype, step
        self.shared = {} if shared is None else shared
        self.drawn = []  # of each operand: a kind, its rows; values for "x" and "rows"
        self.leaves, self.directions = [], []
        self._given = None if given is None else iter(given)
        self._random = np.random.default_rng(seed)

    def _array(self, kind, make):
        array = make() if self._given is None else next(self._given)[1]
        self.drawn.append((kind, array))
        return array

    def _leaf(self, array, ragged):
        self.directions.append(direction(len(self.leaves), array.shape))
        moved = array + self.step * self.directions[-1] if self.step else array
        leaf = ln.tensor(np.asarray(moved, self.dtype), requires_grad=True)
        self.leaves.append(leaf)
        return ln.sequence(leaf) if ragged else leaf

    def x(self, *shape, low=-2.0, high=2.0):
        """A Tensor of this shape, or a Sequence of such rows."""
        count = () if self.length is None else (self.length,)
        array = self._array("x", lambda: self._random.uniform(low, high, (*count, *shape)))
        return self._leaf(array, self.length is not None)

    def rows(self, *shape, n=None):
        """A Sequence of n rows of this shape."""
        count = self.n if n is None else n
        array = self._array("rows", lambda: self._random.uniform(-2.0, 2.0, (count, *shape)))
        return self._leaf(array, True)

    def items(self, *shape):
        """A list of n Tensors of this shape."""
        return [self._leaf(a, False) for a in self._array(
            "rows", lambda: self._random.uniform(-2.0, 2.0, (self.n, *shape)))]  # fmt: skip

    def number(self, count):
        """An integer below `count`, or a list of one for each row."""
        drawn = self._array("x", lambda: self._random.integers(count, size=self.length))
        return int(drawn) if self.length is None else [int(k) for k in drawn]

    def numbers(self, count, n=None):
        """A list of n integers below `count`."""
        size = self.n if n is None else n
        drawn = self._array("numbers", lambda: self._random.integers(count, size=size))
        return [int(k) for k in drawn]

    def weight(self, name, *shape):
        """A parameter that all examples share."""
        if name not in self.shared:
            values = np.random.default_rng(len(self.shared)).uniform(-1, 1, shape)
            self.shared[name] = ln.Parameter(values.astype(self.dtype))
        return self.shared[name]

    def module(self, make):
        """A module that all examples share."""
        if "module" not in self.shared:
            ln.manual_seed(0)
            made = make()
            self.shared["module"] = made.double() if self.dtype == "float64" else made
        return self.shared["module"]

    def parameters(self):
        """Every parameter that the examples share."""
        found = []
        for value in self.shared.values():
            found += [value] if isinstance(value, ln.Parameter) else value.parameters()
        return found


def direction(number, shape):
    """A direction in which to move leaf `number`."""
    return np.random.default_rng(number).standard_normal(shape)


def positive(v, size):
    """A matrix whose Cholesky factor exists."""
    a = v.x(size, size)
    return ln.matmul(a, ln.transpose(a)) + np.eye(size, dtype=v.dtype)


def target(v, *shape):
    return v.x(*shape, low=0.1, high=0.9)


def pairs(v):
    """n rows against n + 1 others."""
    return v.rows(2, 4), v.rows(2, 4, n=v.n + 1)


def chain(n):
    """The children of n nodes, each above the one before."""
    return [(), *((t,) for t in range(n - 1))]


def left_branching(n):
    """The children of the nodes of a binary tree over n leaves."""
    return [()] * n + [((n + t - 1) if t else 0, t + 1) for t in range(n - 1)]


FUNCTIONS = {
    # elements
    "where": lambda v: ln.where(v.x(4) > 0, v.x(4), v.x(4)),
    "clamp": lambda v: ln.clamp(v.x(4), -1.0, 1.0),
    "polygamma": lambda v: ln.polygamma(1, v.x(4, low=0.5, high=3.0)),
    "all": lambda v: ln.all(v.x(4) > 0),
    "any": lambda v: ln.any(v.x(4) > 0),
    # matrices
    "cholesky": lambda v: ln.cholesky(positive(v, 3)),
    "logdet": lambda v: ln.logdet(positive(v, 3)),
    "inverse": lambda v: ln.inverse(positive(v, 3)),
    "det": lambda v: ln.det(v.x(3, 3)),
    "slogdet": lambda v: ln.slogdet(v.x(3, 3)),
    "solve": lambda v: ln.solve(positive(v, 3), v.x(3, 2)),
    "diagonal": lambda v: ln.diagonal(v.x(3, 3)),
    "trace": lambda v: ln.trace(v.x(3, 3)),
    "tril": lambda v: ln.tril(v.x(3, 3)),
    "triu": lambda v: ln.triu(v.x(3, 3)),
    "linear": lambda v: ln.linear(v.x(4), v.weight("w", 3, 4), v.weight("b", 3)),
    "bilinear": lambda v: ln.bilinear(v.x(3), v.x(2), v.weight("w", 2, 3, 2)),
    "matmul": lambda v: ln.matmul(v.x(2, 3), v.x(3, 2)),
    "bmm": lambda v: ln.bmm(v.x(2, 2, 3), v.x(2, 3, 2)),
    "einsum": lambda v: ln.einsum("ij,jk->ik", v.x(2, 3), v.x(3, 2)),
    "outer": lambda v: ln.outer(v.x(3), v.x(2)),
    # parts and numbers
    "index_select": lambda v: ln.index_select(v.x(2, 3), -1, [2, 0]),
    "take_along_dim": lambda v: ln.take_along_dim(v.x(2, 3), -1, [[2], [0]]),
    "scatter_add": lambda v: ln.scatter_add(v.x(2, 3), -1, [[2], [0]], v.x(2, 1)),
    "one_hot": lambda v: ln.one_hot(v.number(5), 5),
    "lookup": lambda v: ln.lookup(v.weight("table", 5, 3), v.number(5)),
    "pick": lambda v: ln.pick(v.x(4), v.number(4)),
    "chunk": lambda v: ln.chunk(v.x(4), 2),
    "split": lambda v: ln.split(v.x(4), [1, 3]),
    "unbind": lambda v: ln.unbind(v.x(2, 3), -1),
    "full": lambda v: ln.full((4,), 2.0, length=v.length),
    "ones": lambda v: ln.ones(4, length=v.length),
    "zeros": lambda v: ln.zeros(4, length=v.length),
    # shapes
    "reshape": lambda v: ln.reshape(v.x(6), 2, 3),
    "flatten": lambda v: ln.flatten(v.x(2, 3), -2),
    "broadcast_to": lambda v: ln.broadcast_to(v.x(4), 2, 4),
    "flip": lambda v: ln.flip(v.x(4), -1),
    "roll": lambda v: ln.roll(v.x(4), 1),
    "tile": lambda v: ln.tile(v.x(4), 2),
    "repeat_interleave": lambda v: ln.repeat_interleave(v.x(4), 2),
    "pad": lambda v: ln.pad(v.x(4), (1, 2)),
    "permute": lambda v: (
        ln.permute(v.x(2, 3), 1, 0) if v.length is None else ln.permute(v.x(2, 3), 0, 2, 1)
    ),
    "transpose": lambda v: ln.transpose(v.x(2, 3)),
    "squeeze": lambda v: ln.squeeze(v.x(1, 4), -2),
    "cat": lambda v: ln.cat([v.x(4), v.x(2)]),
    # rows
    "gather": lambda v: ln.gather(v.rows(4), v.numbers(2)),
    "segment_sum": lambda v: ln.segment_sum(v.rows(4), v.numbers(2), 2),
    "segment_mean": lambda v: ln.segment_mean(v.rows(4), v.numbers(2), 2),
    "sequence": lambda v: ln.sequence(v.items(4)),
    "stack": lambda v: ln.stack(v.items(4)),
    "pair_scores": lambda v: ln.pair_scores(*pairs(v)),
    "pair_softmax": lambda v: ln.pair_softmax(v.rows(1, n=2 * v.n), v.n),
    "pair_sum": lambda v: ln.pair_sum(v.rows(2, n=2 * v.n), v.rows(2, 4), 2),
    "log_scan": lambda v: ln.log_scan(v.rows(3), v.weight("t", 3, 3), v.weight("i", 3)),
    "linear_scan": lambda v: ln.linear_scan(v.rows(3), v.rows(3, 3, n=v.n - 1)),
    "viterbi": lambda v: ln.viterbi(
        v.rows(3), v.weight("t", 3, 3), v.weight("i", 3), v.weight("f", 3)
    ),
    "inside": lambda v: ln.inside(v.rows(n=v.n * (v.n + 1) // 2), v.n),
    "dependency_inside": lambda v: ln.dependency_inside(v.rows(n=v.n**2), v.n),
    "matrix_tree": lambda v: ln.matrix_tree(v.rows(n=v.n**2), v.n),
    "segment_max": lambda v: ln.segment_max(v.rows(4), v.numbers(2), 2),
    "argsort": lambda v: ln.argsort(v.x(4)),
    "sort": lambda v: ln.sort(v.x(4)),
    "topk": lambda v: ln.topk(v.x(4), 2),
    "pack": lambda v: ln.pack([v.rows(4), v.rows(4)]).rows,
    "unpack": lambda v: ln.unpack(v.rows(4), [v.n - 1, 1]),
    # draws
    "bernoulli": lambda v: ln.bernoulli(target(v, 4)),
    "exponential": lambda v: ln.exponential(v.x(4, low=0.5)),
    "normal": lambda v: ln.normal(v.x(4), v.x(4, low=0.5)),
    "uniform": lambda v: ln.uniform(v.x(4), 3.0),
    "rand": lambda v: ln.rand(4, length=v.length),
    "randn": lambda v: ln.randn(4, length=v.length),
    "randint": lambda v: ln.randint(0, 6, 4, length=v.length),
    "scale_gradient": lambda v: ln.scale_gradient(v.x(4), 0.5),
    # losses
    "cross_entropy": lambda v: ln.cross_entropy(v.x(5), v.number(5)),
    "nll_loss": lambda v: F.nll_loss(v.x(5), v.number(5)),
    "multi_margin_loss": lambda v: F.multi_margin_loss(v.x(5), v.number(5)),
    "binary_cross_entropy": lambda v: F.binary_cross_entropy(target(v, 4), target(v, 4)),
    "binary_cross_entropy_with_logits": lambda v: F.binary_cross_entropy_with_logits(
        v.x(4), target(v, 4)
    ),
    "cosine_embedding_loss": lambda v: F.cosine_embedding_loss(v.x(4), v.x(4), 1),
    "gaussian_nll_loss": lambda v: F.gaussian_nll_loss(v.x(4), v.x(4), v.x(4, low=0.5)),
    "hinge_embedding_loss": lambda v: F.hinge_embedding_loss(v.x(4), v.x(4).sign()),
    "kl_div": lambda v: F.kl_div(v.x(4), target(v, 4)),
    "margin_ranking_loss": lambda v: F.margin_ranking_loss(v.x(4), v.x(4), 1.0),
    "ctc_loss": lambda v: ln.ctc_loss(v.rows(4, n=3 * v.n), v.numbers(3), 3),
    # under the names of nn.functional
    "scaled_dot_product_attention": lambda v: F.scaled_dot_product_attention(
        v.rows(4), v.rows(4, n=v.n + 1), v.rows(4, n=v.n + 1)
    ),
    "embedding": lambda v: F.embedding(v.number(5), v.weight("table", 5, 3)),
    "conv1d": lambda v: F.conv1d(v.x(2, 5), v.weight("w", 3, 2, 3)),
    "conv2d": lambda v: F.conv2d(v.x(2, 4, 4), v.weight("w", 3, 2, 3, 3)),
    "conv_transpose1d": lambda v: F.conv_transpose1d(v.x(2, 4), v.weight("w", 2, 3, 3)),
    "conv_transpose2d": lambda v: F.conv_transpose2d(v.x(2, 3, 3), v.weight("w", 2, 3, 2, 2)),
    "adaptive_avg_pool1d": lambda v: F.adaptive_avg_pool1d(v.x(2, 6), 3),
    "adaptive_avg_pool2d": lambda v: F.adaptive_avg_pool2d(v.x(2, 4, 4), 2),
    "adaptive_max_pool1d": lambda v: F.adaptive_max_pool1d(v.x(2, 6), 3),
    "adaptive_max_pool2d": lambda v: F.adaptive_max_pool2d(v.x(2, 4, 4), 2),
    "avg_pool1d": lambda v: F.avg_pool1d(v.x(2, 6), 2),
    "avg_pool2d": lambda v: F.avg_pool2d(v.x(2, 4, 4), 2),
    "k_max_pool": lambda v: F.k_max_pool(v.rows(4), 1),
    "max_pool1d": lambda v: F.max_pool1d(v.x(2, 6), 2),
    "max_pool2d": lambda v: F.max_pool2d(v.x(2, 4, 4), 2),
    "batch_norm": lambda v: F.batch_norm(v.rows(4), training=True),
    "instance_norm": lambda v: F.instance_norm(v.x(4, 3)),
    "group_norm": lambda v: F.group_norm(v.x(4, 3), 2),
    "layer_norm": lambda v: F.layer_norm(v.x(4), 4, v.weight("w", 4), v.weight("b", 4)),
    "rms_norm": lambda v: F.rms_norm(v.x(4), 4, v.weight("w", 4)),
}

LAYER = (8, 2, 16, 0.0)

# How each module is made, and called; by default on rows of four numbers.
MODULES = {
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(3), lambda m, v: m(v.x(2, 6))),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(2), lambda m, v: m(v.x(2, 4, 4))),
    "AdaptiveMaxPool1d": (lambda: nn.AdaptiveMaxPool1d(3), lambda m, v: m(v.x(2, 6))),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d(2), lambda m, v: m(v.x(2, 4, 4))),
    "AvgPool1d": (lambda: nn.AvgPool1d(2), lambda m, v: m(v.x(2, 6))),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), lambda m, v: m(v.x(2, 4, 4))),
    "KMaxPool": (lambda: nn.KMaxPool(1), lambda m, v: m(v.rows(4))),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), lambda m, v: m(v.x(2, 6))),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), lambda m, v: m(v.x(2, 4, 4))),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 3), lambda m, v: m(v.x(2, 5))),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3), lambda m, v: m(v.x(2, 4, 4))),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(2, 3, 3), lambda m, v: m(v.x(2, 4))),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 2), lambda m, v: m(v.x(2, 3, 3))),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), lambda m, v: m(v.rows(4))),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4), lambda m, v: m(v.rows(4, 2, 2))),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(4), lambda m, v: m(v.x(4, 3))),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4), lambda m, v: m(v.x(4, 2, 3))),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), lambda m, v: m(v.x(4, 3))),
    "LayerNorm": (lambda: nn.LayerNorm(4), None),
    "RMSNorm": (lambda: nn.RMSNorm(4), None),
    "Linear": (lambda: nn.Linear(4, 3), None),
    "Bilinear": (lambda: nn.Bilinear(4, 3, 2), lambda m, v: m(v.x(4), v.x(3))),
    "CosineSimilarity": (None, lambda m, v: m(v.x(4), v.x(4))),
    "PairwiseDistance": (None, lambda m, v: m(v.x(4), v.x(4))),
    **{
        f"{mode}Pad1d": (lambda mode=mode: getattr(nn, f"{mode}Pad1d")(1),
                         lambda m, v: m(v.x(2, 4)))
        for mode in ("Circular", "Reflection", "Replication", "Zero")
    },
    **{
        f"{mode}Pad2d": (lambda mode=mode: getattr(nn, f"{mode}Pad2d")(1),
                         lambda m, v: m(v.x(2, 3, 4)))
        for mode in ("Circular", "Reflection", "Replication", "Zero")
    },
    "ConstantPad1d": (lambda: nn.ConstantPad1d(1, 2.0), lambda m, v: m(v.x(2, 4))),
    "ConstantPad2d": (lambda: nn.ConstantPad2d(1, 2.0), lambda m, v: m(v.x(2, 3, 4))),
    "Unflatten": (lambda: nn.Unflatten(0, (2, 3)), lambda m, v: m(v.x(6))),
    "Flatten": (lambda: nn.Flatten(), lambda m, v: m(v.x(2, 3))),
    "Embedding": (lambda: nn.Embedding(5, 3), lambda m, v: m(v.number(5))),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(5, 3), lambda m, v: m(v.numbers(5))),
    "Sequential": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), None),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(8, 2), lambda m, v: m(v.rows(8))),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(*LAYER), lambda m, v: m(v.rows(8)),
    ),
    "TransformerDecoderLayer": (
        lambda: nn.TransformerDecoderLayer(*LAYER), lambda m, v: m(v.rows(8), v.rows(8, n=2)),
    ),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(*LAYER), 2),
        lambda m, v: m(v.rows(8)),
    ),
    "TransformerDecoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(*LAYER), 2),
        lambda m, v: m(v.rows(8), v.rows(8, n=2)),
    ),
    "Transformer": (
        lambda: nn.Transformer(8, 2, 1, 1, 16, 0.0), lambda m, v: m(v.rows(8), v.rows(8, n=2)),
    ),
    "SinusoidalPositions": (lambda: nn.SinusoidalPositions(4), lambda m, v: m(v.rows(4))),
    "CRF": (lambda: nn.CRF(3), lambda m, v: m(v.rows(3), v.numbers(3))),
    "AdaptiveLogSoftmaxWithLoss": (
        lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 6], 2.0),
        lambda m, v: m(v.x(8), v.number(12)),
    ),
    "ClassFactoredSoftmax": (
        lambda: nn.ClassFactoredSoftmax(4, [0, 0, 1, 1]), lambda m, v: m(v.x(4), v.number(4)),
    ),
    "HierarchicalSoftmax": (
        lambda: nn.HierarchicalSoftmax(4, 8), lambda m, v: m(v.x(4), v.number(8)),
    ),
    "RNN": (lambda: nn.RNN(4, 3), lambda m, v: m(v.rows(4))),
    "GRU": (lambda: nn.GRU(4, 3), lambda m, v: m(v.rows(4))),
    "LSTM": (lambda: nn.LSTM(4, 3, bidirectional=True), lambda m, v: m(v.rows(4))),
    "RNNCell": (lambda: nn.RNNCell(4, 3), lambda m, v: m(v.x(4), v.x(3))),
    "GRUCell": (lambda: nn.GRUCell(4, 3), lambda m, v: m(v.x(4), v.x(3))),
    "LSTMCell": (lambda: nn.LSTMCell(4, 3), lambda m, v: m(v.x(4), (v.x(3), v.x(3)))),
    "CoupledLSTM": (lambda: nn.CoupledLSTM(4, 3), lambda m, v: m(v.rows(4))),
    "LayerNormLSTM": (lambda: nn.LayerNormLSTM(4, 3), lambda m, v: m(v.rows(4))),
    "CoupledLSTMCell": (
        lambda: nn.CoupledLSTMCell(4, 3), lambda m, v: m(v.x(4), (v.x(3), v.x(3))),
    ),
    "LayerNormLSTMCell": (
        lambda: nn.LayerNormLSTMCell(4, 3), lambda m, v: m(v.x(4), (v.x(3), v.x(3))),
    ),
    "TreeLSTM": (lambda: nn.TreeLSTM(4, 3), lambda m, v: m(v.rows(4), left_branching(v.n))),
    "ChildSumTreeLSTM": (
        lambda: nn.ChildSumTreeLSTM(4, 3), lambda m, v: m(v.rows(4), chain(v.n)),
    ),
    "TreeLSTMCell": (
        lambda: nn.TreeLSTMCell(4, 3), lambda m, v: m(None, [m(v.x(4)), m(v.x(4))]),
    ),
    "ChildSumTreeLSTMCell": (
        lambda: nn.ChildSumTreeLSTMCell(4, 3), lambda m, v: m(v.x(4), [m(v.x(4)), m(v.x(4))]),
    ),
    # losses
    "CTCLoss": (lambda: nn.CTCLoss(blank=3), lambda m, v: m(v.rows(4, n=3 * v.n), v.numbers(3))),
    "MultiLabelSoftMarginLoss": (None, lambda m, v: m(v.x(4), target(v, 4))),
    "SoftMarginLoss": (None, lambda m, v: m(v.x(4), v.x(4).sign())),
    "BCELoss": (None, lambda m, v: m(target(v, 4), target(v, 4))),
    "BCEWithLogitsLoss": (None, lambda m, v: m(v.x(4), target(v, 4))),
    "CosineEmbeddingLoss": (None, lambda m, v: m(v.x(4), v.x(4), 1)),
    "CrossEntropyLoss": (None, lambda m, v: m(v.x(5), v.number(5))),
    "GaussianNLLLoss": (None, lambda m, v: m(v.x(4), v.x(4), v.x(4, low=0.5))),
    "HingeEmbeddingLoss": (None, lambda m, v: m(v.x(4), v.x(4).sign())),
    "KLDivLoss": (None, lambda m, v: m(v.x(4), target(v, 4))),
    "MarginRankingLoss": (None, lambda m, v: m(v.x(4), v.x(4), 1.0)),
    "MultiMarginLoss": (None, lambda m, v: m(v.x(5), v.number(5))),
    "NLLLoss": (None, lambda m, v: m(v.x(5), v.number(5))),
    "TripletMarginLoss": (None, lambda m, v: m(v.x(4), v.x(4), v.x(4))),
    **{
        name: (None, lambda m, v: m(v.x(4), v.x(4)))
        for name in ("HuberLoss", "L1Loss", "MSELoss", "PoissonNLLLoss", "SmoothL1Loss")
    },
}  # fmt: skip

# Public names that compute nothing of values, or hold modules without calling them.
NOT_OPS = {"manual_seed", "span_index"}
NOT_CALLED = {"Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList"}


def public_functions():
    """The public functions of values: name as users write it -> function, each once."""
    found = {}
    for prefix, home in (("ln", ln), ("nn.functional", F)):
        for name, value in vars(home).items():
            made_in = getattr(value, "__module__", "")
            ours = made_in.startswith(("lazynet.ops.", "lazynet.nn.functional"))
            again = prefix != "ln" and getattr(ln, name, None) is value
            if isinstance(value, types.FunctionType) and ours and name not in NOT_OPS and not again:
                found[f"{prefix}.{name}"] = value
    return found


def public_modules():
    """The modules of `nn` that are called: name as users write it -> class."""
    return {
        f"nn.{name}": value
        for name, value in vars(nn).items()
        if isinstance(value, type) and issubclass(value, nn.Module) and name not in NOT_CALLED
    }


def call_of(name):
    """The call of a public name on an `Example`."""
    short = name.split(".")[-1]
    if name in public_modules():
        make, call = MODULES.get(short, (None, None))
        make = make or getattr(nn, short)
        call = call or (lambda m, v: m(v.x(4)))
        return lambda v: call(v.module(make), v)
    return FUNCTIONS.get(short) or _plain(public_functions()[name], short)


def _plain(function, name):
    """A call on what the op of this name takes, or on rows of four numbers."""
    op = REGISTRY.get(name)
    if op is not None and op.kind == words.ROWS and not op.payload:
        samples = [s for s in op.samples if not (s.attributes or s.parameters or s.dtypes)]
        if samples:
            return lambda v: function(*(v.x(*shape, low=samples[0].low, high=samples[0].high)
                                        for shape in samples[0].operands))  # fmt: skip
    required = [p for p in inspect.signature(function).parameters.values()
                if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]  # fmt: skip
    return lambda v: function(*(v.x(4) for _ in required))
