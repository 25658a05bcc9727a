"""Kernels on CUDA: the CPU's, by the address of their CPU version, lifted from the same source.

A kernel is a loop over items. On CUDA each thread takes some of the items, and `+=` into a row is
atomic, because several items may share it. Elementwise kernels are generated anew: their threads
take elements. Products are calls of cuBLAS, made by the host.

A kernel with another shape than one loop over items runs on one thread. One that uses what has no
meaning on CUDA (products inside a kernel, arrays of its own) has no CUDA version, and its use says
so.
"""

import ast
import functools
import inspect
import textwrap

from lazynet.kernels import cuda_products, memory, words
from lazynet.kernels.cpu import KERNELS
from lazynet.kernels.cuda_words import (
    compile_source,
    lifted,
    lifted_names,
    meanings,
    scalar_words,
    twins,
)
from lazynet.kernels.generate import HEADER, Elementwise, cast
from lazynet.kernels.jit import made_from

HOST = {"matmul": cuda_products.matmul}
_WORDS = {name for name, value in vars(words).items() if value is None}
_ARRAYS = {"empty", "full", "ones", "zeros"}  # of a length that only the call tells


class NoCudaKernel(RuntimeError):
    """A kernel that has no CUDA version."""


# -- shared kernels --------------------------------------------------------------------------------


class _Items(ast.NodeTransformer):
    """Gives each thread some items of the one loop over them, and makes `+=` into rows atomic."""

    def visit_FunctionDef(self, node):
        loops = [s for s in node.body if isinstance(s, (ast.For, ast.While))]
        counts = {"p.size", *_read_from_record(node)}
        self.spread = (
            len(loops) == 1 and isinstance(loops[0], ast.For) and _range_of(loops[0]) in counts
        )
        if self.spread:
            count = ast.unparse(loops[0].iter.args[0])
            loops[0].iter = ast.parse(
                f"range(cuda.grid(1), {count}, cuda.gridsize(1))", mode="eval"
            ).body
        return self.generic_visit(node)

    def visit_AugAssign(self, node):
        if not self.spread or not isinstance(node.op, ast.Add):
            return node
        if not isinstance(node.target, ast.Subscript):
            return node
        place, index, value = map(ast.unparse, (node.target.value, node.target.slice, node.value))
        return ast.parse(f"add({place}, {index}, {value})").body[0]

    def visit_Assign(self, node):
        """`y[j] = y[j] + v` is `y[j] += v`, also where it is one of two cases."""
        target, value = node.targets[0], node.value
        if not self.spread or not isinstance(target, ast.Subscript):
            return node
        if isinstance(value, ast.IfExp) and _adds_to(target, value.body):
            added = self.visit_AugAssign(ast.AugAssign(target, ast.Add(), value.body.right))
            return ast.If(value.test, [added], [ast.Assign([target], value.orelse)])
        if _adds_to(target, value):
            return self.visit_AugAssign(ast.AugAssign(target, ast.Add(), value.right))
        return node


def _adds_to(target, value) -> bool:
    """Whether a value is the target plus something."""
    adds = isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add)
    return adds and ast.unparse(value.left) == ast.unparse(target)


def _range_of(loop: ast.For) -> str:
    """What a loop counts up to; "" where it is no plain range."""
    call = loop.iter
    plain = isinstance(call, ast.Call) and ast.unparse(call.func) == "range" and len(call.args) == 1
    return ast.unparse(call.args[0]) if plain else ""


def _read_from_record(function: ast.FunctionDef) -> set[str]:
    """The names that stand for the first word of the record: the number of items."""
    found = set()
    for statement in function.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                target, value = target.elts[0], value.elts[0]
            if isinstance(target, ast.Name) and ast.unparse(value) == "load(call)":
                found.add(target.id)
    return found


