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
              chain of it behind them are ready, else the one with the longest path behind
"""

import numpy as np

from lazynet.kernels.jit import inline, jit

NONE, DEPTH, AGENDA, FRONTIER, AUTO = range(5)
NAMES = {"none": NONE, "depth": DEPTH, "agenda": AGENDA, "frontier": FRONTIER, "auto": AUTO}

NOTHING = np.zeros(0, np.int32)
# How much the share of ready nodes with most of their signature behind them counts beside the
# longest path behind one. Found by trying on trees of words, lattices and random graphs; any number
# gives valid schedules.
BEHIND = 0.1

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
        return by_agenda(signature, starts, dependencies, signatures, NOTHING, NOTHING, NOTHING)
    graph = signature, starts, dependencies, signatures
    rank, longest = chains(*graph)
    found = by_agenda(*graph, rank, NOTHING, NOTHING)
    if len(found[1]) == longest.sum():
        return found  # as few batches as there can be
    behind, paths = chains_behind(*graph, longest)
    others = [by_agenda(*graph, rank, behind, paths)]
    if policy == AUTO:
        others.append(by_agenda(*graph, NOTHING, NOTHING, NOTHING))
    for other in others:
        found = other if len(other[1]) < len(found[1]) else found
    return found


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
def chains_behind(signature, starts, dependencies, signatures, top):
    """The same seen from the end: 0 for a node with most of its own signature behind it.

    Also the length of the longest path behind each node. `top`: the longest chains.
    """
    nodes = signature.size
    longest = np.zeros((nodes, signatures), np.int32)
    rank = np.empty(nodes, np.int32)
    paths = np.zeros(nodes, np.int32)
    for i in range(nodes - 1, -1, -1):
        here, s = longest[i], signature[i]
        rank[i] = top[s] - 1 - here[s]
        here[s] += 1
        for e in range(starts[i], starts[i + 1]):
            d = dependencies[e]
            paths[d] = max(paths[d], paths[i] + 1)
            before = longest[d]
            for k in range(signatures):
                before[k] = max(before[k], here[k])
    return rank, paths


@jit
def followers_of(starts, dependencies):
    """The nodes that depend on each: node i's from `first[i]` to `first[i + 1]`."""
    nodes = starts.size - 1
    first = np.zeros(nodes + 2, np.int32)
    for e in range(dependencies.size):
        first[dependencies[e] + 2] += 1
    for i in range(nodes + 1):
        first[i + 1] += first[i]
    followers = np.empty(dependencies.size, np.int32)
    for i in range(nodes):
        for e in range(starts[i], starts[i + 1]):
            followers[first[dependencies[e] + 1]] = i
            first[dependencies[e] + 1] += 1
    return first, followers


@inline
def _score(share, behind, path):
    """How good it is to run a signature now.

    Args:
        share: of its nodes that wait for no other of them, those that are ready; with all of them
            nothing is lost, whatever comes later.
        behind: of its nodes with most others behind them, those that are ready; with all of them
            its longest chain gets shorter, and the bound on what is left falls by this batch.
        path: the longest path behind a ready one, against the longest there is. Where every choice
            loses a batch, what is waited for longest goes on.
    """
    if share == 1.0 or behind == 1.0:
        return 10.0 + behind
    return path + BEHIND * behind


@jit
def by_agenda(signature, starts, dependencies, signatures, rank, behind, paths):
    """Keep the ready nodes by signature; run all of one signature, then see what became ready.

    With `rank`, the signature with the largest share of ready nodes among its nodes of least rank
    goes first; with `behind` and `paths`, the one with the best `_score`. Without, and among equals
    of the first, it is the one whose pending nodes have the least average depth. What is not wanted
    is empty. Nodes become ready in first-in-first-out order, so that neighbours stay neighbours.
    """
    nodes, ahead, both = signature.size, rank.size > 0, behind.size > 0
    depth = depths(starts, dependencies)
    fan, followers = followers_of(starts, dependencies)
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
    by_rank, ready_by_rank = np.zeros(rank.size, np.int32), np.zeros(rank.size, np.int32)
    by_behind, ready_behind = np.zeros(behind.size, np.int32), np.zeros(behind.size, np.int32)
    least, least_behind = np.zeros(signatures, np.int64), np.zeros(signatures, np.int64)
    longest = 1
    for i in range(paths.size):
        longest = max(longest, paths[i])
    path = np.zeros(signatures, np.int32)  # the longest behind a ready node

    waiting = starts[1:] - starts[:-1]  # dependencies not run yet
    head, tail = first[:-1].copy(), first[:-1].copy()
    order = np.empty(nodes, np.int32)
    for i in range(nodes):
        s = signature[i]
        if ahead:
            by_rank[first[s] + rank[i]] += 1
        if both:
            by_behind[first[s] + behind[i]] += 1
        if waiting[i] == 0:
            order[tail[s]] = i
            tail[s] += 1
            if ahead:
                ready_by_rank[first[s] + rank[i]] += 1
            if both:
                ready_behind[first[s] + behind[i]] += 1
                path[s] = max(path[s], paths[i])
    batches = np.empty((nodes, 3), np.int32)
    count, left, done = 0, nodes, 0
    run = np.empty(nodes, np.int32)
    while left > 0:
        best, best_score, best_depth = -1, -1.0, 0.0
        for s in range(signatures):
            if tail[s] == head[s]:
                continue
            score = 1.0
            if ahead:
                while by_rank[first[s] + least[s]] == 0:
                    least[s] += 1
                score = ready_by_rank[first[s] + least[s]] / by_rank[first[s] + least[s]]
            if both:
                while by_behind[first[s] + least_behind[s]] == 0:
                    least_behind[s] += 1
                at = first[s] + least_behind[s]
                score = _score(score, ready_behind[at] / by_behind[at], path[s] / longest)
            average = 0.0 if both else depth_sum[s] / pending[s]
            if score > best_score or (score == best_score and average < best_depth):
                best, best_score, best_depth = s, score, average
        s = best
        start, stop = head[s], tail[s]
        batches[count, 0], batches[count, 1] = s, done
        batches[count, 2] = done + stop - start
        count += 1
        head[s], path[s] = stop, 0
        pending[s] -= stop - start
        left -= stop - start
        for x in range(start, stop):
            i = order[x]
            run[done] = i
            done += 1
            depth_sum[s] -= depth[i]
            if ahead:
                by_rank[first[s] + rank[i]] -= 1
                ready_by_rank[first[s] + rank[i]] -= 1
            if both:
                by_behind[first[s] + behind[i]] -= 1
                ready_behind[first[s] + behind[i]] -= 1
            for y in range(fan[i], fan[i + 1]):
                k = followers[y]
                waiting[k] -= 1
                if waiting[k] == 0:
                    z = signature[k]
                    order[tail[z]] = k
                    tail[z] += 1
                    if ahead:
                        ready_by_rank[first[z] + rank[k]] += 1
                    if both:
                        ready_behind[first[z] + behind[k]] += 1
                        path[z] = max(path[z], paths[k])
    return run, batches[:count].copy()
