"""Steps of training on "cuda" against the CPU: workloads, optimizers and their states, clipping."""

import numpy as np
import pytest
from on_cuda import MARKS, agree

import lazynet as ln
from lazynet import demo

pytestmark = MARKS


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
            train(model, lambda x: ln.sum(model(ln.tensor(x))), [np.ones(3, "float32")], optimizer)
        ln.save(optimizer.state_dict(), tmp_path / "state")
        optimizer.load_state_dict(ln.load(tmp_path / "state"))
        train(model, lambda x: ln.sum(model(ln.tensor(x))), [np.ones(3, "float32")], optimizer)
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
