"""The application: its routes, and what every request passes before and behind them."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.middleware.gzip import GZipMiddleware

from kd_sweep.service.cluster.ray_nodes import RayNodes
from kd_sweep.service.http.analysing import Analysing
from kd_sweep.service.http.answers.problems import add_problem_handlers
from kd_sweep.service.http.asking import Asking
from kd_sweep.service.http.authorization import Public, role_of, routes_of
from kd_sweep.service.http.guards import Guards
from kd_sweep.service.http.prometheus import Counters
from kd_sweep.service.http.request_log import RequestLog
from kd_sweep.service.http.routes import (
    analysis_routes,
    change_routes,
    cluster_routes,
    event_routes,
    file_routes,
    health_routes,
    log_routes,
    page_routes,
    picture_routes,
    plan_routes,
    query_routes,
    result_routes,
    session_routes,
    study_routes,
    webhook_routes,
)
from kd_sweep.service.http.routes.api_router import PREFIX
from kd_sweep.service.http.serving import Serving
from kd_sweep.service.http.standing_answers import StandingAnswers
from kd_sweep.service.http.statements.statement_processes import Statements
from kd_sweep.service.http.watching.feed import Feed
from kd_sweep.version import __version__

_FILES = (
    study_routes,
    change_routes,
    plan_routes,
    result_routes,
    query_routes,
    analysis_routes,
    cluster_routes,
    event_routes,
    file_routes,
    log_routes,
    picture_routes,
    session_routes,
    webhook_routes,
    health_routes,
    page_routes,
)
_COMPRESSED_FROM = 1024
_LEVEL = 5
_PROBLEM = {
    "description": "What is wrong, on one line.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "The one line that the command line prints, too."},
        "request_id": {"type": "string", "description": "Under which the log tells more."},
        "error": {"type": "string", "description": "The class in `kd_sweep.errors` that says the same in Python."},
    },
}


def create_app(serving: Serving) -> FastAPI:
    """Return the application of a service.

    Args:
        serving: what its routes work with.
    """
    app = FastAPI(
        title="kd_sweep",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.serving, app.state.counters = serving, Counters()
    app.state.standing = StandingAnswers()
    app.state.analysing = Analysing(serving.reading, app.state.standing)
    app.state.statements = Statements(serving.reading.limits.memory_bytes)
    app.state.asking = Asking(RayNodes(serving.state, serving.address))
    app.state.feed = Feed(serving.reading, serving.rows)
    for file in _FILES:
        app.router.routes += file.router.routes
    app.add_api_route(f"{PREFIX}/openapi.json", lambda: _schema(app), dependencies=[Public], include_in_schema=False)
    for route in routes_of(app):
        role_of(route)  # one without a role would be open to all
    add_problem_handlers(app)
    app.add_middleware(GZipMiddleware, minimum_size=_COMPRESSED_FROM, compresslevel=_LEVEL)
    app.add_middleware(Guards, settings=serving.guards)
    app.add_middleware(RequestLog, counters=app.state.counters)
    return app


def _schema(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description: with the role that each operation needs, and problems as its failures."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    schema = get_openapi(
        title="kd_sweep", version=__version__, description="Studies: submit, watch, steer, query.", routes=app.routes
    )
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM_SCHEMA
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "cookie": {"type": "apiKey", "in": "cookie", "name": "kd_sweep_session"},
    }
    for route in routes_of(app):
        if route.include_in_schema:
            _describe(route, schema["paths"][route.path_format])
    app.openapi_schema = schema
    return schema


def _describe(route: APIRoute, operations: dict[str, Any]) -> None:
    role = role_of(route)
    for method in route.methods or ():
        operation = operations[method.lower()]
        operation["responses"].pop("422", None)
        operation["responses"]["default"] = _PROBLEM
        operation["security"] = [] if role is None else [{"token": []}, {"cookie": []}]
        if role is not None:
            operation["x-role"] = role.value
