"""Ops of one's own in numpy: they batch, check, profile and fail like built-in ones."""

import contextlib
import copy
import pickle

import numpy as np
import pytest
from test_ops import observed

import lazynet as ln
from lazynet import executor, nn, recording
from lazynet.batching.policies import NAMES
from lazynet.device import product_precision

A, B = np.random.default_rng(5).standard_normal((2, 3))


class Product(ln.Function):
    """z = scale x y, and how often numpy was called with how many rows."""

    def __init__(self, scale=1.0):
        self.scale = scale
        self.calls = []

    def forward(self, x, y):
        self.calls.append(len(x))
        return self.scale * x * y

    def backward(self, g, z, x, y):
        self.calls.append(-len(x))
        return self.scale * g * y, self.scale * g * x


class Norms(ln.Function):
    """y = the sums of squares of the rows of a matrix, of which only the first `count` matter."""

    def shape(self, x, count):
        if len(x) != 2 or count:
            raise ln.ShapeError(f"Norms: expected a matrix and a number, not {x} and {count}")
        return x[:1]

    def forward(self, x, count):
        kept = np.arange(x.shape[2]) < count[:, None]
        return (x * x * kept[:, None, :]).sum(2)

    def backward(self, g, y, x, count):
        kept = np.arange(x.shape[2]) < count[:, None]
        return 2 * g[:, :, None] * x * kept[:, None, :], None


class Cube(ln.Function):
    def forward(self, x):
        return x**3

    def vjp(self, g, y, x):
        return 3.0 * g * x * x


class CubeBothWays(Cube):
    def backward(self, g, y, x):
        return 3 * g * x * x


def leaf(array, requires_grad=True):
    return ln.tensor(array, requires_grad=requires_grad)


@pytest.mark.parametrize("policy", NAMES)
def test_values_and_gradients_are_those_of_the_built_in_op(policy):
    found = []
    for multiply in (Product(2.0), lambda x, y: x * y * 2.0):
        x, y = leaf(A), leaf(np.stack([A, B]))
        w = ln.Parameter(B)
        with ln.batching(policy):
            h = multiply(x * 1.0, w)
            rows = multiply(ln.sequence(y)[::-1], h)
            parts = multiply(rows[0].chunk(3)[1], rows[1][2:3])
            (rows.sum() + parts.sum()).backward()
        found.append([rows.numpy(), x.grad.numpy(), y.grad.numpy(), w.grad.numpy()])
    for ours, built_in in zip(*found, strict=True):
        np.testing.assert_allclose(ours, built_in, atol=1e-12)


def test_fifty_examples_and_the_rows_of_sequences_are_one_call():
    multiply = Product()
    values = [multiply(leaf(A), leaf(B)) for _ in range(50)]
    values.append(multiply(ln.sequence(leaf(np.ones((7, 3)))), leaf(B)))
    with observed() as runs:
        ln.forward(values)
    assert [r.batches for r in runs] == [1] and multiply.calls == [57]
    ln.sum([v.sum() for v in values]).backward()
    assert multiply.calls == [57, -57]


def test_large_batches_are_not_split_between_threads():
    multiply, before = Product(), ln.get_num_threads()
    ln.set_num_threads(2)
    try:
        x = leaf(np.random.randn(2000, 64))
        rows = [multiply(ln.sequence(x) + float(k), ln.sequence(x)) for k in range(20)]
        total = ln.sum([r.sum() for r in rows])
        total.backward()
    finally:
        ln.set_num_threads(before)
    assert sorted(map(abs, multiply.calls)) == [40000, 40000]
    want = sum((2 * x.numpy() + k) for k in range(20))
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-10)


def test_operands_that_are_no_floats_and_shapes_of_ones_own():
    norms, x = Norms(), np.random.randn(2, 4)
    for count in (0, 3):
        ln.check_grads(
            lambda v, count=count: norms(v, ln.tensor(count)), [x], order=1, modes=("rev",)
        )
    y = norms(ln.sequence(np.stack([x, x])), ln.tensor(2))
    np.testing.assert_allclose(y.numpy(), np.stack([(x[:, :2] ** 2).sum(1)] * 2))
    with pytest.raises(ln.ShapeError, match=r"expected a matrix and a number, not \(3,\)"):
        norms(ln.tensor(A), ln.tensor(1))


