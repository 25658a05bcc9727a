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
    AHEAD,
    BOTH,
    EDGE_WORDS,
    PLAIN,
    W_BEHIND,
    W_PATH,
    WORDS,
    by_agenda,
)
from lazynet.kernels.jit import inline, jit

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
    return by_ready(*graph, longest, words, edges, policy)


def longest_chains(signature, starts, dependencies, signatures) -> np.ndarray:
    """How many nodes of each signature lie on the longest chain of it; so many batches it needs."""
    group = max(CHAINS_AT_ONCE // max(len(signature), 1), 1)
    if signatures <= group:
        room = np.empty((len(signature), signatures), np.int32)
        return chains(signature, starts, dependencies, room)[1]
    room = np.empty((len(signature), group + 1), np.int32)
    found = []
    for first in range(0, signatures, group):
        local = signature - first
        local[(local < 0) | (local >= group)] = group  # the others, as one
        found.append(chains(local, starts, dependencies, room)[1][:group])
    return np.concatenate(found)[:signatures]


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


@jit
def chains(signature, starts, dependencies, longest):
    """For each node, how many nodes of its own signature lie on the longest chain before it.

    Also the longest chain of each signature. `longest` is room for a word for each node and
    signature.
    """
    nodes, signatures = longest.shape
    rank = np.empty(nodes, np.int32)
    top = np.zeros(signatures, np.int32)
    for i in range(nodes):
        for s in range(signatures):
            longest[i, s] = 0
        for e in range(starts[i], starts[i + 1]):
            d = dependencies[e]
            for s in range(signatures):
                longest[i, s] = max(longest[i, s], longest[d, s])
        s = signature[i]
        rank[i] = longest[i, s]
        longest[i, s] += 1
        top[s] = max(top[s], longest[i, s])
    return rank, top


@inline
def chains_behind(graph, signatures, top):
    """The same seen from the end: 0 for a node with most of its own signature behind it.

    Also the length of the longest path behind each node. `top`: the longest chains.
    """
    signature, starts, dependencies = graph
    nodes = signature.size
    longest = np.zeros((nodes, signatures), np.int32)
    rank = np.empty(nodes, np.int32)
    paths = np.zeros(nodes, np.int32)
    for i in range(nodes - 1, -1, -1):
        s = signature[i]
        rank[i] = top[s] - 1 - longest[i, s]
        longest[i, s] += 1
        for e in range(starts[i], starts[i + 1]):
            d = dependencies[e]
            paths[d] = max(paths[d], paths[i] + 1)
            for k in range(signatures):
                longest[d, k] = max(longest[d, k], longest[i, k])
    return rank, paths


@jit
def by_ready(signature, starts, dependencies, longest, words, edges, policy):
    """The policies that keep the ready nodes of each signature: agenda, frontier, auto.

    Args:
        longest: room for a word for each node and signature; none for agenda.
        words, edges: room for what is known of nodes, and of edges.
    """
    graph = signature, starts, dependencies
    nodes, signatures = longest.shape[0], longest.shape[1]
    rank, top = np.zeros(0, np.int32), np.zeros(0, np.int32)
    if policy != AGENDA:
        rank, top = chains(signature, starts, dependencies, longest)
    bound = 0
    for s in range(top.size):  # as quick as top.sum(), which takes long to compile
        bound += top[s]
    found = np.empty(0, np.int32), np.empty((0, 3), np.int32)
    for way in (AHEAD, BOTH, PLAIN):
        if policy != AUTO and (policy == AGENDA) != (way == PLAIN):
            continue
        if way == BOTH:
            behind, paths = chains_behind(graph, signatures, top)
            for i in range(nodes):  # an assignment of slices takes 3 s to compile
                words[i, W_BEHIND], words[i, W_PATH] = behind[i], paths[i]
        other = by_agenda(graph, signatures, rank, top, words, edges, way)
        if len(found[1]) == 0 or len(other[1]) < len(found[1]):
            found = other
        if len(found[1]) == bound:
            break  # as few batches as there can be
    return found
