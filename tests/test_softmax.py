"""Output layers for large vocabularies, and bags of words."""

import numpy as np
import pytest
from checks import normal
from test_ops import observed

import lazynet as ln
from lazynet import check_grads, nn
from lazynet.batching.policies import NAMES

WORDS, SIZE = 13, 8
MAKERS = {
    "adaptive": lambda: nn.AdaptiveLogSoftmaxWithLoss(SIZE, WORDS, [3, 7], div_value=2.0),
    "classes": lambda: nn.ClassFactoredSoftmax(SIZE, [2, 0, 1, 0, 2, 3, 3, 1, 0, 2, 2, 3, 0]),
    "tree": lambda: nn.HierarchicalSoftmax(SIZE, [50, 40, 3, 3, 3, 2, 2, 1, 1, 1, 9, 8, 7]),
    "balanced tree": lambda: nn.HierarchicalSoftmax(SIZE, WORDS),
}
over_all = pytest.mark.parametrize("name", MAKERS)


def made(name):
    layer = MAKERS[name]().double()
    for p in layer.parameters():
        p.copy_(normal(*p.shape))
    return layer


def loss_of(layer, x, target):
    y = layer(x, target)
    return y if isinstance(y, ln.Tensor) else y.loss


class TestAll:
    @over_all
    def test_the_probabilities_of_all_words_add_up_to_one(self, name):
        layer, x = made(name), normal(1, SIZE)
        tiled = ln.sequence(np.repeat(x, WORDS, 0))
        p = layer.log_prob_of(tiled, list(range(WORDS))).exp().numpy()
        assert p.shape == (WORDS,) and (p > 0).all()
        assert p.sum() == pytest.approx(1)

    @over_all
    def test_the_loss_is_the_mean_over_the_rows(self, name):
        layer, x, target = made(name), ln.sequence(normal(5, SIZE)), [12, 0, 3, 7, 0]
        alone = [layer.log_prob_of(row, y).item() for row, y in zip(x, target, strict=True)]
        np.testing.assert_allclose(layer.log_prob_of(x, target).numpy(), alone, rtol=1e-12)
        assert loss_of(layer, x, target).item() == pytest.approx(-np.mean(alone))
        assert loss_of(layer, x[0], 12).item() == pytest.approx(-alone[0])
        assert layer.log_prob_of(x[:0], []).numpy().shape == (0,)

    @over_all
    def test_derivatives(self, name):
        layer = made(name)
        check_grads(lambda x: loss_of(layer, ln.sequence(x), [12, 4, 0]), [normal(3, SIZE)])
        x = ln.sequence(normal(3, SIZE))
        loss_of(layer, x, [12, 4, 0]).backward()
        for p in layer.parameters():
            before, slope, d = p.numpy(), p.grad.numpy(), normal(*p.shape)
            moved = []
            for step in (1e-6, -1e-6):
                p.copy_(before + step * d)
                moved.append(loss_of(layer, x, [12, 4, 0]).item())
            p.copy_(before)
            quotient = (moved[0] - moved[1]) / 2e-6
            assert np.vdot(slope, d) == pytest.approx(quotient, rel=1e-5, abs=1e-7)

    @pytest.mark.parametrize("policy", NAMES)
    @over_all
    def test_policies_agree(self, name, policy):
        layer = made(name)
        data = [(normal(n, SIZE), np.random.randint(WORDS, size=n).tolist()) for n in (1, 4, 0, 9)]
        alone = [layer.log_prob_of(ln.sequence(x), y).numpy() for x, y in data]
        with ln.batching(policy):
            together = [layer.log_prob_of(ln.sequence(x), y) for x, y in data]
            for got, want in zip(together, alone, strict=True):
                np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)

    @over_all
    def test_more_examples_are_hardly_more_batches(self, name):
        layer = made(name)

        def batches(count):
            losses = [loss_of(layer, ln.sequence(normal(WORDS, SIZE)), list(range(WORDS)))
                      for _ in range(count)]  # fmt: skip
            with observed() as runs:
                ln.forward(losses)
            return runs[0].batches

        assert batches(20) == batches(1)

    @over_all
    def test_mistakes_are_told(self, name):
        layer, x = made(name), ln.sequence(normal(2, SIZE))
        with pytest.raises(IndexError, match="13 is out of range"):
            layer(x, [0, WORDS])
        with pytest.raises(ValueError, match="1 targets for 2 rows"):
            layer(x, [0])
        with pytest.raises(ValueError, match="expected rows of"):
            layer(ln.sequence(normal(2, 3)), [0, 1])