def test_a_result_may_have_its_own_dtype_and_no_derivative():
    class Parity(ln.Function):
        dtype = "int64"

        def shape(self, x):
            return ()

        def forward(self, x):
            return x.astype(np.int64).sum(1) % 2

    y = Parity()(leaf([1.0, 2.0]))
    assert y.dtype == np.int64 and y.item() == 1 and not y.requires_grad


def test_first_derivatives_are_checked_and_a_wrong_one_is_found():
    ln.check_grads(Product(3.0), [A, B], order=1, modes=("rev",))

    class Wrong(Product):
        def backward(self, g, z, x, y):
            return g * y, g * y

    with pytest.raises(AssertionError, match="first derivative"):
        ln.check_grads(Wrong(), [A, B], order=1, modes=("rev",))


@pytest.mark.parametrize("kind", [Cube, CubeBothWays])
def test_second_derivatives_follow_from_a_vjp_in_lazy_ops(kind):
    ln.check_grads(kind(), [A], order=3)
    x = leaf(A)
    kind()(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * A**2)


def test_second_derivatives_without_one_are_refused():
    x, multiply = leaf(A), Product()
    for derive in (
        lambda: ln.grad(lambda x: ln.grad(lambda x: multiply(x, x).sum())(x).sum())(A),
        lambda: ln.jvp(multiply, (A, B), (A, B)),
        lambda: multiply(x, x).sum().backward(create_graph=True) or x.grad.sum().backward(),
    ):
        with pytest.raises(NotImplementedError, match="Product: its backward is written in numpy"):
            derive()
    np.testing.assert_allclose(ln.grad(lambda x: multiply(x, x).sum())(A).numpy(), 2 * A)


def test_recorded_gradients_of_many_examples_are_one_call():
    multiply = Product()
    found = [ln.grad(lambda x: multiply(x, B).sum())(A) for _ in range(20)]
    assert multiply.calls == []
    ln.forward(found)
    assert multiply.calls == [20, -20]


# -- what goes wrong -------------------------------------------------------------------------------


class Fragile(ln.Function):
    def __init__(self):
        self.broken = ""

    def forward(self, x):
        if self.broken == "forward":
            raise ZeroDivisionError("mine")
        return x * 2

    def backward(self, g, y, x):
        if self.broken == "backward":
            raise KeyError("mine")
        return g * 2


@pytest.mark.parametrize("threads", [1, 2])
def test_what_forward_raises_is_raised_where_the_value_was_asked_for(threads):
    before = ln.get_num_threads()
    ln.set_num_threads(threads)
    try:
        fragile, x = Fragile(), leaf(A)
        fragile.broken = "forward"
        ys = [(fragile(x * float(k)) + 1.0).tanh() for k in range(30)]
        with pytest.raises(ZeroDivisionError, match="mine") as told:
            ys[0].numpy()
        assert told.value.__notes__ == ["in forward of Fragile, a Function in numpy"]
        np.testing.assert_allclose((x * 3.0).numpy(), 3 * A)  # other graphs go on
        fragile.broken = ""
        with pytest.raises(ZeroDivisionError, match="mine"):
            ys[2].numpy()  # it has failed, and is not tried again
        again = (fragile(x) + 1.0).tanh()
        np.testing.assert_allclose(again.numpy(), np.tanh(2 * A + 1))
    finally:
        ln.set_num_threads(before)


def test_what_backward_raises_changes_no_gradient():
    fragile, x, w = Fragile(), leaf(A), ln.Parameter(np.eye(3))
    (x * 1.0).sum().backward()
    loss = ln.linear(fragile(x), w).sum()
    fragile.broken = "backward"
    with pytest.raises(KeyError, match="mine"):
        loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.ones(3))
    assert w.grad is None
    fragile.broken = ""
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full(3, 3.0))


def made(**methods):
    return type("Mine", (ln.Function,), methods)()


def test_results_of_the_wrong_shape_are_told():
    x = leaf(A)
    with pytest.raises(ln.ShapeError, match=r"Mine.forward: it gave an array of \(3,\), not of"):
        made(forward=lambda self, x: x[0])(x).numpy()
    with pytest.raises(ln.ShapeError, match=r"Mine.backward: it gave an array of \(\), not of"):
        made(forward=lambda self, x: x, backward=lambda self, g, y, x: 1.0)(x).sum().backward()
    with pytest.raises(ValueError, match=r"Mine.backward: it gave 2 gradients for 1 arguments"):
        made(forward=lambda self, x: x, backward=lambda self, g, y, x: (g, g))(x).sum().backward()
    with pytest.raises(ln.ShapeError, match=r"Mine: shape\(\) gives a tuple of integers, not 3"):
        made(shape=lambda self, x: 3)(x)


