"""Worker threads for compiled code: parts of large calls run beside the thread that runs a plan.

BLAS is held at one thread, and calls are split here instead: a threaded BLAS gains little on small
products, splits nothing but products, and collapses when another program wants the cores. A part
that no worker has begun is done by the thread that posted it, so a worker that gets no core costs
nothing.

The board is a block of memory that all threads see. A slot of it holds one part: its state, the
kernel, the context, and the record.

Workers sleep in the system while no plan is running, and look for posted slots while one is. They
are in compiled code all the time and never want Python's lock. Where the system has no unnamed
semaphores (macOS, Windows) there are no workers, and BLAS keeps its own threads.
"""

import ctypes
import os
import platform
import sys
import threading

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lazynet.kernels.jit import inline, jit
from lazynet.kernels.memory import call, load, store

# Byte offsets in the context table: how many items the call has of which this one is a part (0
# where it is whole), the table of packed matrices (0: none), the board's address (0: no workers).
WHOLE, PACKED, BOARD, CONTEXT_BYTES = 32, 40, 48, 56
# Byte offsets in a board: the number of workers, whether a plan is running, the context of parts
# (which has no board, as parts are not split again), what a part of a product calls, what goes
# through loops (`lanes.py`), what lets another thread have the core.
WORKERS, RUNNING, ALONE, PART32, PART64, LANE, YIELD = range(0, 56, 8)
SEMAPHORE, FIRST_SLOT = 64, 128
SLOT = 2048
# Byte offsets in a slot: behind the words of a part there is room for its record, and in that room,
# where the part is a lane, for a context and for the record of one call.
STATE, KERNEL, CONTEXT, ROOM, LANE_CONTEXT, LANE_RECORD = 0, 8, 16, 64, 128, 192
RECORD_WORDS = (SLOT - LANE_RECORD) // 8  # of a call that may be done in parts
FREE, POSTED, TAKEN, DONE = range(4)
MOST_WORKERS = 63
PATIENCE = 64  # looks in vain, after which a waiting thread lets others have its core

_WORD = ir.IntType(64)


