"""Attention: PyTorch's values and gradients on one example, of any number of queries and keys."""

import sys
from pathlib import Path

import numpy as np
import pytest
from checks import normal
from test_ops import observed

import lazynet as ln
from lazynet import check_grads, nn
from lazynet.batching.decode import ITEM_COUNT
from lazynet.ops.attention import pair_weights
from lazynet.ops.pairs import pair_scores, pair_sum

attend = nn.functional.scaled_dot_product_attention


def filled(shape, k):
    return np.sin(np.arange(np.prod(shape)) * 0.7 + k).reshape(shape)


def theirs(torch, q, k, v, heads, **options):
    """PyTorch's attention on one example, heads cut from the rows."""
    split = [x.reshape(len(x), heads, -1).transpose(0, 1) for x in (q, k, v)]
    y = torch.nn.functional.scaled_dot_product_attention(*split, **options)
    return y.transpose(0, 1).reshape(len(q), -1)


class TestAttention:
    @pytest.mark.parametrize("heads", [1, 2])
    @pytest.mark.parametrize("form", ["plain", "causal", "mask", "bias", "scale"])
    def test_values_and_gradients_are_those_of_pytorch(self, torch, form, heads):
        options = {
            "plain": {},
            "causal": {"is_causal": True},
            "mask": {"attn_mask": np.random.rand(5, 5) < 0.5},
            "bias": {"attn_mask": normal(5, 5)},
            "scale": {"scale": -0.3},
        }[form]
        if form == "mask":
            options["attn_mask"][:, 2] = True  # every query sees one key at least
        arrays = normal(5, 4), normal(5, 4), normal(5, 6)
        ours = [ln.tensor(a, requires_grad=True) for a in arrays]
        y = attend(*map(ln.sequence, ours), heads=heads, **options)
        w = normal(5, 6)
        ln.sum(y * ln.sequence(w)).backward()
        given = {k: torch.tensor(v) if k == "attn_mask" else v for k, v in options.items()}
        leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
        want = theirs(torch, *leaves, heads, **given)
        (want * torch.tensor(w)).sum().backward()
        np.testing.assert_allclose(y.numpy(), want.detach(), rtol=1e-12, atol=1e-14)
        for a, b in zip(ours, leaves, strict=True):
            np.testing.assert_allclose(a.grad.numpy(), b.grad, rtol=1e-11, atol=1e-13)

    @pytest.mark.parametrize("options", [{}, {"is_causal": True}], ids=["all", "causal"])
    def test_many_queries_go_in_parts(self, torch, options):
        arrays, w = (normal(1400, 4), normal(1500, 4), normal(1500, 6)), normal(1400, 6)
        ours = [ln.tensor(a, requires_grad=True) for a in arrays]
        y = attend(*map(ln.sequence, ours), heads=2, **options)
        ln.sum(y * ln.sequence(w)).backward()
        leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
        want = theirs(torch, *leaves, 2, **options)
        (want * torch.tensor(w)).sum().backward()
        np.testing.assert_allclose(y.numpy(), want.detach(), rtol=1e-10, atol=1e-13)
        for a, b in zip(ours, leaves, strict=True):
            np.testing.assert_allclose(a.grad.numpy(), b.grad, rtol=1e-9, atol=1e-12)

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_memory_does_not_grow_with_the_pairs(self):
        import resource

        def step(n):
            leaves = [ln.tensor(np.ones((n, 1), "float32"), requires_grad=True) for _ in range(3)]
            loss = attend(*map(ln.sequence, leaves)).sum(0)
            loss.backward()
            return loss.item(), [x.grad.numpy().sum() for x in leaves]

        step(10)
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (held + (200 << 20), before[1]))
        try:
            loss, gradients = step(9000)  # 324 MB of weights
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        np.testing.assert_allclose([loss, *gradients], [9000.0, 0.0, 0.0, 9000.0], 1e-4, 0.5)

    def test_a_mask_that_lets_all_pass_changes_nothing(self):
        q, k, v = ln.sequence(normal(3, 4)), ln.sequence(normal(5, 4)), ln.sequence(normal(5, 2))
        plain = attend(q, k, v, heads=2).numpy()
        for mask in (np.ones((3, 5), bool), np.zeros((3, 5)), ln.tensor(np.zeros((3, 5)))):
            np.testing.assert_allclose(attend(q, k, v, mask, heads=2).numpy(), plain, rtol=1e-13)
        own = ln.sequence(np.zeros((15, 2)))  # a row for each pair, a number for each head
        np.testing.assert_allclose(attend(q, k, v, own, heads=2).numpy(), plain, rtol=1e-13)

    def test_a_mask_has_gradients(self):
        arrays = normal(3, 4), normal(2, 4), normal(3, 2)
        check_grads(
            lambda q, k, bias: attend(ln.sequence(q), ln.sequence(k), ln.sequence(k), bias), arrays
        )

    def test_heads_may_be_an_axis_of_the_rows(self):
        q, k, v = normal(3, 2, 4), normal(5, 2, 4), normal(5, 2, 3)
        y = attend(ln.sequence(q), ln.sequence(k), ln.sequence(v))
        assert y.shape == (3, 2, 3)
        flat = [ln.sequence(a.reshape(len(a), -1)) for a in (q, k, v)]
        np.testing.assert_array_equal(y.numpy().reshape(3, 6), attend(*flat, heads=2).numpy())

    def test_causal_attention_with_an_offset_goes_on_after_earlier_keys(self):
        q, k, v = normal(6, 4), normal(6, 4), normal(6, 2)
        whole = attend(*map(ln.sequence, (q, k, v)), is_causal=True).numpy()
        late = attend(ln.sequence(q[4:]), ln.sequence(k), ln.sequence(v), is_causal=True, offset=4)
        np.testing.assert_allclose(late.numpy(), whole[4:], rtol=1e-12)

    def test_no_queries_give_no_rows(self):
        none = ln.sequence(normal(0, 4))
        for keys in (none, ln.sequence(normal(3, 4))):
            assert attend(none, keys, keys).numpy().shape == (0, 4)
            assert attend(none, keys, keys, np.ones((0, len(keys)), bool)).numpy().shape == (0, 4)

    def test_large_scores_do_not_overflow(self):
        q = ln.sequence(np.full((2, 4), 1e3, np.float32))
        v = ln.sequence(np.arange(2, dtype=np.float32).reshape(2, 1))
        np.testing.assert_allclose(attend(q, q, v).numpy(), 0.5)

    def test_a_nan_among_the_values_comes_out(self):
        q, v = ln.sequence(normal(2, 3)), normal(2, 3)
        v[1, 1] = np.nan
        assert np.isnan(attend(q, q, ln.sequence(v)).numpy()[:, 1]).all()

    def test_weights_are_those_with_which_values_are_summed(self):
        q, k, v = ln.sequence(normal(3, 4)), ln.sequence(normal(5, 4)), ln.sequence(normal(5, 2, 3))
        p = pair_weights(q, k, is_causal=True, heads=2)
        grid = p.numpy().reshape(3, 5, 2)
        np.testing.assert_allclose(grid.sum(1), 1)
        assert (grid[np.triu_indices(3, 1, 5)] == 0).all()
        want = attend(q, k, v.reshape(6), is_causal=True, heads=2).numpy()
        np.testing.assert_allclose(pair_sum(p, v, 3).numpy().reshape(3, 6), want, rtol=1e-12)

    def test_dropout_of_weights_keeps_their_mean(self):
        ln.manual_seed(0)
        q, k, v = (ln.sequence(normal(n, 2)) for n in (1, 6, 6))
        plain = attend(q, k, v).numpy()
        drawn = np.mean([attend(q, k, v, dropout_p=0.3).numpy() for _ in range(3000)], 0)
        assert not np.allclose(attend(q, k, v, dropout_p=0.3).numpy(), plain)
        np.testing.assert_allclose(drawn, plain, atol=0.06)

    def test_a_sentence_costs_as_many_nodes_as_any_other(self):
        def nodes(n):
            x = ln.sequence(normal(n, 4))
            y = attend(x, x, x)
            with observed() as runs:
                ln.forward(y)
            return runs[0].plan.columns.shape[0]

        assert nodes(2) == nodes(40) == 1

    @pytest.mark.parametrize(
        ("q", "k", "v", "options", "words"),
        [
            ((2, 4), (3, 5), (3, 4), {}, r"queries with rows of \(4,\) does not match keys"),
            ((2, 4), (3, 4), (2, 4), {}, "3 keys for 2 values"),
            ((2, 4), (0, 4), (0, 4), {}, "at least one"),
            ((2, 4), (3, 4), (3, 4), {"heads": 3}, "do not have 3 heads"),
            ((2, 4), (3, 4), (3, 4), {"attn_mask": np.zeros((3, 2))}, "2 queries and 3 keys"),
            ((2, 4), (3, 4), (3, 4), {"offset": -1}, "a number of earlier keys"),
        ],
    )
    def test_mistakes_are_told_on_the_users_line(self, q, k, v, options, words):
        with pytest.raises(ValueError, match=words):
            attend(*(ln.sequence(normal(*shape)) for shape in (q, k, v)), **options)

    def test_dtypes_must_agree(self):
        q, k = ln.sequence(normal(2, 4)), ln.sequence(normal(2, 4).astype(np.float32))
        with pytest.raises(ln.DtypeError, match="float64 and float32"):
            attend(q, k, k)

    def test_scores_of_unlike_rows_are_refused(self):
        with pytest.raises(ValueError, match="pair_scores"):
            pair_scores(ln.sequence(normal(2, 1, 4)), ln.sequence(normal(2, 1, 3)))
        for keys in (0, 2, -5):
            with pytest.raises(ValueError, match=f"5 pairs are not those of queries with {keys}"):
                ln.pair_softmax(ln.sequence(normal(5, 1)), keys)
        with pytest.raises(ValueError, match="sees its own key"):
            ln.pair_softmax(ln.sequence(normal(6, 1)), 3, -1)
        with pytest.raises(ValueError, match="5 pairs for 2 queries and 3 keys"):
            pair_sum(ln.sequence(normal(5, 1)), ln.sequence(normal(3, 1, 2)), 2)


