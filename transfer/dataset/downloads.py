"""Fetch a file that is pinned by its size and SHA-256: resumed where it broke off, verified before it has its name."""

import fcntl
import ipaddress
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidSchema, InvalidURL, TooManyRedirects
from urllib3.exceptions import HTTPError

from transfer.core.errors import UserError, one_line
from transfer.core.files import require_space, sha256_of
from transfer.core.progress import progress_bar

CHUNK = 1 << 18  # bytes asked of the connection at a time
GAIN = 1 << 20  # bytes; a try that brings less than this beyond the furthest point so far counts as failed
MIN_RATE = 1 << 10  # bytes a second; at less than this, even a small dataset would take days
MAX_REDIRECTS = 10  # browsers follow 20; mirrors and content delivery networks need one or two
REFUSED = (InvalidSchema, InvalidURL, TooManyRedirects, UnicodeError)  # no other try would be better
PASSING = {408, 425, 429, 500, 502, 503, 504}  # statuses of a server that may do better later (RFC 9110, 6585, 8470)


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to try.

    `waits` are the pauses before each new try; when they are used up without progress (GAIN), the download fails.
    `connect` bounds the making of a connection and `read` each wait for bytes. Over any `stall`, MIN_RATE is demanded.
    """

    waits: tuple[float, ...] = (1, 2, 4, 8, 16)
    connect: float = 10
    read: float = 30
    stall: float = 60


class _BrokenOffError(Exception):
    """This try failed, and another one may succeed. The message says why."""


def download(url: str, size: int, sha256: str, target: Path, patience: Patience | None = None) -> Path:
    """Fetch a file, or find it already there, and return where it is.

    What has arrived stands in `target`.part, which outlives a killed process: the next call asks for the rest only.
    The file gets its name once its size and SHA-256 are right. A part of an older file of that name is noticed by its
    SHA-256 and fetched anew.

    Schemes: https, and file (file:///absolute/path). A `file:` is verified where it lies and not copied: the returned
    path is then the user's own file and not `target`, so never remove it. http is for this machine only: the SHA-256
    would reveal a change on the way, but not who reads what is fetched; and every host of datasets speaks https.

    Args:
        url: from where. Redirects are followed, except from https to http.
        size: of the file, in bytes.
        sha256: of the file, 64 hexadecimal digits.
        target: the file to make.
        patience: waits and time limits; None for the usual ones.

    Raises:
        UserError: the URL is refused or unreachable, too little space, or what came is not the file that was pinned.
    """
    sha256 = sha256.lower()
    _require_url(url)
    if urlsplit(url).scheme == "file":
        return _local(url, size, sha256)
    if target.is_file() and target.stat().st_size == size and sha256_of(target) == sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    with _opened(part) as file, _session(url) as session:
        require_space(size - part.stat().st_size, part.parent)
        try:
            _Transfer(url, size, sha256, file, part, session, patience or Patience()).run()
        except UserError as error:
            raise UserError(f"{error}; a file brought by other means goes to {target}") from error
        os.fsync(file.fileno())
        part.replace(target)
    return target


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _require_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"{url!r}: expected a URL, received one that cannot be read: {error}") from None
    if parts.username or parts.password:
        raise UserError(f"{parts.scheme}://…@{host}: remove user name and password from the URL")
    if parts.scheme == "file":
        if host not in (None, "localhost") or not parts.path.startswith("/"):
            raise UserError(f"{url!r}: expected file:///absolute/path, received another form")
    elif parts.scheme not in ("https", "http") or not host:
        raise UserError(f"{url!r}: expected a URL of https or file, received {parts.scheme or 'none'!r}")
    elif parts.scheme == "http" and not _is_loopback(host):
        raise UserError(f"{url!r}: expected https, received http, which is for this machine only")


def _session(url: str) -> requests.Session:
    """Make a session that speaks https only, wherever redirects lead; and http with the host of an http URL."""
    session = requests.Session()
    session.max_redirects = MAX_REDIRECTS
    session.adapters.clear()
    session.mount("https://", HTTPAdapter())
    if (parts := urlsplit(url)).scheme == "http":
        session.mount(f"http://{parts.netloc}/", HTTPAdapter())
    return session


def _local(url: str, size: int, sha256: str) -> Path:
    """Verify the file that a file: URL names."""
    path = Path(url2pathname(urlsplit(url).path))
    if not path.is_file():
        raise UserError(f"{url}: there is no file {path}; correct the card's url")
    if (received := path.stat().st_size) != size:
        raise UserError(f"{url}: it has {received} bytes, and the card's size is {size}; correct the card or the file")
    if (digest := sha256_of(path)) != sha256:
        raise UserError(f"{url}: its SHA-256 is {digest}, and the card's is {sha256}; correct the card or the file")
    return path


@contextmanager
def _opened(part: Path) -> Iterator[BinaryIO]:
    """Open the part file for appending, for this process alone; an empty one is not left behind."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = part.exists() and os.path.samestat(part.stat(), os.fstat(file.fileno()))
        except BlockingIOError:
            mine = False
        if not mine:
            raise UserError(f"{part}: in use, as another process is downloading this file; wait until it has finished")
        try:
            yield file
        finally:
            if os.fstat(file.fileno()).st_size == 0:
                part.unlink(missing_ok=True)


def _reason(error: BaseException) -> str:
    """Return what lies at the bottom of an error of requests, which wraps errors in errors, as one line."""
    inner = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, Exception)), None)
    return _reason(inner) if isinstance(inner, Exception) else one_line(error)


