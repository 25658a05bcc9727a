"""Layers and functions: PyTorch's values, gradients and initial values, one example at a time."""

import math

import numpy as np
import pytest
from checks import normal, parameter

import lazynet as ln
from lazynet import nn

F = nn.functional


class TestLayers:
    def test_linear_is_that_of_pytorch(self, torch):
        theirs, ours = torch.nn.Linear(3, 2).double(), nn.Linear(3, 2).double()
        ours.load_state_dict(theirs.state_dict())
        x = normal(4, 3)
        y = ours(ln.sequence(x))
        np.testing.assert_allclose(y.numpy(), theirs(torch.tensor(x)).detach())
        np.testing.assert_allclose(ours(ln.tensor(x[0])).numpy(), y.numpy()[0])

    def test_embedding_gives_a_tensor_for_a_number_and_a_sequence_for_a_list(self):
        embed = nn.Embedding(5, 3)
        table = embed.weight.numpy()
        np.testing.assert_array_equal(embed(2).numpy(), table[2])
        found = embed([4, 0, 4])
        assert isinstance(found, ln.Sequence)
        np.testing.assert_array_equal(found.numpy(), table[[4, 0, 4]])
        assert embed([]).shape == (0, 3)
        with pytest.raises(IndexError, match="5"):
            embed([1, 5])

    def test_the_gradient_of_an_embedding_adds_up_where_an_index_repeats(self):
        embed = nn.Embedding(4, 2)
        embed([1, 3, 1]).sum().backward()
        np.testing.assert_array_equal(embed.weight.grad.numpy(), [[0, 0], [2, 2], [0, 0], [1, 1]])

    def test_a_pretrained_embedding_is_frozen_unless_told_otherwise(self):
        table = normal(4, 2)
        assert not nn.Embedding.from_pretrained(table).weight.requires_grad
        embed = nn.Embedding.from_pretrained(table, freeze=False)
        assert embed.weight.requires_grad
        np.testing.assert_array_equal(embed(1).numpy(), table[1])

    def test_dropout_drops_while_training_only(self):
        drop, x = nn.Dropout(0.25), ln.tensor(np.ones(10_000, np.float32))
        y = drop(x).numpy()
        np.testing.assert_allclose(np.unique(y), [0.0, 4 / 3], rtol=1e-6)
        assert abs((y == 0).mean() - 0.25) < 0.03
        assert (drop(x).numpy() != y).any()
        np.testing.assert_array_equal(drop.eval()(x).numpy(), 1.0)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: nn.Linear(0, 2),
            lambda: nn.Embedding(2, -1),
            lambda: nn.LSTM(2, 2, num_layers=0),
            lambda: nn.GRUCell(2, 1.5),
            lambda: nn.Dropout(1.5),
            lambda: nn.LSTM(2, 2, dropout=2.0),
            lambda: nn.RNN(2, 2, nonlinearity="sine"),
            lambda: nn.TreeLSTMCell(2, 2, arity=0),
        ],
    )
    def test_impossible_sizes_are_refused(self, make):
        with pytest.raises(ValueError):
            make()


