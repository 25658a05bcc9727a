"""What somebody new gets wrong: told in one sentence, with what would have been right."""

import copy
import functools
import importlib
import math
import operator
import re
import warnings

import numpy as np
import pytest

import lazynet as ln
from lazynet import data, elsewhere, nn, optim

LAYER, CELL, READER = nn.Linear(4, 3), nn.LSTMCell(4, 5), nn.LSTM(4, 5)


def rows(n):
    return ln.ones(4, length=n)


def unpacked(value):
    first, second = value
    return first, second


class Wide(nn.Module):
    def __init__(self, size):
        self.weight = nn.Parameter(np.ones(size))


def adam():
    return optim.Adam(LAYER.parameters())


def state_of_sgd():
    optimizer = optim.SGD(LAYER.parameters(), momentum=0.9)
    optimizer.zero_grad()
    kept = {name: p.numpy() for name, p in LAYER.named_parameters()}
    ln.sum(LAYER(ln.ones(4))).backward()
    optimizer.step()
    LAYER.load_state_dict(kept)
    return optimizer.state_dict()


# what was asked: (the call, the exception, its sentence)
MISTAKES = {
    # shapes, and one example where several are given
    "rows of unequal lengths": (
        lambda: ln.sequence([[1, 2], [3]]),
        ValueError,
        "sequence: ragged nested lists are no one value; make a Tensor or Sequence for each",
    ),
    "numbers beside Tensors": (
        lambda: ln.sequence([ln.ones(2), [1.0, 2.0]]),
        TypeError,
        r"sequence: expected Tensors as rows, not list beside them; ln.tensor\(x\)",
    ),
    "a list of sentences": (
        lambda: READER([rows(2), rows(3)]),
        ln.ShapeError,
        "LSTM: expected a Sequence, not a list of them; call it for each example",
    ),
    "a list of words": (
        lambda: READER([ln.ones(4)]),
        ln.ShapeError,
        r"LSTM: expected a Sequence, not a list; ln.sequence\(list\) makes one of a list",
    ),
    "an array of rows": (
        lambda: READER(np.ones((2, 4), np.float32)),
        ln.ShapeError,
        r"LSTM: expected a Sequence, not a ndarray; ln.sequence\(x\) makes one of its rows",
    ),
    "a list of examples": (
        lambda: CELL([ln.ones(4), ln.ones(4)]),
        TypeError,
        "LSTMCell: expected a Tensor or Sequence for x, not a list of 2; call it for each example",
    ),
    "a list of numbers for a module": (
        lambda: LAYER([1.0, 2.0, 3.0, 4.0]),
        TypeError,
        r"Linear: expected .* for x, not a list of 4; ln.tensor\(x\) makes a Tensor of numbers",
    ),
    "a list of numbers for a function": (
        lambda: ln.tanh([1.0, 2.0]),
        TypeError,
        r"tanh: expected a Tensor or Sequence, not a list; ln.tensor\(list\) makes a Tensor",
    ),
    "one Tensor to join": (lambda: ln.cat(ln.ones(3)), ln.ShapeError, "cat: a scalar has no axis"),
    "a size that is no integer": (
        lambda: ln.ones(2.0),
        TypeError,
        r"ones: sizes must be integers, not \(2.0,\)",
    ),
    "a row of a row": (
        lambda: ln.ones(4)[0, 0],
        IndexError,
        r"2 indices are too many for rows of \(4,\)",
    ),
    "a row of a row, behind a slice": (
        lambda: ln.ones(4, length=2)[:, -1, :],
        IndexError,
        r"2 indices are too many for rows of \(4,\)",
    ),
    "an element of numbers, behind a slice": (
        lambda: ln.ones(4)[:, 0],
        IndexError,
        r"2 indices are too many for rows of \(4,\)",
    ),
    "an element of an answer": (
        lambda: ln.ones(4)[True],
        IndexError,
        "a Tensor is indexed by integers, slices and arrays of them, not bool",
    ),
    "a row of an answer": (
        lambda: ln.ones(4, length=2)[True],
        IndexError,
        "a Sequence is indexed by integers, slices and lists of them, not bool",
    ),
    # values
    "a step by hand": (
        lambda: operator.isub(ln.Parameter([1.0, 2.0]), 0.1 * ln.ones(2)),
        TypeError,
        r"a parameter stays as it is in p \+= x and its like: p.data \+= x changes it",
    ),
    "a choice by a vector": (
        lambda: 1 if ln.ones(3) > 0 else 2,
        ValueError,
        r"bool: a Tensor of \(3,\) is not true or false as a whole; ask for ln.any\(x\) or",
    ),
    "a number of a vector": (lambda: float(ln.ones(3)), ValueError, "float: only a tensor of one"),
    "an integer of a vector": (lambda: int(ln.ones(3)), ValueError, "int: only a tensor of one"),
    # settings
    "a probability in words": (
        lambda: nn.Dropout("half"),
        ValueError,
        r"Dropout: the probability must be in \[0, 1\], not 'half'",
    ),
    "a rate in words": (
        lambda: optim.Adam(LAYER.parameters(), lr="0.1"),
        TypeError,
        "Adam: lr must be a number, not '0.1'",
    ),
    "one beta": (
        lambda: optim.Adam(LAYER.parameters(), betas=0.9),
        TypeError,
        "Adam: betas must be two numbers, not 0.9",
    ),
    "examples in words": (
        lambda: ln.profile(examples="all"),
        ValueError,
        "profile: examples must be at least 1, not 'all'",
    ),
    "a hook that is none": (
        lambda: LAYER.register_forward_hook(3),
        TypeError,
        "Linear: expected a function as a hook, not int",
    ),
    "a structure of numbers": (
        lambda: ln.Structure([1, 2]),
        TypeError,
        "Structure: expected for each node a list of the numbers of those below it",
    ),
    "one argument alone": (
        lambda: ln.check_grads(ln.tanh, ln.ones(3)),
        TypeError,
        "check_grads: expected a list of arguments, not Tensor",
    ),
    # what is called otherwise in PyTorch
    "a batch axis": (
        lambda: nn.LSTM(3, 4, batch_first=True),
        TypeError,
        "LSTM takes no argument 'batch_first'; here: nothing; there is no batch axis: a Sequence",
    ),
    "a batch axis of attention": (
        lambda: nn.TransformerEncoderLayer(4, 2, batch_first=True),
        TypeError,
        "TransformerEncoderLayer takes no argument 'batch_first'; here: nothing; there is no batch",
    ),
    "a module on a device": (
        lambda: Wide(size=3, device="cpu"),
        TypeError,
        r"Wide takes no argument 'device'; here: .*module\.to\(device\)",
    ),
    "a tensor on a device": (
        lambda: ln.zeros(3, device="cpu"),
        TypeError,
        r"zeros takes no argument 'device'; here: x\.to\(device\)",
    ),
    "an activation in place": (
        lambda: nn.ReLU(inplace=True),
        TypeError,
        "ReLU takes no arguments; here: nothing; values never change",
    ),
    "scores that are no rows": (
        lambda: nn.CrossEntropyLoss()(ln.ones(3, 4), [0, 1, 2]),
        ln.ShapeError,
        r"CrossEntropyLoss: expected float rows of \(classes,\), .*; ln.sequence\(x\) makes rows",
    ),
    "a view of rows as rows": (
        lambda: ln.cross_entropy(ln.ones(4, length=3).view(-1, 4), [0, 1, 2]),
        ln.ShapeError,
        r"cross_entropy: expected float rows .*; rows of a Sequence need no x.view\(-1, classes\)",
    ),
    "a dtype that is called": (
        lambda: ln.ones(3).type("float64"),
        TypeError,
        r"type: no method here; x.astype\(dtype\) changes the dtype",
    ),
    "a state under another name": (
        lambda: READER(rows(3), hx=None),
        TypeError,
        "LSTM takes no argument 'hx'; here: state",
    ),
    "classes under another name": (
        lambda: nn.functional.one_hot([0, 1], num_classes=3),
        TypeError,
        "one_hot takes no argument 'num_classes'; here: the second argument",
    ),
    "an axis behind a batch": (
        lambda: nn.functional.log_softmax(ln.ones(4), dim=1),
        ln.ShapeError,
        r"log_softmax: no axis 1 in a value of shape \(4,\); examples have no batch axis",
    ),
    "rows turned over": (
        lambda: rows(3).T,
        AttributeError,
        r"'Sequence' object has no attribute 'T'; here: .*; x @ ln.stack\(vectors, 1\)",
    ),
    "places of the largest": (
        lambda: unpacked(ln.max(ln.ones(3, 4), 0)),
        ValueError,
        r"unpack: a Tensor of \(4,\) is not 2 values; .* ln.argmax\(x, dim\) their places",
    ),
    "the place of the largest": (
        lambda: unpacked(ln.max(ln.ones(3), 0)),
        ValueError,
        r"unpack: a Tensor of \(\) is not 2 values; .* ln.argmax\(x, dim\) their places",
    ),
    "a state that was not asked for": (
        lambda: unpacked(READER(rows(3))),
        ValueError,
        r"unpack: a Sequence of \(3, 5\) is not 2 values; .* rnn\(x, return_state=True\)",
    ),
    "a state of one row": (
        lambda: unpacked(READER(rows(2))[-1]),
        ValueError,
        r"unpack: a Tensor of \(5,\) is not 2 values; .* rnn\(x, return_state=True\)",
    ),
    # states
    "a model for its state": (
        lambda: ln.save({"model": LAYER}, "model.safetensors"),
        TypeError,
        r"save: model is of type Linear; .* can be saved; its state can be, .state_dict\(\)",
    ),
    "a path for a state": (
        lambda: LAYER.load_state_dict("model.safetensors"),
        TypeError,
        r"Linear: load_state_dict: expected a dict of arrays, not str; ln.load\(path\)",
    ),
    "a model's state for an optimizer": (
        lambda: adam().load_state_dict(LAYER.state_dict()),
        ValueError,
        "Adam: load_state_dict: this is no optimizer's state, which has 'state'",
    ),
    "another optimizer's state": (
        lambda: adam().load_state_dict(state_of_sgd()),
        ValueError,
        "Adam: the state of a parameter holds momentum_buffer, which is another optimizer's",
    ),
    "a state for a path": (
        lambda: ln.save("model.safetensors", LAYER.state_dict()),
        TypeError,
        r"save: expected save\(state, path\), not dict as the path",
    ),
    # data
    "examples that come by and by": (
        lambda: data.Loader((i for i in range(3)), batch_size=2),
        TypeError,
        "Loader: expected a list of examples, not generator",
    ),
    "examples of many workers": (
        lambda: data.Loader([1, 2], 2, num_workers=4),
        TypeError,
        "Loader takes no argument 'num_workers'; here: nothing; examples are in memory",
    ),
    "examples put together": (
        lambda: data.Loader([1, 2], batch_size=2, collate_fn=list),
        TypeError,
        "Loader takes no argument 'collate_fn'; here: nothing; a minibatch is a list of examples",
    ),
    "updates in one": (
        lambda: optim.Adam(LAYER.parameters(), fused=True),
        TypeError,
        "Adam takes no argument 'fused'; here: nothing; all parameters are updated in one",
    ),
    "no examples at a time": (
        lambda: data.Loader([1, 2], batch_size=0),
        ValueError,
        "Loader: batch_size must be an integer of at least 1, not 0",
    ),
    "a vocabulary of sentences": (
        lambda: data.Vocabulary([["a", "b"], ["c"]]),
        TypeError,
        "Vocabulary: .*; of sentences, give the words",
    ),
    "a vocabulary of a number": (
        lambda: data.Vocabulary(3),
        TypeError,
        "Vocabulary: expected entries to count, not int",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_wrong_and_what_would_be_right_is_told(mistake):
    call, kind, sentence = MISTAKES[mistake]
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert re.match(sentence, message), message
    assert "\n" not in message and len(message) < 400


def test_an_optimizer_of_ones_own_keeps_what_it_likes():
    class Mine(optim.Optimizer):
        def _update(self, p, g, state, group):
            state["seen"] = state.get("seen", np.zeros_like(p)) + 1.0

    p = ln.Parameter([1.0, 2.0])
    first = Mine([p], {})
    p.square().sum().backward()
    first.step()
    second = Mine([p], {})
    second.load_state_dict(first.state_dict())
    second.step()
    assert second.state_dict()["state"][0]["seen"].tolist() == [2.0, 2.0]


def test_sizes_of_numpy_are_sizes():
    assert ln.zeros(np.int64(3)).shape == ln.ones([3]).shape == ln.full(np.int32(3), 1.0).shape


@pytest.mark.parametrize("name", ["var", "std", "sum", "softmax", "cumsum", "sort"])
@pytest.mark.parametrize("value", [ln.ones(2, 3), ln.ones(3, length=2)])
def test_true_and_false_are_no_axes(name, value):
    """PyTorch takes `x.var(False)` for `x.var(unbiased=False)`."""
    for axis in (True, False):
        with pytest.raises(ln.ShapeError, match=f"{name}: no axis {axis}"):
            getattr(ln, name)(value, axis)


@pytest.mark.parametrize("name", ["float64", np.float64, np.dtype("int64")])
@pytest.mark.parametrize("moved", [ln.ones(2), ln.nn.Linear(2, 2)])
def test_a_dtype_is_no_device(moved, name):
    with pytest.raises(ln.DeviceError, match=r"unknown device .*; x\.astype\(dtype\)"):
        moved.to(name)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([1.0, None], "a NoneType"), ([1.0, "a"], "text"), ([None, "a"], "a NoneType"),
        ([[1.0, []], [2.0, [3]]], "a list"), (np.array([1, "a"], object), "text"),
        (np.array([], object), "dtype object"),
    ],
)  # fmt: skip
def test_what_is_no_number_among_numbers_is_told(data, told):
    with pytest.raises((TypeError, ValueError), match=rf"^tensor: {told} is not supported"):
        ln.tensor(np.array(data, object))


