"""Rows made larger at their ends, as modules."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazynet.nn import functional as F
from lazynet.nn.module import Module
from lazynet.record import ShapeError


class _Pad(Module):
    """F.pad of the last `axes` axes, of a row that has one more: the channels."""

    axes = 1
    mode = "constant"
    value = 0.0

    def __init__(self, padding: Any) -> None:
        super().__init__()
        one = isinstance(padding, (int, np.integer))
        widths: tuple[Any, ...] = (padding,) * (2 * self.axes) if one else tuple(padding)
        if len(widths) != 2 * self.axes or any(
            not isinstance(w, (int, np.integer)) for w in widths
        ):
            raise ValueError(
                f"{type(self).__name__}: padding must be an integer or {2 * self.axes} of them, "
                f"not {padding!r}"
            )
        self.padding = tuple(map(int, widths))

    def forward(self, x: Any) -> Any:
        y = F.pad(x, self.padding, self.mode, self.value)
        if len(x.type.shape) not in (self.axes, self.axes + 1):
            raise ShapeError(
                f"{type(self).__name__}: rows of {x.type.shape}; expected {self.axes} axes, and "
                "one of channels before them"
            )
        return y

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _Constant(_Pad):
    def __init__(self, padding: int | tuple[int, ...], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"{self.padding}, value={self.value}"


_SHAPES = {
    1: "(channels, length) -> (channels, before + length + after)",
    2: "(channels, height, width) -> (channels, top + height + bottom, left + width + right)",
}
_ORDER = {1: "before and after", 2: "left, right, top and bottom"}
_EXAMPLE = {1: ("[[1.0, 2.0, 3.0]]", "[0]"), 2: ("[[[1.0, 2.0, 3.0]] * 3]", "[0][1]")}


def _module(name: str, mode: str, what: str, result: list[float]) -> Any:
    """The module of a mode; `result` is what the row 1, 2, 3 becomes with one more at each end."""
    axes, value = int(name[-2]), ", 9.0" if name.startswith("Constant") else ""
    given, shown = _EXAMPLE[axes]
    body = {
        "axes": axes, "mode": mode, "__module__": __name__, "__doc__": f"""Rows with {what} around.

    Shapes: {_SHAPES[axes]}; the channels may be left out; n rows -> n rows.

    >>> nn.{name}(1{value})(ln.tensor({given})){shown}.tolist()
    {result}

    Args:
        padding: the number of elements at each end, or {_ORDER[axes]}.

    Raises:
        ValueError: for another number of widths. ShapeError: when called, for rows of other axes.
    """,
    }  # fmt: skip
    return type(name, (_Constant if value else _Pad,), body)


_ZEROS, _GIVEN = [0.0, 1.0, 2.0, 3.0, 0.0], [9.0, 1.0, 2.0, 3.0, 9.0]
_MIRRORED, _MIRROR = [2.0, 1.0, 2.0, 3.0, 2.0], "their mirror image"
_REPEATED, _OUTERMOST = [1.0, 1.0, 2.0, 3.0, 3.0], "their outermost elements"
_ROUND, _OTHER_END = [3.0, 1.0, 2.0, 3.0, 1.0], "what stands at their other ends"
ZeroPad1d = _module("ZeroPad1d", "constant", "zeros", _ZEROS)
ZeroPad2d = _module("ZeroPad2d", "constant", "zeros", _ZEROS)
ConstantPad1d = _module("ConstantPad1d", "constant", "one value", _GIVEN)
ConstantPad2d = _module("ConstantPad2d", "constant", "one value", _GIVEN)
ReflectionPad1d = _module("ReflectionPad1d", "reflect", _MIRROR, _MIRRORED)
ReflectionPad2d = _module("ReflectionPad2d", "reflect", _MIRROR, _MIRRORED)
ReplicationPad1d = _module("ReplicationPad1d", "replicate", _OUTERMOST, _REPEATED)
ReplicationPad2d = _module("ReplicationPad2d", "replicate", _OUTERMOST, _REPEATED)
CircularPad1d = _module("CircularPad1d", "circular", _OTHER_END, _ROUND)
CircularPad2d = _module("CircularPad2d", "circular", _OTHER_END, _ROUND)
