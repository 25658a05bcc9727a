"""Schedules of learning rates: PyTorch's numbers, closed forms, and states that go on."""

import math

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn, optim
from lazynet.optim import lr_scheduler

EPOCHS = 25


class Warm:
    """A function of the epoch with a state of its own."""

    def __init__(self, over):
        self.over = over

    def __call__(self, epoch):
        return min(1.0, (epoch + 1) / self.over)


SCHEDULES = [
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}),
    ("LambdaLR", {"lr_lambda": [Warm(5), Warm(50)]}),
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 1, "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 9}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 30}),
    ("CosineAnnealingLR", {"T_max": 7}),
    ("CosineAnnealingLR", {"T_max": 1, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 40, "eta_min": 0.02}),
]
each = pytest.mark.parametrize(("name", "options"), SCHEDULES)
PLATEAUS = [
    {"patience": 2},
    {"patience": 0, "factor": 0.5, "cooldown": 2, "min_lr": [0.01, 0.2]},
    {"mode": "max", "patience": 1, "threshold": 0.1},
    {"mode": "max", "patience": 1, "threshold": 0.1, "threshold_mode": "abs"},
    {"patience": 1, "threshold": 0.2, "threshold_mode": "abs", "eps": 0.01, "min_lr": 0.001},
]
plateaus = pytest.mark.parametrize("options", PLATEAUS)


def groups(home, kind, value):
    """An optimizer of two groups."""
    parameters = [kind(value([1.0])), kind(value([2.0]))]
    return home.SGD([{"params": [parameters[0]]}, {"params": [parameters[1]], "lr": 0.3}], lr=0.1)


def ours():
    return groups(optim, nn.Parameter, list)


def theirs(torch):
    return groups(torch.optim, torch.nn.Parameter, torch.tensor)


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def metrics():
    return [float(m) for m in np.round(np.random.default_rng(3).normal(size=40), 1) + 2.0]


@each
def test_the_rates_are_those_of_pytorch(torch, name, options):
    mine, other = ours(), theirs(torch)
    schedule = getattr(lr_scheduler, name)(mine, **options)
    reference = getattr(torch.optim.lr_scheduler, name)(other, **options)
    for _ in range(EPOCHS):
        assert rates(mine) == rates(other) == schedule.get_last_lr() == reference.get_last_lr()
        other.step()
        schedule.step()
        reference.step()
    assert schedule.last_epoch == reference.last_epoch == EPOCHS


CLOSED = [
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}, lambda lr, t: lr / (1 + t)),
    ("StepLR", {"step_size": 3, "gamma": 0.5}, lambda lr, t: lr * 0.5 ** (t // 3)),
    ("ExponentialLR", {"gamma": 0.9}, lambda lr, t: lr * 0.9**t),
    ("LinearLR", {"start_factor": 0.2, "total_iters": 4},
     lambda lr, t: lr * (0.2 + 0.8 * min(t, 4) / 4)),
    ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.05},
     lambda lr, t: 0.05 + (lr - 0.05) * (1 + math.cos(math.pi * t / 10)) / 2),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "formula"), CLOSED)
def test_the_rates_are_the_formulas(name, options, formula):
    optimizer = ours()
    schedule = getattr(lr_scheduler, name)(optimizer, **options)
    for epoch in range(EPOCHS):
        expected = [formula(lr, epoch) for lr in (0.1, 0.3)]
        np.testing.assert_allclose(rates(optimizer), expected, rtol=1e-9)
        assert schedule.last_epoch == epoch
        schedule.step()


@each
def test_a_loaded_state_goes_on_where_it_was_saved(name, options):
    first, second = ours(), ours()
    a = getattr(lr_scheduler, name)(first, **options)
    b = getattr(lr_scheduler, name)(second, **options)
    for _ in range(5):
        a.step()
    state, of_optimizer = a.state_dict(), first.state_dict()
    a.step()
    b.load_state_dict(state)
    second.load_state_dict(of_optimizer)
    assert [group["initial_lr"] for group in second.param_groups] == [0.1, 0.3]
    b.step()
    assert rates(first) == rates(second) and a.last_epoch == b.last_epoch == 6


@each
def test_the_state_of_pytorch_can_be_loaded(torch, name, options):
    mine, other = ours(), theirs(torch)
    reference = getattr(torch.optim.lr_scheduler, name)(other, **options)
    for _ in range(4):
        other.step()
        reference.step()
    schedule = getattr(lr_scheduler, name)(mine, **options)
    schedule.load_state_dict(reference.state_dict())
    mine.load_state_dict(other.state_dict())
    reference.step()
    schedule.step()
    assert rates(mine) == rates(other)


