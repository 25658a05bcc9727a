"""Schedules: which nodes run together, and in which order.

A policy takes, for each node, its signature number and the nodes it depends on (all earlier), and
gives an order of the nodes and the batches in it: rows of (signature, start, stop) into the order.
Arguments come first, one signature a batch, every node once.

    none      every node by itself, as recorded: the specification
    depth     all nodes of one signature at one depth ("by depth" in Looks et al. 2017, DyNet)
    agenda    the available signature whose pending nodes have the least average depth
              (Neubig, Goldberg, Dyer 2017)
    frontier  the available signature that loses least by running now: the share of its ready nodes
              among those that wait for no other node of it (after ED-Batch, Chen et al. 2023)
"""

import numpy as np

from lazynet.kernels.jit import jit

NONE, DEPTH, AGENDA, FRONTIER, AUTO = range(5)
NAMES = {"none": NONE, "depth": DEPTH, "agenda": AGENDA, "frontier": FRONTIER, "auto": AUTO}

# `auto` compares agenda and frontier up to this many (nodes x signatures), and trusts agenda
# beyond: the ranks of `frontier` cost one word each.
FRONTIER_LIMIT = 4_000_000


def schedule(signature, starts, dependencies, signatures, policy):
    """The order and the batches that `policy` (one of the numbers above) gives."""
    nodes = len(signature)
    if policy == NONE:
        return one_by_one(signature)
    if policy == DEPTH:
        return by_depth(signature, starts, dependencies, signatures)
    if policy == AGENDA or (policy == AUTO and nodes * signatures > FRONTIER_LIMIT):
        return by_agenda(signature, starts, dependencies, signatures, np.zeros(nodes, np.int32))
    rank, longest = chains(signature, starts, dependencies, signatures)
    by_frontier = by_agenda(signature, starts, dependencies, signatures, rank)
    if policy == FRONTIER or len(by_frontier[1]) == longest.sum():
        return by_frontier  # as asked for, or as few batches as there can be
    by_average = by_agenda(signature, starts, dependencies, signatures, np.zeros(nodes, np.int32))
    return by_average if len(by_average[1]) <= len(by_frontier[1]) else by_frontier


def lower_bound(signature, starts, dependencies, signatures) -> int:
    """No schedule has fewer batches: the sum over signatures of the longest chain of each."""
    if not len(signature):
        return 0
    return int(chains(signature, starts, dependencies, signatures)[1].sum())


@jit
def one_by_one(signature):
    """Every node is a batch."""
    nodes = signature.size
    batches = np.empty((nodes, 3), np.int32)
    for i in range(nodes):
        batches[i, 0], batches[i, 1], batches[i, 2] = signature[i], i, i + 1
    return np.arange(nodes).astype(np.int32), batches


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
    """One batch for each pair of depth and signature: two stable counting sorts."""
    nodes = signature.size
    depth = depths(starts, dependencies)
    order = np.arange(nodes).astype(np.int32)
    for keys, limit in ((signature, signatures), (depth, nodes)):
        place = np.zeros(limit + 1, np.int32)
        for i in range(nodes):
            place[keys[i] + 1] += 1
        for k in range(limit):
            place[k + 1] += place[k]
        target = np.empty(nodes, np.int32)
        for x in range(nodes):
            key = keys[order[x]]
            target[place[key]] = order[x]
            place[key] += 1
        order = target
    batches = np.empty((nodes, 3), np.int32)
    count = 0
    for x in range(nodes):
        i = order[x]
        if x == 0 or depth[i] != depth[order[x - 1]] or signature[i] != signature[order[x - 1]]:
            batches[count, 0], batches[count, 1] = signature[i], x
            count += 1
        batches[count - 1, 2] = x + 1
    return order, batches[:count].copy()


@jit
def chains(signature, starts, dependencies, signatures):
    """For each node, how many nodes of its own signature lie on the longest chain before it.

    Also the longest chain of each signature. Costs a word for each node and signature.
    """
    nodes = signature.size
    longest = np.zeros((nodes, signatures), np.int32)
    rank = np.empty(nodes, np.int32)
    top = np.zeros(signatures, np.int32)
    for i in range(nodes):
        here = longest[i]
        for e in range(starts[i], starts[i + 1]):
            before = longest[dependencies[e]]
            for s in range(signatures):
                here[s] = max(here[s], before[s])
        s = signature[i]
        rank[i] = here[s]
        here[s] += 1
        top[s] = max(top[s], here[s])
    return rank, top


