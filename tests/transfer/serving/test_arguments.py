"""Tests of transfer/serving/arguments.py; how the commands list what is bad is tested with them."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.transfer.conftest import SIZE, Exported
from transfer.dataset.decode import BadImageError
from transfer.serving import arguments
from transfer.serving.arguments import read_image


def test_what_is_no_regular_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("zero.png", "pipe.png", "folder.png"):
        with pytest.raises(BadImageError, match="expected a regular file, received a folder, a device or a pipe"):
            arguments._content(tmp_path / name)
    with pytest.raises(BadImageError, match="No such file"):
        arguments._content(tmp_path / "missing.png")
    path = tmp_path / "a.bmp"
    path.write_bytes(bytes(246))
    assert arguments._content(path) == bytes(246)
    monkeypatch.setattr(arguments, "MAX_BYTES", 245)
    with pytest.raises(BadImageError, match=r"expected at most 245 bytes, received 246"):
        arguments._content(path)


def test_an_image_is_decoded_as_those_that_the_classifier_learnt_from(tmp_path: Path, exported: Exported) -> None:
    path = tmp_path / "a.png"
    values = np.arange(SIZE * SIZE).reshape(SIZE, SIZE) * 4
    Image.fromarray(values.astype(np.uint16)).save(path)
    found = read_image(str(path), replace(exported.contract, bit_depth=12))
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found[..., 0], np.round(values * 255 / 4095))
    Image.fromarray((values // 32).astype(np.uint16)).save(path)
    lost = read_image(str(path), replace(exported.contract, bit_depth=16))
    assert str(lost).startswith("its 16-bit values, 0 to 127, all map to one grey level")
