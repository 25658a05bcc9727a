"""Kernels on CUDA: the CPU's, by the address of their CPU version, lifted from the same source.

A kernel is a loop over items. On CUDA each thread takes some of the items, or each block, whose
threads then share the `lanes` of an item; `+=` into a row is atomic, because several items may
share it. Elementwise kernels are generated anew: their threads take elements. Products are calls
of cuBLAS, made by the host.

A kernel with another shape than one loop over items runs on one thread. One that uses what has no
meaning on CUDA (products inside a kernel, arrays of its own) has no CUDA version, and its use says
so.
"""

import ast
import functools
import inspect
import textwrap
from typing import NamedTuple

from lazynet.kernels import cuda_attention, cuda_products, memory, words
from lazynet.kernels.cpu import KERNELS
from lazynet.kernels.cuda_words import (
    compile_source,
    lifted,
    lifted_names,
    meanings,
    scalar_words,
    twins,
)
from lazynet.kernels.generate import HEADER, Elementwise, Formula, Operand, cast
from lazynet.kernels.jit import made_from

# Calls that the host makes of a record.
HOST = {
    "matmul": cuda_products.matmul,
    "attention": cuda_attention.attention,
    "attention_backward": cuda_attention.attention_backward,
}
# Kernels that only CUDA has, which those calls launch.
CUDA_ONLY = (cuda_attention.attention_rows, cuda_attention.attention_rows_backward)
_WORDS = {name for name, value in vars(words).items() if value is None}
_ARRAYS = {"empty", "full", "ones", "zeros"}  # of a length that only the call tells


class NoCudaKernel(RuntimeError):
    """A kernel that has no CUDA version."""


# -- shared kernels --------------------------------------------------------------------------------


class _Items(ast.NodeTransformer):
    """Spreads the one loop over items: over threads, or over blocks whose threads share `lanes`.

    `+=` into a row is made atomic, unless the row is an `own_row`.
    """

    def visit_FunctionDef(self, node):
        loops = [s for s in node.body if isinstance(s, (ast.For, ast.While))]
        counts = {"p.size", *_read_from_record(node), *(a.arg for a in node.args.args)}
        self.kind = "one thread"
        if len(loops) == 1 and isinstance(loops[0], ast.For) and _range_of(loops[0]) in counts:
            self.kind = "blocks" if _uses(node, "lanes") else "items"
            which, step = _SPREAD[self.kind]
            count = ast.unparse(loops[0].iter.args[0])
            loops[0].iter = _expression(f"range({which}, {count}, {step})")
        elif _uses(node, "lanes"):
            raise SyntaxError(f"{node.name}: lanes are for kernels of one loop over items")
        self.own = _own_rows(node)
        self.shared = self.kind != "blocks"  # whether a thread is alone with what it does
        return self.generic_visit(node)

    def visit_For(self, node):
        alone = self.shared
        if isinstance(node.iter, ast.Call) and ast.unparse(node.iter.func) == "lanes":
            count = ast.unparse(node.iter.args[0])
            node.iter = _expression(f"range(cuda.threadIdx.x, {count}, cuda.blockDim.x)")
            self.shared = True
        self.generic_visit(node)
        self.shared = alone
        return node

    def visit_Expr(self, node):
        if ast.unparse(node.value) == "together()":
            node.value = _expression("cuda.syncthreads()")
        return node

    def visit_AugAssign(self, node):
        if not isinstance(node.target, ast.Subscript):
            return node
        if not self.shared:
            raise SyntaxError(f"{ast.unparse(node)}: every thread would do this; use lanes")
        own = ast.unparse(node.target.value) in self.own
        if own or self.kind == "one thread" or not isinstance(node.op, ast.Add):
            return node
        place, index, value = map(ast.unparse, (node.target.value, node.target.slice, node.value))
        return ast.parse(f"add({place}, {index}, {value})").body[0]

    def visit_Assign(self, node):
        """`y[j] = y[j] + v` is `y[j] += v`, also where it is one of two cases."""
        target, value = node.targets[0], node.value
        if not isinstance(target, ast.Subscript):
            return node
        if isinstance(value, ast.IfExp) and _adds_to(target, value.body):
            added = self.visit_AugAssign(ast.AugAssign(target, ast.Add(), value.body.right))
            return ast.If(value.test, [added], [ast.Assign([target], value.orelse)])
        if _adds_to(target, value):
            return self.visit_AugAssign(ast.AugAssign(target, ast.Add(), value.right))
        return node


# Of each way to spread items: which of them a thread begins with, and how many further the next is.
_SPREAD = {
    "items": ("cuda.grid(1)", "cuda.gridsize(1)"),
    "blocks": ("cuda.blockIdx.x", "cuda.gridDim.x"),
}


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def _uses(node, name: str) -> bool:
    """Whether a function uses a name."""
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))


