"""The agenda: the ready nodes of each signature, and which of these to run next.

All ready nodes of one signature run as one batch, then it is seen what became ready. What is known
of nodes, edges and signatures lies in arrays of words.
"""

import numpy as np

from lazynet.kernels.jit import borrowing, inline

# How `by_agenda` looks at ranks: not at all, at those from the start, at those from both ends.
PLAIN, AHEAD, BOTH = range(3)
# The score of what loses nothing, above that of everything that may.
SAFE = 1e30
# No path counts as longer; the sum of the cubes of a million stays within a word.
LONG = 8192

# Words of a node as the agenda sees it, side by side since nodes are gone through in any order:
# what it still waits for, its ranks (as `policies.py` finds them), and the list of its edges.
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
    A_PATHS,  # the paths behind its ready nodes: their cubes, added up
    A_RANKS,  # where the counts of its ranks begin
    A_LEAST,  # the least rank with pending nodes
    A_LEAST_BEHIND,  # the same for the ranks from the end
    AGENDA_WORDS,
) = range(9)
# What is counted for each rank of a signature: its nodes that have not run, and the ready ones.
C_PENDING, C_READY, C_PENDING_BEHIND, C_READY_BEHIND, COUNTS = range(5)


@borrowing
def connect(graph, rank, words, edges):
    """Fill the words of every node, and the list of those that depend on it, as recorded."""
    signature, starts, dependencies = graph
    for i in range(signature.size):
        words[i, W_SIGNATURE], words[i, W_WAITING] = signature[i], starts[i + 1] - starts[i]
        words[i, W_FIRST_EDGE] = words[i, W_LAST_EDGE] = -1
        words[i, W_RANK] = rank[i]
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
def _score(share, behind, paths):
    """How good it is to run a signature now.

    Args:
        share: of its nodes that wait for no other of them, those that are ready; with all of them
            nothing is lost, whatever comes later.
        behind: of its nodes with most others behind them, those that are ready; with all of them
            its longest chain gets shorter, and the bound on what is left falls by this batch.
        paths: the cubes of the paths behind those that are ready, added up. Where every choice
            loses a batch, those go on that are many and waited for long. (By trial: the longest
            path alone takes more batches where ops are nodes; other powers, a little more or less.)
    """
    if share == 1.0 or behind == 1.0:
        return SAFE * (1.0 + behind)
    return np.float64(paths)


@borrowing
def clear_agenda(words, longest, agenda, counts):
    """Begin with nothing on the agenda, and nothing counted; a signature has `longest` ranks."""
    for s in range(agenda.shape[0]):
        for k in range(AGENDA_WORDS):
            agenda[s, k] = 0
    for i in range(words.shape[0]):
        agenda[words[i, W_SIGNATURE], A_PENDING] += 1
        for k in range(COUNTS):  # there are no more ranks than nodes
            counts[i, k] = 0
    nodes = ranks = np.int64(0)
    for s in range(agenda.shape[0]):
        agenda[s, A_HEAD] = agenda[s, A_TAIL] = nodes
        agenda[s, A_RANKS] = ranks
        nodes += agenda[s, A_PENDING]
        ranks += longest[s]


@borrowing
def enter_ready(words, i, both, order, agenda, counts):
    """Put a node that waits for nothing on the agenda."""
    s = words[i, W_SIGNATURE]
    order[agenda[s, A_TAIL]] = i
    agenda[s, A_TAIL] += 1
    counts[agenda[s, A_RANKS] + words[i, W_RANK], C_READY] += 1
    if both:
        counts[agenda[s, A_RANKS] + words[i, W_BEHIND], C_READY_BEHIND] += 1
        path = min(np.int64(words[i, W_PATH]) + 1, LONG)
        agenda[s, A_PATHS] += path * path * path


@borrowing
def enter_all(words, both, order, agenda, counts):
    """Count all nodes, and put those on the agenda that wait for nothing."""
    for i in range(words.shape[0]):
        s = words[i, W_SIGNATURE]
        agenda[s, A_DEPTH] += words[i, W_DEPTH]
        counts[agenda[s, A_RANKS] + words[i, W_RANK], C_PENDING] += 1
        if both:
            counts[agenda[s, A_RANKS] + words[i, W_BEHIND], C_PENDING_BEHIND] += 1
        if words[i, W_WAITING] == 0:
            enter_ready(words, i, both, order, agenda, counts)


@borrowing
def best_signature(way, agenda, counts):
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
            score = _score(score, behind, agenda[s, A_PATHS])
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
def run_agenda(words, edges, way, order, agenda, counts, run, batches, at):
    """Fill the order and the batches, from place `at` on; gives how many batches there are."""
    both = way == BOTH
    enter_all(words, both, order, agenda, counts)
    count = done = 0
    while done < words.shape[0]:
        s = best_signature(way, agenda, counts)
        start, stop = agenda[s, A_HEAD], agenda[s, A_TAIL]
        batches[at + count, 0], batches[at + count, 1] = s, done
        batches[at + count, 2] = done + stop - start
        count += 1
        agenda[s, A_HEAD], agenda[s, A_PATHS] = stop, 0
        agenda[s, A_PENDING] -= stop - start
        for x in range(start, stop):
            i = order[x]
            run[at + done] = i
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


@borrowing
def by_agenda(graph, rank, longest, words, edges, way, order, agenda, counts, run, batches, at):
    """Keep the ready nodes by signature; run all of one signature, then see what became ready.

    The signature goes first whose pending nodes have the least average depth; looking AHEAD, the
    one with the largest share of ready nodes among its nodes of least rank, and that among equals;
    looking BOTH ways, the one with the best `_score`. Nodes become ready in first-in-first-out
    order, so that neighbours stay neighbours. Gives how many batches there are.

    Args:
        rank, longest: of nodes, and of signatures how many ranks they have.
        words, edges, order, agenda, counts: room.
        run, batches: filled from place `at` on.
    """
    connect(graph, rank, words, edges)
    clear_agenda(words, longest, agenda, counts)
    return run_agenda(words, edges, way, order, agenda, counts, run, batches, at)
