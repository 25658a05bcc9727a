"""Values that nobody holds are computed inside of what reads them, and nobody can tell."""

import gc
import itertools

import numpy as np
import pytest
from graphs import Program
from hypothesis import given, settings
from hypothesis import strategies as st

import lazynet as ln
from lazynet import expressions, nn, running
from lazynet.batching.decode import count, decode
from lazynet.batching.layout import ROWS
from lazynet.graph import LINK, NOWHERE
from lazynet.op import REGISTRY, row_type
from lazynet.precompile import planners
from lazynet.tape import read_tape
from lazynet.tensor import Sequence

X = np.linspace(-1, 1, 4).astype(np.float32)
Y = np.linspace(2, 3, 4).astype(np.float32)


@pytest.fixture
def tapes(monkeypatch):
    """Expressions are compiled when they have come once; gives the tapes that ran."""
    ran = []
    monkeypatch.setattr(expressions, "OFTEN", 1)
    monkeypatch.setattr(running, "LEAST_NOTED", 1)
    monkeypatch.setattr(running, "EXPRESSIONS", expressions.Expressions())
    monkeypatch.setattr(running, "observers", [lambda _, run: ran.append((run.tape, run.base))])
    for _ in range(2):  # the short ways are compiled after the first forward
        (ln.tensor(1.0) + 1.0).item()
    return ran


def ops(tapes):
    """The names of the ops that ran last, without links."""
    tape, base = tapes[-1]
    names = [node.signature.op.name for node in read_tape(tape.tolist(), base)]
    return [name for name in names if name != LINK.op.name]


def thrice(program):
    """What a program gives the third time; under policy `none` it has to be the same."""
    for _ in range(3):
        found = program()
    with ln.batching("none"):
        wanted = program()
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)


def leaves(*arrays):
    return [ln.tensor(a, requires_grad=True) for a in arrays]


def test_ops_whose_values_are_dropped_are_one_node(tapes):
    def program():
        x, y = leaves(X, Y)
        loss = ln.sum(ln.tanh(ln.sigmoid(x) * y + 0.5))
        loss.backward()
        return loss.numpy(), x.grad.numpy(), y.grad.numpy()

    thrice(program)
    del tapes[-1]  # of policy none
    assert ops(tapes) == ["fused(sigmoid, mul, add, tanh)", "sum"]


def test_nothing_is_compiled_anew_for_shorter_tapes(tapes):
    def compiled():
        functions = [function for function, _ in planners()]
        return [len(function.signatures) for function in (count, decode, *functions)]

    def program():
        (x,) = leaves(X)
        for _ in range(40):
            x = ln.tanh(x * 0.5 + 1.0)
        x.sum().backward()

    program()
    before = compiled()
    program()
    program()
    assert "fused" in " ".join(ops(tapes)) and compiled() == before


def test_the_first_tapes_are_as_they_were_recorded(tapes):
    (x,) = leaves(X)
    y = ln.tanh(x * x)
    y.numpy()
    assert ops(tapes) == ["mul", "tanh"]


@pytest.mark.parametrize("asked", [False, True])
def test_a_value_that_is_held_is_computed(tapes, asked):
    def program():
        (x,) = leaves(X)
        inner = ln.exp(ln.sin(x))
        y = inner + 1.0
        values = [y.numpy(), inner.numpy() if asked else 0]
        y.sum().backward()
        return [*values, inner.numpy(), x.grad.numpy()]

    thrice(program)
    names = [name for tape in tapes[:-1] for name in ops([tape])]
    assert "fused(sin, exp)" in names
    assert "fused(sin, exp, add)" not in names


def test_what_is_read_twice_is_computed_once(tapes):
    def program():
        (x,) = leaves(X)
        both = ln.exp(x)
        y = ln.sin(both) + ln.cos(both)
        del both
        y.sum().backward()
        return y.numpy(), x.grad.numpy()

    thrice(program)
    del tapes[-1]
    assert ops(tapes)[:2] == ["exp", "fused(sin, cos, add)"]


