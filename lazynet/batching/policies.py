"""Schedules: which nodes run together, and in which order.

A policy takes, for each node, its signature number and the nodes it depends on (all earlier), and
gives an order of the nodes and the batches in it: rows of (signature, start, stop) into the order.
Arguments come first, one signature a batch, every node once.

    none      every node by itself, as recorded: the specification
    depth     all nodes of one signature at one depth ("by depth" in Looks et al. 2017, DyNet)
    agenda    the available signature whose pending nodes have the least average depth
              (Neubig, Goldberg, Dyer 2017)
    frontier  the available signature that loses least by running now: the share of its ready nodes
              among those that wait for no other node of it (after ED-Batch, Chen et al. 2023);
              where that needs more batches than the bound, one of which all nodes with the longest
              chain of it behind them are ready, else the one with the most and longest paths behind
"""

import numpy as np

from lazynet.batching.agenda import (
    AGENDA_WORDS,
    AHEAD,
    BOTH,
    COUNTS,
    EDGE_WORDS,
    PLAIN,
    W_BEHIND,
    W_PATH,
    WORDS,
    by_agenda,
)
from lazynet.kernels.jit import borrowing, entered, inline, jit

NONE, DEPTH, AGENDA, FRONTIER, AUTO = range(5)
NAMES = {"none": NONE, "depth": DEPTH, "agenda": AGENDA, "frontier": FRONTIER, "auto": AUTO}

# `auto` compares agenda and frontier up to this many (nodes x signatures), and trusts agenda
# beyond: the ranks of `frontier` cost one word each.
FRONTIER_LIMIT = 4_000_000
# The bound goes through the signatures in groups of at most this many (nodes x signatures) words.
CHAINS_AT_ONCE = 1 << 25


def schedule(signature, starts, dependencies, signatures, policy):
    """The order and the batches that `policy` (one of the numbers above) gives."""
    nodes = len(signature)
    if policy == NONE or signatures == nodes:  # each of its own: nothing runs together
        return one_by_one(signature, np.empty(nodes, np.int32), np.empty((nodes, 3), np.int32))
    graph = signature, starts, dependencies
    if policy == DEPTH:
        return by_depth(*graph, signatures)
    # Large arrays are made here and not in compiled code: numpy asks for large pages of memory.
    words = np.empty((nodes, WORDS), np.int32)
    edges = np.empty((len(dependencies), EDGE_WORDS), np.int32)
    if policy == AUTO and nodes * signatures > FRONTIER_LIMIT:
        policy = AGENDA
    longest = np.empty((0 if policy == AGENDA else nodes, signatures), np.int32)
    rank, top = np.empty(nodes, np.int32), np.empty(signatures, np.int32)
    agenda = np.empty((signatures, AGENDA_WORDS), np.int64)
    order, counts = np.empty(nodes, np.int32), np.empty((nodes, COUNTS), np.int32)
    run, batches = np.empty(2 * nodes, np.int32), np.empty((2 * nodes, 3), np.int32)
    found = by_ready(
        *graph, longest, rank, top, words, edges, policy, order, agenda, counts, run, batches
    )
    first, count = (found & 1) * nodes, found >> 1
    return run[first : first + nodes].copy(), batches[first : first + count].copy()


