"""What a user would pick instead, on the same machine, split, images and weights: python -m benchmarks.peers

Each peer trains in a process of its own, on arrays that are read from the pipeline's records, and none sees the labels
of the test split: it writes probabilities, and one function scores them all, the pipeline's own models included.
"""
