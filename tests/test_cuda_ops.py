"""Every op on "cuda" against the CPU, and kernels that have no CUDA version."""

import numpy as np
import pytest
from on_cuda import MARKS, agree
from test_ops import CASES, draw, gradient_of, lazy, named, run
from test_runs import draw as draw_runs
from test_runs import over_all as over_runs
from test_runs import run as run_runs

import lazynet as ln
from lazynet.batching import layout as words
from lazynet.device import device_of
from lazynet.kernels import cuda, cuda_attention
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.rows import sequence

pytestmark = MARKS
KINDS = (words.ROWS, words.SEGMENT, words.ALIAS)
THERE = [case for case in CASES if case[0].kind in KINDS]
# What the CPU's worker threads call, and what needs arrays of its own.
WITHOUT_CUDA = {"product_part", "ctc", "ctc_backward"}


def with_gradients(op, sample, handles, y):
    """The value of y, and the gradients of all float leaves under a random cotangent."""
    found = [y.numpy()]
    wanted = op.vjp or op.kind == words.ALIAS
    if y.dtype.kind == "f" and y.requires_grad and wanted:
        weights = ln.tensor(np.asarray(np.random.randn(*y.shape), y.dtype))
        sum_of(y * (sequence(weights) if isinstance(y, ln.Sequence) else weights)).backward()
        found += [np.asarray(gradient_of(h)) for h in handles if h.dtype.kind == "f"]
    return found


@pytest.mark.parametrize(("op", "sample"), THERE, ids=list(named(THERE)))
def test_every_op_agrees_on_one_row_on_many_and_on_a_shared_one(op, sample):
    segments = op.kind == words.SEGMENT

    def one():
        arrays = [draw(sample, k, 4 if segments else None, "float32")
                  for k in range(len(sample.operands))]  # fmt: skip
        handles = [lazy(a, segments, k in sample.parameters) for k, a in enumerate(arrays)]
        return with_gradients(op, sample, handles, run(op, sample, handles))

    def several(shared):
        arrays = [
            draw(sample, k, None if k in sample.parameters or k == shared else 3, "float32")
            for k in range(len(sample.operands))
        ]
        handles = [
            lazy(a, k not in sample.parameters and k != shared, k in sample.parameters)
            for k, a in enumerate(arrays)
        ]
        return with_gradients(op, sample, handles, run(op, sample, handles, 3))

    agree(one)
    if not segments:
        for shared in (None, *(range(len(sample.operands)) if len(sample.operands) > 1 else ())):
            agree(lambda shared=shared: several(shared))


@over_runs
@pytest.mark.parametrize("sizes", [[(3, 4)], [(0, 2), (5, 2), (1, 1), (4, 4)]], ids=["one", "many"])
def test_every_op_over_runs_agrees(op, sample, form, sizes):
    def examples():
        handles, results = [], []
        for size in sizes:
            arrays = draw_runs(sample, form(*size)[0], "float32")
            handles.append([lazy(a, True) for a in arrays])
            results.append(run_runs(op, sample, form, size, handles[-1]))
        found = [y.numpy() for y in results]
        if op.vjp:
            weights = [lazy(np.random.standard_normal(y.shape).astype("float32"), True)
                       for y in results]  # fmt: skip
            sum_of([sum_of(y * w) for y, w in zip(results, weights, strict=True)]).backward()
            found += [np.asarray(gradient_of(h)) for operands in handles for h in operands]
        return found

    agree(examples)


def test_attention_over_more_examples_than_have_room_at_a_time(monkeypatch):
    monkeypatch.setattr(cuda_attention, "ROOM", 1)

    def attend():
        found = []
        for n in (2, 3):
            x = lazy(np.random.standard_normal((n, 4)).astype("float32"), True)
            y = ln.nn.functional.scaled_dot_product_attention(x, x, x, heads=2)
            found.append((x, y, sum_of(y * y)))
        sum_of([loss for _, _, loss in found]).backward()
        return [part for x, y, _ in found for part in (y.numpy(), np.asarray(gradient_of(x)))]

    agree(attend)


def test_kernels_without_a_cuda_version_are_the_ones_noted_here():
    """So that whoever adds a kernel learns whether it runs on CUDA."""
    assert set(cuda.missing_kernels()) == WITHOUT_CUDA


def test_using_a_kernel_without_a_cuda_version_says_so(monkeypatch):
    monkeypatch.setattr(cuda, "missing_kernels", lambda: ["max_axis"])
    cuda.shared.cache_clear()
    monkeypatch.setattr(
        device_of("cuda"),
        "_kernels",
        cuda.Kernels(device_of("cuda").driver, device_of("cuda").pool),
    )
    with pytest.raises(ln.DeviceError, match="'max_axis' has no CUDA version"):
        ln.tensor([1.0, 2.0], device="cuda").max().numpy()
    assert ln.tensor([1.0, 2.0]).max().item() == 2.0
