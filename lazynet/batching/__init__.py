"""Pure stages over integers: read (`decode`), schedule (`policies`), lay out (`plan`), and back.

Nothing here knows ops, tensors or Python objects: a tape of integers goes in, a stream of kernel
calls comes out, and `executor.py` runs it. `measure` tells what a plan takes, `marks`
what a backward goes through, `reverse` plans the way back.
"""
