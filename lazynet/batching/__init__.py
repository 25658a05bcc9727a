"""Three pure stages over integer arrays: schedule (`policies`), lay out (`plan`), and the reverse.

Nothing here knows ops, tensors or Python objects: a tape of integers goes in, a stream of kernel
calls comes out, and `executor.py` runs it.
"""