def lift_items(function, words: dict):
    """(a CUDA kernel's Python function, whether threads share its items) of a loop over items."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    tree.body[0].decorator_list = []
    items = _Items()
    source = ast.unparse(ast.fix_missing_locations(items.visit(tree)))
    namespace = {**lifted_names(function.__code__, function.__globals__), **words}
    return compile_source(source, function.__name__, namespace), items.spread


@functools.cache
def shared(name: str, dtype: str):
    """The CUDA version of a shared kernel: its Python function, and whether threads share items."""
    kernel = KERNELS[name]
    if name in missing_kernels():
        raise NoCudaKernel(
            f"the kernel {name!r} has no CUDA version; compute this part on the CPU: x.cpu()"
        )
    return lift_items(kernel, meanings(dtype))


# -- elementwise kernels ---------------------------------------------------------------------------


def elementwise_source(kernel: Elementwise) -> str:
    """An elementwise kernel as Python source: threads take elements."""
    operands = [*kernel.inputs, *(operand for _, operand in kernel.outputs)]
    names = [f"a{k}" for k in range(len(kernel.inputs))]
    names += [f"b{k}" for k in range(len(kernel.outputs))]
    lines = [
        "def elementwise(call, context):",
        "    w = load(call + 8)",
        "    for i in range(cuda.grid(1), load(call) * w, cuda.gridsize(1)):",
        "        r = i // w",
        "        j = i - r * w",
    ]
    for k, (name, operand) in enumerate(zip(names, operands)):
        place = HEADER + 8 + memory.OPERAND * k
        lines.append(f"        {name} = row_{operand.dtype}(address(call + {place}, r), w)")
    for k, operand in enumerate(kernel.inputs):
        lines.append(f"        x{k} = a{k}[{0 if operand.scalar else 'j'}]")
    for formula in kernel.formulas:
        lines.append(f"        {formula.name} = {cast(formula)}")
    for k, (name, operand) in enumerate(kernel.outputs):
        index = "0" if operand.scalar else "j"
        if operand.accumulate:
            lines.append(f"        add_{operand.dtype}(b{k}, {index}, {name})")
        else:
            lines.append(f"        b{k}[{index}] = {name}")
    return "\n".join(lines) + "\n"


@functools.cache
def elementwise(kernel: Elementwise):
    """The Python function of an elementwise kernel on CUDA."""
    namespace = {
        **scalar_words(kernel.dtype),
        "load": lifted(memory.load),
        "address": lifted(memory.address),
        **{f"row_{key}": lifted(row) for key, row in memory.ROW.items()},
        **{f"c_{key}": scalar_words(key)["c"] for key in memory.ROW},
        **{f"add_{key}": word for key, word in twins()["add"].items()},
    }
    return compile_source(elementwise_source(kernel), "elementwise", namespace)


# -- running ---------------------------------------------------------------------------------------


class Kernels:
    """The kernels of one device, compiled when they are first called."""

    def __init__(self, driver):
        self._driver = driver
        self._known = {}

    def run(self, kernel: int, host: int, words: list[int], record: int) -> None:
        """Make one call.

        Args:
            kernel: the address of the CPU version.
            host: the address of the record in the host's memory, with the host's addresses of
                vectors.
            words: the record.
            record: its address on the device.
        """
        found = self._known.get(kernel)
        if found is None:
            found = self._known[kernel] = self._prepare(kernel)
        compiled, kind = found
        if kind == "host":
            compiled(self._driver, host, words)
        elif words[0]:
            work = words[0] * words[1] if kind == "elements" else words[0] if kind == "items" else 1
            if work:
                self._driver.launch(compiled, work, record, 0)

    def _prepare(self, kernel: int):
        source = made_from(kernel)
        if isinstance(source, Elementwise):
            return self._driver.compile(elementwise(source)), "elements"
        name, dtype = source
        if name in HOST:
            return functools.partial(HOST[name], dtype), "host"
        made, spread = shared(name, dtype)
        return self._driver.compile(made), "items" if spread else "one thread"


@functools.cache
def missing_kernels() -> list[str]:
    """The shared kernels without a CUDA version: what they use means nothing there."""
    unknown = (_WORDS - meanings("float32").keys()) | _ARRAYS
    return [
        name
        for name, kernel in KERNELS.items()
        if inspect.isfunction(kernel)
        and name not in HOST
        and unknown & set(kernel.__code__.co_names)
    ]
