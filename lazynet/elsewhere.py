"""Names of PyTorch and DyNet that lazynet does not have, and what is written here instead.

Whoever tries one reads it in the error: `'Tensor' object has no attribute 'numel'; here: x.size`.
"""

from __future__ import annotations

from typing import Any

_DTYPE = "dtypes are numpy's, or their names: 'float32'"
_TENSOR = "ln.tensor(data)"
_LSTM = "ln.nn.LSTM(size, hidden), or ln.nn.LSTMCell in a loop"
_LOOKUP = "ln.nn.Embedding(count, size)"
_MODEL = "an ln.nn.Module, whose parameters are attributes"
_DATA = "x.numpy(), which runs what is pending"

# Of values, x being one.
TORCH_VALUES = {
    "contiguous": "nothing; where values lie is not yours to keep",
    "data": "x.detach(), or x.numpy()",
    "dim": "x.ndim",
    "element_size": "x.dtype.itemsize",
    "gather": "ln.take_along_dim(x, dim, index)",
    "half": "ln.autocast, for products of half precision",
    "int": "x.long(); integers have 64 bits",
    "is_cuda": "x.device",
    "masked_fill": "ln.where(mask, value, x)",
    "new_ones": "ln.ones(shape)",
    "new_tensor": _TENSOR,
    "new_zeros": "ln.zeros(shape)",
    "numel": "x.size",
    "repeat": "x.tile(times)",
    "requires_grad_": "ln.tensor(data, requires_grad=True)",
    "t": "x.T",
    "zero_grad": "a new tensor, or ln.Parameter(data), which keeps its gradient until zero_grad()",
}
DYNET_VALUES = {
    "forward": _DATA,
    "gradient": "x.grad, of a leaf or after x.retain_grad()",
    "npvalue": _DATA,
    "scalar_value": "x.item()",
    "value": "x.item(), or x.numpy()",
    "vec_value": _DATA,
}

# Of modules and of optimizers.
DYNET_MODULES = {
    "add_input": "ln.nn.LSTMCell in a loop: h, c = cell(x, (h, c))",
    "add_lookup_parameters": "ln.nn.Embedding(count, size), as an attribute",
    "add_parameters": "ln.Parameter(array) or ln.nn.Linear(size, hidden), as an attribute",
    "initial_state": "nothing; states begin as zeros",
    "populate": "model.load_state_dict(ln.load(path))",
    "save": "ln.save(model.state_dict(), path)",
    "transduce": "a call: rows = rnn(rows)",
}
DYNET_OPTIMIZERS = {
    "learning_rate": "opt.param_groups[0]['lr'], or ln.optim.lr_scheduler",
    "set_clip_threshold": "ln.nn.utils.clip_grad_norm_(model.parameters(), norm)",
    "update": "opt.step(), and opt.zero_grad() before the next backward",
}