def test_arguments_that_are_one_value_are_one_argument(tapes):
    def program():
        (x,) = leaves(X)
        y = (ln.sin(x) * x - ln.exp(x)) / (x * x + 1.0)
        y.sum().backward()
        return y.numpy(), x.grad.numpy()

    thrice(program)
    nodes = [node for tape, base in tapes for node in read_tape(tape.tolist(), base)]
    fused = [node for node in nodes if node.signature.op.name.startswith("fused")]
    assert fused
    assert {len(node.arguments) for node in fused} == {2}  # x, and the row of 1.0


def test_parts_of_one_row_are_read_from_the_whole_row(tapes):
    weight = ln.Parameter(np.linspace(-1, 1, 48).reshape(12, 4).astype(np.float32))

    def program():
        (x,) = leaves(X)
        i, f, g = ln.chunk(ln.linear(x, weight), 3)
        c = ln.sigmoid(i) * ln.tanh(g) + ln.sigmoid(f) * x
        del i, f, g
        weight.grad = None
        c.sum().backward()
        return c.numpy(), x.grad.numpy(), weight.grad.numpy()

    thrice(program)
    del tapes[-1]
    assert ops(tapes)[1].startswith("fused(")
    assert len(ops(tapes)) == 3


def test_operands_broadcast_as_they_did(tapes):
    def program():
        x, y, s = leaves(X, Y, np.float32(1.5))
        z = ln.exp(s * 2.0) * (x + y) - ln.tanh(s)
        z.sum().backward()
        return z.numpy(), x.grad.numpy(), y.grad.numpy(), s.grad.numpy()

    thrice(program)


def test_what_has_no_derivative_is_a_node_of_its_own(tapes):
    """So that what it gives wants no gradient, whatever it is made of."""

    def program():
        (x,) = leaves(X)
        fixed = ln.exp(ln.sin(x).detach() * 2.0)
        z = ln.where((x > 0.0) & (x < 0.9), ln.cos(x) * 3.0, ln.exp(x) * fixed)
        z.sum().backward()
        return z.numpy(), x.grad.numpy(), fixed.requires_grad

    thrice(program)
    del tapes[-1]
    assert {"detach", "gt", "lt", "logical_and", "fused(mul, exp)"} <= set(ops(tapes))
    assert any(name.endswith("where)") for name in ops(tapes))


def test_sequences_and_their_rows_stay(tapes):
    def program():
        (x,) = leaves(np.stack([X, Y]))
        rows = ln.sequence(x)
        first = rows[0]
        y = ln.tanh(rows * 2.0)[1] * ln.exp(ln.sin(first))
        del rows, first
        y.sum().backward()
        return y.numpy(), x.grad.numpy()

    thrice(program)


def test_a_sequence_without_rows_is_there(tapes):
    def program():
        (x,) = leaves(np.stack([X, Y]))
        empty = ln.sequence(x)[2:] * 2.0
        y = ln.exp(ln.sin(x[0]))
        y.sum().backward()
        return empty.numpy(), y.numpy(), x.grad.numpy()

    thrice(program)


TAKEN = {
    "a row": lambda rows: rows[1], "reversed": lambda rows: rows[::-1][1],
    "the first": lambda rows: next(iter(rows)), "a slice": lambda rows: rows[1:],
    "gathered": lambda rows: ln.gather(rows, [0, 1]), "by a step": lambda rows: rows[[2, 1]],
    "one of them": lambda rows: ln.gather(rows, [2])[0],
}  # fmt: skip


@pytest.mark.parametrize("taken", TAKEN.values(), ids=TAKEN)
def test_rows_of_a_value_that_is_repeated_hold_it(tapes, taken):
    for _ in range(3):
        (x,) = leaves(X)
        inner = ln.exp(ln.sin(x))
        rows = Sequence(inner.graph, inner.id, inner.type, 3, 0)
        part = taken(rows)
        y = ln.cos(rows[0])
        del inner, rows
        y.numpy()
        found = part.numpy().reshape(-1, 4)
        np.testing.assert_allclose(found, [np.exp(np.sin(X))] * len(found), rtol=1e-6)


