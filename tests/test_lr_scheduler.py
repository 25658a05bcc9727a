"""Schedules of learning rates: PyTorch's numbers, closed forms, and states that go on."""

import math

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn, optim
from lazynet.optim import lr_scheduler

EPOCHS = 64


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
    ("CosineAnnealingWarmRestarts", {"T_0": 1}),
    ("CosineAnnealingWarmRestarts", {"T_0": 7, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}),
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 1 - 1 / (2 + epoch)}),
    ("MultiplicativeLR", {"lr_lambda": [Warm(5), Warm(50)]}),
    ("MultiStepLR", {"milestones": [30, 2, 10, 10]}),
    ("MultiStepLR", {"milestones": [0, 3], "gamma": 0.5}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.7, "total_iters": 20}),
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 50, "power": 2.5}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5}),
    ("CyclicLR", {"base_lr": [0.01, 0.2], "max_lr": [0.1, 0.4], "step_size_up": 3,
                  "step_size_down": 8, "mode": "triangular2", "base_momentum": [0.5, 0.6]}),
    ("CyclicLR", {"base_lr": 0.0, "max_lr": 1.0, "step_size_up": 4, "mode": "exp_range",
                  "gamma": 0.97, "cycle_momentum": False}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.2, "step_size_up": 2, "scale_fn": Warm(9)}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.2, "step_size_up": 2, "scale_mode": "iterations",
                  "scale_fn": lambda step: 0.9**step}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 64}),
    ("OneCycleLR", {"max_lr": [0.5, 0.1], "epochs": 8, "steps_per_epoch": 10,
                    "anneal_strategy": "linear", "cycle_momentum": False, "div_factor": 10.0}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 70, "three_phase": True, "pct_start": 0.4,
                    "max_momentum": [0.9, 0.99]}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 64, "pct_start": 0.0}),
]  # fmt: skip
COMBINED = {
    "warm up, then cool down": lambda home, o: home.SequentialLR(
        o, [home.LinearLR(o, 0.1, total_iters=10), home.CosineAnnealingLR(o, 50)], [10]
    ),
    "a constant, then steps, then a power": lambda home, o: home.SequentialLR(
        o,
        [home.ConstantLR(o, 0.5, 4), home.MultiStepLR(o, [0, 3, 5]), home.PolynomialLR(o, 30)],
        [6, 20],
    ),
    "functions": lambda home, o: home.SequentialLR(
        o,
        [home.LambdaLR(o, Warm(4)), home.MultiplicativeLR(o, lambda epoch: 0.98)],
        [4],
    ),
    "cycles": lambda home, o: home.SequentialLR(
        o,
        [home.CosineAnnealingWarmRestarts(o, 4), home.StepLR(o, 2),
         home.CosineAnnealingWarmRestarts(o, 3, 2), home.ExponentialLR(o, 0.9)],
        [9, 20, 40],
    ),
    "momentum": lambda home, o: home.SequentialLR(
        o,
        [home.OneCycleLR(o, 0.4, 20), home.CyclicLR(o, 0.1, 0.3, 6)],
        [15],
    ),
    "none of the first": lambda home, o: home.SequentialLR(
        o, [home.ExponentialLR(o, 0.1), home.ExponentialLR(o, 0.9)], [0]
    ),
    "two at once": lambda home, o: home.ChainedScheduler(
        [home.ConstantLR(o, 0.1, 5), home.ExponentialLR(o, 0.95)]
    ),
    "one after the other, and a third at once": lambda home, o: home.ChainedScheduler(
        [home.SequentialLR(o, [home.ConstantLR(o, 0.1, 5), home.ExponentialLR(o, 0.95)], [5]),
         home.StepLR(o, 7)], o
    ),
}  # fmt: skip
combined = pytest.mark.parametrize("name", COMBINED)
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


def momentums(optimizer):
    return [group.get("betas", group.get("momentum")) for group in optimizer.param_groups]


def metrics():
    return [float(m) for m in np.round(np.random.default_rng(3).normal(size=40), 1) + 2.0]