@jit
def by_agenda(signature, starts, dependencies, signatures, rank):
    """Keep the ready nodes by signature; run all of one signature, then see what became ready.

    The signature with the largest share of ready nodes among its nodes of least `rank` goes first
    (with ranks all 0 that says nothing), then the one whose pending nodes have the least average
    depth. Nodes become ready in first-in-first-out order, so that neighbours stay neighbours.
    """
    nodes = signature.size
    depth = depths(starts, dependencies)
    waiting = np.empty(nodes, np.int32)  # dependencies not run yet
    fan = np.zeros(nodes + 2, np.int32)
    ranks = 1
    for i in range(nodes):
        waiting[i] = starts[i + 1] - starts[i]
        ranks = max(ranks, rank[i] + 1)
        for e in range(starts[i], starts[i + 1]):
            fan[dependencies[e] + 2] += 1
    for i in range(nodes + 1):
        fan[i + 1] += fan[i]
    followers = np.empty(dependencies.size, np.int32)
    for i in range(nodes):
        for e in range(starts[i], starts[i + 1]):
            followers[fan[dependencies[e] + 1]] = i
            fan[dependencies[e] + 1] += 1

    use_ranks = ranks > 1
    first = np.zeros(signatures + 1, np.int64)
    depth_sum = np.zeros(signatures, np.int64)
    for i in range(nodes):
        first[signature[i] + 1] += 1
        depth_sum[signature[i]] += depth[i]
    pending = first[1:].copy()
    for s in range(signatures):
        first[s + 1] += first[s]
    # Pending and ready nodes by rank, signature after signature; a signature has at most as many
    # ranks as nodes, so both fit where its nodes fit.
    by_rank = np.zeros(nodes if use_ranks else 0, np.int32)
    ready_by_rank = np.zeros(nodes if use_ranks else 0, np.int32)
    least = np.zeros(signatures, np.int64)
    head, tail = first[:-1].copy(), first[:-1].copy()
    order = np.empty(nodes, np.int32)
    for i in range(nodes):
        s = signature[i]
        if use_ranks:
            by_rank[first[s] + rank[i]] += 1
        if waiting[i] == 0:
            order[tail[s]] = i
            tail[s] += 1
            if use_ranks:
                ready_by_rank[first[s] + rank[i]] += 1
    batches = np.empty((nodes, 3), np.int32)
    count, left = 0, nodes
    run = np.empty(nodes, np.int32)
    done = 0
    while left > 0:
        best = -1
        best_share, best_depth = -1.0, 0.0
        for s in range(signatures):
            if tail[s] == head[s]:
                continue
            share = 1.0
            if use_ranks:
                while by_rank[first[s] + least[s]] == 0:
                    least[s] += 1
                share = ready_by_rank[first[s] + least[s]] / by_rank[first[s] + least[s]]
            average = depth_sum[s] / pending[s]
            if share > best_share or (share == best_share and average < best_depth):
                best, best_share, best_depth = s, share, average
        s = best
        start, stop = head[s], tail[s]
        batches[count, 0], batches[count, 1] = s, done
        batches[count, 2] = done + stop - start
        count += 1
        head[s] = stop
        pending[s] -= stop - start
        left -= stop - start
        for x in range(start, stop):
            i = order[x]
            run[done] = i
            done += 1
            depth_sum[s] -= depth[i]
            if use_ranks:
                by_rank[first[s] + rank[i]] -= 1
                ready_by_rank[first[s] + rank[i]] -= 1
            for y in range(fan[i], fan[i + 1]):
                k = followers[y]
                waiting[k] -= 1
                if waiting[k] == 0:
                    z = signature[k]
                    order[tail[z]] = k
                    tail[z] += 1
                    if use_ranks:
                        ready_by_rank[first[z] + rank[k]] += 1
    return run, batches[:count].copy()
