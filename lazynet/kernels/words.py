"""The words in which shared kernels are written, and what they mean for each dtype on the CPU.

A shared kernel imports the words it uses, so that it reads as ordinary code; `lift` gives it a
namespace in which they mean something. Only the kernel itself is lifted: a function that it calls
has no words.

Attributes follow the number of items in the call record, operands follow the attributes. The first
attribute of every shared kernel is `accumulate`: add to the output instead of storing into it.
"""

import types as python_types

import numpy as np

from lazynet.kernels import blas, memory, small_products, threads
from lazynet.kernels.jit import made_once, word
from lazynet.kernels.memory import load, store
from lazynet.kernels.scalars import WORDS

LEAST_PART = 1 << 17  # multiplications of a part of a product that is worth a worker
PARTS = {"float32": threads.PART32, "float64": threads.PART64}

row = None  # row(address, width): the elements there, of the kernel's dtype
own_row = None  # the same, where no other item of the call writes
row_index = None  # the same, of int64
payload_words = None  # the same, of int32
# On CUDA the threads of a block share what `lanes(count)` counts, for one item a block, and wait
# for each other at `together()`; elsewhere these are `range` and nothing.
lanes = together = None
constant = None  # constant(x): a number of the kernel's dtype
itemsize = None  # bytes of one element
least = None  # the least number of the dtype
exp = log = maximum = difference = sqrt = None  # these and all others of scalars.py
# Products: in one part, in several, and that of some of its rows, made as the whole would be.
stackable = plain_product = product = part_of_product = None


def meanings(dtype: str) -> dict:
    """What the words mean on the CPU, for rows of `dtype`."""
    words, item = WORDS[dtype], np.dtype(dtype).itemsize
    plain = _plain_product(dtype) if dtype in blas.GEMM else None
    part = _part_of_product(plain, dtype) if plain else None
    return {
        **words,
        "row": memory.ROW[dtype],
        "own_row": memory.ROW[dtype],
        "lanes": range,
        "together": _nothing,
        "row_index": memory.row_int64,
        "payload_words": memory.row_int32,
        "stackable": _stackable(item),
        "plain_product": plain,
        "part_of_product": part,
        "product": _product(part) if part else None,
        "constant": words["c"],
        "least": -np.inf if dtype.startswith("float") else 0 if dtype == "bool" else -(2**63),
        "itemsize": item,
    }


def _stackable(item: int):
    """The word `stackable` for elements of so many bytes."""

    @word
    def stackable(operand, matrix, rows):
        """Whether an operand's items form one tall matrix, and its row stride in elements.

        `matrix` is an item's size in bytes and `rows` its rows as stored; items of one row need
        only be evenly spaced.
        """
        if load(operand + 16) != 0:
            return False, 0
        stride = load(operand + 8)
        if rows == 1:
            return stride >= matrix, stride // item
        return stride == matrix, 0

    return stackable


def _plain_product(dtype: str):
    """The word `plain_product` for a dtype."""
    gemm, one, zero = blas.GEMM[dtype], WORDS[dtype]["c"](1), WORDS[dtype]["c"](0)
    routine = 0 if dtype == "float32" else 8
    small = blas.SMALL[dtype]

    @word
    def plain_product(context, method, accumulate, ta, tb, m, n, k, a, lda, b, ldb, c, ldc):
        """C (+)= op(A) op(B) of row-major matrices."""
        if method != small_products.BLAS:
            function = load(load(context + blas.SMALL_AT) + small)
            small_products.call_product(
                function, method, accumulate, ta, m, n, k, a, lda, b, ldb, c, ldc
            )
            return
        beta = one if accumulate else zero
        gemm(
            load(context + routine), load(context + 16), ta, tb, m, n, k, one, a, lda, b, ldb, beta,
            c, ldc,
        )  # fmt: skip

    return plain_product


def _product(part_of_product):
    """The word `product`."""

    @word
    def product(context, accumulate, ta, tb, m, n, k, a, lda, b, ldb, c, ldc):
        """As `plain_product`, large ones in parts."""
        part_of_product(context, m, accumulate, ta, tb, m, n, k, a, lda, b, ldb, c, ldc)

    return product


def _part_of_product(plain_product, dtype: str):
    """The word `part_of_product` for a dtype."""
    item, part, across = np.dtype(dtype).itemsize, PARTS[dtype], small_products.panel(dtype)

    @word
    def part_of_product(context, whole, accumulate, ta, tb, m, n, k, a, lda, b, ldb, c, ldc):
        """As `product`, of m rows of a C that has `whole` rows, made as those of all would be.

        Parts are of columns if there are more than rows.
        """
        packed = small_products.packed_at(context, tb, n, k, b, ldb) if not ta else np.int64(0)
        if n == 1 and ldb == 1 and not tb:  # a column that lies as a row does
            tb, ldb = np.int64(1), k
        method = small_products.method(ta, tb, whole, n, k)
        if packed != 0 and whole <= small_products.MOST_PACKED:
            method, b, tb = small_products.PACKED, packed, np.int64(0)
        parts = threads.parts_for(context, m * n * k, LEAST_PART)
        if parts == 1:
            plain_product(context, method, accumulate, ta, tb, m, n, k, a, lda, b, ldb, c, ldc)
            return
        board = load(context + threads.BOARD)
        by_columns = n > m
        length = n if by_columns else m
        each = ((length + parts - 1) // parts + across - 1) // across * across
        posted = np.int64(0)
        for start in range(each, length, each):
            size = min(each, length - start)
            slot = threads.slot_of(board, posted)
            room = slot + threads.ROOM
            along = ldb if tb else 1  # from column to column of op(B)
            if method == small_products.PACKED:
                along = k
            shift_a, shift_b, shift_c = np.int64(0), start * along, start
            if not by_columns:
                shift_a, shift_b, shift_c = start * (1 if ta else lda), np.int64(0), start * ldc
            store(room, method)
            store(room + 8, accumulate)
            store(room + 16, ta)
            store(room + 24, tb)
            store(room + 32, m if by_columns else size)
            store(room + 40, size if by_columns else n)
            store(room + 48, k)
            store(room + 56, a + shift_a * item)
            store(room + 64, lda)
            store(room + 72, b + shift_b * item)
            store(room + 80, ldb)
            store(room + 88, c + shift_c * item)
            store(room + 96, ldc)
            threads.post(board, slot, load(board + part))
            posted += 1
        own = min(each, length)
        plain_product(
            context, method, accumulate, ta, tb, m if by_columns else own, own if by_columns else n,
            k, a, lda, b, ldb, c, ldc,
        )  # fmt: skip
        for p in range(posted):
            threads.finish(board, p)

    return part_of_product


@word
def _nothing():
    """What waiting for others is where there are none."""


@made_once
def lift(kernel, dtype: str):
    """`kernel` for rows of `dtype`: the same code in that dtype's namespace."""
    if {"product", "part_of_product"} & {*kernel.__code__.co_names}:  # whose parts come after
        blas.enter_small(dtype, small_products.address(dtype))
    namespace = {**kernel.__globals__, **meanings(dtype)}
    function = python_types.FunctionType(kernel.__code__, namespace, kernel.__name__)
    function.generated_source = f"{dtype} {kernel.__name__}"
    function.made_from = (kernel.__name__, dtype)
    return function
