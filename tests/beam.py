"""Options of Apache Beam. Imports nothing: the workers of a test import what the test does."""


def beam_workers(count: int) -> list[str]:
    """Return options for so many workers, in processes of their own on this machine."""
    return ["--runner=FnApiRunner", "--direct_running_mode=multi_processing", f"--direct_num_workers={count}"]
