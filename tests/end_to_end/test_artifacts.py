"""The exported classifier in a registry: versions are git tags in GTO's form, and the files come from a remote."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.clones import Clone
from tests.end_to_end.servers import folder_remote

ADDED = "\nOf the second version.\n"


@pytest.fixture(scope="module")
def registry(original: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A bare repository with two versions: the first is in production, the second has a longer card.

    It names the remote. The branch has gone on since: its last commit has no results at all.
    """
    folder = tmp_path_factory.mktemp("registry")
    author = original.copy(folder / "author")
    with folder_remote(folder) as remote:
        author.dvc("remote", "add", "-d", "team", remote.url)
    author.commit("A remote for all")
    author.dvc("push", "export")
    author.run("gto", "register", "classifier", "--version", "v1.0.0")
    author.run("gto", "assign", "classifier", "--version", "v1.0.0", "--stage", "production")
    card = author.folder / "models/export/README.md"
    text = card.read_text(encoding="utf-8")
    card.unlink()  # rather than to write into the cache, which it may be a link to
    card.write_text(text + ADDED, encoding="utf-8")
    author.dvc("commit", "-f", "export")
    author.dvc("push", "export")
    author.commit("A longer card")
    author.run("gto", "register", "classifier", "--bump-minor")
    (author.folder / "dvc.lock").unlink()
    author.commit("Begin anew")
    author.git("clone", "-q", "--bare", str(author.folder), str(folder / "hub.git"))
    return Clone(folder / "hub.git")


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("asked_for", "is_second"),
    [((), True), (("--rev", "v1.0.0"), False), (("--stage", "production"), False)],
    ids=["latest", "version", "stage"],
)
def test_a_version_is_fetched_without_a_clone(
    original: Clone, registry: Clone, tmp_path: Path, asked_for: tuple[str, ...], is_second: bool
) -> None:
    Clone(tmp_path).dvc("artifacts", "get", str(registry.folder), "classifier", *asked_for)
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    expected = _files(original.folder / "models/export")
    assert {"README.md", "model.onnx", "openvino/model.xml", "openvino/model.bin"} == set(expected)
    if is_second:
        expected["README.md"] += ADDED.encode()
    assert _files(tmp_path / "export") == expected


def test_the_registry_lists_what_was_registered(registry: Clone) -> None:
    assert registry.git("tag", "--list") == "classifier#production#1\nclassifier@v1.0.0\nclassifier@v1.1.0"
    shown = json.loads(registry.run("gto", "show", "--json").output)
    assert (shown["classifier"]["version"], shown["classifier"]["stage"]) == ("v1.1.0", {"production": "v1.0.0"})


def test_a_version_that_nobody_registered_is_an_error(registry: Clone, tmp_path: Path) -> None:
    ran = Clone(tmp_path).dvc("artifacts", "get", str(registry.folder), "classifier", "--rev", "v9.0.0", status=1)
    assert "Unable to find artifact 'classifier @ v9.0.0'" in ran.output
    assert list(tmp_path.iterdir()) == []
