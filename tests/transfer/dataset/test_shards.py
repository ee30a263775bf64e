"""Tests of transfer/dataset/shards.py: what is packed comes out again, the same for the same images."""

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer.dataset import shards as image_shards
from transfer.dataset.decode import BadImageError
from transfer.dataset.shards import _cut, open_shard, read_image, shards, write_shards

NAMES = [f"folder {i % 7}/{i:04}.png" for i in range(600)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of a few dozen files."""
    monkeypatch.setattr(image_shards, "MIN_BYTES", 40_000)
    monkeypatch.setattr(image_shards, "MAX_SHARD_BYTES", 120_000)


def _files(folder: Path, names: list[str]) -> list[str]:
    """Write a file of its own content for each name, and return the names in order."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        seed = int.from_bytes(name.encode()[-8:])
        (folder / name).write_bytes(np.random.default_rng(seed).bytes(200 + seed % 300))
    return sorted(names)


def _pack(files: Path, names: list[str], target: Path) -> list[bytes]:
    assert write_shards(files, names, target) == len(shards(target))
    return [path.read_bytes() for path in shards(target)]


def _names(folder: Path) -> list[str]:
    names = []
    for path in shards(folder):
        with open_shard(path) as shard:
            names += shard.namelist()
    return names


@pytest.mark.usefixtures("small")
def test_what_is_packed_comes_out_again_in_order(tmp_path: Path) -> None:
    names = _files(tmp_path / "files", NAMES)
    assert len(_pack(tmp_path / "files", names, tmp_path / "shards")) > 5
    assert _names(tmp_path / "shards") == names
    for path in shards(tmp_path / "shards"):
        with open_shard(path) as shard:
            for name in shard.namelist():
                assert read_image(shard, name) == (tmp_path / "files" / name).read_bytes()


@pytest.mark.usefixtures("small")
def test_the_same_images_give_the_same_bytes_whatever_their_dates(tmp_path: Path) -> None:
    names = _files(tmp_path / "files", NAMES)
    before = _pack(tmp_path / "files", names, tmp_path / "one")
    for name in names[::2]:
        path = tmp_path / "files" / name
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        path.chmod(0o600)
    assert _pack(tmp_path / "files", names, tmp_path / "two") == before


@pytest.mark.usefixtures("small")
def test_an_image_more_changes_few_shards(tmp_path: Path) -> None:
    names = _files(tmp_path / "files", NAMES)
    before = _pack(tmp_path / "files", names, tmp_path / "one")
    names = _files(tmp_path / "files", [*names, "folder 0/0000 new.png"])
    after = _pack(tmp_path / "files", names, tmp_path / "two")
    assert len(set(after) - set(before)) <= 2
    assert len(set(after) & set(before)) >= len(before) - 2


def test_files_can_be_removed_as_they_are_packed(tmp_path: Path) -> None:
    names = _files(tmp_path / "files", NAMES[:9])
    write_shards(tmp_path / "files", names, tmp_path / "shards", move=True)
    assert not [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert _names(tmp_path / "shards") == names


def test_a_file_larger_than_any_image_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _files(tmp_path / "files", NAMES[:1])
    size = (tmp_path / "files" / names[0]).stat().st_size
    write_shards(tmp_path / "files", names, tmp_path / "shards")
    monkeypatch.setattr(image_shards, "MAX_BYTES", size - 1)
    with (
        open_shard(tmp_path / "shards/00000.zip") as shard,
        pytest.raises(BadImageError, match=rf"expected at most {size - 1} bytes, received {size}"),
    ):
        read_image(shard, names[0])


def test_images_are_stored_as_they_are_and_anybody_may_read_them(tmp_path: Path) -> None:
    names = _files(tmp_path / "files", ["caf\u00e9/a\nb.png", "cafe\u0301/a\nb.png"])
    write_shards(tmp_path / "files", names, tmp_path / "shards")
    with ZipFile(tmp_path / "shards/00000.zip") as shard:
        assert shard.namelist() == names
        assert [entry.compress_size for entry in shard.infolist()] == [entry.file_size for entry in shard.infolist()]
        assert {entry.date_time for entry in shard.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 for entry in shard.infolist()} == {0o644}


@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 100_000_000)), max_size=60))
def test_shards_hold_every_name_once_and_are_bounded(files: list[tuple[str, int]]) -> None:
    """But for one last file, which may be of any size, and what follows a shard that is too small to end."""
    cut = list(_cut(files))
    assert [name for shard in cut for name in shard] == [name for name, _ in files]
    assert all(cut)
    sizes = iter([size for _, size in files])
    for shard in cut[:-1]:
        held = [next(sizes) for _ in shard]
        assert sum(held) + image_shards.ENTRY_BYTES * len(held) >= image_shards.MIN_BYTES
        assert sum(held[:-1]) <= image_shards.MAX_SHARD_BYTES
