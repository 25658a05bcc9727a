"""Turns a step of a program into kernel calls: where operands lie, and what must be moved first.

The stream is 64-bit words, one record a call: kernel, words in the record, items, attributes, and
(base, stride, vector) for each operand, as `kernels/memory.py` reads them.

A `Frame` holds where the values of the current batch (or part of one) lie. Rows that a kernel wants
evenly spaced and that are not are gathered by a call of their own; results for such rows are
written to scratch and scattered by another.
"""

from typing import NamedTuple

import numpy as np

from lazynet.batching.layout import (
    ACCUMULATED,
    AFTER,
    ARGUMENT,
    BEFORE,
    D_ARGUMENT,
    D_FORWARD,
    D_STATE,
    D_STATIC,
    FORWARD_REGION,
    ITEMS,
    LOOP,
    O_FLAGS,
    O_HELPER,
    O_INDEX,
    O_OFFSET,
    O_REGION,
    O_SIZE,
    O_SPACE,
    O_WIDTH,
    OFFSETS,
    OPERAND_WORDS,
    PROGRAM_HEADER,
    REGION,
    REGION_WORDS,
    SEGMENTS,
    STATE,
    STATIC,
    STEP_HEADER,
    VIEW,
    WRITTEN,
)
from lazynet.kernels.jit import inline, jit
from lazynet.kernels.memory import load

MAX_OPERANDS = 64
# Words of `Frame.at`.
(
    ITEM_ROWS,  # items of this part of the batch
    SEGMENT_ROWS,  # segments of it
    SKIPPED,  # items of the batch before this part: how far persistent regions and arguments move
    PREVIOUS,  # scans: the batch's rows before the previous time step's, or one of the two below
    OFFSETS_AT,  # address of the segment offsets
    PAYLOAD_AT,  # address of the payload
    TRASH,  # address of rows that nobody reads: gradients of what needs none
    DELTA,  # from the forward outputs to their gradients
    SEQUENCES,  # scans: arguments before the first initial state
    TIMES,  # scans: number of time steps
    FRAME_WORDS,
) = range(11)


class Frame(NamedTuple):
    """Where the values of one batch lie."""

    at: np.ndarray  # the words above
    regions: np.ndarray  # first row of each region of the program being emitted
    forward: np.ndarray  # first row of each region of the forward program
    forward_domains: np.ndarray
    forward_widths: np.ndarray
    arguments: np.ndarray  # (base, stride, vector) of each argument of the node
    segment_of: np.ndarray  # for each item, its segment
    alive: np.ndarray  # scans: how many rows each time step has


class Tables(NamedTuple):
    """What does not change from batch to batch."""

    programs: np.ndarray
    statics: np.ndarray  # addresses of parameters
    static_gradients: np.ndarray
    chunks: np.ndarray  # (start, stop, distance to the gradients) of memory, sorted by start


class Stream(NamedTuple):
    """What is being written: calls, address vectors, and how far each is filled."""

    calls: np.ndarray
    vectors: np.ndarray
    used: np.ndarray  # words of calls, words of vectors, number of calls, bytes gathered


CALL_WORDS, VECTOR_WORDS, CALLS, BYTES_GATHERED = range(4)
# Values of PREVIOUS that are no row: at the first time step, and when no step is being taken.
FIRST_STEP, ALL_STEPS = -1, -2


@inline
def gradient_of(chunks, address):
    """Where the gradient of what lies at `address` goes; 0 where there is none."""
    low, high = 0, chunks.shape[0]
    while low < high:
        middle = (low + high) // 2
        if chunks[middle, 0] <= address:
            low = middle + 1
        else:
            high = middle
    if low == 0 or address >= chunks[low - 1, 1]:
        return np.int64(0)
    return address + chunks[low - 1, 2]


@inline
def new_vector(stream, length):
    """Room for an address vector: its first index."""
    start = stream.used[VECTOR_WORDS]
    stream.used[VECTOR_WORDS] = start + length
    return start


@inline
def vector_address(stream, index):
    return np.int64(stream.vectors.ctypes.data) + 8 * index


@inline
def row_address(base, stride, vector, r):
    """The address of row `r` of an operand."""
    if vector != 0:
        return base + load(vector + 8 * r)
    return base + stride * r


@jit
def gradient_operand(operand, count, offset, trash, tables, stream):
    """The operand that receives the gradients of `count` rows."""
    base, stride, vector = operand
    if count == 0:
        return trash, np.int64(0), np.int64(0)
    if vector == 0:
        first = gradient_of(tables.chunks, base)
        last = gradient_of(tables.chunks, base + stride * (count - 1))
        if first == 0 and last == 0:
            return trash, np.int64(0), np.int64(0)
        if first != 0 and last - first == stride * (count - 1):
            return first + offset, stride, np.int64(0)
    start = new_vector(stream, count)
    found = False
    for r in range(count):
        target = gradient_of(tables.chunks, row_address(base, stride, vector, r))
        stream.vectors[start + r] = target + offset if target != 0 else trash
        found = found or target != 0
    if not found:
        return trash, np.int64(0), np.int64(0)
    return np.int64(0), np.int64(0), vector_address(stream, start)


