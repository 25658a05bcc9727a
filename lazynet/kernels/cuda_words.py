"""What the words of kernels mean on CUDA: rows by address, and functions lifted from the CPU's.

A function that is compiled for the CPU is lifted by its source text: the same code in a namespace
where rows, loads and other such functions have their twins. In hardware rows are pointers; in the
simulator they are arrays of its memory.
"""

import functools
import threading
import types as python_types

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import CPUDispatcher

from lazynet.kernels import cuda_driver, memory
from lazynet.kernels.scalars import WORDS
from lazynet.kernels.source import function_of

# Of each kind of row: its dtype, and what numba and LLVM call an element.
_ELEMENTS = {
    "float32": (np.float32, types.float32, ir.FloatType()),
    "float64": (np.float64, types.float64, ir.DoubleType()),
    "int64": (np.int64, types.int64, ir.IntType(64)),
    "int32": (np.int32, types.int32, ir.IntType(32)),
    "bool": (np.uint8, types.uint8, ir.IntType(8)),
}
# What adds to floats atomically, on compute capability 6.0 and later; integers have an instruction.
_ATOMIC = {
    "float32": "llvm.nvvm.atomic.load.add.f32.p0f32",
    "float64": "llvm.nvvm.atomic.load.add.f64.p0f64",
}


@functools.cache
def twins() -> dict:
    """The twin of each function of `memory.py` that is no source text, by the function."""
    made = _simulated() if cuda_driver.simulated() else _compiled()
    found = {getattr(memory, name): word for name, word in made.items() if hasattr(memory, name)}
    return {**found, "add": {key: made[f"add_{key}"] for key in _ELEMENTS}}


def _simulated() -> dict:
    """Words as Python functions over the simulator's memory."""
    device = cuda_driver.driver(0)
    lock = threading.Lock()

    def add(target, index, value):
        with lock:
            target[index] += value

    made = {}
    for key, (kind, _, _) in _ELEMENTS.items():
        made[f"row_{key}"] = functools.partial(device.rows, kind)
        made[f"add_{key}"] = add
    made["load"] = lambda address: int(device.rows(np.int64, address, 1)[0])
    made["float32_bits"] = lambda x: np.float32(x).view(np.int32)
    made["bits_float32"] = lambda x: np.int32(x).view(np.float32)
    return made


def _compiled() -> dict:
    """Words as numba intrinsics."""
    from numba.cuda.extending import intrinsic

    made = {"load": _load(intrinsic)}
    for key, (_, element, llvm) in _ELEMENTS.items():
        made[f"row_{key}"] = _row(intrinsic, element, llvm)
        made[f"add_{key}"] = _add(intrinsic, key, element, llvm)
    made["float32_bits"] = _bits(intrinsic, types.float32, types.int32, ir.IntType(32))
    made["bits_float32"] = _bits(intrinsic, types.int32, types.float32, ir.FloatType())
    return made


def _load(intrinsic):
    @intrinsic
    def load(typing_context, address):
        def generate(context, builder, signature, values):
            return builder.load(builder.inttoptr(values[0], ir.IntType(64).as_pointer()))

        return types.int64(types.int64), generate

    return load


def _row(intrinsic, element, llvm):
    @intrinsic
    def row(typing_context, address, width):
        def generate(context, builder, signature, values):
            return builder.inttoptr(values[0], llvm.as_pointer())

        return types.CPointer(element)(types.int64, types.int64), generate

    return row


def _add(intrinsic, key, element, llvm):
    @intrinsic
    def add(typing_context, target, index, value):
        def generate(context, builder, signature, values):
            place, value = builder.gep(values[0], [values[1]]), values[2]
            if key in _ATOMIC:
                kind = ir.FunctionType(llvm, [llvm.as_pointer(), llvm])
                atomic = cgutils.get_or_insert_function(builder.module, kind, _ATOMIC[key])
                builder.call(atomic, (place, value))
            elif key == "bool":  # bytes have none, and no gradient is made of them
                builder.store(builder.or_(builder.load(place), value), place)
            else:
                builder.atomic_rmw("add", place, value, "monotonic")
            return context.get_dummy_value()

        return types.void(types.CPointer(element), types.int64, element), generate

    return add


def _bits(intrinsic, source, target, llvm):
    @intrinsic
    def cast(typing_context, value):
        def generate(context, builder, signature, values):
            return builder.bitcast(values[0], llvm)

        return target(source), generate

    return cast


def numpy_of_kernels():
    """What `np` means in lifted code."""
    if cuda_driver.simulated():
        return np
    from lazynet.kernels import cuda_numpy

    return cuda_numpy


@functools.cache
def lifted(function):
    """The twin of a function that is compiled for the CPU, for kernels on CUDA."""
    from numba import cuda

    twin = twins().get(function)
    if twin is not None:
        return twin
    source = function.py_func
    namespace = lifted_names(source.__code__, source.__globals__)
    made = python_types.FunctionType(
        source.__code__, namespace, source.__name__, source.__defaults__, source.__closure__
    )
    return cuda.jit(device=True)(made)


def lifted_names(code, names: dict) -> dict:
    """`names`, with twins for those that `code` uses and that are the CPU's."""
    found = dict(names)
    for name in code.co_names:
        value = names.get(name)
        if value is np:
            found[name] = numpy_of_kernels()
        elif is_compiled(value):
            found[name] = lifted(value)
    return found


def is_compiled(value) -> bool:
    """Whether a value is a function compiled for the CPU."""
    return isinstance(value, CPUDispatcher) or (callable(value) and value in _INTRINSICS)


_INTRINSICS = (memory.load, memory.store, memory.float32_bits, memory.bits_float32)


@functools.cache
def scalar_words(dtype: str) -> dict:
    """The words of elementwise formulas for rows of `dtype`."""
    return {
        name: lifted(word) if is_compiled(word) else word for name, word in WORDS[dtype].items()
    }


@functools.cache
def meanings(dtype: str) -> dict:
    """What the words of `words.py` mean on CUDA, for rows of `dtype`."""
    made = {**scalar_words(dtype)}
    made["row"] = made["own_row"] = lifted(memory.ROW[dtype])
    made["lanes"] = made["together"] = None  # these are rewritten (`cuda.py`)
    made["row_index"], made["payload_words"] = lifted(memory.row_int64), lifted(memory.row_int32)
    made["add"] = twins()["add"][dtype]
    made["constant"], made["itemsize"] = made["c"], np.dtype(dtype).itemsize
    made["least"] = -np.inf if dtype.startswith("float") else 0 if dtype == "bool" else -(2**63)
    return made


def compile_source(source: str, name: str, namespace: dict):
    """The function `name` of `source`, in a namespace that also has `cuda`."""
    from numba import cuda

    names = {**namespace, "cuda": cuda, "__name__": __name__}
    return function_of(source, name, names, f"cuda {name}")