def _fits(content_range: str, offset: int, size: int) -> bool:
    """Tell whether a Content-Range (RFC 9110, 14.4) begins at `offset` in a file of `size` bytes."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", content_range.strip())
    return match is not None and int(match[1]) == offset and int(match[2]) < size and match[3] in ("*", str(size))


@dataclass
class _Transfer:
    """One download: what is wanted, the part file, the connection, and what the server calls the file's version."""

    url: str
    size: int
    sha256: str
    file: BinaryIO
    part: Path
    session: requests.Session
    patience: Patience
    etag: str = ""

    def run(self) -> None:
        """Try until the part file is the file that was pinned."""
        failures, furthest = 0, self.length()
        with progress_bar(self.size, f"download {self.part.stem}", "B") as self.bar:
            self.bar.unit_scale, self.bar.initial = True, furthest
            while True:
                try:
                    return self.attempt()
                except _BrokenOffError as error:
                    reason = str(error)
                failures += 1
                if (length := self.length()) >= furthest + GAIN:
                    failures, furthest = 0, length
                if failures > len(self.patience.waits):
                    raise UserError(
                        f"{self.url}: {length} of {self.size} bytes received, and {failures} retries made no progress: "
                        f"{reason}"
                    )
                time.sleep(self.patience.waits[max(failures - 1, 0)])

    def length(self) -> int:
        """Return how many bytes have arrived."""
        return self.file.seek(0, os.SEEK_END)

    def start_over(self) -> None:
        """Drop what has arrived."""
        self.file.truncate(0)
        self.etag = ""

    def attempt(self) -> None:
        """Ask for what is missing, take what comes, and verify the whole."""
        if self.length() > self.size:
            self.start_over()
        if (begun := self.length()) < self.size:
            reason = "the connection was closed early"
            try:
                with self.answer(begun) as response:
                    self.admit(response, begun)
                    self.take(response)
            except REFUSED as error:
                allowed = f"at most {MAX_REDIRECTS} redirects are followed, to https only; correct the card's url"
                raise UserError(f"{self.url}: {_reason(error)}: {allowed}") from error
            except (requests.RequestException, HTTPError) as error:
                reason = _reason(error)
            if self.length() < self.size:
                raise _BrokenOffError(reason)
        self.verify(resumed=begun > 0)

    def answer(self, offset: int) -> requests.Response:
        """Ask for the bytes from `offset` on, along redirects. `identity`: the bytes as they are, not compressed."""
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self.etag:
                headers["If-Range"] = self.etag
        limits = (self.patience.connect, self.patience.read)
        return self.session.get(self.url, headers=headers, stream=True, timeout=limits)

    def admit(self, response: requests.Response, offset: int) -> None:
        """Check what the answer says of itself before a byte of it is taken."""
        status, headers = response.status_code, response.headers
        if status in PASSING:
            raise _BrokenOffError(f"HTTP {status} {response.reason}")
        if status == 416:
            self.start_over()
            raise _BrokenOffError(f"HTTP 416: the server has no bytes from {offset} on")
        if status == 206:
            if not _fits(received := headers.get("Content-Range", ""), offset, self.size):
                self.start_over()
                raise _BrokenOffError(f"expected bytes {offset}-/{self.size}, received {received or 'no range'!r}")
        elif status == 200:
            if (announced := headers.get("Content-Length", str(self.size))) != str(self.size):
                kind = headers.get("Content-Type", "of no type")
                raise UserError(f"{self.url}: expected {self.size} bytes, received a file of {announced} ({kind})")
            if offset:
                self.start_over()  # this is the whole file, from its first byte
        else:
            raise UserError(f"{self.url}: expected a file, received HTTP {status} {response.reason}")
        etag = headers.get("ETag", "")
        self.etag = "" if etag.startswith("W/") else etag  # a weak one may not be used here (RFC 9110, 13.1.5)

    def take(self, response: requests.Response) -> None:
        """Append what comes to the part file, until the end or one byte too many.

        Raw bytes, not decoded: some servers declare a .tar.gz as compressed content. read1, not read, which would wait
        for a full chunk and so never notice a connection that trickles.
        """
        length, since, mark = self.length(), time.monotonic(), self.length()
        self.bar.update(length - self.bar.n)
        while data := response.raw.read1(min(CHUNK, self.size + 1 - length), decode_content=False):
            length += len(data)
            if length > self.size:
                self.start_over()
                raise UserError(f"{self.url}: expected {self.size} bytes, received more")
            self.file.write(data)
            self.bar.update(length - self.bar.n)
            if (seconds := time.monotonic() - since) > self.patience.stall:
                if length - mark < MIN_RATE * seconds:
                    raise _BrokenOffError(f"only {length - mark} bytes came in {seconds:.0f} s")
                since, mark = time.monotonic(), length

    def verify(self, resumed: bool) -> None:
        """Compare the SHA-256. What was fetched in several goes may stem from several files, so it gets another try."""
        self.file.flush()
        if (received := sha256_of(self.part)) == self.sha256:
            return
        self.start_over()
        message = f"expected SHA-256 {self.sha256}, received {received}"
        raise _BrokenOffError(message) if resumed else UserError(f"{self.url}: {message}")
