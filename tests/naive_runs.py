"""The slow, obvious version of the ops over runs: from the rows of one example to rows."""

import itertools

import numpy as np


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def squares(stream, number):
    """The random bits of a counter (Widynski, 2020), in Python's own integers."""
    low = 2**64 - 1
    z = (stream * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & low
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & low
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & low
    key = (z ^ (z >> 31)) | 1
    x = y = (number * key) & low
    for added in (y, (y + key) & low, y):
        x = (x * x + added) & low
        x = (x >> 32) | ((x << 32) & low)
    return ((x * x + y + key) & low) >> 40


def kept(shape, p, payload):
    """What elements are multiplied with when some are dropped."""
    stream, counter = payload
    numbers = range((counter << 32), (counter << 32) + int(np.prod(shape)))
    uniform = np.array([squares(stream, j) * 2.0**-24 for j in numbers]).reshape(shape)
    return (uniform >= p) / (1 - p)


def attention(q, k, v, scale, p, payload):
    drop = kept((len(q), len(k), q.shape[1]), p, payload[1:])
    y = np.zeros((len(q), q.shape[1], v.shape[2]))
    for i in range(len(q)):
        seen = min(len(k), i + payload[0] + 1)
        for h in range(q.shape[1]):
            w = softmax(np.array([scale * q[i, h] @ k[j, h] for j in range(seen)]))
            y[i, h] = sum(w[j] * drop[i, j, h] * v[j, h] for j in range(seen))
    return y


def pair_scores(q, k):
    return np.array([(a * b).sum(-1) for a in q for b in k]).reshape(-1, q.shape[1])


def pair_sum(p, v):
    return np.einsum("ijh,jhd->ihd", p.reshape(-1, len(v), v.shape[1]), v)


def pair_sum_back(p, x):
    return np.einsum("ijh,ihd->jhd", p.reshape(len(x), -1, x.shape[1]), x)


def pair_softmax(x, payload):
    keys, reach = payload
    y = np.zeros(x.shape)
    for at in range(0, len(x), keys):
        seen = min(keys, at // keys + reach + 1)
        for h in range(x.shape[1]):
            y[at : at + seen, h] = softmax(x[at : at + seen, h])
    return y


def pair_total(x, payload):
    return np.repeat(x.reshape(-1, payload[0], x.shape[1]).sum(1), payload[0], 0)


def log_scan(x, w, a):
    y = [x[0] + a[0]] if len(x) else []
    for t in range(1, len(x)):
        y.append(x[t] + np.log(np.exp(y[-1][:, None] + w[0]).sum(0)))
    return np.array(y).reshape(x.shape)


def linear_scan(x, w):
    y = list(x[:1])
    for t in range(1, len(x)):
        y.append(x[t] + y[-1] @ w[t - 1])
    return np.array(y).reshape(x.shape)


def viterbi(x, w, a, b):
    """The best of all paths, one by one."""

    def score(path):
        if not path:
            return 0.0
        steps = sum(w[0][i, j] for i, j in itertools.pairwise(path))
        return sum(x[t][i] for t, i in enumerate(path)) + steps + a[0][path[0]] + b[0][path[-1]]

    return np.array(max(itertools.product(range(x.shape[1]), repeat=len(x)), key=score), np.int64)


def ctc(x, labels, blank):
    """The sum over all alignments, one by one."""
    total = 0.0
    for path in itertools.product(range(x.shape[1]), repeat=len(x)):
        found = [k for k, _ in itertools.groupby(path) if k != blank]
        if found == list(labels):
            total += np.exp(sum(x[t, k] for t, k in enumerate(path)))
    with np.errstate(divide="ignore"):
        return np.array([-np.log(total)])


def put_each(x, n, count=4):
    """y[n[k, j], j] += x[k, j], from zeros."""
    y = np.zeros((count, *x.shape[1:]))
    for k in range(len(x)):
        for j in np.ndindex(x.shape[1:]):
            y[(n[k][j], *j)] += x[(k, *j)]
    return y


RUNS = {
    "argsort_rows": lambda x, descending: np.argsort(-x if descending else x, 0, kind="stable"),
    "take_each": lambda x, n: np.take_along_axis(x, n, 0),
    "put_each": put_each,
    "ctc": ctc,
    "join_rows": lambda x, count: x[None],
    "pair_drop": lambda x, p, payload: x * kept(x.shape, p, payload),
    "log_scan": log_scan,
    "linear_scan": linear_scan,
    "viterbi": viterbi,
    "attention": attention,
    "pair_scores": pair_scores,
    "pair_sum": pair_sum,
    "pair_sum_back": pair_sum_back,
    "pair_softmax": pair_softmax,
    "pair_total": pair_total,
}
