"""The layout of a batch of one row, which has no order to take, nothing to gather and no runs.

Where nothing is batched (policy `none`, programs that look at every value) every batch is one, so
what `plan.py` and `emit.py` do for any number of rows is done here in one pass over the program.
"""

import numpy as np

from lazynet.batching.arrange import row_place
from lazynet.batching.decode import FIRST, FORM, POSITION, SINGLE
from lazynet.batching.emit import first_step, put_operand
from lazynet.batching.frame import CALL_WORDS, CALLS, CALLS_AT, OWNER, REGIONS, STATICS_AT, slot
from lazynet.batching.layout import (
    ARGUMENT,
    ARGUMENTS,
    B_ARGUMENTS,
    B_FIRST_ITEM,
    B_PAYLOAD,
    B_SIGNATURE,
    BEFORE,
    FORWARD,
    H_REGIONS,
    H_STEPS,
    ITEMS,
    KIND,
    O_INDEX,
    O_OFFSET,
    O_SPACE,
    OPERAND_WORDS,
    OUTPUTS,
    PAYLOAD,
    PROGRAM_HEADER,
    REGION,
    REGION_WORDS,
    ROWS,
    S_ATTRIBUTES,
    S_KERNEL,
    S_OPERANDS,
    S_PHASE,
    S_WORDS,
    STATIC,
    STEP_HEADER,
    V_DOMAIN,
    V_WIDTH,
    WORDS,
)
from lazynet.batching.measure import aligned
from lazynet.kernels.jit import entered, spliced
from lazynet.kernels.memory import load, store


@entered
def row_wise(signatures, programs, found):
    """For each signature, whether its program is one of rows, arguments and parameters alone."""
    for s in range(signatures.shape[0]):
        program = signatures[s, FORWARD]
        fits = signatures[s, KIND] == ROWS
        for v in range(programs[program + H_REGIONS]):
            region = program + PROGRAM_HEADER + REGION_WORDS * v
            fits = fits and programs[region + V_DOMAIN] == ITEMS
        step = first_step(program, programs)
        for _ in range(programs[program + H_STEPS]):
            operand = step + STEP_HEADER + programs[step + S_ATTRIBUTES]
            for _ in range(programs[step + S_OPERANDS]):
                space = programs[operand + O_SPACE]
                known = space == REGION or space == ARGUMENT or space == STATIC or space == WORDS
                fits = fits and known and programs[step + S_PHASE] == BEFORE
                operand += OPERAND_WORDS
            step += programs[step + S_WORDS]
        found[s] = fits


@spliced
def place_row(nodes, i, program, programs, laid, first_region, done, outputs, scratch, frame):
    """Give every region of the program the row of this batch, and the outputs their addresses."""
    for v in range(programs[program + H_REGIONS]):
        region = program + PROGRAM_HEADER + REGION_WORDS * v
        width = programs[region + V_WIDTH]
        if laid.regions[first_region + v] == 0:
            row = scratch
            scratch += aligned(width)
        else:
            row = laid.regions[first_region + v] + width * done
        frame[slot(frame, REGIONS, v)] = row
        if v < outputs:
            nodes.place[nodes.columns[i, FIRST] + v] = row


@spliced
def emit_row(program, programs, laid, first_argument, payload_at, frame):
    """Write the call of every step of the program."""
    step = first_step(program, programs)
    q = frame[CALLS_AT] + 8 * frame[CALL_WORDS]
    for _ in range(programs[program + H_STEPS]):
        attributes, arity = programs[step + S_ATTRIBUTES], programs[step + S_OPERANDS]
        words = 3 + attributes + 3 * arity
        store(q, programs[step + S_KERNEL])
        store(q + 8, words + frame[OWNER])
        store(q + 16, 1)
        q += 24
        at = step + STEP_HEADER
        for a in range(attributes):
            store(q + 8 * a, programs[at + a])
        q, at = q + 8 * attributes, at + attributes
        for _ in range(arity):
            space, index = programs[at + O_SPACE], programs[at + O_INDEX]
            stride = np.int64(0)
            if space == REGION:
                row = frame[slot(frame, REGIONS, index)]
                stride = programs[program + PROGRAM_HEADER + REGION_WORDS * index + V_WIDTH]
            elif space == ARGUMENT:
                row = laid.arguments[first_argument + index, 0]
            elif space == STATIC:
                row = load(frame[STATICS_AT] + 8 * index)
            else:
                row = payload_at
            offset = np.int64(0) if space == WORDS else programs[at + O_OFFSET]
            put_operand(q, row + offset, stride, np.int64(0))
            q, at = q + 24, at + OPERAND_WORDS
        frame[CALL_WORDS] += words
        step += programs[step + S_WORDS]
    frame[CALLS] += programs[program + H_STEPS]


@spliced
def lay_out_row(nodes, i, b, signatures, programs, base, scratch, laid, frame):
    """Lay out batch `b`, of one row, which is node `i`."""
    s, argument = laid.batches[b, B_SIGNATURE], np.int64(laid.batches[b, B_ARGUMENTS])
    done, payload = laid.batches[b, B_FIRST_ITEM], np.int64(laid.batches[b, B_PAYLOAD])
    program, words = signatures[s, FORWARD], signatures[s, PAYLOAD]
    arguments, first = signatures[s, ARGUMENTS], np.int64(nodes.columns[i, POSITION])
    place_row(
        nodes, i, program, programs, laid, laid.first[s], done, signatures[s, OUTPUTS], scratch,
        frame,
    )  # fmt: skip
    each = 1 if nodes.columns[i, FORM] == SINGLE else 2
    for k in range(arguments):
        row = np.int64(nodes.tape[first + k * each])
        laid.arguments[argument + k, 0] = row_place(nodes, row, base)
    for w in range(words):
        laid.payload[payload + w] = nodes.tape[first + arguments * each + w]
    payload_at = np.int64(laid.payload.ctypes.data) + 4 * payload
    emit_row(program, programs, laid, argument, payload_at, frame)
