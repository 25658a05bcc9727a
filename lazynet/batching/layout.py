"""The words of the integer tables: columns of a signature, spaces of an operand, kinds of a node.

The tape, 32-bit words, one entry a node. `s` is the signature, an id names a row of the graph:

    ROWS, ALIAS, one row:   s, id of each argument, payload
    ROWS, ALIAS, n rows:    -s-1, n, (id, step) of each argument, payload of each row
    SCAN:                   -s-1, n, (id, step) of each argument (states have step 0)
    SEGMENT, one segment:   -s-1, m, 1, 0, (id, step) of each argument
    SEGMENT, k segments:    -s-1, m, k, 1, m ids of each argument, k counts,
                            k ids of each argument that has a row a segment
    RUNS, n output rows:    -s-1, n, each argument's pieces p and p times (id, step, count), payload
    LINK:                   -s-1, n

An encoded program (`program.py`), 64-bit words:

    regions, steps, words of one emission, vectors, arguments, states, singles
    each region:  width in bytes, domain, lifetime
    each argument: the bytes between its rows where they lie end to end
    each step:    words, kernel, domain, phase, attributes, operands, then the attributes, then
                  OPERAND_WORDS for each operand
"""

# Kinds of node.
ROWS, SEGMENT, SCAN, ALIAS, LINK, RUNS = range(6)

# Columns of the signature table.
# SINGLES: how many of the last arguments have a row a segment.
(KIND, ARGUMENTS, SINGLES, PAYLOAD, OUTPUTS, PER_ITEM, FORWARD, BACKWARD, NEEDS,
 COLUMNS) = range(10)  # fmt: skip
UNPREPARED, NO_DERIVATIVE = -1, -2

# Columns of a planned batch: its signature (local), how many items, segments, rows read and time
# steps it has, where its items, segments, arguments, integers and payload begin, its nodes, and of
# scans whether their loop is done beside that of the batch before.
(
    B_SIGNATURE,
    B_ITEMS,
    B_SEGMENTS,
    B_ROWS_READ,
    B_TIMES,
    B_FIRST_ITEM,
    B_FIRST_SEGMENT,
    B_ARGUMENTS,
    B_INTEGERS,  # offsets and the segment of each item; of a scan, the rows of each time step
    B_PAYLOAD,
    B_FIRST_NODE,
    B_LAST_NODE,
    B_BESIDE,
    BATCH_COLUMNS,
) = range(14)

# Spaces: what an operand of a step refers to.
(
    ARGUMENT,  # an operand of the node
    REGION,  # a value of this program
    STATIC,  # a parameter
    STATE,  # the previous state of a scan
    OFFSETS,  # where the segments of the batch begin; RUNS: in the output, then in each argument
    WORDS,  # the payload of the batch
    FORWARD_REGION,  # in a backward program: a value of the forward program
    D_ARGUMENT,  # and the gradients of all these
    D_FORWARD,
    D_STATIC,
    D_STATE,
    LITERAL,  # a Python number, written into the kernel
) = range(12)

# Domains of a step or region: a row for each item of the batch, or for each segment.
ITEMS, SEGMENTS = 0, 1
# Lifetimes of a region.
OUTPUT, SAVED, SCRATCH = 0, 1, 2
# Phases of a step: before, in and after the loop of a scan; once for all rows of a signature.
BEFORE, LOOP, AFTER, DEFERRED = range(4)
# Flags of an operand.
VIEW, WRITTEN, ACCUMULATED = 1, 2, 4

# Words of an encoded program's header: how many it has of each.
(
    H_REGIONS,
    H_STEPS,
    H_EMISSION,  # words that the calls of its steps may take, each emitted once
    H_VECTORS,  # operands whose rows may have to be listed one by one then
    H_ARGUMENTS,
    H_STATES,
    H_SINGLES,  # how many of the last arguments have a row a segment
    PROGRAM_HEADER,
) = range(8)
# Words of a region, a value of the program.
V_WIDTH, V_DOMAIN, V_LIFETIME, REGION_WORDS = range(4)
# Words of a step's header. `S_WORDS` counts the whole step: its attributes and operands follow.
# `S_APART`: whether its kernel does each item by itself. `S_PRODUCT`: of a product of rows with a
# parameter, a fourth of the bytes of an element, else 0.
(S_WORDS, S_KERNEL, S_DOMAIN, S_PHASE, S_ATTRIBUTES, S_OPERANDS, S_APART, S_PRODUCT,
 STEP_HEADER) = range(9)  # fmt: skip
# Words of an operand: width in bytes, size in elements, helper kernel, region of gathered rows.
(O_SPACE, O_INDEX, O_OFFSET, O_WIDTH, O_FLAGS, O_HELPER, O_SIZE, O_REGION,
 OPERAND_WORDS) = range(9)  # fmt: skip