class TestFunctional:
    def test_losses_and_activations_are_those_of_pytorch(self, torch):
        x, target = normal(4, 5), [0, 3, 3, 1]
        xs, xt = ln.sequence(x), torch.tensor(x)
        their, tt = torch.nn.functional, torch.tensor(target)
        for name in ("relu", "tanh", "sigmoid"):
            expected = getattr(their, name)(xt)
            np.testing.assert_allclose(getattr(F, name)(xs).numpy(), expected, atol=1e-12)
        for name in ("softmax", "log_softmax"):
            for dim in (-1, 0):
                expected = getattr(their, name)(xt, dim=dim)
                got = getattr(F, name)(xs, dim=dim)
                np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)
        for reduction in ("mean", "sum", "none"):
            for got, expected in (
                (
                    F.cross_entropy(xs, target, reduction),
                    their.cross_entropy(xt, tt, reduction=reduction),
                ),
                (F.nll_loss(xs, target, reduction), their.nll_loss(xt, tt, reduction=reduction)),
            ):
                np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)
        got = F.mse_loss(xs, ln.sequence(2 * x + 1))
        np.testing.assert_allclose(got.numpy(), their.mse_loss(xt, 2 * xt + 1))

    @pytest.mark.parametrize("name", ["softmax", "log_softmax", "linear", "dropout"])
    def test_functions_of_values_are_found_under_both_names(self, name):
        assert getattr(F, name) is getattr(ln, name)

    @pytest.mark.parametrize("of", [F.softmax, F.log_softmax, F.softmin])
    def test_the_axis_is_dim_as_in_pytorch(self, torch, of):
        x = normal(2, 3)
        want = getattr(torch.nn.functional, of.__name__)(torch.tensor(x), dim=0)
        for got in (of(ln.tensor(x), dim=0), of(ln.tensor(x), 0)):
            np.testing.assert_allclose(got.numpy(), want)

    def test_linear_and_embedding_take_their_weights_as_arguments(self):
        w, b, x = nn.Parameter(normal(2, 3)), nn.Parameter(normal(2)), normal(3)
        got = F.linear(ln.tensor(x), w, b).numpy()
        np.testing.assert_allclose(got, w.numpy() @ x + b.numpy())
        np.testing.assert_array_equal(F.embedding([1, 0], w).numpy(), w.numpy()[[1, 0]])

    def test_attention_is_that_of_pytorch_with_gradients(self, torch):
        arrays = normal(4), normal(6, 4), normal(6, 3)
        q, k, v = (torch.tensor(a, requires_grad=True) for a in arrays)
        expected = torch.nn.functional.scaled_dot_product_attention(q[None], k, v)[0]
        ours = [ln.tensor(a, requires_grad=True) for a in arrays]
        query, keys, values = ours[0], ln.sequence(ours[1]), ln.sequence(ours[2])
        got = F.scaled_dot_product_attention(query, keys, values)
        np.testing.assert_allclose(got.numpy(), expected.detach(), atol=1e-12)
        expected.square().sum().backward()
        got.square().sum().backward()
        for a, b in zip((q, k, v), ours, strict=True):
            np.testing.assert_allclose(b.grad.numpy(), a.grad, atol=1e-12)

    def test_attention_refuses_what_does_not_match(self):
        rows4, rows3 = ln.sequence(normal(6, 4)), ln.sequence(normal(5, 3))
        with pytest.raises(ValueError, match=r"query of \(4,\)"):
            F.scaled_dot_product_attention(rows4[0], rows3, rows3)
        with pytest.raises(ValueError, match="6 keys for 5 values"):
            F.scaled_dot_product_attention(rows4[0], rows4, rows3)
        with pytest.raises(ValueError, match="at least one"):
            F.scaled_dot_product_attention(rows4[0], rows4[:0], rows4[:0])


class TestClipping:
    def given(self, *gradients):
        made = [nn.Parameter(np.zeros(np.shape(g))) for g in gradients]
        for p, g in zip(made, gradients, strict=True):
            p.grad = g
        return [*made, parameter(3)]  # the last one has no gradient

    @pytest.mark.parametrize("kind", [2.0, math.inf, 1.0, 3.0, 0.5])
    @pytest.mark.parametrize("limit", [0.5, 100.0])
    def test_the_norm_is_clipped_as_in_pytorch(self, torch, limit, kind):
        gradients = normal(3, 2), normal(4)
        ours = self.given(*gradients)
        theirs = [torch.nn.Parameter(torch.zeros(g.shape).double()) for g in gradients]
        for p, g in zip(theirs, gradients, strict=True):
            p.grad = torch.tensor(g)
        norm = nn.utils.clip_grad_norm_(ours, limit, kind)
        assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, limit, kind)))
        for p, q in zip(theirs, ours, strict=False):
            np.testing.assert_allclose(q.grad.numpy(), p.grad)
        assert ours[-1].grad is None

    def test_one_parameter_or_none_will_do(self):
        (p, _) = self.given([3.0, 4.0])
        assert nn.utils.clip_grad_norm_(p, 1.0) == pytest.approx(5.0)
        assert nn.utils.clip_grad_norm_([], 1.0) == 0.0

    def test_a_norm_that_is_not_finite_is_an_error_when_asked(self):
        given = self.given([math.nan, 1.0])
        with pytest.raises(RuntimeError, match="nan"):
            nn.utils.clip_grad_norm_(given, 1.0, error_if_nonfinite=True)
        assert math.isnan(nn.utils.clip_grad_norm_(given, 1.0))
        assert np.isnan(given[0].grad.numpy()).all()
        assert math.isnan(nn.utils.clip_grad_norm_(given, 1.0, math.inf))
        with pytest.raises(ValueError, match="norm_type"):
            nn.utils.clip_grad_norm_(given, 1.0, 0.0)
        assert math.isnan(nn.utils.clip_grad_norm_(given, 1.0, 3.0))

    @pytest.mark.parametrize("clip", [nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_])
    def test_what_is_no_parameter_is_told(self, clip):
        layers = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
        kinds = (layers, "Sequential"), ([layers], "Sequential"), (layers[0], "Linear"), (3, "int")
        for given, what in kinds:
            with pytest.raises(TypeError, match=rf"^{clip.__name__}: .*\.parameters.*not {what}$"):
                clip(given, 1.0)
        with pytest.raises(TypeError, match="not a computed value"):
            clip(parameter(2) * 2.0, 1.0)

    def test_values_are_clipped_one_by_one(self):
        given = self.given([3.0, -4.0, 0.5])
        nn.utils.clip_grad_value_(given, 1.0)
        np.testing.assert_array_equal(given[0].grad.numpy(), [1.0, -1.0, 0.5])
