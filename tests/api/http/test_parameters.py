"""Query parameters: every one that a route takes acts, or the request is refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query, Request
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.api.http.parameters import _declared, only_known
from pipeline.api.http.paths import CheckedRoute, Router
from pipeline.errors import Rejected
from pipeline.settings import Settings

LISTED = "a"


def small() -> TestClient:
    router, app = Router(), FastAPI()

    @router.get("/")
    async def show(
        some: Annotated[list[str] | None, Query()] = None, one: str | None = None, page: int = 1
    ) -> dict[str, object]:
        return {"some": some, "one": one, "page": page}

    app.include_router(router)
    return TestClient(app)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("two=1", "there is no parameter 'two'"),
        ("one=", "one must not be empty"),
        ("page=", "page must not be empty"),
        ("some=", "some must not be empty"),
        ("some=a&some=", "some must not be empty"),
        ("some=a,", "some must not be empty"),
        ("one=a&one=b", "one must be given once only"),
        ("page=1&page=1", "page must be given once only"),
    ],
)
def test_what_would_have_no_effect_is_refused(query: str, detail: str) -> None:
    with pytest.raises(Rejected, match=detail):
        small().get(f"/?{query}")


def test_a_list_may_be_repeated() -> None:
    answer = small().get("/?some=a,b&some=c&one=x&page=2").json()
    assert answer == {"some": ["a,b", "c"], "one": "x", "page": 2}


def parameters(routes: Iterable[Any]) -> Iterator[tuple[CheckedRoute, str, bool]]:
    """Of all routes, those of included routers too: a route, and a parameter with whether it is a list."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from parameters(inner.routes)
        elif isinstance(route, CheckedRoute):
            for name, is_list in _declared(route.dependant):
                yield route, name, is_list


def ask(route: APIRoute, query: str) -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": query.encode()}
    asyncio.run(only_known(Request({**scope, "route": route})))


def test_no_route_takes_a_parameter_without_a_value_or_one_of_two_values() -> None:
    found = list(parameters(create_app(Settings.model_construct()).routes))
    assert len(found) > 80
    for route, name, is_list in found:
        ask(route, f"{name}={LISTED}")
        with pytest.raises(Rejected, match=re.escape(f"{name} must not be empty")):
            ask(route, f"{name}=")
        if is_list:
            ask(route, f"{name}={LISTED}&{name}={LISTED}")
        else:
            with pytest.raises(Rejected, match="given once only"):
                ask(route, f"{name}={LISTED}&{name}={LISTED}")