# Of the package.
TORCH_PACKAGE = {
    "arange": "ln.tensor(numpy.arange(n))",
    "as_tensor": _TENSOR,
    "bool": _DTYPE,
    "empty": "ln.zeros(shape)",
    "float": _DTYPE,
    "float32": _DTYPE,
    "float64": _DTYPE,
    "from_numpy": _TENSOR,
    "inference_mode": "ln.no_grad()",
    "int64": _DTYPE,
    "linspace": "ln.tensor(numpy.linspace(a, b, n))",
    "long": _DTYPE,
    "masked_fill": "ln.where(mask, value, x)",
    "nonzero": "numpy.nonzero(x.numpy())",
    "numel": "x.size",
    "set_default_dtype": "module.double(), or dtypes of tensors",
    "utils": "ln.nn.utils",
}
DYNET_PACKAGE = {
    "AdagradTrainer": "ln.optim.Adagrad(model.parameters())",
    "AdamTrainer": "ln.optim.Adam(model.parameters())",
    "affine_transform": "ln.linear(x, weight, bias), or sums of products",
    "average": "ln.mean(values)",
    "binary_log_loss": "ln.nn.functional.binary_cross_entropy(x, target)",
    "BiRNNBuilder": "ln.nn.LSTM(size, hidden, bidirectional=True)",
    "bmax": "ln.maximum(x, y)",
    "bmin": "ln.minimum(x, y)",
    "cdiv": "x / y",
    "ClassFactoredSoftmaxBuilder": "ln.nn.ClassFactoredSoftmax",
    "cmult": "x * y",
    "colwise_add": "x + y",
    "CompactVanillaLSTMBuilder": _LSTM,
    "concatenate": "ln.cat(values)",
    "concatenate_cols": "ln.stack(values)",
    "concatenate_to_batch": "nothing; examples become a batch by themselves",
    "constant": "ln.full(shape, number)",
    "ConstInitializer": "ln.nn.init.constant_(parameter, value)",
    "conv2d": "ln.nn.functional.conv2d(x, weight)",
    "CoupledLSTMBuilder": "ln.nn.CoupledLSTM(size, hidden)",
    "dot_product": "ln.dot(x, y)",
    "emax": "ln.maximum(x, y)",
    "esum": "ln.sum(values)",
    "flip_gradient": "ln.gradient_reversal(x)",
    "GlorotInitializer": "ln.nn.init.xavier_uniform_(parameter)",
    "GRUBuilder": "ln.nn.GRU(size, hidden)",
    "HierarchicalSoftmaxBuilder": "ln.nn.HierarchicalSoftmax",
    "hinge": "ln.nn.functional.multi_margin_loss(x, target) * x.size",
    "inputTensor": _TENSOR,
    "inputVector": _TENSOR,
    "kmax_pooling": "ln.nn.functional.k_max_pool(x, k)",
    "l1_distance": "ln.sum(ln.abs(x - y))",
    "layer_norm": "ln.nn.LayerNorm(size)",
    "logistic": "ln.sigmoid(x)",
    "lookup_batch": _LOOKUP,
    "LSTMBuilder": _LSTM,
    "max_dim": "ln.max(x, dim)",
    "mean_dim": "ln.mean(x, dim)",
    "mean_elems": "ln.mean(x)",
    "min_dim": "ln.min(x, dim)",
    "Model": _MODEL,
    "MomentumSGDTrainer": "ln.optim.SGD(model.parameters(), lr, momentum=0.9)",
    "nobackprop": "x.detach()",
    "noise": "ln.gaussian_noise(x, std)",
    "NormalInitializer": "ln.nn.init.normal_(parameter)",
    "NumpyInitializer": "ln.Parameter(array)",
    "pairwise_rank_loss": "ln.nn.functional.margin_ranking_loss(x, y, target)",
    "ParameterCollection": _MODEL,
    "parameters": "model.parameters()",
    "pick_batch": "ln.pick(rows, numbers)",
    "pick_range": "x[a:b]",
    "pickneglogsoftmax": "ln.cross_entropy(x, target)",
    "pickneglogsoftmax_batch": "ln.cross_entropy(rows, targets)",
    "pickrange": "x[a:b]",
    "poisson_loss": "ln.nn.functional.poisson_nll_loss(x, target)",
    "random_normal": "ln.randn(shape)",
    "random_uniform": "ln.rand(shape)",
    "rectify": "ln.relu(x)",
    "renew_cg": "nothing; graphs begin and end by themselves",
    "RMSPropTrainer": "ln.optim.RMSprop(model.parameters())",
    "scalarInput": _TENSOR,
    "select_cols": "x[:, numbers]",
    "select_rows": "x[numbers]",
    "SimpleRNNBuilder": "ln.nn.RNN(size, hidden)",
    "SimpleSGDTrainer": "ln.optim.SGD(model.parameters(), lr)",
    "squared_distance": "ln.sum(ln.square(x - y))",
    "squared_norm": "ln.sum(ln.square(x))",
    "std_elems": "ln.std(x)",
    "strided_select": "x[a:b:step]",
    "sum_batches": "ln.sum(losses)",
    "sum_dim": "ln.sum(x, dim)",
    "sum_elems": "ln.sum(x)",
    "VanillaLSTMBuilder": _LSTM,
    "vecInput": _TENSOR,
    "weight_norm": "ln.nn.utils.weight_norm(module)",
    "zeroes": "ln.zeros(shape)",
}

OF_VALUES = {**TORCH_VALUES, **DYNET_VALUES}
OF_PACKAGE = {**TORCH_PACKAGE, **DYNET_PACKAGE}


def missing(owner: Any, kind: str, name: str, table: dict[str, str]) -> AttributeError:
    """The error for an attribute that there is not; it tells what to write, where that is known."""
    text = f"{kind} has no attribute {name!r}"
    if instead := table.get(name):
        text += f"; here: {instead}"
    elif table is OF_VALUES and name.endswith("_"):
        text += _of_changes(type(owner), name[:-1])
    return AttributeError(text, name=name, obj=owner)


def _of_changes(kind: type, name: str) -> str:
    """What is written instead of changing a value in place."""
    if hasattr(kind, "copy_"):
        return "; here: p.copy_(values), or p.data[...] = values"
    if hasattr(kind, name):
        return f"; values never change, x = x.{name}(...) names a new one"
    return ""
