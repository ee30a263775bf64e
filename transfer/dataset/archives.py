"""Unpack an archive that nobody vouches for: all of it, or nothing, and never outside the folder given."""

import bz2
import gzip
import lzma
import math
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, cast

from tqdm import tqdm

from transfer.core.errors import UserError, one_line
from transfer.core.files import require_space
from transfer.core.progress import progress_bar

CHUNK = 1 << 18  # bytes
LOCAL_HEADER = 30  # bytes before the name of a zip entry (APPNOTE 4.3.7)
BLOCK = 512  # bytes; the unit of a tar file (POSIX pax)
BUFFER = 1 << 16  # bytes that tarfile reads at a time
HEADER_BYTES = 1 << 20  # of tar headers before one entry; tarfile holds them in memory, and honest ones take a few KiB
XZ_MEMORY = 128 << 20  # bytes; `xz -9` needs 65 MiB to unpack (man xz), and a header may ask for 4 GiB
MAX_NAME, MAX_PATH = 255, 1024  # bytes; Linux and macOS allow 255 a name, macOS 1,024 a path
MAX_DEPTH = 64  # folders; removing a tree takes an open file for each level
ENCRYPTED = 0x1 | 0x40 | 0x2000  # flag bits of a zip entry: encrypted, strongly so, its header too (APPNOTE 4.4.4)
UTF8 = 0x800  # flag bit: the name is in UTF-8
SPECIAL = "a link, a device or another special file"
DAMAGE = (  # what zipfile, tarfile and the decompressors raise on odd bytes
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,  # UnicodeError is one
    RuntimeError,  # RecursionError and NotImplementedError are two
    LookupError,
)


@dataclass(frozen=True)
class UnpackLimits:
    """What an archive may hold at most. Images are compressed already, so honest archives stay far below the ratio.

    `entries`: ImageNet has 1.4 million files. `bytes`: unpacked; Open Images, the largest set in common use, has
    0.6 TB. `ratio`: unpacked to packed bytes, once there are more than `floor` bytes: tables and masks reach 20 or so,
    a bomb needs hundreds (deflate can do 1,030, xz 7,000).
    """

    entries: int = 2_000_000
    bytes: int = 10**12
    ratio: float = 100
    floor: int = 64 << 20


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


def unpack(archive: Path, target: Path, limits: UnpackLimits | None = None) -> list[str]:
    """Unpack a zip, tar, tar.gz, tar.xz or tar.bz2, told by its content, into the new or empty folder `target`.

    Everything goes into the folder `target`.unpacking beside it, which an earlier run that was killed may have left and
    which is made anew; it is renamed at the end. So after an error nothing is at `target` that was not there before.
    Files come out with mode 644 less the umask, and with the time of now. What macOS adds (__MACOSX, .DS_Store, ._*) is
    left out. Names that differ in case only are different files, as on Linux; names that are equal after Unicode
    normalisation (NFC) look the same and are refused. Memory grows with the number of names only.

    Returns:
        The files, as sorted paths below `target`, with /.

    Raises:
        UserError: the archive is of another kind or damaged, or holds what is refused: an absolute path, a drive,
            a backslash, `..`, a link, a device, a sparse or an encrypted file, the same name twice, or too much.
    """
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise UserError(f"{target}: expected a new or empty folder to unpack {archive} into, received one with content")
    folder = target.with_name(f"{target.name}.unpacking")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        files = _unpacked(archive, folder, limits or UnpackLimits())
        folder.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return files


