"""One BLAS, called by address: the OpenBLAS that numpy itself carries.

Two copies of a threaded BLAS in one process fight for the cores, so lazynet uses numpy's copy. The
addresses live in a small table that every kernel is given (its `context`), never in compiled code,
which is why kernels can be cached on disk. Where numpy carries no OpenBLAS, scipy's Cython BLAS
serves.
"""

import ctypes
import functools
import pathlib

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lazynet.kernels.jit import made_once

_ROW_MAJOR, _NO_TRANS, _TRANS = 101, 111, 112
_FORTRAN = 1  # value of the context's third word when the functions follow Fortran's convention
# The context's fourth word is the address of a table of what makes small products, which are too
# small for a BLAS; where each dtype has its own in there.
SMALL_AT, SMALL = 24, {"float32": 0, "float64": 8}
_small = np.zeros(len(SMALL), np.int64)
_NAMES = ("scipy_cblas_{}64_", "cblas_{}64_")


class BlasNotFound(ImportError):
    """Neither numpy nor scipy gives a BLAS that can be called by address."""


def _numpy_library():
    package = pathlib.Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in sorted(folder.glob("*openblas*")):
            library = ctypes.CDLL(str(path))
            for name in _NAMES:
                if hasattr(library, name.format("sgemm")):
                    return library, path.name, name
    return None


@functools.cache
def description() -> str:
    """Which BLAS is in use, in words."""
    found = _numpy_library()
    return f"numpy's {found[1]}" if found else "scipy.linalg.cython_blas"


def threads() -> int | None:
    """The number of threads the BLAS uses, or None where it does not tell."""
    found = _numpy_library()
    if found is None:
        return None
    for name in ("scipy_openblas_get_num_threads64_", "openblas_get_num_threads64_"):
        if hasattr(found[0], name):
            return int(getattr(found[0], name)())
    return None


def use_threads(count: int) -> None:
    """Hold the BLAS at that many threads from here on, in this whole process."""
    found = _numpy_library()
    for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_"):
        if found is not None and hasattr(found[0], name):
            getattr(found[0], name)(count)
            return


@made_once
def context() -> np.ndarray:
    """The table that kernels are given.

    In it are sgemm, dgemm, their convention, the table of small products, and words of
    `threads.py` that are 0 here.
    """
    found = _numpy_library()
    if found is not None:
        library, _, name = found
        addresses = [
            ctypes.cast(getattr(library, name.format(routine)), ctypes.c_void_p).value
            for routine in ("sgemm", "dgemm")
        ]
        return np.array([*addresses, 0, _small.ctypes.data, 0, 0, 0], np.int64)
    try:
        from numba.extending import get_cython_function_address as cython_address

        addresses = [cython_address("scipy.linalg.cython_blas", r) for r in ("sgemm", "dgemm")]
    except ImportError as error:
        raise BlasNotFound(
            "this numpy carries no OpenBLAS that lazynet can call; `pip install scipy` brings one"
        ) from error
    return np.array([*addresses, _FORTRAN, _small.ctypes.data, 0, 0, 0], np.int64)


def enter_small(dtype: str, address: int) -> None:
    """Let kernels find what makes small products of a dtype."""
    _small[SMALL[dtype] // 8] = address


_WORD, _HALF, _BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)


def _call_by_value(builder, llvm_element, function, ta, tb, numbers):
    """Call the C interface, which takes row-major matrices; `numbers` are m, n, k, alpha to ldc."""
    kind = ir.FunctionType(
        ir.VoidType(),
        [_HALF] * 3 + [_WORD] * 3
        + [llvm_element, _WORD, _WORD, _WORD, _WORD, llvm_element, _WORD, _WORD],
    )  # fmt: skip
    transposed = [
        builder.select(builder.icmp_signed("!=", t, _WORD(0)), _HALF(_TRANS), _HALF(_NO_TRANS))
        for t in (ta, tb)
    ]
    arguments = [_HALF(_ROW_MAJOR), *transposed, *numbers]
    builder.call(builder.inttoptr(function, kind.as_pointer()), arguments)


def _call_by_reference(builder, function, ta, tb, numbers):
    """Call Fortran, which reads row-major matrices as their transposes: C' = op(B)' op(A)'."""
    m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = numbers

    def slot(value):
        place = cgutils.alloca_once(builder, value.type)
        builder.store(value, place)
        return builder.ptrtoint(place, _WORD)

    def letter(t):
        yes = builder.icmp_signed("!=", t, _WORD(0))
        return slot(builder.select(yes, _BYTE(ord("T")), _BYTE(ord("N"))))

    def whole(value):
        return slot(builder.trunc(value, _HALF))

    kind = ir.FunctionType(ir.VoidType(), [_WORD] * 13)
    arguments = [
        letter(tb), letter(ta), whole(n), whole(m), whole(k), slot(alpha), b, whole(ldb), a,
        whole(lda), slot(beta), c, whole(ldc),
    ]  # fmt: skip
    builder.call(builder.inttoptr(function, kind.as_pointer()), arguments)


def _gemm(element, llvm_element):
    """A compiled product C = alpha op(A) op(B) + beta C of row-major matrices, by address."""
    integer = types.int64

    @intrinsic
    def gemm(
        typing_context, function, fortran, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
    ):
        signature = types.void(*(integer,) * 7, element, *(integer,) * 4, element, integer, integer)

        def generate(context, builder, signature, values):
            function, fortran, ta, tb, *numbers = values
            by_value = builder.icmp_signed("==", fortran, _WORD(0))
            with builder.if_else(by_value) as (in_c, in_fortran):
                with in_c:
                    _call_by_value(builder, llvm_element, function, ta, tb, numbers)
                with in_fortran:
                    _call_by_reference(builder, function, ta, tb, numbers)
            return context.get_dummy_value()

        return signature, generate

    return gemm


GEMM = {
    "float32": _gemm(types.float32, ir.FloatType()),
    "float64": _gemm(types.float64, ir.DoubleType()),
}
