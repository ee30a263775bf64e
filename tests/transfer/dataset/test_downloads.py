"""Tests of transfer/dataset/downloads.py, against a server on this machine that misbehaves in every way known."""

import fcntl
import hashlib
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from tests.conftest import ROOT
from transfer.core.errors import UserError
from transfer.dataset.downloads import Patience, download

CONTENT = random.Random(0).randbytes(3_000_000)
SIZE, SHA256 = len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
HALF = SIZE // 2
MOST_REQUESTS = 30
QUICK = Patience(waits=(0, 0), connect=2, read=0.3, stall=0.3)
Answer = Callable[["Handler"], None]


class Server(ThreadingHTTPServer):
    """Answers each request with the next of `answers`, the last of them again and again, and notes what it saw."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = [whole]
        self.ranges: list[str | None] = []
        self.if_ranges: list[str | None] = []
        self.sent: list[int] = []
        self.released = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        self.server.if_ranges.append(self.headers["If-Range"])
        self.number = len(self.server.sent)
        self.server.sent.append(0)
        answers = (
            self.server.answers if self.number < MOST_REQUESTS else [status(410)]
        )  # so that no test goes on for ever
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *arguments: object) -> None:
        pass

    def offset(self) -> int:
        return int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))

    def begin(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.server.sent[self.number] += len(data)


def whole(handler: Handler, content: bytes = CONTENT, until: int | None = None, etag: str = '"v1"') -> None:
    """Serve the file or its rest properly, up to the byte `until`, where the connection drops."""
    start = handler.offset()
    if start:
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.begin(206, Content_Range=span, Content_Length=len(content) - start, ETag=etag)
    else:
        handler.begin(200, Content_Length=len(content), ETag=etag)
    handler.send(content[start:until])


def dropped(handler: Handler) -> None:
    whole(handler, until=max(HALF, handler.offset()))


def ignoring_ranges(handler: Handler) -> None:
    handler.begin(200, Content_Length=SIZE)
    handler.send(CONTENT)


def status(code: int, **headers: object) -> Answer:
    return lambda handler: handler.begin(code, Content_Length=0, **headers)


def partial(content_range: str, data: bytes = CONTENT[HALF:]) -> Answer:
    def answer(handler: Handler) -> None:
        handler.begin(206, Content_Range=content_range, Content_Length=len(data))
        handler.send(data)

    return answer


def unannounced(data: bytes) -> Answer:
    """Serve without a length: the end of the connection is the end of the file."""

    def answer(handler: Handler) -> None:
        handler.begin(200)
        handler.send(data)

    return answer


def hanging(handler: Handler) -> None:
    handler.begin(200, Content_Length=SIZE)
    handler.send(CONTENT[:HALF])
    handler.server.released.wait(4)


def silent(handler: Handler) -> None:
    handler.server.released.wait(4)


def trickling(handler: Handler) -> None:
    handler.begin(200, Content_Length=SIZE)
    for i in range(200):
        handler.send(CONTENT[i : i + 1])
        if handler.server.released.wait(0.05):
            break


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "made/data.zip"


def part(target: Path) -> Path:
    target.parent.mkdir(exist_ok=True)
    return target.with_name("data.zip.part")


def fetch(server: Server, target: Path, *answers: Answer) -> None:
    """Download and check all that holds after a success."""
    server.answers = list(answers)
    assert download(server.url, SIZE, SHA256, target, QUICK) == target
    assert target.read_bytes() == CONTENT
    assert not part(target).exists()


def refuse(server: Server, target: Path, message: str, *answers: Answer) -> None:
    """Download and check all that holds after a failure: one line, and no file under the target's name."""
    server.answers = list(answers)
    with pytest.raises(UserError, match=message) as caught:
        download(server.url, SIZE, SHA256, target, QUICK)
    assert "\n" not in str(caught.value)
    assert server.url in str(caught.value)
    assert not target.exists()


def test_a_file_is_fetched_once(server: Server, target: Path) -> None:
    fetch(server, target, whole)
    fetch(server, target, whole)
    assert server.ranges == [None]


