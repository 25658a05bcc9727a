"""Checkpoints: what is saved comes back, and a crash never costs the file that was there."""

import os
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import lazynet as ln
from lazynet import io, nn, optim

DTYPES = ["float32", "float64", "int64", "bool", "uint8"]


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert a == b or (a != a and b != b)


def states():
    shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    leaves = (
        st.sampled_from(DTYPES).flatmap(lambda dtype: arrays.arrays(dtype, shapes))
        | st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
    )
    keys = st.text() | st.integers()
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(inner, max_size=4).map(tuple)
            | st.dictionaries(keys, inner, max_size=4)
        ),
        max_leaves=12,
    )


@given(state=states())
def test_any_nest_of_arrays_and_plain_values_comes_back(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("states") / "state"
    io.save(state, path)
    same(io.load(path), state)


def test_a_model_and_its_optimizer_go_on_from_a_checkpoint(tmp_path):
    def steps(net, opt, count):
        for _ in range(count):
            loss = (net(ln.sequence(x))[-1] - 1.0).square().sum()
            opt.zero_grad()
            loss.backward()
            opt.step()

    x = np.random.standard_normal((4, 3)).astype(np.float32)
    net = nn.LSTM(3, 2)
    opt = optim.AdamW(net.parameters(), lr=0.05)
    steps(net, opt, 3)
    ln.save({"net": net.state_dict(), "opt": opt.state_dict(), "epoch": 3}, tmp_path / "c")
    steps(net, opt, 3)

    loaded = ln.load(tmp_path / "c")
    twin = nn.LSTM(3, 2)
    twin.load_state_dict(loaded["net"])
    other = optim.AdamW(twin.parameters())
    other.load_state_dict(loaded["opt"])
    assert loaded["epoch"] == 3
    steps(twin, other, 3)
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_tensors_are_saved_as_their_values(tmp_path):
    x = ln.tensor([1.0, 2.0])
    rows = ln.sequence(np.ones((3, 2)))
    io.save({"a": x * 2.0, "b": rows, "c": nn.Parameter([3.0]), "d": rows[:0]}, tmp_path / "t")
    loaded = io.load(tmp_path / "t")
    np.testing.assert_array_equal(loaded["a"], [2.0, 4.0])
    assert loaded["b"].shape == (3, 2) and loaded["d"].shape == (0, 2)
    np.testing.assert_array_equal(loaded["c"], [3.0])


def test_other_tools_find_the_arrays_under_their_names(tmp_path):
    from safetensors.numpy import load_file, save_file

    state = nn.Linear(2, 3).state_dict()
    io.save(state, tmp_path / "ours")
    same(dict(sorted(load_file(tmp_path / "ours").items())), dict(sorted(state.items())))
    save_file(state, tmp_path / "theirs")
    same(dict(sorted(io.load(tmp_path / "theirs").items())), dict(sorted(state.items())))


def test_views_are_saved_as_they_look(tmp_path):
    a = np.arange(12.0).reshape(3, 4)
    io.save({"t": a.T, "part": a[::2, 1:3]}, tmp_path / "v")
    loaded = io.load(tmp_path / "v")
    np.testing.assert_array_equal(loaded["t"], a.T)
    np.testing.assert_array_equal(loaded["part"], a[::2, 1:3])


def test_names_that_would_collide_are_kept_apart(tmp_path):
    state = {"a": {"b": np.ones(1)}, "a.b": np.zeros(1), "__metadata__": np.full(1, 2.0)}
    io.save(state, tmp_path / "n")
    same(io.load(tmp_path / "n"), state)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failing):
    path = tmp_path / "state"
    io.save({"a": np.ones(2)}, path)

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="full"):
        io.save({"a": np.zeros(2)}, path)
    monkeypatch.undo()
    np.testing.assert_array_equal(io.load(path)["a"], 1.0)
    assert os.listdir(tmp_path) == ["state"]


def test_what_cannot_be_saved_is_named_and_the_old_file_stays(tmp_path):
    path = tmp_path / "state"
    io.save({"a": 1}, path)
    with pytest.raises(TypeError, match=r"model\.net is of type Linear"):
        io.save({"model": {"net": nn.Linear(1, 1)}}, path)
    with pytest.raises(TypeError, match="key of the state is a tuple"):
        io.save({(1, 2): 1}, path)
    with pytest.raises(TypeError, match="words is an array of object"):
        io.save({"words": np.array([{}])}, path)
    assert io.load(path) == {"a": 1}


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_new_file_has_the_usual_permissions_and_an_old_one_keeps_its_own(tmp_path):
    path, plain = tmp_path / "state", tmp_path / "plain"
    plain.write_text("")
    io.save({}, path)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    path.chmod(0o600)
    io.save({}, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_missing_file_or_folder_is_told_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        io.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        io.save({}, tmp_path / "nowhere" / "state")


def test_a_broken_file_is_told_by_name_wherever_it_is_cut(tmp_path):
    path = tmp_path / "state"
    io.save({"a": np.arange(8.0), "b": 1}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="state"):
            io.load(path)


def test_a_pickle_is_refused_without_being_run(tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "trap").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="trap"):
        io.load(tmp_path / "trap")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("header", ["{", "[]", '{"state": {"array": "b"}}', '{"state": {"x": 1}}'])
def test_a_header_that_makes_no_sense_is_told_as_such(tmp_path, header):
    from safetensors.numpy import save_file

    save_file({"a": np.ones(1)}, tmp_path / "odd", {"lazynet": header})
    with pytest.raises(ValueError, match="odd"):
        io.load(tmp_path / "odd")