def test_no_gradient_passes_what_was_recorded_without(tapes):
    def program():
        (x,) = leaves(X)
        with ln.no_grad():
            fixed = ln.exp(ln.sin(x))
        y = fixed * x + 1.0
        del fixed
        y.sum().backward()
        return y.numpy(), x.grad.numpy()

    thrice(program)


def test_hooks_see_gradients_of_values_that_were_dropped(tapes):
    def program():
        (x,) = leaves(X)
        seen = []
        inner = ln.exp(ln.sin(x))
        inner.register_hook(lambda g: seen.append(g.numpy()))
        y = ln.sin(inner) + 1.0
        del inner
        y.sum().backward()
        return y.numpy(), x.grad.numpy(), *seen

    thrice(program)


def test_derivatives_that_are_values_agree(tapes):
    def program():
        (x,) = leaves(X)
        y = ln.tanh(ln.exp(x * 0.5) + 1.0).sum()
        y.item()
        (g,) = ln.gradients(y, [x])
        (h,) = ln.gradients((ln.sin(g) * g).sum(), [x])
        return y.numpy(), g.numpy(), h.numpy()

    thrice(program)


def test_gradients_of_a_pending_value_then_of_the_same_computed(tapes):
    def program():
        (x,) = leaves(X)
        y = ln.tanh(ln.exp(x * 0.5) + 1.0).sum()
        (g,) = ln.gradients(y, [x])
        z = (g * 2.0).sum()
        z.item()
        (h,) = ln.gradients(z, [x])
        return y.numpy(), g.numpy(), h.numpy()

    thrice(program)


def test_a_graph_that_goes_on_after_a_forward(tapes):
    def program():
        (x,) = leaves(X)
        y = ln.exp(x * 0.5)
        y.numpy()
        z = ln.tanh(y + 1.0) * y
        z.numpy()
        loss = ln.sum(ln.sin(z) * 2.0)
        loss.backward()
        return loss.numpy(), y.numpy(), z.numpy(), x.grad.numpy()

    thrice(program)


def test_what_fails_beside_them_is_set_apart(tapes):
    class Fails(ln.Function):
        def forward(self, x):
            if (x < 0).any():
                raise ArithmeticError("below 0")
            return x

    (x,), fails = leaves(X), Fails()
    for _ in range(2):
        good = ln.exp(ln.sin(x))
        good.numpy()
    good, bad = ln.exp(ln.sin(x)), ln.exp(fails(ln.cos(x) - 2.0))
    for _ in range(2):
        with pytest.raises(ArithmeticError):
            bad.numpy()
        np.testing.assert_allclose(good.numpy(), np.exp(np.sin(X)), rtol=1e-6)


def signatures():
    """A signature of each op, for each of its samples and each dtype of floats."""
    for op in REGISTRY.values():
        for sample, dtype in itertools.product(op.samples, ("float32", "float64")):
            if op.kind == ROWS and not sample.parameters and not op.payload:
                dtypes = sample.dtypes or ("",) * len(sample.operands)
                types = tuple(row_type(d or dtype, shape) for d, shape in
                              zip(dtypes, sample.operands, strict=True))  # fmt: skip
                yield op.signature(types, sample.attributes)


def test_every_elementwise_op_can_be_part_of_an_expression():
    fitting = [s for s in signatures() if expressions._fits(s)]
    for s in fitting:
        count = len(s.operands)
        calls = [(s, list(range(count)))]
        if s.type.is_float:
            calls.append((REGISTRY["sin"].signature((s.type,)), [count]))
        traced = expressions.expression(calls, count)
        assert traced.signature().outputs == (s.type,)
    assert {"add", "where", "sigmoid", "gelu", "clamp"} <= {s.op.name for s in fitting}
    assert not {"linear", "softmax", "detach", "gt", "sum"} & {s.op.name for s in fitting}


