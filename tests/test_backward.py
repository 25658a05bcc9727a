"""Backward, graphs and lifetime behave as a user of PyTorch expects."""

import gc

import numpy as np
import pytest
from checks import close, leaf, parameter

import lazynet as ln
from lazynet.ops import reduce, rows
from lazynet.ops.linear import linear

TWICE = "Trying to backward through the graph a second time"


# -- what backward gives ---------------------------------------------------------------------------


def test_gradients_accumulate_over_backwards():
    x = ln.tensor([1.0, 2.0], requires_grad=True)
    for times in (1, 2, 3):
        (x * x).sum().backward()
        close(x.grad, [2.0 * times, 4.0 * times])


def test_gradients_accumulate_over_examples_and_uses():
    w = ln.Parameter(np.array([2.0, 3.0]))
    loss = reduce.sum([(w * w).sum() for _ in range(3)]) + (w * 5.0).sum()
    loss.backward()
    close(w.grad, 3 * 2 * np.array([2.0, 3.0]) + 5.0)


def test_zero_grad_forgets():
    w = parameter(2)
    w.sum().backward()
    w.zero_grad()
    assert w.grad is None
    (w * 2.0).sum().backward()
    close(w.grad, [2.0, 2.0])


def test_grad_is_none_before_backward_and_for_values_in_between():
    x = leaf(3)
    y = x * 2.0
    assert x.grad is None
    y.sum().backward()
    assert y.grad is None
    assert x.grad is not None


def test_backward_needs_a_scalar():
    with pytest.raises(ValueError, match=r"only a scalar needs no gradient; this has shape \(3,\)"):
        (leaf(3) * 2.0).backward()
    with pytest.raises(ValueError, match="only a scalar"):
        (rows.sequence(leaf(1, 1)) * 2.0).backward()


def test_backward_takes_a_cotangent():
    x = leaf(3)
    (x * 2.0).backward(np.array([1.0, 0.0, -1.0]))
    close(x.grad, [2.0, 0.0, -2.0])
    with pytest.raises(ValueError, match=r"shape \(2,\), the value \(3,\)"):
        (x * 2.0).backward(np.ones(2))


def test_backward_of_a_sequence_takes_a_cotangent_for_each_row():
    x = leaf(3, 2)
    cotangent = np.random.randn(3, 2)
    (rows.sequence(x)[::-1] * 2.0).backward(cotangent)
    close(x.grad, 2 * cotangent[::-1])


def test_backward_of_no_rows_changes_nothing():
    x = leaf(3, 2)
    (rows.sequence(x)[:0] * 2.0).backward(np.zeros((0, 2)))
    assert x.grad is None


def test_backward_of_a_leaf_without_elements_changes_nothing():
    for x in (leaf(0), ln.sequence(leaf(2, 0))):
        x.backward(np.zeros(x.shape))
        assert x.graph.gradient.size == 0


def test_backward_of_a_leaf_is_one():
    x = ln.tensor(3.0, requires_grad=True)
    x.backward()
    close(x.grad, 1.0)


def test_backward_of_a_part_of_a_leaf_reaches_that_part():
    x = leaf(4)
    x[2].backward()
    close(x.grad, [0, 0, 1, 0])
    y = leaf(4)
    y.chunk(2)[1].backward(np.array([5.0, 6.0]))
    close(y.grad, [0, 0, 5, 6])
    z = leaf(2, 3)
    rows.sequence(z)[1].backward(np.ones(3))
    close(z.grad, [[0, 0, 0], [1, 1, 1]])


def test_backward_without_a_leaf_that_wants_one_says_so():
    for value in (ln.tensor([1.0]) * 2.0, (leaf(1) * 2.0).detach(), ln.tensor(1.0)):
        with pytest.raises(RuntimeError, match="requires a gradient"):
            value.backward()


def test_rows_that_lead_nowhere_get_no_gradient():
    x, y = leaf(3), leaf(3)
    a, b = ln.tanh(x), ln.tanh(y)  # one batch
    a.sum().backward()
    assert x.grad is not None
    assert y.grad is None or not np.asarray(y.grad).any()
    b.sum().backward()
    close(y.grad, 1 - np.tanh(np.asarray(y)) ** 2)


