"""ASGI middleware in front of the application: the key of requests, their metrics and log lines."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import time

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keras_disent.serving import messages
from keras_disent.serving.metrics import Metrics

logger = logging.getLogger("keras_disent.serving")

HOME = "/"
OPEN = ("/health", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json")  # without key


class Gate:
    """ASGI middleware: the key of requests, and their metrics and log lines.

    Args:
        app: The application behind it.
        metrics: Where requests are counted.
        api_key: Key that requests must have, or None.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, api_key: str | None):
        self.app, self.metrics = app, metrics
        self.key = api_key.encode() if api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._admits(scope):
                await self.app(scope, receive, watched)
            else:
                text = "Send the key of this server as Authorization: Bearer KEY, or X-API-Key."
                how = "Bearer"
                if scope["path"] == HOME:  # a browser then asks for it
                    text = f"{text[:-1]}; in a browser, as the password."
                    how = 'Basic realm="Key of this server as the password", charset="UTF-8"'
                refusal = messages.Response.of_error(401, text, **{"WWW-Authenticate": how})
                await as_response(refusal)(scope, receive, watched)
        finally:
            seconds = time.perf_counter() - start
            name, protocol = scope.get("served", ("other", "other"))
            self.metrics.count(name, protocol, status, seconds)
            if logger.isEnabledFor(logging.INFO):
                client = scope.get("client")
                extra = {
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "ms": round(1000 * seconds, 2),
                    "client": client[0] if client else None,
                }
                logger.info("request", extra=extra)

    def _admits(self, scope: Scope) -> bool:
        path = scope["path"]
        if self.key is None or path in OPEN:
            return True
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                value = value[7:]
            elif name == b"authorization" and value[:6].lower() == b"basic " and path == HOME:
                value = _password(value[6:])
            elif name != b"x-api-key":
                continue
            if hmac.compare_digest(value, self.key):
                return True
        return False


def _password(credentials: bytes) -> bytes:
    """Return the password of credentials in the form "Basic", NAME:PASSWORD in base64."""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def as_response(response: messages.Response) -> Response:
    """Return the response of a worker as one of Starlette."""
    return Response(
        response.body, response.status, response.headers, media_type=response.media_type
    )
