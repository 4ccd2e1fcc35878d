"""ASGI application of an exported model: paths, limits, keys, metrics and logs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from keras_disent._utils.version import __version__
from keras_disent.serving import messages, open_inference, openapi
from keras_disent.serving.gate import HOME, Gate, as_response
from keras_disent.serving.metrics import Metrics
from keras_disent.serving.pool import Pool, unavailable
from keras_disent.serving.settings import Settings

logger = logging.getLogger("keras_disent.serving")

BODY_TIMEOUT = 30.0  # seconds in which the body of a request must arrive
MAX_BODIES = 8  # times `max_body`: bytes of all requests together

_POLICY = (  # of the page of knobs: it runs what it holds, and asks no address
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; "
    "style-src 'unsafe-inline'; img-src blob: data:; base-uri 'none'; form-action 'none'"
)


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
        self.body_bytes = 0  # bytes of the bodies of all requests that are not answered
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
                    self.body_bytes += len(chunk)
                    if len(body) > limit:
                        raise too_large
                    if self.body_bytes > MAX_BODIES * limit:
                        return as_response(unavailable("Too many bytes wait already. Try again."))
            sent = messages.Request(protocol, bytes(body), options)
            return as_response(await self.pool.answer(name, sent))
        except TimeoutError:
            raise HTTPException(408, f"The body took over {BODY_TIMEOUT:g} seconds.") from None
        except ClientDisconnect:
            raise HTTPException(400, "The client left before its body ended.") from None
        finally:
            self.body_bytes -= len(body)

    def _model(self, request: Request) -> str:
        """Return the endpoint that a path of the Open Inference Protocol names."""
        name = request.path_params["model"]
        if name not in self.endpoints:
            names = ", ".join(self.endpoints)
            raise HTTPException(404, f"Unknown model {name!r:.80}. Choose from: {names}.")
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
        return as_response(messages.Response.of_error(error.status_code, text, **headers))


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


async def _fail(request: Request, error: Exception) -> Response:
    return as_response(messages.Response.of_error(500, "The server failed; its log says why."))


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
