"""What Python, numpy and other libraries may do with a value, and which of it runs something."""

import math

import numpy as np
import pytest

import lazynet as ln


def vector():
    """A pending value."""
    return ln.tensor([1.0, 2.0, 3.0]) * 2.0


def rows(n=2):
    """Pending rows."""
    return ln.sequence(np.arange(3.0 * n).reshape(n, 3)) * 2.0


def test_repr_and_str_and_plain_formats_run_nothing():
    for x, shown in (
        (vector(), "Tensor(shape=(3,), dtype=float32, pending)"),
        (rows(), "Sequence(shape=(2, 3), dtype=float64, pending)"),
    ):
        assert (repr(x), str(x), f"{x}", f"{x!r}") == (shown,) * 4
        assert x.pending


def test_repr_shows_the_values_that_are_there():
    x, s = vector(), rows()
    ln.forward()
    assert repr(x) == "Tensor([2., 4., 6.], dtype=float32)"
    assert repr(s[0]) == "Tensor([0., 2., 4.], dtype=float64)"
    assert repr(s[1:]) == "Sequence([[ 6.,  8., 10.]], dtype=float64)"
    assert repr(ln.Parameter([1.0])) == "Parameter containing:\nParameter([1.], dtype=float32)"


def test_repr_tells_the_shape_where_the_numbers_do_not():
    assert repr(ln.sequence(np.ones((0, 2)))) == "Sequence([], shape=(0, 2), dtype=float64)"
    shown = repr(ln.tensor(np.zeros(1000, np.float32)))
    assert shown == "Tensor([0., 0., 0., ..., 0., 0., 0.], shape=(1000,), dtype=float32)"


def test_a_number_is_formatted_as_one():
    x = vector()
    assert f"{x[1]:.3f} {x[0]:5.1f} {x.sum():g}" == "4.000   2.0 12"
    assert f"{ln.tensor(7):03d}" == "007"


def test_one_element_is_a_number():
    x = vector()[0]
    assert (float(x), int(x), bool(x), complex(x)) == (2.0, 2, True, 2 + 0j)
    assert math.sqrt(x * 8.0) == 4.0
    assert ["a", "b", "c"][ln.tensor(1) + 1] == "c" and list(range(ln.tensor(2))) == [0, 1]


def test_numpy_reads_values():
    np.testing.assert_array_equal(np.asarray(vector()), np.float32([2, 4, 6]))
    np.testing.assert_array_equal(np.array(rows()), [[0, 2, 4], [6, 8, 10]])
    assert np.asarray(vector(), "float64").dtype == "float64"
    np.testing.assert_array_equal(np.stack([vector(), vector()]), [[2, 4, 6]] * 2)
    np.testing.assert_array_equal(np.maximum(vector(), 3.0), [3, 4, 6])
    with pytest.raises(ValueError, match="always copied"):
        np.array(vector(), copy=False)


def test_arrays_are_operands_from_both_sides():
    array = np.float32([1, 2, 3])
    for y in (array + vector(), vector() + array, array * (vector() / 2.0) + array * array):
        assert isinstance(y, ln.Tensor) and y.pending
    assert (array @ vector()).item() == (vector() @ array).item() == 28.0
    assert (array < vector()).tolist() == [True] * 3


def test_values_go_out_and_come_in_by_dlpack():
    for x in (vector(), rows(), ln.Parameter([1.0, 2.0])):
        assert x.__dlpack_device__() == (1, 0)
        array = np.from_dlpack(x)
        np.testing.assert_array_equal(array, x.numpy())
        assert array.dtype == x.dtype

    class Foreign:
        """An array of another library: nothing but the protocol."""

        def __init__(self, array):
            self.__dlpack__, self.__dlpack_device__ = array.__dlpack__, array.__dlpack_device__

        __dlpack__ = __dlpack_device__ = None

    array = np.float64([1, 2])
    x = ln.tensor(Foreign(array))
    array[0] = 7
    assert (x.tolist(), x.dtype) == ([1.0, 2.0], "float64")


def test_torch_reads_values_and_is_read():
    torch = pytest.importorskip("torch")
    assert torch.from_dlpack(vector()).tolist() == torch.tensor(vector()).tolist() == [2, 4, 6]
    shared = torch.from_dlpack(vector())
    shared += 1.0  # memory of its own
    assert vector().tolist() == [2.0, 4.0, 6.0]
    assert ln.tensor(torch.ones(2).double()).dtype == "float64"
    assert ln.sequence(torch.ones(3, 2)).shape == (3, 2)
    for call in (lambda: vector() + torch.ones(3), lambda: torch.ones(3) + vector()):
        with pytest.raises(TypeError, match=r"^add: .* a torch\.Tensor; ln\.tensor\(x\) makes a"):
            call()


def test_loops_lengths_and_tests_for_membership():
    x, s = vector(), rows(3)
    assert (len(x), len(s), len(s[1:]), len(s[:0])) == (3, 3, 2, 0)
    assert [type(r) for r in s] == [ln.Tensor] * 3 and x.pending and s.pending
    assert [r.item() for r in x] == [2.0, 4.0, 6.0]
    assert 4.0 in x and 5.0 not in x
    first, *_, last = s
    assert (last - first).tolist() == [12.0] * 3
    assert (+x).tolist() == x.tolist() and (-x).tolist() == [-2.0, -4.0, -6.0]
    assert sum([x, x]).tolist() == [4.0, 8.0, 12.0]


def test_numbers_are_summed_and_averaged_as_values_are():
    assert (ln.sum([1.0, 2.0]).item(), ln.mean([1.0, 2.0]).item()) == (3.0, 1.5)
    assert ln.sum([1.0, vector()]).tolist() == [3.0, 5.0, 7.0]


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i8", ">i2"])
def test_arrays_of_another_byte_order_hold_the_same_numbers(dtype):
    array = np.array([[1, 2], [3, 4]], dtype)
    native = array.astype(array.dtype.newbyteorder("="))
    assert ln.tensor(array).tolist() == ln.tensor(native).tolist()
    assert ln.sequence(array).tolist() == native.tolist()
    assert (ln.tensor(native) + array).tolist() == (2 * native).tolist()
    if array.dtype.kind == "f":
        assert ln.Parameter(array).tolist() == native.tolist()
        assert ln.tensor([[1, 2], [3, 4]], dtype=dtype).tolist() == native.tolist()
