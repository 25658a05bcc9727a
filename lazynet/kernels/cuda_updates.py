"""The update rules of `updates.py` on CUDA, by name: lifted from the same source, over rows.

What they take as arrays is anything with `address`, `size`, `dtype` and `device`. A rule that gives
a number gives one for each thread, and the host joins them.
"""

import ast
import functools
import inspect
import textwrap
from typing import Any

import numpy as np

from lazynet.kernels import updates
from lazynet.kernels.cuda_driver import BLOCK
from lazynet.kernels.cuda_words import compile_source, lifted_names, meanings

JOINED = {"square_sum": np.sum, "largest": np.max}
_PARTIALS = 64 * BLOCK


class _Lifted(ast.NodeTransformer):
    """Gives each thread some elements."""

    def __init__(self, arrays: tuple[str, ...]):
        self._arrays = arrays

    def visit_For(self, node):
        self.generic_visit(node)
        node.iter = ast.parse("range(cuda.grid(1), size, cuda.gridsize(1))", mode="eval").body
        return node


class _Each(_Lifted):
    """A rule for every row of a table, which says how many elements there are and where."""

    def visit_FunctionDef(self, node):
        node.decorator_list = []
        self.generic_visit(node)
        numbers = [a for a in node.args.args if a.arg not in self._arrays]
        node.args.args = [ast.arg("table_at"), ast.arg("count"), *numbers]
        width = len(self._arrays) + 1
        head = [f"entry = row_index(table_at + {8 * width} * k, {width})", "size = entry[0]"]
        head += [f"{name} = row(entry[{j + 1}], size)" for j, name in enumerate(self._arrays)]
        (loop,) = ast.parse("for k in range(count): pass").body
        loop.body = [*ast.parse("\n".join(head)).body, *node.body]
        node.body = [loop]
        return node


class _Flat(_Lifted):
    """Arrays become addresses, results become partial ones."""

    def __init__(self, arrays: tuple[str, ...]):
        super().__init__(arrays)
        self._gives = False  # whether the rule gives a number

    def visit_FunctionDef(self, node):
        node.decorator_list = []
        self.generic_visit(node)
        for argument in node.args.args:
            if argument.arg in self._arrays:
                argument.arg += "_at"
        node.args.args += [ast.arg("size"), ast.arg("partial_at")]
        rows = [f"{name} = row({name}_at, size)" for name in self._arrays]
        if self._gives:
            rows.append("partial = row_float64(partial_at, cuda.gridsize(1))")
        node.body[:0] = ast.parse("\n".join(rows)).body
        return node

    def visit_Return(self, node):
        self._gives = True
        return ast.parse(f"partial[cuda.grid(1)] = {ast.unparse(node.value)}").body[0]


@functools.cache
def arrays_of(name: str) -> tuple[str, ...]:
    """The arguments of an update that are arrays: those it takes elements of."""
    tree = _tree(name)
    taken = {
        part.value.id
        for part in ast.walk(tree)
        if isinstance(part, ast.Subscript) and isinstance(part.value, ast.Name)
    }
    return tuple(a.arg for a in tree.body[0].args.args if a.arg in taken)


def _tree(name: str):
    return ast.parse(textwrap.dedent(inspect.getsource(getattr(updates, name).py_func)))


@functools.cache
def lift_update(name: str, dtype: str, each: bool = False):
    """The Python function of an update's kernel, for arrays of `dtype`, or for a table of them."""
    function = getattr(updates, name).py_func
    lifted = _Each if each else _Flat
    tree = ast.fix_missing_locations(lifted(arrays_of(name)).visit(_tree(name)))
    names = {**lifted_names(function.__code__, function.__globals__), **meanings(dtype)}
    names["row_float64"] = meanings("float64")["row"]
    return compile_source(ast.unparse(tree), name, names)


@functools.cache
def _compiled(driver, name: str, dtype: str, each: bool = False):
    return driver.compile(lift_update(name, dtype, each))


def update(name: str, *arguments):
    """Run an update rule; the first argument is an array."""
    first = arguments[0]
    first.device.send_inputs()
    driver = first.device.driver
    kernel = _compiled(driver, name, first.dtype.name)
    words = [getattr(a, "address", a) for a in arguments]
    if name not in JOINED:
        if first.size:
            driver.launch(kernel, first.size, *words, first.size, 0)
        return None
    partial = first.device.zeros((_PARTIALS,), "float64")
    if first.size:
        threads = min(first.size, _PARTIALS)
        driver.launch(kernel, threads, *words, first.size, partial.address)
    return float(JOINED[name](partial.numpy()))


class Rules:
    """`updates`, for arrays on a device: `rules.scale(p, factor)`."""

    def __init__(self, device: Any):
        self._device = device
        # The last table of each rule: from step to step parameters and their states stay in place.
        self._sent: dict[tuple[str, str], tuple[np.ndarray, Any]] = {}

    def each(self, name: str, dtype: str, table: np.ndarray, numbers: tuple[float, ...]) -> None:
        """One launch of the rule `name` for every row of a table."""
        device, real = self._device, np.dtype(dtype).type
        before, sent = self._sent.get((name, dtype), (None, None))
        if before is None or not np.array_equal(before, table):
            sent = device.own(table)
            self._sent[name, dtype] = table, sent
        device.send_inputs()
        most = int(table[:, 0].max(initial=0))
        if most:
            kernel = _compiled(device.driver, name, dtype, True)
            device.driver.launch(kernel, most, sent.address, len(table), *map(real, numbers))

    def __getattr__(self, name: str):
        return functools.partial(update, name)