@pytest.mark.parametrize("cut", [ln.detach, lambda y: y], ids=["detached", "not used"])
def test_parameters_that_lead_nowhere_get_no_gradient(cut):
    w, v, x = parameter(2, 2), parameter(2), leaf(2, requires_grad=False)
    for _ in range(3):  # a plan that is found again, too
        y = cut(ln.linear(x, w))
        (y * v if cut is ln.detach else v * v).sum().backward()
        assert w.grad is None and np.asarray(v.grad).any()
    ln.linear(x, w).sum().backward()
    close(w.grad, [np.asarray(x)] * 2)


def test_a_parameter_that_no_row_met_has_a_gradient_of_0_as_in_pytorch():
    w, v = parameter(2, 3), parameter(2)
    (ln.linear(ln.ones(3, length=0, dtype="float64"), w).sum() + v.sum()).backward()
    close(w.grad, np.zeros((2, 3)))


def test_a_head_that_the_loss_does_not_use_is_passed_by_as_in_pytorch(torch):
    def trained(lib, optimizers, tensor, parameter):
        body, one, other = (parameter(np.full((2, 2), k, "f")) for k in (1.0, 2.0, 3.0))
        adam = optimizers.AdamW([body, one, other], lr=0.1, weight_decay=0.5)
        for step in range(4):
            adam.zero_grad()
            h = lib.tanh(tensor([0.1, 0.2]) @ body)
            losses = (h @ one).sum(), (h @ other).sum()
            losses[step % 2].backward()
            adam.step()
        return [np.asarray(p.detach()) for p in (body, one, other)]

    ours = trained(ln, ln.optim, ln.tensor, ln.Parameter)
    theirs = trained(
        torch, torch.optim, torch.tensor, lambda a: torch.nn.Parameter(torch.tensor(a))
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_requires_grad_follows_the_leaves():
    x, c = leaf(2), leaf(2, requires_grad=False)
    assert (x * c).requires_grad
    assert not (c * c).requires_grad
    assert not x.detach().requires_grad
    assert x.is_leaf and not (x * 2.0).is_leaf


def test_frozen_parameters_get_no_gradient():
    w, v = parameter(2), parameter(2)
    w.requires_grad = False
    x = leaf(2)
    (w * v * x).sum().backward()
    assert w.grad is None
    close(v.grad, np.asarray(w) * np.asarray(x))
    w.requires_grad_()
    (w * x).sum().backward()
    close(w.grad, np.asarray(x))


def test_retain_grad_keeps_the_gradient_of_a_value():
    x = leaf(3)
    y = x * 2.0
    y.retain_grad()
    s = rows.sequence([y, y * 3.0]) * 1.0
    s.retain_grad()
    (s * s).sum(0).sum().backward()
    close(s.grad, 2 * np.asarray(s))
    close(y.grad, 2 * np.asarray(y) + 3 * 6 * np.asarray(y))


# -- one graph, many backwards ---------------------------------------------------------------------


def test_two_losses_over_a_shared_encoder_need_retain_graph():
    w = parameter(3, 3)
    x = leaf(3)

    def losses():
        h = ln.tanh(linear(x, w))
        return (h * 2.0).sum(), (h * h).sum()

    a, b = losses()
    a.backward()
    with pytest.raises(RuntimeError, match=TWICE):
        b.backward()
    w.zero_grad()
    a, b = losses()
    a.backward(retain_graph=True)
    b.backward()
    apart = np.asarray(w.grad)
    w.zero_grad()
    a, b = losses()
    (a + b).backward()
    close(apart, np.asarray(w.grad))


def test_two_losses_that_share_only_parameters_go_backward_one_after_the_other():
    w, v = parameter(3, 3), parameter(3)

    def loss(x):
        return (ln.tanh(x @ (w * 2.0)) * ln.sigmoid(v)).sum()

    xs = [leaf(3, requires_grad=False) for _ in range(2)]
    reduce.sum([loss(x) for x in xs]).backward()
    together = np.asarray(w.grad), np.asarray(v.grad)
    w.zero_grad(), v.zero_grad()
    first, second = (loss(x) for x in xs)
    first.backward()
    second.backward()
    close(w.grad, together[0])
    close(v.grad, together[1])


def test_backward_twice_raises_and_changes_nothing():
    x = leaf(3)
    y = (x * x).sum()
    y.backward()
    before = np.asarray(x.grad)
    with pytest.raises(RuntimeError, match=TWICE):
        y.backward()
    close(x.grad, before)
    assert np.isfinite(y.item())


def test_retain_graph_lets_backward_run_again():
    x = leaf(3)
    y = (x * x).sum()
    for times in (1, 2, 3):
        y.backward(retain_graph=True)
        close(x.grad, times * 2 * np.asarray(x))
    y.backward()
    with pytest.raises(RuntimeError, match=TWICE):
        y.backward()


def test_a_new_use_of_a_consumed_value_raises():
    x = leaf(3)
    h = ln.tanh(x)
    h.sum().backward()
    with pytest.raises(RuntimeError, match=TWICE):
        (h * 2.0).sum().backward()


def test_backward_follows_links_between_graphs():
    x, w = leaf(3), parameter(3)
    h = ln.tanh(x * w)
    (x * 5.0).sum().backward()  # recording moves on to a new graph; h stays in the old one
    x.graph.gradient = None
    y = (h * w).sum()
    y.backward()
    t = np.tanh(np.asarray(x) * np.asarray(w))
    close(x.grad, np.asarray(w) ** 2 * (1 - t * t))
    close(w.grad, t + np.asarray(w) * (1 - t * t) * np.asarray(x))


def test_links_to_several_graphs_add_up():
    x = leaf(2)
    parts = []
    for k in range(5):
        parts.append(ln.tanh(x * float(k)))
        (x * 1.0).sum().backward()
    x.graph.gradient = None
    reduce.sum([p.sum() for p in parts]).backward()
    a = np.asarray(x)
    close(x.grad, sum(k * (1 - np.tanh(k * a) ** 2) for k in range(5)))


def test_a_value_kept_across_steps_stays_readable():
    w = parameter(4)
    kept, expected = [], []
    for step in range(30):
        y = ln.tanh(w * float(step))
        y.sum().backward()
        kept.append(y)
        expected.append(np.tanh(np.asarray(w) * step))
        w.copy_(np.asarray(w) + 0.1)
    gc.collect()
    for y, e in zip(kept, expected, strict=True):
        close(y, e)


# -- detach and no_grad ----------------------------------------------------------------------------


def test_detach_cuts_gradients():
    x = leaf(3)
    y = ln.tanh(x)
    (y.detach() * x + y).sum().backward()
    t = np.tanh(np.asarray(x))
    close(x.grad, t + 1 - t * t)


def test_no_grad_in_the_middle_of_building():
    x, w = leaf(3), parameter(3)
    a = w * x
    with ln.no_grad():
        assert not ln.is_grad_enabled()
        b = w * x
        with ln.enable_grad():
            c = w * x
    d = w * x
    assert [v.requires_grad for v in (a, b, c, d)] == [True, False, True, True]
    (a + b * 10.0 + c + d).sum().backward()
    close(w.grad, 3 * np.asarray(x))


def test_no_grad_as_a_decorator():
    w = parameter(3)

    @ln.no_grad()
    def predict(depth=2):
        return predict(depth - 1) if depth else w * 2.0

    assert not predict().requires_grad
    assert (w * 2.0).requires_grad
    assert ln.is_grad_enabled()


def test_no_grad_ends_with_an_exception():
    with pytest.raises(KeyError), ln.no_grad():
        raise KeyError
    assert ln.is_grad_enabled()


def test_metrics_under_no_grad_in_the_middle_of_building_leave_gradients_intact():
    w = parameter(3)
    xs = [leaf(3, requires_grad=False) for _ in range(4)]
    losses = []
    for x in xs:
        h = ln.tanh(w * x)
        with ln.no_grad():
            assert np.isfinite(h.sum().item())
        losses.append((h * h).sum())
    reduce.sum(losses).backward()
    a = np.asarray(w)
    expected = 0
    for x in map(np.asarray, xs):
        t = np.tanh(a * x)
        expected = expected + 2 * t * (1 - t * t) * x
    close(w.grad, expected)


def test_a_value_recorded_without_gradients_is_a_constant_later():
    w = parameter(3)
    with ln.no_grad():
        target = w * 2.0
    (w * target).sum().backward()
    close(w.grad, 2 * np.asarray(w))


def new_graph():
    """Have recording move on to a new graph."""
    (leaf(1) * 1.0).sum().backward()


def spoil_free_memory():
    """Overwrite what was freed."""
    gc.collect()
    kept = [np.full(6, 9.0) for _ in range(100)]
    for _ in range(20):
        z = ln.tensor(np.full(6, 9.0)) * 1.0
        z.numpy()
        kept.append(z)
        new_graph()
    return kept


@pytest.mark.parametrize("enabled", [True, False], ids=["grad", "no_grad"])
def test_parts_outlive_the_graphs_and_leaves_they_were_cut_from(enabled):
    with ln.enable_grad() if enabled else ln.no_grad():
        x = ln.tensor(np.arange(6.0)) * 1.0
        x.numpy()
        ln.graph.current_graph().close()
        of_value = rows.sequence(x.reshape(2, 3))[1][1:]  # lies in the graph of x
        of_value.numpy()
        ln.graph.current_graph().close()
        again = of_value[1:]  # in a third graph
        of_leaf = ln.tensor(np.arange(6.0))[4:]
        again.numpy()
        ln.graph.current_graph().close()
        first = of_value * 1.0
    del x
    kept = spoil_free_memory()
    close(of_value, [4.0, 5.0])
    close(again, [5.0])
    close(of_leaf, [4.0, 5.0])
    close(again * 2.0 + of_leaf * 0.0, [10.0, 10.0])
    close(first, [4.0, 5.0])
    del kept


def test_inputs_that_nobody_holds_are_there_for_a_later_backward():
    w = parameter(6)
    x = np.random.randn(6)
    first, second = (w * ln.tensor(x)).sum(), (w * ln.tensor(x * 2)).tanh().sum()
    first.backward()
    w.zero_grad()
    kept = spoil_free_memory()
    second.backward()
    close(w.grad, 2 * x * (1 - np.tanh(np.asarray(w) * 2 * x) ** 2))
    del kept


# -- parameters that change ------------------------------------------------------------------------


def test_pending_values_use_the_parameters_they_were_recorded_with():
    w = ln.Parameter(np.array([1.0, 2.0]))
    y, part = w * 3.0, w.chunk(2)[1] * 3.0
    w.copy_([10.0, 20.0])
    close(y, [3.0, 6.0])
    close(part, [6.0])
    close(w * 3.0, [30.0, 60.0])


def test_a_parameter_may_change_between_uses_while_older_values_are_kept():
    w = ln.Parameter(np.array([1.0, 2.0]))
    before = (w * 2.0).sum()
    before.item()
    w.copy_([3.0, 4.0])
    (w * w).sum().backward()
    close(w.grad, [6.0, 8.0])
    assert before.item() == 6.0


@pytest.mark.parametrize(
    "use",
    [
        lambda w: ln.tanh(w * 2.0).sum(),
        lambda w: (w.chunk(2)[0] * w.chunk(2)[1]).sum(),
        lambda w: w[0] * w[1],
        lambda w: (rows.sequence([w, w]) * 2.0).softmax(0).sum(),
    ],
    ids=["whole", "views", "elements", "rows"],
)
def test_backward_after_a_parameter_changed_raises(use):
    w = ln.Parameter(np.array([1.0, 2.0]))
    y = use(w)
    y.item()
    w.copy_([10.0, 20.0])
    with pytest.raises(RuntimeError, match="modified"):
        y.backward()
    assert w.grad is None or not np.asarray(w.grad).any()


def test_updates_by_sgd_follow_the_formula():
    w = parameter(3)
    expected = np.asarray(w).copy()
    for _ in range(5):
        w.zero_grad()
        ln.tanh(w).sum().backward()
        w.data -= 0.1 * np.asarray(w.grad)
        expected -= 0.1 * (1 - np.tanh(expected) ** 2)
    close(w, expected)
