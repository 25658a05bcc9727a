"""Runs ops on kernels that check their indices: `python bounds.py [NAME...]`.

Needs NUMBA_BOUNDSCHECK=1 and a cache of its own. Without names, all ops of the registry run. numba
reports an index out of bounds on the error stream; here it is counted.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.chdir(Path(__file__).parent)

import numpy as np  # noqa: E402
from test_ops import CASES, draw, lazy, run  # noqa: E402
from test_runs import CASES as RUNS  # noqa: E402
from test_runs import draw as draw_runs  # noqa: E402
from test_runs import run as run_runs  # noqa: E402

import lazynet as ln  # noqa: E402
from lazynet.batching import layout as words  # noqa: E402
from lazynet.op import REGISTRY  # noqa: E402
from lazynet.ops.take import TAKE_AXIS  # noqa: E402
from lazynet.record import record  # noqa: E402

LENGTHS = (0, 1, 5)


def values(y):
    """Run forward and, where there is one, backward."""
    if y.requires_grad and y.dtype.kind == "f":
        ln.sum(y).backward() if y.shape or isinstance(y, ln.Sequence) else y.backward()
    return y.numpy()


def one(op, sample):
    """An op on single rows, and on Sequences of all lengths."""
    for length in LENGTHS if op.kind != words.SEGMENT else LENGTHS[1:]:
        handles = []
        for k in range(len(sample.operands)):
            parameter = k in sample.parameters
            array = draw(sample, k, None if parameter else length, "float32")
            handles.append(lazy(array, not parameter, parameter))
        values(run(op, sample, handles, length))


def main(names):
    """Run them; gives how many."""
    done = 0
    for op, sample in CASES:
        if op.kind != words.RUNS and (not names or op.name in names):
            one(op, sample)
            done += 1
    for case in RUNS:
        op, sample, form = case.values
        if not names or op.name in names:
            for size in ((1, 1), (3, 4)):
                arrays = draw_runs(sample, form(*size)[0], "float32")
                values(run_runs(op, sample, form, size, [lazy(a, True) for a in arrays]))
            done += 1
    return done


if __name__ == "__main__":
    if sys.argv[1:] == ["--wrong"]:  # what has to be reported
        places = ln.tensor(np.array([99]))
        record(TAKE_AXIS, (ln.tensor(np.zeros(3, "f")), places), (("axis", 0),)).numpy()
    else:
        unknown = set(sys.argv[1:]) - REGISTRY.keys()
        assert not unknown, unknown
        print(main(set(sys.argv[1:])), "ran")
