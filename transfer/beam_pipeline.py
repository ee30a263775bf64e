"""Run a pipeline over the items in a folder that have no result yet: python -m transfer.beam_pipeline FOLDER

`transfer.beam_runner` starts it, and ends when it does.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from transfer.beam_runner import BAD_OPTIONS, WORKER_LOST, Task, result_file

ONE_MACHINE = (None, "DirectRunner", "FnApiRunner", "BundleBasedDirectRunner")  # Beam's own runners; None is the first
QUIET = "--default_sdk_harness_log_level=WARNING"


def _end_with_parent() -> None:
    """End this process and its workers when the one that started it has ended, however that came."""
    os.read(sys.stdin.fileno(), 1)
    os.killpg(0, signal.SIGKILL)


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    """End this process where a worker was lost; Beam would wait for it."""
    if "Worker subprocess exited" in str(args.exc_value):
        print(f"a worker was lost: {args.exc_value}", file=sys.stderr, flush=True)
        os._exit(WORKER_LOST)
    threading.__excepthook__(args)


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


def _open_pipeline(given: Sequence[str]) -> beam.Pipeline:
    """Return an empty pipeline; a runner that there is not ends the process."""
    try:
        return beam.Pipeline(options=_read_options(given))
    except (ValueError, ImportError) as error:
        print(error, file=sys.stderr)
        sys.exit(BAD_OPTIONS)


def main() -> None:
    """Read the options and the items, run the pipeline and wait for its end."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threading.excepthook = _thread_failed
    scratch = Path(sys.argv[1])
    pipeline = _open_pipeline(json.loads((scratch / "options").read_text(encoding="utf-8")))
    count = len(list(scratch.glob("*.item")))
    waiting = [number for number in range(count) if not result_file(scratch, number).exists()]
    with pipeline:
        numbers = pipeline | beam.Create(waiting) | beam.Reshuffle()  # by which a number goes to any worker
        _ = numbers | beam.Map(Task(scratch, Path.cwd()))


if __name__ == "__main__":
    main()
