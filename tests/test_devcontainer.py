"""The container for development names what is there: targets of the Makefile, the port of the server, a Python."""

import json
import re
import tomllib
from typing import Any

import pytest

from tests.conftest import ROOT
from transfer.command_line import make_parser

TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def container() -> Any:
    return json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))


def test_it_runs_targets_of_the_makefile(container: Any) -> None:
    (label,) = (port["label"] for port in container["portsAttributes"].values())
    for command in (container["postCreateCommand"], label):
        program, target = command.split()
        assert program == "make"
        assert target in TARGETS


def test_it_forwards_the_port_of_the_server(container: Any) -> None:
    port = make_parser()[0].parse_args(["serve"]).port
    assert container["forwardPorts"] == [port]
    assert list(container["portsAttributes"]) == [str(port)]


def test_its_python_is_one_that_the_project_runs_on(container: Any) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = re.findall(r"<3\.(\d+)", project["requires-python"])
    assert container["image"] == f"mcr.microsoft.com/devcontainers/python:3.{int(newest[0]) - 1}"
