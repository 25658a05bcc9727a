"""Turns the steps of a program into kernel calls, and moves what they cannot read as it lies.

The stream is 64-bit words, one record a call: kernel, words in the record, items, attributes, and
(base, stride, vector) for each operand, as `kernels/memory.py` reads them.

The frame tells where the values of the current batch, or part of one, lie (`frame.py`). Rows that a
kernel wants evenly spaced and that are not are gathered by a call of their own; results for such
rows are written to scratch and scattered by another.
"""

import numpy as np

from lazynet.batching.frame import (
    AFTER_AT,
    ALL_STEPS,
    BYTES_GATHERED,
    CALL_WORDS,
    CALLS,
    CALLS_AT,
    FIRST_STEP,
    FORWARD_REGIONS,
    ITEM_ROWS,
    LOOP_AT,
    OVER_RUNS,
    OWNER,
    PREVIOUS,
    REGIONS,
    SEGMENT_ROWS,
    SKIPPED,
    TIMES,
    TRASH,
    alive,
    resolve,
    slot,
)
from lazynet.batching.layout import (
    ACCUMULATED,
    AFTER,
    BEFORE,
    D_STATE,
    H_ARGUMENTS,
    H_REGIONS,
    H_STEPS,
    ITEMS,
    LOOP,
    O_FLAGS,
    O_HELPER,
    O_REGION,
    O_SIZE,
    O_SPACE,
    O_WIDTH,
    OFFSETS,
    OPERAND_WORDS,
    PROGRAM_HEADER,
    REGION_WORDS,
    S_APART,
    S_ATTRIBUTES,
    S_DOMAIN,
    S_KERNEL,
    S_OPERANDS,
    S_PHASE,
    S_PRODUCT,
    S_WORDS,
    SEGMENTS,
    STEP_HEADER,
    V_DOMAIN,
    V_WIDTH,
    VIEW,
    WORDS,
    WRITTEN,
)
from lazynet.kernels.jit import borrowing, inline, spliced
from lazynet.kernels.memory import load, store
from lazynet.kernels.threads import RECORD_WORDS

# The second word of a call: its length, whether it is a product of rows with a parameter (0 or a
# fourth of the bytes of an element), whether it is a part of a scan's loop, and the first one of
# it, and then whether that loop may be done beside the one before; above these where its operands
# begin if its items may be done in parts (0 if not), whether that is worth while, and the local
# signature whose call it is; the last of so many stands for all that follow.
CALL_LENGTH, PRODUCT_AT, PRODUCTS = (1 << 27) - 1, 27, 3
LOOP_BESIDE, LOOP_CALL, LOOP_BEGINS = 1 << 29, 1 << 30, 1 << 31
OPERANDS_AT, SPLIT, OWNER_AT, OWNERS = 32, 1 << 47, 48, 1 << 15
WORTH_SPLITTING = 1 << 16  # bytes that a call must touch at least to be split


@inline
def own_calls(frame, s):
    """Let the calls that follow be those of local signature `s`."""
    frame[OWNER] = np.int64(min(s, OWNERS - 1)) << OWNER_AT


@inline
def operands_of_call(word):
    """From the second word of a call: where its operands begin if it may be in parts, else 0."""
    return (word >> OPERANDS_AT) & ((1 << 15) - 1)


@inline
def begin_call(frame, kernel, items, words, operands, split):
    """Start a record of `words` words; gives the address of its first attribute.

    `operands` is the word at which the operands begin if the items may be done in parts, else 0;
    `split` tells whether that is worth while.
    """
    q = frame[CALLS_AT] + 8 * frame[CALL_WORDS]
    store(q, kernel)
    apart = (np.int64(operands) << OPERANDS_AT) + (SPLIT if split else 0)
    store(q + 8, words + apart + frame[OWNER])
    store(q + 16, items)
    frame[CALL_WORDS] += words
    frame[CALLS] += 1
    return q + 24


@inline
def put_operand(q, base, stride, vector):
    """Write the three words of an operand."""
    store(q, base)
    store(q + 8, stride)
    store(q + 16, vector)


