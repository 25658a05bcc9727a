"""What changes parameters: one pass over flat arrays for each update rule, and norms.

A rule of several parameters is one call (`each`), whose table says where their arrays lie. Scalars
come in the arrays' dtype, so that nothing is computed in another one. `sign` is -1 where the
gradient is to be gone up, else 1. Bound: memory.
"""

import numpy as np

from lazynet.kernels import threads
from lazynet.kernels.jit import KERNEL_TYPE, callback_address, jit, made_once, word
from lazynet.kernels.memory import ROW, load
from lazynet.kernels.source import function_of

PIECE = 1 << 14  # elements that a thread takes at a time


@word
def sgd(p, g, sign, rate, decay):
    """p -= rate (sign g + decay p)."""
    for i in range(p.size):
        p[i] -= rate * (sign * g[i] + decay * p[i])


@word
def momentum(p, g, buffer, sign, rate, decay, keep, take):
    """b = keep b + take (sign g + decay p);  p -= rate b."""
    for i in range(p.size):
        b = keep * buffer[i] + take * (sign * g[i] + decay * p[i])
        buffer[i] = b
        p[i] -= rate * b


@word
def nesterov(p, g, buffer, sign, rate, decay, keep, take):
    """d = sign g + decay p;  b = keep b + take d;  p -= rate (d + keep b)."""
    for i in range(p.size):
        d = sign * g[i] + decay * p[i]
        b = keep * buffer[i] + take * d
        buffer[i] = b
        p[i] -= rate * (d + keep * b)


@word
def adam(p, g, first, second, sign, shrink, decay, keep1, take1, keep2, take2, rate, scale, eps):
    """Adam; `shrink` multiplies p (AdamW), `decay` adds to the gradient (Adam).

    d = sign g + decay p;  m = keep1 m + take1 d;  v = keep2 v + take2 d^2;
    p = shrink p - rate m / (scale sqrt(v) + eps)
    """
    for i in range(p.size):
        d = sign * g[i] + decay * p[i]
        m = keep1 * first[i] + take1 * d
        v = keep2 * second[i] + take2 * d * d
        first[i] = m
        second[i] = v
        p[i] = shrink * p[i] - rate * m / (scale * np.sqrt(v) + eps)


@word
def sparse_adam(p, g, first, second, sign, take1, take2, rate, eps):
    """m += take1 (sign g - m);  v += take2 (g^2 - v);  p -= rate m / (sqrt(v) + eps)."""
    for i in range(p.size):
        m = first[i] + take1 * (sign * g[i] - first[i])
        v = second[i] + take2 * (g[i] * g[i] - second[i])
        first[i] = m
        second[i] = v
        p[i] -= rate * m / (np.sqrt(v) + eps)


@word
def adagrad(p, g, total, sign, rate, decay, eps):
    """d = sign g + decay p;  s += d^2;  p -= rate d / (sqrt(s) + eps)."""
    for i in range(p.size):
        d = sign * g[i] + decay * p[i]
        s = total[i] + d * d
        total[i] = s
        p[i] -= rate * d / (np.sqrt(s) + eps)


@word
def rmsprop(p, g, square, sign, rate, decay, keep, take, eps):
    """d = sign g + decay p;  v = keep v + take d^2;  p -= rate d / (sqrt(v) + eps)."""
    for i in range(p.size):
        d = sign * g[i] + decay * p[i]
        v = keep * square[i] + take * d * d
        square[i] = v
        p[i] -= rate * d / (np.sqrt(v) + eps)


@word
def rmsprop_momentum(p, g, square, buffer, sign, rate, decay, keep, take, eps, mass):
    """As `rmsprop`, with b = mass b + d / (sqrt(v) + eps);  p -= rate b."""
    for i in range(p.size):
        d = sign * g[i] + decay * p[i]
        v = keep * square[i] + take * d * d
        b = mass * buffer[i] + d / (np.sqrt(v) + eps)
        square[i] = v
        buffer[i] = b
        p[i] -= rate * b


@word
def rmsprop_centered(p, g, square, mean, sign, rate, decay, keep, take, eps):
    """As `rmsprop`, with m += take (d - m), and v - m^2 in the root."""
    for i in range(p.size):
        d = sign * g[i] + decay * p[i]
        v = keep * square[i] + take * d * d
        m = mean[i] + take * (d - mean[i])
        square[i] = v
        mean[i] = m
        p[i] -= rate * d / (np.sqrt(v - m * m) + eps)


@word
def rmsprop_centered_momentum(p, g, square, mean, buffer, sign, rate, decay, keep, take, eps, mass):
    """As `rmsprop_centered`, with the momentum of `rmsprop_momentum`."""
    for i in range(p.size):
        d = sign * g[i] + decay * p[i]
        v = keep * square[i] + take * d * d
        m = mean[i] + take * (d - mean[i])
        b = mass * buffer[i] + d / (np.sqrt(v - m * m) + eps)
        square[i] = v
        mean[i] = m
        buffer[i] = b
        p[i] -= rate * b


@word
def erase(p):
    """p = 0."""
    for i in range(p.size):
        p[i] = 0


@jit
def scale(p, factor):
    """p *= factor."""
    for i in range(p.size):
        p[i] *= factor


@jit
def clip(p, low, high):
    """p = min(max(p, low), high); a NaN stays one."""
    for i in range(p.size):
        if p[i] < low:
            p[i] = low
        elif p[i] > high:
            p[i] = high


@jit
def square_sum(x):
    """The sum of squares, in float64."""
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


@jit
def largest(x):
    """The largest absolute value; NaN if there is one."""
    found = 0.0
    for i in range(x.size):
        a = np.float64(abs(x[i]))
        if not a <= found:
            found = a
            if a != a:
                break
    return found


def each(name: str, dtype: str, table: np.ndarray, numbers: tuple[float, ...]) -> None:
    """The rule `name` for every row of a table: the elements, and where each array has them."""
    large = table[:, 0].sum() >= 2 * PIECE
    if large:
        table = in_pieces(table, np.dtype(dtype).itemsize)
    values = np.array(numbers, dtype)
    rows = table.ctypes.data, 8 * table.shape[1], 0
    record = np.array([len(table), values.ctypes.data, *rows], np.int64)
    threads.do(_each(name, dtype, table.shape[1] - 1, len(numbers)), record, 2 if large else 0)


def in_pieces(table: np.ndarray, itemsize: int) -> np.ndarray:
    """The table with rows of `PIECE` elements at most, so that threads can share them."""
    pieces = -(-table[:, 0] // PIECE)
    first = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    found = np.repeat(table, pieces, axis=0)
    found[:, 0] = np.minimum(found[:, 0] - first * PIECE, PIECE)
    found[:, 1:] += (first * PIECE * itemsize)[:, None]
    return found


@made_once
def _each(name: str, dtype: str, arrays: int, numbers: int) -> int:
    """The address of the kernel that does a rule for rows of a table, its one operand."""
    given = [f"row(load(q + {8 * j + 8}), load(q))" for j in range(arrays)]
    given += [f"numbers[{j}]" for j in range(numbers)]
    source = (
        f"def {name}_each(call, context):\n"
        f"    numbers = row(load(call + 8), {numbers})\n"
        "    for k in range(load(call)):\n"
        "        q = load(call + 16) + load(call + 24) * k\n"
        f"        {name}({', '.join(given)})\n"
    )
    namespace = {"__name__": __name__, "row": ROW[dtype], "load": load, name: globals()[name]}
    function = function_of(source, f"{name}_each", namespace)
    function.generated_source = f"{dtype}\n{source}"
    return callback_address(function, KERNEL_TYPE)
