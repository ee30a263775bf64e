"""Tests of transfer/serving/serve.py: what the command line says where it cannot serve."""

import socket
from importlib.util import find_spec

import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.transfer.conftest import Exported
from transfer import __main__
from transfer.core.errors import UserError
from transfer.serving import serve as command


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["transfer", "serve", *arguments])
    __main__.main()


def test_packages_that_are_missing_are_named_with_the_file_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name in ("fastapi", "uvicorn") else find_spec(name))
    with pytest.raises(UserError, match=r"not installed: fastapi, uvicorn; pip install -r (\S+), or") as caught:
        _run(monkeypatch)
    assert f" {ROOT / 'requirements/serve.txt'}, " in str(caught.value)
    lines = (ROOT / "requirements/serve.txt").read_text(encoding="utf-8").splitlines()
    named = {line.partition("==")[0].replace("-", "_") for line in lines}
    assert set(command.PACKAGES) <= named


def test_an_address_that_is_taken_is_an_error(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"cannot listen on 127.0.0.1:{port}: "):
            _run(monkeypatch, "--model", str(exported.folder), "--port", str(port))
    with pytest.raises(UserError, match=r"cannot listen on no\.such\.host\.invalid:1"):
        _run(monkeypatch, "--host", "no.such.host.invalid", "--port", "1")


def test_answers_do_not_wait_to_be_acknowledged() -> None:
    with (
        command._listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_model_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="nowhere: no exported classifier"):
        _run(monkeypatch, "--model", "nowhere", "--port", "0")


@pytest.mark.parametrize(
    "arguments",
    [("--batch", "0"), ("--port", "65536"), ("--max-bytes", "-1"), ("--max-pixels", "89478486"), ("--waiting", "x")],
)
def test_a_number_out_of_range_is_an_error(
    arguments: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        _run(monkeypatch, *arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_no_more_pixels_can_be_allowed_than_pillow_does() -> None:
    assert Image.MAX_IMAGE_PIXELS == command.MOST_PIXELS
