"""Structured prediction against the sum over all structures, one by one."""

import itertools

import numpy as np
import pytest
from checks import normal
from test_ops import observed

import lazynet as ln
from lazynet import check_grads, nn
from lazynet.batching.policies import NAMES

TAGS = 3


def chain_score(x, tags, crf):
    if not tags:
        return 0.0
    start, end, steps = (
        p.numpy() for p in (crf.start_transitions, crf.end_transitions, crf.transitions)
    )
    path = sum(steps[i, j] for i, j in itertools.pairwise(tags))
    return start[tags[0]] + sum(x[t][j] for t, j in enumerate(tags)) + path + end[tags[-1]]


def taggings(n):
    return list(itertools.product(range(TAGS), repeat=n))


def probabilities(x, crf):
    scores = np.array([chain_score(x, tags, crf) for tags in taggings(len(x))])
    return np.exp(scores - np.log(np.exp(scores).sum()))


@pytest.fixture
def crf():
    made = nn.CRF(TAGS).double()
    for p in made.parameters():
        p.copy_(normal(*p.shape))
    return made


class TestCRF:
    @pytest.mark.parametrize("n", [0, 1, 2, 5])
    def test_the_loss_is_the_negative_log_probability_of_the_tags(self, crf, n):
        x = normal(n, TAGS)
        for tags, p in list(zip(taggings(n), probabilities(x, crf), strict=True))[::7]:
            loss = crf(ln.sequence(x), list(tags))
            assert loss.shape == () and loss.item() == pytest.approx(-np.log(p), abs=1e-12)

    @pytest.mark.parametrize("n", [0, 1, 2, 5])
    def test_the_best_tagging_is_the_best_of_all(self, crf, n):
        for _ in range(5):
            x = normal(n, TAGS)
            best = taggings(n)[int(np.argmax(probabilities(x, crf)))]
            assert crf.decode(ln.sequence(x)).tolist() == list(best)

    @pytest.mark.parametrize("n", [0, 1, 2, 5])
    def test_marginals_are_sums_over_all_taggings(self, crf, n):
        x = normal(n, TAGS)
        want = np.zeros((n, TAGS))
        for tags, p in zip(taggings(n), probabilities(x, crf), strict=True):
            for t, j in enumerate(tags):
                want[t, j] += p
        np.testing.assert_allclose(crf.marginals(ln.sequence(x)).numpy(), want, atol=1e-12)

    def test_the_gradient_of_log_z_is_the_expected_count(self, crf):
        x = normal(4, TAGS)
        leaf = ln.tensor(x, requires_grad=True)
        crf.log_partition(ln.sequence(leaf)).backward()
        want = {"x": np.zeros(x.shape), "steps": np.zeros((TAGS, TAGS)), "start": np.zeros(TAGS)}
        for tags, p in zip(taggings(4), probabilities(x, crf), strict=True):
            want["start"][tags[0]] += p
            for t, j in enumerate(tags):
                want["x"][t, j] += p
            for i, j in itertools.pairwise(tags):
                want["steps"][i, j] += p
        np.testing.assert_allclose(leaf.grad.numpy(), want["x"], atol=1e-12)
        np.testing.assert_allclose(crf.transitions.grad.numpy(), want["steps"], atol=1e-12)
        np.testing.assert_allclose(crf.start_transitions.grad.numpy(), want["start"], atol=1e-12)

    @pytest.mark.parametrize("n", [1, 2, 4])
    def test_first_and_second_derivatives(self, crf, n):
        tags = [j % TAGS for j in range(n)]
        check_grads(lambda x: crf(ln.sequence(x), tags), [normal(n, TAGS)])
        check_grads(lambda x: crf.marginals(ln.sequence(x)), [normal(n, TAGS)])

    def test_derivatives_with_respect_to_transitions(self):
        x = ln.sequence(normal(4, TAGS))
        arrays = normal(TAGS, TAGS), normal(TAGS)
        check_grads(lambda w, a: ln.log_scan(x, w, a), arrays)
        check_grads(lambda w, a: ln.log_scan(x * 1.0, w * 1.0, a * 1.0)[-1], arrays)

    @pytest.mark.parametrize("policy", NAMES)
    def test_sentences_of_all_lengths_are_one_batch_an_op(self, crf, policy):
        sentences = [normal(n, TAGS) for n in (3, 0, 1, 7, 3, 2)]
        alone = [crf(ln.sequence(x), [0] * len(x)).item() for x in sentences]
        with ln.batching(policy):
            losses = [crf(ln.sequence(x), [0] * len(x)) for x in sentences]
            best = [crf.decode(ln.sequence(x)) for x in sentences]
            np.testing.assert_allclose([y.item() for y in losses], alone, rtol=1e-12)
            assert [len(y.tolist()) for y in best] == [3, 0, 1, 7, 3, 2]

    def test_more_sentences_are_no_more_batches(self, crf):
        def batches(count):
            losses = [crf(ln.sequence(normal(2 + j % 5, TAGS)), [1] * (2 + j % 5))
                      for j in range(count)]  # fmt: skip
            with observed() as runs:
                ln.forward(losses)
            return runs[0].batches

        assert batches(1) == batches(40)

    def test_forbidden_transitions_are_never_taken_and_nothing_overflows(self):
        crf = nn.CRF(2)
        crf.transitions.copy_([[0, -np.inf], [-np.inf, 0]])
        x = ln.tensor([[500.0, 0.0], [0.0, 400.0], [0.0, 0.0]], requires_grad=True)
        assert crf.decode(ln.sequence(x)).tolist() == [0, 0, 0]
        np.testing.assert_allclose(crf.marginals(ln.sequence(x)).numpy(), [[1, 0]] * 3, atol=1e-3)
        loss = crf(ln.sequence(x), [0, 0, 0])
        loss.backward()
        assert abs(loss.item()) < 1e-3
        np.testing.assert_allclose(x.grad.numpy(), 0, atol=1e-3)
        assert np.isfinite(crf.transitions.grad.numpy()).all()

    def test_it_learns_transitions(self):
        """Emissions that say nothing: only the order of the tags can be learned."""
        ln.manual_seed(0)
        crf = nn.CRF(TAGS)
        opt = ln.optim.Adam(crf.parameters(), lr=0.1)
        silent = ln.sequence(np.zeros((6, TAGS), np.float32))
        for _ in range(80):
            loss = ln.mean([crf(silent, [(s + t) % TAGS for t in range(6)]) for s in range(TAGS)])
            opt.zero_grad()
            loss.backward()
            opt.step()
        assert loss.item() < np.log(TAGS) + 0.3
        best = crf.decode(silent).tolist()
        assert all((b - a) % TAGS == 1 for a, b in itertools.pairwise(best))

    def test_mistakes_are_told_on_the_users_line(self, crf):
        x = ln.sequence(normal(2, TAGS))
        with pytest.raises(IndexError, match="index 3 is out of range"):
            crf(x, [0, 3])
        with pytest.raises(ValueError, match="1 tags for 2 rows"):
            crf(x, [0])
        with pytest.raises(ValueError, match=r"expected a Sequence with rows of \(3,\)"):
            crf.decode(ln.sequence(normal(2, 4)))
        with pytest.raises(ValueError, match="log_scan"):
            ln.log_scan(x, ln.tensor(normal(2, 2)), ln.tensor(normal(3)))
        with pytest.raises(ValueError, match="expected one less"):
            ln.linear_scan(x, ln.sequence(normal(2, TAGS, TAGS)))
        with pytest.raises(ValueError, match="not Tensor"):
            ln.viterbi(x[0], crf.transitions, crf.start_transitions, crf.end_transitions)


