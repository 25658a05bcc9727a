"""The device "cuda" against the CPU: on a GPU with `-m gpu`, simulated by `test_cuda.py`."""

import copy
import pickle

import numpy as np
import pytest
from graphs import Program
from on_cuda import MARKS, agree, on
from test_ops import CASES, draw, gradient_of, lazy, named, run
from test_runs import draw as draw_runs
from test_runs import over_all as over_runs
from test_runs import run as run_runs

import lazynet as ln
from lazynet import demo
from lazynet.batching import layout as words
from lazynet.device import device_of, on_device
from lazynet.kernels import cuda, cuda_attention, cuda_driver
from lazynet.ops.reduce import sum as sum_of
from lazynet.ops.rows import sequence

pytestmark = MARKS
KINDS = (words.ROWS, words.SEGMENT, words.ALIAS)
THERE = [case for case in CASES if case[0].kind in KINDS]
WITHOUT_CUDA = {"product_part", "ctc", "ctc_backward"}  # what the CPU's worker threads call


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


# -- programs --------------------------------------------------------------------------------------


def train(model, loss, examples, optimizer):
    """A step of training; the loss and the new parameters."""
    found = ln.mean([loss(example) for example in examples])
    optimizer.zero_grad()
    found.backward()
    ln.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    return [found.numpy(), *model.state_dict().values()]


@pytest.mark.parametrize("name", demo.WORKLOADS)
def test_a_step_of_training_agrees(name):
    def step():
        work = demo.WORKLOADS[name](16, 4)
        examples = sorted(work.train, key=lambda e: len(str(e)))[:3]
        optimizer = ln.optim.AdamW(work.model.parameters(), lr=0.01)
        return train(work.model, work.loss, examples, optimizer)

    agree(step)