@pytest.mark.parametrize("value", [ln.ones(2), ln.sequence(np.ones((2, 3)))])
def test_that_a_value_wants_a_gradient_is_said_when_it_is_made(value):
    with pytest.raises(AttributeError, match=r"ln\.tensor\(data, requires_grad=True\) makes one"):
        value.requires_grad = True
    parameter = ln.Parameter([1.0])
    parameter.requires_grad = False
    assert not parameter.requires_grad


class Foreign:
    """An array of another library."""

    shape = (3,)

    def __array__(self, dtype=None, copy=None):
        return np.ones(3, dtype)


@pytest.mark.parametrize("called", [nn.Linear(3, 2), nn.LSTM(3, 2), ln.softmax])
def test_arrays_of_another_library_are_told_apart(called):
    package = Foreign.__module__.partition(".")[0]
    told = rf"not a {package}\.Foreign; ln\.\w+\(x\) makes"
    with pytest.raises((TypeError, ln.ShapeError), match=told):
        called(Foreign())


def test_loaders_and_profiles_are_shown_for_what_they_are():
    assert repr(data.Loader([1, 2], 2)) == "Loader(2 examples, batch_size=2, shuffle=True)"
    with ln.profile() as profile:
        ln.tanh(ln.ones(3)).numpy()
    assert repr(profile) == str(profile) and "tanh [3]" in repr(profile)


