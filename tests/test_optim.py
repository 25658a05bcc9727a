"""Optimizers: the trajectories of PyTorch's, and states that can be saved and go on."""

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn, optim

OPTIMIZERS_UNDER_TEST = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.3}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.3, "maximize": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.7), "eps": 1e-3}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.3}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.3}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.3, "maximize": True}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.3, "eps": 1e-3}),
    ("Adagrad", {"initial_accumulator_value": 0.5, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.3}),
    ("RMSprop", {"momentum": 0.9, "maximize": True}),
    ("RMSprop", {"alpha": 0.9, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
]
each = pytest.mark.parametrize("name, options", OPTIMIZERS_UNDER_TEST)
SHAPES = [(5, 7), (3,), ()]


def made(dtype="float64"):
    return [nn.Parameter(np.random.standard_normal(shape).astype(dtype)) for shape in SHAPES]


def copies(parameters):
    return [nn.Parameter(p.numpy()) for p in parameters]


def gradients(parameters):
    """A gradient for each, of the parameters' dtype; the same ones go to both sides."""
    return [np.random.standard_normal(p.shape).astype(p.dtype) for p in parameters]


def walk(optimizer, parameters, steps):
    for given in steps:
        for p, g in zip(parameters, given, strict=True):
            p.grad = g
        optimizer.step()


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-5), ("float64", 1e-12)])
@each
def test_the_trajectory_is_that_of_pytorch(torch, name, options, dtype, tolerance):
    ours = made(dtype)
    theirs = [torch.nn.Parameter(torch.tensor(p.numpy())) for p in ours]
    mine, other = (
        getattr(optim, name)(ours, **options),
        getattr(torch.optim, name)(theirs, **options),
    )
    for _ in range(25):
        for p, q, g in zip(ours, theirs, gradients(ours), strict=True):
            p.grad, q.grad = g, torch.tensor(g)
        mine.step()
        other.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.numpy(), q.detach(), rtol=tolerance, atol=tolerance)


@each
def test_a_loaded_state_goes_on_where_it_was_saved(name, options):
    first = made()
    steps = [gradients(first) for _ in range(6)]
    a = getattr(optim, name)(first, **options)
    walk(a, first, steps[:3])
    second = copies(first)
    b = getattr(optim, name)(second)  # options come with the state
    b.load_state_dict(a.state_dict())
    walk(a, first, steps[3:])
    walk(b, second, steps[3:])
    for p, q in zip(first, second, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


@each
def test_the_state_of_pytorch_can_be_loaded(torch, name, options):
    ours = made()
    theirs = [torch.nn.Parameter(torch.tensor(p.numpy())) for p in ours]
    other = getattr(torch.optim, name)(theirs, **options)
    steps = [gradients(ours) for _ in range(4)]
    for given in steps:
        for q, g in zip(theirs, given, strict=True):
            q.grad = torch.tensor(g)
        if given is steps[2]:
            for p, q in zip(ours, theirs, strict=True):
                p.copy_(q.detach().numpy())
            mine = getattr(optim, name)(ours)
            mine.load_state_dict(other.state_dict())
        other.step()
    walk(mine, ours, steps[2:])
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach(), rtol=1e-12)


@each
def test_a_step_reduces_the_loss_of_a_model_or_raises_what_is_maximized(name, options):
    ln.manual_seed(0)
    sign = -1.0 if options.get("maximize") else 1.0
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    opt = getattr(optim, name)(net.parameters(), **{**options, "lr": 1e-3})
    x = ln.tensor([1.0, -2.0, 0.5])
    losses = []
    for _ in range(5):
        loss = sign * (net(x) - 3.0).square().sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(sign * loss.item())
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


@each
def test_parameters_without_gradient_stay_as_they_are(name, options):
    moved, kept = nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2))
    opt = getattr(optim, name)([moved, kept], **options)
    moved.grad = np.ones(2)
    opt.step()
    assert (moved.numpy() != 1.0).all()
    np.testing.assert_array_equal(kept.numpy(), 1.0)
    assert kept not in opt.state


@each
def test_what_was_frozen_after_its_backward_stays_as_it_is(name, options):
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    opt = getattr(optim, name)(net.parameters(), **options)
    ln.sum(net(ln.ones(2))).backward()
    net[0].requires_grad_(False)
    before = net.state_dict()
    opt.step()
    changed = [name for name, v in net.state_dict().items() if (v != before[name]).any()]
    assert changed == ["1.weight", "1.bias"] and net[0].weight not in opt.state
    net[0].requires_grad_()
    opt.step()
    assert (net[0].weight.numpy() != before["0.weight"]).any()


def test_what_is_pending_keeps_the_weights_it_was_recorded_with():
    p = nn.Parameter([1.0])
    opt = optim.SGD([p], lr=0.5)
    p.grad = [1.0]
    pending = p * 10.0
    opt.step()
    assert pending.item() == 10.0
    assert (p * 10.0).item() == 5.0


