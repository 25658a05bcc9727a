"""Optimizers that change the rows of a table that were looked up, and those rows alone."""

import numpy as np
import pytest

import lazynet as ln
from lazynet import nn, optim

STEPS = [[3, 1, 3], [1], [], [7, 0], [3]]
each = pytest.mark.parametrize(
    "name, options",
    [("SparseSGD", {"lr": 0.1}), ("SparseAdam", {}),
     ("SparseAdam", {"lr": 0.1, "betas": (0.5, 0.7), "eps": 1e-3}),
     ("SparseSGD", {"lr": 0.1, "maximize": True}), ("SparseAdam", {"maximize": True})],
)  # fmt: skip


def table(dtype="float64", rows=9, width=4):
    return nn.Parameter(np.random.standard_normal((rows, width)).astype(dtype))


def loss(weight, rows):
    """Uses each looked-up row, with a gradient of its own."""
    found = ln.lookup(weight, rows)
    factors = ln.sequence(np.arange(1.0, 1 + 4 * len(rows)).reshape(-1, 4).astype(found.dtype))
    return ln.sum(ln.sum(found * factors)) + ln.sum(ln.tanh(ln.lookup(weight, rows[0])))


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-5), ("float64", 1e-12)])
@each
def test_the_trajectory_is_that_of_pytorch(torch, name, options, dtype, tolerance):
    ours = table(dtype)
    theirs = torch.nn.Embedding.from_pretrained(torch.tensor(ours.numpy()), False, sparse=True)
    mine = getattr(optim, name)([ours], **options)
    kind = {"SparseSGD": "SGD"}.get(name, name)
    other = getattr(torch.optim, kind)(theirs.parameters(), **options)
    for rows in STEPS:
        mine.zero_grad()
        other.zero_grad()
        if not rows:
            continue
        loss(ours, rows).backward()
        found = theirs(torch.tensor(rows))
        factors = torch.arange(1.0, 1 + 4 * len(rows), dtype=found.dtype).reshape(-1, 4)
        value = (found * factors).sum() + theirs(torch.tensor(rows[0])).tanh().sum()
        value.backward()
        mine.step()
        other.step()
        expected = theirs.weight.detach().numpy()
        np.testing.assert_allclose(ours.numpy(), expected, rtol=tolerance, atol=tolerance)


@each
def test_rows_that_were_not_looked_up_are_not_read_or_written(name, options):
    weight = table()
    optimizer = getattr(optim, name)([weight], **options)
    for rows in ([2, 5], [5, 6]):
        optimizer.zero_grad()
        loss(weight, rows).backward()
        # What an update that read them would spread.
        others = np.setdiff1d(np.arange(9), rows)
        for kept in (v for v in optimizer.state.get(weight, {}).values() if hasattr(v, "dtype")):
            kept.reshape(9, 4)[others] = np.nan
        weight.graph.gradient[others] = np.nan
        before = weight.numpy()
        optimizer.step()
        changed = (weight.numpy() != before).any(1)
        assert np.flatnonzero(changed).tolist() == rows
        weight.graph.gradient[others] = 0.0
        for kept in (v for v in optimizer.state[weight].values() if hasattr(v, "dtype")):
            kept.reshape(9, 4)[others] = 0.0


def test_gradients_are_whole_and_cleared_where_they_were_added_to():
    weight = table()
    twin = nn.Parameter(weight.numpy())
    optimizer = optim.SparseSGD([weight])
    for rows in STEPS[:2] + STEPS[3:]:
        optimizer.zero_grad()
        twin.zero_grad()
        assert weight.grad is None
        for w in (weight, twin):
            loss(w, rows).backward()
            loss(w, rows[::-1]).backward()  # which adds
        np.testing.assert_array_equal(weight.grad.numpy(), twin.grad.numpy())


