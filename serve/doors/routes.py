"""What routes an application has, also those of routers within it."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI
from starlette.routing import BaseRoute, Route


def every_route(app: FastAPI) -> Iterable[BaseRoute]:
    """All routes, one after the other."""
    return _within(app.routes)


def methods_at(app: FastAPI, path: str) -> list[str]:
    """The methods that some route takes at this path."""
    found = (route for route in every_route(app) if isinstance(route, Route) and route.path_regex.match(path))
    return sorted({method for route in found for method in route.methods or ()})


def _within(routes: Iterable[BaseRoute]) -> Iterable[BaseRoute]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from _within(inner.routes)
