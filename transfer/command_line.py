"""The command line: python -m transfer COMMAND

What a command needs is imported when it runs, so that help and completion come at once and import no TensorFlow.
"""

import argparse
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import shtab

from transfer.export.formats import FORMATS
from transfer.serving.limits import Limits
from transfer.serving.serve import MOST_PIXELS

PROGRAM = "python -m transfer"
PROJECT = Path(__file__).parents[1] / "pyproject.toml"
STATUSES = (
    "Exit status: 0 done; 1 error, in one line on standard error; 2 usage error; 3 some images could not be "
    "read, the others were (predict, explain); 130 Ctrl-C; 141 output pipe closed; 143 SIGTERM."
)
STATUSES_OF_IMAGES = (
    f"Exit status 3: some images could not be read; they are listed, and the others are done. Others: {PROGRAM} --help."
)
LIMITS = (
    ("batch", 1024, "maximum images per batch"),
    ("waiting", 65536, "maximum images accepted but not yet answered"),
    ("max_bytes", 1 << 29, "maximum bytes of a request"),
    ("max_pixels", MOST_PIXELS, "maximum pixels of an image"),
)
"""Of a server: the field of `Limits`, the highest value that it takes, and what it bounds."""

Commands = Any
"""What `add_subparsers` returns: a class that argparse keeps private."""


def make_parser(program: str = PROGRAM) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the command line, which sets `run`, and those of the commands by name."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Train image classifiers by transfer learning, and use them.",
        epilog=STATUSES,
    )
    version = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"]
    parser.add_argument("--version", action="version", version=f"transfer {version}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    prepare, use = (_init, _check, _backbones, _choose), (_predict, _explain, _serve)
    for add in (*prepare, _run, _preset, _report, *use, _share, _repair, _completion):
        add(commands)
    return parser, commands.choices


def whole_number(text: str, least: int = 1, most: int | None = None) -> int:
    """Read a whole number.

    Raises:
        argparse.ArgumentTypeError: it is none, or out of bounds.
    """
    if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        upwards = f"from {least}" + ("" if most is None else f" to {most}")
        raise argparse.ArgumentTypeError(f"expected a whole number {upwards}, received {text!r}")
    return int(text)


def _add(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int | None], **words: str
) -> argparse.ArgumentParser:
    """Add a command. `words`: `help` for the list of commands, `description` and `epilog` for its own help."""
    parser: argparse.ArgumentParser = commands.add_parser(name, **words)
    parser.set_defaults(run=run)
    return parser


def _add_path(parser: argparse._ActionsContainer, name: str, kind: Any, **how: Any) -> None:
    """Add an argument that the shell completes as a path: `kind` is shtab.FILE or shtab.DIRECTORY."""
    parser.add_argument(name, **how).complete = kind  # type: ignore[attr-defined]


def _init(commands: Commands) -> None:
    def action(given: argparse.Namespace) -> None:
        from transfer.init import init

        init(given.folder)

    parser = _add(
        commands,
        "init",
        action,
        help="inspect a folder of images and write its card",
        description="Inspects a folder of images (counts by class, sizes, unreadable and identical files) and writes "
        "what it finds and assumes to FOLDER/card.yaml. An existing card is never overwritten.",
    )
    words = "one folder per class, or train, validation and test folders with class folders inside"
    _add_path(parser, "folder", shtab.DIRECTORY, type=Path, metavar="FOLDER", help=words)


def _check(commands: Commands) -> None:
    def action(given: argparse.Namespace) -> None:
        from transfer import check

        check.main(given.dataset)
        if not given.quick:
            from transfer import estimate

            estimate.main(given.dataset)

    parser = _add(
        commands,
        "check",
        action,
        help="check params.yaml and the dataset's card before any work",
        description="Checks params.yaml, the dataset's card, weights and packages, without running a stage. Then "
        "estimates minutes, disk and memory of each stage that `dvc repro` would run, from a few batches.",
    )
    words = "check this folder, archive or card instead of the dataset in params.yaml"
    _add_path(parser, "dataset", shtab.FILE, nargs="?", metavar="FOLDER", help=words)
    words = "skip the estimate, which takes about a minute"
    parser.add_argument("--quick", action="store_true", help=words)


