"""Every public name has an example, and the examples in docstrings give what they say."""

import builtins
import doctest
import importlib
import pkgutil

import numpy as np
import pytest
from surface import public_functions, public_modules

import lazynet as ln
from lazynet import nn

# Kernels are compiled and not called by users; the command runs, and `peers` imports PyTorch.
NO_EXAMPLES = ("lazynet.kernels", "lazynet.cli", "lazynet.peers", "lazynet.__main__")


def documented():
    """The docstrings with examples of all modules, by the name of the module."""
    found = {}
    for info in pkgutil.walk_packages(ln.__path__, "lazynet."):
        if not info.name.startswith(NO_EXAMPLES):
            module = importlib.import_module(info.name)
            tests = doctest.DocTestFinder(exclude_empty=True).find(module)
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


def test_every_public_function_and_module_has_an_example():
    names = {**public_functions(), **public_modules()}
    assert not [name for name, value in names.items() if ">>>" not in (value.__doc__ or "")]