@each
def test_a_schedule_goes_on_from_an_epoch(torch, name, options):
    mine, other = ours(), theirs(torch)
    getattr(lr_scheduler, name)(mine, **options)
    getattr(torch.optim.lr_scheduler, name)(other, **options)
    schedule = getattr(lr_scheduler, name)(mine, **options, last_epoch=2)
    reference = getattr(torch.optim.lr_scheduler, name)(other, **options, last_epoch=2)
    for _ in range(4):
        assert rates(mine) == rates(other)
        other.step()
        schedule.step()
        reference.step()


@plateaus
def test_a_plateau_is_that_of_pytorch(torch, options):
    mine, other = ours(), theirs(torch)
    schedule = lr_scheduler.ReduceLROnPlateau(mine, **options)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(other, **options)
    for k, metric in enumerate(metrics()):
        schedule.step(ln.tensor(metric) if k % 2 else metric)
        reference.step(float(ln.tensor(metric)) if k % 2 else metric)
        assert rates(mine) == rates(other) == schedule.get_last_lr()
        if k == 20:
            again = lr_scheduler.ReduceLROnPlateau(mine, **options)
            again.load_state_dict(reference.state_dict())
            assert again.state_dict() == schedule.state_dict()
            schedule = again
    assert rates(mine) != rates(ours())


def test_a_plateau_waits_and_cools_down():
    optimizer = ours()
    schedule = lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=1, cooldown=2, min_lr=0.06
    )
    seen = []
    for metric in [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, math.nan, math.nan]:
        schedule.step(metric)
        seen.append(round(optimizer.lr, 6))
    assert seen == [0.1, 0.1, 0.1, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06]
    assert rates(optimizer)[1] == 0.075


def test_a_plateau_lowers_groups_that_were_added():
    optimizer = ours()
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    optimizer.add_param_group({"params": [nn.Parameter([3.0])], "lr": 0.8})
    for _ in range(2):
        schedule.step(1.0)
    assert schedule.get_last_lr() == [0.05, 0.15, 0.4]


def test_a_schedule_changes_the_steps_of_its_optimizer():
    p = nn.Parameter([1.0])
    optimizer = optim.SGD([p], lr=0.5)
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.5)
    for _ in range(3):
        p.grad = [1.0]
        optimizer.step()
        schedule.step()
    assert p.item() == 1.0 - 0.5 - 0.25 - 0.125


def test_schedules_of_ones_own():
    class Halves(lr_scheduler.LRScheduler):
        def get_lr(self):
            return [base / 2**self.last_epoch for base in self.base_lrs]

    optimizer = ours()
    schedule = Halves(optimizer)
    schedule.step()
    assert schedule.get_last_lr() == [0.05, 0.15]
    with pytest.raises(NotImplementedError, match="LRScheduler: a schedule has to define get_lr"):
        lr_scheduler.LRScheduler(optimizer)


@pytest.mark.parametrize(
    ("name", "options", "error", "told"),
    [
        ("StepLR", {"step_size": 0}, ValueError, "step_size must be at least 1"),
        ("LinearLR", {"start_factor": 0.0}, ValueError, "between 0 and 1"),
        ("LinearLR", {"end_factor": 2.0}, ValueError, "between 0 and 1"),
        ("LinearLR", {"total_iters": 0}, ValueError, "total_iters must be at least 1"),
        ("CosineAnnealingLR", {"T_max": 0}, ValueError, "T_max must be at least 1"),
        ("LambdaLR", {"lr_lambda": [abs]}, ValueError, "a function for each of 2 groups"),
        ("ExponentialLR", {"gamma": 0.5, "last_epoch": 3}, KeyError, "no initial_lr to go on"),
        ("ReduceLROnPlateau", {"factor": 1.0}, ValueError, "factor must be below 1"),
        ("ReduceLROnPlateau", {"mode": "most"}, ValueError, "'min' or 'max', not 'most'"),
        ("ReduceLROnPlateau", {"threshold_mode": "x"}, ValueError, "'rel' or 'abs', not 'x'"),
        ("ReduceLROnPlateau", {"min_lr": [0.1]}, ValueError, "a min_lr for each of 2 groups"),
    ],
)
def test_mistakes_are_told(name, options, error, told):
    with pytest.raises(error, match=f"{name}: .*{told}"):
        getattr(lr_scheduler, name)(ours(), **options)


def test_what_is_no_optimizer_or_no_state_is_refused():
    with pytest.raises(TypeError, match="StepLR: expected an optimizer, not Linear"):
        lr_scheduler.StepLR(nn.Linear(1, 1), 2)
    schedule = lr_scheduler.StepLR(ours(), 2)
    before = schedule.state_dict()
    with pytest.raises(ValueError, match="another schedule's state, without step_size"):
        schedule.load_state_dict(lr_scheduler.ExponentialLR(ours(), 0.5).state_dict())
    assert schedule.state_dict() == before
