"""The short way to routes that are asked many times a second: the same answers without the framework's way to a route.

Owns: which requests take it, the matching of their paths, errors on the way. Does not own: authentication, rates and
bodies, which come before (auth, rate_limits, body), nor any answer (the routes' modules).

The framework matches a path against each of some 300 routes, and validates and copies what was checked already, which
costs more than a check of access or a change does. A request that is in any way unusual takes the framework's way: it
has a query, or a body that is not plain JSON of the form that the route takes. So what is refused is refused alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.api.http.auth import Needs
from pipeline.api.http.body import JSON_BODY
from pipeline.api.http.paths import decoded
from pipeline.api.http.problem import answer
from pipeline.errors import Broken, Rejected, Unavailable

_JSON = b"application/json"


class Asked(NamedTuple):
    """What a route on the short way gets. body: the value of its JSON; None where it takes none."""

    request: Request
    path: Mapping[str, str]
    body: object


class ShortRoute(NamedTuple):
    """A route as the short way knows it.

    path: with parameters as the framework writes them. takes: whether the value of a body has the form that the
    framework asks for; None: it takes no body.
    """

    method: str
    path: str
    needs: Needs
    takes: Callable[[object], bool] | None
    answered: Callable[[Asked], Awaitable[Response]]


class _Place(NamedTuple):
    """A route by its segments; those that are parameters by their places."""

    route: ShortRoute
    fixed: tuple[tuple[int, str], ...]
    named: tuple[tuple[int, str], ...]


class ShortWay:
    """ASGI middleware under all others: answers requests of some routes itself."""

    def __init__(self, app: ASGIApp, routes: Iterable[ShortRoute]) -> None:
        self._app = app
        self._places: dict[tuple[str, int], list[_Place]] = {}
        for route in routes:
            parts = list(enumerate(route.path.split("/")))
            named = tuple((at, part[1:-1]) for at, part in parts if part.startswith("{"))
            fixed = tuple((at, part) for at, part in parts if not part.startswith("{"))
            self._places.setdefault((route.method, len(parts)), []).append(_Place(route, fixed, named))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        found = self._found(scope) if scope["type"] == "http" and not scope["query_string"] else None
        if found is None:
            await self._app(scope, receive, send)
            return
        (route, _, named), segments, body = found
        path = {name: decoded(segments[at]) for at, name in named}
        scope["endpoint"], scope["path_params"] = route.answered, path
        request = Request(scope, receive, send)
        try:
            await route.needs(request)
            response = await route.answered(Asked(request, path, body))
        except (Rejected, Unavailable, Broken) as error:
            response = await answer(request, error)
        await response(scope, receive, send)

    def _found(self, scope: Scope) -> tuple[_Place, list[str], object] | None:
        segments = scope["path"].split("/")
        for place in self._places.get((scope["method"], len(segments)), ()):
            if all(segments[at] == part for at, part in place.fixed) and all(
                segments[at] for at, _ in place.named
            ):
                takes = place.route.takes
                if takes is None:
                    return place, segments, None
                body = scope["state"].get(JSON_BODY)
                if takes(body) and _content_type(scope) == _JSON:
                    return place, segments, body
        return None


def _content_type(scope: Scope) -> bytes:
    found: bytes = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return found.partition(b";")[0].strip().lower()


def is_object(value: object) -> bool:
    """Whether it is a JSON object."""
    return type(value) is dict


def are_objects(value: object) -> bool:
    """Whether it is a list of JSON objects."""
    return type(value) is list and all(type(one) is dict for one in value)
