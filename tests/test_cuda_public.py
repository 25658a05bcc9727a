"""Whatever public functions and modules make inside lies where their operands do.

Every example of a docstring is run with what the user makes on "cuda", while new values live on
the CPU by default: a helper value that does not follow its operands is an error that names both
devices.
"""

import ast
import builtins
import doctest
import importlib
import pkgutil
import types
from pathlib import Path

import numpy as np
import pytest
from on_cuda import MARKS

import lazynet as ln
from lazynet.device import device_among, device_of, on_device
from lazynet.kernels import cuda_driver

pytestmark = MARKS


class OnCuda:
    """A module of lazynet as its user sees it whose own values are all on "cuda"."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        found = getattr(self._module, name)
        if isinstance(found, types.ModuleType):
            return OnCuda(found)
        if isinstance(found, type) and issubclass(found, BaseException):
            return found
        return _made_on_cuda(found) if callable(found) else found


def _made_on_cuda(function):
    def call(*args, **kwargs):
        given = device_among((*args, *kwargs.values()))
        owned = any(isinstance(x, ln.nn.Module) for x in args)
        if given is not None or owned:
            return function(*args, **kwargs)
        with on_device(device_of("cuda")):
            return function(*args, **kwargs)

    return call


class Unsigned(doctest.OutputChecker):
    """Takes -0.0 for 0.0."""

    def check_output(self, want, got, optionflags):
        return super().check_output(want, got.replace("-0.0", "0.0"), optionflags)


ON_THE_CPU = {"lazynet.function.Function"}  # computes with numpy
NO_EXAMPLES = ("lazynet.kernels", "lazynet.cli", "lazynet.peers", "lazynet.__main__")


def documented():
    """The examples of all docstrings of all modules, once each."""
    found = {}
    for info in pkgutil.walk_packages(ln.__path__, "lazynet."):
        if not info.name.startswith(NO_EXAMPLES):
            module = importlib.import_module(info.name)
            for test in doctest.DocTestFinder(exclude_empty=True).find(module):
                if test.examples and test.name not in ON_THE_CPU:
                    found[test.name] = test
    return found


EXAMPLES = documented()


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_docstrings_run_on_the_device(name):
    test = EXAMPLES[name]
    # Examples are written for users: `sum` is Python's, whatever a module calls so.
    test.globs.update(vars(builtins), ln=OnCuda(ln), nn=OnCuda(ln.nn), np=np)
    told = []
    runner = doctest.DocTestRunner(Unsigned(), False, doctest.ELLIPSIS)
    results = runner.run(test, out=told.append, clear_globs=False)
    assert not results.failed, "".join(told)


def test_there_are_examples_of_every_family():
    assert len(EXAMPLES) > 140


CREATORS = {"tensor", "zeros", "ones", "full", "rand", "randn"}
# What users call to make values: these live on the default device.
MAKE_VALUES = {"full", "ones", "randint", "sequence"}


@pytest.mark.parametrize("path", sorted((Path(ln.__file__).parent / "ops").glob("*.py")), ids=str)
def test_functions_of_ops_that_make_values_let_them_follow_their_operands(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef) or node.name in MAKE_VALUES:
            continue
        calls = [part.func for part in ast.walk(node) if isinstance(part, ast.Call)]
        if CREATORS & {f.id for f in calls if isinstance(f, ast.Name)}:
            marks = [ast.unparse(mark) for mark in node.decorator_list]
            assert "beside_operands" in marks, f"{path.name}: {node.name}"


def test_arrays_that_are_operands_have_no_device_of_their_own():
    for device in ("cuda", "cpu", "cuda"):
        x = ln.tensor([1.0, 2.0], device=device)
        for y in (
            x + np.ones(2, "float32"),
            np.ones(2, "float32") + x,
            ln.maximum(x, np.float32(2)),
        ):
            assert y.device == x.device
        assert (x + np.ones(2, "float32")).tolist() == [2.0, 3.0]


def test_what_forward_makes_lives_where_the_parameters_do():
    class Padded(ln.nn.Module):
        def __init__(self):
            self.layer = ln.nn.Linear(2, 2)

        def forward(self, x):
            first = self.layer(ln.zeros(2))
            return ln.stack([first, *(self.layer(ln.tensor(row)) for row in x), ln.rand(2)])

    model = Padded()
    for device in ("cuda:0", "cpu", "cuda:0"):
        y = model.to(device)([[1.0, 2.0]])
        assert (y.device, y.numpy().shape) == (device, (3, 2))
    assert ln.zeros(2).device == "cpu"


def test_runs_and_scans_work_on_the_second_device():
    if cuda_driver.count() < 2:
        pytest.skip("there is one device")
    rows = np.random.standard_normal((3, 4)).astype("float32")
    found = []
    for device in ("cpu", "cuda:1"):
        ln.manual_seed(0)
        attend, read = ln.nn.MultiheadAttention(4, 2).to(device), ln.nn.GRU(4, 3).to(device)
        x = ln.sequence(ln.tensor(rows, device=device))
        y = read(attend(x, x, x)[0])
        y.sum().backward()
        assert y.device == device
        found.append([y.numpy(), *(p.grad.numpy() for p in attend.parameters())])
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-5)
