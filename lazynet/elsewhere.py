"""Names of PyTorch and DyNet that lazynet does not have, and what is written here instead.

Whoever tries one reads it in the error: `'Tensor' object has no attribute 'numel'; here: x.size`.
"""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

_DTYPE = "dtypes are numpy's, or their names: 'float32'"
_TENSOR = "ln.tensor(data)"
_LSTM = "ln.nn.LSTM(size, hidden), or ln.nn.LSTMCell in a loop"
_LOOKUP = "ln.nn.Embedding(count, size)"
_MODEL = "an ln.nn.Module, whose parameters are attributes"
_DATA = "x.numpy(), which runs what is pending"
_UPDATES = "nothing; all parameters are updated in one compiled pass"

_NUMBERS = "numpy's, of x.numpy()"
_WHERE = "ln.where(mask, value, x)"
_CHANGED = "values never change"

# Of values, x being one.
TORCH_VALUES = {
    "absolute": "x.abs()",
    "addmm": "x + a @ b",
    "allclose": "numpy.allclose(x.numpy(), y.numpy())",
    "bernoulli": "ln.bernoulli(x)",
    "bincount": _NUMBERS,
    "bool": "x.astype('bool')",
    "clip": "x.clamp(min, max)",
    "contiguous": "nothing; where values lie is not yours to keep",
    "count_nonzero": "ln.sum(x != 0)",
    "data": "x.detach(), or x.numpy()",
    "diff": "x[1:] - x[:-1]",
    "dim": "x.ndim",
    "divide": "x / y",
    "element_size": "x.dtype.itemsize",
    "equal": "numpy.array_equal(x.numpy(), y.numpy())",
    "expand_as": "x.expand(y.shape)",
    "fill_": f"{_CHANGED}, ln.full_like(x, number) makes one; ln.nn.init changes parameters",
    "gather": "ln.take_along_dim(x, dim, index)",
    "grad_fn": "x.requires_grad",
    "half": "ln.autocast, for products of half precision",
    "index_add": "ln.segment_sum(rows, numbers, count), or x.scatter_add(dim, numbers, source)",
    "indices": "x.argmax(dim); max(dim) gives values alone",
    "int": "x.long(); integers have 64 bits",
    "is_contiguous": "nothing; where values lie is not yours to keep",
    "is_cuda": "x.device",
    "is_floating_point": "x.dtype.kind == 'f'",
    "isclose": _NUMBERS,
    "log10": "x.log() / math.log(10)",
    "log2": "x.log() / math.log(2)",
    "masked_fill": _WHERE,
    "masked_select": "x[mask]",
    "median": _NUMBERS,
    "mm": "x @ y",
    "movedim": "x.permute(dims)",
    "multinomial": "ln.categorical(ln.log(p))",
    "multiply": "x * y",
    "mv": "x @ y",
    "narrow": "a slice, x[start:stop]",
    "ndimension": "x.ndim",
    "negative": "-x",
    "nelement": "x.size",
    "new_empty": "ln.zeros(shape)",
    "new_full": "ln.full(shape, number)",
    "new_ones": "ln.ones(shape)",
    "new_tensor": _TENSOR,
    "new_zeros": "ln.zeros(shape)",
    "nonzero": "numpy.nonzero(x.numpy())",
    "normal_": f"{_CHANGED}, ln.randn(shape) makes one; ln.nn.init changes parameters",
    "numel": "x.size",
    "pin_memory": "nothing",
    "repeat": "x.tile(times)",
    "requires_grad_": "ln.tensor(data, requires_grad=True)",
    "reshape_as": "x.reshape(y.shape)",
    "scatter": "ln.where(mask, value, x), or x.scatter_add(dim, numbers, source)",
    "select": "x[k]",
    "stride": "nothing; where values lie is not yours to keep",
    "subtract": "x - y",
    "swapaxes": "x.transpose(dim0, dim1)",
    "t": "x.T",
    "true_divide": "x / y",
    "type_as": "x.astype(y.dtype)",
    "uniform_": f"{_CHANGED}, ln.rand(shape) makes one; ln.nn.init changes parameters",
    "unique": _NUMBERS,
    "values": "nothing; max(dim) gives values alone",
    "view_as": "x.reshape(y.shape)",
    "zero_": f"{_CHANGED}, ln.zeros_like(x) makes one; ln.nn.init changes parameters",
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
TORCH_MODULES = {
    "compile": "ln.cell, over a function or a forward",
    "flatten_parameters": "nothing; weights lie side by side by themselves",
    "get_buffer": "the attribute of that name",
    "half": "ln.autocast, for products of half precision",
    "reset_parameters": "another module, or ln.nn.init",
    "share_memory": "nothing; threads share all modules",
    "type": "module.float() or module.double()",
}
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

# Of what functions, modules, optimizers and loaders are called with, by name.
TORCH_SETTINGS = {
    "batch_first": "nothing; there is no batch axis: a Sequence is one example, and a minibatch is "
    "[module(x) for x in xs]",
    "capturable": _UPDATES,
    "collate_fn": "nothing; a minibatch is a list of examples",
    "device": "x.to(device), module.to(device) or ln.set_default_device(device)",
    "dtype": "x.astype(dtype), module.double()",
    "drop_last": "nothing; the last minibatch may be smaller",
    "enable_nested_tensor": "nothing; examples have any length",
    "foreach": _UPDATES,
    "fused": _UPDATES,
    "hx": "state",
    "inplace": "nothing; values never change",
    "non_blocking": "nothing",
    "num_classes": "the second argument, the number of classes",
    "num_workers": "nothing; examples are in memory",
    "out": "y = f(x)",
    "persistent_workers": "nothing; examples are in memory",
    "pin_memory": "nothing",
    "requires_grad": "ln.tensor(data, requires_grad=True), or ln.Parameter(data)",
    "sampler": "examples in the order that is wanted, and shuffle=False",
    "size_average": "reduction='mean' or 'sum'",
    "src_key_padding_mask": "nothing; nothing is padded",
    "tgt_key_padding_mask": "nothing; nothing is padded",
}

# Of the package.
TORCH_PACKAGE = {
    "FloatTensor": _TENSOR,
    "LongTensor": _TENSOR,
    "addmm": "x + a @ b",
    "allclose": "numpy.allclose(x.numpy(), y.numpy())",
    "amp": "ln.autocast, ln.GradScaler",
    "arange": "ln.tensor(numpy.arange(n))",
    "as_tensor": _TENSOR,
    "autograd": "ln.grad, ln.gradients; ln.Function",
    "bool": _DTYPE,
    "clip": "ln.clamp(x, min, max)",
    "compile": "ln.cell, over a function or a forward",
    "concat": "ln.cat(values)",
    "distributions": "ln.categorical(logits), ln.bernoulli(p), ln.normal(mean, std)",
    "empty": "ln.zeros(shape)",
    "equal": "numpy.array_equal(x.numpy(), y.numpy())",
    "eye": "ln.tensor(numpy.eye(n))",
    "float": _DTYPE,
    "float32": _DTYPE,
    "float64": _DTYPE,
    "from_numpy": _TENSOR,
    "hstack": "ln.cat(values)",
    "index_add": "ln.segment_sum(rows, numbers, count), or ln.scatter_add(x, dim, numbers, source)",
    "inference_mode": "ln.no_grad()",
    "int64": _DTYPE,
    "is_tensor": "isinstance(x, (ln.Tensor, ln.Sequence))",
    "linspace": "ln.tensor(numpy.linspace(a, b, n))",
    "log10": "ln.log(x) / math.log(10)",
    "log2": "ln.log(x) / math.log(2)",
    "long": _DTYPE,
    "masked_fill": _WHERE,
    "masked_select": "x[mask]",
    "mm": "x @ y",
    "multinomial": "ln.categorical(ln.log(p))",
    "mv": "x @ y",
    "nonzero": "numpy.nonzero(x.numpy())",
    "numel": "x.size",
    "rand_like": "ln.rand(x.shape); of rows, ln.rand(x.shape[1:], length=len(x))",
    "randn_like": "ln.randn(x.shape); of rows, ln.randn(x.shape[1:], length=len(x))",
    "randperm": "numpy.random.permutation(n)",
    "scatter": "ln.where(mask, value, x), or ln.scatter_add(x, dim, numbers, source)",
    "set_default_dtype": "module.double(), or dtypes of tensors",
    "set_grad_enabled": "ln.no_grad() or ln.enable_grad()",
    "unique": _NUMBERS,
    "utils": "ln.nn.utils, ln.data",
    "vstack": "ln.cat(values, 0), or ln.stack(vectors)",
}
TORCH_DATA = {
    "ConcatDataset": "a list, first + second",
    "DataLoader": "ln.data.Loader(examples, batch_size), which gives lists of examples",
    "Dataset": "nothing; a list of examples, or whatever has a length and gives them by number",
    "Subset": "a list, [examples[k] for k in numbers]",
    "TensorDataset": "a list, [*zip(inputs, targets)]",
    "random_split": "slices of a list that was shuffled",
}
TORCH_LOADERS = {"dataset": "loader.examples"}
TORCH_UTILS = {"rnn": "nothing; examples have any length, and nothing is padded or packed"}
DYNET_PACKAGE = {
    "AdagradTrainer": "ln.optim.Adagrad(model.parameters())",
    "AdamTrainer": "ln.optim.Adam(model.parameters())",
    "affine_transform": "ln.linear(x, weight, bias), or sums of products",
    "average": "ln.mean(values)",
    "binary_log_loss": 'ln.nn.functional.binary_cross_entropy(x, target, reduction="sum")',
    "BiRNNBuilder": "ln.nn.LSTM(size, hidden, bidirectional=True)",
    "bmax": "ln.maximum(x, y)",
    "bmin": "ln.minimum(x, y)",
    "cdiv": "x / y",
    "ClassFactoredSoftmaxBuilder": "ln.nn.ClassFactoredSoftmax",
    "cmult": "x * y",
    "colwise_add": "x + y.unsqueeze(1)",
    "CompactVanillaLSTMBuilder": _LSTM,
    "concatenate": "ln.cat(values)",
    "concatenate_cols": "ln.stack(values, 1)",
    "concatenate_to_batch": "nothing; examples become a batch by themselves",
    "constant": "ln.full(shape, number)",
    "ConstInitializer": "ln.nn.init.constant_(parameter, value)",
    "conv2d": "ln.nn.functional.conv2d(x, weight)",
    "CoupledLSTMBuilder": "ln.nn.CoupledLSTM(size, hidden)",
    "dot_product": "ln.dot(x, y)",
    "emax": "ln.maximum(x, y), of two; functools.reduce(ln.maximum, values)",
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
    "pairwise_rank_loss": "ln.relu(1.0 - x + y)",
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
    "std_elems": "ln.std(x, correction=0)",
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
OF_SEQUENCES = {**OF_VALUES, "T": "x.mT, of each row; x @ ln.stack(vectors, 1), for all products"}
OF_MODULES = {**TORCH_MODULES, **DYNET_MODULES}
OF_PACKAGE = {**TORCH_PACKAGE, **DYNET_PACKAGE}

# What gives one value here and several in PyTorch.
_UNPACKED = (
    "rnn(x) gives its rows alone, rnn(x, return_state=True) the state, too; ln.max(x, dim) values "
    "alone, ln.argmax(x, dim) their places"
)
SIZE_CALLED = (
    "size: a number here, of all elements, and no method; x.shape is the shape, x.shape[dim] a size"
)
_UNPACK, _IMPORTED = dis.opmap["UNPACK_SEQUENCE"], dis.opmap["IMPORT_FROM"]


def _asked_by() -> tuple[int, int]:
    """The instruction in which a user's code asks a value for what refuses it, and its argument."""
    try:
        frame = sys._getframe(3)
    except ValueError:  # nobody asks: the first call of a greenlet
        return -1, 0
    step, code = frame.f_lasti, frame.f_code.co_code
    return (code[step], code[step + 1]) if step >= 0 else (-1, 0)


def refuse_unpacking(value: Any, rows: int) -> None:
    """Raise where the caller's caller unpacks a value into more or fewer names than its rows.

    Python would do so as well, and cannot tell why there are no two values.
    """
    instruction, names = _asked_by()
    if instruction == _UNPACK and names != rows:
        kind = type(value).__name__
        raise ValueError(
            f"unpack: a {kind} of {tuple(value.shape)} is not {names} values; {_UNPACKED}"
        )


if sys.version_info < (3, 12):  # where finding a method has an instruction of its own
    _METHOD, _MARK = dis.opmap["LOAD_METHOD"], 0
else:
    _METHOD, _MARK = dis.opmap["LOAD_ATTR"], 1


def refuse_calling(told: str) -> None:
    """Raise where the caller's caller is about to call the property that it asks for.

    Python would do so as well, and cannot tell that it is a number here.
    """
    instruction, argument = _asked_by()
    if instruction == _METHOD and argument & _MARK == _MARK:
        raise TypeError(told)


def instead_of(setting: str) -> str:
    """What an error about an argument adds, where it is known what to write instead."""
    return f"; here: {TORCH_SETTINGS[setting]}" if setting in TORCH_SETTINGS else ""


def unknown_setting(name: str, function: Any, given: Iterable[str]) -> TypeError | None:
    """The error for an argument of PyTorch that a function does not take, if there is one."""
    suspected = [setting for setting in given if setting in TORCH_SETTINGS]
    if not suspected:
        return None
    taken = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return None
    for setting in suspected:
        if setting not in taken:
            return TypeError(f"{name} takes no argument {setting!r}{instead_of(setting)}")
    return None


class TellsSettings:
    """What tells of an argument of PyTorch that it cannot be made with."""

    if not TYPE_CHECKING:  # a type checker would take any arguments for those of `__init__`

        def __new__(cls, *args, **kwargs):
            wrong = unknown_setting(cls.__name__, cls.__init__, kwargs) if kwargs else None
            if wrong is not None:
                raise wrong
            return super().__new__(cls)


def tells(module: str, table: dict[str, str]) -> Callable[[str], NoReturn]:
    """The `__getattr__` of a module, which tells what to write instead of a name there is not."""

    def __getattr__(name: str) -> NoReturn:
        raise missing(sys.modules[module], f"module {module!r}", name, table)

    return __getattr__


def missing(owner: Any, kind: str, name: str, table: dict[str, str]) -> Exception:
    """The error for an attribute that there is not; it tells what to write, where that is known."""
    text = f"{kind} has no attribute {name!r}"
    of_values = table in (OF_VALUES, OF_SEQUENCES)
    if instead := table.get(name) or (of_values and table.get(name.removesuffix("_"))):
        text += f"; here: {instead}"
        if _asked_by()[0] == _IMPORTED:  # which does not show what an AttributeError says
            return ImportError(text)
    elif of_values and name.endswith("_"):
        text += _of_changes(type(owner), name[:-1])
    return AttributeError(text, name=name, obj=owner)


def _of_changes(kind: type, name: str) -> str:
    """What is written instead of changing a value in place."""
    if hasattr(kind, "copy_"):
        return "; here: p.copy_(values), or p.data[...] = values"
    if hasattr(kind, name):
        return f"; values never change, x = x.{name}(...) names a new one"
    return ""
