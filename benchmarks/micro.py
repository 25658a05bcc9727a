"""Micro figures: what the engine itself costs, apart from the arithmetic.

Each function takes `scale` (1 for the full size, less for a try) and gives rows of what, value and
unit.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np

import lazynet as ln
from benchmarks import workloads
from benchmarks.contenders import RACES
from benchmarks.workloads import Spec, parser
from lazynet import executor, nn, optim, race, running
from lazynet.batching.policies import NAMES
from lazynet.debugging import PerformanceHint
from lazynet.interpreter import places_of
from lazynet.kernels import blas
from lazynet.kernels.jit import jit
from lazynet.kernels.memory import call

Row = tuple[str, float, str]
REPEATS = 7


def _size(full: int, scale: float, least: int = 10) -> int:
    return max(least, int(full * scale))


def _median_of(function: Callable[[], float], repeats: int = REPEATS) -> float:
    return statistics.median(function() for _ in range(repeats))


# -- recording -------------------------------------------------------------------------------------


def recording(scale: float) -> list[Row]:
    """Recording one op, with the garbage collector on, as users have it."""
    count = _size(20_000, scale)
    weight, table = ln.Parameter(np.eye(8, dtype=np.float32)), nn.Embedding(100, 8)
    x, cell = ln.tanh(ln.tensor(np.ones(8, np.float32))), nn.LSTMCell(8, 8)
    state = x * 0.5, x * 0.25
    assert gc.isenabled()
    ops: dict[str, Callable[[], object]] = {
        "tanh(x)": lambda: ln.tanh(x),
        "x + y": lambda: x + x,
        "x * 2.0": lambda: x * 2.0,
        "linear(x, W)": lambda: ln.linear(x, weight),
        "embed(7)": lambda: table(7),
        "chunk(x, 2)": lambda: ln.chunk(x, 2),
        "cat([x, y])": lambda: ln.cat([x, x]),
        "a call of nn.LSTMCell": lambda: cell(x, state),
    }

    def seconds(op: Callable[[], object]) -> float:
        kept = []
        start = time.perf_counter()
        for _ in range(count):
            kept.append(op())
        elapsed = time.perf_counter() - start
        ln.forward()
        return elapsed / count

    for op in ops.values():
        seconds(op)
    return [(f"record {name}", 1e6 * _median_of(lambda op=op: seconds(op)), "us")
            for name, op in ops.items()]  # fmt: skip


# -- executor --------------------------------------------------------------------------------------


@jit
def _same_call(calls, times, context):
    """The first call of a stream, so many times: what its kernel costs, without a walk."""
    record = np.int64(calls.ctypes.data + 16)
    for _ in range(times):
        call(calls[0], record, context)


def interpreter(scale: float) -> list[Row]:
    """The executor's own cost: a stream of calls on one row of one element, minus the kernel."""
    count = _size(100_000, scale)
    streams: list[tuple[float, float]] = []
    execute = executor.execute

    def timed(words, stop, _) -> None:
        execute(words, stop)  # everything is in memory from here on
        calls, context = len(list(places_of(words, stop))), blas.context().ctypes.data

        def walk() -> float:
            start = time.perf_counter()
            execute(words, stop)
            return (time.perf_counter() - start) / calls

        def kernel() -> float:
            start = time.perf_counter()
            _same_call(words, calls, context)
            return (time.perf_counter() - start) / calls

        kernel()
        streams.append((_median_of(walk), _median_of(kernel)))

    x = ln.tensor(np.ones(1, np.float32))
    with ln.batching("none"), ln.no_grad():
        kept = [ln.tanh(x) for _ in range(count)]
        executor.execute = timed
        try:
            ln.forward()
        finally:
            executor.execute = execute
    assert not kept[-1].pending
    walked, kernel = streams[0]
    return [
        ("executor, one batch of one element", 1e9 * walked, "ns"),
        ("of it the kernel", 1e9 * kernel, "ns"),
        ("of it the executor", 1e9 * (walked - kernel), "ns"),
    ]


# -- scheduling and layout -------------------------------------------------------------------------


