"""The frame: where the values of a batch, or of the part of one that is being emitted, lie.

It is an array of words. `plan.py` and `reverse.py` fill it for each batch, `emit.py` asks it where
each operand of a step is to be found.
"""

import numpy as np

from lazynet.batching.layout import (
    ARGUMENT,
    ARGUMENTS,
    BACKWARD,
    D_ARGUMENT,
    D_FORWARD,
    D_STATE,
    D_STATIC,
    FORWARD,
    FORWARD_REGION,
    H_ARGUMENTS,
    H_SINGLES,
    ITEMS,
    O_INDEX,
    O_OFFSET,
    O_SPACE,
    OFFSETS,
    PROGRAM_HEADER,
    REGION,
    REGION_WORDS,
    SEGMENTS,
    STATE,
    STATIC,
    V_DOMAIN,
    V_WIDTH,
)
from lazynet.kernels.jit import borrowing, inline, jit
from lazynet.kernels.memory import load, store

# Words of a frame.
(
    ITEM_ROWS,  # items of this part of the batch
    SEGMENT_ROWS,  # segments of it
    SKIPPED,  # items of the batch before this part: how far lasting regions and arguments move
    PREVIOUS,  # scans: the batch's rows before the previous time step's, or one of the two below
    OFFSETS_AT,  # address of the segment offsets
    OVER_RUNS,  # whether the batch is one of nodes over runs
    SEGMENT_OF_AT,  # address of the segment of each item
    ALIVE_AT,  # scans: address of how many rows each time step has
    PAYLOAD_AT,  # address of the payload
    TRASH,  # address of rows that nobody reads: gradients of what needs none
    DELTA,  # from the forward outputs to their gradients
    SEQUENCES,  # scans: arguments before the first initial state
    TIMES,  # scans: number of time steps
    STATICS_AT,  # address of the parameters' addresses
    STATIC_GRADIENTS_AT,  # address of the addresses of their gradients
    CHUNKS_AT,  # address of (start, stop, distance to the gradients) of memory, sorted by start
    CHUNK_COUNT,
    CALLS_AT,  # address of the calls being written
    VECTORS_AT,  # address of the address vectors being written
    CALL_WORDS,  # words of calls written
    VECTOR_WORDS,  # words of vectors written
    CALLS,  # calls written
    BYTES_GATHERED,
    LOOP_AT,  # scans: where among these words the calls of the loop begin,
    AFTER_AT,  # and where those that come after it do
    OWNER,  # the local signature whose calls are being written, as their second word has it
    SPAN,  # length of each of the sections that follow
    FRAME_WORDS,
) = range(28)
# Sections of a frame: for each region of the program being emitted, its first row; for each region
# of the forward program, its first row, domain and width; for each argument, where it lies.
(REGIONS, FORWARD_REGIONS, FORWARD_DOMAINS, FORWARD_WIDTHS, BASES, STRIDES, VECTORS, SECTIONS) = (
    range(8)
)
# Values of PREVIOUS that are no row: at the first time step, and when no step is being taken.
FIRST_STEP, ALL_STEPS = -1, -2


@jit
def new_frame(signatures, programs, statics, calls, vectors):
    """A frame for programs of these signatures, which are told where parameters lie (`statics`).

    One array of words, not a structure of arrays: it is handed from function to function for every
    operand of every call, and a structure would be copied each time.

    Args:
        calls, vectors: what is written to.
    """
    span = np.int64(1)  # the most regions of a program, or arguments of a node
    for s in range(signatures.shape[0]):
        span = max(span, signatures[s, ARGUMENTS])
        for column in (FORWARD, BACKWARD):
            if signatures[s, column] >= 0:
                span = max(span, programs[signatures[s, column]])
    frame = np.zeros(FRAME_WORDS + SECTIONS * span, np.int64)
    frame[SPAN] = span
    frame[STATICS_AT] = statics.ctypes.data
    frame[CALLS_AT], frame[VECTORS_AT] = calls.ctypes.data, vectors.ctypes.data
    return frame


@inline
def slot(frame, section, index):
    """The index of one word of a section."""
    return FRAME_WORDS + frame[SPAN] * section + index


@inline
def alive(frame, t):
    """The rows of time step `t`."""
    return load(frame[ALIVE_AT] + 8 * t)


@inline
def gradient_of(frame, address):
    """Where the gradient of what lies at `address` goes; 0 where there is none."""
    low, high = np.int64(0), frame[CHUNK_COUNT]
    chunks = frame[CHUNKS_AT]
    while low < high:
        middle = (low + high) // 2
        if load(chunks + 24 * middle) <= address:
            low = middle + 1
        else:
            high = middle
    if low == 0 or address >= load(chunks + 24 * (low - 1) + 8):
        return np.int64(0)
    return address + load(chunks + 24 * (low - 1) + 16)


@inline
def new_vector(frame, length):
    """The address of room for an address vector."""
    start = frame[VECTORS_AT] + 8 * frame[VECTOR_WORDS]
    frame[VECTOR_WORDS] += length
    return start


@inline
def row_address(base, stride, vector, r):
    """The address of row `r` of an operand."""
    if vector != 0:
        return base + load(vector + 8 * r)
    return base + stride * r


