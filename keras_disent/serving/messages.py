"""Messages between the server and its workers: a length, a head in JSON, and the bodies.

A batch goes to a worker in one message, and each response comes back in one of its own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

import orjson

_LENGTH = struct.Struct("<I")  # of the head


@dataclasses.dataclass(frozen=True)
class Request:
    """A request as it came.

    Attributes:
        protocol: "v1" of TensorFlow Serving or "v2", the Open Inference Protocol.
        body: Body of the request.
        options: Headers and query that matter: `content_type`, `accept`, `output`, `header`.
    """

    protocol: str
    body: bytes
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Response:
    """A response as it goes out.

    Attributes:
        status: HTTP status.
        media_type: Content type of the body.
        body: Body of the response.
        headers: Further headers.
    """

    status: int
    media_type: str
    body: bytes
    headers: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_error(cls, status: int, text: str, **headers: str) -> Response:
        """Create a response with `{"error": text}`.

        >>> Response.of_error(400, "`codes` must be numbers.").body
        b'{"error":"`codes` must be numbers."}'
        """
        text = text.encode("utf-8", "replace").decode()  # a lone surrogate is no JSON
        return cls(status, "application/json", orjson.dumps({"error": text}), headers)


def pack_batch(name: str, requests: Sequence[Request]) -> list[bytes]:
    """Return the message of a batch, in parts.

    Args:
        name: Name of the endpoint.
        requests: Requests to this endpoint.

    >>> import io
    >>> batch = pack_batch("encode", [Request("v1", b"{}")])
    >>> read_batch(io.BytesIO(b"".join(batch)))
    ('encode', [Request(protocol='v1', body=b'{}', options={})])
    """
    head = orjson.dumps([name, [[r.protocol, r.options, len(r.body)] for r in requests]])
    return [_LENGTH.pack(len(head)), head, *(request.body for request in requests)]


def read_batch(file: BinaryIO) -> tuple[str, list[Request]] | None:
    """Read the endpoint and the requests of a batch; None at the end of the file."""
    length = file.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    head = file.read(_LENGTH.unpack(length)[0])
    try:
        name, requests = orjson.loads(head)
    except orjson.JSONDecodeError:  # cut, as the server ended
        return None
    batch = [Request(protocol, file.read(size), options) for protocol, options, size in requests]
    return name, batch


def pack(number: int, response: Response) -> bytes:
    """Return the message of a response.

    Args:
        number: Number of the request in its batch.
        response: Its response.
    """
    size = len(response.body)
    head = orjson.dumps([number, response.status, response.media_type, response.headers, size])
    return b"".join([_LENGTH.pack(len(head)), head, response.body])


async def read(stream: asyncio.StreamReader) -> tuple[int, Response]:
    """Read the number of a request and its response.

    Raises:
        asyncio.IncompleteReadError: The worker has ended.
    """
    (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
    number, status, media_type, headers, size = orjson.loads(await stream.readexactly(length))
    return number, Response(status, media_type, await stream.readexactly(size), headers)
