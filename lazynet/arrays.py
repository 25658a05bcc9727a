"""What users give as numbers, as numpy arrays of the dtypes that there are."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np

from lazynet.op import DTYPE_NAMES

_LARGEST = np.iinfo(np.int64).max
_UNKNOWN = "tensor: dtype {} is not supported; use float32, float64, int64 or bool"


def array_of(data: Any) -> np.ndarray:
    """An array of data in its own dtype, or in the one that stands for it.

    Python floats and half precision become float32, integers int64.
    """
    if hasattr(data, "__dlpack__") and not isinstance(data, np.ndarray):
        array = np.from_dlpack(data)
    else:
        try:
            array = np.asarray(data)
        except ValueError as error:
            raise ValueError(
                "tensor: ragged nested lists are no one value; make a Tensor or Sequence for each "
                "example"
            ) from error
        if array.dtype == np.float64 and not isinstance(data, (np.ndarray, np.generic)):
            array = array.astype(np.float32)
    if array.dtype.kind in "iu":
        if array.dtype == np.uint64 and array.size and array.max() > _LARGEST:
            raise TypeError(f"tensor: {array.max()} does not fit into int64")
        array = array.astype(np.int64)
    if array.dtype == object and isinstance(data, int):
        raise TypeError(f"tensor: {reprlib.repr(data)} does not fit into int64")
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype.kind in "USO":
        wrong = [x for x in array.flat if not isinstance(x, (int, float))]
        kind = f"a {type(wrong[0]).__name__}" if wrong else "dtype object"
        if array.dtype.kind != "O" or (wrong and isinstance(wrong[0], str)):
            kind = "text"
        raise TypeError(f"tensor: {kind} is not supported; expected numbers, or True and False")
    check_dtype(array.dtype)
    return array


def dtype_of(name: Any) -> np.dtype:
    """The dtype that a user names.

    Raises:
        TypeError: if it is none of those that there are.
    """
    try:
        dtype = np.dtype(name)
    except TypeError:
        raise TypeError(_UNKNOWN.format(repr(name))) from None
    check_dtype(dtype)
    return dtype


def check_dtype(dtype: np.dtype) -> None:
    """Raise a TypeError for a dtype that is none of those that there are."""
    if dtype not in DTYPE_NAMES and dtype.newbyteorder("=") not in DTYPE_NAMES:
        raise TypeError(_UNKNOWN.format(dtype))
