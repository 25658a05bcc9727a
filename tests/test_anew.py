"""Functions made anew where they are used: traced once, right when what they close over changes."""

import copy
import gc
import pickle
import warnings
import weakref

import numpy as np
import pytest

import lazynet as ln
from lazynet import anew, nn
from lazynet.op import TABLE


def rows(count, dim=3, seed=0):
    return ln.sequence(np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32))


def run(x, scale):
    """What the steps below compute, in numpy."""
    state, found = np.zeros(x.shape[1], np.float32), []
    for row in x:
        state = state * np.float32(scale) + row
        found.append(state)
    return np.stack(found)


def signatures():
    return len(TABLE.signatures)


class Layer(nn.Module):
    def __init__(self):
        self.cell = nn.GRUCell(3, 3)
        self.scale = 0.5

    def forward(self, x):
        def step(row, state):
            return (self.cell(row, state[0]) * self.scale,)

        return ln.scan(step, (ln.zeros(3),), x)[0]

    def named(self, x):
        return ln.scan(self._step, (ln.zeros(3),), x)[0]

    def _step(self, row, state):
        return (self.cell(row, state[0]) * self.scale,)


def test_a_step_inside_a_forward_is_traced_once():
    layer = Layer()
    layer(rows(2)).numpy()
    before = signatures()
    many = [layer(rows(n, seed=n)) for n in (1, 5, 0, 3)]
    assert signatures() == before
    got = ln.cat([ln.sum(y, 0) for y in many]).numpy()
    wanted = [layer.named(rows(n, seed=n)).numpy().sum(0) for n in (1, 5, 0, 3)]
    np.testing.assert_allclose(got, np.concatenate(wanted), atol=1e-6)


def test_it_is_traced_anew_when_what_it_reads_has_changed():
    layer = Layer()
    x = rows(4)
    first = layer(x).numpy()
    layer.scale = 0.25
    np.testing.assert_array_equal(layer(x).numpy(), layer.named(x).numpy())
    layer.scale = 0.5
    np.testing.assert_array_equal(layer(x).numpy(), first)


def decay(x, scale):
    return ln.scan(lambda row, state: (state[0] * scale + row,), (ln.zeros(3),), x)[0]


def test_numbers_that_it_closes_over_are_part_of_it():
    x = rows(4)
    for scale in (0.5, 0.25, 0.5, 1, 1.0, 0.0, -0.0, True):
        np.testing.assert_allclose(decay(x, scale).numpy(), run(x.numpy(), scale), rtol=1e-6)


def test_a_variable_that_is_assigned_later_is_seen():
    def make(scale):
        def step(row, state):
            return (state[0] * scale + row,)

        def assign(value):
            nonlocal scale
            scale = value

        return step, assign

    x, zero = rows(4), (ln.zeros(3),)
    (one, assign_one), (two, assign_two) = make(0.5), make(0.5)

    def check(step, scale):
        np.testing.assert_allclose(
            ln.scan(step, zero, x)[0].numpy(), run(x.numpy(), scale), rtol=1e-6
        )

    check(one, 0.5)
    check(two, 0.5)
    assign_two(0.25)
    check(two, 0.25)
    check(one, 0.5)
    assign_one(2.0)
    check(two, 0.25)
    check(one, 2.0)
    assign_two(2.0)
    check(two, 2.0)
    check(make(0.5)[0], 0.5)
    check(make(2.0)[0], 2.0)


def test_functions_inside_of_it_are_part_of_it():
    def program(x, scale):
        def gate(y):
            return y * scale

        def step(row, state):
            return (gate(state[0]) + row,)

        return ln.scan(step, (ln.zeros(3),), x)[0].numpy()

    x = rows(5)
    program(x, 0.5)
    before = signatures()
    np.testing.assert_allclose(program(x, 0.5), run(x.numpy(), 0.5), rtol=1e-6)
    assert signatures() == before
    np.testing.assert_allclose(program(x, 0.75), run(x.numpy(), 0.75), rtol=1e-6)


class Settings:
    factor = 0.5


