"""What stands before every route: limits of a request's body, headers, counts, and no traceback to anybody."""

import asyncio
import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transfer.serving.limits import Limits
from transfer.serving.measures import Measures

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every answer."""
CLOSED = 499
"""Counted where whoever asked went away before an answer, as nginx has it."""

_log = logging.getLogger("uvicorn.error")


class Guard:
    """Wraps an application.

    Args:
        app: what answers.
        limits: what a request's body may be, counted as it comes, whatever its Content-Length says.
        measures: told of every answer.
        routes: paths that have counts of their own; all others share one, so that nobody can make more of them.
    """

    def __init__(self, app: ASGIApp, limits: Limits, measures: Measures, routes: tuple[str, ...]) -> None:
        self._app, self._limits, self._measures, self._routes = app, limits, measures, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), CLOSED

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            await self._app(scope, self._limited(receive, Headers(scope=scope)), sent)
        except Exception:  # noqa: BLE001 (it was answered with 500; what it was stands in the log and nowhere else)
            _log.exception("%s could not be answered", scope["path"])
        finally:
            route = scope["path"] if scope["path"] in self._routes else "other"
            self._measures.requests.labels(route, str(status)).inc()
            self._measures.seconds.labels(route).observe(time.perf_counter() - start)

    def _limited(self, receive: Receive, headers: Headers) -> Receive:
        """Receive a body that is neither too long nor too slow.

        Raises (as it is read):
            HTTPException: 413 or 408.
        """
        length, most, seconds = headers.get("content-length", ""), self._limits.max_bytes, self._limits.seconds
        told = int(length) if length.isdecimal() else 0
        latest = asyncio.get_running_loop().time() + seconds
        received, whole = 0, False

        async def limited() -> Message:
            nonlocal received, whole
            if told > most:
                raise HTTPException(413, f"expected at most {most:,} bytes, received {told:,}")
            try:
                async with asyncio.timeout_at(None if whole else latest):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"expected the whole request within {seconds:g} s") from None
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > most:
                raise HTTPException(413, f"expected at most {most:,} bytes, received more")
            return message

        return limited
