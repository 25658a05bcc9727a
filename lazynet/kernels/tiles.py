"""Register tiles: the innermost loops of small products, written in vectors of the processor.

A tile is as much of C = A B as the registers hold sums for: up to three rows by four vectors. Each
step over k loads a few vectors and multiplies each of them several times, so that it is the
multiplications that take the time. There are two kinds, by how the factors lie: *inner* products of
rows of A and rows of B, and *outer* products of columns of A and rows of B. Neither wants its
factors copied before, which is what takes a BLAS as long as the product, if the product is small.

Source: Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication (2008).
"""

import functools

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ROWS = 3  # of a tile at most
WIDTH = 4  # columns of an inner tile, vectors of an outer one: 12 sums, 3 vectors of A, 1 of B
NARROW, OUTER_TILE = ROWS, 2 * ROWS  # how the numbers of tiles are made up
_FUSED = ("contract",)  # x * y + z may be one instruction
_WORD, _HALF = ir.IntType(64), ir.IntType(32)
_NAMES = ("k", "a", "step", "along", "b", "ldb", "c", "ldc", "some")
_ELEMENT = {"float32": ir.FloatType(), "float64": ir.DoubleType()}


@functools.cache
def lanes(dtype: str) -> int:
    """How many elements a vector has on this processor, at least four."""
    try:
        features = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:  # a processor that LLVM knows nothing of
        features = {}
    size = 64 if features.get("avx512f") else 32 if features.get("avx") else 16
    return max(4, size // np.dtype(dtype).itemsize)


class _Code:
    """Writes the code of one tile: reads and writes by address and offset, in elements."""

    def __init__(self, builder, dtype: str, lanes: int):
        self.builder, self.element, self.lanes = builder, _ELEMENT[dtype], lanes
        self.vector = ir.VectorType(self.element, lanes)
        self._size = np.dtype(dtype).itemsize
        self._item = _WORD(self._size)

    def moved(self, base, offset):
        """An address, that many elements further on."""
        return self.builder.add(base, self.builder.mul(offset, self._item))

    def lines(self, base, count: int, step):
        """The addresses of some lines of a matrix, `step` elements apart."""
        return [self.moved(base, self.builder.mul(step, _WORD(i))) for i in range(count)]

    def pointer(self, base, offset, kind):
        return self.builder.inttoptr(self.moved(base, offset), kind.as_pointer())

    def read(self, base, offset, kind):
        """What lies there, an element or a vector, aligned as elements are."""
        return self.builder.load(self.pointer(base, offset, kind), align=self._size)

    def write(self, value, base, offset):
        self.builder.store(value, self.pointer(base, offset, value.type), align=self._size)

    def zeros(self, rows: int, columns: int):
        """Places of sums, vectors of zeros: LLVM keeps them in registers."""
        zero = ir.Constant(self.vector, None)
        return [
            [cgutils.alloca_once_value(self.builder, zero) for _ in range(columns)]
            for _ in range(rows)
        ]

    def add_product(self, place, x, y):
        """place += x * y."""
        product = self.builder.fmul(x, y, flags=_FUSED)
        total = self.builder.fadd(product, self.builder.load(place), flags=_FUSED)
        self.builder.store(total, place)

    def repeated(self, x):
        """A vector of one number."""
        vector = ir.VectorType(x.type, self.lanes)
        first = self.builder.insert_element(ir.Constant(vector, ir.Undefined), x, _HALF(0))
        return self.picked(first, first, [0] * self.lanes)

    def picked(self, x, y, which: list[int]):
        """A vector of these lanes of two vectors."""
        mask = ir.Constant(ir.VectorType(_HALF, len(which)), which)
        return self.builder.shuffle_vector(x, y, mask)

    def folded(self, x, y, first: list[int], second: list[int]):
        """The sum of two choices of lanes."""
        return self.builder.fadd(self.picked(x, y, first), self.picked(x, y, second))

    def totals(self, vectors):
        """The sums over the lanes of each vector, of one or of four, as the lanes of one vector."""
        found, width = vectors[0], self.lanes
        if len(vectors) == WIDTH:
            # In each four lanes: sums of pairs of two vectors, then of four vectors, side by side.
            fours = range(0, width, 4)
            first = [g + k for g in fours for k in (0, 2, width, width + 2)]
            second = [lane + 1 for lane in first]
            a, b, c, d = vectors
            found = self.folded(
                self.folded(a, b, first, second), self.folded(c, d, first, second), first, second
            )
        while width > len(vectors):
            width //= 2
            found = self.folded(found, found, [*range(width)], [*range(width, 2 * width)])
        return found

    def mask(self, count):
        """The lanes before that many."""
        numbers = ir.Constant(ir.VectorType(_WORD, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self.repeated(count))

    def _masked(self, what: str, result, *operands):
        letter = "f32" if self._size == 4 else "f64"
        kind = ir.FunctionType(result, [operand.type for operand in operands])
        name = f"llvm.masked.{what}.v{self.lanes}{letter}.p0v{self.lanes}{letter}"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, operands)

    def read_vector(self, base, offset, mask=None):
        """A vector of what lies there; where there is a mask, zeros outside of it."""
        if mask is None:
            return self.read(base, offset, self.vector)
        place, zero = self.pointer(base, offset, self.vector), ir.Constant(self.vector, None)
        return self._masked("load", self.vector, place, _HALF(self._size), mask, zero)

    def write_vector(self, value, base, offset, mask=None):
        """Put a vector there, or as much of it as there is a mask for."""
        if mask is None:
            self.write(value, base, offset)
            return
        place = self.pointer(base, offset, self.vector)
        self._masked("store", ir.VoidType(), value, place, _HALF(self._size), mask)


def _write_inner(code, rows, columns, accumulate, k, a, step, along, b, ldb, c, ldc, some):
    """C (+)= A B^T, where C has one column or four; `along` is 1."""
    builder = code.builder
    sums = code.zeros(rows, columns)
    rows_a, rows_b = code.lines(a, rows, step), code.lines(b, columns, ldb)

    def add(at, mask=None):
        left = [code.read_vector(row, at, mask) for row in rows_a]
        for j, row in enumerate(rows_b):
            right = code.read_vector(row, at, mask)
            for i in range(rows):
                code.add_product(sums[i][j], left[i], right)

    zero, lanes = _WORD(0), _WORD(code.lanes)
    whole = builder.and_(k, _WORD(-code.lanes))
    with cgutils.for_range_slice(builder, zero, whole, lanes, intp=_WORD) as (q, _):
        add(q)
    with builder.if_then(builder.icmp_signed("!=", whole, k)):
        add(whole, code.mask(builder.sub(k, whole)))
    for places, row in zip(sums, code.lines(c, rows, ldc), strict=True):
        total = code.totals([builder.load(place) for place in places])
        place = cgutils.alloca_once_value(builder, total)
        with builder.if_then(accumulate):
            builder.store(builder.fadd(total, code.read(row, zero, total.type)), place)
        code.write(builder.load(place), row, zero)


def _write_outer(code, rows, vectors, accumulate, k, a, step, along, b, ldb, c, ldc, some):
    """C (+)= A B, where C has as many columns as four vectors, or as one, of which `some` count."""
    builder = code.builder
    sums = code.zeros(rows, vectors)
    rows_a = code.lines(a, rows, step)
    starts = [_WORD(v * code.lanes) for v in range(vectors)]
    mask = code.mask(some) if vectors == 1 else None
    with cgutils.for_range(builder, k, intp=_WORD) as loop:
        at, row_b = builder.mul(loop.index, along), code.moved(b, builder.mul(loop.index, ldb))
        left = [code.repeated(code.read(row, at, code.element)) for row in rows_a]
        for v, start in enumerate(starts):
            right = code.read_vector(row_b, start, mask)
            for i in range(rows):
                code.add_product(sums[i][v], left[i], right)
    for places, row in zip(sums, code.lines(c, rows, ldc), strict=True):
        for place, start in zip(places, starts, strict=True):
            with builder.if_then(accumulate):
                before = code.read_vector(row, start, mask)
                builder.store(builder.fadd(builder.load(place), before), place)
            code.write_vector(builder.load(place), row, start, mask)


_TILES = [
    functools.partial(write, rows=rows, **{wide: count})
    for write, wide in ((_write_inner, "columns"), (_write_outer, "vectors"))
    for count in (WIDTH, 1)
    for rows in range(1, ROWS + 1)
]


@functools.cache
def tile(dtype: str, lanes: int):
    """tile(which, accumulate, k, a, step, along, b, ldb, c, ldc, some), of 64-bit integers.

    `which` is the number of rows less one; 3 more for narrow tiles, of one column or one vector; 6
    more for outer products. A, B and C are addresses. A's elements are `step` elements apart from
    row to row and `along` from column to column, so that it may be stored transposed; B's and C's
    rows are ldb and ldc apart. Of a narrow outer tile `some` columns count.
    """

    @intrinsic
    def tile(typing_context, which, accumulate, k, a, step, along, b, ldb, c, ldc, some):
        def generate(context, builder, signature, values):
            which, accumulate, *others = values
            code = _Code(builder, dtype, lanes)
            condition = builder.icmp_signed("!=", accumulate, _WORD(0))
            end = builder.append_basic_block("end")
            choice = builder.switch(which, end)
            for number, write in enumerate(_TILES):
                block = builder.append_basic_block("tile")
                choice.add_case(_WORD(number), block)
                builder.position_at_end(block)
                write(code, accumulate=condition, **dict(zip(_NAMES, others, strict=True)))
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 11), generate

    return tile
