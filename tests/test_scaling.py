"""`GradScaler` against PyTorch's, and modes of precision where there is no such device."""

import numpy as np
import pytest

import lazynet as ln


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_without_a_device_for_it_autocast_is_refused_in_one_sentence(device):
    from lazynet.kernels import cuda_driver

    if device == "cuda" and not cuda_driver.missing():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ln.DeviceError, match=r"^[^\n]+$"):
        ln.autocast(device)
    ln.autocast("cpu", enabled=False)


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="'float16' or 'bfloat16', not 'int8'"):
        ln.autocast("cuda", dtype="int8")


def steps(gradients, growth_interval=2):
    """The scale, and whether there was a step, after each of these gradients."""
    p = ln.Parameter(np.zeros(1, "float32"))
    optimizer = ln.optim.SGD([p], lr=1.0)
    scaler = ln.GradScaler(init_scale=8.0, growth_interval=growth_interval)
    told = []
    for g in gradients:
        optimizer.zero_grad()
        scaler.scale((p * float(g)).sum()).backward()
        stepped = scaler.step(optimizer)
        scaler.update()
        told.append((scaler.get_scale(), stepped))
    return told, p.item(), scaler


def test_the_scale_grows_and_shrinks_as_pytorchs():
    torch = pytest.importorskip("torch")
    gradients = [1.0, 2.0, np.inf, 1.0, np.nan, 1.0, 1.0, 1.0]
    told, value, scaler = steps(gradients)
    p = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=1.0)
    theirs = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    for (scale, _), g in zip(told, gradients, strict=True):
        optimizer.zero_grad()
        theirs.scale((p * g).sum()).backward()
        theirs.step(optimizer)
        theirs.update()
        assert scale == theirs.get_scale()
    assert value == p.item() == -7.0
    assert scaler.state_dict() == theirs.state_dict()
    again = ln.GradScaler()
    again.load_state_dict(theirs.state_dict())
    assert again.state_dict() == scaler.state_dict()


def test_gradients_are_divided_once_between_updates():
    p = ln.Parameter(np.ones(1, "float32"))
    optimizer, scaler = ln.optim.SGD([p], lr=1.0), ln.GradScaler(init_scale=4.0)
    scaler.scale(p.sum()).backward()
    assert p.grad.item() == 4.0
    scaler.unscale_(optimizer)
    assert p.grad.item() == 1.0
    with pytest.raises(RuntimeError, match="since the last update"):
        scaler.unscale_(optimizer)
    assert scaler.step(optimizer)
    assert p.item() == 0.0
    scaler.update(2.0)
    assert scaler.get_scale() == 2.0


def test_a_disabled_scaler_changes_nothing():
    p = ln.Parameter(np.ones(1, "float32"))
    optimizer, scaler = ln.optim.SGD([p], lr=1.0), ln.GradScaler(enabled=False)
    scaler.scale(p.sum()).backward()
    scaler.unscale_(optimizer)
    assert scaler.step(optimizer)
    scaler.update()
    assert (p.item(), scaler.get_scale(), scaler.is_enabled()) == (0.0, 1.0, False)


def test_there_is_one_step_between_updates():
    p = ln.Parameter(np.ones(1, "float32"))
    optimizer, scaler = ln.optim.SGD([p], lr=1.0), ln.GradScaler(init_scale=4.0)
    scaler.scale(p.sum()).backward()
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="step was called since the last update"):
        scaler.step(optimizer)
    assert p.item() == 0.0
    scaler.update()
    assert scaler.step(optimizer)


def test_gradients_that_were_recorded_are_divided_too():
    p = ln.Parameter(np.array([3.0], "float32"))
    scaler = ln.GradScaler(init_scale=4.0)
    scaler.scale((p * p).sum()).backward(create_graph=True)
    scaler.unscale_(ln.optim.SGD([p], lr=1.0))
    assert p.grad.tolist() == [6.0]


def test_states_of_disabled_scalers_are_empty_as_pytorchs(torch):
    off = ln.GradScaler(enabled=False)
    assert off.state_dict() == torch.amp.GradScaler("cpu", enabled=False).state_dict() == {}
    off.load_state_dict({})
    off.load_state_dict(ln.GradScaler(init_scale=2.0).state_dict())
    assert off.get_scale() == 1.0
    scaler = ln.GradScaler(init_scale=2.0)
    with pytest.raises(RuntimeError, match=r"has no scale, .*not enabled saves an empty one"):
        scaler.load_state_dict({})
    assert scaler.get_scale() == 2.0


@pytest.mark.parametrize(
    "options", [{"init_scale": 0.0}, {"growth_factor": 1.0}, {"backoff_factor": 1.0}], ids=str
)
def test_factors_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="GradScaler"):
        ln.GradScaler(**options)
