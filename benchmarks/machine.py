"""What a machine is, for those who read its figures."""

from pathlib import Path


def vector_instructions() -> str:
    """Name the widest vector instructions that the processor has, which decide most of the absolute rates."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    return next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "neither")
