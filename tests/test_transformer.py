"""Transformers: PyTorch's layers, whole or step by step, on sentences of all lengths."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from checks import normal
from test_ops import observed

import lazynet as ln
from lazynet import nn
from lazynet.batching.policies import NAMES

LAYERS = {
    "relu, norm last": {},
    "norm first": {"norm_first": True},
    "no bias": {"bias": False},
    "gelu": {"activation": "gelu"},
    "a function": {"activation": "tanh"},
}


def both(torch, kind, options):
    """PyTorch's stack of two layers, and ours with its values."""
    theirs, ours = dict(options), dict(options)
    if options.get("activation") == "tanh":
        theirs["activation"], ours["activation"] = torch.tanh, ln.tanh
    made = []
    for home, given in ((torch.nn, {**theirs, "batch_first": True}), (nn, ours)):
        layer = getattr(home, f"Transformer{kind}Layer")(8, 2, 16, 0.0, **given)
        quiet = {"enable_nested_tensor": False} if home is not nn and kind == "Encoder" else {}
        made.append(getattr(home, f"Transformer{kind}")(layer, 2, **quiet).double())
    for p in made[0].parameters():
        torch.nn.init.normal_(p, std=0.5)
    assert list(made[1].state_dict()) == list(made[0].state_dict())
    made[1].load_state_dict(made[0].state_dict())
    return made


def compare_gradients(theirs, ours):
    named = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), named[name].grad, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", LAYERS)
def test_an_encoder_is_that_of_pytorch(torch, name):
    theirs, ours = both(torch, "Encoder", LAYERS[name])
    x = normal(5, 8)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    want, got = theirs(torch.tensor(x)[None])[0], ours(ln.sequence(x))
    np.testing.assert_allclose(got.numpy(), want.detach(), atol=1e-10)
    want.square().sum().backward()
    got.square().sum().backward()
    compare_gradients(theirs, ours)
    want = theirs(torch.tensor(x)[None], mask)[0].detach()
    np.testing.assert_allclose(ours(ln.sequence(x), is_causal=True).numpy(), want, atol=1e-10)
    np.testing.assert_allclose(ours(ln.sequence(x), mask.numpy()).numpy(), want, atol=1e-10)
    caches = ours.caches()
    steps = [ours(row, caches=caches).numpy() for row in ln.sequence(x)]
    np.testing.assert_allclose(steps, want, atol=1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_a_decoder_is_that_of_pytorch(torch, name):
    theirs, ours = both(torch, "Decoder", LAYERS[name])
    x, memory = normal(5, 8), normal(3, 8)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    want = theirs(torch.tensor(x)[None], torch.tensor(memory)[None], mask)[0]
    got = ours(ln.sequence(x), ln.sequence(memory), tgt_is_causal=True)
    np.testing.assert_allclose(got.numpy(), want.detach(), atol=1e-10)
    want.square().sum().backward()
    got.square().sum().backward()
    compare_gradients(theirs, ours)
    caches, projected = ours.caches(), ours.project(ln.sequence(memory))
    steps = [ours(row, projected, caches=caches).numpy() for row in ln.sequence(x)]
    np.testing.assert_allclose(steps, want.detach(), atol=1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_the_whole_is_that_of_pytorch(torch, name):
    options = dict(LAYERS[name])
    theirs = {**options, "batch_first": True}
    if "activation" in options and options["activation"] == "tanh":
        theirs["activation"], options["activation"] = torch.tanh, ln.tanh
    sizes = (8, 2, 2, 1, 16, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its nested tensors
        theirs = torch.nn.Transformer(*sizes, **theirs).double()
    ours = nn.Transformer(*sizes, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        mine = ours.state_dict()[key]
        assert mine.shape == tuple(value.shape)
        if value.ndim > 1:  # drawn alike
            assert np.abs(mine).max() <= np.sqrt(6 / sum(value.shape)) + 1e-6
            assert np.std(mine) == pytest.approx(float(value.std()), rel=0.3)
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.5)
    ours = ours.double()
    ours.load_state_dict(theirs.state_dict())
    x, y = normal(5, 8), normal(3, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(3).astype(float)
    want = theirs(torch.tensor(x)[None], torch.tensor(y)[None], tgt_mask=torch.tensor(mask))[0]
    got = ours(ln.sequence(x), ln.sequence(y), tgt_is_causal=True)
    np.testing.assert_allclose(got.numpy(), want.detach(), atol=1e-10)
    want.square().sum().backward()
    got.square().sum().backward()
    compare_gradients(theirs, ours)
    masked = ours(ln.sequence(x), ln.sequence(y), tgt_mask=mask)
    np.testing.assert_allclose(masked.numpy(), want.detach(), atol=1e-10)


def test_a_mask_hides_what_comes_later():
    mask = nn.Transformer.generate_square_subsequent_mask(2)
    assert mask.tolist() == [[0.0, -np.inf], [0.0, 0.0]]


def test_another_encoder_may_be_given():
    model = nn.Transformer(8, 2, 1, 1, 16, custom_encoder=nn.Linear(8, 8))
    assert isinstance(model.encoder, nn.Linear)
    with pytest.raises(ValueError, match="Transformer: nhead must be a positive integer"):
        nn.Transformer(8, 0)


@pytest.mark.parametrize("policy", NAMES)
def test_sentences_of_all_lengths_give_what_each_gives_alone(policy):
    ln.manual_seed(1)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)
    model = nn.TransformerEncoder(layer, 2)
    sentences = [ln.sequence(normal(n, 8).astype(np.float32)) for n in (0, 1, 2, 9, 4)]
    alone = [model(x).numpy() for x in sentences]
    with ln.batching(policy):
        together = [model(x) for x in sentences]
        for y, want in zip(together, alone, strict=True):
            np.testing.assert_allclose(y.numpy(), want, rtol=1e-5, atol=1e-6)


def test_more_sentences_are_no_more_batches():
    model = nn.TransformerEncoderLayer(8, 2, 16)

    def batches(count):
        values = [model(ln.sequence(normal(1 + j % 7, 8).astype("f4"))) for j in range(count)]
        with observed() as runs:
            ln.forward(values)
        return runs[0].batches

    assert batches(1) == batches(30)


def test_dropout_only_while_training():
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5)
    x = ln.sequence(normal(4, 8).astype("f4"))
    assert len({model(x).numpy().tobytes() for _ in range(3)}) == 3
    model.eval()
    assert len({model(x).numpy().tobytes() for _ in range(3)}) == 1


def test_a_stack_can_be_pickled_and_copied():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), 2)
    x = ln.sequence(normal(3, 8).astype("f4"))
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other(x).numpy(), model(x).numpy())


