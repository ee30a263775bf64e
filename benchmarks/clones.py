"""Clones of what is committed, to run the pipeline in without touching this checkout."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / ".bench"  # on the checkout's file system, so that DVC can link


def git(*command: str) -> str:
    """Run git in this checkout and return what it prints."""
    return subprocess.run(["git", *command], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def clone_into(clone: Path, cache: Path = ROOT / ".dvc/cache") -> None:
    """Clone the last commit into the new folder `clone`, with a DVC cache; by default it shares this checkout's."""
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    dvc = Path(sys.executable).parent / "dvc"
    subprocess.run([dvc, "cache", "dir", "--local", cache], cwd=clone, check=True)