def _unpacked(archive: Path, folder: Path, limits: UnpackLimits) -> list[str]:
    """Unpack into an empty folder, turning all that can go wrong into one line."""
    try:
        with archive.open("rb") as file, progress_bar(archive.stat().st_size, f"unpack {archive.name}", "B") as bar:
            bar.unit_scale = True
            kind, read = _kind(archive, file)
            unpacking = _Unpacking(archive, folder, limits, file, bar)
            try:
                read(unpacking, file)
            except (*DAMAGE, OSError) as error:
                if isinstance(error, OSError) and error.errno:  # of the file system; gzip's and bz2's have no number
                    raise
                reason = one_line(error)
                raise UserError(f"{unpacking.where}: expected an undamaged {kind}, received: {reason}") from error
            bar.update(unpacking.packed - bar.n)
    except OSError as error:
        raise UserError(f"{archive}: cannot unpack it into {folder.parent}: {error.strerror or error}") from error
    if not unpacking.files:
        raise UserError(f"{archive}: expected a {kind} with files in it, received one without")
    return sorted(unpacking.files)


def _kind(archive: Path, file: BinaryIO) -> tuple[str, "Callable[[_Unpacking, BinaryIO], None]"]:
    """Tell an archive's kind by its first bytes, and what unpacks it. Names lie, and a server may give any."""
    start = file.read(BLOCK)
    file.seek(0)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip", _read_zip
    if start.startswith(b"\x1f\x8b"):
        return "tar.gz", lambda unpacking, file: _read_tar(unpacking, gzip.GzipFile(fileobj=file))
    if start.startswith(b"\xfd7zXZ\x00"):
        return "tar.xz", lambda unpacking, file: _read_tar(unpacking, _Xz(file))
    if start.startswith(b"BZh"):
        return "tar.bz2", lambda unpacking, file: _read_tar(unpacking, bz2.BZ2File(file))
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        raise UserError(
            f"{archive}: not a zip, tar, tar.gz, tar.xz or tar.bz2 (it begins with {start[:8]!r}); unpack it and give "
            "the folder, or pack the images as a zip"
        ) from None
    return "tar", _read_tar


