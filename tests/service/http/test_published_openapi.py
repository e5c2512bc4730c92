"""The OpenAPI description is valid, and says of each route what it is."""

import httpx
from openapi_spec_validator import validate

from kd_sweep.service.http.app import create_app
from kd_sweep.service.http.authorization import role_of, routes_of
from tests.service.running_service import RunningService


def test_the_description_is_valid_and_complete(admin: httpx.Client, service: RunningService) -> None:
    with service.client(None) as anybody:
        schema = anybody.get("/api/v1/openapi.json").raise_for_status().json()
    validate(schema)
    described = {(method.upper(), path) for path, methods in schema["paths"].items() for method in methods}
    routes = [route for route in routes_of(create_app(service.serving)) if route.include_in_schema]
    assert described == {(method, route.path_format) for route in routes for method in route.methods or ()}
    names = [operation["operationId"] for methods in schema["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)
    for route in routes:
        for method in route.methods or ():
            operation = schema["paths"][route.path_format][method.lower()]
            role = role_of(route)
            assert operation.get("x-role") == (role and role.value)
            assert bool(operation["security"]) == (role is not None)
            assert operation["description"]
            assert "application/problem+json" in operation["responses"]["default"]["content"]
