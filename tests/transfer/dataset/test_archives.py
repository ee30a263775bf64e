"""Tests of transfer/dataset/archives.py: what is sound comes out whole, what is hostile or damaged leaves nothing."""

import bz2
import gzip
import io
import lzma
import os
import random
import shutil
import stat
import struct
import tarfile
import tempfile
import time
import tracemalloc
import unicodedata
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transfer.core.errors import UserError
from transfer.dataset.archives import UnpackLimits, unpack

Entries = dict[str, bytes]
KINDS = ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"]
TREE: Entries = {"red/001.png": b"\x89PNG red", "red/002.png": b"", "blue/éa b.jpg": bytes(range(256)) * 9}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes, "tar.gz": gzip.compress, "tar.xz": lzma.compress, "tar.bz2": bz2.compress,
}  # fmt: skip


def zipped(entries: Iterable[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: Iterable[tuple[str | tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            if member.isreg() and isinstance(name, str):
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def packed(kind: str, entries: Entries) -> bytes:
    return zipped(entries.items()) if kind == "zip" else COMPRESS[kind](tarred(entries.items()))


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, linkname: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, linkname
    return info


def entry(name: str, mode: int = 0, method: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr, info.create_system, info.compress_type = mode << 16, 3, method
    return info


def tree(folder: Path) -> Entries:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A folder with a file beside which archives are unpacked, and which must stay alone."""
    (tmp_path / "box").mkdir()
    (tmp_path / "box/bystander").write_bytes(b"untouched")
    return tmp_path / "box"


def refuse(box: Path, data: bytes, message: str, limits: UnpackLimits | None = None) -> None:
    """Unpack and check all that holds after a refusal: one line that names the archive, and nothing written."""
    archive = box.parent / "hostile.zip"
    archive.write_bytes(data)
    before = sorted(path.as_posix() for path in box.parent.rglob("*"))
    with pytest.raises(UserError, match=message) as caught:
        unpack(archive, box / "made", limits)
    assert "\n" not in str(caught.value)
    assert str(archive) in str(caught.value)
    assert sorted(path.as_posix() for path in box.parent.rglob("*")) == before
    assert (box / "bystander").read_bytes() == b"untouched"


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_archive_is_unpacked_whatever_its_name(box: Path, kind: str) -> None:
    (box / "data.bin").write_bytes(packed(kind, TREE))
    assert unpack(box / "data.bin", box / "made") == sorted(TREE)
    assert tree(box / "made") == TREE
    assert sorted(path.name for path in box.iterdir()) == ["bystander", "data.bin", "made"]


def test_what_the_tar_program_writes_is_unpacked(box: Path) -> None:
    """With ./ before each name, and a folder for each folder; and so with an archive of two xz streams."""
    (box / "tree/a").mkdir(parents=True)
    (box / "tree/a/b.png").write_bytes(b"b")
    shutil.make_archive(str(box / "data"), "xztar", box / "tree")
    data = lzma.decompress((box / "data.tar.xz").read_bytes())
    (box / "data.tar.xz").write_bytes(lzma.compress(data[:700]) + bytes(8) + lzma.compress(data[700:]) + bytes(4))
    assert unpack(box / "data.tar.xz", box / "made") == ["a/b.png"]


def test_a_bz2_of_several_streams_is_unpacked(box: Path) -> None:
    """As pbzip2 writes them."""
    data = tarred(TREE.items())
    (box / "data.tar.bz2").write_bytes(bz2.compress(data[:700]) + bz2.compress(data[700:]))
    assert unpack(box / "data.tar.bz2", box / "made") == sorted(TREE)
    assert tree(box / "made") == TREE


def unflagged(names: dict[str, bytes]) -> bytes:
    """A zip whose names are these bytes, without the flag that says UTF-8: as Info-ZIP and macOS write them."""
    data = zipped((placeholder, b"x") for placeholder in names)
    for placeholder, name in names.items():
        assert len(placeholder) == len(name)
        data = data.replace(placeholder.encode(), name)
    return data


def test_names_of_a_zip_in_utf8_without_the_flag_are_utf8(box: Path) -> None:
    """And others are what the format says (APPNOTE, D.1), code page 437."""
    names = {"00000/0.png": "grün/0.png".encode(), "1111111111/1.png": "ひまわ".encode() + b"x/1.png"}
    names["2222/2.png"] = "blöd/2.png".encode("cp437")
    (box / "data.zip").write_bytes(unflagged(names))
    assert unpack(box / "data.zip", box / "made") == ["blöd/2.png", "grün/0.png", "ひまわx/1.png"]
    assert set(tree(box / "made")) == {"blöd/2.png", "grün/0.png", "ひまわx/1.png"}


def test_names_in_utf8_without_the_flag_are_checked_as_such(box: Path) -> None:
    long = "ひ" * 80 + ".png"  # 244 bytes, and more than 255 if they were taken for characters
    (box / "data.zip").write_bytes(unflagged({"0" * 244: long.encode()}))
    assert unpack(box / "data.zip", box / "made") == [long]
    shutil.rmtree(box / "made")
    composed, apart = unicodedata.normalize("NFC", "ü"), unicodedata.normalize("NFD", "ü")
    refuse(
        box,
        unflagged({"00": composed.encode(), "111": apart.encode()}),
        f"expected each name once, received '{apart}' after",
    )


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_unpacked(box: Path, form: int) -> None:
    names = ["/".join(["n" * 20] * 5), "/".join(["é" * 30] * 3)]
    (box / "data.tar").write_bytes(tarred([(name, b"x") for name in names], form))
    assert unpack(box / "data.tar", box / "made") == sorted(names)


def test_an_empty_folder_is_unpacked_and_an_empty_target_is_taken(box: Path) -> None:
    (box / "made").mkdir()
    (box / "data.zip").write_bytes(zipped([("full/", b""), ("empty/", b""), ("full/a", b"x")]))
    assert unpack(box / "data.zip", box / "made") == ["full/a"]
    assert (box / "made/empty").is_dir()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_modes_and_times_are_not_taken_over(box: Path, kind: str) -> None:
    info = member("a", size=1)
    info.mode, info.mtime = 0o6777, 1
    data = zipped([(entry("a", stat.S_IFREG | 0o6777), b"x")]) if kind == "zip" else tarred([(info, b"x")])
    (box / "data").write_bytes(data)
    umask = os.umask(0)
    try:
        unpack(box / "data", box / "made")
    finally:
        os.umask(umask)
    status = (box / "made/a").stat()
    assert stat.S_IMODE(status.st_mode) == 0o644
    assert abs(status.st_mtime - time.time()) < 60


@pytest.mark.parametrize("kind", KINDS)
def test_what_macos_adds_is_left_out(box: Path, kind: str) -> None:
    junk = dict.fromkeys(["__MACOSX/red/._001.png", "red/.DS_Store", "red/._001.png"], b"junk" * 100)
    (box / "data").write_bytes(packed(kind, {**junk, **TREE}))
    assert unpack(box / "data", box / "made") == sorted(TREE)
    assert tree(box / "made") == TREE


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_differ_in_case_are_two_files(box: Path, kind: str) -> None:
    (box / "data").write_bytes(packed(kind, {"a/x": b"1", "A/x": b"2", "a/X": b"3"}))
    assert unpack(box / "data", box / "made") == ["A/x", "a/X", "a/x"]


def test_a_target_with_content_is_an_error(box: Path) -> None:
    (box / "data.zip").write_bytes(packed("zip", TREE))
    for taken in (box, box / "bystander"):
        with pytest.raises(UserError, match="expected a new or empty folder"):
            unpack(box / "data.zip", taken)
    assert (box / "bystander").read_bytes() == b"untouched"


def test_what_a_killed_run_left_is_removed(box: Path) -> None:
    (box / "made.unpacking/red").mkdir(parents=True)
    (box / "made.unpacking/old").write_bytes(b"old")
    (box / "data.zip").write_bytes(packed("zip", TREE))
    unpack(box / "data.zip", box / "made")
    assert tree(box / "made") == TREE
    assert not (box / "made.unpacking").exists()


def test_progress_is_shown_in_bytes(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (box / "data").write_bytes(packed("tar.gz", {"a": random.Random(0).randbytes(2_000_000)}))
    unpack(box / "data", box / "made")
    shown = capsys.readouterr().err
    assert "unpack data: 100%" in shown
    assert "2.00M/2.00M" in shown


NAMES = [
    ("/etc/passwd", "expected a relative path, received an absolute one"),
    ("C:/a", "expected a relative path, received an absolute one"),
    ("c:a", "expected a relative path, received an absolute one"),
    ("//server/a", "expected a relative path, received an absolute one"),
    ("../a", r"expected a path without \.\., received one with"),
    ("a/../../b", r"expected a path without \.\., received one with"),
    ("a/..", r"expected a path without \.\., received one with"),
    ("a\\b", "expected a name with /, received one with a backslash"),
    ("..\\a", "expected a name with /, received one with a backslash"),
    (".", "expected a file name, received none"),
    ("n" * 256, "expected at most 255 bytes a name, .* received 256,"),
    ("é" * 128, "expected at most 255 bytes a name, .* received 256,"),
    ("/".join(["n" * 200] * 6), "1024 a path .* received 200, 1206 and 6"),
    ("/".join("n" * 65), "64 folders, received 1, 130 and 65"),
    ("__MACOSX/../../a", r"expected a path without \.\., received one with"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "message"), NAMES)
def test_a_bad_name_is_refused(box: Path, kind: str, name: str, message: str) -> None:
    refuse(box, packed(kind, {"good": b"x", name: b"y"}), message)


def test_a_name_with_nul_is_refused(box: Path) -> None:
    refuse(box, zipped([("a.b", b"x")]).replace(b"a.b", b"a\0b"), "expected a name without NUL, received one with")
    info = member("a", size=1)
    info.pax_headers = {"path": "a\0b"}
    refuse(box, tarred([(info, b"x")]), "expected a name without NUL, received one with")


def test_a_name_that_is_not_unicode_is_refused(box: Path) -> None:
    refuse(box, tarred([("a\udcff", b"x")], tarfile.GNU_FORMAT), "expected a name in UTF-8, received other bytes")
    refuse(
        box, zipped([("éa", b"x")]).replace("éa".encode(), b"\xff\xffa"), "expected an undamaged zip, received: 'utf-8'"
    )


def test_a_name_of_nothing_is_refused(box: Path) -> None:
    data = bytearray(zipped([("a", b"x")]))
    at = data.index(b"PK\x01\x02")
    data[26:30] = data[at + 28 : at + 32] = struct.pack("<HH", 0, 1)  # the name becomes one byte of extra field
    refuse(box, bytes(data), "expected a file name, received none")
    refuse(box, tarred([("", b"x")]), "expected a file name, received none")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("second", ["a/é", "./a/é", "a//é", "a/e\u0301"])
def test_a_name_that_comes_twice_is_refused(box: Path, kind: str, second: str) -> None:
    entries = [("a/é", b"1"), (second, b"2")]
    data = zipped(entries) if kind == "zip" else COMPRESS[kind](tarred(entries))
    refuse(box, data, "expected each name once, received 'a/.*' after 'a/é'")


@pytest.mark.parametrize(
    "names", [["a", "a"], ["a", "a/b"], ["a/b", "a"], ["é/a", "e\u0301/b"], ["a/", "a"], ["a", "a/"]]
)
def test_a_file_where_a_folder_is_is_refused(box: Path, names: list[str]) -> None:
    refuse(box, zipped([(name, b"") for name in names]), "expected each name once")
    members = [(member(name.rstrip("/"), tarfile.DIRTYPE if name.endswith("/") else b"0"), b"") for name in names]
    refuse(box, tarred(members), "expected each name once")


SPECIAL = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"V")


@pytest.mark.parametrize("kind", [*SPECIAL, tarfile.CONTTYPE])
@pytest.mark.parametrize("compression", KINDS[1:])
def test_a_tar_entry_that_is_no_file_is_refused(box: Path, kind: bytes, compression: str) -> None:
    data = COMPRESS[compression](tarred([("good", b"x"), (member("bad", kind, linkname="good"), b"")]))
    if kind == tarfile.CONTTYPE:  # POSIX: a contiguous file is a file
        (box.parent / "data").write_bytes(data)
        assert unpack(box.parent / "data", box / "made") == ["bad", "good"]
    else:
        refuse(box, data, "'bad': expected a file or folder, received a link, a device or another special file")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_zip_entry_that_is_no_file_is_refused(box: Path, mode: int) -> None:
    data = zipped([("good", b"x"), (entry("bad", mode | 0o777), b"/etc")])
    refuse(box, data, "'bad': expected a file or folder, received a link, a device or another special file")


def test_a_link_and_a_file_through_it_write_nothing_outside(box: Path) -> None:
    refuse(box, tarred([(member("a", tarfile.SYMTYPE, linkname=".."), b""), ("a/b", b"x")]), "a link")


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_an_encrypted_zip_is_refused(box: Path, flag: int) -> None:
    data = bytearray(zipped([("a", b"x")]))
    at = data.index(b"PK\x01\x02")
    data[at + 8 : at + 10] = struct.pack("<H", flag)
    refuse(box, bytes(data), "'a': expected a file that is not encrypted, received one that is")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_zip_compressions_are_refused(box: Path, method: int) -> None:
    refuse(box, zipped([("a", b"x")], method), f"stored or deflated, received compression method {method}")


def test_a_sparse_file_is_refused(box: Path) -> None:
    info = member("a", size=4)
    info.pax_headers = {"GNU.sparse.map": "0,4", "GNU.sparse.size": str(10**15), "GNU.sparse.numblocks": "1"}
    refuse(box, tarred([(info, b"abcd")]), "expected a file in one piece, received a sparse one")


def test_too_many_entries_are_refused(box: Path) -> None:
    limits = UnpackLimits(entries=3)
    for kind in KINDS:
        refuse(box, packed(kind, {str(i): b"" for i in range(4)}), "'3': expected at most 3 entries", limits)
        (box.parent / "data").write_bytes(packed(kind, {str(i): b"" for i in range(3)}))
        assert len(unpack(box.parent / "data", box.parent / f"made-{kind}", limits)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_bytes_are_refused(box: Path, kind: str) -> None:
    entries = {str(i): random.Random(i).randbytes(50_000) for i in range(4)}
    refuse(box, packed(kind, entries), "expected at most 100,000 bytes unpacked, received", UnpackLimits(bytes=100_000))


@pytest.mark.parametrize("kind", ["zip", *KINDS[2:]])
def test_a_bomb_is_refused(box: Path, kind: str) -> None:
    content = bytes(300_000)
    limits = UnpackLimits(floor=200_000)
    refuse(box, packed(kind, {"a": content}), "expected at most 100 bytes unpacked for one packed, received 30", limits)
    (box.parent / "data").write_bytes(packed(kind, {"a": content}))
    unpack(box.parent / "data", box / "made", UnpackLimits(floor=400_000))


def test_a_bomb_of_many_small_files_is_refused(box: Path) -> None:
    """A zip knows before anything is written; a tar counts its headers too."""
    entries = {f"{i:04}": bytes(10) for i in range(1000)}
    for kind in KINDS[2:]:
        refuse(box, packed(kind, entries), "bytes unpacked for one packed", UnpackLimits(floor=100_000, ratio=20))


@pytest.mark.parametrize("kind", KINDS[2:])
def test_a_bomb_after_the_end_is_refused(box: Path, kind: str) -> None:
    """No header declares it: only the bytes that really come out show it."""
    data = COMPRESS[kind](tarred([("a", b"x")]) + bytes(2_000_000))
    refuse(box, data, "for one packed, received 2[0-9]{2},", UnpackLimits(floor=200_000, ratio=1))


def test_a_zip_bomb_is_refused_before_anything_is_written(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transfer.dataset.archives._Unpacking.write", lambda *_: pytest.fail("it wrote"))
    refuse(box, packed("zip", {"a": b"x", "b": bytes(300_000)}), "for one packed", UnpackLimits(floor=200_000))
    refuse(box, zipped([("a", b"x"), ("../b", b"x")]), "without")


def test_too_little_space_is_refused(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(box)
    monkeypatch.setattr("transfer.core.files.shutil.disk_usage", lambda _: usage._replace(free=9))
    for kind in KINDS:
        refuse(
            box,
            packed(kind, {"a": bytes(10)}),
            "box: No space left on device: .*, to unpack ",
        )


def declared(data: bytes, size: int) -> bytes:
    """Change the unpacked size in the directory and the local header of a zip of one entry."""
    changed = bytearray(data)
    changed[22:26] = struct.pack("<I", size)
    at = changed.index(b"PK\x01\x02")
    changed[at + 24 : at + 28] = struct.pack("<I", size)
    return bytes(changed)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_declared_size_that_lies_is_refused(box: Path, method: int) -> None:
    data = zipped([("a", b"x" * 5000)], method)
    refuse(box, declared(data, 100), "'a': expected an undamaged zip, received: Bad CRC-32")
    refuse(box, declared(data, 6000), r"'a': expected .*(6,000 bytes, as declared, received 5,000|undamaged zip)")


def overlapping() -> bytes:
    """Make a zip of which three entries share the bytes of the first."""
    data = zipped([("a", b"x" * 5000)])
    at, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    directory = b"".join(data[at:end].replace(b"a", name) for name in (b"a", b"b", b"c"))
    tail = bytearray(data[end:])
    tail[8:12], tail[12:16] = struct.pack("<HH", 3, 3), struct.pack("<I", len(directory))
    return data[:at] + directory + bytes(tail)


def test_entries_that_overlap_are_refused(box: Path) -> None:
    refuse(box, overlapping(), "expected entries that do not overlap, received one that begins within another")


def test_a_header_bomb_is_refused_in_little_memory(box: Path) -> None:
    """tarfile reads a pax header, or a long name, into memory as a whole."""
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
        header = member("a", kind, size=30_000_000).tobuf()
        data = gzip.compress(header + bytes(30_000_000) + bytes(1024), 1)
        tracemalloc.start()
        refuse(box, data, "expected at most 1,048,576 bytes of headers", UnpackLimits(ratio=10_000))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10_000_000


def test_a_chain_of_headers_is_refused(box: Path) -> None:
    """Each makes tarfile call itself."""
    pax = member("a", tarfile.XHDTYPE, size=12).tobuf() + b"12 comment=a".ljust(512, b"\0")
    refuse(box, tarred([("good", b"x")])[:1024] + pax * 900 + bytes(1024), "expected an undamaged tar, received: ")


def test_an_xz_that_asks_for_much_memory_is_refused(box: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 8 << 20}]
    data = bytearray(lzma.compress(tarred(TREE.items()), filters=filters))
    at = 12 + 4  # the block header: size, flags, filter id, size of properties, and then the dictionary's size
    assert data[at - 2 : at] == b"\x21\x01"
    data[at] = 36  # 1 GiB
    data[20:24] = struct.pack("<I", zlib.crc32(bytes(data[12:20])))
    refuse(box, bytes(data), "expected an undamaged tar.xz, received: Memory usage limit exceeded")


@pytest.mark.parametrize("size", [-512, -1, -(10**9)])
def test_a_negative_size_is_refused(box: Path, size: int) -> None:
    info = member("a", size=size)
    refuse(
        box, info.tobuf(tarfile.GNU_FORMAT) + bytes(2048), "hostile.zip: 'a': expected a file in one piece, received -"
    )


def test_a_negative_size_of_a_link_ends(box: Path) -> None:
    """tarfile went round for ever with this (CVE-2025-8194)."""
    info = member("a", b"V", size=-512)
    refuse(box, info.tobuf(tarfile.GNU_FORMAT) + bytes(2048), "expected a file or folder, received a link")


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_ends_early_is_an_error(box: Path, kind: str) -> None:
    data = packed(kind, {str(i): random.Random(i).randbytes(700) for i in range(3)})
    for end in (1, 100, 512, 1536, len(data) // 2, len(data) - 1536, len(data) - 20):
        if kind == "tar" and data[end:].strip(b"\0") == b"":
            continue  # the padding after the end of a tar may be missing
        refuse(box, data[:end], f"expected an undamaged {kind}, received: |not a zip, tar")


def test_a_tar_without_its_end_is_an_error(box: Path) -> None:
    """It may have been cut between two entries, and then nothing else would show it."""
    refuse(box, tarred([("a", b"x"), ("b", b"y")])[:1024], "expected an undamaged tar, received: empty header")


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_damaged_header_in_the_middle_is_an_error(box: Path, kind: str) -> None:
    """tarfile alone takes it for the end, and the rest of the images would vanish."""
    data = bytearray(tarred([("a", b"x"), ("b", b"y")]))
    data[1024 + 148] ^= 1
    refuse(box, COMPRESS[kind](bytes(data)), f"'a': expected an undamaged {kind}, received: bad checksum")


@pytest.mark.parametrize("kind", KINDS[1:])
def test_something_after_the_end_is_an_error(box: Path, kind: str) -> None:
    data = tarred([("a", b"x")]) + tarred([("b", b"y")])
    refuse(box, COMPRESS[kind](data), "expected nothing after the archive's end, received more")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_wrong_checksum_is_an_error(box: Path, kind: str) -> None:
    data = bytearray(packed(kind, {"a": b"x" * 1000}))
    at = data.index(b"PK\x01\x02") + 16 if kind == "zip" else len(data) - 8
    data[at] ^= 1
    refuse(box, bytes(data), f"expected an undamaged {kind}, received: (Bad CRC-32|CRC check failed)")


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"Rar!\x1a\x07\x01\x00", b"\x89PNG\r\n\x1a\n" + bytes(1000), bytes(10240)]
)
def test_another_kind_of_file_is_an_error(box: Path, data: bytes) -> None:
    refuse(box, data, "not a zip, tar, tar.gz, tar.xz or tar.bz2 .it begins with b'.*'.; unpack it and give the fol")


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_without_files_is_an_error(box: Path, kind: str) -> None:
    refuse(box, packed(kind, {"__MACOSX/a": b"x"}), f"expected a {kind} with files in it, received one without")


def test_an_archive_that_is_not_there_is_an_error(box: Path) -> None:
    with pytest.raises(UserError, match=r"no\.zip: cannot unpack it into .*: No such file or directory"):
        unpack(box / "no.zip", box / "made")
    assert not (box / "made.unpacking").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_with_a_file(box: Path, kind: str) -> None:
    (box / "data").write_bytes(packed(kind, {"a": bytes(30_000_000)}))
    tracemalloc.start()
    unpack(box / "data", box / "made", UnpackLimits(ratio=10**6))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_memory_does_not_grow_with_entries_that_are_left_out(box: Path) -> None:
    (box / "data").write_bytes(tarred([*((f"._{i}", b"") for i in range(5000)), ("a", b"x")]))
    tracemalloc.start()
    unpack(box / "data", box / "made")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


NAME = st.text(st.characters(exclude_characters="/\\\0:", exclude_categories=["Cs"]), min_size=1, max_size=12)
PART = NAME.filter(lambda name: name not in (".", "..", "__MACOSX", ".DS_Store") and not name.startswith("._"))
TREES = st.dictionaries(st.lists(PART, min_size=1, max_size=4).map("/".join), st.binary(max_size=2000), min_size=1)


def sound(entries: Entries) -> bool:
    """Tell whether no path is below another one, and no two look the same."""
    prefixes = {"/".join(name.split("/")[:end]) for name in entries for end in range(1, name.count("/") + 1)}
    paths = prefixes | set(entries)
    return not prefixes & set(entries) and len({unicodedata.normalize("NFC", path) for path in paths}) == len(paths)


@settings(max_examples=25, deadline=None)
@given(TREES.filter(sound))
@pytest.mark.parametrize("kind", KINDS)
def test_any_tree_comes_back_byte_for_byte(kind: str, entries: Entries) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive, made = Path(folder, "data"), Path(folder, "made")
        archive.write_bytes(packed(kind, entries))
        assert unpack(archive, made) == sorted(entries)
        assert tree(made) == entries


SAMPLES = {kind: packed(kind, {**TREE, "c": bytes(1500), "d/e": b"text " * 200}) for kind in KINDS}
MUTATIONS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(mutations=MUTATIONS, tail=st.booleans(), cut=st.integers(0, 20))
@pytest.mark.parametrize("kind", KINDS)
def test_any_damage_is_survived(kind: str, mutations: list[tuple[int, int]], tail: bool, cut: int) -> None:
    """Half of the mutations hit the last 300 bytes, where a zip has its directory, or the first 600, a tar's header."""
    data = bytearray(SAMPLES[kind])
    where = (range(len(data))[-300:] if kind == "zip" else range(min(600, len(data)))) if tail else range(len(data))
    for position, value in mutations:
        data[where[position % len(where)]] = value
    if cut > 17:
        del data[len(data) * cut // 21 :]
    if kind == "tar":  # a header whose checksum is right gets further
        field = sum(data[:148]) + 32 * 8 + sum(data[156:512])
        data[148:156] = b"%06o\0 " % field
    with tempfile.TemporaryDirectory() as folder:
        archive, made = Path(folder, "data"), Path(folder, "box/made")
        archive.write_bytes(data)
        try:
            files = unpack(archive, made)
        except UserError as error:
            assert "\n" not in str(error)
            assert [path.name for path in Path(folder).rglob("*")] in (["data", "box"], ["box", "data"])
        else:
            assert sorted(tree(made)) == files
            assert set(tree(Path(folder))) == {"data", *(f"box/made/{file}" for file in files)}
