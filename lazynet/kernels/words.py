"""The words in which shared kernels are written, and what they mean for each dtype on the CPU.

A shared kernel imports the words it uses, so that it reads as ordinary code; `lift` gives it a
namespace in which they mean something. Only the kernel itself is lifted: a function that it calls
has no words.

Attributes follow the number of items in the call record, operands follow the attributes. The first
attribute of every shared kernel is `accumulate`: add to the output instead of storing into it.
"""

import functools
import types as python_types

import numpy as np

from lazynet.kernels import blas, memory
from lazynet.kernels.jit import inline
from lazynet.kernels.memory import load
from lazynet.kernels.scalars import WORDS

row = None  # row(address, width): the elements there, of the kernel's dtype
row_index = None  # the same, of int64
payload_words = None  # the same, of int32
constant = None  # constant(x): a number of the kernel's dtype
itemsize = None  # bytes of one element
least = None  # the least number of the dtype
exp = log = maximum = None  # these and all others of scalars.py
gemm = gemm_function = stackable = None  # products, by blas.py


def meanings(dtype: str) -> dict:
    """What the words mean on the CPU, for rows of `dtype`."""
    size = np.dtype(dtype).itemsize
    words = WORDS[dtype]

    @inline
    def stackable(operand, matrix, rows):
        """Whether an operand's items form one tall matrix, and its row stride in elements.

        `matrix` is an item's size in bytes and `rows` its rows as stored; items of one row need
        only be evenly spaced.
        """
        if load(operand + 16) != 0:
            return False, 0
        stride = load(operand + 8)
        if rows == 1:
            return stride >= matrix, stride // size
        return stride == matrix, 0

    routine = 0 if dtype == "float32" else 8

    @inline
    def gemm_function(context):
        return load(context + routine)

    return {
        **words,
        "row": memory.ROW[dtype],
        "row_index": memory.row_int64,
        "payload_words": memory.row_int32,
        "gemm": blas.GEMM.get(dtype),
        "gemm_function": gemm_function,
        "stackable": stackable,
        "constant": words["c"],
        "least": -np.inf if dtype.startswith("float") else 0 if dtype == "bool" else -(2**63),
        "itemsize": size,
    }


@functools.cache
def lift(kernel, dtype: str):
    """`kernel` for rows of `dtype`: the same code in that dtype's namespace."""
    namespace = {**kernel.__globals__, **meanings(dtype)}
    function = python_types.FunctionType(kernel.__code__, namespace, kernel.__name__)
    function.generated_source = f"{dtype} {kernel.__name__}"
    return function