def test_layers_of_a_stack_do_not_share_parameters():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 3)
    assert len(list(model.parameters())) == 3 * 12
    assert len(model.caches()) == 3
    with pytest.raises(ValueError, match="2 caches for 3 layers"):
        model(ln.sequence(normal(2, 8).astype("f4")), caches=model.caches()[:2])


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="activation 'softmix'"):
        nn.TransformerEncoderLayer(8, 2, activation="softmix")
    with pytest.raises(ValueError, match="dropout"):
        nn.TransformerDecoderLayer(8, 2, dropout=1.5)


class TestPositions:
    def test_they_are_sines_and_cosines(self):
        table = nn.sinusoidal_positions(50, 6)
        for t in (0, 1, 49):
            for k in range(3):
                angle = t / 10000 ** (2 * k / 6)
                want = (np.sin(angle), np.cos(angle))
                np.testing.assert_allclose(table[t, 2 * k : 2 * k + 2], want, atol=1e-6)
        assert nn.sinusoidal_positions(3, 5).shape == (3, 5)

    def test_there_are_none_before_the_first(self):
        for x in (ln.zeros(6), ln.zeros(6, length=2)):
            with pytest.raises(ValueError, match=r"^SinusoidalPositions: .* begin at 0, not -1"):
                nn.SinusoidalPositions(6)(x, start=-1)

    def test_a_module_adds_them_from_any_start(self):
        add, x = nn.SinusoidalPositions(6), normal(200, 6).astype("f4")
        want = x + nn.sinusoidal_positions(200, 6)
        for n in (0, 1, 5, 200):
            np.testing.assert_allclose(add(ln.sequence(x[:n])).numpy(), want[:n], atol=1e-6)
        np.testing.assert_allclose(add(ln.sequence(x[7:9]), start=7).numpy(), want[7:9], atol=1e-6)
        np.testing.assert_allclose(add(ln.tensor(x[7]), start=7).numpy(), want[7], atol=1e-6)
        with pytest.raises(ValueError, match="expected rows of"):
            add(ln.tensor(normal(5)))