def _backbones(commands: Commands) -> None:
    def action(given: argparse.Namespace) -> None:
        from transfer import backbones

        backbones.main(given.pattern)

    parser = _add(
        commands,
        "backbones",
        action,
        help="list the backbones",
        description="Lists the names that `backbone` in params.yaml can have, with the number of parameters (without "
        "the classifier), the image size that each was trained at, and whether its weights are on this machine.",
    )
    words = "list only names with this in them, in any case, such as resnet; * stands for anything"
    parser.add_argument("pattern", nargs="?", default="", metavar="PATTERN", help=words)


def _choose(commands: Commands) -> None:
    def action(given: argparse.Namespace) -> None:
        from transfer import choose

        choose.main(given.names)

    parser = _add(
        commands,
        "choose",
        action,
        help="compare backbones on the training images",
        description="Runs each backbone, frozen, over the training images, cross-validates a logistic regression on "
        "its features, and prints which is best, how surely, and at what cost. Writes plots/choose.csv and "
        "plots/choose.png. Needs the output of `dvc repro preprocess`; never opens the test split.",
    )
    words = "backbones, as in params.yaml; their weights are downloaded if need be (default: those with weights here)"
    parser.add_argument("names", nargs="*", metavar="NAME", help=words)


def _run(commands: Commands) -> None:
    def action(given: argparse.Namespace) -> int:
        from transfer import run

        return run.main(given.stages)

    parser = _add(
        commands,
        "run",
        action,
        help="run the stages that have changed",
        description="Repairs files (see repair), checks params.yaml, then runs the stages that have changed, as `dvc "
        "repro` does.",
    )
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="run only this stage and those it depends on")


def _preset(commands: Commands) -> None:
    def action(given: argparse.Namespace) -> int:
        from transfer import preset

        return preset.main(given.file, given.options)

    parser = _add(
        commands,
        "preset",
        action,
        help="run the pipeline with a preset applied to params.yaml",
        description="Runs the pipeline as a DVC experiment with the keys of FILE in place of those in params.yaml; "
        "options for `dvc exp run` go after FILE.",
    )
    words = "YAML with some keys of params.yaml; see presets/"
    _add_path(parser, "file", shtab.FILE, type=Path, metavar="FILE", help=words)
    words = "passed on to `dvc exp run`, such as --name NAME, --queue or a stage"
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help=words)


def _report(commands: Commands) -> None:
    def action(_: argparse.Namespace) -> None:
        from transfer.results import page

        page.main()

    _add(
        commands,
        "report",
        action,
        help="write the results as one HTML file",
        description="Writes the results to .report/index.html: one file, without scripts, that loads nothing.",
    )


def _predict(commands: Commands) -> None:
    def action(given: argparse.Namespace) -> int:
        from transfer.serving import predict, prediction_shards

        if not given.images and not given.list:
            parser.error("give images, folders or --list FILE")
        if given.scheduler and not given.out:
            parser.error("--scheduler needs --out FOLDER")
        return prediction_shards.run(given) if given.out else predict.run(given)

    parser = _add(
        commands,
        "predict",
        action,
        help="classify images",
        description="Prints calibrated class probabilities for each image, the most likely class first. With --out, "
        "writes them and a list of unreadable images in shards; run again, it predicts only the missing shards.",
        epilog=STATUSES_OF_IMAGES,
    )
    _add_images(parser, "*")
    words = "file with the path of an image on each line"
    _add_path(parser, "--list", shtab.FILE, type=Path, metavar="FILE", help=words)
    _add_classifier(parser)
    words = "images per batch (default: 32)"
    parser.add_argument("--batch", type=whole_number, default=32, metavar="N", help=words)
    parser.add_argument("--top", type=whole_number, metavar="N", help="print only the N most likely classes")
    words = "predict CLASS where its probability is above P; auto: the exported threshold of the positive class"
    parser.add_argument("--threshold", metavar="CLASS=P|auto", help=words)
    words = "compute in bfloat16 with errors of up to a few percent (OpenVINO, on processors that have it)"
    parser.add_argument("--fast", action="store_true", help=words)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", dest="write", action="store_const", const="json", help="write JSON")
    output.add_argument("--csv", dest="write", action="store_const", const="csv", help="write CSV")
    parser.set_defaults(write="text")
    many = parser.add_argument_group("for very many images")
    words = "write shards (CSV, or JSON with --json) and manifest.json here instead of printing"
    _add_path(many, "--out", shtab.DIRECTORY, type=Path, metavar="FOLDER", help=words)
    words = "images per shard (default: 10000)"
    many.add_argument("--shard", type=whole_number, default=10_000, metavar="N", help=words)
    words = "Dask scheduler, such as tcp://HOST:8786, whose workers predict the shards (default: this process)"
    many.add_argument("--scheduler", metavar="ADDRESS", help=words)