@pytest.mark.parametrize("value", [ln.ones(2), ln.sequence(np.ones((2, 3))), ln.Parameter([1.0])])
def test_names_from_elsewhere_tell_the_name_here(value):
    kind = type(value).__name__
    with pytest.raises(AttributeError, match=rf"'{kind}' object .*'numel'; here: x\.size"):
        value.numel()
    kept = r"p\.copy_\(values\)" if kind == "Parameter" else r"values never change, x = x\.add\("
    with pytest.raises(AttributeError, match=kept):
        value.add_(1.0)
    with pytest.raises(AttributeError, match=r"'masked_fill_'; here: ln\.where\(mask, value, x\)"):
        value.masked_fill_(value > 0, 1.0)
    with pytest.raises(AttributeError, match=r"has no attribute 'wrong_'"):
        value.wrong_()
    with pytest.raises(AttributeError, match=rf"^'{kind}' object has no attribute 'nonsense'$"):
        value.nonsense()
    assert not hasattr(value, "__array_interface__")


def test_a_loader_tells_where_its_examples_are():
    loader = data.Loader([1, 2], 2)
    with pytest.raises(AttributeError, match=r"'dataset'; here: loader\.examples$"):
        loader.dataset
    assert copy.deepcopy(loader).examples == loader.examples == [1, 2]


