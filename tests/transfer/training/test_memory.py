"""Tests of transfer/training/memory.py."""

import ctypes
import resource
import subprocess
import sys

import pytest

ALLOCATE = """
import sys, resource, numpy as np
from transfer.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    return [np.ones(2**22, np.float32) for _ in range(4)]  # 16 MiB each
for _ in range(3):
    step()
before = faults()
for _ in range(10):
    step()
print(faults() - before)
"""
PAGES = 10 * 4 * 2**24 // resource.getpagesize()


def _faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", ALLOCATE, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc"
)
def test_a_step_finds_the_memory_of_the_step_before() -> None:
    assert _faults("keep") < PAGES / 100