def test_adagrad_and_rmsprop_in_closed_form():
    gradients, p, q, r = np.array([3.0, -1.0, 2.0]), *(nn.Parameter([1.0]) for _ in range(3))
    ours = [
        (p, optim.Adagrad([p], lr=0.5, lr_decay=1.0, initial_accumulator_value=7.0)),
        (q, optim.RMSprop([q], lr=0.5, alpha=0.75)),
        (r, optim.RMSprop([r], lr=0.5, alpha=0.75, centered=True, momentum=0.5)),
    ]
    for g in gradients:
        for value, optimizer in ours:
            value.grad = [g]
            optimizer.step()
    age = np.subtract.outer(np.arange(3), np.arange(3))
    weights = 0.25 * np.tril(0.75**age)
    square, mean = weights @ gradients**2, weights @ gradients
    parts = gradients / np.sqrt(square - mean**2)
    expected = [
        1.0 - sum(0.5 / np.arange(1, 4) * gradients / np.sqrt(7.0 + np.cumsum(gradients**2))),
        1.0 - 0.5 * sum(gradients / np.sqrt(square)),
        1.0 - 0.5 * (1.75 * parts[0] + 1.5 * parts[1] + parts[2]),
    ]
    np.testing.assert_allclose([v.item() for v, _ in ours], expected, rtol=1e-5)


def test_momentum_may_be_asked_of_rmsprop_later():
    p = nn.Parameter([1.0])
    opt = optim.RMSprop([p], lr=0.1)
    p.grad = [1.0]
    opt.step()
    opt.param_groups[0].update(momentum=0.5, centered=True)
    before = p.item()
    opt.step()
    assert p.item() < before
    again = optim.RMSprop([p])
    again.load_state_dict(opt.state_dict())
    with pytest.raises(ValueError, match="expected square_avg, step"):
        state = opt.state_dict()
        state["param_groups"][0].update(momentum=0.0, centered=False)
        again.load_state_dict(state)


def test_gradients_may_be_made_zeros():
    p, unused = nn.Parameter([1.0]), nn.Parameter([1.0])
    for owner in (optim.SGD([p, unused]), nn.ParameterList([p, unused]), p):
        p.grad = [2.0]
        owner.zero_grad(set_to_none=False)
        assert p.grad.tolist() == [0.0] and unused.grad is None
        (p * 3.0).sum().backward()
        assert p.grad.tolist() == [3.0]
        owner.zero_grad(set_to_none=True)
        assert p.grad is None


def test_zero_grad_forgets_the_gradients():
    p = nn.Parameter([1.0])
    opt = optim.Adam([p])
    (p * 2.0).sum().backward()
    assert p.grad.item() == 2.0
    opt.zero_grad()
    assert p.grad is None


def test_groups_have_options_of_their_own():
    a, b, c = (nn.Parameter([1.0]) for _ in range(3))
    opt = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.25}], lr=0.5)
    opt.add_param_group({"params": [c], "weight_decay": 1.0})
    for p in (a, b, c):
        p.grad = [1.0]
    opt.step()
    assert (a.item(), b.item(), c.item()) == (0.5, 0.75, 0.0)


def test_the_learning_rate_can_be_changed():
    p = nn.Parameter([1.0])
    opt = optim.SGD([p], lr=0.5)
    p.grad = [1.0]
    opt.step()
    opt.lr = 0.25
    assert opt.param_groups[0]["lr"] == opt.lr == 0.25
    opt.step()
    opt.param_groups[0]["lr"] = 0.125
    opt.step()
    assert p.item() == 0.125
    with pytest.raises(ValueError, match="lr"):
        opt.lr = -1.0


def test_repr_tells_the_options():
    assert "lr: 0.5" in repr(optim.SGD([nn.Parameter([1.0])], lr=0.5))


@pytest.mark.parametrize(
    "name, options, word",
    [
        ("Adam", {"lr": -1.0}, "lr"),
        ("Adam", {"lr": float("nan")}, "lr"),
        ("Adam", {"betas": (0.9, 1.0)}, "betas"),
        ("Adam", {"eps": -1e-8}, "eps"),
        ("AdamW", {"weight_decay": -1.0}, "weight_decay"),
        ("SGD", {"momentum": -0.5}, "momentum"),
        ("Adagrad", {"lr_decay": -0.5}, "lr_decay"),
        ("RMSprop", {"alpha": -0.5}, "alpha"),
        ("SGD", {"nesterov": True}, "nesterov"),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.5}, "nesterov"),
    ],
)
def test_options_out_of_range_are_refused(name, options, word):
    with pytest.raises(ValueError, match=word):
        getattr(optim, name)([nn.Parameter([1.0])], **options)