@intrinsic
def load_now(typing_context, address):
    """The integer at `address`, as other threads have left it."""

    def generate(context, builder, signature, values):
        return builder.load_atomic(builder.inttoptr(values[0], _WORD.as_pointer()), "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def store_now(typing_context, address, value):
    """Put an integer at `address`, after all that was written before it."""

    def generate(context, builder, signature, values):
        pointer = builder.inttoptr(values[0], _WORD.as_pointer())
        builder.store_atomic(values[1], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def exchange(typing_context, address, before, after):
    """Put `after` at `address` if `before` is there; whether it was."""

    def generate(context, builder, signature, values):
        pointer = builder.inttoptr(values[0], _WORD.as_pointer())
        pair = builder.cmpxchg(pointer, values[1], values[2], "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return types.boolean(types.int64, types.int64, types.int64), generate


@intrinsic
def breathe(typing_context):
    """Tell the processor that this thread is waiting."""

    def generate(context, builder, signature, values):
        machine = platform.machine()
        if machine in ("x86_64", "AMD64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            pause = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause")
            builder.call(pause, [])
        elif machine in ("aarch64", "arm64"):
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(32)])
            hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.hint")
            builder.call(hint, [ir.IntType(32)(1)])
        return context.get_dummy_value()

    return types.void(), generate


@inline
def wait_a_little(board, looks):
    """Wait after that many looks in vain: on a busy machine, others may need the core to go on."""
    if looks % PATIENCE == 0:
        call(load(board + YIELD), 0, 0)
    else:
        breathe()


@inline
def slot_of(board, k):
    """The address of slot `k`."""
    return board + FIRST_SLOT + SLOT * k


@inline
def post(board, slot, kernel):
    """Offer a call to the workers: of the kernel, with the record in the slot's room."""
    store(slot + KERNEL, kernel)
    store(slot + CONTEXT, load(board + ALONE))
    store_now(slot + STATE, POSTED)


@inline
def take(slot):
    """Do what is posted in a slot, if nobody else has begun it."""
    if not exchange(slot + STATE, POSTED, TAKEN):
        return False
    call(load(slot + KERNEL), slot + ROOM, load(slot + CONTEXT))
    store_now(slot + STATE, DONE)
    return True


@inline
def finish(board, k):
    """Return when what was posted in slot `k` is done, by whomever."""
    slot, looks = slot_of(board, k), 0
    take(slot)
    while load_now(slot + STATE) != DONE:
        looks += 1
        wait_a_little(board, looks)
    store_now(slot + STATE, FREE)


@inline
def parts_for(context, work, least):
    """Into how many parts to split a call of this much work, with at least `least` in each."""
    board = load(context + BOARD)
    if board == 0:
        return np.int64(1)
    return max(min(load(board + WORKERS) + 1, work // least), np.int64(1))


@inline
def copy_part(record, words, operands, start, count, room):
    """Write the record of `count` items of another from item `start` on.

    Args:
        words: of the record, whose operands begin at word `operands`.
    """
    for k in range(words):
        store(room + 8 * k, load(record + 8 * k))
    store(room, count)
    for at in range(room + 8 * operands, room + 8 * words, 24):
        if load(at + 16) != 0:
            store(at + 16, load(at + 16) + 8 * start)
        else:
            store(at, load(at) + load(at + 8) * start)


@inline
def split(kernel, record, words, operands, context):
    """Run one call in parts: of its items, whose rows the operands from word `operands` on name."""
    board, items = load(context + BOARD), load(record)
    alone = load(board + ALONE)
    parts = min(load(board + WORKERS) + 1, items)
    each = (items + parts - 1) // parts
    posted = np.int64(0)
    for start in range(each, items, each):
        slot = slot_of(board, posted)
        copy_part(record, words, operands, start, min(each, items - start), slot + ROOM)
        post(board, slot, kernel)
        posted += 1
    store(record, each)
    call(kernel, record, alone)
    store(record, items)
    for k in range(posted):
        finish(board, k)


@jit
def work_until_told(board, number, wait):
    """A worker: sleep until a plan runs, then take its slot's calls until it ends."""
    slot = slot_of(board, number)
    while load_now(board + WORKERS) > number:
        call(wait, board + SEMAPHORE, 0)
        looks = 0
        while load_now(board + RUNNING) != 0:
            if load_now(slot + STATE) == POSTED:
                take(slot)
                looks = 0
            looks += 1
            wait_a_little(board, looks)


@jit
def begin(board, wake):
    """Wake the workers for a plan; False if they serve another thread's."""
    if not exchange(board + RUNNING, 0, 1):
        return False
    for _ in range(load(board + WORKERS)):
        call(wake, board + SEMAPHORE, 0)
    return True


@jit
def dismiss(board, wake):
    """Let the workers end: those who sleep wake up, and find that there are to be none."""
    workers = load(board + WORKERS)
    store_now(board + WORKERS, 0)
    for _ in range(workers):
        call(wake, board + SEMAPHORE, 0)


@jit
def end(board):
    """Let the workers go back to sleep."""
    store_now(board + RUNNING, 0)


class Pool:
    """The workers of this process, started when a plan first wants them."""

    def __init__(self):
        self._wanted = _threads_wanted()
        self._lock = threading.Lock()
        self._memory: np.ndarray | None = None
        self._dismissed: list[tuple] = []
        self._library = ctypes.CDLL(None) if sys.platform == "linux" else None
        self.board = self.wake = 0
        self.context = np.zeros(0, np.int64)

    @property
    def threads(self) -> int:
        """How many threads run a plan."""
        return self._wanted if self._library is not None else 1

    def resize(self, threads: int) -> None:
        """Use that many threads from the next plan on."""
        with self._lock:
            if self.board:
                dismiss(self.board, self.wake)
                self._dismissed.append((self._memory, self._alone, self.context))  # still looked at
            self._wanted, self.board = threads, 0

    def forget(self) -> None:
        """In a forked child: there are no workers yet, and the lock is free."""
        self._lock, self.board = threading.Lock(), 0

    def start(self, context: np.ndarray, parts: tuple[int, int], lane: int) -> np.ndarray:
        """Start the workers, unless there are some already or none are wanted.

        Args:
            context: the table of library functions, without a board.
            parts: addresses of what computes a part of a product, in float32 and float64.
            lane: the address of what goes through a loop.

        Returns:
            the table with the board of the workers there are.
        """
        with self._lock:
            if self.board:
                return self.context
            if self.threads < 2:
                return context
            size = FIRST_SLOT + SLOT * self._wanted
            self._memory = np.zeros(size // 8 + 8, np.int64)
            board = (self._memory.ctypes.data + 63) // 64 * 64
            self._alone = context
            self._library.sem_init(ctypes.c_void_p(board + SEMAPHORE), 0, 0)
            wait = self._address("sem_wait")
            work_until_told(board, 0, wait)  # compiled now: the board says there are no workers
            words = {
                ALONE: self._alone.ctypes.data,
                PART32: parts[0],
                PART64: parts[1],
                LANE: lane,
                YIELD: self._address("sched_yield"),
                WORKERS: self._wanted - 1,
            }
            for offset, content in words.items():
                store_word(board + offset, content)
            self.context = np.array([*context[:-1], board], np.int64)
            self.wake = self._address("sem_post")
            if not self._start_workers(board, wait):
                return context
            self.board = board
            return self.context

    def _start_workers(self, board: int, wait: int) -> int:
        """Start as many workers as are wanted and the system allows; how many there are."""
        started = 0
        try:
            for number in range(self._wanted - 1):
                arguments = (board, number, wait)
                threading.Thread(target=work_until_told, args=arguments, daemon=True).start()
                started += 1
        except (RuntimeError, MemoryError):  # no more threads: go on with those there are
            store_word(board + WORKERS, started)
            self._wanted = started + 1
        except BaseException:  # Ctrl-C: those that have started look at the board once more
            dismiss(board, self.wake)
            self._dismissed.append((self._memory, self._alone, self.context))
            raise
        return started

    def _address(self, name: str) -> int:
        return ctypes.cast(getattr(self._library, name), ctypes.c_void_p).value


@jit
def _do(kernel, record, operands, context, wake):
    board = load(context + BOARD) if context != 0 else np.int64(0)
    if board == 0 or operands == 0 or not begin(board, wake):
        call(kernel, record.ctypes.data, context)
        return
    split(kernel, np.int64(record.ctypes.data), record.size, operands, context)
    end(board)


def do(kernel: int, record: np.ndarray, operands: int) -> None:
    """Run a call that belongs to no plan, in parts if there are workers that nothing else needs.

    Args:
        operands: the word of the record at which they begin; 0 for a call that is to stay whole.
    """
    context = POOL.context.ctypes.data if POOL.board else 0
    _do(kernel, record, operands, context, POOL.wake)


@jit
def store_word(address, word):
    """`store_now`, for Python."""
    store_now(address, word)


def _threads_wanted() -> int:
    """What the environment says, else one for each core this process may use."""
    for name in ("LAZYNET_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text.isdigit() and int(text) > 0:
            return min(int(text), MOST_WORKERS + 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, MOST_WORKERS + 1)


POOL = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget)
