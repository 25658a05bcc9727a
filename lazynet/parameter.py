"""`Parameter`: a leaf that modules own and optimizers change, which runs what is pending first."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from lazynet.device import Device, device_of
from lazynet.leaf import STATICS, leaf_of, update_needs
from lazynet.recording import end_recording
from lazynet.tensor import FLOATS, Tensor, numbers_of


class Parameter(Tensor):
    """A leaf that modules own and optimizers change: a tensor that wants a gradient.

    Args:
        data: the initial value, copied.
        requires_grad: whether backward collects a gradient for it.
        device: where it lives; by default the default device.

    Raises:
        TypeError: for what is no float32 or float64.
    """

    __slots__ = ()
    _assigned = "p.data[index] = numbers changes a parameter"

    def __init__(self, data, requires_grad: bool = True, device: str | Device | None = None):
        leaf = leaf_of(numbers_of(data), requires_grad, device_of(device))
        if leaf.type.dtype not in FLOATS:
            raise TypeError(
                f"a parameter holds float32 or float64, not {leaf.type.dtype}; it is made of its "
                "numbers: ln.Parameter(ln.zeros(3, 4)), and ln.nn.init draws them"
            )
        STATICS.add(leaf)
        super().__init__(leaf, 0, leaf.type)

    @property
    def number(self) -> int:
        return self.graph.number

    @property
    def data(self) -> Any:
        """The value's own storage. What is pending runs before it can be changed.

        On the CPU a numpy array; on another device one that is changed as a whole, `data[...] = y`.
        """
        end_recording()
        self.graph.version += 1
        STATICS.version += 1
        return self.graph.array

    @data.setter
    def data(self, value) -> None:
        self.copy_(value)

    @property
    def requires_grad(self) -> bool:
        return super().requires_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        end_recording()
        self.graph.requires_grad = bool(flag)
        self.graph.settle_gradient()
        update_needs(self.graph)

    def requires_grad_(self, flag: bool = True) -> Parameter:
        """Set `requires_grad`, as PyTorch spells it."""
        self.requires_grad = flag
        return self

    def copy_(self, value) -> Parameter:
        """Change the value in place. What is pending runs first, with the old value.

        Raises:
            ValueError: for another shape.
        """
        array = np.asarray(value, self.graph.array.dtype)
        if array.shape != self.shape:
            raise ValueError(f"copy_: a parameter of {self.shape} cannot take {array.shape}")
        self.data[...] = array
        return self

    def _in_place(self, other) -> NoReturn:
        raise TypeError(
            "a parameter stays as it is in p += x and its like: p.data += x changes it, "
            "p = p + x names a new value"
        )

    __iadd__ = __isub__ = __imul__ = __itruediv__ = _in_place

    def move_(self, device: str | Device) -> Parameter:
        """Keep value and gradient on another device from here on. What is pending runs first."""
        target = device_of(device)
        if target is not self.graph.device:
            end_recording()
            self.graph.move(target)
        return self

    def to(self, device: str | Device):
        """A copy on another device, which is no parameter; `Module.to` moves parameters."""
        return self if device_of(device) is self.graph.device else self.detach().to(device)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradient; unless `set_to_none`, make it 0, where there is one."""
        collected = self.graph.gradient is not None
        self.graph.clear_gradient()
        if collected and not set_to_none:
            self.graph.want_gradient()  # zeros

    def __copy__(self):
        return self.__deepcopy__({})  # parameters do change

    def __deepcopy__(self, memo):
        copied = Parameter(self.graph.array, self.requires_grad, self.graph.device)
        memo[id(self)] = copied
        return copied

    def __reduce__(self):
        return Parameter, (np.asarray(self.graph.array), self.requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
