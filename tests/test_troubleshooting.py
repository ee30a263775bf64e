"""The messages that docs/troubleshooting.md explains are those of the program, and of DVC."""

import ast
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT

VARIES = "…"
DVC_FILES = ("exceptions.py", "lock.py", "stage/exceptions.py", "utils/serialize/_yaml.py", "utils/strictyaml.py")


def _quoted(heading: str) -> list[str]:
    """The messages in the first column of the table below a heading."""
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    (table,) = re.findall(rf"^## {heading}\n\n(.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    first = [row.split(" | ")[0] for row in table.splitlines()[2:]]
    return [message for cell in first for message in re.findall("`([^`]+)`", cell.split(" (`")[0])]


def _texts(files: Iterable[Path]) -> list[str]:
    """All texts in source files, with `VARIES` where a value is filled in."""
    texts = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else VARIES for part in node.values))  # type: ignore[misc]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def _unknown(messages: list[str], texts: list[str]) -> list[str]:
    """The parts of messages that do not vary, and that no text has. A message may be put together from several."""
    parts = [part.strip() for message in messages for part in message.split(VARIES)]
    return [part for part in parts if not any(part in text for text in texts)]


@pytest.fixture(scope="module")
def program() -> list[str]:
    texts = _texts(file for folder in ("transfer", "stages") for file in (ROOT / folder).rglob("*.py"))
    return [*texts, (ROOT / "Makefile").read_text(encoding="utf-8")]


def test_messages_are_those_of_the_program(program: list[str]) -> None:
    messages = _quoted("Messages")
    assert len(messages) > 15
    assert _unknown(messages, program) == []


def test_messages_of_dvc_are_those_of_dvc() -> None:
    found = [find_spec(name) for name in ("dvc", "dvc_render")]
    dvc, render = (Path(str(spec.origin)).parent for spec in found if spec is not None)
    messages = _quoted("Messages of DVC")
    assert len(messages) > 3
    assert _unknown(messages, _texts([*(dvc / name for name in DVC_FILES), render / "html.py"])) == []


def test_another_message_is_found_to_be_none(program: list[str]) -> None:
    messages = ["there was nothing at …", "expected … (is it misspelled?) …"]
    assert _unknown(messages, program) == ["there was nothing at", "(is it misspelled?)"]