@each
def test_the_rates_are_those_of_pytorch(torch, name, options):
    mine, other = ours(), theirs(torch)
    schedule = getattr(lr_scheduler, name)(mine, **options)
    reference = getattr(torch.optim.lr_scheduler, name)(other, **options)
    for _ in range(EPOCHS):
        assert rates(mine) == rates(other) == schedule.get_last_lr() == reference.get_last_lr()
        assert momentums(mine) == momentums(other)
        other.step()
        schedule.step()
        reference.step()
    assert schedule.last_epoch == reference.last_epoch == EPOCHS


@combined
def test_combined_schedules_are_those_of_pytorch(torch, name):
    mine, other = ours(), theirs(torch)
    schedule = COMBINED[name](lr_scheduler, mine)
    reference = COMBINED[name](torch.optim.lr_scheduler, other)
    for epoch in range(EPOCHS):
        assert rates(mine) == rates(other) == schedule.get_last_lr() == reference.get_last_lr()
        assert momentums(mine) == momentums(other)
        if epoch == 12:
            mine, old = ours(), mine
            schedule = COMBINED[name](lr_scheduler, mine)
            schedule.load_state_dict(reference.state_dict())
            mine.load_state_dict(old.state_dict())
        other.step()
        schedule.step()
        reference.step()


@pytest.mark.parametrize("name", ["OneCycleLR", "CyclicLR"])
def test_cycles_change_the_first_of_betas(torch, name):
    options = {"OneCycleLR": {"total_steps": 64}, "CyclicLR": {"base_lr": 0.1, "step_size_up": 5}}
    mine = optim.Adam([nn.Parameter([1.0])], betas=(0.7, 0.99))
    other = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], betas=(0.7, 0.99))
    schedule = getattr(lr_scheduler, name)(mine, max_lr=0.5, **options[name])
    reference = getattr(torch.optim.lr_scheduler, name)(other, max_lr=0.5, **options[name])
    for _ in range(EPOCHS):
        assert rates(mine) == rates(other) and momentums(mine) == momentums(other)
        other.step()
        schedule.step()
        reference.step()
    assert len(set(momentums(mine))) == 1 and momentums(mine)[0][0] != 0.7


CLOSED = [
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}, lambda lr, t: lr / (1 + t)),
    ("StepLR", {"step_size": 3, "gamma": 0.5}, lambda lr, t: lr * 0.5 ** (t // 3)),
    ("ExponentialLR", {"gamma": 0.9}, lambda lr, t: lr * 0.9**t),
    ("LinearLR", {"start_factor": 0.2, "total_iters": 4},
     lambda lr, t: lr * (0.2 + 0.8 * min(t, 4) / 4)),
    ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.05},
     lambda lr, t: 0.05 + (lr - 0.05) * (1 + math.cos(math.pi * t / 10)) / 2),
    ("CosineAnnealingWarmRestarts", {"T_0": 10, "eta_min": 0.05},
     lambda lr, t: 0.05 + (lr - 0.05) * (1 + math.cos(math.pi * (t % 10) / 10)) / 2),
    ("MultiplicativeLR", {"lr_lambda": lambda t: t / (1 + t)}, lambda lr, t: lr / (1 + t)),
    ("MultiStepLR", {"milestones": [3, 9, 9], "gamma": 0.5},
     lambda lr, t: lr * 0.5 ** ((t >= 3) + 2 * (t >= 9))),
    ("ConstantLR", {"factor": 0.2, "total_iters": 4}, lambda lr, t: lr * (0.2 if t < 4 else 1.0)),
    ("PolynomialLR", {"total_iters": 9, "power": 2.0},
     lambda lr, t: lr * (1 - min(t, 9) / 9) ** 2),
    ("CyclicLR", {"base_lr": 0.2, "max_lr": 0.6, "step_size_up": 5, "step_size_down": 15},
     lambda lr, t: 0.2 + 0.4 * min(t % 20 / 5, (20 - t % 20) / 15)),
    ("CyclicLR", {"base_lr": 0.2, "max_lr": 0.6, "step_size_up": 4, "mode": "triangular2"},
     lambda lr, t: 0.2 + 0.4 * min(t % 8, 8 - t % 8) / 4 / 2 ** (t // 8)),
    ("OneCycleLR", {"max_lr": 2.0, "total_steps": 64, "pct_start": 0.25, "div_factor": 4.0,
                    "final_div_factor": 10.0, "anneal_strategy": "linear"},
     lambda lr, t: 0.5 + 1.5 * t / 15 if t < 15 else 2.0 - 1.95 * (t - 15) / 48),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "formula"), CLOSED)