@pytest.mark.parametrize(
    "use",
    [
        lambda w: ln.sum(ln.linear(ln.ones(4, dtype="float64"), w)),  # as a matrix
        lambda w: ln.sum(w[2] * w[5]),  # as an array
        lambda w: ln.sum(w.square()),
        lambda w: ln.sum(ln.lookup(w, 2)) + ln.sum(ln.linear(ln.lookup(w, 1), w)),  # as both
    ],
)
def test_what_is_used_in_another_way_is_changed_as_a_whole(use):
    weight = table()
    twin = nn.Parameter(weight.numpy())
    sparse, plain = optim.SparseSGD([weight], lr=0.1), optim.SGD([twin], lr=0.1)
    for _ in range(2):
        for w, optimizer in ((weight, sparse), (twin, plain)):
            optimizer.zero_grad()
            use(w).backward()
            optimizer.step()
        np.testing.assert_allclose(weight.numpy(), twin.numpy(), rtol=1e-12)
        for w in (weight, twin):  # and rows after that
            w.zero_grad()
            loss(w, [4]).backward()
        np.testing.assert_allclose(weight.grad.numpy(), twin.grad.numpy(), rtol=1e-12)


def test_hooks_and_gradients_set_by_hand_may_concern_any_row():
    weight = table()
    optimizer = optim.SparseSGD([weight], lr=1.0)
    handle = weight.register_hook(lambda g: g + 1.0)
    loss(weight, [3]).backward()
    before = weight.numpy()
    optimizer.step()
    assert (weight.numpy() != before).all()
    handle.remove()
    weight.grad = np.ones((9, 4))
    before = weight.numpy()
    optimizer.step()
    np.testing.assert_allclose(weight.numpy(), before - 1.0)
    optimizer.zero_grad()
    loss(weight, [3]).backward()
    assert np.flatnonzero(weight.grad.numpy().any(1)).tolist() == [3]


def test_only_what_is_differentiated_counts():
    weight = table()
    optimizer = optim.SparseAdam([weight])
    kept, dropped = loss(weight, [1, 4]), loss(weight, [6])
    kept.backward()
    before = weight.numpy()
    optimizer.step()
    assert np.flatnonzero((weight.numpy() != before).any(1)).tolist() == [1, 4]
    del dropped


def test_states_go_on_and_follow_their_device(torch):
    weight = table("float32")
    optimizer = optim.SparseAdam([weight], lr=0.1)
    theirs = torch.nn.Embedding.from_pretrained(torch.tensor(weight.numpy()), False, sparse=True)
    other = torch.optim.SparseAdam(theirs.parameters(), lr=0.1)
    theirs(torch.tensor([1, 2])).sum().backward()
    other.step()
    ln.sum(ln.sum(ln.lookup(weight, [1, 2]))).backward()
    optimizer.step()
    loaded = optim.SparseAdam([weight], lr=0.5)
    loaded.load_state_dict(optimizer.state_dict())
    assert loaded.lr == 0.1 and loaded.state[weight]["step"] == 1
    np.testing.assert_allclose(
        loaded.state[weight]["exp_avg"].reshape(9, 4),
        other.state_dict()["state"][0]["exp_avg"].numpy(), rtol=1e-6,
    )  # fmt: skip
    with pytest.raises(ValueError, match="another optimizer's"):
        optim.SparseSGD([weight]).load_state_dict(optimizer.state_dict())


def test_models_with_tables_and_layers_take_an_optimizer_for_each():
    ln.manual_seed(0)
    embed, out = nn.Embedding(50, 8), nn.Linear(8, 3)
    optimizers = optim.SparseAdam(embed.parameters(), lr=0.1), optim.Adam(out.parameters(), lr=0.1)
    losses = []
    for _ in range(20):
        for optimizer in optimizers:
            optimizer.zero_grad()
        scores = [out(ln.mean(embed(words), 0)) for words in ([1, 2, 3], [4], [5, 1])]
        total = sum(nn.functional.cross_entropy(s, k) for k, s in enumerate(scores))
        total.backward()
        losses.append(total.item())
        for optimizer in optimizers:
            optimizer.step()
    assert losses[-1] < 0.1 * losses[0]
