"""Tests of transfer/dataset/shapes.py: the shapes of the images decide, where nobody else does."""

from pathlib import Path

import pytest
from PIL import Image

from transfer.core.params import Square
from transfer.core.spec import Resize
from transfer.dataset.pool import ShardImages
from transfer.dataset.shapes import resolve_resize
from transfer.dataset.shards import write_shards

BAD = "bad.png"


def _shard(folder: Path, sizes: list[tuple[int, int]]) -> ShardImages:
    """A shard of images of these sizes, width and height, and of one that is none."""
    folder.mkdir()
    for number, size in enumerate(sizes):
        Image.new("L", size).save(folder / f"{number}.png")
    (folder / BAD).write_bytes(b"no image")
    names = [*(f"{number}.png" for number in range(len(sizes))), BAD]
    write_shards(folder, names, folder / "shards")
    return ShardImages(folder / "shards/00000.zip", names)


@pytest.mark.parametrize(
    ("sizes", "resize", "said"),
    [
        ([(40, 30), (30, 40), (41, 30), (30, 90)], "squash", "squash, as 2 of 4"),  # half of them
        ([(40, 30), (41, 30), (30, 90)], "pad", "pad, as 1 of 3"),
        ([(300, 300)], "squash", "squash, as 1 of 1"),
        ([], "squash", "squash, as 0 of 0"),
    ],
)
def test_the_shapes_decide(sizes: list[tuple[int, int]], resize: Resize, said: str, tmp_path: Path) -> None:
    found, notes = resolve_resize("auto", [_shard(tmp_path / "a", sizes)])
    assert found == resize
    assert notes == [f"resize: {said} images looked at are within 4:3"]


@pytest.mark.parametrize("wanted", ["squash", "crop", "pad"])
def test_what_is_wanted_is_taken_without_a_look(wanted: Square) -> None:
    assert resolve_resize(wanted, []) == (wanted, [])
