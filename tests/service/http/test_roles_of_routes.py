"""Every route by every role: what is refused, and that no route is forgotten."""

from typing import Any

import pytest

from kd_sweep.service.access.roles import Role
from kd_sweep.service.http.app import create_app
from kd_sweep.service.http.authorization import Needs, role_of, routes_of
from tests.service.http.route_roles import MATRIX
from tests.service.running_service import RunningService

FILLED = {
    "{name}": "no-such-study",
    "{trial_id}": "abc",
    "{table}": "no",
    "{query}": "no",
    "{token}": "nobody",
    "{webhook}": "7",
    "{path}": "trials/no.parquet",
    "{digest}": "0123456789abcdef",
}


def filled(path: str) -> str:
    for variable, value in FILLED.items():
        path = path.replace(variable, value)
    assert "{" not in path, path
    return path


def test_every_route_has_a_row_and_every_row_a_route(service: RunningService) -> None:
    app = create_app(service.serving)
    routes = {(method, route.path_format) for route in routes_of(app) for method in route.methods or ()}
    assert routes == set(MATRIX)


@pytest.mark.parametrize(("method", "path"), MATRIX, ids=" ".join)
def test_a_route_is_refused_to_all_below_its_role(service: RunningService, method: str, path: str) -> None:
    least = MATRIX[method, path]
    order = [None, *Role]
    for role in order:
        with service.client(role) as client:
            body = {} if method in ("POST", "PATCH") else None
            with client.stream(method, filled(path), json=body) as answer:  # that of events never ends
                if answer.is_error:
                    answer.read()
        if order.index(role) >= order.index(least):
            assert answer.status_code not in (401, 403), (role, answer.text)
        else:
            assert answer.status_code == (401 if role is None else 403), (role, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


def test_a_route_without_a_role_is_noticed(service: RunningService) -> None:
    app = create_app(service.serving)

    def forgotten() -> dict[str, Any]:
        return {}

    app.add_api_route("/forgotten", forgotten)
    with pytest.raises(ValueError, match="/forgotten: declares 0 roles"):
        [role_of(route) for route in routes_of(app)]
    assert Needs(None) != Needs(Role.VIEWER)
