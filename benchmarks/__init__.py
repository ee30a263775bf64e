"""Measurements of speed, and of accuracy over several seeds; results in benchmarks/results."""