@pytest.mark.parametrize("layer", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("lengths", [(1,), (3, 0, 5)], ids=str)
def test_scans_agree(layer, lengths):
    def scan():
        ln.manual_seed(1)
        model = getattr(ln.nn, layer)(3, 4)
        rows = [np.random.randn(n, 3).astype("float32") for n in lengths]
        outputs = [model(sequence(ln.tensor(a))) for a in rows]
        sum_of([sum_of(y * y) for y in outputs if len(y)]).backward()
        gradients = [p.grad.numpy() for p in model.parameters()]
        return [*(y.numpy() for y in outputs), *gradients]

    agree(scan)


@pytest.mark.parametrize("seed", range(6))
def test_random_programs_agree(seed):
    program = Program(seed, 12, 1)

    def evaluate():
        arrays, loss, gradients = program.lazy()
        return [*arrays, loss, *gradients]

    agree(evaluate)


def test_a_cell_and_its_constants_are_found_on_both_devices():
    cell = ln.nn.LSTMCell(3, 4)  # without a state, its zeros are constants of the trace

    def gradients(device):
        cell.to(device).zero_grad()
        x = ln.tensor([1.0, 2.0, 3.0], device=device)
        h, _ = cell(x * 1.0)
        h.sum().backward()
        return [h.numpy(), cell.weight_ih.grad.numpy()]

    first = gradients("cpu")
    for device in ("cuda", "cpu", "cuda"):
        for a, b in zip(gradients(device), first, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_random_rows_are_the_same_on_every_device():
    def drop():
        ln.manual_seed(3)
        x = ln.tensor(np.ones(20, "float32"))
        return [ln.rand(5).numpy(), ln.dropout(x, 0.5).numpy()]

    here, there = on("cpu", drop), on("cuda", drop)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_as_values_and_second_order_agree():
    def second():
        x = ln.tensor([0.3, -0.7], requires_grad=True)
        (first,) = ln.gradients(sum_of(ln.tanh(x) * x), [x])
        (again,) = ln.gradients(sum_of(first * first), [x])
        return [first.numpy(), again.numpy()]

    agree(second)


def test_programs_in_step_may_look_at_values_of_the_device():
    def steps():
        def program(start):
            x = ln.tensor([start], device="cuda")
            while x.item() < 10.0:
                x = x * 2.0
            return x

        return [y.item() for y in ln.map(program, [1.0, 3.0])]

    assert steps() == [16.0, 12.0]


OPTIMIZERS = {
    "SGD": {"lr": 0.1},
    "momentum": {"lr": 0.1, "momentum": 0.9},
    "nesterov": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    "Adam": {"weight_decay": 0.1},
    "AdamW": {},
    "Adagrad": {"lr_decay": 0.1, "initial_accumulator_value": 0.5},
    "RMSprop": {},
    "RMSprop momentum": {"momentum": 0.9},
    "RMSprop centered": {"centered": True},
    "RMSprop centered momentum": {"centered": True, "momentum": 0.9},
    "maximized": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_agree_and_their_states_are_free_of_devices(name, tmp_path):
    kind = getattr(ln.optim, name.split()[0], ln.optim.SGD)

    def steps():
        ln.manual_seed(0)
        model = ln.nn.Linear(3, 2)
        optimizer = kind(model.parameters(), **OPTIMIZERS[name])
        for _ in range(2):
            train(model, lambda x: sum_of(model(ln.tensor(x))), [np.ones(3, "float32")], optimizer)
        ln.save(optimizer.state_dict(), tmp_path / "state")
        optimizer.load_state_dict(ln.load(tmp_path / "state"))
        train(model, lambda x: sum_of(model(ln.tensor(x))), [np.ones(3, "float32")], optimizer)
        return list(model.state_dict().values())

    agree(steps)


def test_clipping_agrees():
    def clip():
        p = ln.Parameter(np.array([3.0, -4.0, 0.5], "float32"))
        (p * p).sum().backward()
        norms = [
            ln.nn.utils.clip_grad_norm_([p], 1.0),
            ln.nn.utils.clip_grad_norm_([p], 9.0, np.inf),
        ]
        ln.nn.utils.clip_grad_value_([p], 0.2)
        return [*norms, p.grad.numpy()]

    agree(clip)


# -- devices ---------------------------------------------------------------------------------------


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


def differentiated():
    """Gradients through hooks, of copies, recorded ones, and those of a checkpoint."""
    x, seen = ln.tensor(np.arange(4.0), requires_grad=True), []
    x.register_hook(lambda g: g * 2.0)
    y = x * 3.0
    y.register_hook(lambda g: (seen.append(g.numpy()), g * 10.0)[1])
    rows = sequence([y, y * 2.0]) * 1.0
    rows.retain_grad()
    last = rows[1]
    last.register_hook(lambda g: g + 1.0)
    ((last * rows[0]).sum() + ln.checkpoint(lambda v: (v.tanh() * v).exp())(x).sum()).backward()
    cube = lambda v: (v * v * v).sum()  # noqa: E731
    w = ln.tensor(np.arange(3.0), requires_grad=True)
    cube(w).backward(create_graph=True)
    w.grad.square().sum().backward()
    assert {v.grad.dtype for v in (x, rows, w)} == {np.dtype("float64")}
    return [x.grad.numpy(), rows.grad.numpy(), *seen, w.grad.numpy(), ln.hessian(cube)(w).numpy()]


def test_hooks_recorded_gradients_and_checkpoints_agree():
    agree(differentiated)
    with on_device(device_of("cuda")), pytest.raises(ln.DeviceError, match="runs on the CPU only"):
        ln.Function()(ln.tensor(1.0))


def test_cells_over_lists_of_several_lengths_agree():
    def evaluate():
        weight = ln.Parameter(np.random.standard_normal((3, 3)).astype("float32"))

        @ln.cell
        def join(x, below):
            rows = ln.sequence([h for h, _ in below])
            scores = ln.softmax(ln.dot(ln.linear(rows, weight), x), 0)
            most = ln.max(rows, 0) - ln.mean([c for _, c in below])
            return ln.tanh(ln.sum(scores * rows, 0) + x), most * x

        leaves = [
            ln.tensor(np.random.standard_normal(3).astype("float32"), requires_grad=True)
            for _ in range(4)
        ]
        states = [(h * 1.0, h * 0.5) for h in leaves]
        for below in ([0], [0, 1, 2], [4, 5, 3, 1], [6, 5], [7, 4, 6]):
            states.append(join(leaves[len(below) - 1], [states[k] for k in below]))
        ln.sum([ln.sum(h + c) for h, c in states[-3:]]).backward()
        return [v.numpy() for state in states for v in state] + [
            v.grad.numpy() for v in (*leaves, weight)
        ]

    agree(evaluate)