def test_the_rates_are_the_formulas(name, options, formula):
    optimizer = ours()
    schedule = getattr(lr_scheduler, name)(optimizer, **options)
    for epoch in range(EPOCHS):
        expected = [formula(lr, epoch) for lr in (0.1, 0.3)]
        np.testing.assert_allclose(rates(optimizer), expected, rtol=1e-9, atol=1e-15)
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
    initial = [[group["initial_lr"] for group in o.param_groups] for o in (first, second)]
    assert initial[0] == initial[1]
    b.step()
    assert rates(first) == rates(second) and a.last_epoch == b.last_epoch == 6


@combined
def test_a_loaded_state_of_combined_schedules_goes_on(tmp_path, name):
    first, second = ours(), ours()
    a, b = (COMBINED[name](lr_scheduler, optimizer) for optimizer in (first, second))
    for _ in range(18):
        a.step()
    ln.save({"schedule": a.state_dict(), "optimizer": first.state_dict()}, tmp_path / "state")
    state = ln.load(tmp_path / "state")
    b.load_state_dict(state["schedule"])
    second.load_state_dict(state["optimizer"])
    for _ in range(30):
        assert rates(first) == rates(second) and momentums(first) == momentums(second)
        a.step()
        b.step()


def test_schedules_follow_each_other_from_the_epochs_that_are_told():
    optimizer = ours()
    warm = lr_scheduler.LinearLR(optimizer, 0.5, total_iters=2)
    cool = lr_scheduler.ExponentialLR(optimizer, 0.5)
    schedule = lr_scheduler.SequentialLR(optimizer, [warm, cool], [3])
    seen = []
    for epoch in range(6):
        seen.append(round(optimizer.lr, 6))
        assert schedule.last_epoch == epoch
        schedule.step()
    assert seen == [0.05, 0.075, 0.1, 0.1, 0.05, 0.025]


