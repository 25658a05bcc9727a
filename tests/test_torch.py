"""Functions that PyTorch has as well: values and gradients over random shapes, in float64."""

import inspect

import numpy as np
import pytest
from checks import agrees_with_torch

import lazynet as ln
from lazynet import nn

F = nn.functional
SHAPES = [(), (1,), (7,), (3, 4), (2, 1, 3)]
ANYWHERE = """
neg abs sign exp expm1 sin cos tanh sigmoid relu asinh atan sinh cosh erf erfc square floor ceil
trunc relu6 celu elu selu gelu silu mish softplus softsign hardtanh hardsigmoid hardswish hardshrink
softshrink tanhshrink leaky_relu logsigmoid
"""
POSITIVE = "log log1p sqrt rsqrt reciprocal lgamma digamma"
SMALL = "tan asin acos atanh erfinv"
# name: (lowest, highest) of the elements; the name is that of both libraries
UNARY = {
    **dict.fromkeys(ANYWHERE.split(), (-2.9, 2.9)),
    **dict.fromkeys(POSITIVE.split(), (0.2, 3.0)),
    **dict.fromkeys(SMALL.split(), (-0.9, 0.9)),
    "acosh": (1.2, 3.0),
    "round": (-2.4, 2.4),
}
OF_TWO = "add sub mul div maximum minimum atan2 logaddexp remainder pow"
BINARY = dict.fromkeys(OF_TWO.split(), (0.3, 2.0))
COMPARISONS = ["lt", "le", "gt", "ge", "eq", "ne", "logical_and", "logical_or", "logical_xor"]
PAIRS = [((), ()), ((5,), (5,)), ((3, 4), (3, 4)), ((3, 4), (4,)), ((2, 1), (1, 3)), ((), (2, 2))]
AXES = [((6,), 0), ((6,), -1), ((3, 4), 0), ((3, 4), 1), ((2, 3, 4), 1), ((2, 3, 4), -3)]
ALONG = "sum mean prod amax amin logsumexp cumsum cumprod softmax log_softmax"
REDUCTIONS = ALONG.split()


def draw(shape, low=-2.0, high=2.0):
    return np.random.uniform(low, high, shape)


def theirs(torch, name):
    for home in (torch, torch.nn.functional, torch.special):
        if hasattr(home, name):
            return getattr(home, name)
    raise AttributeError(name)


def ours(name):
    return getattr(ln, name, None) or getattr(F, name)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_of_one_operand(torch, name, shape, many):
    arrays = [draw((4, *shape) if many else shape, *UNARY[name])]
    # PyTorch computes the slope 1/6 of hardsigmoid in float32.
    tolerance = 1e-6 if name == "hardsigmoid" else 1e-9
    agrees_with_torch(torch, ours(name), theirs(torch, name), arrays, many, tolerance)


@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_of_two_operands_that_broadcast(torch, name, shapes):
    arrays = [draw(shape, *BINARY[name]) for shape in shapes]
    agrees_with_torch(torch, ours(name), theirs(torch, name), arrays)


@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@pytest.mark.parametrize("name", COMPARISONS)
def test_of_two_operands_without_derivative(torch, name, shapes):
    arrays = [np.random.randint(3, size=shape).astype(float) for shape in shapes]
    if name.startswith("logical"):
        arrays = [np.asarray(a > 0) for a in arrays]
    y = getattr(ln, name)(*map(ln.tensor, arrays))
    np.testing.assert_array_equal(
        y.numpy(), theirs(torch, name)(*map(torch.tensor, arrays)).numpy()
    )


