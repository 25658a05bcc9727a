"""Compiles kernels to PTX for one architecture, without a GPU: `python compile_cuda.py 80`.

Elementwise kernels come from the samples of all ops and from cells and scans, forward and backward;
shared ones from their families; updates from the optimizers. Prints how many were compiled.
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
from test_ops import CASES, draw, lazy, run  # noqa: E402
from test_runs import CASES as RUNS  # noqa: E402
from test_runs import draw as draw_runs  # noqa: E402
from test_runs import run as run_runs  # noqa: E402

import lazynet as ln  # noqa: E402
from lazynet.batching import layout as words  # noqa: E402
from lazynet.kernels import cuda as kernels  # noqa: E402
from lazynet.kernels import cuda_updates, jit, updates  # noqa: E402
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


def run_cells_and_scans():
    """Likewise: their kernels are generated from what was traced."""
    nn = ln.nn
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        layer = kind(3, 4, bidirectional=True)
        sum_of(layer(ln.sequence(np.ones((2, 3), np.float32)))).backward()
    for cell in (nn.RNNCell(3, 4), nn.GRUCell(3, 4), nn.LSTMCell(3, 4)):
        y = cell(ln.ones(3))
        sum_of(y[0] if isinstance(y, tuple) else y).backward()
    for cell in (nn.TreeLSTMCell(3, 4, 2), nn.ChildSumTreeLSTMCell(3, 4)):
        leaf = cell(ln.ones(3))
        sum_of(cell(ln.ones(3), [leaf, leaf])[0]).backward()


def compiled(function, arguments) -> bool:
    text, _ = cuda.compile_ptx(function, arguments, cc=architecture)
    return f".target sm_{architecture[0]}{architecture[1]}" in text


np.random.seed(0)
run_every_op()
run_every_op_over_runs()
run_cells_and_scans()
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
for name, rule in vars(updates).items():
    if not hasattr(rule, "py_func"):
        continue
    arrays = cuda_updates.arrays_of(name)
    given = inspect.signature(rule.py_func).parameters
    arguments = [int64 if n in arrays else float32 for n in given]
    function = cuda_updates.lift_update(name, "float32")
    assert compiled(function, (*arguments, int64, int64)), name
    count += 1
print(count)