class _Unpacking:
    """What all kinds of archive share: which names are good, how much has come out, and how a file is written."""

    def __init__(self, archive: Path, folder: Path, limits: UnpackLimits, file: BinaryIO, bar: "tqdm[Any]") -> None:
        self.archive, self.folder, self.limits, self.file, self.bar = archive, folder, limits, file, bar
        self.packed = archive.stat().st_size
        self.files: list[str] = []
        self.seen: dict[str, tuple[str, bool]] = {}  # NFC of a path → the path, and whether it is a folder
        self.entries = self.bytes = 0
        self.entry: str | None = None

    @property
    def where(self) -> str:
        """Name the archive, and the entry at hand if there is one."""
        return str(self.archive) if self.entry is None else f"{self.archive}: {self.entry[:MAX_NAME]!r}"

    def refuse(self, expected: str, received: str) -> UserError:
        """Return the error for the entry at hand."""
        return UserError(f"{self.where}: expected {expected}, received {received}")

    def admit(self, name: str, folder: bool) -> str | None:
        """Check the name of the next entry; return its path below the folder, or None for one to leave out."""
        self.entry = name
        self.entries += 1
        if self.entries > self.limits.entries:
            raise self.refuse(f"at most {self.limits.entries:,} entries", "more")
        parts = self.parts(name)
        if "__MACOSX" in parts or any(part == ".DS_Store" or part.startswith("._") for part in parts):
            return None
        if not parts:
            if folder:
                return None  # ./, the folder itself
            raise self.refuse("a file name", "none")
        for end in range(1, len(parts)):
            self.note("/".join(parts[:end]), folder=True)
        self.note(path := "/".join(parts), folder)
        return path

    def parts(self, name: str) -> list[str]:
        """Split a name at its slashes, leaving out empty parts and single dots."""
        if "\0" in name:
            raise self.refuse("a name without NUL", "one with")
        if "\\" in name:
            raise self.refuse("a name with /", "one with a backslash")
        if name.startswith("/") or re.match("[A-Za-z]:", name):
            raise self.refuse("a relative path", "an absolute one")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self.refuse("a path without ..", "one with")
        try:
            lengths = [len(part.encode()) for part in parts]
        except UnicodeEncodeError:
            raise self.refuse("a name in UTF-8", "other bytes") from None
        if max(lengths, default=0) > MAX_NAME or sum(lengths) + len(lengths) > MAX_PATH or len(parts) > MAX_DEPTH:
            longest = f"{MAX_NAME} bytes a name, {MAX_PATH} a path and {MAX_DEPTH} folders"
            raise self.refuse(f"at most {longest}", f"{max(lengths)}, {sum(lengths) + len(lengths)} and {len(parts)}")
        return parts

    def note(self, path: str, folder: bool) -> None:
        """Remember a path; a folder may come again, spelled the same, and nothing else may."""
        key = unicodedata.normalize("NFC", path)
        if key not in self.seen:
            self.seen[key] = path, folder
            return
        before, was_folder = self.seen[key]
        if before != path or not (folder and was_folder):
            raise self.refuse("each name once", f"{path!r} after {before!r}")

    def count(self, size: int) -> None:
        """Add to the bytes that have come out, and check that they are not too many."""
        self.bytes += size
        self.require_bytes(self.bytes)
        self.bar.update(max(0, self.file.tell() - self.bar.n))

    def require_bytes(self, size: int) -> None:
        """Check that so many bytes out of this archive are within the limits."""
        if size > self.limits.bytes:
            raise self.refuse(f"at most {self.limits.bytes:,} bytes unpacked", f"{size:,} or more")
        if size > self.limits.floor and size > self.limits.ratio * self.packed:
            allowed = f"at most {self.limits.ratio:g} bytes unpacked for one packed"
            raise self.refuse(allowed, f"{size:,} or more for {self.packed:,}")

    def require_space(self, size: int) -> None:
        """Check that the disk has room for so many bytes more."""
        require_space(size, self.folder.parent, f", to unpack {self.archive}")

    def write(self, path: str, source: _Reader, size: int) -> None:
        """Write a file, of exactly the declared size."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        # O_EXCL and O_NOFOLLOW: should a check above have a hole, nothing that exists is written to.
        with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o644), "wb") as sink:
            while (data := source.read(CHUNK)) and (written := written + len(data)) <= size:
                sink.write(data)
        if written != size:
            raise self.refuse(f"{size:,} bytes, as declared", "more" if written > size else f"{written:,}")
        self.files.append(path)


def _read_zip(unpacking: _Unpacking, file: BinaryIO) -> None:
    """Check the whole directory, then unpack."""
    with zipfile.ZipFile(file) as archive:
        entries = []
        for info in archive.infolist():
            name = _zip_name(info)
            path = unpacking.admit(name, name.endswith("/"))
            _require_plain(unpacking, info)
            if path is not None:
                entries.append((path, info))
        unpacking.entry = None
        unpacking.require_bytes(size := sum(info.file_size for _, info in entries))
        unpacking.require_space(size)
        _require_apart(unpacking, archive.infolist())
        for path, info in entries:
            unpacking.entry = path
            if info.filename.endswith("/"):
                (unpacking.folder / path).mkdir(parents=True, exist_ok=True)
            else:
                with archive.open(info) as source:
                    unpacking.write(path, _Metered(source, unpacking), info.file_size)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a zip entry: UTF-8 also where the flag for it is missing, as it is after Info-ZIP and macOS.

    By the format, names without the flag are in code page 437. Text in it is hardly ever UTF-8 by chance.
    """
    if info.flag_bits & UTF8:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode("utf-8")
    except UnicodeDecodeError:
        return info.orig_filename


def _require_plain(unpacking: _Unpacking, info: zipfile.ZipInfo) -> None:
    """Check that a zip entry is a file or folder that is not encrypted. The upper half of its attributes is st_mode."""
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise unpacking.refuse("a file or folder", SPECIAL)
    if info.flag_bits & ENCRYPTED:
        raise unpacking.refuse("a file that is not encrypted", "one that is")
    # zipfile bounds the memory of these two only: bzip2 and LZMA give all that a block of input holds at once.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise unpacking.refuse("a file that is stored or deflated", f"compression method {info.compress_type}")