def test_progress_is_shown_in_bytes(server: Server, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(server, target, dropped, whole)
    shown = capsys.readouterr().err
    assert "download data.zip: 100%" in shown
    assert "3.00M/3.00M" in shown


def test_a_wrong_file_at_the_target_is_replaced(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(bytes(SIZE))
    fetch(server, target, whole)


def test_a_dropped_connection_is_resumed_where_it_broke_off(server: Server, target: Path) -> None:
    fetch(server, target, dropped, whole)
    assert server.ranges == [None, f"bytes={HALF}-"]
    assert server.if_ranges == [None, '"v1"']
    assert server.sent == [HALF, SIZE - HALF]


def test_a_weak_etag_is_not_used(server: Server, target: Path) -> None:
    fetch(server, target, lambda handler: whole(handler, until=HALF, etag='W/"v1"'), whole)
    assert server.if_ranges == [None, None]


def test_a_connection_that_always_drops_is_an_error_and_keeps_what_came(server: Server, target: Path) -> None:
    refuse(server, target, f"{HALF} of {SIZE} bytes received, and 3 retries made no progress", dropped)
    assert server.ranges == [None, *[f"bytes={HALF}-"] * 3]  # one try that brings half, and three that bring nothing
    assert part(target).read_bytes() == CONTENT[:HALF]
    fetch(server, target, whole)
    assert server.ranges[-1] == f"bytes={HALF}-"


def test_progress_renews_the_patience(server: Server, target: Path) -> None:
    content = random.Random(1).randbytes(6_000_000)
    step = 1_200_000

    def one_step(handler: Handler) -> None:
        whole(handler, content, until=handler.offset() + step)

    server.answers = [one_step]
    download(server.url, len(content), hashlib.sha256(content).hexdigest(), target, QUICK)
    assert server.ranges == [None, *[f"bytes={start}-" for start in range(step, len(content), step)]]


def test_dropping_and_ignoring_ranges_does_not_go_on_for_ever(server: Server, target: Path) -> None:
    def half_from_the_start(handler: Handler) -> None:
        handler.begin(200, Content_Length=SIZE)
        handler.send(CONTENT[: HALF + 100])

    refuse(server, target, "retries made no progress", half_from_the_start)
    assert len(server.ranges) == 4


def test_a_server_that_ignores_ranges_starts_the_file_over(server: Server, target: Path) -> None:
    fetch(server, target, dropped, ignoring_ranges)
    assert server.sent == [HALF, SIZE]


@pytest.mark.parametrize(
    "content_range",
    [
        f"bytes {HALF - 1}-{SIZE - 1}/{SIZE}",  # another place
        f"bytes {HALF}-{SIZE - 1}/{SIZE + 1}",  # another file
        f"bytes {HALF}-{SIZE}/*",  # beyond the end
        f"items {HALF}-{SIZE - 1}/{SIZE}",
        "",
    ],
)
def test_a_range_that_was_not_asked_for_starts_the_file_over(server: Server, target: Path, content_range: str) -> None:
    fetch(server, target, dropped, partial(content_range), whole)
    assert server.ranges == [None, f"bytes={HALF}-", None]


def test_a_shorter_range_than_asked_for_is_taken(server: Server, target: Path) -> None:
    middle = HALF + 500_000
    fetch(server, target, dropped, partial(f"bytes {HALF}-{middle - 1}/*", CONTENT[HALF:middle]), whole)
    assert server.ranges[-1] == f"bytes={middle}-"


def test_a_range_that_the_server_lacks_starts_the_file_over(server: Server, target: Path) -> None:
    fetch(server, target, dropped, status(416), whole)
    assert server.ranges == [None, f"bytes={HALF}-", None]


def test_wrong_bytes_are_refused_and_removed(server: Server, target: Path) -> None:
    wrong = bytes(SIZE)
    refuse(
        server,
        target,
        f"expected SHA-256 {SHA256}, received {hashlib.sha256(wrong).hexdigest()}",
        lambda handler: whole(handler, wrong),
    )
    assert not part(target).exists()
    fetch(server, target, whole)
    assert server.ranges == [None, None]


def test_a_part_of_another_file_is_fetched_anew(server: Server, target: Path) -> None:
    part(target).write_bytes(bytes(HALF))
    fetch(server, target, whole)
    assert server.ranges == [f"bytes={HALF}-", None]


def test_a_whole_part_is_not_asked_for(server: Server, target: Path) -> None:
    part(target).write_bytes(CONTENT)
    fetch(server, target, status(500))
    assert server.ranges == []


def test_a_part_that_is_too_long_is_fetched_anew(server: Server, target: Path) -> None:
    part(target).write_bytes(CONTENT + b"x")
    fetch(server, target, whole)
    assert server.ranges == [None]


def test_an_announced_length_that_is_wrong_is_refused_and_costs_nothing(server: Server, target: Path) -> None:
    part(target).write_bytes(CONTENT[:HALF])

    def sign_in_page(handler: Handler) -> None:
        handler.begin(200, Content_Length=6, Content_Type="text/html")
        handler.send(b"<html>")

    refuse(server, target, rf"expected {SIZE} bytes, received a file of 6 \(text/html\)", sign_in_page)
    assert len(server.ranges) == 1
    assert part(target).read_bytes() == CONTENT[:HALF]


def test_too_many_bytes_are_refused_at_once(server: Server, target: Path) -> None:
    refuse(server, target, f"expected {SIZE} bytes, received more", unannounced(CONTENT * 20))
    assert len(server.ranges) == 1
    assert not part(target).exists()


def test_too_few_bytes_are_asked_for_again(server: Server, target: Path) -> None:
    fetch(server, target, unannounced(CONTENT[:-10]), whole)
    assert server.ranges == [None, f"bytes={SIZE - 10}-"]


def test_too_few_bytes_for_ever_are_an_error(server: Server, target: Path) -> None:
    refuse(server, target, f"{HALF} of {SIZE} bytes received.*closed early", unannounced(CONTENT[:HALF]))


def test_a_file_without_a_length_is_taken(server: Server, target: Path) -> None:
    fetch(server, target, unannounced(CONTENT))


@pytest.mark.parametrize("code", [404, 403, 410, 304])
def test_a_refusal_is_an_error_at_once(server: Server, target: Path, code: int) -> None:
    part(target).write_bytes(CONTENT[:HALF])
    refuse(server, target, f"expected a file, received HTTP {code}", status(code))
    assert len(server.ranges) == 1
    assert part(target).read_bytes() == CONTENT[:HALF]


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again(server: Server, target: Path, code: int) -> None:
    fetch(server, target, status(code), status(code), whole)
    assert len(server.ranges) == 3


def test_a_server_always_in_trouble_is_an_error(server: Server, target: Path) -> None:
    refuse(server, target, "3 retries made no progress: HTTP 503 Service Unavailable", status(503))
    assert len(server.ranges) == 3
    assert not part(target).exists()


def test_the_waits_grow_and_are_kept(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("transfer.dataset.downloads.time.sleep", waits.append)
    server.answers = [status(500)]
    with pytest.raises(UserError, match="6 retries made no progress"):
        download(server.url, SIZE, SHA256, target)
    assert waits == [1, 2, 4, 8, 16]


def test_a_redirect_is_followed_with_the_range(server: Server, target: Path) -> None:
    part(target).write_bytes(CONTENT[:HALF])
    fetch(server, target, status(302, Location="/elsewhere"), whole)
    assert server.ranges == [f"bytes={HALF}-"] * 2


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (
            "ftp://127.0.0.1/x",
            "No connection adapters were found for 'ftp://127.0.0.1/x': at most 10 redirects are followed, to https o",
        ),
        ("http://example.org/x", "No connection adapters were found for 'http://example.org/x'"),
        ("file:///etc/passwd", "No connection adapters were found for 'file:///etc/passwd'"),
        ("/again", "Exceeded 10 redirects"),
    ],
)
def test_a_redirect_to_where_it_must_not_lead_is_refused(
    server: Server, target: Path, location: str, message: str
) -> None:
    server.answers = [status(301, Location=location)]
    with pytest.raises(UserError, match=message):
        download(server.url, SIZE, SHA256, target, QUICK)


def test_a_redirect_from_https_to_http_is_refused(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of http stands in for one of https, which would need a certificate."""
    send = HTTPAdapter.send

    def plain(self: HTTPAdapter, request: PreparedRequest, **options: object) -> Response:
        request.url = (request.url or "").replace("https:", "http:")
        return send(self, request, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(HTTPAdapter, "send", plain)
    server.answers = [status(302, Location=server.url)]
    with pytest.raises(UserError, match=r"No connection adapters were found for 'http://127\.0\.0\.1"):
        download(server.url.replace("http:", "https:"), SIZE, SHA256, target, QUICK)
    assert len(server.ranges) == 1


def test_a_server_that_hangs_is_given_up_and_resumed(server: Server, target: Path) -> None:
    fetch(server, target, hanging, whole)
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_server_that_always_hangs_is_an_error(server: Server, target: Path) -> None:
    start = time.monotonic()
    refuse(server, target, "Read timed out", hanging, silent)
    assert time.monotonic() - start < 4


def test_a_server_that_trickles_is_given_up(server: Server, target: Path) -> None:
    start = time.monotonic()
    refuse(server, target, r"only \d+ bytes came in", trickling)
    assert time.monotonic() - start < 4


def test_a_server_that_is_not_there_is_an_error(server: Server, target: Path) -> None:
    with Server() as gone:
        url = gone.url
    with pytest.raises(
        UserError, match=r"retries made no progress: .*Connection refused; a file brought by other means goes to "
    ):
        download(url, SIZE, SHA256, target, QUICK)


def test_a_killed_download_is_resumed(server: Server, target: Path) -> None:
    def slowly(handler: Handler) -> None:
        handler.begin(200, Content_Length=SIZE)
        for start in range(0, SIZE, 100_000):
            handler.send(CONTENT[start : start + 100_000])
            time.sleep(0.02)

    server.answers = [slowly]
    program = (
        "import sys, pathlib; from transfer.dataset.downloads import download; "
        "download(sys.argv[1], int(sys.argv[2]), sys.argv[3], pathlib.Path(sys.argv[4]))"
    )
    command = [sys.executable, "-c", program, server.url, str(SIZE), SHA256, str(target)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (part(target).exists() and part(target).stat().st_size > 500_000):
        time.sleep(0.005)
    process.kill()
    process.wait()
    have = part(target).stat().st_size
    assert 500_000 < have < SIZE
    assert not target.exists()
    fetch(server, target, whole)
    assert server.ranges == [None, f"bytes={have}-"]
    assert server.sent[-1] == SIZE - have


def test_two_at_once_do_not_mix(server: Server, target: Path) -> None:
    with part(target).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        with pytest.raises(UserError, match=r"data.zip.part: .* another process is downloading"):
            download(server.url, SIZE, SHA256, target, QUICK)


def test_too_little_space_is_an_error_before_anything_is_fetched(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part(target).write_bytes(CONTENT[:HALF])
    usage = shutil.disk_usage(target.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=SIZE - HALF - 1))
    with pytest.raises(UserError, match=r"made: No space left on device: 1.5 MB are needed, 1.5 MB are free"):
        download(server.url, SIZE, SHA256, target, QUICK)
    assert server.ranges == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=SIZE - HALF))
    fetch(server, target, whole)


def test_a_file_url_is_verified_where_it_lies(tmp_path: Path) -> None:
    file = tmp_path / "a b.zip"
    file.write_bytes(CONTENT)
    assert download(file.as_uri(), SIZE, SHA256.upper(), tmp_path / "copy") == file
    assert [path.name for path in tmp_path.iterdir()] == ["a b.zip"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file /.*; correct the card's url$"),
        (CONTENT + b"x", f"it has {SIZE + 1} bytes, and the card's size is {SIZE}; correct the card or the file$"),
        (bytes(SIZE), f"its SHA-256 is .*, and the card's is {SHA256}; correct the card or the file$"),
    ],
)
def test_a_file_url_with_another_file_is_an_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "a.zip"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        download(file.as_uri(), SIZE, SHA256, tmp_path / "copy")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.org/a.zip", "expected https, received http"),
        ("ftp://example.org/a.zip", "expected a URL of https or file, received 'ftp'"),
        ("a.zip", "expected a URL of https or file, received 'none'"),
        ("https:///a.zip", "expected a URL of https or file"),
        ("https://[::1/a.zip", "expected a URL, received one that cannot be read"),
        ("https://example.org:99999/a.zip", "expected a URL, received one that cannot be read"),
        ("file://example.org/a.zip", "expected file:///absolute/path"),
        ("file:a.zip", "expected file:///absolute/path"),
        ("https://me:secret@example.org/a.zip", "remove user name and password from the URL"),
    ],
)
def test_a_url_that_is_not_allowed_is_an_error(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        download(url, SIZE, SHA256, tmp_path / "a.zip", QUICK)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
