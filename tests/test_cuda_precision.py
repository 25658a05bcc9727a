"""Products in half precision on "cuda": `ln.autocast`, and the scaling of losses."""

import numpy as np
import pytest
from on_cuda import MARKS

import lazynet as ln
from lazynet.device import device_of
from lazynet.kernels import cuda_driver

pytestmark = MARKS


def half(x):
    return x.astype(np.float16).astype(np.float32)


def brain(x):
    """float32 with the 8 bits of mantissa that bfloat16 has, to the nearest even."""
    scale = np.exp2(np.floor(np.log2(np.abs(x))) - 7)
    return (np.rint(x / scale) * scale).astype(np.float32)


def check(y, rounded, exact):
    """Simulated products are those of rounded factors; cuBLAS may compute small ones exactly."""
    if cuda_driver.simulated():
        np.testing.assert_allclose(y, rounded, rtol=1e-5, atol=1e-6)
        assert abs(y - exact).max() > 1e-4
    else:
        np.testing.assert_allclose(y, exact, rtol=3e-2, atol=3e-2)


simulated_only = pytest.mark.skipif(
    not cuda_driver.simulated(), reason="cuBLAS may compute small products exactly"
)


def cuda(x, **options):
    return ln.tensor(x, device="cuda", **options)


@pytest.fixture
def arrays():
    return np.random.standard_normal((5, 7)).astype("float32"), np.random.standard_normal(
        (3, 7)
    ).astype("float32")


@pytest.mark.parametrize(("dtype", "rounded"), [("float16", half), ("bfloat16", brain)])
def test_factors_are_rounded_and_sums_are_not(arrays, dtype, rounded):
    x, w = arrays
    layer = ln.nn.Linear(7, 3, bias=False).cuda()
    layer.weight.copy_(w)
    with ln.autocast("cuda", dtype=dtype):
        y = layer(ln.sequence(cuda(x)))
    check(y.numpy(), rounded(x) @ rounded(w).T, x @ w.T)
    assert y.dtype == np.float32


def test_backward_computes_in_the_precision_of_its_forward(arrays):
    x, w = arrays
    layer, rows = ln.nn.Linear(7, 3, bias=False).cuda(), cuda(x, requires_grad=True)
    layer.weight.copy_(w)
    with ln.autocast("cuda"):
        y = layer(ln.sequence(rows))
    g = np.random.standard_normal((5, 3)).astype("float32")
    y.backward(g)
    assert layer.weight.grad.dtype == layer.weight.dtype == np.float32
    check(layer.weight.grad.numpy(), half(g).T @ half(x), g.T @ x)
    check(rows.grad.numpy(), half(g) @ half(w), g @ w)


def test_what_is_recorded_outside_keeps_its_precision(arrays):
    x, w = arrays
    layer = ln.nn.Linear(7, 3, bias=False).cuda()
    layer.weight.copy_(w)
    before = layer(cuda(x[0]))
    with ln.autocast("cuda"):
        inside = layer(cuda(x[0]))
    after = layer(cuda(x[0]))
    with ln.autocast("cuda", enabled=False):
        disabled = layer(cuda(x[0]))
    for y in (before, after, disabled):
        np.testing.assert_allclose(y.numpy(), x[0] @ w.T, rtol=1e-6, atol=1e-6)
    check(inside.numpy(), half(x[0]) @ half(w).T, x[0] @ w.T)


@simulated_only
def test_it_decorates_and_leaves_other_products_alone():
    @ln.autocast("cuda")
    def product(a, b):
        return ln.matmul(a, b)

    a = np.full((2, 2), 1.0 + 2.0**-13)
    assert product(cuda(a), cuda(a)).numpy()[0, 0] != 2.0  # float64
    a = a.astype("float32")
    assert product(cuda(a), cuda(a)).numpy()[0, 0] == 2.0
    assert product(ln.tensor(a), ln.tensor(a)).numpy()[0, 0] != 2.0  # on the CPU


def test_a_device_without_it_says_so(monkeypatch):
    monkeypatch.setattr(device_of("cuda").driver, "computes", lambda precision: False)
    with pytest.raises(ln.DeviceError, match="does not compute products in bfloat16"):
        ln.autocast("cuda", dtype="bfloat16")


@simulated_only
def test_scaled_losses_keep_gradients_that_float16_cannot_hold():
    gradients = []
    for scaler in (ln.GradScaler(enabled=False), ln.GradScaler()):
        layer = ln.nn.Linear(2, 1, bias=False).cuda()
        optimizer = ln.optim.SGD(layer.parameters(), lr=1.0)
        with ln.autocast("cuda"):
            y = layer(cuda(np.ones(2, "float32")))
        scaler.scale(y.sum() * 1e-9).backward()
        scaler.unscale_(optimizer)
        gradients.append(layer.weight.grad.numpy())
        assert scaler.step(optimizer)
    assert not gradients[0].any()
    np.testing.assert_allclose(gradients[1], 1e-9, rtol=1e-3)


@simulated_only
def test_a_step_whose_gradients_are_not_finite_is_left_out_and_the_scale_shrinks():
    layer = ln.nn.Linear(2, 1, bias=False).cuda()
    optimizer, scaler = ln.optim.SGD(layer.parameters(), lr=1.0), ln.GradScaler()
    before = layer.weight.numpy()
    with ln.autocast("cuda"):
        y = layer(cuda(np.ones(2, "float32")))
    scaler.scale(y.sum() * 100.0).backward()  # 6.5 million is beyond float16
    assert not scaler.step(optimizer)
    scaler.update()
    np.testing.assert_array_equal(layer.weight.numpy(), before)
    assert scaler.get_scale() == 32768.0
