"""Tests of transfer/dataset/shapes.py: the shapes of the images decide, where nobody else does."""

from pathlib import Path

import pytest
from PIL import ExifTags, Image

from transfer.core.params import Square
from transfer.core.spec import Resize
from transfer.dataset.pool import ShardImages
from transfer.dataset.shapes import resolve_resize
from transfer.dataset.shards import write_shards

BAD = "bad.png"


def _shard(folder: Path, sizes: list[tuple[int, int]], turned: int = 0) -> ShardImages:
    """A shard of images of these sizes, width and height, the last ones to be turned, and of one that is none."""
    folder.mkdir()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for number, size in enumerate(sizes):
        options = {"exif": exif} if number >= len(sizes) - turned else {}
        Image.new("L", size).save(folder / f"{number}.png", "JPEG", **options)
    (folder / BAD).write_bytes(b"no image")
    names = [*(f"{number}.png" for number in range(len(sizes))), BAD]
    write_shards(folder, names, folder / "shards")
    return ShardImages(folder / "shards/00000.zip", names)


@pytest.mark.parametrize(
    ("sizes", "resize", "said"),
    [
        ([(90, 30)] * 3, "squash", "squash, as 3 of 3"),  # elongated, but alike
        ([(30, 30), (39, 30), (90, 30), (30, 90)], "squash", "squash, as 2 of 4"),  # half of them
        ([(30, 30), (90, 30), (30, 90)], "pad", "pad, as 1 of 3"),
        ([(300, 300)], "squash", "squash, as 1 of 1"),
        ([], "squash", "squash, as 0 of 0"),
    ],
)
def test_the_shapes_decide(sizes: list[tuple[int, int]], resize: Resize, said: str, tmp_path: Path) -> None:
    found, notes = resolve_resize("auto", [_shard(tmp_path / "a", sizes)])
    assert found == resize
    assert notes == [f"resize: {said} sampled images have about the same aspect ratio"]


def test_a_photo_counts_as_it_is_shown(tmp_path: Path) -> None:
    """A camera that was turned by 90 degrees wrote two of these, and all are shown upright."""
    shard = _shard(tmp_path / "a", [(30, 90), (30, 90), (90, 30), (90, 30)], turned=2)
    assert resolve_resize("auto", [shard])[1] == [
        "resize: squash, as 4 of 4 sampled images have about the same aspect ratio"
    ]


@pytest.mark.parametrize("wanted", ["squash", "crop", "pad"])
def test_what_is_wanted_is_taken_without_a_look(wanted: Square) -> None:
    assert resolve_resize(wanted, []) == (wanted, [])
