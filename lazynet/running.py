"""Running: what a graph has recorded is computed, and what later readers need of it is kept.

A forward takes the tape and the rows of one moment. What comes meanwhile, from finalizers or signal
handlers, stays pending. Plans are made and carried out by the executor; what happens before and
after one does is here: rows that nobody can ask for are left out, and what fails is set apart.
"""

from __future__ import annotations

from _thread import get_ident
from typing import Any

import numpy as np

from lazynet import executor
from lazynet.apart import set_apart
from lazynet.batching.policies import NAMES
from lazynet.debugging import debugging, note_look
from lazynet.device import running_in
from lazynet.expressions import EXPRESSIONS
from lazynet.faults import first_fault
from lazynet.graph import NOWHERE, RUNNING, Graph
from lazynet.recording import go_on, note_forward, policy, recording_gradients

# Called with the graph and the run of every forward, in the thread that asked for it.
observers: list[Any] = []
# Recording moves on to a new graph after a forward, once the graph holds that many bytes: memory
# stays bounded where some value is kept, and programs that look at values seldom pay for links.
MOST_BYTES = 1 << 28
BYTES_WITHOUT_GRADIENTS = 1 << 26  # the same under `no_grad`
BYTES_OF_A_RUN = 1 << 12  # about what is kept of a small one for its backward
LEAST_NOTED = 256  # rows that may have been dropped, for that to be looked into


def forward(graph: Graph) -> None:
    """Compute everything that is pending on a graph.

    Raises:
        RuntimeError: in another thread than the one that recorded it, or inside another forward.
    """
    if not graph.pending and not graph.tape:
        return
    if graph.owner == 0:
        raise RuntimeError(
            "this value is pending, and the thread that recorded it has ended; ask for it (or "
            "call ln.forward) there, before it ends"
        )
    if graph.owner != get_ident():
        raise RuntimeError(
            "this value is pending in another thread; ask for it there (or call ln.forward "
            "on it there) before using it here"
        )
    go_on()
    if graph.running:
        executor.host.refuse_inside()
        raise RuntimeError("a value is asked for while its graph is being computed")
    graph.running = True
    try:
        compute(graph)
    except Exception:
        set_apart(graph, compute)
        raise
    finally:
        graph.running = False
    if _is_full(graph):
        graph.close()


def _is_full(graph: Graph) -> bool:
    """Whether a graph has taken so much memory that recording had better go on elsewhere."""
    most = MOST_BYTES if recording_gradients.get() else BYTES_WITHOUT_GRADIENTS
    return graph.arena.size() + BYTES_OF_A_RUN * len(graph.runs) > most


def compute(graph: Graph, stop: int | None = None) -> None:
    """Compute what the tape holds, which makes rows up to `stop` (by default, all)."""
    dropped = _dropped(graph) if stop is None else None
    tape, values = graph.recorded() if stop is None else (bytes(graph.tape), stop)
    if max(values, len(tape) // 4) > executor.MOST_ROWS:
        graph.end()
        raise MemoryError(
            f"{values} rows are recorded, more than a graph can number; ask for some of the "
            "values before recording the others"
        )
    graph.grow(values)
    integers = np.frombuffer(tape, np.int32)
    if dropped is not None:
        graph.place[graph.done : values], graph.shortened = NOWHERE, True
        integers = EXPRESSIONS.shorter(integers, graph.done, values, dropped)
    for vid, addresses in graph.elsewhere:
        graph.place[vid : vid + len(addresses)] = addresses
    place, head, needs = graph.place, graph.head, graph.needs
    try:
        with running_in(graph.precision):
            run = executor.forward(
                integers,
                graph.done,
                place[:values],
                head[:values],
                needs[:values],
                graph.marks,
                [rows for rows in graph.elsewhere if rows[0] < values],
                graph.arena,
                NAMES[policy()],
                graph.device,
            )
    except BaseException:
        graph.end()  # what is recorded from here on does not wait for what failed
        raise
    if graph.place is not place:  # it grew in the meantime
        graph.place[:values] = place[:values]
        graph.head[:values], graph.needs[:values] = head[:values], needs[:values]
    _note_versions(graph, run)
    _note_run(graph, run, len(tape), values)


def _dropped(graph: Graph) -> np.ndarray | None:
    """The pending rows that nobody can ask for, where it is worth while to know them.

    Derivatives that are values, and users who look for a fault, have read the nodes one by one.
    """
    noted, graph.noted = graph.noted, []
    if len(noted) < LEAST_NOTED or len(graph.marks) > 1 or policy() == "none":
        return None
    read = "nodes" in graph.memo or graph.sites is not None
    return None if read else EXPRESSIONS.dropped(noted)


def _note_versions(graph: Graph, run: executor.Run) -> None:
    """Note the versions of the parameters that a run reads, and hold them: backward reads them."""
    for number in run.plan.read:
        leaf = executor.STATICS.leaf(number)
        if leaf is not None:
            graph.note_version(leaf)
            run.leaves.append(leaf)


def _note_run(graph: Graph, run: executor.Run, taken: int, values: int) -> None:
    """Note that so many bytes of the tape have run, which made rows up to `values`."""
    # Signals are noticed where functions are called: all of the following is done, or nothing.
    gone_through = [run] if _leads_back(graph, run, values) else []
    del graph.tape[:taken]
    graph.done = values
    graph.runs += gone_through
    graph.elsewhere = [rows for rows in graph.elsewhere if rows[0] >= values]
    flag = int(graph.records_gradients(values))
    graph.marks = [(values, flag), *(mark for mark in graph.marks if mark[0] > values)]
    note_forward()
    for observer in observers:
        observer(graph, run)
    if policy() != "none":
        note_look(run)
    if debugging.get() and (found := first_fault(graph, run)):
        raise FloatingPointError(found)


def _leads_back(graph: Graph, run: executor.Run, values: int) -> bool:
    """Whether a leaf that wants a gradient lies behind rows of a run: of nodes, views or links."""
    return run.plan.differentiable or bool(graph.needs[graph.done : values].any())


RUNNING.append(forward)