def test_cycles_hold_values_until_they_are_collected(tapes):
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            (x,) = leaves(X)
            cycle = [ln.exp(ln.sin(x))]
            cycle.append(cycle)
            y = cycle[0] + 1.0
            del cycle
            y.numpy()
    finally:
        gc.enable()
    assert ops(tapes) == ["fused(sin, exp)", "add"]


def test_an_expression_has_only_so_many_ops_and_arguments(tapes):
    def program():
        values = leaves(*(X + k for k in range(30)))
        total = values[0]
        for v in values[1:]:
            total = ln.sin(total) * v
        total.sum().backward()
        return total.numpy(), values[0].grad.numpy(), values[29].grad.numpy()

    for _ in range(2):  # expressions of expressions come later
        thrice(program)
    tape, base = tapes[-3]
    nodes = [n for n in read_tape(tape.tolist(), base) if n.signature.op.name.startswith("fused")]
    assert len(nodes) > 3
    assert max(len(n.arguments) for n in nodes) == 8


def test_expressions_are_given_up_when_there_are_too_many_kinds(tapes, monkeypatch):
    monkeypatch.setattr(expressions, "MOST", 0)
    thrice(lambda: [ln.exp(ln.sin(ln.tensor(X))).numpy()])
    assert ops(tapes[:-1]) == ["sin", "exp"]


def test_kinds_are_forgotten_when_there_is_no_room_for_more(tapes):
    found = running.EXPRESSIONS
    before = found.patterns
    thrice(lambda: [ln.exp(ln.sin(ln.tensor(X))).numpy()])
    before.count[0] = len(before.table)
    thrice(lambda: [ln.exp(ln.sin(ln.tensor(X))).numpy()])
    assert found.patterns is not before
    assert ops(tapes[:-1]) == ["fused(sin, exp)"]
    assert len(found.made) == 1


def test_asking_for_what_was_dropped_would_be_an_error(tapes):
    thrice(lambda: [ln.exp(ln.sin(ln.tensor(X))).numpy()])
    x = ln.tensor(X)
    inner = ln.sin(x)
    row = inner.id + 0  # another int of the same value
    y = ln.exp(inner)
    home, kind = inner.graph, inner.type
    del inner
    y.numpy()
    assert home.place[row] == NOWHERE
    with pytest.raises(RuntimeError, match="was dropped"):
        type(y)(home, row, kind).numpy()


def test_modules_written_op_by_op_learn_the_same(tapes):
    class Cell(nn.Module):
        automatic_cell = False

        def __init__(self):
            self.layer = nn.Linear(8, 12)

        def forward(self, x, h):
            i, f, g = ln.chunk(self.layer(ln.cat([x, h])), 3)
            return ln.sigmoid(i) * ln.tanh(g) + ln.sigmoid(f) * h

    def losses():
        ln.manual_seed(0)
        cell, found = Cell(), []
        optimizer = ln.optim.SGD(cell.parameters(), lr=0.5)
        for _ in range(4):
            total = 0.0
            for length in (1, 3, 7):
                h = ln.zeros(4)
                for k in range(length):
                    h = cell(ln.tensor(X + k), h)
                total = total + ln.sum(h * h)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            found.append(total.item())
        return found

    found = losses()
    assert any(name.startswith("fused") for tape in tapes for name in ops([tape]))
    with ln.batching("none"):
        np.testing.assert_allclose(found, losses(), rtol=1e-5)


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(5, 40), st.integers(0, 2))
def test_random_programs_that_drop_their_values_agree(seed, size, forwards):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expressions, "OFTEN", 1)
        patch.setattr(running, "LEAST_NOTED", 1)
        program = Program(seed, size, forwards)
        for _ in range(2):
            loss, gradients = program.lazy_and_dropped()
        with ln.batching("none"):
            _, wanted, wanted_gradients = program.lazy("none")
    np.testing.assert_allclose(loss, wanted, rtol=1e-9, atol=1e-9)
    for a, b in zip(gradients, wanted_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