def planning(scale: float) -> list[Row]:
    """Scheduling and layout for each node, under each policy, for graphs of chains side by side."""
    rows: list[Row] = []
    for nodes in (10_000, 100_000, 1_000_000):
        if nodes > 1_000_000 * scale and nodes > 10_000:
            continue
        for policy in NAMES:
            taken: list[dict[str, float]] = []

            def observe(graph, run, taken=taken) -> None:
                taken.append(dict(run.seconds))

            for _ in range(3):
                ends = _chains(nodes)
                running.observers.append(observe)
                try:
                    with ln.batching(policy):
                        ln.forward()
                finally:
                    running.observers.remove(observe)
                del ends
            for phase in ("decode", "schedule", "lay out"):
                value = statistics.median(t[phase] for t in taken) / nodes
                rows.append((f"{phase}, {policy}, {nodes} nodes", 1e9 * value, "ns a node"))
    return rows


def _chains(nodes: int) -> list[ln.Tensor]:
    """Chains of 100 ops of three kinds, with nothing in common; each begins somewhere else."""
    x = ln.tensor(np.ones(1, np.float32))
    ops = (ln.tanh, ln.sigmoid, ln.relu)
    ends = []
    for k in range(max(1, nodes // 100)):
        y = x
        for step in range(k, k + 100):
            y = ops[step % 3](y)
        ends.append(y)
    return ends


# -- memory and size -------------------------------------------------------------------------------


def memory(scale: float) -> list[Row]:
    """How much higher memory peaks in the second half of long plain loops than in the first."""
    spec = Spec("tagger", 16, 16, 8, limit=64)
    learner = workloads.model(spec)
    batches = workloads.corpus("tagger", 64).batches(8)
    optimizer = optim.Adam(learner.parameters())

    def training(k: int) -> None:
        loss = ln.mean([learner.loss(example) for example in batches[k % len(batches)]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def inference(k: int) -> None:
        with ln.no_grad():
            learner(batches[k % len(batches)][0][0]).numpy()

    value = [ln.tensor(np.ones(4, np.float32))]

    def incremental(k: int) -> None:
        with ln.no_grad():
            value[0] = ln.tanh(value[0])
            value[0].numpy()

    rows: list[Row] = []
    for name, work, full in (
        ("training steps", training, 2_000),
        ("inference calls", inference, 20_000),
        ("incremental forwards", incremental, 100_000),
    ):
        count = _size(full, scale)
        peaks = [0.0, 0.0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PerformanceHint)  # not batching is what is tried here
            for k in range(count):
                work(k)
                half = 2 * k // count
                peaks[half] = max(peaks[half], race.memory("VmRSS"))
        rows.append((f"memory growth, {count} {name}", peaks[1] - peaks[0], "MiB"))
    return rows


def depth(scale: float) -> list[Row]:
    """Long chains and deep trees, forward and backward."""
    rows: list[Row] = []
    for name, grow, full in (
        ("chain", lambda h, x: ln.tanh(h + x), 100_000),
        ("tree", lambda h, x: ln.tanh(h * x + x), 50_000),  # a comb: every node has two children
    ):
        steps = _size(full, scale)
        x = ln.tensor(np.full(4, 0.5, np.float32), requires_grad=True)
        start = time.perf_counter()
        h = x
        for _ in range(steps):
            h = grow(h, ln.sigmoid(x) if name == "tree" else x)
        ln.sum(h).backward()
        rows.append(
            (f"{name}, {steps} deep, forward and backward", time.perf_counter() - start, "s")
        )
        assert np.isfinite(x.grad.numpy()).all()
    return rows


# -- promises --------------------------------------------------------------------------------------


def repeatable(scale: float) -> list[Row]:
    """Two trainings from one seed have the same losses, bit by bit."""

    def losses() -> list[float]:
        step = workloads.train(Spec("tagger", 16, 16, 8, limit=64))
        return [step(k) for k in range(_size(20, scale, least=3))]

    return [("losses that differ in a second training", float(sum(
        a != b for a, b in zip(losses(), losses(), strict=True))), "losses")]  # fmt: skip


def minibatch_of_one(scale: float) -> list[Row]:
    """Batching must not cost anything where there is nothing to batch."""
    rows: list[Row] = []
    for workload in (*RACES, "parser") if scale == 1.0 else ("tagger", "parser"):
        run = _step_on_one(workload)
        times: dict[str, list[float]] = {"auto": [], "none": []}
        for k in range(_size(60, scale) + 5):
            for policy in sorted(times, reverse=k % 2 == 1):  # the second finds warm memory
                with ln.batching(policy):
                    start = time.perf_counter()
                    run(k)
                if k >= 5:
                    times[policy].append(time.perf_counter() - start)
        ratio = statistics.median(n / a for n, a in zip(times["none"], times["auto"], strict=True))
        rows.append((f"minibatch 1, {workload}: auto against none", ratio, "x"))
    return rows


def _step_on_one(workload: str) -> Callable[[int], float]:
    """Training steps on one example, by number; for the parser, parsing one sentence."""
    spec = Spec(workload, 64, 64, 1, limit=64)
    return parser.parse(spec) if workload == "parser" else workloads.train(spec)


def one_example(scale: float) -> list[Row]:
    """What a forward and a training step cost besides their arithmetic: two small layers."""
    count = _size(400, scale)
    x = np.random.default_rng(0).standard_normal(10).astype(np.float32)
    ours = _small(x)
    makers = [("", ours)]
    with contextlib.suppress(ImportError):
        makers.append((", PyTorch", _small_twin(x)))
    for _, steps in makers:
        for step in steps.values():
            for _ in range(_size(300, scale)):
                step()
    times: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        for name, steps in makers:
            for what, step in steps.items():
                start = time.perf_counter()
                for _ in range(count):
                    step()
                times.setdefault(what + name, []).append((time.perf_counter() - start) / count)
    median = {what: 1e6 * statistics.median(found) for what, found in times.items()}
    rows: list[Row] = [(what, value, "us") for what, value in median.items()]
    rows += [(f"{what} against PyTorch", median[f"{what}, PyTorch"] / median[what], "x")
             for what in ours if f"{what}, PyTorch" in median]  # fmt: skip
    return rows


def _small(x: np.ndarray) -> dict[str, Callable[[], object]]:
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    def inference() -> object:
        with ln.no_grad():
            return model(ln.tensor(x)).numpy()

    def training() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ln.tensor(x)), 1).backward()
        optimizer.step()

    return {"one example forward": inference, "one example trained on": training}


def _small_twin(x: np.ndarray) -> dict[str, Callable[[], object]]:
    import torch

    linear, tanh = torch.nn.Linear, torch.nn.Tanh()
    model = torch.nn.Sequential(linear(10, 32), tanh, linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    target = torch.tensor([1])

    def inference() -> object:
        with torch.no_grad():
            return model(torch.tensor(x)[None]).numpy()

    def training() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.tensor(x)[None]), target).backward()
        optimizer.step()

    return {"one example forward": inference, "one example trained on": training}


def tables(scale: float) -> list[Row]:
    """Updates of a large table of which each minibatch looks up a thousand rows."""
    count, width = _size(100_000, scale, 100), 128
    draw = np.random.default_rng(0)
    rows = [draw.integers(0, count, 1000).tolist() for _ in range(3 + _size(20, scale, 2))]
    found: list[Row] = []
    for kind in (optim.Adam, optim.SparseAdam):
        table = nn.Embedding(count, width)
        optimizer, times = kind(table.parameters()), []
        for numbers in rows:
            start = time.perf_counter()
            optimizer.zero_grad()
            ln.sum(ln.sum(table(numbers))).backward()
            optimizer.step()
            times.append(time.perf_counter() - start)
        found.append((f"a step on {count:,} rows, 1,000 looked up: {kind.__name__}",
                      1e3 * statistics.median(times[3:]), "ms"))  # fmt: skip
    return found


FIGURES: dict[str, Callable[[float], list[Row]]] = {
    "recording": recording,
    "interpreter": interpreter,
    "planning": planning,
    "memory": memory,
    "depth": depth,
    "repeatable": repeatable,
    "minibatch of one": minibatch_of_one,
    "one example": one_example,
    "tables": tables,
}
