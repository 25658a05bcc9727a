"""Handles: `Tensor`, one row, and `Sequence`, n rows. They name values and hold nothing else.

Operators and methods such as `x + y` or `x.sum()` are attached by the ops; `methods.py` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lazynet import unknown
from lazynet.arrays import array_of, dtype_of
from lazynet.debugging import warn
from lazynet.device import CPU, Device, DeviceError, device_of
from lazynet.elsewhere import OF_SEQUENCES, OF_VALUES
from lazynet.leaf import STATICS, Leaf, leaf_of
from lazynet.methods import Methods
from lazynet.op import RowType, row_type
from lazynet.reading import MOVING, read_number, read_row, read_rows
from lazynet.recording import pending_graph

FLOATS = ("float32", "float64")
_SHOWN = 50  # elements that `repr` shows; of more it shows the first and last


class Value(Methods):
    """What Tensor and Sequence share: a graph (or a leaf), a first row, and the rows' type."""

    __slots__ = ("graph", "id", "type")
    _assigned = "build a new value with ln.where, ln.cat or ln.stack"
    graph: Any
    id: int
    type: RowType

    if TYPE_CHECKING:  # of Tensor and Sequence each

        def numpy(self) -> np.ndarray: ...

        def _content(self) -> np.ndarray: ...

        @property
        def shape(self) -> tuple[int, ...]: ...

    else:  # a type checker would take any name for one that is there

        def __getattr__(self, name: str):
            if hasattr(type(self), name):  # a property failed: once more, for its own error
                return object.__getattribute__(self, name)
            kind = type(self).__name__
            of_rows = isinstance(self, Sequence)
            table = OF_SEQUENCES if of_rows else OF_VALUES
            raise unknown.missing(self, f"{kind!r} object", name, table)

    @property
    def dtype(self) -> np.dtype:
        """The numpy dtype of the elements."""
        return np.dtype(self.type.dtype)

    @property
    def requires_grad(self) -> bool:
        """Whether a leaf that wants a gradient lies behind this value. Runs what is pending."""
        if isinstance(self.graph, Leaf):
            if _may_change(self.graph):
                _ask("requires_grad")
            return self.graph.requires_grad
        self.graph.ask("requires_grad")
        self._wait()
        return self._last() >= 0 and self.graph.needs_gradient(self.id)

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        raise AttributeError(
            "requires_grad: values never change; ln.tensor(data, requires_grad=True) makes one "
            "that wants a gradient"
        )

    @property
    def grad(self) -> Tensor | None:
        """What backward collected for a leaf, or a value after `retain_grad`, copied; None before.

        Of a leaf it can be set, to None or to numbers. After `backward(create_graph=True)` it is
        the lazy value itself, to be differentiated.
        """
        if isinstance(self.graph, Leaf):
            _ask("grad")
            if self.type is not self.graph.type:
                return None
            gradient = self.graph.gradient if self.graph.recorded is None else self.graph.recorded
        else:
            self.graph.ask("grad")
            gradient = self.graph.gradients.get((self.id, self.type))
        if gradient is None or isinstance(gradient, Value):
            return gradient  # type: ignore[return-value]
        return tensor(np.asarray(gradient), device=self.graph.device)

    @grad.setter
    def grad(self, value: Any) -> None:
        if not isinstance(self.graph, Leaf) or self.type is not self.graph.type:
            raise AttributeError("grad: that of a leaf can be set, and this is computed from one")
        self.graph.clear_gradient()
        if value is not None:
            self.graph.want_gradient()[...] = np.asarray(value)

    @property
    def is_leaf(self) -> bool:
        """Whether the value was made by `ln.tensor` and not computed."""
        if not isinstance(self.graph, Leaf):
            self.graph.ask("is_leaf")
        return isinstance(self.graph, Leaf)

    @property
    def pending(self) -> bool:
        """Whether the value has still to be computed."""
        if isinstance(self.graph, Leaf):
            return False
        with MOVING:
            return self._last() >= self.graph.done

    def _last(self) -> int:
        return self.id

    def _wait(self) -> None:
        if self.pending:
            wait_for(self)
        graph = self.graph
        if (graph.failures or graph.shortened) and self._last() >= 0:
            with MOVING:
                graph.raise_failure(self.id)

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("copy=False: the numbers of a value are always copied; leave it out")
        array = self.numpy()
        return array if dtype is None else array.astype(dtype)

    def __dlpack__(self, **options):
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)  # kDLCPU

    @property
    def device(self) -> str:
        """Where the value lives: "cpu", "cuda:0", ..."""
        return (self.graph.device or CPU).name

    def to(self, device: str | Device):
        """The value on a device: itself if it is there, else a copy. Runs what is pending.

        Raises:
            DeviceError: for no such device, or a value that wants a gradient, which stays on the
                device of its leaves.
        """
        target = device_of(device)
        if target is self.graph.device:
            return self
        if self.requires_grad:
            raise DeviceError(
                f"to: gradients do not pass between {self.device!r} and {target.name!r}; move the "
                "leaves and modules before computing, or a copy: x.detach().to(device)"
            )
        leaf = leaf_of(self.numpy(), device=target)
        if isinstance(self, Sequence):
            return Sequence(leaf, 0, self.type.stored, self.length)
        return Tensor(leaf, 0, leaf.type)

    def cpu(self):
        """The value on the CPU, as `to("cpu")`."""
        return self.to(CPU)

    def cuda(self):
        """The value on the first GPU, as `to("cuda")`."""
        return self.to("cuda")

    def __setitem__(self, index, value):
        raise TypeError(
            "values are immutable: assigning into one would change what other values were "
            f"computed from; {self._assigned}"
        )

    def tolist(self):
        """The value as nested Python lists. Runs what is pending."""
        return self.numpy().tolist()

    def __repr__(self) -> str:
        name = type(self).__name__
        shape = tuple(self.shape)
        if self.pending:
            return f"{name}(shape={shape}, dtype={self.dtype}, pending)"
        self._wait()
        array = self._content()  # also of a parameter, in an error where it is traced
        with np.printoptions(threshold=_SHOWN, edgeitems=3):
            text = np.array2string(array, separator=", ", prefix=name + "(")
        if not 0 < array.size <= _SHOWN:  # the numbers do not tell
            text += f", shape={shape}"
        return f"{name}({text}, dtype={self.dtype})"

    def __copy__(self):
        return self  # values never change

    def __deepcopy__(self, memo):
        if not isinstance(self.graph, Leaf):
            raise TypeError("only leaves can be copied; use .detach() and ln.tensor(x.numpy())")
        ragged = isinstance(self, Sequence)
        return _rebuilt(self.numpy(), self.graph.requires_grad, ragged, self.graph.device)

    def __reduce__(self):
        if not isinstance(self.graph, Leaf):
            return self.graph.__reduce__()  # says why a computed value cannot be pickled
        return _rebuilt, (self.numpy(), self.graph.requires_grad, isinstance(self, Sequence))