def _require_apart(unpacking: _Unpacking, entries: list[zipfile.ZipInfo]) -> None:
    """Check that no two entries share bytes, as those of bombs do (D. Fifield, A better zip bomb, WOOT 2019).

    Python's zipfile checks it from 3.11.8 and 3.12.2 on.
    """
    end = 0
    for info in sorted(entries, key=lambda info: info.header_offset):
        unpacking.entry = _zip_name(info)
        if info.header_offset < end:
            raise unpacking.refuse("entries that do not overlap", "one that begins within another")
        end = info.header_offset + LOCAL_HEADER + info.compress_size


class _Xz:
    """Decompress .xz streams, one after the other, in bounded memory (LZMAFile sets no bound)."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.decoder = file, lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY)

    def read(self, size: int, /) -> bytes:
        while True:
            if self.decoder.eof:  # zero bytes may follow a stream, and then another stream
                data = (self.decoder.unused_data or self.file.read(CHUNK)).lstrip(b"\0")
                while not data:
                    if not (data := self.file.read(CHUNK)):
                        return b""
                    data = data.lstrip(b"\0")
                self.decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY)
            elif not self.decoder.needs_input:
                data = b""
            elif not (data := self.file.read(CHUNK)):
                raise EOFError("it ends too early")
            if data := self.decoder.decompress(data, size):
                return data


class _Metered:
    """A stream that comes out of an archive: counts its bytes, and allows no more than `left` of them."""

    def __init__(self, source: _Reader, unpacking: _Unpacking) -> None:
        self.source, self.unpacking = source, unpacking
        self.left: float = math.inf

    def read(self, size: int, /) -> bytes:
        data = self.source.read(size)
        self.unpacking.count(len(data))
        self.left -= len(data)
        if self.left < 0:
            raise self.unpacking.refuse(f"at most {HEADER_BYTES:,} bytes of headers after it", "more")
        return data


class _Header(tarfile.TarInfo):
    """A tar header that, where it is damaged, is an error. tarfile would take it for the archive's end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> "_Header":
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the zero bytes at the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _read_tar(unpacking: _Unpacking, file: _Reader) -> None:
    """Unpack entry by entry, as they come: what is refused may come late."""
    stream = _Metered(file, unpacking)
    stream.left = HEADER_BYTES
    with tarfile.open(
        fileobj=cast("IO[bytes]", stream),
        mode="r|",
        bufsize=BUFFER,
        tarinfo=_Header,
        encoding="utf-8",
        errors="surrogateescape",
    ) as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps all, for a second pass
            stream.left = HEADER_BYTES + max(member.size, 0)
            _read_member(unpacking, archive, member)
        unpacking.entry = None
        stream.left = math.inf
        while data := cast("IO[bytes]", archive.fileobj).read(CHUNK):  # to the end, where the checksum is
            if data.strip(b"\0"):
                raise unpacking.refuse("nothing after the archive's end", "more")


def _read_member(unpacking: _Unpacking, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    path = unpacking.admit(member.name, member.isdir())
    if not (member.isreg() or member.isdir()):
        raise unpacking.refuse("a file or folder", SPECIAL)
    if member.issparse() or member.size < 0:
        raise unpacking.refuse("a file in one piece", "a sparse one" if member.issparse() else f"{member.size} bytes")
    if member.isdir():
        if path is not None:
            (unpacking.folder / path).mkdir(parents=True, exist_ok=True)
        return
    unpacking.require_bytes(member.offset_data + member.size)
    unpacking.require_space(member.size)
    if path is not None:
        tarfile.data_filter(member, str(unpacking.folder))  # Python's own check (PEP 706), a second line of defence
        unpacking.write(path, cast("IO[bytes]", archive.extractfile(member)), member.size)