@inline
def argument(frame, index, skipped):
    """The rows of an argument, from item `skipped` on."""
    base, stride = frame.arguments[index, 0], frame.arguments[index, 1]
    vector = frame.arguments[index, 2]
    if vector != 0:
        return base, stride, vector + 8 * skipped
    return base + stride * skipped, stride, vector


@jit
def spread(operand, frame, stream):
    """An operand with a row a segment, as seen by the items of the segments."""
    base, stride, vector = operand
    count = frame.at[ITEM_ROWS]
    start = new_vector(stream, count)
    for r in range(count):
        stream.vectors[start + r] = row_address(base, stride, vector, frame.segment_of[r])
    return np.int64(0), np.int64(0), vector_address(stream, start)


@jit
def previous_state(index, frame, stream):
    """A scan's previous state: of this time step, or of all rows when no step is being taken."""
    initial = frame.at[SEQUENCES] + index
    base, width = frame.forward[index], frame.forward_widths[index]
    if frame.at[PREVIOUS] >= 0:
        return base + frame.at[PREVIOUS] * width, width, np.int64(0)
    if frame.at[PREVIOUS] == FIRST_STEP:
        return argument(frame, initial, 0)
    start = new_vector(stream, frame.at[ITEM_ROWS])
    row, before = 0, 0
    for t in range(frame.at[TIMES]):
        for r in range(frame.alive[t]):
            if t == 0:
                b, s, v = argument(frame, initial, 0)
                stream.vectors[start + row] = row_address(b, s, v, r)
            else:
                stream.vectors[start + row] = base + (before + r) * width
            row += 1
        if t > 0:
            before += frame.alive[t - 1]
    return np.int64(0), np.int64(0), vector_address(stream, start)


@jit
def resolve(o, domain, count, program, frame, tables, stream):
    """Where the operand whose words begin at `o` lies for this part of the batch."""
    words = tables.programs
    space, index, offset = words[o + O_SPACE], words[o + O_INDEX], words[o + O_OFFSET]
    zero = np.int64(0)
    skipped = frame.at[SKIPPED]
    if space == REGION:
        region = program + PROGRAM_HEADER + REGION_WORDS * index
        width = words[region]
        found = (frame.regions[index], width, zero)
        if words[region + 1] == SEGMENTS and domain == ITEMS:
            found = spread(found, frame, stream)
        return found[0] + offset, found[1], found[2]
    if space == ARGUMENT:
        base, stride, vector = argument(frame, index, skipped)
        return base + offset, stride, vector
    if space == STATIC:
        return tables.statics[index] + offset, zero, zero
    if space == D_STATIC:
        target = tables.static_gradients[index]
        return (target + offset if target != 0 else frame.at[TRASH]), zero, zero
    if space == FORWARD_REGION or space == D_FORWARD:
        width = frame.forward_widths[index]
        base = frame.forward[index] + skipped * width
        found = (base + (frame.at[DELTA] if space == D_FORWARD else zero), width, zero)
        if frame.forward_domains[index] == SEGMENTS and domain == ITEMS:
            found = spread(found, frame, stream)
        return found[0] + offset, found[1], found[2]
    if space == D_ARGUMENT:
        rows = argument(frame, index, skipped)
        return gradient_operand(rows, count, offset, frame.at[TRASH], tables, stream)
    if space == STATE:
        base, stride, vector = previous_state(index, frame, stream)
        return base + offset, stride, vector
    if space == D_STATE:
        rows = previous_state(index, frame, stream)
        return gradient_operand(rows, count, offset, frame.at[TRASH], tables, stream)
    if space == OFFSETS:
        return frame.at[OFFSETS_AT], zero, zero
    return frame.at[PAYLOAD_AT], zero, zero


@inline
def begin_call(stream, kernel, items, words):
    """Start a record of `words` words; gives the index of its first attribute."""
    q = stream.used[CALL_WORDS]
    stream.calls[q] = kernel
    stream.calls[q + 1] = words
    stream.calls[q + 2] = items
    stream.used[CALL_WORDS] = q + words
    stream.used[CALLS] += 1
    return q + 3


@inline
def put_operand(stream, q, operand):
    stream.calls[q], stream.calls[q + 1], stream.calls[q + 2] = operand


@jit
def move_rows(stream, helper, count, size, source, target):
    """A call that copies or adds `count` rows of `size` elements."""
    q = begin_call(stream, helper, count, 3 + 1 + 6)
    stream.calls[q] = size
    put_operand(stream, q + 1, source)
    put_operand(stream, q + 4, target)


@inline
def gathered_rows(o, frame, tables):
    """The region kept for an operand's gathered rows: of this program or of the forward one."""
    region, width = tables.programs[o + O_REGION], tables.programs[o + O_WIDTH]
    if region >= 0:
        return (frame.regions[region], width, np.int64(0))
    forward = -2 - region
    return (frame.forward[forward] + frame.at[SKIPPED] * width, width, np.int64(0))