class Tensor(Value):
    """A lazy value of one example, with `shape` and `dtype` known at once.

    Nothing runs until a value is asked for: `.numpy()`, `.item()`, `bool(x)`, `.backward()`.
    """

    __slots__ = ("__weakref__",)

    def __init__(self, graph: Any = None, id: Any = None, type: Any = None):
        if type is None:
            raise TypeError("Tensor: not made by hand; ln.tensor(data) gives one of data")
        self.graph = graph
        self.id = id
        self.type = type

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, as numpy has it."""
        return self.type.shape

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        unknown.refuse_calling(unknown.SIZE_CALLED)
        return self.type.size

    def __len__(self) -> int:
        if not self.type.shape:
            raise TypeError("a scalar Tensor has no length")
        return self.type.shape[0]

    def __iter__(self):
        unknown.refuse_unpacking(self, len(self) if self.type.shape else 0)
        if not self.type.shape:
            raise TypeError("a scalar has no rows to iterate over")
        return (self[k] for k in range(self.type.shape[0]))

    def numpy(self) -> np.ndarray:
        """A copy of the value as a numpy array. Runs what is pending."""
        self._wait()
        if isinstance(self.graph, Leaf) and _may_change(self.graph):
            _ask("the value of a parameter")
        return self._content()

    def _content(self) -> np.ndarray:
        with MOVING:
            return read_row(self.graph, self.id, self.type)

    def item(self) -> Any:
        """The value of a tensor of one element, as a Python number. Runs what is pending.

        Raises:
            ValueError: if it has more elements, or none.
        """
        if self.type.size != 1:
            raise self._no_number("item")
        self._wait()
        if isinstance(self.graph, Leaf):
            return self.numpy().item()
        with MOVING:
            return read_number(self.graph, self.id, self.type)

    def _no_number(self, asked: str) -> ValueError:
        """The error of who asked for one number where there are several, or none."""
        return ValueError(
            f"{asked}: only a tensor of one element is a Python number; this has {self.type.shape}"
        )

    def __bool__(self) -> bool:
        if self.type.size != 1:
            raise ValueError(
                f"bool: a Tensor of {self.type.shape} is not true or false as a whole; ask for "
                "ln.any(x) or ln.all(x)"
            )
        return bool(self.item())

    def __float__(self) -> float:
        if self.type.size != 1:
            raise self._no_number("float")
        return float(self.item())

    def __int__(self) -> int:
        if self.type.size != 1:
            raise self._no_number("int")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        """Its number, where a format is given (f"{loss:.3f}"); else `repr`, which runs nothing."""
        return format(self.item(), spec) if spec else str(self)

    def __index__(self) -> int:
        if self.type.dtype != "int64":
            raise TypeError(f"only an int64 tensor can be an index; this is {self.type.dtype}")
        return int(self.item())


class Sequence(Value):
    """A lazy value with a ragged leading axis: n rows of one row shape; `shape` is (n, *row).

    `len`, iteration, `x[i]`, `x[2:5]` and `x[::-1]` run nothing and copy nothing. A Tensor
    broadcasts against each of its rows.
    """

    __slots__ = ("__weakref__", "length", "step")

    def __init__(
        self, graph: Any = None, id: Any = None, type: Any = None, length: Any = None, step: int = 1
    ):
        if length is None:
            raise TypeError("Sequence: not made by hand; ln.sequence(rows) gives one of rows")
        self.graph = graph
        self.id = id
        self.type = type
        self.length = length
        self.step = step

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, *row): axis 0 is the ragged one."""
        return (self.length, *self.type.shape)

    @property
    def ndim(self) -> int:
        return 1 + len(self.type.shape)

    @property
    def size(self) -> int:
        """The number of elements of all rows."""
        unknown.refuse_calling(unknown.SIZE_CALLED)
        return self.length * self.type.size

    def _last(self) -> int:
        return max(self.id, self.id + self.step * (self.length - 1)) if self.length else -1

    def __len__(self) -> int:
        return self.length

    def __bool__(self) -> bool:
        raise ValueError(
            f"bool: a Sequence of {self.length} rows is not true or false as a whole; ask for "
            "len(x), or for ln.any(x) or ln.all(x)"
        )

    def __iter__(self):
        unknown.refuse_unpacking(self, self.length)
        return self._rows()

    def _rows(self):
        for k in range(self.length):
            yield Tensor(self.graph, number_of_row(self, k), self.type)

    def __getitem__(self, index):
        if isinstance(index, slice):
            chosen = range(self.length)[index]
            first = number_of_row(self, chosen[0] if len(chosen) else 0)
            return Sequence(self.graph, first, self.type, len(chosen), self.step * chosen.step)
        if isinstance(index, (int, np.integer)) and index.__class__ is not bool:
            k = index + self.length if index < 0 else index
            if not 0 <= k < self.length:
                raise IndexError(f"row {index} of a Sequence of {self.length} rows")
            return Tensor(self.graph, number_of_row(self, int(k)), self.type)
        return self._index(index)  # attached by ops/rows.py: index arrays, and feature axes

    def numpy(self) -> np.ndarray:
        """A copy of the rows as one numpy array. Runs what is pending."""
        self._wait()
        return self._content()

    def _content(self) -> np.ndarray:
        with MOVING:
            return read_rows(self.graph, self.id, self.step, self.length, self.type)