@pytest.mark.parametrize("value", [ln.ones(2), rows(3), ln.Parameter([1.0])])
def test_a_size_that_is_called_tells_of_the_shape(value):
    for call in (lambda: value.size(), lambda: value.size(0), lambda: len(value.size())):
        with pytest.raises(TypeError, match=r"^size: a number here.*x\.shape\[dim\]"):
            call()
    sizes = [value.size, operator.attrgetter("size")(value), math.prod(value.shape)]
    assert len({*sizes, abs(value.size)}) == 1 and value.size.bit_length() > 0


def test_a_device_is_made_as_in_pytorch():
    device = ln.device("cuda" if ln.cuda.is_available() else "cpu")
    layer = nn.Linear(4, 3).to(device)
    made = ln.tensor([1.0] * 4, device=device)
    assert layer(made).device == layer(ln.ones(4).to(device)).device == device.name


def test_what_a_property_raises_is_not_taken_for_a_missing_name(monkeypatch):
    def broken(x):
        raise AttributeError("of the user's own code")

    monkeypatch.setattr(ln.Tensor, "halves", property(broken), raising=False)

    class Halved(nn.Module):
        halves = property(broken)

    for owner in ln.ones(2), Halved():
        with pytest.raises(AttributeError, match="of the user's own code"):
            owner.halves


