"""How the C library handles the memory of a training."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Of glibc's malloc.h: see mallopt(3)."""


def keep_freed_memory() -> None:
    """Have glibc keep the memory that is freed for what is allocated next, until this process ends.

    By default it returns large arrays to the system and asks for them again, zeroed page by page, in every training
    step: a sixth of the time of fine-tuning on two cores. Elsewhere than on Linux with glibc, this does nothing.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return
    libc.mallopt(M_MMAP_MAX, 0)  # large arrays, too, come from the heap
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(M_TOP_PAD, 2**26)
