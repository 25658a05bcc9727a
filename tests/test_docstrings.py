"""The examples in docstrings run, and give what they say."""

import doctest
import importlib

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn

MODULES = [
    "lazynet.autodiff",
    "lazynet.check",
    "lazynet.checkpoint",
    "lazynet.function",
    "lazynet.hooks",
    "lazynet.modes",
    "lazynet.nn.attention",
    "lazynet.nn.bags",
    "lazynet.nn.crf",
    "lazynet.nn.module",
    "lazynet.nn.softmax",
    "lazynet.nn.transformer",
    "lazynet.ops.attention",
    "lazynet.ops.identity",
    "lazynet.ops.pairs",
    "lazynet.ops.random",
    "lazynet.ops.structured",
    "lazynet.ops.trees",
    "lazynet.transforms",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    module = importlib.import_module(name)
    results = doctest.testmod(
        module, extraglobs={"ln": ln, "nn": nn, "np": np}, optionflags=doctest.ELLIPSIS
    )
    assert results.attempted > 0 and results.failed == 0