def tensor(
    data, dtype=None, requires_grad: bool = False, device: str | Device | None = None
) -> Tensor:
    """A leaf with a copy of `data`; Python floats become float32, as in PyTorch.

    Values are joined by `ln.stack` or `ln.sequence`, which keep their gradients.

    Args:
        data: a number, nested lists, a numpy array, or anything with `__array__` or `__dlpack__`.
        dtype: float32, float64, int64 or bool; by default that of `data`.
        requires_grad: whether backward collects a gradient in `.grad`.
        device: where it lives: "cpu", "cuda", ...; by default the default device.

    Raises:
        TypeError: for a dtype that is not one of these, or a gradient of integers.
    """
    array = numbers_of(data) if dtype is None else np.asarray(data, dtype_of(dtype))
    if data.__class__ in (list, tuple) and _lead_back(data):
        warn(
            "tensor: only the numbers of these values are taken, and no gradient will lead back "
            "to them; ln.stack or ln.sequence makes one value of them (x.detach() or x.item() "
            "says that numbers are meant)"
        )
    leaf = leaf_of(array, requires_grad, device_of(device))
    if requires_grad and leaf.type.dtype not in FLOATS:
        raise TypeError(f"only float tensors can require gradients, not {leaf.type.dtype}")
    return Tensor(leaf, 0, leaf.type)


