"""The shared kernels on the CPU, by name."""

from lazynet.kernels import (
    alignment,
    attention,
    axes,
    decompositions,
    host,
    lookup,
    noise,
    pairs,
    products,
    segments,
    sorting,
    structured,
)
from lazynet.kernels.jit import kernel_address
from lazynet.kernels.words import lift

FAMILIES = (
    alignment,
    attention,
    axes,
    decompositions,
    lookup,
    noise,
    pairs,
    products,
    segments,
    sorting,
    structured,
)


KERNELS = {
    name: value
    for family in FAMILIES
    for name, value in vars(family).items()
    if getattr(value, "__module__", "") == family.__name__
}


def kernel(name: str, dtype: str) -> int:
    """The address of the shared kernel `name` for `dtype`, compiled now unless it already is."""
    in_python = host.address(name)
    if in_python is not None:
        return in_python
    return kernel_address(lift(KERNELS[name], dtype))