class TestAdaptive:
    @pytest.mark.parametrize("bias", [True, False])
    def test_it_is_that_of_pytorch(self, torch, bias):
        theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(SIZE, WORDS, [3, 7], 2.0, bias).double()
        ours = nn.AdaptiveLogSoftmaxWithLoss(SIZE, WORDS, [3, 7], 2.0, bias).double()
        assert list(ours.state_dict()) == list(theirs.state_dict())
        ours.load_state_dict(theirs.state_dict())
        x, target = normal(6, SIZE), [0, 12, 3, 5, 2, 7]
        want = theirs(torch.tensor(x), torch.tensor(target))
        got = ours(ln.sequence(x), target)
        np.testing.assert_allclose(got.output.numpy(), want.output.detach(), atol=1e-12)
        assert got.loss.item() == pytest.approx(want.loss.item())
        want.loss.backward()
        got.loss.backward()
        named = dict(theirs.named_parameters())
        for name, p in ours.named_parameters():
            np.testing.assert_allclose(p.grad.numpy(), named[name].grad, atol=1e-12)
        every = theirs.log_prob(torch.tensor(x)).detach()
        np.testing.assert_allclose(ours.log_prob(ln.sequence(x)).numpy(), every, atol=1e-12)
        best = theirs.predict(torch.tensor(x)).tolist()
        assert ours.predict(ln.sequence(x)).tolist() == best
        assert ours.predict(ln.tensor(x[0])).item() == best[0]

    @pytest.mark.parametrize("cutoffs", [[], [0, 3], [5, 3], [3, 3], [WORDS]])
    def test_cutoffs_are_checked(self, cutoffs):
        with pytest.raises(ValueError, match="cutoffs"):
            nn.AdaptiveLogSoftmaxWithLoss(SIZE, WORDS, cutoffs)
        with pytest.raises(ValueError, match="leaves cluster 2 no features"):
            nn.AdaptiveLogSoftmaxWithLoss(4, 6, [2, 4])


class TestClasses:
    def test_the_whole_distribution_is_in_the_order_of_its_words(self):
        layer, x = made("classes"), ln.sequence(normal(2, SIZE))
        whole = layer.log_prob(x).numpy()
        for r, word in enumerate(layer.words.tolist()):
            want = layer.log_prob_of(x, [word, word]).numpy()
            np.testing.assert_allclose(whole[:, r], want, rtol=1e-12)

    @pytest.mark.parametrize("classes", [[0, 2], [-1, 0], [0.5, 1]])
    def test_every_class_has_a_word(self, classes):
        with pytest.raises(ValueError, match="each has a word"):
            nn.ClassFactoredSoftmax(SIZE, classes)


class TestTree:
    def test_frequent_words_have_short_paths(self):
        counts = [50, 20, 10, 6, 5, 1]
        paths = nn.huffman_paths(counts)
        lengths = [len(path) for path in paths]
        assert lengths == sorted(lengths) and lengths[0] == 1
        assert sum(2.0**-n for n in lengths) == 1  # Kraft: the code is complete
        assert all(path[0][0] == len(counts) - 2 for path in paths)  # all begin at the root
        assert {len(path) for path in nn.huffman_paths([1] * 8)} == {3}

    def test_large_scores_do_not_overflow(self):
        layer = nn.HierarchicalSoftmax(2, 4)
        layer.bias.copy_(np.full(3, 1e4))
        p = [layer.log_prob_of(ln.zeros(2), y).item() for y in range(4)]
        assert np.isfinite(p).all() and max(p) == 0

    def test_a_tree_needs_two_words(self):
        with pytest.raises(ValueError, match="two words"):
            nn.HierarchicalSoftmax(2, 1)