class TestMultiheadAttention:
    def test_recorded_values(self):
        """As PyTorch 2 gave them."""
        mha = nn.MultiheadAttention(4, 2).double()
        for k, p in enumerate(mha.parameters()):
            p.copy_(filled(p.shape, k))
        q, m = ln.sequence(filled((2, 4), 7)), ln.sequence(filled((3, 4), 8))
        y, weights = mha(q, m, need_weights=True, average_attn_weights=False)
        np.testing.assert_allclose(y.numpy(), RECORDED_Y, atol=1e-11)
        np.testing.assert_allclose(mha(q, m)[0].numpy(), RECORDED_Y, atol=1e-11)
        first_head = [w.numpy()[:, 0] for w in weights]
        np.testing.assert_allclose(first_head, RECORDED_WEIGHTS, atol=1e-11)
        mha(q, m)[0].square().sum().backward()
        np.testing.assert_allclose(mha.in_proj_bias.grad.numpy(), RECORDED_SLOPE, atol=1e-10)

    @pytest.mark.parametrize("sizes", [{}, {"kdim": 6, "vdim": 10}], ids=["one", "three"])
    def test_values_weights_and_gradients_are_those_of_pytorch(self, torch, sizes):
        their = torch.nn.MultiheadAttention(8, 2, **sizes, batch_first=True).double()
        for p in their.parameters():
            torch.nn.init.normal_(p, std=0.5)
        ours = nn.MultiheadAttention(8, 2, **sizes).double()
        assert list(ours.state_dict()) == list(their.state_dict())
        ours.load_state_dict(their.state_dict())
        arrays = normal(3, 8), normal(5, sizes.get("kdim", 8)), normal(5, sizes.get("vdim", 8))
        want, shares = their(*(torch.tensor(a)[None] for a in arrays))
        y, weights = ours(*map(ln.sequence, arrays), need_weights=True)
        np.testing.assert_allclose([w.numpy() for w in weights], shares[0].detach(), atol=1e-12)
        for got in (y, ours(*map(ln.sequence, arrays))[0]):
            np.testing.assert_allclose(got.numpy(), want[0].detach(), atol=1e-12)
            ours.zero_grad()
            their.zero_grad()
            want.square().sum().backward(retain_graph=True)
            got.square().sum().backward()
            named = dict(their.named_parameters())
            for name, p in ours.named_parameters():
                np.testing.assert_allclose(p.grad.numpy(), named[name].grad, atol=1e-10)

    def test_initial_values_are_drawn_as_pytorch_draws_them(self):
        mha = nn.MultiheadAttention(64, 4)
        weight = mha.in_proj_weight.numpy()
        assert np.abs(weight).max() <= np.sqrt(6 / 256) and weight.std() > 0.08
        assert not mha.in_proj_bias.numpy().any() and not mha.out_proj.bias.numpy().any()

    @pytest.mark.parametrize("form", ["array", "list", "Tensor", "Sequence"])
    def test_true_in_a_mask_hides_a_key_as_in_pytorchs_module(self, form):
        mha, x = nn.MultiheadAttention(4, 2), ln.sequence(normal(5, 4).astype(np.float32))
        hidden = np.triu(np.ones((5, 5), bool), 1)
        mask = {
            "array": hidden,
            "list": hidden.tolist(),
            "Tensor": ln.tensor(hidden),
            "Sequence": ln.sequence(hidden.reshape(25, 1)),
        }[form]
        causal = mha(x, is_causal=True)[0].numpy()
        np.testing.assert_allclose(mha(x, attn_mask=mask)[0].numpy(), causal, atol=1e-6)
        _, weights = mha(x, attn_mask=mask, need_weights=True)
        assert not weights[0].numpy()[1:].any() and weights[4].numpy().all()

    def test_self_attention_projects_once(self):
        mha, x = nn.MultiheadAttention(4, 2), ln.sequence(normal(5, 4).astype(np.float32))
        y, _ = mha(x)
        with observed() as runs:
            ln.forward(y)
        assert runs[0].plan.columns.shape[0] == 3  # projection, attention, projection

    def test_step_by_step_with_a_cache_is_the_causal_whole(self):
        mha, x = nn.MultiheadAttention(8, 2).double(), ln.sequence(normal(7, 8))
        whole, cache = mha(x, is_causal=True)[0].numpy(), nn.KeyValueCache()
        steps = [mha(row, cache=cache)[0] for row in x[:3]]
        rest, _ = mha(x[3:], cache=cache, is_causal=True)
        assert len(cache) == 7
        got = np.concatenate([[s.numpy() for s in steps], rest.numpy()])
        np.testing.assert_allclose(got, whole, atol=1e-12)

    def test_gradients_flow_through_a_cache(self):
        mha, a = nn.MultiheadAttention(4, 2).double(), normal(4, 4)
        whole, parts = (ln.tensor(a, requires_grad=True) for _ in range(2))
        mha(ln.sequence(whole), is_causal=True)[0].square().sum().backward()
        slopes = [p.grad.numpy() for p in mha.parameters()]
        mha.zero_grad()
        cache = nn.KeyValueCache()
        ln.sum([mha(x, cache=cache)[0].square().sum() for x in ln.sequence(parts)]).backward()
        np.testing.assert_allclose(parts.grad.numpy(), whole.grad.numpy(), atol=1e-12)
        for p, slope in zip(mha.parameters(), slopes, strict=True):
            np.testing.assert_allclose(p.grad.numpy(), slope, atol=1e-12)

    def test_second_derivatives_reach_through_weights_and_caches(self):
        mha = nn.MultiheadAttention(4, 2).double()

        def stepwise(x):
            cache = nn.KeyValueCache()
            return ln.sequence([mha(row, cache=cache)[0] for row in ln.sequence(x)])

        for function in (
            lambda x: mha(ln.sequence(x))[0],
            lambda x: mha(ln.sequence(x), need_weights=True)[1][1],
            stepwise,
        ):
            check_grads(function, [normal(3, 4)], order=2, tolerance=1e-5)

    def test_a_step_with_a_cache_copies_nothing(self):
        """A step records as many nodes as the first, and none of them is as long as the past."""
        mha, x = nn.MultiheadAttention(4, 2), ln.sequence(normal(9, 4).astype(np.float32))
        cache, recorded = nn.KeyValueCache(), []
        with ln.no_grad():
            for row in x:
                y, _ = mha(row, cache=cache)
                with observed() as runs:
                    ln.forward(y)
                recorded.append(runs[0].plan.columns[:, ITEM_COUNT].tolist())
        assert recorded == [[1, 1, 1]] * 9

    def test_a_cache_lives_on_when_values_are_looked_at(self):
        mha, x = nn.MultiheadAttention(4, 1).double(), ln.sequence(normal(4, 4))
        whole, cache = mha(x, is_causal=True)[0].numpy(), nn.KeyValueCache()
        for j, row in enumerate(x):
            y, _ = mha(row, cache=cache)
            np.testing.assert_allclose(y.numpy(), whole[j], atol=1e-12)
            y.detach().sum().item()

    def test_a_cache_outlives_the_graphs_of_its_steps(self):
        """Training on pieces of a long text: what is kept of earlier pieces is cut off."""
        mha, x = nn.MultiheadAttention(4, 2).double(), ln.sequence(normal(9, 4))
        whole, cache = mha(x, is_causal=True)[0].numpy(), nn.KeyValueCache()
        for start in (0, 3, 6):
            y, _ = mha(x[start : start + 3], cache=cache, is_causal=True)
            y.square().sum().backward(retain_graph=True)
            cache.keys = [k.detach() for k in cache.keys]
            cache.values = [v.detach() for v in cache.values]
            np.testing.assert_allclose(y.numpy(), whole[start : start + 3], atol=1e-12)

    def test_decoding_in_step_batches_examples_with_pasts_of_all_lengths(self):
        """Each step looks at a value, and decides by it when to end."""
        mha = nn.MultiheadAttention(4, 2).double()
        starts = [ln.tensor(normal(4)) for _ in range(12)]

        def decode(start):
            cache, x = nn.KeyValueCache(), start
            for _ in range(8):
                x, _ = mha(x, cache=cache)
                if x.sum().item() > 0:
                    break
            return len(cache), x.numpy().tolist()

        with ln.no_grad():
            alone = [decode(x) for x in starts]
            with observed() as runs:
                together = ln.map(decode, starts)
        assert [n for n, _ in together] == [n for n, _ in alone]
        assert len({n for n, _ in alone}) > 1
        np.testing.assert_allclose([x for _, x in together], [x for _, x in alone], atol=1e-12)
        assert len(runs) <= 8 and max(r.batches for r in runs) <= 5

    def test_copies_of_a_cache_go_their_own_ways(self):
        cache = nn.KeyValueCache()
        cache.append(ln.tensor(normal(4)), ln.tensor(normal(4)))
        other = cache.copy()
        other.append(ln.sequence(normal(2, 4)), ln.sequence(normal(2, 4)))
        assert (len(cache), len(other)) == (1, 3)
        with pytest.raises(ValueError, match="2 keys for 1 values"):
            cache.append(ln.sequence(normal(2, 4)), ln.tensor(normal(4)))

    def test_a_memory_projected_once_serves_every_query(self):
        mha, m = nn.MultiheadAttention(4, 2).double(), ln.sequence(normal(3, 4))
        memory, q = mha.project(m), ln.sequence(normal(2, 4))
        np.testing.assert_allclose(mha(q, memory)[0].numpy(), mha(q, m)[0].numpy(), atol=1e-12)

    def test_sentences_of_all_lengths_are_one_batch_an_op(self):
        mha = nn.MultiheadAttention(4, 2)
        sentences = [ln.sequence(normal(n, 4).astype(np.float32)) for n in (0, 1, 3, 8, 2)]
        values = [mha(x)[0] for x in sentences]
        with observed() as runs:
            ln.forward(values)
        assert runs[0].batches == 3
        assert [v.shape for v in values] == [x.shape for x in sentences]

    def test_dropout_only_while_training(self):
        mha, x = nn.MultiheadAttention(4, 1, dropout=0.5), ln.sequence(normal(6, 4).astype("f4"))
        different = {mha(x)[0].numpy().tobytes() for _ in range(3)}
        mha.eval()
        same = {mha(x)[0].numpy().tobytes() for _ in range(3)}
        assert (len(different), len(same)) == (3, 1)

    def test_sizes_are_checked(self):
        with pytest.raises(ValueError, match="cannot be cut into 3 heads"):
            nn.MultiheadAttention(4, 3)
        with pytest.raises(ValueError, match="dropout"):
            nn.MultiheadAttention(4, 2, dropout=1.5)


RECORDED_Y = [
    [0.543165420154, -1.712140593302, 0.87433985105, -3.184396778818],
    [-0.481864487754, -0.593705657477, -0.208259007278, -2.262734054043],
]
RECORDED_WEIGHTS = [
    [0.000962173568, 0.997156512487, 0.001881313946],
    [0.537245062114, 2.4467895e-05, 0.462730469991],
]
RECORDED_SLOPE = [
    0.201128862584, -0.072694545996, -0.230547950114, -0.213291893672, 0.0, 0.0, 0.0, 0.0,
    15.013470088805, 15.342887488003, 8.456305162363, -2.407409614549,
]  # fmt: skip