@pytest.mark.parametrize("kind", ["object", "list", "array", "default", "global", "class"])
def test_what_it_reads_is_watched(kind):
    settings, listed, array = Settings(), [0.5], np.array([0.5], np.float32)

    def program(x, factor):
        class Own:
            scale = factor

        steps = {
            "object": lambda row, state: (state[0] * settings.factor + row,),
            "list": lambda row, state: (state[0] * listed[0] + row,),
            "array": lambda row, state: (state[0] * float(array[0]) + row,),
            "default": lambda row, state, f=factor: (state[0] * f + row,),
            "global": lambda row, state: (state[0] * Settings.factor + row,),
            "class": lambda row, state: (state[0] * Own.scale + row,),
        }
        return ln.scan(steps[kind], (ln.zeros(3),), x)[0].numpy()

    def change(factor):
        settings.factor = listed[0] = array[0] = Settings.factor = factor

    x = rows(4)
    try:
        for factor in (0.5, 0.25, 0.5, 2.0):
            change(factor)
            for _ in range(2):
                np.testing.assert_allclose(program(x, factor), run(x.numpy(), factor), rtol=1e-6)
    finally:
        Settings.factor = 0.5


def test_a_computed_value_that_it_closes_over_is_refused_and_not_held():
    def program(x):
        y = ln.tanh(x[0])
        gone.append(weakref.ref(y))
        with pytest.raises(TypeError, match="argument"):
            ln.scan(lambda row, state: (state[0] * y + row,), (ln.zeros(3),), x)

    gone: list = []
    for _ in range(3):
        program(rows(3))
    gc.collect()
    assert [each() for each in gone] == [None] * 3


def test_a_function_that_names_itself_is_known_again():
    def program(x):
        def twice(y, times):
            return y if times == 0 else twice(y * 0.5, times - 1)

        return ln.scan(lambda row, state: (twice(state[0], 2) + row,), (ln.zeros(3),), x)[0].numpy()

    x = rows(3)
    program(x)
    before = signatures()
    np.testing.assert_allclose(program(x), run(x.numpy(), 0.25), rtol=1e-6)
    assert signatures() == before


def test_a_cell_inside_a_function_is_traced_once():
    def program(x, scale):
        @ln.cell
        def double(y):
            return (y * scale + 1.0).tanh()

        made = [double(double(y)) for y in x]
        return np.array([y.numpy() for y in made]), double.explain()

    x = rows(3)
    program(x, 2.0)
    before = signatures()
    got, told = program(x, 2.0)
    assert signatures() == before and "tanh" in told
    wanted = np.tanh(np.tanh(x.numpy() * 2 + 1) * 2 + 1)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    wanted = np.tanh(np.tanh(x.numpy() * 3 + 1) * 3 + 1)
    np.testing.assert_allclose(program(x, 3.0)[0], wanted, rtol=1e-5)


def test_a_cell_of_a_method_made_in_a_loop_is_traced_once():
    def program(x, layer):
        step = ln.cell(layer.cell.forward)
        state = ln.zeros(3)
        for row in x:
            state = step(row, state)
        return state.numpy()

    layer = Layer()
    first = program(rows(3), layer)
    before = signatures()
    np.testing.assert_array_equal(program(rows(3), layer), first)
    assert signatures() == before
    gone = weakref.ref(layer.cell)
    del layer
    gc.collect()
    assert gone() is None


def test_a_cell_sees_a_variable_that_is_assigned_between_two_calls():
    def program(x):
        scale = 2.0

        @ln.cell
        def times(y):
            return y * scale

        found = [times(x).numpy(), times(x).numpy()]
        scale = 3.0
        return [*found, times(x).numpy(), times(x).numpy()]

    x = ln.tensor(np.ones(2, np.float32))
    for _ in range(3):
        assert [y[0] for y in program(x)] == [2, 2, 3, 3]


def test_a_fold_inside_a_function_is_traced_once():
    tree = [(), (), (0, 1)]

    def program(x, scale):
        def join(row, below):
            return row + sum(below) * scale

        return ln.fold(join, x, tree).numpy()

    x = rows(3)
    program(x, 2.0)
    before = signatures()
    np.testing.assert_allclose(
        program(x, 2.0)[2], x.numpy()[2] + 2 * x.numpy()[:2].sum(0), rtol=1e-5
    )
    assert signatures() == before
    np.testing.assert_allclose(
        program(x, 3.0)[2], x.numpy()[2] + 3 * x.numpy()[:2].sum(0), rtol=1e-5
    )