def test_what_cannot_be_optimized_is_refused():
    p = nn.Parameter([1.0])
    with pytest.raises(ValueError, match="no parameters"):
        optim.Adam([])
    with pytest.raises(ValueError, match="twice"):
        optim.Adam([p, p])
    with pytest.raises(ValueError, match="twice"):
        optim.Adam([{"params": [p]}, {"params": [p]}])
    with pytest.raises(TypeError, match="Tensor"):
        optim.Adam([ln.tensor([1.0])])
    with pytest.raises(TypeError, match="list"):
        optim.Adam(p)
    with pytest.raises(ValueError, match="rate"):
        optim.Adam([{"params": [p], "rate": 1.0}])


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    a, b = nn.Parameter([1.0]), nn.Parameter([1.0, 2.0])
    opt, other = optim.Adam([a]), optim.Adam([b], lr=0.5)
    b.grad = [1.0, 1.0]
    other.step()
    with pytest.raises(ValueError, match=r"exp_avg has shape \(2,\)"):
        opt.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="groups"):
        opt.load_state_dict(optim.Adam([a, b]).state_dict())
    assert opt.lr == 1e-3 and not opt.state


@each
def test_up_a_gradient_is_down_its_negative(name, options):
    p = nn.Parameter(np.ones(3))
    other = nn.Parameter(np.ones(3))
    up = getattr(optim, name)([p], **{**options, "maximize": True})
    down = getattr(optim, name)([other], **{**options, "maximize": False})
    for _ in range(3):
        (g,) = gradients([p])
        p.grad, other.grad = g, -g
        up.step()
        down.step()
        np.testing.assert_array_equal(p.numpy(), other.numpy())


def test_options_of_another_meaning_are_refused_when_a_state_is_loaded(torch):
    def state(kind, **options):
        q = torch.nn.Parameter(torch.ones(1))
        return getattr(torch.optim, kind)([q], **options).state_dict()

    def load(kind, given):
        optimizer = getattr(optim, kind)([nn.Parameter([1.0])])
        optimizer.load_state_dict(given)
        return optimizer

    with pytest.raises(ValueError, match=r"Adam: the state has an option .* amsgrad=True"):
        load("Adam", state("Adam", amsgrad=True))
    with pytest.raises(ValueError, match="decays parameters, as AdamW does"):
        load("Adam", state("AdamW"))
    with pytest.raises(ValueError, match="adds decay to gradients"):
        load("AdamW", state("Adam", weight_decay=0.1))
    assert load("Adam", state("Adam", foreach=True)).param_groups[0]["maximize"] is False
    assert load("AdamW", state("AdamW", maximize=True)).param_groups[0]["maximize"] is True
    assert load("SparseSGD", state("SGD", lr=0.5)).lr == 0.5
    with pytest.raises(ValueError, match=r"momentum=0\.9"):
        load("SparseSGD", state("SGD", momentum=0.9))


def test_a_state_is_a_copy():
    p = nn.Parameter(np.ones(2))
    opt = optim.Adam([p])
    p.grad = np.ones(2)
    opt.step()
    state = opt.state_dict()
    before = state["state"][0]["exp_avg"].copy()
    opt.step()
    np.testing.assert_array_equal(state["state"][0]["exp_avg"], before)
    assert state["state"][0]["step"] == 1


class Factored(optim.Optimizer):
    """Keeps a sum of squares for each row, how many steps there were, and what it moved last."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    def _update(self, p, g, state, group):
        rows = g.reshape(3, -1)
        if not state:
            state.update(count=0, rows=np.zeros(3), last=np.zeros(p.size), told=["made"], mean=0.0)
        state["count"] += 1
        state["mean"] += float(g.mean())
        state["rows"] += np.square(rows).sum(1)
        state["last"] = group["lr"] * (rows / np.sqrt(state["rows"])[:, None]).reshape(-1)
        p -= state["last"] * (1.0 + state["mean"]) / state["count"]


def test_the_state_of_a_users_optimizer_may_hold_numbers_and_arrays_of_any_shape():
    first = [nn.Parameter(np.random.standard_normal((3, 2)))]
    steps = [gradients(first) for _ in range(5)]
    a = Factored(first)
    walk(a, first, steps[:2])
    saved = a.state_dict()
    kept = saved["state"][0]
    assert kept["count"] == 2 and kept["rows"].shape == (3,) and kept["last"].shape == (3, 2)
    second = copies(first)
    b = Factored(second)
    b.load_state_dict(saved)
    walk(a, first, steps[2:])
    assert kept["count"] == 2 and kept["told"] == ["made"]  # a copy
    walk(b, second, steps[2:])
    np.testing.assert_array_equal(first[0].numpy(), second[0].numpy())
    assert b.state[second[0]]["count"] == 5 and b.state[second[0]]["told"] == ["made"]


def test_a_model_is_no_list_of_parameters():
    with pytest.raises(TypeError, match=r"Adam: expected parameters, not Linear; .*\.parameters"):
        ln.optim.Adam(ln.nn.Linear(2, 2))
