"""Values, modules and errors on "cuda": where they are, how they move, what they keep."""

import copy
import pickle

import numpy as np
import pytest
from on_cuda import MARKS

import lazynet as ln
from lazynet.device import device_of
from lazynet.kernels import cuda_driver
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.rows import sequence

pytestmark = MARKS


def test_values_move_and_tell_where_they_are():
    x = ln.tensor([[1.0, 2.0], [3.0, 4.0]])
    there = x.to("cuda")
    assert (x.device, there.device, there.cpu().device) == ("cpu", "cuda:0", "cpu")
    assert (there * 2.0).device == "cuda:0"
    assert there.to("cuda:0") is there
    np.testing.assert_array_equal(there.cpu().numpy(), x.numpy())
    rows = sequence(x).cuda()
    np.testing.assert_array_equal((rows + 1.0)[1].cpu().numpy(), [4.0, 5.0])
    np.testing.assert_array_equal(rows[::-1].numpy(), x.numpy()[::-1])


def test_the_default_device_is_where_new_values_live():
    ln.set_default_device("cuda")
    try:
        assert ln.tensor(1.0).device == "cuda:0"
        assert ln.nn.Linear(2, 2).weight.device == "cuda:0"
        assert ln.rand(2).device == "cuda:0"
    finally:
        ln.set_default_device("cpu")
    assert ln.tensor(1.0).device == "cpu"


def test_a_module_moves_with_its_gradients_and_an_optimizer_made_before():
    x = np.ones(3, "float32")

    def steps(moves):
        ln.manual_seed(0)
        model = ln.nn.Linear(3, 2)
        optimizer = ln.optim.Adam(model.parameters())
        for device in ("cpu", "cuda", "cpu"):
            model.to(device if moves else "cpu")
            sum_of(model(ln.tensor(x, device=model.weight.device))).backward()
            optimizer.step()
            assert model.weight.grad.device == model.weight.device
        return list(model.state_dict().values())

    for a, b in zip(steps(True), steps(False), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_saved_states_are_free_of_devices(tmp_path):
    model = ln.nn.Linear(3, 2).cuda()
    ln.save(model.state_dict(), tmp_path / "model")
    other = ln.nn.Linear(3, 2)
    other.load_state_dict(ln.load(tmp_path / "model"))
    assert other.weight.device == "cpu"
    np.testing.assert_array_equal(other.weight.numpy(), model.cpu().weight.numpy())
    again = pickle.loads(pickle.dumps(ln.nn.Linear(3, 2).cuda()))
    assert again.weight.device == "cpu"


def test_copies_stay_where_they_were_and_pickles_go_to_the_default_device():
    norm = ln.nn.BatchNorm1d(2).cuda().eval()
    rows = ln.sequence(ln.tensor([[1.0, 2.0], [3.0, 4.0]], device="cuda"))
    twin, other = copy.deepcopy(norm), copy.deepcopy(rows)
    assert other.device == "cuda:0" and type(other) is ln.Sequence
    np.testing.assert_array_equal(twin(other).numpy(), norm(rows).numpy())
    here, back = pickle.loads(pickle.dumps((norm, rows)))
    assert back.device == "cpu" and here.running_mean.device == "cpu"
    np.testing.assert_allclose(here(back).numpy(), norm(rows).numpy(), rtol=1e-6)
    device = rows.graph.device
    assert pickle.loads(pickle.dumps(device)) is copy.deepcopy(device) is device


def test_gradients_may_be_made_zeros():
    p = ln.Parameter([1.0, 2.0], device="cuda")
    (p * 3.0).sum().backward()
    p.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0]


def test_mixed_devices_are_an_error_that_names_both():
    here, there = ln.tensor([1.0, 2.0]), ln.tensor([1.0, 2.0], device="cuda")
    with pytest.raises(ln.DeviceError, match=r"'cuda:0'.*'cpu'|'cpu'.*'cuda:0'"):
        here + there
    layer = ln.nn.Linear(2, 2).cuda()
    layer(there)
    with pytest.raises(ln.DeviceError, match=r"'cuda:0'.*'cpu'|'cpu'.*'cuda:0'"):
        layer(here)


def test_a_parameter_that_moved_is_found_out_also_on_the_short_way():
    here, there = ln.tensor([1.0, 2.0]), ln.tensor([1.0, 2.0], device="cuda")
    layer = ln.nn.Linear(2, 2)
    (layer(here * 2.0) + layer(here * 3.0)).numpy()
    layer.cuda()
    (layer(there * 2.0) + layer(there * 3.0)).numpy()
    with pytest.raises(ln.DeviceError, match=r"'cuda:0'.*'cpu'"):
        layer(here * 2.0).numpy()


def test_gradients_do_not_pass_between_devices():
    x = ln.tensor([1.0], requires_grad=True)
    with pytest.raises(ln.DeviceError, match="detach"):
        (x * 2.0).to("cuda")
    assert (x * 2.0).detach().to("cuda").item() == 2.0


def test_a_number_chooses_the_device():
    if cuda_driver.count() < 2:
        pytest.skip("there is one device")
    x, y = ln.tensor([1.0, 2.0], device="cuda:1"), ln.tensor([1.0, 2.0], device="cuda:0")
    assert (x * 3.0).device == "cuda:1"
    np.testing.assert_array_equal((x * 3.0).to("cuda:0").cpu().numpy(), [3.0, 6.0])
    with pytest.raises(ln.DeviceError, match=r"'cuda:\d'.*'cuda:\d'"):
        x + y


def test_there_is_no_device_with_a_number_that_is_too_large():
    with pytest.raises(ln.DeviceError, match=r"cuda:99.*there is cuda:0"):
        ln.tensor(1.0, device="cuda:99")


def test_a_full_device_says_what_was_too_large_and_works_on(monkeypatch):
    device = device_of("cuda")
    x = ln.tensor(np.ones(1000, "float32"), device=device)
    real = device.driver.allocate

    def allocate(size):
        if size > 1 << 24:
            raise MemoryError("full")
        return real(size)

    monkeypatch.setattr(device.driver, "allocate", allocate)
    values = [x * float(k) for k in range(5000)]
    with pytest.raises(MemoryError, match=r"mul.* x 5000"):
        values[-1].numpy()
    del values
    assert (x * 2.0).numpy()[0] == 2.0


def test_debugging_finds_a_nan_on_the_device():
    with ln.debug(), pytest.raises(FloatingPointError, match="log"):
        ln.log(ln.tensor([-1.0], device="cuda")).numpy()


def test_values_of_steps_before_are_kept_without_the_memory_of_the_steps():
    p = ln.Parameter(np.ones(3, "float32"), device="cuda")
    losses = []
    for _ in range(12):
        losses.append((p * p).sum())
        losses[-1].backward()
    assert [loss.item() for loss in losses] == [3.0] * 12
    np.testing.assert_allclose(p.grad.numpy(), 24.0)