def test_names_of_other_packages_tell_the_name_here():
    with pytest.raises(AttributeError, match="dtypes are numpy's, or their names"):
        ln.zeros(3, dtype=ln.float32)
    with pytest.raises(AttributeError, match="graphs begin and end by themselves"):
        ln.renew_cg()
    with pytest.raises(AttributeError, match=r"^module 'lazynet' has no attribute 'nonsense'$"):
        ln.nonsense()
    layer = nn.Linear(2, 2)
    with pytest.raises(AttributeError, match=r"^Linear has no .*; here: ln\.Parameter\(array\)"):
        layer.add_parameters((2, 2))
    with pytest.raises(AttributeError, match=r"^'SGD' object has no .*; here: opt\.step\(\)"):
        optim.SGD(layer.parameters(), 0.1).update()
    with pytest.raises(AttributeError, match=r"^Linear has no attribute 'add_'$"):
        layer.add_()


@pytest.mark.parametrize(
    ("module", "name", "told"),
    [
        ("lazynet", "FloatTensor", r"ln\.tensor\(data\)"),
        ("lazynet.data", "DataLoader", r"ln\.data\.Loader\(examples, batch_size\)"),
        ("lazynet.nn.utils", "rnn", "nothing is padded"),
    ],
)
def test_names_that_are_imported_tell_the_name_here(module, name, told):
    with pytest.raises(ImportError, match=rf"^module '{module}' has no .*'{name}'; here: .*{told}"):
        exec(f"from {module} import {name}")
    with pytest.raises(AttributeError, match=told):
        getattr(importlib.import_module(module), name)
    with pytest.raises(ImportError, match=r"^cannot import name 'nonsense'"):
        exec(f"from {module} import nonsense")


