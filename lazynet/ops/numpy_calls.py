"""What numpy's functions do with values: those of elements are ours, all others give numbers.

`np.exp(x)` and `array * x` record what `ln.exp(x)` and `x * array` do. A function that lazynet has
no twin of (`np.sum`, `np.fft.fft`) works on numbers, as it does for any array; where that would
lose a gradient without a word, it is refused.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from lazynet.nested import mapped
from lazynet.ops import activations, elementwise, functions, products
from lazynet.recording import recording_gradients
from lazynet.tensor import Sequence, Tensor, Value

_ALIASES = {
    "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctan2": "atan2", "arctanh": "atanh", "mod": "remainder", "true_divide": "divide",
    "bitwise_and": "__and__", "bitwise_or": "__or__", "bitwise_xor": "__xor__",
    "invert": "__invert__", "positive": "__pos__", "concatenate": "cat", "clip": "clamp",
}  # fmt: skip
# What tells places, or yes and no, has no gradient to lose.
_WITHOUT_GRADIENT = {
    "allclose", "argmax", "argmin", "argpartition", "argsort", "argwhere", "array_equal",
    "array_equiv", "array_repr", "array_str", "array2string", "copyto", "count_nonzero",
    "flatnonzero", "isclose", "nonzero", "save", "savetxt", "savez", "searchsorted",
}  # fmt: skip
_ASKED = {np.shape: lambda x: x.shape, np.ndim: lambda x: len(x.shape)}


def _of_values(name: str) -> Callable:
    """A function of one or two operands that is an operator of values."""

    def function(x: Any, *others: Any) -> Any:
        # Masks are joined in any order.
        first, *rest = (x, *others) if isinstance(x, Value) else (*others, x)
        return getattr(first, name)(*rest)

    return function


@functools.cache
def _twin(ufunc: np.ufunc) -> Callable | None:
    """What lazynet has in the place of a function of numpy's for elements."""
    name = _ALIASES.get(ufunc.__name__, ufunc.__name__)
    if name.startswith("__"):
        return _of_values(name)
    rooms = (elementwise, functions, activations, products)
    return next((getattr(room, name) for room in rooms if hasattr(room, name)), None)


def _elements(self: Value, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> Any:
    twin = _twin(ufunc)
    if twin is not None and method == "__call__" and not options:
        return twin(*operands)
    return _on_numbers(ufunc.__name__, getattr(ufunc, method), operands, options)


def _arrays(self: Value, function: Callable, kinds: Any, args: tuple, named: dict) -> Any:
    if function in _ASKED and not named and len(args) == 1:
        return _ASKED[function](args[0])
    return _on_numbers(function.__name__, function, args, named)


def _on_numbers(name: str, function: Callable, args: tuple, named: dict[str, Any]) -> Any:
    def number(x: Any) -> Any:
        if not isinstance(x, Value):
            return x
        if name not in _WITHOUT_GRADIENT and recording_gradients.get() and x.requires_grad:
            own = _ALIASES.get(name, name)
            lazy = f"ln.{own}" if hasattr(sys.modules["lazynet"], own) else "ops of lazynet"
            raise TypeError(
                f"np.{name}: numpy gives numbers, and no gradient would come back through them; "
                f"write {lazy}, or x.numpy() where numbers are meant"
            )
        return x.numpy()

    return function(*mapped(args, number), **mapped(named, number))


for _class in (Tensor, Sequence):
    _class.__array_ufunc__, _class.__array_function__ = _elements, _arrays
