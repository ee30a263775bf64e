"""Tests of transfer/command_line.py and of the commands that have no other: python -m transfer COMMAND."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, colour_images
from transfer import __main__
from transfer.command_line import STATUSES, make_parser
from transfer.core.errors import UserError
from transfer.serving.arguments import SOME_BAD

COMMANDS = (
    *("init", "check", "backbones", "choose", "run", "preset", "report"),
    *("predict", "explain", "serve", "share", "repair", "completion"),
)


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["transfer", *arguments])
    with pytest.raises(SystemExit) as caught:
        __main__.main()
    return caught.value.code


def test_there_are_these_commands() -> None:
    assert tuple(make_parser()[1]) == COMMANDS


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_only_helps(command: str, tmp_path: Path) -> None:
    """In an empty folder, which stays empty, and without what would take its time to import."""
    heavy = ("tensorflow", "keras", "numpy", "pandas", "matplotlib", "dvc", "fastapi")
    code = (
        "import sys\n"
        "from transfer.__main__ import main\n"
        f"sys.argv = ['transfer', *{command.split()!r}, '--help']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    assert not {set(heavy)!r} & set(sys.modules), sys.modules.keys()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {' '.join(['python -m transfer', command]).strip()} ")
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_that_of_the_project(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "--version") == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert capsys.readouterr().out == f"transfer {project['version']}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["train"], "invalid choice: 'train'"),
        (["init"], "the following arguments are required: FOLDER"),
        (["preset"], "the following arguments are required: FILE"),
        (["preset", "--name", "x"], "unrecognized arguments: --name"),
        (["completion", "fish"], "invalid choice: 'fish'"),
    ],
)
def test_a_wrong_command_line_is_status_2(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, *arguments) == 2
    assert said in capsys.readouterr().err


def test_what_follows_a_preset_goes_to_dvc() -> None:
    given = make_parser()[0].parse_args(["preset", "mine.yaml", "--name", "x", "--queue", "--help", "train_head"])
    assert (given.file, given.options) == (Path("mine.yaml"), ["--name", "x", "--queue", "--help", "train_head"])


def test_the_help_is_plain(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """That options come behind the preset's file, and that of a server's limits each is the highest value."""
    assert _run(monkeypatch, "preset", "--help") == 0
    assert "options for `dvc exp run` go after FILE." in " ".join(capsys.readouterr().out.split())
    assert _run(monkeypatch, "serve", "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "--waiting N maximum images accepted but not yet answered (default: 128)" in said
    assert "address to listen on (default: 127.0.0.1)" in said


def test_the_statuses_are_those_of_the_code() -> None:
    assert f"2 usage error; {SOME_BAD} some images could not be read" in STATUSES


def test_check_takes_a_folder_in_place_of_the_dataset_of_params(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    colour_images(project / "mine", {"cat": (9, 9, 9), "dog": (99, 99, 99)}, each=3)
    given = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    Path("params.yaml").write_text(yaml.safe_dump(given | {"class_weights": {"cat": 1, "dog": 2}}), encoding="utf-8")
    assert _run(monkeypatch, "check", "--quick", "mine") == 0
    for arguments in ((), ("pictures",)):
        monkeypatch.setattr("sys.argv", ["transfer", "check", *arguments])
        with pytest.raises(UserError, match=r"class_weights: .*blue"):
            __main__.main()
    monkeypatch.setattr("sys.argv", ["transfer", "check", "nowhere"])
    with pytest.raises(UserError, match="there is nothing at 'nowhere'"):
        __main__.main()


@pytest.mark.parametrize(("shell", "check"), [("bash", "complete -p transfer"), ("zsh", "")])
def test_completion_is_a_script_of_the_shell(
    shell: str, check: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "completion", shell) == 0
    script = capsys.readouterr().out
    assert all(command in script for command in COMMANDS)
    if shell == "bash":
        done = subprocess.run([shell, "-c", f"{script}\n{check}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(" transfer\n")
    else:
        assert script.startswith("#compdef transfer\n")