def _explain(commands: Commands) -> None:
    def action(given: argparse.Namespace) -> int:
        from transfer.serving import explain

        return explain.run(given)

    parser = _add(
        commands,
        "explain",
        action,
        help="show which parts of an image its prediction rests on",
        description="Writes a PNG for each image, with a heat map of how far the log-odds of its most likely class "
        "fall when a part is blurred. It shows what the classifier relies on, not what is in the image.",
        epilog=STATUSES_OF_IMAGES,
    )
    _add_images(parser)
    _add_classifier(parser)
    words = "explain this class (default: the most likely one)"
    parser.add_argument("--class", dest="wanted", metavar="CLASS", help=words)
    words = "folder of the PNGs (default: explained); no file in it is overwritten"
    _add_path(parser, "--out", shtab.DIRECTORY, type=Path, default=Path("explained"), metavar="FOLDER", help=words)


def _serve(commands: Commands) -> None:
    def action(given: argparse.Namespace) -> int:
        from transfer.serving import serve

        return serve.run(given)

    parser = _add(
        commands,
        "serve",
        action,
        help="serve predictions over HTTP, with a page to try them",
        description="Serves predictions over HTTP: a page at /, POST /predict and /explain, GET /health, /metrics "
        "(Prometheus) and /openapi.json. No authentication and no TLS: put a reverse proxy in front if others can "
        "reach it.",
    )
    _add_classifier(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    port, words = partial(whole_number, least=0, most=65535), "default: 8000; 0 picks a free one"
    parser.add_argument("--port", type=port, metavar="PORT", default=8000, help=words)
    for name, most, bounded in LIMITS:
        number, default = partial(whole_number, most=most), getattr(Limits, name)
        words = f"{bounded} (default: {default})"
        parser.add_argument(f"--{name.replace('_', '-')}", type=number, default=default, metavar="N", help=words)


def _share(commands: Commands) -> None:
    def action(given: argparse.Namespace) -> None:
        from transfer import share

        share.main(given.push)

    parser = _add(
        commands,
        "share",
        action,
        help="keep finished runs in DVC's run cache, and push them",
        description="Adds all up-to-date stages to DVC's run cache, from which others can restore them.",
    )
    words = "push the run cache, and the outputs that git tracks, to DVC's default remote; run `dvc push` first"
    parser.add_argument("--push", action="store_true", help=words)


def _repair(commands: Commands) -> None:
    def action(_: argparse.Namespace) -> None:
        from transfer.run import repair

        repair()

    _add(
        commands,
        "repair",
        action,
        help="repair dvc.lock, and add missing keys to params.yaml",
        description="Repairs dvc.lock if DVC was killed while writing it, and adds keys missing from params.yaml, "
        "with their committed values. `run` and `preset` do this first.",
    )


def _completion(commands: Commands) -> None:
    parser = _add(
        commands,
        "completion",
        lambda given: print(shtab.complete(make_parser("transfer")[0], shell=given.shell)),
        help="print a completion script for bash or zsh",
        description="Prints a completion script for `transfer`, the command that make puts into .venv/bin. In bash: "
        'eval "$(transfer completion bash)"; in zsh: transfer completion zsh > _transfer, in a folder of fpath.',
    )
    parser.add_argument("shell", choices=("bash", "zsh"))


def _add_images(parser: argparse.ArgumentParser, number: str = "+") -> None:
    words = "image files, or folders to search for images"
    _add_path(parser, "images", shtab.FILE, nargs=number, metavar="IMAGE|FOLDER", help=words)


def _add_classifier(parser: argparse.ArgumentParser) -> None:
    model = "folder written by the export stage, or a single exported file or folder (default: models/export)"
    _add_path(parser, "--model", shtab.FILE, type=Path, default=Path("models/export"), metavar="PATH", help=model)
    parser.add_argument("--format", choices=FORMATS, help="format in that folder (default: the fastest that runs here)")
