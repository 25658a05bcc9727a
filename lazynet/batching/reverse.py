"""Plans backward: the batches of a forward plan in reverse, each by its backward program.

`marks.py` tells which parts of the batches backward goes through, `lay_out_reverse` emits their
kernel calls. Steps whose result is a parameter's gradient are deferred: they run after the last
batch, and steps of neighbouring batches merge, so that a weight's gradient is one product over all
its rows.
"""

import numpy as np

from lazynet.batching.beside import put_beside
from lazynet.batching.emit import emit_program, emit_step, first_step, own_calls
from lazynet.batching.frame import (
    AFTER_AT,
    ALIVE_AT,
    ALL_STEPS,
    CALL_WORDS,
    CALLS_AT,
    CHUNK_COUNT,
    CHUNKS_AT,
    DELTA,
    FORWARD_DOMAINS,
    FORWARD_REGIONS,
    FORWARD_WIDTHS,
    ITEM_ROWS,
    LOOP_AT,
    OFFSETS_AT,
    OVER_RUNS,
    PAYLOAD_AT,
    PREVIOUS,
    REGIONS,
    SEGMENT_OF_AT,
    SEGMENT_ROWS,
    SEQUENCES,
    SKIPPED,
    STATIC_GRADIENTS_AT,
    TIMES,
    TRASH,
    slot,
)
from lazynet.batching.layout import (
    ARGUMENTS,
    B_ARGUMENTS,
    B_BESIDE,
    B_FIRST_ITEM,
    B_FIRST_SEGMENT,
    B_INTEGERS,
    B_PAYLOAD,
    B_ROWS_READ,
    B_SEGMENTS,
    B_SIGNATURE,
    B_TIMES,
    BACKWARD,
    DEFERRED,
    FORWARD,
    H_EMISSION,
    H_REGIONS,
    H_STATES,
    H_STEPS,
    H_VECTORS,
    KIND,
    OPERAND_WORDS,
    OUTPUTS,
    PAYLOAD,
    PROGRAM_HEADER,
    REGION_WORDS,
    RUNS,
    S_ATTRIBUTES,
    S_OPERANDS,
    S_PHASE,
    S_WORDS,
    SAVED,
    SCAN,
    SCRATCH,
    SEGMENTS,
    V_DOMAIN,
    V_LIFETIME,
    V_WIDTH,
)
from lazynet.batching.marks import P_BATCH, P_START, P_STOP
from lazynet.batching.measure import T_ITEMS, T_SEGMENTS, aligned, region_sizes
from lazynet.batching.plan import enter_argument
from lazynet.kernels.jit import awaited, borrowing, entered, inline, jit, spliced
from lazynet.kernels.memory import load, store

# What `measure_reverse` tells.
(R_SAVED, R_SCRATCH, R_CALLS, R_VECTORS, R_REGIONS, R_OPERANDS, R_MEASURES) = range(7)


@inline
def runs_beside(parts, p, batches):
    """Whether part `p` is one of scans that run beside those of the part before it."""
    b = parts[p, P_BATCH]
    return p > 0 and batches[b, B_BESIDE] != 0 and parts[p - 1, P_BATCH] == b - 1


@awaited
@entered
def measure_reverse(parts, batches, signatures, totals, programs, sizes):
    """Fill `sizes`, zeros before, with the memory that backward through these parts takes."""
    taken = np.int64(0)
    for p in range(parts.shape[0]):
        batch = batches[parts[p, P_BATCH]]
        program = signatures[batch[B_SIGNATURE], BACKWARD]
        items, segments = parts[p, P_STOP] - parts[p, P_START], batch[B_SEGMENTS]
        taken = taken if runs_beside(parts, p, batches) else np.int64(0)
        taken += region_sizes(program, programs, items, segments, SCRATCH)
        sizes[R_SCRATCH] = max(sizes[R_SCRATCH], taken)
        sizes[R_CALLS] += 2 * (programs[program + H_EMISSION] + 16) * max(batch[B_TIMES], 1)
        sizes[R_VECTORS] += max(items, segments, batch[B_ROWS_READ]) * programs[program + H_VECTORS]
    for s in range(signatures.shape[0]):
        program = signatures[s, BACKWARD]
        if program >= 0:
            operands = programs[program + H_EMISSION] // OPERAND_WORDS
            sizes[R_OPERANDS] = max(sizes[R_OPERANDS], operands)
            items, segments = totals[s, T_ITEMS], totals[s, T_SEGMENTS]
            sizes[R_SAVED] += region_sizes(program, programs, items, segments, SAVED)
            sizes[R_REGIONS] += programs[program + H_REGIONS]


@jit
def begin_reverse(frame, outputs, gradients, chunks, trash):
    """Tell a frame where gradients go.

    Args:
        outputs: the address of the forward's block of output rows.
        gradients: addresses of the parameters' gradients.
        chunks: (start, stop, distance to its gradients) of memory, sorted.
        trash: where what nobody reads is written.
    """
    frame[TRASH], frame[STATIC_GRADIENTS_AT] = trash, gradients.ctypes.data
    frame[CHUNKS_AT], frame[CHUNK_COUNT] = chunks.ctypes.data, chunks.shape[0]
    for k in range(chunks.shape[0]):
        if chunks[k, 0] <= outputs < chunks[k, 1]:
            frame[DELTA] = chunks[k, 2]