def test_bad_arguments_are_told_on_the_users_line():
    with pytest.raises(TypeError, match="takes at least one argument"):
        Product()()
    with pytest.raises(ln.DtypeError, match="Product: arguments of float64 and float32"):
        Product()(leaf(A), leaf(A.astype(np.float32)))
    with pytest.raises(NotImplementedError, match="Mine has no forward"):
        made()(leaf(A)).numpy()
    with pytest.raises(TypeError, match="Product: expected a Tensor or Sequence, not a list"):
        Product()([1.0], leaf(A))


def test_arguments_cannot_be_written_to():
    def forward(self, x):
        x += 1
        return x

    x = leaf(A)
    with pytest.raises(ValueError, match="read-only"):
        made(forward=forward)(x).numpy()
    np.testing.assert_array_equal(x.numpy(), A)


def test_it_cannot_ask_for_lazy_values():
    other = leaf(A) * 2.0
    with pytest.raises(RuntimeError, match="cannot ask for lazy values"):
        made(forward=lambda self, x: x * other.numpy())(leaf(B)).numpy()


def test_it_cannot_be_part_of_a_cell_or_a_scan():
    multiply = Product()

    @ln.cell
    def celled(x):
        return multiply(x, x) + 1.0

    with pytest.raises(TypeError, match="Product is written in numpy and cannot be part of a"):
        celled(leaf(A))


def test_a_device_that_is_not_the_cpu_is_refused():
    class Elsewhere:
        name = "elsewhere:0"

    x = leaf(A) * 1.0
    cpu, x.graph.device = x.graph.device, Elsewhere()
    try:
        with pytest.raises(ln.DeviceError, match=r"runs on the CPU only, not on 'elsewhere:0'"):
            Product()(x, x)
    finally:
        x.graph.device = cpu


@pytest.mark.parametrize("mode", [ln.batching("none"), ln.autocast(enabled=False)])
def test_a_mode_ends_when_the_forward_at_its_end_fails(mode):
    mode._precision = "float16"  # of autocast alone: one that can be told from none
    with pytest.raises(ArithmeticError, match="below 0"), mode:
        held = Root()(ln.tensor([-1.0]))
    assert held is not None
    assert (recording.policy(), product_precision.get()) == ("auto", "")


def test_autocast_that_an_error_ends_leaves_what_is_pending():
    with pytest.raises(OSError, match="mine"), ln.autocast(enabled=False):
        held = Root()(ln.tensor([-1.0]))
        raise OSError("mine")
    with pytest.raises(ArithmeticError):
        held.numpy()


# -- what fails is set apart ---------------------------------------------------------------------


class Root(ln.Function):
    """sqrt(x), which refuses what is below 0."""

    def forward(self, x):
        if (x < 0).any():
            raise ArithmeticError(f"below 0: {x.min()}")
        return np.sqrt(x)

    def backward(self, g, y, x):
        return g / (2 * y)


@pytest.mark.parametrize("policy", ["none", "auto"])
def test_what_fails_keeps_nothing_else_from_being_computed(policy):
    root, w = Root(), ln.Parameter(np.float32([1.0, 2.0]))
    with ln.batching(policy):
        numbers = [4.0, -9.0, 16.0]
        healthy, failed, other = (ln.sum(ln.tanh(root(w * x) * 2.0)) for x in numbers)
        beside, both = ln.sum(w * 3.0), failed + 1.0
        pair = root(root(ln.tensor([1.0, 16.0])))
        with pytest.raises(ArithmeticError, match="below 0: -18"):
            healthy.numpy()  # something that was computed with it has failed
        expected = [np.tanh(2 * np.sqrt(w.numpy() * x)).sum() for x in (4.0, 16.0)]
        np.testing.assert_allclose([healthy.item(), other.item()], expected, rtol=1e-6)
        assert beside.item() == 9.0
        assert pair.tolist() == [1.0, 2.0]
        for use in (
            lambda: failed.numpy(), lambda: both.item(), lambda: both.backward(),
            lambda: failed * 2.0, lambda: ln.tanh(ln.sum([healthy, failed])),
        ):  # fmt: skip
            with pytest.raises(ArithmeticError, match="below 0: -18"):
                use()
        (healthy + beside * 2.0).backward()
    h = 2 * np.sqrt(4 * w.numpy())
    slope = (1 - np.tanh(h) ** 2) * 2.0 * 4.0 / (2 * np.sqrt(4 * w.numpy()))
    np.testing.assert_allclose(w.grad.numpy(), slope + 6.0, rtol=1e-5)