@jit
def emit_step(step, program, frame, tables, stream, operands):
    """Emit the step whose words begin at `step`. Returns whether anything had to run."""
    words = tables.programs
    kernel, domain = words[step + 1], words[step + 2]
    attributes, arity = words[step + 4], words[step + 5]
    first = step + STEP_HEADER + attributes
    count = frame.at[SEGMENT_ROWS] if domain == SEGMENTS else frame.at[ITEM_ROWS]
    wanted = False
    for k in range(arity):
        o = first + OPERAND_WORDS * k
        base, stride, vector = resolve(o, domain, count, program, frame, tables, stream)
        operands[k, 0], operands[k, 1], operands[k, 2] = base, stride, vector
        if words[o + O_FLAGS] & WRITTEN and base != frame.at[TRASH]:
            wanted = True
    if not wanted:
        return False
    for k in range(arity):
        o = first + OPERAND_WORDS * k
        flags, width = words[o + O_FLAGS], words[o + O_WIDTH]
        operands[k, 3] = 0
        even = operands[k, 2] == 0 and (operands[k, 1] >= width or count == 1)
        if flags & VIEW == 0 or even or operands[k, 0] == frame.at[TRASH]:
            continue
        rows = (operands[k, 0], operands[k, 1], operands[k, 2])
        block = gathered_rows(o, frame, tables)
        if flags & WRITTEN == 0:
            if words[o + O_REGION] >= 0:
                move_rows(stream, words[o + O_HELPER], count, words[o + O_SIZE], rows, block)
                stream.used[BYTES_GATHERED] += count * width
            operands[k, 0], operands[k, 1], operands[k, 2] = block
        elif flags & ACCUMULATED:
            operands[k, 3] = 1  # written to the block, then scattered
    scatter = False
    for k in range(arity):
        scatter = scatter or operands[k, 3] == 1
    q = begin_call(stream, kernel, count, 3 + attributes + 3 * arity)
    for a in range(attributes):
        stream.calls[q + a] = words[step + STEP_HEADER + a]
    if scatter:
        stream.calls[q] = 0  # shared kernels: store, do not accumulate
    q += attributes
    for k in range(arity):
        if operands[k, 3] == 1:
            put_operand(stream, q + 3 * k, gathered_rows(first + OPERAND_WORDS * k, frame, tables))
        else:
            put_operand(stream, q + 3 * k, (operands[k, 0], operands[k, 1], operands[k, 2]))
    for k in range(arity):
        if operands[k, 3] == 1:
            o = first + OPERAND_WORDS * k
            rows = (operands[k, 0], operands[k, 1], operands[k, 2])
            block = gathered_rows(o, frame, tables)
            move_rows(stream, words[o + O_HELPER], count, words[o + O_SIZE], block, rows)
    return True


@jit
def emit_phase(phase, program, frame, tables, stream, operands):
    """Emit every step of one phase of a program."""
    words = tables.programs
    step = program + PROGRAM_HEADER + REGION_WORDS * words[program] + words[program + 4]
    for _ in range(words[program + 1]):
        if words[step + 3] == phase:
            emit_step(step, program, frame, tables, stream, operands)
        step += words[step]


@inline
def take_step(begin, rows, previous, regions, frame, program, programs):
    """Move the frame to `rows` rows of a batch from row `begin` on; `regions` is where it began."""
    frame.at[ITEM_ROWS], frame.at[SKIPPED], frame.at[PREVIOUS] = rows, begin, previous
    for v in range(programs[program]):
        region = program + PROGRAM_HEADER + REGION_WORDS * v
        shift = programs[region] * begin if programs[region + 1] == ITEMS else 0
        frame.regions[v] = regions[v] + shift


@jit
def emit_program(program, frame, tables, stream, operands, regions, scan, backward):
    """Emit all steps of a program: before the loop, each time step (last first), and after it.

    There is one place that emits a phase, so that this large piece of code is compiled once.
    """
    programs = tables.programs
    items, skipped = frame.at[ITEM_ROWS], frame.at[SKIPPED]
    for v in range(programs[program]):
        regions[v] = frame.regions[v]
    times = frame.at[TIMES] if scan else 0
    begin = items if backward else np.int64(0)
    for visit in range(times + 2):
        phase = LOOP
        if visit == 0 or visit == times + 1:
            phase = BEFORE if visit == 0 else AFTER
            frame.at[PREVIOUS] = ALL_STEPS
        else:
            t = times - visit if backward else visit - 1
            if backward:
                begin -= frame.alive[t]
            previous = FIRST_STEP if t == 0 else begin - frame.alive[t - 1]
            take_step(begin, frame.alive[t], previous, regions, frame, program, programs)
            if not backward:
                begin += frame.alive[t]
        emit_phase(phase, program, frame, tables, stream, operands)
        if phase == LOOP:
            for v in range(programs[program]):
                frame.regions[v] = regions[v]
            frame.at[ITEM_ROWS], frame.at[SKIPPED] = items, skipped
            frame.at[PREVIOUS] = ALL_STEPS
