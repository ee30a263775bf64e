"""Run DVC, and print a line for each stage in place of DVC's notices: python -m transfer run

Warnings, errors and progress bars are DVC's own.
"""

import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from dvc.cli import main as dvc_main

from transfer import check, lock_file, params_file
from transfer.core.strict import load_yaml

PIPELINE = Path("dvc.yaml")
BEGINS = "Running stage '%s':"
PASSES = {
    "Stage '%s' didn't change, skipping": "unchanged",
    "Stage '%s' is cached - skipping run, checking out outputs": "restored from the cache",
}
ENDS = ("Updating lock file '%s'", "Generating lock file '%s'", "")
"""What DVC 3.67 logs once a stage has ended: the file is updated if it changes, and a blank line parts two stages."""
NEEDLESS = (
    "%s %s",  # > and the command of the stage
    "\nTo track the changes with git, run:\n\n%s",
    "\nTo enable auto staging, run:\n\n\tdvc config core.autostage true",
)


def stages_of(pipeline: Path) -> list[str]:
    """Return the names of a pipeline's stages, in the order in which DVC runs them.

    Raises:
        UserError: the file cannot be read.
    """
    stages = load_yaml(pipeline)["stages"]
    each = ((name, stage.get("foreach")) for name, stage in stages.items())
    return [full for name, items in each for full in ([f"{name}@{item}" for item in items] if items else [name])]


class Notices(logging.Filter):
    """Rewrites what DVC logs about the stages of a pipeline, and holds back what a user does not need."""

    def __init__(self, stages: Sequence[str]) -> None:
        super().__init__()
        self._stages = stages
        self._running, self._began = "", 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether to print a record, which may get other words."""
        if record.msg in (BEGINS, *PASSES) and isinstance(record.args, tuple) and record.args[0] in self._stages:
            name = str(record.args[0])
            line = f"stage {self._stages.index(name) + 1} of {len(self._stages)}: {name}"
            if record.msg == BEGINS:
                self._running, self._began = name, time.monotonic()
            else:
                line += f", {PASSES[record.msg]}"
        elif record.msg in ENDS:
            line = self.end()
        else:
            return record.msg not in NEEDLESS
        record.msg, record.args = line, ()
        return bool(line)

    def end(self) -> str:
        """Return what to print when a stage may have ended: the time that it took, or "" if none was running."""
        name, self._running = self._running, ""
        return f"{name}: {time.monotonic() - self._began:.0f} s" if name else ""


def dvc(*arguments: str) -> int:
    """Run a command of DVC that runs stages, by the Python that runs this, and return its exit status."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    notices = Notices(stages_of(PIPELINE))
    for handler in logging.getLogger("dvc").handlers:
        if handler.level == logging.INFO:
            handler.addFilter(notices)
    status = int(dvc_main(arguments))
    if status == 0 and (line := notices.end()):
        print(line)
    return status


def repair() -> None:
    """Repair dvc.lock and complete params.yaml, where that is needed.

    Raises:
        UserError: see `lock_file.repair` and `params_file.main`.
    """
    lock_file.repair()
    params_file.main()


def main(stages: Sequence[str]) -> int:
    """Repair and check, then run those stages, and what they need, that have changed; all, where none is named.

    Raises:
        UserError: see `repair` and `check.main`.
    """
    repair()
    check.main()
    return dvc("repro", *stages)
