"""Random programs, run by lazynet and by numpy: what every policy has to agree on.

A program is a list of instructions over vectors of 4 floats and Sequences of such rows. Every
instruction keeps values of moderate size, so that programs may be thousands of nodes deep.
"""

import numpy as np
from hypothesis import strategies as st
from naive import linear, sigmoid, softmax
from naive_runs import attention, log_scan

import lazynet as ln
from lazynet.ops import linear as products
from lazynet.ops import loss as losses
from lazynet.ops import reduce, rows, segments

WIDTH = 4
CLASSES = 7


def lazy_part(x, first):
    return rows.cat([x.chunk(2)[first], x.chunk(2)[1 - first]])


def naive_part(x, first):
    halves = [x[..., :2], x[..., 2:]]
    return np.concatenate([halves[first], halves[1 - first]], -1)


def lazy_segments(x, index, count):
    return ln.tanh(segments.segment_sum(x, index, count))


def naive_segments(x, index, count):
    y = np.zeros((count, WIDTH))
    np.add.at(y, np.array(index, np.int64), x)
    return np.tanh(y)


def lazy_attention(x):
    """Each row attends to those up to it; the last one to all, which come in pieces."""
    attend = ln.nn.functional.scaled_dot_product_attention
    y = attend(x, x, x, is_causal=True, heads=2)
    return y + attend(x[-1], [x[:1], *x[1:]], [x[:1], *x[1:]], heads=2) if len(x) else y