@borrowing
def enter_part(part, laid, signatures, frame, programs, bases, scratch):
    """Point the frame at one part of a batch; its backward program, and where its scratch ends."""
    batch = laid.batches[part[P_BATCH]]
    s, start = batch[B_SIGNATURE], part[P_START]
    forward, program = signatures[s, FORWARD], signatures[s, BACKWARD]
    items, segments = part[P_STOP] - start, batch[B_SEGMENTS]
    frame[ITEM_ROWS], frame[SEGMENT_ROWS], frame[SKIPPED] = items, segments, start
    for v in range(programs[forward + H_REGIONS]):
        region = forward + PROGRAM_HEADER + REGION_WORDS * v
        width, per_segment = programs[region + V_WIDTH], programs[region + V_DOMAIN] == SEGMENTS
        before = batch[B_FIRST_SEGMENT] if per_segment else batch[B_FIRST_ITEM]
        first = laid.regions[laid.first[s] + v] + width * before
        frame[slot(frame, FORWARD_REGIONS, v)] = first
        frame[slot(frame, FORWARD_WIDTHS, v)] = width
        frame[slot(frame, FORWARD_DOMAINS, v)] = programs[region + V_DOMAIN]
    for v in range(programs[program + H_REGIONS]):
        region = program + PROGRAM_HEADER + REGION_WORDS * v
        width, per_segment = programs[region + V_WIDTH], programs[region + V_DOMAIN] == SEGMENTS
        if programs[region + V_LIFETIME] == SCRATCH:
            first = scratch
            scratch += aligned(width * (segments if per_segment else items))
        else:
            before = batch[B_FIRST_SEGMENT] if per_segment else batch[B_FIRST_ITEM] + start
            first = laid.reverse_regions[bases[s] + v] + width * before
        frame[slot(frame, REGIONS, v)] = first
    for k in range(signatures[s, ARGUMENTS]):
        enter_argument(frame, k, laid.arguments[batch[B_ARGUMENTS] + k])
    integers = np.int64(laid.integers.ctypes.data)
    integers += 8 * np.int64(batch[B_INTEGERS])
    frame[OFFSETS_AT] = frame[ALIVE_AT] = integers
    frame[SEGMENT_OF_AT] = integers + 8 * (segments + 1)
    frame[OVER_RUNS] = signatures[s, KIND] == RUNS
    frame[TIMES] = batch[B_TIMES]
    frame[SEQUENCES] = signatures[s, ARGUMENTS] - programs[forward + H_STATES]
    payload = batch[B_PAYLOAD] + start * signatures[s, PAYLOAD]
    frame[PAYLOAD_AT] = np.int64(laid.payload.ctypes.data) + 4 * payload
    frame[PREVIOUS] = ALL_STEPS
    own_calls(frame, s)
    return program, scratch


@borrowing
def merge_calls(before, after, attributes, arity):
    """Let the call at address `after` do the work of that at `before` as well, if rows continue."""
    items = load(before + 16)
    for k in range(arity):
        x, y = before + 24 + 8 * attributes + 24 * k, after + 24 + 8 * attributes + 24 * k
        if load(x + 16) != 0 or load(y + 16) != 0 or load(x + 8) != load(y + 8):
            return
        if load(y) != load(x) + items * load(x + 8):
            return
    for k in range(arity):
        x, y = before + 24 + 8 * attributes + 24 * k, after + 24 + 8 * attributes + 24 * k
        store(y, load(x))
    store(after + 16, load(after + 16) + items)
    store(before + 16, 0)


@spliced
def emit_deferred(step, s, parts, laid, signatures, frame, programs, bases, scratch, operands):
    """Emit one deferred step for every part of its signature, merging where rows continue."""
    last = np.int64(0)
    words = 3 + programs[step + S_ATTRIBUTES] + 3 * programs[step + S_OPERANDS]
    for p in range(parts.shape[0]):
        if laid.batches[parts[p, P_BATCH], B_SIGNATURE] != s:
            continue
        program, _ = enter_part(parts[p], laid, signatures, frame, programs, bases, scratch)
        if emit_step(step, program, frame, programs, operands):
            at = frame[CALLS_AT] + 8 * (frame[CALL_WORDS] - words)
            if last != 0:
                merge_calls(last, at, programs[step + S_ATTRIBUTES], programs[step + S_OPERANDS])
            last = at


@awaited
@entered
def lay_out_reverse(parts, laid, signatures, bases, scratch, programs, frame, operands, regions):
    """Emit backward through the parts, last batch first, then the deferred steps.

    Args:
        operands, regions: room for those of one step, and of one program.
    """
    group, free = -1, scratch  # the last part of scans, and where the scratch of its group ends
    for p in range(parts.shape[0] - 1, -1, -1):
        batch = laid.batches[parts[p, P_BATCH]]
        if parts[p, P_STOP] == parts[p, P_START] and batch[B_SEGMENTS] == 0:
            continue
        beside = group == p + 1 and runs_beside(parts, group, laid.batches)
        free = free if beside else scratch
        program, free = enter_part(parts[p], laid, signatures, frame, programs, bases, free)
        scan = signatures[batch[B_SIGNATURE], KIND] == SCAN
        begin, loop, after = frame[CALL_WORDS], frame[LOOP_AT], frame[AFTER_AT]
        emit_program(program, frame, programs, operands, regions, scan, True)
        if beside:
            put_beside(frame, begin, loop, after)
        if scan:
            group = p
    for s in range(signatures.shape[0]):
        program = signatures[s, BACKWARD]
        if program < 0 or signatures[s, OUTPUTS] == 0:
            continue
        step = first_step(program, programs)
        for _ in range(programs[program + H_STEPS]):
            if programs[step + S_PHASE] == DEFERRED:
                emit_deferred(
                    step, s, parts, laid, signatures, frame, programs, bases, scratch, operands
                )
            step += programs[step + S_WORDS]
