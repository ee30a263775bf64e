"""Run a pipeline over the items in a folder that have no result yet: python -m transfer.workers.beam_pipeline FOLDER

`workers.beam_runner` starts it, and ends when it does.
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from transfer.workers.task import BAD_OPTIONS, FAILED, WORKER_LOST, Task, reason_file, result_file

ONE_MACHINE = (None, "DirectRunner", "FnApiRunner", "BundleBasedDirectRunner")  # Beam's own runners; None is the first
QUIET = "--default_sdk_harness_log_level=WARNING"


def _end_with_parent() -> None:
    """End this process and its workers when the one that started it has ended, however that came."""
    os.read(sys.stdin.fileno(), 1)
    os.killpg(0, signal.SIGKILL)


def _end(scratch: Path, status: int, reason: str) -> NoReturn:
    """End this process without waiting for Beam's threads, of which some may never end."""
    reason_file(scratch).write_text(reason, encoding="utf-8")
    sys.stderr.flush()
    os._exit(status)


def _watch_threads(scratch: Path) -> None:
    """End this process where a worker was lost; Beam would wait for it."""

    def failed(args: threading.ExceptHookArgs) -> None:
        threading.__excepthook__(args)
        if "Worker subprocess exited" in str(args.exc_value):
            _end(scratch, WORKER_LOST, f"a worker was lost: {args.exc_value}")

    threading.excepthook = failed


def _read_options(given: Sequence[str]) -> PipelineOptions:
    """Return Beam's options; a wrong value ends the process, as argparse does.

    What Beam does not know may be an option of a cluster's, and is passed through. On one machine it is a mistake.
    """
    options = PipelineOptions([QUIET, *given])
    known = options.get_all_options()
    unknown = set(options.get_all_options(retain_unknown_options=True)) - set(known)
    if unknown and known["runner"] in ONE_MACHINE and not options.view_as(PortableOptions).job_endpoint:
        print(f"expected options of Beam, received --{min(unknown)}", file=sys.stderr)
        sys.exit(BAD_OPTIONS)
    return options


def main() -> None:
    """Read the options and the items, run the pipeline and wait for its end."""
    scratch = Path(sys.argv[1])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _watch_threads(scratch)
    options = _read_options(json.loads((scratch / "options").read_text(encoding="utf-8")))
    try:
        pipeline = beam.Pipeline(options=options)
    except (ValueError, ImportError) as error:  # no such runner
        _end(scratch, BAD_OPTIONS, str(error))
    count = len(list(scratch.glob("*.item")))
    waiting = [number for number in range(count) if not result_file(scratch, number).exists()]
    numbers = pipeline | beam.Create(waiting) | beam.Reshuffle()  # by which a number goes to any worker
    _ = numbers | beam.Map(Task(scratch, Path.cwd()))
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:  # noqa: BLE001 (whatever a runner of Beam's raises)
        traceback.print_exc()
        _end(scratch, FAILED, str(error))


if __name__ == "__main__":
    main()