def _rebuilt(array: np.ndarray, requires_grad: bool, ragged: bool, device: Device | None = None):
    """A leaf's copy from its numbers, on the default device unless told: what pickles hold."""
    whole = tensor(array, requires_grad=requires_grad, device=device)
    if not ragged:
        return whole
    row = row_type(whole.type.dtype, array.shape[1:])
    return Sequence(whole.graph, 0, row, len(array))


def _lead_back(data: Any) -> bool:
    """Whether there are values in a list, or in lists in it, that want gradients."""
    kinds = set(map(type, data))  # of long lists of numbers one is enough
    if kinds & {list, tuple} and any(_lead_back(x) for x in data if x.__class__ in (list, tuple)):
        return True
    values = any(issubclass(kind, Value) for kind in kinds)
    return values and any(x.requires_grad for x in data if isinstance(x, Value))


def numbers_of(data) -> np.ndarray:
    """The array that a leaf is made of: that of any data, or of a value."""
    return array_of(data.numpy() if isinstance(data, Value) else data)


def number_of_row(rows: Sequence, k: int) -> int:
    """The number of row `k`; where it is that of the handle, the very same int.

    By that object a graph knows whether a row is held (`Graph.noted`), also one that stands for
    many, as in a Sequence that repeats it.
    """
    return rows.id + rows.step * k if rows.step * k else rows.id


def rows_of(value: Value) -> list[int]:
    """The ids of a value's rows."""
    if isinstance(value, Sequence):
        return [value.id + value.step * k for k in range(value.length)]
    return [value.id]


def _may_change(leaf: Leaf) -> bool:
    """Whether a leaf holds a parameter."""
    return leaf.number >= 0 and not STATICS.is_constant(leaf)


def _ask(what: str) -> None:
    """Refuse what a function that is being traced cannot be told of a leaf."""
    graph = pending_graph()
    if graph is not None:
        graph.ask(what)


def wait_for(value: Value) -> None:
    """Make a pending value be computed; programs run by `ln.map` wait here for each other."""
    waiter(value)


def waiter(value: Value) -> None:
    """How to wait outside of any map; `map.py` puts its own in this place."""
    value.graph.forward()
