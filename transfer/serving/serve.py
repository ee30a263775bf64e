"""Put an exported classifier behind HTTP: python -m transfer serve"""

import argparse
import socket
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

from transfer.core.errors import UserError
from transfer.serving.limits import Limits

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
REQUIREMENTS = Path(__file__).parents[2] / "requirements/serve.txt"
MOST_PIXELS = 89_478_485
"""Of an image, `PIL.Image.MAX_IMAGE_PIXELS`: Pillow takes more for an attack, and `dataset.decode` refuses it."""
GRACE_SECONDS = 10
"""For requests that are being answered when the server is told to end."""


def _check_packages() -> None:
    """See that what a server needs is there; a UserError names what is not."""
    missing = [name.replace("_", "-") for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(
            f"serve: these packages are not installed: {', '.join(missing)}; pip install -r {REQUIREMENTS}, or make "
            ".venv/serve"
        )


def _listen(host: str, port: int) -> socket.socket:
    """Take an address, so that one that is not free is a UserError before anything else happens."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot listen on {host}:{port}: {reason}; choose another --port or --host") from error
    # Connections inherit it. asyncio sets it for sockets of its own making only, and without it an answer, which is
    # written in two parts, waits 40 ms for the client to acknowledge the first (measured).
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def run(given: argparse.Namespace) -> int:
    """Serve until told to end, and return the exit status."""
    _check_packages()
    import uvicorn

    from transfer.serving.app import make_app
    from transfer.serving.service import Classifiers

    limits = Limits(**{field.name: getattr(given, field.name) for field in fields(Limits) if field.name in given})
    with _listen(given.host, given.port) as listening:
        app = make_app(Classifiers.open(given.model, given.format), limits)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        shown = f"[{given.host}]" if ":" in given.host else given.host
        print(f"http://{shown}:{listening.getsockname()[1]}/ answers until Ctrl-C", flush=True)
        uvicorn.Server(config).run(sockets=[listening])
    return 0
