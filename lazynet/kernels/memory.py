"""Reading and writing rows by address: what every kernel and the executor are made of.

An operand of a kernel is three 64-bit words, (base, stride, vector), all in bytes. Without a vector
row r lies at `base + r * stride` (a view; stride 0 is one row shared by all items); with one it
lies at `vector[r] + base` (a gather).
"""

from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from lazynet.kernels.jit import word

OPERAND = 24  # bytes of one operand in a call record

_WORD = ir.IntType(64)


@intrinsic
def load(typing_context, address):
    """The 64-bit integer at `address`."""

    def generate(context, builder, signature, values):
        return builder.load(builder.inttoptr(values[0], _WORD.as_pointer()))

    return types.int64(types.int64), generate


@intrinsic
def store(typing_context, address, value):
    """Put a 64-bit integer at `address`."""

    def generate(context, builder, signature, values):
        builder.store(values[1], builder.inttoptr(values[0], _WORD.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def call(typing_context, function, record, context_table):
    """Call the kernel at the address `function`."""

    def generate(context, builder, signature, values):
        kernel = ir.FunctionType(ir.VoidType(), [_WORD, _WORD])
        builder.call(builder.inttoptr(values[0], kernel.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _pointer(element, llvm_type):
    @intrinsic
    def pointer(typing_context, address):
        def generate(context, builder, signature, values):
            return builder.inttoptr(values[0], llvm_type.as_pointer())

        return types.CPointer(element)(types.int64), generate

    return pointer


POINTER = {
    "float32": _pointer(types.float32, ir.FloatType()),
    "float64": _pointer(types.float64, ir.DoubleType()),
    "int64": _pointer(types.int64, ir.IntType(64)),
    "bool": _pointer(types.uint8, ir.IntType(8)),
}


def _rows(element, llvm_type):
    pointer = _pointer(element, llvm_type)

    @word
    def row(address, width):
        return carray(pointer(address), (width,))

    return row


row_float32 = _rows(types.float32, ir.FloatType())
row_float64 = _rows(types.float64, ir.DoubleType())
row_int64 = _rows(types.int64, ir.IntType(64))
row_int32 = _rows(types.int32, ir.IntType(32))
row_bool = _rows(types.uint8, ir.IntType(8))

ROW = {
    "float32": row_float32,
    "float64": row_float64,
    "int64": row_int64,
    "bool": row_bool,
}


@word
def address(operand, r):
    """The address of row `r` of the operand whose three words begin at `operand`."""
    vector = load(operand + 16)
    if vector != 0:
        return load(operand) + load(vector + 8 * r)
    return load(operand) + load(operand + 8) * r


def _bitcast(source, target, llvm_target):
    @intrinsic
    def cast(typing_context, value):
        def generate(context, builder, signature, values):
            return builder.bitcast(values[0], llvm_target)

        return target(source), generate

    return cast


float32_bits = _bitcast(types.float32, types.int32, ir.IntType(32))
bits_float32 = _bitcast(types.int32, types.float32, ir.FloatType())