def _own_rows(function: ast.FunctionDef) -> set[str]:
    """The names of rows that a kernel takes by `own_row`."""
    found = set()
    for part in ast.walk(function):
        if not isinstance(part, ast.Assign):
            continue
        pairs = [(part.targets[0], part.value)]
        if isinstance(part.targets[0], ast.Tuple) and isinstance(part.value, ast.Tuple):
            pairs = zip(part.targets[0].elts, part.value.elts)
        for target, value in pairs:
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "own_row":
                found.add(ast.unparse(target))
    return found


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
    """(a CUDA kernel's Python function, how its items are spread) of a loop over items."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    tree.body[0].decorator_list = []
    items = _Items()
    source = ast.unparse(ast.fix_missing_locations(items.visit(tree)))
    namespace = {**lifted_names(function.__code__, function.__globals__), **words}
    return compile_source(source, function.__name__, namespace), items.kind


@functools.cache
def shared(name: str, dtype: str):
    """The CUDA version of a shared kernel: its Python function, and how its items are spread."""
    kernel = KERNELS[name]
    if name in missing_kernels():
        raise NoCudaKernel(
            f"the kernel {name!r} has no CUDA version; compute this part on the CPU: x.cpu()"
        )
    return lift_items(kernel, meanings(dtype))


# -- elementwise kernels ---------------------------------------------------------------------------


def element_lines(kernel: Elementwise) -> list[str]:
    """What an elementwise kernel does with element j of row r, of w, as lines of Python."""
    operands = [*kernel.inputs, *(operand for _, operand in kernel.outputs)]
    names = [f"a{k}" for k in range(len(kernel.inputs))]
    names += [f"b{k}" for k in range(len(kernel.outputs))]
    lines = []
    for k, (name, operand) in enumerate(zip(names, operands)):
        place = HEADER + 8 + memory.OPERAND * k
        lines.append(f"{name} = row_{operand.dtype}(address(call + {place}, r), w)")
    for k, operand in enumerate(kernel.inputs):
        lines.append(f"x{k} = a{k}[{0 if operand.scalar else 'j'}]")
    for formula in kernel.formulas:
        lines.append(f"{formula.name} = {cast(formula)}")
    for k, (name, operand) in enumerate(kernel.outputs):
        index = "0" if operand.scalar else "j"
        if operand.accumulate:
            lines.append(f"add_{operand.dtype}(b{k}, {index}, {name})")
        else:
            lines.append(f"b{k}[{index}] = {name}")
    return lines


def elementwise_source(kernel: Elementwise) -> str:
    """An elementwise kernel as Python source: threads take elements."""
    lines = [
        "def elementwise(call, context):",
        "    w = load(call + 8)",
        "    for i in range(cuda.grid(1), load(call) * w, cuda.gridsize(1)):",
        "        r = i // w",
        "        j = i - r * w",
        *(f"        {line}" for line in element_lines(kernel)),
    ]
    return "\n".join(lines) + "\n"


def element_words(dtype: str) -> dict:
    """What the names in `element_lines` mean, for formulas of `dtype`."""
    return {
        **scalar_words(dtype),
        "load": lifted(memory.load),
        "address": lifted(memory.address),
        **{f"row_{key}": lifted(row) for key, row in memory.ROW.items()},
        **{f"c_{key}": scalar_words(key)["c"] for key in memory.ROW},
        **{f"add_{key}": word for key, word in twins()["add"].items()},
    }


@functools.cache
def elementwise(kernel: Elementwise):
    """The Python function of an elementwise kernel on CUDA."""
    return compile_source(elementwise_source(kernel), "elementwise", element_words(kernel.dtype))


# -- running ---------------------------------------------------------------------------------------


class Call(NamedTuple):
    """One call of a plan."""

    host: int  # the record's address in the host's memory, with the host's addresses of vectors
    words: list[int]  # the record
    record: int  # its address on the device
    precision: str  # of products, where they are in less than their dtype


class Kernels:
    """The kernels of one device, compiled when they are first called.

    Args:
        driver: what launches them.
        pool: memory of the device, for what calls made by the host need.
    """

    def __init__(self, driver, pool):
        self.driver, self.pool = driver, pool
        self._known = {}
        self._compiled = {}

    def run(self, kernel: int, call: Call) -> None:
        """Make one call of the kernel whose CPU version has that address."""
        found = self._known.get(kernel)
        if found is None:
            found = self._known[kernel] = self._prepare(kernel)
        compiled, kind = found
        _, words, record, _ = call
        if kind == "host":
            compiled(call)
        elif not words[0]:
            return
        elif kind == "blocks":
            self.driver.launch_blocks(compiled, words[0], record, 0)
        else:
            work = words[0] * words[1] if kind == "elements" else words[0] if kind == "items" else 1
            if work:
                self.driver.launch(compiled, work, record, 0)

    def _prepare(self, kernel: int):
        source = made_from(kernel)
        if isinstance(source, Elementwise):
            return self.driver.compile(elementwise(source)), "elements"
        name, dtype = source
        if name in HOST:
            return functools.partial(HOST[name], self, dtype), "host"
        made, kind = shared(name, dtype)
        return self.driver.compile(made), kind

    def add(self, dtype: str, width: int, record: int) -> None:
        """Add one row of elements to another, by a record of such a kernel."""
        kernel = Elementwise(
            (Operand(dtype),), (Formula("y", "x0", dtype),), (("y", Operand(dtype, False, True)),)
        )
        found = self.compiled_once(kernel, lambda: elementwise(kernel))
        self.driver.launch(found, width, record, 0)

    def compiled(self, function, dtype: str):
        """A kernel of CUDA alone, which the host calls with numbers of its own."""
        return self.compiled_once(
            (function, dtype), lambda: lift_items(function, meanings(dtype))[0]
        )

    def compiled_once(self, key, make):
        """The kernel that `make` gives, made and compiled when it is first asked for."""
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = self.driver.compile(make())
        return found


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
