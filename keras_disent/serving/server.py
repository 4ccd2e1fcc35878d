"""HTTP server on a socket: time limits of connections, signals, and log lines in JSON."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import signal
import socket
import sys
import threading
from asyncio import TimerHandle, Transport
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from keras_disent.serving.app import Service

HEAD_TIMEOUT = 10.0  # seconds in which the head of a request must arrive
MAX_HEAD = 64 << 10  # bytes
IDLE_TIMEOUT = 60  # seconds in which the next request of a connection must begin
SHUTDOWN_TIMEOUT = 10  # seconds that requests have when the server is stopped

LOGGERS = ("keras_disent.serving", "uvicorn.error")


class Protocol(HttpToolsProtocol):
    """HTTP of a connection, which is closed when the head of a request is slow or too long."""

    head_timer: TimerHandle | None = None
    head_bytes = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.on_head_begin()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.head_timer is None:
            self.on_head_begin()

    def on_head_begin(self) -> None:
        """Start the time that the head of a request has."""
        self.head_bytes = 0
        self.head_timer = self.loop.call_later(HEAD_TIMEOUT, self.transport.close)

    def on_headers_complete(self) -> None:
        self.on_head_end()
        super().on_headers_complete()

    def on_head_end(self) -> None:
        """Stop the time of the head."""
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.head_timer is not None:
            self.head_bytes += len(data)
            if self.head_bytes > MAX_HEAD:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_head_end()
        super().connection_lost(exc)


class Server(uvicorn.Server):
    """uvicorn's server, for which a signal is a reason to stop and no error."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        handlers = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


class JSONFormatter(logging.Formatter):
    """Format a log record as one line of JSON.

    >>> record = logging.makeLogRecord({"msg": "worker died", "levelname": "WARNING", "code": -9})
    >>> list(json.loads(JSONFormatter().format(record)))
    ['time', 'level', 'event', 'code']
    """

    _standard_fields = {*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"}

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= {
            key: value for key, value in vars(record).items() if key not in self._standard_fields
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


@contextlib.contextmanager
def logs(level: str) -> Iterator[None]:
    """Write the log lines of a server to the standard error, as JSON.

    Args:
        level: Lowest level that is written.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter())
    before: list[tuple[logging.Logger, Any]] = []
    for name in LOGGERS:
        logger = logging.getLogger(name)
        before.append((logger, (logger.level, logger.propagate)))
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn.error").setLevel("WARNING")
    try:
        yield
    finally:
        for logger, (old, propagate) in before:
            logger.removeHandler(handler)
            logger.setLevel(old)
            logger.propagate = propagate


def listen(host: str, port: int) -> socket.socket:
    """Listen on a port; connections wait until the server runs.

    Args:
        host: Name or address of this machine.
        port: Port, or 0 for any that is free.

    Raises:
        ValueError: The host or the port is invalid, or the port is in use.
    """
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f"`port` is from 0 to 65535. Got {port!r}.")
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        family, kind, protocol, _, target = address
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError):
        raise ValueError(f"`host` is a name or address of this machine. Got {host!r}.") from None
    try:
        if sys.platform != "win32":  # there it would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"Port {port} of {host} is taken. Choose another `port`.") from None
        if error.errno == errno.EADDRNOTAVAIL:
            text = f"`host` is a name or address of this machine. Got {host!r}."
            raise ValueError(text) from None
        reason = error.strerror
        raise ValueError(f"Cannot listen on port {port} of {host}: {reason}.") from None
    return listener


def configuration(app: ASGIApp) -> uvicorn.Config:
    """Return how uvicorn runs an application here."""
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",  # the workers start first, so that their errors are told in one line
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE_TIMEOUT,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
    )


def serve(service: Service, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        service: What answers the requests.
        listener: Listening socket; it is closed in the end.

    Raises:
        ValueError: The workers cannot load the model.
    """
    server = Server(configuration(service.app()))

    async def main() -> None:
        async with service.pool:
            await server.serve([listener])

    with contextlib.closing(listener):
        asyncio.run(main())