def test_what_is_told_is_there():
    layer = nn.Linear(2, 2)
    for table, owners in (
        (elsewhere.OF_VALUES, (ln.ones(2), ln.sequence(np.ones((2, 3))))),
        (elsewhere.OF_PACKAGE, (ln,)),
        (elsewhere.TORCH_DATA, (data,)),
        (elsewhere.TORCH_LOADERS, (data.Loader([1], 1),)),
        (elsewhere.TORCH_UTILS, (nn.utils,)),
        (elsewhere.TORCH_OPTIM, (optim,)),
        (elsewhere.OF_MODULES, (layer, nn.LSTM(2, 2), nn.ModuleList())),
        (elsewhere.TORCH_SETTINGS, ()),
        (elsewhere.DYNET_OPTIMIZERS, (optim.Adam(layer.parameters()),)),
    ):
        for name, instead in table.items():
            assert not any(hasattr(owner, name) for owner in owners), name
            for path in re.findall(r"ln\.([\w.]+)", instead):
                functools.reduce(getattr, path.split("."), ln)
            for attribute in re.findall(r"\bx\.(\w+)", instead):
                assert hasattr(ln.Tensor, attribute), instead
                of_one_row = attribute in ("T", "item")
                assert of_one_row or hasattr(ln.Sequence, attribute), instead


def test_rows_are_unpacked_into_as_many_names():
    for value in rows(2), ln.ones(2, 3):
        first, second = value
        assert first.shape == second.shape == value.shape[1:]
        first, *others = value
        assert len(others) == 1 and len(list(value)) == len(tuple(value)) == 2
    assert ln.map(list, [rows(3)])[0][2].shape == (4,)


def test_what_takes_any_setting_is_left_alone():
    class Open(nn.Module):
        def __init__(self, *, device="cpu", **settings):
            self.settings = device, settings

    assert Open(device="cuda", dtype="half").settings == ("cuda", {"dtype": "half"})
    assert nn.Linear(3, 2, bias=False).bias is None


def test_a_sequence_has_as_many_elements_as_its_array():
    for value in rows(3), rows(0), ln.ones(length=2):
        assert value.size == value.numpy().size


# A size that no other test has: shapes that have met before are not looked at again.
SIZE = 53
SCORES, VECTORS = ln.sequence(np.arange(SIZE * 1.0)), ln.ones(3, length=SIZE)


@pytest.mark.parametrize(
    ("name", "meet", "shape"),
    [
        ("eq", lambda: SCORES.eq(ln.tensor(np.ones(SIZE))), (SIZE, SIZE)),
        ("sub", lambda: np.ones(SIZE) - SCORES, (SIZE, SIZE)),
        ("add", lambda: VECTORS + ln.ones(SIZE, 3), (SIZE, SIZE, 3)),
        ("where", lambda: ln.where(ln.tensor(np.arange(SIZE) > 2), -1.0, SCORES), (SIZE, SIZE)),
    ],
)
def test_a_tensor_of_the_shape_of_all_rows_is_told_of(name, meet, shape):
    told = rf"{name}: a Tensor of the shape of all rows of a Sequence .*; ln\.sequence\(x\) makes"
    with pytest.warns(UserWarning, match=told) as caught:
        assert meet().shape == shape
    assert caught[0].filename == __file__


def test_what_is_said_again_from_one_line_is_shown_once(recwarn):
    warnings.simplefilter("default")
    for n in SIZE, SIZE + 1:
        rows(n) + ln.ones(n, 4)
    assert len(recwarn) == 1


