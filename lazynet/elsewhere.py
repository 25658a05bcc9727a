"""Names of PyTorch and DyNet that lazynet does not have, and what is written here instead.

Whoever tries one reads it in the error: `'Tensor' object has no attribute 'numel'; here: x.size`.
"""

from __future__ import annotations

from typing import Any

_DTYPE = "dtypes are numpy's, or their names: 'float32'"
_TENSOR = "ln.tensor(data)"
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
    "BiRNNBuilder": "ln.nn.LSTM(size, hidden, bidirectional=True)",
    "cmult": "x * y",
    "colwise_add": "x + y",
    "concatenate": "ln.cat(values)",
    "concatenate_cols": "ln.stack(values)",
    "concatenate_to_batch": "nothing; examples become a batch by themselves",
    "conv2d": "ln.nn.functional.conv2d(x, weight)",
    "dot_product": "ln.dot(x, y)",
    "emax": "ln.maximum(x, y)",
    "esum": "ln.sum(values)",
    "GRUBuilder": "ln.nn.GRU(size, hidden)",
    "inputTensor": _TENSOR,
    "inputVector": _TENSOR,
    "logistic": "ln.sigmoid(x)",
    "lookup_batch": _LOOKUP,
    "LSTMBuilder": "ln.nn.LSTM(size, hidden), or ln.nn.LSTMCell in a loop",
    "max_dim": "ln.max(x, dim)",
    "mean_dim": "ln.mean(x, dim)",
    "Model": _MODEL,
    "MomentumSGDTrainer": "ln.optim.SGD(model.parameters(), lr, momentum=0.9)",
    "nobackprop": "x.detach()",
    "noise": "ln.gaussian_noise(x, std)",
    "ParameterCollection": _MODEL,
    "parameters": "model.parameters()",
    "pickneglogsoftmax": "ln.cross_entropy(x, target)",
    "rectify": "ln.relu(x)",
    "renew_cg": "nothing; graphs begin and end by themselves",
    "RMSPropTrainer": "ln.optim.RMSprop(model.parameters())",
    "scalarInput": _TENSOR,
    "SimpleRNNBuilder": "ln.nn.RNN(size, hidden)",
    "SimpleSGDTrainer": "ln.optim.SGD(model.parameters(), lr)",
    "squared_norm": "ln.sum(ln.square(x))",
    "sum_batches": "ln.sum(losses)",
    "sum_elems": "ln.sum(x)",
    "VanillaLSTMBuilder": "ln.nn.LSTM(size, hidden), or ln.nn.LSTMCell in a loop",
    "vecInput": _TENSOR,
}

OF_VALUES = {**TORCH_VALUES, **DYNET_VALUES}
OF_PACKAGE = {**TORCH_PACKAGE, **DYNET_PACKAGE}


def missing(owner: Any, kind: str, name: str) -> AttributeError:
    """The error for an attribute that there is not; it tells what to write, where that is known."""
    text = f"{kind} has no attribute {name!r}"
    table = OF_PACKAGE if kind.startswith("module") else OF_VALUES
    if instead := table.get(name):
        text += f"; here: {instead}"
    elif name.endswith("_") and hasattr(type(owner), "copy_"):
        text += "; here: p.copy_(values), or p.data[...] = values"
    elif name.endswith("_") and hasattr(type(owner), name[:-1]):
        text += f"; values never change, x = x.{name[:-1]}(...) names a new one"
    return AttributeError(text, name=name, obj=owner)
