"""The compiled short way of recording: the tape of the long way, and no reference gone astray."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from checks import counts_references

import lazynet as ln
from lazynet import nn, quick, recording
from lazynet.graph import MOST_LINKED
from lazynet.kernels import python
from lazynet.op import RowType
from lazynet.tensor import Sequence, Tensor


@pytest.fixture
def x():
    value = ln.tanh(ln.tensor([0.5, -1.0, 2.0]))
    value.numpy()  # from here on the short ways are compiled
    return value


def program(x, weight, bias):
    """Ops of every kind that has a short way, on values, Sequences and numbers."""
    rows = ln.sequence([x, x + x])
    y = ln.tanh(x * 2.0) + ln.linear(x, weight, bias)
    z = ln.sigmoid(rows * 0.5) - y
    (scanned,) = ln.scan(halved, (leaf,), z)
    joined = ln.cat([x, y, leaf]), ln.cat([z, rows])
    found = ln.lookup(weight, [2, 0, 1]), ln.lookup(weight, 1), ln.pick(z, [0, 2]), ln.pick(y, 1)
    found += ln.lookup(weight, np.array([2, 0])), ln.lookup(weight, np.int32(2))
    found += ln.pick(z, np.array([2, 0], np.uint8)), ln.pick(y, np.int64(0))
    rest = ln.log_softmax(z), ln.sum(z, 0), ln.sum([x, y]), ln.stack([y, x, y]), ln.sum(z, 1)
    rest += *ln.chunk(y, 3), y[1], y[1:], ln.nn.functional.scaled_dot_product_attention(y, z, z)
    rest += 1.0 - x, 2 - rows, rows / 3, 3 / x, x * -2, 0.5**rows, x > 0, 0.0 - rows, x * -0.0
    rest += ln.where(x > 0, x, y), ln.where(rows <= 0, rows, y)
    rest += ln.leaky_relu(x, 0.2), ln.elu(rows, 2.0)
    rest += ln.where(x > 0, x, 0.5), ln.where(rows <= 0, 2, rows), ln.clamp(x, -1, 1.5)
    rest += x * bias, bias - rows, leaf / bias, bias**leaf, x @ weight, weight @ x, rows @ weight
    rest += ln.dot(x, y), ln.dot(z, rows), ln.softmax(z), ln.softmax(x), x.max(), z.max(), z.max(-1)
    rest += x.sum(), z.sum(), x.sum(0, keepdim=True), z.sum(keepdim=True), z.sum(dim=1)
    rest += x.mean(), z.mean(), z.mean(1), x.mean(-1, keepdim=True), ln.sum(x[0]), ln.max(x[1])
    many, total = ln.sequence([x, y, x, y]), ln.fold(with_those_below, z, PAIR)
    rest += many[[0, 2, 3]], many[::-1][[0, 1, 3]], many[[3, 1]], many[[2]], leaf_rows[[0, 2]] * 2.0
    rest += total, *ln.fold(two_states, many[:3] * 2.0, THREE)
    rest += ln.tanh(leaf), leaf * leaf, leaf * 2.0, leaf[1], ln.linear(leaf, weight, bias)
    return ln.linear(z + rows, weight), y / (x - 3.0), x + leaf, scanned, *joined, *found, *rest


def halved(x, states):
    return (states[0] * 0.5 + x,)


def with_those_below(x, below):
    return ln.tanh(x + ln.sum(below)) if below else x


def two_states(x, below):
    h, c = below[0] if below else (x, x * 2.0)
    return ln.tanh(h + x), h * c


PAIR = ln.Structure([(), (0,)])
THREE = ln.Structure([(), (0,), (1,)])
leaf, leaf_rows = ln.tensor([3.0, 4.0, 5.0]), ln.sequence([[1.0], [2.0], [3.0]])


def tape_of(x, weight, bias):
    graph = x.graph
    before, first = len(graph.tape), graph.values
    made = program(x, weight, bias)
    written = np.frombuffer(bytes(graph.tape[before:]), np.int32)
    return written, first, made


def test_the_short_way_writes_what_the_long_way_writes(x, monkeypatch):
    weight, bias = ln.Parameter(np.eye(3, dtype="float32")), ln.Parameter(np.ones(3, "float32"))
    tape_of(x, weight, bias)  # signatures and numbers are met
    ln.forward()
    short, first, values = tape_of(x, weight, bias)
    ln.forward()
    monkeypatch.setattr(quick.Short, "record", lambda *_: None)
    long, later, others = tape_of(x, weight, bias)
    # The same words; numbers of rows that the program made itself come as much later as it does.
    assert len(short) > 20 and set((long - short).tolist()) == {0, later - first}
    assert [y.id - first for y in values] == [y.id - later for y in others]
    assert [(y.type, y.shape) for y in values] == [(y.type, y.shape) for y in others]
    for value, other in zip(values, others, strict=True):
        np.testing.assert_array_equal(value.numpy(), other.numpy())


def test_ops_that_were_met_take_the_short_way(x, monkeypatch):
    weight, bias = ln.Parameter(np.eye(3, dtype="float32")), ln.Parameter(np.zeros(3, "float32"))
    program(x, weight, bias)
    rows = ln.sequence([x, x])

    def refuse(*_, **__):
        raise AssertionError("the long way")

    for module in ["activations", "elementwise", "functions", "linear", "reduce", "ways"]:
        monkeypatch.setattr(f"lazynet.ops.{module}.record", refuse)
    assert isinstance(ln.tanh(x), Tensor) and isinstance(x + x, Tensor)
    assert isinstance(x * 2.0, Tensor) and isinstance(x * -2, Tensor)
    assert isinstance(1.0 - x, Tensor) and isinstance(3 / x, Tensor)
    assert isinstance(ln.where(x > 0, x, x + x), Tensor)
    assert isinstance(ln.leaky_relu(x, 0.2), Tensor)
    assert all(isinstance(y, Tensor) for y in (x * bias, bias - x, x @ weight, weight @ x))
    assert all(isinstance(y, Tensor) for y in (ln.softmax(x), ln.dot(x, x), ln.clamp(x, 0, 1)))
    assert all(isinstance(y, Tensor) for y in (x.sum(), rows.sum(), rows.mean(), rows.max()))
    assert isinstance(rows * bias, Sequence) and isinstance(ln.where(rows > 0, rows, 0.0), Sequence)
    assert isinstance(ln.tanh(leaf), Tensor)  # which no graph has met
    assert isinstance(x * ln.tensor([1.0, 2.0, 3.0]), Tensor)
    assert isinstance(x * 2.125, Tensor) and isinstance(7 - rows, Sequence)  # nor these numbers
    with pytest.raises(AssertionError, match="the long way"):
        ln.cos(x)


def test_structures_and_rows_by_number_that_were_met_take_the_short_way(x, monkeypatch):
    def fold_and_choose(values):
        rows = ln.sequence(values)
        return [ln.fold(with_those_below, rows, THREE), rows[[0, 2]], rows[[1, 2, 0]]]

    expected = [y.tolist() for y in fold_and_choose([x, x * 2.0, x])]
    rows = ln.sequence([x, x * 2.0, x])

    def refuse(*_, **__):
        raise AssertionError("the long way")

    monkeypatch.setattr("lazynet.ops.rows._gather", refuse)
    monkeypatch.setattr(sys.modules["lazynet.fold"]._Plan, "_at_length", refuse)
    made = ln.fold(with_those_below, rows, THREE), rows[[0, 2]], rows[[1, 2, 0]]
    assert [y.tolist() for y in made] == expected
    for index in ([0, 3], [-1], [], [True, False, True], [0.5]):
        with pytest.raises(AssertionError, match="the long way"):
            rows[index]


def test_numbers_that_were_met_keep_their_place_their_sign_and_their_class(x):
    whole = ln.relu(ln.tensor([1, -2, 3]))
    for _ in range(3):
        np.testing.assert_allclose((2 - x).numpy(), 2 - x.numpy(), rtol=1e-6)
        np.testing.assert_allclose((x - 2).numpy(), x.numpy() - 2, rtol=1e-6)
        assert (whole * 2).dtype == "int64" and (whole * 2).tolist() == [2, 0, 6]
        assert (whole * 2.0).dtype == "float32" and (2.5 * whole).tolist() == [2.5, 0.0, 7.5]
        assert (1 / (x * 0)).tolist() == [np.inf, -np.inf, np.inf]
        assert (1.0 / (ln.abs(x) * 0.0)).tolist() == [np.inf] * 3
        assert (1.0 / (ln.abs(x) * -0.0)).tolist() == [-np.inf] * 3
        assert (1.0 / ln.abs(x * 0.0)).tolist() == [np.inf] * 3
        assert (ln.abs(x) * -0.0 == 0).all() and np.signbit((ln.abs(x) * -0.0).numpy()).all()


def test_references_are_counted(x):
    weight = ln.Parameter(np.eye(3, dtype="float32"))
    rows, bias = ln.sequence([x, x]), ln.Parameter(np.ones(3, "float32"))
    number = float("2.25")

    def work():
        for _ in range(50):
            ln.tanh(x), x + x, x * number, ln.tanh(rows), rows + x, ln.linear(rows, weight)
            program(x, weight, bias)

    work()
    things = [x.graph, x.type, x, rows, weight, weight.graph, number, leaf, leaf.graph,
              None, 1, Tensor, Sequence]  # fmt: skip
    counts_references(work, things)


def test_numbers_of_rows_are_ints_of_their_own(x):
    made = [x + x for _ in range(3000)]
    assert [y.id - made[0].id for y in made] == list(range(3000))
    assert made[-1].graph.values == made[-1].id + 1
    assert np.asarray(made[2999]).tolist() == (2 * x.numpy()).tolist()


def test_what_the_short_way_does_not_know_goes_the_long_way(x):
    leaf, other = ln.tensor([1.0, 2.0, 3.0]), ln.tensor([1.0, 2.0])
    np.testing.assert_allclose((leaf + leaf).numpy(), [2, 4, 6])
    np.testing.assert_allclose((x * True).numpy(), x.numpy())
    np.testing.assert_allclose((x + np.float32(1)).numpy(), x.numpy() + 1, rtol=1e-6)
    np.testing.assert_allclose((x * 0.0 + -0.0).numpy(), [0, 0, 0])
    with pytest.raises(ln.ShapeError):
        x + other
    with pytest.raises(ln.ShapeError):
        ln.sequence([x]) + ln.sequence([x, x])
    with pytest.raises(TypeError):
        ln.tanh("text")


def test_rows_of_length_0_and_1(x):
    rows = ln.sequence([x, x])
    ln.tanh(rows)
    for n in (0, 1, 2):
        assert ln.tanh(rows[:n]).shape == (n, 3)
        assert (rows[:n] + rows[:n]).numpy().shape == (n, 3)


def test_a_pending_value_of_another_thread_is_refused(x):
    pending = x + x
    found: list[BaseException] = []

    def work():
        try:
            pending + pending
        except RuntimeError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "another thread" in str(found[0])
    assert pending.numpy().tolist() == (2 * x.numpy()).tolist()


def test_slots_are_found_by_trying():
    class Thing:
        __slots__ = ("a", "b", "c")

    offsets = [python.slot_offset(Thing, name) for name in "abc"]
    assert len(set(offsets)) == 3 and min(offsets) >= 16
    assert python.slot_offset(RowType, "dtype") != python.slot_offset(RowType, "shape")
    with pytest.raises(AttributeError):
        python.slot_offset(Thing, "d")


def test_without_cpythons_layout_there_is_no_short_way(monkeypatch):
    monkeypatch.setattr(python, "available", lambda: False)
    short = quick.Short(quick.record_values, {})
    assert short.record(ln.zeros(3)) is None


_WITHOUT_LOCK = """
import sys
sys._is_gil_enabled = lambda: False
import lazynet as ln
from lazynet.kernels import python
weight = ln.Parameter([[1.0, 2.0], [3.0, 4.0]])
for _ in range(3):
    x = ln.tensor([0.5, -1.0])
    for _ in range(150):
        x = ln.tanh(weight @ x * 0.5) + 0.1
    ln.sum(x).backward()