def test_the_model_that_it_closes_over_is_let_go():
    def program(x, weight):
        return ln.scan(
            lambda row, state: (ln.tanh(ln.linear(row + state[0], weight)),), (ln.zeros(3),), x
        )[0]

    def folded(x, cell):
        return ln.fold(lambda row, below: cell(row, row + sum(below)), x, [(), (), (0, 1)])

    layer, weight = Layer(), ln.Parameter(np.eye(3, dtype=np.float32))
    for made in (layer(rows(3)), folded(rows(3), layer.cell), program(rows(3), weight)):
        made.numpy()
    del made
    gone = [weakref.ref(layer), weakref.ref(layer.cell), weakref.ref(weight)]
    del layer, weight
    gc.collect()
    assert [each() for each in gone] == [None] * 3


def test_copies_and_files_of_a_model_hold_nothing_of_it():
    layer = Layer()
    layer(rows(3)).numpy()
    names = [name for name, _ in layer.named_parameters()]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), copy.copy(layer)):
        assert "_made_anew" not in vars(other)
        assert [name for name, _ in other.named_parameters()] == names
        np.testing.assert_array_equal(other(rows(2)).numpy(), layer(rows(2)).numpy())
    assert list(layer.state_dict()) == names


class WithStateOfItsOwn(Layer):
    def __getstate__(self):
        return dict(self.__dict__)


def test_models_that_say_what_is_copied_can_be_copied():
    layer = WithStateOfItsOwn()
    layer(rows(3)).numpy()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert not other.made_anew
        np.testing.assert_array_equal(other(rows(2)).numpy(), layer(rows(2)).numpy())


def test_a_step_over_a_list_of_layers_is_traced_once():
    def program(x, layers):
        def step(row, state):
            for layer in layers:
                row = ln.tanh(layer(row + state[0]))
            return (row,)

        return ln.scan(step, (ln.zeros(3),), x)[0].numpy()

    layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    first = program(rows(3), layers)
    before = signatures()
    np.testing.assert_array_equal(program(rows(3), layers), first)
    assert signatures() == before and len(list(layers.parameters())) == 4
    gone = weakref.ref(layers)
    del layers
    gc.collect()
    assert gone() is None


def test_a_copied_model_has_steps_of_its_own():
    layer = Layer()
    layer(rows(3)).numpy()
    other = copy.deepcopy(layer)
    other.cell.weight_hh.copy_(np.zeros((9, 3)))
    np.testing.assert_array_equal(other(rows(3)).numpy(), other.named(rows(3)).numpy())
    assert not np.array_equal(other(rows(3)).numpy(), layer(rows(3)).numpy())


def test_what_is_another_one_each_time_is_warned_of_once():
    x = rows(2)
    with pytest.warns(
        ln.PerformanceHint, match=r"<lambda> .*test_anew.py:\d+\) .*'scale', which"
    ) as all_:
        for k in range(200):
            decay(x, 1.0 + k)
    (only,) = [w for w in all_ if "anew" in str(w.message)]
    assert only.filename == __file__


def test_layers_of_a_deep_model_are_not_warned_of():
    layers = [Layer() for _ in range(12)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            for layer in layers:
                layer(rows(2)).numpy()


def test_many_that_come_once_are_let_go():
    x = rows(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(100):
            decay(x, 3.0 + k)
    assert len(anew._elsewhere) <= 64
    np.testing.assert_allclose(decay(x, 3.0).numpy(), run(x.numpy(), 3.0), rtol=1e-6)


def test_methods_and_functions_share_a_place_of_limited_size():
    layer = Layer()
    step = ln.cell(layer._step)
    step(ln.zeros(3), (ln.zeros(3),))[0].numpy()
    with pytest.warns(ln.PerformanceHint, match="a default, which"):
        for k in range(100):

            def other(row, state, by=float(k)):
                return (layer.cell(row, state[0]) * by,)

            ln.scan(other, (ln.zeros(3),), rows(1))
    assert len(layer.made_anew) <= 64
    again = ln.cell(layer._step)(ln.zeros(3), (ln.zeros(3),))[0]
    np.testing.assert_array_equal(again.numpy(), layer.named(ln.zeros(3, length=1))[0].numpy())