@borrowing
def move_rows(frame, helper, count, size, rows, block, scatter):
    """A call that copies `count` rows of `size` elements to a block, or adds the block to them."""
    split = not scatter and 4 * size * count >= WORTH_SPLITTING
    q = begin_call(frame, helper, count, 3 + 1 + 6, 0 if scatter else 4, split)
    store(q, size)
    first, second = (block, rows) if scatter else (rows, block)
    put_operand(q + 8, first[0], first[1], first[2])
    put_operand(q + 32, second[0], second[1], second[2])


@inline
def stays_apart(o, stride, vector, frame, programs):
    """Whether an operand lets the items of a call be done in any order, and in parts.

    First states may be those of other scans too, whose loops add to their gradients at that time.
    """
    space, flags = programs[o + O_SPACE], programs[o + O_FLAGS]
    if space == OFFSETS or space == WORDS:
        return False
    if space == D_STATE and frame[PREVIOUS] == FIRST_STEP:
        return False
    return not flags & WRITTEN or (vector == 0 and stride >= programs[o + O_WIDTH])


@inline
def gathered_rows(o, frame, programs):
    """The block kept for an operand's gathered rows: of this program or of the forward one."""
    region, width = programs[o + O_REGION], programs[o + O_WIDTH]
    if region >= 0:
        return (frame[slot(frame, REGIONS, region)], width, np.int64(0))
    forward = frame[slot(frame, FORWARD_REGIONS, -2 - region)]
    return (forward + frame[SKIPPED] * width, width, np.int64(0))


@borrowing
def emit_step(step, program, frame, programs, operands):
    """Emit the step whose words begin at `step`. Returns whether anything had to run."""
    kernel, domain = programs[step + S_KERNEL], programs[step + S_DOMAIN]
    attributes, arity = programs[step + S_ATTRIBUTES], programs[step + S_OPERANDS]
    first = step + STEP_HEADER + attributes
    count = frame[SEGMENT_ROWS] if domain == SEGMENTS else frame[ITEM_ROWS]
    trash = frame[TRASH]
    wanted = uneven = views = False
    # What goes over the rows of each segment reads offsets, and stays whole (`stays_apart`).
    apart, moved = domain == ITEMS or frame[OVER_RUNS] == 0, np.int64(0)
    apart = apart and programs[step + S_APART] != 0
    apart = apart and attributes + 3 * arity < RECORD_WORDS
    for k in range(arity):
        o = first + OPERAND_WORDS * k
        base, stride, vector = resolve(o, domain, count, program, frame, programs)
        operands[k, 0], operands[k, 1], operands[k, 2] = base, stride, vector
        flags = programs[o + O_FLAGS]
        if flags & WRITTEN and base != trash:
            wanted = True
        if flags & VIEW and base != trash and count > 1:
            uneven = uneven or vector != 0 or stride < programs[o + O_WIDTH]
        views = views or flags & VIEW != 0
        moved += count * programs[o + O_WIDTH]
        apart = apart and stays_apart(o, stride, vector, frame, programs)
    if not wanted:
        return False
    scatter = uneven and gather_operands(first, arity, count, frame, programs, operands)
    split = apart and not views and moved >= WORTH_SPLITTING  # products split themselves
    begin = 3 + attributes
    q = begin_call(frame, kernel, count, begin + 3 * arity, begin if apart else 0, split)
    store(q - 16, load(q - 16) + (programs[step + S_PRODUCT] << PRODUCT_AT))
    for a in range(attributes):
        store(q + 8 * a, programs[step + STEP_HEADER + a])
    if scatter:
        store(q, 0)  # shared kernels: store into the block, do not accumulate
    q += 8 * attributes
    for k in range(arity):
        base, stride, vector = operands[k, 0], operands[k, 1], operands[k, 2]
        if scatter and operands[k, 3] == 1:
            base, stride, vector = gathered_rows(first + OPERAND_WORDS * k, frame, programs)
        put_operand(q + 24 * k, base, stride, vector)
    if scatter:
        for k in range(arity):
            if operands[k, 3] == 1:
                o = first + OPERAND_WORDS * k
                rows = (operands[k, 0], operands[k, 1], operands[k, 2])
                block = gathered_rows(o, frame, programs)
                move_rows(
                    frame, programs[o + O_HELPER], count, programs[o + O_SIZE], rows, block, True
                )
    return True


