"""Clones of what is committed, to run the pipeline in without touching this checkout."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / ".bench"  # on the checkout's file system, so that DVC can link


def clone_into(clone: Path, cache: Path = ROOT / ".dvc/cache") -> None:
    """Clone the last commit into the new folder `clone`, with a DVC cache; by default it shares this checkout's."""
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    dvc = Path(sys.executable).parent / "dvc"
    subprocess.run([dvc, "cache", "dir", "--local", cache], cwd=clone, check=True)


def environment() -> dict[str, str]:
    """Return the variables to run DVC with: this Python's programs come first, and git has an author to name."""
    names = {f"GIT_{role}_{key}": "nobody" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    return {**names, **os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def git(*command: str, folder: Path = ROOT) -> str:
    """Run a git command and return what it printed."""
    done = subprocess.run(["git", *command], cwd=folder, env=environment(), check=True, capture_output=True, text=True)
    return done.stdout.strip()


def committed_params(commit: str = "HEAD") -> Any:
    """Return the content of a commit's params.yaml."""
    return yaml.safe_load(git("show", f"{commit}:params.yaml"))


def committed() -> str:
    """Return the commit that clones are of, and say what is changed and not committed."""
    if changes := git("status", "--porcelain", "--untracked-files=no"):
        print(f"{len(changes.splitlines())} changed files are not committed, and take no part", file=sys.stderr)
    return git("rev-parse", "HEAD")