def test_a_graph_of_which_one_value_is_kept_forgets_what_failed_in_it():
    bad = Root()(ln.tensor([-1.0]))
    good = ln.sequence(leaf(np.ones((300, 2)))) * 2.0
    with pytest.raises(ArithmeticError):
        good.numpy()
    assert bad.id < 300  # which is a row of `good` from here on
    good.graph.shrink([good.id + k for k in range(300)], good.type.width)
    good.id = 0
    assert good[bad.id].tolist() == [2.0, 2.0]


def test_what_fails_among_rows_fails_for_the_sequence_alone():
    root = Root()
    good, bad = (root(ln.sequence(np.float32(x))) for x in ([[1.0], [4.0]], [[1.0], [-4.0]]))
    sums = [ln.sum(rows) for rows in (good, bad)]
    with pytest.raises(ArithmeticError):
        sums[0].numpy()
    assert sums[0].item() == 3.0
    with pytest.raises(ArithmeticError):
        sums[1].numpy()
    with pytest.raises(ArithmeticError):
        bad[0].numpy()


def test_a_function_that_fails_once_has_not_failed():
    class Once(ln.Function):
        calls = 0

        def forward(self, x):
            Once.calls += 1
            if Once.calls == 1:
                raise OSError("busy")
            return x * 2.0

    y = Once()(ln.tensor([1.0]))
    with pytest.raises(OSError, match="busy"):
        y.numpy()
    assert y.tolist() == [2.0]


@pytest.mark.parametrize("last", range(1, 6))
def test_an_interrupt_while_things_are_set_apart_leaves_the_rest_pending(monkeypatch, last):
    root, run, runs = Root(), executor.forward, []

    def broken(*arguments):
        runs.append(arguments)
        if len(runs) == last + 1:
            raise KeyboardInterrupt
        return run(*arguments)

    values = [ln.sum(root(ln.tensor([x, 1.0]) * 1.0)) + x for x in (4.0, -9.0, 16.0, 25.0)]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(executor, "forward", broken)
        values[0].numpy()
    with contextlib.suppress(ArithmeticError):  # if what fails was not set apart before
        values[3].numpy()
    assert [values[k].item() for k in (0, 2, 3)] == [7.0, 21.0, 31.0]
    with pytest.raises(ArithmeticError, match="below 0"):
        values[1].numpy()


def test_what_fails_in_a_forward_that_is_interrupted_is_no_other_forwards_error(monkeypatch):
    def interrupted(*arguments):
        execute(*arguments)
        raise KeyboardInterrupt

    execute, y = executor.execute, Root()(ln.tensor([-1.0]))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(executor, "execute", interrupted)
        y.numpy()
    assert (ln.tensor([1.0]) + 1.0).tolist() == [2.0]


# -- beside everything else ------------------------------------------------------------------------


def test_it_is_profiled_like_a_built_in_op():
    with ln.profile() as profile:
        ln.forward([Product()(leaf(A), leaf(B))])
    (entry,) = [e for e in profile.summary()["signatures"] if e["name"].startswith("Product")]
    assert entry["batches"] == 1 and entry["kernel_calls"] == 1


def test_it_runs_inside_a_map_and_without_gradients():
    multiply = Product()

    def program(x):
        y = multiply(leaf(x), leaf(x))
        return multiply(y, y).numpy() if y.sum().item() > 0 else None

    with ln.no_grad():
        found = ln.map(program, [A, B])
    np.testing.assert_allclose(found, [A**4, B**4])
    assert multiply.calls == [2, 2]


def test_it_is_copied_and_pickled_with_its_module():
    class_of = nn.Module()
    class_of.product = Product(3.0)
    class_of.product(leaf(A), leaf(B)).numpy()
    for again in (copy.deepcopy(class_of), pickle.loads(pickle.dumps(class_of))):
        np.testing.assert_allclose(again.product(leaf(A), leaf(B)).numpy(), 3 * A * B)
