"""What steering costs here and elsewhere: one file a question, every figure a ratio taken within one run.

`python -m benchmarks` answers them on a CPU (`make bench` builds the peers' environment first), `benchmarks/gpu.py` on
a GPU. Nothing is downloaded but the peers' packages.
"""