def test_tensors_that_are_meant_to_meet_each_row_are_not_told_of():
    assert (SCORES.unsqueeze(1) == ln.tensor(np.ones(SIZE))).shape == (SIZE, SIZE)
    assert (VECTORS.unsqueeze(1) - ln.ones(SIZE, 3)).shape == (SIZE, SIZE, 3)
    assert (SCORES * ln.ones(5)).shape == (SIZE, 5) and (VECTORS * ln.ones(3)).shape == (SIZE, 3)
    assert (SCORES[:1] * ln.Parameter([2.0])).shape == (1, 1) and (SCORES + SCORES).shape == (SIZE,)


def test_a_tensor_of_values_that_want_gradients_is_told_of():
    y = ln.tensor([1.0, 2.0], requires_grad=True) * 2.0
    for values in ([y[0], y[1]], (0.5, y[0]), [[1.0, y[0]], [2.0, 3.0]], [y, y]):
        with pytest.warns(UserWarning, match=r"tensor: only the numbers .* ln\.stack") as caught:
            made = ln.tensor(values)
        assert caught[0].filename == __file__
        assert not made.requires_grad
    assert made.tolist() == [[2.0, 4.0], [2.0, 4.0]]


def test_a_tensor_of_numbers_is_not_told_of():
    y = ln.tensor([1.0, 2.0], requires_grad=True) * 2.0
    fixed = ln.tensor([1.0, 2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ln.tensor([y.detach(), fixed]).tolist() == [[2.0, 4.0], [1.0, 2.0]]
        assert ln.tensor([y[0].item(), 1.0]).tolist() == [2.0, 1.0]
        assert ln.stack([y, y]).requires_grad


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (lambda: ln.grad(ln.ones(2).sum(), [ln.ones(2)]), r"grad: expected a function.*gradients"),
        (lambda: ln.value_and_grad(ln.ones(2)), r"grad: expected a function, not a Tensor"),
        (lambda: nn.init.xavier_uniform_(nn.Linear(2, 2)), r"not a Linear; .* module\.weight"),
        (lambda: nn.init.zeros_(ln.zeros(2)), r"zeros_: expected a parameter, not a Tensor"),
        (lambda: ln.Parameter(3, 4), r"float64, not int64; .* ln\.Parameter\(ln\.zeros\(3, 4\)\)"),
        (lambda: operator.setitem(ln.Parameter([1.0]), 0, 2.0), r"; p\.data\[index\] = numbers"),
        (lambda: operator.setitem(ln.ones(2), 0, 2.0), r"; build a new value with ln\.where"),
        (lambda: ln.scan(rows(2), ln.ones(2), ln.tanh), "a Sequence, in this order, not Sequence"),
    ],
)
def test_what_was_meant_is_told(mistake, told):
    with pytest.raises(TypeError, match=told):
        mistake()


def test_dtypes_of_others_are_no_devices():
    class Other:
        def __str__(self):
            return "torch.float64"

    for dtype in (Other(), np.float64, "float64"):
        with pytest.raises(ln.DeviceError, match=r"x\.astype\(dtype\)"):
            ln.ones(2).to(dtype)


def test_files_of_others_are_told_of(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"PK" + bytes(64))
    with pytest.raises(ValueError, match=r"no whole safetensors file .*torch\.load"):
        ln.load(tmp_path / "model.pt")


def test_the_gradient_of_a_leaf_is_set_and_no_other():
    x = ln.tensor([1.0, 2.0], requires_grad=True)
    for expected in ([2.0, 4.0], [4.0, 8.0]):
        x.square().sum().backward()
        assert x.grad.tolist() == expected
    x.grad = None
    assert x.grad is None
    x.grad = [1.0, 0.0]
    x.square().sum().backward()
    assert x.grad.tolist() == [3.0, 4.0]
    for value in (x * 1.0, x[:1], x[0]):
        with pytest.raises(AttributeError, match="grad: that of a leaf can be set"):
            value.grad = None
