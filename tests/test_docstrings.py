"""Every public name has an example, and the examples in docstrings give what they say."""

import builtins
import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest
from surface import public_functions, public_modules

import lazynet as ln
from lazynet import nn

# Kernels are compiled and not called by users; the command runs, and `peers` imports PyTorch.
NO_EXAMPLES = ("lazynet.kernels", "lazynet.cli", "lazynet.peers", "lazynet.__main__")


class Finder(doctest.DocTestFinder):
    """Finds the examples of decorated functions too, which are at home where they were written."""

    def _from_module(self, module, value):
        return super()._from_module(module, inspect.unwrap(value) if callable(value) else value)


def documented():
    """The docstrings with examples of all modules, by the name of the module."""
    found = {}
    for info in pkgutil.walk_packages(ln.__path__, "lazynet."):
        if not info.name.startswith(NO_EXAMPLES):
            module = importlib.import_module(info.name)
            tests = Finder(exclude_empty=True).find(module)
            if any(test.examples for test in tests):
                found[info.name] = tests
    return found


EXAMPLES = documented()


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_give_what_they_say(name):
    told = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in EXAMPLES[name]:
        # Examples are written for users: `sum` is Python's, whatever a module calls so.
        test.globs.update(vars(builtins), ln=ln, nn=nn, np=np)
        runner.run(test, out=told.append)
    assert not runner.summarize(verbose=False).failed, "".join(told)


def test_the_example_of_every_public_function_is_run():
    ran = {test.name for tests in EXAMPLES.values() for test in tests}
    made = [f for f in public_functions().values() if f.__module__ != "lazynet.ops.ways"]
    assert not [f for f in made if f"{f.__module__}.{f.__name__}" not in ran]


def test_every_public_function_and_module_has_an_example():
    names = {**public_functions(), **public_modules()}
    assert not [name for name, value in names.items() if ">>>" not in (value.__doc__ or "")]


def test_every_public_function_and_module_tells_what_it_computes_and_of_what_shapes():
    names = {**public_functions(), **public_modules()}
    assert not [name for name, value in names.items() if "Shapes" not in (value.__doc__ or "")]
    assert not [name for name, value in names.items() if not value.__doc__.split("\n")[0].strip()]
