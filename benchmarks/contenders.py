"""Who races in which workload; lazynet as users get it goes first."""

from __future__ import annotations

import importlib.util

from lazynet.race import Contender

TRAIN, PARSE = "benchmarks.workloads:train", "benchmarks.workloads.parser:parse"
ONE, HAND = "benchmarks.peers:one_at_a_time", "benchmarks.peers:by_hand"
BOUND = "benchmarks.bound:run"

# For each workload the ways to write it, and how PyTorch is batched by hand. The products of the
# first way are the bound.
RACES = {
    "tagger": (("lazynet", ""), ("lazynet, word by word", "word by word"), "packed"),
    "characters": (("lazynet", ""), "packed"),
    "tree": (
        ("lazynet, op by op", "op by op"),
        ("lazynet, found to be a cell", "found"),
        ("lazynet, nn.TreeLSTMCell", "nn.TreeLSTMCell"),
        ("lazynet, nn.TreeLSTM (ln.fold)", "nn.TreeLSTM"),
        "by level",
    ),
    "child_sum": (
        ("lazynet, op by op", "op by op"),
        ("lazynet, found to be a cell", "found"),
        ("lazynet, nn.ChildSumTreeLSTMCell", "nn.ChildSumTreeLSTMCell"),
        ("lazynet, nn.ChildSumTreeLSTM (ln.fold)", "nn.ChildSumTreeLSTM"),
        "by level",
    ),
    "seq2seq": (("lazynet", ""), "decoders in step"),
    "parsing": (("lazynet", ""), "in step"),
    "language": (("lazynet", ""), "packed"),
    "lattice": (
        ("lazynet, op by op", "op by op"),
        ("lazynet, found to be a cell", "found"),
        ("lazynet, cells", "cells"),
        "by character",
    ),
}


def contenders(workload: str) -> list[Contender]:
    """New contenders of a workload, with those of PyTorch where it is installed."""
    if workload == "parser":
        return [
            Contender("lazynet, ln.map", PARSE),
            Contender("lazynet, one at a time", PARSE, {"together": False}),
            Contender("lazynet, ln.map, policy none", PARSE, {"policy": "none"}),
        ]
    *ways, by_hand = RACES[workload]
    found = [Contender(name, TRAIN, {"way": way}) for name, way in ways]
    first = ways[0]
    found.append(Contender(f"{first[0]}, policy none", TRAIN, {"policy": "none", "way": first[1]}))
    if importlib.util.find_spec("torch") is not None:
        found += [
            Contender("PyTorch, one at a time", ONE),
            Contender(f"PyTorch, {by_hand}", HAND),
        ]
    found.append(Contender("bound: matrix products", BOUND, {"way": first[1]}))
    return found


def trained(found: list[Contender]) -> list[Contender]:
    """All of them but the bound, which has no losses."""
    return [c for c in found if c.factory != BOUND]