print(*python.LAYOUT.split()[1:])
print(x.tolist(), weight.grad.tolist())
"""


def test_a_python_without_its_lock_takes_the_long_way():
    def told(program):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    layout, found = told(_WITHOUT_LOCK)
    usual_layout, expected = told(_WITHOUT_LOCK.replace("lambda: False", "lambda: True"))
    assert set(layout.split()) == {"0"} != set(usual_layout.split())
    assert found == expected


def test_importing_compiles_nothing(tmp_path):
    code = "import lazynet; from lazynet import quick; print(len(quick._waiting))"
    environment = {**os.environ, "LAZYNET_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 10 and not (tmp_path / "cache").exists()


def test_short_ways_whose_compiling_is_interrupted_are_compiled_later():
    class Shaky:
        tries = 0

        def compile(self):
            self.tries += 1
            if self.tries == 1:
                raise KeyboardInterrupt

    shaky = Shaky()
    for _ in range(2):  # the second of which compiles all others
        (ln.ones(2) + 1.0).numpy()
    quick._waiting.append(shaky)
    recording.after_first_forward.append(quick._compile_waiting)
    with pytest.raises(KeyboardInterrupt):
        (ln.ones(3) + 1.0).numpy()
    assert (ln.ones(3) + 1.0).tolist() == [2.0] * 3
    assert shaky.tries == 2 and not quick._waiting and not recording.after_first_forward


def test_expressions_of_parameters_are_recorded_once_also_when_their_ops_were_met():
    weight = ln.Parameter(np.eye(3, dtype="float32"))

    def many():
        return [ln.tanh(ln.tanh(weight * 2.0) * 3.0) + weight for _ in range(10)]

    for _ in range(3):
        made = many()
        assert len({y.id for y in made}) == 1
        made[0].sum().backward()


@pytest.mark.parametrize("count", [5, 3000])  # linked as a whole, and row by row
def test_rows_of_a_leaf_in_any_order(count):
    values = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    matrix = ln.tensor(values, requires_grad=True)
    rows = ln.sequence(matrix)
    total = ln.sum(rows[3] * rows[0]) + ln.sum(rows[count - 1] * rows[3])
    total = total + ln.sum(ln.sum(rows[::-2] * 2.0)) + ln.sum(matrix[1] * rows[1:4][0])
    total = total + ln.sum(rows[3][1:] * rows[0][1:])
    total.backward()
    wanted = np.zeros_like(values)
    wanted[::-2] += 2.0
    wanted[1] += 2.0 * values[1]
    wanted[3] += values[0] + values[-1]
    wanted[0] += values[3]
    wanted[-1] += values[3]
    wanted[3][1:] += values[0][1:]
    wanted[0][1:] += values[3][1:]
    np.testing.assert_allclose(matrix.grad.numpy(), wanted, rtol=1e-6)


def test_leaves_alone_are_recorded_where_the_thread_records():
    x = ln.tensor([1.0, 2.0])
    for _ in range(2):
        y = ln.tanh(x) + 1.0
        ln.forward()
    traced = ln.cell(lambda row: ln.tanh(row) + ln.tanh(x))(y)  # its ops are in the trace
    assert traced.graph is y.graph and traced.tolist() == (ln.tanh(y) + ln.tanh(x)).tolist()
    owners = []
    other = threading.Thread(target=lambda: owners.append(ln.tanh(x).graph.owner))
    other.start()
    other.join()
    assert owners == [other.ident]
    del y  # the graph dies: what was recorded last is nothing
    np.testing.assert_allclose(ln.tanh(x).numpy(), np.tanh([1.0, 2.0]), rtol=1e-6)


def test_a_graph_that_only_garbage_holds_lives_while_it_is_recorded_into():
    x, y = ln.tensor([1.0, 2.0]), ln.tensor([3.0, 4.0])
    cell = ln.cell(lambda a, b: (ln.tanh(a), a * b))
    for _ in range(3):
        cell(x, y)
        ln.forward()
    before = gc.get_threshold()
    try:
        gc.set_threshold(1)  # nearly every new object sets the collector to work
        for _ in range(300):
            garbage = [ln.tanh(x)]
            garbage.append(garbage)
            del garbage
            a, b = cell(x, y)
            np.testing.assert_array_equal(b.numpy(), [3.0, 8.0])
            np.testing.assert_allclose(a.numpy(), np.tanh([1.0, 2.0]), rtol=1e-6)
            del a, b
    finally:
        gc.set_threshold(*before)


def test_rows_of_a_leaf_are_linked_once():
    rows = ln.sequence(np.ones((40, 3), np.float32))
    cell = nn.GRUCell(3, 3)
    state = cell(rows[0], ln.zeros(3))
    before = state.graph.values
    for x in rows[1:]:
        state = cell(x, state)
    assert state.graph.values == before + 39
    assert len(state.graph.links) <= 3
    again = cell(rows[7], rows[9])  # leaves alone
    assert again.graph is state.graph
    assert again.graph.values == before + 40
    np.testing.assert_allclose(again.numpy(), cell(ln.ones(3), ln.ones(3)).numpy(), rtol=1e-6)


def test_a_leaf_of_many_rows_is_linked_as_a_whole_when_several_were_used():
    values = np.arange(2 * 3 * MOST_LINKED, dtype=np.float32).reshape(-1, 2)
    rows = ln.sequence(values)
    made = [ln.tanh(rows[k] * 1e-3) for k in range(0, 3000, 7)]
    links = len(made[0].graph.links)
    assert links <= 3 + 2  # two rows, all of them, and two numbers
    found = np.stack([x.numpy() for x in made])
    np.testing.assert_allclose(found, np.tanh(values[:3000:7] * 1e-3), rtol=1e-6)


def test_cells_over_sequences_take_the_short_way(x, monkeypatch):
    @ln.cell
    def both(rows, y, scale):
        return rows * y * scale, rows + y

    rows, other = ln.sequence([x, x * 2.0]), ln.sequence([x] * 5)
    expected = [[made.numpy() for made in both(each, x, 2.0)] for each in (rows, other)]
    monkeypatch.setattr(type(both), "_record", None)
    for each, wanted in zip((rows, other[::-1][::-1]), expected, strict=True):
        made = both(each, x, 2.0)
        assert [m.__class__ for m in made] == [Sequence, Sequence] and len(made[0]) == len(each)
        for got, want in zip(made, wanted, strict=True):
            np.testing.assert_array_equal(got.numpy(), want)
    monkeypatch.undo()
    with pytest.raises(ln.ShapeError, match="Sequences of 2 and 5 rows"):
        both(rows, other, 2.0)
    assert both(x, x, 2.0)[0].__class__ is Tensor
    assert [m.shape for m in both(ln.zeros(3, length=0), x, 2.0)] == [(0, 3), (0, 3)]


@pytest.mark.parametrize("exponent", [-1, -2])
def test_an_integer_to_a_negative_power_is_refused_after_others_were_met(exponent):
    x = ln.tensor([1, 2, 3])
    for _ in range(2):
        assert (x * 2 * exponent).tolist() == [2 * exponent, 4 * exponent, 6 * exponent]
        assert ((x * 2) ** 3).tolist() == [8, 64, 216]
        with pytest.raises(ValueError, match="is none; give floats"):
            (x * 2) ** exponent
