"""The slow, obvious version of everything: what each op computes, and what a schedule must obey.

Nothing here imports the executor or the ops. Values are numpy arrays of float64, one row each; a
list of rows stands for a Sequence.
"""

import math

import naive_differentiation
import naive_elementwise
import naive_runs
import numpy as np
from naive_elementwise import sigmoid
from naive_runs import kept, softmax


def linear(x, weight, bias=0.0):
    return x @ weight.T + bias


def matmul(a, b, ta, tb):
    return (a.T if ta else a) @ (b.T if tb else b)


def scattered(x, rows, payload):
    y = np.zeros((rows, *x.shape))
    y[payload[0]] = x
    return y


def part(x, shape, payload):
    first = payload[0] // x.itemsize
    return x.reshape(-1)[first : first + math.prod(shape)].reshape(shape)


def taken(x, table, shape):
    return np.where(table.index >= 0, x.reshape(-1)[table.index], 0).reshape(shape)


def put(x, table, shape):
    y = np.zeros(math.prod(shape) + 1)  # the last element is where index -1 goes
    np.add.at(y, table.index, x.reshape(-1))
    return y[:-1].reshape(shape)


# What a row-wise op gives for one row of each operand.
def put_axis(x, n, axis, size):
    """y[n[k]] += x[k] along an axis, from zeros."""
    y = np.zeros((*x.shape[:axis], size, *x.shape[axis + 1 :]))
    for place in np.ndindex(x.shape):
        y[(*place[:axis], n[place], *place[axis + 1 :])] += x[place]
    return y


RUNS = {**naive_runs.RUNS, **naive_differentiation.RUNS}
ROWS = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "pow": lambda x, y: x**y,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "neg": lambda x: -x,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sign": np.sign,
    "square": lambda x: x * x,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda x: np.maximum(x, 0),
    "detach": lambda x: x,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "where": np.where,
    "to_float32": lambda x: x.astype(np.float32),
    "to_float64": lambda x: x.astype(np.float64),
    "to_int64": lambda x: x.astype(np.int64),
    "to_bool": lambda x: x.astype(bool),
    "matmul": matmul,
    "linear": linear,
    "sum": lambda x, axis: x.sum(axis),
    "max": lambda x, axis: x.max(axis),
    "argsort": lambda x, axis, descending, count: np.take(
        np.argsort(-x if descending else x, axis, kind="stable"), range(count), axis
    ),
    "cumsum": lambda x, axis, back: np.flip(
        np.cumsum(np.flip(x, axis) if back else x, axis), axis if back else ()
    ),
    "take_axis": lambda x, n, axis: np.take_along_axis(x, n, axis),
    "put_axis": put_axis,
    "logsumexp": lambda x, axis: np.log(np.exp(x).sum(axis)),
    "argmax": lambda x, axis: x.argmax(axis),
    "softmax": softmax,
    "log_softmax": lambda x, axis: np.log(softmax(x, axis)),
    "nll": lambda x, c: np.log(np.exp(x).sum()) - c,
    "scaled_softmax": lambda x, s: s * softmax(x, 0),
    "repeat": lambda x, axis, times: np.repeat(np.expand_dims(x, axis), times, axis),
    "transpose": lambda x: x.T,
    "zeros": np.zeros,
    "cat": lambda *rows: np.concatenate(rows, -1),
    "lookup": lambda table, payload: table[payload[0]],
    "dropout": lambda x, p, payload: x * kept(x.shape, p, payload),
    "take_row": lambda x, payload: x[payload[0]],
    "scatter_row": scattered,
    "alias": part,
    "take": taken,
    "bmm": lambda a, b, ta, tb: np.stack([matmul(x, y, ta, tb) for x, y in zip(a, b, strict=True)]),
    "solve": np.linalg.solve,
    "log_abs_det": lambda a: np.linalg.slogdet(a)[1],
    "det_sign": lambda a: np.linalg.slogdet(a)[0],
    "cholesky": np.linalg.cholesky,
    "put": put,
    **naive_differentiation.ROWS,
    **naive_elementwise.ROWS,
}

# What an op over segments gives for the rows of one segment: a row, or a list of rows.
SEGMENTS = {
    "row_sum": lambda rows: sum(rows, np.zeros(rows[0].shape)),
    "row_max": lambda rows: np.max(rows, 0),
    "row_share": lambda rows: 1 / len(rows),
    "row_softmax": lambda rows: list(softmax(np.array(rows), 0)),
    "row_log_softmax": lambda rows: list(np.log(softmax(np.array(rows), 0))),
    "row_cumsum": lambda rows, back: list(
        np.cumsum(rows[::-1], 0)[::-1] if back else np.cumsum(rows, 0)
    ),
    "gather": lambda rows: list(rows),
}


def longest_chains(signature, dependencies):
    """For each signature, the largest number of its nodes that wait for one another."""
    best = {}
    chains = []
    for i, s in enumerate(signature):
        longest = {}
        for d in dependencies[i]:
            for t, length in chains[d].items():
                longest[t] = max(longest.get(t, 0), length)
        longest[s] = longest.get(s, 0) + 1
        best[s] = max(best.get(s, 0), longest[s])
        chains.append(longest)
    return best


def check_schedule(signature, dependencies, order, batches):
    """Raise unless every node runs once, after its arguments, in a batch of its own signature."""
    assert sorted(order) == list(range(len(signature))), "every node runs exactly once"
    when = {}
    position = 0
    for number, (s, start, stop) in enumerate(batches):
        assert start == position < stop, "batches follow each other and are not empty"
        position = stop
        for i in order[start:stop]:
            assert signature[i] == s, "a batch has one signature"
            when[i] = number
    assert position == len(order)
    for i, arguments in enumerate(dependencies):
        for d in arguments:
            assert when[d] < when[i], "arguments run in an earlier batch"
