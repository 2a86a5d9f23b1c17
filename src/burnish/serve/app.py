"""The application: its routes, who may use them, and its errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from burnish.config import BurnishError, InputError
from burnish.sampling import QueueFull
from burnish.serve.engine import DecodingError
from burnish.serve.protocol import ChatRequest, CompletionRequest, FeedbackRequest
from burnish.serve.security import Access, Guard, Policy
from burnish.serve.service import ApiError, Service

RULES: dict[tuple[str, str], Access] = {
    ("GET", "/health"): "open",
    ("GET", "/metrics"): "token",
    ("GET", "/v1/models"): "token",
    ("GET", "/v1/models/{model}"): "token",
    ("POST", "/v1/chat/completions"): "token",
    ("POST", "/v1/completions"): "token",
    ("POST", "/v1/feedback"): "token",
}
"""Every route there is; one that is missing here is not reached (S-09)."""


def make_app(service: Service, token: str | None, hosts: frozenset[str]) -> Guard:
    """The service behind its guard."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    add_routes(app, service)
    _add_errors(app)
    return Guard(app, Policy(RULES, token, hosts, service.settings.body_bytes))


def add_routes(app: FastAPI, service: Service) -> None:
    """All that can be asked of a service."""

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "draining" if service.draining else "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.meters.text(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": service.models()}

    @app.get("/v1/models/{model}")
    async def model(model: str) -> dict[str, Any]:
        found = [row for row in service.models() if row["id"] == model]
        if not found:
            raise ApiError(404, f"no model is called {model!r}", "model", "model_not_found")
        return found[0]

    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        return await service.chat(body, request)

    @app.post("/v1/completions")
    async def complete(body: CompletionRequest, request: Request) -> Response:
        return await service.complete(body, request)

    @app.post("/v1/feedback")
    async def feedback(body: FeedbackRequest, request: Request) -> Response:
        return await service.feedback(body, request)


def add_api_errors(app: FastAPI) -> None:
    """What goes wrong with requests to a model, in the words of OpenAI's API."""

    @app.exception_handler(ApiError)
    async def api(_: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or None
        return ApiError(400, f"{field or 'body'}: {first['msg']}", field).response()

    @app.exception_handler(QueueFull)
    async def full(_: Request, error: QueueFull) -> Response:
        return ApiError(429, "too many requests wait; try again in a moment").response()

    @app.exception_handler(DecodingError)
    async def failed(_: Request, error: DecodingError) -> Response:
        return ApiError(error.status, str(error), error.param, error.code).response()


def _add_errors(app: FastAPI) -> None:
    """Every error in the words of OpenAI's API, none with anything of the inside."""
    add_api_errors(app)

    @app.exception_handler(InputError)
    async def refused(_: Request, error: InputError) -> Response:
        return ApiError(400, str(error)).response()

    @app.exception_handler(BurnishError)
    async def unable(_: Request, error: BurnishError) -> Response:
        return ApiError(503, "this cannot be stored now").response()

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        return ApiError(error.status_code, str(error.detail)).response()

    @app.exception_handler(Exception)
    async def internal(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": {"message": "internal error", "type": "server_error"}}, 500)