@pytest.mark.parametrize(("shape", "axis"), AXES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_along_an_axis(torch, name, shape, axis):
    arrays = [draw(shape, 0.3, 2.0)]
    agrees_with_torch(
        torch, lambda x: ours(name)(x, axis), lambda x: theirs(torch, name)(x, axis), arrays
    )


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("p", [1, 2, float("inf")])
def test_norms_variance_and_deviation(torch, p, keepdim):
    x = [draw((3, 5))]
    agrees_with_torch(
        torch, lambda v: ln.norm(v, p, 1, keepdim), lambda v: torch.norm(v, p, 1, keepdim), x
    )
    for mine, other in ((ln.var, torch.var), (ln.std, torch.std)):
        agrees_with_torch(torch, lambda v, f=mine: f(v, 1), lambda v, f=other: f(v, 1), x)
        for unbiased in (False, True):
            agrees_with_torch(
                torch, lambda v, f=mine, u=unbiased: f(v, 1, unbiased=u, keepdim=keepdim),
                lambda v, f=other, u=unbiased: f(v, 1, unbiased=u, keepdim=keepdim), x,
            )  # fmt: skip


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_where_the_extremes_are(torch, name, axis):
    x = draw((3, 4))
    for keepdim in (False, True) if axis is not None else (False,):
        have = ours(name)(ln.tensor(x), axis, keepdim)
        want = theirs(torch, name)(torch.tensor(x), axis, keepdim)
        np.testing.assert_array_equal(have.numpy(), want.numpy())
    with pytest.raises(ln.ShapeError, match=f"^{name}: no axis"):
        ours(name)(ln.ones(2, length=3), 2)


SEVERAL = ["sum", "mean", "amax", "amin", "logsumexp", "norm", "var", "std", "any", "all"]


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("axes", [(0, 1), (-1, 0), (2,), (1, 2, 0)], ids=str)
@pytest.mark.parametrize("name", SEVERAL)
def test_over_several_axes(torch, name, axes, keepdim):
    arrays = [draw((2, 3, 4))]
    if name in ("any", "all"):
        arrays = [arrays[0] > 0.5]
    other = torch.linalg.vector_norm if name == "norm" else theirs(torch, name)
    agrees_with_torch(
        torch, lambda x: ours(name)(x, dim=axes, keepdim=keepdim),
        lambda x: other(x, dim=axes, keepdim=keepdim), arrays,
    )  # fmt: skip


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (2, 1), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("name", [*SEVERAL[:-2]])
def test_over_rows_and_axes_of_rows_together(torch, name, axes):
    other = torch.linalg.vector_norm if name == "norm" else theirs(torch, name)
    agrees_with_torch(
        torch, lambda x: ours(name)(x, axis=axes), lambda x: other(x, dim=axes), [draw((5, 3, 4))],
        many=True,
    )  # fmt: skip
    with pytest.raises(ln.ShapeError, match=f"^{name}: an axis appears twice"):
        ours(name)(ln.ones(2, 3), axis=(0, -2))


def test_an_integer_has_no_negative_integer_power():
    for call in (lambda x: x**-1, lambda x: ln.pow(x, -2), lambda x: x.pow(-1)):
        with pytest.raises(ValueError, match=r"^pow: an integer to the power -\d is none"):
            call(ln.tensor([2, 4]))
    assert (ln.tensor([2, 4]).float() ** -1).tolist() == [0.5, 0.25]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_stacking_along_any_axis(torch, dim, many):
    if many and dim in (0, -3):
        with pytest.raises(ln.ShapeError, match="^stack: no place" if dim else "^stack: "):
            ln.stack([ln.ones(3, length=2)] * 2, dim)
        return
    arrays = [draw((2, 3)) for _ in range(3)]
    agrees_with_torch(
        torch, lambda *x: ln.stack(list(x), dim), lambda *x: torch.stack(x, dim), arrays, many
    )


METHODS = {
    "neg": (), "add": (2.0,), "sub": (2.0,), "mul": (2.0,), "div": (2.0,), "pow": (3,),
    "pow of two": (2,), "expand": (4, -1, 3), "view": (3, 2), "float": (), "double": (),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_pytorchs(torch, name):
    method, given = name.split()[0], METHODS[name]
    x = draw((2, 3))
    agrees_with_torch(
        torch, lambda v: getattr(v, method)(*given), lambda v: getattr(v, method)(*given), [x],
        tolerance=1e-6 if name == "float" else 1e-9,
    )  # fmt: skip


def test_methods_of_two_values_are_pytorchs(torch):
    x, y = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    for name in ("maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge"):
        mine = getattr(ln.tensor(x), name)(ln.tensor(y))
        np.testing.assert_array_equal(
            mine.numpy(), getattr(torch.tensor(x), name)(torch.tensor(y)).numpy()
        )
    want = torch.tensor(x).where(torch.tensor(x > 2), torch.tensor(y)).numpy()
    np.testing.assert_array_equal(ln.tensor(x).where(ln.tensor(x > 2), ln.tensor(y)).numpy(), want)
    assert ln.tensor(x + 0.5).long().tolist() == [1, 2, 3]


PRODUCTS = {
    "matmul": [((3, 4), (4, 2)), ((3, 4), (4,)), ((2, 3, 4), (4, 2)), ((2, 3, 4), (2, 4, 5))],
    "bmm": [((2, 3, 4), (2, 4, 5))],
    "dot": [((4,), (4,))],
    "outer": [((3,), (2,))],
    "linear": [((4,), (3, 4), (3,)), ((2, 4), (3, 4)), ((2, 5, 4), (3, 4), (3,))],
    "bilinear": [((3,), (2,), (4, 3, 2), (4,))],
    "inverse": [((3, 3),)],
    "det": [((3, 3),)],
    "logdet": [((3, 3),)],
    "cosine_similarity": [((4,), (4,))],
    "layer_norm": [((3, 4), (4,), (4,), (4,))],
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_of_matrices(torch, name):
    for shapes in PRODUCTS[name]:
        arrays = [draw(shape) for shape in shapes]
        if name in ("inverse", "det", "logdet"):
            arrays = [arrays[0] @ arrays[0].T + np.eye(3)]
        mine, other = ours(name), theirs(torch, name)
        if name == "cosine_similarity":
            agrees_with_torch(torch, lambda a, b: ln.cosine_similarity(a, b, -1),
                              lambda a, b: torch.cosine_similarity(a, b, -1), arrays)  # fmt: skip
        elif name == "layer_norm":
            agrees_with_torch(
                torch, lambda x, w, b, _: F.layer_norm(x, 4, w, b) + _,
                lambda x, w, b, _: torch.nn.functional.layer_norm(x, (4,), w, b) + _, arrays,
            )  # fmt: skip
        else:
            agrees_with_torch(torch, mine, other, arrays)


EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)), ("i,j->ij", (3,), (2,)),
    ("ij->ji", (2, 3)), ("ii->i", (3, 3)), ("ijk,k->ij", (2, 3, 4), (4,)),
    ("ij,ij->", (2, 3), (2, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("equation", "shapes"), [(e, s) for e, *s in EQUATIONS])
def test_einsum(torch, equation, shapes):
    arrays = [draw(shape) for shape in shapes]
    agrees_with_torch(
        torch, lambda *v: ln.einsum(equation, *v), lambda *v: torch.einsum(equation, *v), arrays
    )


def numbers(home, given):
    """Integers as each library takes them."""
    return given if home is ln else home.tensor(given)


def ordered(home, dim, index):
    """The arguments of take_along_dim, in the order of each library."""
    return (dim, index) if home is ln else (index, dim)


def eye(home, size):
    return home.tensor(np.eye(size))


def lower(home, a):
    return home.cholesky(a) if home is ln else home.linalg.cholesky(a)


def solved(home, a, b):
    return home.solve(a, b) if home is ln else home.linalg.solve(a, b)


SHAPING = {
    "reshape": (lambda h, x: h.reshape(x, (4, 3)), (2, 6)),
    "flatten": (lambda h, x: h.flatten(x, 1, 2), (2, 3, 4)),
    "permute": (lambda h, x: x.permute(2, 0, 1), (2, 3, 4)),
    "transpose": (lambda h, x: h.transpose(x, 0, 2), (2, 3, 4)),
    "squeeze": (lambda h, x: h.squeeze(x, 1), (2, 1, 3)),
    "unsqueeze": (lambda h, x: h.unsqueeze(x, 1), (2, 3)),
    "expand": (lambda h, x: h.broadcast_to(x, (4, 2, 3)), (2, 3)),
    "cat": (lambda h, x: h.cat([x, x * 2.0], 1), (2, 3)),
    "stack": (lambda h, x: h.cat([h.unsqueeze(x, 0), h.unsqueeze(x, 0)], 0), (2, 3)),
    "chunk": (lambda h, x: h.chunk(x, 2, -1)[1] * 3.0, (2, 4)),
    "split": (lambda h, x: h.split(x, [1, 3], -1)[1] * 3.0, (2, 4)),
    "slices": (lambda h, x: x[1:, ::2], (3, 5)),
    "an index": (lambda h, x: x[1, 2] * 2.0, (3, 5)),
    "index arrays": (lambda h, x: x[[0, 2, 2], [1, 1, 0]], (3, 5)),
    "pad": (lambda h, x: F.pad(x, (1, 2)) if h is ln else h.nn.functional.pad(x, (1, 2)), (2, 3)),
    "flip": (lambda h, x: x.flip(1), (2, 3)),
    "roll": (lambda h, x: h.roll(x, 2, 1), (2, 5)),
    "tile": (lambda h, x: h.tile(x, (2,)), (2, 3)),
    "tril": (lambda h, x: h.tril(x), (3, 3)),
    "triu": (lambda h, x: h.triu(x, 1), (3, 3)),
    "trace": (lambda h, x: h.trace(x), (3, 3)),
    "diagonal": (lambda h, x: h.diagonal(x), (3, 3)),
    "clamp": (lambda h, x: h.clamp(x, -0.5, 1.0), (3, 4)),
    "where": (lambda h, x: h.where(x > 0.0, x, x * 2.0), (3, 4)),
    "index_select": (lambda h, x: h.index_select(x, 1, numbers(h, [2, 0, 2])), (3, 4)),
    "along an axis": (
        lambda h, x: h.take_along_dim(x, *ordered(h, 1, numbers(h, [[0, 3], [2, 2], [1, 0]]))),
        (3, 4),
    ),
    "scatter_add": (
        lambda h, x: h.scatter_add(x * 2.0, 1, numbers(h, [[0, 3], [2, 2], [1, 0]]), x[:, :2]),
        (3, 4),
    ),
    "repeat_interleave": (
        lambda h, x: h.repeat_interleave(x, numbers(h, [2, 0, 3]), 0),
        (3, 4),
    ),
    "unbind": (lambda h, x: h.unbind(x, 1)[2] * 2.0, (3, 4)),
    "sort": (lambda h, x: h.sort(x, 1)[0] * h.sort(x, 1)[0], (3, 4)),
    "topk": (lambda h, x: h.topk(x, 2, 0)[0] * 3.0, (3, 4)),
    "cholesky": (lambda h, x: lower(h, x @ x.T + eye(h, 3)), (3, 4)),
    "solve": (lambda h, x: solved(h, x @ x.T + eye(h, 3), x), (3, 4)),
    "slogdet": (lambda h, x: h.slogdet(x @ x.T + eye(h, 3))[1], (3, 4)),
    "einsum of three": (lambda h, x: h.einsum("ij,kj,kl->il", x, x, x), (3, 4)),
    "glu": (lambda h, x: F.glu(x) if h is ln else h.nn.functional.glu(x), (2, 4)),
}


@pytest.mark.parametrize("name", SHAPING)
def test_shapes_and_parts(torch, name):
    function, shape = SHAPING[name]
    agrees_with_torch(torch, lambda x: function(ln, x), lambda x: function(torch, x), [draw(shape)])


EDGES = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e300, -1e300, 1e-310, 1.0, -1.0])


