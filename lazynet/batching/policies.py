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

from lazynet.kernels.jit import borrowing, inline, jit

NONE, DEPTH, AGENDA, FRONTIER, AUTO = range(5)
NAMES = {"none": NONE, "depth": DEPTH, "agenda": AGENDA, "frontier": FRONTIER, "auto": AUTO}

# How `by_agenda` looks at ranks: not at all, at those from the start, at those from both ends.
PLAIN, AHEAD, BOTH = range(3)
# How much the share of ready nodes with most of their signature behind them counts beside the
# longest path behind one. Found by trying on trees of words, lattices and random graphs; any number
# gives valid schedules.
BEHIND = 0.1

# `auto` compares agenda and frontier up to this many (nodes x signatures), and trusts agenda
# beyond: the ranks of `frontier` cost one word each.
FRONTIER_LIMIT = 4_000_000
# The bound goes through the signatures in groups of at most this many (nodes x signatures) words.
CHAINS_AT_ONCE = 1 << 25


# Words of a node as the agenda sees it, side by side since nodes are gone through in any order:
# what it still waits for, its ranks (`chains`, `chains_behind`), and the list of its edges.
(
    W_SIGNATURE,
    W_WAITING,
    W_DEPTH,
    W_RANK,
    W_BEHIND,
    W_PATH,
    W_FIRST_EDGE,
    W_LAST_EDGE,
    WORDS,
) = range(9)
# An edge: the node that depends on this one, and the next edge of the list.
FOLLOWER, NEXT, EDGE_WORDS = range(3)
# Words of a signature on the agenda.
(
    A_HEAD,  # where its ready nodes begin, among the nodes by signature
    A_TAIL,  # and where they end
    A_PENDING,  # nodes that have not run
    A_DEPTH,  # the depths of these, added up
    A_PATH,  # the longest path behind a ready node
    A_RANKS,  # where the counts of its ranks begin
    A_LEAST,  # the least rank with pending nodes
    A_LEAST_BEHIND,  # the same for the ranks from the end
    AGENDA_WORDS,
) = range(9)
# What is counted for each rank of a signature: its nodes that have not run, and the ready ones.
C_PENDING, C_READY, C_PENDING_BEHIND, C_READY_BEHIND, COUNTS = range(5)


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


@borrowing
def connect(graph, rank, words, edges):
    """Fill the words of every node, and the list of those that depend on it, as recorded."""
    signature, starts, dependencies = graph
    for i in range(signature.size):
        words[i, W_SIGNATURE], words[i, W_WAITING] = signature[i], starts[i + 1] - starts[i]
        words[i, W_FIRST_EDGE] = words[i, W_LAST_EDGE] = -1
        words[i, W_RANK] = rank[i] if rank.size > 0 else 0
        depth = np.int32(0)
        for e in range(starts[i], starts[i + 1]):
            d = dependencies[e]
            depth = max(depth, words[d, W_DEPTH] + 1)
            edges[e, FOLLOWER], edges[e, NEXT] = i, -1
            if words[d, W_LAST_EDGE] < 0:
                words[d, W_FIRST_EDGE] = e
            else:
                edges[words[d, W_LAST_EDGE], NEXT] = e
            words[d, W_LAST_EDGE] = e
        words[i, W_DEPTH] = depth


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


@inline
def new_agenda(words, signatures, longest):
    """An agenda with nothing on it, and room to count: a signature has `longest` ranks, or one."""
    agenda = np.zeros((signatures, AGENDA_WORDS), np.int64)
    for i in range(words.shape[0]):
        agenda[words[i, W_SIGNATURE], A_PENDING] += 1
    nodes = ranks = np.int64(0)
    for s in range(signatures):
        agenda[s, A_HEAD] = agenda[s, A_TAIL] = nodes
        agenda[s, A_RANKS] = ranks
        nodes += agenda[s, A_PENDING]
        ranks += longest[s] if longest.size > 0 else 1
    return agenda, np.zeros((ranks, COUNTS), np.int32)


@borrowing
def enter_ready(words, i, both, order, agenda, counts):
    """Put a node that waits for nothing on the agenda."""
    s = words[i, W_SIGNATURE]
    order[agenda[s, A_TAIL]] = i
    agenda[s, A_TAIL] += 1
    counts[agenda[s, A_RANKS] + words[i, W_RANK], C_READY] += 1
    if both:
        counts[agenda[s, A_RANKS] + words[i, W_BEHIND], C_READY_BEHIND] += 1
        agenda[s, A_PATH] = max(agenda[s, A_PATH], np.int64(words[i, W_PATH]))


@borrowing
def enter_all(words, both, order, agenda, counts):
    """Count all nodes, and put those on the agenda that wait for nothing; the longest path."""
    longest = np.int64(1)
    for i in range(words.shape[0]):
        s = words[i, W_SIGNATURE]
        agenda[s, A_DEPTH] += words[i, W_DEPTH]
        counts[agenda[s, A_RANKS] + words[i, W_RANK], C_PENDING] += 1
        if both:
            counts[agenda[s, A_RANKS] + words[i, W_BEHIND], C_PENDING_BEHIND] += 1
            longest = max(longest, np.int64(words[i, W_PATH]))
        if words[i, W_WAITING] == 0:
            enter_ready(words, i, both, order, agenda, counts)
    return longest


