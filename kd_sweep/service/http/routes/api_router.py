"""The router of a file of routes: under /api/v1, each named as its function."""

from typing import Any

from fastapi import APIRouter

PREFIX = "/api/v1"


def api_router(tag: str, *dependencies: Any, prefix: str = PREFIX) -> APIRouter:
    """Return a router.

    Args:
        tag: what its routes are about.
        dependencies: of all of them, such as the role that they need.
        prefix: of their paths.
    """
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        dependencies=list(dependencies),
        generate_unique_id_function=lambda route: route.name,
    )