@pytest.mark.parametrize("name", sorted({*UNARY} - {"lgamma", "digamma"}))
def test_edge_values(torch, name):
    """Of zeros, infinities, NaN, huge and denormal numbers: what PyTorch gives."""
    want = theirs(torch, name)(torch.tensor(EDGES)).numpy()
    with np.errstate(all="ignore"):
        got = ours(name)(ln.tensor(EDGES)).numpy()
    if name == "sign":
        want[np.isnan(EDGES)] = np.nan  # as numpy; PyTorch gives 0
    np.testing.assert_allclose(
        got, want, rtol=1e-7 if name == "hardsigmoid" else 1e-12, atol=1e-300
    )


# -- arguments by position -------------------------------------------------------------------------

RECURRENT = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"]
OVERLOADED = {  # those that PyTorch takes apart by itself
    "RNN": [*RECURRENT[:3], "nonlinearity", *RECURRENT[3:]], "GRU": RECURRENT, "LSTM": RECURRENT,
}  # fmt: skip
MODULES = sorted(k for k, v in vars(nn).items() if inspect.isclass(v) and issubclass(v, nn.Module))
ELSEWHERE = {"EmbeddingBag": "the mode, which PyTorch has by name; a norm there is refused"}


def positional(function):
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds]
    return [name for name in found if name != "self"]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_takes_nothing_where_pytorch_takes_something_else(torch, name):
    if not hasattr(torch.nn, name) or name in ELSEWHERE:
        return
    own, given = (positional(getattr(home, name).__init__) for home in (nn, torch.nn))
    assert own[1:] == OVERLOADED.get(name, given)[1 : len(own)]


MASK = np.ones((2, 2), bool)
ROWS = np.ones((2, 4), np.float32)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: nn.MultiheadAttention(4, 2)(x, x, x, MASK),  # of padding
        lambda x: nn.MultiheadAttention(4, 2)(x, x, x, None, True),  # need_weights
        lambda x: nn.TransformerEncoderLayer(4, 2, 8)(x, MASK, [True, False]),
        lambda x: nn.TransformerDecoderLayer(4, 2, 8)(x, x, MASK, MASK, [True, False]),
        lambda x: F.batch_norm(x, ln.zeros(4), ln.ones(4), None, None, False, 0.1),  # momentum
        lambda x: F.instance_norm(x, None, None, None, None, True, 0.1),
    ],
)
def test_what_pytorch_has_there_is_not_taken_for_something_else(call):
    with pytest.raises(TypeError, match=r"takes .* positional arguments"):
        call(ln.sequence(ROWS))
