"""Which query parameters a request may have: one that is not known, is empty or is given twice is refused.

Owns: these rules, so that a parameter which is accepted acts. Does not own: what a parameter means.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from pipeline.errors import Rejected


async def only_known(request: Request) -> None:
    """A dependency of a route: refuses what it does not declare. Raises Rejected `bad-query`."""
    route = request.scope["route"]
    if isinstance(route, APIRoute):
        refuse_unknown(request, set(_names(route.dependant)))


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _names(inner)


def refuse_unknown(
    request: Request, known: Collection[str], patterns: Collection[re.Pattern[str]] = ()
) -> None:
    """Raises Rejected `bad-query` for a query parameter that is not known."""
    for name in request.query_params:
        if name not in known and not any(pattern.fullmatch(name) for pattern in patterns):
            raise Rejected("bad-query", f"there is no parameter {name[:64]!r}")


def refuse_empty(request: Request, names: Collection[str]) -> None:
    """Raises Rejected `bad-query` for one of these query parameters that is given without a value."""
    for name, value in request.query_params.multi_items():
        if name in names and not value:
            raise empty(name)


def refuse_repeated(request: Request, names: Collection[str]) -> None:
    """Raises Rejected `bad-query` for one of these query parameters that is given more than once."""
    for name in names:
        if len(request.query_params.getlist(name)) > 1:
            raise Rejected("bad-query", f"{name} must be given once only")


def empty(name: str) -> Rejected:
    """The refusal of a parameter without a value."""
    return Rejected("bad-query", f"{name} must not be empty: leave it out to ask for all")
