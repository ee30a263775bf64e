"""Stages that start at once: python warm.py SOCKET

Most of a small stage's time is the import of TensorFlow. This process does the imports once, and forks a child for each
stage that it is asked for. A `python` that comes first on the PATH asks for them, and is otherwise the real one. The
code of the project is imported by the child, from its working directory; nothing of TensorFlow runs before the fork.

Only tests that are not about processes, their memory or their end use it, by the fixture `warm`: all others start
stages as users do. `.ci/reproducible.py` checks that both give the same bytes, test_warm.py that they behave alike.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
IMPORTED = (
    "transfer", "tensorflow", "tensorflow.lite", "keras", "openvino", "openvino.tools.ovc",
    "ai_edge_litert.interpreter", "tf2onnx", "dvclive", "pydantic", "imagehash", "matplotlib.pyplot", "pandas",
    "scipy.stats", "sklearn.metrics", "statsmodels.stats.multitest",
)  # fmt: skip
"""What stages import; the first sets what TensorFlow reads when it is imported. ONNX Runtime is left out: it starts a
thread, and after a fork would wait for it."""
CLIENT = """#!{python} -IS
import os
import sys

if sys.argv[1:2] != ["-m"] or not sys.argv[2].startswith("stages."):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])

import json
import signal
import socket

with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    asked = {{"arguments": sys.argv[2:], "folder": os.getcwd(), "variables": dict(os.environ)}}
    socket.send_fds(server, [b" "], [0, 1, 2])
    server.sendall(json.dumps(asked).encode() + b"\\n")
    passed_on = (signal.SIGINT, signal.SIGTERM)
    for number in passed_on:
        signal.signal(number, lambda number, _: server.send(bytes([number])))
    status = int(server.recv(16))
if status < 0:
    if -status in passed_on:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


@contextlib.contextmanager
def warm_stages() -> Iterator[dict[str, str]]:
    """Run the process, and give the variables with which commands find it."""
    with tempfile.TemporaryDirectory() as folder:
        address, client = Path(folder) / "socket", Path(folder) / "python"
        client.write_text(CLIENT.format(python=sys.executable, address=str(address)), encoding="utf-8")
        client.chmod(0o755)
        paths = (folder, str(Path(sys.executable).parent), os.environ["PATH"])
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(address))
            listener.listen()
            command = [sys.executable, __file__, str(listener.fileno())]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
        yield {"PATH": os.pathsep.join(paths)}
        process.communicate()  # the end of its standard input is its end


def _import_all() -> None:
    """Import what stages import, and forget the project's own code, which each clone has."""
    sys.path[0] = str(ROOT)
    for name in IMPORTED:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "transfer"]:
        del sys.modules[name]
    gc.freeze()


def _serve(listener: socket.socket) -> socket.socket | None:
    """Fork for each connection, which is returned in the child; return None at the end of standard input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while listener.fileno() in select.select([listener.fileno(), 0], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return connection
        connection.close()
    return None


def _watch(child: int, connection: socket.socket) -> None:
    """Pass on signals, end the child when nobody waits for it any more, and report its status."""
    ended = os.pidfd_open(child)
    while ended not in select.select([ended, connection.fileno()], [], [])[0]:
        received = connection.recv(1)
        signal.pidfd_send_signal(ended, received[0] if received else signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(asked: dict[str, Any], descriptors: list[int]) -> None:
    """Run the stage in this process, as `python -m` does."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 (buffered as the new descriptor asks)
    os.environ.clear()
    os.environ.update(asked["variables"])
    os.chdir(asked["folder"])
    sys.path[0] = asked["folder"]
    name, *arguments = asked["arguments"]
    sys.argv = ["-m", *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def main() -> None:
    """Import, and run what is asked for until standard input ends."""
    _import_all()
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        connection = _serve(listener)
    if connection is None:
        return
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile(encoding="utf-8") as lines:
        asked = json.loads(lines.readline())
    if child := os.fork():
        for descriptor in descriptors:
            os.close(descriptor)
        _watch(child, connection)
        os._exit(0)
    connection.close()
    _become(asked, descriptors)


if __name__ == "__main__":
    main()
