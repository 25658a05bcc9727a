"""Every public function and module: it batches, its rows are Tensors, and docs/ops.md is true."""

import ast
import importlib.util
import inspect
from pathlib import Path

import numpy as np
import pytest
from facts import EXAMPLES, LENGTHS, attempt, computed, facts
from surface import FUNCTIONS, MODULES, Example, call_of, public_functions, public_modules

import lazynet as ln
from lazynet import methods

SURFACE = {**public_functions(), **public_modules()}
every_name = pytest.mark.parametrize("name", SURFACE)
PAGE = Path(__file__).parent.parent / "docs" / "make_ops.py"


def make_ops():
    """The script that writes the page."""
    spec = importlib.util.spec_from_file_location("make_ops", PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_name_what_is_public():
    short = {name.split(".")[-1] for name in public_functions()}
    assert set(FUNCTIONS) <= short
    assert {f"nn.{name}" for name in MODULES} <= set(public_modules())


@every_name
def test_examples_batch_or_the_docstring_says_why_not(name):
    """50 examples, recorded one by one, need no more batches of a signature than one of them."""
    found = facts(name)
    assert EXAMPLES == 50 and found.takes
    assert not found.apart or "Batches: " in SURFACE[name].__doc__, found.apart


@every_name
def test_float32_agrees_with_float64(name):
    call = call_of(name)
    length = None if "Tensor" in facts(name).takes else LENGTHS[0]
    exact, rounded = (
        computed(call, Example(length, dtype=dtype)) for dtype in ("float64", "float32")
    )
    for a, b in zip(exact, rounded, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", [n for n in SURFACE if n not in ("ln.sequence", "ln.stack")])
def test_a_sequence_without_rows_gives_an_answer_or_one_sentence(name):
    """It never crashes, and never answers with rows that nobody gave."""
    found, call = facts(name), call_of(name)
    if "rows" not in found.takes:
        return
    values = attempt(call, Example(0))
    assert values is None or all(len(v) == 0 for v in values)


def test_the_table_of_the_documentation_is_what_trying_gives():
    page = make_ops()
    for place, text in (page.PLACE, page.page()), (page.NAMES_PLACE, page.names_page()):
        assert place.read_text(encoding="utf-8") == text, "run python docs/make_ops.py"


def test_the_methods_that_type_checkers_see_are_those_that_values_have():
    """What ops attach stands in `methods.py`, with the names that its arguments have."""
    told = {}
    (listed,) = (
        n for n in ast.parse(inspect.getsource(methods)).body if isinstance(n, ast.ClassDef)
    )
    for node in ast.walk(listed):
        if isinstance(node, ast.FunctionDef):
            own = node.args
            names = [a.arg for a in (own.vararg, own.kwarg, *own.args[1:], *own.kwonlyargs) if a]
            told[node.name] = set(names) - {"dim"}
    found = {}
    for name, value in {**vars(ln.Sequence), **vars(ln.Tensor)}.items():
        function = value.fget if isinstance(value, property) else value
        home = getattr(function, "__module__", "") or ""
        if callable(function) and home.startswith("lazynet") and home != "lazynet.tensor":
            _, *names = inspect.signature(function).parameters
            found[name] = set() if isinstance(value, property) else set(names) - {"dim"}
    assert told == found