@borrowing
def gather_operands(first, arity, count, frame, programs, operands):
    """Gather what a kernel reads and wants evenly spaced; whether a result must be scattered.

    Operands whose fourth word is set are written to their block and then scattered.
    """
    scatter = False
    for k in range(arity):
        o = first + OPERAND_WORDS * k
        flags, width = programs[o + O_FLAGS], programs[o + O_WIDTH]
        operands[k, 3] = 0
        even = operands[k, 2] == 0 and (operands[k, 1] >= width or count == 1)
        if flags & VIEW == 0 or even or operands[k, 0] == frame[TRASH]:
            continue
        rows = (operands[k, 0], operands[k, 1], operands[k, 2])
        block = gathered_rows(o, frame, programs)
        if flags & WRITTEN == 0:
            if programs[o + O_REGION] >= 0:
                move_rows(
                    frame, programs[o + O_HELPER], count, programs[o + O_SIZE], rows, block, False
                )
                frame[BYTES_GATHERED] += count * width
            operands[k, 0], operands[k, 1], operands[k, 2] = block
        elif flags & ACCUMULATED:
            operands[k, 3] = 1
            scatter = True
    return scatter


@spliced
def first_step(program, programs):
    """Where the words of a program's steps begin."""
    strides = program + PROGRAM_HEADER + REGION_WORDS * programs[program + H_REGIONS]
    return strides + programs[program + H_ARGUMENTS]


@spliced
def emit_phase(phase, program, frame, programs, operands):
    """Emit every step of one phase of a program."""
    step = first_step(program, programs)
    for _ in range(programs[program + H_STEPS]):
        if programs[step + S_PHASE] == phase:
            emit_step(step, program, frame, programs, operands)
        step += programs[step + S_WORDS]


@inline
def mark_loop(frame, before, begin):
    """Note of the calls from word `before` on that they are of the loop that began at `begin`.

    Row r of such a call depends on row r of those before it alone: a GPU may do them in one launch.
    """
    at = before
    while at < frame[CALL_WORDS]:
        q = frame[CALLS_AT] + 8 * at
        length = load(q + 8)
        store(q + 8, length + LOOP_CALL + (LOOP_BEGINS if at == begin else 0))
        at += length & CALL_LENGTH


@inline
def take_step(begin, rows, previous, regions, frame, program, programs):
    """Move the frame to `rows` rows of a batch from row `begin` on; `regions` is where it began."""
    frame[ITEM_ROWS], frame[SKIPPED], frame[PREVIOUS] = rows, begin, previous
    for v in range(programs[program + H_REGIONS]):
        region = program + PROGRAM_HEADER + REGION_WORDS * v
        shift = programs[region + V_WIDTH] * begin if programs[region + V_DOMAIN] == ITEMS else 0
        frame[slot(frame, REGIONS, v)] = regions[v] + shift


@borrowing
def emit_program(program, frame, programs, operands, regions, scan, backward):
    """Emit all steps of a program: before the loop, each time step (last first), and after it.

    There is one place that emits a phase, so that this large piece of code is compiled once.
    """
    items, skipped = frame[ITEM_ROWS], frame[SKIPPED]
    if scan:
        for v in range(programs[program + H_REGIONS]):
            regions[v] = frame[slot(frame, REGIONS, v)]
    times = frame[TIMES] if scan else 0
    begin = items if backward else np.int64(0)
    for visit in range(times + 2 if scan else 1):
        phase = LOOP
        if visit == 0 or visit == times + 1:
            phase = BEFORE if visit == 0 else AFTER
            frame[PREVIOUS] = ALL_STEPS
        else:
            t = times - visit if backward else visit - 1
            if backward:
                begin -= alive(frame, t)
            previous = FIRST_STEP if t == 0 else begin - alive(frame, t - 1)
            take_step(begin, alive(frame, t), previous, regions, frame, program, programs)
            if not backward:
                begin += alive(frame, t)
        before = frame[CALL_WORDS]
        frame[AFTER_AT] = before
        if visit <= 1:
            frame[LOOP_AT] = before
        emit_phase(phase, program, frame, programs, operands)
        if phase == LOOP:
            mark_loop(frame, before, frame[LOOP_AT])
            for v in range(programs[program + H_REGIONS]):
                frame[slot(frame, REGIONS, v)] = regions[v]
            frame[ITEM_ROWS], frame[SKIPPED], frame[PREVIOUS] = items, skipped, ALL_STEPS