def naive_attention(x):
    h = x.reshape(len(x), 2, WIDTH // 2)
    scale = (WIDTH // 2) ** -0.5
    y = attention(h, h, h, scale, 0.0, (0, 0, 0))
    last = attention(h[-1:], h, h, scale, 0.0, (len(x), 0, 0)) if len(x) else 0
    return (y + last).reshape(x.shape)


def naive_log_probability(x, target):
    p = np.log(softmax(x, -1))
    return p[target] if x.ndim == 1 else p[np.arange(len(x)), np.array(target, np.int64)]


# name: (lazynet, numpy). `p` holds the parameters; T is a row, S a Sequence, L a list of rows.
ELEMENTWISE = {
    "tanh": (lambda p, x: ln.tanh(x), lambda p, x: np.tanh(x)),
    "sigmoid": (lambda p, x: ln.sigmoid(x), lambda p, x: sigmoid(x)),
    "softmax": (lambda p, x: x.softmax(-1), lambda p, x: softmax(x, -1)),
    "log_softmax": (lambda p, x: x.log_softmax() * 0.1, lambda p, x: np.log(softmax(x, -1)) * 0.1),
    "linear": (
        lambda p, x: ln.tanh(products.linear(x, p["weight"], p["bias"])),
        lambda p, x: np.tanh(linear(x, p["weight"], p["bias"])),
    ),
    "product": (lambda p, x: x @ (p["weight"] * 0.5), lambda p, x: x @ p["weight"] * 0.5),
    "halves": (lambda p, x: lazy_part(x, 1), lambda p, x: naive_part(x, 1)),
    "sum": (
        lambda p, x: x.sum(-1, keepdim=True) * 0.25 + x * 0.5,
        lambda p, x: x.sum(-1, keepdims=True) * 0.25 + x * 0.5,
    ),
    "matrix": (
        lambda p, x: x.reshape(2, 2).sum(-2).reshape(2, 1).reshape(2) @ (p["wide"] * 0.5),
        lambda p, x: x.reshape(*x.shape[:-1], 2, 2).sum(-2) @ p["wide"] * 0.5,
    ),
    "log_of_sum": (
        lambda p, x: x.logsumexp(-1, keepdim=True) * 0.25 + x * 0.5,
        lambda p, x: np.log(np.exp(x).sum(-1, keepdims=True)) * 0.25 + x * 0.5,
    ),
    "scale": (lambda p, x: p["bias"] * x + x / 2, lambda p, x: p["bias"] * x + x / 2),
    "power": (lambda p, x: (x * x + 1.0) ** 0.5 - 1.0, lambda p, x: (x * x + 1.0) ** 0.5 - 1.0),
}
PAIRS = {
    "mix": (lambda p, x, y: (x + y) * 0.5, lambda p, x, y: (x + y) * 0.5),
    "gate": (lambda p, x, y: ln.sigmoid(x) * y, lambda p, x, y: sigmoid(x) * y),
    "cat": (
        lambda p, x, y: rows.cat([x.chunk(2)[0], y.chunk(2)[1]]),
        lambda p, x, y: np.concatenate(
            np.broadcast_arrays(x[..., :2], y[..., :2])[0:1]
            + np.broadcast_arrays(x[..., 2:], y[..., 2:])[1:], -1
        ),
    ),
    "dot": (
        lambda p, x, y: ln.tanh((x * y).sum(-1, keepdim=True)) * x,
        lambda p, x, y: np.tanh((x * y).sum(-1, keepdims=True)) * x,
    ),
}  # fmt: skip
TENSORS = {
    "rows": (lambda p, x: rows.sequence([x, x * 0.5]), lambda p, x: np.stack([x, x * 0.5])),
    "elements": (
        lambda p, x: x[1] * x + rows.cat([x[2:], x[:2]]) * 0.5,
        lambda p, x: x[1] * x + np.concatenate([x[2:], x[:2]]) * 0.5,
    ),
    "pick": (lambda p, x: ln.pick(x, 3) * 0.5 + x * 0.5, lambda p, x: x[3] * 0.5 + x * 0.5),
}
SEQUENCES = {
    "reverse": (lambda p, x: x[::-1], lambda p, x: x[::-1]),
    "slice": (lambda p, x: x[1:], lambda p, x: x[1:]),
    "strided": (lambda p, x: x[::-2], lambda p, x: x[::-2]),
    "row_sum": (lambda p, x: ln.tanh(x.sum(0)), lambda p, x: np.tanh(x.sum(0))),
    "weighted": (
        lambda p, x: (x @ p["bias"]).softmax(0) @ x,
        lambda p, x: softmax(x @ p["bias"], 0) @ x if len(x) else np.zeros(4),
    ),
    "row_softmax": (lambda p, x: x.softmax(0), lambda p, x: softmax(x, 0) if len(x) else x),
    "attention": (lambda p, x: lazy_attention(x) * 0.5, lambda p, x: naive_attention(x) * 0.5),
    "log_scan": (
        lambda p, x: ln.tanh(ln.log_scan(x, p["weight"], p["bias"])),
        lambda p, x: np.tanh(log_scan(x, p["weight"][None], p["bias"][None])),
    ),
    "ends": (
        lambda p, x: (x[0] + x[-1]) * 0.5 if len(x) else ln.lookup(p["table"], 0),
        lambda p, x: (x[0] + x[-1]) * 0.5 if len(x) else p["table"][0],
    ),
    "list": (
        lambda p, x: rows.sequence([ln.tanh(r) for r in x]) if len(x) else x,
        lambda p, x: np.tanh(x),
    ),
    "max": (
        lambda p, x: x.max(0) if len(x) else ln.lookup(p["table"], 1),
        lambda p, x: x.max(0) if len(x) else p["table"][1],
    ),
}
TOGETHER = {
    "sum": (lambda p, *x: ln.tanh(reduce.sum(list(x))), lambda p, *x: np.tanh(np.sum(x, 0))),
    "mean": (lambda p, *x: reduce.mean(list(x)), lambda p, *x: np.mean(x, 0)),
    "stack": (lambda p, *x: rows.sequence(list(x)), lambda p, *x: np.stack(x)),
}
JOIN = (
    lambda p, *x: rows.cat(list(x), 0) if any(map(len, x)) else x[0],
    lambda p, *x: np.concatenate(x),
)
BY_INDEX = {
    "gather": (lambda p, x, i: x[i], lambda p, x, i: x[np.array(i, np.int64)]),
    "segments": (
        lambda p, x, i, k: lazy_segments(x, i, k), lambda p, x, i, k: naive_segments(x, i, k),
    ),
}  # fmt: skip
LOOKUP = lambda p, i: ln.lookup(p["table"], i), lambda p, i: p["table"][np.array(i, np.int64)]


def _entropies(x, targets):
    """Cross-entropy in one go and step by step."""
    step_by_step = losses.nll_loss(x.log_softmax(), targets, "none")
    return losses.cross_entropy(x, targets, "none") + step_by_step


ENTROPY = (
    lambda p, x, t: x * 0.5 - _entropies(x, t) * 0.025,
    lambda p, x, t: x * 0.5 + naive_log_probability(x, t)[..., None] * 0.05,
)


class Program:
    """A random program of `size` instructions; a shorter one of the same seed is its beginning."""

    def __init__(self, seed: int, size: int, forwards: int = 0):
        random = np.random.default_rng(seed)
        self.leaves = [random.standard_normal(WIDTH) for _ in range(3)]
        self.leaves += [random.standard_normal((n, WIDTH)) for n in (0, 1, 5)]
        self.parameters = {
            "weight": random.standard_normal((WIDTH, WIDTH)) * 0.5,
            "bias": random.standard_normal(WIDTH) * 0.5,
            "wide": random.standard_normal((2, WIDTH)) * 0.5,
            "table": random.standard_normal((CLASSES, WIDTH)),
        }
        self.lengths = [None if a.ndim == 1 else len(a) for a in self.leaves]
        self.steps = [self._step(random) for _ in range(size)]
        self.picked = random.random(len(self.lengths)) < 0.5
        self.picked[-1] = True
        self.weights = [
            random.standard_normal(WIDTH if n is None else (n, WIDTH)) for n in self.lengths
        ]
        chosen = np.random.default_rng(seed + 1).integers(0, max(size, 1), forwards)
        self.forwards = set(chosen.tolist())  # after these steps everything pending is run

    def _operand(self, random, wanted=lambda n: True):
        """A value, recent ones more often than old ones."""
        for _ in range(20):
            count = len(self.lengths)
            reach = count if random.random() < 0.2 else min(count, 12)
            k = count - 1 - int(random.integers(reach))
            if wanted(self.lengths[k]):
                return k
        return next(k for k, n in enumerate(self.lengths) if wanted(n))

    def _step(self, random):
        """(name, lazy, naive, operands, further arguments); notes the length of the result."""
        kind = random.choice(
            ["elementwise", "pair", "tensor", "sequence", "gather", "segments", "lookup", "tokens",
             "sum", "mean", "stack", "join", "entropy"]
        )  # fmt: skip
        make = {
            **dict.fromkeys(["elementwise", "pair", "tensor", "sequence"], self._of_table),
            **dict.fromkeys(["gather", "segments"], self._by_index),
            **dict.fromkeys(["lookup", "tokens"], self._of_parameter),
            "join": self._join, "entropy": self._entropy,
        }.get(kind, self._of_rows)  # fmt: skip
        name, length, *step = make(kind, random)
        self.lengths.append(length)
        return name, *step

    def _of_table(self, kind, random):
        """One of the functions above, of one value or of two."""
        wanted = {"tensor": lambda n: n is None, "sequence": lambda n: n is not None}
        a = self._operand(random, wanted.get(kind, lambda n: True))
        operands, n = [a], self.lengths[a]
        length = n
        if kind == "pair":
            b = self._operand(random, lambda m: n is None or m is None or m == n)
            operands.append(b)
            length = n if n is not None else self.lengths[b]
        tables = {"elementwise": ELEMENTWISE, "pair": PAIRS, "tensor": TENSORS}
        table = tables.get(kind, SEQUENCES)
        name = random.choice(list(table))
        length = {
            "rows": 2, "row_sum": None, "weighted": None, "ends": None, "max": None,
            "slice": max((n or 0) - 1, 0), "strided": ((n or 0) + 1) // 2,
        }.get(name, length)  # fmt: skip
        return name, length, *table[name], operands, ()

    def _by_index(self, kind, random):
        """Rows taken by index, or added up by index."""
        a = self._operand(random, lambda n: bool(n))
        n, length = self.lengths[a], int(random.integers(0, 6))
        if kind == "gather":
            more = (random.integers(0, n, length).tolist(),)
        else:
            length += 1
            more = (random.integers(0, length, n).tolist(), length)
        return kind, length, *BY_INDEX[kind], [a], more

    def _of_parameter(self, kind, random):
        """A row of the table, or several."""
        if kind == "lookup":
            return kind, None, *LOOKUP, [], (int(random.integers(CLASSES)),)
        length = int(random.choice([0, 1, 4]))
        return kind, length, *LOOKUP, [], (random.integers(0, CLASSES, length).tolist(),)

    def _entropy(self, kind, random):
        """A loss of each row, added to it."""
        a = self._operand(random)
        length = self.lengths[a]
        targets = random.integers(0, WIDTH, length).tolist() if length is not None else 2
        return kind, length, *ENTROPY, [a], (targets,)

    def _join(self, kind, random):
        """Two Sequences, one after the other."""
        operands = [self._operand(random, lambda n: n is not None and n < 8) for _ in range(2)]
        return kind, sum(self.lengths[k] for k in operands), *JOIN, operands, ()

    def _of_rows(self, kind, random):
        """One to five Tensors together."""
        count = int(random.integers(1, 6))
        operands = [self._operand(random, lambda n: n is None) for _ in range(count)]
        return kind, len(operands) if kind == "stack" else None, *TOGETHER[kind], operands, ()

    def naive(self, leaves=None, parameters=None):
        """All values, and the loss, by numpy."""
        values = list(self.leaves if leaves is None else leaves)
        parameters = self.parameters if parameters is None else parameters
        for _, _, naive, operands, more in self.steps:
            values.append(naive(parameters, *(values[k] for k in operands), *more))
        chosen = zip(values, self.weights, self.picked, strict=True)
        return values, sum((v * w).sum() for v, w, used in chosen if used)

    def lazy(self, policy="auto"):
        """All values, the loss, and the gradients of leaves and parameters, by lazynet."""
        with ln.batching(policy):
            leaves = [ln.tensor(a, requires_grad=True) for a in self.leaves]
            parameters = {name: ln.Parameter(a) for name, a in self.parameters.items()}
            values = [rows.sequence(x) if x.ndim == 2 else x for x in leaves]
            for k, (_, lazy, _, operands, more) in enumerate(self.steps):
                values.append(lazy(parameters, *(values[k] for k in operands), *more))
                if k in self.forwards:
                    ln.forward()
            terms = [self._term(k, v) for k, v in enumerate(values)]
            loss = reduce.sum([term for term in terms if term is not None])
            arrays = [v.numpy() for v in values]
            loss.backward()
        return arrays, loss.item(), _gradients(leaves, parameters)

    def lazy_and_dropped(self):
        """The loss and the gradients, where each value is dropped after its last use."""
        last = {}
        for k, (_, _, _, operands, _) in enumerate(self.steps):
            last.update(dict.fromkeys(operands, k))
        leaves = [ln.tensor(a, requires_grad=True) for a in self.leaves]
        parameters = {name: ln.Parameter(a) for name, a in self.parameters.items()}
        values = [rows.sequence(x) if x.ndim == 2 else x for x in leaves]
        terms = [self._term(k, values[k]) for k in range(len(values))]
        for k, (_, lazy, _, operands, more) in enumerate(self.steps):
            values.append(lazy(parameters, *(values[j] for j in operands), *more))
            terms.append(self._term(len(values) - 1, values[-1]))
            for j in operands:
                if last[j] == k:
                    values[j] = None
            if k in self.forwards:
                ln.forward()
        del values
        loss = reduce.sum([term for term in terms if term is not None])
        del terms
        loss.backward()
        return loss.item(), _gradients(leaves, parameters)

    def _term(self, k, value):
        """What value `k` adds to the loss, if it adds anything."""
        if not self.picked[k]:
            return None
        w = ln.tensor(self.weights[k])
        return reduce.sum(value * (rows.sequence(w) if value.ndim == 2 else w))

    def slope(self, random, step=1e-6):
        """A random direction for leaves and parameters, and the naive loss's slope along it."""
        direction = [
            random.standard_normal(a.shape) for a in (*self.leaves, *self.parameters.values())
        ]

        def moved(distance):
            leaves = [a + distance * d for a, d in zip(self.leaves, direction, strict=False)]
            rest = direction[len(self.leaves) :]
            parameters = {
                name: a + distance * d
                for (name, a), d in zip(self.parameters.items(), rest, strict=True)
            }
            return self.naive(leaves, parameters)[1]

        return direction, (moved(step) - moved(-step)) / (2 * step)


def _gradients(leaves, parameters):
    """The gradients of leaves and parameters; zeros for those that have none."""
    return [
        np.zeros(x.shape) if x.graph.gradient is None else x.graph.gradient.copy()
        for x in (*leaves, *parameters.values())
    ]


def programs(size=40):
    """Programs of up to `size` instructions, with up to three forwards in the middle."""
    return st.builds(Program, st.integers(0, 2**31), st.integers(0, size), st.integers(0, 3))
