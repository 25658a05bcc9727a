"""The ground floor: compiled kernels, and the doors through which they are compiled and called.

A kernel is a function of two integers, `kernel(call, context)`. `call` is the address of a record
of 64-bit words: the number of items, the kernel's attributes, then three words for each operand
(see `memory.py`). `context` is the address of a table of library functions (`blas.py`). One calling
convention for all kernels lets one compiled loop run any of them.
"""
