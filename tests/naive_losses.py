"""Losses by numpy: of each element, or of each row where a loss is of a row."""

import numpy as np
from naive_elementwise import sigmoid


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def huber(x, t, delta=1.0):
    d = np.abs(x - t)
    return np.where(d <= delta, d**2 / 2, delta * (d - delta / 2))


def smooth_l1(x, t, beta=1.0):
    d = np.abs(x - t)
    return np.where(d < beta, d**2 / (2 * beta), d - beta / 2) if beta else d


def binary(x, t):
    with np.errstate(divide="ignore"):
        return -(t * np.maximum(np.log(x), -100) + (1 - t) * np.maximum(np.log(1 - x), -100))


def kl(x, t, log_target=False):
    if log_target:
        return np.exp(t) * (t - x)
    return np.where(t > 0, t * (np.log(np.where(t > 0, t, 1)) - x), 0)


def poisson(x, t, log_input=True, full=False, eps=1e-8):
    y = np.exp(x) - t * x if log_input else x - t * np.log(x + eps)
    if full:
        s = np.where(t > 1, t, 1)
        y = y + np.where(t > 1, s * np.log(s) - s + np.log(2 * np.pi * s) / 2, 0)
    return y


def gaussian(x, t, var, full=False, eps=1e-6):
    v = np.maximum(var, eps)
    return (np.log(v) + (x - t) ** 2 / v) / 2 + (np.log(2 * np.pi) / 2 if full else 0)


def distance(x, y, p=2.0, eps=1e-6):
    d = np.abs(x - y + eps)
    return d.max(-1) if p == np.inf else (d**p).sum(-1) ** (1 / p)


def triplet(a, x, y, margin=1.0, p=2.0, eps=1e-6, swap=False):
    far = distance(a, y, p, eps)
    far = np.minimum(far, distance(x, y, p, eps)) if swap else far
    return np.maximum(distance(a, x, p, eps) - far + margin, 0)


def cosine(x, y, eps=1e-8):
    sizes = [np.maximum(np.linalg.norm(v, axis=-1), eps) for v in (x, y)]
    return (x * y).sum(-1) / (sizes[0] * sizes[1])


def cosine_embedding(x, y, t, margin=0.0):
    c = cosine(x, y)
    return np.where(t == 1, 1 - c, np.maximum(c - margin, 0))


def multi_margin(x, target, p=1, margin=1.0, weight=None):
    y = np.zeros(len(x))
    for j, k in enumerate(target):
        for i in range(x.shape[1]):
            if i != k:
                y[j] += max(0, margin - x[j, k] + x[j, i]) ** p / x.shape[1]
        y[j] *= 1 if weight is None else weight[k]
    return y


def multilabel_soft_margin(x, t):
    return -(t * np.log(sigmoid(x)) + (1 - t) * np.log(sigmoid(-x))).mean(-1)


def cross_entropy(x, target, reduction, weight=None, ignore_index=-100, label_smoothing=0.0):
    scores, classes = log_softmax(x), x.shape[1]
    weight = np.ones(classes) if weight is None else weight
    losses, total = np.zeros(len(x)), 0.0
    for j, k in enumerate(target):
        if k == ignore_index:
            continue
        losses[j] = -(1 - label_smoothing) * weight[k] * scores[j, k]
        losses[j] -= label_smoothing / classes * (weight * scores[j]).sum()
        total += weight[k]
    if reduction == "none":
        return losses
    return losses.sum() / total if reduction == "mean" else losses.sum()
