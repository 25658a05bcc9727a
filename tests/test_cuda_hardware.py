"""What hardware is asked for by CuPy and numba: products by cuBLAS's rules, all in one stream."""

import sys

import numpy as np
import pytest
from cupy_stand_in import StandIn
from numba import cuda as numba_cuda
from on_cuda import MARKS

import lazynet as ln
from lazynet import cuda
from lazynet.device import CPU, on_device
from lazynet.kernels import cuda_driver
from lazynet.kernels.cuda_driver import CudaMissing, Hardware
from lazynet.kernels.cuda_simulator import Simulator

pytestmark = [
    *MARKS,
    pytest.mark.skipif(not cuda_driver.simulated(), reason="looks at hardware from outside"),
]
OURS = 7  # the number of the one stream that the stand-in makes


class Launches:
    """A kernel of the simulator that notes in which stream it is launched."""

    def __init__(self, kernel, streams):
        self._kernel, self._streams = kernel, streams

    def __getitem__(self, configuration):
        blocks, threads, stream, on_chip = configuration
        assert 0 < blocks <= cuda_driver.MOST_BLOCKS and threads == cuda_driver.BLOCK
        self._streams.add(stream)
        return self._kernel[blocks, threads, 0, on_chip]


@pytest.fixture
def cupy(monkeypatch):
    """Stands in for CuPy where hardware is opened; kernels run on two blocks of two threads."""
    found = StandIn()
    monkeypatch.setitem(sys.modules, "cupy", found)
    monkeypatch.setattr(numba_cuda, "external_stream", lambda pointer: pointer)
    monkeypatch.setattr(cuda_driver, "BLOCK", 2)
    monkeypatch.setattr(cuda_driver, "MOST_BLOCKS", 2)
    quiet = Simulator().compile
    monkeypatch.setattr(
        Hardware, "compile", lambda self, kernel: Launches(quiet(kernel), found.streams)
    )
    return found


@pytest.fixture
def device(cupy, monkeypatch):
    """A device of hardware, as far as it can tell."""
    monkeypatch.setattr(cuda, "driver", Hardware)
    made = cuda.CudaDevice(0)
    made.name = "cuda:7"  # none of the simulator's, whose values may be kept
    monkeypatch.setattr(
        sys.modules[CPU.__module__], "_named", lambda name: made if name == made.name else CPU
    )
    return made


SIZES = [(1, 1, 1), (2, 3, 4), (5, 1, 3), (1, 4, 2), (3, 2, 0), (0, 2, 3)]


@pytest.mark.parametrize("precision", ["", "float16", "bfloat16"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_products_are_those_of_rows(device, m, n, k, dtype, precision):
    rng = np.random.default_rng(0)
    for ta, tb, accumulate, count in np.ndindex(2, 2, 2, 3):
        shapes = [(k, m) if ta else (m, k), (n, k) if tb else (k, n), (m, n)]
        a, b, c = (rng.standard_normal((max(count, 1), *s)).astype(dtype) for s in shapes)
        x, y, z = map(device.own, (a, b, c))
        steps = (count, m * k, k * n, m * n) if count else None
        device.send_inputs()
        device.driver.gemm(
            dtype, ta, tb, m, n, k, x.address, shapes[0][1], y.address, shapes[1][1], accumulate,
            z.address, n, steps, precision,
        )  # fmt: skip
        want = np.matmul(a.swapaxes(1, 2) if ta else a, b.swapaxes(1, 2) if tb else b)
        np.testing.assert_allclose(z.numpy(), want + c * accumulate, rtol=1e-5, atol=1e-5)


def test_a_product_of_part_of_wider_rows(device):
    a, c = np.arange(12, dtype="float32").reshape(3, 4), np.zeros((3, 5), "float32")
    b = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
    x, y, z = map(device.own, (a, b, c))
    device.send_inputs()
    device.driver.gemm("float32", 0, 0, 3, 2, 2, x.address, 4, y.address, 2, 0, z.address, 5)
    c[:, :2] = a[:, :2] @ b
    np.testing.assert_array_equal(z.numpy(), c)


def trained():
    """A step of training with recurrence, attention and gradients that are clipped."""
    ln.manual_seed(0)
    read, attend = ln.nn.LSTM(3, 4, bidirectional=True), ln.nn.MultiheadAttention(8, 2)
    parameters = [*read.parameters(), *attend.parameters()]
    optimizer = ln.optim.SGD(parameters, lr=0.1, momentum=0.9)
    losses = []
    for n in (3, 1):
        rows = np.linspace(-1, 1, 3 * n, dtype="float32").reshape(n, 3)
        x = read(ln.sequence(ln.tensor(rows)))
        losses.append(attend(x, x, x)[0].square().sum())
    loss = ln.mean(losses)
    loss.backward()
    ln.nn.utils.clip_grad_norm_(parameters, 0.5)
    optimizer.step()
    return [loss.numpy(), *(p.numpy() for p in parameters)]


def test_all_that_training_does_goes_to_one_stream(device, cupy):
    with on_device(device):
        there = trained()
    assert cupy.streams == {OURS}
    assert cupy.current == [0] and not cupy.devices  # what the user had made current is so again
    for here, found in zip(trained(), there, strict=True):
        np.testing.assert_allclose(found, here, rtol=1e-5, atol=1e-5)


def test_full_memory_tells_the_sizes_and_leaves_the_device_usable(cupy, monkeypatch):
    cupy._room = 1 << 22
    monkeypatch.setattr(cuda, "driver", Hardware)
    device = cuda.CudaDevice(0)
    x = ln.tensor(np.ones(3, "float32"), device=device)
    with pytest.raises(MemoryError, match=r"has no room for 8\.0 MiB more: lazynet holds 1\.0 MiB"):
        ln.tensor(np.zeros(1 << 21, "float32"), device=device)
    assert (x + x).tolist() == [2.0, 2.0, 2.0]


def test_cublas_takes_its_memory_when_the_device_is_opened(cupy):
    Hardware(0)
    assert cupy.handles == {0}


def test_cupy_without_cublas_is_told_before_anything_runs(cupy, monkeypatch):
    class Without:
        def __getattr__(self, name):
            if name == "cublas":
                raise ImportError("libcublas.so.12: no such file")
            return getattr(found, name)

    found = cupy.cuda
    monkeypatch.setattr(cupy, "cuda", Without())
    with pytest.raises(CudaMissing, match=r"does not find cuBLAS \(libcublas.so.12: no such file"):
        Hardware(0)


def test_what_is_written_to_a_leaf_that_is_not_sent_yet_stays(device):
    x = device.own(np.zeros(4, "float32"))
    y = device.own(np.full(4, 3.0, "float32"))
    device.write(x.address, np.ones(4, "float32"))
    z = device.own(np.zeros(4, "float32"))
    device.copy(z.address, y.address, y.nbytes)
    assert x.numpy().tolist() == [1.0] * 4 and z.numpy().tolist() == [3.0] * 4
