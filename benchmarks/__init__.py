"""Benchmarks: every figure is a ratio against something in the same interleaved run.

    python -m benchmarks                  all workloads against their peers, and the micro figures
    python -m benchmarks tree --quick     one workload at toy size, to see that it runs

Data comes from the folder that LAZYNET_DATA names (sst/, wikiner/, ud_ewt/), else from the source
of Python's own standard library.
"""