@borrowing
def gradient_operand(base, stride, vector, count, offset, frame):
    """The operand that receives the gradients of `count` rows."""
    trash, zero = frame[TRASH], np.int64(0)
    if count == 0:
        return trash, zero, zero
    if vector == 0:
        first = gradient_of(frame, base)
        last = gradient_of(frame, base + stride * (count - 1))
        if first == 0 and last == 0:
            return trash, zero, zero
        if first != 0 and last - first == stride * (count - 1):
            return first + offset, stride, zero
    start = new_vector(frame, count)
    found = False
    for r in range(count):
        target = gradient_of(frame, row_address(base, stride, vector, r))
        store(start + 8 * r, target + offset if target != 0 else trash)
        found = found or target != 0
    if not found:
        return trash, zero, zero
    return zero, zero, start


@inline
def argument(frame, index, skipped):
    """The rows of an argument, from item `skipped` on."""
    base, stride = frame[slot(frame, BASES, index)], frame[slot(frame, STRIDES, index)]
    vector = frame[slot(frame, VECTORS, index)]
    if vector != 0:
        return base, stride, vector + 8 * skipped
    return base + stride * skipped, stride, vector


@inline
def run_offsets(frame, index):
    """The address of the offsets of a batch's segments: in the output (0) or an argument's rows."""
    return frame[OFFSETS_AT] + 8 * index * (frame[SEGMENT_ROWS] + 1)


@borrowing
def spread(base, stride, vector, frame):
    """An operand with a row a segment, as seen by the items of the segments."""
    count = frame[ITEM_ROWS]
    start = new_vector(frame, count)
    for r in range(count):
        segment = load(frame[SEGMENT_OF_AT] + 8 * r)
        store(start + 8 * r, row_address(base, stride, vector, segment))
    return np.int64(0), np.int64(0), start


@inline
def single(program, index, programs):
    """Whether an argument has a row a segment: the last ones of a program do, `singles` of them."""
    return index >= programs[program + H_ARGUMENTS] - programs[program + H_SINGLES]


@borrowing
def previous_state(index, frame):
    """A scan's previous state: of this time step, or of all rows when no step is being taken."""
    initial = frame[SEQUENCES] + index
    base = frame[slot(frame, FORWARD_REGIONS, index)]
    width = frame[slot(frame, FORWARD_WIDTHS, index)]
    if frame[PREVIOUS] >= 0:
        return base + frame[PREVIOUS] * width, width, np.int64(0)
    first, stride, vector = argument(frame, initial, 0)
    if frame[PREVIOUS] == FIRST_STEP:
        return first, stride, vector
    start = new_vector(frame, frame[ITEM_ROWS])
    row, before = np.int64(0), np.int64(0)
    for t in range(frame[TIMES]):
        for r in range(alive(frame, t)):
            if t == 0:
                store(start + 8 * row, row_address(first, stride, vector, r))
            else:
                store(start + 8 * row, base + (before + r) * width)
            row += 1
        if t > 0:
            before += alive(frame, t - 1)
    return np.int64(0), np.int64(0), start


@borrowing
def resolve(o, domain, count, program, frame, programs):
    """Where the operand whose words begin at `o` lies for this part of the batch."""
    space, index, offset = programs[o + O_SPACE], programs[o + O_INDEX], programs[o + O_OFFSET]
    zero = np.int64(0)
    skipped = frame[SKIPPED]
    if space == REGION or space == FORWARD_REGION or space == D_FORWARD:
        if space == REGION:
            region = program + PROGRAM_HEADER + REGION_WORDS * index
            width, rows = programs[region + V_WIDTH], programs[region + V_DOMAIN]
            base = frame[slot(frame, REGIONS, index)]
        else:
            width = frame[slot(frame, FORWARD_WIDTHS, index)]
            rows = frame[slot(frame, FORWARD_DOMAINS, index)]
            base = frame[slot(frame, FORWARD_REGIONS, index)] + skipped * width
            base += frame[DELTA] if space == D_FORWARD else zero
        if rows == SEGMENTS and domain == ITEMS:
            return spread(base + offset, width, zero, frame)
        return base + offset, width, zero
    if space == ARGUMENT or space == D_ARGUMENT:
        base, stride, vector = argument(frame, index, skipped)
        if domain == ITEMS and single(program, index, programs):
            base, stride, vector = spread(base, stride, vector, frame)
        if space == ARGUMENT:
            return base + offset, stride, vector
        if frame[OVER_RUNS]:
            count = load(run_offsets(frame, index + 1) + 8 * frame[SEGMENT_ROWS])
        return gradient_operand(base, stride, vector, count, offset, frame)
    if space == STATIC:
        return load(frame[STATICS_AT] + 8 * index) + offset, zero, zero
    if space == D_STATIC:
        target = load(frame[STATIC_GRADIENTS_AT] + 8 * index)
        return (target + offset if target != 0 else frame[TRASH]), zero, zero
    if space == STATE or space == D_STATE:
        base, stride, vector = previous_state(index, frame)
        if space == D_STATE:
            return gradient_operand(base, stride, vector, count, offset, frame)
        return base + offset, stride, vector
    if space == OFFSETS:
        return run_offsets(frame, index), zero, zero
    return frame[PAYLOAD_AT], zero, zero
