"""Compiles kernels to PTX for one architecture, without a GPU: `python compile_cuda.py 80`.

Elementwise kernels come from the samples of all ops, from all modules and from cells, scans and
derivatives as users write them, forward and backward; shared ones from their families; updates from
the optimizers. Prints how many were compiled.
"""

import inspect
import os
import sys
import types
from pathlib import Path

from numba import cuda
from numba.core.types import float32, int64
from numba.cuda import dispatcher

architecture = divmod(int(sys.argv[1]), 10)
# Functions called by kernels are compiled for the current device, which need not be there.
dispatcher.get_current_device = lambda: types.SimpleNamespace(compute_capability=architecture)

sys.path.insert(0, str(Path(__file__).parent))
os.chdir(Path(__file__).parent)

import numpy as np  # noqa: E402
from test_cuda_modules import MODULES, placed, values_in  # noqa: E402
from test_ops import CASES, draw, lazy, run  # noqa: E402
from test_runs import CASES as RUNS  # noqa: E402
from test_runs import draw as draw_runs  # noqa: E402
from test_runs import run as run_runs  # noqa: E402

import lazynet as ln  # noqa: E402
from lazynet import executor, loops  # noqa: E402
from lazynet.batching import layout as words  # noqa: E402
from lazynet.kernels import cuda as kernels  # noqa: E402
from lazynet.kernels import cuda_scan, cuda_updates, jit, updates  # noqa: E402
from lazynet.kernels.generate import Elementwise  # noqa: E402
from lazynet.ops.reduce import sum as sum_of  # noqa: E402


def run_every_op():
    """So that the CPU has every kernel."""
    for op, sample in CASES:
        for dtype in ("float32", "float64") if op.kind != words.RUNS else ():
            segments = op.kind == words.SEGMENT
            operands = [
                lazy(draw(sample, k, 2 if segments else None, dtype), segments,
                     k in sample.parameters)
                for k in range(len(sample.operands))
            ]  # fmt: skip
            y = run(op, sample, operands)
            if y.dtype.kind == "f" and y.requires_grad and op.vjp:
                sum_of(y).backward()


def run_every_op_over_runs():
    """Likewise."""
    for op, sample, form in (case.values for case in RUNS):
        for dtype in ("float32", "float64"):
            operands = [lazy(a, True) for a in draw_runs(sample, form(3, 4)[0], dtype)]
            y = run_runs(op, sample, form, (3, 4), operands)
            if op.vjp:
                sum_of(y).backward()


def run_every_module():
    """Likewise: the kernels of cells, scans and folds are generated from what was traced."""
    for name, (make, inputs) in MODULES.items():
        module = make()
        outputs = values_in(module(*[placed(x, "cpu") for x in inputs()]))
        found = [y for y in outputs if y.dtype.kind == "f"]
        assert found, name
        sum_of([sum_of(y * y) for y in found]).backward()


def run_lists_and_steps_of_users():
    """Likewise: cells over lists of any length, checkpoints, derivatives of derivatives."""

    @ln.cell
    def join(x, below):
        rows = ln.sequence([h for h, _ in below])
        scores = ln.softmax(ln.dot(rows, x), 0)
        return ln.tanh(ln.sum(scores * rows, 0) + x), ln.max(rows, 0) - ln.mean(below[0][1]) * x

    x = ln.tensor(np.ones(3, np.float32), requires_grad=True)
    states = [(x * 1.0, x * 0.5)]
    for count in (1, 2, 3):
        states.append(join(x, states[:count]))
    sum_of([sum_of(h + c) for h, c in states]).backward()
    for made in (ln.cell, ln.checkpoint):
        sum_of(made(lambda v: (v.tanh() * v).exp())(x)).backward()
    ln.hessian(lambda v: (v.tanh() * v).sum())(x).numpy()
    ln.jvp(lambda v: v.exp() * v, (x.detach(),), (x.detach(),))[1].numpy()
    rows = ln.sequence(ln.tensor(np.ones((4, 3), np.float32), requires_grad=True))
    (states,) = ln.scan(lambda row, state: (ln.tanh(row * state[0] + state[0]),), (x,), rows)
    sum_of(states).backward()


FOUND = set()  # the kernels of the loops of scans that may be one launch


def noting_loops(execute):
    def run(calls, stop, *watch):
        part = calls[:stop]
        FOUND.update((loop.cases, loop.dtype) for loop in loops.find(part, part.copy()).values())
        execute(calls, stop, *watch)

    return run


def compiled(function, arguments) -> bool:
    text, _ = cuda.compile_ptx(function, arguments, cc=architecture)
    return f".target sm_{architecture[0]}{architecture[1]}" in text


np.random.seed(0)
run_every_op()
run_every_op_over_runs()
executor.execute = noting_loops(executor.execute)
run_every_module()
run_lists_and_steps_of_users()
count = 0
for source in set(jit.all_made_from()):
    if isinstance(source, Elementwise):
        assert compiled(kernels.elementwise(source), (int64, int64)), source
        count += 1
for name, kernel in kernels.KERNELS.items():
    if inspect.isfunction(kernel) and name not in {*kernels.HOST, *kernels.missing_kernels()}:
        for dtype in ("float32", "float64"):
            function, _ = kernels.shared(name, dtype)
            assert compiled(function, (int64, int64)), name
            count += 1
for kernel in kernels.CUDA_ONLY:
    for dtype in ("float32", "float64"):
        function, _ = kernels.lift_items(kernel, kernels.meanings(dtype))
        numbers = len(inspect.signature(kernel).parameters)
        assert compiled(function, (int64,) * numbers), kernel.__name__
        count += 1
assert len(FOUND) > 8
for cases, dtype in FOUND:
    assert compiled(cuda_scan.steps(cases, dtype), (int64,) * 8), cases
    count += 1
for name, rule in vars(updates).items():
    if not hasattr(rule, "py_func"):
        continue
    arrays = cuda_updates.arrays_of(name)
    given = inspect.signature(rule.py_func).parameters
    arguments = [int64 if n in arrays else float32 for n in given]
    function = cuda_updates.lift_update(name, "float32")
    assert compiled(function, (*arguments, int64, int64)), name
    count += 1
    if name not in cuda_updates.JOINED:
        function = cuda_updates.lift_update(name, "float32", True)
        numbers = [float32 for n in given if n not in arrays]
        assert compiled(function, (int64, int64, *numbers)), name
        count += 1
print(count)