@borrowing
def best_signature(way, agenda, counts, longest):
    """The signature to run next, of those with ready nodes."""
    best, best_score, best_depth = -1, -1.0, 0.0
    for s in range(agenda.shape[0]):
        if agenda[s, A_TAIL] == agenda[s, A_HEAD]:
            continue
        score = 1.0
        if way != PLAIN:
            while counts[agenda[s, A_RANKS] + agenda[s, A_LEAST], C_PENDING] == 0:
                agenda[s, A_LEAST] += 1
            at = agenda[s, A_RANKS] + agenda[s, A_LEAST]
            score = counts[at, C_READY] / counts[at, C_PENDING]
        if way == BOTH:
            while counts[agenda[s, A_RANKS] + agenda[s, A_LEAST_BEHIND], C_PENDING_BEHIND] == 0:
                agenda[s, A_LEAST_BEHIND] += 1
            at = agenda[s, A_RANKS] + agenda[s, A_LEAST_BEHIND]
            behind = counts[at, C_READY_BEHIND] / counts[at, C_PENDING_BEHIND]
            score = _score(score, behind, agenda[s, A_PATH] / longest)
        average = 0.0 if way == BOTH else agenda[s, A_DEPTH] / agenda[s, A_PENDING]
        if score > best_score or (score == best_score and average < best_depth):
            best, best_score, best_depth = s, score, average
    return best


@borrowing
def leave(words, i, s, both, agenda, counts):
    """Take a node off the agenda."""
    agenda[s, A_DEPTH] -= words[i, W_DEPTH]
    rank = agenda[s, A_RANKS] + words[i, W_RANK]
    counts[rank, C_PENDING] -= 1
    counts[rank, C_READY] -= 1
    if both:
        behind = agenda[s, A_RANKS] + words[i, W_BEHIND]
        counts[behind, C_PENDING_BEHIND] -= 1
        counts[behind, C_READY_BEHIND] -= 1


@borrowing
def run_agenda(words, edges, way, order, agenda, counts, run, batches):
    """Fill the order and the batches; gives how many batches there are."""
    both = way == BOTH
    longest_path = enter_all(words, both, order, agenda, counts)
    count = done = 0
    while done < run.size:
        s = best_signature(way, agenda, counts, longest_path)
        start, stop = agenda[s, A_HEAD], agenda[s, A_TAIL]
        batches[count, 0], batches[count, 1] = s, done
        batches[count, 2] = done + stop - start
        count += 1
        agenda[s, A_HEAD], agenda[s, A_PATH] = stop, 0
        agenda[s, A_PENDING] -= stop - start
        for x in range(start, stop):
            i = order[x]
            run[done] = i
            done += 1
            leave(words, i, s, both, agenda, counts)
            edge = words[i, W_FIRST_EDGE]
            while edge >= 0:
                follower = edges[edge, FOLLOWER]
                edge = edges[edge, NEXT]
                words[follower, W_WAITING] -= 1
                if words[follower, W_WAITING] == 0:
                    enter_ready(words, follower, both, order, agenda, counts)
    return count


@jit
def by_ready(signature, starts, dependencies, longest, words, edges, policy):
    """The policies that keep the ready nodes of each signature: agenda, frontier, auto.

    Args:
        longest: room for a word for each node and signature; none for agenda.
        words, edges: room for what is known of nodes, and of edges.
    """
    graph = signature, starts, dependencies
    signatures = longest.shape[1]
    none = np.zeros(0, np.int32)
    if policy == AGENDA:
        return by_agenda(graph, signatures, none, none, words, edges, PLAIN)
    rank, top = chains(signature, starts, dependencies, longest)
    found = by_agenda(graph, signatures, rank, top, words, edges, AHEAD)
    if len(found[1]) == top.sum():
        return found  # as few batches as there can be
    behind, paths = chains_behind(graph, signatures, top)
    for i in range(signature.size):  # an assignment of slices takes 3 s to compile
        words[i, W_BEHIND], words[i, W_PATH] = behind[i], paths[i]
    for way in (BOTH, PLAIN):
        if way == BOTH or policy == AUTO:
            other = by_agenda(graph, signatures, rank, top, words, edges, way)
            found = other if len(other[1]) < len(found[1]) else found
    return found


@inline
def by_agenda(graph, signatures, rank, longest, words, edges, way):
    """Keep the ready nodes by signature; run all of one signature, then see what became ready.

    The signature goes first whose pending nodes have the least average depth; looking AHEAD, the
    one with the largest share of ready nodes among its nodes of least rank, and that among equals;
    looking BOTH ways, the one with the best `_score`. Nodes become ready in first-in-first-out
    order, so that neighbours stay neighbours.
    """
    nodes = words.shape[0]
    connect(graph, rank, words, edges)
    agenda, counts = new_agenda(words, signatures, longest)
    order, run = np.empty(nodes, np.int32), np.empty(nodes, np.int32)
    batches = np.empty((nodes, 3), np.int32)
    count = run_agenda(words, edges, way, order, agenda, counts, run, batches)
    return run, batches[:count].copy()
