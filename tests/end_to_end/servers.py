"""Remotes for DVC: a folder, an SSH server and a server of the S3 protocol, each on this machine and out of pip."""

import contextlib
import getpass
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import boto3

from tests.end_to_end.clones import Clone

SSH_SERVER = Path(__file__).with_name("ssh_server.py")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
STARTUP_S = 30


@dataclass(frozen=True)
class Remote:
    """A URL, DVC's options for it, and variables of the environment that its users need."""

    url: str
    options: dict[str, str]
    variables: dict[str, str]

    def add_to(self, clone: Clone) -> None:
        """Make it the remote of a clone, where git does not see it."""
        settings = ConfigParser(interpolation=None)
        settings["core"] = {"remote": "team"}
        settings["'remote \"team\"'"] = {"url": self.url, **self.options}
        with (clone.folder / ".dvc/config.local").open("w", encoding="utf-8") as file:
            settings.write(file)
        clone.variables.update(self.variables)


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until something listens."""
    deadline = time.monotonic() + STARTUP_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"{process.args!r} does not listen on port {port} (status {process.poll()})")


@contextlib.contextmanager
def _running(port: int, *command: str) -> Iterator[None]:
    """Run a server while the block runs."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await(port, process)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def folder_remote(folder: Path) -> Iterator[Remote]:
    """A folder."""
    yield Remote(str(folder / "remote"), {}, {})


@contextlib.contextmanager
def ssh_remote(folder: Path) -> Iterator[Remote]:
    """asyncssh's server, with keys made for it: no password opens it."""
    for name in ("host", "user"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        (folder / name).chmod(0o600)
        key.write_public_key(folder / f"{name}.pub")
    shutil.copyfile(folder / "user.pub", folder / "authorized")
    port = free_port()
    with _running(port, sys.executable, str(SSH_SERVER), str(folder), str(port)):
        url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{folder}/remote"
        yield Remote(url, {"keyfile": str(folder / "user")}, {})


@contextlib.contextmanager
def s3_remote(folder: Path) -> Iterator[Remote]:
    """A server of the S3 protocol: moto's."""
    port = free_port()
    with _running(port, sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)):
        endpoint = f"http://127.0.0.1:{port}"
        session = boto3.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
        session.client("s3", region_name="us-east-1", endpoint_url=endpoint).create_bucket(Bucket="team")
        yield Remote("s3://team/cache", {"endpointurl": endpoint}, CREDENTIALS)


REMOTES = {"folder": folder_remote, "ssh": ssh_remote, "s3": s3_remote}


class Proxy:
    """Passes connections on to a port, and can break all of them off once so many bytes have gone through."""

    def __init__(self, port: int, limit: int) -> None:
        self._target, self._left = port, limit
        self.broken = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self.broken:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, server]
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                self._left -= len(data)
                if self._left < 0:
                    self._break()
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _break(self) -> None:
        self.broken = True
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let everything through from now on."""
        self._left, self.broken = 1 << 60, False

    def close(self) -> None:
        """Stop, and leave no socket to the garbage collector, whose warning would fail another test."""
        self._server.shutdown(socket.SHUT_RDWR)  # which ends a wait for connections
        self._server.close()
        self._break()
        for end in self._open:
            end.close()
