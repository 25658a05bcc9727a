"""numpy as kernels on CUDA know it: `np` means this module in code that is lifted to hardware.

numba's CUDA target has few of numpy's scalar functions; those of `math` become libdevice's.
"""

import math

import numpy as np
from numba.core import types
from numba.cuda import libdevice
from numba.cuda.extending import overload

exp, log, sqrt, tanh, sin, cos, tan = (
    math.exp, math.log, math.sqrt, math.tanh, math.sin, math.cos, math.tan,
)  # fmt: skip
arcsin, arccos, arctan, sinh, cosh = math.asin, math.acos, math.atan, math.sinh, math.cosh
fmod = math.fmod
log1p, expm1, log2, log10, power = math.log1p, math.expm1, math.log2, math.log10, math.pow
isnan, isinf, isfinite = math.isnan, math.isinf, math.isfinite
abs = abs
inf, nan, pi = np.inf, np.nan, np.pi
float32, float64, int32, int64 = np.float32, np.float64, np.int32, np.int64
uint8, uint32, uint64 = np.uint8, np.uint32, np.uint64


def _rounding(name):
    """libdevice's function, for both widths: `math` gives integers where numpy gives floats."""
    single, double = getattr(libdevice, f"{name}f"), getattr(libdevice, name)

    def rounded(x):
        raise NotImplementedError(f"{name} is compiled, never called")

    @overload(rounded)
    def for_type(x):
        return (lambda x: single(x)) if x == types.float32 else (lambda x: double(x))

    return rounded


floor, ceil, trunc, rint = map(_rounding, ("floor", "ceil", "trunc", "rint"))
