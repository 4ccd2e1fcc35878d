"""ASGI application of an exported model: paths, limits, keys, metrics and logs."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import time
from collections.abc import Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import orjson
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keras_disent._utils.version import __version__
from keras_disent.serving import messages, open_inference, openapi
from keras_disent.serving.pool import Pool, unavailable
from keras_disent.serving.settings import Settings

logger = logging.getLogger("keras_disent.serving")

BODY_TIMEOUT = 30.0  # seconds in which the body of a request must arrive
MAX_HELD = 8  # times `max_body`: bytes of all requests together
HOME = "/"
OPEN = ("/health", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json")  # without key

_POLICY = (  # of the page of knobs: it runs what it holds, and asks no address
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; "
    "style-src 'unsafe-inline'; img-src blob: data:; base-uri 'none'; form-action 'none'"
)
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Service:
    """What answers the requests to one exported model.

    Args:
        folder: Folder of the model.
        card: Its card.
        settings: Settings of the server.
    """

    def __init__(self, folder: str | Path, card: dict[str, Any], settings: Settings):
        self.card, self.settings = card, settings
        self.endpoints: dict[str, dict[str, Any]] = card["endpoints"]
        self.pool = Pool(
            folder,
            workers=settings.workers or 1,
            threads=settings.threads or 1,
            batched={name for name, e in self.endpoints.items() if len(e["inputs"]) == 1},
            max_batch_size=settings.max_batch_size,
            timeout=settings.timeout,
        )
        self.metrics = Metrics(self.pool)
        self.held = 0  # bytes of the bodies of all requests that are not answered
        self.document = openapi.document(card, settings)
        self.folder = folder
        self.page: asyncio.Task[tuple[str, int]] | None = None

    def app(self) -> Starlette:
        """Create the application; its lifespan is that of the workers."""
        v2 = "/v2/models/{model}"
        routes = [
            Route(HOME, self.home),
            Route("/health", self.health),
            Route("/info", self.info),
            Route("/metrics", self.scrape),
            Route("/openapi.json", self.openapi),
            Route("/docs", self.docs),
            Route("/v2", self.server),
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.is_ready),
        ]
        for path in (v2, v2 + "/versions/{version}"):
            routes += [
                Route(path, self.model),
                Route(path + "/ready", self.is_ready),
                Route(path + "/infer", self.infer, methods=["POST"]),
            ]
        for name in self.endpoints:
            routes.append(Route(f"/{name}", partial(self.ask, name), methods=["POST"]))

        @asynccontextmanager
        async def lifespan(app: Starlette) -> Any:
            async with self.pool:
                yield

        middleware = [Middleware(Gate, metrics=self.metrics, api_key=self.settings.api_key)]
        if self.settings.cors:
            cors = Middleware(
                CORSMiddleware,
                allow_origins=list(self.settings.cors),
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=[open_inference.HEADER],
            )
            middleware.insert(0, cors)
        handlers = {HTTPException: self._refuse, Exception: _fail}
        return Starlette(
            routes=routes, middleware=middleware, lifespan=lifespan, exception_handlers=handlers
        )

    # -- what the server is ------------------------------------------------------------------

    async def health(self, request: Request) -> Response:
        """Say how many workers are ready: status 503 when none is."""
        ready, size = self.pool.ready, self.pool.size
        status = "ok" if ready == size else "degraded" if ready else "unavailable"
        return _json({"status": status, "ready": ready, "workers": size}, 200 if ready else 503)

    async def home(self, request: Request) -> Response:
        """Return the page of knobs, which is written when it is asked for the first time."""
        if self.page is None:
            self.page = asyncio.create_task(asyncio.to_thread(self._write_page))
        text, status = await asyncio.shield(self.page)
        return HTMLResponse(text, status, {"Content-Security-Policy": _POLICY})

    def _write_page(self) -> tuple[str, int]:
        try:
            from keras_disent.knobs import served

            return served.page(self.folder, self._card(), key=bool(self.settings.api_key)), 200
        except Exception as error:  # whatever it is, the model is served
            logger.warning("no page of knobs", extra={"reason": str(error)})
            return openapi.sentence(f"This model has no page of knobs: {error}"), 404

    async def info(self, request: Request) -> Response:
        return _json({"model": self._card(), "server": {"version": __version__}})

    def _card(self) -> dict[str, Any]:
        """Return the card without what only this machine needs."""
        card = {key: value for key, value in self.card.items() if key != "config"}
        card["run"] = without_paths(card.get("run"))
        return card

    async def scrape(self, request: Request) -> Response:
        """Return metrics in the text format of Prometheus."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, request: Request) -> Response:
        return _json(self.document)

    async def docs(self, request: Request) -> Response:
        return HTMLResponse(openapi.page(self.document, str(request.base_url).rstrip("/")))

    async def server(self, request: Request) -> Response:
        return _json(
            {
                "name": "keras_disent",
                "version": __version__,
                "extensions": open_inference.EXTENSIONS,
            }
        )

    async def live(self, request: Request) -> Response:
        return _json({"live": True})

    async def is_ready(self, request: Request) -> Response:
        if "model" in request.path_params:
            self._model(request)
        ready = self.pool.ready > 0
        return _json({"ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        name = self._model(request)
        return _json(open_inference.model_metadata(name, self.endpoints[name]))

    # -- what it computes --------------------------------------------------------------------

    async def ask(self, name: str, request: Request) -> Response:
        """Answer in the format of TensorFlow Serving, or for a picture or `.npy` file."""
        unknown = sorted(set(request.query_params) - {"output"})
        if unknown:
            raise HTTPException(400, f"Unknown parameter {unknown[0]!r:.80}. There is: output.")
        headers = request.headers
        options = {
            "content_type": headers.get("content-type", ""),
            "accept": headers.get("accept", ""),
        }
        if "output" in request.query_params:
            options["output"] = request.query_params["output"]
        return await self._answer(request, name, "v1", options)

    async def infer(self, request: Request) -> Response:
        """Answer in the format of the Open Inference Protocol."""
        header = request.headers.get(open_inference.HEADER)
        options = {} if header is None else {"header": header}
        return await self._answer(request, self._model(request), "v2", options)

    async def _answer(
        self, request: Request, name: str, protocol: str, options: dict[str, str]
    ) -> Response:
        request.scope["served"] = (name, protocol)  # for metrics and logs
        limit = self.settings.max_body
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise HTTPException(415, f"Send the body without an encoding. Got {encoding:.80}.")
        too_large = HTTPException(413, f"A body has at most {limit} bytes.")
        if int(request.headers.get("content-length", 0)) > limit:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                async for chunk in request.stream():
                    body += chunk
                    self.held += len(chunk)
                    if len(body) > limit:
                        raise too_large
                    if self.held > MAX_HELD * limit:
                        return _response(unavailable("Too many bytes wait already. Try again."))
            sent = messages.Request(protocol, bytes(body), options)
            return _response(await self.pool.answer(name, sent))
        except TimeoutError:
            raise HTTPException(408, f"The body took over {BODY_TIMEOUT:g} seconds.") from None
        except ClientDisconnect:
            raise HTTPException(400, "The client left before its body ended.") from None
        finally:
            self.held -= len(body)

    def _model(self, request: Request) -> str:
        """Return the endpoint that a path of the Open Inference Protocol names."""
        name = request.path_params["model"]
        if name not in self.endpoints:
            known = ", ".join(self.endpoints)
            raise HTTPException(404, f"Unknown model {name!r:.80}. Choose from: {known}.")
        version = request.path_params.get("version", open_inference.VERSION)
        if version != open_inference.VERSION:
            raise HTTPException(404, f"There is version 1 of {name}. Got {version!r:.80}.")
        return name

    async def _refuse(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        text, headers = error.detail, dict(error.headers or {})
        if text == "Not Found":
            paths = ", ".join(f"/{name}" for name in self.endpoints)
            text = f"Unknown path {request.url.path!r:.80}. There are {paths}; /docs lists all."
        elif text == "Method Not Allowed":
            text = f"{request.url.path:.80} takes {headers.get('Allow', 'another method')}."
        return _response(messages.Response.of_error(error.status_code, text, **headers))


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
                await _response(refusal)(scope, receive, watched)
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


class Metrics(Collector):
    """Metrics of a server, in a registry of their own.

    Args:
        pool: Workers, whose state is read when the metrics are.
    """

    def __init__(self, pool: Pool):
        self.pool = pool
        self.registry = CollectorRegistry()
        labels = ("endpoint", "protocol")
        self.requests = Counter(
            "keras_disent_requests",
            "Requests that were answered.",
            (*labels, "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "keras_disent_request_seconds",
            "Seconds from the head of a request to the end of its response.",
            labels,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "keras_disent_batch_requests",
            "Requests that were computed together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        pool.on_batch = self.batches.observe
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def count(self, name: str, protocol: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self.requests.labels(name, protocol, str(status)).inc()
        self.seconds.labels(name, protocol).observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """Yield the state of the workers."""
        pool = self.pool
        yield GaugeMetricFamily(
            "keras_disent_workers_ready", "Workers that can compute.", pool.ready
        )
        yield GaugeMetricFamily(
            "keras_disent_queued_requests", "Requests that wait for a worker.", len(pool.queue)
        )
        yield CounterMetricFamily(
            "keras_disent_worker_restarts", "Workers that were replaced.", pool.restarts
        )

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)


def without_paths(value: Any) -> Any:
    """Reduce the paths in a configuration to their last part.

    >>> without_paths({"data": "/home/ada/pictures", "options": ["C:\\\\data\\\\a.npz", 3]})
    {'data': 'pictures', 'options': ['a.npz', 3]}
    """
    if isinstance(value, dict):
        return {key: without_paths(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_paths(part) for part in value]
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return PurePosixPath(value.replace("\\", "/")).name
    return value


def _password(credentials: bytes) -> bytes:
    """Return the password of credentials in the form "Basic", NAME:PASSWORD in base64."""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


async def _fail(request: Request, error: Exception) -> Response:
    return _response(messages.Response.of_error(500, "The server failed; its log says why."))


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def _response(response: messages.Response) -> Response:
    return Response(
        response.body, response.status, response.headers, media_type=response.media_type
    )