def bracketings(i, j):
    """All binary trees over the words from i to j - 1, as sets of spans."""
    if j == i + 1:
        return [{(i, j)}]
    return [
        {(i, j)} | left | right
        for k in range(i + 1, j)
        for left in bracketings(i, k)
        for right in bracketings(k, j)
    ]


def dependency_trees(n, projective):
    """The heads of the words 1 to n - 1, of all (projective) trees whose root is 0."""

    def is_tree(heads):
        for d in range(1, n):
            seen, h = set(), d
            while h != 0:
                if h in seen:
                    return False
                seen.add(h)
                h = heads[h - 1]
        return True

    def descends(d, h, heads):
        while d != 0 and d != h:
            d = heads[d - 1]
        return d == h

    def is_projective(heads):
        return all(
            descends(k, h, heads)
            for d, h in enumerate(heads, 1)
            for k in range(min(d, h) + 1, max(d, h))
        )

    every = itertools.product(range(n), repeat=n - 1)
    return [h for h in every if is_tree(h) and (is_projective(h) or not projective)]


class TestTrees:
    @pytest.mark.parametrize("n", [1, 2, 3, 5])
    def test_inside_is_the_sum_over_all_binary_trees(self, n):
        scores = normal(n * (n + 1) // 2, 1)
        trees = [[ln.span_index(i, j, n) for i, j in tree] for tree in bracketings(0, n)]
        weights = np.exp([scores[tree].sum() for tree in trees])
        leaf = ln.tensor(scores, requires_grad=True)
        log_z = ln.inside(ln.sequence(leaf), n)
        assert log_z.item() == pytest.approx(np.log(weights.sum()))
        log_z.backward()
        shares = np.zeros(scores.shape)
        for tree, weight in zip(trees, weights / weights.sum(), strict=True):
            shares[tree] += weight
        np.testing.assert_allclose(leaf.grad.numpy(), shares, atol=1e-12)

    @pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
    @pytest.mark.parametrize("projective", [True, False])
    def test_dependency_trees_are_summed_one_and_all(self, n, projective):
        scores, trees = normal(n * n, 1), dependency_trees(n, projective)
        arcs = [[h * n + d for d, h in enumerate(heads, 1)] for heads in trees]
        weights = np.exp([scores[tree].sum() for tree in arcs])
        leaf = ln.tensor(scores, requires_grad=True)
        function = ln.dependency_inside if projective else ln.matrix_tree
        log_z = function(ln.sequence(leaf), n)
        assert log_z.item() == pytest.approx(np.log(weights.sum()))
        if n == 1:
            return  # a root alone depends on no score
        log_z.backward()
        shares = np.zeros(scores.shape)
        for tree, weight in zip(arcs, weights / weights.sum(), strict=True):
            shares[tree] += weight
        np.testing.assert_allclose(leaf.grad.numpy(), shares, atol=1e-12)

    def test_first_and_second_derivatives(self):
        check_grads(lambda s: ln.inside(ln.sequence(s), 4), [normal(10, 1)])
        check_grads(lambda s: ln.dependency_inside(ln.sequence(s), 4), [normal(16, 1)])
        check_grads(lambda s: ln.matrix_tree(ln.sequence(s), 4), [normal(16, 1)])

    @pytest.mark.parametrize("function", [ln.dependency_inside, ln.matrix_tree])
    def test_sentences_of_one_length_are_as_many_batches_as_one(self, function):
        def batches(count):
            values = [function(ln.sequence(normal(25, 1)), 5) for _ in range(count)]
            with observed() as runs:
                ln.forward(values)
            return runs[0].batches

        assert batches(1) == batches(10)

    def test_scores_of_all_pairs_serve_as_arcs(self):
        x = ln.sequence(normal(4, 1, 3))
        assert ln.dependency_inside(ln.pair_scores(x, x), 4).shape == ()

    def test_mistakes_are_told(self):
        with pytest.raises(ValueError, match="expected 6 rows"):
            ln.inside(ln.sequence(normal(5, 1)), 3)
        for function in (ln.dependency_inside, ln.matrix_tree):
            with pytest.raises(ValueError, match="expected 9 rows"):
                function(ln.sequence(normal(5, 1)), 3)

    def test_large_scores_do_not_overflow(self):
        scores = ln.sequence(np.full((9, 1), 500.0))
        assert ln.matrix_tree(scores, 3).item() == pytest.approx(1000 + np.log(3))
        assert ln.dependency_inside(scores, 3).item() == pytest.approx(1000 + np.log(3))
