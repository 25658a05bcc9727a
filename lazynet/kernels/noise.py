"""Random rows: a counter-based generator."""

import numpy as np

from lazynet.kernels.jit import word
from lazynet.kernels.memory import address, load, row_float64
from lazynet.kernels.words import constant, lanes, log, payload_words, row


def uniform(call, context):
    """y ~ U[0, 1) from a counter; attributes: accumulate, width; operands: payload, y.

    Element j of an item with payload (stream, counter) is squares32 of Widynski ("Squares: a fast
    counter-based RNG", 2020) under a key mixed from the stream: it depends on nothing else.
    """
    items, width = load(call), load(call + 16)
    payload = payload_words(load(call + 24), 2 * items)
    for r in range(items):
        y = row(address(call + 48, r), width)
        key, counter = row_key(payload[2 * r], payload[2 * r + 1])
        for j in lanes(width):
            y[j] = constant(squares32(counter + np.uint64(j), key)) * constant(2.0**-24)


def normal(call, context):
    """y ~ N(0, 1) from a counter, by the transform of Box and Muller (1958); as `uniform`.

    Element j is made of the uniform numbers 2 j and 2 j + 1.
    """
    items, width = load(call), load(call + 16)
    payload = payload_words(load(call + 24), 2 * items)
    for r in range(items):
        y = row(address(call + 48, r), width)
        key, counter = row_key(payload[2 * r], payload[2 * r + 1])
        for j in lanes(width):
            # In (0, 1]: the logarithm of 0 is never asked for.
            u = constant(squares32(counter + np.uint64(2 * j), key) + 1) * constant(2.0**-24)
            v = constant(squares32(counter + np.uint64(2 * j + 1), key)) * constant(2.0**-24)
            y[j] = np.sqrt(constant(-2.0) * log(u)) * np.cos(constant(2.0 * np.pi) * v)


def drop(call, context):
    """y = x / (1 - p), or 0 with probability p; attributes: accumulate, width, bits of p.

    Element j is dropped where the uniform number j is below p. Operands: payload, x, y.
    """
    items, width, p = load(call), load(call + 16), row_float64(call + 24, 1)[0]
    payload = payload_words(load(call + 32), 2 * items)
    scale, limit = constant(kept_scale(p)), drop_limit(p)
    for r in range(items):
        x, y = row(address(call + 56, r), width), row(address(call + 80, r), width)
        key, counter = row_key(payload[2 * r], payload[2 * r + 1])
        for j in lanes(width):
            y[j] = x[j] * scale if squares32(counter + np.uint64(j), key) >= limit else constant(0)


@word
def kept_scale(p):
    """What an element that is kept is multiplied by; with p = 1 none is."""
    return 1.0 / (1.0 - p) if p < 1.0 else 0.0


@word
def drop_limit(p):
    """The number of 24 bits from which on an element is kept."""
    return np.int64(np.ceil(p * 2.0**24))


@word
def row_key(stream, counter):
    """The key and the first counter of a row, from its payload."""
    return stream_key(stream), np.uint64(np.uint32(counter)) << np.uint64(32)


@word
def stream_key(stream):
    """A 64-bit key with well-mixed bits from a 32-bit stream number (splitmix64's finalizer)."""
    z = np.uint64(np.uint32(stream)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) | np.uint64(1)


@word
def squares32(counter, key):
    """The upper 24 of the 32 random bits that four squaring rounds give for `counter`."""
    half = np.uint64(32)
    x = counter * key
    y = x
    z = y + key
    x = x * x + y
    x = (x >> half) | (x << half)
    x = x * x + z
    x = (x >> half) | (x << half)
    x = x * x + y
    x = (x >> half) | (x << half)
    return np.int64((x * x + z) >> np.uint64(40))
