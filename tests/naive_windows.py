"""Convolution, pooling and normalisation of one row, by numpy and loops."""

import itertools

import numpy as np


def places(size, k, s, d, before, after):
    return (size + before + after - d * (k - 1) - 1) // s + 1


def convolved(x, weight, bias, stride, padding, dilation, groups):
    """x (channels, axes...), weight (out, channels / groups, window...); padding in pairs."""
    out, inner, *kernel = weight.shape
    padded = np.pad(x, [(0, 0), *padding])
    shape = [
        places(n, k, s, d, *p)
        for n, k, s, d, p in zip(x.shape[1:], kernel, stride, dilation, padding, strict=True)
    ]
    y = np.zeros((out, *shape))
    for o, place in itertools.product(range(out), itertools.product(*map(range, shape))):
        first = o // (out // groups) * inner
        for c, j in itertools.product(range(inner), itertools.product(*map(range, kernel))):
            at = [t * s + i * d for t, s, i, d in zip(place, stride, j, dilation, strict=True)]
            y[(o, *place)] += weight[(o, c, *j)] * padded[(first + c, *at)]
    return y if bias is None else y + bias.reshape(-1, *[1] * len(shape))


def transposed(x, weight, bias, stride, padding, output_padding, dilation, groups):
    inner, out, *kernel = weight.shape
    shape = [
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, s, d, k, e in zip(x.shape[1:], stride, dilation, kernel, output_padding, strict=True)
    ]
    y = np.zeros((out * groups, *shape))
    for c, place in itertools.product(range(inner), itertools.product(*map(range, x.shape[1:]))):
        first = c // (inner // groups) * out
        for o, j in itertools.product(range(out), itertools.product(*map(range, kernel))):
            at = [t * s + i * d for t, s, i, d in zip(place, stride, j, dilation, strict=True)]
            y[(first + o, *at)] += weight[(c, o, *j)] * x[(c, *place)]
    cut = tuple(slice(p, n - p) for p, n in zip(padding, shape, strict=True))
    y = y[(slice(None), *cut)]
    return y if bias is None else y + bias.reshape(-1, *[1] * len(shape))


def pooled(x, kernel, stride, padding, largest, ceil=False, padded=True):
    """x (channels, axes...)."""
    shape = []
    for n, k, s, p in zip(x.shape[1:], kernel, stride, padding, strict=True):
        count = (n + 2 * p - k) // s + 1
        if ceil and (n + 2 * p - k) % s and count * s < n + p:
            count += 1
        shape.append(count)
    y = np.zeros((len(x), *shape))
    for place in itertools.product(*map(range, shape)):
        starts = [t * s - p for t, s, p in zip(place, stride, padding, strict=True)]
        ends = [
            min(a + k, n + p)
            for a, k, n, p in zip(starts, kernel, x.shape[1:], padding, strict=True)
        ]
        real = tuple(
            slice(max(a, 0), min(b, n)) for a, b, n in zip(starts, ends, x.shape[1:], strict=True)
        )
        window = x[(slice(None), *real)].reshape(len(x), -1)
        size = np.prod([b - a for a, b in zip(starts, ends, strict=True)])
        divisor = size if padded else window.shape[1]
        y[(slice(None), *place)] = window.max(1) if largest else window.sum(1) / divisor
    return y


def adaptive(x, wanted, largest):
    y = np.zeros((len(x), *wanted))
    for place in itertools.product(*map(range, wanted)):
        cut = tuple(
            slice(i * n // m, -(-(i + 1) * n // m))
            for i, m, n in zip(place, wanted, x.shape[1:], strict=True)
        )
        window = x[(slice(None), *cut)].reshape(len(x), -1)
        y[(slice(None), *place)] = window.max(1) if largest else window.mean(1)
    return y


def standardized(x, axes, eps=1e-5):
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps)


def group_norm(x, groups, weight, bias, eps=1e-5):
    y = standardized(x.reshape(groups, -1), 1, eps).reshape(x.shape)
    channels = (-1, *[1] * (x.ndim - 1))
    return y * weight.reshape(channels) + bias.reshape(channels)
