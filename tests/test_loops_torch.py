"""Training loops that do more than one backward a step give what the same loops give in PyTorch.

A loop is written once, for both libraries: `lib` is lazynet or PyTorch, `grown` one step of a
recurrent network, and what a loop returns are its losses.
"""

from types import SimpleNamespace

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn, optim

torch = pytest.importorskip("torch")

WIDTH, RATE = 4, 0.1
INPUTS = np.random.default_rng(0).standard_normal((12, WIDTH))


def ours():
    cell, head = nn.LSTMCell(WIDTH, WIDTH).double(), nn.Linear(WIDTH, 1).double()
    parameters = [*cell.parameters(), *head.parameters()]
    return SimpleNamespace(
        cell=cell, head=head, parameters=parameters, tensor=ln.tensor, no_grad=ln.no_grad,
        tanh=ln.tanh, sum=ln.sum, optimizer=optim.SGD(parameters, lr=RATE),
        set=lambda p, values: p.copy_(values),
    )  # fmt: skip


def theirs(twin):
    cell, head = torch.nn.LSTMCell(WIDTH, WIDTH).double(), torch.nn.Linear(WIDTH, 1).double()
    for to, source in ((cell, twin.cell), (head, twin.head)):
        state = source.state_dict()
        to.load_state_dict({name: torch.from_numpy(np.array(v)) for name, v in state.items()})
    parameters = [*cell.parameters(), *head.parameters()]

    def put(p, values):
        with torch.no_grad():
            p.copy_(torch.as_tensor(values))

    return SimpleNamespace(
        cell=cell, head=head, parameters=parameters, tensor=torch.tensor, no_grad=torch.no_grad,
        tanh=torch.tanh, sum=sum, optimizer=torch.optim.SGD(parameters, lr=RATE), set=put,
    )  # fmt: skip


def numbers(x):
    return np.array(x.detach().numpy())


def grown(lib, state, k):
    """The state after one more input, and the loss at it."""
    state = lib.cell(lib.tensor(INPUTS[k]), state)
    return state, (lib.head(state[0]) - 1.0).sum() ** 2


def update(lib, loss):
    lib.optimizer.zero_grad()
    loss.backward()
    lib.optimizer.step()


def truncated_backpropagation_through_time(lib):
    """The state goes on from chunk to chunk, gradients do not."""
    state, found = None, []
    for start in range(0, 12, 3):
        if state is not None:
            state = tuple(s.detach() for s in state)
        losses = []
        for k in range(start, start + 3):
            state, loss = grown(lib, state, k)
            losses.append(loss)
        total = lib.sum(losses)
        update(lib, total)
        found.append(total)
    return found


def two_losses_over_one_encoder(lib):
    """Backward of `a` keeps what `b` needs; both gradients add up."""
    found = []
    for k in range(4):
        state, a = grown(lib, None, k)
        b = lib.tanh(state[1]).sum()
        lib.optimizer.zero_grad()
        a.backward(retain_graph=True)
        alone = [None if p.grad is None else numbers(p.grad) for p in lib.parameters]
        b.backward()
        assert any((numbers(p.grad) != g).any() for p, g in zip(lib.parameters, alone, strict=True))
        lib.optimizer.step()
        found += [a, b]
    return found


def one_loss_after_the_other_without_retain_graph(lib):
    """The second backward raises in both libraries, and leaves the gradients of the first."""
    state, a = grown(lib, None, 0)
    b = state[1].sum()
    a.backward()
    before = [numbers(p.grad) for p in lib.parameters]
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        b.backward()
    for p, g in zip(lib.parameters, before, strict=True):
        np.testing.assert_array_equal(numbers(p.grad), g)
    return [a, b]


def values_kept_across_steps(lib):
    """States and losses of earlier steps stay what they were when parameters have changed."""
    kept = []
    for k in range(4):
        state, loss = grown(lib, None, k)
        update(lib, loss)
        kept += [state[0].sum(), state[1].sum(), loss]
    return kept


def metrics_in_the_middle_of_building(lib):
    """Looking under no_grad at what is half built changes no gradient."""
    state, losses, metrics = None, [], []
    for k in range(4):
        state, loss = grown(lib, state, k)
        with lib.no_grad():
            error = (lib.head(state[0]) - 1.0).sum()
            metrics.append(lib.tensor(abs(error.item())))
            assert not error.requires_grad
        losses.append(loss)
    update(lib, lib.sum(losses))
    return [*losses, *metrics]


def parameters_changed_while_values_are_pending(lib):
    """What was written down before a change has the values from before it."""
    found = []
    for k in range(3):
        _, before = grown(lib, None, k)
        for p in lib.parameters:
            lib.set(p, numbers(p) * 0.5)
        _, after = grown(lib, None, k)
        update(lib, after)
        found += [before, after]
    return found


def gradients_of_several_minibatches(lib):
    """Gradients add up until zero_grad."""
    found = []
    for step in range(2):
        lib.optimizer.zero_grad()
        for k in range(4 * step, 4 * step + 4):
            _, loss = grown(lib, None, k)
            (loss / 4.0).backward()
            found.append(loss)
        lib.optimizer.step()
    return found


def a_target_of_an_older_network(lib):
    """A value from before an update is a constant of a later loss."""
    found, target = [], None
    for _ in range(4):
        state, loss = grown(lib, None, 0)
        if target is not None:
            loss = loss + ((state[0] - target) ** 2).sum()
        target = state[0].detach()
        update(lib, loss)
        found.append(loss)
    return found


LOOPS = [
    truncated_backpropagation_through_time,
    two_losses_over_one_encoder,
    one_loss_after_the_other_without_retain_graph,
    values_kept_across_steps,
    metrics_in_the_middle_of_building,
    parameters_changed_while_values_are_pending,
    gradients_of_several_minibatches,
    a_target_of_an_older_network,
]


@pytest.mark.parametrize("policy", ["none", "auto"])
@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_a_loop_is_that_of_pytorch(loop, policy):
    first = ours()
    second = theirs(first)
    with ln.batching(policy):
        found = [float(x.item()) for x in loop(first)]
    wanted = [float(x.item()) for x in loop(second)]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    for p, q in zip(first.parameters, second.parameters, strict=True):
        np.testing.assert_allclose(numbers(p), numbers(q), rtol=1e-9, atol=1e-12)
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            np.testing.assert_allclose(numbers(p.grad), numbers(q.grad), rtol=1e-9, atol=1e-12)