def longest_chains(signature, starts, dependencies, signatures) -> np.ndarray:
    """How many nodes of each signature lie on the longest chain of it; so many batches it needs."""
    group = max(CHAINS_AT_ONCE // max(len(signature), 1), 1)
    if signatures <= group:
        return _longest(signature, starts, dependencies, signatures)
    found = []
    for first in range(0, signatures, group):
        local = signature - first
        local[(local < 0) | (local >= group)] = group  # the others, as one
        found.append(_longest(local, starts, dependencies, group + 1)[:group])
    return np.concatenate(found)[:signatures]


def _longest(signature, starts, dependencies, signatures) -> np.ndarray:
    """`longest_chains`, of so many signatures at once."""
    nodes, top = len(signature), np.empty(signatures, np.int32)
    room = np.empty((nodes, signatures), np.int32), np.empty(nodes, np.int32)
    chains(signature, starts, dependencies, *room, top)
    return top


def lower_bound(signature, starts, dependencies, signatures) -> int:
    """No schedule has fewer batches: the sum over signatures of the longest chain of each."""
    return int(longest_chains(signature, starts, dependencies, signatures).sum())


@jit
def one_by_one(signature, order, batches):
    """Every node is a batch."""
    for i in range(signature.size):
        order[i] = i
        batches[i, 0], batches[i, 1], batches[i, 2] = signature[i], i, i + 1
    return order, batches


@jit
def depths(starts, dependencies):
    """For each node, the length of the longest path that leads to it."""
    nodes = starts.size - 1
    depth = np.zeros(nodes, np.int32)
    for i in range(nodes):
        for e in range(starts[i], starts[i + 1]):
            depth[i] = max(depth[i], depth[dependencies[e]] + 1)
    return depth


@jit
def by_depth(signature, starts, dependencies, signatures):
    """One batch for each pair of depth and signature: a stable counting sort by the pair.

    By signature and then by depth where there are many more pairs than nodes.
    """
    nodes = signature.size
    key = depths(starts, dependencies)
    limit = np.int64(1)
    for i in range(nodes):
        limit = max(limit, np.int64(key[i]) + 1)
    order = np.arange(nodes).astype(np.int32)
    if limit * signatures <= 4 * nodes:
        limit *= signatures
        for i in range(nodes):
            key[i] = key[i] * signatures + signature[i]
    else:
        order = sorted_by(signature, signatures, order)
    order = sorted_by(key, limit, order)
    batches = np.empty((nodes, 3), np.int32)
    count, before = 0, np.int32(-1)
    for x in range(nodes):
        i = order[x]
        if key[i] != before or signature[i] != batches[count - 1, 0]:
            batches[count, 0], batches[count, 1] = signature[i], x
            before = key[i]
            count += 1
        batches[count - 1, 2] = x + 1
    return order, batches[:count].copy()


@inline
def sorted_by(keys, limit, order):
    """The nodes by their keys, which are below `limit`; where those agree, as in `order`."""
    place = np.zeros(limit + 1, np.int32)
    for i in range(keys.size):
        place[keys[i] + 1] += 1
    for k in range(limit):
        place[k + 1] += place[k]
    found = np.empty_like(order)
    for x in range(order.size):
        key = keys[order[x]]
        found[place[key]] = order[x]
        place[key] += 1
    return found


@entered
def chains(signature, starts, dependencies, longest, rank, top):
    """For each node, how many nodes of its own signature lie on the longest chain before it.

    Also the longest chain of each signature.

    Args:
        longest: room for a word for each node and signature.
        rank, top: filled.
    """
    for s in range(top.size):
        top[s] = 0
    for i in range(signature.size):
        for s in range(top.size):
            longest[i, s] = 0
        for e in range(starts[i], starts[i + 1]):
            d = dependencies[e]
            for s in range(top.size):
                longest[i, s] = max(longest[i, s], longest[d, s])
        s = signature[i]
        rank[i] = longest[i, s]
        longest[i, s] += 1
        top[s] = max(top[s], longest[i, s])


@borrowing
def chains_behind(signature, starts, dependencies, longest, top, words):
    """The same seen from the end, in the words of nodes.

    That is 0 for a node with most of its own signature behind it. Also the length of the longest
    path behind each node. `top`: the longest chains.
    """
    for i in range(signature.size):
        words[i, W_PATH] = 0
        for s in range(top.size):
            longest[i, s] = 0
    for i in range(signature.size - 1, -1, -1):
        s = signature[i]
        words[i, W_BEHIND] = top[s] - 1 - longest[i, s]
        longest[i, s] += 1
        for e in range(starts[i], starts[i + 1]):
            d = dependencies[e]
            words[d, W_PATH] = max(words[d, W_PATH], words[i, W_PATH] + 1)
            for k in range(top.size):
                longest[d, k] = max(longest[d, k], longest[i, k])


@entered
def by_ready(
    signature, starts, dependencies, longest, rank, top, words, edges, policy, order, agenda,
    counts, run, batches,
):  # fmt: skip
    """The policies that keep the ready nodes of each signature: agenda, frontier, auto.

    Args:
        longest: room for a word for each node and signature; none for agenda.
        rank, top: room for a word for each node, and for each signature.
        words, edges: room for what is known of nodes, and of edges.
        order, agenda, counts: room, see `by_agenda`.
        run, batches: room for two schedules.

    Returns:
        twice the number of batches, plus 1 if the better schedule is the second one.
    """
    nodes, bound = signature.size, 0
    for i in range(nodes if policy == AGENDA else 0):
        rank[i] = 0
    for s in range(top.size if policy == AGENDA else 0):
        top[s] = 1
    if policy != AGENDA:
        chains(signature, starts, dependencies, longest, rank, top)
        for s in range(top.size):
            bound += top[s]
    best = which = 0
    for way in (AHEAD, BOTH, PLAIN):
        if policy != AUTO and (policy == AGENDA) != (way == PLAIN):
            continue
        if way == BOTH:
            chains_behind(signature, starts, dependencies, longest, top, words)
        other = 1 - which if best > 0 else which
        count = by_agenda(
            (signature, starts, dependencies), rank, top, words, edges, way, order, agenda, counts,
            run, batches, other * nodes,
        )  # fmt: skip
        if best == 0 or count < best:
            best, which = count, other
        if best == bound:
            break  # as few batches as there can be
    return 2 * best + which
