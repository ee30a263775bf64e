"""Tests of transfer/dataset/scan.py: what is found in a folder, and what is said of what cannot be read."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import colour_images
from transfer.core.errors import UserError
from transfer.dataset.decode import BadImageError
from transfer.dataset.obtain import obtain
from transfer.dataset.scan import Entry, scan
from transfer.export.contract import Contract
from transfer.serving.arguments import find_images, read_image

NOBODY = 65534
COLOURS = {"blue": (40, 60, 200), "red": (200, 60, 40)}


@contextmanager
def _as_a_user() -> Iterator[None]:
    """Be somebody whom permissions stop."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may go into; pytest's own are private."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_files_come_in_order_and_what_is_hidden_or_a_systems_does_not(tmp_path: Path) -> None:
    for name in ("b.png", "a/2.png", "a/1.txt", "a/deep/3", ".x.png", ".git/4.png", "__MACOSX/a/._1.png", "a/@eaDir/5"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(scan(str(tmp_path))) == [Entry("b.png"), Entry("a/1.txt"), Entry("a/2.png"), Entry("a/deep/3")]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "set/a").mkdir(parents=True)
    (tmp_path / "far/b").mkdir(parents=True)
    (tmp_path / "set/a/1.png").touch()
    (tmp_path / "far/b/2.png").touch()
    (tmp_path / "set/b").symlink_to("../far/b")
    (tmp_path / "set/again").symlink_to("../far/b")
    (tmp_path / "far/b/up").symlink_to("..")
    (tmp_path / "set/a/all").symlink_to("..")
    (tmp_path / "set/itself").symlink_to("itself")
    (tmp_path / "set/lost").symlink_to("nowhere")
    found = list(scan(str(tmp_path / "set")))
    assert [entry.path for entry in found if not entry.error] == ["a/1.png", "again/2.png", "b/2.png"]
    assert {entry.path: entry.error for entry in found if entry.error} == {
        "itself": "Too many levels of symbolic links", "lost": "No such file or directory",
    }  # fmt: skip


def test_a_folder_that_cannot_be_listed_is_named(public: Path) -> None:
    colour_images(public / "set", COLOURS, each=1, size=8)
    (public / "set/red").chmod(0)
    with _as_a_user():
        assert list(scan(str(public / "set"))) == [Entry("blue/000.png"), Entry("red", "Permission denied")]
        assert list(scan(str(public / "set/red"))) == [Entry("", "Permission denied")]


def test_download_ends_with_an_error_that_names_the_folder(public: Path, tmp_path: Path) -> None:
    colour_images(public / "set", {**COLOURS, "green": (0, 200, 0)}, each=1, size=8)
    (public / "set/green").chmod(0)
    with _as_a_user(), pytest.raises(UserError, match=r"set/green \(Permission denied\). Fix the permissions"):
        obtain(public / "set", public / "raw")


def test_predict_lists_what_cannot_be_read_among_the_images(public: Path) -> None:
    colour_images(public / "set", COLOURS, each=1, size=8)
    (public / "set/red").chmod(0)
    (public / "set/gone.png").symlink_to("nowhere")
    contract = Contract("m", ("a", "b"), 8, 3, True, "look at it", 1, 1.0, "d", "l", "c")
    with _as_a_user():
        found = list(find_images([str(public / "set")]))
        read = [read_image(name, contract) for name in found]
    assert found == [str(public / "set" / name) for name in ("gone.png", "blue/000.png", "red")]
    assert [str(image) for image in read if isinstance(image, BadImageError)] == [
        "No such file or directory", "Permission denied",
    ]  # fmt: skip
