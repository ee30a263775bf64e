"""Tests of transfer/core/packages.py."""

import hashlib
from pathlib import Path

import pytest

from transfer.core import packages
from transfer.core.errors import UserError


def test_another_version_is_an_error_with_both() -> None:
    with pytest.raises(UserError, match=r"is installed in version 1.0.0.post1: pip install elpv-dataset==9.9"):
        packages.find("elpv-dataset", "9.9")


def test_a_file_that_the_package_lacks_is_an_error() -> None:
    distribution = packages.find("elpv-dataset", "1.0.0.post1")
    with pytest.raises(UserError, match=r"has no elpv_dataset/nothing; correct the name"):
        packages.file_in(distribution, "elpv_dataset/nothing")


def test_recorded_hashes_are_those_of_the_files() -> None:
    distribution = packages.find("elpv-dataset", "1.0.0.post1")
    recorded = packages.recorded_sha256(distribution)
    name = "elpv_dataset/data/labels.csv"
    assert recorded[name] == hashlib.sha256(packages.file_in(distribution, name).read_bytes()).hexdigest()
    assert sum(file.endswith(".png") for file in recorded) == 2624


def test_a_file_with_another_hash_is_an_error_with_both(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    packages.require_sha256(file, abc)
    file.write_bytes(b"abd")
    with pytest.raises(UserError, match=f"expected a file with SHA-256 {abc}, received one with a52d159f"):
        packages.require_sha256(file, abc)