def test_schedules_at_once_multiply():
    optimizer = ours()
    steps = lr_scheduler.StepLR(optimizer, 2, 0.5)
    falls = lr_scheduler.ExponentialLR(optimizer, 0.1)
    schedule = lr_scheduler.ChainedScheduler([steps, falls])
    for epoch in range(6):
        np.testing.assert_allclose(rates(optimizer)[0], 0.1 * 0.1**epoch * 0.5 ** (epoch // 2))
        schedule.step()


def test_one_cycle_ends():
    optimizer = ours()
    schedule = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=10, pct_start=0.1)
    assert rates(optimizer) == [1.0, 1.0]  # a way up without steps is over
    for _ in range(10):
        schedule.step()
    before = rates(optimizer), schedule.state_dict()
    with pytest.raises(ValueError, match="this schedule has 10 steps, and all are taken"):
        schedule.step()
    assert (rates(optimizer), schedule.state_dict()) == before


def test_momentum_goes_against_the_learning_rate():
    p = nn.Parameter([1.0])
    optimizer = optim.SGD([p], lr=1.0)
    lr_scheduler.CyclicLR(optimizer, 1.0, 1.0, 1, base_momentum=0.0, max_momentum=0.5)
    for _ in range(2):
        p.grad = [1.0]
        optimizer.step()
    assert p.item() == 1.0 - 1.0 - 1.5


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
        ("StepLR", {"step_size": 2.5}, ValueError, "step_size must be at least 1, not 2.5"),
        ("LambdaLR", {"lr_lambda": 0.5}, TypeError, "expected a function, not float"),
        ("MultiplicativeLR", {"lr_lambda": [abs]}, ValueError, "a function for each of 2 groups"),
        ("MultiStepLR", {"milestones": [3, -1]}, ValueError, "milestones must be at least 0"),
        ("MultiStepLR", {"milestones": [2.5]}, ValueError, "milestones must be at least 0"),
        ("ConstantLR", {"factor": 0.0}, ValueError, "factor must be between 0 and 1"),
        ("ConstantLR", {"total_iters": 0}, ValueError, "total_iters must be at least 1"),
        ("PolynomialLR", {"total_iters": 0}, ValueError, "total_iters must be at least 1"),
        ("CosineAnnealingWarmRestarts", {"T_0": 0}, ValueError, "T_0 must be at least 1"),
        ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 1.5}, ValueError, "T_mult must be"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": [1.0]}, ValueError, "a max_lr for each of 2"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "mode": "x"}, ValueError, "mode is 'tri"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "scale_mode": "x"}, ValueError, "'cycle' or"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 0}, ValueError, "step_"),
        ("OneCycleLR", {"max_lr": 1.0}, ValueError, "expected total_steps, or epochs and steps"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 0}, ValueError, "total_steps must be at"),
        ("OneCycleLR", {"max_lr": 1.0, "epochs": 0, "steps_per_epoch": 1}, ValueError, "epochs"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9, "pct_start": 2}, ValueError, "pct_start"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9, "anneal_strategy": "x"}, ValueError,
         "'cos' or 'linear'"),
        ("ReduceLROnPlateau", {"factor": 1.0}, ValueError, "factor must be below 1"),
        ("ReduceLROnPlateau", {"mode": "most"}, ValueError, "'min' or 'max', not 'most'"),
        ("ReduceLROnPlateau", {"threshold_mode": "x"}, ValueError, "'rel' or 'abs', not 'x'"),
        ("ReduceLROnPlateau", {"min_lr": [0.1]}, ValueError, "a min_lr for each of 2 groups"),
    ],
)  # fmt: skip
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


def test_mistakes_in_combining_are_told():
    o = ours()
    falls = lr_scheduler.ExponentialLR(o, 0.5)
    waits = lr_scheduler.ReduceLROnPlateau(o)
    chain = lr_scheduler.ChainedScheduler([falls])
    stranger = lr_scheduler.ExponentialLR(ours(), 0.5)
    in_turn, at_once = lr_scheduler.SequentialLR, lr_scheduler.ChainedScheduler
    for error, told, call in [
        (ValueError, "at least one", lambda: in_turn(o, [], [])),
        (ValueError, "at least one", lambda: at_once([])),
        (ValueError, "the 1 epochs in which 2", lambda: in_turn(o, [falls] * 2, [])),
        (ValueError, "in order", lambda: in_turn(o, [falls] * 3, [5, 2])),
        (ValueError, "number 1 is of another", lambda: at_once([falls, stranger])),
        (ValueError, "number 0 is of another", lambda: in_turn(o, [stranger], [])),
        (TypeError, "not ReduceLROnPlateau", lambda: at_once([falls, waits])),
        (TypeError, "not ChainedScheduler", lambda: in_turn(o, [chain], [])),
        (TypeError, "not int as number 0", lambda: at_once([3])),
    ]:  # fmt: skip
        with pytest.raises(error, match=told):
            call()
    before = chain.state_dict()
    for state in ({"_schedulers": [], "_last_lr": []}, {"_schedulers": [{}], "_last_lr": []}):
        with pytest.raises(ValueError, match="load_state_dict"):
            chain.load_state_dict(state)
    assert chain.state_dict() == before


def test_cycles_of_momentum_want_one():
    adagrad = optim.Adagrad([nn.Parameter([1.0])])
    with pytest.raises(ValueError, match="Adagrad has no momentum; cycle_momentum=False"):
        lr_scheduler.CyclicLR(adagrad, 0.1, 0.2)
    assert lr_scheduler.CyclicLR(adagrad, 0.1, 0.2, cycle_momentum=False).get_last_lr() == [0.1]
