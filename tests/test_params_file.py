"""params.yaml stands in the form in which DVC writes it, so that an experiment's diff shows only what was changed."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from tests.conftest import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
PARAMS: dict[str, Any] = yaml.safe_load(TEXT)


def _leaves(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its value; of a mapping, those inside."""
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _changed(path: Path, key: str, value: str) -> tuple[list[str], list[str]]:
    """The lines that `dvc exp run -S` takes out of params.yaml for a key, and those that it puts in."""
    path.write_text(TEXT, encoding="utf-8")
    apply_overrides(path, [f"{key}={value}"])
    written = path.read_text(encoding="utf-8")
    received: Any = yaml.safe_load(written)
    for name in key.split("."):
        received = received[name]
    assert received == yaml.safe_load(value), written
    lines = list(difflib.ndiff(TEXT.splitlines(), written.splitlines()))
    return tuple([line[2:] for line in lines if line.startswith(sign)] for sign in ("- ", "+ "))  # type: ignore[return-value]


@pytest.mark.parametrize(("key", "before"), list(_leaves(PARAMS)))
def test_an_experiment_changes_only_the_lines_of_its_key(key: str, before: Any, tmp_path: Path) -> None:
    """Those of a list are itself and its items; an empty one once made ruamel.yaml join the two lines behind it."""
    name = key.rsplit(".", maxsplit=1)[-1]
    if isinstance(before, list):
        removed, added = _changed(tmp_path / "params.yaml", key, "[]")
        assert [line.strip() for line in removed] == [f"{name}:", *(f"- {item}" for item in before)]
        assert [line.strip() for line in added] == [f"{name}: []"]
    else:
        removed, added = _changed(tmp_path / "params.yaml", key, "7")
        assert [line.strip().partition(":")[0] for line in removed + added] == [name, name]
        assert removed[0].partition("#")[2] == added[0].partition("#")[2]