class TestEmbeddingBag:
    BAGS = [[1, 2, 1], [4], [], [0, 3]]

    @pytest.mark.parametrize("mode", ["sum", "mean", "max"])
    def test_it_is_that_of_pytorch(self, torch, mode):
        theirs = torch.nn.EmbeddingBag(5, 3, mode=mode).double()
        ours = nn.EmbeddingBag(5, 3, mode=mode).double()
        ours.load_state_dict(theirs.state_dict())
        flat = [i for bag in self.BAGS for i in bag]
        want = theirs(torch.tensor(flat), torch.tensor([0, 3, 4, 4]))
        w = normal(4, 3)
        (want * torch.tensor(w)).sum().backward()
        for got in (
            ours(self.BAGS),
            ours(flat, [0, 3, 4, 4]),
            ln.sequence([ours(bag) for bag in self.BAGS]),
        ):
            np.testing.assert_allclose(got.numpy(), want.detach(), atol=1e-12)
            ours.zero_grad()
            ln.sum(got * ln.sequence(w)).backward()
            np.testing.assert_allclose(ours.weight.grad.numpy(), theirs.weight.grad, atol=1e-12)

    @pytest.mark.parametrize("mode", ["sum", "mean", "max"])
    @pytest.mark.parametrize("padding", [1, -1])
    def test_what_pads_a_bag_does_not_count(self, torch, mode, padding):
        theirs = torch.nn.EmbeddingBag(5, 3, mode=mode, padding_idx=padding).double()
        ours = nn.EmbeddingBag(5, 3, mode=mode, padding_idx=padding).double()
        assert not ours.weight.numpy()[padding].any()
        with torch.no_grad():
            theirs.weight.normal_()
        ours.load_state_dict(theirs.state_dict())
        bags = [[1, 2, 1, 4], [4, 1], [], [0, 3], [1], [4]]
        flat, offsets = [i for bag in bags for i in bag], [0, 4, 6, 6, 8, 9]
        want = theirs(torch.tensor(flat), torch.tensor(offsets))
        w = normal(6, 3)
        (want * torch.tensor(w)).sum().backward()
        for got in (ours(bags), ours(flat, offsets), ln.sequence([ours(bag) for bag in bags])):
            np.testing.assert_allclose(got.numpy(), want.detach(), atol=1e-12)
            ours.zero_grad()
            ln.sum(got * ln.sequence(w)).backward()
            np.testing.assert_allclose(ours.weight.grad.numpy(), theirs.weight.grad, atol=1e-12)
            assert not ours.weight.grad.numpy()[padding].any()

    def test_weights_of_what_pads_are_left_out_too(self, torch):
        theirs = torch.nn.EmbeddingBag(5, 3, mode="sum", padding_idx=1).double()
        ours = nn.EmbeddingBag(5, 3, mode="sum", padding_idx=1).double()
        ours.load_state_dict(theirs.state_dict())
        a = normal(4)
        want = theirs(torch.tensor([1, 2, 1, 4]), torch.tensor([0, 3]), torch.tensor(a))
        got = ours([1, 2, 1, 4], [0, 3], a)
        np.testing.assert_allclose(got.numpy(), want.detach(), atol=1e-12)

    def test_offsets_may_end_with_the_number_of_indices(self, torch):
        theirs = torch.nn.EmbeddingBag(5, 3, include_last_offset=True)
        ours = nn.EmbeddingBag(5, 3, include_last_offset=True)
        ours.load_state_dict(theirs.state_dict())
        want = theirs(torch.tensor([1, 2, 4]), torch.tensor([0, 2, 3]))
        np.testing.assert_allclose(
            ours([1, 2, 4], [0, 2, 3]).numpy(), want.detach(), rtol=1e-6, atol=1e-7
        )
        with pytest.raises(ln.ShapeError, match="EmbeddingBag: offsets end with 2 and not with"):
            ours([1, 2, 4], [0, 2])

    def test_weighted_sums_have_gradients_for_the_weights(self, torch):
        theirs = torch.nn.EmbeddingBag(5, 3, mode="sum").double()
        ours = nn.EmbeddingBag(5, 3, mode="sum").double()
        ours.load_state_dict(theirs.state_dict())
        a = normal(4)
        want_leaf, leaf = torch.tensor(a, requires_grad=True), ln.tensor(a, requires_grad=True)
        want = theirs(torch.tensor([1, 2, 1, 4]), torch.tensor([0, 3]), want_leaf)
        got = ours([1, 2, 1, 4], [0, 3], leaf)
        np.testing.assert_allclose(got.numpy(), want.detach(), atol=1e-12)
        want.square().sum().backward()
        got.square().sum().backward()
        np.testing.assert_allclose(leaf.grad.numpy(), want_leaf.grad, atol=1e-12)
        same = ours([1, 2, 1], per_sample_weights=a[:3])
        np.testing.assert_allclose(same.numpy(), got[0].numpy())

    @pytest.mark.parametrize("mode", ["sum", "mean", "max"])
    def test_bags_of_many_examples_are_as_many_batches_as_one(self, mode):
        bag = nn.EmbeddingBag(9, 3, mode=mode)

        def batches(count):
            values = [bag([j % 9] * (1 + j % 4)) for j in range(count)]
            with observed() as runs:
                ln.forward(values)
            return runs[0].batches

        assert batches(1) == batches(30)

    def test_empty_bags_are_zero_in_every_mode(self):
        for mode in ("sum", "mean", "max"):
            bag = nn.EmbeddingBag(5, 3, mode=mode)
            assert (bag([]).numpy() == 0).all() and (bag([[], []]).numpy() == 0).all()
            assert bag([[], []]).shape == (2, 3)

    def test_mistakes_are_told(self):
        bag = nn.EmbeddingBag(5, 3)
        with pytest.raises(IndexError, match="index 5 is out of range"):
            bag([1, 5])
        with pytest.raises(IndexError, match="EmbeddingBag: index 5 is out of range"):
            nn.EmbeddingBag(5, 3, padding_idx=0)([1, 5])
        with pytest.raises(ValueError, match="EmbeddingBag: no row 5 of 5 to pad with"):
            nn.EmbeddingBag(5, 3, padding_idx=5)
        with pytest.raises(ValueError, match="mode"):
            nn.EmbeddingBag(5, 3, mode="median")
        with pytest.raises(ValueError, match="offsets"):
            bag([1, 2], [1])
        with pytest.raises(ValueError, match="go with the mode 'sum'"):
            bag([1, 2], per_sample_weights=[1.0, 2.0])
